"""Room on the disk: a sweep that cannot fit is refused, one that meets a full disk stops before its jobs fail."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.records import JobSpec
from orchestrator.store import SweepFolder

MIB = 2.0**20
FILES_BYTES = 32 * 2**10
"""Of a finished job: job.json, result.json and log.txt, in blocks. 10,000 real results have 100 MB of samples."""


def needed(jobs: Sequence[JobSpec], *, keep_references: bool) -> int:
    """Return the bytes that the jobs need at least, in the fullest moment: their files, and tensors of references.

    A reference's tensors are there from its end until the last job that compares with them has ended. Compile
    caches are left out: nobody knows their sizes beforehand.
    """
    last = {job.id: place for place, job in enumerate(jobs) if job.disk_bytes}
    for place, job in enumerate(jobs):
        last |= {need.job: place for need in job.needs if need.job in last}
    disk_bytes = {job.id: job.disk_bytes for job in jobs}
    now, peak = 0.0, 0.0
    leaving: defaultdict[int, float] = defaultdict(float)
    for place, job in enumerate(jobs):
        now += FILES_BYTES + job.disk_bytes + _kept(job, disk_bytes)
        peak = max(peak, now)
        if job.disk_bytes and not keep_references:
            leaving[last[job.id]] += job.disk_bytes
        now -= leaving.pop(place, 0.0)
    return int(peak)


def _kept(job: JobSpec, disk_bytes: Mapping[str, float]) -> float:
    """Return what a job that keeps its outputs leaves for good: of what its reference leaves two thirds, at most, are
    float64's."""
    return sum(disk_bytes.get(need.job, 0.0) for need in job.needs) / 3 if job.keep_outputs else 0.0


def check(store: SweepFolder, jobs: Sequence[JobSpec], reserve_mib: float, *, keep_references: bool) -> None:
    """Raise UsageError when the disk of the sweep folder has surely too little room for these jobs."""
    free = _free(store.root)
    wanted = needed(jobs, keep_references=keep_references)
    if free < wanted + reserve_mib * MIB:
        raise UsageError(
            f"the disk of {store} has {_text(free)} left, and {len(jobs)} jobs need at least {_text(wanted)} "
            f"(and {reserve_mib:g} MiB are kept free, execution.disk_reserve_mib): free some, or write elsewhere "
            "(hydra.sweep.dir=FOLDER)"
        )


def shortage(store: SweepFolder, reserve_mib: float) -> str | None:
    """Return why no other job should be started, None while there is room."""
    free = _free(store.root)
    if free >= reserve_mib * MIB:
        return None
    return (
        f"the disk of {store} has only {_text(free)} left (execution.disk_reserve_mib={reserve_mib:g}): no other job "
        "was started. Free some, then resume the sweep"
    )


def _free(folder: Path) -> int:
    """Return the bytes that this user may still write to the disk of a folder, or of the nearest that is there."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _text(size: float) -> str:
    return f"{size / MIB:.0f} MiB" if size < 10 * 1024 * MIB else f"{size / 2**30:.0f} GiB"
