"""Collect a sweep: write its tables and its page, and show them. At the end of a sweep, and as the verb `report`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.records import HARMLESS, INFRASTRUCTURE, NOT_RUN
from orchestrator.reporting import output
from orchestrator.store import SweepFolder, find_sweep

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables

TABLES = ("summary", "overview", "performance", "accuracy", "jobs")


def finish(folder: SweepFolder) -> int:
    """Write tables and page of a sweep and show the summary. Returns the exit code: 1 if a job failed or was not run.

    A pure function of the folder: can be repeated, also while the sweep still runs. Raises UsageError when the folder
    is not a sweep.
    """
    from orchestrator.reporting.terminal import show_summary

    results, tables = collect(folder)
    show_summary(tables, shown(folder), next_command(results))
    sys.stdout.flush()  # the page of 10,000 rows takes seconds: nobody waits for it to read the summary
    write_page(results, tables)
    return exit_code(results, tables)


def collect(folder: SweepFolder) -> tuple[SweepResults, Tables]:
    """Read the sweep and write tables/. A folder that cannot be written (someone else's, a full disk) is only read."""
    from orchestrator.results import exports, load, tables

    with load.uncollected():
        results = load.load(folder)
        made = tables.build(results)
    for reason in made.refused:
        print(reason, file=sys.stderr)
    try:
        exports.write(folder, made)
    except OSError as error:
        print(f"The tables could not be written: {error}", file=sys.stderr)
    return results, made


def write_page(results: SweepResults, tables: Tables, *, running: bool = False) -> None:
    """Write report.html, after everything else: whatever prevents it, tables and summary are there."""
    from orchestrator.reporting import html

    try:
        html.write(results.folder, results, tables, running=running)
    except OSError as error:
        print(f"The page could not be written: {error}", file=sys.stderr)


def exit_code(results: SweepResults, tables: Tables) -> int:
    """Return 0 if every planned job ended well or cannot be done here, else 1.

    The jobs of a self-test are judged by its checks: some of them have to fail.
    """
    from orchestrator.results import self_test
    from orchestrator.results.gpu_seen import SUITE

    suites = (self_test.SUITE, SUITE)
    judged = [outcome for outcome in results.outcomes if outcome.job.workload.suite not in suites]
    checked = all(row["result"] in HARMLESS for row in tables.self_test.rows)
    return int(not (checked and all(outcome.status in HARMLESS for outcome in judged)))


def shown(folder: SweepFolder) -> str:
    """Return the folder's path, relative to the working directory where it lies below."""
    here = Path.cwd()
    return str(folder.root.relative_to(here)) if folder.root.is_relative_to(here) else str(folder.root)


def next_command(results: SweepResults) -> str:
    """Return what to run next: the rest of the sweep (it knows its own command), or the table for a text."""
    from orchestrator.planning.overrides import value

    unfinished = [outcome for outcome in results.outcomes if outcome.status in (NOT_RUN, INFRASTRUCTURE)]
    place = shown(results.folder)
    if unfinished and not results.sweep.imported:
        return f"python -m orchestrator {shlex.quote(f'resume={value(place)}')}"
    return f"python -m orchestrator report {shlex.quote(place)} --md"


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator report`. Raises UsageError when there is no such sweep."""
    parser = _parser()
    asked = parser.parse_args(argv)
    if asked.table and not asked.form:
        parser.error("--table goes with --json, --md or --csv")
    if asked.against and (asked.form != "md" or asked.table):
        parser.error("--against goes with --md alone; `diff` compares in every form")
    if asked.form and (asked.watch or asked.html is not None):
        parser.error("--json, --md and --csv go with neither --html nor --watch")
    folders = [find_sweep(name, Path(asked.root)) for name in asked.sweeps or ["latest"]]
    if len(folders) > 1:
        return _several(folders, asked)
    (folder,) = folders
    if asked.watch:
        from orchestrator.reporting.live import watch

        return watch(folder, None if not asked.html else Path(asked.html))
    if asked.html is None and asked.form is None:
        return finish(folder)
    results, tables = collect(folder)
    if asked.html is not None:
        print(_page(asked.html, results, tables))
        return exit_code(results, tables)
    output.emit(_text(results, tables, asked))
    return exit_code(results, tables)


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "report",
        "Show a sweep's tables again, and rewrite its tables/ folder and report.html. Works while the sweep runs.",
        "Exit code: 0 fine, 1 some job failed or has not run, 2 no such sweep.",
    )
    parser.add_argument(
        "sweeps",
        nargs="*",
        metavar="SWEEP",
        help="path, latest, latest~1, <date>/<time>; several: --html FILE",
    )
    about = f"only this table: {', '.join(TABLES)}, or one of tables/ that another measure made"
    parser.add_argument("--table", metavar="NAME", help=about)
    parser.add_argument(
        "--html", nargs="?", const="", metavar="FILE", help="only the page: report.html of the sweep, or this file"
    )
    parser.add_argument(
        "--against", action="append", default=[], metavar="SWEEP", help="with --md: an earlier sweep, beside this one"
    )
    parser.add_argument("--watch", action="store_true", help="write tables and page again while the sweep runs")
    return parser


def _page(file: str, results: SweepResults, tables: Tables) -> str:
    """Write the page of one sweep to `file`, or where it belongs if that is ""; return where it is."""
    from orchestrator.reporting import html

    place = Path(file) if file else results.folder.page
    html.write_file(place, [(results, tables)])
    return str(place)


def _several(folders: Sequence[SweepFolder], asked: argparse.Namespace) -> int:
    """Write one page of several sweeps; their own folders are only read."""
    from orchestrator.reporting import html
    from orchestrator.results import load, tables

    if not asked.html or asked.watch:
        raise UsageError(
            f"{len(folders)} sweeps make one page: write --html FILE, without --watch; `diff A B` is for the terminal"
        )
    sweeps = [(results, tables.build(results)) for results in map(load.load, folders)]
    html.write_file(Path(asked.html), sweeps)
    print(asked.html)
    return max(exit_code(*sweep) for sweep in sweeps)


def _text(results: SweepResults, tables: Tables, asked: argparse.Namespace) -> str:
    """Return all tables as JSON, the summary as CSV, a comment for a pull request as Markdown; or just `--table`."""
    named = tables.named()
    if asked.table and asked.table not in named:
        raise UsageError(f"--table {asked.table}: this sweep has none. It has {', '.join(named)}")
    if asked.table:
        return output.text(asked.form, {asked.table: named[asked.table]})
    if asked.form == "md":
        from orchestrator.reporting import pull_request

        return pull_request.text((results, tables), [_read(name, asked) for name in asked.against])
    return output.text(asked.form, named, "summary")


def _read(name: str, asked: argparse.Namespace) -> tuple[SweepResults, Tables]:
    """Read another sweep, without writing to its folder."""
    from orchestrator.results import load, tables

    results = load.load(find_sweep(name, Path(asked.root)))
    return results, tables.build(results)
