"""The jobs of one sweep as a page shows them: whose row they are, what they need, their distributions and details.

Details are samples in time order, facts, the end of the log, the environment. A page has room for a few megabytes of
them. Failed jobs come first, then those that were disturbed, then the others in plan order, until the budget is used
up; what a page does not hold lies beside it, in jobs/<id>/.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import printable
from orchestrator.page.columnar import rounded
from orchestrator.records import HARMLESS, NOT_RUN, PASS, Samples
from orchestrator.results.accuracy import badness
from orchestrator.results.configuration import compiler_config, plugin_config, workload_config
from orchestrator.results.environments import INSTALLED
from orchestrator.results.load import JobOutcome, SweepResults, fact, figure, items, once, seconds
from orchestrator.results.memory import cuda_peak
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import IDENTITY, key_of
from orchestrator.results.table import Wider
from orchestrator.results.tables import Tables
from orchestrator.samples import quantile
from orchestrator.store import SweepFolder

Row = Mapping[str, Any]

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percentiles of the latency that, with their count, stand for the samples where the page has no room for these."""
CONFIGURATION = ("workload", "compiler_config", "measure_config")
"""Columns of jobs with the numbers of records."""
PHASES = ("import", "build", "compile", "warmup", "steady", "pairs")
LOG_LINES = 40
LOG_BYTES = 16_384
"""So much of the end of a log is read; lines over 400 characters are cut."""
MANY_JOBS = 300
"""In larger sweeps only failed and disturbed jobs show their log."""
TENSORS = 20
"""So many tensors of an accuracy job are in the page, the worst."""
SAMPLE_DIGITS = 4
CACHE_FOLDER = re.compile(r"^.*/caches/[0-9a-f]{16}(?=/)")


class JobsOfSweep:
    """rows: one a job, in plan order; needs, quantiles: one a job; memory: one a row of the summary table.

    `first_row` and `first_job` are the numbers of this sweep's first row and job among those of all sweeps of the page.
    """

    def __init__(
        self,
        results: SweepResults,
        tables: Tables,
        records: Interned,
        *,
        number: int,
        first_row: int,
        first_job: int,
        budget: int,
    ) -> None:
        self.outcomes, self.first_row = results.outcomes, first_row
        for outcome in self.outcomes:
            for read in (_importance, _quantiles, phase_peaks):  # at once: of a large sweep few results are kept
                read(outcome)
        self.row_of = owners(tables, first_row)
        self.details = DetailTexts(results, records, budget)
        self._records = records
        self._known: dict[int, int] = {}
        wider = Wider(tables.jobs, ("sweep", "row", *CONFIGURATION))
        self.rows = [
            wider.row(row, number, self.row_of.get(row["job"], -1), *self._config(outcome))
            for row, outcome in zip(tables.jobs.rows, self.outcomes, strict=True)
        ]
        place = {outcome.job.id: first_job + i for i, outcome in enumerate(self.outcomes)}
        self.needs = [
            [part for need in outcome.job.needs if need.job in place for part in (place[need.job], need.kind)]
            for outcome in self.outcomes
        ]
        self.quantiles = [
            None if text is not None else _quantiles(outcome)
            for text, outcome in zip(self.details.texts, self.outcomes, strict=True)
        ]
        self.memory = self._memory(len(tables.summary.rows), first_row)

    def _config(self, outcome: JobOutcome) -> tuple[int, ...]:
        """Return the numbers of the records of `CONFIGURATION`."""
        job = outcome.job
        return (
            self._once(job.workload, workload_config),
            self._once(job.compiler, compiler_config),
            self._once(job.measure, lambda spec: plugin_config("measure", spec)),
        )

    def _once(self, record: Any, flatten: Any) -> int:
        """Jobs of a plan share their records: each is flattened and stored once."""
        if id(record) not in self._known:
            self._known[id(record)] = self._records.add(flatten(record))
        return self._known[id(record)]

    def _memory(self, count: int, first_row: int) -> list[dict[str, float] | None]:
        """Return phase -> MiB for each row: the peak over the level before the model, median over the rounds."""
        rounds: dict[int, list[dict[str, float]]] = defaultdict(list)
        for outcome in self.outcomes:
            row = self.row_of.get(outcome.job.id, -1)
            peaks = phase_peaks(outcome) if row >= 0 else None
            if peaks is not None:
                rounds[row - first_row].append(peaks)
        return [_medians(rounds[number]) if number in rounds else None for number in range(count)]


@once
def phase_peaks(outcome: JobOutcome) -> dict[str, float] | None:
    """Return phase -> peak over the base in MiB, in the order of the phases: of CUDA's allocator, or of the process.

    None of a job that did not pass, or told nothing.
    """
    memory = fact(outcome.facts, "memory")
    if outcome.status != PASS or not memory:
        return None
    base = figure(memory, "base")
    peaks = {}
    for phase in PHASES:
        peak = cuda_peak(memory, phase)
        if peak is not None:
            peak -= figure(memory, "cuda_base", "allocated") or 0.0
        if fact(memory, "cuda") is None:
            total = figure(memory, "phases", phase, "peak")
            peak = None if total is None or base is None else total - base
        if peak is not None:
            peaks[phase] = peak * MIB
    return peaks


