"""The verb `report`: tables and page of a sweep, again or in another form."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.cli.finish import collect, exit_code, finish, write_page
from orchestrator.errors import UsageError
from orchestrator.records import NOT_RUN
from orchestrator.store import SweepFolder, find_sweep

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables

EVERY_S = 3.0
SHARE = 0.02
"""Of --watch: so often it looks, and writing again may cost so much of the time."""
TABLES = ("summary", "overview", "answer", "performance", "accuracy", "jobs")


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
        return watch(folder, None if not asked.html else Path(asked.html))
    if asked.html is None and asked.form is None:
        return finish(folder)
    results, tables, _ = collect(folder)
    if asked.html is not None:
        from orchestrator.page import html

        place = Path(asked.html) if asked.html else folder.page
        html.write_file(place, [(results, tables)])
        print(place)
    else:
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


def _several(folders: Sequence[SweepFolder], asked: argparse.Namespace) -> int:
    """Write one page of several sweeps; their own folders are only read."""
    from orchestrator.page import html

    if not asked.html or asked.watch:
        raise UsageError(
            f"{len(folders)} sweeps make one page: write --html FILE, without --watch; `diff A B` is for the terminal"
        )
    sweeps = [*map(_read, folders)]
    html.write_file(Path(asked.html), sweeps)
    print(asked.html)
    return max(exit_code(*sweep) for sweep in sweeps)


def _text(results: SweepResults, tables: Tables, asked: argparse.Namespace) -> str | Iterable[str]:
    """Return all tables as JSON, the summary as CSV, a comment for a pull request as Markdown; or just `--table`."""
    named = tables.named()
    if asked.table and asked.table not in named:
        raise UsageError(f"--table {asked.table}: this sweep has none. It has {', '.join(named)}")
    if asked.table:
        return output.pieces(asked.form, {asked.table: named[asked.table]})
    if asked.form == "md":
        from orchestrator.views import pull_request

        before = [_read(find_sweep(name, Path(asked.root))) for name in asked.against]
        return pull_request.text((results, tables), before)
    return output.pieces(asked.form, named, "summary")


def _read(folder: SweepFolder) -> tuple[SweepResults, Tables]:
    """Read a sweep, without writing to its folder."""
    from orchestrator.comparison import builds
    from orchestrator.results import load

    results = load.load(folder)
    return results, builds.build(results)


def watch(folder: SweepFolder, file: Path | None = None, every_s: float = EVERY_S) -> int:
    """Write tables and page (into `file` if given) until every job has a result; return the exit code of `report`.

    Watching must not disturb what is measured. Nothing is read but the names of the result files until there is a new
    one, and writing again is put off until it has cost at most a fiftieth of the time: 0.02 cores, where 0.1 foreign
    cores mark a measurement as disturbed.

    Ctrl-C ends it earlier: the page then says how far the sweep has come, and does not reload itself any more.
    """
    (results, tables, _), seen = collect(folder), _finished(folder)
    try:
        while _waiting(results):
            began = time.monotonic()
            _write(results, tables, file, running=True)
            _say(results)
            cost = time.monotonic() - began
            seen = _wait(folder, seen, max(every_s, cost / SHARE))
            results, tables, _ = collect(folder)
    finally:
        _write(results, tables, file, running=False)
    _say(results)
    return exit_code(results, tables)


def _write(results: SweepResults, tables: Tables, file: Path | None, *, running: bool) -> None:
    from orchestrator.page import html

    if file is None:
        write_page(results, tables, running=running)
    else:
        html.write_file(file, [(results, tables)], running=running)


def _waiting(results: SweepResults) -> int:
    return sum(outcome.status == NOT_RUN for outcome in results.outcomes)


def _finished(folder: SweepFolder) -> int:
    """Return how many result files there are."""
    return sum(1 for _ in folder.jobs.glob("*/result.json"))


def _wait(folder: SweepFolder, seen: int, seconds: float) -> int:
    """Wait `seconds`, and then until there is another number of results than `seen`; return it."""
    time.sleep(seconds)
    while (now := _finished(folder)) == seen:
        time.sleep(min(seconds, EVERY_S))
    return now


def _say(results: SweepResults) -> None:
    """Print a line for this moment, over the last one in a terminal."""
    total = len(results.outcomes)
    line = f"{total - _waiting(results)} of {total} jobs"
    end = "\r" if sys.stdout.isatty() and _waiting(results) else "\n"
    print(line, end=end, flush=True)
