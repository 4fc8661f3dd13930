"""Inference: one forward pass without gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.modes.adaptations import channels_last
from orchestrator.plugins import Forward, Program
from orchestrator.precision import Precision, autocast
from orchestrator.probes.observed import named_outputs
from orchestrator.records import DEFAULT_PRECISION, Parallel, Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Inference:
    """`model.eval()` under `torch.no_grad()`.

    labels: give the model its labels, so that the pass computes the loss too, as PyTorch's dashboard does.
    channels_last: the memory format of images and convolutions, for eager too. precision: of products, for eager too
    (`orchestrator.precision.SETTINGS`). parallel, ranks: see `orchestrator.measures.group`.
    """

    labels: bool = True
    channels_last: bool = False
    precision: Precision = DEFAULT_PRECISION
    parallel: Parallel | None = None
    ranks: int = 1
    training: ClassVar[bool] = False
    observes_step: ClassVar[bool] = True

    def adapt(self, program: Program) -> None:
        """Change the memory format. Raises Unsupported for a program without images."""
        if self.channels_last:
            channels_last(program)

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        import torch

        program.model.eval()
        inputs = program.inputs

        def step() -> Any:
            with torch.no_grad(), autocast(workload):
                return forward(**inputs)

        return step

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Return the outputs, copied: name -> tensor."""
        return named_outputs(self.step(program, forward, workload)())
