"""Run a sweep folder before the eyes of a person: progress while it runs, Ctrl-C, its tables at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from orchestrator.cli.finish import finish
from orchestrator.execution.lock import InUse
from orchestrator.execution.observer import Observer
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import run_shard
from orchestrator.records import JobResult, JobSpec
from orchestrator.store import JobGraph, SweepFolder
from orchestrator.views.progress import Progress

INTERRUPTED = 130
"""Exit code of a run that was told to end: what a shell says after Ctrl-C, 128 + SIGINT."""


@dataclass
class _Watch:
    """Passes on to the progress display what happens, and remembers an interrupt for the exit code."""

    progress: Progress
    was_interrupted: bool = False

    def waiting(self, job: JobSpec, reason: str) -> None:
        self.progress.waiting(job, reason)

    def started(self, job: JobSpec) -> None:
        self.progress.started(job)

    def finished(self, job: JobSpec, result: JobResult) -> None:
        self.progress.finished(job, result)

    def interrupted(self, *, at_once: bool) -> None:
        self.progress.interrupted(at_once=at_once)
        self.was_interrupted = True


def run_watched(
    folder: SweepFolder, pending: JobGraph, launch: Callable[[Observer | None], object], *, shown: bool = True
) -> bool:
    """Launch what runs the jobs `pending`; return whether it was interrupted.

    `launch` gets the observer that draws the progress; None when what it starts reports for itself (`shown` False).
    """
    progress = Progress(pending, folder)
    watch = _Watch(progress)
    try:
        if shown:
            with progress:
                launch(watch)
        else:
            launch(None)
    except KeyboardInterrupt:
        watch.interrupted(at_once=True)
    return watch.was_interrupted


def run_stored(folder: SweepFolder, pending: JobGraph, settings: Settings, leave: Collection[str] = ()) -> bool:
    """Run what a written sweep folder has no result of, here; return whether it was interrupted."""
    return run_watched(folder, pending, lambda observer: run_shard(str(folder), 0, 1, settings, observer, leave))


def run_and_finish(folder: SweepFolder, run: Callable[[], bool]) -> int:
    """Run, then make and show the tables, whatever stopped the run; return the exit code.

    Not those of a sweep that someone else is running.
    """
    try:
        interrupted = run()
    except InUse:
        raise
    except BaseException:
        finish(folder)
        raise
    code = finish(folder)
    return INTERRUPTED if interrupted else code
