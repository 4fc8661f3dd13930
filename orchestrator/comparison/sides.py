"""What a person names, as a snapshot: a sweep, one job of it, or a file; and two of those side by side.

Of two jobs the facts are compared, too: counters, reasons of graph breaks, memory by phase, cache, noise, tensors.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.comparison import snapshot, snapshot_files
from orchestrator.comparison.compare import Comparison, compare
from orchestrator.comparison.matching import Keys, differing
from orchestrator.comparison.snapshot import Snapshot, flat_environment
from orchestrator.comparison.thresholds import Limit
from orchestrator.errors import UsageError
from orchestrator.planning.replay import named
from orchestrator.results.configuration import ABSENT, flatten
from orchestrator.results.load import JobOutcome, SweepResults, load, one_line
from orchestrator.results.metrics import is_number
from orchestrator.store import SweepFolder, find_sweep
from orchestrator.system import OF_A_JOB

JOB_FILES = ("job.json", "result.json")
"""Files in a job's folder: they name the job."""
NEAR = 0.01
"""Numbers that differ by less, relative to the larger, are the same for a person."""

NamedSide = tuple[Snapshot, JobOutcome | None]
"""What a reference names, and where it is one job, what became of it."""


def read(reference: str, root: Path) -> Snapshot:
    """Return the snapshot that `reference` names; sweeps are looked for below `root`. Raises UsageError."""
    return read_with_job(reference, root)[0]


def read_with_job(reference: str, root: Path) -> NamedSide:
    """Return the snapshot, and where `reference` names one job, what became of it. Raises UsageError."""
    path = Path(reference)
    if os.path.isfile(path) and path.name not in JOB_FILES:
        return snapshot_files.read_any(path), None
    folder, job = find(reference, root)
    results = load(folder)
    if job is None:
        return snapshot.of_results(results), None
    one = only(results, job)
    return snapshot.of_results(one, f"{folder.name}:{job}"), one.outcomes[0]


def find(reference: str, root: Path) -> tuple[SweepFolder, str | None]:
    """Return the sweep folder, and the beginning of the job's id where a job is named (SWEEP:JOB, or its folder).

    What is named may have a colon itself, as a user's model: latest:model.py:Net.
    """
    path = Path(reference)
    if path.name in JOB_FILES and os.path.isfile(path):
        path = path.absolute().parent
    if path.parent.name == "jobs" and os.path.isfile(path.parent.parent / "sweep.json"):
        return SweepFolder(path.parent.parent), path.name
    sweep, colon, job = reference.rpartition(":")
    if colon and not os.path.exists(path):
        try:
            return find_sweep(sweep, root), job
        except UsageError:
            first, _, rest = reference.partition(":")
            if first == sweep:
                raise
            return find_sweep(first, root), rest
    return find_sweep(reference, root), None


def only(results: SweepResults, job: str) -> SweepResults:
    """Return the results of the one job whose id begins with `job`. Raises UsageError when it is none, or several."""
    chosen = named((outcome.job for outcome in results.outcomes), job)
    return dataclasses.replace(results, outcomes=tuple(one for one in results.outcomes if one.job is chosen))


def compare_named(
    before: NamedSide, after: NamedSide, limits: Mapping[str, Limit], metrics: Collection[str]
) -> Comparison:
    """Compare what two references name; `limits` and `metrics` are those of `comparison.compare`.

    Two jobs are the same thing whatever they are called, and have the environments of their own processes. That a sweep
    has other rows than the one job of the other side is no difference.
    """
    (one, old), (other, new) = before, after
    if old is None or new is None:
        found = compare(one, other, limits, metrics=metrics)
        return dataclasses.replace(found, new=found.new if old is None else (), missing=() if new else found.missing)
    one_row = bool(one.rows and other.rows)  # a reference's job is no row
    found = compare(one, other, limits, metrics=metrics, one_row=one_row)
    theirs = differing(job_environment(old), job_environment(new))
    return dataclasses.replace(found, environment={**found.environment, **theirs})


def job_environment(outcome: JobOutcome) -> dict[str, Any]:
    """Return where the job itself ran, flat; empty without a result."""
    seen = flat_environment(outcome.environment)
    return {key: value for key, value in seen.items() if key.rpartition(".")[2] not in OF_A_JOB}


def differing_facts(before: JobOutcome, after: JobOutcome) -> tuple[Keys, int]:
    """Return the facts that differ, and how many are the same or nearly so."""
    old, new = dict(_facts(before)), dict(_facts(after))
    found = {key: pair for key, pair in differing(old, new).items() if not _near(*pair)}
    return found, len(old.keys() | new.keys()) - len(found)


def _facts(outcome: JobOutcome) -> Iterator[tuple[str, Any]]:
    yield "status", outcome.status
    yield "round", outcome.job.round
    if outcome.reason:
        yield "reason", outcome.reason
    result = outcome.result
    if result is None:
        return
    yield "attempt", result.attempt
    yield "duration_s", result.ended - result.started
    if outcome.failure is not None:
        yield "phase", outcome.failure.phase
    for key, value in flatten(_named({key: value for key, value in result.facts.items() if key != "tables"})):
        yield key, one_line("; ".join(map(str, value))) if isinstance(value, list) else value


def _named(value: Any) -> Any:
    """Return lists of maps that have names (tensors) as maps by name, so that the same ones are compared."""
    if isinstance(value, Mapping):
        return {key: _named(inner) for key, inner in value.items()}
    named = isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value)
    if not named:
        return value
    return {str(one["name"]).replace(".", "/"): {k: v for k, v in one.items() if k != "name"} for one in value}


def _near(old: Any, new: Any) -> bool:
    if old is ABSENT or new is ABSENT or not (is_number(old) and is_number(new)):
        return False
    return bool(abs(old - new) <= NEAR * max(abs(old), abs(new)))
