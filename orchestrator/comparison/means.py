"""What a suite comes to, over many sweeps: geometric mean of the speed-ups, pass rate, compile time, memory.

The figures are those of the table `overview`, of each section and compiler. They have no verdict: a mean moves with the
workloads that are in it, too. So each point says by how much it differs from the one before it, and which workloads
came and went; what else changed between the sweeps stands below.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import MetricChange
from orchestrator.comparison.history import Read, Series, SeriesPoint, causes, check_glob, machine, title
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.errors import UsageError
from orchestrator.records import PASS
from orchestrator.results import tables
from orchestrator.results.load import load
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import is_eager, telling
from orchestrator.results.overview import MEANS, SECTION, workload_of
from orchestrator.store import SweepFolder

Key = tuple[Any, ...]


def read(folders: Iterable[Path], compiler: str) -> tuple[Read, dict[str, list[Series]]]:
    """Return what was read, oldest sweep first, and metric -> its series; of compilers that match the glob.

    Raises UsageError where the glob matches no compiler of any sweep.
    """
    found, sections = Read(), []
    known: set[str] = set()
    for path in folders:
        try:
            results = load(SweepFolder(path))
        except UsageError as error:
            found.unreadable.append((SweepFolder(path).name, str(error)))
            continue
        made = tables.build(results)
        one = dataclasses.replace(snapshot.of_results(results), rows=())
        found.snapshots.append(one)
        rows = [row for row in made.overview.rows if not is_eager(row["compiler"])]
        known |= {row["compiler"] for row in rows}
        wanted = [row for row in rows if fnmatch.fnmatchcase(row["compiler"], compiler)]
        sections += [(one, row, _workloads(row, made.summary.rows)) for row in wanted]
    check_glob("compiler", compiler, known)
    found.snapshots.sort(key=lambda one: (one.created, one.name))
    sections.sort(key=lambda section: (section[0].created, section[0].name))
    return found, {metric: _series(sections, metric) for metric in MEANS}


def _workloads(section: Mapping[str, Any], summary: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the workloads that a section plans for a compiler."""
    names = (*SECTION, "compiler")
    mine = [row for row in summary if all(row[name] == section[name] for name in names)]
    return sorted({" ".join(str(part) for part in workload_of(row) if part is not None) for row in mine})


def _series(sections: Iterable[tuple[Snapshot, Mapping[str, Any], list[str]]], metric: str) -> list[Series]:
    points: dict[Key, list[SeriesPoint]] = defaultdict(list)
    places: dict[Key, dict[str, Any]] = {}
    before: dict[Key, list[str]] = {}
    for one, row, workloads in sections:
        value = row[metric]
        if value is None:
            continue
        names = {name: row[name] for name in (*SECTION, "compiler")}
        point = _point(one, row, names, metric, value)
        where = machine(one, point.row)
        key = (title(where), *names.values())
        if points[key]:
            point = _after(points[key][-1], point, metric, before[key], workloads)
        points[key].append(point)
        places[key], before[key] = where, workloads
    rows = [dict(zip(("machine", *SECTION, "compiler"), key, strict=True)) for key in points]
    shown = ("suite", "mode", "dtype", "device", *telling(rows, ("seed", "threads", "build")), "compiler")
    made = [
        Series(
            machine=places[key],
            label=" ".join(
                f"{name} {row[name]}" if name in ("seed", "threads", "build") else str(row[name]) for name in shown
            ),
            config={},
            points=tuple(found),
        )
        for row, (key, found) in zip(rows, points.items(), strict=True)
    ]
    return sorted(made, key=lambda series: (title(series.machine), series.label))


def _point(sweep: Snapshot, row: Mapping[str, Any], names: dict[str, Any], metric: str, value: float) -> SeriesPoint:
    *ends, count = MEANS[metric]
    low, high = map(row.get, ends)
    disturbed = row["geomean_disturbed"] if metric == "geomean_speedup" else None
    return SeriesPoint(
        sweep=sweep,
        row=Row(
            names=names,
            config={"device": row["device"]},
            kind="overview",
            status=PASS,
            reason="",
            figures={},
            counts={"count": row[count]},
            disturbed=f"{disturbed} of {row['geomean_count']} rows" if disturbed else "",
            jobs=(),
            columns={metric: COLUMNS[metric]},
        ),
        value=value,
        low=low,
        high=high,
    )


def _after(last: SeriesPoint, point: SeriesPoint, metric: str, before: list[str], now: list[str]) -> SeriesPoint:
    """Return a point with what is different from the one before it."""
    assert last.value is not None
    assert point.value is not None
    ratio = point.value / last.value if last.value else None
    other = {
        word: (len(before), f"{len(now)} ({', '.join(sorted(one - two))})")
        for word, one, two in (
            ("workloads gone", set(before), set(now)),
            ("workloads added", set(now), set(before)),
        )
        if one - two
    }
    return dataclasses.replace(
        point,
        change=MetricChange(column=COLUMNS[metric], before=last.value, after=point.value, ratio=ratio, word=""),
        status_change="other workloads" if other else None,
        causes=(other | causes(last.sweep, point.sweep)) or None,
    )
