"""Where the time of the first calls went, from an empty compile cache and from a filled one, by phase.

Phases do not overlap (`orchestrator.probes.compile_phases`), so they add up to the first call; so do their means over
rounds, and their sums over workloads.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.records import COMPILE_PHASES as PHASES
from orchestrator.records import PASS
from orchestrator.results.load import LARGEST, JobOutcome, fact, figure, seconds
from orchestrator.results.naming import IDENTITY, grouped
from orchestrator.results.overview import SECTION

Row = dict[str, Any]
CACHES = ("cold", "warm")
COLUMNS = (*IDENTITY, "cache", "rounds", "first_call_s", *(f"{phase}_s" for phase in PHASES), "job")
SUMS = (*SECTION, "compiler", "cache", "compile_phase", "compile_phase_s", "share_percent", "count")
GROUP = (*SECTION, "compiler", "cache")


def phases_of(outcome: JobOutcome) -> Mapping[str, float] | None:
    """Return phase -> seconds of a job's first call; None where it did not pass, or torch told nothing."""
    if outcome.status != PASS or not seconds(outcome, "first_call"):
        return None
    found = {phase: figure(outcome.facts, "compile_phases", phase) or 0.0 for phase in PHASES}
    return found if any(found.values()) and all(abs(value) < LARGEST for value in found.values()) else None


def means(rounds: Sequence[JobOutcome]) -> dict[str, tuple[list[JobOutcome], dict[str, float]]]:
    """Return cache -> the rounds that began with it so, and phase -> mean of their seconds."""
    found = {}
    for cache in CACHES:
        counted = [
            (one, phases)
            for one in rounds
            if fact(one.facts, "cache") == cache and (phases := phases_of(one)) is not None
        ]
        if counted:
            mean = {phase: statistics.fmean(phases[phase] for _, phases in counted) for phase in PHASES}
            found[cache] = ([one for one, _ in counted], mean)
    return found


def rows(identity: Row, rounds: Sequence[JobOutcome]) -> list[Row]:
    """Return the rows of one workload and compiler: one for each state of the cache. The job is the first round's."""
    return [
        {
            **identity,
            "cache": cache,
            "rounds": len(counted),
            "first_call_s": statistics.fmean(seconds(one, "first_call")[0] for one in counted),
            **{f"{phase}_s": value for phase, value in mean.items()},
            "job": counted[0].job.id,
        }
        for cache, (counted, mean) in means(rounds).items()
    ]


def sums(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the phases of each compiler over its workloads, and the share of each phase in all of them."""
    made = []
    for key, members in grouped(found, GROUP).items():
        total = sum(row[f"{phase}_s"] for row in members for phase in PHASES)
        for phase in PHASES:
            value = sum(row[f"{phase}_s"] for row in members)
            made.append(
                dict(zip(GROUP, key, strict=True))
                | {"compile_phase": phase, "compile_phase_s": value, "count": len(members)}
                | {"share_percent": 100 * value / total if total else None}
            )
    return made
