"""What is left to do of a job graph, in plan order. Knows edges and results; no files, no processes, no clock.

Where a machine has several slots (`orchestrator.execution.slots`) all jobs that are compared with each other go to
one: the slot that takes the first of them opens their comparison, and no other sees it from then on.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.planning.shards import Unit, comparison
from orchestrator.plugins import resolve
from orchestrator.records import (
    IN_TURNS,
    INFRASTRUCTURE,
    JUDGED,
    NEED_REQUIRES_SUCCESS,
    REFERENCE_KIND,
    SUCCESSES,
    TIMED,
    Failure,
    JobResult,
    JobSpec,
    Need,
)

SHAREABLE_KINDS = frozenset({JUDGED, REFERENCE_KIND})
"""What of a job does not change when other jobs run beside it. One that is observed says so itself (`shareable` of its
measure, `orchestrator.plugins.Measure`). Any other times something, or may, and gets the machine to itself."""
PEAK = "peak_bytes"
NOBODYS = -1
"""Stands for the slot of a comparison that none has opened."""


def gist(result: JobResult) -> JobResult:
    """Return a result without what it saw: how it ended decides about other jobs, samples of 10,000 fill the memory.

    Of its facts it has the most memory that its process, and those that it started, had together (`PEAK`, in bytes).
    """
    peak = _peak(result.facts.get("memory"))
    return dataclasses.replace(result, samples=(), facts={} if peak is None else {PEAK: peak}, environment={})


def _peak(memory: Any) -> int | None:
    """Return the highest level of all phases of a `memory` fact (`orchestrator.probes.memory`), None without one."""
    try:
        children = memory.get("children") or {}
        return max(int(phase["peak"]) + (children.get(name) or 0) for name, phase in memory["phases"].items())
    except (AttributeError, KeyError, TypeError, ValueError):  # another measure's fact of that name, or no phase
        return None


class Agenda:
    """Has the jobs that may start, in plan order; each is taken once, and `done` tells how it ended.

    `jobs` stand behind the jobs they need; `results` are those that exist and stand; `slots`: how many there are. What
    a slot (a number from 0) is offered is ready and of a comparison that it has opened; only when there is none, of one
    that nobody has.
    """

    def __init__(self, jobs: Sequence[JobSpec], results: Mapping[str, JobResult], slots: int = 1) -> None:
        self._slots = slots
        self._opened: dict[Unit, int] = {}
        self.jobs = {job.id: job for job in jobs}
        self.results = dict(results)
        self._in_order = tuple(jobs)
        self._place = {job.id: place for place, job in enumerate(jobs)}
        # heaps of places, by slot: ready jobs that may run beside others, and that may not
        self._shareable: dict[int, list[int]] = {slot: [] for slot in (NOBODYS, *range(slots))}
        self._alone: dict[int, list[int]] = {slot: [] for slot in (NOBODYS, *range(slots))}
        self._repeated: set[str] = set()  # jobs that have to be alone this time
        self._open = sum(is_shareable(job) for job in jobs if job.id not in results)  # shareable and not yet done
        self._following = Counter(need.job for job in jobs if is_shareable(job) for need in job.needs)
        pairs = [(job.id, need.job) for job in jobs for need in job.needs if need.kind == IN_TURNS]
        self._others = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
        self._sorter = TopologicalSorter(
            {job.id: [n.job for n in job.needs if n.job in self.jobs and n.kind != IN_TURNS] for job in jobs}
        )
        self._sorter.prepare()
        self._collect()

    def first(self, *, shareable: bool, slot: int = 0) -> JobSpec | None:
        """Return the ready job that comes first in the plan, of those that may run beside others, or may not."""
        of = slot if self._shareable[slot] or self._alone[slot] else NOBODYS
        heap = (self._shareable if shareable else self._alone)[of]
        return self._in_order[heap[0]] if heap else None

    def ready_alone(self, slot: int = 0) -> list[JobSpec]:
        """Return the ready jobs that may not run beside others, in no order: of this slot, and of nobody's."""
        return [self._in_order[place] for of in (slot, NOBODYS) for place in self._alone[of]]

    def place(self, job: JobSpec) -> int:
        """Return where a job stands in the plan."""
        return self._place[job.id]

    def fills(self, places: int, slot: int = 0) -> bool:
        """Return whether the ready jobs that may run side by side, with those that wait for them alone, fill so many
        places, or are all that there will be.
        """
        most = min(places, self._open)
        count = 0
        for of in (slot, NOBODYS):
            for place in self._shareable[of]:
                count += 1 + self._following[self._in_order[place].id]
                if count >= most:
                    return True
        return False

    def take(self, job: JobSpec, slot: int = 0) -> None:
        """Note that a ready job is started by a slot, or will not be in this run."""
        self.open(job, slot)
        place = self._place[job.id]
        heap = self._shareable[slot] if self._shareable[slot][:1] == [place] else self._alone[slot]
        if heap[0] == place:
            heapq.heappop(heap)
        else:
            heap.remove(place)
            heapq.heapify(heap)

    def takes_turns(self, job: JobSpec) -> bool:
        """Return whether a job is to take turns with another, though it may have to run alone."""
        return job.id in self._others

    def in_turns_with(self, job: JobSpec, slot: int = 0) -> JobSpec | None:
        """Return the job that takes turns with one that was taken, where it is ready, and the slot's or nobody's."""
        other = self._others.get(job.id)
        if other is None or not self._repeated.isdisjoint((job.id, other)):
            return None
        place = self._place.get(other)
        return self.jobs[other] if any(place in self._alone[of] for of in (slot, NOBODYS)) else None

    def open(self, job: JobSpec, slot: int) -> None:
        """Let a slot have all that is compared with a job, unless one has it."""
        unit = comparison(job.workload)
        if self._slots == 1 or unit in self._opened:
            return
        self._opened[unit] = slot
        for heaps in (self._shareable, self._alone):
            theirs = {p for p in heaps[NOBODYS] if comparison(self._in_order[p].workload) == unit}
            if theirs:
                heaps[NOBODYS] = [place for place in heaps[NOBODYS] if place not in theirs]
                heaps[slot] += theirs
                heapq.heapify(heaps[NOBODYS])
                heapq.heapify(heaps[slot])

    def again(self, job: JobSpec) -> None:
        """Note that a job that was taken has to be run once more, with no other beside it."""
        self._repeated.add(job.id)
        heapq.heappush(self._alone[self._slot(job)], self._place[job.id])

    def lonely(self, job: JobSpec) -> bool:
        """Return whether no other may run beside a job, on any slot."""
        return job.id in self._repeated

    def shares(self, job: JobSpec) -> bool:
        """Return whether others may run beside a job that was taken."""
        return is_shareable(job) and job.id not in self._repeated

    def done(self, job: JobSpec, result: JobResult) -> None:
        """Note how a job that was taken ended: what waited for it becomes ready."""
        self.results[job.id] = result
        self._open -= is_shareable(job)
        self._sorter.done(job.id)
        self._collect()

    def hopeless(self, job: JobSpec) -> JobResult | None:
        """Return the result of a job that cannot start, because a job that it needs did not end well."""
        for need in job.needs:
            if NEED_REQUIRES_SUCCESS[need.kind]:
                result = self.results.get(need.job)
                if result is None or result.status not in SUCCESSES:
                    return self._dependency_failure(job, need, result)
        return None

    def _collect(self) -> None:
        while ready := self._sorter.get_ready():
            for name in ready:
                if name in self.results:
                    self._sorter.done(name)
                else:
                    job = self.jobs[name]
                    heaps = self._shareable if is_shareable(job) else self._alone
                    heapq.heappush(heaps[self._slot(job)], self._place[name])

    def _slot(self, job: JobSpec) -> int:
        return 0 if self._slots == 1 else self._opened.get(comparison(job.workload), NOBODYS)

    def _dependency_failure(self, job: JobSpec, need: Need, result: JobResult | None) -> JobResult:
        if result is None:
            status, message = INFRASTRUCTURE, f"needs the job {need.job}, which has no result and is not in this shard"
        elif result.failure and result.failure.kind == "dependency":
            status, message = result.status, result.failure.message  # the one that failed first
        else:
            reason = f": {result.failure.message}" if result.failure else ""
            title = self.jobs[need.job].title if need.job in self.jobs else need.job
            status, message = result.status, f"needs '{title}', which ended with {result.status}{reason}"
        return without_a_process(job, status, message)


def without_a_process(job: JobSpec, status: str, message: str, kind: str = "dependency") -> JobResult:
    """Return the result of a job that is not run. kind: of the failure."""
    now = time.time()
    failure = Failure(kind=kind, phase="", message=message)
    return JobResult(job_id=job.id, status=status, failure=failure, started=now, ended=now)


def is_shareable(job: JobSpec) -> bool:
    """Return whether a job may run beside others: nothing that it finds depends on them."""
    return job.kind != TIMED and _says_shareable(job.measure.target, job.kind in SHAREABLE_KINDS)


@functools.cache
def _says_shareable(target: str, usual: bool) -> bool:
    try:
        return bool(getattr(resolve(target), "shareable", usual))
    except UsageError:  # a package that is not allowed here: the job's own result will say so
        return usual
