"""What a column of a table is: name, unit, direction, how it is printed and what it means; and what a measure declares.

Every output (terminal, CSV, Markdown, JSON, the page) reads it, so a figure has one name, one unit and one definition.
The built-in tables' columns are in `orchestrator.results.metrics`, a measure's own stand in its class:

    TABLES: ClassVar = {"energy": TableSpec((number("energy_j", "energy of one step", "J", "lower"),), ("energy_j",))}

They travel as JSON with the job's result (`to_json`, `from_json`), so that a table is read where the package that
declares it is not installed. Nothing heavy is imported here: the worker imports it too.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import did_you_mean

MISSING = "—"
DIRECTIONS = ("lower", "higher", "none")
MOST_COLUMNS, MOST_TABLES = 60, 20
"""Of one table, of one measure."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
LONGEST_UNIT, LONGEST_DOC = 16, 500
IN_RECORDS: Mapping[str, str] = {"_ms": "_s", "_us": "_s", "_mib": "_bytes"}
"""End of a column's name -> the end of the key under which a row may have its value in the unit of records."""


def is_missing(value: Any) -> bool:
    """None, NaN, pandas' NA and empty text: nothing was seen. 0 is a figure, never a missing one."""
    if value is None or type(value).__name__ == "NAType":  # it has no truth value, and pandas is slow to import
        return True
    return value == "" or bool(value != value)


