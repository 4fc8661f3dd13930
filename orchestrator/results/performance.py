"""From the rounds of one workload and compiler to one row of figures."""

from __future__ import annotations

import functools
import statistics
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.records import EAGER, INFRASTRUCTURE, NOT_RUN, PASS
from orchestrator.results import metrics
from orchestrator.results.load import Outcome, fact, figure, items, worst
from orchestrator.results.statistics import (
    FASTER,
    IN_PROCESS,
    THRESHOLD,
    UNPAIRED,
    Estimate,
    break_even,
    calm_pair_logs,
    deviation_percent,
    one_round,
    over_rounds,
    spread,
    unpaired,
    verdict,
)

Row = dict[str, Any]
Derived = TypeVar("Derived")
COUNTERS = (
    "graphs",
    "graph_breaks",
    "unique_graph_breaks",
    "captured_calls",
    "fallbacks",
    "recompiles",
    "cudagraph_skips",
)
GENERATION = ("time_to_first_token_ms", "inter_token_latency_ms", "tokens_per_second")
"""Columns of language models' generation; none of other modes."""
SMALLEST, LARGEST = 1e-15, 1e18
"""Seconds, bytes, ratios: no run has less or more."""
WIDEST = 50.0
"""Half-width of an interval, in logarithms: exp of it is that many digits."""
DEVICE = (
    *("enqueue_ms", "launch_bound", "back_to_back_ms", "samples_per_second"),
    *("energy_per_step_j", "mean_power_w"),
)
"""Columns of what the device had to do with it; on the CPU only some have a value."""
SHORTEST_S = 0.2
"""Counters of energy are brought up to date every 10 to 100 ms: of less time than this nothing is said."""
GIVEN = "given"
"""Fact of an imported result: speedup, compile_latency_s, compression_ratio, without the samples behind them."""
NOT_ITS_FAULT = frozenset({PASS, NOT_RUN, INFRASTRUCTURE})


@dataclass(frozen=True)
class Memory:
    """Steady-state memory of one process, in bytes: the peak, and the share of it that the model and compiler have.

    Shares may be compared when `source` is the same. Peaks of processes may not, across launchers: a fork shares its
    server's pages.
    """

    peak: float | None
    own: float | None
    source: str


def _once(read: Callable[[Outcome], Derived]) -> Callable[[Outcome], Derived]:
    """Derive a figure of an outcome once, and keep it there: several tables ask for it."""

    @functools.wraps(read)
    def kept(outcome: Outcome) -> Derived:
        if read.__name__ not in outcome.derived:
            outcome.derived[read.__name__] = read(outcome)
        return typing.cast(Derived, outcome.derived[read.__name__])

    return kept


@_once
def memory_of(outcome: Outcome) -> Memory:
    """Read the peak of the device: the CUDA allocator's where there is one, the process's elsewhere."""
    memory = fact(outcome.facts, "memory")
    allocated = figure(memory, "cuda", "steady", "allocated")
    if allocated is not None:
        return Memory(allocated, allocated, "CUDA allocator")
    peak, base = figure(memory, "phases", "steady", "peak"), figure(memory, "base")
    source = str(fact(memory, "source") or "")
    own = peak - base if peak is not None and base is not None else None
    return Memory(peak, own, source)


@_once
def round_speedup(outcome: Outcome) -> Estimate | None:
    """Return the speed-up of one round from its pairs; None for eager, and where a job has no valid pairs.

    An imported result has no pairs but the figure itself ("given"): it has no interval then.
    """
    given = figure(outcome.facts, GIVEN, "speedup") if outcome.status == PASS else None
    if given is not None and is_figure(given):
        return Estimate(given, None, None, IN_PROCESS, 0)
    eager, compiled = seconds(outcome, "pair_eager_latency"), seconds(outcome, "pair_latency")
    if not eager or len(eager) != len(compiled):
        return None  # not pairs: the samples stay in the file, no ratio is made of them
    return one_round(calm_pair_logs(eager, compiled))


def is_figure(value: float) -> bool:
    """Tell whether a time, a size or a ratio can be one: positive, and no ratio of two of them is 0 or infinite."""
    return SMALLEST < value < LARGEST


def seconds(outcome: Outcome, metric: str) -> Sequence[float]:
    """Return the samples of a time of a round that passed; none if one of them is no figure (`is_figure`)."""
    samples = outcome.result.sample(metric) if outcome.result is not None and outcome.status == PASS else None
    if samples is None or not samples.values or not (is_figure(min(samples.values)) and is_figure(max(samples.values))):
        return ()
    return samples.values


@_once
def latency_of(outcome: Outcome) -> float | None:
    """Return the median latency of a round that passed, in seconds."""
    values = seconds(outcome, "latency")
    return statistics.median(values) if values else None


