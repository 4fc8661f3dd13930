"""Has a figure changed between two sweeps? Ratios of after to before, with intervals, over many rows at once.

A figure of a row is one value a round, a fresh process each. Three rounds say little about their own spread, and a
comparison of a hundred rows makes a hundred chances to be wrong. Both have a classical answer, and both are used:

- *moderated variances*: the spread of a row's rounds is taken together with that of all rows of the metric, which
  counts as `PRIOR` degrees of freedom (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004; there the prior's weight is
  estimated, here it is fixed: a sweep may have two rows). The interval is Welch's.
- *Holm's correction*: a change is called only if its p-value holds among all that were compared, so that with 95 %
  no row of a comparison is called changed by chance (Holm, Scand. J. Statist. 6, 1979).

All of it is on logarithms, as in `orchestrator.results.statistics`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from orchestrator.results.statistics import CONFIDENCE

PRIOR = 4.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one row: `values`, positive, one a round.

    `halves`: half-widths of the rounds' in-process intervals, in logarithms, where they have one (speed-ups have).
    """

    values: tuple[float, ...]
    halves: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Geometric mean of the rounds."""
        return math.exp(sum(map(math.log, self.values)) / len(self.values))


@dataclass(frozen=True)
class Change:
    """`ratio` is after / before; `low` and `high` its 95 % interval, `p` its two-sided p-value.

    Where no row of the metric has rounds, `p` is None: nothing is known of how much another process would differ. The
    interval is then that of the pairs inside the processes, and None where these have none.
    """

    ratio: float
    low: float | None
    high: float | None
    p: float | None


def changes(pairs: Sequence[tuple[Figure, Figure]]) -> list[Change]:
    """Return the change of each (before, after) of one metric. Figures must have at least one value."""
    sides = [side for pair in pairs for side in pair]
    freedom = sum(len(side.values) - 1 for side in sides)
    pooled = sum(_squares(side) for side in sides) / freedom if freedom else None
    return [_change(before, after, pooled, freedom) for before, after in pairs]


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return the adjusted p-values (Holm 1979), None where there is none: they are not among the tests."""
    order = sorted((p, index) for index, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


def _change(before: Figure, after: Figure, pooled: float | None, pooled_freedom: int) -> Change:
    sides = (before, after)
    distance = math.log(after.mean / before.mean)
    within = math.hypot(*(_within(side) for side in sides)) / float(special.ndtri((1 + CONFIDENCE) / 2))
    if pooled is None:
        if not all(side.halves for side in sides):
            return Change(math.exp(distance), None, None, None)
        return dataclasses.replace(_interval(distance, within, math.inf), p=None)
    terms, freedoms = [], []
    for side in sides:
        own = len(side.values) - 1
        freedoms.append(PRIOR + own)
        terms.append((PRIOR * pooled + _squares(side)) / freedoms[-1] / len(side.values))
    total = sum(terms)
    freedom = total**2 / sum(t**2 / f for t, f in zip(terms, freedoms, strict=True)) if total else math.inf
    freedom = min(freedom, pooled_freedom)  # with one row the prior is that row again, and counts once
    return _interval(distance, max(math.sqrt(total), within), freedom)


def _interval(distance: float, error: float, freedom: float) -> Change:
    if error == 0:  # all rounds alike, to the bit: there is no chance in it
        return Change(math.exp(distance), math.exp(distance), math.exp(distance), 1.0 if distance == 0 else 0.0)
    if math.isinf(freedom):
        quantile, p = float(special.ndtri((1 + CONFIDENCE) / 2)), 2 * float(special.ndtr(-abs(distance) / error))
    else:
        quantile = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
        p = 2 * float(special.stdtr(freedom, -abs(distance) / error))
    half = quantile * error
    return Change(math.exp(distance), math.exp(distance - half), math.exp(distance + half), p)


def _squares(side: Figure) -> float:
    """Return the sum of squared deviations of the logarithms from their mean."""
    mean = math.log(side.mean)
    return sum((math.log(value) - mean) ** 2 for value in side.values)


def _within(side: Figure) -> float:
    """Return the half-width that the pairs inside the processes alone give the mean of the rounds."""
    return math.hypot(*side.halves) / len(side.values)
