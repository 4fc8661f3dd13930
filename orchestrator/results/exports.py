"""The tables as CSV, Markdown and JSON. Same folder in, same bytes out.

CSV and JSON hold every column with unrounded figures; Markdown is for reading. What is missing is an empty
cell, `null` or "—".
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from orchestrator import markdown
from orchestrator.columns import Column
from orchestrator.files import write_text
from orchestrator.records import SCHEMA_VERSION
from orchestrator.results.accuracy import JUDGEMENT
from orchestrator.results.device import DEVICE
from orchestrator.results.metrics import COLUMNS, MISSING, is_missing
from orchestrator.results.naming import IDENTITY
from orchestrator.results.performance import COUNTERS, PERCENTILES
from orchestrator.results.table import TableRow
from orchestrator.results.tables import Table, Tables
from orchestrator.store import SweepFolder

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV injection"); messages may begin so."""
NOT_FOR_READING = frozenset(
    {"job", "accuracy_job", "log", "accuracy_log", "command", "reason", "performance_reason", "accuracy_reason"}
    | {
        "outliers",
        "samples",
        "pairs",
        "started_s",
        "rounds_planned",
        "speedup_freedom",
        "memory_source",
        "interval",
        "fp64",
    }
    | {
        "too_large_because",
        "eager_own_memory_mib",
        "reference_rmse",
        "limit",
        "multiplier",
        "variant",
        "geomean_models",
        "geomean_interval",
    }
    | {name for name in COLUMNS if name.endswith("_count") and name != "geomean_count"}
)

IN_OTHER_TABLES = {  # the Markdown summary says what performance.md and accuracy.md detail
    "summary": frozenset(
        {*COUNTERS, *DEVICE, *PERCENTILES, *JUDGEMENT}
        | {"own_memory_mib", "compile_peak_memory_mib", "children_peak_memory_mib"}
    )
    - {"graph_breaks", "max_abs_error", "launch_bound", "weaker"}
}


def write(folder: SweepFolder, tables: Tables) -> None:
    """Write tables/<name>.{csv,md,json}, each atomically. Raises OSError when it is no folder to write into."""
    folder.tables.mkdir(exist_ok=True)
    for name, table in tables.named().items():
        write_text(folder.tables / f"{name}.csv", csv_lines(table))
        write_text(folder.tables / f"{name}.md", markdown_lines(name, table))
        write_text(folder.tables / f"{name}.json", json_pieces({name: table}))


def to_csv(table: Table) -> str:
    """Return RFC 4180 text with "\\n" line ends, header first. Text that a spreadsheet would run is quoted with '."""
    return "".join(csv_lines(table))


def csv_lines(table: Table) -> Iterator[str]:
    """Yield `to_csv` line by line: a table may have more rows than there is memory for two of it."""
    texts = {place for place, name in enumerate(table.columns) if table.column(name).kind == "text"}
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        yield line.getvalue()
        line.seek(0)
        line.truncate()
        writer.writerow([_csv_text(v) if n in texts and type(v) is str else v for n, v in enumerate(row.cells())])
    yield line.getvalue()


def _csv_text(value: str) -> str:
    return "'" + value if value.startswith(FORMULA) else value


def to_json(tables: Mapping[str, Table]) -> str:
    """Return {"schema", "columns": name -> unit, direction and meaning, "tables": name -> rows}, a line for each row.

    Figures that JSON has no word for are the strings "nan", "inf" and "-inf".
    """
    return "".join(json_pieces(tables))


def json_pieces(tables: Mapping[str, Table]) -> Iterator[str]:
    """Yield `to_json` piece by piece."""
    known = {**COLUMNS, **{name: column for table in tables.values() for name, column in table.own.items()}}
    used = [column for name, column in known.items() if any(name in table.columns for table in tables.values())]
    columns = {one.name: {"unit": one.unit or None, "better": one.better, "doc": one.doc} for one in used}
    described = _block("{", ([f"{_json(name)}: {_json(column)}"] for name, column in columns.items()), "}", 1)
    listed = (
        chain([f"{_json(name)}: "], _block("[", ([_json_row(row)] for row in table.rows), "]", 2))
        for name, table in tables.items()
    )
    tables_ = _block("{", listed, "}", 1)
    parts = ([f'"schema": {SCHEMA_VERSION}'], chain(['"columns": '], described), chain(['"tables": '], tables_))
    yield from _block("{", parts, "}", 0)
    yield "\n"


def _block(start: str, items: Iterable[Iterable[str]], end: str, depth: int) -> Iterator[str]:
    """Yield items, each in pieces, on lines of their own; `json.dumps` with an indent is ten times slower, and breaks
    up every row."""
    before = f"{start}\n{' ' * (depth + 1)}"
    for item in items:
        yield before
        yield from item
        before = f",\n{' ' * (depth + 1)}"
    yield f"\n{' ' * depth}{end}" if before[0] == "," else start + end


def _json_row(row: TableRow) -> str:
    found = dict(zip(row, row.cells(), strict=True))
    try:
        return _json(found)
    except ValueError:  # a figure that is none
        return _json({n: str(v) if isinstance(v, float) and not math.isfinite(v) else v for n, v in found.items()})


def _json(value: Any) -> str:
    """Return JSON as people read it; where it would hold characters that cannot be seen, with all of them escaped."""
    text = _READABLE.encode(value)
    return text if text.isprintable() else json.dumps(value, allow_nan=False)


_READABLE = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def to_markdown(name: str, table: Table) -> str:
    """Return a heading, what all rows have in common, and a table of the columns that hold something."""
    return "".join(markdown_lines(name, table))


def markdown_lines(name: str, table: Table) -> Iterator[str]:
    """Yield `to_markdown` line by line."""
    content = table.rows
    hidden = NOT_FOR_READING | IN_OTHER_TABLES.get(name, frozenset())
    shown = [column for column in table.columns if column not in hidden]
    shown = [column for column in shown if any(row[column] is not None for row in content)]
    candidates = [c for c in shown if c in IDENTITY and c not in ("model", "compiler")] if len(content) > 1 else []
    constant = [c for c in candidates if all(row[c] == content[0][c] for row in content)]
    yield f"## {name.capitalize().replace('_', ' ')}\n\n"
    if constant:
        words = (_markdown_cells(table.column(name))(content[0][name]) for name in constant)
        yield ", ".join(f"{column} {word}" for column, word in zip(constant, words, strict=True)) + "\n\n"
    shown = [column for column in shown if column not in constant]
    if not shown:
        yield "No rows.\n"
        return
    columns = [table.column(name) for name in shown]
    figures = [i for i, column in enumerate(columns) if column.kind != "text"]
    for line in markdown.table([*map(_heading, columns)], (), figures):
        yield f"{line}\n"
    cells = [(column.name, _markdown_cells(column)) for column in columns]
    for row in content:
        yield f"{markdown.row([said(row[name]) for name, said in cells])}\n"


def _heading(column: Column) -> str:
    words, unit = column.heading
    return f"{words} ({unit})" if unit else words


def _markdown_cells(column: Column) -> Callable[[Any], str]:
    """Return what makes the cells of a column; commands stand as code, from which they are copied."""
    if column.kind != "text":
        return column.text  # figures have nothing to escape
    if column.name == "command":
        return lambda value: MISSING if is_missing(value) else markdown.code(value, None)
    return lambda value: markdown.text(column.text(value))
