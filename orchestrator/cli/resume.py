"""`resume=SWEEP` alone: go on with a stored sweep, from its plan. Today's configuration is not looked at."""

from __future__ import annotations

from orchestrator.cli.running import run_and_finish, run_stored
from orchestrator.cli.trust import allow, tell
from orchestrator.comparison.environments import conditions
from orchestrator.errors import UsageError
from orchestrator.execution.ownership import claim, is_own
from orchestrator.execution.settings import Settings
from orchestrator.execution.standing import standing_results
from orchestrator.planning import machine, provenance
from orchestrator.planning.resume import Asked, with_execution
from orchestrator.planning.trust import would_run
from orchestrator.records import NOT_RUN
from orchestrator.results.load import figure, load
from orchestrator.store import JobGraph, Sweep, SweepFolder
from orchestrator.views.commands import shown
from orchestrator.views.environments import show_conditions
from orchestrator.views.layout import console
from orchestrator.views.terminal import show_plan

OK = 0


def is_launched(sweep: Sweep) -> bool:
    """True for a sweep whose shards a Hydra launcher ran: its configuration is needed to run them so again."""
    shards = figure(sweep.points[0], "execution", "shards") if sweep.points else None
    words = [word for word in sweep.argv if word.startswith("hydra/launcher=")]
    return sweep.argv[:1] != ("rerun",) and ((shards or 1) > 1 or any(word != "hydra/launcher=basic" for word in words))


def resume(folder: SweepFolder, asked: Asked, trusted: bool) -> int:
    """Run the jobs of the folder that have no valid result; return the exit code. Raises UsageError.

    trusted: what it names may run, whatever it is.
    """
    if asked.execution.get("shards", 1) != 1:
        raise UsageError(
            f"execution.shards={asked.execution['shards']}: a sweep that no launcher ran is resumed in one shard, here"
        )
    results = load(folder)
    graph = JobGraph(tuple(outcome.job for outcome in results.outcomes))
    sweep, graph = with_execution(results.sweep, graph, asked.execution, asked.online)
    show_plan(graph, shown(folder), asked.dry_run)
    standing = standing_results(folder, graph.jobs)
    pending = JobGraph(tuple(job for job in graph.jobs if job.id not in standing))
    console().print(f"  to run        {len(pending.jobs)} of these; the others have a result")
    found = conditions(results, provenance.environment(machine.detect()))
    if found.differing and pending.jobs and any(outcome.status != NOT_RUN for outcome in results.outcomes):
        heading = "Warning: what is there was measured in the first of these, the rest will be in the second"
        show_conditions(found, heading, "yellow")
    settings = Settings.of(sweep.points)
    theirs = would_run(pending.jobs, settings.online and not asked.online)
    if asked.dry_run:
        tell(folder, theirs)
        return OK
    allow(folder, theirs, trusted)
    if asked.execution or asked.online is not None:
        own = is_own(folder)
        try:
            folder.write_plan(sweep, graph)
        except OSError as error:
            raise UsageError(f"the sweep folder {folder} cannot be written: {error}") from error
        if own:
            claim(folder)
    return run_and_finish(folder, lambda: run_stored(folder, pending, settings))
