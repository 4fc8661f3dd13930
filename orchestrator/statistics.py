"""Estimates and intervals: what a speed-up is, how sure of it we are, and what may be said about it.

All of it is on logarithms of ratios: `log(2x)` and `log(0.5x)` are equally far from "no difference", and the
arithmetic mean of logarithms is the geometric mean of ratios.

What one process says is in `orchestrator.samples`; here is what several say together.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.samples import CONFIDENCE, IN_PROCESS, Estimate, normal

THRESHOLD = 0.01
"""Effects below 1 % are never called: memory layout alone moves a process by that much (docs/measuring.md)."""
MEDIAN_VARIANCE = (1.0, 0.5, 0.44867, 0.2982, 0.28683, 0.21474, 0.21045, 0.16818, 0.1661, 0.13833)
"""Variance of the median of 1, 2, ... 10 standard normal values, by integration over their order statistics."""
ROUNDS = "rounds"
UNPAIRED = "unpaired"
MODELS = "models"
FASTER, SLOWER, NOISE = "faster", "slower", "within noise"


@functools.cache
def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Return the quantile of Student's t of a two-sided interval; `freedom` need not be whole, and may be infinite.

    scipy is imported here: only who has rounds pays half a second for it. (scipy.stats would be five times that.)
    """
    if math.isinf(freedom):
        return normal(confidence)
    from scipy import special

    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the variance (n - 1; 0 of one value)."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)


@dataclass(frozen=True)
class Others:
    """How much the rounds of the sweep's other rows differ (`orchestrator.deciding.others_of`).

    `variance` of a round's logarithm, and the degrees of freedom that it counts for beside a row's own.
    """

    variance: float
    freedom: float


def over_rounds(rounds: Sequence[Estimate], confidence: float = CONFIDENCE, others: Others | None = None) -> Estimate:
    """Combine the rounds of one job: their median, with an interval from Student's t on the rounds' log-ratios.

    Each round is one observation, whatever its number of pairs: what differs between processes is what the
    interval must hold. One round returns itself. Two rounds alone give an honest and very wide interval
    (t = 12.7 standard errors).

    Few rounds say little of their own spread. So the variance is moderated by that of the sweep's `others`, as if f
    more degrees of freedom had been seen with theirs: (f s0^2 + (n - 1) s^2) / (f + n - 1), with Student's quantile of
    f + n - 1 (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004). Without others it is the row's own; so it is where that is
    larger than 95 % of rows like the others have it, by the F distribution: such a row is not like them.

    The median, because a shared machine now and then disturbs a whole process, and with it a whole round. Against the
    mean of three rounds the standard deviation of a small BERT's speed-up fell from 2.3 to 0.8 % over 10 sweeps, from
    0.7 to 0.5 % over 7 others, and the intervals held the mean of the other sweeps 17 times of 17 instead of 15.
    The price is an interval that is 1.16 times (3 rounds) to 1.2 times (5) as wide: the standard error is that of a
    median, s sqrt(`median_variance`), with s the rounds' standard deviation, outliers included.

    Three rounds agree by chance now and then far better than their pairs let them; so the interval is never narrower
    than what the pairs alone leave open, the rounds' in-process half-widths h taken together as the median takes them:
    sqrt(sum h^2 / n * `median_variance`) (a round's variance is its in-process one plus that between processes, so
    never less).
    """
    if len(rounds) == 1:
        return rounds[0]
    count = len(rounds)
    logs = [math.log(estimate.value) for estimate in rounds]
    middle, (_, variance) = statistics.median(logs), _moments(logs)
    freedom = count - 1.0
    if others is not None and variance <= _largest_ratio(freedom, others.freedom) * others.variance:
        freedom += others.freedom
        variance = (others.freedom * others.variance + (count - 1) * variance) / freedom
    error = math.sqrt(variance * median_variance(count))
    within = _within(rounds) * normal(confidence) / normal(CONFIDENCE)
    half = max(student(freedom, confidence) * error, within)
    return Estimate(*_around(middle, half), ROUNDS, count, error, freedom, within)


