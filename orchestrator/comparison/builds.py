"""The builds of one sweep side by side: each against the first, as `diff` compares two sweeps.

Jobs of all builds ran in turn, round by round, on one slot of one machine. What differs is the build.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import Comparison, compare
from orchestrator.comparison.difference_tables import CHANGE, result_row
from orchestrator.comparison.differences import Labels, differences
from orchestrator.comparison.snapshot import Snapshot
from orchestrator.records import build_name
from orchestrator.results import tables
from orchestrator.results.environments import OF_A_BUILD, of_a_build
from orchestrator.results.load import JobOutcome, SweepResults
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Row, Table, Tables

COLUMNS = (*IDENTITY, "build_before", *CHANGE)
"""Of the table `builds`: a figure of a row in its build, beside the same in the first. With those within noise."""


def comparisons(results: SweepResults) -> tuple[Comparison, ...]:
    """Return each build of a sweep against the first; none where it has one build."""
    first, *others = _sides(results) or (None,)
    return () if first is None else tuple(compare(first, other) for other in others)


def build(results: SweepResults) -> Tables:
    """Return the tables of a sweep, with the comparison of its builds where it has several."""
    made, found = tables.build(results), comparisons(results)
    return replace(made, builds=Table.of(COLUMNS, _rows(found))) if found else made


def _rows(found: Sequence[Comparison]) -> Iterator[Row]:
    for comparison in found:
        for line in differences(comparison, Labels.of_comparison(comparison), everything=True):
            own = {"build": comparison.after.name, "build_before": comparison.before.name}
            yield result_row(line) | own


def _sides(results: SweepResults) -> list[Snapshot]:
    """Return the builds' rows, in the order of the plan, named by build."""
    parts: dict[str, list[JobOutcome]] = defaultdict(list)
    for outcome in results.outcomes:
        parts[build_name(outcome.job.workload.build)].append(outcome)
    if len(parts) < 2:
        return []
    return [_side(replace(results, outcomes=tuple(outcomes)), name) for name, outcomes in parts.items()]


def _side(results: SweepResults, name: str) -> Snapshot:
    made = snapshot.of_results(results, name)
    seen = next((one.environment for one in results.outcomes if one.environment), {})
    known = {key: value for key, value in made.environment.items() if key.partition(".")[0] not in OF_A_BUILD}
    rows = tuple(replace(row, names={**row.names, "build": name}) for row in made.rows)
    return replace(made, environment={**known, **of_a_build(seen)}, rows=rows)
