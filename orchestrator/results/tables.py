"""The tables of a sweep. A pure function of its folder: may be made at any time, while the sweep runs too.

jobs         one row per planned job
performance  one row per workload and compiler, over the rounds
accuracy     one row per workload and compiler
summary      the two side by side
overview     geometric means and pass rates, one row per suite, mode, dtype, device and compiler
answer       what it comes to: whom to take, over all workloads of such a section, and on each
export_errors: why models could not be exported, where some could not (`orchestrator.results.flags`)
builds: what differs between the builds of the sweep, where it has several (`orchestrator.comparison.builds`)
compile_phases, compile_phase_sums: where the time of the first calls went, in files and on the page
self_test    one row per known figure, where the suite self_test or gpu_acceptance was run
and those of other measures, where they were run: `orchestrator.results.findings`

What is missing is missing (None or NaN), never 0. Rows of other dtypes, devices, modes, seeds, options never merge:
rows are grouped by the fingerprints of what was run, names are only for reading (`orchestrator.results.naming`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.deciding import others_of
from orchestrator.records import NOT_RUN, STATUSES, SUCCESSES, JobSpec
from orchestrator.results import answer, compile_phases
from orchestrator.results.acceptance import gpu as gpu_acceptance
from orchestrator.results.acceptance import self_test
from orchestrator.results.accuracy import JUDGEMENT, accuracy_row
from orchestrator.results.device import DEVICE
from orchestrator.results.environments import environment_of, mixed, of_workers
from orchestrator.results.findings import declared, findings
from orchestrator.results.flags import EXPORT_ERRORS, export_errors
from orchestrator.results.load import JobOutcome, SweepResults, fact, figure, is_handed_down, items, latency_of
from orchestrator.results.memory import memory_of
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import IDENTITY, Key, measure_kind, named, row_order
from orchestrator.results.overview import OVERVIEW, overview_rows
from orchestrator.results.performance import COUNTERS, GENERATION, PERCENTILES, Timed, measured, speed_of, timed_row
from orchestrator.results.rounds import compile_latency_of, round_speedup
from orchestrator.results.row_commands import Commands
from orchestrator.results.table import Shape, TableRow
from orchestrator.results.table import Table as Table
from orchestrator.statistics import THRESHOLD

Row = dict[str, Any]

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
JOBS_SHAPE, ACCURACY_SHAPE, PHASES_SHAPE = Shape(JOBS), Shape(ACCURACY), Shape(compile_phases.COLUMNS)
PERFORMANCE_SHAPE, SUMMARY_SHAPE = (Shape(columns, hidden=("estimate",)) for columns in (PERFORMANCE, SUMMARY))
"""With the estimate of its speed-up, which the means of a section are made of."""


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
    builds: Table | None = None  # each build beside the first, where there are several (`comparison.builds`)
    derived: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # what several views ask

    @property
    def listed(self) -> dict[str, Table]:
        """The tables that are shown row by row: what differs between builds, and those of other measures."""
        return ({} if self.builds is None else {"builds": self.builds}) | dict(self.findings)

    def named(self) -> dict[str, Table]:
        names = ["summary", "overview", "answer", "performance", "accuracy", "jobs"] + ["self_test"] * bool(
            self.self_test.rows
        )
        return {name: getattr(self, name) for name in names} | dict(self.phases) | self.listed


def build(results: SweepResults) -> Tables:
    """Make all tables of a sweep. Each result is looked at once, beside the others of its workload."""
    builder = _Builder(results)
    builder.see()
    performance = builder.with_speed()
    accuracy = sorted(builder.judged, key=lambda pair: row_order(pair[1]))
    summary = builder.summary(performance, accuracy)
    rows = [row for _, row in performance]
    failed = export_errors(results.outcomes)
    found = findings(results.outcomes, builder.about)
    checked = self_test.checks(results.outcomes, rows) + gpu_acceptance.checks(results.outcomes, rows)
    phases = sorted(builder.phases, key=lambda row: (row_order(row), row["cache"]))
    made = Tables(
        jobs=JOBS_SHAPE.table(builder.jobs[outcome.job.id] for outcome in results.outcomes),
        performance=PERFORMANCE_SHAPE.table(rows),
        accuracy=ACCURACY_SHAPE.table(row for _, row in accuracy),
        summary=SUMMARY_SHAPE.table(summary),
        overview=Table.of(OVERVIEW, overview_rows(summary)),
        answer=Table.of(answer.TABLE, ()),
        self_test=Table.of(self_test.COLUMNS, (check.row() for check in checked)),
        findings={name: Table.of(columns, rows) for name, (columns, rows) in found.tables.items()}
        | ({"export_errors": Table.of(EXPORT_ERRORS, failed)} if failed else {}),
        phases={
            "compile_phases": PHASES_SHAPE.table(phases),
            "compile_phase_sums": Table.of(compile_phases.SUMS, compile_phases.sums(phases)),
        }
        if phases
        else {},
        refused=found.reasons(),
        environments=tuple(mixed(results.outcomes)),
    )
    whole = replace(made, answer=Table.of(answer.TABLE, answer.table_rows(answer.of(made))))
    whole.derived.update(made.derived)
    return whole


Made = tuple[JobOutcome, TableRow]
"""The first outcome of a row, and the row."""


class _Builder:
    def __init__(self, results: SweepResults) -> None:
        self.results = results
        point = results.sweep.points[0] if results.sweep.points else {}
        threshold = figure(point, "effect_threshold")
        self.threshold = THRESHOLD if threshold is None else max(threshold, 0.0)
        self.naming = named(results)
        self.commands = Commands(results.sweep)
        self.log_path = results.folder.log_name
        self.rounds: dict[str, list[JobSpec]] = {}  # id of a row's first job -> all its jobs
        self.by_id = {outcome.job.id: outcome for outcome in results.outcomes}
        self.jobs: dict[str, TableRow] = {}
        self.timed: list[tuple[Made, Timed]] = []
        self.judged: list[Made] = []
        self.phases: list[TableRow] = []

    def see(self) -> None:
        """Look at all results, workload by workload: what is read of one is not kept until all are."""
        workloads: dict[str, list[JobOutcome]] = defaultdict(list)
        for outcome in self.results.outcomes:
            workloads[self.naming.print(outcome.job.workload)].append(outcome)
        for outcomes in workloads.values():
            for outcome in outcomes:
                self.jobs[outcome.job.id] = JOBS_SHAPE.row(self.job(outcome))
                for read in REMEMBERED:
                    read(outcome)
            for first, rounds in self.families("performance", outcomes):
                row, timed = timed_row(rounds)
                self.timed.append(((first, self.made(PERFORMANCE_SHAPE, first, row)), timed))
                found = compile_phases.rows(self.naming.identity(first.job), rounds)
                self.phases += map(PHASES_SHAPE.row, found)
            for first, rounds in self.families("accuracy", outcomes):
                self.judged.append((first, self.made(ACCURACY_SHAPE, first, accuracy_row(rounds))))
            for outcome in outcomes:
                _forget(outcome)

    def families(self, kind: str, outcomes: Iterable[JobOutcome]) -> list[tuple[JobOutcome, list[JobOutcome]]]:
        """Return the job families of the measure `kind`: the first in plan order, and all of them, round by round."""
        groups: dict[Key, list[JobOutcome]] = defaultdict(list)
        for outcome in outcomes:
            if measure_kind(outcome.job.measure) == kind:
                groups[self.naming.family(outcome.job)].append(outcome)
        for found in groups.values():
            self.rounds[found[0].job.id] = [outcome.job for outcome in found]
        return [(found[0], sorted(found, key=lambda outcome: outcome.job.round)) for found in groups.values()]

    def made(self, shape: Shape, first: JobOutcome, figures: Row) -> TableRow:
        row = self.naming.identity(first.job) | figures
        return shape.row(row | {"log": self.log(row["job"]), "command": self.command([first])})

    def with_speed(self) -> list[Made]:
        """Return the performance rows, sorted, with their speed-ups: these depend on the rounds of all other rows."""
        logs = [[math.log(estimate.value) for estimate in timed.estimates] for _, timed in self.timed]
        rows = [
            (first, PERFORMANCE_SHAPE.changed(row, speed_of(timed, row, self.threshold, others)))
            for ((first, row), timed), others in zip(self.timed, others_of(logs), strict=True)
        ]
        self.timed.clear()
        return sorted(rows, key=lambda pair: row_order(pair[1]))

    def summary(self, performance: list[Made], accuracy: list[Made]) -> list[TableRow]:
        """Join on what decides correctness: accuracy may run at another batch size or with other threads.

        An equal one is preferred. Accuracy that belongs to no performance row is a row of its own.
        """
        judged: dict[Key, list[Made]] = defaultdict(list)
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

    def _summary_row(self, timed: Made | None, judged: Made | None) -> TableRow:
        pairs = [pair for pair in (timed, judged) if pair is not None]
        base = pairs[0][1]
        row = {name: base[name] for name in IDENTITY}
        marks = []
        if timed is not None:
            figures = timed[1]
            row |= {name: figures.get(name) for name in (*SPEED, *NOTED, "job", "log", "estimate")}
            row |= {"performance": figures["status"], "performance_reason": figures["reason"]}
            marks += [figures["flags"]] if figures["flags"] else []
        if judged is not None:
            figures = judged[1]
            row |= {name: figures.get(name) for name in JUDGEMENT}
            row |= {"accuracy": figures["status"], "accuracy_reason": figures["reason"]}
            row |= {"accuracy_batch_size": figures["batch_size"]}
            row |= {"accuracy_job": figures["job"], "accuracy_log": figures["log"]}
            marks += ["accuracy"] if figures["status"] not in SUCCESSES else []
        command = base["command"] if len(pairs) == 1 else self.command([pair[0] for pair in pairs])
        return SUMMARY_SHAPE.row(row | {"flags": ", ".join(marks), "command": command})

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
            "phase": outcome.failure.phase if outcome.failure is not None else None,
            **({} if result is None else {"attempt": result.attempt, "started_s": result.started}),
            "duration_s": result.ended - result.started if result is not None else None,
            "latency_ms": None if latency is None else latency * MS,
            "speedup": None if speedup is None else speedup.value,
            "first_call_s": first.values[0] if first is not None and first.values else None,
            "compile_latency_s": compilation,
            "later_compile_s": figure(facts, "later_compilations", "seconds"),
            "cache": fact(facts, "cache"),
            "peak_memory_mib": None if peak is None else peak * MIB,
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
            if not is_handed_down(outcome):
                return self.log_path(job_id)
            blamed = [n.job for n in outcome.job.needs if n.job in self.by_id]
            same = [need for need in blamed if self.by_id[need].status == outcome.status]
            if not same:
                return self.log_path(job_id)
            job_id = same[0]

    def command(self, measured: Sequence[JobOutcome]) -> str:
        return self.commands.of([self.rounds[outcome.job.id] for outcome in measured])


REMEMBERED = (is_handed_down, declared, environment_of, of_workers)
"""What is asked of outcomes once all results have been looked at."""


def _forget(outcome: JobOutcome) -> None:
    """Drop what else was derived, and can be again: of 100,000 jobs it would fill the memory."""
    kept = {read.__name__: outcome.derived[read.__name__] for read in REMEMBERED}
    outcome.derived.clear()
    outcome.derived.update(kept)


def _distance(row: TableRow, other: TableRow) -> tuple[Any, ...]:
    """Order accuracy rows by how little they differ from a performance row; of equals the worst status first."""
    differs = (row[name] != other[name] for name in ("batch_size", "threads", "launcher", "variant"))
    return (*differs, STATUSES.index(other["status"]))
