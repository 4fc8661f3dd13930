"""Inputs that are lists, dicts or constants: the model of tensors by name that a program needs, and those tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


class Leaf(str):
    """The name, among the flat inputs, of the tensor that stands here."""


class Parted(torch.nn.Module):
    """Calls a model with inputs that are made of its own; `forms` says how (`parted`)."""

    def __init__(self, model: torch.nn.Module, forms: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.forms = dict(forms)

    def forward(self, **tensors: torch.Tensor) -> Any:
        inputs = {}
        for name, form in self.forms.items():
            inputs[name] = _made(form, tensors)
        return self.model(**inputs)


def parted(model: torch.nn.Module, inputs: Mapping[str, Any]) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Return a model and tensors by name such that `model(**tensors)` is the given model's `model(**inputs)`.

    `labels[0]["boxes"]` is called labels_0_boxes. What is no tensor, list, tuple or dict is a constant of the model.
    """
    tensors: dict[str, torch.Tensor] = {}

    def taken(value: Any, name: str) -> Any:
        if isinstance(value, torch.Tensor):
            tensors[name] = value
            return Leaf(name)
        if isinstance(value, Mapping):
            return {key: taken(inner, f"{name}_{key}") for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(taken(inner, f"{name}_{place}") for place, inner in enumerate(value))
        return value

    forms = {name: taken(value, name) for name, value in inputs.items()}
    return (model if len(tensors) == len(forms) and set(tensors) == set(forms) else Parted(model, forms)), tensors


def _made(form: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(form, Leaf):
        return tensors[form]
    if isinstance(form, dict):
        made = {}
        for key, inner in form.items():
            made[key] = _made(inner, tensors)
        return made
    if isinstance(form, (list, tuple)):
        several = []
        for inner in form:
            several.append(_made(inner, tensors))
        return type(form)(several)
    return form
