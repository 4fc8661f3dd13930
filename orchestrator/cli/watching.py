"""`report --watch`: tables and page of a sweep, written again while it runs.

Watching must not disturb what is measured. Nothing is read but the names of the result files until there is a new one,
and writing again is put off until it has cost at most a fiftieth of the time: 0.02 cores, where 0.1 foreign cores mark
a measurement as disturbed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from orchestrator.cli.finish import collect, exit_code, write_page
from orchestrator.page import html
from orchestrator.records import NOT_RUN
from orchestrator.results.load import SweepResults
from orchestrator.results.tables import Tables
from orchestrator.store import SweepFolder

EVERY_S = 3.0
SHARE = 0.02


def watch(folder: SweepFolder, file: Path | None = None, every_s: float = EVERY_S) -> int:
    """Write tables and page (into `file` if given) until every job has a result; return the exit code of `report`.

    Ctrl-C ends it earlier: the page then says how far the sweep has come, and does not reload itself any more.
    """
    results, tables, seen = *collect(folder), _finished(folder)
    try:
        while _waiting(results):
            began = time.monotonic()
            _write(results, tables, file, running=True)
            _say(results)
            cost = time.monotonic() - began
            seen = _wait(folder, seen, max(every_s, cost / SHARE))
            results, tables = collect(folder)
    finally:
        _write(results, tables, file, running=False)
    _say(results)
    return exit_code(results, tables)


def _write(results: SweepResults, tables: Tables, file: Path | None, *, running: bool) -> None:
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
