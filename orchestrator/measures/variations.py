"""Honest variations of any model: the same, computed in other arithmetic. A judge must not accuse them.

Each is a `Plant` (`orchestrator.measures.plants`). Imports torch: only in a worker.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from orchestrator.measures.plants import Plant
from orchestrator.plugins import Forward, Program

PRODUCTS = (torch.nn.functional.linear, torch.matmul, torch.bmm, torch.nn.functional.conv1d, torch.nn.functional.conv2d)
FUSED = (
    *(*PRODUCTS, torch.nn.functional.layer_norm, torch.nn.functional.gelu, torch.nn.functional.silu, torch.softmax),
    *(
        torch.nn.functional.softmax,
        torch.nn.functional.scaled_dot_product_attention,
        torch.addmm,
        torch.nn.functional.group_norm,
    ),
)


class _Other(TorchFunctionMode):
    """Computes some functions in another way."""

    def __init__(self, functions: tuple[Any, ...], way: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__()
        self._functions, self._way = functions, way

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in self._functions:
            with torch._C.DisableTorchFunction():
                return self._way(function, args, kwargs)
        return function(*args, **kwargs)


def _in_mode(functions: tuple[Any, ...], way: Callable[[Any, Any, Any], Any]) -> Plant:
    def plant(forward: Forward, program: Program, place: int) -> Forward:
        def other(**inputs: Any) -> Any:
            with _Other(functions, way):
                return forward(**inputs)

        return other

    return plant


def _tensors(change: Callable[[torch.Tensor], torch.Tensor], tree: Any) -> Any:
    def each(leaf: Any) -> Any:
        return change(leaf) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return _pytree.tree_map(each, tree)


def _tf32(function: Any, args: Any, kwargs: Any) -> Any:
    """Round the factors to the ten bits of TF32's mantissa; sums stay in float32."""

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is not torch.float32:
            return tensor
        with torch.no_grad():
            bits = tensor.detach().contiguous().view(torch.int32)
            near = ((bits + 0x1000) & ~0x1FFF).view(torch.float32)
        return tensor + (near - tensor).detach()

    return function(*_tensors(rounded, args[:2]), *args[2:], **kwargs)


def _more_precise(function: Any, args: Any, kwargs: Any) -> Any:
    """Compute in the next wider dtype and round once, as fused code with multiply-add does."""
    dtypes = {
        leaf.dtype for leaf in _pytree.tree_leaves(args) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
    }
    wide = torch.float64 if torch.float32 in dtypes else torch.float32
    out: torch.Tensor = function(*_tensors(lambda t: t.to(wide), args), **_tensors(lambda t: t.to(wide), kwargs))
    return out.to(max(dtypes, key=lambda dtype: dtype.itemsize)) if dtypes else out


def _other_order(function: Any, args: Any, kwargs: Any) -> Any:
    """Add the products of a linear layer up in two halves, the second first; what is summed stays as wide as it was."""
    x, weight, *rest = args
    if function is not torch.nn.functional.linear or x.shape[-1] < 2:
        return function(*args, **kwargs)
    bias = rest[0] if rest else kwargs.get("bias")
    half = x.shape[-1] // 2
    wide = torch.float32 if x.element_size() < 4 else x.dtype
    total = (
        x[..., half:].to(wide) @ weight[:, half:].to(wide).mT + x[..., :half].to(wide) @ weight[:, :half].to(wide).mT
    )
    return (total if bias is None else total + bias.to(wide)).to(x.dtype)


def _wider(dtype: torch.dtype) -> Plant:
    """Return the plant that computes the model in a wider dtype, from the same weights, and rounds its outputs."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        model = program.model
        if forward is not model:
            return forward  # not the model itself: a quantised one has no wider weights

        dtypes: list[torch.dtype] = []

        def wide(**inputs: Any) -> Any:
            if not dtypes:  # what the model returns in which dtype: a loss may be wider than the rest
                with torch.no_grad():
                    found = _pytree.tree_leaves(copy.deepcopy(model)(**copy.deepcopy(inputs)))
                dtypes.extend(leaf.dtype for leaf in found if isinstance(leaf, torch.Tensor))
            weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            wider = {name: _to(value, dtype) for name, value in weights.items()}
            given = {name: _to(value, dtype) for name, value in inputs.items()}
            leaves, tree = _pytree.tree_flatten(torch.func.functional_call(model, wider, kwargs=given))
            for name, value in inputs.items():  # what the model writes into them
                if given[name] is not value and not torch.equal(given[name].to(value.dtype), value):
                    value.data.copy_(given[name])
            for name, buffer in model.named_buffers():  # what the model counts or averages
                if not torch.equal(buffer, _to(wider[name], buffer.dtype)):
                    buffer.data.copy_(wider[name])
            of_tensors = iter(dtypes)
            narrow = [leaf.to(next(of_tensors)) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            return _pytree.tree_unflatten(narrow, tree)

        return wide

    return plant


def _to(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _itself(forward: Forward, program: Program, place: int) -> Forward:
    return forward


VARIATIONS: Mapping[str, Plant] = {
    "as compiled": _itself,
    "float64, then rounded": _wider(torch.float64),
    "float32, then rounded": _wider(torch.float32),
    "other summation order": _in_mode((torch.nn.functional.linear,), _other_order),
    "TF32-like rounding": _in_mode(PRODUCTS, _tf32),
    "fused multiply-add": _in_mode(FUSED, _more_precise),
}
"""Name -> honest variation: other arithmetic, no fault."""