def compile_latency_of(outcome: Outcome) -> float | None:
    """Return first call minus median latency, in seconds; None for eager, which compiles nothing."""
    given = figure(outcome.facts, GIVEN, "compile_latency_s") if outcome.status == PASS else None
    if given is not None:
        return given
    latency = latency_of(outcome)
    first = seconds(outcome, "first_call")
    if latency is None or not first or outcome.job.compiler.name == EAGER:
        return None
    return first[0] - latency


def performance_row(rounds: Sequence[Outcome], baselines: Mapping[str, Outcome], threshold: float = THRESHOLD) -> Row:
    """Return the figures of one workload and compiler over its rounds.

    `baselines`: job id of a round -> its eager job. There are figures when a round passed and none failed by itself
    (a round that has not been run, or that the infrastructure lost, only makes them fewer): half of a crash is
    no speed-up. Effects up to `threshold` (relative) are called "within noise".
    """
    blame = worst(rounds)
    sound = all(outcome.status in NOT_ITS_FAULT for outcome in rounds)
    passed = [outcome for outcome in rounds if outcome.status == PASS] if sound else []
    eager = [baselines[o.job.id] for o in passed if o.job.id in baselines and baselines[o.job.id].status == PASS]
    row: Row = {
        "status": blame.status,
        "reason": blame.reason,
        "job": blame.job.id,
        "rounds": len(passed),
        "rounds_planned": len(rounds),
        "disturbed": "; ".join(disturbances(rounds)),
    }
    row |= _times(passed, eager, threshold) | _memory(passed, baselines) | _compilation(passed)
    row |= _generation(passed, row["latency_ms"]) | _device(passed, row["latency_ms"])
    row["flags"] = ", ".join(flags(row))
    return row


def _times(passed: Sequence[Outcome], eager: Sequence[Outcome], threshold: float) -> Row:
    latencies = _present(latency_of, passed)
    spreads = [spread(values) for outcome in passed if (values := seconds(outcome, "latency"))]
    row: Row = {
        "eager_latency_ms": _median(_present(latency_of, eager), metrics.MS),
        "latency_ms": _median(latencies, metrics.MS),
        "latency_spread_percent": _spread_percent(latencies, [s.iqr_percent for s in spreads if s.count > 1]),
        "outliers": sum(s.outliers for s in spreads) if spreads else None,
        "samples": sum(s.count for s in spreads) if spreads else None,
    }
    estimates = [estimate for outcome in passed if (estimate := round_speedup(outcome)) is not None]
    eager_latencies = _present(latency_of, eager)
    apart = bool(passed) and all(fact(outcome.facts, "pair", "method") == "none" for outcome in passed)
    if not estimates and not (apart and latencies and eager_latencies):
        return row
    total = over_rounds(estimates) if estimates else unpaired(eager_latencies, latencies)
    cold = _cached(passed, "cold")
    words = verdict(total, threshold)
    return row | {
        "speedup": total.value,
        "speedup_low": total.low,
        "speedup_high": total.high,
        "verdict": words if total.count else None,  # of a figure without samples nobody can say how sure it is
        "interval": total.kind if total.low is not None or total.kind == UNPAIRED else None,
        "pairs": sum(len(seconds(outcome, "pair_latency")) for outcome in passed),
        # eager latency = speed-up * latency: from pairs, ten times tighter than the other process's latency
        "break_even_iterations": break_even(
            statistics.median(cold), total.value * statistics.median(latencies), statistics.median(latencies)
        )
        if words == FASTER and cold and latencies
        else None,
    }


def _generation(passed: Sequence[Outcome], latency_ms: float | None) -> Row:
    def over_rounds_ms(metric: str) -> float | None:
        return _median([statistics.median(v) for outcome in passed if (v := seconds(outcome, metric))], metrics.MS)

    tokens = next(iter(_present(lambda outcome: figure(outcome.facts, "tokens", "per_step"), passed)), None)
    return {
        "time_to_first_token_ms": over_rounds_ms("time_to_first_token"),
        "inter_token_latency_ms": over_rounds_ms("inter_token_latency"),
        "tokens_per_second": tokens / (latency_ms / metrics.MS) if tokens and latency_ms else None,
    }


