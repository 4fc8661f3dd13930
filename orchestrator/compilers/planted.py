"""A compiler with a known effect: what a comparison must find when the harness measures itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.plugins import Forward, Program
from orchestrator.probes.clock import synchroniser
from orchestrator.records import Workload


@dataclass(frozen=True)
class Slowdown:
    """Eager, and then as much longer as `fraction` says: 0.03 makes every forward pass take 1.03 times its time."""

    changes_model: ClassVar[bool] = False

    fraction: float = 0.03

    def check(self, workload: Workload) -> None:
        """Runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        synchronise = synchroniser(torch.device(workload.device))

        def forward(**inputs: torch.Tensor) -> Any:
            synchronise()
            start = time.perf_counter()
            outputs = program.model(**inputs)
            synchronise()
            end = time.perf_counter()
            until = end + (end - start) * self.fraction
            while time.perf_counter() < until:
                pass
            return outputs

        return forward
