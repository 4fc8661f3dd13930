"""The tables of other measures than performance and accuracy, for people: in a terminal, and in a comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from orchestrator import markdown
from orchestrator.columns import Column
from orchestrator.records import SUCCESSES
from orchestrator.results.exports import NOT_FOR_READING
from orchestrator.results.findings import ABOUT
from orchestrator.results.metrics import MISSING
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table
from orchestrator.views.document import Folded, Heading, Item, Piece
from orchestrator.views.grid import Cell, Grid, natural_width
from orchestrator.views.layout import LISTED, cut
from orchestrator.words import plural

WIDEST = 48
"""No column of a table is wider; the files have all of it, and so has a table that does not fit at all."""

Row = Mapping[str, Any]


def pieces(name: str, table: Table) -> list[Piece]:
    """Return one table: what all rows have in common in its heading, then the rows, then what could not be done."""
    heading, body = _told(name, table, LISTED)
    return [Heading(heading, style="bold reverse"), *body]


def folded(name: str, table: Table, most: int) -> Folded:
    """Return one table for a comment, folded, of at most so many rows."""
    heading, body = _told(name, table, most)
    return Folded(f"{heading}: {plural(len(table.rows), 'row')}", body)


def _told(name: str, table: Table, most: int) -> tuple[str, list[Piece]]:
    """Return the heading of a table, and what stands below it."""
    found = [row for row in table.rows if _has_figures(table, row)]
    columns, shared = _columns(table, found)
    common = [_common(table.column(one), found[0][one]) for one in shared if found[0][one] != name]
    rows = _FindingsTable(name, [*map(table.column, columns)], found, most)
    rest = [Item(status, told) for status, told in _without_figures(table)]
    return " · ".join([name.replace("_", " "), *common]), [rows, *rest]


def _common(column: Column, value: Any) -> str:
    """Return what all rows have in common: a number says what it is."""
    return column.text(value) if column.kind == "text" else f"{column.words} {column.text(value)}"


@dataclass(frozen=True)
class _FindingsTable:
    """Rows as a table; in a terminal that is too narrow as items, of columns the last would be cut off."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    most: int

    def lines(self, width: int) -> Iterator[Text]:
        texts = [[column.text(row[column.name]) for column in self.columns] for row in self.rows[: self.most]]
        titles = [*map(_title, self.columns)]
        cells = [[Cell(cut(text, WIDEST)) for text in row] for row in texts]
        if cells and natural_width(titles, cells) <= width:
            yield from Grid(titles, cells).lines(width)
        else:
            for number, row in enumerate(texts, start=1):
                pairs = zip(titles, row, strict=True)
                told = " · ".join(f"{title} {text}" for title, text in pairs if text != MISSING)
                yield from Item(str(number), told).lines(width)
        if len(self.rows) > self.most:
            yield from Item("more", f"{len(self.rows) - self.most} rows: tables/{self.name}.csv").lines(width)

    def markdown(self) -> list[str]:
        titles = [*map(_title, self.columns)]
        cells = [
            [Cell(cut(column.text(row[column.name]), markdown.LONGEST)) for column in self.columns] for row in self.rows
        ]
        figures = [i for i, column in enumerate(self.columns) if column.kind != "text"]
        return Grid(titles, cells, figures=figures, most=self.most, rest=f": tables/{self.name}.csv").markdown()


def _without_figures(table: Table) -> Iterator[tuple[str, str]]:
    """Yield (status, what and why) of the jobs that found nothing."""
    for row in table.rows:
        if "reason" in table.columns and not _has_figures(table, row) and row["status"] is not None:
            reason = row["reason"] or ("nothing was found" if row["status"] in SUCCESSES else "no reason was given")
            yield row["status"], f"{row['model']} {row['compiler']}: {reason} ({row['log']})"


def _columns(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return the columns to show, and those of the identity that are the same in all rows: they go into the heading."""
    used = [
        name
        for name in table.columns
        if name not in NOT_FOR_READING | {"status"} and any(row[name] is not None for row in rows)
    ]
    shared = [name for name in used if name in IDENTITY and len({row[name] for row in rows}) == 1]
    return [name for name in used if name not in shared], [name for name in shared if name not in ("seed", "launcher")]


def _has_figures(table: Table, row: Row) -> bool:
    return any(row[name] is not None for name in table.columns if name not in (*IDENTITY, *ABOUT))


def _title(column: Column) -> str:
    words, unit = column.heading
    return f"{words}, {unit}" if unit else words
