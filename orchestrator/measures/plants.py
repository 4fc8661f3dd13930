"""Known faults, and honest variations, that can be put into any model: what a judge must find, and must not accuse.

A plant wraps what a compiler made: `plant(forward, program, place)` returns a callable like it. Faults change outputs,
gradients, inputs or buffers; variations compute the same in other arithmetic. `place` chooses among tensors, elements
and layers, so that one fault is many. Imports torch: only in a worker.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from orchestrator.plugins import Forward, Program

Plant = Callable[[Forward, Program, int], Forward]
Change = Callable[[torch.Tensor, random.Random], torch.Tensor]


def _changed_output(change: Change) -> Plant:
    """Return the plant that changes one floating output, of each call in the same place."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        def changed(**inputs: Any) -> Any:
            return _with_output(forward(**inputs), place, change)

        return changed

    return plant


def _with_output(outputs: Any, place: int, change: Change) -> Any:
    leaves, tree = _pytree.tree_flatten(outputs)
    chosen = random.Random(place)
    able = [
        number
        for number, leaf in enumerate(leaves)
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.ndim
    ]
    if able:
        number = chosen.choice(able)
        leaves[number] = change(leaves[number], chosen)
    return _pytree.tree_unflatten(leaves, tree)


def _index(tensor: torch.Tensor, chosen: random.Random) -> tuple[int, ...]:
    return tuple(chosen.randrange(size) for size in tensor.shape)


def _edited(tensor: torch.Tensor, index: Any, value: Any) -> torch.Tensor:
    copy = tensor.clone()
    copy[index] = value
    return copy


