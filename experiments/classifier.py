"""A model of somebody's own, for `suite=user`: what docs/suites.md asks for, and no more."""

from __future__ import annotations

import torch


class Classifier(torch.nn.Module):
    """Two layers and a loss over `width` hidden units."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(16, width), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(width, 10)
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.layers(x)
        return {"scores": scores, "loss": torch.nn.functional.cross_entropy(scores, labels)}

    def get_example_inputs(self, batch_size: int = 1) -> dict[str, torch.Tensor]:
        return {"x": torch.randn(batch_size, 16), "labels": torch.randint(10, (batch_size,))}
