"""Snapshots as files: a baseline, which is one snapshot, and a sweep's tables, read back as one.

A baseline is small enough to be committed, complete enough to be compared with intervals. A table (`report --json`,
`report --csv`, and the files in `tables/`) has names and figures, no configuration, no environment and no single
rounds. From the mean, the interval and the number of rounds follow as many values with the same mean and standard
deviation, which is all that a comparison takes from rounds; where a table has no interval, the figure is one value.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

from orchestrator import limits
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.matching import by_names
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import LATENCY, METRICS
from orchestrator.errors import UsageError
from orchestrator.files import checked, read_bytes, read_json, write_json
from orchestrator.records import SCHEMA_VERSION, STATUSES
from orchestrator.results.exports import FORMULA
from orchestrator.results.load import is_figure
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import IDENTITY
from orchestrator.results.performance import COUNTERS
from orchestrator.samples import IN_PROCESS
from orchestrator.statistics import median_variance, student
from orchestrator.typed_json import from_json, to_json
from orchestrator.validity import check_name, check_time, without_schema

KIND = "orchestrator snapshot"
TABLES = ("summary", "performance", "accuracy")
"""Tables that hold a row for each workload and compiler, the one preferred first."""
ABSOLUTE = ("latency_ms", "compile_latency_cold_s", "compile_latency_warm_s", "own_memory_mib")
NEEDED = ("model", "compiler", "measure")
WIDEST = 50.0
"""Half-width of an interval, in logarithms: exp of it is that many digits."""

Record = Mapping[str, Any]


def read_any(path: Path) -> Snapshot:
    """Read a baseline, or a sweep's tables. Raises UsageError when the file is neither."""
    if path.suffix == ".csv":
        return of_csv(path)
    try:
        data = read_json(path)
    except (OSError, ValueError):
        data = None
    if isinstance(data, dict) and "tables" in data:
        return of_json(data, path)
    if isinstance(data, dict) and data.get("kind") == KIND:
        return read(path)
    raise UsageError(
        f"{path} holds neither the tables of a sweep (.csv, .json) nor a baseline. Known: latest, latest~1, "
        "<date>/<time>, a sweep folder, SWEEP:JOB, a job folder, a baseline file, or tables as .json or .csv"
    )


def write(path: Path, snapshot: Snapshot) -> None:
    """Write a snapshot as a JSON file, atomically. Raises UsageError when that is not possible."""
    try:
        write_json(path, {"kind": KIND, "schema": SCHEMA_VERSION, **_in_file(snapshot)})
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error


