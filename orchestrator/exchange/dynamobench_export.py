"""A sweep as the CSV files of PyTorch's benchmarks/dynamo (`orchestrator.exchange.dynamobench`).

One file per compiler, suite, dtype, mode, device and testing; one row per model. Where that would put a model into one
file twice (two batch sizes, seeds, ...), what differs is added to the compiler's name. Floats have six decimals, as
theirs have; a failed run is a row of zeros, as theirs is; a figure of a good run that is not there is an empty
cell, which their readers take for NaN and leave out of means and warnings.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.exchange import dynamobench
from orchestrator.exchange.dynamobench import COMPILERS, COUNTERS, FIGURES, GB, MODES, TESTINGS, TOKENS, FileName, word
from orchestrator.exchange.rows import Family, Joined
from orchestrator.records import COMPARISON_ERROR, CRASH, NOT_RUN, PASS, PASS_DUE_TO_SKIP, TIMED_CODE, UNSUPPORTED
from orchestrator.results.exports import FORMULA
from orchestrator.results.load import fact
from orchestrator.results.metrics import MIB, is_number
from orchestrator.results.naming import telling_of_models

DETAILS = (
    *("batch_size", "sequence_length", "seed", "threads", "build", "dtype", "mode", "device"),
    *("measure", "launcher", "variant"),
)
"""What the name of a file does not say, or not fully: columns of the summary."""
NOTHING_SEEN = frozenset({UNSUPPORTED, NOT_RUN})
FOLDED = (CRASH, COMPARISON_ERROR, UNSUPPORTED, NOT_RUN)
"""Statuses that have no word of their own there."""

Cells = Mapping[str, Any]


@dataclass(frozen=True)
class File:
    """One file: its name, its columns and its rows of cells (column -> figure, text, or None)."""

    name: FileName
    columns: tuple[str, ...]
    rows: tuple[Cells, ...]

    def text(self) -> str:
        """Return the file's content, with "\\n" line ends."""
        return csv_text(self.columns, ([row.get(column) for column in self.columns] for row in self.rows))


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return the content of a file of such cells."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([*map(cell, row)] for row in rows)
    return out.getvalue()


def cell(value: Any) -> str:
    """Return a cell's text. Only text that is no number is kept from being a formula: -1.5 must stay a number."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def export(rows: Iterable[Joined]) -> tuple[list[File], list[str]]:
    """Return the files, and what they do not say, a line each."""
    compiled = [row for row in rows if not row.is_eager]
    pairs = ((name, testing, members) for name, members in _grouped(compiled).items() for testing in TESTINGS)
    files = [made for pair in pairs if (made := _file(*pair)) is not None]
    written = {str(file.name) for file in files}
    notes = _left_out(compiled)
    if {row.row["rules"] for row in compiled} - {None, "dynamo"}:
        notes.append("accuracy was judged by our rules, not theirs: measure.options.rules=dynamo are theirs")
    for file in files:
        other = replace(file.name, testing=next(t for t in TESTINGS if t != file.name.testing))
        if str(other) not in written:
            notes.append(f"{file.name} has no {other.testing} file beside it: runner.py asks for both")
    return sorted(files, key=lambda file: str(file.name)), [*notes, *_uneven(files)]


def named(rows: Iterable[Joined]) -> list[tuple[Joined, FileName]]:
    """Return the rows of compilers, and the performance file that each belongs to, in the order of `rows`."""
    compiled = [row for row in rows if not row.is_eager]
    names = {id(row): name for name, members in _grouped(compiled).items() for row in members}
    return [(row, names[id(row)]) for row in compiled]


def _grouped(rows: Sequence[Joined]) -> dict[FileName, list[Joined]]:
    """Return name of the performance file -> its rows, no model twice."""
    by_name: dict[tuple[str, ...], list[Joined]] = defaultdict(list)
    for row in rows:
        by_name[_compiler(row), row.row["suite"], *_scope(row)].append(row)
    groups: dict[FileName, list[Joined]] = {}
    for (compiler, suite, dtype, mode, device), members in by_name.items():
        differing = telling_of_models((member.row for member in members), DETAILS)
        parts: dict[str, list[Joined]] = defaultdict(list)
        for member in members:
            parts["".join(f"-{name}-{member.row[name]}" for name in differing)].append(member)
        for suffix, part in parts.items():
            called = dynamobench.numbered(word(compiler + suffix))
            names = (FileName(one, word(suite), dtype, mode, device, TESTINGS[0]) for one in called)
            groups[next(name for name in names if name not in groups)] = part
    return groups


def _compiler(row: Joined) -> str:
    name, bracket, options = str(row.row["compiler"]).partition("(")
    return COMPILERS.get(name, name) + bracket + options


def _scope(row: Joined) -> tuple[str, str, str]:
    """Return dtype, mode and device as a file's name says them: every mode that trains is their "training"."""
    job = row.families[0].rounds[0].job
    workload = job.workload
    kind = "training" if job.is_training else workload.mode.target.rpartition(".")[2].lower()
    mode = kind if kind in MODES else word(workload.mode.name)
    return dynamobench.dtype_of(workload.dtype), mode, workload.device.partition(":")[0]


