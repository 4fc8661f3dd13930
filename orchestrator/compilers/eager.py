"""No compiler: the model as it is. The baseline of every speed-up and the reference of every accuracy check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.plugins import Forward, Program
from orchestrator.records import Workload


@dataclass(frozen=True)
class Eager:
    """Calls the model itself. Under another name than "eager" it is the A/A test of the harness: speed-up 1."""

    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.0

    def check(self, workload: Workload) -> None:
        """Eager runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        return program.model
