"""Live progress of a sweep: a line for each result, what runs and in which phase, and how long it may still take.

The scheduler calls `waiting`, `started`, `finished` and `interrupted`; nothing here may slow a job that is being timed.
So the picture is drawn on events and once a second in between: one draw takes a few milliseconds of one core, a
thousandth to a hundredth of a core in all, under the 0.1 foreign cores that mark a measurement as disturbed; there is
no spinner. Where stdout is no terminal nothing is drawn: one plain line per result, and no thread.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.columns import significant
from orchestrator.execution.budget import RESERVE_S
from orchestrator.execution.evidence import speedup_of
from orchestrator.execution.forecast import Forecast, Left, tasks_of
from orchestrator.execution.observer import WAITING_EVERY_S
from orchestrator.execution.settings import Settings
from orchestrator.execution.toolchain import MAKING
from orchestrator.records import HARMLESS, NOT_NEEDED, PASS, SUCCESSES, TIMED, JobResult, JobSpec
from orchestrator.results.load import figure, one_line
from orchestrator.results.naming import Naming, distinguish, telling_of_models
from orchestrator.store import JobGraph, SweepFolder
from orchestrator.views.layout import console, cut, duration, paragraph, span
from orchestrator.words import more, plural

REFRESH_PER_SECOND = 1
ESTIMATE_EVERY_S, ESTIMATE_SHARE = 1.0, 0.01
"""The time that is left is worked out no more often, nor in more than this share of the time: 10,000 jobs are many."""
SHOWN = 8
"""So many running jobs are listed; more run only where jobs share a big machine."""
TOLD = ("mode", "dtype", "device", "batch_size", "sequence_length", "seed", "threads", "build", "variant")
"""Columns that are in a job's name where they tell rows of a model apart."""
DOING = {
    "import": "importing",
    "build": "building the model",
    "compile": "compiling",
    "warmup": "warming up",
    "steady": "timing",
    "pairs": "timing pairs",
    "compare": "comparing",
    "fp64_run": "running float64",
}
"""What a phase is called; one that is not here is called by its own name."""
BETWEEN = " · "
SHORTEST = 8
"""So much of a model's name is always shown."""


