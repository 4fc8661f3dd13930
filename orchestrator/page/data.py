"""What a page knows: one JSON value, made of one sweep or several. No HTML and no charts in it.

Everything a person can see is in here as data, and the page's scripts make text of it, never markup: a model may be
called `<script>`. `assets/data.js` is the reader.
"""

from __future__ import annotations

import itertools
import math
import os
import shlex
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.columns import Column
from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import Matched, compare
from orchestrator.comparison.thresholds import LIMITS
from orchestrator.page.answer import of_sweep
from orchestrator.page.columnar import pack, rounded
from orchestrator.page.jobs import CONFIGURATION, Interned, JobsOfSweep, owners
from orchestrator.records import HARMLESS, NOT_RUN, STATUSES, SUCCESSES
from orchestrator.results.configuration import settings
from orchestrator.results.flags import MARKS, failures, flagged
from orchestrator.results.load import SweepResults, fact
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import WORKLOAD, Key, is_eager, key_of, telling
from orchestrator.results.overview import OVERVIEW
from orchestrator.results.table import TableRow, Wider
from orchestrator.results.tables import JOBS, SUMMARY, Table, Tables

Document = dict[str, Any]
Entry = dict[str, Any]

MOST_ROWS, MOST_JOBS = 10_000, 20_000
"""Of all sweeps of a page together: a browser bears some ten thousand rows, and it is under 15 MB then."""
DETAILS_BUDGET = 5_000_000
"""Bytes of samples, facts and logs, of all sweeps together: with the rest a page of 10,000 rows is under 15 MB."""
LISTED = 300
"""So many rows of a measure's own table are on the page; tables/*.csv has all."""
JOB_COLUMNS = ("sweep", "row", *(name for name in JOBS if name != "log"), *CONFIGURATION)
ROW_COLUMNS = ("sweep", *(name for name in SUMMARY if name not in ("log", "accuracy_log")))
"""Logs are found by the job's id."""


def document(sweeps: Sequence[tuple[SweepResults, Tables]], place: Path, *, running: bool = False) -> Document:
    """Return all that the page shows that will lie in the folder `place`.

    `running`: the sweep has not ended, and the page will be written again.
    """
    names = unique_names([results for results, _ in sweeps])
    records = Interned()
    parts: list[JobsOfSweep] = []
    first_row = first_job = 0
    chosen = [selected(results, tables, len(sweeps)) for results, tables in sweeps]
    for number, shown in enumerate(chosen):
        part = JobsOfSweep(
            *(shown.results, shown.tables, records),
            number=number,
            first_row=first_row,
            first_job=first_job,
            budget=DETAILS_BUDGET // len(sweeps),
        )
        parts.append(part)
        first_row += len(shown.tables.summary.rows)
        first_job += len(shown.results.outcomes)
    own: dict[str, Column] = {}
    findings = [
        {"sweep": i, "name": name, **listed(table)}
        for i, (_, tables) in enumerate(sweeps)
        for name, table in tables.listed.items()
        if all(column.means(own.setdefault(called, column)) for called, column in table.own.items())
    ]
    listed_columns = (name for table in findings for name in table["columns"])
    used = dict.fromkeys((*SUMMARY, *OVERVIEW, *JOBS, *listed_columns))
    wider = Wider(sweeps[0][1].summary, ["sweep"])
    summary = [wider.row(row, i) for i, shown in enumerate(chosen) for row in shown.tables.summary.rows]
    return {
        "running": running,
        "sweeps": [
            {**header(results, place), "rows": len(tables.summary.rows), "name": name, "short": short}
            for (results, tables), name, short in zip(sweeps, names, short_names(names), strict=True)
        ],
        "columns": {name: described(own[name] if name in own else COLUMNS[name]) for name in used},
        "statuses": {status: status_kind(status) for status in STATUSES},
        "answers": [
            of_sweep(*sweep, {row: number + part.first_row for row, number in shown.numbers.items()})
            for sweep, shown, part in zip(sweeps, chosen, parts, strict=True)
        ],
        "series": series([row for _, tables in sweeps for row in tables.overview.rows], summary, short_names(names)),
        "summary": pack(ROW_COLUMNS, summary),
        "overview": [{"sweep": i, **row} for i, (_, tables) in enumerate(sweeps) for row in tables.overview.rows],
        "flags": [[flag.mark, flag.row, rounded(flag.times)] for flag in flagged(summary)],
        "marks": {name: asdict(mark) for name, mark in MARKS.items()},
        "failures": [asdict(group) for group in failures(summary)],
        "jobs": pack(JOB_COLUMNS, [job for part in parts for job in part.rows]),
        "needs": [needs for part in parts for needs in part.needs],
        "quantiles": [values for part in parts for values in part.quantiles],
        "memory": [peaks for part in parts for peaks in part.memory],
        "details": [text for part in parts for text in part.details],
        "complete_details": all(part.complete_details for part in parts),
        "records": records.values,
        "self_test": [dict(row) for _, tables in sweeps for row in tables.self_test.rows],
        "findings": findings,
        "compile_phases": [
            {"sweep": i, **row}
            for i, (_, tables) in enumerate(sweeps)
            for row in (tables.phases["compile_phase_sums"].rows if tables.phases else ())
            if row["compile_phase_s"]
        ],
        "loss_curves": [{"sweep": i, **curve} for i, (_, tables) in enumerate(sweeps) for curve in loss_curves(tables)],
        "side_by_side": side_by_side([results for results, _ in sweeps], [part.row_of for part in parts]),
    }


