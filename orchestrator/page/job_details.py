"""The details of jobs in a page: samples in time order, facts, the end of the log, the environment.

A page has room for a few megabytes of them. Failed jobs come first, then those that were disturbed, then the others in
plan order, until the budget is used up; what a page does not hold lies beside it, in jobs/<id>/.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.page.columnar import rounded
from orchestrator.records import HARMLESS, NOT_RUN, Samples
from orchestrator.results.accuracy import badness
from orchestrator.results.load import JobOutcome, SweepResults, items, lines
from orchestrator.results.metrics import MS
from orchestrator.store import SweepFolder

LOG_LINES = 40
LOG_BYTES = 16_384
"""So much of the end of a log is read; lines over 400 characters are cut."""
MANY_JOBS = 300
"""In larger sweeps only failed and disturbed jobs show their log."""
TENSORS = 20
"""So many tensors of an accuracy job are in the page, the worst."""
SAMPLE_DIGITS = 4
CACHE_FOLDER = re.compile(r"^.*/caches/[0-9a-f]{16}(?=/)")


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
    cut = lines(text.decode(errors="replace"))[-LOG_LINES:]
    return [line if len(line) <= 400 else line[:399] + "…" for line in cut]


def without_cache_folders(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Every job family has a compile cache of its own, named in two variables: but for them environments are alike."""
    variables = environment.get("variables")
    if not isinstance(variables, Mapping):
        return dict(environment)
    shorter = {name: CACHE_FOLDER.sub("<cache of the job>", str(value)) for name, value in variables.items()}
    return {**environment, "variables": shorter}


def plain(value: Any) -> Any:
    """Return a JSON value with floats of a few digits, and words where JSON has no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


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
