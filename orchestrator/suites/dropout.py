"""Dropout switched off: in a model that is already built, or in what says its probabilities before it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def silence(model: torch.nn.Module) -> None:
    """Set to 0 every dropout layer's probability, and every float attribute of a module with "drop" in its name.

    What no attribute holds (`F.dropout(x, 0.1, self.training)`) stays on in training.
    """
    from torch.nn.modules.dropout import _DropoutNd

    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        zero(module)


def zero(owner: Any) -> None:
    """Set to 0 every float attribute with "drop" in its name."""
    for key, value in list(vars(owner).items()):
        if "drop" in key and isinstance(value, float):
            setattr(owner, key, 0.0)
