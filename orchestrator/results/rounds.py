"""What one round says besides its latency: what was timed, how long its first calls took, its speed-up."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from orchestrator.records import MEASURED, PASS, RAN_EAGER
from orchestrator.results.load import GIVEN, JobOutcome, fact, figure, is_figure, latency_of, once, seconds
from orchestrator.samples import IN_PROCESS, Estimate, calm_pair_logs, calm_pairs, one_round

FIRST_CALLS, LIKE_LATER = 5, 1.5
"""So many calls may be part of compiling; one that lasts no longer than so many medians is not."""


def measured_of(outcome: JobOutcome) -> Mapping[str, str]:
    """Return what was timed in a round, where it is not what its row says: one of `records.MEASURED` -> why."""
    found = fact(outcome.facts, "measured")
    return {kind: str(found[kind]) for kind in MEASURED if kind in found} if isinstance(found, dict) else {}


@once
def round_speedup(outcome: JobOutcome) -> Estimate | None:
    """Return the speed-up of one round from its pairs; None for eager, without valid pairs, and where it ran in eager.

    An imported result has no pairs but the figure itself ("given"): it has no interval then.
    """
    given = figure(outcome.facts, GIVEN, "speedup") if outcome.status == PASS else None
    if given is not None and is_figure(given):
        return Estimate(given, None, None, IN_PROCESS, 0)
    eager, compiled = _pairs(outcome)
    return one_round(calm_pair_logs(eager, compiled)) if eager and RAN_EAGER not in measured_of(outcome) else None


def paired_latency_of(outcome: JobOutcome) -> float | None:
    """Return the compiler's median latency in the pairs that the round's speed-up is of, in seconds."""
    eager, compiled = _pairs(outcome)
    return statistics.median(compiled[i] for i in calm_pairs(eager, compiled)) if eager else None


def _pairs(outcome: JobOutcome) -> tuple[Sequence[float], Sequence[float]]:
    """Return eager's and the compiler's latencies in the pairs; none where the samples are no pairs: these stay in the
    file, no ratio is made of them."""
    eager, compiled = seconds(outcome, "pair_eager_latency"), seconds(outcome, "pair_latency")
    return (eager, compiled) if len(eager) == len(compiled) else ((), ())


def compile_latency_of(outcome: JobOutcome) -> float | None:
    """Return what the first calls cost over later ones, in seconds; None for eager, which compiles nothing.

    Less what they cost its baseline: libraries and kernels are loaded there too, whoever calls them first. So it may be
    a little below 0 where nothing is compiled.
    """
    given = figure(outcome.facts, GIVEN, "compile_latency_s") if outcome.status == PASS else None
    if given is not None:
        return given
    cost = _first_calls(outcome)
    if cost is None or outcome.job.is_eager:
        return None
    return cost - ((_first_calls(outcome.baseline) if outcome.baseline is not None else None) or 0.0)


def _first_calls(outcome: JobOutcome) -> float | None:
    """Return the first call minus the median, and the same of those right behind it that are as unlike the later ones.

    CUDA graphs are recorded in the second call, TorchScript's profiling executor compiles in the second and third. The
    first call that is no slower than `LIKE_LATER` medians ends it, for what comes then is no compilation.
    """
    latency, first = latency_of(outcome), seconds(outcome, "first_call")
    if latency is None or not first:
        return None
    cost = first[0] - latency
    for call in seconds(outcome, "warmup_latency")[: FIRST_CALLS - 1]:
        if call <= LIKE_LATER * latency:
            break
        cost += call - latency
    return cost


def other_cores_of(outcome: JobOutcome) -> float | None:
    """Return how many cores' worth of CPU others used in the timed phases of a round, the most."""
    found = (figure(outcome.facts, phase, "foreign_cores") for phase in ("noise", "pair_noise"))
    return max((cores for cores in found if cores is not None), default=None)


def present(read: Callable[[JobOutcome], float | None], outcomes: Sequence[JobOutcome]) -> list[float]:
    return [value for outcome in outcomes if (value := read(outcome)) is not None]


def figures_of(outcomes: Sequence[JobOutcome], *path: str) -> list[float]:
    """Return a figure among the facts of each outcome that has it."""
    return [value for outcome in outcomes if (value := figure(outcome.facts, *path)) is not None]


def median(values: Sequence[float], scale: float = 1.0) -> float | None:
    return statistics.median(values) * scale if values else None
