"""The verb `rerun`: run the stored jobs of a sweep again, exactly, and say which results are reproduced.

Jobs come from the folder's plan, never from today's configuration, and keep their ids: a rerun runs what was run. What
it cannot put back is everything around them, so it begins with what differs from then.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli import output
from orchestrator.errors import UsageError, printable
from orchestrator.records import HARMLESS
from orchestrator.store import JobGraph, SweepFolder, own_jobs
from orchestrator.words import some

if TYPE_CHECKING:
    from orchestrator.comparison.reproduction import Conditions, Reproduction
    from orchestrator.execution.settings import Settings
    from orchestrator.records import JobSpec
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Table

OK, FAILED = 0, 1
MOST_ROUNDS = 1000


@dataclass(frozen=True)
class _Replay:
    """What will be run again: `graph`, of the sweep `old`; alone: the one job that --job names; points: as asked then,
    but for --rounds.
    """

    old: SweepResults
    graph: JobGraph
    points: tuple[Any, ...]
    alone: JobSpec | None
    environment: dict[str, object]
    conditions: Conditions


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator rerun`. Raises UsageError when there is no such sweep or job."""
    asked = _parser().parse_args(argv)
    with output.aside(asked.form):
        replay = _plan(asked)
        code, tables = _rerun(asked, replay, argv) if replay.graph.jobs else _nothing(replay)
    if asked.form:
        output.write(asked.form, tables, "rerun" if "rerun" in tables else None)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "rerun",
        "Run the stored jobs of a sweep again, and say which results are reproduced.",
        "Exit code: 0 reproduced, 1 not, 4 cannot tell, 2 usage, 130 after Ctrl-C or SIGTERM. More: docs/rerun.md",
        usage="SWEEP [options]",
    )
    parser.add_argument("sweep", help="path, latest, latest~1, <date>/<time>; SWEEP:JOB for one job")
    add = parser.add_argument
    add("--failed", action="store_true", help="what failed or was not run, and what it needs")
    add("--only", action="append", metavar="EXPR", help="rows that match, as model=T5*,compiler=inductor; repeatable")
    add("--job", metavar="ID", help="the job whose id begins so, and what it needs")
    add("--rounds", type=int, metavar="N", help="so many rounds of every row, decided or not")
    add("--strict", action="store_true", help="refuse when the environment is not what it was")
    add("--dry-run", action="store_true", help="show the plan and what differs from then, run nothing")
    add("--in-process", action="store_true", help="with --job: run it in this process, for a debugger")
    output.add_trust(parser)
    return parser


def _plan(asked: argparse.Namespace) -> _Replay:
    """Choose the jobs, look at the environment. Writes nothing. Raises UsageError, also for what --strict refuses."""
    from orchestrator.cli.running import stored
    from orchestrator.comparison.reproduction import conditions
    from orchestrator.planning import machine, provenance, replay

    results, job = stored(asked.sweep, Path(asked.root))
    whole = own_jobs(JobGraph(tuple(outcome.job for outcome in results.outcomes)), results.sweep)
    alone = replay.named(whole.jobs, job or asked.job) if job or asked.job else None
    _check(asked, alone, job)
    here = provenance.environment(machine.detect())
    found = conditions(results, here)
    if asked.strict and found.differing:
        raise UsageError(f"--strict: the environment is not what it was: {some(found.lines(), 5, '; ')}")
    points = results.sweep.points
    if asked.rounds:  # so many were asked for: none is left out because a row is decided
        points = tuple({**point, "rounds": asked.rounds, "rounds_min": asked.rounds} for point in points)
    return _Replay(results, _chosen(asked, results, whole, alone), points, alone, here, found)


def _check(asked: argparse.Namespace, alone: JobSpec | None, job: str | None) -> None:
    """Raise UsageError for flags that do not go together."""
    if job and asked.job:
        raise UsageError(f"{asked.sweep} --job {asked.job}: name the job once")
    if alone is None and asked.in_process:
        raise UsageError("--in-process runs one job: name it with --job ID, or as SWEEP:ID")
    if alone is not None and asked.in_process and alone.workload.parallel:
        raise UsageError(f"--in-process runs one process, and '{alone.title}' is {alone.workload.ranks} ranks")
    if asked.in_process and asked.form:
        raise UsageError(f"--in-process is for a terminal: leave out --{asked.form}")
    if alone is not None and (asked.failed or asked.only or asked.rounds):
        raise UsageError("--failed, --only and --rounds choose among rows, and --job has chosen one job")
    if alone is not None and asked.in_process and alone.verdict is not None:
        raise UsageError(f"nothing to run in '{alone.title}': {alone.verdict.status}: {alone.verdict.reason}")
    if alone is not None and asked.in_process and alone.workload.build is not None:
        raise UsageError(
            f"--in-process runs a job in this process, and '{alone.title}' runs in another environment, the build "
            f"{alone.workload.build.name}: leave it out"
        )
    if asked.rounds is not None and not 1 <= asked.rounds <= MOST_ROUNDS:
        raise UsageError(f"--rounds {asked.rounds}: it must be at least 1, and at most {MOST_ROUNDS}")


