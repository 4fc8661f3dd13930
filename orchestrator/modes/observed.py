"""What an accuracy check sees of a step: copies of tensors, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def named_outputs(outputs: Any) -> dict[str, torch.Tensor]:
    """Return copies of all tensors in a model's outputs as "output.<path>" -> tensor.

    Mappings, sequences and dataclass-like objects with `items()` are walked; None is left out; a Python number
    becomes a tensor; of complex tensors see `copied`. Raises TypeError for anything else, because what is not compared
    would count as right.
    """
    import torch

    found: dict[str, torch.Tensor] = {}

    def walk(path: str, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, torch.Tensor):
            found[path] = copied(value)
        elif isinstance(value, (bool, int, float)):
            found[path] = torch.tensor(value)
        elif isinstance(value, Mapping) or hasattr(value, "items"):
            for key, item in value.items():
                walk(f"{path}.{key}", item)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                walk(f"{path}.{index}", item)
        else:
            raise TypeError(f"{path} is a {type(value).__name__}: only tensors, numbers, dicts and lists are compared")

    walk("output", outputs)
    return found


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy without gradient, of a complex tensor its real and imaginary parts in a last dimension of 2.

    All that compares tensors by tolerances compares real numbers.
    """
    import torch

    values = tensor.detach()
    return (torch.view_as_real(values.resolve_conj()) if values.is_complex() else values).clone()
