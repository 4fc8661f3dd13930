"""What a person sees before and after a sweep: the plan, and the table with its notes.

Colour is an addition: every mark is a character too, so that a pipe, a log file and a colour-blind reader see the
same. Reasons are never cut off.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import system
from orchestrator.planning.shards import wall_s
from orchestrator.records import HARMLESS, NOT_NEEDED, NOT_RUN, PASS, TWIN, JobSpec, build_name
from orchestrator.results.flags import marks_of
from orchestrator.results.load import NO_RESULT
from orchestrator.results.naming import is_eager
from orchestrator.store import JobGraph
from orchestrator.views import answer, diff, findings
from orchestrator.views.document import Document, Heading, Item, Listing, Paragraph, Piece, Verbatim
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.layout import LISTED, by_cause, duration
from orchestrator.views.summary import TITLES, WEAKER, sections
from orchestrator.words import more, plural, some

if TYPE_CHECKING:
    from orchestrator.comparison.compare import Comparison
    from orchestrator.results.tables import Tables


def plan(
    graph: JobGraph,
    folder: str,
    dry_run: bool,
    cautions: Sequence[str] = (),
    slots: int = 1,
    commands: Sequence[str] = (),
    builds: Sequence[str] = (),
    shards: Sequence[float] = (),
) -> Document:
    """Return how many jobs of which kinds will run, how long that may take, and where the results will be.

    commands: of a dry run, those that run one row each; builds: what each of its builds is, in words; shards: the
    seconds that each takes elsewhere.
    """
    estimate = sum(job.cost_s for job in graph.jobs if job.verdict is None)
    title = f"Plan: {plural(len(graph.jobs), 'job')}, about {duration(estimate)} one after the other"
    if slots > 1:
        title += f", {duration(wall_s(graph.jobs, slots))} on {slots} slots"
    if shards:
        title += f"; in {plural(len(shards), 'shard')}, the longest {duration(max(shards))}"
    pieces: list[Piece] = [Heading(title, above=False)]
    axes: tuple[tuple[str, Callable[[JobSpec], str]], ...] = (
        ("suite", lambda job: job.workload.suite),
        ("model", lambda job: job.workload.model),
        ("mode", lambda job: job.workload.mode.name),
        ("dtype", lambda job: job.workload.dtype),
        ("device", lambda job: job.workload.device),
        ("compiler", lambda job: job.compiler.name),
        ("measure", lambda job: job.measure.name),
    )
    pieces += [_counts(name, Counter(of(job) for job in graph.jobs)) for name, of in axes]
    shared = _shared(graph)
    if shared:
        pieces.append(Item("shared", shared))
    verdicts = Counter(job.verdict.status for job in graph.jobs if job.verdict is not None)
    if verdicts:
        known = ", ".join(f"{status} {count}" for status, count in sorted(verdicts.items()))
        pieces.append(Item("not started", f"{known} (known beforehand; the reasons will be in the table)"))
    if any(job.workload.build for job in graph.jobs):
        pieces.append(_counts("build", Counter(build_name(job.workload.build) for job in graph.jobs)))
    pieces += [Item("build", told) for told in builds]
    left_out = system.left_out()
    if left_out:
        them = "it" if len(left_out) == 1 else "them"
        words = f"(jobs do not get {them}; execution.env={{NAME:VALUE}} sets variables)"
        pieces.append(Item("left out", f"{', '.join(left_out)} {words}"))
    pieces += [Item("caution", caution) for caution in cautions]
    if dry_run:
        titles = [job.title for job in graph.jobs]
        pieces += [Verbatim(titles[:LISTED], short=True), Verbatim(more(len(titles), LISTED))]
        if commands:
            pieces += [Heading("Each row alone, with what it needs:"), Verbatim(list(commands))]
        return Document("Plan", pieces, [Paragraph("Dry run: nothing was started.")])
    return Document("Plan", [*pieces, Item("folder", folder, wrap=False)])


def final(
    tables: Tables, folder: str, imported: bool = False, tag: str = "", builds: Sequence[Comparison] = ()
) -> Document:
    """Return the answer, the table by section, its notes, and the failures with their logs.

    builds: of a sweep with several, each against the first.
    """
    summary, overview = tables.summary.rows, tables.overview.rows
    several_seeds = len({row["seed"] for row in summary}) > 1
    pieces: list[Piece] = [*answer.pieces(tables, folder, imported)]
    for section in sections(summary, overview):
        pieces.append(Heading(section.title(several_seeds), style="bold reverse"))
        pieces.append(Grid(TITLES, section.table(), most=None, stacked=True))
        pieces.append(Paragraph(section.waiting(), "dim"))
    for comparison in builds:
        pieces += diff.builds(comparison)
    for name, found in tables.findings.items():
        pieces += findings.pieces(name, found)
    if not summary and not tables.findings:
        pieces.append(Paragraph("Nothing was planned that is measured or judged.", above=True))
    pieces.append(Paragraph("", above=True))
    notes = (*_notes(summary, overview), *_rounds(summary, tables.jobs.rows), *tables.environments)
    pieces += [Paragraph(note) for note in notes]
    pieces += [*_failures(summary, tables.jobs.rows), *self_test(tables.self_test.rows)]
    return Document("Summary", [*pieces, *([Item("tag", tag)] if tag else [])])


def whereabouts(folder: str, written: Sequence[str], next_command: str) -> Document:
    """Return where a sweep's results are (`written`: what there is in the folder), and what to run next."""
    place = Item("results", f"{folder}  ({', '.join(written)})", wrap=False)
    return Document("Results", [place, Item("next", next_command, command=True)])


def _rounds(summary: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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


def _notes(summary: Sequence[Mapping[str, Any]], overview: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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
        yield "* measured beside other work: what, is in the column 'disturbed', and in show."
    noted: dict[str, list[str]] = {}
    for row in summary:
        for text in (row["notes"] or "").split("; "):
            noted.setdefault(text, []).append(_row_name(row))
    noted.pop("", None)
    for text, rows in list(noted.items())[:LISTED]:
        yield f"{some(rows, 2)}: {text}"
    for line in more(len(noted), LISTED, " notes: see the column 'notes'"):
        yield line


def _failures(summary: Sequence[Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> list[Piece]:
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


def _shared(graph: JobGraph) -> str:
    """Return how many baselines and references serve how many jobs, "" if none."""
    words = []
    for kind, name in (("baseline", "baseline"), ("reference", "reference")):
        needed = [need.job for job in graph.jobs for need in job.needs if need.kind == kind]
        if needed:
            words.append(f"{plural(len(set(needed)), name)} for {plural(len(needed), 'job')}")
    return ", ".join(words)


def _counts(name: str, counts: Counter[str]) -> Item:
    """Return an axis: its one value, or each value with its number of jobs, the most frequent first."""
    if len(counts) == 1:
        return Item(name, next(iter(counts)))
    words = [f"{value} {count}" for value, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return Item(f"{len(counts)} {name}s", some(words, 8))


def _row_name(row: Mapping[str, Any]) -> str:
    build = f" {row['build']}" if row["build"] is not None else ""
    return f"{row['model']} {row['mode']} {row['dtype']} {row['device']}{build} {row['compiler']}"
