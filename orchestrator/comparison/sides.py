"""What a person names, as a snapshot: a sweep, one job of it, or a file that holds a snapshot or a sweep's tables."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from orchestrator.comparison import snapshot, table_files
from orchestrator.comparison.snapshot import Snapshot
from orchestrator.errors import UsageError
from orchestrator.files import read_json
from orchestrator.planning.replay import named
from orchestrator.results.load import JobOutcome, SweepResults, load
from orchestrator.store import SweepFolder, find_sweep

SPELLINGS = (
    "latest, latest~1, <date>/<time>, a sweep folder, SWEEP:JOB, a job folder, a baseline file, "
    "or tables as .json or .csv"
)
"""How a source may be written; for --help."""
JOB_FILES = ("job.json", "result.json")
"""Files in a job's folder: they name the job."""


def read(reference: str, root: Path) -> Snapshot:
    """Return the snapshot that `reference` names; sweeps are looked for below `root`. Raises UsageError."""
    return read_with_job(reference, root)[0]


def read_with_job(reference: str, root: Path) -> tuple[Snapshot, JobOutcome | None]:
    """Return the snapshot, and where `reference` names one job, what became of it. Raises UsageError."""
    path = Path(reference)
    if os.path.isfile(path) and path.name not in JOB_FILES:
        return _file(path), None
    folder, job = find(reference, root)
    results = load(folder)
    name = folder.name
    if job is None:
        return snapshot.of_results(results, name), None
    one = only(results, job)
    return snapshot.of_results(one, f"{name}:{job}"), one.outcomes[0]


def _file(path: Path) -> Snapshot:
    if path.suffix == ".csv":
        return table_files.of_csv(path)
    try:
        data = read_json(path)
    except (OSError, ValueError):
        data = None
    if isinstance(data, dict) and "tables" in data:
        return table_files.of_json(data, path)
    if isinstance(data, dict) and data.get("kind") == snapshot.KIND:
        return snapshot.read(path)
    raise UsageError(f"{path} holds neither the tables of a sweep (.csv, .json) nor a baseline. Known: {SPELLINGS}")


def find(reference: str, root: Path) -> tuple[SweepFolder, str | None]:
    """Return the sweep folder, and the beginning of the job's id where a job is named (SWEEP:JOB, or its folder)."""
    path = Path(reference)
    if path.name in JOB_FILES and os.path.isfile(path):
        path = path.absolute().parent
    if path.parent.name == "jobs" and os.path.isfile(path.parent.parent / "sweep.json"):
        return SweepFolder(path.parent.parent), path.name
    sweep, colon, job = reference.rpartition(":")
    if colon and not os.path.exists(path):
        return find_sweep(sweep, root), job
    return find_sweep(reference, root), None


def only(results: SweepResults, job: str) -> SweepResults:
    """Return the results of the one job whose id begins with `job`. Raises UsageError when it is none, or several."""
    chosen = named((outcome.job for outcome in results.outcomes), job)
    return dataclasses.replace(results, outcomes=tuple(one for one in results.outcomes if one.job is chosen))