def _chosen(asked: argparse.Namespace, results: SweepResults, whole: JobGraph, alone: JobSpec | None) -> JobGraph:
    from orchestrator.planning import replay

    chosen = {job.id for job in whole.jobs} if alone is None else {alone.id}
    if asked.only:
        chosen &= replay.matching(whole, asked.only)
    if asked.failed:
        chosen &= {outcome.job.id for outcome in results.outcomes if outcome.status not in HARMLESS}
    graph = replay.closed(whole, chosen)
    return replay.with_rounds(graph, asked.rounds) if asked.rounds else graph


def _nothing(replay: _Replay) -> tuple[int, dict[str, Table]]:
    from orchestrator.comparison.reproduction import tables

    print(f"Nothing to rerun: no job of {replay.old.folder} that was asked for failed, or was not run.")
    return OK, tables(())


def _rerun(asked: argparse.Namespace, replay: _Replay, argv: Sequence[str]) -> tuple[int, dict[str, Table]]:
    from orchestrator.cli.running import INTERRUPTED, again, allow, run_and_finish, run_stored, tell
    from orchestrator.comparison.difference_tables import changed
    from orchestrator.comparison.reproduction import CODES, tables, verdict
    from orchestrator.execution.settings import Settings
    from orchestrator.execution.slots import slots_of
    from orchestrator.planning.trust import would_run
    from orchestrator.views import plan
    from orchestrator.views import rerun as reproduced
    from orchestrator.views.commands import shown
    from orchestrator.views.document import show

    known = {outcome.job.id for outcome in replay.old.outcomes}
    new = sum(job.id not in known for job in replay.graph.jobs)
    more = f", and {new} of more rounds" if new else ""
    heading = f"Rerun of {shown(replay.old.folder)}: {len(replay.graph.jobs) - new} of its {len(known)} jobs{more}"
    print(" ".join(printable(heading)))
    show(reproduced.then_and_now(replay.conditions, "What differs from then"))
    settings = Settings.of(replay.points)
    slots = 1 if asked.in_process else len(slots_of(settings.devices, settings.cpu_sets))
    theirs = would_run(replay.graph.jobs, settings.online)
    if not asked.dry_run:
        allow(replay.old.folder, theirs, asked.trust)
    folder = None
    if not asked.dry_run:
        words = ("rerun", *argv)
        folder = again(replay.old, replay.graph, Path(asked.root), words, replay.points, replay.environment)
    show(plan.document(replay.graph, shown(folder) if folder else "", dry_run=folder is None, slots=slots))
    if folder is None:
        tell(replay.old.folder, theirs)
        return OK, _planned(replay)
    if asked.in_process:
        return run_and_finish(folder, lambda: _in_process(folder, replay, settings)), {}
    code = run_and_finish(folder, lambda: run_stored(folder, replay.graph, settings))
    found, failing = _compare(replay.old, folder)
    output.render(None, reproduced.document(found, failed_only=asked.failed))
    if code != INTERRUPTED:  # the tables' own code is that of a sweep: here a failure may be what was to be seen again
        code = CODES[verdict(found, failed_only=asked.failed)] if found else FAILED if failing else OK
    return code, {**tables(found), "environment": changed(replay.conditions.differing)}


def _planned(replay: _Replay) -> dict[str, Table]:
    """Return what a dry run shows, as tables."""
    from orchestrator.comparison.difference_tables import changed
    from orchestrator.results.naming import IDENTITY, named
    from orchestrator.results.tables import Table

    naming = named(replay.old)
    status = {outcome.job.id: outcome.status for outcome in replay.old.outcomes}
    jobs = [
        {"job": job.id, **naming.identity(job), "round": job.round, "status_before": status.get(job.id)}
        for job in replay.graph.jobs
    ]
    return {
        "plan": Table.of(("job", *IDENTITY, "round", "status_before"), jobs),
        "environment": changed(replay.conditions.differing),
    }


def _in_process(folder: SweepFolder, replay: _Replay, settings: Settings) -> bool:
    """Run what the one job needs as always, then the job in this process; what it raises is raised here.

    Returns whether it was interrupted.
    """
    from orchestrator.cli.running import run_stored
    from orchestrator.execution.shard import hindrance, prepared
    from orchestrator.worker.run import run_job

    assert replay.alone is not None
    job = next(job for job in replay.graph.jobs if job.id == replay.alone.id)
    needed = JobGraph(tuple(other for other in replay.graph.jobs if other.id != job.id))
    keep = replace(settings, keep_caches=True, keep_references=True)
    if needed.jobs and run_stored(folder, needed, keep, leave=(job.id,)):
        return True
    hindered = hindrance(folder, replay.graph.jobs, job)
    if hindered is not None:
        folder.write_result(hindered)
        return False
    print(f"In this process (its figures are not compared): {job.title}", flush=True)
    with prepared(folder, replay.graph.jobs, job, settings):
        run_job(str(folder), job.id, reraise=True)
    return False


def _compare(old: SweepResults, folder: SweepFolder) -> tuple[list[Reproduction], bool]:
    """Return what became of the rows, and whether a job failed that did not fail before."""
    from orchestrator.comparison import snapshot
    from orchestrator.comparison.reproduction import reproductions
    from orchestrator.results.load import load

    new = load(folder)
    fine = {outcome.job.id for outcome in old.outcomes if outcome.status in HARMLESS}
    failing = any(outcome.job.id in fine and outcome.status not in HARMLESS for outcome in new.outcomes)
    return reproductions(snapshot.of_results(old), snapshot.of_results(new)), failing
