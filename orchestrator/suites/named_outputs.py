"""Models wrapped, so that outputs have names. Imported where a model is built: it needs torch."""

from __future__ import annotations

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
        named = {}
        # no comprehension: before Python 3.12 it is a frame of its own, which dynamo leaves to eager where the model's
        # graph is broken (it gets an iterator), and which would be counted against the model
        for name, value in outputs.items():
            if isinstance(value, torch.Tensor) or name in self.kept:
                named[name] = value
        if not named:  # a backbone: its feature maps are what it is for
            for name, value in outputs.items():
                if isinstance(value, tuple):
                    for place, tensor in enumerate(value):
                        named[f"{name}_{place}"] = tensor
        return named
