"""Models wrapped: one whose inputs hold tensors (lists, dicts, dataclasses), and one whose outputs are to have names.

Imported where a model is built: it needs torch. No comprehensions in what is called: before Python 3.12 each is a frame
of its own, which dynamo leaves to eager where the model's graph is broken (it gets an iterator), and which would be
counted against the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch


class NamedOutputs(torch.nn.Module):
    """Calls a Hugging Face model and keeps the tensors of its `ModelOutput`, by name.

    Caches, hidden states and attentions are tuples or objects and drop out: they are not results, torch.export and
    the ONNX exporters cannot return them, and every compiler gives them back in its own shape. `kept` names those that
    generation needs all the same, and no compiler returns that does not go through dynamo.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.kept: tuple[str, ...] = ()

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs: Any = self.model(**inputs, return_dict=True)
        named = {}  # no comprehension: see above
        for name, value in outputs.items():
            if isinstance(value, torch.Tensor) or name in self.kept:
                named[name] = value
        if not named:  # a backbone: its feature maps are what it is for
            for name, value in outputs.items():
                if isinstance(value, tuple):
                    for place, tensor in enumerate(value):
                        named[f"{name}_{place}"] = tensor
        return named


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
    if isinstance(value, Mapping):
        kind, items = MAP, dict(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind, items = FIELDS, {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}
    else:
        raise ValueError(
            f"{where} is a {type(value).__name__}: give tensors, or lists, tuples, dicts and dataclasses of tensors, "
            "numbers, texts and None"
        )
    words = ("".join(c if c.isalnum() else "_" for c in str(key)) for key in items)
    parts = tuple(
        plan(f"{name}_{word}", part, tensors, f"{where}[{key!r}]")
        for word, (key, part) in zip(words, items.items(), strict=True)
    )
    return kind, (tuple(items), type(value)), parts


class Nested(torch.nn.Module):
    """Calls a model with what its inputs are parts of: lists, tuples, dicts, texts, numbers, None, by position or name.

    Its own inputs are tensors by name. `positional` and `named` are plans (`plan`).
    A tensor that no plan has is given by its own name; an argument that misses one of its tensors is left out.
    """

    def __init__(self, model: torch.nn.Module, positional: Sequence[Plan], named: Mapping[str, Plan]) -> None:
        super().__init__()
        self.model = model
        self.positional = tuple(positional)
        self.named = [(name, one, tuple(_tensors(one))) for name, one in named.items()]
        self.names = frozenset(name for one in (*positional, *named.values()) for name in _tensors(one))

    def forward(self, **inputs: torch.Tensor) -> Any:
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
