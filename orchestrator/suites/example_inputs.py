"""Example inputs as models of others bring them (tensors, and what holds them), made a program's: tensors by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.probes.observed import tensors_in

if TYPE_CHECKING:
    import torch


def by_name(model: torch.nn.Module, inputs: Any, origin: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Return a model and name -> tensor such that `model(**tensors)` is the given model's `model(*inputs)`.

    inputs: a tensor, a tuple or list of positional arguments, or a dict of keywords; `xs` of a `forward(self, *xs)` is
    a list there. Each is a tensor, or what holds some: lists, tuples, dicts, named tuples, dataclasses, with numbers,
    texts and None among them. The model is kept as it is where all are tensors with a name; else, and where
    it is TorchScript, which takes no hooks, it is wrapped (`orchestrator.suites.wrapped.Nested`), and a tensor is
    called after its way: targets_0_boxes.

    Raises ValueError, beginning with `origin` (what gave the inputs), for anything else, for more than `forward` takes,
    and where there is no tensor.
    """
    import torch

    from orchestrator.suites.wrapped import TENSOR, Nested, plan

    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        positional, named = _of_keywords(model, dict(inputs))
    elif isinstance(inputs, (tuple, list)):
        positional, named = _of_positions(model, inputs, origin)
    else:
        raise ValueError(f"{origin} returned a {type(inputs).__name__}: return a tensor, a tuple or a dict of tensors")
    tensors: dict[str, torch.Tensor] = {}
    plans, keywords = (
        {name: plan(name, value, tensors, f"{origin}: input '{name}'") for name, value in given.items()}
        for given in (positional, named)
    )
    if not tensors:
        raise ValueError(f"{origin} returned no inputs" + (" that are tensors" if plans or keywords else ""))
    as_it_is = not plans and all(one == (TENSOR, name, ()) for name, one in keywords.items())
    if not as_it_is or isinstance(model, torch.jit.ScriptModule):
        model = Nested(model, list(plans.values()), keywords)
    return model, tensors


def _of_keywords(model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs that must be given by position, in that order, and those that are given by name."""
    import torch

    parameters = list(inspect.signature(model.forward).parameters.values())
    only = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.name in inputs]
    collecting = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL and p.name in inputs), None)
    if collecting is None or isinstance(model, torch.jit.ScriptModule):
        return {name: inputs[name] for name in only}, {n: value for n, value in inputs.items() if n not in only}
    collected = inputs[collecting]
    collected = list(collected) if isinstance(collected, (list, tuple)) else [collected]
    before = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name in inputs]
    positional = {name: inputs[name] for name in before}
    positional |= {f"{collecting}_{number}": value for number, value in enumerate(collected)}
    return positional, {name: value for name, value in inputs.items() if name not in (*before, collecting)}


def _of_positions(model: torch.nn.Module, inputs: Sequence[Any], origin: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the same of inputs in the order of `forward`. What `*tensors` collects is tensors_0, tensors_1, ..."""
    count = len(inputs)
    parameters = inspect.signature(model.forward).parameters.values()
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    names = [p.name for p in taken]
    collecting = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if count > len(names) and collecting is None:
        known = ", ".join(names) or "nothing"
        raise ValueError(f"{origin}: {count} inputs, but forward takes only {known}: return as many as it takes")
    by_position = count > len(names) or any(p.kind is p.POSITIONAL_ONLY for p in taken)
    names += [f"{collecting}_{number}" for number in range(count - len(names))]
    given = dict(zip(names, inputs, strict=True))
    return (given, {}) if by_position else ({}, given)


def batches_in(inputs: Any) -> Iterator[int]:
    """Yield what may be the batch of inputs: the length of a list, the first dimension of a tensor; the first first."""
    import torch

    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    for value in inputs.values() if isinstance(inputs, Mapping) else inputs:
        if isinstance(value, (list, tuple)) and value:
            yield len(value)
        for tensor in tensors_in(value):
            yield tensor.shape[0] if tensor.dim() else 1
