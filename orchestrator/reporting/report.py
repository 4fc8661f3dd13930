"""Collect a sweep: write its tables and show them. At the end of a sweep, and as the verb `report`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.records import HARMLESS, INFRASTRUCTURE, NOT_RUN, PASS
from orchestrator.reporting import output
from orchestrator.store import SweepFolder, find_sweep

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables

TABLES = ("summary", "overview", "performance", "accuracy", "jobs")
OF_SOME = ("self_test",)
"""Tables that only some sweeps have."""


def finish(folder: SweepFolder) -> int:
    """Write the tables of a sweep and show the summary. Returns the exit code: 1 if any job failed or was not run.

    A pure function of the folder: can be repeated, also while the sweep still runs. Raises UsageError when the folder
    is not a sweep.
    """
    from orchestrator.reporting.terminal import show_summary

    results, tables = collect(folder)
    show_summary(tables, shown(folder), next_command(results))
    return exit_code(results, tables)


def collect(folder: SweepFolder) -> tuple[SweepResults, Tables]:
    """Read the sweep and write tables/. A folder that cannot be written (someone else's, a full disk) is only read."""
    from orchestrator.results import exports, load, tables

    results = load.load(folder)
    made = tables.build(results)
    try:
        exports.write(folder, made)
    except OSError as error:
        print(f"The tables could not be written: {error}", file=sys.stderr)
    return results, made


def exit_code(results: SweepResults, tables: Tables) -> int:
    """Return 0 if every planned job ended well or cannot be done here, else 1.

    The jobs of the self-test are judged by its checks: one of them has to fail.
    """
    from orchestrator.results.self_test import SUITE

    judged = [outcome for outcome in results.outcomes if outcome.job.workload.suite != SUITE]
    checked = all(row["result"] == PASS for row in tables.self_test.rows)
    return int(not (checked and all(outcome.status in HARMLESS for outcome in judged)))


def shown(folder: SweepFolder) -> str:
    """Return the folder's path, relative to the working directory where it lies below."""
    here = Path.cwd()
    return str(folder.root.relative_to(here)) if folder.root.is_relative_to(here) else str(folder.root)


def next_command(results: SweepResults) -> str:
    """Return what to run next: the rest of the sweep (it knows its own command), or the table for a text."""
    from orchestrator.results.reproduce import value

    unfinished = [outcome for outcome in results.outcomes if outcome.status in (NOT_RUN, INFRASTRUCTURE)]
    place = shown(results.folder)
    if unfinished:
        return f"python -m orchestrator {shlex.quote(f'resume={value(place)}')}"
    return f"python -m orchestrator report {shlex.quote(place)} --md"


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator report`. Raises UsageError when there is no such sweep."""
    parser = output.parser(
        "report",
        "Show a sweep's tables again, and rewrite its tables/ folder. Works while the sweep runs.",
        "Exit code: 0 fine, 1 some job failed or has not run, 2 no such sweep.",
    )
    parser.add_argument("sweep", nargs="?", default="latest", help="path, latest, latest~1, or <date>/<time> (latest)")
    named = (*TABLES, *OF_SOME)
    parser.add_argument("--table", choices=named, metavar="NAME", help=f"only this table: {', '.join(named)}")
    asked = parser.parse_args(argv)
    if asked.table and not asked.form:
        parser.error("--table goes with --json, --md or --csv")
    folder = find_sweep(asked.sweep, Path(asked.root))
    if asked.form is None:
        return finish(folder)
    results, tables = collect(folder)
    output.emit(_text(tables, asked.form, asked.table))
    return exit_code(results, tables)


def _text(tables: Tables, form: str, table: str | None) -> str:
    """Return all tables as JSON, the summary as CSV, what is for reading as Markdown; or just `table`."""
    named = tables.named()
    if table and table not in named:
        raise UsageError(f"--table {table}: this sweep has none. It has {', '.join(named)}")
    if table:
        return output.text(form, {table: named[table]})
    if form == "md":
        named = {name: named[name] for name in ("summary", "overview", *OF_SOME) if name in named}
    return output.text(form, named, "summary")
