"""How long a sweep will still take, as a range: the plan's estimates, corrected by what its jobs took until now.

A job takes its planned seconds times a few unknown factors: one of the whole sweep (this machine, its load), one each
of its kind of work, its compiler, both together, its workload, and its row, which all rounds share. The logarithm of
each begins as a normal variable around 0 (`SPREAD`). A finished job moves those that it has, each by its share of what
is uncertain: two quick references say little of compiling, a row's first round says much of its next. This is a Kalman
filter whose covariance is kept diagonal (`Factors`).

On several slots what is left is what the slot has that will end last: all that is compared goes to one slot, to the one
that is free first.

Knows tasks and times, which it is told; no files, no processes, no clock: so a recorded sweep can be replayed.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.execution.agenda import is_shareable
from orchestrator.planning.shards import busiest, comparison
from orchestrator.records import JUDGED, NEED_REQUIRES_SUCCESS, TIMED, JobSpec, fingerprint

SPREAD = {"sweep": 0.9, "kind": 0.3, "compiler": 0.2, "compiler's kind": 0.2, "workload": 0.4, "row": 0.4}
"""Standard deviations of the factors' logarithms before any job has finished."""
NOISE = 0.2
"""The same, of a job by itself."""
MOMENT_S = 3.0
"""Seconds that are added to a time before its logarithm is taken: a moment says little of ratios."""
SURPRISE = 2.0
"""What surprises by more than so many standard deviations is laid to the NARROW factors."""
OWN = ("workload", "row")
NARROW = ("kind", "compiler's kind", "row")
FAILED_NOISE = 3.0
"""Instead of NOISE, of a job that failed: how soon says little of how long another takes."""
SERVER_S, SERVER_NOISE = 4.0, 0.3
"""Until the first worker of a sweep runs: its server imports torch. How long that takes says how fast the machine is
now, but for a factor whose logarithm has this standard deviation."""
WIDTH = 1.0
"""The range is so many standard deviations to each side of its middle, and never more than WIDEST of the middle."""
WIDEST = 0.8
LATE = 0.25
"""What takes longer than foreseen will take this share of its time until now more."""
GAP = (0.1, 10.0)
"""Seconds between a job's start and its worker's first instruction, and for so many jobs that stands."""
IDLE = (0.5, 2.0)
"""Seconds that a task waits for its device, which another sweep may have, and for so many tasks that stands."""
QUIET = (1.0, 1.0)
"""Seconds that a timed one waits for a quiet machine, and for so many that stands."""
NEEDED = (0.5, 2.0)
"""The share of those rounds that a row may not need which it does, and for so many rounds that stands."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a forecast knows of a job.

    kind: of work; compiler, workload, row: names of whose factors it has; cost_s: seconds, as planned; beside: it may
    run beside others; timed: it may wait for a quiet machine; optional: it is a round that its row may not need; needs:
    tasks without whose success it is not run.
    """

    kind: str
    compiler: str
    workload: str
    row: str
    cost_s: float
    beside: bool = False
    timed: bool = False
    optional: bool = False
    needs: tuple[str, ...] = ()
    unit: Hashable = ()

    @functools.cached_property
    def factors(self) -> tuple[tuple[str, str], ...]:
        """Return the factors that this task has: the kind of each, and its name."""
        return (
            ("sweep", ""),
            ("kind", self.kind),
            ("compiler", self.compiler),
            ("compiler's kind", f"{self.compiler} {self.kind}"),
            ("workload", self.workload),
            ("row", self.row),
        )


def tasks_of(jobs: Iterable[JobSpec], rounds_min: int) -> dict[str, Task]:
    """Return the task of each job for which a process will be started, by the job's id."""
    return {
        job.id: Task(
            kind=kind_of_work(job),
            compiler=job.compiler.name,
            workload=fingerprint(job.workload),
            row=job.family,
            cost_s=job.cost_s,
            beside=is_shareable(job),
            timed=job.kind == TIMED,
            optional=job.kind == TIMED and job.round >= rounds_min,
            needs=tuple(need.job for need in job.needs if NEED_REQUIRES_SUCCESS[need.kind]),
            unit=comparison(job.workload),
        )
        for job in jobs
        if job.verdict is None
    }


