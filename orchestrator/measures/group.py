"""The ranks of one job: what they do together, and what they agree on so that all of them take the same branch.

A measure runs in every rank. What it decides by time it decides by rank 0's (`elapsed`), and what it times is the time
of the slowest rank, which all of them get (`stopwatch`): so all make the same calls, and none waits for one that will
not come. One process is a group of its own, which has nothing to agree on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from orchestrator.batons import Baton
from orchestrator.plugins import Compiler, Forward, Outcome, Program
from orchestrator.probes.clock import stopwatch
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.context import Context

Tensors = Mapping[str, "torch.Tensor"]
Value = TypeVar("Value")
Timed = Callable[[Callable[[], Any]], float]

OWN_LATENCY = "own_latency"
"""Metric of the steady steps as each rank saw them; those of rank 1 are `own_latency_1`."""


class Group:
    """One process, alone. `ranks` of several have the others' process ids in `children` where they started them."""

    rank, size = 0, 1
    wraps: ClassVar[bool] = False  # whether the model is wrapped: eager then gets one of its own in the pairs
    replicas = True  # whether each rank has the whole model
    in_turns = False  # with another job: what takes time and says nothing of which is the faster is left out
    children: Sequence[int] = ()

    def stopwatch(
        self, device: torch.device, enqueued: list[float] | None = None, own: list[float] | None = None
    ) -> Timed:
        """Return the clock of a step (`orchestrator.probes.clock`). `own`: gets what this one of several ranks saw."""
        return stopwatch(device, enqueued)

    def warmed_up(self) -> None:
        """Hear that what is called from now on is compiled and warm."""

    def meet(self) -> None:
        """Wait for all ranks."""

    def elapsed(self, since: float) -> float:
        """Return the seconds since a moment of `time.perf_counter`: rank 0's, in all ranks."""
        return time.perf_counter() - since

    def longest(self, seconds: float) -> float:
        """Return the seconds of the rank that took the longest."""
        return seconds

    def agreed(self, value: Value) -> Value:
        """Return what rank 0 says."""
        return value

    def first(self, text: str) -> str:
        """Return the text of the first rank that has one, with the rank's name; "" where none has."""
        return text

    def eager(self, program: Program) -> Forward:
        """Return the model as it is called without a compiler."""
        return program.model

    def compile(self, compiler: Compiler, program: Program, workload: Workload) -> Forward:
        """Return what the compiler makes of the model, as it is called."""
        return compiler.compile(program, workload)

    def own_inputs(self, inputs: dict[str, torch.Tensor], draw: Callable[[int], Tensors]) -> dict[str, torch.Tensor]:
        """Return the inputs of this rank: rank 0 has those of the workload. `draw` gives those of another seed."""
        return inputs

    def averaged(self, model: torch.nn.Module, training: bool, call: Callable[[], Tensors]) -> Tensors:
        """Return what a call of an unwrapped model leaves, as it must be where the ranks work together."""
        return call()

    def unequal_parameters(self, model: torch.nn.Module) -> str:
        """Return which rank has other parameters than rank 0, to the bit, and which; "" where all have the same."""
        return ""

    def conclude(self, context: Context, outcome: Outcome) -> Outcome:
        """Bring together what the ranks saw; return the worst verdict."""
        return outcome


class InTurns(Group):
    """One process, alone, that takes turns with one of another job: what that uses of the CPU counts as its own."""

    in_turns = True

    def __init__(self, baton: Baton) -> None:
        self._baton, self.children = baton, baton.partners

    def stopwatch(
        self, device: torch.device, enqueued: list[float] | None = None, own: list[float] | None = None
    ) -> Timed:
        return stopwatch(device, enqueued, self._baton.take)

    def warmed_up(self) -> None:
        import torch

        if torch.get_num_threads() == 1:
            self._baton.follow()

    def elapsed(self, since: float) -> float:
        return super().elapsed(since) - self._baton.waited(since)
