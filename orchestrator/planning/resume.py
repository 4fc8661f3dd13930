"""Is this command the sweep that a folder holds?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.records import JobSpec, to_json
from orchestrator.store import JobGraph, SweepFolder

LISTED = 3


def expect_same(folder: SweepFolder, graph: JobGraph) -> None:
    """Raise UsageError, saying what differs, when `graph` does not have the jobs of the plan in the folder."""
    stored = {job.id: job for job in folder.read_graph().jobs}
    asked = {job.id: job for job in graph.jobs}
    gone = [job for key, job in stored.items() if key not in asked]
    new = [job for key, job in asked.items() if key not in stored]
    if not gone and not new:
        return
    counts = [
        f"{len(jobs)} job{'s' if len(jobs) > 1 else ''} only in {where}, such as '{jobs[0].title}'"
        for where, jobs in (("its stored plan", gone), ("this command", new))
        if jobs
    ]
    changes = sorted(set(_changes(gone, new)))
    changed = f" What changed: {', '.join(changes[:LISTED])}." if changes else ""
    raise UsageError(
        f"this command is not the sweep that {folder} holds: {'; '.join(counts)}.{changed} "
        f"'resume={folder.root.parent.name}/{folder.root.name}' alone repeats the command of that sweep"
    )


def _changes(gone: list[JobSpec], new: list[JobSpec]) -> Iterator[str]:
    """Yield "workload.threads 1 -> 3" for jobs that bear the same title in both plans."""
    titles = {job.title: job for job in new}
    for job in gone[:100]:
        if job.title in titles:
            before, now = dict(_flat("", _identity(job))), dict(_flat("", _identity(titles[job.title])))
            yield from (
                f"{key} {before.get(key)} -> {now.get(key)}" for key in before | now if before.get(key) != now.get(key)
            )


def _identity(job: JobSpec) -> Any:
    """Return all that a job's id is made of."""
    return to_json({key: getattr(job, key) for key in ("workload", "compiler", "measure", "launcher", "env")})


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{path}.{key}" if path else key, item)
    else:
        yield path, value
