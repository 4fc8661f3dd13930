"""A small image classifier: a model of your own, as orchestrator runs it."""

import torch


class Classifier(torch.nn.Module):
    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, channels, 3, padding=1),
            torch.nn.BatchNorm2d(channels),
            torch.nn.ReLU(),
            torch.nn.Conv2d(channels, channels, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
        )
        self.head = torch.nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.head(self.features(images).flatten(1))
        return {"scores": scores, "loss": torch.nn.functional.cross_entropy(scores, labels)}

    def get_example_inputs(self, batch_size: int = 1) -> dict[str, torch.Tensor]:
        return {"images": torch.randn(batch_size, 3, 32, 32), "labels": torch.randint(10, (batch_size,))}
