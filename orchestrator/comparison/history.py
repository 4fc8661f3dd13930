"""One figure of each workload and compiler over many sweeps: what moved, and what else moved with it.

A series holds points of one configuration on one machine: another host, CPU or GPU is another series, because its
figures say nothing about a change. What may change inside a series, packages, drivers, git state, settings, is named
where the figure moves beyond noise.

Every point is judged against the one before it, by the rules of `diff`, together with all other points of its sweep
(the correction for many comparisons is over those): a verdict does not change when later sweeps are added.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.columns import Column
from orchestrator.comparison import snapshot, snapshot_files
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.compare import NOISE, Matched, MetricChange, judge, own_limits
from orchestrator.comparison.matching import differing
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import METRICS, Limit
from orchestrator.deciding import others_of
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.records import EAGER, HARMLESS, INFRASTRUCTURE, NOT_RUN, JobSpec
from orchestrator.results.configuration import ABSENT, compiler_name
from orchestrator.results.load import load
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import distinguish, measure_kind
from orchestrator.samples import IN_PROCESS, Estimate
from orchestrator.statistics import Others, over_rounds
from orchestrator.store import SweepFolder

SPEEDUP = "speedup"
OF_EAGER = ("latency_ms", "own_memory_mib")
"""Metrics that eager has too: the others compare with it, or tell what a compiler did."""
MACHINE = ("host", "cpu", "cores", "gpus")
OF_GPU = ("gpu.name",)
UNFINISHED = frozenset({NOT_RUN, INFRASTRUCTURE})
NO_POINT = HARMLESS | UNFINISHED
"""A row with one of these and without a figure says nothing about the workload: it is left out."""


@dataclass(frozen=True, kw_only=True)
class BesideOthers(Figure):
    """A figure, and how much the rounds of the sweep's other rows differ."""

    others: Others


@dataclass(frozen=True, kw_only=True)
class SeriesPoint:
    """One row of one sweep. `value` is None where it failed; `low` and `high` where there is no interval.

    change: against the last point before it that has a value; status_change: against the point before it;
    causes: key -> (before, after), all that is recorded and differs between the two sweeps; None where nothing moved.
    """

    sweep: Snapshot
    row: Row
    value: float | None
    low: float | None
    high: float | None
    change: MetricChange | None = None
    status_change: str | None = None
    causes: Mapping[str, tuple[Any, Any]] | None = None

    @property
    def word(self) -> str | None:
        """better, worse, changed or within noise; None at the first point, "" where there is no verdict (means)."""
        return self.status_change or (self.change.word if self.change is not None else None)

    @property
    def moved(self) -> bool:
        return self.word not in (None, "", NOISE)


@dataclass(frozen=True, kw_only=True)
class Series:
    """The points of one configuration on one machine, in time order. `label` is unique among series of a machine."""

    machine: Mapping[str, Any]
    label: str
    config: Mapping[str, Any]
    points: tuple[SeriesPoint, ...]

    @property
    def moved(self) -> bool:
        return any(point.moved for point in self.points)


@dataclass
class Wanted:
    """Which rows are asked for, by globs; remembers the names that it has seen."""

    metric: str
    model: str = "*"
    compiler: str = "*"
    models: set[str] = field(default_factory=set)
    compilers: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)

    def job(self, job: JobSpec) -> bool:
        """Tell whether a job has to be read, and note in `jobs` whether it is wanted.

        Of a metric that a measure declares, only the result says whether the job has it. The rounds of every row say
        how sure the speed-up of each other one is.
        """
        timed = measure_kind(job.measure) == "performance"
        wanted = timed == (self.metric in METRICS) and self._named(job.workload.model, job.compiler.name)
        if wanted:
            self.jobs.add(job.id)
        return wanted or (timed and self.metric == SPEEDUP and not job.is_eager)

    def rows(self, sweep: Snapshot) -> tuple[Row, ...]:
        """Return the rows that are wanted, of a sweep of which all were read that `job` says."""
        rows = _beside_others(sweep.rows) if self.metric == SPEEDUP else sweep.rows
        return tuple(row for row in rows if (row.jobs[0] in self.jobs if row.jobs else self.row(row)))

    def row(self, row: Row) -> bool:
        timed = row.kind == "performance"
        named = (str(row.config.get("suite.models")), compiler_name(row.config))
        return timed == (self.metric in METRICS) and self._named(*named)

    def _named(self, model: str, compiler: str) -> bool:
        self.models.add(model)
        self.compilers.add(compiler)
        eager = compiler == EAGER and self.metric in METRICS and self.metric not in OF_EAGER
        return not eager and fnmatch.fnmatchcase(model, self.model) and fnmatch.fnmatchcase(compiler, self.compiler)

    def check(self) -> None:
        check_glob("model", self.model, self.models)
        check_glob("compiler", self.compiler, self.compilers)