class Progress:
    """Context manager around the run of a job graph; its methods are called from the thread that schedules.

    `graph` are the jobs that will be reported: on resume those that still have to run. `settings` are those of the run,
    on so many `slots`.
    """

    def __init__(
        self,
        graph: JobGraph,
        folder: SweepFolder,
        out: Console | None = None,
        settings: Settings | None = None,
        slots: int = 1,
    ) -> None:
        self.folder = folder
        self.total = len(graph.jobs)
        self.done = 0
        self.failed = 0
        self.was_interrupted = False
        self._open = 0
        self.out = out or console()
        self._names = _Names(graph.jobs)
        settings = settings or Settings()
        self._start = time.monotonic()
        budget = None if settings.budget_s is None else max(settings.budget_s - RESERVE_S, 0.0)
        self._forecast = Forecast(tasks_of(graph.jobs, settings.rounds_min), self._start, budget, slots)
        self._left: tuple[float, Left] = (-math.inf, Left(0.0, 0.0))  # when it was worked out, and what it was
        self._estimate_every_s = ESTIMATE_EVERY_S
        self._running: dict[str, tuple[JobSpec, float]] = {}
        self._waiting: str | None = None  # for whom the next job waits
        self._said_waiting = -math.inf
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
        """`job` waits for its device: another sweep on this machine has it. Or for what compilers make once."""
        now = time.monotonic()
        if reason == MAKING:
            self._forecast.waits_once()
        if self._live is None and now - self._said_waiting >= WAITING_EVERY_S:
            self._say(f"waiting for {one_line(reason)}", "yellow")
            self._said_waiting = now
        self._waiting = reason
        self._draw()

    def started(self, job: JobSpec) -> None:
        """A worker process was started for `job`; again when it is retried."""
        now = time.monotonic()
        self._waiting = None
        self._running[job.id] = (job, now)
        self._forecast.started(job.id, now)
        self._draw()

    def finished(self, job: JobSpec, result: JobResult) -> None:
        """`job` has its final result, whether a process was started for it or not."""
        ran = self._running.pop(job.id, None) is not None  # else it says nothing about costs
        self._forecast.finished(
            job.id,
            time.monotonic(),
            result.ended - result.started if ran else None,
            well=result.status in SUCCESSES,
            needed=result.status != NOT_NEEDED,
            waited_s=figure(result.facts, "waited_for_quiet_s"),
        )
        self.done += 1
        good = result.status in HARMLESS
        self.failed += not good
        self._say_result(job, result, good)
        self._draw()

    def verdicts(self, still_open: int) -> None:
        """So many rows have rounds to come that may decide them."""
        self._open = still_open
        self._draw()

    def out_of_time(self, job: JobSpec) -> None:
        """The budget leaves no time for `job`."""
        self._running.pop(job.id, None)
        self._forecast.dropped(job.id)
        self._say(f"no time left for {job.title}", "yellow")

    def interrupted(self, *, at_once: bool) -> None:
        """Nothing else is started; what runs is finished (Ctrl-C was pressed once), or killed `at_once`."""
        self.was_interrupted = True
        running = len(self._running)
        if at_once or not running:
            what = "stopping"
        else:
            what = f"waiting for {plural(running, 'running job')}; press Ctrl-C again to kill"
        self._forecast.stops()
        self._left = (-math.inf, self._left[1])
        self._say(f"Interrupted: {what}. Resume later with resume=latest.", "yellow")

    def of_shard(self, message: str, lost: Sequence[JobSpec]) -> None:
        """Something is to be said of a shard that runs elsewhere; it will not run the jobs `lost` any more."""
        for job in lost:
            self._running.pop(job.id, None)
            self._forecast.dropped(job.id)
        self._say(one_line(message), "yellow")
        self._draw()

    def left(self) -> Left:
        """Return the seconds that are left, as they were estimated a moment ago."""
        now = time.monotonic()
        if now - self._left[0] >= self._estimate_every_s:
            self._left = (now, self._forecast.left(now))
            self._estimate_every_s = max(ESTIMATE_EVERY_S, (time.monotonic() - now) / ESTIMATE_SHARE)
        at, left = self._left
        return Left(max(left.low - now + at, 0.0), max(left.high - now + at, 0.0), left.late)

    def render(self) -> Group:
        """Return the picture: a line of totals, then one line per running job."""
        now = time.monotonic()
        head = [f"{self.done}/{self.total}"]
        head += [f"{self.failed} failed"] if self.failed else []
        head += [f"{plural(self._open, 'verdict')} open"] if self._open else []
        lines = [Text(BETWEEN.join([*head, f"{duration(now - self._start)} so far", self._time_left()]), "bold")]
        for job, since in list(self._running.values())[:SHOWN]:
            expected = self._forecast.expected_s(job.id)
            phase = self._phase(job)
            times = f" {phase}, {duration(now - since)} (expected {max(round(expected), 1)})"
            room = max(self.out.width - len(f"now: {times}"), 20)
            lines.append(Text(f"now: {self._names.of(job, room)}{times}"))
        if self._waiting is not None:
            lines.append(Text(f"now: waiting for {one_line(self._waiting)}", "yellow"))
        lines += [Text(f"  {line}") for line in more(len(self._running), SHOWN)]
        for line in lines:
            line.truncate(self.out.width, overflow="ellipsis")
        return Group(*lines)

    def _time_left(self) -> str:
        left = self.left()
        return "longer than expected" if left.late else f"{span(left.low, left.high)} left"

    def _say_result(self, job: JobSpec, result: JobResult, good: bool) -> None:
        """Say what came of a job: on a terminal what is good on one line, in a log with the time that is left."""
        head = f"{self.done:>{len(str(self.total))}}/{self.total}"
        took = [duration(result.ended - result.started)] if result.ended > result.started else []
        parts = [head, f"{self._names.of(job)} {_word(job, result)}", *took]
        if result.failure is not None:
            kind = "" if good or result.failure.kind in ("", result.status) else f"{result.failure.kind}: "
            parts.append(f"{kind}{one_line(result.failure.message)}")
        if self._live is None:
            if self.done < self.total:
                parts.append(self._time_left())
        elif good:
            while len(parts) > 2 and len(BETWEEN.join(parts)) > self.out.width:
                parts.pop()
            over = len(BETWEEN.join(parts)) - self.out.width
            if over > 0:
                name = self._names.of(job)
                parts = [head, f"{self._names.of(job, len(name) - over)} {_word(job, result)}"]
        self._say(BETWEEN.join(parts), "" if good else "red")

    def _phase(self, job: JobSpec) -> str:
        try:
            phase = one_line(self.folder.phase_file(job.id).read_text()[:40])
        except OSError:  # the worker has not got there yet, or is gone
            return "starting"
        if job.is_eager and phase == "compile":
            return "calling first"
        return DOING.get(phase, phase.replace("_", " "))

    def _say(self, line: str, style: str) -> None:
        text = paragraph(line, self.out.width) if self.out.is_terminal else line
        self.out.print(Text(text, style), soft_wrap=True)
        self.out.file.flush()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.refresh()


class _Names:
    """What jobs are called in a line: model, what tells its rows apart, compiler, measure, round."""

    def __init__(self, jobs: Sequence[JobSpec]) -> None:
        self._naming = Naming(jobs)
        self._compilers = distinguish(
            {self._naming.print(job.compiler): (job.compiler.name, job.compiler.options) for job in jobs}
        )
        self._rounds = max((job.round for job in jobs), default=0)
        kinds = defaultdict(list)
        for job in jobs:
            kinds[job.measure.name].append(self._naming.identity(job))
        told = {column for rows in kinds.values() for column in telling_of_models(rows, TOLD)}
        self._told = [column for column in TOLD if column in told]

    def of(self, job: JobSpec, width: int = 1000) -> str:
        """Return "bert_small float16 inductor", "bert_small eager accuracy", "bert_small inductor round 2".

        Where that is wider than `width` the model's name is cut.
        """
        row = self._naming.identity(job)
        labels = {"batch_size": "batch ", "sequence_length": "length ", "seed": "seed ", "threads": "threads "}
        words = [f"{labels.get(column, '')}{row[column]}" for column in self._told if row[column] is not None]
        words += [self._compilers[self._naming.print(job.compiler)]] if job.measure.name != "reference" else []
        words += [job.measure.name] if job.kind != TIMED else []
        words += [f"round {job.round + 1}"] if job.kind == TIMED and self._rounds else []
        rest = "".join(f" {word}" for word in words)
        return cut(row["model"], max(width - len(rest), SHORTEST)) + rest


def _word(job: JobSpec, result: JobResult) -> str:
    """Return what a job found, in a word: the speed-up of its pairs, a latency, or its status."""
    if job.kind == TIMED and result.status == PASS:
        speedup, latency = speedup_of(result), result.sample("latency")
        if speedup is not None:
            return f"{speedup.value:.2f}x"
        if latency is not None and latency.values:
            return f"{significant(1e3 * statistics.median(latency.values))} ms"
    return "not needed" if result.status == NOT_NEEDED else result.status
