"""Which sweeps there are and how far each has come. Answered from plans and the first bytes of results."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.execution.lock import holder
from orchestrator.records import HARMLESS, NOT_RUN, REFERENCE_MEASURE, STATUSES, JobSpec
from orchestrator.results.load import one_line
from orchestrator.store import JobGraph, Sweep, SweepFolder, own_jobs

RUNNING, FINISHED, INCOMPLETE, DAMAGED = "running", "finished", "incomplete", "damaged"
COLUMNS = (
    *("sweep", "tag", "state", "jobs_planned", "jobs_passed", "jobs_failed", "jobs_not_run", "created_s", "suites"),
    *("compilers", "origin", "holder", "reason", "command", "folder"),
)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A sweep, or what should be one: then `sweep` is None and `reason` says what is wrong.

    statuses: status -> number of jobs; holder: who runs it now.
    """

    folder: SweepFolder
    state: str
    reason: str = ""
    holder: str | None = None
    sweep: Sweep | None = None
    statuses: Counter[str] = field(default_factory=Counter)
    suites: tuple[str, ...] = ()
    compilers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def tag(self) -> str:
        """Return the sweep's label, "" where it has none."""
        return "" if self.sweep is None else tag(self.sweep)

    @property
    def planned(self) -> int:
        return self.statuses.total()

    @property
    def not_run(self) -> int:
        return self.statuses[NOT_RUN]

    @property
    def passed(self) -> int:
        return sum(self.statuses[status] for status in HARMLESS)

    @property
    def failed(self) -> int:
        return self.planned - self.passed - self.not_run

    def row(self) -> dict[str, Any]:
        """Return the row of a table with `COLUMNS`; of a damaged sweep nothing is known but that."""
        row: dict[str, Any] = {
            "sweep": one_line(self.name),
            "state": self.state,
            "reason": self.reason,
            "folder": str(self.folder),
        }
        if self.sweep is None:
            return row
        return row | {
            "tag": self.tag or None,
            "jobs_planned": self.planned,
            "jobs_passed": self.passed,
            "jobs_failed": self.failed,
            "jobs_not_run": self.not_run,
            "created_s": self.sweep.created,
            "suites": ", ".join(self.suites),
            "compilers": ", ".join(self.compilers),
            "origin": one_line(self.sweep.origin or ""),
            "holder": self.holder,
            "command": command(self.sweep),
        }


def tag(sweep: Sweep) -> str:
    """Return the label that a sweep was given (`tag=`), "" where it was given none."""
    found = sweep.points[0].get("tag") if sweep.points else None
    return one_line(found) if isinstance(found, str) else ""


def command(sweep: Sweep) -> str:
    """Return the command line that made the sweep, quoted for a shell."""
    return one_line("python -m orchestrator " + shlex.join(sweep.argv))


def folders(roots: Iterable[Path]) -> list[Path]:
    """Return what lies where sweeps lie, newest first: sweeps, what is left of some, and what cannot be looked into."""
    found = {path.resolve(): path for root in roots for path in _below(root)}
    return sorted(found.values(), key=lambda path: (path.parent.name, path.name), reverse=True)


def _below(root: Path) -> Iterator[Path]:
    for date in _entries(root):
        if isinstance(_names(date), OSError):
            yield date
        for folder in _entries(date):
            names = _names(folder)
            if isinstance(names, OSError) or {"sweep.json", "plan.json"} & names:
                yield folder


def _entries(folder: Path) -> list[Path]:
    names = _names(folder)
    paths = [folder / name for name in sorted(names)] if isinstance(names, set) else []
    return [path for path in paths if os.path.isdir(path)]


def _names(folder: Path) -> set[str] | OSError:
    try:
        return set(os.listdir(folder))
    except OSError as error:
        return error


def look(path: Path) -> Listed:
    """Look at one of `folders`. Whatever is wrong with it is said in the row, nothing is raised."""
    folder = SweepFolder(path)
    names = _names(path)
    if isinstance(names, OSError):
        return Listed(folder=folder, state=DAMAGED, reason=f"it cannot be read: {names.strerror}")
    try:
        return of(folder, folder.read_sweep(), folder.read_graph())
    except UsageError as error:
        return Listed(folder=folder, state=DAMAGED, reason=one_line(str(error)))


def of(folder: SweepFolder, sweep: Sweep, graph: JobGraph, statuses: Counter[str] | None = None) -> Listed:
    """Return how far a sweep that was read has come. statuses: those of its jobs, if they are known."""
    if statuses is None:
        statuses = Counter(status(folder, job) for job in own_jobs(graph, sweep).jobs)
    running = holder(folder)
    left = statuses[NOT_RUN]
    asked = [job for job in graph.jobs if job.measure.name != REFERENCE_MEASURE]
    return Listed(
        folder=folder,
        state=RUNNING if running else INCOMPLETE if left else FINISHED,
        holder=one_line(running) if running else None,
        sweep=sweep,
        statuses=statuses,
        suites=tuple(map(one_line, dict.fromkeys(job.workload.suite for job in asked))),
        compilers=tuple(map(one_line, dict.fromkeys(job.compiler.name for job in asked))),
    )


def status(folder: SweepFolder, job: JobSpec) -> str:
    """Return what became of a job, as `orchestrator.results.load.outcome` does, at a tenth of the cost."""
    found = folder.read_status(job.id)
    if found is None and job.verdict is not None and not folder.result_file(job.id).exists():
        return job.verdict.status
    return found if found in STATUSES else NOT_RUN
