"""Overrides that bring one sweep's jobs about with the other's command: planned before they are shown.

Shortest first: the stored overrides that only the other sweep has, then what the keys that differ come to, appended to
the one command; then all of the other's stored overrides, in place of it. Each is planned with the configuration that
the other sweep has a copy of, and shown only if that gives its jobs, by their ids.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.comparison.configuration_changes import KeyChange, paste_lines
from orchestrator.comparison.sides import NamedSide, find
from orchestrator.errors import UsageError
from orchestrator.planning.overrides import key_of
from orchestrator.store import Sweep, SweepFolder
from orchestrator.words import plural

WHOLE = "no line to append plans these jobs: this is the whole command"


@dataclass(frozen=True)
class Pasted:
    """`lines` for a shell, what they are where they are not to be appended (`note`), and whether they were planned."""

    lines: tuple[str, ...]
    note: str = ""
    tried: bool = False


def pasted(base: SweepFolder | None, wanted: SweepFolder | None, of_keys: Sequence[str]) -> Pasted:
    """Return what to append to the command of `base` for the jobs of `wanted`. None: no folder, but a file or one job.

    of_keys: the lines that follow from the keys that differ; they are returned untried where nothing can be planned.
    """
    from orchestrator.execution.hydra_plugin import stored_search_path

    if base is None or wanted is None:
        return Pasted(tuple(of_keys), "not planned: both sides have to be sweeps" if of_keys else "")
    ids = {job.id for job in wanted.read_graph().jobs}
    if {job.id for job in base.read_graph().jobs} == ids:
        return Pasted(tuple(of_keys))  # what differs then changes no job
    here, there = base.read_sweep(), wanted.read_sweep()
    try:
        if not (here.grid and there.grid):
            raise ValueError("the overrides of its grid points are not stored")
        stored_search_path(wanted, there)
    except (OSError, ValueError, KeyError, TypeError) as error:  # its header may hold anything
        return Pasted(tuple(of_keys), f"not planned: {error}" if of_keys else "")
    mine = [*_hydra(here), *here.overrides]
    additions = _additions(here, there, of_keys)
    counts = []
    for words in additions:
        planned = _ids([*mine, *words], wanted, there)
        if planned == ids:
            return Pasted((shlex.join(_flags(here, there) + words),), tried=True)
        counts.append(planned)
    everything = [*_hydra(there), *there.overrides]
    whole = shlex.join(["python", "-m", "orchestrator", *_flags(None, there), *everything])
    again = _ids(everything, wanted, there)
    if again == ids:
        return Pasted((whole,), WHOLE, tried=True)
    came = f"{plural(len(again), 'job')} instead of {len(ids):,}" if isinstance(again, set) else again
    if there.origin is not None:
        came += f"; it was a rerun of {there.origin}"
    return Pasted((whole,), f"no line plans these jobs; these overrides, which were stored, plan {came}", tried=True)


def both_ways(
    references: Sequence[str], sides: Sequence[NamedSide], root: Path, changes: Sequence[KeyChange]
) -> list[Pasted]:
    """Return what brings about the second side's jobs with the first one's command, and the other way round.

    references: what the sides were called; changes: the keys in which they differ.
    """
    one, other = (
        None if job is not None or os.path.isfile(reference) else find(reference, root)[0]
        for reference, (_, job) in zip(references, sides, strict=True)
    )
    return [
        pasted(one, other, paste_lines(changes, after=True)),
        pasted(other, one, paste_lines(changes, after=False)),
    ]


def _ids(overrides: Sequence[str], folder: SweepFolder, header: Sweep) -> set[str] | str:
    """Return the ids of the jobs that are planned with a sweep's copy of its configuration, or why none are."""
    from orchestrator.execution.hydra_plugin import planned, stored_search_path

    try:
        graph = planned(overrides, stored_search_path(folder, header)).graph
    except UsageError as error:
        return f"nothing here ({error})"
    return {job.id for job in graph.jobs}


def _additions(here: Sweep, there: Sweep, of_keys: Sequence[str]) -> list[list[str]]:
    """Return candidates to append, the best first. What only the one command sets is set to what the keys say."""
    own = [word for word in there.overrides if word not in here.overrides]
    keys = [shlex.split(line) for line in of_keys]
    named = {key_of(word) for word in there.overrides}
    gone = {key_of(word) for word in here.overrides if word not in there.overrides} - named
    undone = [word for words in keys for word in words if key_of(word) in gone]
    found = [[*own, *undone], *([keys[0]] if len(keys) == 1 else [])]
    return [words for n, words in enumerate(found) if words and words not in found[:n]]


def _hydra(sweep: Sweep) -> list[str]:
    """Return what a command says to Hydra itself of where configuration is; the header's overrides are the others."""
    return [word for word in sweep.argv if word.startswith("hydra.searchpath=")]


def _flags(here: Sweep | None, there: Sweep) -> list[str]:
    """Return --config-dir as the one command has it, where the other has it not."""
    mine, theirs = ([] if one is None else config_dir(one) for one in (here, there))
    return [] if mine == theirs else theirs


def config_dir(sweep: Sweep) -> list[str]:
    """Return ["--config-dir", folder] of a sweep's command line, [] where it names none."""
    for word, following in zip(sweep.argv, (*sweep.argv[1:], ""), strict=True):
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            return ["--config-dir", value if equals else following]
    return []
