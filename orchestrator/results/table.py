"""A table: rows that have exactly its columns, each value of its column's kind, and small in memory.

A sweep may have 100,000 rows of a hundred columns: as dictionaries they would take a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from orchestrator.columns import Column
from orchestrator.errors import printable
from orchestrator.results.metrics import COLUMNS, is_missing

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("nan", "inf", "-inf")
Cleaner = Callable[[Any], Any]


class TableRow(Mapping[str, Any]):
    """A row: its values, in the columns' places, which it shares with the other rows. Equal to a dict with the same."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[Any, ...]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, name: str) -> Any:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def cells(self) -> tuple[Any, ...]:
        """Return the values, in the order of the columns."""
        return self._values[: len(self._places)]

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __repr__(self) -> str:
        return repr(dict(self))


class Shape:
    """How rows of a table are made: its columns, and after them those that are no part of it (`hidden`)."""

    def __init__(self, columns: Sequence[str | Column], hidden: Sequence[str] = ()) -> None:
        described = [COLUMNS[column] if isinstance(column, str) else column for column in columns]
        self._columns = {column.name: column for column in described}
        self._cleaners = {name: _cleaner(column) for name, column in self._columns.items()}
        self._cleaners |= dict.fromkeys(hidden, lambda value: value)
        self._places = {name: place for place, name in enumerate(self._cleaners)}
        self._shown = {name: self._places[name] for name in self._columns}

    def row(self, row: Mapping[str, Any]) -> TableRow:
        """Take the columns out of a row that may have fewer, or others."""
        get = row.get
        values = [None if (v := get(name)) is None else clean(v) for name, clean in self._cleaners.items()]
        return TableRow(self._places, tuple(values))

    def changed(self, row: TableRow, new: Mapping[str, Any]) -> TableRow:
        """Return a row of this shape with new values of some columns."""
        values = list(row._values)
        for name, value in new.items():
            values[self._places[name]] = self._cleaners[name](value)
        return TableRow(self._places, tuple(values))

    def table(self, rows: Iterable[TableRow]) -> Table:
        own = {name: column for name, column in self._columns.items() if name not in COLUMNS}
        return Table(tuple(self._columns), tuple(TableRow(self._shown, row._values) for row in rows), own)


@dataclass(frozen=True)
class Table:
    """Rows that have exactly `columns`: those in `orchestrator.results.metrics.COLUMNS`, and the table's `own`.

    Values are str, int, float and bool; None where something is missing. A number is a float, a count an int. A figure
    that was seen and is none ("nan", "inf") is that word. Results may say anything: what is not of a column's kind is
    missing, and no text can do anything to a terminal.
    """

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    own: Mapping[str, Column] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[str | Column], rows: Iterable[Mapping[str, Any]]) -> Table:
        """Take `columns` out of rows that may have fewer, or others."""
        shape = Shape(columns)
        return shape.table(map(shape.row, rows))

    @classmethod
    def listed(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
        """Take rows whose values stand in the order of `columns`."""
        return cls.of(columns, (dict(zip(columns, row, strict=True)) for row in rows))

    def column(self, name: str) -> Column:
        return self.own[name] if name in self.own else COLUMNS[name]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame: counts are Int64, numbers float64, texts objects. Imports pandas."""
        import pandas as pd

        data = {}
        for name in self.columns:
            values = [row[name] for row in self.rows]
            words = any(isinstance(value, str) for value in values)  # of a NaN one could not say: seen or missing?
            dtype = "object" if words else {"count": "Int64", "number": "float64"}.get(self.column(name).kind, "object")
            data[name] = pd.Series(values, dtype=dtype, name=name)
        return pd.DataFrame(data, columns=list(self.columns))


class Wider:
    """Rows of a table with more columns behind its own."""

    def __init__(self, table: Table, more: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate((*table.columns, *more))}

    def row(self, row: TableRow, *more: Any) -> TableRow:
        return TableRow(self._places, (*row.cells(), *more))


def _cleaner(column: Column) -> Cleaner:
    if column.kind == "text":
        return _text if column.format == "text" else _anything
    return _number if column.kind == "number" else _count


def _number(value: Any) -> float | str | None:
    if type(value) is float:
        return None if value != value else value
    counted = _count(value)
    return counted if counted is None or isinstance(counted, str) else float(counted)


def _count(value: Any) -> Any:
    if type(value) is int or value is None:
        return value
    if isinstance(value, str):
        return value if value in WORDS else None
    return None if is_missing(value) or isinstance(value, bool) or not isinstance(value, Real) else value


def _text(value: Any) -> str | None:
    if type(value) is not str:
        return None if is_missing(value) else _text(str(value))
    if value.isprintable():
        return value or None
    return "\n".join(printable(value)) or None


def _anything(value: Any) -> Any:
    """The values of tables of keys: lists and maps too."""
    return _text(value) if isinstance(value, str) else None if is_missing(value) else value