def _one_element(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    index = _index(tensor, chosen)
    return _edited(tensor, index, tensor[index] + tensor.detach().float().square().mean().sqrt().to(tensor.dtype))


def _one_nan(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return _edited(tensor, _index(tensor, chosen), float("nan"))


def _one_sample(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    dimension = next((number for number, size in enumerate(tensor.shape) if size > 1), 0)
    index = (*[slice(None)] * dimension, chosen.randrange(tensor.shape[dimension]))
    return _edited(tensor, index, 0.0)


def _one_channel(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return _edited(tensor, (..., chosen.randrange(tensor.shape[-1])), 0.0)


def _next_position(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    """Shift by one along the sequence (or, without one, the last dimension)."""
    return tensor.roll(1, dims=1 if tensor.ndim >= 3 else -1)


def _transposed(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return tensor.flip(0) if tensor.ndim < 2 else tensor.transpose(-1, -2).reshape(tensor.shape)


def _flipped_class(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    """Exchange the two largest numbers of one row: its class, or next token, is another one."""
    if tensor.shape[-1] < 2:
        return tensor
    row = _index(tensor[..., 0], chosen) if tensor.ndim > 1 else ()
    values, places = tensor[row].topk(2)
    copy = tensor.clone()
    copy[row][places.flip(0)] = values
    return copy


def _swapped_samples(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    dimension = next((number for number, size in enumerate(tensor.shape) if size > 1), 0)
    return tensor.roll(1, dims=dimension)


def _scaled(by: float) -> Change:
    return lambda tensor, chosen: (tensor.float() * by).to(tensor.dtype) if tensor.element_size() < 4 else tensor * by


def _stale_output(forward: Forward, program: Program, place: int) -> Forward:
    """What the first inputs gave, whatever the inputs are: a graph that reads its old buffer."""
    first: list[dict[str, Any]] = []

    def stale(**inputs: Any) -> Any:
        first.append({name: value.clone() for name, value in inputs.items()})
        return forward(**first[0])

    return stale


def _second_call(forward: Forward, program: Program, place: int) -> Forward:
    """Right in the first call only."""
    calls: list[int] = []

    def late(**inputs: Any) -> Any:
        calls.append(1)
        outputs = forward(**inputs)
        return outputs if len(calls) == 1 else _with_output(outputs, place, _scaled(1.1))

    return late


def _written_input(forward: Forward, program: Program, place: int) -> Forward:
    """Writes into an input that the model leaves alone."""

    def writing(**inputs: Any) -> Any:
        outputs = forward(**inputs)
        name = random.Random(place).choice(list(inputs))
        inputs[name].data.view(-1)[:1] += 1  # autograd is not told, as it is not by a kernel that writes too far
        return outputs

    return writing


def _lost_mutation(forward: Forward, program: Program, place: int) -> Forward:
    """Works on copies: what the model writes into its inputs is lost."""
    return lambda **inputs: forward(**{name: value.clone() for name, value in inputs.items()})


def _lost_buffer(forward: Forward, program: Program, place: int) -> Forward:
    """Puts all buffers back: what the model counts or averages is lost."""

    def losing(**inputs: Any) -> Any:
        before = {name: buffer.clone() for name, buffer in program.model.named_buffers()}
        outputs = forward(**inputs)
        for name, buffer in program.model.named_buffers():
            if not torch.equal(buffer, before[name]):
                buffer.data.copy_(before[name])  # autograd may have kept it
        return outputs

    return losing


def _layers(program: Program, *kinds: type) -> list[torch.nn.Module]:
    """Return the layers of these kinds, of any without kinds, that hold no others."""
    return [
        part
        for part in program.model.modules()
        if isinstance(part, kinds or torch.nn.Module) and not list(part.children())
    ]


def _at_layer(kinds: tuple[type, ...], hook: Callable[[Any, Any, Any], Any]) -> Plant:
    """Return the plant that changes what one layer returns; the model as it is where it has no such layer."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        layers = _layers(program, *kinds)
        if layers:
            random.Random(place).choice(layers).register_forward_hook(hook)
        return forward

    return plant


def _zeros(layer: Any, inputs: Any, output: Any) -> Any:
    return torch.zeros_like(output) if isinstance(output, torch.Tensor) else None


def _wrong_branch(forward: Forward, program: Program, place: int) -> Forward:
    """A layer is left out for all but the inputs that were there when the branch was frozen."""
    batch = (torch.nn.BatchNorm2d,) if program.model.training else ()  # one that has seen no data changes nothing
    normal = _layers(program, torch.nn.LayerNorm, torch.nn.GroupNorm, *batch, *_norms(program))
    if not normal:
        return forward
    kept: dict[str, Any] = {}

    def remember(**inputs: Any) -> Any:
        kept.setdefault("first", {name: value.clone() for name, value in inputs.items()})
        kept["frozen"] = all(torch.equal(value, kept["first"][name]) for name, value in inputs.items())
        return forward(**inputs)

    random.Random(place).choice(normal).register_forward_hook(
        lambda layer, inputs, output: None if kept.get("frozen", True) or output.shape != inputs[0].shape else inputs[0]
    )
    return remember


def _norms(program: Program) -> Iterator[type]:
    """Yield the model's own kinds of normalisation (LlamaRMSNorm, T5LayerNorm)."""
    return iter({type(part) for part in program.model.modules() if type(part).__name__.endswith("Norm")})


def _gradient(change: Change) -> Plant:
    """Return the plant that changes the gradient of one weight; nothing in a model that is not trained."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        chosen = random.Random(place)
        weights = [
            parameter for parameter in program.model.parameters() if parameter.requires_grad and parameter.ndim > 1
        ]
        if program.model.training and weights:
            chosen.choice(weights).register_hook(lambda gradient: change(gradient, random.Random(place)))
        return forward

    return plant


def _low_accumulation(forward: Forward, program: Program, place: int) -> Forward:
    """Linear layers, all or some, add their products up in bfloat16 (float16 in float16), in 128 steps."""

    def accumulate(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        low = torch.float16 if output.dtype is torch.float16 else torch.bfloat16
        x, weight = inputs[0], layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.mT
        total = torch.zeros_like(output, dtype=low)
        width = -(-x.shape[-1] // 128)
        for column in range(0, x.shape[-1], width):
            part = x[..., column : column + width].float() @ weight[:, column : column + width].float().mT
            total = (total.float() + part).to(low)
        total = total if layer.bias is None else total + layer.bias
        return total.to(output.dtype)

    chosen = random.Random(place)
    for layer in _layers(program):
        linear = isinstance(layer, torch.nn.Linear) or type(layer).__name__ == "Conv1D"  # GPT-2's linear layers
        if linear and (place == 0 or chosen.random() < 0.7):
            layer.register_forward_hook(accumulate)
    return forward


FAULTS: Mapping[str, Plant] = {
    "one element": _changed_output(_one_element),
    "one sample zeroed": _changed_output(_one_sample),
    "one channel zeroed": _changed_output(_one_channel),
    "scale 1.01": _changed_output(_scaled(1.01)),
    "all zeros": _changed_output(_scaled(0.0)),
    "NaN in one place": _changed_output(_one_nan),
    "off by one position": _changed_output(_next_position),
    "flipped class": _changed_output(_flipped_class),
    "transposed output": _changed_output(_transposed),
    "samples swapped": _changed_output(_swapped_samples),
    "stale output": _stale_output,
    "second call only": _second_call,
    "wrong branch": _wrong_branch,
    "input written to": _written_input,
    "lost mutation": _lost_mutation,
    "lost buffer": _lost_buffer,
    "layer zeroed": _at_layer((torch.nn.Linear, torch.nn.Conv2d), _zeros),
    "low accumulation": _low_accumulation,
    "gradient zeroed": _gradient(_scaled(0.0)),
    "gradient scaled 1.01": _gradient(_scaled(1.01)),
    "gradient, one element": _gradient(_one_element),
    "gradient, one row zeroed": _gradient(_one_sample),
    "gradient transposed": _gradient(_transposed),
}
"""Name -> fault. One that changes nothing in a model (no buffer to lose) is no plant there:
`orchestrator.measures.sensitivity`.
"""

ONCE = frozenset({"stale output", "lost mutation", "lost buffer"})
"""Those that are the same in every place."""

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
