"""The tables of measures that find more than one figure: coverage, graph breaks, shapes of operators, ...

A worker leaves rows in `facts["findings"][table]` (`Context.find`); here they get what was run and the columns that
their measure declares (`orchestrator.columns.TableSpec`). A job without rows still has a line, which says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.columns import NAME, Column
from orchestrator.records import REFERENCE_MEASURE
from orchestrator.results.declared import ABOUT, BUILT_IN, Described, declared, is_ours, of_class, rows, value
from orchestrator.results.load import JobOutcome, one_line
from orchestrator.results.naming import IDENTITY, measure_kind

Row = dict[str, Any]
Columns = tuple[Column | str, ...]


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
    specs = dict(of_class(target))
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
    known = is_ours(measure.target) or measure_kind(measure) in (*BUILT_IN, REFERENCE_MEASURE)
    return not known and NAME.fullmatch(measure.name) is not None and measure.name not in BUILT_IN


def _rows(name: str, spec: Described, outcome: JobOutcome, about: Row) -> Iterator[Row]:
    own = declared(outcome).tables.get(name)
    left = rows(outcome, name) if own is not None and own.means(spec) else []
    if not left:
        return iter([about])
    return ({**{column.name: value(row, column) for column in spec.columns}, **about} for row in left)