def kind_of_work(job: JobSpec) -> str:
    """Return what a job does, by how its time can be foreseen: "reference", "performance, eager", ..."""
    words = [job.measure.name]
    if job.is_eager and job.kind in (TIMED, JUDGED):
        words.append("eager")
    if job.kind == TIMED and not job.is_eager and job.round:
        words.append("again")  # with the compile cache of the rounds before
    if any(need.kind == "timed" for need in job.needs):
        words.append("after timing")  # what was timed is judged, or compiled again with its cache
    return ", ".join(words)


class Factors:
    """What is known of the logarithms of the factors: mean and variance of each that any task was seen to have."""

    def __init__(self) -> None:
        self._mean: dict[tuple[str, str], float] = {}
        self._variance: dict[tuple[str, str], float] = {}

    def variance(self, factor: tuple[str, str]) -> float:
        return self._variance.get(factor, SPREAD[factor[0]] ** 2)

    def of(self, task: Task, skew: float = 1.0) -> float:
        """Return by what a task's planned seconds are to be multiplied: the mean, over what is not known of the task
        itself, with `skew` 0 the median.
        """
        own = sum(self.variance(factor) for factor in task.factors if factor[0] in OWN)
        return math.exp(sum(self._mean.get(factor, 0.0) for factor in task.factors) + skew * own / 2)

    @contextlib.contextmanager
    def supposing(self) -> Iterator[None]:
        """Forget afterwards what is learned inside."""
        mean, variance = self._mean, self._variance
        self._mean, self._variance = dict(mean), dict(variance)
        try:
            yield
        finally:
            self._mean, self._variance = mean, variance

    def learn_speed(self, ratio: float) -> None:
        """Note how long work took that is no task's, by what it takes usually."""
        factor = ("sweep", "")
        gain = self.variance(factor) / (self.variance(factor) + SERVER_NOISE**2)
        self._mean[factor] = self._mean.get(factor, 0.0) + gain * math.log(ratio)
        self._variance[factor] = self.variance(factor) * (1 - gain)

    def learn(self, task: Task, took_s: float, noise: float) -> None:
        """Note how long a task took. `noise`: standard deviation of the logarithm of its time by itself."""
        foreseen = task.cost_s * self.of(task, skew=0.0)
        slope = foreseen / (foreseen + MOMENT_S)
        surprise = math.log((took_s + MOMENT_S) / (foreseen + MOMENT_S))
        variances = {factor: self.variance(factor) for factor in task.factors}
        total = sum(variances.values()) * slope**2 + noise**2
        most = SURPRISE * math.sqrt(total)
        for factor, variance in variances.items():
            gain = variance * slope / total
            seen = surprise if factor[0] in NARROW else min(max(surprise, -most), most)
            self._mean[factor] = self._mean.get(factor, 0.0) + gain * seen
            self._variance[factor] = variance * (1 - gain * slope)


@dataclass(frozen=True)
class Left:
    """Seconds that are left, from `low` to `high`. `late`: all that is left should have ended by now."""

    low: float
    high: float
    late: bool = False

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


class _Mean:
    """The mean of what was seen, and of a value that stands for `weight` others."""

    def __init__(self, value: float, weight: float) -> None:
        self.weight, self._sum = weight, value * weight

    @property
    def value(self) -> float:
        return self._sum / self.weight

    def supposing(self, value: float) -> float:
        """Return the mean as it were with one more value."""
        return (self._sum + value) / (self.weight + 1)

    def add(self, value: float) -> None:
        self.weight += 1
        self._sum += value


