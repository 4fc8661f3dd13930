"""A model that takes its inputs by position, called with keywords. Imported where a model is built: it needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Positional(torch.nn.Module):
    """Calls a model with the inputs of these names, in this order."""

    def __init__(self, model: torch.nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, **inputs: torch.Tensor) -> Any:
        # no comprehension: before Python 3.12 it is a frame of its own, see NamedOutputs
        values = []
        for name in self.names:
            values.append(inputs[name])
        return self.model(*values)
