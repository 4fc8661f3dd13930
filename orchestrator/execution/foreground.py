"""One job in this very process: for a debugger, a profiler, or a look at what it prints."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.execution.agenda import Agenda
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.execution.lock import locked
from orchestrator.execution.scratch import Scratch, remove
from orchestrator.execution.settings import Settings
from orchestrator.execution.standing import standing_results
from orchestrator.execution.toolchain import Toolchains
from orchestrator.records import REFERENCE_MEASURE, JobResult, JobSpec
from orchestrator.store import SweepFolder


def hindrance(store: SweepFolder, jobs: Sequence[JobSpec], job: JobSpec) -> JobResult | None:
    """Return the result of a job that cannot run, because one that it needs did not end well; None when it can."""
    return Agenda(jobs, standing_results(store, jobs)).hopeless(job)


@contextlib.contextmanager
def prepared(store: SweepFolder, jobs: Sequence[JobSpec], job: JobSpec, settings: Settings) -> Iterator[None]:
    """Give this process what a worker of `job` has, as far as a running process can have it: files and environment.

    `jobs` are all jobs of the sweep; what they share (caches, tensors of references) is removed afterwards, unless
    `settings` keep it. What Python reads when it starts (PYTHONHASHSEED) and the dynamic linker (LD_PRELOAD) stay as
    they are, and nothing limits the job's time or memory. Raises UsageError when someone else runs the sweep.
    """
    with locked(store, 0, 1), contextlib.ExitStack() as folders:
        scratch = Scratch(store, jobs, jobs, keep_caches=settings.keep_caches, keep_references=settings.keep_references)
        store.write_job(job)
        for file in (store.result_file(job.id), store.phase_file(job.id)):
            file.unlink(missing_ok=True)
        remove(store.artifacts(job.id))
        if job.measure.name == REFERENCE_MEASURE:
            remove(store.reference(job.id))
        before = dict(os.environ)
        temporary = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="orchestrator-")))
        environment = worker_environment(settings.online)
        cache = scratch.fresh_cache(job)
        Toolchains(environment).seed(cache, job)
        os.environ.update(environment | job_environment(cache, temporary, job, artifacts=store.artifacts(job.id)))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            for one in jobs:
                scratch.finished(one)
