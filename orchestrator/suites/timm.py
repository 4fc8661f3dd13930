"""Image models of the timm package, with random weights: no network, no checkpoint."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.errors import did_you_mean
from orchestrator.plugins import Program, Unsupported, trains
from orchestrator.records import Workload
from orchestrator.suites.dropout import silence
from orchestrator.suites.example_inputs import by_name
from orchestrator.suites.rules import KEY, check
from orchestrator.suites.user_inputs import from_rules

if TYPE_CHECKING:
    import torch

REQUIRED = {"timm": "timm", "torchvision": "torchvision", "PIL": "pillow"}
"""Module -> package."""


@dataclass(frozen=True)
class TimmModel:
    """One model of timm.

    model: timm's name, with or without the tag of a checkpoint; None = the model's name in the suite. arguments:
    keyword arguments of `timm.create_model`. loss_divisor: divides the loss (upstream's `scaled_compute_loss`). inputs:
    rules (`orchestrator.suites.rules`) instead of the images that the model is trained with.
    """

    positions: ClassVar[int] = 150  # of an image at which a parameter is used, roughly: ResNet-18, ViT at 224

    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    loss_divisor: float = 1.0
    inputs: Mapping[str, Any] | Sequence[Any] = field(default_factory=dict)

    def check_when_planned(self) -> None:
        """Raise ValueError for a rule that is none."""
        check(self.inputs)

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        """Return timm, where it is installed; `build` says so where it is not."""
        return ("timm",) if not _missing() else ()

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program: images (batch, channels, height, width), and cross-entropy with random labels as loss.

        Images are whole numbers of [0, 256), normalised by their own mean and deviation, of the size that the model is
        trained with, or tested with in inference, as PyTorch's benchmarks/dynamo/timm_models.py has it. Its loss is the
        mean of the outputs, which no one trains with. Drop rates are timm's defaults, 0. Weights do not depend on the
        batch size; batch normalisation has seen two images.

        Raises Unsupported when timm or the model is missing.
        """
        import torch

        name = self.model or workload.builder.name
        timm = _timm(name)
        generator = torch.Generator().manual_seed(workload.seed)
        tested = not trains(workload.mode)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(workload.seed)
            model = timm.create_model(name, pretrained=False, **self.arguments)
            size = timm.data.resolve_model_data_config(model, use_test_size=tested)["input_size"]
            _give_statistics(model, _images(2, size, generator))
        if not dropout:
            silence(model)
        images = _images(workload.batch_size, size, generator)
        classes = model.num_classes or model.num_features  # a model without a head returns its features
        labels = torch.randint(classes, (workload.batch_size,), generator=generator)
        given: Any = images
        if self.inputs:
            given, batch = from_rules(model, self.inputs, workload, name)
            batch()
        called, inputs = by_name(model.float(), given, KEY if self.inputs else name)
        return Program(called, inputs, _CrossEntropy(labels, classes, self.loss_divisor))


def _images(count: int, size: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    import torch

    images = torch.randint(256, (count, *size), generator=generator).float()
    return (images - images.mean()) / images.std()


def _give_statistics(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Set the running statistics of batch normalisation to those of `images`: two or more, for models that need it.

    A model is born with mean 0 and variance 1, which in evaluation normalises nothing: inception_v3 with random weights
    then has outputs of 1e12, infinite in float16, and an accuracy that says nothing. No variance is under a hundredth
    of its layer's mean: repvgg_a2 has channels that hardly vary over two images and vary over others.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = norm.running_var
        if variance is not None:
            variance.clamp_(min=variance.mean().item() / 100)


class _CrossEntropy:
    """The loss; its labels follow the outputs to their device at the first call.

    Measures of shapes give the model other batches than its program's: each size has labels of its own, drawn once.
    """

    def __init__(self, labels: torch.Tensor, classes: int, divisor: float) -> None:
        self.labels, self.classes, self.divisor = {len(labels): labels}, classes, divisor

    def __call__(self, outputs: Any) -> torch.Tensor:
        import torch

        scores = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
        batch = len(scores)
        if batch not in self.labels:
            generator = torch.Generator().manual_seed(batch)
            self.labels[batch] = torch.randint(self.classes, (batch,), generator=generator)
        self.labels[batch] = self.labels[batch].to(scores.device)
        return torch.nn.functional.cross_entropy(scores, self.labels[batch]) / self.divisor


def _missing() -> list[str]:
    return [package for module, package in REQUIRED.items() if importlib.util.find_spec(module) is None]


def _timm(name: str) -> Any:
    """Return the package. Raises Unsupported when it, torchvision or its model `name` is missing."""
    if missing := _missing():
        raise Unsupported(
            f"{', '.join(missing)} not installed: pip install --no-deps pillow timm torchvision "
            "(with its dependencies torchvision brings the torch that it was built for)"
        )
    import timm
    import timm.data

    if not timm.is_model(name):
        version = importlib.metadata.version("timm")
        raise Unsupported(f"timm {version} has no model '{name}': {did_you_mean(name, timm.list_models())}")
    return timm
