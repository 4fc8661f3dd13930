"""A sweep's tables, read back: `report --json`, `report --csv`, and the files in `tables/`.

A table has names and figures, no configuration, no environment and no single rounds. From the mean, the interval and
the number of rounds follow as many values with the same mean and standard deviation, which is all that a comparison
takes from rounds; where a table has no interval, the figure is one value.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import limits
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.pairing import by_names
from orchestrator.comparison.snapshot import Row, Snapshot, check_rows
from orchestrator.errors import UsageError
from orchestrator.files import checked, read_bytes
from orchestrator.records import STATUSES
from orchestrator.results.exports import FORMULA
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import IDENTITY
from orchestrator.results.performance import COUNTERS
from orchestrator.results.statistics import IN_PROCESS, student

TABLES = ("summary", "performance", "accuracy")
"""Tables that hold a row for each workload and compiler, the one preferred first."""
ABSOLUTE = ("latency_ms", "compile_latency_cold_s", "compile_latency_warm_s", "own_memory_mib")
NEEDED = ("model", "compiler", "measure")

Record = Mapping[str, Any]


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
    number = int(text) if kind == "count" else float(text)
    checked(number)
    return number


def _snapshot(records: Sequence[Record], path: Path) -> Snapshot:
    columns = set(records[0]) if records else set(NEEDED)
    lacking = [column for column in NEEDED if column not in columns]
    if lacking or "round" in columns:
        what = "has a row for each job" if "round" in columns else f"has no column '{lacking[0]}'"
        raise UsageError(f"{path} is no table of results, it {what}: write one with `report REF --csv` or --json")
    try:
        rows = [row for record in records for row in _rows(record)]
        check_rows(rows)
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
    return Figure(values=_like(value, half * math.sqrt(rounds) / student(rounds - 1), rounds))


def _like(mean: float, deviation: float, count: int) -> tuple[float, ...]:
    """Return `count` values whose logarithms have this mean and standard deviation."""
    if not 1 < count <= limits.ROUNDS:
        raise ValueError(f"{count} rounds")
    steps = [step - (count - 1) / 2 for step in range(count)]
    unit = statistics.stdev(steps)
    return tuple(mean * math.exp(deviation * step / unit) for step in steps)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
