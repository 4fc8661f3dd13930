"""Percentiles of samples: how long the slow ones take. Empty where there are too few samples to know."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.results.metrics import MS, PERCENTS
from orchestrator.samples import CONFIDENCE, quantile

LATENCY = tuple(f"latency_p{percent}_ms" for percent in PERCENTS)
INTER_TOKEN = (*(f"inter_token_p{percent}_ms" for percent in PERCENTS), "inter_token_count")
PERCENTILES = (*LATENCY, *INTER_TOKEN)
"""Columns. How many latencies there are says the column `samples`."""


def least(percent: int) -> int:
    """Return how many samples a percentile needs: so many that with 95 % one lies beyond it, n = ln 0.05 / ln p.

    5 of the 50th, 29 of the 90th, 59 of the 95th, 299 of the 99th. Source: Wilks, Determination of sample sizes for
    setting tolerance limits, Ann. Math. Statist. 12 (1941).
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percent / 100))


def percentiles(latencies: Sequence[float], intervals: Sequence[float]) -> dict[str, float | int | None]:
    """Return the columns of `PERCENTILES`, of the samples of all rounds together, in seconds."""
    found: dict[str, float | int | None] = {"inter_token_count": len(intervals) or None}
    for name, values in (("latency", latencies), ("inter_token", intervals)):
        ordered = sorted(values)
        for percent in PERCENTS:
            known = len(ordered) >= least(percent)
            found[f"{name}_p{percent}_ms"] = quantile(ordered, percent / 100) * MS if known else None
    return found
