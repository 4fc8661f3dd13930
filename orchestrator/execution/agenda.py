"""What is left to do of a job graph, in plan order. Knows edges and results; no files, no processes, no clock."""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter

from orchestrator.records import (
    INFRASTRUCTURE,
    JUDGED,
    NEED_REQUIRES_SUCCESS,
    REFERENCE_KIND,
    SUCCESSES,
    Failure,
    JobResult,
    JobSpec,
    Need,
)

SHAREABLE_KINDS = frozenset({JUDGED, REFERENCE_KIND})
"""What of a job does not change when other jobs run beside it. Any other kind times something, or may, and gets the
machine to itself."""


def gist(result: JobResult) -> JobResult:
    """Return a result without what it saw: how it ended decides about other jobs, samples of 10,000 fill the memory."""
    return dataclasses.replace(result, samples=(), facts={}, environment={})


class Agenda:
    """Hands out the jobs that may start, each once, in plan order; `done` tells it how one ended.

    `jobs` stand behind the jobs they need; `results` are those that exist and stand.
    """

    def __init__(self, jobs: Sequence[JobSpec], results: Mapping[str, JobResult]) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.results = dict(results)
        self._place = {job.id: place for place, job in enumerate(jobs)}
        self._names = [job.id for job in jobs]
        self._shared: list[int] = []  # heaps of places: ready jobs that may run beside others ...
        self._alone: list[int] = []  # ... and that may not
        self._sorter = TopologicalSorter(
            {job.id: [need.job for need in job.needs if need.job in self.jobs] for job in jobs}
        )
        self._sorter.prepare()
        self._collect()

    def take(self, *, beside_others: bool) -> JobSpec | None:
        """Return the next job that may start now (`beside_others`: while others run), None when there is none."""
        if beside_others:
            heap = self._shared
        else:
            heap = min((heap for heap in (self._shared, self._alone) if heap), default=self._shared)
        return self.jobs[self._names[heapq.heappop(heap)]] if heap else None

    def done(self, job: JobSpec, result: JobResult) -> None:
        """Note how a job that was taken ended: what waited for it becomes ready."""
        self.results[job.id] = result
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
                    heapq.heappush(self._shared if is_shareable(self.jobs[name]) else self._alone, self._place[name])

    def _dependency_failure(self, job: JobSpec, need: Need, result: JobResult | None) -> JobResult:
        if result is None:
            status, message = INFRASTRUCTURE, f"needs the job {need.job}, which has no result and is not in this shard"
        elif result.failure and result.failure.kind == "dependency":
            status, message = result.status, result.failure.message  # the one that failed first
        else:
            reason = f": {result.failure.message}" if result.failure else ""
            title = self.jobs[need.job].title if need.job in self.jobs else need.job
            status, message = result.status, f"needs '{title}', which ended with {result.status}{reason}"
        now = time.time()
        failure = Failure(kind="dependency", phase="", message=message)
        return JobResult(job_id=job.id, status=status, failure=failure, started=now, ended=now)


def is_shareable(job: JobSpec) -> bool:
    return job.kind in SHAREABLE_KINDS
