"""What a measure works with inside the worker: its job, the plug-ins, the probes, and where to put what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Adapting, Builder, Compiler, Mode, Program
from orchestrator.precision import cast
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import EAGER, JobSpec, Samples, Workload

if TYPE_CHECKING:
    import torch


@dataclass
class Context:
    """One job's surroundings. `samples` and `facts` are kept even when the measure raises.

    `references` are the folders of the reference jobs that this job needs; `reference` is where a reference job
    leaves its own tensors; `entered` is told each phase's name as it starts.
    """

    job: JobSpec
    device: torch.device
    builder: Builder
    mode: Mode
    compiler: Compiler
    folder: Path
    reference: Path
    references: Sequence[Path]
    memory: MemoryProbe
    entered: Callable[[str], None]
    samples: list[Samples] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    now: str = "import"

    @property
    def workload(self) -> Workload:
        return self.job.workload

    @property
    def is_eager(self) -> bool:
        """True for the baseline itself; an identity compiler under another name is compared with it like any other."""
        return self.job.compiler.name == EAGER

    @contextmanager
    def phase(self, name: str, children: bool = False, keep_cache: bool = False) -> Iterator[None]:
        """Name what is being done, for the record of a failure, and measure its peak memory (`MemoryProbe.phase`)."""
        self.now = name
        self.entered(name)
        try:
            with self.memory.phase(name, children, keep_cache):
                yield
        finally:
            self.facts["memory"] = self.memory.facts()

    def build(self, *, dropout: bool, dtype: str | None = None, workload: Workload | None = None) -> Program:
        """Build model and inputs, cast and moved; in `dtype`, or of `workload`, where given, instead of the job's.

        A mode that changes programs (another memory format, checkpointing) has changed it.
        """
        self.entered("build")  # a failure here is the model's, not of the phase that asks for it
        program = self.builder.build(workload or self.workload, dropout=dropout)
        program = cast(program, dtype or self.workload.dtype, self.device)
        if isinstance(self.mode, Adapting):
            self.mode.adapt(program)
        self.entered(self.now)
        return program

    def seed(self) -> None:
        """Set torch's random state back to the workload's seed, on all devices."""
        import torch

        torch.manual_seed(self.workload.seed)

    def note(self, text: str) -> None:
        """Say what whoever reads this job's figures must know, in its row: once, however often it is said."""
        notes = self.facts.setdefault("notes", [])
        if text not in notes:
            notes.append(text)

    def find(self, table: str, **row: Any) -> None:
        """Keep one row of a table of this measure's own (`orchestrator.results.findings`): texts, numbers, None.

        Seconds and bytes, under keys that end with `_s` and `_bytes`: the table makes ms and MiB of them.
        """
        self.facts.setdefault("findings", {}).setdefault(table, []).append(row)

    def add(self, metric: str, unit: str, better: str, values: Sequence[float]) -> None:
        """Keep raw samples, in time order."""
        self.samples.append(Samples(metric=metric, unit=unit, better=better, values=tuple(values)))
