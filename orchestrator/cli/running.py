"""Run a sweep folder before the eyes of a person: is it trusted, progress while it runs, Ctrl-C, its tables at the end.

And stored jobs once more: in a new folder (`again`), or with `resume=SWEEP` alone in theirs. Today's configuration is
not looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.cli.finish import finish
from orchestrator.comparison.reproduction import conditions
from orchestrator.comparison.sides import find
from orchestrator.errors import UsageError
from orchestrator.execution.builds import interpreters
from orchestrator.execution.lock import InUse
from orchestrator.execution.observer import Onlooker
from orchestrator.execution.ownership import claim, is_own
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import run_shard
from orchestrator.execution.slots import check_jobs, slots_of
from orchestrator.execution.standing import standing_results
from orchestrator.planning import machine, provenance
from orchestrator.planning.resume import Asked, with_execution
from orchestrator.planning.trust import would_run
from orchestrator.records import NOT_NEEDED, NOT_RUN
from orchestrator.results.load import SweepResults, figure, load
from orchestrator.store import JobGraph, Sweep, SweepFolder, check_size, new_folder, own_jobs
from orchestrator.system import need_linux
from orchestrator.views import plan
from orchestrator.views.commands import shown
from orchestrator.views.document import show
from orchestrator.views.layout import console, plain
from orchestrator.views.progress import Progress
from orchestrator.views.rerun import then_and_now
from orchestrator.words import more

INTERRUPTED = 130
"""Exit code of a run that was told to end: what a shell says after Ctrl-C, 128 + SIGINT."""
TRUST = "--trust"
LISTED = 40


def allow(folder: SweepFolder, what: Sequence[str], trusted: bool) -> None:
    """Return when a sweep may run `what` (`orchestrator.planning.trust.would_run`), else raise UsageError.

    It may when there is nothing, when this user made the folder, with --trust, or when the person at the terminal says
    so.
    """
    need_linux()
    if not what or trusted or is_own(folder):
        return
    lines = _lines(folder, what)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("\n".join([*lines, f"If you trust whoever made it with your account, add {TRUST}"]))
    print("\n".join(lines), file=sys.stderr)
    print("Run it with all that your account may do? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was run")


def tell(folder: SweepFolder, what: Sequence[str]) -> None:
    """Say, for a dry run, what `allow` would ask about."""
    if what and not is_own(folder):
        print("\n".join([*_lines(folder, what), f"It will be asked about, or needs {TRUST}"]))


def _lines(folder: SweepFolder, what: Sequence[str]) -> list[str]:
    heading = f"{plain(shown(folder))} was not made by you. Running it would use:"
    lines = [*map(plain, what[:LISTED]), *more(len(what), LISTED, ": see its plan.json")]
    return [heading, *(f"  {line}" for line in lines)]


def stored(reference: str, root: Path) -> tuple[SweepResults, str | None]:
    """Return the sweep that is named, and the beginning of the job's id where one is; sweeps lie below `root`.

    Raises UsageError, also for a sweep of which nothing can be run again.
    """
    folder, job = find(reference, root)
    results = load(folder)
    if results.sweep.imported:
        raise UsageError(f"{folder} was imported: its runs were made elsewhere, there is nothing to run again")
    return results, job


def again(
    old: SweepResults,
    graph: JobGraph,
    root: Path,
    argv: Sequence[str],
    points: Sequence[Mapping[str, Any]],
    environment: Mapping[str, Any] | None = None,
) -> SweepFolder:
    """Write a new sweep folder below `root`: stored jobs of the sweep `old`, with its configuration. Raises UsageError.

    environment: where they will run; None: as the old sweep says.
    """
    then = old.sweep.environment
    header = replace(
        old.sweep,
        argv=tuple(argv),
        points=tuple(points),
        created=time.time(),
        environment=then if environment is None else {**environment, "conf": then.get("conf", {})},
        origin=str(old.folder),
        shard=(),
        parts=(),
    )
    check_size(header, graph)
    try:
        folder = new_folder(root.absolute() / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S"))
        provenance.copy_stored_conf(old.folder.conf, folder.conf)
        folder.write_plan(header, graph)
        claim(folder)
    except OSError as error:
        raise UsageError(f"a new sweep folder cannot be written under {root}: {error}") from error
    return folder


def run_watched(
    folder: SweepFolder, pending: JobGraph, launch: Callable[[Onlooker], object], *, shards: int = 0
) -> bool:
    """Launch what runs the jobs `pending`, elsewhere in so many shards; return whether it was interrupted.

    `launch` gets the observer that draws the progress.
    """
    settings = Settings.of(folder.read_sweep().points)
    slots = shards or len(slots_of(settings.devices, settings.cpu_sets))
    progress = Progress(pending, folder, settings=settings, slots=slots)
    try:
        with progress:
            launch(progress)
    except KeyboardInterrupt:
        progress.interrupted(at_once=True)
    return progress.was_interrupted


def make_builds(graph: JobGraph) -> None:
    """Make the environments that jobs name, where they are not there yet, and say so. Raises UsageError."""
    interpreters(graph.jobs, lambda what: print(plain(f"  build         {what}"), flush=True))


def run_stored(folder: SweepFolder, pending: JobGraph, settings: Settings, leave: Collection[str] = ()) -> bool:
    """Run what a written sweep folder has no result of, here; return whether it was interrupted."""
    make_builds(pending)
    return run_watched(folder, pending, lambda observer: run_shard(str(folder), 0, 1, settings, observer, leave))


def run_and_finish(folder: SweepFolder, run: Callable[[], bool]) -> int:
    """Run, then make and show the tables, whatever stopped the run; return the exit code.

    Not those of a sweep that someone else is running.
    """
    try:
        interrupted = run()
    except InUse:
        raise
    except BaseException:
        finish(folder)
        raise
    code = finish(folder)
    return INTERRUPTED if interrupted else code


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
    sweep, graph = with_execution(results.sweep, graph, asked.execution, asked.settings)
    own, settings = own_jobs(graph, sweep), Settings.of(sweep.points)
    slots = slots_of(settings.devices, settings.cpu_sets)
    show(plan.document(own, shown(folder), asked.dry_run, slots=len(slots)))
    standing = standing_results(folder, own.jobs)
    pending = JobGraph(tuple(job for job in own.jobs if job.id not in standing))
    known = {outcome.job.id for outcome in results.outcomes if outcome.status == NOT_NEEDED}
    to_run = sum(job.id not in known for job in pending.jobs)
    console().print(f"  to run        {to_run} of these; the others have a result")
    found = conditions(results, provenance.environment(machine.detect()))
    if found.differing and pending.jobs and any(outcome.status != NOT_RUN for outcome in results.outcomes):
        heading = "Warning: what is there was measured in the first of these, the rest will be in the second"
        show(then_and_now(found, heading, "yellow"))
    check_jobs(slots, pending.jobs)
    theirs = would_run(pending.jobs, settings.online and not asked.settings.get("online"))
    if asked.dry_run:
        tell(folder, theirs)
        return 0
    allow(folder, theirs, trusted)
    if asked.execution or asked.settings:
        mine = is_own(folder)
        try:
            folder.write_plan(sweep, graph)
        except OSError as error:
            raise UsageError(f"the sweep folder {folder} cannot be written: {error}") from error
        if mine:
            claim(folder)
    return run_and_finish(folder, lambda: run_stored(folder, pending, settings))
