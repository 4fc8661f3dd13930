"""What is known so far of each row that is compared: which of its rounds are still needed, and which matters most.

A row is a compiler's rounds of one workload. Its verdict may stand before the last planned round
(`orchestrator.deciding`); then the rounds that are left are not run, nor eager's of that round when no other row needs
them. Knows jobs and results; no files, no processes, no clock.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from orchestrator import limits
from orchestrator.deciding import openness, others_of, verdict_so_far
from orchestrator.execution.agenda import without_a_process
from orchestrator.records import NOT_NEEDED, PASS, RAN_EAGER, TIMED, JobResult, JobSpec
from orchestrator.samples import Estimate, calm_pair_logs, one_round
from orchestrator.statistics import Others


class Evidence:
    """Of the jobs of one run.

    rounds_min: so many rounds each row gets; threshold: relative, below it an effect is noise.
    """

    def __init__(self, jobs: Iterable[JobSpec], rounds_min: int, threshold: float) -> None:
        jobs = list(jobs)
        # what two builds differ by is a matter of all rounds, whoever else is faster than eager
        all_rounds = len({job.workload.build for job in jobs}) > 1
        self._rounds_min = limits.ROUNDS if all_rounds else rounds_min
        self._threshold = threshold
        self._family: dict[str, str] = {}  # compiled job -> its row
        self._compared: defaultdict[str, list[str]] = defaultdict(list)  # eager job -> the compiled ones of its round
        self._planned: defaultdict[str, int] = defaultdict(int)  # row -> rounds
        self._rounds: defaultdict[str, dict[int, Estimate]] = defaultdict(dict)
        self._decided: dict[str, tuple[str, Estimate]] = {}  # what was decided stays so, whatever other rows do later
        self._others: dict[str, Others | None] = {}
        for job in jobs:
            if job.kind == TIMED and job.verdict is None and not job.is_eager:
                self._family[job.id] = family = job.family
                self._planned[family] += 1
                for need in job.needs:
                    if need.kind == "baseline":
                        self._compared[need.job].append(job.id)
        self._open = set(self._planned)  # rows with rounds to come that may decide them

    def saw(self, job: JobSpec, result: JobResult) -> None:
        """Note how a job ended: the pairs of a round that passed count; after one that failed there is no verdict."""
        row = self._family.get(job.id)
        if row is None or result.status == NOT_NEEDED:
            return
        estimate = speedup_of(result)
        if result.status == PASS and estimate is not None:
            self._rounds[row][job.round] = estimate
            self._others.clear()
        if result.status != PASS or job.round == self._planned[row] - 1 or self._verdict(row) is not None:
            self._open.discard(row)

    def not_needed(self, job: JobSpec) -> JobResult | None:
        """Return the result of a round that need not be run, because its row is decided; None of any other job."""
        if job.kind != TIMED or job.round < self._rounds_min:
            return None
        if job.is_eager:
            compared = self._compared.get(job.id, [])
            if not compared or not all(self._verdict(self._family[one]) for one in compared):
                return None
            reason = "every row that it would be compared with is decided"
        else:
            found = self._verdict(self._family.get(job.id, ""))
            if found is None:
                return None
            word, estimate = found
            reason = (
                f"decided after {estimate.count} rounds: {word}, "
                f"{estimate.value:.3f}x [{estimate.low:.3f}, {estimate.high:.3f}] with 99.9 %"
            )
        return without_a_process(job, NOT_NEEDED, reason)

    def open_rows(self) -> int:
        """Return how many rows have rounds to come that may decide them."""
        return len(self._open)

    def urgency(self, job: JobSpec) -> float:
        """Return how much a timed job matters, the more the larger: how open its row is, or those of its baseline.

        Infinite of a row that nothing is known of yet, and of all jobs that are compared with nothing.
        """
        rows = {self._family[one] for one in ([job.id] if job.id in self._family else self._compared.get(job.id, []))}
        return max((self._openness(row) for row in rows), default=math.inf)

    def _openness(self, row: str) -> float:
        rounds = list(self._rounds[row].values())
        return openness(rounds, self._of_others(row), self._threshold) if rounds else math.inf

    def _verdict(self, row: str) -> tuple[str, Estimate] | None:
        rounds = list(self._rounds[row].values())
        if row not in self._decided and len(rounds) >= self._rounds_min:
            found = verdict_so_far(rounds, self._of_others(row), self._threshold)
            if found is not None:
                self._decided[row] = found
                self._open.discard(row)
        return self._decided.get(row)

    def _of_others(self, row: str) -> Others | None:
        if not self._others:
            rows = [name for name, rounds in self._rounds.items() if rounds]
            logs = [[math.log(one.value) for one in self._rounds[name].values()] for name in rows]
            self._others = dict(zip(rows, others_of(logs), strict=True))
        return self._others.get(row)


def speedup_of(result: JobResult) -> Estimate | None:
    """Return the speed-up of one round from its pairs; None where it has none, or its calls ran in eager."""
    eager, compiled = result.sample("pair_eager_latency"), result.sample("pair_latency")
    if eager is None or compiled is None or RAN_EAGER in (result.facts.get("measured") or {}):
        return None
    try:
        return one_round(calm_pair_logs(eager.values, compiled.values))
    except ValueError:  # no pairs, or no times: whoever makes the tables says so
        return None
