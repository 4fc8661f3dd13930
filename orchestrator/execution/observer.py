"""Who is told what a scheduler does. The terminal's progress display is one (`orchestrator.views.progress`)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from orchestrator.errors import printable
from orchestrator.records import JobResult, JobSpec

WAITING_EVERY_S = 60.0
"""Two sweeps that take turns wait once a job: a log says so once a minute."""


class Observer(Protocol):
    """Told when a process is started for a job (again for a retry), and once, for every job, how it ended."""

    def waiting(self, job: JobSpec, reason: str) -> None:
        """The job may start, but another sweep has its device: whose job, in words. Again when it is another's."""

    def started(self, job: JobSpec) -> None: ...

    def finished(self, job: JobSpec, result: JobResult) -> None: ...

    def verdicts(self, still_open: int) -> None:
        """So many rows have rounds to come that may decide them: told at the start, and when the number changes."""

    def out_of_time(self, job: JobSpec) -> None:
        """`job` is not run, or was stopped, for the budget leaves no time for it."""

    def interrupted(self, *, at_once: bool) -> None:
        """No other job is started; running ones are finished, or killed `at_once` (SIGTERM, Ctrl-C again)."""


class Onlooker(Observer, Protocol):
    """Told of shards that run elsewhere, too."""

    def of_shard(self, message: str, lost: Sequence[JobSpec]) -> None:
        """Something is to be said of a shard that runs elsewhere; it will not run the jobs `lost` any more."""


class PlainObserver:
    """One line on stderr for every job that ended: for logs and batch systems."""

    def __init__(self) -> None:
        self._said_waiting = -math.inf

    def waiting(self, job: JobSpec, reason: str) -> None:
        now = time.monotonic()
        if now - self._said_waiting >= WAITING_EVERY_S:
            print(f"waiting for {reason}", file=sys.stderr)
            self._said_waiting = now

    def started(self, job: JobSpec) -> None:
        """Nothing: the line comes when it ends."""

    def finished(self, job: JobSpec, result: JobResult) -> None:
        reason = f": {result.failure.message}" if result.failure else ""
        line = f"{result.ended - result.started:7.1f} s  {result.status}  {job.title}{reason}"
        print(" ".join(printable(line)), file=sys.stderr)

    def verdicts(self, still_open: int) -> None:
        """Nothing: the table says it at the end."""

    def out_of_time(self, job: JobSpec) -> None:
        print(" ".join(printable(f"no time left for {job.title}")), file=sys.stderr)

    def interrupted(self, *, at_once: bool) -> None:
        when = "at once" if at_once else "when the running jobs have ended; Ctrl-C again to kill them"
        print(f"stopping {when}", file=sys.stderr)

    def of_shard(self, message: str, lost: Sequence[JobSpec]) -> None:
        print(" ".join(printable(message)), file=sys.stderr)
