"""The tables as CSV, Markdown and JSON. Same folder in, same bytes out.

CSV and JSON hold every column with unrounded figures; Markdown is for reading. What is missing is an empty
cell, `null` or "—".
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator import markdown
from orchestrator.columns import Column
from orchestrator.files import write_text
from orchestrator.records import SCHEMA_VERSION
from orchestrator.results.accuracy import JUDGEMENT
from orchestrator.results.metrics import COLUMNS, MISSING
from orchestrator.results.naming import IDENTITY
from orchestrator.results.percentiles import PERCENTILES
from orchestrator.results.performance import COUNTERS, DEVICE
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
        write_text(folder.tables / f"{name}.csv", to_csv(table))
        write_text(folder.tables / f"{name}.md", to_markdown(name, table))
        write_text(folder.tables / f"{name}.json", to_json({name: table}))


def to_csv(table: Table) -> str:
    """Return RFC 4180 text with "\\n" line ends, header first. Text that a spreadsheet would run is quoted with '."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_csv_cell(table.column(name), value) for name, value in row.items()])
    return file.getvalue()


def _csv_cell(column: Column, value: Any) -> Any:
    if isinstance(value, str) and column.kind == "text" and value.startswith(FORMULA):
        return "'" + value
    return value


def to_json(tables: Mapping[str, Table]) -> str:
    """Return {"schema", "columns": name -> unit, direction and meaning, "tables": name -> rows}, a line for each row.

    Figures that JSON has no word for are the strings "nan", "inf" and "-inf".
    """
    known = {**COLUMNS, **{name: column for table in tables.values() for name, column in table.own.items()}}
    used = [column for name, column in known.items() if any(name in table.columns for table in tables.values())]
    columns = {one.name: {"unit": one.unit or None, "better": one.better, "doc": one.doc} for one in used}
    described = _block("{", (f"{_json(name)}: {_json(column)}" for name, column in columns.items()), "}", 1)
    listed = (f"{_json(name)}: {_block('[', map(_json_row, table.rows), ']', 2)}" for name, table in tables.items())
    parts = (f'"schema": {SCHEMA_VERSION}', f'"columns": {described}', f'"tables": {_block("{", listed, "}", 1)}')
    return _block("{", parts, "}", 0) + "\n"


def _block(start: str, items: Iterable[str], end: str, depth: int) -> str:
    """Return items on lines of their own; `json.dumps` with an indent is ten times slower, and breaks up every row."""
    inside = f",\n{' ' * (depth + 1)}".join(items)
    return f"{start}\n{' ' * (depth + 1)}{inside}\n{' ' * depth}{end}" if inside else start + end


def _json_row(row: Mapping[str, Any]) -> str:
    try:
        return _json(row)
    except ValueError:  # a figure that is none
        return _json({name: str(v) if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()})


def _json(value: Any) -> str:
    """Return JSON as people read it; where it would hold characters that cannot be seen, with all of them escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else json.dumps(value, allow_nan=False)


def to_markdown(name: str, table: Table) -> str:
    """Return a heading, what all rows have in common, and a table of the columns that hold something."""
    content = table.rows
    hidden = NOT_FOR_READING | IN_OTHER_TABLES.get(name, frozenset())
    shown = [column for column in table.columns if column not in hidden]
    shown = [column for column in shown if any(row[column] is not None for row in content)]
    constant = [c for c in shown if c in IDENTITY and c not in ("model", "compiler") and _constant(c, content)]
    lines = [f"## {name.capitalize().replace('_', ' ')}", ""]
    if constant:
        words = (_markdown_cell(table.column(name), content[0][name]) for name in constant)
        lines += [", ".join(f"{column} {word}" for column, word in zip(constant, words, strict=True)), ""]
    shown = [column for column in shown if column not in constant]
    if not shown:
        return "\n".join([*lines, "No rows.", ""])
    columns = [table.column(name) for name in shown]
    figures = [i for i, column in enumerate(columns) if column.kind != "text"]
    cells = [[_markdown_cell(column, row[column.name]) for column in columns] for row in content]
    return "\n".join([*lines, *markdown.table([*map(_heading, columns)], cells, figures), ""])


def _constant(column: str, content: Sequence[Mapping[str, Any]]) -> bool:
    return len(content) > 1 and all(row[column] == content[0][column] for row in content)


def _heading(column: Column) -> str:
    words, unit = column.heading
    return f"{words} ({unit})" if unit else words


def _markdown_cell(column: Column, value: Any) -> str:
    """Return a cell; commands stand as code, from which they are copied."""
    text = column.text(value)
    return markdown.code(value, None) if column.name == "command" and text != MISSING else markdown.text(text)
