"""Example inputs as models of others bring them (a tensor, a tuple, a dict), made a program's: tensors by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def by_name(model: torch.nn.Module, inputs: Any, origin: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Return a model and name -> tensor such that `model(**tensors)` is the given model's `model(*inputs)`.

    A dict is kept as it is. So is the model, unless `forward` takes some of a tuple's tensors by position only
    (`*tensors`, or before a `/`): it is then wrapped (`orchestrator.suites.named_outputs`).

    Raises ValueError, beginning with `origin` (what gave the inputs), for anything but tensors, and for more of them
    than `forward` takes.
    """
    import torch

    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        tensors = dict(inputs)
    elif isinstance(inputs, (tuple, list)):
        names, by_position = _positions(model, len(inputs), origin)
        tensors = dict(zip(names, inputs, strict=True))
        if by_position:
            from orchestrator.suites.named_outputs import Positional

            model = Positional(model, names)
    else:
        raise ValueError(f"{origin} returned a {type(inputs).__name__}: return a tensor, a tuple or a dict of tensors")
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{origin}: input '{name}' is a {type(value).__name__}: only tensors can be inputs")
    if not tensors:
        raise ValueError(f"{origin} returned no inputs")
    return model, tensors


def _positions(model: torch.nn.Module, count: int, origin: str) -> tuple[list[str], bool]:
    """Return names for the first `count` positional parameters of `forward`, and whether one has no keyword.

    What `*tensors` collects is called tensors_0, tensors_1, ...
    """
    parameters = inspect.signature(model.forward).parameters.values()
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    names = [p.name for p in taken]
    collecting = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if count > len(names) and collecting is None:
        known = ", ".join(names) or "nothing"
        raise ValueError(f"{origin}: {count} inputs, but forward takes only {known}: return as many as it takes")
    by_position = count > len(names) or any(p.kind is p.POSITIONAL_ONLY for p in taken)
    return names + [f"{collecting}_{number}" for number in range(count - len(names))], by_position
