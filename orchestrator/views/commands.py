"""How a sweep is called in commands, and which command comes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.records import INFRASTRUCTURE, NOT_RUN
from orchestrator.store import SweepFolder

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults


def shown(folder: SweepFolder) -> str:
    """Return the folder's path, relative to the working directory where it lies below."""
    here = Path.cwd()
    return str(folder.root.relative_to(here)) if folder.root.is_relative_to(here) else str(folder.root)


def next_command(results: SweepResults) -> str:
    """Return what to run next: the rest of the sweep (it knows its own command), or the table for a text."""
    from orchestrator.planning.overrides import value

    unfinished = [outcome for outcome in results.outcomes if outcome.status in (NOT_RUN, INFRASTRUCTURE)]
    place = shown(results.folder)
    if unfinished and all(outcome.elsewhere for outcome in unfinished):
        return f"python -m orchestrator merge {shlex.quote(place)} FOLDER ..."
    if unfinished and not results.sweep.imported:
        return f"python -m orchestrator {shlex.quote(f'resume={value(place)}')}"
    return f"python -m orchestrator report {shlex.quote(place)} --md"
