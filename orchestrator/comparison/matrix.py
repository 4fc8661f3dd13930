"""Many sweeps at once: rows by sweeps, for one metric, each judged against the first sweep."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.columns import Column
from orchestrator.comparison.compare import NOISE, Comparison, Matched, compare
from orchestrator.comparison.configuration_changes import Values, configuration_changes
from orchestrator.comparison.difference_tables import totals, values_text
from orchestrator.comparison.differences import MISSING, NEW, ORDER, computed, wrong_results
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import LIMITS, STATUS, Limit
from orchestrator.records import SUCCESSES
from orchestrator.results.configuration import ABSENT
from orchestrator.results.metrics import is_number
from orchestrator.results.naming import IDENTITY
from orchestrator.results.performance import COUNTERS
from orchestrator.results.tables import Table
from orchestrator.statistics import geometric_mean

METRICS = (*LIMITS, "compile_latency_s", *COUNTERS, STATUS)
"""What a matrix can show, besides the figures that measures declare."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class MatrixCell:
    """value: the metric, or the status where there is no figure, None where the row is missing; word: what became of
    it since the first sweep, "" in that sweep itself."""

    value: Any
    word: str
    disturbed: bool = False


@dataclass(frozen=True)
class Matrix:
    """rows: a row with its cells, one for each snapshot; those of the first snapshot first, in its order.

    configuration, environment: key -> the value in each sweep; keys in which some sweep differs from the first.
    column: what the metric is, where a measure declares it.
    """

    metric: str
    snapshots: Sequence[Snapshot]
    comparisons: Sequence[Comparison]
    rows: Sequence[tuple[Row, Sequence[MatrixCell]]]
    configuration: Mapping[str, Sequence[str]]
    environment: Mapping[str, Sequence[Any]]
    column: Column | None = None

    @property
    def sides(self) -> list[str]:
        """Return A, B, C, ..., Z, S27, ..."""
        letters = string.ascii_uppercase
        return [letters[i] if i < len(letters) else f"S{i + 1}" for i in range(len(self.snapshots))]

    @property
    def means(self) -> list[tuple[str, int, list[float]]]:
        """Return (compiler, rows, geometric mean in each sweep) over the rows of which all sweeps have the figure.

        Wrong results are left out.
        """
        wrong = wrong_results([row] for one in self.snapshots for row in one.rows)
        groups: dict[str, list[list[float]]] = defaultdict(list)
        for row, cells in self.rows:
            values = [cell.value for cell in cells if is_number(cell.value) and cell.value > 0]
            if len(values) == len(cells) and self.metric in LIMITS and computed(row) not in wrong:
                groups[str(row.names.get("compiler"))].append(values)
        return [
            (compiler, len(rows), [geometric_mean(column) or 0.0 for column in zip(*rows, strict=True)])
            for compiler, rows in groups.items()
        ]

    @property
    def changed(self) -> list[tuple[Row, Sequence[MatrixCell]]]:
        """Return the lines in which some cell is not as in the first sweep, the worst first."""
        ranks = [
            min((ORDER.index(cell.word) for cell in cells if cell.word), default=len(ORDER)) for _, cells in self.rows
        ]
        found = [(rank, line) for rank, line in zip(ranks, self.rows, strict=True) if rank < ORDER.index(NOISE)]
        return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def matrix(snapshots: Sequence[Snapshot], metric: str, limits: Mapping[str, Limit] | None = None) -> Matrix:
    """Compare `metric` and the status of all snapshots with the first. Rows without either are left out."""
    comparisons = [compare(snapshots[0], other, limits, metrics=[metric]) for other in snapshots[1:]]
    rows: dict[Key, Row] = {}
    cells: dict[Key, list[MatrixCell]] = {}
    for row in snapshots[0].rows:
        rows[_key(row)] = row
        cells[_key(row)] = [_cell(row, metric, "")]
    for number, comparison in enumerate(comparisons, start=1):
        found = {_key(pair.before): _cell(pair.after, metric, _word(pair, metric)) for pair in comparison.matched}
        found |= {_key(row): MatrixCell(None, MISSING) for row in comparison.missing}
        for row in comparison.new:
            rows.setdefault(_key(row), row)
            cells.setdefault(_key(row), [MatrixCell(None, "")] * number)
            found[_key(row)] = _cell(row, metric, NEW)
        for key, line in cells.items():
            line.append(found.get(key, MatrixCell(None, "")))
    return Matrix(
        metric=metric,
        snapshots=snapshots,
        comparisons=comparisons,
        # a figure, or a failure of what would have had one
        rows=[(rows[key], line) for key, line in cells.items() if any(cell.value is not None for cell in line)],
        configuration=_configuration(comparisons),
        environment=_environment(snapshots),
        column=next((one.columns[metric] for one in snapshots if metric in one.columns), None),
    )


