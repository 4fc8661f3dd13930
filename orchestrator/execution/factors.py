"""How long jobs take: the plan's estimates times a few factors, which are learned from the jobs that have finished.

A job takes its planned seconds times a few unknown factors: one of the whole sweep (this machine, its load), one each
of its kind of work, its compiler, both together, its workload, and its row, which all rounds share. The logarithm of
each begins as a normal variable around 0 (`SPREAD`). A finished job moves those that it has, each by its share of what
is uncertain: two quick references say little of compiling, a row's first round says much of its next. This is a Kalman
filter whose covariance is kept diagonal.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.execution.agenda import is_shareable
from orchestrator.planning.shards import comparison
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
