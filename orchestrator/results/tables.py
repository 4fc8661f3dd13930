"""The tables of a sweep. A pure function of its folder: may be made at any time, while the sweep runs too.

jobs         one row per planned job
performance  one row per workload and compiler, over the rounds
accuracy     one row per workload and compiler
summary      the two side by side
overview     geometric means and pass rates, one row per suite, mode, dtype, device and compiler
answer       what it comes to: whom to take, over all workloads of such a section, and on each
export_errors: why models could not be exported, where some could not
compile_phases, compile_phase_sums: where the time of the first calls went, in files and on the page
self_test    one row per known figure, where the suite self_test or gpu_acceptance was run
and those of other measures, where they were run: `orchestrator.results.findings`

What is missing is missing (None or NaN), never 0. Rows of other dtypes, devices, modes, seeds, options never merge:
rows are grouped by the fingerprints of what was run, names are only for reading (`orchestrator.results.naming`).
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from orchestrator.columns import Column
from orchestrator.deciding import others_of
from orchestrator.records import NOT_RUN, STATUSES, SUCCESSES, JobSpec
from orchestrator.results import answer, compile_phases, export_errors
from orchestrator.results.acceptance import gpu as gpu_acceptance
from orchestrator.results.acceptance import self_test
from orchestrator.results.accuracy import JUDGEMENT, accuracy_row
from orchestrator.results.environments import mixed
from orchestrator.results.findings import findings
from orchestrator.results.load import JobOutcome, SweepResults, fact, figure, items, lines
from orchestrator.results.memory import memory_of
from orchestrator.results.metrics import COLUMNS, MS, is_missing
from orchestrator.results.naming import IDENTITY, Key, measure_kind, named, row_order
from orchestrator.results.overview import OVERVIEW, overview_rows
from orchestrator.results.percentiles import PERCENTILES
from orchestrator.results.performance import COUNTERS, DEVICE, GENERATION, estimates_of, measured, performance_row
from orchestrator.results.rounds import compile_latency_of, latency_of, round_speedup
from orchestrator.results.row_commands import Commands
from orchestrator.statistics import THRESHOLD, Others

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
WORDS = ("nan", "inf", "-inf")

JOBS = (
    *("job", *IDENTITY, "round", "status", "reason", "phase", "attempt", "started_s", "duration_s"),
    *("latency_ms", "speedup", "first_call_s", "compile_latency_s", "later_compile_s", "cache"),
    *("peak_memory_mib", "measured", "disturbed", "notes", "log"),
)
SPEED = (
    *(
        "speedup",
        "speedup_low",
        "speedup_high",
        "speedup_freedom",
        "verdict",
        "interval",
        "rounds",
        "rounds_planned",
        "pairs",
    ),
    *("paired_eager_latency_ms", "paired_latency_ms"),
    *("eager_latency_ms", "latency_ms", "latency_spread_percent", "outliers", "samples", "clock_overhead_ms"),
    *PERCENTILES,
    *GENERATION,
    *DEVICE,
    *("compile_latency_cold_s", "compile_latency_cold_count", "compile_latency_warm_s", "compile_latency_warm_count"),
    *("later_compilations", "later_compile_s"),
    *("break_even_iterations", "break_even_s", "eager_peak_memory_mib", "peak_memory_mib", "compression_ratio"),
    *("eager_own_memory_mib", "own_memory_mib", "compile_peak_memory_mib", "children_peak_memory_mib", "memory_source"),
    *("eager_device_memory_mib", "device_memory_mib", "device_memory_source", "graph_pool_memory_mib"),
    "compile_peak_host_memory_mib",
    *(*COUNTERS, "cudagraphs"),
)
NOTED = ("measured", "disturbed", "other_cores", "notes")
PERFORMANCE = (
    *IDENTITY,
    "status",
    *SPEED,
    "flags",
    *NOTED,
    "reason",
    "job",
    "log",
    "command",
)
ACCURACY = (*IDENTITY, "status", *JUDGEMENT, "reason", "job", "log", "command")
SUMMARY = (
    *(*IDENTITY, "performance", "accuracy", *SPEED, "accuracy_batch_size", *JUDGEMENT),
    *("flags", *NOTED, "performance_reason", "accuracy_reason"),
    *("job", "accuracy_job", "log", "accuracy_log", "command"),
)


@dataclass(frozen=True)
class Table:
    """Rows that have exactly `columns`: those in `orchestrator.results.metrics.COLUMNS`, and the table's `own`.

    Values are str, int, float and bool; None where something is missing. A number is a float, a count an int. A figure
    that was seen and is none ("nan", "inf") is that word. Results may say anything: what is not of a column's kind is
    missing, and no text can do anything to a terminal.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    own: Mapping[str, Column] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[str | Column], rows: Iterable[Mapping[str, Any]]) -> Table:
        """Take `columns` out of rows that may have fewer, or others."""
        described = [COLUMNS[column] if isinstance(column, str) else column for column in columns]
        cleaners = [(column.name, _cleaner(column)) for column in described]
        return cls(
            tuple(name for name, _ in cleaners),
            tuple({name: clean(row.get(name)) for name, clean in cleaners} for row in rows),
            {column.name: column for column in described if column.name not in COLUMNS},
        )

    def column(self, name: str) -> Column:
        """Return what a column of this table is."""
        return self.own[name] if name in self.own else COLUMNS[name]

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame: counts are Int64, numbers float64, texts objects. Imports pandas."""
        import pandas as pd

        data = {}
        for name in self.columns:
            values = [row[name] for row in self.rows]
            words = any(isinstance(value, str) for value in values)  # of a NaN one could not say: seen or missing?
            dtype = "object" if words else {"count": "Int64", "number": "float64"}.get(self.column(name).kind, "object")
            data[name] = pd.Series(values, dtype=dtype, name=name)
        return pd.DataFrame(data, columns=list(self.columns))


def _cleaner(column: Column) -> Callable[[Any], Any]:
    if column.kind == "text":
        return _text if column.format == "text" else _anything
    return _number if column.kind == "number" else _count


def _number(value: Any) -> float | str | None:
    if type(value) is float:
        return None if value != value else value
    counted = _count(value)
    return counted if counted is None or isinstance(counted, str) else float(counted)


def _count(value: Any) -> Any:
    if type(value) is int or value is None:
        return value
    if isinstance(value, str):
        return value if value in WORDS else None
    return None if is_missing(value) or isinstance(value, bool) or not isinstance(value, Real) else value


def _text(value: Any) -> str | None:
    if type(value) is not str:
        return None if is_missing(value) else _text(str(value))
    if value.isprintable():
        return value or None
    return "\n".join(lines(value)) or None


def _anything(value: Any) -> Any:
    """The values of tables of keys: lists and maps too."""
    return _text(value) if isinstance(value, str) else None if is_missing(value) else value


@dataclass(frozen=True)
class Tables:
    """The tables of a sweep, their rows in a stable order."""

    jobs: Table
    performance: Table
    accuracy: Table
    summary: Table
    overview: Table
    answer: Table
    self_test: Table  # no rows, and not among `named`, where no suite of known figures was run
    findings: Mapping[str, Table] = field(default_factory=dict)  # of measures that were run, by the table's name
    phases: Mapping[str, Table] = field(default_factory=dict)  # of compiling, where torch told any
    refused: tuple[str, ...] = ()  # what of other measures cannot be shown, and why
    environments: tuple[str, ...] = ()  # sentences, where results come from several environments

    def named(self) -> dict[str, Table]:
        names = ["summary", "overview", "answer", "performance", "accuracy", "jobs"] + ["self_test"] * bool(
            self.self_test.rows
        )
        return {name: getattr(self, name) for name in names} | dict(self.phases) | dict(self.findings)


def build(results: SweepResults) -> Tables:
    """Make all tables of a sweep."""
    builder = _Builder(results)
    performance = builder.families("performance", builder.performance)
    accuracy = builder.families("accuracy", lambda outcomes: accuracy_row(outcomes))
    summary = builder.summary(performance, accuracy)
    rows = [row for _, row in performance]
    phases, failed = builder.compile_phases(), export_errors.rows(results.outcomes)
    found = findings(results.outcomes, builder.about)
    checked = self_test.checks(results.outcomes, rows) + gpu_acceptance.checks(results.outcomes, rows)
    made = Tables(
        jobs=Table.of(JOBS, map(builder.job, results.outcomes)),
        performance=Table.of(PERFORMANCE, (row for _, row in performance)),
        accuracy=Table.of(ACCURACY, (row for _, row in accuracy)),
        summary=Table.of(SUMMARY, summary),
        overview=Table.of(OVERVIEW, overview_rows(summary)),
        answer=Table.of(answer.TABLE, ()),
        self_test=Table.of(self_test.COLUMNS, (check.row() for check in checked)),
        findings={name: Table.of(columns, rows) for name, (columns, rows) in found.tables.items()}
        | ({export_errors.NAME: Table.of(export_errors.COLUMNS, failed)} if failed else {}),
        phases={
            "compile_phases": Table.of(compile_phases.COLUMNS, phases),
            "compile_phase_sums": Table.of(compile_phases.SUMS, compile_phases.sums(phases)),
        }
        if phases
        else {},
        refused=found.reasons(),
        environments=tuple(mixed(results.outcomes)),
    )
    return replace(made, answer=Table.of(answer.TABLE, answer.table_rows(answer.of(made))))


class _Builder:
    def __init__(self, results: SweepResults) -> None:
        self.results = results
        point = results.sweep.points[0] if results.sweep.points else {}
        threshold = figure(point, "effect_threshold")
        self.threshold = THRESHOLD if threshold is None else max(threshold, 0.0)
        self.naming = named(results)
        self.commands = Commands(results.sweep)
        self.rounds: dict[str, list[JobSpec]] = {}  # id of a row's first job -> all its jobs
        self.by_id = {outcome.job.id: outcome for outcome in results.outcomes}
        self.baselines = {  # job id -> the eager job of the same workload and round
            outcome.job.id: self.by_id[need.job]
            for outcome in results.outcomes
            for need in outcome.job.needs
            if need.kind == "baseline" and need.job in self.by_id
        }

    @functools.cached_property
    def others(self) -> Mapping[str, Others | None]:
        """How much the rounds of all other rows differ, by the id of a row's round 0."""
        rows = [_by_round(outcomes) for outcomes in self.groups("performance")]
        logs = [[math.log(estimate.value) for estimate in estimates_of(row)] for row in rows]
        return {row[0].job.id: others for row, others in zip(rows, others_of(logs), strict=True)}

    def groups(self, kind: str) -> list[list[JobOutcome]]:
        """Return the outcomes of each job family of the measure `kind`, in plan order."""
        groups: dict[Key, list[JobOutcome]] = defaultdict(list)
        for outcome in self.results.outcomes:
            if measure_kind(outcome.job.measure) == kind:
                groups[self.naming.family(outcome.job)].append(outcome)
        return list(groups.values())

    def families(self, kind: str, figures: Any) -> list[tuple[JobOutcome, Row]]:
        """Return one row per job family of the measure `kind`, with its first outcome, sorted."""
        rows = []
        for outcomes in self.groups(kind):
            first = outcomes[0]
            self.rounds[first.job.id] = [outcome.job for outcome in outcomes]
            row = self.naming.identity(first.job) | figures(_by_round(outcomes))
            rows.append((first, row | {"log": self.log(row["job"]), "command": self.command([first])}))
        return sorted(rows, key=lambda pair: row_order(pair[1]))

    def performance(self, rounds: Sequence[JobOutcome]) -> Row:
        return performance_row(rounds, self.baselines, self.threshold, self.others.get(rounds[0].job.id))

    def compile_phases(self) -> list[Row]:
        families = self.groups("performance")
        found = [
            row for one in families for row in compile_phases.rows(self.naming.identity(one[0].job), _by_round(one))
        ]
        return sorted(found, key=lambda row: (row_order(row), row["cache"]))

    def summary(self, performance: list[tuple[JobOutcome, Row]], accuracy: list[tuple[JobOutcome, Row]]) -> list[Row]:
        """Join on what decides correctness: accuracy may run at another batch size or with other threads.

        An equal one is preferred. Accuracy that belongs to no performance row is a row of its own.
        """
        judged: dict[Key, list[tuple[JobOutcome, Row]]] = defaultdict(list)
        for outcome, row in accuracy:
            judged[self.naming.except_batch(outcome.job)].append((outcome, row))
        rows, used = [], set()
        for outcome, row in performance:
            candidates = judged.get(self.naming.except_batch(outcome.job), [])
            best = min(candidates, key=lambda pair: _distance(row, pair[1]), default=None)
            used |= {id(best[1])} if best else set()
            rows.append(self._summary_row((outcome, row), best))
        rows += [self._summary_row(None, pair) for pair in accuracy if id(pair[1]) not in used]
        return sorted(rows, key=row_order)

    def _summary_row(self, timed: tuple[JobOutcome, Row] | None, judged: tuple[JobOutcome, Row] | None) -> Row:
        pairs = [pair for pair in (timed, judged) if pair is not None]
        base = pairs[0][1]
        row = {name: base[name] for name in IDENTITY}
        marks = []
        if timed is not None:
            figures = timed[1]
            row |= {name: figures.get(name) for name in (*SPEED, *NOTED, "job", "log")}
            row |= {"performance": figures["status"], "performance_reason": figures["reason"]}
            row |= {"estimate": figures.get("estimate")}
            marks += [figures["flags"]] if figures["flags"] else []
        if judged is not None:
            figures = judged[1]
            row |= {name: figures.get(name) for name in JUDGEMENT}
            row |= {"accuracy": figures["status"], "accuracy_reason": figures["reason"]}
            row |= {"accuracy_batch_size": figures["batch_size"]}
            row |= {"accuracy_job": figures["job"], "accuracy_log": figures["log"]}
            marks += ["accuracy"] if figures["status"] not in SUCCESSES else []
        return row | {"flags": ", ".join(marks), "command": self.command([pair[0] for pair in pairs])}

    def job(self, outcome: JobOutcome) -> Row:
        """Return the row of one job: what was seen in this process."""
        result, facts = outcome.result, outcome.facts
        latency, compilation = latency_of(outcome), compile_latency_of(outcome)
        speedup, peak = round_speedup(outcome), memory_of(outcome).peak
        first = result.sample("first_call") if result is not None else None
        return self.naming.identity(outcome.job) | {
            "job": outcome.job.id,
            "round": outcome.job.round,
            "status": outcome.status,
            "reason": outcome.reason,
            "phase": result.failure.phase if result is not None and result.failure is not None else None,
            "attempt": result.attempt if result is not None else None,
            "started_s": result.started if result is not None else None,
            "duration_s": result.ended - result.started if result is not None else None,
            "latency_ms": None if latency is None else latency * MS,
            "speedup": None if speedup is None else speedup.value,
            "first_call_s": first.values[0] if first is not None and first.values else None,
            "compile_latency_s": compilation,
            "later_compile_s": figure(facts, "later_compilations", "seconds"),
            "cache": fact(facts, "cache"),
            "peak_memory_mib": None if peak is None else peak * 2.0**-20,
            "measured": measured([outcome]),
            "disturbed": "; ".join(map(str, items(facts, "disturbed"))),
            "notes": "; ".join(map(str, items(facts, "notes"))),
            "log": self.log_path(outcome.job.id) if outcome.status != NOT_RUN else None,
        }

    def about(self, outcome: JobOutcome) -> Row:
        """Return what was run in one job, what became of it, and where to look."""
        return self.naming.identity(outcome.job) | {
            "status": outcome.status,
            "reason": outcome.reason or None,
            "job": outcome.job.id,
            "log": self.log(outcome.job.id),
            "command": self.commands.of([[outcome.job]]),
        }

    def log(self, job_id: str) -> str:
        """Return the log that explains a job's status: its own, or that of the needed job that failed."""
        while True:  # needs stand before: this ends
            outcome = self.by_id[job_id]
            if outcome.result is None or not outcome.result.failure or outcome.result.failure.kind != "dependency":
                return self.log_path(job_id)
            blamed = [n.job for n in outcome.job.needs if n.job in self.by_id]
            same = [need for need in blamed if self.by_id[need].status == outcome.status]
            if not same:
                return self.log_path(job_id)
            job_id = same[0]

    def log_path(self, job_id: str) -> str:
        return self.results.folder.log_name(job_id)

    def command(self, measured: Sequence[JobOutcome]) -> str:
        return self.commands.of([self.rounds[outcome.job.id] for outcome in measured])


def _by_round(outcomes: Iterable[JobOutcome]) -> list[JobOutcome]:
    return sorted(outcomes, key=lambda outcome: outcome.job.round)


def _distance(row: Row, other: Row) -> tuple[Any, ...]:
    """Order accuracy rows by how little they differ from a performance row; of equals the worst status first."""
    differs = (row[name] != other[name] for name in ("batch_size", "threads", "launcher", "variant"))
    return (*differs, STATUSES.index(other["status"]))
