"""What the device had to do with a row's steps: enqueueing, steps back to back, energy, shares of its peaks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from orchestrator.records import LAUNCH_BOUND, RAN_EAGER
from orchestrator.results import metrics
from orchestrator.results.load import JobOutcome, fact, figure, seconds
from orchestrator.results.rounds import measured_of, median

Row = dict[str, Any]
DEVICE = (
    *("enqueue_ms", "launch_bound", "back_to_back_ms", "back_to_back_speedup", "samples_per_second"),
    *("energy_per_step_j", "mean_power_w"),
    *("step_gflop", "achieved_gflop_per_s", "mfu_percent", "peak_source"),
    *("step_mib", "achieved_gb_per_s", "of_bandwidth_percent"),
)
"""Columns of what the device had to do with it; on the CPU only some have a value."""
SHORTEST_S = 0.2
"""Counters of energy are brought up to date every 10 to 100 ms: of less time than this nothing is said."""
GIGA = 1e9
QUEUED = "back_to_back"


def over_rounds_ms(rounds: Sequence[JobOutcome], metric: str) -> float | None:
    """Return the median over rounds of the medians of a time."""
    return median([statistics.median(v) for outcome in rounds if (v := seconds(outcome, metric))], metrics.MS)


def device_row(passed: Sequence[JobOutcome], eager: Sequence[JobOutcome], latency_ms: float | None) -> Row:
    """Return the figures `DEVICE` of a row from its rounds that passed, and the eager jobs of those."""
    enqueue, queued = over_rounds_ms(passed, "enqueue"), over_rounds_ms(passed, QUEUED)
    step_ms, batch = queued or latency_ms, passed[0].batch_size if passed else 0
    energy = [found for outcome in passed if (found := _energy(outcome)) is not None]
    return {
        "enqueue_ms": enqueue,
        "launch_bound": "yes" if enqueue and latency_ms and enqueue / latency_ms > LAUNCH_BOUND else None,
        "back_to_back_ms": queued,
        "back_to_back_speedup": _queued_speedup(passed, eager),
        "samples_per_second": batch / step_ms * metrics.MS if batch and step_ms else None,
        "energy_per_step_j": median([joules / steps for joules, _, steps in energy]),
        "mean_power_w": median([joules / time_s for joules, time_s, _ in energy]),
        **_utilisation([*passed, *eager], latency_ms),
    }


def _queued_speedup(passed: Sequence[JobOutcome], eager: Sequence[JobOutcome]) -> float | None:
    """Return eager's time of a step back to back / the compiler's: the clock is in neither, other processes are."""
    if not passed or passed[0].job.is_eager or any(RAN_EAGER in measured_of(one) for one in passed):
        return None
    theirs, own = over_rounds_ms(eager, QUEUED), over_rounds_ms(passed, QUEUED)
    return theirs / own if theirs and own else None


def _utilisation(counted: Sequence[JobOutcome], latency_ms: float | None) -> Row:
    """How fast the eager step's work gets done, and which share of the device's peaks that is.

    `counted`: jobs of which one says what the work is: eager's of the first round. Sweeps of before have it of each
    round, with a CPU's peaks: the highest count, for what disturbs them makes them lower.
    """
    works = [found for one in counted if figure(found := fact(one.facts, "work"), "bytes") is not None]
    work = works[0] if works else None
    flops, least = figure(work, "flops"), figure(work, "bytes")
    peak, bandwidth = (
        max((value for one in works if (value := figure(one, key)) is not None), default=None)
        for key in ("peak_flop_per_s", "peak_bytes_per_s")
    )
    seconds_of_step = latency_ms / metrics.MS if latency_ms else None
    speed, moved = (amount / seconds_of_step if amount and seconds_of_step else None for amount in (flops, least))
    source = fact(work, "peak_source")
    return {
        "step_gflop": flops / GIGA if flops else None,
        "achieved_gflop_per_s": speed / GIGA if speed else None,
        "mfu_percent": 100 * speed / peak if speed and peak else None,
        "peak_source": source if isinstance(source, str) else None,
        "step_mib": least * metrics.MIB if least else None,
        "achieved_gb_per_s": moved / GIGA if moved else None,
        "of_bandwidth_percent": 100 * moved / bandwidth if moved and bandwidth else None,
    }


def _energy(outcome: JobOutcome) -> tuple[float, float, float] | None:
    """Return joules, seconds and steps of a steady state: of the GPU's board where it is one, else of the CPU.

    None of a job that took turns: in its counters is what the other used.
    """
    if "turns" in outcome.facts:
        return None
    noise = fact(outcome.facts, "noise")
    if outcome.job.workload.device != "cpu":
        found = (figure(noise, "gpu", "energy_j"), figure(noise, "wall_s"), figure(noise, "iterations"))
    else:
        energy = fact(outcome.facts, "energy")
        found = (figure(energy, "joules"), figure(energy, "seconds"), figure(energy, "steps"))
    joules, time_s, steps = found
    if joules is None or not time_s or not steps or time_s < SHORTEST_S:
        return None
    return joules, time_s, steps
