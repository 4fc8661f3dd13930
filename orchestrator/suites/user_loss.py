"""The loss of a model of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def loss_of(model: torch.nn.Module, origin: str, asked: str | None = None) -> Callable[[Any], torch.Tensor]:
    """Return the loss: the model's method `loss(outputs)`, else the outputs' `loss`, else the outputs themselves.

    asked: "sum" or "mean", of all floating tensors of the outputs, instead. Called, it raises ValueError where there is
    no scalar tensor. There is no loss by default: the time of a made-up one would say nothing.
    """
    import torch

    method = getattr(type(model), "loss", None)  # not a submodule of that name, which takes something else

    def loss(outputs: Any) -> torch.Tensor:
        if asked is not None:
            return _reduced(outputs, asked, origin)
        if inspect.isfunction(method):
            found = method(model, outputs)
        elif isinstance(outputs, Mapping):
            found = outputs.get("loss")
        else:
            found = getattr(outputs, "loss", outputs)
        if not isinstance(found, torch.Tensor) or found.dim() != 0:
            shape = f"a tensor of shape {tuple(getattr(found, 'shape', ()))}"
            what = (
                shape if isinstance(found, torch.Tensor) else "none" if found is None else f"a {type(found).__name__}"
            )
            raise ValueError(
                f"training needs a loss, a scalar tensor, and {origin} gives {what}: add a method loss(outputs) to the "
                "model, return a dict with 'loss', or take suite.common.build.loss=mean (or sum), of all its outputs"
            )
        return found

    return loss


def _reduced(outputs: Any, asked: str, origin: str) -> torch.Tensor:
    import torch

    from orchestrator.probes.observed import tensors_in

    found = [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point() and tensor.requires_grad]
    if not found:
        raise ValueError(f"training needs a loss, and {origin} gives no floating tensor that depends on parameters")
    sums = torch.stack([tensor.sum() if asked == "sum" else tensor.mean() for tensor in found])
    return sums.sum() if asked == "sum" else sums.mean()
