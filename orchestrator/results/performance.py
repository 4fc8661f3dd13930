"""From the rounds of one workload and compiler to one row of figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.records import INFRASTRUCTURE, MARKED, MEASURED, NOT_NEEDED, NOT_RUN, PASS, RAN_EAGER
from orchestrator.results import metrics
from orchestrator.results.device import device_row, over_rounds_ms
from orchestrator.results.load import LARGEST, JobOutcome, fact, figure, items, latency_of, seconds, worst
from orchestrator.results.memory import grown_note, hidden_note, memory_row
from orchestrator.results.rounds import (
    compile_latency_of,
    figures_of,
    measured_of,
    median,
    other_cores_of,
    paired_latency_of,
    present,
    round_speedup,
)
from orchestrator.samples import CONFIDENCE, Estimate, quantile, spread
from orchestrator.statistics import (
    FASTER,
    ROUNDS,
    UNPAIRED,
    Others,
    break_even,
    deviation_percent,
    over_rounds,
    unpaired,
    verdict,
)

Row = dict[str, Any]
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
PERCENTILES = (
    *(f"latency_p{percent}_ms" for percent in metrics.PERCENTS),
    *(f"inter_token_p{percent}_ms" for percent in metrics.PERCENTS),
    "inter_token_count",
)
"""Columns: how long the slow ones take. How many latencies there are says the column `samples`."""
CLOCK_SHARE = 0.02
"""Of a step: the row says from here on that the clock itself is in its times."""
POWER_CAPPED = 0.05
"""Share of the timed phase under the GPU's power limit from which on the row says so."""
MEASURED_EAGER = "measured: eager"
"""The verdict on a compiler whose timed calls ran without compiled code: no figure of the compiler's."""
NOT_ITS_FAULT = frozenset({PASS, NOT_RUN, INFRASTRUCTURE, NOT_NEEDED})


def sound(rounds: Sequence[JobOutcome]) -> list[JobOutcome]:
    """Return the rounds that passed; none where one failed by itself: half of a crash is no speed-up."""
    if not all(outcome.status in NOT_ITS_FAULT for outcome in rounds):
        return []
    return [outcome for outcome in rounds if outcome.status == PASS]


@dataclass(frozen=True)
class Timed:
    """What a row's speed-up is made of (`speed_of`): it also depends on the other rows of the sweep.

    estimates: the speed-ups of the rounds that count. latencies, eager_latencies: medians of the rounds, in seconds.
    apart: eager and compiled ran in processes of their own. ran_eager: the compiler's calls ran in eager. cold: compile
    latencies from an empty cache, in seconds; paired: the compiler's latency in the pairs, in seconds; pairs: how many.
    marked: something else was timed than the row says.
    """

    estimates: Sequence[Estimate]
    latencies: Sequence[float]
    eager_latencies: Sequence[float]
    apart: bool
    ran_eager: bool
    cold: Sequence[float]
    paired: float | None
    pairs: int
    marked: bool


def timed_row(rounds: Sequence[JobOutcome]) -> tuple[Row, Timed]:
    """Return the figures of one workload and compiler over its rounds but for `speed_of`, and what that is made of.

    There are figures when a round passed and none failed by itself (a round that has not been run, or that the
    infrastructure lost, only makes them fewer): half of a crash is no speed-up.
    """
    blame, passed = worst(rounds), sound(rounds)
    eager = [one for outcome in passed if (one := outcome.baseline) is not None and one.status == PASS]
    row: Row = {
        "status": blame.status,
        "reason": blame.reason,
        "job": blame.job.id,
        "rounds": len(passed),
        "rounds_planned": sum(outcome.status != NOT_NEEDED for outcome in rounds),
        "measured": measured(rounds),
        "disturbed": "; ".join(disturbances(rounds)),
        "other_cores": max(present(other_cores_of, rounds), default=None),
        "notes": "; ".join([*notes(rounds), *hidden_note(passed, eager), *grown_note(passed)]),
    }
    timed = _timed(rounds, passed, eager)
    row |= _latencies(passed, timed) | memory_row(passed, eager) | _compilation(passed, timed.cold)
    row |= _generation(passed, row["latency_ms"])
    row |= percentiles(_pooled(passed, "latency"), _pooled(passed, "inter_token_interval"))
    return row | device_row(passed, eager, row["latency_ms"]), timed


