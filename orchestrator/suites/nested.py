"""Inputs that hold tensors (lists, dicts, dataclasses): how each is made of them, and the model that takes them.

Imported where a model is built: it needs torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

Plan = tuple[str, Any, tuple[Any, ...]]
"""How an input is made of tensors: (kind, what, plans of its parts)."""
TENSOR, CONSTANT, LIST, TUPLE, MAP, FIELDS, OBJECT = "tensor", "constant", "list", "tuple", "map", "fields", "object"
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def plan(name: str, value: Any, tensors: dict[str, torch.Tensor], where: str) -> Plan:
    """Return how `value` is made of tensors, which are added to `tensors` under names that begin with `name`.

    Raises ValueError, beginning with `where`, for what is no tensor and holds none that could be reached.
    """
    if isinstance(value, torch.Tensor):
        while name in tensors:
            name += "_"
        tensors[name] = value
        return TENSOR, name, ()
    if isinstance(value, PLAIN) or type(value).__module__ == "torch":  # a dtype, a device, a Size
        return CONSTANT, value, ()
    if isinstance(value, (list, tuple)):
        parts = tuple(plan(f"{name}_{at}", part, tensors, f"{where}[{at}]") for at, part in enumerate(value))
        if hasattr(value, "_fields"):
            return OBJECT, type(value), parts
        return LIST if isinstance(value, list) else TUPLE, None, parts
    fields = dataclasses.is_dataclass(value) and not isinstance(value, type)
    if isinstance(value, Mapping) or fields:
        items = (
            {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
            if fields and not isinstance(value, Mapping)
            else dict(value)
        )
        words = ["".join(c if c.isalnum() else "_" for c in str(key)) for key in items]
        parts = tuple(
            plan(f"{name}_{word}", part, tensors, f"{where}[{key!r}]")
            for word, (key, part) in zip(words, items.items(), strict=True)
        )
        return MAP if isinstance(value, Mapping) else FIELDS, (tuple(items), type(value)), parts
    raise ValueError(
        f"{where} is a {type(value).__name__}: give tensors, or lists, tuples, dicts and dataclasses of tensors, "
        "numbers, texts and None"
    )


class Nested(torch.nn.Module):
    """Calls a model with what its inputs are parts of: lists, tuples, dicts, texts, numbers, None, by position or name.

    Its own inputs are tensors by name. `positional` and `named` are plans (`plan`).
    A tensor that no plan has is given by its own name; an argument that misses one of its tensors is left out.
    """

    def __init__(self, model: torch.nn.Module, positional: Sequence[Plan], named: Mapping[str, Plan]) -> None:
        super().__init__()
        self.model = model
        self.positional, self.named = (
            tuple(positional),
            [(name, one, tuple(_tensors(one))) for name, one in named.items()],
        )
        self.names = frozenset(name for one in (*positional, *named.values()) for name in _tensors(one))

    def forward(self, **inputs: torch.Tensor) -> Any:
        # no comprehension: before Python 3.12 it is a frame of its own, see above
        values, keywords = [], {}
        for one in self.positional:
            values.append(_made(one, inputs))
        for name, tensor in inputs.items():
            if name not in self.names:
                keywords[name] = tensor
        for name, one, needs in self.named:
            there = True
            for need in needs:
                there = there and need in inputs
            if there:
                keywords[name] = _made(one, inputs)
        return self.model(*values, **keywords)


def _tensors(plan: Plan) -> Iterator[str]:
    kind, what, inner = plan
    if kind == TENSOR:
        yield what
    for one in inner:
        yield from _tensors(one)


def _made(plan: Plan, inputs: Mapping[str, torch.Tensor]) -> Any:
    kind, what, inner = plan
    if kind == TENSOR:
        return inputs[what]
    if kind == CONSTANT:
        return what
    values = []
    for one in inner:
        values.append(_made(one, inputs))
    if kind == LIST:
        return values
    if kind == TUPLE:
        return tuple(values)
    if kind == OBJECT:  # a named tuple
        return what(*values)
    keys, make = what
    made = {}
    for place, key in enumerate(keys):
        made[key] = values[place]
    if kind == FIELDS:  # a dataclass
        return make(**made)
    return made if make is dict else make(made)
