"""A model that returns a tuple of tensors, for those that know no dicts. Imports torch: only when compiling."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree


class FlatOutputs(torch.nn.Module):
    """Calls a model by keywords or, with `names`, by position; returns its tensors as a tuple.

    Each call, a captured one too, notes how the outputs were built, so that they can be built so again.
    """

    def __init__(self, model: torch.nn.Module, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self._noted = _Note()

    def forward(self, *tensors: torch.Tensor, **inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(**dict(zip(self.names, tensors, strict=True)), **inputs)
        leaves, tree = _pytree.tree_flatten(outputs)
        self._noted.structure = Structure(leaves, tree)
        return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    def structure(self) -> Structure:
        """How the outputs of the last call were built. Raises RuntimeError before the first."""
        if self._noted.structure is None:
            raise RuntimeError("the model was not called while it was captured: how its outputs are built is not known")
        return self._noted.structure


class _Note:
    """Where calls leave their structure. One for all copies of a model: exporters capture a copy."""

    structure: Structure | None = None

    def __deepcopy__(self, memo: Any) -> _Note:
        return self


class Structure:
    """The tree of a model's outputs, what is in it besides tensors, and shape and dtype of those."""

    def __init__(self, leaves: Sequence[Any], tree: _pytree.TreeSpec) -> None:
        self._tree = tree
        self._leaves = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self._places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        with warnings.catch_warnings(action="ignore"):  # a tracer's: that these become constants, as they should
            self.shapes = [tuple(int(size) for size in tensor.shape) for tensor in tensors]
        self.dtypes = [tensor.dtype for tensor in tensors]

    def restored(self, tensors: Sequence[torch.Tensor]) -> Any:
        """Return outputs as the model's own, with these tensors in them."""
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, tensors, strict=True):
            leaves[place] = tensor
        return _pytree.tree_unflatten(leaves, self._tree)
