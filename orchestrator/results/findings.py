"""The tables of measures that find more than one figure: coverage, graph breaks, shapes of operators, ...

A worker leaves rows in `facts["findings"][table]` (`Context.find`); here they get what was run and the columns that
their measure declares (`orchestrator.columns.TableSpec`). A job without rows still has a line, which says why.

What a table's columns are says the measure's class, where it is one of this package. Of any other only what the result
carries is read: nothing that a folder names is imported, and the package need not be installed. A result may hold
anything, so a declaration that is none costs its table, with a reason.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.columns import IN_RECORDS, MOST_TABLES, NAME, Column, Derived, TableSpec, from_json
from orchestrator.errors import UsageError
from orchestrator.plugins import resolve
from orchestrator.records import REFERENCE_MEASURE
from orchestrator.results.load import JobOutcome, fact, items, once, one_line
from orchestrator.results.metrics import COLUMNS, MIB, MS, US, is_number
from orchestrator.results.naming import IDENTITY, measure_kind

Row = dict[str, Any]
Columns = tuple[Column | str, ...]

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


def _is_ours(target: str) -> bool:
    return target.startswith("orchestrator.measures.")


@functools.cache
def _by_class(target: str) -> Declared:
    """Return the tables that a measure of this package declares; none of a foreign one, or of a class that is gone."""
    try:
        found = getattr(resolve(target), "TABLES", {}) if _is_ours(target) else {}
    except UsageError:
        found = {}
    return Declared({name: _described(spec) for name, spec in found.items()})


@once
def declared(outcome: JobOutcome) -> Declared:
    if not fact(outcome.facts, "findings"):
        return _by_class(outcome.job.measure.target)
    tables = dict(_by_class(outcome.job.measure.target).tables)
    stored, left = (fact(outcome.facts, key) for key in ("tables", "findings"))
    refused = {}
    for name in list(left)[:MOST_TABLES] if isinstance(left, dict) else ():
        try:
            if name not in tables:
                tables[name] = _checked(name, fact(stored, name))
        except (ValueError, TypeError) as error:
            refused[name] = f"table {name!r:.80}: {error}"
    return Declared(tables, tuple(refused.values()))


def _left(outcome: JobOutcome, table: str) -> list[Mapping[str, Any]]:
    """Return the rows that a job left of a table, as they are in its result."""
    return [row for row in items(outcome.facts, "findings", table) if isinstance(row, Mapping)]


def _value(row: Mapping[str, Any], column: Column) -> Any:
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
        left = _left(outcome, name) if spec.compared else []
        for column in spec.columns if len(left) == 1 else ():
            figure = _value(left[0], column)
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


@dataclass(frozen=True)
class Findings:
    """Name -> (columns, rows) of the tables that a sweep has something for, and what cannot be shown, with reasons."""

    tables: dict[str, tuple[Columns, list[Row]]] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # reason -> jobs

    def reasons(self) -> tuple[str, ...]:
        return tuple(
            one_line(f"not shown, of job {jobs[0]}{f' and {len(jobs) - 1} more' * (len(jobs) > 1)}: {reason}")
            for reason, jobs in self.refused.items()
        )


def findings(outcomes: Sequence[JobOutcome], about: Callable[[JobOutcome], Row]) -> Findings:
    """Return the tables of a sweep. `about` returns a job's identity and the columns of `ABOUT`."""
    found = Findings()
    specs: dict[str, Described] = {}
    members: dict[str, list[JobOutcome]] = defaultdict(list)
    measures: dict[str, list[JobOutcome]] = defaultdict(list)
    for outcome in outcomes:
        measures[outcome.job.measure.target].append(outcome)
    for target, measured in sorted(measures.items()):
        of_measure = _of_measure(target, measured, found)
        for name, spec in of_measure.items():
            if clash := _clash(name, spec, specs):
                found.refused[clash].append(measured[0].job.id)
            else:
                specs.setdefault(name, spec)
                members[name] += measured
        if not of_measure and _is_shown_nowhere(measured[0]):
            found.tables[measured[0].job.measure.name] = ((*IDENTITY, *ABOUT), list(map(about, measured)))
    for name, spec in specs.items():
        made = [row for outcome in members[name] for row in _rows(name, spec, outcome, about(outcome))]
        found.tables[name] = ((*IDENTITY, *spec.columns, *ABOUT), made)
        for other, derived in spec.over_the_sweep.items():
            rows_of_all = list(derived.make(made))
            if rows_of_all:
                found.tables[other] = (derived.columns, rows_of_all)
    return found


def _of_measure(target: str, measured: Sequence[JobOutcome], found: Findings) -> dict[str, Described]:
    """Return the tables of one measure: those of its class, or of all its jobs' results together."""
    specs = dict(_by_class(target).tables)
    for outcome in measured:
        own = declared(outcome)
        for reason in own.refused:
            found.refused[reason].append(outcome.job.id)
        for name, spec in own.tables.items():
            if not specs.setdefault(name, spec).means(spec):
                found.refused[f"table {name}: another job has other columns of it"].append(outcome.job.id)
    return specs


def _clash(name: str, spec: Described, others: dict[str, Described]) -> str:
    """Return why a table cannot stand beside those of other measures; "" where it can."""
    if name in others and not others[name].means(spec):
        return f"table {name}: another measure has a table of that name, with other columns"
    known = {column.name: column for other in others.values() for column in other.columns}
    for column in spec.columns:
        if not column.means(known.get(column.name, column)):
            return f"table {name}: column {column.name} has another unit or direction in another measure's table"
    return ""


def _is_shown_nowhere(outcome: JobOutcome) -> bool:
    """Return whether a foreign measure left nothing that any table has: then one says what became of its jobs."""
    measure = outcome.job.measure
    known = _is_ours(measure.target) or measure_kind(measure) in (*BUILT_IN, REFERENCE_MEASURE)
    return not known and NAME.fullmatch(measure.name) is not None and measure.name not in BUILT_IN


def _rows(name: str, spec: Described, outcome: JobOutcome, about: Row) -> Iterator[Row]:
    own = declared(outcome).tables.get(name)
    left = _left(outcome, name) if own is not None and own.means(spec) else []
    if not left:
        return iter([about])
    return ({**{column.name: _value(row, column) for column in spec.columns}, **about} for row in left)
