"""The tables of other measures than performance and accuracy, for people: in a terminal, and in a comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.columns import Column
from orchestrator.records import SUCCESSES
from orchestrator.reporting.layout import Cell, grid, item, natural_width
from orchestrator.results.exports import NOT_FOR_READING
from orchestrator.results.metrics import MISSING
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table

LISTED = 20
"""So many rows of a table are shown; the others are counted, and stand in the files."""
WIDEST = 48
"""No column of a table is wider; the files have all of it, and so has a table that does not fit at all."""

Row = Mapping[str, Any]


def show(out: Console, name: str, table: Table) -> None:
    """Print one table: what all rows have in common in its heading, then the rows, then what could not be done."""
    found = [row for row in table.rows if _has_figures(table, row)]
    columns, shared = shown_columns(table, found)
    common = " · ".join(table.column(name).text(found[0][name]) for name in shared) if found else ""
    out.print()
    out.print(Text(" · ".join(part for part in (name.replace("_", " "), common) if part), "bold reverse"))
    texts = [[table.column(name).text(row[name]) for name in columns] for row in found[:LISTED]]
    cells = [[Cell(_cut(text)) for text in row] for row in texts]
    titles = [_title(table.column(name)) for name in columns]
    if cells and natural_width(titles, cells) <= out.width:
        for line in grid(titles, cells, out.width, stacked=False):
            out.print(line)
    else:  # nothing would be gained by columns of which the last are cut off
        for number, row in enumerate(texts, start=1):
            pairs = zip(titles, row, strict=True)
            item(out, str(number), " · ".join(f"{title} {text}" for title, text in pairs if text != MISSING))
    if len(found) > LISTED:
        item(out, "more", f"{len(found) - LISTED} rows: tables/{name}.csv")
    for status, told in without_figures(table):
        item(out, status, told)


def without_figures(table: Table) -> Iterator[tuple[str, str]]:
    """Yield (status, what and why) of the jobs that found nothing."""
    for row in table.rows:
        if "reason" in table.columns and not _has_figures(table, row) and row["status"] is not None:
            reason = row["reason"] or ("nothing was found" if row["status"] in SUCCESSES else "no reason was given")
            yield row["status"], f"{row['model']} {row['compiler']}: {reason} ({row['log']})"


def shown_columns(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return the columns to show, and those of the identity that are the same in all rows: they go into the heading."""
    used = [
        name
        for name in table.columns
        if name not in NOT_FOR_READING | {"status"} and any(row[name] is not None for row in rows)
    ]
    shared = [name for name in used if name in IDENTITY and len({row[name] for row in rows}) == 1]
    return [name for name in used if name not in shared], [name for name in shared if name not in ("seed", "launcher")]


def _has_figures(table: Table, row: Row) -> bool:
    about = {*IDENTITY, "status", "reason", "job", "log", "command"}
    return any(row[name] is not None for name in table.columns if name not in about)


def _title(column: Column) -> str:
    words, unit = column.heading
    return f"{words}, {unit}" if unit else words


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