def _in_file(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as JSON. What no row has (columns, a load, its fastest steps, a build) is left out."""
    data: dict[str, Any] = to_json(snapshot)
    for row in data["rows"]:
        for key, absent in (("columns", {}), ("load", None), ("fastest_ms", None)):
            if row[key] == absent:
                del row[key]
        if row["names"].get("build", "") is None:
            del row["names"]["build"]
    return data


def read(path: Path) -> Snapshot:
    """Read a file that `write` made. Raises UsageError when it is none, is damaged or of another schema version."""
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise UsageError(
            f"{path} is no snapshot of a sweep: `orchestrator gate REF --against {path} --accept` makes one"
        )
    try:
        data = without_schema(data)
    except ValueError as error:
        raise UsageError(f"{path} {error}") from error
    try:
        found = from_json(Snapshot, {key: value for key, value in data.items() if key != "kind"})
        rows = [replace(row, names={"build": None, **row.names}) for row in found.rows]
        found = replace(found, rows=tuple(rows))
        _check_rows(found.rows)
        check_time(found.created)
        if not all(isinstance(values, list) and values for values in found.settings.values()):
            raise ValueError("settings: expected lists of values")
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    return found


def _check_rows(rows: Sequence[Row]) -> None:
    """Raise ValueError for what no sweep can have found: it would become a wrong figure, or a traceback."""
    for i, row in enumerate(rows):
        if row.status not in STATUSES:
            raise ValueError(f"rows[{i}].status: unknown status {row.status!r}")
        if not row.names.keys() >= set(IDENTITY):
            raise ValueError(f"rows[{i}].names: expected {', '.join(IDENTITY)}")
        for column, name in row.names.items():
            if not isinstance(name, (str, int, float, NoneType)):
                raise ValueError(f"rows[{i}].names.{column}: expected a text or a number")
            if isinstance(name, str):
                check_name(name, column, limits.RECORD)  # labels say in which options two rows differ
        for metric, declared in row.columns.items():
            if metric != declared.name or metric in METRICS or declared.kind == "text":
                raise ValueError(f"rows[{i}].columns.{metric}: expected a figure that is not built in")
        for metric in (*row.figures, *row.counts):
            if metric not in COLUMNS and metric not in row.columns:
                raise ValueError(f"rows[{i}].figures.{metric}: no column says what it is")
        if row.fastest_ms is not None and not (is_figure(row.fastest_ms) and LATENCY in row.figures):
            raise ValueError(f"rows[{i}].fastest_ms: expected a positive number, beside a latency")
        for metric, seen in row.figures.items():
            values, halves = seen.values, seen.halves
            if not values or not all(map(is_figure, values)) or not all(0 <= h <= WIDEST for h in halves):
                raise ValueError(f"rows[{i}].figures.{metric}: expected positive numbers")


def of_json(data: Any, path: Path) -> Snapshot:
    """Return the snapshot of what `report --json` printed. Raises UsageError when a table is missing or damaged."""
    tables = data["tables"]
    name = next((name for name in TABLES if isinstance(tables, Mapping) and name in tables), None)
    if name is None:
        raise UsageError(f"{path} holds none of the tables {', '.join(TABLES)}: write it with `report REF --json`")
    records = tables[name]
    if not isinstance(records, list) or not all(isinstance(record, Mapping) for record in records):
        raise UsageError(f"{path} is damaged: the table '{name}' is no list of rows")
    return _snapshot(records, path)


def of_csv(path: Path) -> Snapshot:
    """Return the snapshot of a file that `report --csv` printed. Raises UsageError when it is none."""
    try:
        with io.StringIO(read_bytes(path).decode(), newline="") as file:
            records = [{key: _cell(key, text) for key, text in record.items()} for record in csv.DictReader(file)]
            return _snapshot(records, path)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _cell(column: str | None, text: Any) -> Any:
    """Return what `exports.to_csv` wrote into a cell. Raises ValueError for a number that is none."""
    if column is None or not isinstance(text, str):  # a row with more or fewer cells than the header
        raise ValueError("a row has another number of cells than the header")
    kind = COLUMNS[column].kind if column in COLUMNS else "text"
    if text == "":
        return None
    if kind == "text":
        return text[1:] if text[0] == "'" and text[1:].startswith(FORMULA) else text
    return checked(int(text) if kind == "count" else float(text))


def _snapshot(records: Sequence[Record], path: Path) -> Snapshot:
    columns = set(records[0]) if records else set(NEEDED)
    lacking = [column for column in NEEDED if column not in columns]
    if lacking or "round" in columns:
        what = "has a row for each job" if "round" in columns else f"has no column '{lacking[0]}'"
        raise UsageError(f"{path} is no table of results, it {what}: write one with `report REF --csv` or --json")
    try:
        rows = [row for record in records for row in _rows(record)]
        _check_rows(rows)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    return Snapshot(
        name=str(path), created=path.stat().st_mtime, argv=(), settings={}, environment={}, rows=tuple(rows)
    )


def _rows(record: Record) -> Iterable[Row]:
    """Yield the rows of one line: of the summary one for performance and one for accuracy."""
    if "status" in record:
        kind = "accuracy" if "tensors" in record else "performance"
        yield _row(record, kind, record["status"], record.get("reason"))
        return
    for kind in ("performance", "accuracy"):
        if record.get(kind) is not None:
            yield _row(record, kind, record[kind], record.get(f"{kind}_reason"))


def _row(record: Record, kind: str, status: Any, reason: Any) -> Row:
    names = {column: record.get(column) for column in IDENTITY}
    if kind == "accuracy":  # the summary's line is named by its performance job
        names |= {"measure": kind, "batch_size": record.get("accuracy_batch_size", names["batch_size"])}
    if status not in STATUSES:
        raise ValueError(f"unknown status '{status}'")
    timed = kind == "performance"
    row = Row(
        names=names,
        config={},
        kind=kind,
        status=str(status),
        reason=str(reason or ""),
        figures=_figures(record) if timed else {},
        counts={name: int(record[name]) for name in COUNTERS if timed and record.get(name) is not None},
        disturbed=str(record.get("disturbed") or "") if timed else "",
        jobs=(),
        measured=str(record.get("measured") or "") if timed else "",
    )
    return by_names(row)


def _figures(record: Record) -> dict[str, Figure]:
    figures = {name: Figure(values=(float(record[name]),)) for name in ABSOLUTE if _positive(record.get(name))}
    if _positive(record.get("speedup")):
        figures["speedup"] = _speedup(record)
    rounds, spread = int(record.get("rounds") or 1), record.get("latency_spread_percent") or 0.0
    if "latency_ms" in figures and rounds > 1 and _positive(spread):
        figures["latency_ms"] = Figure(values=_like(record["latency_ms"], spread / 100, rounds))
    return figures


def _speedup(record: Record) -> Figure:
    value, rounds = float(record["speedup"]), int(record.get("rounds") or 0)
    if not (_positive(record.get("speedup_low")) and _positive(record.get("speedup_high"))):
        return Figure(values=(value,))
    half = math.log(record["speedup_high"] / record["speedup_low"]) / 2
    if record.get("interval") == IN_PROCESS or rounds < 2:
        return Figure(values=(value,), halves=(half,))
    freedom = record.get("speedup_freedom")  # tables of earlier versions have none: then it was that of the rounds
    quantile = student(freedom if _positive(freedom) else rounds - 1)
    return Figure(values=_like(value, half / quantile / math.sqrt(median_variance(rounds)), rounds))


def _like(mean: float, deviation: float, count: int) -> tuple[float, ...]:
    """Return `count` values whose logarithms have this mean and standard deviation."""
    if not 1 < count <= limits.ROUNDS:
        raise ValueError(f"{count} rounds")
    steps = [step - (count - 1) / 2 for step in range(count)]
    unit = statistics.stdev(steps)
    return tuple(mean * math.exp(deviation * step / unit) for step in steps)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
