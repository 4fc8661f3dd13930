"""Everything that is known about one job: from its plan, its result, its log, its folder and its edges."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import limits
from orchestrator.errors import printable
from orchestrator.files import files_below
from orchestrator.planning.selection import KEYS, matches, names
from orchestrator.records import JobSpec, Samples
from orchestrator.results.accuracy import badness
from orchestrator.results.configuration import JobConfigs, flatten
from orchestrator.results.listing import status
from orchestrator.results.load import JobOutcome, fact, figure, items, outcome
from orchestrator.results.metrics import MIB
from orchestrator.results.row_commands import Commands
from orchestrator.samples import spread
from orchestrator.store import JobGraph, Sweep, SweepFolder

TAIL_BYTES = 64 * 1024
SHOWN_APART = ("memory", "accuracy", "graph_break_reasons", "tables")
"""Facts that are tables of their own, or say what those are."""
ONLY = (*KEYS, "round", "status", "job")
"""Keys by which `select` chooses."""


@dataclass(frozen=True)
class Edge:
    """An edge of the job graph, from the job that is looked at: `needs` is False where the other one needs it."""

    needs: bool
    kind: str
    other: JobOutcome


@dataclass(frozen=True)
class JobDetails:
    """One job of a sweep that was read."""

    folder: SweepFolder
    sweep: Sweep
    outcome: JobOutcome
    edges: tuple[Edge, ...]

    @property
    def job(self) -> JobSpec:
        return self.outcome.job

    @property
    def config(self) -> dict[str, Any]:
        """What can change its figures, as keys of the configuration; the round is no key."""
        return JobConfigs().of(self.job)

    @property
    def files(self) -> list[tuple[str, int]]:
        """Files in the job's folder with their bytes, sorted by name."""
        return sorted(files_below(self.folder.job(self.job.id)))

    @property
    def point(self) -> tuple[str, ...]:
        """The overrides of the grid point that asked for it; () where it was imported."""
        at = self.job.point
        return self.sweep.grid[at] if at is not None and at < len(self.sweep.grid) else ()

    @property
    def command(self) -> str:
        """The command that plans the job again: with today's configuration, unlike `rerun`."""
        return Commands(self.sweep).of([[self.job]])

    def facts(self) -> dict[str, Any]:
        """Return all facts but those that are tables of their own, flat."""
        facts = self.outcome.facts
        return dict(flatten({key: value for key, value in facts.items() if key not in SHOWN_APART}))

    def memory(self) -> list[tuple[str, str, float | None, float | None, float | None]]:
        """Return (what, phase, start, peak, end) in MiB."""
        memory = fact(self.outcome.facts, "memory")
        found: list[tuple[str, str, float | None, float | None, float | None]] = []
        for phase, levels in _map(fact(memory, "phases")).items():
            start, peak, end = (_mib(levels, key) for key in ("start", "peak", "end"))
            found.append(("process", phase, start, peak, end))
        children = _map(fact(memory, "children"))
        found += [("children", phase, None, _mib(children, phase), None) for phase in children]
        for phase, levels in _map(fact(memory, "cuda")).items():
            for what in ("allocated", "reserved", "graph_pools", "process", "device"):
                start, end = (_mib(levels, key) if what == "allocated" else None for key in ("start", "end"))
                found.append((f"CUDA {what.replace('_', ' ')}", phase, start, _mib(levels, what), end))
        return found

    @property
    def base(self) -> float | None:
        """MiB before the model existed."""
        return _mib(self.outcome.facts, "memory", "base")

    @property
    def memory_source(self) -> str:
        return str(fact(self.outcome.facts, "memory", "source") or "unknown source")

    def graph_breaks(self) -> list[tuple[str, int]]:
        """Return the reasons of graph breaks with their counts, the most frequent first."""
        found = items(self.outcome.facts, "graph_break_reasons")
        return [(str(fact(one, "reason")), round(figure(one, "count") or 0)) for one in found]

    def tensors(self) -> list[dict[str, Any]]:
        """Return the tensors that an accuracy job compared, those that failed first, the worst of them at the top."""
        found = [one for one in items(self.outcome.facts, "accuracy", "tensors") if isinstance(one, dict)]
        return sorted(found, key=badness, reverse=True)

    def log(self, most: int | None = None) -> Iterator[str]:
        """Yield the lines of the log, fit for a terminal; none where there is no log that can be read.

        All of them, or those of its last `most` bytes. A line that does not end comes in pieces of `limits.LOG_LINE`.
        """
        with contextlib.suppress(OSError), open(self.folder.log_file(self.job.id), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0 if most is None else max(size - most, 0))
            while text := file.readline(limits.LOG_LINE):
                yield from printable(text.decode(errors="replace"))

    def end_of_log(self) -> list[str]:
        """Return the last lines of the log: of a long one those in its last 64 KiB."""
        text = self.folder.end_of_log(self.job.id, TAIL_BYTES)
        return printable((text or b"").decode(errors="replace"))


@dataclass(frozen=True)
class Summary:
    """Samples of one metric in their own unit; `values` in time order. Quartiles are None for fewer than two."""

    samples: Samples
    median: float | None
    low: float | None
    high: float | None


def summaries(found: JobOutcome) -> list[Summary]:
    """Summarise all samples of a job. Nothing is left out of them."""
    return [_summary(samples) for samples in found.result.samples] if found.result is not None else []


def _summary(samples: Samples) -> Summary:
    values = samples.values
    if len(values) < 2:
        return Summary(samples, values[0] if values else None, None, None)
    seen = spread(values)
    return Summary(samples, seen.median, seen.low, seen.high)


def read(folder: SweepFolder, sweep: Sweep, graph: JobGraph, job: JobSpec) -> JobDetails:
    """Read one job of a sweep, and what became of the jobs that it has edges with."""
    by_id = {other.id: other for other in graph.jobs}

    def found(other: JobSpec) -> JobOutcome:
        return outcome(other, folder.read_result(other.id))

    edges = [Edge(True, need.kind, found(by_id[need.job])) for need in job.needs if need.job in by_id]
    for other in graph.jobs:
        edges += [Edge(False, need.kind, found(other)) for need in other.needs if need.job == job.id]
    return JobDetails(folder, sweep, found(job), tuple(edges))


def select(folder: SweepFolder, jobs: Sequence[JobSpec], rule: Mapping[str, list[str]]) -> list[JobSpec]:
    """Return the jobs that match all of `rule`; values are globs."""

    def known(job: JobSpec) -> dict[str, tuple[Any, ...]]:
        called = names(job.workload, job.compiler, job.measure, job.is_training)
        return {**called, "round": (job.round,), "job": (job.id,)}

    quick = {key: value for key, value in rule.items() if key != "status"}
    found = [job for job in jobs if matches(quick, known(job))]
    if "status" in rule:
        found = [job for job in found if matches({"status": rule["status"]}, {"status": (status(folder, job),)})]
    return found


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mib(facts: Any, *path: str) -> float | None:
    found = figure(facts, *path)
    return None if found is None else found * MIB
