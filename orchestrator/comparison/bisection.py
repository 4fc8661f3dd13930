"""Which step of a history made a row slower, or fail? The search, and how each answer is judged. Pure functions.

Each step is measured beside the good end, round by round, so what the machine does to both cancels. A step has three
answers. The ends say first which figure it is about, and how large the change is. A step is good where its ratio is on
the good side of half of that (on logarithms) with 95 %, and bad where it is beyond. Else it cannot be told, and another
is taken, as git-bisect(1) skips one.

How much rounds differ is known the better, the more of them there were: the spread of a step's is taken together with
that of all before it in the search (`statistics.over_rounds`), and so is how many rounds a step needs (`rounds_for`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from orchestrator.comparison.compare import own_limits
from orchestrator.comparison.snapshot import Row
from orchestrator.comparison.thresholds import STATUS
from orchestrator.records import SUCCESSES
from orchestrator.samples import CONFIDENCE, Estimate
from orchestrator.statistics import ROUNDS, Others, over_rounds, student

Logs = Sequence[float]
"""Log-ratios of a measurement, one a round."""

GOOD, BAD, CANNOT_TELL = "good", "bad", "cannot tell"
METRICS = ("speedup", "latency_ms", "own_memory_mib", "compile_latency_cold_s")
"""Figures that a search can be about, the one with the least noise first."""
ONE_SIDED = 0.90
"""Confidence of an interval that lies on one side of a limit with 95 %."""
SMALLEST = 0.02
"""A smaller change of the ends, in logarithms, is none to search for."""
TOLD = 0.98
"""Of measurements are to tell a step (two-sided, as student's quantile is: 99 of 100 that are on one side)."""
OUTLYING = 3.0
"""Standard deviations from the median, robust ones, at which a round's log-ratio counts as just so far away."""
KNOWN_FROM = 8
"""Rounds whose median absolute deviation tells their spread."""
OF_THE_ENDS, OF_A_STEP = 3, 12
"""So many times the rounds that are asked for have the ends, against which all is held; and a step, at most."""


@dataclass(frozen=True)
class Question:
    """What a search is about: a metric and the ratio bad / good of the two ends, or the status of the bad end."""

    metric: str
    ratio: float = 1.0
    status: str = ""


@dataclass(frozen=True)
class Answer:
    """word: `GOOD`, `BAD` or `CANNOT_TELL`; ratio: of the step to the good end, None without figures; why: in words."""

    word: str
    ratio: Estimate | None = None
    why: str = ""


@dataclass(frozen=True)
class Found:
    """Between which steps the change is: `good` < `bad`, places in the history; the steps between could not be told."""

    good: int
    bad: int

    @property
    def is_one(self) -> bool:
        """Whether the step `bad` alone is to blame."""
        return self.bad == self.good + 1


def search(count: int, judge: Callable[[int], str]) -> Found:
    """Return where the answer of `judge` changes, between the first of `count` steps, which is good, and the last.

    Asks for at most one step more than the binary logarithm of `count`, and one for each that cannot be told.
    """
    good, bad = 0, count - 1
    skipped: set[int] = set()
    while (step := _middle(good, bad, skipped)) is not None:
        word = judge(step)
        if word == GOOD:
            good = step
        elif word == BAD:
            bad = step
        else:
            skipped.add(step)
    return Found(good, bad)


def _middle(good: int, bad: int, skipped: Collection[int]) -> int | None:
    """Return the step nearest to the middle that can be asked for; None where there is none between."""
    left = [step for step in range(good + 1, bad) if step not in skipped]
    return min(left, key=lambda step: (abs(2 * step - good - bad), step), default=None)


def question(good: Sequence[Row], bad: Sequence[Row], metric: str | None = None) -> Question | Answer:
    """Return what tells the ends apart, by their measurements; an answer with the reason where nothing does.

    metric: only this one. The smallest change that is searched for is `SMALLEST`.
    """
    failing = next((row for row in good if row.status not in SUCCESSES), None)
    if failing is not None:
        return Answer(CANNOT_TELL, why=f"the good end itself is {failing.status}{_because(failing)}")
    broken = {row.status for row in bad if row.status not in SUCCESSES}
    if broken:
        return Question(STATUS, status=sorted(broken)[0])
    seen: list[str] = []
    for name in (metric,) if metric else METRICS:
        ratio = ratio_of(good, bad, name)
        if ratio is None:
            continue
        column = bad[0].column(name)
        seen.append(f"{name} {_text(ratio)}")
        sure = ratio.low is not None and ratio.high is not None and not ratio.low <= 1 <= ratio.high
        worse = (ratio.value > 1) == (column.better == "lower")
        moved = abs(bad[0].figures[name].middle - good[0].figures[name].middle) > own_limits(good[0])[name].floor
        if sure and worse and moved and abs(math.log(ratio.value)) > SMALLEST:
            return Question(name, ratio.value)
    return Answer(CANNOT_TELL, why=f"the ends do not differ for certain: {', '.join(seen) or 'they have no figures'}")


def answer(asked: Question, good: Sequence[Row], step: Sequence[Row], earlier: Sequence[Logs] = ()) -> Answer:
    """Judge a step by its measurements and those of the good end that were made beside them.

    earlier: the `logs_of` other steps, which say how much rounds differ.
    """
    failing = next((row for row in step if row.status not in SUCCESSES), None)
    if asked.metric == STATUS:
        if failing is None:
            return Answer(GOOD)
        same = failing.status == asked.status
        return Answer(BAD if same else CANNOT_TELL, why=f"{failing.status}{_because(failing)}")
    for name, row in (("it", failing), ("the good end", next((r for r in good if r.status not in SUCCESSES), None))):
        if row is not None:
            return Answer(CANNOT_TELL, why=f"{name} is {row.status}{_because(row)}")
    ratio = ratio_of(good, step, asked.metric, earlier, ONE_SIDED)
    if ratio is None or ratio.low is None or ratio.high is None:
        return Answer(CANNOT_TELL, ratio, f"no {asked.metric} in every round")
    sign = math.copysign(1.0, math.log(asked.ratio))
    half = abs(math.log(asked.ratio)) / 2
    ends = sorted(sign * math.log(end) for end in (ratio.low, ratio.high))
    if ends[1] < half:
        return Answer(GOOD, ratio)
    return Answer(BAD, ratio) if ends[0] > half else Answer(CANNOT_TELL, ratio, "its interval holds both")


def rounds_for(asked: Question, earlier: Sequence[Logs], least: int) -> int:
    """Return how many rounds tell a step in 99 of 100 measurements, by how much those of others differed.

    Good and bad steps lie as far from half of the change as that is from none: h, in logarithms. The median of n rounds
    of variance v has the standard error sqrt(pi v / 2n), and h must be 1.645 + 2.326 of these: for the interval, and
    for chance. `least` at least, and `OF_A_STEP` times that at most.
    """
    variance = _variance(earlier)
    if variance is None or asked.metric == STATUS:
        return least
    half = abs(math.log(asked.ratio)) / 2
    needed = math.pi / 2 * variance[0] * ((student(math.inf, ONE_SIDED) + student(math.inf, TOLD)) / half) ** 2
    return min(max(least, math.ceil(needed)), OF_A_STEP * least)


def ratio_of(
    good: Sequence[Row],
    step: Sequence[Row],
    metric: str,
    earlier: Sequence[Logs] = (),
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Return the ratio step / good of a metric over pairs of rounds that ran next to each other; None without any.

    good, step: the rows of one measurement after the other. The rounds' log-ratios are one sample (`over_rounds`).
    """
    logs = logs_of(good, step, metric)
    if logs is None or len(logs) < 2:
        return None
    variance = _variance(earlier)
    others = None if variance is None else Others(*variance)
    return over_rounds([Estimate(math.exp(log), None, None, ROUNDS, 1) for log in logs], confidence, others)


def _variance(measured: Sequence[Logs]) -> tuple[float, int] | None:
    """Return the variance of rounds within measurements, and its degrees of freedom; None where nothing differs."""
    freedom = sum(len(one) - 1 for one in measured)
    squares = sum((len(one) - 1) * statistics.variance(one) for one in measured if len(one) > 1)
    return (squares / freedom, freedom) if squares else None


def logs_of(good: Sequence[Row], step: Sequence[Row], metric: str) -> Logs | None:
    """Return the log-ratios step / good of the rounds, outliers drawn in; None where a round has no such figure."""
    logs: list[float] = []
    for before, after in zip(good, step, strict=True):
        if metric not in before.figures or metric not in after.figures:
            return None
        pair = before.figures[metric].values, after.figures[metric].values
        if len(pair[0]) != len(pair[1]):
            return None
        logs += [math.log(new / old) for old, new in zip(*pair, strict=True)]
    return _drawn_in(logs)


def _drawn_in(logs: list[float]) -> Logs:
    """Return log-ratios with those far from the median drawn in to `OUTLYING` robust standard deviations.

    A process that a neighbour disturbed from its start to its end says nothing of the step. The median does not heed it
    but the variance would, and with it the interval. The robust standard deviation is 1.4826 times the median absolute
    deviation (Hampel, J. Am. Stat. Assoc. 69, 1974, 383).
    """
    middle = statistics.median(logs) if logs else 0.0
    limit = OUTLYING * 1.4826 * statistics.median(abs(log - middle) for log in logs) if logs else 0.0
    if len(logs) < KNOWN_FROM or not limit:
        return logs
    return [min(max(log, middle - limit), middle + limit) for log in logs]


def _text(ratio: Estimate) -> str:
    interval = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    return f"{ratio.value:.3f}x{interval}"


def in_words(asked: Question, found: Answer) -> str:
    """Return "bad: latency_ms 1.052x [1.047, 1.058]"."""
    ratio = "" if found.ratio is None else f"{asked.metric} {_text(found.ratio)}"
    said = "; ".join(part for part in (ratio, found.why) if part)
    return f"{found.word}: {said}" if said else found.word


def _because(row: Row) -> str:
    return f": {row.reason}" if row.reason else ""