def _timed(rounds: Sequence[JobOutcome], passed: Sequence[JobOutcome], eager: Sequence[JobOutcome]) -> Timed:
    latencies = present(latency_of, passed)
    return Timed(
        estimates=[estimate for outcome in passed if (estimate := round_speedup(outcome)) is not None],
        latencies=latencies,
        eager_latencies=present(latency_of, eager),
        apart=bool(passed) and all(fact(outcome.facts, "pair", "method") == "none" for outcome in passed),
        ran_eager=any(RAN_EAGER in measured_of(outcome) for outcome in passed),
        cold=_cached(passed, "cold"),
        # of what the speed-up is of, so that both agree: the steady phase is minutes away from the pairs
        paired=median(present(paired_latency_of, passed) or latencies),
        pairs=sum(len(seconds(outcome, "pair_latency")) for outcome in passed),
        marked=any(MARKED & measured_of(outcome).keys() for outcome in rounds),
    )


def _latencies(passed: Sequence[JobOutcome], timed: Timed) -> Row:
    spreads = [spread(values) for outcome in passed if (values := seconds(outcome, "latency"))]
    return {
        "clock_overhead_ms": median(figures_of(passed, "clock_overhead_s"), metrics.MS),
        "eager_latency_ms": median(timed.eager_latencies, metrics.MS),
        "latency_ms": median(timed.latencies, metrics.MS),
        "latency_spread_percent": _spread_percent(timed.latencies, [s.iqr_percent for s in spreads if s.count > 1]),
        "outliers": sum(s.outliers for s in spreads) if spreads else None,
        "samples": sum(s.count for s in spreads) if spreads else None,
    }


def speed_of(timed: Timed, row: Mapping[str, Any], threshold: float, others: Others | None) -> Row:
    """Return the speed-up of a row, what follows from it, and the row's flags.

    Effects up to `threshold` (relative) are called "within noise". `others`: how much the rounds of the sweep's other
    rows differ.
    """
    found = _speedup(timed, threshold, others)
    marks = flags(found.get("speedup"), row["compile_latency_cold_s"], row["compression_ratio"])
    return found | {"flags": ", ".join([*marks, *["measured"] * timed.marked])}


def _speedup(timed: Timed, threshold: float, others: Others | None) -> Row:
    if timed.ran_eager:
        return {"verdict": MEASURED_EAGER}
    if timed.estimates:
        total = over_rounds(timed.estimates, others=others)
    elif timed.apart and timed.latencies and timed.eager_latencies:
        total = unpaired(timed.eager_latencies, timed.latencies)
    else:
        return {}
    words = verdict(total, threshold)
    paired = timed.paired
    eager_paired = None if paired is None else total.value * paired
    after = None
    if words == FASTER and timed.cold and paired is not None and eager_paired is not None:
        after = break_even(statistics.median(timed.cold), eager_paired, paired)
    return {
        "estimate": total,  # no column: what the means of a section are made of
        "speedup": total.value,
        "speedup_low": total.low,
        "speedup_high": total.high,
        "speedup_freedom": total.freedom if total.kind == ROUNDS else None,
        "verdict": words if total.count else None,  # of a figure without samples nobody can say how sure it is
        "interval": total.kind if total.low is not None or total.kind == UNPAIRED else None,
        "pairs": timed.pairs,
        "paired_eager_latency_ms": None if eager_paired is None else eager_paired * metrics.MS,
        "paired_latency_ms": None if paired is None else paired * metrics.MS,
        "break_even_iterations": after,
        "break_even_s": None if after is None or eager_paired is None else after * eager_paired,
    }


def _generation(passed: Sequence[JobOutcome], latency_ms: float | None) -> Row:
    tokens = next(iter(figures_of(passed, "tokens", "per_step")), None)
    return {
        "time_to_first_token_ms": over_rounds_ms(passed, "time_to_first_token"),
        "inter_token_latency_ms": over_rounds_ms(passed, "inter_token_latency"),
        "tokens_per_second": tokens / (latency_ms / metrics.MS) if tokens and latency_ms else None,
    }


def _compilation(passed: Sequence[JobOutcome], cold: Sequence[float]) -> Row:
    warm = _cached(passed, "warm")
    return {
        "compile_latency_cold_s": median(cold),
        "compile_latency_cold_count": len(cold),
        "compile_latency_warm_s": median(warm),
        "compile_latency_warm_count": len(warm),
        "later_compilations": _whole(figures_of(passed, "later_compilations", "count")),
        "later_compile_s": median(figures_of(passed, "later_compilations", "seconds")),
        **{counter: _whole(figures_of(passed, "counters", counter)) for counter in COUNTERS},
        "cudagraphs": _whole(figures_of(passed, "cudagraphs", "recorded")),
    }


