"""What an accuracy check sees of a step: copies of tensors, by name, on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DEEPEST = 16
"""Levels of containers and objects that are walked; a structure that contains itself ends there."""


def named_outputs(outputs: Any) -> dict[str, torch.Tensor]:
    """Return copies of all tensors in a model's outputs as "output.<path>" -> tensor.

    Mappings, sequences, dataclasses and objects with `items()` or attributes of their own are walked; numbers and
    arrays become tensors. What is neither (None, texts, functions) is left out: `left_out` names it. Of complex,
    sparse, nested and quantised tensors see `copied`.
    """
    found: dict[str, torch.Tensor] = {}
    for path, value in _leaves("output", outputs):
        tensor = _tensor(value)
        if tensor is not None:
            found |= copied(path, tensor)
    return found


def tensors_in(outputs: Any) -> list[torch.Tensor]:
    """Return the tensors of a model's outputs themselves, as they are."""
    import torch

    return [value for _, value in _leaves("output", outputs) if isinstance(value, torch.Tensor)]


def left_out(outputs: Any) -> list[str]:
    """Return what of a model's outputs cannot be compared, as "output.<path> (type)"."""
    leaves = _leaves("output", outputs)
    return [f"{path} ({type(value).__name__})" for path, value in leaves if _tensor(value) is None]


def _leaves(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield path and value of all that is no container and not None."""
    if value is None:
        return
    parts = _parts(value) if depth < DEEPEST else None
    if parts is None:
        yield path, value
        return
    for key, item in parts:
        yield from _leaves(f"{path}.{key}", item, depth + 1)


def _parts(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the keys and items of a container or of an object with attributes; None for what is a leaf."""
    import torch

    if isinstance(value, (torch.Tensor, torch.nn.Module, str, bytes)) or _tensor(value) is not None or callable(value):
        return None
    if callable(items := getattr(value, "items", None)):
        found: Iterable[tuple[Any, Any]] = items()
        return found
    if isinstance(value, (list, tuple)):
        return enumerate(value)
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    own = getattr(value, "__dict__", None)
    return own.items() if own else None


def _tensor(value: Any) -> torch.Tensor | None:
    """Return a leaf as a tensor; None for what holds no numbers."""
    import numpy
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (bool, int, float, complex)):
        return torch.tensor(value)
    if isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.kind in "biufc":
        return torch.as_tensor(value)
    return None


def copied(path: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return name -> copy on the CPU, without gradient, strided and of real numbers.

    One that several ranks hold in parts (`DTensor`) is gathered: all have to ask for it. Of a complex tensor these are
    its real and imaginary parts in a last dimension of 2; a sparse one is made dense, a quantised one and one of 8-bit
    floats become float32, of a nested one there is a copy of each part, "<path>.<part>".
    All that compares tensors by tolerances compares real numbers.
    """
    import torch

    values = tensor.detach()
    if hasattr(values, "full_tensor"):
        values = values.full_tensor()
    if values.is_nested:
        parts = enumerate(values.unbind())
        return {name: copy for number, part in parts for name, copy in copied(f"{path}.{number}", part).items()}
    if values.layout is not torch.strided:
        values = values.to_dense()
    if values.is_quantized or (type(values) is not torch.Tensor and hasattr(values, "dequantize")):
        values = values.dequantize()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    if values.is_floating_point() and values.element_size() == 1:
        values = values.float()
    return {path: values.resolve_neg().to("cpu", copy=True, memory_format=torch.contiguous_format)}
