"""The verb `show`: everything about one sweep, or about one job of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.reporting import output, show_sweep
from orchestrator.reporting.listing import cut
from orchestrator.store import JobGraph, Sweep, SweepFolder, find_sweeps

if TYPE_CHECKING:
    from orchestrator.records import JobSpec

NEWEST = 50
"""So many sweeps are searched for a job that is named without its sweep."""
LISTED = 20


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
    folder, sweep, graph, jobs = resolve(asked.what, Path(asked.root), asked.only)
    if jobs is None:
        if asked.log:
            parser.error("--log goes with a job: SWEEP:JOB")
        return show_sweep.show(folder, sweep, graph, asked.form)
    if len(jobs) > 1:
        return _several(folder, jobs, asked.form)
    from orchestrator.reporting import show_job
    from orchestrator.results import details

    found = details.read(folder, sweep, graph, jobs[0])
    show_job.write(asked.form, found, asked.log) if asked.form else show_job.show(found, asked.log)
    return 0


def resolve(reference: str, root: Path, only: str | None) -> tuple[SweepFolder, Sweep, JobGraph, list[JobSpec] | None]:
    """Return the sweep that is named, and the jobs of it that are; None for all. Raises UsageError."""
    from orchestrator.planning import replay
    from orchestrator.results import details, sources

    try:
        folder, beginning = sources.find(reference, root)
    except UsageError as error:
        found = _search(reference, root)
        if found is None:
            raise UsageError(f"{error}. Nor does a job of the newest {NEWEST} sweeps have an id like it") from error
        folder, beginning = found, reference
    sweep, graph = folder.read_sweep(), folder.read_graph()
    jobs = None if beginning is None else [replay.named(graph, beginning)]
    if only is not None:
        jobs = details.select(folder, jobs or graph.jobs, details.parse_only(only))
        if not jobs:
            raise UsageError(f"--only {only}: none of the {len(graph.jobs)} jobs of {folder} matches")
    return folder, sweep, graph, jobs


def _search(beginning: str, root: Path) -> SweepFolder | None:
    """Return the newest sweep that has a job whose id begins so."""
    if len(beginning) < 4 or not set(beginning) <= set("0123456789abcdef"):
        return None
    for _, folder in zip(range(NEWEST), find_sweeps(root), strict=False):
        try:
            if any(job.id.startswith(beginning) for job in folder.read_graph().jobs):
                return folder
        except UsageError:  # damaged: `ls` says so
            continue
    return None


def _several(folder: SweepFolder, jobs: Sequence[JobSpec], form: str | None) -> int:
    """List the jobs that --only matches."""
    from orchestrator.results.load import outcome
    from orchestrator.results.tables import Table

    shown = jobs if form else jobs[: 2 * LISTED]
    found = [outcome(job, folder.read_result(job.id)) for job in shown]
    if form:
        output.write(form, {"jobs": Table.of(show_sweep.JOBS, (show_sweep.job_row(folder, one) for one in found))})
        return 0
    from rich.text import Text

    from orchestrator.reporting.layout import console
    from orchestrator.reporting.report import shown as place

    out = console()
    for one in found:
        out.print(
            Text(cut(f"{one.job.id}  {one.status:<13} {show_sweep.plain(one.job.title)}", out.width)), soft_wrap=True
        )
    if len(jobs) > len(found):
        out.print(f"and {len(jobs) - len(found):,} more")
    out.print(Text(f"python -m orchestrator show {shlex.quote(place(folder))}:{jobs[0].id}"), soft_wrap=True)
    return 0
