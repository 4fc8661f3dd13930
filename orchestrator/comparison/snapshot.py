"""A sweep in one value: its rows with their figures round by round, its settings, and where it was measured.

What verbs compare. It is made from a sweep (`of_results`), or read from a file (`comparison.snapshot_files`).
Only standard library and statistics are imported: a snapshot of 10,000 jobs takes seconds, not a minute.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.columns import Column
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.thresholds import LATENCY, METRICS
from orchestrator.records import RAN_EAGER, REFERENCE_MEASURE
from orchestrator.results import compile_phases
from orchestrator.results.configuration import JobConfigs, settings
from orchestrator.results.environments import flat_environment as flat_environment
from orchestrator.results.environments import of_workers
from orchestrator.results.findings import compared
from orchestrator.results.listing import tag
from orchestrator.results.load import (
    JobOutcome,
    SweepResults,
    fact,
    fastest,
    figure,
    is_figure,
    latency_of,
    seconds,
    worst,
)
from orchestrator.results.memory import memory_of
from orchestrator.results.metrics import COLUMNS, MIB, MS
from orchestrator.results.naming import measure_kind, named
from orchestrator.results.performance import COUNTERS, disturbances, measured, sound
from orchestrator.results.rounds import compile_latency_of, measured_of, round_speedup
from orchestrator.store import Sweep, was_imported

CONF = "conf."
"""Keys of the environment begin so that are hashes of configuration folders."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One workload, compiler and measure.

    names: the columns that say what was run (`orchestrator.results.naming.IDENTITY`); config: the same as keys of the
    configuration, complete; kind: what the measure is ("performance", "accuracy"); figures: metric -> its rounds, and
    counts: metric -> the median over the rounds, both only where no round failed; disturbed: evidence, "" if quiet;
    jobs: the ids of its rounds; measured: what was timed, where it is not what the row says; columns: what those
    figures and counts are that the measure declares, and no built-in table has; phases: state of the compile cache ->
    phase -> seconds of the first call, mean of its rounds, only where no round failed; load: how many cores others
    used while it was timed, the median over the rounds, None where nobody looked; fastest_ms: of a disturbed row that
    has a latency the 10th percentile of its steps, the median over the rounds, else None.
    """

    names: Mapping[str, Any]
    config: Mapping[str, Any]
    kind: str
    status: str
    reason: str
    figures: Mapping[str, Figure]
    counts: Mapping[str, int | float]
    disturbed: str
    jobs: tuple[str, ...]
    measured: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    phases: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    load: float | None = None
    fastest_ms: float | None = None

    def column(self, metric: str) -> Column:
        return self.columns[metric] if metric in self.columns else COLUMNS[metric]

    @property
    def title(self) -> str:
        n = self.names
        return f"{n['model']} {n['mode']} {n['dtype']} {n['device']} {n['compiler']} {n['measure']}"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """name: how a person finds it again; environment: flat, "packages.torch" -> "2.13.0"; created: seconds since the
    epoch; settings: key -> the values that the sweep has for it; jobs: status -> how many jobs have it; tag: label."""

    name: str
    created: float
    argv: tuple[str, ...]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    rows: tuple[Row, ...]
    origin: str | None = None
    effect_threshold: float | None = None
    jobs: Mapping[str, int] = field(default_factory=dict)
    tag: str = ""

    @property
    def imported(self) -> bool:
        return was_imported(self.argv)

    @property
    def columns(self) -> dict[str, Column]:
        """What the figures are that measures declare; of two of one name the first."""
        return {name: column for row in reversed(self.rows) for name, column in row.columns.items()}


def of_results(results: SweepResults, name: str | None = None) -> Snapshot:
    sweep = results.sweep
    point = sweep.points[0] if sweep.points else {}
    return Snapshot(
        name=name or results.folder.name,
        created=sweep.created,
        argv=sweep.argv,
        settings={key: list(values) for key, values in settings(sweep.points).items()},
        environment=environment(sweep, results.outcomes),
        rows=tuple(_rows(results)),
        origin=sweep.origin,
        effect_threshold=figure(point, "effect_threshold"),
        jobs=dict(Counter(outcome.status for outcome in results.outcomes)),
        tag=tag(sweep),
    )


def environment(sweep: Sweep, outcomes: Sequence[JobOutcome] = ()) -> dict[str, Any]:
    """Return where a sweep was measured, flat: its header, and what its workers know better or alone.

    They may have run on another machine than the one that planned; on several, all are named. Hashes of the copied
    configuration (`conf.0-main`) are shown, and not compared (`matching.differing`): what was composed of it is.
    """
    flat = flat_environment({key: value for key, value in sweep.environment.items() if key != "conf"})
    conf = fact(sweep.environment, "conf") or {}
    flat |= {f"{CONF}{provider}": fact(copied, "sha256") for provider, copied in conf.items()}
    seen: dict[str, dict[Any, None]] = defaultdict(dict)
    for outcome in outcomes:
        for key, value in of_workers(outcome):
            seen[key][value] = None
    return flat | {key: next(iter(all)) if len(all) == 1 else ", ".join(map(str, all)) for key, all in seen.items()}


def _rows(results: SweepResults) -> list[Row]:
    naming, configs = named(results), JobConfigs()
    families: dict[Any, list[JobOutcome]] = defaultdict(list)
    for outcome in results.outcomes:
        if outcome.job.measure.name != REFERENCE_MEASURE:  # no row: accuracy jobs show its failure
            families[naming.family(outcome.job)].append(outcome)
    rows = []
    for outcomes in families.values():
        rounds = sorted(outcomes, key=lambda outcome: outcome.job.round)
        job, blame, passed = rounds[0].job, worst(rounds), sound(rounds)
        declared = (column for outcome in rounds for column, _ in compared(outcome))
        disturbed, found = disturbances(rounds), _figures(rounds, passed)
        rows.append(
            Row(
                names=naming.identity(job),
                config=configs.of(job),
                kind=measure_kind(job.measure),
                status=blame.status,
                reason=blame.reason,
                figures=found,
                counts=_counts(passed),
                disturbed="; ".join(disturbed),
                jobs=tuple(outcome.job.id for outcome in rounds),
                measured=measured(rounds),
                columns={column.name: column for column in declared if column.name not in METRICS},
                phases={cache: mean for cache, (_, mean) in compile_phases.means(passed).items()},
                load=_load(rounds),
                fastest_ms=_fastest_ms(passed) if disturbed and LATENCY in found else None,
            )
        )
    return rows


def _figures(rounds: Sequence[JobOutcome], passed: Sequence[JobOutcome]) -> dict[str, Figure]:
    """Return metric -> its value in each of the rounds that passed (`sound`).

    Units are those of the tables. A metric that a round lacks is left out of that round; values that are not positive
    (a compile latency below the noise of a step) are no figures, nor are latencies of a compiler that ran in eager.
    """
    values: dict[str, list[float]] = defaultdict(list)
    halves: dict[str, list[float]] = defaultdict(list)
    for outcome in passed:
        numbers = [(column.name, value) for column, value in compared(outcome) if column.kind == "number"]
        for metric, value in (*_of_round(outcome), *numbers):
            if value is not None and is_figure(value):
                values[metric].append(value)
        estimate = round_speedup(outcome)
        if estimate is not None:
            values["speedup"].append(estimate.value)
            if estimate.half is not None:
                halves["speedup"].append(estimate.half)
    for metric in ("speedup", "latency_ms") if any(RAN_EAGER in measured_of(outcome) for outcome in rounds) else ():
        values.pop(metric, None)
    return {
        metric: Figure(values=tuple(seen), halves=tuple(halves[metric]) if len(halves[metric]) == len(seen) else ())
        for metric, seen in values.items()
    }


def _of_round(outcome: JobOutcome) -> list[tuple[str, float | None]]:
    latency, compiling, memory = latency_of(outcome), compile_latency_of(outcome), memory_of(outcome)
    own = None if memory.known_wrong else memory.own
    cache = fact(outcome.facts, "cache")
    return [
        ("latency_ms", None if latency is None else latency * MS),
        (f"compile_latency_{cache}_s" if cache in ("cold", "warm") else "compile_latency_s", compiling),
        ("own_memory_mib", None if own is None else own * MIB),
    ]


def _counts(passed: Sequence[JobOutcome]) -> dict[str, int | float]:
    """Return metric -> its median over the rounds that passed.

    A number that a measure declares exact is among them where it is not positive: figures are compared by their
    logarithms.
    """
    seen: dict[str, list[float]] = defaultdict(list)
    numbers: dict[str, list[float]] = defaultdict(list)
    for outcome in passed:
        counters = fact(outcome.facts, "counters")
        for name in COUNTERS if isinstance(counters, dict) else ():
            value = figure(counters, name)
            if value is not None:
                seen[name].append(value)
        for column, value in compared(outcome):
            if column.kind == "count":
                if column.name not in (counters or ()):
                    seen[column.name].append(value)
            elif column.exact and -math.inf < value <= 0:
                numbers[column.name].append(value)
    whole = {name: round(statistics.median(values)) for name, values in seen.items()}
    return whole | {name: statistics.median(values) for name, values in numbers.items()}


def _load(rounds: Sequence[JobOutcome]) -> float | None:
    """Return how many cores other processes, and the hypervisor's other guests, used while the rounds were timed.

    The busier of a round's two timed phases counts; of several rounds the median.
    """
    seen = []
    for outcome in rounds:
        phases = [fact(outcome.facts, phase) for phase in ("noise", "pair_noise")]
        busy = [
            value + (figure(noise, "stolen_cores") or 0.0)
            for noise in phases
            if (value := figure(noise, "foreign_cores")) is not None and math.isfinite(value)
        ]
        seen += [max(busy)] if busy else []
    return statistics.median(seen) if seen else None


def _fastest_ms(passed: Sequence[JobOutcome]) -> float | None:
    """Return the 10th percentile of the steps in milliseconds, the median over the rounds that passed.

    What disturbs a step only makes it longer: with half of them on a CPU that another process uses as well, the median
    is one or the other, and this is what an undisturbed step takes.
    """
    found = [fastest(steps) for outcome in passed if (steps := seconds(outcome, "latency"))]
    return statistics.median(found) * MS if found else None
