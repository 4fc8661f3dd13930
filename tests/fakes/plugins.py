"""Test-only plug-ins for the real worker: a small model, and a compiler that misbehaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakes.behaviour import behave
from orchestrator.plugins import Forward, Program
from orchestrator.records import Workload


@dataclass(frozen=True)
class Perceptron:
    """Two layers of `width` features."""

    width: int = 64

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        torch.manual_seed(workload.seed)
        layers = [torch.nn.Linear(self.width, self.width), torch.nn.ReLU(), torch.nn.Linear(self.width, self.width)]
        model = torch.nn.Sequential(*layers)
        inputs = {"input": torch.randn(workload.batch_size, self.width)}
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs.square().mean())


@dataclass(frozen=True)
class Misbehaving:
    """Does what `does` says (`fakes.behaviour`), then returns the model itself."""

    does: str = "pass"

    @property
    def changes_model(self) -> bool:
        return False

    def check(self, workload: Workload) -> None:
        """It runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        behave(self.does)
        return program.model


QUICK: Mapping[str, Any] = {
    "iterations": 5,
    "seconds": 0.0,
    "pairs": 4,
    "pair_seconds": 0.0,
    "block_seconds": 0.0,
    "warmup_seconds": 0.0,
    "quiet_seconds": 0.0,
}
"""Options of the performance measure that end it within a moment."""