def significant(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and no exponent between 0.001 and a million.

    Digits in front of the point are never rounded away: 1234.5 is "1234" with three digits, not "1230".
    """
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size != 0 and (size < 1e-3 or size >= 1e6):
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - (math.floor(math.log10(size)) if size else 0)
    places -= round(size, places) >= 10.0 ** (digits - places)  # 0.9999 has one digit more when it is rounded
    return f"{value:.{max(places, 0)}f}"


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "any": lambda value: significant(value, 4) if isinstance(value, float) else str(value),
    "count": lambda value: str(int(value)) if math.isfinite(value) else str(value),
    "three": significant,
    "six": lambda value: significant(value, 6),
    "whole": lambda value: f"{float(value):.0f}",
    "one": lambda value: f"{float(value):.1f}",
    "two": lambda value: f"{float(value):.2f}",
}
"""How a value is printed: a text; a value of any kind; a whole number; significant digits; digits after the point."""


@dataclass(frozen=True)
class Column:
    """One column. `better` is one of `DIRECTIONS`, `format` one of `FORMATS`; its name ends with its unit.

    exact: a number that is the same whenever it is measured (bytes of parameters): any change is one, as of a count.
    Raises ValueError for what is no column.
    """

    name: str
    doc: str
    unit: str = ""
    better: str = "none"
    format: str = "three"
    exact: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name, "column")
        for what, text, longest in (("unit", self.unit, LONGEST_UNIT), ("doc", self.doc, LONGEST_DOC)):
            if not isinstance(text, str) or len(text) > longest or not text.isprintable():
                raise ValueError(f"column {self.name}: {what} is no printable text of at most {longest} characters")
        for what, word, known in (("better", self.better, DIRECTIONS), ("format", self.format, tuple(FORMATS))):
            if word not in known:
                raise ValueError(f"column {self.name}: {what} is {word!r:.40}: write one of {', '.join(known)}")
        if not isinstance(self.exact, bool):
            raise ValueError(f"column {self.name}: exact is {self.exact!r:.40}: write True or False")

    @property
    def kind(self) -> str:
        """What its values are: "text", "count" or "number"."""
        return {"text": "text", "any": "text", "count": "count"}.get(self.format, "number")

    def text(self, value: Any) -> str:
        """Return the value for people: significant digits, `MISSING` where there is none. No unit."""
        if is_missing(value):
            return MISSING
        return value if isinstance(value, str) else FORMATS[self.format](value)  # "nan" of a count is that word

    def amount(self, value: Any) -> str:
        """Return the value for people, with its unit."""
        return self.text(value) + {"": "", "1": "", "x": "x"}.get(self.unit, f" {self.unit}")

    def means(self, other: Column) -> bool:
        """Return whether figures of both may stand in one column, and be compared."""
        return (self.name, self.unit, self.better, self.kind) == (other.name, other.unit, other.better, other.kind)

    @property
    def words(self) -> str:
        """The name without its unit, for headings that have the unit beside it."""
        end = "percent" if self.unit == "%" else self.unit.lower().replace("/", "_per_")
        return self.name.removesuffix(f"_{end}").replace("_", " ")

    @property
    def heading(self) -> tuple[str, str]:
        """The words, and the unit that has to stand beside them; "" where there is none."""
        return self.words, "" if self.unit == "1" else self.unit


Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Derived:
    """A table that is made of all rows of another, over the sweep. `make` must not need more than these rows."""

    columns: tuple[Column | str, ...]
    make: Callable[[Rows], Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class TableSpec:
    """A table of a measure: its columns, each a `Column`, or the name of one that the built-in tables have.

    compared: the columns of which `diff`, `gate` and `history` say what became of them. They are figures of a job that
    leaves one row: positive numbers, or counts, which are compared exactly. over_the_sweep: name -> further table;
    only of measures in this package, because nothing of a foreign one is run to read its results.
    """

    columns: tuple[Column | str, ...]
    compared: tuple[str, ...] = ()
    over_the_sweep: Mapping[str, Derived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [_name(column) for column in self.columns]
        for name in names:
            _check_name(name, "column")
        if not names or len(names) > MOST_COLUMNS or len(set(names)) < len(names):
            raise ValueError(f"a table has 1 to {MOST_COLUMNS} columns, each of them once")
        for name in self.compared:
            if name not in names:
                raise ValueError(f"compared: there is no column {name!r:.80}")


def text(name: str, doc: str) -> Column:
    return Column(name, doc, format="text")


def anything(name: str, doc: str) -> Column:
    """A value of any kind: a figure with significant digits, a count and a word as they are."""
    return Column(name, doc, format="any")


def count(name: str, doc: str, better: str = "none") -> Column:
    return Column(name, doc, "1", better, "count")


def number(name: str, doc: str, unit: str = "1", better: str = "none", *, exact: bool = False) -> Column:
    return Column(name, doc, unit, better, exact=exact)


def duration(name: str, doc: str) -> Column:
    """A time, in the unit with which its name ends. Shorter is better."""
    return Column(name, doc, name.rpartition("_")[2], "lower")


def percent(name: str, doc: str, better: str) -> Column:
    return Column(name, doc, "%", better, "one")


def memory(name: str, doc: str, better: str = "none", *, exact: bool = False) -> Column:
    """An amount of memory that may be far less than a MiB."""
    return Column(name, doc, "MiB", better, exact=exact)


def to_json(tables: Mapping[str, TableSpec]) -> dict[str, Any]:
    """Return a measure's tables as they stand in a result. Raises ValueError where they are no tables."""
    if not isinstance(tables, Mapping) or len(tables) > MOST_TABLES:
        raise ValueError(f"TABLES: write a map of at most {MOST_TABLES} names to TableSpec")
    for name, spec in tables.items():
        _check_name(name, "table")
        if not isinstance(spec, TableSpec):
            raise ValueError(f"TABLES: {name} is no TableSpec")
    return {
        name: {
            "columns": [one if isinstance(one, str) else dataclasses.asdict(one) for one in spec.columns],
            "compared": list(spec.compared),
        }
        for name, spec in tables.items()
    }


def keys(column: Column | str) -> list[str]:
    """Return the keys under which a row may have the value of a column, that of records first."""
    name: str = _name(column)
    return [*(name.removesuffix(end) + other for end, other in IN_RECORDS.items() if name.endswith(end)), name]


def without_a_column(tables: Mapping[str, TableSpec], findings: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[str]:
    """Return what is wrong with rows that a measure left: keys that no column of their table takes."""
    wrong = []
    for table, rows in findings.items():
        if table in tables:  # of another nothing is known; whoever reads the result says that
            taken = [key for column in tables[table].columns for key in keys(column)]
            used = dict.fromkeys(key for row in rows for key in row)
            lost = [key for key in used if key not in taken]
            wrong += [f"{table}: no column takes {key!r}: {did_you_mean(key, taken)}" for key in lost]
    return wrong


def from_json(name: Any, data: Any) -> TableSpec:
    """Read one table of a result, which may hold anything. Raises ValueError."""
    _check_name(name, "table")
    if not isinstance(data, dict) or not isinstance(data.get("columns"), list):
        raise ValueError("columns: expected a list")
    compared = data.get("compared", [])
    if not isinstance(compared, list) or len(data["columns"]) > MOST_COLUMNS:
        raise ValueError(f"expected lists of at most {MOST_COLUMNS} columns")
    return TableSpec(tuple(map(_column, data["columns"])), tuple(compared))


def _column(data: Any) -> Column | str:
    if isinstance(data, str):
        return data
    keys = {f.name for f in dataclasses.fields(Column)}
    if not isinstance(data, dict) or not {"name", "doc"} <= data.keys() <= keys:
        raise ValueError(f"a column has the keys {', '.join(sorted(keys))}")
    return Column(**data)


def _name(column: Any) -> Any:
    return column.name if isinstance(column, Column) else column


def _check_name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is no name of a {what}: small letters, digits and _")
