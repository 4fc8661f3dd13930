"""A sweep as the CSV files of the old `transformers.benchmark`: time and memory, of inference and of training.

A line for each model, batch size and length, as `examples/pytorch/benchmarking/plot_csv_file.py` of transformers reads
them: the result in s, or in MiB, and "N/A" where there is none. Theirs had one compiler, dtype and device a command;
where a sweep has several, each has files of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from orchestrator.exchange.dynamobench import numbered, word
from orchestrator.exchange.dynamobench_export import csv_text
from orchestrator.exchange.rows import Joined
from orchestrator.results.metrics import MS
from orchestrator.results.naming import IDENTITY, telling
from orchestrator.words import plural

COLUMNS = ("model", "batch_size", "sequence_length", "result")
OF_A_FILE = tuple(column for column in IDENTITY if column not in COLUMNS)
KINDS = {"inference": "inference", "training": "train"}
"""Mode -> their word for it; any other that trains is told by its own name behind "train"."""


def export(rows: Iterable[Joined]) -> tuple[dict[str, str], list[str]]:
    """Return name of a file -> its text, and what the files do not say, a line each."""
    timed = [row for row in rows if row.timed is not None]
    groups: dict[tuple[object, ...], list[Joined]] = defaultdict(list)
    for row in timed:
        if row.row["sequence_length"] is not None:
            groups[tuple(row.row[column] for column in OF_A_FILE)].append(row)
    told = telling([members[0].row for members in groups.values()], OF_A_FILE)
    files: dict[str, str] = {}
    for members in groups.values():
        for figure in ("time", "memory"):
            names = (f"{name}.csv" for name in numbered(_name(members[0], figure, told)))
            files[next(name for name in names if name not in files)] = _text(members, figure)
    without = len(timed) - sum(map(len, groups.values()))
    notes = [f"{plural(without, 'row')} of models without a sequence length left out"] if without else []
    return files, notes


def _name(row: Joined, figure: str, told: Sequence[str]) -> str:
    r = row.row
    is_training = any(family.rounds[0].job.is_training for family in row.families)
    words = ["train" if is_training else KINDS.get(r["mode"], word(r["mode"])), figure, word(r["compiler"])]
    rest = [column for column in told if column != "compiler" and not (column == "mode" and r["mode"] in KINDS)]
    return "_".join([*words, *(word(str(r[column])) for column in rest)])


def _text(rows: Sequence[Joined], figure: str) -> str:
    lines = []
    for row in rows:
        value = row.row["latency_ms" if figure == "time" else "peak_memory_mib"]
        result = "N/A" if value is None else value / MS if figure == "time" else round(value)
        lines.append([*(row.row[column] for column in COLUMNS[:-1]), result])
    return csv_text(COLUMNS, lines)
