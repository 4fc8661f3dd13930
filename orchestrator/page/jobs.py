"""The jobs of one sweep as a page shows them: whose row they are, what they need, and their distributions."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.page.columnar import rounded
from orchestrator.page.job_details import DetailTexts, Interned
from orchestrator.records import PASS
from orchestrator.results.configuration import compiler_config, plugin_config, workload_config
from orchestrator.results.load import JobOutcome, SweepResults, fact, figure
from orchestrator.results.memory import cuda_peak
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import IDENTITY
from orchestrator.results.performance import seconds
from orchestrator.results.tables import Tables

Row = Mapping[str, Any]

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percentiles of the latency that, with their count, stand for the samples where the page has no room for these."""
PHASES = ("import", "build", "compile", "warmup", "steady", "pairs")


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
        self.outcomes = results.outcomes
        self.row_of = _owners(tables, first_row)
        self.details = DetailTexts(results, records, budget)
        self._records = records
        self._known: dict[int, int] = {}
        self.rows = [
            {**row, "sweep": number, "row": self.row_of.get(row["job"], -1), **self._config(outcome)}
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

    def _config(self, outcome: JobOutcome) -> dict[str, int]:
        job = outcome.job
        return {
            "workload": self._once(job.workload, workload_config),
            "compiler_config": self._once(job.compiler, compiler_config),
            "measure_config": self._once(job.measure, lambda spec: plugin_config("measure", spec)),
        }

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
            if row >= 0 and outcome.status == PASS and fact(outcome.facts, "memory"):
                rounds[row - first_row].append(phase_peaks(outcome.facts))
        return [_medians(rounds[number]) if number in rounds else None for number in range(count)]


def phase_peaks(facts: Any) -> dict[str, float]:
    """Return phase -> peak over the base in MiB, in the order of the phases: of CUDA's allocator, or of the process."""
    memory = fact(facts, "memory")
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


def _owners(tables: Tables, first_row: int) -> dict[str, int]:
    """Return job -> the row of the summary that it is a round of, or whose accuracy it is."""
    rows = enumerate(tables.summary.rows, start=first_row)
    timed: dict[tuple[Any, ...], int] = {}
    judged: dict[str, int] = {}
    for number, row in rows:
        if row["performance"] is not None:
            timed[_identity(row)] = number
        if row["accuracy"] is not None:
            judged.setdefault(row["accuracy_job"], number)
    families = {_identity(row): judged[row["job"]] for row in tables.accuracy.rows if row["job"] in judged}
    owners = {}
    for job in tables.jobs.rows:
        owner = timed.get(_identity(job), families.get(_identity(job)))
        if owner is not None:
            owners[job["job"]] = owner
    return owners


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in IDENTITY)


def _quantiles(outcome: JobOutcome) -> list[Any] | None:
    values = seconds(outcome, "latency")
    if not values:
        return None
    return [*(rounded(float(value) * MS, 4) for value in np.percentile(values, QUANTILES)), len(values)]


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    phases = [phase for phase in PHASES if any(phase in peaks for peaks in rounds)]
    return {
        phase: rounded(statistics.median(peaks[phase] for peaks in rounds if phase in peaks), 4) for phase in phases
    }
