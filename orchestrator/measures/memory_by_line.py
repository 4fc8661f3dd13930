"""Which lines of the model's code allocate: the eager step, line by line.

One step that is not looked at, one that the tracer sees for the first time, one that counts. The level and its
resolution are those of `orchestrator.probes.lines`. On CUDA the allocator's own history of one more step is left,
for pytorch.org/memory_viz; of compiled code, which has no lines of Python, that history is all.
"""

from __future__ import annotations

import csv
import io
import linecache
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.files import write_text
from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.measures.eager import artifact, eager_only, eager_step
from orchestrator.plugins import Outcome
from orchestrator.probes.clock import make_ready, no_garbage_collection
from orchestrator.probes.lines import ExecutedLine, Level, LineTracer, level_of
from orchestrator.records import OBSERVED, PASS

if TYPE_CHECKING:
    import torch

NOT_THE_MODEL = ("torch", "orchestrator.suites.wrapped")
HISTORY_ENTRIES = 100_000
SETTLED = 3
"""Calls of compiled code before the one that is looked at: CUDA graphs are recorded in the second."""


@dataclass
class _Line:
    """What one line of source did over all its executions, in bytes. `current` is the highest level after it."""

    executions: int = 0
    increase: int = 0  # sum of the positive differences
    cumulative: int = 0  # sum of all differences
    current: int = 0


OF_LINES = (
    columns.count("executions", "how often it ran in one step"),
    columns.memory(
        "increase_mib", "sum of what it allocated and kept, over the executions that left more than there was"
    ),
    columns.memory("cumulative_mib", "sum of what it allocated less what it freed, over all executions"),
    columns.memory("current_mib", "highest level after it"),
)


@dataclass(frozen=True)
class MemoryByLine:
    """modules: names of modules or packages whose lines are looked at; none: the modules that define the model's parts.

    Of a model that is made of torch's own modules alone, those are torch's.
    """

    kind: ClassVar[str] = OBSERVED
    compile_factor: ClassVar[float] = 0.0  # of eager only
    shareable: ClassVar[bool] = True
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "memory_by_line": TableSpec(
            (
                columns.text("source_file", "file, relative to where it was imported from"),
                columns.count("source_line", "line number"),
                columns.text("source", "the line"),
                *OF_LINES,
            )
        ),
        "memory_by_line_totals": TableSpec(
            (
                columns.count("lines", "lines that ran"),
                *OF_LINES,
                columns.memory("outside_mib", "what changed outside the traced modules: backward, optimizer, results"),
                columns.text(
                    "level_source",
                    "what the level is: bytes that the C library has given out, resident set, CUDA allocator",
                ),
                columns.count("resolution_bytes", "smallest change that the level shows"),
                "file",
                columns.text("snapshot", "file with the CUDA allocator's history, for pytorch.org/memory_viz"),
            )
        ),
    }

    modules: Sequence[str] = ()

    def run(self, context: Context) -> Outcome:
        """Leave a row for each line that changed anything, most cumulative first, one of totals, and the sequence.

        Of compiled code on CUDA only the allocator's history. Raises Unsupported for it elsewhere, and ValueError where
        `modules` names none that ran.
        """
        if not context.is_eager and context.device.type == "cuda":
            return _of_compiled(context)
        eager_only(context, "compiled code runs no lines of Python that could be traced")
        program, step = eager_step(context)
        with context.phase("eager"):
            step()
        modules = [name.removesuffix(".*") for name in self.modules] or modules_of(program.model)
        level = level_of(context.device)
        tracer = LineTracer(modules, level.read)
        with context.phase("trace"), no_garbage_collection():
            tracer.run(step)
            tracer.run(step)
        steps = list(tracer.steps())
        if all(seen.file is None for seen in steps):
            raise ValueError(f"no line of {', '.join(modules)} ran: set measure.options.modules to the model's modules")
        self._leave(context, steps, level, _snapshot(context, step))
        return Outcome(PASS)

    def _leave(self, context: Context, steps: Sequence[ExecutedLine], level: Level, snapshot: str | None) -> None:
        lines = by_line(steps)
        path, name = artifact(context, "memory_by_line.csv")
        write_text(Path(path), _sequence(steps))
        changed = [(where, line) for where, line in lines.items() if line.increase or line.cumulative]
        for (file, number), line in sorted(changed, key=lambda item: (-item[1].cumulative, item[0])):
            context.find(
                "memory_by_line",
                source_file=_short(file),
                source_line=number,
                source=linecache.getline(file, number).strip(),
                executions=line.executions,
                increase_bytes=line.increase,
                cumulative_bytes=line.cumulative,
                current_bytes=line.current,
            )
        traced = [seen for seen in steps if seen.file is not None]
        context.find(
            "memory_by_line_totals",
            lines=len(lines),
            executions=sum(line.executions for line in lines.values()),
            increase_bytes=sum(line.increase for line in lines.values()),
            cumulative_bytes=sum(line.cumulative for line in lines.values()),
            current_bytes=max(seen.level for seen in traced),
            outside_bytes=sum(seen.difference for seen in steps if seen.file is None),
            level_source=level.source,
            resolution_bytes=level.resolution,
            file=name,
            snapshot=snapshot,
        )


def modules_of(model: torch.nn.Module) -> list[str]:
    """Return the modules that define the classes of a model and its parts, without torch's where there are others."""
    names = sorted({type(part).__module__ for part in model.modules()})
    own = [name for name in names if not any(name == n or name.startswith(f"{n}.") for n in NOT_THE_MODEL)]
    return own or names


def by_line(steps: Iterable[ExecutedLine]) -> dict[tuple[str, int], _Line]:
    """Return (file, line) -> what it did. Parts of one execution (before and after a traced call) are one."""
    lines: dict[tuple[str, int], _Line] = {}
    for step in steps:
        if step.file is None:
            continue
        line = lines.setdefault((step.file, step.line), _Line())
        line.executions += step.starts
        line.increase += max(step.difference, 0)
        line.cumulative += step.difference
        line.current = max(line.current, step.level)
    return lines


def _sequence(steps: Iterable[ExecutedLine]) -> str:
    """Return the steps as CSV, in the order in which they ran."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("file", "line", "difference_bytes", "level_bytes"))
    writer.writerows(
        ("" if step.file is None else _short(step.file), step.line or "", step.difference, step.level) for step in steps
    )
    return out.getvalue()


def _short(file: str) -> str:
    """Return a file's path relative to where it was imported from: that tells a reader more than the machine's path."""
    roots = [entry.rstrip(os.sep) + os.sep for entry in sys.path if entry]
    return file.removeprefix(max((root for root in roots if file.startswith(root)), key=len, default=""))


def _of_compiled(context: Context) -> Outcome:
    """Leave the history of one step of compiled code, after those that compile, record graphs and fill caches."""
    _, step = compiled_step(context, calls=SETTLED)
    make_ready(step)
    context.find("memory_by_line_totals", snapshot=_snapshot(context, step))
    return Outcome(PASS)


def _snapshot(context: Context, step: Any) -> str | None:
    """Return the name of the file with the CUDA allocator's history of one step; None on the CPU."""
    if context.device.type != "cuda":
        return None
    import torch

    path, name = artifact(context, "snapshot.pickle")
    with context.phase("snapshot"):
        torch.cuda.memory._record_memory_history(max_entries=HISTORY_ENTRIES)
        try:
            step()
            torch.cuda.synchronize(context.device)
            torch.cuda.memory._dump_snapshot(path)
        finally:
            torch.cuda.memory._record_memory_history(enabled=None)
    return name