def check_glob(option: str, glob: str, known: Collection[str]) -> None:
    """Raise UsageError when a glob matches none of the names that there are."""
    if known and not fnmatch.filter(known, glob):
        raise UsageError(f"--{option} {glob}: no sweep has such a {option}: {did_you_mean(glob, known)}")


@dataclass
class Read:
    """The snapshots that could be read, oldest first, and what could not: (name, reason)."""

    snapshots: list[Snapshot] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def read(folders: Iterable[Path], files: Iterable[Path], wanted: Wanted) -> Read:
    """Read the wanted rows of sweep folders and snapshot files. Only the results that are needed are opened."""
    found = Read()
    for path in folders:
        try:
            results = load(SweepFolder(path), wanted.job)
        except UsageError as error:
            found.unreadable.append((SweepFolder(path).name, str(error)))
            continue
        one = snapshot.of_results(results)
        found.snapshots.append(dataclasses.replace(one, rows=wanted.rows(one)))
    for file in files:
        try:
            read = snapshot_files.read(file)
        except UsageError as error:
            found.unreadable.append((str(file), str(error)))
            continue
        found.snapshots.append(dataclasses.replace(read, name=f"{file.name}: {read.name}", rows=wanted.rows(read)))
    found.snapshots.sort(key=lambda one: (one.created, one.name))
    return found if wanted.metric in METRICS else dataclasses.replace(found, snapshots=_with(found, wanted.metric))


