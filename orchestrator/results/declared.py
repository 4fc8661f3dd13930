"""Which tables a job has, and what their columns are: what its measure's class declares, or its result.

The class is asked where it is one of this package. Of any other only what the result carries is read: nothing that a
folder names is imported, and the package need not be installed. A result may hold anything, so a declaration that is
none costs its table, with a reason.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.columns import IN_RECORDS, MOST_TABLES, Column, Derived, TableSpec, from_json
from orchestrator.errors import UsageError
from orchestrator.plugins import resolve
from orchestrator.results.load import JobOutcome, fact, items, once
from orchestrator.results.metrics import COLUMNS, MIB, MS, US, is_number
from orchestrator.results.naming import IDENTITY

ABOUT = ("status", "reason", "job", "log", "command")
BUILT_IN = (
    "jobs",
    "performance",
    "accuracy",
    "summary",
    "overview",
    "self_test",
    "compile_phases",
    "compile_phase_sums",
    "export_errors",
)
FACTORS: Mapping[str, float] = {"_ms": MS, "_us": US, "_mib": MIB}
"""End of a column's name -> what a value in the unit of records is multiplied by."""


@dataclass(frozen=True)
class Described:
    """A table that a measure declares, with what all its columns are."""

    columns: tuple[Column, ...]
    compared: tuple[str, ...]
    over_the_sweep: Mapping[str, Derived]

    def means(self, other: Described) -> bool:
        """Return whether rows of both may stand in one table."""
        pairs = zip(self.columns, other.columns, strict=False)
        return len(self.columns) == len(other.columns) and all(one.means(another) for one, another in pairs)


@dataclass(frozen=True)
class Declared:
    """The tables of a job by name; and why others of its tables cannot be shown."""

    tables: Mapping[str, Described]
    refused: tuple[str, ...] = ()


def is_ours(target: str) -> bool:
    """Return whether a measure is one of this package."""
    return target.startswith("orchestrator.measures.")


@functools.cache
def of_class(target: str) -> Mapping[str, Described]:
    """Return the tables that a measure of this package declares; none of a foreign one, or of a class that is gone."""
    try:
        found = getattr(resolve(target), "TABLES", {}) if is_ours(target) else {}
    except UsageError:
        return {}
    return {name: _described(spec) for name, spec in found.items()}


@functools.cache
def _declared_by_class(target: str) -> Declared:
    return Declared(of_class(target))


@once
def declared(outcome: JobOutcome) -> Declared:
    """Return the tables of a job."""
    if not fact(outcome.facts, "findings"):
        return _declared_by_class(outcome.job.measure.target)
    tables = dict(of_class(outcome.job.measure.target))
    stored, left = (fact(outcome.facts, key) for key in ("tables", "findings"))
    refused = {}
    for name in list(left)[:MOST_TABLES] if isinstance(left, dict) else ():
        try:
            if name not in tables:
                tables[name] = _checked(name, fact(stored, name))
        except (ValueError, TypeError) as error:
            refused[name] = f"table {name!r:.80}: {error}"
    return Declared(tables, tuple(refused.values()))


def rows(outcome: JobOutcome, table: str) -> list[Mapping[str, Any]]:
    """Return the rows that a job left of a table, as they are in its result."""
    return [row for row in items(outcome.facts, "findings", table) if isinstance(row, Mapping)]


def value(row: Mapping[str, Any], column: Column) -> Any:
    """Return a row's value in the unit of its column; what is of another kind than the column says is left out."""
    name, found = column.name, row.get(column.name)
    for end, in_records in IN_RECORDS.items():
        if name.endswith(end) and name not in row:
            found = row.get(name.removesuffix(end) + in_records)
            found = found * FACTORS[end] if isinstance(found, (int, float)) and is_number(found) else found
    if found is None or column.kind == "text":
        return None if found is None else str(found)
    return found if isinstance(found, (int, float)) or found in ("nan", "inf", "-inf") else None


def compared(outcome: JobOutcome) -> Iterator[tuple[Column, float]]:
    """Yield the figures of a job that are compared between sweeps, each name once: of tables with one row."""
    seen = set()
    for name, spec in declared(outcome).tables.items():
        left = rows(outcome, name) if spec.compared else []
        for column in spec.columns if len(left) == 1 else ():
            figure = value(left[0], column)
            if column.name in spec.compared and column.name not in seen and is_number(figure):
                seen.add(column.name)
                yield column, figure


def _checked(name: str, data: Any) -> Described:
    """Read what a result declares. Raises ValueError, also for a column that has another meaning elsewhere."""
    if data is None:
        raise ValueError("the TABLES of its measure do not declare it")
    if name in BUILT_IN:
        raise ValueError("there is a built-in table of that name")
    spec = _described(from_json(name, data))
    for column in spec.columns:
        ours = COLUMNS.get(column.name, column)
        if column.name in (*IDENTITY, *ABOUT):
            raise ValueError(f"column {column.name} says what was run: every table has it")
        if not column.means(ours):
            raise ValueError(f"there is a column {ours.name}, a {ours.kind} in '{ours.unit}', better: {ours.better}")
        if column.name in spec.compared and column.kind == "text":
            raise ValueError(f"compared: {column.name} is a text")
    return spec


def _described(spec: TableSpec) -> Described:
    """Return a table with a `Column` for each name. Raises ValueError for a name that no built-in table has."""
    for column in spec.columns:
        if isinstance(column, str) and column not in COLUMNS:
            raise ValueError(f"there is no built-in column {column}: declare it as a Column")
    columns = tuple(COLUMNS[one] if isinstance(one, str) else one for one in spec.columns)
    return Described(columns, spec.compared, spec.over_the_sweep)
