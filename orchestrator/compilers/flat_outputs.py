"""A model that returns a tuple of tensors, for those that know no dicts. Imports torch: only when compiling."""

from __future__ import annotations

import copy
import dataclasses
import enum
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils import _pytree


class FlatOutputs(torch.nn.Module):
    """Calls a model with inputs by position, whose names are `names`; returns its tensors as a tuple.

    Each call, a captured one too, notes how the outputs were built, so that they can be built so again.
    """

    def __init__(self, model: torch.nn.Module, names: Iterable[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self._noted = _Note()

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        structure, found = flattened(self.model(**dict(zip(self.names, tensors, strict=True))))
        self._noted.structure = structure
        return tuple(found)

    def structure(self, *tensors: torch.Tensor) -> Structure:
        """How the outputs of the last call were built; of one with these tensors, where none was noted: some exporters
        do what a call returns, and not what else it does.
        """
        if self._noted.structure is None:
            with torch.no_grad():
                self(*tensors)
        assert self._noted.structure is not None
        return self._noted.structure


class _Note:
    """Where calls leave their structure. One for all copies of a model: exporters capture a copy."""

    structure: Structure | None = None

    def __deepcopy__(self, memo: Any) -> _Note:
        return self


class Structure:
    """The tree of a model's outputs, what is in it besides tensors, and shape and dtype of those.

    Objects that torch knows no tree of (dataclasses, namespaces) are leaves of `tree` with a tree of their own.
    """

    def __init__(self, leaves: Sequence[Any], tree: _pytree.TreeSpec, tensors: Sequence[torch.Tensor]) -> None:
        self._tree = tree
        self._leaves = list(leaves)
        with warnings.catch_warnings(action="ignore"):  # a tracer's: that these become constants, as they should
            self.shapes = [tuple(int(size) for size in tensor.shape) for tensor in tensors]
        self.dtypes = [tensor.dtype for tensor in tensors]

    def restored(self, tensors: Sequence[torch.Tensor]) -> Any:
        """Return outputs as the model's own, with these tensors in them. Raises ValueError for another number."""
        if len(tensors) != len(self.dtypes):
            raise ValueError(f"{len(tensors)} tensors for outputs of {len(self.dtypes)}")
        return self._filled(iter(tensors))

    def _filled(self, tensors: Iterator[torch.Tensor]) -> Any:
        leaves = []
        for leaf in self._leaves:
            if leaf is TENSOR:
                leaves.append(next(tensors))
            elif isinstance(leaf, _Object):
                leaves.append(leaf.made(leaf.fields._filled(tensors)))
            else:
                leaves.append(leaf)
        return _pytree.tree_unflatten(leaves, self._tree)


TENSOR = object()
"""Stands in a structure where a tensor is."""


class _Object:
    """An object of outputs: what it was without its fields, and how these are built."""

    def __init__(self, like: Any, fields: Structure) -> None:
        self.like, self.fields = like, fields

    def made(self, fields: dict[str, Any]) -> Any:
        made = copy.copy(self.like)
        for name, value in fields.items():
            object.__setattr__(made, name, value)  # a frozen dataclass too
        return made


def flattened(outputs: Any) -> tuple[Structure, list[torch.Tensor]]:
    """Return how outputs are built, and the tensors in them, in order."""
    leaves, tree = _pytree.tree_flatten(outputs)
    kept: list[Any] = []
    tensors: list[torch.Tensor] = []
    for leaf in leaves:
        fields = _fields(leaf)
        if isinstance(leaf, torch.Tensor):
            kept.append(TENSOR)
            tensors.append(leaf)
        elif fields is None:
            kept.append(leaf)
        else:
            inner, found = flattened(fields)
            like = copy.copy(leaf)
            for name in fields:
                object.__setattr__(like, name, None)
            kept.append(_Object(like, inner))
            tensors += found
    return Structure(kept, tree, tensors), tensors


def _fields(leaf: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass's object or of one with attributes; None of what is none."""
    if isinstance(leaf, (torch.Tensor, torch.nn.Module, str, bytes, enum.Enum, type)) or callable(leaf):
        return None
    if dataclasses.is_dataclass(leaf):
        return {field.name: getattr(leaf, field.name) for field in dataclasses.fields(leaf)}
    return dict(vars(leaf)) if getattr(leaf, "__dict__", None) else None