def _device(passed: Sequence[Outcome], latency_ms: float | None) -> Row:
    """What the device had to do with it: enqueue time, steps back to back, energy."""
    enqueue, queued = (
        _median([statistics.median(v) for outcome in passed if (v := seconds(outcome, metric))], metrics.MS)
        for metric in ("enqueue", "back_to_back")
    )
    step_ms = queued or latency_ms
    energy = [found for outcome in passed if (found := _energy(outcome)) is not None]
    return {
        "enqueue_ms": enqueue,
        "launch_bound": "yes" if enqueue and latency_ms and enqueue / latency_ms > metrics.LAUNCH_BOUND else None,
        "back_to_back_ms": queued,
        "samples_per_second": passed[0].job.workload.batch_size / step_ms * metrics.MS if passed and step_ms else None,
        "energy_per_step_j": _median([joules / steps for joules, _, steps in energy]),
        "mean_power_w": _median([joules / time_s for joules, time_s, _ in energy]),
    }


def _energy(outcome: Outcome) -> tuple[float, float, float] | None:
    """Return joules, seconds and steps of a steady state: of the GPU's board where it is one, else of the CPU."""
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


def _compilation(passed: Sequence[Outcome]) -> Row:
    cold, warm = _cached(passed, "cold"), _cached(passed, "warm")
    row: Row = {
        "compile_latency_cold_s": _median(cold),
        "compile_latency_cold_count": len(cold),
        "compile_latency_warm_s": _median(warm),
        "compile_latency_warm_count": len(warm),
    }
    for counter in COUNTERS:  # the same in every round, or the median says what is usual
        value = _median(_present(lambda outcome, name=counter: figure(outcome.facts, "counters", name), passed))  # type: ignore[misc]
        row[counter] = None if value is None or abs(value) > LARGEST else round(value)
    return row


def _memory(passed: Sequence[Outcome], baselines: Mapping[str, Outcome]) -> Row:
    mine = [memory_of(outcome) for outcome in passed]
    theirs = [memory_of(b) for o in passed if (b := baselines.get(o.job.id)) is not None and b.status == PASS]
    peak, eager = (_median([m.peak for m in side if m.peak is not None]) for side in (mine, theirs))
    own, eager_own = (_median([m.own for m in side if m.own is not None]) for side in (mine, theirs))
    comparable = len({memory.source for memory in (*mine, *theirs)}) == 1
    given = _median(_present(lambda outcome: figure(outcome.facts, GIVEN, "compression_ratio"), passed))
    ratio = given or (eager_own / own if comparable and own and eager_own else None)
    children = _present(lambda outcome: figure(outcome.facts, "memory", "children", "compile"), passed)
    compiling = _present(lambda outcome: figure(outcome.facts, "memory", "phases", "compile", "peak"), passed)
    return {
        "peak_memory_mib": _mib(peak),
        "eager_peak_memory_mib": _mib(eager),
        "compression_ratio": ratio if ratio is not None and is_figure(ratio) else None,
        "own_memory_mib": _mib(own),
        "eager_own_memory_mib": _mib(eager_own),
        "compile_peak_memory_mib": _mib(max(compiling, default=None)),
        "children_peak_memory_mib": _mib(max(children, default=None)),
        "memory_source": ", ".join(sorted({m.source for m in mine if m.source})) or None,
    }


def flags(row: Row) -> list[str]:
    """Return HUD's marks of a performance row: the names of the figures that are out of bounds."""
    speedup, compile_s, ratio = (row.get(k) for k in ("speedup", "compile_latency_cold_s", "compression_ratio"))
    marks = {
        "speedup": speedup is not None and speedup < metrics.SLOW_SPEEDUP,
        "compile_latency": compile_s is not None and compile_s > metrics.LONG_COMPILE_S,
        "compression_ratio": ratio is not None and ratio < metrics.LOW_COMPRESSION,
    }
    return [name for name, marked in marks.items() if marked]


def disturbances(rounds: Sequence[Outcome]) -> list[str]:
    """Return why the rounds that ran are not to be trusted fully, with the round's number where there are several."""
    prefix = "round {}: " if len(rounds) > 1 else ""
    return [
        prefix.format(outcome.job.round) + str(reason)
        for outcome in rounds
        for reason in items(outcome.facts, "disturbed")
    ]


def _present(read: Callable[[Outcome], float | None], outcomes: Sequence[Outcome]) -> list[float]:
    return [value for outcome in outcomes if (value := read(outcome)) is not None]


def _cached(passed: Sequence[Outcome], cache: str) -> list[float]:
    return _present(compile_latency_of, [outcome for outcome in passed if fact(outcome.facts, "cache") == cache])


def _median(values: Sequence[float], scale: float = 1.0) -> float | None:
    return statistics.median(values) * scale if values else None


def _mib(value: float | None) -> float | None:
    return None if value is None else value * metrics.MIB


def _spread_percent(medians: Sequence[float], iqrs: Sequence[float]) -> float | None:
    """Return the spread between rounds, of one round that of its samples; None of one sample, which has none."""
    if len(medians) > 1:
        return deviation_percent(medians)
    return iqrs[0] if iqrs else None
