"""The verb `show`: everything about one sweep, or about one job of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.reporting import output
from orchestrator.store import JobGraph, Sweep, SweepFolder, find_sweeps

if TYPE_CHECKING:
    from orchestrator.records import JobSpec

NEWEST = 50
"""So many sweeps are searched for a job that is named without its sweep."""
SHORTEST = 4
"""Characters of an id that is looked for in all of them."""


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator show`. Raises UsageError when there is no such sweep or job."""
    parser = output.parser(
        "show",
        "Show everything about a sweep, or about one job of it.",
        "Exit code: 0, or 2 when there is no such sweep or job.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        default="latest",
        help="SWEEP (path, latest, latest~1, <date>/<time>), SWEEP:JOB, a job folder, or JOB: the beginning of an id, "
        f"which is looked for in the newest {NEWEST} sweeps",
    )
    parser.add_argument("--only", metavar="EXPR", help="the job with model=GLOB,compiler=GLOB,... (or a list of them)")
    parser.add_argument("--log", action="store_true", help="the whole log of a job, not only its end")
    asked = parser.parse_args(argv)
    from orchestrator.reporting import show_job, show_sweep
    from orchestrator.results import details

    folder, sweep, graph, jobs = resolve(asked.what, Path(asked.root), asked.only)
    if jobs is None:
        if asked.log:
            parser.error("--log goes with a job: SWEEP:JOB")
        return show_sweep.show(folder, sweep, graph, asked.form)
    if len(jobs) > 1:
        return show_sweep.list_jobs(folder, jobs, asked.form)
    found = details.read(folder, sweep, graph, jobs[0])
    show_job.write(asked.form, found, asked.log) if asked.form else show_job.show(found, asked.log)
    return 0


def resolve(reference: str, root: Path, only: str | None) -> tuple[SweepFolder, Sweep, JobGraph, list[JobSpec] | None]:
    """Return the sweep that is named, and the jobs of it that are; None for all. Raises UsageError."""
    from orchestrator.planning import replay
    from orchestrator.planning.matching import parse_only
    from orchestrator.results import details, sources

    try:
        folder, beginning = sources.find(reference, root)
    except UsageError as error:
        found = _search(reference, root) if _is_id(reference) else None
        if found is None:
            also = f". Nor does the id of a job of the newest {NEWEST} sweeps begin so" * _is_id(reference)
            raise UsageError(f"{error}{also}") from error
        folder, beginning = found, reference
    sweep, graph = folder.read_sweep(), folder.read_graph()
    jobs = None if beginning is None else [replay.named(graph.jobs, beginning)]
    if only is not None:
        jobs = details.select(folder, jobs or graph.jobs, parse_only(only, details.ONLY))
        if not jobs:
            raise UsageError(f"--only {only}: none of the {len(graph.jobs)} jobs of {folder} matches")
    return folder, sweep, graph, jobs


def _is_id(text: str) -> bool:
    return len(text) >= SHORTEST and set(text) <= set("0123456789abcdef")


def _search(beginning: str, root: Path) -> SweepFolder | None:
    """Return the newest sweep that has a job whose id begins so."""
    for _, folder in zip(range(NEWEST), find_sweeps(root), strict=False):
        try:
            if any(job.id.startswith(beginning) for job in folder.read_graph().jobs):
                return folder
        except UsageError:  # damaged: `ls` says so
            continue
    return None
