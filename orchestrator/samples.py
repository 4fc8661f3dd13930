"""What the samples of one process say: its speed-up with an interval, and the spread of its latencies.

All samples stay in the records, and outliers are counted, not removed. Location and interval of a round are those of
its calmest pairs, because what disturbs a machine only ever makes it slower (`calm_pair_logs`). What several
processes say together is in `orchestrator.statistics`, which a worker does not import: it needs scipy.
"""

from __future__ import annotations

import functools
import math
import operator
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
MINIMUM_PAIRS = 6
"""Fewer values hold no 95 % interval of their median: their whole range covers it with 1 - 2 * 0.5**n < 0.95."""
CALM_PART, CALM_LEAST = 0.25, 8
"""A round's speed-up is that of the calmest quarter of its pairs, at least of eight (of all, where there are fewer)."""
IN_PROCESS = "in-process"


@dataclass(frozen=True)
class Estimate:
    """A ratio with its 95 % interval. `low` and `high` are None when there are too few samples for one.

    `kind` is "rounds" (spread between fresh processes), "in-process" (one process: it cannot know how much another
    process would have differed), "unpaired" (processes of eager against processes of the compiler: the wide one) or
    "models" (spread between models). `count` is the number of these: rounds, pairs, processes a side, models.

    What a mean of several is made of: `error`, the standard error of the logarithm, its degrees of freedom (infinite:
    normal), and `within`, the half-width that the pairs alone leave open. Without them it is the interval's own.
    """

    value: float
    low: float | None
    high: float | None
    kind: str
    count: int
    error: float | None = None
    freedom: float = math.inf
    within: float | None = None

    @property
    def half(self) -> float | None:
        """Half of the interval's width, in logarithms; None where there is none."""
        return math.log(self.high / self.low) / 2 if self.low and self.high else None


def pair_logs(eager: Sequence[float], compiled: Sequence[float]) -> list[float]:
    """Return log(eager / compiled) of each pair, above 0 where compiled is faster.

    Raises ValueError when the lengths differ (a pair is two samples next to each other in time) or a value is
    not a positive finite number.
    """
    if len(eager) != len(compiled):
        raise ValueError(f"{len(eager)} eager and {len(compiled)} compiled samples are not pairs")
    both = (*eager, *compiled)
    if both and not (min(both) > 0 and math.isfinite(sum(both))):
        raise ValueError("a latency of a pair is not a positive number")
    return [math.log(a / b) for a, b in zip(eager, compiled, strict=True)]


def calm_pair_logs(eager: Sequence[float], compiled: Sequence[float]) -> list[float]:
    """Return `pair_logs` of the `calm_pairs`, in time order. Raises ValueError as `pair_logs` does."""
    logs = pair_logs(eager, compiled)
    return [logs[i] for i in calm_pairs(eager, compiled)]


def calm_pairs(eager: Sequence[float], compiled: Sequence[float]) -> Sequence[int]:
    """Return the numbers of the pairs that took the shortest time together (eager times compiled), in time order.

    Whatever disturbs a machine makes it slower, and the slower side more than the other: with a neighbour on the same
    host, a small BERT's eager step took 1.75 ms instead of 0.77 and inductor's 0.76 instead of 0.44, a ratio of 2.3
    instead of 1.74. So the pairs are taken in which it was least disturbed, as timing by the minimum does (Chen and
    Revels, Robust benchmarking in noisy environments, 2016); chosen by the product of both sides, which treats them
    alike: where both are the same, every chosen pair is as likely above 1 as below.

    Against all pairs, over 10, 7 and 5 sweeps on a shared machine, the standard deviation of the speed-up fell from
    4.0 to 2.3 %, from 2.4 to 0.7 % and from 1.1 to 0.2 %; of 40 comparisons of eager with itself none was called, and
    a slow-down of 3 % was found in 20 of 20 (docs/measuring.md).
    """
    wanted = max(math.ceil(CALM_PART * len(eager)), CALM_LEAST)
    if len(eager) <= wanted:
        return range(len(eager))
    products = [a * b for a, b in zip(eager, compiled, strict=True)]
    limit = sorted(products)[wanted - 1]
    return [i for i, product in enumerate(products) if product <= limit]


def one_round(logs: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the speed-up of one round: exp of the median of its pairs' log-ratios, with its in-process interval.

    The interval is the distribution-free one for a median: order statistics by the sign test (Conover, Practical
    Nonparametric Statistics, 3rd ed., 3.2), in the normal approximation of the binomial. That test takes the
    pairs as independent, and a machine that drifts makes neighbours alike, so the number of pairs is replaced by
    the effective one, n (1 - r) / (1 + r), with r the lag-1 autocorrelation of the *signs* around the median
    (the variance of an AR(1) mean; signs, because they are what the sign test counts). r < 0 counts as 0.

    Chosen over a bootstrap of the median (BCa) by simulation, coverage of a nominal 95 % at 20 pairs: normal
    0.99 against 0.93, log-normal 0.99 against 0.92, AR(1) with 0.4 0.96 against 0.79, with 0.6 0.94 against
    0.73; at 100 pairs 0.97, 0.97, 0.95 and 0.92. It is also exact to reproduce: no random numbers.
    """
    values = sorted(logs)  # not numpy: of some dozens of values, and ten thousand rounds, it is the slower
    count = len(values)
    if count == 0:
        raise ValueError("no pairs")
    median = statistics.median(values)
    if count < MINIMUM_PAIRS:
        return Estimate(math.exp(median), None, None, IN_PROCESS, count)
    signs = [(value > median) - (value < median) for value in logs]
    energy = sum(map(abs, signs))
    correlation = sum(map(operator.mul, signs[1:], signs)) / energy if energy else 0.0
    correlation = min(max(correlation, 0.0), 0.9)
    effective = count * (1 - correlation) / (1 + correlation)
    half = normal(confidence) * 0.5 * count / math.sqrt(effective)
    rank = max(math.floor(count / 2 - half), 1)
    low, high = values[rank - 1], values[count - rank]
    return Estimate(math.exp(median), math.exp(low), math.exp(high), IN_PROCESS, count)


@functools.cache
def normal(confidence: float) -> float:
    """Return the normal quantile of a two-sided interval, 1.96 for 95 %."""
    return statistics.NormalDist().inv_cdf((1 + confidence) / 2)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of samples (their unit), and how many lie outside Tukey's fences."""

    median: float
    low: float
    high: float
    count: int
    outliers: int

    @property
    def iqr_percent(self) -> float:
        """Interquartile range in percent of the median; also the mark of a disturbed run when over 10."""
        return 100 * (self.high - self.low) / self.median


def spread(values: Sequence[float]) -> Spread:
    """Summarise samples. Outliers lie more than 1.5 IQR outside the quartiles (Tukey 1977); they stay counted in."""
    ordered = sorted(values)
    low, median, high = (quantile(ordered, part) for part in (0.25, 0.5, 0.75))
    fence = 1.5 * (high - low)
    outliers = sum(value < low - fence or value > high + fence for value in values)
    return Spread(median, low, high, len(values), outliers)


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return a quantile of sorted values, linear between neighbours (definition 7 of Hyndman and Fan, 1996)."""
    place = (len(ordered) - 1) * part
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
