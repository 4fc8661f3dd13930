"""What stands below the table of a sweep: what its marks mean, what has no good result and why, a self-test's checks.

Reasons are never cut off.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.records import HARMLESS, NOT_NEEDED, NOT_RUN, PASS, TWIN
from orchestrator.results.flags import marks_of
from orchestrator.results.load import NO_RESULT
from orchestrator.results.naming import is_eager
from orchestrator.views.document import Heading, Listing, Paragraph, Piece
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.layout import LISTED, by_cause
from orchestrator.words import more, plural, some

WEAKER = "~"
"""Behind an accuracy that was judged by weaker rules, in part: without float64, or not all of the outputs."""


def rounds_left_out(summary: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which rounds were left out because their row was decided before, and which rows are still open."""
    left_out = [job for job in jobs if job["status"] == NOT_NEEDED and not is_eager(job["compiler"])]
    if left_out:
        rows = dict.fromkeys(_row_name(job) for job in left_out)
        yield f"Decided before the last round, which was left out (rounds_min=N runs N): {some(rows, 3)}."
    timed = [row for row in summary if row["performance"] in (PASS, NOT_RUN) and row["rounds_planned"]]
    compared = [row for row in timed if not is_eager(row["compiler"])]
    begun = [row for row in compared if row["rounds"] < row["rounds_planned"] and row["performance"] == NOT_RUN]
    if begun:
        yield (
            f"{len(compared) - len(begun)} of {plural(len(compared), 'verdict')} stand; open, for want of rounds: "
            f"{some(map(_row_name, begun), 3)}."
        )


def notes(summary: Sequence[Mapping[str, Any]], overview: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what the marks mean, and what is behind the intervals; only what occurs."""
    if any(row["flags"] for row in summary):
        rules = "speed-up < 0.95x, cold compile > 120 s, memory over +11 %, accuracy not passed"
        yield f"! {rules}, or not timed as the row says"
    measured = [row for row in summary if row["measured"]]
    for row in measured[:LISTED]:
        mark = "! " * ("measured" in marks_of(row))
        yield f"{mark}{_row_name(row)} was measured: {row['measured']}"
    for line in more(len(measured), LISTED, " rows: see the column 'measured'"):
        yield line
    if any(row["interval"] == "in-process" for row in summary):
        yield (
            "Intervals are from the pairs of one process only (one round): another process may differ by more. "
            "rounds=5 gives an interval over fresh processes."
        )
    if any(row["geomean_count"] > 1 for row in overview):
        yield (
            "The interval of a geometric mean is for exactly these models; below it are those for models like these, "
            "of the mean (t over models) and of the pass rate (Wilson). All are of 95 %."
        )
    if any(row["own_memory_mib"] is not None for row in summary):
        yield "Memory is the steady-state peak over the level before the model existed."
    sources = {row["memory_source"] for row in summary} - {None}
    if any("ru_maxrss" in source for source in sources):
        yield "Peak memory is since process start (ru_maxrss): the kernel does not let it be read by phase here."
    batches = {row["accuracy_batch_size"] for row in summary if row["accuracy_batch_size"] != row["batch_size"]} - {
        None
    }
    if batches:
        yield f"Accuracy was judged at batch size {', '.join(map(str, sorted(batches)))}."
    twins = [_row_name(row) for row in summary if row["judged"] == TWIN and not is_eager(row["compiler"])]
    if twins and any(row["judged"] not in (None, TWIN) for row in summary):
        yield f"Accuracy is of a twin of the timed code, compiled once more: {some(twins, 3)}."
    weaker: dict[str, list[str]] = defaultdict(list)
    for row in summary:
        if row["weaker"]:
            weaker[row["weaker"]].append(_row_name(row))
    for text, names in list(weaker.items())[:LISTED]:
        yield f"{WEAKER} judged by weaker rules: {some(names, 2)}: {text}"
    for line in more(len(weaker), LISTED, " reasons: see the column 'weaker'"):
        yield f"{WEAKER} {line}"
    bound = [_row_name(row) for row in summary if row["launch_bound"]]
    if bound:
        yield f"Launch-bound, the device waits for Python: {some(bound, 3)} (docs/gpu.md)."
    compared = [row for row in summary if not is_eager(row["compiler"])]
    if any(row["disturbed"] for row in compared or summary):
        yield "* disturbed: by what, is in the column 'disturbed', and in show."
    noted: dict[str, list[str]] = {}
    for row in summary:
        for text in (row["notes"] or "").split("; "):
            noted.setdefault(text, []).append(_row_name(row))
    noted.pop("", None)
    for text, rows in list(noted.items())[:LISTED]:
        yield f"{some(rows, 2)}: {text}"
    for line in more(len(noted), LISTED, " notes: see the column 'notes'"):
        yield line


def failures(summary: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """Return what has no good result, by cause: failures with a log, and what cannot be done here."""
    rows = [
        (row, measure, row[measure], row[f"{measure}_reason"] or "", row[log])
        for row in summary
        for measure, log in (("performance", "log"), ("accuracy", "accuracy_log"))
        if row[measure] not in (None, "pass", NOT_RUN)
    ]
    failed = [entry for entry in rows if entry[2] not in HARMLESS]
    pieces: list[Piece] = [Heading(f"{plural(len(failed), 'failure')}:", style="bold red", above=False)] * bool(failed)
    texts = by_cause((status, _row_name(row), measure, reason, log) for row, measure, status, reason, log in failed)
    pieces.append(Listing(texts, rest=": tables/jobs.csv"))
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row, measure, status, reason, _ in rows:
        if status in HARMLESS:
            by_reason[status, reason].append(f"{_row_name(row)} {measure}")
    for (status, reason), names in list(by_reason.items())[:LISTED]:
        pieces.append(Paragraph(f"{status}: {some(names, 3)}: {reason or 'no reason was given'}"))
    waiting = Counter(str(job["reason"]) for job in jobs if job["status"] == NOT_RUN)
    del waiting[NO_RESULT]  # of these the answer's caution says how many they are
    if waiting:
        told = some([f"{reason} ({count})" for reason, count in waiting.most_common()], 3)
        pieces.append(Paragraph(f"{plural(waiting.total(), 'job')} not run: {told}"))
    return pieces


def self_test(checks: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """Return what was found of each known figure, and the verdict, which is the last of the rows."""
    if not checks:
        return []
    rows = [
        [Cell(check["check"]), Cell(check["result"], style="" if check["result"] in HARMLESS else "red")]
        + [Cell(check["expected"] or ""), Cell(check["found"] or "")]
        for check in checks[:-1]
    ]
    style = "bold" if checks[-1]["result"] == PASS else "bold red"
    return [
        Heading("self-test", style="bold reverse", above=False),
        Grid(("check", "", "expected", "found"), rows, most=None),
        Paragraph(checks[-1]["found"], style, strong=True),
    ]


def _row_name(row: Mapping[str, Any]) -> str:
    build = f" {row['build']}" if row["build"] is not None else ""
    return f"{row['model']} {row['mode']} {row['dtype']} {row['device']}{build} {row['compiler']}"
