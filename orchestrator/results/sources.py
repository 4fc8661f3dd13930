"""What a person names, as a snapshot: a sweep, one job of it, or a file that a snapshot was written to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.results import snapshot
from orchestrator.results.load import SweepResults, load
from orchestrator.results.snapshot import Snapshot
from orchestrator.store import SweepFolder, find_sweep

SPELLINGS = "latest, latest~1, <date>/<time>, a sweep folder, SWEEP:JOB, a job folder, or a baseline file (.json)"
"""How a source may be written; for --help."""


def read(reference: str, root: Path) -> Snapshot:
    """Return the snapshot that `reference` names; sweeps are looked for below `root`. Raises UsageError."""
    path = Path(reference)
    if path.is_file():
        return snapshot.read(path)
    folder, job = find(reference, root)
    results = load(folder)
    name = f"{folder.root.parent.name}/{folder.root.name}"
    if job is None:
        return snapshot.of_results(results, name)
    return snapshot.of_results(only(results, job), f"{name}:{job}")


def find(reference: str, root: Path) -> tuple[SweepFolder, str | None]:
    """Return the sweep folder, and the beginning of the job's id where a job is named (SWEEP:JOB, or its folder)."""
    path = Path(reference)
    if path.parent.name == "jobs" and (path.parent.parent / "sweep.json").is_file():
        return SweepFolder(path.parent.parent), path.name
    sweep, colon, job = reference.rpartition(":")
    if colon and not path.exists():
        return find_sweep(sweep, root), job
    return find_sweep(reference, root), None


def only(results: SweepResults, job: str) -> SweepResults:
    """Return the results of the one job whose id begins with `job`. Raises UsageError when it is none, or several."""
    found = tuple(outcome for outcome in results.outcomes if job and outcome.job.id.startswith(job))
    if len(found) != 1:
        known = [outcome.job.id for outcome in results.outcomes]
        advice = f"{len(found)} jobs begin so" if found else did_you_mean(job, known)
        raise UsageError(f"'{job}' names no job of {results.folder}: {advice}")
    return dataclasses.replace(results, outcomes=found)