def owners(tables: Tables, first_row: int) -> dict[str, int]:
    """Return job -> the row of the summary that it is a round of, or whose accuracy it is."""
    rows = enumerate(tables.summary.rows, start=first_row)
    timed: dict[tuple[Any, ...], int] = {}
    judged: dict[str, int] = {}
    for number, row in rows:
        if row["performance"] is not None:
            timed[key_of(row, IDENTITY)] = number
        if row["accuracy"] is not None:
            judged.setdefault(row["accuracy_job"], number)
    families = {key_of(row, IDENTITY): judged[row["job"]] for row in tables.accuracy.rows if row["job"] in judged}
    owners = {}
    for job in tables.jobs.rows:
        owner = timed.get(key_of(job, IDENTITY), families.get(key_of(job, IDENTITY)))
        if owner is not None:
            owners[job["job"]] = owner
    return owners


@once
def _quantiles(outcome: JobOutcome) -> list[Any] | None:
    values = seconds(outcome, "latency")
    if not values:
        return None
    ordered = sorted(values)
    return [*(rounded(quantile(ordered, percent / 100) * MS, 4) for percent in QUANTILES), len(values)]


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    phases = [phase for phase in PHASES if any(phase in peaks for peaks in rounds)]
    return {
        phase: rounded(statistics.median(peaks[phase] for peaks in rounds if phase in peaks), 4) for phase in phases
    }


class Interned:
    """Values that many jobs share, each stored once: `add` returns its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def add(self, value: Any) -> int:
        text = json.dumps(value, sort_keys=True, default=str)
        if text not in self._numbers:
            self._numbers[text] = len(self.values)
            self.values.append(plain(value))
        return self._numbers[text]


class DetailTexts:
    """texts: the details of each job as JSON, None where there is nothing or no room for them; complete: no such."""

    def __init__(self, results: SweepResults, records: Interned, budget: int) -> None:
        self._results, self._records = results, records
        outcomes = results.outcomes
        self.texts: list[str | None] = [None] * len(outcomes)
        self.complete = True
        for number in sorted(range(len(outcomes)), key=lambda i: (_importance(outcomes[i]), i)):
            if outcomes[number].result is None:
                continue
            if budget <= 0:
                self.complete = False
                break
            text = json.dumps(self._of(outcomes[number]), separators=(",", ":"), default=str)
            budget -= len(text) + text.count('"')  # it becomes a string in the page's JSON, its quotes escaped
            self.texts[number] = text

    def _of(self, outcome: JobOutcome) -> dict[str, Any]:
        result = outcome.result
        assert result is not None
        many = len(self._results.outcomes) > MANY_JOBS
        log = None if many and _importance(outcome) == 2 else tail(self._results.folder, outcome.job.id)
        failure = result.failure
        return {
            "samples": [[s.metric, *_scaled(s)] for s in result.samples],
            "facts": plain(_shortened(result.facts)),
            "log": log,
            "failure": None if failure is None else [failure.kind, failure.phase, failure.detail[-LOG_BYTES:]],
            "environment": self._records.add(without_cache_folders(result.environment)),
        }


def tail(folder: SweepFolder, job_id: str) -> list[str] | None:
    """Return the last lines of a log without control characters, None where there is no log that can be read."""
    text = folder.end_of_log(job_id, LOG_BYTES)
    if text is None:
        return None
    cut = printable(text.decode(errors="replace"))[-LOG_LINES:]
    return [line if len(line) <= 400 else line[:399] + "…" for line in cut]


def without_cache_folders(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as the page has it: as it is of all jobs alike.

    Every job family has a compile cache of its own, named in two variables. What is installed is a long text.
    """
    environment = {key: value for key, value in environment.items() if key != INSTALLED}
    variables = environment.get("variables")
    if not isinstance(variables, Mapping):
        return environment
    shorter = {name: CACHE_FOLDER.sub("<cache of the job>", str(value)) for name, value in variables.items()}
    return {**environment, "variables": shorter}


def plain(value: Any) -> Any:
    """Return a JSON value with floats of a few digits, and words where JSON has no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


@once
def _importance(outcome: JobOutcome) -> int:
    if outcome.status not in HARMLESS and outcome.status != NOT_RUN:
        return 0
    return 1 if items(outcome.facts, "disturbed") else 2


def _scaled(samples: Samples) -> tuple[str, list[Any]]:
    """Return unit and values: times in milliseconds, all with four significant digits."""
    if samples.unit != "s":
        return samples.unit, [rounded(value, SAMPLE_DIGITS) for value in samples.values]
    return "ms", [_milliseconds(value) for value in samples.values]


def _milliseconds(value: float) -> Any:
    return float(f"{value * MS:.{SAMPLE_DIGITS}g}") if math.isfinite(value) else str(value)


def _shortened(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the tensors of an accuracy job, a training step has hundreds, keep the worst."""
    tensors: Sequence[Any] = items(facts, "accuracy", "tensors")
    if len(tensors) <= TENSORS or not all(isinstance(tensor, dict) for tensor in tensors):
        return facts
    worst = sorted(tensors, key=badness, reverse=True)[:TENSORS]
    accuracy = {**facts["accuracy"], "tensors": worst, "tensors_not_shown": len(tensors) - TENSORS}
    return {**facts, "accuracy": accuracy}