@dataclass(frozen=True)
class Selected:
    """What of a sweep is on the page. numbers: row of the whole summary -> its place on the page, of those that are."""

    results: SweepResults
    tables: Tables
    numbers: Mapping[int, int]


def selected(results: SweepResults, tables: Tables, sweeps: int) -> Selected:
    """Return the rows for a page of so many sweeps: what failed or is marked first, then in the table's order."""
    summary, outcomes = tables.summary.rows, results.outcomes
    most_rows, most_jobs = MOST_ROWS // sweeps, MOST_JOBS // sweeps
    if len(summary) <= most_rows and len(outcomes) <= most_jobs:
        return Selected(results, tables, {number: number for number in range(len(summary))})
    jobs_of: dict[int, list[str]] = defaultdict(list)
    for job, row in owners(tables, 0).items():
        jobs_of[row].append(job)
    rows: set[int] = set()
    jobs: set[str] = set()
    for row in sorted(range(len(summary)), key=lambda number: (_is_well(summary[number]), number)):
        if len(rows) < most_rows and len(jobs) + len(jobs_of[row]) <= most_jobs:
            rows.add(row)
            jobs.update(jobs_of[row])
    places = [place for place, outcome in enumerate(outcomes) if outcome.job.id in jobs]
    shown = sorted(rows)
    return Selected(
        replace(results, outcomes=tuple(outcomes[place] for place in places)),
        replace(tables, summary=_only(tables.summary, shown), jobs=_only(tables.jobs, places)),
        {row: number for number, row in enumerate(shown)},
    )


def _is_well(row: TableRow) -> bool:
    return not row["flags"] and all(row[measure] in (None, *SUCCESSES) for measure in ("performance", "accuracy"))


def _only(table: Table, rows: list[int]) -> Table:
    return replace(table, rows=tuple(table.rows[row] for row in rows))


def header(results: SweepResults, place: Path) -> dict[str, Any]:
    """Return who asked what, when, where and with which code, and how far it has come."""
    sweep, root = results.sweep, results.folder.root
    git = fact(sweep.environment, "git")
    return {
        "folder": os.path.relpath(root, place),
        "command": shlex.join(["python", "-m", "orchestrator", *sweep.argv]),
        "origin": sweep.origin,
        "created": sweep.created,
        "commit": fact(git, "commit"),
        "changed_files": fact(git, "changed") or [],
        "jobs": dict(Counter(outcome.status for outcome in results.outcomes)),
        "planned": len(results.outcomes),
        "done": sum(outcome.status != NOT_RUN for outcome in results.outcomes),
        "environment": snapshot.environment(sweep, results.outcomes),
        "settings": {key: list(values) for key, values in settings(sweep.points).items()},
    }


def listed(table: Table) -> dict[str, Any]:
    """Return the first rows of a table of another measure, the columns that hold something, and how many it has."""
    names = [name for name in table.columns if name != "log" and any(row[name] is not None for row in table.rows)]
    return {
        "columns": names,
        "rows": [[rounded(row[name]) for name in names] for row in table.rows[:LISTED]],
        "total": len(table.rows),
    }


def loss_curves(tables: Tables) -> list[dict[str, Any]]:
    """Return each training's curves, means over its seeds: what ran, and (step, eager's loss, the compiler's) in order.

    Of the table of our own measure alone: another's of that name may have other columns.
    """
    table = tables.findings.get("loss_curves")
    if table is None or not {"training_step", "eager_loss", "loss"} <= set(table.columns):
        return []
    names = (*WORKLOAD, "compiler", "variant")
    titles = dict.fromkeys(("model", *telling(table.rows, names), "compiler"))
    curves: dict[Key, dict[int, list[tuple[float, float]]]] = {}
    for row in table.rows:
        known = [row[name] for name in ("training_step", "eager_loss", "loss")]
        if all(isinstance(value, (int, float)) and math.isfinite(value) for value in known):
            curves.setdefault(key_of(row, names), {}).setdefault(known[0], []).append((known[1], known[2]))
    ran = {key: dict(zip(names, key, strict=True)) for key in curves}
    return [
        {
            **ran[key],
            "title": " · ".join(str(ran[key][name]) for name in titles if ran[key][name]),
            "points": [
                [step, *(rounded(statistics.fmean(values)) for values in zip(*pairs, strict=True))]
                for step, pairs in sorted(steps.items())
            ],
        }
        for key, steps in curves.items()
    ]


