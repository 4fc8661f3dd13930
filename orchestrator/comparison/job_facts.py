"""Two jobs, fact by fact: counters, reasons of graph breaks, memory by phase, cache, noise, tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.comparison.compare import differing
from orchestrator.comparison.pairing import Keys
from orchestrator.comparison.snapshot import flat_environment
from orchestrator.results.configuration import ABSENT, flatten
from orchestrator.results.load import JobOutcome, one_line
from orchestrator.results.metrics import is_number
from orchestrator.system import OF_A_JOB

NEAR = 0.01
"""Numbers that differ by less, relative to the larger, are the same for a person."""


def environment(outcome: JobOutcome) -> dict[str, Any]:
    """Return where the job itself ran, flat; empty without a result."""
    seen = {} if outcome.result is None else flat_environment(outcome.result.environment)
    return {key: value for key, value in seen.items() if key.rpartition(".")[2] not in OF_A_JOB}


def differing_facts(before: JobOutcome, after: JobOutcome) -> tuple[Keys, int]:
    """Return the facts that differ, and how many are the same or nearly so."""
    old, new = dict(_facts(before)), dict(_facts(after))
    found = {key: pair for key, pair in differing(old, new).items() if not _near(*pair)}
    return found, len(old.keys() | new.keys()) - len(found)


def _facts(outcome: JobOutcome) -> Iterator[tuple[str, Any]]:
    yield "status", outcome.status
    yield "round", outcome.job.round
    if outcome.reason:
        yield "reason", outcome.reason
    result = outcome.result
    if result is None:
        return
    yield "attempt", result.attempt
    yield "duration_s", result.ended - result.started
    if result.failure is not None:
        yield "phase", result.failure.phase
    for key, value in flatten(_named({key: value for key, value in result.facts.items() if key != "tables"})):
        yield key, one_line("; ".join(map(str, value))) if isinstance(value, list) else value


def _named(value: Any) -> Any:
    """Return lists of maps that have names (tensors) as maps by name, so that the same ones are compared."""
    if isinstance(value, Mapping):
        return {key: _named(inner) for key, inner in value.items()}
    named = isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value)
    if not named:
        return value
    return {str(one["name"]).replace(".", "/"): {k: v for k, v in one.items() if k != "name"} for one in value}


def _near(old: Any, new: Any) -> bool:
    if old is ABSENT or new is ABSENT or not (is_number(old) and is_number(new)):
        return False
    return bool(abs(old - new) <= NEAR * max(abs(old), abs(new)))
