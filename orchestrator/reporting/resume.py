"""`resume=SWEEP` alone: go on with a stored sweep, from its plan. Today's configuration is not looked at."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.execution.scheduler import Settings, standing_results
from orchestrator.planning import machine, provenance
from orchestrator.planning.resume import Asked, with_execution
from orchestrator.records import NOT_RUN
from orchestrator.reporting.conditions import show_conditions
from orchestrator.reporting.layout import console
from orchestrator.reporting.report import shown
from orchestrator.reporting.terminal import show_plan
from orchestrator.reporting.watch import run_and_finish, run_stored
from orchestrator.results.conditions import conditions
from orchestrator.results.load import load
from orchestrator.store import JobGraph, Sweep, SweepFolder

OK = 0


def is_launched(sweep: Sweep) -> bool:
    """True for a sweep whose shards a Hydra launcher ran: its configuration is needed to run them so again."""
    shards = sweep.points[0]["execution"].get("shards", 1) if sweep.points else 1
    words = [word for word in sweep.argv if word.startswith("hydra/launcher=")]
    return sweep.argv[:1] != ("rerun",) and (shards > 1 or any(word != "hydra/launcher=basic" for word in words))


def resume(folder: SweepFolder, asked: Asked) -> int:
    """Run the jobs of the folder that have no valid result; return the exit code. Raises UsageError."""
    if asked.execution.get("shards", 1) != 1:
        raise UsageError(
            f"execution.shards={asked.execution['shards']}: a sweep that no launcher ran is resumed in one shard, here"
        )
    results = load(folder)
    graph = JobGraph(tuple(outcome.job for outcome in results.outcomes))
    sweep, graph = with_execution(results.sweep, graph, asked.execution)
    show_plan(graph, shown(folder), asked.dry_run)
    standing = standing_results(folder, graph.jobs)
    pending = JobGraph(tuple(job for job in graph.jobs if job.id not in standing))
    console().print(f"  to run        {len(pending.jobs)} of these; the others have a result")
    found = conditions(results, provenance.environment(machine.detect()))
    if found.differing and pending.jobs and any(outcome.status != NOT_RUN for outcome in results.outcomes):
        heading = "Warning: what is there was measured in the first of these, the rest will be in the second"
        show_conditions(found, heading, "yellow")
    if asked.dry_run:
        return OK
    if asked.execution:
        try:
            folder.write_plan(sweep, graph)
        except OSError as error:
            raise UsageError(f"the sweep folder {folder} cannot be written: {error}") from error
    return run_and_finish(folder, lambda: run_stored(folder, pending, Settings.of(sweep.points)))
