"""The verb `merge`: the folders of a sweep that was run in parts (shard=1/3, ...) as one sweep folder."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.cli import output
from orchestrator.cli.finish import finish
from orchestrator.errors import UsageError, printable
from orchestrator.exchange.folder import whole
from orchestrator.execution.lock import holder
from orchestrator.execution.ownership import claim, is_own
from orchestrator.planning.provenance import copy_stored_conf
from orchestrator.records import INFRASTRUCTURE, NOT_NEEDED, JobResult
from orchestrator.store import MODELS, JobGraph, SweepFolder, find_sweep
from orchestrator.views.commands import shown
from orchestrator.words import plural

TO_BE_HAD_ANEW = (INFRASTRUCTURE, NOT_NEEDED)
"""Statuses of results that a resume does not let stand (`execution.standing`)."""


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator merge`; return the exit code of the joined sweep, as `report` does.

    Raises UsageError, and writes nothing, for folders of different plans, or one that is being run.
    """
    asked = _parser().parse_args(argv)
    from orchestrator.planning.resume import what_differs

    root = Path(asked.root)
    folders = list(
        {folder.root.resolve(): folder for folder in (find_sweep(name, root) for name in asked.sweeps)}.values()
    )
    if len(folders) < 2:
        raise UsageError("merge joins several sweep folders: name at least two")
    graph = folders[0].read_graph()
    for folder in folders:
        if running := holder(folder):
            raise UsageError(f"{folder} is being run by {running}: merge it when that has ended")
        if different := what_differs(graph, folder.read_graph()):
            raise UsageError(
                f"{folder} holds another plan than {folders[0]}: {different} "
                "Run all parts with the same command and versions, threads= and device= given"
            )
    into = Path(asked.into) if asked.into else root / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}-merged"
    merged, said = _write(folders, graph, into)
    for line in (f"{plural(len(folders), 'folder')} -> {shown(merged)}", *said):
        print(" ".join(printable(line)))
    return finish(merged)


def _write(folders: Sequence[SweepFolder], graph: JobGraph, into: Path) -> tuple[SweepFolder, list[str]]:
    """Write the joined folder, all of it or nothing; return it, and what is worth saying."""
    first = folders[0].read_sweep()
    header = replace(first, overrides=_whole(first.overrides), argv=_whole(first.argv), shard=(), parts=())
    twice = missing = 0
    with whole(into) as folder:
        folder.jobs.mkdir(parents=True)
        copy_stored_conf(folders[0].conf, folder.conf)
        if (models := folders[0].root / MODELS).is_dir():
            shutil.copytree(models, folder.root / MODELS, symlinks=True)
        for job in graph.jobs:
            having = _having(folders, job.id)
            missing += not having and job.verdict is None
            twice += len(having) > 1
            if having:
                shutil.copytree(having[0].job(job.id), folder.job(job.id), symlinks=True)
        folder.write_plan(header, graph)
        if all(map(is_own, folders)):
            claim(folder)
    said = []
    if twice:
        said.append(f"{plural(twice, 'result')} in several of them: those of the folder that is named first are kept")
    if missing:
        place = shown(SweepFolder(into))
        said.append(f"no result in any of them: {plural(missing, 'job')}; resume={place} runs what is missing")
    return SweepFolder(into), said


def _having(folders: Sequence[SweepFolder], job_id: str) -> list[SweepFolder]:
    """Return the folders that have a result of a job, in their order, those to be had anew last."""
    found = [(one, result) for one in folders if isinstance(result := one.read_result(job_id), JobResult)]
    return [one for one, _ in sorted(found, key=lambda pair: pair[1].status in TO_BE_HAD_ANEW)]


def _whole(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if not word.lstrip("+").startswith("shard="))


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "merge",
        "Join the folders of a sweep that was run in parts, with shard=1/3, shard=2/3, ...",
        "Exit code: 0 fine, 1 a job failed or has no result, 2 usage. More: docs/sweep.md",
        forms=False,
        roots="none",
    )
    parser.add_argument("sweeps", nargs="+", metavar="SWEEP", help="path, latest, latest~1, <date>/<time>")
    parser.add_argument("--into", metavar="DIR", help="the new folder (<root>/<date>/<time>-merged)")
    output.add_root(parser)
    return parser
