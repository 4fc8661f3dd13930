"""One shard of a sweep, run here: what a Hydra launcher calls, on this machine or on another."""

from __future__ import annotations

import sys
from collections.abc import Collection

from orchestrator.errors import UsageError
from orchestrator.execution import orphans
from orchestrator.execution.builds import interpreters
from orchestrator.execution.environment import worker_environment
from orchestrator.execution.interrupts import withdraw
from orchestrator.execution.lock import locked
from orchestrator.execution.observer import Observer, PlainObserver
from orchestrator.execution.processes import Processes
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.scratch import drop_caches
from orchestrator.execution.settings import Settings
from orchestrator.planning.shards import cut
from orchestrator.records import JobSpec
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