def unique_names(sweeps: Sequence[SweepResults]) -> list[str]:
    """Return the names by which people call the sweeps, with a number where two are called the same."""
    names = [results.folder.name for results in sweeps]
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names, start=1)]


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names without their date where the time alone tells them apart."""
    short = [name.rpartition("/")[2] for name in names]
    return short if len(set(short)) == len(names) else list(names)


def compilers(overview: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the compilers of an overview, in the order of all charts: eager, then the best mean speed-up first."""
    means: dict[str, list[float]] = {}
    for row in overview:
        value = row["geomean_speedup"]
        means.setdefault(row["compiler"], []).extend([] if value is None else [math.log(value)])
    best = {name: statistics.mean(logs) if logs else -math.inf for name, logs in means.items()}
    return sorted(best, key=lambda name: (not is_eager(name), -best[name], name))


def series(
    overview: Iterable[Mapping[str, Any]], summary: Sequence[Mapping[str, Any]], sweeps: Sequence[str]
) -> list[str]:
    """Return what colour and shape tell apart: compilers, and in several sweeps compiler and sweep."""
    names = compilers(overview)
    if len(sweeps) == 1:
        return names
    present = {(row["compiler"], row["sweep"]) for row in summary}
    pairs = itertools.product(names, range(len(sweeps)))
    return [f"{compiler} · {sweeps[i]}" for compiler, i in pairs if (compiler, i) in present]


def described(column: Column) -> dict[str, str]:
    """Return what a page needs to show a column: how it is printed, in words of `assets/data.js`, and what it means."""
    words, unit = column.heading
    return {
        "title": words,
        "unit": unit,
        "better": column.better,
        "form": "text" if column.kind == "text" else column.format,
        "doc": column.doc,
    }


def status_kind(status: str) -> str:
    """Return good, idle (not run, or not possible here) or bad."""
    return "good" if status in SUCCESSES else "idle" if status in (NOT_RUN, *HARMLESS) else "bad"


def side_by_side(results: Sequence[SweepResults], rows: Sequence[Mapping[str, int]]) -> list[Entry]:
    """Return one entry for each row of the first sweep, and then for what only later ones have; none of one sweep.

    `rows`: for each sweep, job -> number of its row in the summary. An entry is {"rows": the row in each sweep, None
    where it has none, "changes": for each sweep metric -> [word, ratio, low, high] against the first sweep, "keys": for
    each sweep the keys of the configuration that differ from the first sweep}.
    """
    if len(results) < 2:
        return []
    sweeps = [snapshot.of_results(one) for one in results]
    entries: dict[int, Entry] = {}
    for row in sweeps[0].rows:
        _entry(entries, _number(row, rows[0]), len(sweeps), 0)
    for i, sweep in enumerate(sweeps[1:], start=1):
        comparison = compare(sweeps[0], sweep)
        for pair in comparison.matched:
            entry = _entry(entries, _number(pair.before, rows[0]), len(sweeps), 0)
            if entry is not None:
                _fill(entry, i, pair, _number(pair.after, rows[i]))
        for row in comparison.new:
            _entry(entries, _number(row, rows[i]), len(sweeps), i)
    return list(entries.values())


def _entry(entries: dict[int, Entry], row: int | None, count: int, sweep: int) -> Entry | None:
    if row is None:
        return None
    if row not in entries:
        entries[row] = {
            "rows": [None] * count,
            "changes": [{} for _ in range(count)],
            "keys": [{} for _ in range(count)],
        }
        entries[row]["rows"][sweep] = row
    return entries[row]


def _number(row: snapshot.Row, rows: Mapping[str, int]) -> int | None:
    return next((rows[job] for job in row.jobs if job in rows), None)


def _fill(entry: Entry, sweep: int, pair: Matched, row: int | None) -> None:
    entry["rows"][sweep] = row
    entry["keys"][sweep] |= {key: list(values) for key, values in pair.keys.items()}
    changes = entry["changes"][sweep]
    for change in pair.metrics:
        if change.metric in LIMITS:
            ends = [None if end is None else rounded(float(end)) for end in (change.ratio, change.low, change.high)]
            changes[change.metric] = [change.word, *ends]
    if pair.status_change is not None:
        changes[pair.before.kind] = [pair.status_change, None, None, None]
