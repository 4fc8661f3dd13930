"""Example inputs as models of others bring them (a tensor, a tuple, a dict), made a program's: tensors by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def by_name(model: torch.nn.Module, inputs: Any, origin: str) -> dict[str, torch.Tensor]:
    """Return name -> tensor such that `model(**result)` is `model(*inputs)`; a dict is kept as it is.

    Raises ValueError, beginning with `origin` (what gave the inputs), for anything but tensors, and for more of them
    than the parameters of `forward` can name.
    """
    import torch

    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif isinstance(inputs, (tuple, list)):
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
        taken = [name for name, p in inspect.signature(model.forward).parameters.items() if p.kind in kinds]
        if len(inputs) > len(taken):
            known = ", ".join(taken) or "nothing"
            raise ValueError(
                f"{origin}: {len(inputs)} inputs, but forward names {known}: return a dict of its keywords"
            )
        named = dict(zip(taken, inputs, strict=False))
    else:
        raise ValueError(f"{origin} returned a {type(inputs).__name__}: return a tensor, a tuple or a dict of tensors")
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{origin}: input '{name}' is a {type(value).__name__}: only tensors can be inputs")
    if not named:
        raise ValueError(f"{origin} returned no inputs")
    return named