@functools.cache
def _largest_ratio(freedom: float, of_others: float, confidence: float = CONFIDENCE) -> float:
    """Return the quantile of the F distribution: how much larger than the others' a variance like theirs comes out."""
    from scipy import special

    return float(special.fdtri(freedom, of_others, confidence))


def median_variance(count: int) -> float:
    """Return the variance of the median of `count` normal values, relative to that of one; pi / 2n for many."""
    return MEDIAN_VARIANCE[count - 1] if count <= len(MEDIAN_VARIANCE) else math.pi / 2 / count


def _within(rounds: Sequence[Estimate]) -> float:
    """Return the half-width, in logarithms, that the pairs inside the processes alone give the median of the rounds.

    A round with too few pairs for an interval counts as 0: nothing is known of it.
    """
    halves = [half for round in rounds if (half := round.half) is not None]
    return math.hypot(*halves) * math.sqrt(median_variance(len(rounds)) / len(rounds))


def unpaired(eager: Sequence[float], compiled: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the speed-up where eager and compiled cannot be in one process: from the medians of whole processes.

    Both are positive medians, in seconds, one a process. The ratio of geometric means, with Welch's t interval on the
    logarithms (Welch, Biometrika 34, 1947): what each process gets of memory layout and clock does not cancel, and is
    in the interval. One process a side has no interval.
    """
    counts = [len(eager), len(compiled)]
    moments = [_moments([math.log(value) for value in side]) for side in (eager, compiled)]
    difference = moments[0][0] - moments[1][0]
    if min(counts) < 2:
        return Estimate(math.exp(difference), None, None, UNPAIRED, min(counts))
    errors = [variance / count for (_, variance), count in zip(moments, counts, strict=True)]
    total = sum(errors)
    freedom = _freedom(errors, [count - 1 for count in counts])
    half = student(freedom, confidence) * math.sqrt(total)
    return Estimate(*_around(difference, half), UNPAIRED, min(counts), math.sqrt(total), freedom, 0.0)


def over_workloads(estimates: Sequence[Estimate], confidence: float = CONFIDENCE) -> Estimate:
    """Return the geometric mean of the speed-ups of *these* workloads: how well is it known, measured as it was?

    The workloads are fixed: how much they differ is no uncertainty of their mean. Each was measured in processes of its
    own, so with n workloads and standard errors e of their logarithms, the mean's is sqrt(sum e^2) / n, with the
    degrees of freedom of Welch and Satterthwaite, (sum e^2)^2 / sum(e^4 / f), and Student's quantile of these
    (Satterthwaite, Biometrics Bulletin 2, 1946; Welch, Biometrika 34, 1947). As of one workload (`over_rounds`), it is
    never narrower than what the pairs alone leave open. One workload returns itself.

    There is no interval where a workload has none. `kind` is the weakest of theirs: in-process, unpaired, rounds.
    Coverage of a nominal 95 %: test_statistics.py, docs/measuring.md. Raises ValueError of nothing.
    """
    if len(estimates) == 1:
        return estimates[0]
    count, value = len(estimates), geometric_mean([estimate.value for estimate in estimates])
    if value is None:
        raise ValueError("no workloads")
    kinds = {estimate.kind for estimate in estimates}
    kind = next(kind for kind in (IN_PROCESS, UNPAIRED, ROUNDS) if kind in kinds)
    halves = [half for estimate in estimates if (half := estimate.half) is not None]
    if len(halves) < count:
        return Estimate(value, None, None, kind, count)
    pairs = list(zip(estimates, halves, strict=True))
    errors = [half / normal(confidence) if one.error is None else one.error for one, half in pairs]
    error, freedom = math.hypot(*errors) / count, _freedom([e**2 for e in errors], [one.freedom for one in estimates])
    within = math.hypot(*(half if one.within is None else one.within for one, half in pairs)) / count
    half = max(student(freedom, confidence) * error, within)
    return Estimate(*_around(math.log(value), half), kind, count, error, freedom, within)


def over_models(models: Sequence[Sequence[Estimate]], confidence: float = CONFIDENCE) -> Estimate:
    """Return the geometric mean of the speed-ups of workloads, with the interval of the mean of *models like these*.

    models: the workloads of each model. The models are a sample, and the mean is that of all models that they could
    have been drawn from: Student's t over models. Workloads of one model (batch sizes, lengths) are one observation,
    however many they are: with d the change of the mean when one of m models is left out, the standard error is
    sqrt((m - 1) / m * sum d^2), with m - 1 degrees of freedom (the jackknife: Tukey, Ann. Math. Statist. 29, 1958, 614;
    where all models have as many workloads it is s / sqrt(m), s the standard deviation of their mean logarithms).

    One model has no interval, two have an honest and very wide one (t = 12.7). It is never narrower than that of
    `over_workloads`: two models may agree by chance better than either is known.
    """
    rows = [estimate for workloads in models for estimate in workloads]
    fixed, count = over_workloads(rows, confidence), len(models)
    if count < 2:
        return Estimate(fixed.value, None, None, MODELS, count)
    middle = math.log(fixed.value)
    changes = [
        math.fsum(math.log(one.value) - middle for one in workloads) / (len(rows) - len(workloads))
        for workloads in models
    ]
    error = math.hypot(*changes) * math.sqrt((count - 1) / count)
    half = max(student(count - 1, confidence) * error, fixed.half or 0.0)
    return Estimate(*_around(middle, half), MODELS, count)


def _around(middle: float, half: float) -> tuple[float, float, float]:
    """Return value, low and high of an interval that is symmetric on logarithms; an absurd one ends at exp(600)."""
    half = min(half, 600.0)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _freedom(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Return the degrees of freedom of a sum of estimated variances (Welch, Satterthwaite); infinite of exact ones."""
    divisor = math.fsum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return math.fsum(variances) ** 2 / divisor if divisor else math.inf


def wilson(passed: int, planned: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the share of `passed` in `planned`, both ends in [0, 1]. Raises ValueError of nothing.

    The score interval (Wilson, J. Am. Stat. Assoc. 22, 1927), which is right on average from a handful on, never leaves
    [0, 1] and has a width where all or none passed (Brown, Cai and DasGupta, Statist. Sci. 16, 2001). It is about
    models like these: of these models, what passed is known.
    """
    if planned < 1:
        raise ValueError("nothing was planned")
    z, share = normal(confidence), passed / planned
    middle = (share + z**2 / (2 * planned)) / (1 + z**2 / planned)
    half = z / (1 + z**2 / planned) * math.sqrt(share * (1 - share) / planned + z**2 / (4 * planned**2))
    return middle - half if passed else 0.0, middle + half if passed < planned else 1.0


def verdict(estimate: Estimate, threshold: float = THRESHOLD) -> str:
    """Return "faster" or "slower" only if the interval excludes 1 *and* the effect is over `threshold`.

    Everything else, an estimate without an interval included, is "within noise".
    """
    if estimate.low is None or estimate.high is None or abs(math.log(estimate.value)) <= math.log1p(threshold):
        return NOISE
    if estimate.low > 1:
        return FASTER
    return SLOWER if estimate.high < 1 else NOISE


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean, None of nothing. No clipping at 1: a slow-down counts as what it is."""
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios)) if ratios else None


def deviation_percent(values: Sequence[float]) -> float:
    """Return the standard deviation (n - 1) of two or more values, in percent of their mean."""
    mean, variance = _moments(values)
    return 100 * math.sqrt(variance) / mean


def break_even(compile_latency: float, eager_latency: float, latency: float) -> int | None:
    """Return after how many iterations compiling has paid for itself; None if compiled is not faster.

    All three in seconds. Formula: compile latency / (eager latency - compiled latency), rounded up.
    """
    gain = eager_latency - latency
    return math.ceil(max(compile_latency, 0.0) / gain) if gain > 0 else None