def _file(name: FileName, testing: str, members: Sequence[Joined]) -> File | None:
    """Return the file, None when there is nothing to say: no job was planned, or none of them could run."""
    planned = [row for row in members if (row.timed if testing == "performance" else row.judged) is not None]
    if all(row.row[testing] in NOTHING_SEEN for row in planned):
        return None
    cells = [made for row in planned if (made := (performance if testing == "performance" else accuracy)(row))]
    if not cells:
        return None
    kept = [imported(row.timed if testing == "performance" else row.judged) for row in planned]
    tokens = [column for column in TOKENS if any(column in row for row in cells)]
    columns: dict[str, None] = dict.fromkeys([*dynamobench.COLUMNS[testing], *tokens])
    if all(kept):  # files that were read come out with the columns that they had
        columns = dict.fromkeys(column for row in kept for column in row or ())
    return File(replace(name, testing=testing), tuple(columns), tuple(cells))


def imported(family: Family | None) -> dict[str, str] | None:
    """Return the cells that an imported row had in its file."""
    cells = fact(family.blamed.facts, "dynamobench", "cells") if family is not None else None
    return cells if isinstance(cells, dict) else None


def _identity(row: Joined, batch_size: int) -> dict[str, Any]:
    return {"dev": _scope(row)[2], "name": row.row["model"], "batch_size": batch_size}


def performance(row: Joined) -> dict[str, Any] | None:
    """Return the cells of a performance row; None for what was skipped, which has no row there."""
    if row.timed is None or row.row["performance"] == PASS_DUE_TO_SKIP:
        return None
    measured = (
        imported(row.timed)
        or figures(row)
        or dict.fromkeys(FIGURES[:2], 0.0) | dict.fromkeys((*FIGURES[2:], *COUNTERS), "0")
    )
    return _identity(row, row.row["batch_size"]) | measured


def figures(row: Joined) -> dict[str, Any] | None:
    """Return what was measured, in their units; None where nothing was.

    Memory is what model and compiler take (`own_memory_mib`): the ratio of the two is then the compression ratio.
    """
    r = row.row
    if row.timed is None or (r["speedup"] is None and r["latency_ms"] is None):
        return None
    return {
        "speedup": r["speedup"],
        "abs_latency": r["latency_ms"],
        "compilation_latency": r["compile_latency_cold_s"],
        "compression_ratio": r["compression_ratio"],
        "eager_peak_mem": gigabytes(r["eager_own_memory_mib"]),
        "dynamo_peak_mem": gigabytes(r["own_memory_mib"]),
        **counters(row.timed),
        **generation(row.timed, r),
    }


def generation(family: Family, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return their columns of generation; {} for other modes."""
    kinds = (fact(outcome.facts, "tokens", "kind") for outcome in family.rounds)
    kind = next((kind for kind in kinds if kind in ("input", "output")), None)
    if kind is None:
        return {}
    return {"eager_latency": row["eager_latency_ms"], f"{kind}_tokens_per_second": row["tokens_per_second"]}


def gigabytes(mib: float | None) -> float | None:
    return None if mib is None else mib / MIB / GB


def counters(family: Family) -> dict[str, Any]:
    """Return dynamo's counters of the first round that has them, under their names; {} where none has."""
    for outcome in family.rounds:
        seen = fact(outcome.facts, "counters")
        if isinstance(seen, dict):
            counted = {theirs: seen.get(ours) for theirs, ours in COUNTERS.items()}
            return {theirs: count if is_number(count) else None for theirs, count in counted.items()}
    return {}


def accuracy(row: Joined) -> dict[str, Any] | None:
    """Return the cells of an accuracy row."""
    if row.judged is None:
        return None
    batch_size = row.judged.rounds[0].job.workload.batch_size
    status = row.row["accuracy"]
    padding = None if status == PASS else "0"  # their rows of failures are filled up with zeros
    measured = {
        "accuracy": dynamobench.word_of(status, row.judged.phase),
        **dict.fromkeys((*COUNTERS, "compilation_latency"), padding),
        **counters(_compiled(row, row.judged)),
    }
    return _identity(row, batch_size) | (imported(row.judged) or measured)


def _compiled(row: Joined, judged: Family) -> Family:
    """Return the jobs that compiled what was judged: of timed code those that timed it."""
    return row.timed if row.row["judged"] == TIMED_CODE and row.timed is not None else judged


def _left_out(rows: Sequence[Joined]) -> list[str]:
    notes = []
    skipped = sum(row.row["performance"] == PASS_DUE_TO_SKIP for row in rows)
    if skipped:
        notes.append(f"{_rows(skipped)} skipped: no row in a performance file, as with theirs")
    bare = sum(row.row["speedup"] is None and row.row["latency_ms"] is not None for row in rows)
    if bare:
        notes.append(f"{_rows(bare)} timed without eager beside it: the speed-up is an empty cell")
    for testing in TESTINGS:
        statuses = Counter(row.row[testing] for row in rows)
        for status in FOLDED:
            if statuses[status]:
                theirs = "a speed-up of 0" if testing == "performance" else f"'{dynamobench.TO_THEIRS[status]}'"
                notes.append(f"{statuses[status]} x {status}: {theirs} for {testing}")
    return notes


def _uneven(files: Sequence[File]) -> list[str]:
    """runner.py pairs the rows of compilers by their position, and stops where their batch sizes differ."""
    models: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for file in files:
        n = file.name
        key = (n.suite, n.dtype, n.mode, n.device, n.testing)
        models[key].add(tuple(str(row["name"]) for row in file.rows))
    return [
        f"{'_'.join(key)}: the compilers' files have different models, and runner.py cannot read them together"
        for key, lists in models.items()
        if len(lists) > 1
    ]


def _rows(count: int) -> str:
    return f"{count} row{'s were' if count != 1 else ' was'}"
