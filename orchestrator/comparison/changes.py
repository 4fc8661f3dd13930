"""Has a figure changed between two sweeps? Ratios of after to before, with intervals, over many rows at once.

A figure of a row is one value a round, a fresh process each. Three rounds say little about their own spread, and a
comparison of a hundred rows makes a hundred chances to be wrong. Both have a classical answer, and both are used:

- *moderated variances*: the spread of a row's rounds is taken together with that of all rows of the metric, which
  counts as `PRIOR` degrees of freedom (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004; there the prior's weight is
  estimated, here it is fixed: a sweep may have two rows). The interval is Welch's.
- *Holm's correction*: a change is called only if its p-value holds among all that were compared, so that with 95 %
  no row of a comparison is called changed by chance (Holm, Scand. J. Statist. 6, 1979).

What is shown is the ratio of the rounds' medians, as `report` shows medians; its interval is a median's. What is tested
is the difference of their means, which has more power: with three rounds a change of 5 % was found in nine of ten
comparisons instead of four of ten (by simulation, 30 rows). A disturbed round widens both and fakes neither.

All of it is on logarithms, as in `orchestrator.statistics`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from orchestrator.samples import CONFIDENCE, Estimate
from orchestrator.statistics import ROUNDS, median_variance, over_workloads, student

PRIOR = 4.0
NORMAL = 1.959963984540054  # quantile of the normal distribution at (1 + CONFIDENCE) / 2


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one row: `values`, positive, one a round.

    `halves`: half-widths of the rounds' in-process intervals, in logarithms, where they have one (speed-ups have).
    """

    values: tuple[float, ...]
    halves: tuple[float, ...] = ()

    @cached_property
    def log_mean(self) -> float:
        """Mean of the rounds' logarithms."""
        return sum(map(math.log, self.values)) / len(self.values)

    @cached_property
    def middle(self) -> float:
        """Median of the rounds (on logarithms): what `report` shows of a speed-up."""
        return math.exp(statistics.median(map(math.log, self.values)))


@dataclass(frozen=True)
class Change:
    """`ratio` is after / before; `low` and `high` its 95 % interval, `p` its two-sided p-value.

    Where no row of the metric has rounds, `p` is None: nothing is known of how much another process would differ. The
    interval is then that of the pairs inside the processes, and None where these have none.

    What a mean of several is made of (`over_rows`): `error`, the standard error of the ratio's logarithm, its degrees
    of freedom, and `own`, those of the two figures alone; None, infinite and 0 where there is no `p`.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None
    error: float | None = field(default=None, compare=False)
    freedom: float = field(default=math.inf, compare=False)
    own: int = field(default=0, compare=False)

    @property
    def estimate(self) -> Estimate:
        """The ratio as an estimate of `orchestrator.statistics`. What the pairs alone leave open is in its error."""
        within = None if self.error is None else 0.0
        return Estimate(self.ratio, self.low, self.high, ROUNDS, self.own, self.error, self.freedom, within)


def changes(pairs: Sequence[tuple[Figure, Figure]]) -> list[Change]:
    """Return the change of each (before, after) of one metric. Figures must have at least one value."""
    sides = [side for pair in pairs for side in pair]
    freedom = sum(len(side.values) - 1 for side in sides)
    pooled = sum(_squares(side) for side in sides) / freedom if freedom else None
    if pooled is None:
        return [_of_pairs_only(before, after) for before, after in pairs]
    owns = [len(before.values) + len(after.values) - 2 for before, after in pairs]
    return _intervals([_estimate(before, after, pooled, freedom) for before, after in pairs], owns)


def over_rows(found: Sequence[Change]) -> Estimate:
    """Return the geometric mean of the ratios of rows, with the interval for exactly these rows.

    Rows are measured in processes of their own: their standard errors add up as squares (`statistics.over_workloads`).
    Their variances share the pooled one, so that together they know no more degrees of freedom than all their rounds
    have. Coverage of a nominal 95 %: tests/test_comparison.py. Raises ValueError of nothing.
    """
    mean = over_workloads([change.estimate for change in found])
    if len(found) == 1 or mean.error is None or any(change.error is None for change in found):
        return mean
    half = student(min(mean.freedom, sum(change.own for change in found))) * mean.error
    return replace(mean, low=mean.value * math.exp(-half), high=mean.value * math.exp(half))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return the adjusted p-values (Holm 1979), None where there is none: they are not among the tests."""
    order = sorted((p, index) for index, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


def _of_pairs_only(before: Figure, after: Figure) -> Change:
    """Return the change where no row has rounds: with the interval of the pairs, if both sides have it."""
    distance, half = math.log(after.middle / before.middle), math.hypot(_within(before), _within(after))
    if not (before.halves and after.halves):
        return Change(math.exp(distance), None, None, None)
    return Change(math.exp(distance), math.exp(distance - half), math.exp(distance + half), None)


def _estimate(before: Figure, after: Figure, pooled: float, pooled_freedom: int) -> tuple[float, ...]:
    """Return, of medians and of means, the logarithm of the ratio and its standard error; and the degrees of freedom.

    Welch's, with moderated variances; the variance of a side's median is `median_variance` of that of a round.
    """
    within = math.hypot(_within(before), _within(after)) / NORMAL
    of_median = of_mean = divisor = 0.0
    for side in (before, after):
        count, own = len(side.values), len(side.values) - 1
        variance = (PRIOR * pooled + _squares(side)) / (PRIOR + own)
        of_median += variance * median_variance(count)
        of_mean += variance / count
        divisor += (variance / count) ** 2 / (PRIOR + own)
    freedom = of_mean**2 / divisor if divisor else math.inf
    freedom = min(freedom, pooled_freedom)  # one row is its own prior: once only
    errors = [max(math.sqrt(total), within) for total in (of_median, of_mean)]
    medians, means = math.log(after.middle / before.middle), after.log_mean - before.log_mean
    return medians, errors[0], means, errors[1], freedom


def _intervals(estimates: Sequence[tuple[float, ...]], owns: Sequence[int]) -> list[Change]:
    """Return changes from what `_estimate` returns; all at once, for speed."""
    if not estimates:
        return []
    import numpy as np  # here: half a second, with scipy's, that verbs which compare nothing do not pay
    from scipy import special

    distance, error, of_means, error_of_means, freedom = np.array(estimates).T
    half = special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(freedom, -np.abs(of_means) / error_of_means)
    # no error: all rounds alike, to the bit, and there is no chance in it
    p = np.where(error_of_means > 0, p, np.where(of_means == 0, 1.0, 0.0))
    columns = (np.exp(distance), np.exp(distance - half), np.exp(distance + half), p, error, freedom)
    return [Change(*row) for row in zip(*(column.tolist() for column in columns), owns, strict=True)]


def _squares(side: Figure) -> float:
    """Return the sum of squared deviations of the logarithms from their mean."""
    return sum((math.log(value) - side.log_mean) ** 2 for value in side.values)


def _within(side: Figure) -> float:
    """Return the half-width that the pairs inside the processes alone give the median of the rounds."""
    count = len(side.values)
    return math.hypot(*side.halves) * math.sqrt(median_variance(count) / count)
