"""When is a row decided? Looked at after each round, with what the sweep's other rows say of how much rounds differ.

Two questions that a few rounds cannot answer alone: how much another process would differ (`others_of`), and whether to
look again costs honesty (`verdict_so_far`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from orchestrator.samples import Estimate
from orchestrator.statistics import FASTER, NOISE, SLOWER, Others, over_rounds

EARLY = 0.999
"""Confidence that a verdict before the last planned round needs. The boundary of Haybittle (Br. J. Radiol. 44, 1971)
and Peto et al. (Br. J. Cancer 34, 1976): looks so strict leave the last one its 95 % all but untouched."""
MOST_FREEDOM = 4.0
"""For which the other rows count at most: a sweep's rows are of different models, and need not be alike."""
SMALLEST, LARGEST = 1e-6, 1e6
"""Of a variance of logarithms, and of degrees of freedom, in which they are still computed."""
LEAST_VARIANCE = 1e-8
"""Of rounds that agree to the bit: 0.01 % is below what a clock tells."""


def others_of(rows: Sequence[Sequence[float]]) -> list[Others | None]:
    """Return for each row what the rounds of all *other* rows say; `rows`: logarithms of the rounds' figures.

    Both the variance and what it counts for are estimated as by Smyth (2004, section 6.2), from the logarithms of the
    rows' variances: trigamma(f / 2) is by how much these vary beyond what chance alone gives, mean
    trigamma((n - 1) / 2), and the variance is their geometric mean, corrected for its bias: one row that was disturbed
    does not widen the intervals of all. Rows that are alike give a large f, very unlike ones nearly 0; it counts as
    `MOST_FREEDOM` at most, and as half of the others' own degrees of freedom, for a few rows know it badly. None where
    fewer than two others have rounds.
    """
    if sum(len(row) > 1 for row in rows) < 3:
        return [None] * len(rows)
    import numpy as np  # here: half a second, with scipy's, that who has no rounds does not pay
    from scipy import special

    counts = np.array([len(row) for row in rows])
    has = counts > 1
    freedom = np.where(has, counts - 1, 1).astype(float)
    variance = np.array([np.var(row, ddof=1) if len(row) > 1 else 0.0 for row in rows])
    logs = np.log(np.maximum(variance, LEAST_VARIANCE)) - special.digamma(freedom / 2) + np.log(freedom / 2)
    logs, chance, own = (np.where(has, values, 0.0) for values in (logs, special.polygamma(1, freedom / 2), freedom))
    left = has.sum() - has
    mean = (logs.sum() - logs) / np.maximum(left, 1)
    squares = (logs**2).sum() - logs**2 - left * mean**2
    excess = squares / np.maximum(left - 1, 1) - (chance.sum() - chance) / np.maximum(left, 1)
    estimated = np.where(excess > 0, 2 * _inverse_trigamma(np.maximum(excess, SMALLEST)), math.inf)
    half = np.minimum(estimated, LARGEST) / 2
    pooled = np.exp(mean + special.digamma(half) - np.log(half))
    counted = np.minimum(np.minimum(MOST_FREEDOM, (own.sum() - own) / 2), estimated)
    return [
        Others(max(float(v), LEAST_VARIANCE), float(f)) if others > 1 else None
        for v, f, others in zip(pooled, counted, left, strict=True)
    ]


def verdict_so_far(rounds: Sequence[Estimate], others: Others | None, threshold: float) -> tuple[str, Estimate] | None:
    """Return the verdict on a row before its last round, with the interval behind it; None while it is open.

    It is faster or slower when the interval of `EARLY` confidence lies wholly beyond `threshold` (relative), within
    noise when it lies wholly inside of it on both sides.
    """
    if len(rounds) < 2:
        return None
    found = over_rounds(rounds, EARLY, others)
    if found.low is None or found.high is None:
        return None
    low, high, limit = math.log(found.low), math.log(found.high), math.log1p(threshold)
    if low > limit:
        return FASTER, found
    if high < -limit:
        return SLOWER, found
    return (NOISE, found) if -limit < low and high < limit else None


def openness(rounds: Sequence[Estimate], others: Others | None, threshold: float) -> float:
    """Return how much a row would gain by another round: the width, in logarithms, of its 95 % interval.

    Of one round alone its in-process interval, plus the threshold: nothing is known of another process yet. Twice as
    much where an end of the verdict's limits lies inside of it: that is what is open.
    """
    found = over_rounds(rounds, others=others)
    if found.low is None or found.high is None:
        return math.inf
    width = math.log(found.high / found.low) + (math.log1p(threshold) if len(rounds) == 1 else 0.0)
    limit = math.log1p(threshold)
    inside = any(math.log(found.low) < end < math.log(found.high) for end in (-limit, limit))
    return width * (1 + inside)


def _inverse_trigamma(values: Any) -> Any:
    """Return x with trigamma(x) = values (numpy arrays), by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    from scipy import special

    found = 0.5 + 1 / values
    for _ in range(50):
        trigamma = special.polygamma(1, found)
        found = found + trigamma * (1 - trigamma / values) / special.polygamma(2, found)
    return found
