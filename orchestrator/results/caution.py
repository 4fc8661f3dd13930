"""What weakens the answer of a sweep most, and the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.records import FAIL_ACCURACY, HARMLESS, NOT_NEEDED, NOT_RUN
from orchestrator.results.flags import marks_of
from orchestrator.results.load import IN_SHARD
from orchestrator.results.naming import is_eager
from orchestrator.samples import IN_PROCESS
from orchestrator.statistics import NOISE

if TYPE_CHECKING:
    from orchestrator.results.tables import Tables

Row = Mapping[str, Any]
MORE_ROUNDS = 2
"""So many rounds more than there were tell more."""
CAUTIONS = ("not_run", "wrong", "failed", "shards", "measured", "disturbed", "one_round", "unjudged", "undecided")
"""The most important first."""


@dataclass(frozen=True)
class Caution:
    """What weakens the answer most. `kind` is one of `CAUTIONS`, rows is how many of how many it is about.

    cores: that others used meanwhile, at most. job: one that it is about. rounds: that a rerun should have.
    """

    kind: str
    rows: int
    of: int
    cores: float | None = None
    job: str | None = None
    rounds: int | None = None

    def words(self, sweep: str, imported: bool = False) -> list[str]:
        """Return the verb, and what follows it, that mends it or shows more; none where there is no such command.

        sweep: how the sweep is called; imported: nothing of it can be run again.
        """
        if self.kind in ("wrong", "failed", "measured"):
            return ["show", sweep if self.job is None else f"{sweep}:{self.job}"]
        if self.kind == "shards":
            return ["merge", sweep, "FOLDER", "..."]
        if self.kind == "unjudged" or imported:
            return []
        return [f"resume={sweep}"] if self.kind == "not_run" else ["rerun", sweep, "--rounds", str(self.rounds)]


def broke(status: str | None) -> bool:
    """Return whether something failed: neither wrong results nor what cannot be done here, nor what waits."""
    return status is not None and status not in HARMLESS | {NOT_RUN, FAIL_ACCURACY}


def of_one_process(row: Row) -> bool:
    """Return whether the interval of a row's speed-up knows one process alone."""
    return row["interval"] in (None, IN_PROCESS)


def caution(tables: Tables) -> Caution | None:
    """Return the most important of what weakens the answer; None where there is nothing."""
    summary = tables.summary.rows
    rows = [row for row in summary if not is_eager(row["compiler"])]
    timed = [row for row in rows if row["speedup"] is not None]
    jobs = [job for job in tables.jobs.rows if job["status"] != NOT_NEEDED]
    waiting = [job for job in jobs if job["status"] == NOT_RUN]
    elsewhere = [job for job in waiting if job["reason"].startswith(IN_SHARD)]
    rounds = max((row["rounds_planned"] or 0 for row in timed), default=0)
    if len(waiting) > len(elsewhere):
        return Caution("not_run", len(waiting) - len(elsewhere), len(jobs) - len(elsewhere))
    for kind, found, of_all in (
        ("wrong", [row for row in summary if row["accuracy"] == FAIL_ACCURACY], summary),
        ("failed", [row for row in summary if broke(row["performance"]) or broke(row["accuracy"])], summary),
        ("shards", elsewhere, jobs),
        ("measured", [row for row in rows if "measured" in marks_of(row)], rows),
        ("disturbed", [row for row in timed if row["disturbed"]], timed),
        ("one_round", [row for row in timed if of_one_process(row)], timed),
        ("unjudged", [row for row in timed if row["accuracy"] is None], timed),
        ("undecided", [row for row in timed if row["verdict"] == NOISE], timed),
    ):
        if found:
            cores = [row["other_cores"] for row in found if row.get("other_cores") is not None]
            job = None if kind == "shards" else _job(kind, found[0])
            return Caution(kind, len(found), len(of_all), max(cores, default=None), job, rounds + MORE_ROUNDS)
    return None


def _job(kind: str, row: Row) -> str | None:
    """Return the job that shows why: of wrong results the accuracy job, of a failure the one that failed."""
    judged = kind == "wrong" or (kind == "failed" and not broke(row["performance"]))
    job = row["accuracy_job"] if judged else row["job"]
    return None if job is None else str(job)
