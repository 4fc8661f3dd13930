"""Collect a sweep: write its tables and its page, and show them. At its end, and whenever it is asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orchestrator.records import HARMLESS, NOT_RUN, PASS
from orchestrator.store import SweepFolder
from orchestrator.views.commands import next_command, shown

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables
    from orchestrator.views.document import Document

NOT_WRITTEN = 2
NO_SUMMARY = "ORCHESTRATOR_NO_SUMMARY"
"""Set for a sweep that a notebook runs (`orchestrator.api`): whoever called shows what was found."""


def finish(folder: SweepFolder) -> int:
    """Write tables and page of a sweep and show the summary. Returns the exit code: 1 if a job failed or was not run.

    2 if tables or page could not be written: only what there is is named. A pure function of the folder: can be
    repeated, also while the sweep still runs. Raises UsageError when the folder is not a sweep.
    """
    from orchestrator.views.document import show
    from orchestrator.views.summary import whereabouts

    results, tables, written = collect(folder)
    quiet = bool(os.environ.get(NO_SUMMARY))
    if not quiet:
        show(document(results, tables))
    sys.stdout.flush()  # the page of 10,000 rows takes seconds: nobody waits for it to read the summary
    page = write_page(results, tables)
    names = ["report.html"] * page + ["tables/"] * written + ["jobs/"]
    if not quiet:
        show(whereabouts(shown(folder), names, next_command(results)))
    return exit_code(results, tables) if page and written else NOT_WRITTEN


def document(results: SweepResults, tables: Tables) -> Document:
    """Return the summary of a sweep, as it is shown at its end."""
    from orchestrator.comparison.builds import comparisons
    from orchestrator.results import listing
    from orchestrator.views import summary

    found = comparisons(results) if tables.builds is not None else ()
    return summary.document(tables, shown(results.folder), results.sweep.imported, listing.tag(results.sweep), found)


def collect(folder: SweepFolder) -> tuple[SweepResults, Tables, bool]:
    """Read the sweep, write tables/, and tell whether that was possible: a disk may be full, a folder another's."""
    from orchestrator.comparison import builds, snapshot
    from orchestrator.files import write_text
    from orchestrator.results import exports, load, tables

    with load.uncollected():
        results = load.streamed(folder)
        made = builds.build(results)
    for reason in made.refused:
        print(reason, file=sys.stderr)
    try:
        exports.write(folder, made)
        known = snapshot.environment(results.sweep, results.outcomes)
        rows = [{"key": key, "value": str(value)} for key, value in known.items()]
        write_text(folder.tables / "environment.csv", exports.to_csv(tables.Table.of(("key", "value"), rows)))
    except OSError as error:
        print(f"The tables could not be written: {error}", file=sys.stderr)
        return results, made, False
    return results, made, True


def write_page(results: SweepResults, tables: Tables, *, running: bool = False) -> bool:
    """Write report.html, after everything else: whatever prevents it, tables and summary are there. Tell whether."""
    from orchestrator.page import html

    try:
        html.write(results.folder, results, tables, running=running)
    except OSError as error:
        print(f"The page could not be written: {error}", file=sys.stderr)
        return False
    return True


def exit_code(results: SweepResults, tables: Tables) -> int:
    """Return 0 if every job that was planned for this folder ended well or cannot be done here, else 1.

    The jobs of a self-test are judged by its checks: some of them have to fail. Later rounds for which a budget left no
    time are no failure, where a round of the same row passed.
    """
    from orchestrator.results.acceptance import self_test
    from orchestrator.results.acceptance.checks import SUITE

    suites = (self_test.SUITE, SUITE)
    begun = {o.job.family for o in results.outcomes if o.status == PASS} if _has_budget(results) else set()
    judged = [
        outcome
        for outcome in results.outcomes
        if outcome.job.workload.suite not in suites
        and not outcome.elsewhere
        and not (outcome.status == NOT_RUN and outcome.job.round and outcome.job.family in begun)
    ]
    checked = all(row["result"] in HARMLESS for row in tables.self_test.rows)
    return int(not (checked and all(outcome.status in HARMLESS for outcome in judged)))


def _has_budget(results: SweepResults) -> bool:
    return any(point.get("budget") is not None for point in results.sweep.points[:1])
