"""Does a step fit? Built, compiled and run a few times in this process, its memory looked at, nothing timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.plugins import Outcome
from orchestrator.records import OBSERVED, PASS


@dataclass(frozen=True)
class OneStep:
    """steps: an optimizer makes its state in the first, so that the second is the one with the highest peak.

    device_bytes: memory that torch's CUDA allocator may take; None: all that the device has.
    """

    kind: ClassVar[str] = OBSERVED

    steps: int = 2
    device_bytes: int | None = None

    def run(self, context: Context) -> Outcome:
        """Pass if nothing raised; `facts["peak_bytes"]` is the peak of the process, on CUDA of torch's tensors."""
        if context.device.type == "cuda" and self.device_bytes is not None:
            import torch

            total = torch.cuda.get_device_properties(context.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(self.device_bytes / total, 1.0), context.device)
        _, step = compiled_step(context, calls=1)
        with context.phase("steady"):
            for _ in range(self.steps - 1):
                step()
        context.facts["peak_bytes"] = _peak(context)
        return Outcome(PASS)


def _peak(context: Context) -> int:
    """Return the highest peak of all phases, in bytes."""
    memory = context.memory
    if memory.cuda is not None:
        return max(int(phase["peak"] or 0) for phase in memory.cuda.values())
    return max(phase["peak"] for phase in memory.phases.values())
