"""Read the CSV files of PyTorch's benchmarks/dynamo, as they are: of many years, and some of them damaged.

What is read over is noted: a row that stands twice (the later one is the newer: files are appended to), a last line
that was cut off, columns that are missing. What would have to be guessed is an error that names file and line.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.exchange.dynamobench import TESTINGS, FileName, parse_name, status_of
from orchestrator.files import read_bytes
from orchestrator.records import FAIL_TO_RUN, PASS
from orchestrator.results.exports import FORMULA
from orchestrator.validity import check_device, check_name
from orchestrator.words import plural, some

HEADERLESS: Mapping[int, tuple[str, ...]] = {
    4: ("dev", "name", "batch_size", "accuracy"),
    6: ("dev", "name", "batch_size", "speedup", "compilation_latency", "compression_ratio"),
    7: ("dev", "name", "batch_size", "speedup", "abs_latency", "compilation_latency", "compression_ratio"),
}
"""Number of cells -> columns of files without a header, as runner.py takes them."""
ZEROS = frozenset({"0", "0.0", "0.0000", "0.000000"})
"""What rows of failed runs are filled up with."""
LARGEST_NUMBER = 1e15
"""Of any unit: a figure above is none."""


@dataclass(frozen=True)
class Given:
    """What a person says of files whose names do not say it; None where nothing was said."""

    compiler: str | None = None
    suite: str | None = None
    dtype: str | None = None
    mode: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class CsvLine:
    """One row of a file: its cells by column, without those that it lacks."""

    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return a cell, "" where it is missing or empty."""
        return self.cells.get(column, "").strip()

    def number_of(self, column: str) -> float | None:
        """Return a cell that is a number, None for anything else, and for what no run ever took."""
        try:
            value = float(self.text(column))
        except ValueError:
            return None
        return value if abs(value) < LARGEST_NUMBER else None  # nor is NaN smaller than anything


@dataclass(frozen=True)
class Source:
    """One file that was read. `seen` is when it was last written, in seconds since the epoch."""

    path: Path
    name: FileName
    lines: Sequence[CsvLine]
    seen: float


