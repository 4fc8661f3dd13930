"""The tables of measures that find more than one figure: coverage, graph breaks, shapes of operators, ...

A worker leaves rows in `facts["findings"][table]` (`Context.find`); here they get what was run, the columns of their
table, and its units. A job without rows still has a line, which says why. A new measure needs an entry in `FINDINGS`
and its columns in `orchestrator.results.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.results.load import Outcome, items
from orchestrator.results.metrics import COLUMNS, MIB, MS
from orchestrator.results.naming import IDENTITY, measure_kind

Row = dict[str, Any]
ABOUT = ("status", "reason", "job", "log", "command")
IN_RECORDS: Mapping[str, tuple[str, float]] = {"_ms": ("_s", MS), "_mib": ("_bytes", MIB)}
"""End of a column's name -> the end of the key in records, and what to multiply by."""


@dataclass(frozen=True)
class Finding:
    """One table. `measure` is the kind of measure (`measure_kind`) whose jobs have a line even without rows.

    `over_the_sweep` makes further tables of all rows: name -> (columns, rows of this table -> rows of that one).
    """

    measure: str
    columns: tuple[str, ...]
    over_the_sweep: Mapping[str, tuple[tuple[str, ...], Callable[[Sequence[Row]], Iterable[Row]]]] = field(
        default_factory=dict
    )


FINDINGS: Mapping[str, Finding] = {}
"""Name of the table -> what it is."""


def names() -> tuple[str, ...]:
    """Return the names of all tables that there can be."""
    return tuple(name for table, finding in FINDINGS.items() for name in (table, *finding.over_the_sweep))


def tables(
    outcomes: Sequence[Outcome], about: Callable[[Outcome], Row]
) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
    """Return name -> (columns, rows) of the tables that the sweep has something for.

    `about` returns a job's identity and the columns of `ABOUT`.
    """
    made: dict[str, tuple[tuple[str, ...], list[Row]]] = {}
    for name, finding in FINDINGS.items():
        measured = [outcome for outcome in outcomes if measure_kind(outcome.job.measure) == finding.measure]
        if not measured:
            continue
        rows = [row for outcome in measured for row in _rows(name, finding, outcome, about(outcome))]
        made[name] = ((*IDENTITY, *finding.columns, *ABOUT), rows)
        for other, (columns, derive) in finding.over_the_sweep.items():
            derived = list(derive(rows))
            if derived:
                made[other] = (columns, derived)
    return made


def _rows(name: str, finding: Finding, outcome: Outcome, about: Row) -> Iterator[Row]:
    found = [row for row in items(outcome.facts, "findings", name) if isinstance(row, Mapping)]
    if not found:
        return iter([about])
    return ({**{column: _value(row, column) for column in finding.columns}, **about} for row in found)


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a row's value in the unit of its column; what is of another kind than the column says is left out."""
    value = row.get(column)
    for end, (in_records, factor) in IN_RECORDS.items():
        if column.endswith(end) and column not in row:
            stored = row.get(column.removesuffix(end) + in_records)
            value = stored * factor if isinstance(stored, (int, float)) and not isinstance(stored, bool) else stored
    if value is None or COLUMNS[column].kind == "text":
        return None if value is None else str(value)
    return value if isinstance(value, (int, float)) or value in ("nan", "inf", "-inf") else None
