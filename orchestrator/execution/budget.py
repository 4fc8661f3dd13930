"""How much of a sweep's time is left, and what fits into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from orchestrator.records import JobResult, JobSpec

RESERVE_S = 5.0
"""Of a budget, for what is not jobs: the command's start, its tables and its page."""


class Budget:
    """Of one run. `seconds`: of the whole sweep; None is no limit. `earlier`: what earlier runs of it have left.

    What those took counts: the time in which any of their jobs ran. So a sweep that was killed and is resumed has what
    was left, and waits between runs cost nothing.
    """

    def __init__(
        self,
        seconds: float | None,
        earlier: Iterable[JobResult] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self._clock = seconds, clock
        spent = covered((result.started, result.ended) for result in earlier) if seconds is not None else 0.0
        self.end = None if seconds is None else clock() + max(seconds - spent - RESERVE_S, 0.0)
        self._planned_s = self._took_s = 0.0
        self._last: dict[str, float] = {}  # family -> seconds of its last round

    def saw(self, job: JobSpec, result: JobResult) -> None:
        """Note how long a job took."""
        took = result.ended - result.started
        if job.cost_s > 0 and took > 0:
            self._planned_s += job.cost_s
            self._took_s += took
            self._last[job.family] = took

    @property
    def is_over(self) -> bool:
        return self.end is not None and self._clock() >= self.end

    def fits(self, job: JobSpec) -> bool:
        """Return whether a job is expected to end in time: a later round takes as long as the one before, at most; any
        other what was planned, as far as plans have held."""
        if self.end is None:
            return True
        scale = self._took_s / self._planned_s if self._planned_s else 1.0
        return self._last.get(job.family, job.cost_s * scale) <= self.end - self._clock()


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals: jobs may run beside each other."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total
