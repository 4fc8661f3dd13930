"""Image models of the timm package, with random weights: no network, no checkpoint."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.errors import did_you_mean
from orchestrator.plugins import Program, Unsupported, resolve
from orchestrator.records import Workload
from orchestrator.suites.dropout import silence
from orchestrator.suites.example_inputs import by_name

if TYPE_CHECKING:
    import torch

REQUIRED = {"timm": "timm", "torchvision": "torchvision", "PIL": "pillow"}
"""Module -> package."""


@dataclass(frozen=True)
class TimmModel:
    """One model of timm.

    model: timm's name, with or without the tag of a checkpoint; None = the model's name in the suite. arguments:
    keyword arguments of `timm.create_model`. loss_divisor: divides the loss (upstream's `scaled_compute_loss`).
    """

    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    loss_divisor: float = 1.0

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        """Return timm, where it is installed; `build` says so where it is not."""
        return ("timm",) if not _missing() else ()

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program: images (batch, channels, height, width), and cross-entropy with random labels as loss.

        Images are whole numbers of [0, 256), normalised by their own mean and deviation, of the size that the model is
        trained with, or tested with in inference, as PyTorch's benchmarks/dynamo/timm_models.py has it. Its loss is the
        mean of the outputs, which no one trains with. Drop rates are timm's defaults, 0.

        Raises Unsupported when timm or the model is missing.
        """
        import torch

        name = self.model or workload.builder.name
        timm = _timm(name)
        generator = torch.Generator().manual_seed(workload.seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(workload.seed)
            model = timm.create_model(name, pretrained=False, **self.arguments)
        if not dropout:
            silence(model)
        tested = not getattr(resolve(workload.mode.target), "training", False)
        size = timm.data.resolve_model_data_config(model, use_test_size=tested)["input_size"]
        images = torch.randint(256, (workload.batch_size, *size), generator=generator).float()
        images = (images - images.mean()) / images.std()
        classes = model.num_classes or model.num_features  # a model without a head returns its features
        labels = torch.randint(classes, (workload.batch_size,), generator=generator)
        inputs = by_name(model, images, name)
        return Program(model.float(), inputs, _CrossEntropy(labels, self.loss_divisor))


class _CrossEntropy:
    """The loss; its labels follow the outputs to their device at the first call."""

    def __init__(self, labels: torch.Tensor, divisor: float) -> None:
        self.labels, self.divisor = labels, divisor

    def __call__(self, outputs: Any) -> torch.Tensor:
        import torch

        scores = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        self.labels = self.labels.to(scores.device)
        return torch.nn.functional.cross_entropy(scores, self.labels) / self.divisor


def _missing() -> list[str]:
    return [package for module, package in REQUIRED.items() if importlib.util.find_spec(module) is None]


def _timm(name: str) -> Any:
    """Return the package. Raises Unsupported when it, torchvision or its model `name` is missing."""
    if missing := _missing():
        raise Unsupported(
            f"{' and '.join(missing)} not installed: pip install --no-deps pillow timm torchvision "
            "(with its dependencies torchvision brings the torch that it was built for)"
        )
    import timm
    import timm.data

    if not timm.is_model(name):
        version = importlib.metadata.version("timm")
        raise Unsupported(f"timm {version} has no model '{name}': {did_you_mean(name, timm.list_models())}")
    return timm
