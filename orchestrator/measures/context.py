"""What a measure works with inside the worker: its job, the plug-ins, the probes, and where to put what it sees."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.columns import TableSpec, to_json
from orchestrator.measures.group import Group
from orchestrator.plugins import Adapting, Builder, Compiler, Forward, Mode, Program, Unsupported
from orchestrator.precision import cast
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import OWN_BATCH, JobSpec, Samples, Workload

if TYPE_CHECKING:
    import torch

RANK_SEEDS = 10_007
"""Between the seeds of two ranks' inputs: further than any draw of fresh ones goes."""


@dataclass
class Context:
    """One job's surroundings. `samples` and `facts` are kept even when the measure raises.

    `references` are the folders of the reference jobs that this job needs; `reference` is where a reference job, or a
    timed one that makes a series of calls, leaves its own tensors; `timed` is where the job left them whose code this
    one judges. `home` is where the command runs, in which a model may look for its files: all else of a job runs among
    its artifacts. `entered` is told each phase's name as it starts. `group`: the processes that do this job together,
    each with a context of its own.
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
    timed: Path | None = None
    home: Path = field(default_factory=Path.cwd)
    group: Group = field(default_factory=Group)
    seeded: int = 0  # files that the compile cache began with: of the machine's toolchain, of no model

    @property
    def workload(self) -> Workload:
        return self.job.workload

    @property
    def is_eager(self) -> bool:
        """True for the baseline itself; an identity compiler under another name is compared with it like any other."""
        return self.job.is_eager

    @property
    def measured(self) -> dict[str, str]:
        """What was timed, where it is not what the row says: one of `records.MEASURED` -> why. A fact of the job."""
        found: dict[str, str] = self.facts.setdefault("measured", {})
        return found

    @contextmanager
    def phase(self, name: str, children: bool = False, keep_cache: bool = False) -> Iterator[None]:
        """Name what is being done, for the record of a failure, and measure its peak memory (`MemoryProbe.phase`).

        How long it took, all times together, is the fact `phases_s`.
        """
        self.now = name
        self.entered(name)
        start = time.monotonic()
        try:
            with self.memory.phase(name, children, keep_cache):
                yield
        finally:
            self.facts["memory"] = self.memory.facts()
            took: dict[str, float] = self.facts.setdefault("phases_s", {})
            took[name] = took.get(name, 0.0) + time.monotonic() - start

    def build(self, *, dropout: bool, dtype: str | None = None, workload: Workload | None = None) -> Program:
        """Build model and inputs of the job's workload, or of `workload`, from its seed; cast, moved and adapted.

        In another `dtype` they are what they are in the job's, rounded as there, and then cast: the same computation,
        in other arithmetic. A mode that changes programs (another memory format, checkpointing) has changed it.

        It is the model before compiler *and quantisation*: both happen in `compiler.compile(program, workload)`. What a
        measure sees of `program.model` before that is eager's, whatever the row is called: see `refuse_quantized`.
        """
        self.entered("build")  # a failure here is the model's, not of the phase that asks for it
        workload = workload or self.workload
        seed_all(workload.seed)
        with contextlib.chdir(self.home):
            program = self.builder.build(workload, dropout=dropout)
            program.inputs = self.group.own_inputs(program.inputs, lambda rank: self._draw(workload, rank, dropout))
        if program.fed and workload is self.workload:
            self.facts["fed"] = program.fed
            self.note(f"a sample: {program.fed}")
        for kind in (self.workload.dtype, dtype):
            program = program if kind is None else cast(program, kind, self.device)
        if isinstance(self.mode, Adapting):
            self.mode.adapt(program)
        if program.batch_size is not None and self.workload.batch_size == OWN_BATCH:
            self.facts["own_batch_size"] = program.batch_size
        self.entered(self.now)
        return program

    def compile(self, program: Program) -> Forward:
        """Return what the job's compiler makes of a program, with what lets ranks work together inside or around it."""
        return self.group.compile(self.compiler, program, self.workload)

    def _draw(self, workload: Workload, rank: int, dropout: bool) -> dict[str, torch.Tensor]:
        """Return the inputs that the builder makes for another rank: of another seed. All generators are as before."""
        other = replace(workload, seed=workload.seed + RANK_SEEDS * rank)
        seed_all(other.seed)
        inputs = self.builder.build(other, dropout=dropout).inputs
        seed_all(workload.seed)
        return inputs

    def refuse_quantized(self, why: str) -> None:
        """Raise Unsupported where the job's model is quantised: for a measure that looks at the model that was built.

        `why`: what it looks at. Else a row would have the name of a quantised model, and the figures of the one before.
        """
        if "quantization" in self.job.compiler.options:
            raise Unsupported(f"{why}, and that is not asked of a quantised model: quantization=none")

    def seed(self) -> None:
        """Set all random states back to the workload's seed (`seed_all`)."""
        seed_all(self.workload.seed)

    def note(self, text: str) -> None:
        """Say what whoever reads this job's figures must know, in its row: once, however often it is said."""
        notes = self.facts.setdefault("notes", [])
        if text not in notes:
            notes.append(text)

    def find(self, table: str, **row: Any) -> None:
        """Keep one row of a table that this measure's class declares in `TABLES`: texts, numbers, None.

        Seconds and bytes stand under keys that end with `_s` and `_bytes`, where the column ends with `_ms`, `_us` or
        `_mib`: the table makes those of them. A key that no column takes fails the job at its end; its rows are kept.
        """
        self.facts.setdefault("findings", {}).setdefault(table, []).append(row)

    def find_asked(self, table: str, spec: TableSpec, **row: Any) -> None:
        """Keep one row of a table that only some jobs of this measure have, because it was asked for: `spec` is what
        `TABLES` would say of it."""
        self.find(table, **row)
        self.facts.setdefault("tables", {}).update(to_json({table: spec}))

    def add(self, metric: str, unit: str, better: str, values: Sequence[float]) -> None:
        """Keep raw samples, in time order."""
        self.samples.append(Samples(metric=metric, unit=unit, better=better, values=tuple(values)))


def seed_all(seed: int) -> None:
    """Seed every generator that a model's code may draw from: torch's on all devices, numpy's and Python's."""
    import numpy
    import torch

    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)