def tables(made: Matrix, everything: bool) -> dict[str, Table]:
    """Return the tables of a matrix: `matrix`, the main one, has a line for each row and sweep."""
    sides = made.sides
    return {
        "sides": Table.listed(
            ("side", "sweep", "created_s", "command", "origin"),
            (
                (side, one.name, one.created, " ".join(one.argv) or None, one.origin)
                for side, one in zip(sides, made.snapshots, strict=True)
            ),
        ),
        "totals": totals(zip(sides[1:], made.comparisons, strict=True)),
        "configuration": _by_side(sides, made.configuration),
        "environment": _by_side(sides, made.environment),
        "matrix": Table.listed(
            (*IDENTITY, "side", "metric", "value", "change", "disturbed"),
            (
                (*map(row.names.get, IDENTITY), side, made.metric)
                + (cell.value, cell.word or None, "yes" if cell.disturbed else None)
                for row, cells in (made.rows if everything else made.changed)
                for side, cell in zip(sides, cells, strict=True)
            ),
        ),
    }


def _by_side(sides: Sequence[str], keys: Mapping[str, Sequence[Any]]) -> Table:
    return Table.listed(
        ("key", "side", "value"),
        (
            (key, side, None if value is ABSENT else value)
            for key, values in keys.items()
            for side, value in zip(sides, values, strict=True)
        ),
    )


def _key(row: Row) -> Key:
    return (row.kind, *(str(row.names.get(column)) for column in IDENTITY))


def _cell(row: Row, metric: str, word: str) -> MatrixCell:
    figure = row.figures[metric].middle if metric in row.figures else row.counts.get(metric)
    value = row.status if figure is None and (metric == STATUS or row.status not in SUCCESSES) else figure
    return MatrixCell(value, word, bool(row.disturbed))


def _word(pair: Matched, metric: str) -> str:
    """Return what became of the metric; where the status is another one, that is what counts."""
    if pair.status_change is not None:
        return pair.status_change
    return next((change.word for change in pair.metrics if change.metric == metric), NOISE)


def _configuration(comparisons: Sequence[Comparison]) -> dict[str, list[str]]:
    """Return the keys of the configuration that differ, with the values of each sweep."""
    found: dict[str, list[Values | None]] = {}
    first: dict[str, Values] = {}
    for number, comparison in enumerate(comparisons):
        for change in configuration_changes(comparison):
            key = f"{change.key} ({change.of.partition('=')[2]})" if change.of else change.key
            first[key] = change.before
            found.setdefault(key, [None] * len(comparisons))[number] = change.after
    return {
        key: [values_text(first[key]), *(values_text(first[key] if one is None else one) for one in others)]
        for key, others in found.items()
    }


def _environment(snapshots: Sequence[Snapshot]) -> dict[str, list[Any]]:
    known = [one.environment for one in snapshots if one.environment]
    keys = sorted({key for environment in known for key in environment})
    differing = [key for key in keys if len({str(environment.get(key, ABSENT)) for environment in known}) > 1]
    return {key: [one.environment.get(key, ABSENT) for one in snapshots] for key in differing}