def least(percent: int) -> int:
    """Return how many samples a percentile needs: so many that with 95 % one lies beyond it, n = ln 0.05 / ln p.

    5 of the 50th, 29 of the 90th, 59 of the 95th, 299 of the 99th. Source: Wilks, Determination of sample sizes for
    setting tolerance limits, Ann. Math. Statist. 12 (1941).
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percent / 100))


def percentiles(latencies: Sequence[float], intervals: Sequence[float]) -> dict[str, float | int | None]:
    """Return the columns of `PERCENTILES`, of the samples of all rounds together, in seconds; None of too few."""
    found: dict[str, float | int | None] = {"inter_token_count": len(intervals) or None}
    for name, values in (("latency", latencies), ("inter_token", intervals)):
        ordered = sorted(values)
        for percent in metrics.PERCENTS:
            known = len(ordered) >= least(percent)
            found[f"{name}_p{percent}_ms"] = quantile(ordered, percent / 100) * metrics.MS if known else None
    return found


def flags(speedup: float | None, compile_s: float | None, ratio: float | None) -> list[str]:
    """Return HUD's marks of a performance row: the names of the figures that are out of bounds."""
    marks = {
        "speedup": speedup is not None and speedup < metrics.SLOW_SPEEDUP,
        "compile_latency": compile_s is not None and compile_s > metrics.LONG_COMPILE_S,
        "compression_ratio": ratio is not None and ratio < metrics.LOW_COMPRESSION,
    }
    return [name for name, marked in marks.items() if marked]


def measured(rounds: Sequence[JobOutcome]) -> str:
    """Return what was timed in any of the rounds, where it is not what the row says, with the first one's reason."""
    found: dict[str, str] = {}
    for outcome in rounds:
        found = {**measured_of(outcome), **found}
    return "; ".join(f"{kind}: {found[kind]}" for kind in MEASURED if kind in found)


def disturbances(rounds: Sequence[JobOutcome]) -> list[str]:
    """Return why the rounds that ran are not to be trusted fully, with the round's number where there are several."""
    prefix = "round {}: " if len(rounds) > 1 else ""
    return [
        prefix.format(outcome.job.round) + str(reason)
        for outcome in rounds
        for reason in items(outcome.facts, "disturbed")
    ]


def notes(rounds: Sequence[JobOutcome]) -> list[str]:
    """Return what must be known to read the figures: what the jobs say themselves, and how far the power cap held."""
    found = [str(note) for outcome in rounds for note in items(outcome.facts, "notes")]
    states = [fact(outcome.facts, "noise", "gpu") for outcome in rounds]
    capped = median([share for state in states if (share := figure(state, "power_capped_share")) is not None])
    if capped is not None and capped > POWER_CAPPED:
        clock = median([value for state in states if (value := figure(state, "sm_clock_mhz")) is not None])
        at = "" if clock is None else f", at {clock:.0f} MHz"
        found.append(f"the GPU's power limit held its clock down for {capped:.0%} of the time{at}")
    clock, latency = median(figures_of(rounds, "clock_overhead_s")), median(present(latency_of, rounds))
    if clock is not None and latency is not None and clock > CLOCK_SHARE * latency:
        found.append(
            f"the clock's own {clock * metrics.US:.0f} us are {clock / latency:.0%} of a step: ratios are nearer to 1"
        )
    return list(dict.fromkeys(found))


def _pooled(rounds: Sequence[JobOutcome], metric: str) -> list[float]:
    """Return the samples of a time in all rounds, in seconds."""
    return [value for outcome in rounds for value in seconds(outcome, metric)]


def _cached(passed: Sequence[JobOutcome], cache: str) -> list[float]:
    return present(compile_latency_of, [outcome for outcome in passed if fact(outcome.facts, "cache") == cache])


def _whole(values: Sequence[float]) -> int | None:
    """Return the median of counts: the same in every round, or it says what is usual."""
    value = median(values)
    return None if value is None or abs(value) > LARGEST else round(value)


def _spread_percent(medians: Sequence[float], iqrs: Sequence[float]) -> float | None:
    """Return the spread between rounds, of one round that of its samples; None of one sample, which has none."""
    if len(medians) > 1:
        return deviation_percent(medians)
    return iqrs[0] if iqrs else None
