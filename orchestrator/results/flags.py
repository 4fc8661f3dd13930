"""What deserves a look, worst first: the marks of PyTorch's dashboard and ours, and failures by reason.

Both refer to rows of the summary table by their number. Why models could not be exported is a table of its own: causes
by kind, each with how many models it stops.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.columns import Column, count, text
from orchestrator.records import COMPARISON_ERROR, FAIL_TO_RUN, HARMLESS, NOT_RUN, STATUSES, SUCCESSES, UNSUPPORTED
from orchestrator.results.load import JobOutcome
from orchestrator.results.metrics import LONG_COMPILE_S, LOW_COMPRESSION, SLOW_SPEEDUP
from orchestrator.words import some

Row = Mapping[str, Any]

MEASURES = ("performance", "accuracy")

EXPORTERS = (
    "orchestrator.compilers.onnx_runtime.",
    "orchestrator.compilers.export.",
    "orchestrator.compilers.openvino.",
)
EXPORT_ERRORS: tuple[Column | str, ...] = (
    "compiler",
    text("error_kind", "class of the innermost exception that the exporter names"),
    text("error_cause", "what it says, in one line"),
    count("models", "models that it stops"),
    text("such_as", "some of them"),
)
_NAMED = re.compile(r"(?:torch\.onnx\.export|(?:\w+\.)*([A-Z]\w*[a-z0-9][A-Z]\w*|Unsupported)): ")
"""What stands before a message, exceptions inside of each other: "RuntimeError: torch.onnx.export: UserError: "."""


@dataclass(frozen=True)
class Mark:
    """What a mark in the column `flags` is about: its word for people, the column it judges, what is out of bounds."""

    word: str
    column: str
    rule: str


MARKS: Mapping[str, Mark] = {
    "accuracy": Mark("accuracy", "accuracy", "accuracy not passed"),
    "measured": Mark("measured", "measured", "not timed as the row says"),
    "speedup": Mark("speed-up", "speedup", f"speed-up < {SLOW_SPEEDUP:g}x"),
    "compile_latency": Mark("compile", "compile_latency_cold_s", f"cold compile > {LONG_COMPILE_S:g} s"),
    "compression_ratio": Mark("memory", "compression_ratio", f"memory over {100 / LOW_COMPRESSION - 100:+.0f} %"),
}


@dataclass(frozen=True)
class Flag:
    """One mark of one row. `times` is how far beyond the limit the figure is (over 1), None for what is no figure."""

    mark: str
    row: int
    times: float | None


@dataclass(frozen=True)
class Failures:
    """Rows whose measure ended with the same status for the same reason, in the order of the table."""

    measure: str
    status: str
    reason: str
    rows: tuple[int, ...]


def marks_of(row: Row) -> list[str]:
    """Return the marks in a row's column `flags`."""
    return row["flags"].split(", ") if row["flags"] else []


def flagged(summary: Sequence[Row]) -> list[Flag]:
    """Return the marks of all rows, worst first: accuracy by its status, then figures by how far beyond the limit.

    The marks themselves are those of the table's column `flags`: there is one place that decides.
    """
    flags = [
        Flag(mark, number, _times(mark, row))
        for number, row in enumerate(summary)
        for mark in marks_of(row)
        if mark in MARKS
    ]
    return sorted(flags, key=lambda flag: _badness(flag, summary[flag.row]))


def failures(summary: Sequence[Row]) -> list[Failures]:
    """Return what has no good result, the worst status first, of equals the most frequent reason."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(summary):
        for measure in MEASURES:
            if row[measure] not in (None, *SUCCESSES):
                groups[measure, row[measure], row[f"{measure}_reason"] or ""].append(number)
    found = [Failures(*key, tuple(rows)) for key, rows in groups.items()]
    return sorted(found, key=lambda group: (STATUSES.index(group.status), -len(group.rows)))


def _times(mark: str, row: Row) -> float | None:
    value = row[MARKS[mark].column]
    if mark == "compile_latency":
        return float(value / LONG_COMPILE_S)
    least = {"speedup": SLOW_SPEEDUP, "compression_ratio": LOW_COMPRESSION}.get(mark)
    return None if least is None else float(least / value)


def _badness(flag: Flag, row: Row) -> tuple[int, float]:
    if flag.mark == "measured":
        return (1, -math.inf)
    if flag.times is not None:
        return (1, -flag.times)
    status = row["accuracy"]
    judged = status not in (*HARMLESS, NOT_RUN, COMPARISON_ERROR)
    return (0 if judged else 2, STATUSES.index(status))


def export_errors(outcomes: Iterable[JobOutcome]) -> list[dict[str, Any]]:
    """Return a row of `EXPORT_ERRORS` for each compiler, kind and cause, the most models first."""
    found: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.status not in (FAIL_TO_RUN, UNSUPPORTED) or not outcome.job.compiler.target.startswith(EXPORTERS):
            continue
        if outcome.failure is not None and outcome.failure.phase == "compile":
            kind, cause = parted(outcome.reason)
            found[outcome.job.compiler.name, kind or outcome.status, cause][outcome.job.workload.model] = None
    made = [
        {"compiler": compiler, "error_kind": kind, "error_cause": cause, "models": len(models)}
        | {"such_as": some(models, 3)}
        for (compiler, kind, cause), models in found.items()
    ]
    return sorted(made, key=lambda row: (-row["models"], row["compiler"], row["error_kind"], row["error_cause"]))


def parted(reason: str) -> tuple[str, str]:
    """Return the class of the innermost exception that a reason begins with, "" without one, and the rest."""
    kind = ""
    while (named := _NAMED.match(reason)) is not None:
        kind, reason = named[1] or kind, reason[named.end() :]
    return kind, reason
