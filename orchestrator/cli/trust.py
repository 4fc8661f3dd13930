"""Is a sweep that someone else made run again? A person says so, or the command line does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from orchestrator.errors import UsageError
from orchestrator.execution.ownership import is_own
from orchestrator.store import SweepFolder
from orchestrator.views.commands import shown
from orchestrator.views.layout import plain
from orchestrator.words import more

FLAG = "--trust"
LISTED = 40


def allow(folder: SweepFolder, what: Sequence[str], trusted: bool) -> None:
    """Return when a sweep may run `what` (`orchestrator.planning.trust.would_run`), else raise UsageError.

    It may when there is nothing, when this user made the folder, with --trust, or when the person at the terminal says
    so.
    """
    if not what or trusted or is_own(folder):
        return
    lines = _lines(folder, what)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("\n".join([*lines, f"If you trust whoever made it with your account, add {FLAG}"]))
    print("\n".join(lines), file=sys.stderr)
    print("Run it with all that your account may do? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was run")


def tell(folder: SweepFolder, what: Sequence[str]) -> None:
    """Say, for a dry run, what `allow` would ask about."""
    if what and not is_own(folder):
        print("\n".join([*_lines(folder, what), f"It will be asked about, or needs {FLAG}"]))


def _lines(folder: SweepFolder, what: Sequence[str]) -> list[str]:
    heading = f"{plain(shown(folder))} was not made by you. Running it would use:"
    lines = [*map(plain, what[:LISTED]), *more(len(what), LISTED, ": see its plan.json")]
    return [heading, *(f"  {line}" for line in lines)]