def _beside_others(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with what the rounds of all others say of each one's speed-up, as `report` has it."""
    speedups = [row.figures.get(SPEEDUP) for row in rows]
    others = others_of([[] if one is None else [math.log(value) for value in one.values] for one in speedups])
    return [
        row
        if one is None or said is None
        else dataclasses.replace(
            row, figures={**row.figures, SPEEDUP: BesideOthers(values=one.values, halves=one.halves, others=said)}
        )
        for row, one, said in zip(rows, speedups, others, strict=True)
    ]


def _with(found: Read, metric: str) -> list[Snapshot]:
    """Return the snapshots with the rows of those measures only that declare the metric. Raises UsageError if none."""
    declared = {name for one in found.snapshots for name in one.columns}
    if metric not in declared:
        raise UsageError(f"--metric {metric}: no sweep has it: {did_you_mean(metric, (*METRICS, *sorted(declared)))}")
    kinds = {row.kind for one in found.snapshots for row in one.rows if metric in row.columns}
    return [
        dataclasses.replace(one, rows=tuple(row for row in one.rows if row.kind in kinds)) for one in found.snapshots
    ]


def column_of(series: Iterable[Series], metric: str) -> Column:
    """Return what the metric is: one of `METRICS`, or what a row that has it says."""
    declared = (p.row.columns[metric] for one in series for p in one.points if metric in p.row.columns)
    return COLUMNS[metric] if metric in METRICS else next(declared, Column(metric, ""))


def build(snapshots: Iterable[Snapshot], metric: str) -> list[Series]:
    """Return the series of `metric` (one of `METRICS`, or one that a measure declares), by machine, then by label.

    snapshots: oldest first.
    """
    points: dict[tuple[str, str], list[SeriesPoint]] = defaultdict(list)
    configs: dict[str, Mapping[str, Any]] = {}
    for one in snapshots:
        rows = {}
        for row in one.rows:
            config = json.dumps(row.config, sort_keys=True)
            configs.setdefault(config, row.config)
            rows[json.dumps(machine(one, row)), config] = row
        for key, point in zip(rows, _points(one, rows, points, metric), strict=True):
            if point.value is not None or point.row.status not in NO_POINT:
                points[key].append(point)
    kept = {key: tuple(found) for key, found in points.items() if any(p.value is not None or p.moved for p in found)}
    labels = _labels({config: configs[config] for _, config in kept})
    made = [
        Series(machine=json.loads(where), label=labels[config], config=configs[config], points=found)
        for (where, config), found in kept.items()
    ]
    return sorted(made, key=lambda series: (title(series.machine), series.label))


def machine(sweep: Snapshot, row: Row) -> dict[str, Any]:
    """Return what must be the same for two figures to be points of one series."""
    keys = MACHINE if row.config.get("device") == "cpu" else MACHINE + OF_GPU
    return {key: sweep.environment[key] for key in keys if key in sweep.environment}


def title(machine: Mapping[str, Any]) -> str:
    """Return a machine's name for people."""
    cores = machine.get("cores")
    words = [machine.get("host"), machine.get("cpu"), f"{cores} core" + "s" * (cores != 1) if cores else None]
    words.append(machine.get("gpu.name", machine.get("gpus")))
    return " · ".join(str(word) for word in words if word) or "unknown machine"


def interval(figure: Figure) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a figure, as `report` has it for speed-ups: Student's t over the rounds' logarithms,
    never narrower than the pairs inside the processes allow. (None, None) for one round without pairs."""
    halves = figure.halves or (None,) * len(figure.values)
    rounds = [_estimate(value, half) for value, half in zip(figure.values, halves, strict=True)]
    total = over_rounds(rounds, others=figure.others if isinstance(figure, BesideOthers) else None)
    return total.low, total.high


def _estimate(value: float, half: float | None) -> Estimate:
    low, high = (None, None) if half is None else (value * math.exp(-half), value * math.exp(half))
    return Estimate(value, low, high, IN_PROCESS, 1)


def _points(
    sweep: Snapshot,
    rows: Mapping[tuple[str, str], Row],
    before: Mapping[tuple[str, str], Sequence[SeriesPoint]],
    metric: str,
) -> list[SeriesPoint]:
    """Return the points of one sweep, judged together against the last ones of their series."""
    points = [_point(sweep, row, metric) for row in rows.values()]
    last = [next((p for p in reversed(before.get(key, ())) if p.value is not None), None) for key in rows]
    pairs = {
        i: Matched(before=old.row, after=point.row, keys={})
        for i, (old, point) in enumerate(zip(last, points, strict=True))
        if old is not None and point.value is not None
    }

    def limits(row: Row) -> dict[str, Limit]:
        return {name: limit for name, limit in own_limits(row).items() if name == metric}

    judged = dict(zip(pairs, judge(list(pairs.values()), limits), strict=True))
    found = []
    for i, (key, point) in enumerate(zip(rows, points, strict=True)):
        change = _change(judged[i], metric) if i in judged else None
        previous = before[key][-1] if before.get(key) else None
        status = _status_change(previous, point) if previous else None
        point = dataclasses.replace(point, change=change, status_change=status)
        origin = previous if status is not None else last[i]
        found.append(
            dataclasses.replace(point, causes=causes(origin.sweep, sweep)) if point.moved and origin else point
        )
    return found


def _point(sweep: Snapshot, row: Row, metric: str) -> SeriesPoint:
    figure = row.figures.get(metric)
    if figure is None:
        return SeriesPoint(sweep=sweep, row=row, value=row.counts.get(metric), low=None, high=None)
    low, high = interval(figure)
    return SeriesPoint(sweep=sweep, row=row, value=figure.middle, low=low, high=high)


def _status_change(before: SeriesPoint, after: SeriesPoint) -> str | None:
    """A row whose rounds have not all been run has no worse status: it is unfinished."""
    if {before.row.status, after.row.status} & UNFINISHED:
        return None
    return Matched(before=before.row, after=after.row, keys={}).status_change


def _change(pair: Matched, metric: str) -> MetricChange | None:
    """Return the change of the one metric; None where it meant something else before.

    Counts are listed only where they differ: equal ones are no change.
    """
    for change in pair.metrics:
        if change.metric == metric:
            return change
    if not pair.has(metric) or metric not in pair.after.counts:
        return None
    column, value = pair.after.column(metric), pair.after.counts[metric]
    return MetricChange(column=column, before=value, after=value, ratio=1.0, word=NOISE)


def causes(before: Snapshot, after: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Return all that two sweeps record and that differs: environment and git first, then settings."""
    settings = differing(before.settings, after.settings)
    return {**differing(before.environment, after.environment), **settings}


def _labels(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return a label for each configuration; where several would have the same, what differs is added to it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, config in configs.items():
        names = (
            *(config.get(name, "?") for name in ("suite.models", "mode", "dtype", "device")),
            compiler_name(config),
        )
        groups[" ".join(map(str, names))].append(key)
    labels: dict[str, str] = {}
    for label, keys in groups.items():
        every = {name for key in keys for name in configs[key]} if len(keys) > 1 else ()
        labels |= distinguish({key: (label, {name: configs[key].get(name, ABSENT) for name in every}) for key in keys})
    return labels
