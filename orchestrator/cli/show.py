"""The verb `show`: everything about one sweep, or about one job of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, did_you_mean
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
        help="SWEEP (path, latest, latest~1, <date>/<time>), SWEEP:JOB, SWEEP:MODEL (a name, or a pattern), a job "
        f"folder, or JOB: the beginning of an id, which is looked for in the newest {NEWEST} sweeps",
    )
    parser.add_argument("--only", metavar="EXPR", help="the job with model=GLOB,compiler=GLOB,... (or a list of them)")
    parser.add_argument("--log", action="store_true", help="the whole log of a job, not only its end")
    asked = parser.parse_args(argv)
    from orchestrator.results import details
    from orchestrator.views import job as show_job
    from orchestrator.views import sweep as show_sweep

    folder, sweep, graph, jobs = resolve(asked.what, Path(asked.root), asked.only)
    form = asked.form
    if jobs is None:
        if asked.log:
            parser.error("--log goes with a job: SWEEP:JOB")
        seen = show_sweep.read(folder, sweep, graph)
        output.present(form, lambda: show_sweep.document(*seen), lambda: show_sweep.tables(*seen, form), "jobs")
    elif len(jobs) > 1 and form is None:
        output.render(None, show_sweep.some_jobs(folder, jobs))
    elif len(jobs) > 1:
        output.write(form, show_sweep.job_tables(folder, jobs))
    else:
        job = details.read(folder, sweep, graph, jobs[0])
        whole = asked.log
        output.present(form, lambda: show_job.document(job, whole), lambda: show_job.tables(job, form, whole))
    return 0


def resolve(reference: str, root: Path, only: str | None) -> tuple[SweepFolder, Sweep, JobGraph, list[JobSpec] | None]:
    """Return the sweep that is named, and the jobs of it that are; None for all. Raises UsageError."""
    from orchestrator.comparison import sides
    from orchestrator.planning.selection import parse_only
    from orchestrator.results import details

    try:
        folder, beginning = sides.find(reference, root)
    except UsageError as error:
        found = _search(reference, root) if _is_id(reference) else None
        if found is None:
            also = f". Nor does the id of a job of the newest {NEWEST} sweeps begin so" * _is_id(reference)
            raise UsageError(f"{error}{also}") from error
        folder, beginning = found, reference
    sweep, graph = folder.read_sweep(), folder.read_graph()
    jobs = None if beginning is None else _called(folder, graph.jobs, beginning)
    if only is not None:
        jobs = details.select(folder, jobs or graph.jobs, parse_only(only, details.ONLY))
        if not jobs:
            raise UsageError(f"--only {only}: none of the {len(graph.jobs)} jobs of {folder} matches")
    return folder, sweep, graph, jobs


def _called(folder: SweepFolder, jobs: Sequence[JobSpec], name: str) -> list[JobSpec]:
    """Return the job whose id begins with `name`, else all of the models that are called so.

    As it stands, as a pattern, or in part, whatever the case. Raises UsageError where there are none, or several ids.
    """
    from orchestrator.planning import replay
    from orchestrator.results import details

    if any(name and job.id.startswith(name) for job in jobs):
        return [replay.named(jobs, name)]
    models = list(dict.fromkeys(job.workload.model for job in jobs))
    exact = [job for job in jobs if job.workload.model == name]
    found = exact or details.select(folder, jobs, {"model": [name]})
    found = found or [job for job in jobs if name and name.lower() in job.workload.model.lower()]
    if not found:
        raise UsageError(
            f"{folder} has no model called '{name}', nor a job whose id begins so: {did_you_mean(name, models)}"
        )
    return found


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
