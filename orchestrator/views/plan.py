"""What a person sees before a sweep: how many jobs of which kinds, how long that may take, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from orchestrator import system
from orchestrator.planning.shards import wall_s
from orchestrator.records import JobSpec, build_name
from orchestrator.store import JobGraph
from orchestrator.views.document import Document, Heading, Item, Paragraph, Piece, Verbatim
from orchestrator.views.layout import LISTED, duration
from orchestrator.words import more, plural, some


def document(
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
