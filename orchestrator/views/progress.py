"""Live progress of a sweep: what is done, what runs and in which phase, how long it may take, failures as they happen.

The scheduler calls `waiting`, `started`, `finished` and `interrupted`; nothing here may slow a job that is being timed.
So the picture is drawn on events and once a second in between: one draw takes a few milliseconds of one core, a
thousandth to a hundredth of a core in all, under the 0.1 foreign cores that mark a measurement as disturbed; there is
no spinner. Where stdout is no terminal nothing is drawn: one plain line per finished job, and no thread.
"""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.execution.agenda import is_shareable
from orchestrator.execution.observer import WAITING_EVERY_S
from orchestrator.records import HARMLESS, JobResult, JobSpec
from orchestrator.results.load import one_line
from orchestrator.store import JobGraph, SweepFolder
from orchestrator.views.layout import console, duration, paragraph
from orchestrator.words import more, plural

REFRESH_PER_SECOND = 1
SHOWN = 8
"""So many running jobs are listed; more run only where jobs share a big machine."""


class Progress:
    """Context manager around the run of a job graph; its methods are called from the thread that schedules.

    `graph` are the jobs that will be reported: on resume those that still have to run.
    """

    def __init__(self, graph: JobGraph, folder: SweepFolder, out: Console | None = None) -> None:
        self.folder = folder
        self.total = len(graph.jobs)
        self.done = 0
        self.failed = 0
        self.was_interrupted = False
        self._open = 0
        self.out = out or console()
        self._costs = {job.id: 0.0 if job.verdict is not None else job.cost_s for job in graph.jobs}
        self._shared = {job.id for job in graph.jobs if is_shareable(job)}
        self._pending_s = {True: 0.0, False: 0.0}  # planned cost of what is left: that may run side by side, and alone
        for name, cost in self._costs.items():
            self._pending_s[name in self._shared] += cost
        self._most = 1  # so many have run at a time
        self._done_s = 0.0  # planned cost of the finished jobs, and how long they really took
        self._took_s = 0.0
        self._running: dict[str, tuple[JobSpec, float]] = {}
        self._waiting: str | None = None  # for whom the next job waits
        self._said_waiting = -math.inf
        self._start = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        if self.out.is_terminal:
            self._live = Live(
                console=self.out, get_renderable=self.render, refresh_per_second=REFRESH_PER_SECOND, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def waiting(self, job: JobSpec, reason: str) -> None:
        """`job` waits for its device: another sweep on this machine has it."""
        now = time.monotonic()
        if self._live is None and now - self._said_waiting >= WAITING_EVERY_S:
            self._say(f"waiting for {one_line(reason)}", "yellow")
            self._said_waiting = now
        self._waiting = reason
        self._draw()

    def started(self, job: JobSpec) -> None:
        """A worker process was started for `job`; again when it is retried."""
        self._waiting = None
        self._running[job.id] = (job, time.monotonic())
        self._most = max(self._most, len(self._running))
        self._draw()

    def finished(self, job: JobSpec, result: JobResult) -> None:
        """`job` has its final result, whether a process was started for it or not."""
        cost = self._costs.get(job.id, 0.0)
        if self._running.pop(job.id, None) is not None:  # else no process was started: it says nothing about costs
            self._done_s += cost
            self._took_s += result.ended - result.started
        self._pending_s[job.id in self._shared] -= cost
        self.done += 1
        good = result.status in HARMLESS
        self.failed += not good
        if not good or self._live is None:
            self._say(self._line(job, result), "" if good else "red")
        self._draw()

    def verdicts(self, still_open: int) -> None:
        """So many rows have rounds to come that may decide them."""
        self._open = still_open
        self._draw()

    def out_of_time(self, job: JobSpec) -> None:
        """The budget leaves no time for `job`."""
        self._running.pop(job.id, None)
        self._pending_s[job.id in self._shared] -= self._costs.get(job.id, 0.0)
        self._say(f"no time left for {job.title}", "yellow")

    def interrupted(self, *, at_once: bool) -> None:
        """Nothing else is started; what runs is finished (Ctrl-C was pressed once), or killed `at_once`."""
        self.was_interrupted = True
        running = len(self._running)
        if at_once or not running:
            what = "stopping"
        else:
            what = f"waiting for {plural(running, 'running job')}; press Ctrl-C again to kill"
        self._say(f"Interrupted: {what}. Resume later with resume=latest.", "yellow")

    def remaining_s(self) -> float:
        """Estimate the seconds that are left: planned costs, scaled by how long the finished ones really took.

        What may run side by side does so as it has until now.
        """
        scale = self._took_s / self._done_s if self._done_s > 0 else 1.0
        left = {kind: cost * scale for kind, cost in self._pending_s.items()}
        for job, since in self._running.values():
            left[job.id in self._shared] -= time.monotonic() - since
        return max(left[True], 0.0) / self._most + max(left[False], 0.0)

    def render(self) -> Group:
        """Return the picture: a line of totals, then one line per running job."""
        now = time.monotonic()
        failed = f", {self.failed} failed" if self.failed else ""
        still_open = f", {plural(self._open, 'verdict')} open" if self._open else ""
        head = (
            f"{self.done}/{self.total} jobs{failed}{still_open}, {duration(now - self._start)}"
            f", about {duration(self.remaining_s())} left"
        )
        lines = [Text(head, "bold")]
        for job, since in list(self._running.values())[:SHOWN]:
            phase = self._phase(job.id)
            lines.append(Text(f"  {duration(now - since):>6}  {phase:<10} {job.title}"))
        if self._waiting is not None:
            lines.append(Text(f"  waiting for {one_line(self._waiting)}", "yellow"))
        lines += [Text(f"  {line}") for line in more(len(self._running), SHOWN)]
        for line in lines:
            line.truncate(self.out.width, overflow="ellipsis")
        return Group(*lines)

    def _line(self, job: JobSpec, result: JobResult) -> str:
        took = f"  {duration(result.ended - result.started)}" if job.verdict is None else ""
        reason = f"  {one_line(result.failure.message)}" if result.failure is not None else ""
        width = len(str(self.total))
        return f"[{self.done:>{width}}/{self.total}] {result.status}  {job.title}{took}{reason}".rstrip()

    def _phase(self, job_id: str) -> str:
        try:
            return self.folder.phase_file(job_id).read_text()[:40].strip()
        except OSError:  # the worker has not got there yet, or is gone
            return "start"

    def _say(self, line: str, style: str) -> None:
        text = paragraph(line, self.out.width) if self.out.is_terminal else line
        self.out.print(Text(text, style), soft_wrap=True)
        self.out.file.flush()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()
