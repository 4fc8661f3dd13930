"""The verb `ls`: which sweeps there are, how far each has come, what it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output

if TYPE_CHECKING:
    from orchestrator.results.listing import Listed
    from orchestrator.views.document import Document

NEWEST = 20
"""So many sweeps are shown; the others are counted."""
TITLES = ("sweep", "state", "jobs", "failed", "age", "what")


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator ls`. Raises UsageError when a folder that is named does not exist."""
    parser = output.parser(
        "ls",
        "List sweeps, the newest first: state, jobs, failures, age, suites and compilers.",
        "Running: its lock is held. Incomplete: jobs have no result, resume= runs them. Exit code: 0, or 2 for usage.",
        roots="several",
    )
    parser.add_argument("--all", action="store_true", help=f"all of them, not the newest {NEWEST}; --json, --csv have")
    asked = parser.parse_args(argv)
    from orchestrator.results import listing, tables

    paths = listing.folders(output.roots(asked.root))
    chosen = paths if asked.all or asked.form in ("json", "csv") else paths[:NEWEST]
    sweeps = [listing.look(path) for path in chosen]
    output.present(
        asked.form,
        lambda: _document(sweeps, len(paths) - len(sweeps), asked.root),
        lambda: {"sweeps": tables.Table.of(listing.COLUMNS, (sweep.row() for sweep in sweeps))},
    )
    return 0


def _document(sweeps: Sequence[Listed], others: int, named: Sequence[str] | None) -> Document:
    from orchestrator.results.listing import DAMAGED, FINISHED, RUNNING
    from orchestrator.views.commands import shown
    from orchestrator.views.document import Document, Folded, Item, Paragraph, Piece
    from orchestrator.views.grid import Cell, Grid
    from orchestrator.views.layout import age

    if not sweeps:
        return Document(
            "Sweeps", [Paragraph(f"There are no sweeps below {', '.join(named or ('outputs',))}.", wrap=False)]
        )
    now, several = time.time(), len(named or ()) > 1
    named_sweeps = [(shown(sweep.folder) if several else sweep.name, sweep) for sweep in sweeps]
    styles = {RUNNING: "green", FINISHED: "", DAMAGED: "red"}
    rows = [
        [Cell(title), Cell(sweep.state, style=styles.get(sweep.state, "yellow")), Cell(_progress(sweep))]
        + [Cell(str(sweep.failed) if sweep.failed else "", style="red")]
        + [Cell("" if sweep.sweep is None else age(now - sweep.sweep.created)), Cell(_what(sweep))]
        for title, sweep in named_sweeps
    ]
    pieces: list[Piece] = [Grid(TITLES, rows, figures=(2, 3, 4), most=None, cut_last=True)]
    pieces += [
        Paragraph(f"{title} is damaged: {sweep.reason}") for title, sweep in named_sweeps if sweep.state == DAMAGED
    ]
    commands = [
        Item(title, str(sweep.row()["command"]), command=True)
        for title, sweep in named_sweeps
        if sweep.sweep is not None
    ]
    pieces.append(Folded("Commands", commands))
    return Document("Sweeps", [*pieces, Paragraph(f"and {others:,} older: --all shows them" if others else "")])


def _progress(sweep: Listed) -> str:
    ended = sweep.planned - sweep.not_run
    return "" if sweep.sweep is None else str(ended) if ended == sweep.planned else f"{ended}/{sweep.planned}"


def _what(listed: Listed) -> str:
    sweep = listed.sweep
    if sweep is None:
        return ""
    words = f"{listed.tag}: " * bool(listed.tag)
    words += f"{', '.join(listed.suites)}: {', '.join(listed.compilers)}" if listed.planned else "no jobs"
    if not sweep.origin:
        return words
    origin = sweep.origin if sweep.imported else f"of {'/'.join(Path(sweep.origin).parts[-2:])}"
    return f"{origin}, {words}"
