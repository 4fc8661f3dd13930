"""Which rows of a large sweep are on its page, and with them which jobs: a browser bears some ten thousand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.page.jobs import owners
from orchestrator.records import SUCCESSES
from orchestrator.results.load import SweepResults
from orchestrator.results.table import Table, TableRow
from orchestrator.results.tables import Tables

MOST_ROWS, MOST_JOBS = 10_000, 20_000
"""Of all sweeps of a page together: it is under 15 MB then."""


@dataclass(frozen=True)
class Selected:
    """What of a sweep is on the page. numbers: row of the whole summary -> its place on the page, of those that are."""

    results: SweepResults
    tables: Tables
    numbers: Mapping[int, int]


def selected(results: SweepResults, tables: Tables, sweeps: int) -> Selected:
    """Return the rows for a page of so many sweeps: what failed or is marked first, then in the table's order."""
    summary, outcomes = tables.summary.rows, results.outcomes
    most_rows, most_jobs = MOST_ROWS // sweeps, MOST_JOBS // sweeps
    if len(summary) <= most_rows and len(outcomes) <= most_jobs:
        return Selected(results, tables, {number: number for number in range(len(summary))})
    jobs_of: dict[int, list[str]] = defaultdict(list)
    for job, row in owners(tables, 0).items():
        jobs_of[row].append(job)
    rows: set[int] = set()
    jobs: set[str] = set()
    for row in sorted(range(len(summary)), key=lambda number: (_is_well(summary[number]), number)):
        if len(rows) < most_rows and len(jobs) + len(jobs_of[row]) <= most_jobs:
            rows.add(row)
            jobs.update(jobs_of[row])
    places = [place for place, outcome in enumerate(outcomes) if outcome.job.id in jobs]
    shown = sorted(rows)
    return Selected(
        replace(results, outcomes=tuple(outcomes[place] for place in places)),
        replace(
            tables,
            summary=_only(tables.summary, shown),
            jobs=_only(tables.jobs, places),
        ),
        {row: number for number, row in enumerate(shown)},
    )


def _is_well(row: TableRow) -> bool:
    return not row["flags"] and all(row[measure] in (None, *SUCCESSES) for measure in ("performance", "accuracy"))


def _only(table: Table, rows: list[int]) -> Table:
    return replace(table, rows=tuple(table.rows[row] for row in rows))
