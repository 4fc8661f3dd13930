"""A sweep's rows with everything behind them: what outputs for other tools are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.results.load import JobOutcome, SweepResults
from orchestrator.results.tables import Tables


@dataclass(frozen=True)
class Family:
    """The rounds of one job: what they were told to do and saw, and their figures round by round.

    `blamed` is the round that the tables speak of: the first of those with the worst status. `phase`: where it failed,
    or where the job failed that it needed; "" where it did not, or nobody knows.
    """

    rounds: tuple[JobOutcome, ...]
    record: snapshot.Row
    blamed: JobOutcome
    phase: str


@dataclass(frozen=True)
class Joined:
    """One row of the summary table, and its performance and accuracy jobs where they were planned."""

    row: Mapping[str, Any]
    timed: Family | None
    judged: Family | None

    @property
    def is_eager(self) -> bool:
        return any(family.rounds[0].job.is_eager for family in self.families)

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(family for family in (self.timed, self.judged) if family is not None)

    @property
    def title(self) -> str:
        r = self.row
        return f"{r['model']} {r['mode']} {r['dtype']} {r['device']} {r['compiler']}"


def joined(results: SweepResults, tables: Tables) -> list[Joined]:
    """Return the rows of the summary, in its order."""
    outcomes = {outcome.job.id: outcome for outcome in results.outcomes}
    records = {job: record for record in snapshot.of_results(results).rows for job in record.jobs}

    def family(job: str | None) -> Family | None:
        if job is None:
            return None
        record = records[job]
        rounds = tuple(outcomes[round] for round in record.jobs)
        return Family(rounds, record, outcomes[job], failed_phase(outcomes[job], outcomes))

    return [Joined(row, family(row["job"]), family(row["accuracy_job"])) for row in tables.summary.rows]


def failed_phase(outcome: JobOutcome, outcomes: Mapping[str, JobOutcome]) -> str:
    """Return the phase in which a job failed, or the job whose failure kept it from starting; "" for neither."""
    failure = outcome.result.failure if outcome.result is not None else None
    if failure is None or failure.kind != "dependency":
        return failure.phase if failure is not None else ""
    needed = [outcomes[need.job] for need in outcome.job.needs if need.job in outcomes]
    return next((failed_phase(need, outcomes) for need in needed if need.status == outcome.status), "")
