"""Does one training go like another? Differences seen over several seeds, their interval, and the word for it.

The interval is Student's t over seeds. A word is certain only where the whole interval is on one side of a margin: no
training in other arithmetic is the same to the bit, so "no difference" cannot be shown, "a smaller one than this" can
(the confidence-interval inclusion rule of equivalence tests: Westlake, Biometrics 32, 1976; Schuirmann 1987).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LIKE, UNLIKE, OPEN = "like eager", "not like eager", "cannot tell"


@dataclass(frozen=True)
class Difference:
    """The mean of differences over seeds, and its interval."""

    mean: float
    low: float
    high: float

    def word(self, margin: float) -> str:
        """Return LIKE where the interval lies within +- `margin`, UNLIKE where wholly beyond it, OPEN else."""
        if -margin <= self.low and self.high <= margin:
            return LIKE
        return UNLIKE if self.low > margin or self.high < -margin else OPEN

    def around(self, middle: float) -> Difference:
        """Return the same of what was compared, not of its difference from `middle`."""
        return Difference(self.mean + middle, self.low + middle, self.high + middle)

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} % [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def difference(values: Sequence[float], risk: float) -> Difference:
    """Return the mean of two or more values, with the two-sided interval that misses the truth with the chance `risk`.

    Values that are all the same are known, infinity too; else what is not finite makes an interval that says nothing.
    """
    if len(set(values)) == 1:
        return Difference(values[0], values[0], values[0])
    if not all(map(math.isfinite, values)):
        return Difference(math.nan, -math.inf, math.inf)
    mean = statistics.fmean(values)
    half = student(len(values) - 1, 1 - risk) * statistics.stdev(values) / math.sqrt(len(values))
    return Difference(mean, mean - half, mean + half)


def student(freedom: int, confidence: float) -> float:
    """Return the two-sided quantile of Student's t with a whole number of degrees of freedom; scipy is no worker's.

    The distribution is a finite sum of an angle's powers (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.3 and 26.7.4); the angle is found by halving.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _inside(angle: float, freedom: int) -> float:
    """Return P(|t| < tan(angle) * sqrt(freedom))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def fall(losses: Sequence[float], batches: int) -> float:
    """Return by how much the loss fell: the mean over all later visits of a batch, below that of its first visit."""
    return statistics.fmean(losses[step % batches] - losses[step] for step in range(batches, len(losses)))


def progress(eager: Sequence[float], other: Sequence[float], batches: int) -> float:
    """Return how much more another training's loss fell than eager's, as a share of eager's fall; NaN of none."""
    fell = fall(eager, batches)
    more = statistics.fmean(one - two for one, two in zip(eager[batches:], other[batches:], strict=True))
    return more / fell if fell > 0 else math.nan
