"""What is run here: one shard of a sweep, for a Hydra launcher, on this machine or on another; or one job in this very
process, for a debugger, a profiler, or a look at what it prints.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.execution import orphans
from orchestrator.execution.agenda import Agenda
from orchestrator.execution.builds import interpreters
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.execution.interrupts import withdraw
from orchestrator.execution.lock import locked
from orchestrator.execution.observer import Observer, PlainObserver
from orchestrator.execution.processes import Processes
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.scratch import Scratch, clear, drop_caches
from orchestrator.execution.settings import Settings
from orchestrator.execution.standing import standing_results
from orchestrator.execution.toolchain import Toolchains
from orchestrator.planning.shards import cut
from orchestrator.records import JobResult, JobSpec
from orchestrator.store import SweepFolder, own_jobs


def run_shard(
    folder: str,
    shard: int,
    of: int,
    settings: Settings,
    observer: Observer | None = None,
    leave: Collection[str] = (),
) -> None:
    """Run the jobs of shard `shard` (0 <= shard < of) of a sweep folder that have no valid result yet.

    Those with the ids `leave` are left to someone else. Compile caches of an earlier run are removed, not used.
    Returns when they are done or an interrupt stopped them; the folder tells which. Raises UsageError when the
    folder cannot be read or written, a build cannot be made, or someone else is running it.
    """
    store = SweepFolder(folder)
    store.check()
    jobs = [job for job in jobs_of(store, shard, of) if job.id not in leave]
    run = orphans.of_run(folder, shard, of)
    with locked(store, shard, of):
        if of == 1:  # else whoever launched the shards has done so, before they began
            withdraw(store)
        drop_caches(store, jobs)
        builds = interpreters(jobs, lambda what: print(what, file=sys.stderr))  # before anything is timed
        orphans.kill(run)  # of a run that was killed with its server: they would disturb what is timed now
        with Processes({**worker_environment(settings.online), orphans.MARK: run}) as processes:
            Scheduler(store, jobs, settings, observer or PlainObserver(), processes, builds).run()


def jobs_of(store: SweepFolder, shard: int, of: int) -> tuple[JobSpec, ...]:
    """Return the jobs of a shard, in plan order. Raises UsageError, also where there is no such shard."""
    if not 0 <= shard < of:
        raise UsageError(f"there is no shard {shard} of {of}")
    graph = own_jobs(store.read_graph(), store.read_sweep())
    return graph.jobs if of == 1 else cut(graph, of)[shard]


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
        clear(store, job)
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
