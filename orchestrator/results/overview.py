"""One row per compiler of a suite, mode, dtype and device: geometric means and pass rates, with counts and intervals.

Two questions have two intervals: how well the geometric mean of these workloads is known (`geomean_speedup_low` and
`_high`), and what that of models like these is (`geomean_over_models_low` and `_high`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.records import FAIL_ACCURACY, NOT_RUN, SUCCESSES
from orchestrator.results.naming import grouped, is_eager, key_of
from orchestrator.samples import Estimate
from orchestrator.statistics import geometric_mean, over_models, over_workloads, wilson

Row = dict[str, Any]
Seen = Mapping[str, Any]
"""A row of the summary."""

SECTION = ("suite", "mode", "dtype", "device", "seed", "threads", "build")
OF_A_SECTION = ("model", "batch_size", "sequence_length")
"""What tells the workloads of a section apart."""
OVERVIEW = (
    *(*SECTION, "compiler", "geomean_speedup", "geomean_speedup_low", "geomean_speedup_high", "geomean_interval"),
    *("geomean_over_models_low", "geomean_over_models_high", "geomean_speedup_clipped"),
    *("geomean_count", "geomean_disturbed", "geomean_models"),
    *("pass_rate_percent", "pass_rate_low_percent", "pass_rate_high_percent", "passed", "planned"),
    *("performance_passed", "performance_planned", "accuracy_passed", "accuracy_planned"),
    *("mean_compile_latency_cold_s", "mean_compile_latency_cold_count"),
    *("geomean_compression_ratio", "geomean_compression_count"),
)

MEANS: Mapping[str, tuple[str, str, str]] = {
    "geomean_speedup": ("geomean_speedup_low", "geomean_speedup_high", "geomean_count"),
    "pass_rate_percent": ("pass_rate_low_percent", "pass_rate_high_percent", "planned"),
    "mean_compile_latency_cold_s": ("", "", "mean_compile_latency_cold_count"),
    "geomean_compression_ratio": ("", "", "geomean_compression_count"),
}
"""Mean over the models that `history` shows -> the ends of its 95 % interval, and of how many workloads it is."""


def overview_rows(summary: Sequence[Seen]) -> list[Row]:
    """Return the rows of all sections, in the order of `summary`."""
    return [row for rows in grouped(summary, SECTION).values() for row in _section(rows)]


def _section(rows: Sequence[Seen]) -> list[Row]:
    by_compiler: dict[str, list[Seen]] = defaultdict(list)
    for row in rows:
        by_compiler[row["compiler"]].append(row)
    compilers = sorted(by_compiler, key=lambda name: (not is_eager(name), name))
    shared = common(by_compiler)
    head = {name: rows[0][name] for name in SECTION}
    return [head | {"compiler": name} | _figures(by_compiler[name], shared) for name in compilers]


def common(by_compiler: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[tuple[Any, ...]]:
    """Return the workloads that every compared compiler ran, none of them with wrong results.

    A compiler that ran nothing at all (it is not installed, say) is not compared, so that it does not take the
    others' means away.
    """
    ran = [{workload_of(row) for row in rows if row.get("speedup") is not None} for rows in by_compiler.values()]
    ran = [workloads for workloads in ran if workloads]
    wrong = {workload_of(row) for rows in by_compiler.values() for row in rows if row.get("accuracy") == FAIL_ACCURACY}
    return set.intersection(*ran) - wrong if ran else set()


def workload_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells the workloads of a section apart."""
    return key_of(row, OF_A_SECTION)


def _figures(rows: Sequence[Seen], shared: set[tuple[Any, ...]]) -> Row:
    compared = [row for row in rows if workload_of(row) in shared]
    timed = [row for row in compared if row.get("speedup") is not None]
    ratios, compile_s = (
        [row[name] for row in compared if row.get(name) is not None]
        for name in ("compression_ratio", "compile_latency_cold_s")
    )
    passed = sum(map(_has_passed, rows))
    low, high = wilson(passed, len(rows))
    return {
        **(_geomean(timed) if timed else {}),
        "geomean_count": len(timed),
        "pass_rate_percent": 100 * passed / len(rows),
        "pass_rate_low_percent": 100 * low,
        "pass_rate_high_percent": 100 * high,
        "passed": passed,
        "planned": len(rows),
        **_counts("performance", rows),
        **_counts("accuracy", rows),
        "mean_compile_latency_cold_s": sum(compile_s) / len(compile_s) if compile_s else None,
        "mean_compile_latency_cold_count": len(compile_s),
        "geomean_compression_ratio": geometric_mean(ratios),
        "geomean_compression_count": len(ratios),
    }


def _geomean(timed: Sequence[Seen]) -> Row:
    """Return the geometric mean of the speed-ups, its two intervals, and what is in it."""
    models: dict[str, list[Estimate]] = defaultdict(list)
    for row in timed:
        models[str(row["model"])].append(row["estimate"])
    these = over_workloads([row["estimate"] for row in timed])
    like_these = over_models(list(models.values()))
    return {
        "geomean_speedup": these.value,
        "geomean_speedup_low": these.low,
        "geomean_speedup_high": these.high,
        "geomean_interval": these.kind if these.low is not None else None,
        "geomean_over_models_low": like_these.low,
        "geomean_over_models_high": like_these.high,
        "geomean_speedup_clipped": geometric_mean([max(row["speedup"], 1.0) for row in timed]),
        "geomean_disturbed": sum(bool(row.get("disturbed")) for row in timed),
        "geomean_models": ", ".join(models),
    }


def _has_passed(row: Seen) -> bool:
    """Return whether every planned measure passed; of one whose later rounds wait, the rounds that there are."""
    timed = SUCCESSES | {NOT_RUN} if row.get("rounds") else SUCCESSES
    return row.get("performance") in {None, *timed} and row.get("accuracy") in {None, *SUCCESSES}


def _counts(measure: str, rows: Sequence[Seen]) -> Row:
    planned = [row[measure] for row in rows if row.get(measure) is not None]
    return {
        f"{measure}_passed": sum(status in SUCCESSES for status in planned),
        f"{measure}_planned": len(planned),
    }
