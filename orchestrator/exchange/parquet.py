"""A sweep's tables, and its samples, as Parquet files. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import DISTRIBUTION
from orchestrator.columns import Column
from orchestrator.errors import UsageError
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import is_number
from orchestrator.results.tables import Table, Tables

if TYPE_CHECKING:
    import pyarrow

EXTRA = f"Parquet needs pyarrow, which is not installed: pip install '{DISTRIBUTION}[parquet]'"


def export(results: SweepResults, tables: Tables, folder: Path) -> list[str]:
    """Write <table>.parquet for every table, and samples.parquet; return a line for each.

    Raises UsageError when pyarrow is not installed, or a file cannot be written.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError(EXTRA) from None
    made = {name: arrow(table) for name, table in tables.named().items()} | {"samples": samples(results)}
    lines = []
    for name, table in made.items():
        path = folder / f"{name}.parquet"
        unfinished = folder / f".{name}.parquet.tmp"
        try:
            parquet.write_table(table, unfinished)
            unfinished.replace(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
        lines.append(f"{path}  {table.num_rows} rows")
    return lines


def arrow(table: Table) -> pyarrow.Table:
    """Return a table with a type, and unit and meaning as metadata, for every column. Missing is null."""
    import pyarrow

    kinds = {"count": pyarrow.int64(), "number": pyarrow.float64(), "text": pyarrow.string()}
    described = {name: table.column(name) for name in table.columns}
    fields = [
        pyarrow.field(
            name,
            kinds[column.kind],
            metadata={"unit": column.unit, "better": column.better, "doc": column.doc},
        )
        for name, column in described.items()
    ]
    rows = [{name: _value(column, row) for name, column in described.items()} for row in table.rows]
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(fields))


def _value(column: Column, row: Mapping[str, Any]) -> Any:
    """ "nan" and "inf" were seen: of a column of numbers they are numbers, and no null."""
    value, kind = row[column.name], column.kind
    if value is None:
        return None
    if kind == "number":
        return float(value)
    return str(value) if kind == "text" and not isinstance(value, str) else value


def samples(results: SweepResults) -> pyarrow.Table:
    """Return every sample of every job, in time order: job, metric, unit, number (from 0), value."""
    import pyarrow

    rows = [
        (outcome.job.id, samples.metric, samples.unit, number, value)
        for outcome in results.outcomes
        if outcome.result is not None
        for samples in outcome.result.samples
        for number, value in enumerate(samples.values)
        if is_number(value)
    ]
    names = ("job", "metric", "unit", "number", "value")
    types = (pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.int64(), pyarrow.float64())
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pyarrow.table(
        [pyarrow.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=list(names)
    )
