"""A sweep and a configuration that was not run: which jobs would be new, which gone, and which keys differ.

A job's id is a hash of all that can change its figures, so equal ids are the same job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.comparison.compare import Comparison, Matched, compare
from orchestrator.comparison.difference_tables import keys_text
from orchestrator.comparison.matching import named_keys
from orchestrator.comparison.reproduction import NOT_COMPARED
from orchestrator.comparison.snapshot import Snapshot, of_results
from orchestrator.execution.planned import PlannedSweep
from orchestrator.results.load import SweepResults, outcome
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table

SAME, CHANGED, NEW, GONE = "same", "changed", "new", "gone"


@dataclass(frozen=True)
class RowAhead:
    """A row of the sweep, of the configuration, or of both (`pair`), and how many of its jobs would be new or gone."""

    names: Any
    word: str
    new: int
    gone: int
    pair: Matched | None = None


def snapshot_of(planned: PlannedSweep) -> Snapshot:
    """Return what was planned as a sweep of which nothing was run."""
    outcomes = tuple(outcome(job, None) for job in planned.graph.jobs)
    return of_results(SweepResults(planned.folder, planned.header, outcomes), "the configuration")


def compared(before: Snapshot, planned: PlannedSweep) -> Comparison:
    """Compare a sweep with what was planned. What only a worker knows of its machine is no difference."""
    found = compare(before, snapshot_of(planned))
    return replace(found, environment={k: v for k, v in found.environment.items() if k not in NOT_COMPARED})


def rows_ahead(comparison: Comparison) -> list[RowAhead]:
    """Return all rows: those that would change first, then new ones, gone ones, and those that stay as they are."""
    found = [_matched(pair) for pair in comparison.matched]
    found += [RowAhead(row.names, NEW, len(row.jobs), 0) for row in comparison.new]
    found += [RowAhead(row.names, GONE, 0, len(row.jobs)) for row in comparison.missing]
    return sorted(found, key=lambda row: (CHANGED, NEW, GONE, SAME).index(row.word))


def _matched(pair: Matched) -> RowAhead:
    old, new = set(pair.before.jobs), set(pair.after.jobs)
    return RowAhead(pair.after.names, SAME if old == new else CHANGED, len(new - old), len(old - new), pair)


def table(rows: Iterable[RowAhead]) -> Table:
    return Table.of(
        (*IDENTITY, "ahead", "keys", "jobs_new", "jobs_gone"),
        (
            {column: row.names.get(column) for column in IDENTITY}
            | {"ahead": row.word, "jobs_new": row.new, "jobs_gone": row.gone}
            | {"keys": keys_text(named_keys(row.pair.keys)) if row.pair is not None else None}
            for row in rows
        ),
    )
