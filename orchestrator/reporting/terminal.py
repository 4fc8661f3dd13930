"""What a person sees before and after a sweep: the plan, and the table with its notes.

Colour is an addition: every mark is a character too, so that a pipe, a log file and a colour-blind reader see the
same. Reasons are never cut off.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from orchestrator import system
from orchestrator.records import HARMLESS, NOT_RUN, PASS, JobSpec
from orchestrator.reporting.layout import Cell, console, duration, grid, item, natural_width, paragraph
from orchestrator.store import JobGraph
from orchestrator.words import more, plural, some

if TYPE_CHECKING:
    from orchestrator.results.tables import Tables

LISTED = 20
"""So many failures, and jobs of a dry run, are shown; the others are counted, and stand in the tables."""


def show_plan(graph: JobGraph, folder: str, dry_run: bool) -> None:
    """Print how many jobs of which kinds will run, how long that may take, and where the results will be."""
    out = console()
    estimate = sum(job.cost_s for job in graph.jobs if job.verdict is None)
    title = f"Plan: {plural(len(graph.jobs), 'job')}, about {duration(estimate)} one after the other"
    out.print(Text(title, "bold"))
    axes: tuple[tuple[str, Callable[[JobSpec], str]], ...] = (
        ("suite", lambda job: job.workload.suite),
        ("model", lambda job: job.workload.model),
        ("mode", lambda job: job.workload.mode.name),
        ("dtype", lambda job: job.workload.dtype),
        ("device", lambda job: job.workload.device),
        ("compiler", lambda job: job.compiler.name),
        ("measure", lambda job: job.measure.name),
    )
    for name, of in axes:
        _print_counts(out, name, Counter(of(job) for job in graph.jobs))
    shared = _shared(graph)
    if shared:
        item(out, "shared", shared)
    verdicts = Counter(job.verdict.status for job in graph.jobs if job.verdict is not None)
    if verdicts:
        known = ", ".join(f"{status} {count}" for status, count in sorted(verdicts.items()))
        item(out, "not started", f"{known} (known beforehand; the reasons will be in the table)")
    left_out = system.left_out()
    if left_out:
        them = "it" if len(left_out) == 1 else "them"
        words = f"(jobs do not get {them}; execution.env={{NAME:VALUE}} sets variables)"
        item(out, "left out", f"{', '.join(left_out)} {words}")
    if dry_run:
        for job in graph.jobs[:LISTED]:
            out.print(Text(f"    {job.title}"), overflow="ellipsis", no_wrap=True)
        for line in more(len(graph.jobs), LISTED):
            out.print(f"    {line}")
        out.print("Dry run: nothing was started.")
    else:
        item(out, "folder", folder, wrap=False)


def show_summary(tables: Tables, folder: str, next_command: str) -> None:
    """Print the final table by section, its notes, the failures with their logs, and what to run next."""
    from orchestrator.reporting import findings
    from orchestrator.reporting.summary import TITLES, sections

    out = console()
    summary, overview = tables.summary.rows, tables.overview.rows
    several_seeds = len({row["seed"] for row in summary}) > 1
    for section in sections(summary, overview):
        out.print()
        out.print(Text(section.title(several_seeds), "bold reverse"))
        table = section.table()
        stacked = natural_width(TITLES, table) > out.width
        for line in grid(TITLES, table, out.width, stacked):
            out.print(line, no_wrap=True, overflow="ellipsis")
    for name, found in tables.findings.items():
        findings.show(out, name, found)
    if not summary and not tables.findings:
        out.print("\nNothing was planned that is measured or judged.")
    out.print()
    _notes(out, summary)
    _failures(out, summary, tables.jobs.rows)
    _self_test(out, tables.self_test.rows)
    item(out, "results", f"{folder}  (report.html, tables/, jobs/)", wrap=False)
    item(out, "next", next_command, wrap=False)


def _notes(out: Console, summary: Sequence[Mapping[str, Any]]) -> None:
    """Say what the marks mean, and what is behind the intervals; only what occurs."""
    from orchestrator.reporting.summary import WEAKER

    if any(row["flags"] for row in summary):
        rules = "speed-up < 0.95x, cold compile > 120 s, memory ratio < 0.90x, accuracy not passed"
        _note(out, f"! {rules}, or not timed as the row says")
    measured = [row for row in summary if row["measured"]]
    for row in measured[:LISTED]:
        mark = "! " * ("measured" in (row["flags"] or "").split(", "))
        _note(out, f"{mark}{_row_name(row)} was measured: {row['measured']}")
    for line in more(len(measured), LISTED, " rows: see the column 'measured'"):
        _note(out, line)
    if any(row["interval"] == "in-process" for row in summary):
        _note(
            out,
            "Intervals are from the pairs of one process only (one round): another process may differ by more. "
            "rounds=5 gives an interval over fresh processes.",
        )
    if any(row["own_memory_mib"] is not None for row in summary):
        _note(out, "Memory is the steady-state peak over the level before the model existed.")
    sources = {row["memory_source"] for row in summary} - {None}
    if any("ru_maxrss" in source for source in sources):
        _note(out, "Peak memory is since process start (ru_maxrss): the kernel does not let it be read by phase here.")
    batches = {row["accuracy_batch_size"] for row in summary if row["accuracy_batch_size"] != row["batch_size"]} - {
        None
    }
    if batches:
        _note(out, f"Accuracy was judged at batch size {', '.join(map(str, sorted(batches)))}.")
    weaker: dict[str, list[str]] = defaultdict(list)
    for row in summary:
        if row["weaker"]:
            weaker[row["weaker"]].append(_row_name(row))
    for text, names in list(weaker.items())[:LISTED]:
        _note(out, f"{WEAKER} judged by weaker rules: {some(names, 2)}: {text}")
    for line in more(len(weaker), LISTED, " reasons: see the column 'weaker'"):
        _note(out, f"{WEAKER} {line}")
    bound = [_row_name(row) for row in summary if row["launch_bound"]]
    if bound:
        _note(out, f"Launch-bound, the device waits for Python: {some(bound, 3)} (docs/gpu.md).")
    disturbed = [row for row in summary if row["disturbed"]]
    for row in disturbed[:LISTED]:
        reasons = some(row["disturbed"].split("; "), 2)  # a busy machine gives one for every round
        _note(out, f"* {_row_name(row)} was disturbed: {reasons}")
    for line in more(len(disturbed), LISTED, " rows were disturbed: see the column 'disturbed'"):
        _note(out, f"* {line}")
    noted: dict[str, list[str]] = {}
    for row in summary:
        for text in (row["notes"] or "").split("; "):
            noted.setdefault(text, []).append(_row_name(row))
    noted.pop("", None)
    for text, rows in list(noted.items())[:LISTED]:
        _note(out, f"{some(rows, 2)}: {text}")
    for line in more(len(noted), LISTED, " notes: see the column 'notes'"):
        _note(out, line)


def _failures(out: Console, summary: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> None:
    """List what has no good result: failures one by one with their log, what cannot be done here by reason."""
    rows = [
        (row, measure, row[measure], row[f"{measure}_reason"] or "", row[log])
        for row in summary
        for measure, log in (("performance", "log"), ("accuracy", "accuracy_log"))
        if row[measure] not in (None, "pass", NOT_RUN)
    ]
    failed = [entry for entry in rows if entry[2] not in HARMLESS]
    if failed:
        out.print(Text(f"{plural(len(failed), 'failure')}:", "bold red"))
    for row, measure, status, reason, log in failed[:LISTED]:
        _note(out, f"{status}: {_row_name(row)} {measure}: {reason or 'no reason was given'} ({log})", indent="  ")
    for line in more(len(failed), LISTED, ": tables/jobs.csv"):
        out.print(f"  {line}")
    by_reason: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row, measure, status, reason, _ in rows:
        if status in HARMLESS:
            by_reason[status, reason].append(f"{_row_name(row)} {measure}")
    for (status, reason), names in list(by_reason.items())[:LISTED]:
        _note(out, f"{status}: {some(names, 3)}: {reason or 'no reason was given'}")
    waiting = sum(job["status"] == NOT_RUN for job in jobs)
    if waiting:
        reasons = Counter(str(job["reason"]) for job in jobs if job["status"] == NOT_RUN)
        _note(out, f"{plural(waiting, 'job')} not run: {some([f'{r} ({n})' for r, n in reasons.most_common()], 3)}")


def _self_test(out: Console, checks: Sequence[Mapping[str, Any]]) -> None:
    """Print what was found of each known figure, and the verdict, which is the last of the rows."""
    if not checks:
        return
    lines = [
        [Cell(check["check"]), Cell(check["result"], style="" if check["result"] in HARMLESS else "red")]
        + [Cell(check["expected"] or ""), Cell(check["found"] or "")]
        for check in checks[:-1]
    ]
    out.print(Text("self-test", "bold reverse"))
    for line in grid(("check", "", "expected", "found"), lines, out.width, stacked=False) if lines else ():
        out.print(line, no_wrap=True, overflow="ellipsis")
    verdict = paragraph(checks[-1]["found"], out.width)
    out.print(Text(verdict, "bold" if checks[-1]["result"] == PASS else "bold red"), soft_wrap=True)


def _shared(graph: JobGraph) -> str:
    """Return how many baselines and references serve how many jobs, "" if none."""
    words = []
    for kind, name in (("baseline", "baseline"), ("reference", "reference")):
        needed = [need.job for job in graph.jobs for need in job.needs if need.kind == kind]
        if needed:
            words.append(f"{plural(len(set(needed)), name)} for {plural(len(needed), 'job')}")
    return ", ".join(words)


def _print_counts(out: Console, name: str, counts: Counter[str]) -> None:
    """Print an axis: its one value, or each value with its number of jobs, the most frequent first."""
    if len(counts) == 1:
        item(out, name, next(iter(counts)))
        return
    words = [f"{value} {count}" for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    item(out, f"{len(counts)} {name}s", some(words, 8))


def _note(out: Console, text: str, indent: str = "") -> None:
    wrapped = paragraph(indent + text, out.width, indent=indent + "  ")
    out.print(Text(wrapped), soft_wrap=True)


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{row['model']} {row['mode']} {row['dtype']} {row['device']} {row['compiler']}"
