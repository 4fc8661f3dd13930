"""Which results of an earlier run stand: what a sweep that is resumed need not run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.execution.agenda import gist
from orchestrator.records import INFRASTRUCTURE, NEED_REQUIRES_SUCCESS, NOT_NEEDED, SUCCESSES, JobResult, JobSpec
from orchestrator.store import SweepFolder


def standing_results(store: SweepFolder, jobs: Sequence[JobSpec]) -> dict[str, JobResult]:
    """Return the results that need no other run, without their samples and facts (`agenda.gist`).

    Not those that are `infrastructure` or cannot be read; not those of rounds that were not needed, which is looked at
    anew; not that of a reference, when a job that compares with it is
    still to be run and its tensors were removed, or that job could not use them (`infrastructure`); and not one that
    was handed down from a job whose own does not stand.
    """
    results, again = {}, set()
    for job in jobs:
        result = store.read_result(job.id)
        if isinstance(result, JobResult) and result.status == INFRASTRUCTURE:
            again.add(job.id)
        elif isinstance(result, JobResult) and result.status != NOT_NEEDED:
            results[job.id] = gist(result)
    for job in jobs:
        if job.id not in results and not job.verdict:
            for need in job.needs:
                found = results.get(need.job) if need.kind == "reference" else None
                useless = job.id in again or not store.reference(need.job).is_dir()
                if found and found.status in SUCCESSES and useless:
                    del results[need.job]
    for job in jobs:  # each behind those it needs
        failure = results[job.id].failure if job.id in results else None
        if failure is not None and failure.kind == "dependency" and not _fails(job, results):
            del results[job.id]
    return results


def _fails(job: JobSpec, results: Mapping[str, JobResult]) -> bool:
    """Return whether a job that this one needs has a result that stands, and did not end well."""
    needed = [results.get(need.job) for need in job.needs if NEED_REQUIRES_SUCCESS[need.kind]]
    return any(result is not None and result.status not in SUCCESSES for result in needed)
