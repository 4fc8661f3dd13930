"""Read a sweep folder: what was planned, and what became of each job. Every planned job gives exactly one outcome.

100,000 results with their samples are gigabytes. Who makes tables of them (`streamed`) reads each when it is asked for,
and only the last few are kept.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestrator.errors import ESCAPES, UsageError
from orchestrator.records import NOT_RUN, OWN_BATCH, PASS, STATUSES, Failure, JobResult, JobSpec
from orchestrator.samples import quantile
from orchestrator.store import JobGraph, Sweep, SweepFolder, Unreadable

Derived = TypeVar("Derived")
GIVEN = "given"
"""Fact of an imported result: speedup, compile_latency_s, compression_ratio, without the samples behind them."""
NO_RESULT = "no result yet"
"""The reason of a job that has not been run, or not to its end."""
IN_SHARD = "in shard "
"""Begins the reason of a job that another part of the plan runs, in another folder."""
KEPT = 500
"""So many results that were read one by one are kept: those of a workload are looked at together."""
SMALLEST, LARGEST = 1e-15, 1e18
"""Seconds, bytes, ratios: no run has less or more."""


@dataclass(frozen=True)
class JobOutcome:
    """One planned job and its result. `result` is None when there is none that can be read; `reason` is one line.

    elsewhere: another part of the plan runs it, in another folder. baseline: its eager job, of the same workload and
    round. `derived` keeps figures that were computed from the result.
    """

    job: JobSpec
    status: str
    reason: str
    result: JobResult | None
    elsewhere: bool = False
    baseline: JobOutcome | None = field(default=None, init=False, repr=False, compare=False)
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def facts(self) -> Any:
        result = self.result
        return {} if result is None else result.facts

    @property
    def failure(self) -> Failure | None:
        return None if self.result is None else self.result.failure

    @property
    def environment(self) -> Mapping[str, Any]:
        """Where it ran; empty without a result."""
        return {} if self.result is None else self.result.environment

    @property
    def batch_size(self) -> int:
        """Samples of a step: the workload's, or the model's own as the job says; `OWN_BATCH` where neither is known."""
        return self.job.workload.batch_size or int(figure(self.facts, "own_batch_size") or OWN_BATCH)


class StreamedOutcome(JobOutcome):
    """An outcome that is read when it is first looked at. Its result may be dropped then, and is read again when it is
    asked for; its status and reason stay, though the sweep may go on meanwhile.
    """

    def __init__(self, job: JobSpec, reader: Reader) -> None:
        self._set(job=job, baseline=None, derived={}, _reader=reader)

    def __getattr__(self, name: str) -> Any:
        """Return what is not there (yet, or any more), and have it from now on."""
        if name not in ("status", "reason", "result"):
            raise AttributeError(name)
        reader: Reader = object.__getattribute__(self, "_reader")
        found, was_dropped = outcome(self.job, reader.read(self.job.id)), self._is_seen()
        if not was_dropped:
            self._set(status=found.status, reason=found.reason)
        self._set(result=found.result)
        if was_dropped or found.result is not None:
            reader.keep(self)
        return object.__getattribute__(self, name)

    def _is_seen(self) -> bool:
        try:
            object.__getattribute__(self, "status")
        except AttributeError:
            return False
        return True

    def _set(self, **values: Any) -> None:
        """Set attributes, in an order that is always the same: then their names are stored once for all outcomes."""
        for name, value in values.items():
            object.__setattr__(self, name, value)


class Reader:
    """Reads the results of a sweep one by one; of outcomes that were read long ago it drops them (`KEPT`)."""

    def __init__(self, folder: SweepFolder) -> None:
        self.read = folder.read_result
        self._having: deque[StreamedOutcome] = deque()

    def keep(self, one: StreamedOutcome) -> None:
        self._having.append(one)
        if len(self._having) > KEPT:
            object.__delattr__(self._having.popleft(), "result")


@dataclass(frozen=True)
class SweepResults:
    """A sweep and its outcomes, in plan order."""

    folder: SweepFolder
    sweep: Sweep
    outcomes: tuple[JobOutcome, ...]

    def __post_init__(self) -> None:
        by_id = {outcome.job.id: outcome for outcome in self.outcomes}
        for outcome in self.outcomes:
            for need in outcome.job.needs:
                if need.kind == "baseline" and need.job in by_id:
                    object.__setattr__(outcome, "baseline", by_id[need.job])


def load(folder: SweepFolder, wanted: Callable[[JobSpec], bool] = lambda job: True) -> SweepResults:
    """Read the plan, and the results of the jobs that are `wanted` (all): the others are left out.

    Missing and damaged result files are `not_run` outcomes with the reason: nothing is lost, nothing is dropped.
    Raises UsageError when the folder is not a sweep or its plan is damaged.
    """
    sweep = folder.read_sweep()
    return SweepResults(folder, sweep, outcomes(folder, sweep, folder.read_graph(), wanted))


def streamed(folder: SweepFolder) -> SweepResults:
    """Read the plan. Results are read when they are asked for; else as `load`, whose errors it raises."""
    sweep = folder.read_sweep()
    return SweepResults(folder, sweep, outcomes(folder, sweep, folder.read_graph(), stream=True))


def outcomes(
    folder: SweepFolder,
    sweep: Sweep,
    graph: JobGraph,
    wanted: Callable[[JobSpec], bool] = lambda job: True,
    *,
    stream: bool = False,
) -> tuple[JobOutcome, ...]:
    """Return what became of the jobs of a plan that are `wanted`; of another shard's that it is in another folder.

    stream: read each when it is asked for.
    Raises UsageError where the header does not have the plan's shards, and for results that are too large together.
    """
    if sweep.shard and len(sweep.parts) != len(graph.jobs):
        raise UsageError(f"{folder.sweep_file} is damaged: it has the shards of {len(sweep.parts)} jobs")
    folder.check_results(len(graph.jobs))
    own, reader = sweep.shard[:1], Reader(folder)
    with uncollected():
        return tuple(
            (StreamedOutcome(job, reader) if stream else outcome(job, folder.read_result(job.id)))
            if part in own or not own
            else JobOutcome(job, NOT_RUN, f"{IN_SHARD}{part}/{sweep.shard[1]}", None, elsewhere=True)
            for job, part in zip(graph.jobs, sweep.parts or itertools.repeat(0), strict=False)
            if wanted(job)
        )


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python's cyclic collector from looking through records again and again: they have no cycles.

    It took a third of the time of reading 10,000 results. What was made inside stays, and is not looked through later.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()


def outcome(job: JobSpec, result: JobResult | Unreadable | None) -> JobOutcome:
    """Return what became of one job. A verdict that is known when planning stands even before its file is written."""
    if isinstance(result, Unreadable):
        return JobOutcome(job, NOT_RUN, f"result file cannot be read: {one_line(result.reason)}", None)
    if result is None and job.verdict is not None:
        return JobOutcome(job, job.verdict.status, one_line(job.verdict.reason), None)
    if result is None:
        return JobOutcome(job, NOT_RUN, NO_RESULT, None)
    if result.status not in STATUSES:
        return JobOutcome(job, NOT_RUN, f"result file has the unknown status '{one_line(result.status)}'", None)
    return JobOutcome(job, result.status, one_line(result.failure.message) if result.failure else "", result)


def once(read: Callable[[JobOutcome], Derived]) -> Callable[[JobOutcome], Derived]:
    """Derive a figure of an outcome once, and keep it there: several tables ask for it."""

    name = read.__name__

    @functools.wraps(read)
    def kept(outcome: JobOutcome) -> Derived:
        derived: dict[str, Derived] = outcome.derived
        if name not in derived:
            derived[name] = read(outcome)
        return derived[name]

    return kept


@once
def is_handed_down(outcome: JobOutcome) -> bool:
    """Return whether a job failed because one that it needs did not end well."""
    return outcome.failure is not None and outcome.failure.kind == "dependency"


def worst(outcomes: Iterable[JobOutcome]) -> JobOutcome:
    """Return the outcome with the worst status, the first of several: later rounds only repeat its reason."""
    return min(outcomes, key=lambda outcome: STATUSES.index(outcome.status))


def one_line(text: str) -> str:
    """Return text on one line, without control characters: messages of compilers hold newlines and colours."""
    return " ".join("".join(c if c.isprintable() else " " for c in ESCAPES.sub("", text)).split())


def fact(facts: Any, *path: str) -> Any:
    """Return a nested fact, None where any step of `path` is absent."""
    for key in path:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return facts


def figure(facts: Any, *path: str) -> float | None:
    """Return a nested fact that is a number, None where it is absent or something else."""
    for key in path:  # as `fact`, which is called a hundred times for a row
        facts = facts.get(key) if isinstance(facts, dict) else None
    if type(facts) is float:
        return facts
    return float(facts) if isinstance(facts, (int, float)) and not isinstance(facts, bool) else None


def items(facts: Any, *path: str) -> list[Any]:
    """Return a nested fact that is a list, an empty one where it is absent or something else."""
    value = fact(facts, *path)
    return value if isinstance(value, list) else []


def is_figure(value: float) -> bool:
    """Tell whether a time, a size or a ratio can be one: positive, and no ratio of two of them is 0 or infinite."""
    return SMALLEST < value < LARGEST


def seconds(outcome: JobOutcome, metric: str) -> Sequence[float]:
    """Return the samples of a time of a round that passed; none if one of them is no figure (`is_figure`)."""
    samples = outcome.result.sample(metric) if outcome.result is not None and outcome.status == PASS else None
    if samples is None or not samples.values or not (is_figure(min(samples.values)) and is_figure(max(samples.values))):
        return ()
    return samples.values


@once
def latency_of(outcome: JobOutcome) -> float | None:
    """Return the median latency of a round that passed, in seconds; of one that took turns the 10th percentile.

    Whatever disturbs a call only makes it longer, and two processes that take turns are compared by whole processes:
    with three other programs on two CPUs, the ratios of two builds that are alike had a standard deviation of 20 % by
    their medians, of 9 % by the lower quartiles, of 5 % by the 10th percentiles (on a quiet machine 1.2 % by each).
    """
    values = seconds(outcome, "latency")
    if not values:
        return None
    return fastest(values) if "turns" in outcome.facts else statistics.median(values)


def fastest(values: Sequence[float]) -> float:
    """Return the 10th percentile of times: what a step takes that nothing disturbed, be most of them disturbed."""
    return quantile(sorted(values), 0.1)