def find(places: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the files that are named, and of folders those whose names end like theirs; and notes.

    Raises UsageError when a place is neither a file nor a folder, or a folder has none.
    """
    files: list[Path] = []
    notes = []
    for place in places:
        path = Path(place)
        if os.path.isdir(path):
            found = sorted(file for testing in TESTINGS for file in path.glob(f"*_{testing}.csv") if file.is_file())
            if not found:
                raise UsageError(f"{place} has no *_performance.csv or *_accuracy.csv; name the files themselves")
            others = sum(1 for file in path.glob("*.csv")) - len(found)
            notes += [f"{place}: {others} other CSV files were not read"] if others else []
            files += found
        elif os.path.isfile(path):
            files.append(path)
        else:
            raise UsageError(f"{place}: no such file or folder")
    return list(dict.fromkeys(files)), notes


def read(path: Path, given: Given) -> tuple[Source, list[str]]:
    """Return a file's rows, and notes. Raises UsageError that names file, line and remedy."""
    notes: list[str] = []
    table = list(_cells(path))
    if not table:
        raise UsageError(f"{path} is empty: leave it out")
    columns, body = _header(path, table)
    if not _ends_with_newline(path) and body and len(body[-1][1]) < len(columns):
        notes.append(f"{path}, line {body.pop()[0]}: cut off in the middle, left out")
    rows: dict[tuple[str, ...], CsvLine] = {}
    twice = []
    for number, cells in body:
        if len(cells) > len(columns):
            raise UsageError(
                f"{path}, line {number}: {len(cells)} cells under a header of {len(columns)}: which is which cannot be "
                "known; delete the line, or complete the header"
            )
        line = CsvLine(number, {c: _unquoted(cell) for c, cell in zip(columns, cells, strict=False)})
        if not line.text("name"):
            raise UsageError(f"{path}, line {number}: the row names no model (column 'name'); delete the line")
        _check_names(path, line)
        key = (line.text("dev"), line.text("name"), line.text("batch_size"), line.text("tag"))
        twice += [number] if key in rows else []
        rows[key] = line
    if twice:
        where = f"line {some(map(str, twice), 5)}"
        notes.append(f"{path}: {plural(len(twice), 'row')} given twice, the later one counts ({where})")
    testing = _testing(path, columns)
    name = _name(path, testing, given)
    seen = min(max(path.stat().st_mtime, 0.0), limits.LAST_SECOND - 1)
    return Source(path, name, tuple(rows.values()), seen), notes


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of the rows that are not empty."""
    try:
        with io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any("\0" in cell for cell in cells):
                    raise UsageError(f"{path}, line {reader.line_num}: holds a NUL character, it is no CSV file")
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}; repair it or leave it out") from error


def _check_names(path: Path, line: CsvLine) -> None:
    for column in ("dev", "name", "tag"):
        try:
            check_name(line.text(column), column)
            if column == "dev" and line.text(column):
                check_device(line.text(column))
        except ValueError as error:
            raise UsageError(f"{path}, line {line.number}: {error}; delete the line") from error


def _header(path: Path, table: list[tuple[int, list[str]]]) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    first = [cell.strip() for cell in table[0][1]]
    if "name" in first:
        return tuple(first), table[1:]
    if len(first) in HEADERLESS and first[0] not in ("dev", ""):
        return HEADERLESS[len(first)], table
    raise UsageError(f"{path}, line 1: no column 'name': it is no file of benchmarks/dynamo; leave it out")


def _testing(path: Path, columns: Sequence[str]) -> str:
    found = [testing for testing, column in zip(TESTINGS, ("speedup", "accuracy"), strict=True) if column in columns]
    if len(found) != 1:
        raise UsageError(f"{path}: neither 'speedup' nor 'accuracy' alone is among its columns; leave it out")
    return found[0]


def _name(path: Path, testing: str, given: Given) -> FileName:
    """Return what the file's name says, and what was given says instead."""
    parsed = parse_name(path.name, given.suite)
    said = {key: value for key, value in vars(given).items() if value is not None}
    if parsed is not None:
        return _checked(path, replace(parsed, testing=testing, **said))
    missing = [f"--{key}" for key in ("compiler", "suite", "dtype", "mode", "device") if key not in said]
    if missing:
        raise UsageError(
            f"{path}: its name is not {{compiler}}_{{suite}}_{{dtype}}_{{mode}}_{{device}}_{testing}.csv; "
            f"say what it holds: {' '.join(missing)}"
        )
    return _checked(path, FileName(testing=testing, **said))


def _checked(path: Path, name: FileName) -> FileName:
    try:
        for column, text in vars(name).items():
            check_name(text, column)
        check_device(name.device)
    except ValueError as error:
        raise UsageError(f"{path}: {error}; rename the file, or say it with --device and the like") from error
    return name


def outcome_of(source: Source, line: CsvLine) -> tuple[str, str]:
    """Return our status of a row, and the word or figure that says so.

    Zeros and empty cells are runs that failed for a reason that the file does not tell: `fail_to_run`.
    """
    words = [line.text(column) for column in ("accuracy", "speedup", "abs_latency")]
    said = next((word for word in words if status_of(word) is not None), None)
    if said is not None:  # also a word among figures, "infra_error"
        return str(status_of(said)), said
    speedup, latency = line.number_of("speedup"), line.number_of("abs_latency")
    timed = (speedup or 0) > 0 or (bool(latency) and not line.text("speedup"))
    if source.name.testing == TESTINGS[0] and timed:
        return PASS, ""
    shifted = line.text("tag")  # where a file has tags, the word of a failure stands in their column
    if status_of(shifted) is not None:
        return str(status_of(shifted)), shifted
    word = line.text("accuracy" if source.name.testing == "accuracy" else "speedup")
    return FAIL_TO_RUN, "0" if word in ZEROS else word


def _unquoted(cell: str) -> str:
    """Take off the quote that keeps a text from being a formula (`orchestrator.exchange.dynamobench_export.cell`)."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) in (b"\n", b"\r")