class Forecast:
    """Of one run: told what starts and ends, with the time of any clock, in seconds, it says what is left.

    `budget_s`: the run ends so long after `began`, at the latest. `slots`: of the machine.
    """

    def __init__(
        self, tasks: Mapping[str, Task], began: float = 0.0, budget_s: float | None = None, slots: int = 1
    ) -> None:
        self._tasks, self._slots = tasks, slots
        self._end = math.inf if budget_s is None else began + budget_s
        self._pending = dict.fromkeys(tasks)
        self._running: dict[str, float] = {}
        self._opened: dict[Hashable, None] = {}  # units that a slot has
        self._expected: dict[str, float] = {}  # of those that run, as it was foreseen when they started
        self._dependents: defaultdict[str, list[str]] = defaultdict(list)
        for name, task in tasks.items():
            for need in task.needs:
                self._dependents[need].append(name)
        self._factors = Factors()
        self._has_server = False
        self._gap, self._idle, self._quiet, self._needed = _Mean(*GAP), _Mean(*IDLE), _Mean(*QUIET), _Mean(*NEEDED)
        self._waits: dict[str, _Mean] = {}  # as _quiet, of kinds of work that are not timed alone (flops), where seen
        self._places = 1  # so many tasks were seen to run side by side on a slot
        self._free_since: float | None = None  # nothing has run since then

    def started(self, name: str, now: float) -> None:
        """A process is being started for a task; again when it is retried."""
        if name not in self._tasks:
            return
        if name in self._pending and not self._tasks[name].beside:
            self._idle.add(max(now - self._free_since, 0.0) if self._free_since is not None else 0.0)
        self._free_since = None
        self._pending.pop(name, None)
        self._expected[name] = self.expected_s(name)
        self._running[name] = now
        self._opened[self._tasks[name].unit] = None
        beside = [self._tasks[other].unit for other in self._running if self._tasks[other].beside]
        if beside:
            self._places = max(self._places, math.ceil(len(beside) / min(len(set(beside)), self._slots)))

    def finished(
        self,
        name: str,
        now: float,
        worked_s: float | None,
        *,
        well: bool,
        needed: bool = True,
        waited_s: float | None = None,
    ) -> None:
        """A task has its result. `worked_s`: what its worker took, None where there was none; `waited_s`: how much of
        that it waited for a quiet machine, None where it did not look.
        """
        self._pending.pop(name, None)
        began = self._running.pop(name, None)
        self._expected.pop(name, None)
        if began is not None and not self._running:
            self._free_since = now
        task = self._tasks.get(name)
        if task is None:
            return
        if task.optional and (well or not needed):
            self._needed.add(float(needed))
        if not well and needed:
            self._give_up(name)
        if began is None or worked_s is None:
            return
        gap = max(now - began - worked_s, 0.0)
        if self._has_server:
            self._gap.add(min(gap, SERVER_S))
        elif gap >= SERVER_S / 5:  # else it was there, or there is none
            self._factors.learn_speed(gap / SERVER_S)
        self._has_server = True
        if waited_s is not None:
            waits = self._quiet if task.timed else self._waits.setdefault(task.kind, _Mean(waited_s, 0.5))
            waits.add(waited_s)
        self._factors.learn(task, worked_s - (waited_s or 0.0), NOISE if well else FAILED_NOISE)

    def waits_once(self) -> None:
        """What is made once is made now: this wait says nothing of later ones."""
        self._free_since = None

    def stops(self) -> None:
        """Nothing more is started."""
        self._pending.clear()

    def dropped(self, name: str) -> None:
        """A task will not be run, or was stopped: there is no time for it."""
        self._pending.pop(name, None)
        self._running.pop(name, None)
        self._expected.pop(name, None)

    def expected_s(self, name: str) -> float:
        """Return how long a task takes from its start, in all: of one that runs, as it was foreseen then."""
        if name in self._expected:
            return self._expected[name]
        task = self._tasks.get(name)
        if task is None:
            return 0.0
        quiet = self._quiet if task.timed else self._waits.get(task.kind)
        waits = (self._gap.value if self._has_server else SERVER_S) + (0.0 if quiet is None else quiet.value)
        return task.cost_s * self._factors.of(task) + waits

    def left(self, now: float) -> Left:
        """Return the seconds that are left."""
        elapsed = {name: max(now - began, 0.0) for name, began in self._running.items()}
        late = {name: spent * (1 + LATE) for name, spent in elapsed.items() if spent >= self._expected[name]}
        with self._factors.supposing():
            if late and not self._has_server:
                self._factors.learn_speed(max(late.values()) / SERVER_S)
            elif late:
                for name, seconds in late.items():
                    self._factors.learn(self._tasks[name], seconds, NOISE)
            middle, deviation = self._sum(now, elapsed, late)
        half = min(WIDTH * deviation, WIDEST * middle)
        low, high, until = middle - half, middle + half, max(self._end - now, 0.0)
        if high > until:  # the last task that waits will hardly fit in exactly
            longest = max(map(self.expected_s, self._pending), default=0.0)
            low, high = min(low, max(until - longest, (1 - WIDEST) * until)), until
        is_late = bool(late) and len(late) == len(elapsed) and not self._pending
        return Left(low, high, is_late)

    def _sum(self, now: float, elapsed: Mapping[str, float], late: Mapping[str, float]) -> tuple[float, float]:
        """Return the seconds that are left, and their standard deviation."""
        share = self._needed.value
        waited = 0.0 if self._running or self._free_since is None else now - self._free_since
        idle = max(self._idle.value, self._idle.supposing(waited))  # who waits now has not waited to the end
        seconds = {name: self.expected_s(name) for name in self._pending}
        seconds |= {name: late.get(name, self._expected[name]) - spent for name, spent in elapsed.items()}
        beside = {name: seconds[name] for name in (*elapsed, *self._pending) if self._tasks[name].beside}
        wall_s = sum(beside[name] for name in busiest(beside, self._places))
        overlap = sum(beside.values()) / wall_s if wall_s else 1.0  # skipped jobs take no time
        for name in seconds:
            if self._tasks[name].beside:
                seconds[name] /= overlap
            elif name in self._pending:
                seconds[name] += idle
        open_ = {name for name in self._pending if self._tasks[name].optional}
        total = own = optional = 0.0
        of_factors: defaultdict[tuple[str, str], float] = defaultdict(float)
        for name in self._of_the_last_slot({n: s * share if n in open_ else s for n, s in seconds.items()}):
            task, spent = self._tasks[name], seconds[name]
            if name in open_:
                optional += spent
                spent *= share
            total += spent
            own += (NOISE * spent) ** 2 + MOMENT_S**2
            for factor in task.factors:
                of_factors[factor] += spent
        variance = own + sum(self._factors.variance(factor) * spent**2 for factor, spent in of_factors.items())
        variance += share * (1 - share) / (self._needed.weight + 1) * optional**2  # of a beta distribution
        return total, math.sqrt(variance)

    def _of_the_last_slot(self, seconds: Mapping[str, float]) -> Iterable[str]:
        """Return the tasks of the slot that will end last. A slot goes on with what it has opened."""
        if self._slots == 1:
            return seconds
        costs = dict.fromkeys((*(self._tasks[name].unit for name in self._running), *self._opened), 0.0)
        for name, spent in seconds.items():
            costs[self._tasks[name].unit] = costs.get(self._tasks[name].unit, 0.0) + spent
        last = busiest({unit: spent for unit, spent in costs.items() if spent}, self._slots)
        return [name for name in seconds if self._tasks[name].unit in last]

    def _give_up(self, name: str) -> None:
        """What needs the success of a task that failed will get a result without a process."""
        for dependent in self._dependents.get(name, ()):
            if dependent in self._pending:
                del self._pending[dependent]
                self._give_up(dependent)
