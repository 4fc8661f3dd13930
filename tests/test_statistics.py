"""Estimates and intervals: against values computed by hand, and their coverage by simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats

from orchestrator.samples import IN_PROCESS, Estimate, calm_pair_logs, one_round, pair_logs, spread
from orchestrator.statistics import (
    FASTER,
    NOISE,
    ROUNDS,
    SLOWER,
    break_even,
    deviation_percent,
    geometric_mean,
    median_variance,
    over_models,
    over_rounds,
    over_workloads,
    unpaired,
    verdict,
    wilson,
)


def test_a_pair_twice_as_fast_is_log_two() -> None:
    assert pair_logs([0.2, 0.1], [0.1, 0.2]) == pytest.approx([math.log(2), -math.log(2)])


@pytest.mark.parametrize(("eager", "compiled"), [([0.1], [0.1, 0.1]), ([0.0], [0.1]), ([0.1], [math.inf])])
def test_what_is_no_pair_is_refused(eager: list[float], compiled: list[float]) -> None:
    with pytest.raises(ValueError, match="pair"):
        pair_logs(eager, compiled)


def test_a_round_is_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    eager, compiled = [1.0, 2.0, 30.0], [1.0, 1.0, 20.0]  # ratios 1, 2, 1.5; medians 2 and 1
    assert one_round(pair_logs(eager, compiled)).value == pytest.approx(1.5)


def test_calm_pairs_are_those_of_the_smallest_product_in_time_order() -> None:
    # 40 pairs, products 1 ... 40 with the fastest last: the quarter is the last ten, still in time order
    eager = [float(41 - i) for i in range(1, 41)]
    compiled = [1.0] * 40
    assert calm_pair_logs(eager, compiled) == pytest.approx([math.log(value) for value in eager[-10:]])
    assert len(calm_pair_logs(eager[:16], compiled[:16])) == 8  # never fewer than eight ...
    assert calm_pair_logs(eager[:8], compiled[:8]) == pytest.approx(pair_logs(eager[:8], compiled[:8]))  # ... or all


def test_a_neighbour_that_slows_one_side_more_hardly_moves_a_round() -> None:
    """Two thirds of the pairs disturbed: eager twice as long, compiled half as long again. The truth is 1.7."""
    rng = random.Random(0)
    eager, compiled = [], []
    for i in range(60):
        disturbed = i % 3 > 0
        eager.append(1.7 * rng.gauss(1, 0.01) * (2.0 if disturbed else 1.0))
        compiled.append(rng.gauss(1, 0.01) * (1.5 if disturbed else 1.0))
    assert one_round(calm_pair_logs(eager, compiled)).value == pytest.approx(1.7, rel=0.01)
    assert one_round(pair_logs(eager, compiled)).value > 2.2


def test_calm_pairs_favour_neither_side() -> None:
    """Eager against itself under one-sided noise: right on average, and intervals that miss 1 as rarely as they say."""
    rng = random.Random(1)
    values, misses = [], 0
    for _ in range(400):
        sides = [[1 + abs(rng.gauss(0, 0.02)) + (rng.random() < 0.3) * rng.random() for _ in range(40)] for _ in "ec"]
        estimate = one_round(calm_pair_logs(*sides))
        assert estimate.low is not None
        assert estimate.high is not None
        values.append(math.log(estimate.value))
        misses += not estimate.low <= 1 <= estimate.high
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(400)
    assert misses / 400 <= 0.05


def test_interval_of_a_round_by_hand() -> None:
    # -10 ... -1, 1 ... 10 (per mille), signs alternating: no positive correlation, so n_eff = 20 and
    # half = 1.96 * 0.5 * sqrt(20) = 4.38, rank = floor(10 - 4.38) = 5: the 5th value from either end.
    logs = [sign * k / 1000 for k in range(1, 11) for sign in (1, -1)]
    estimate = one_round(logs)
    assert estimate.value == pytest.approx(1.0)
    assert math.log(estimate.low or 0) == pytest.approx(-0.006)
    assert math.log(estimate.high or 0) == pytest.approx(0.006)
    assert (estimate.kind, estimate.count) == (IN_PROCESS, 20)


def test_a_drift_widens_the_interval() -> None:
    values = [k / 1000 for k in range(20)]
    shuffled = random.Random(1).sample(values, 20)
    drifting, quiet = one_round(values), one_round(shuffled)
    assert drifting.value == pytest.approx(quiet.value)
    assert (drifting.low, drifting.high) == pytest.approx((1.0, math.exp(0.019)))  # the whole range
    assert quiet.low is not None
    assert drifting.low is not None
    assert quiet.low > drifting.low


def test_too_few_pairs_have_no_interval_and_no_verdict() -> None:
    estimate = one_round([0.5] * 5)
    assert (estimate.low, estimate.high) == (None, None)
    assert verdict(estimate) == NOISE


def test_no_pairs_are_an_error() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        one_round([])


def in_process(log: float, half: float = 0.001) -> Estimate:
    return Estimate(math.exp(log), math.exp(log - half), math.exp(log + half), IN_PROCESS, 20)


def test_rounds_are_combined_by_their_median_with_students_t() -> None:
    # logs 0.10, 0.11, 0.12: sd 0.01, t(0.975, 2) = 4.302653, half = 4.302653 * 0.01 * sqrt(0.44867) = 0.0288203
    estimate = over_rounds([in_process(log) for log in (0.10, 0.11, 0.12)])
    assert math.log(estimate.value) == pytest.approx(0.11)
    assert math.log(estimate.low or 0) == pytest.approx(0.11 - 0.0288203, abs=1e-7)
    assert math.log(estimate.high or 0) == pytest.approx(0.11 + 0.0288203, abs=1e-7)
    assert (estimate.kind, estimate.count) == (ROUNDS, 3)


def test_a_disturbed_round_widens_the_interval_and_does_not_move_the_figure() -> None:
    quiet = over_rounds([in_process(log) for log in (0.55, 0.554, 0.557)])
    disturbed = over_rounds([in_process(log) for log in (0.55, 0.554, 0.84)])
    assert disturbed.value == quiet.value == pytest.approx(math.exp(0.554))
    assert (disturbed.half or 0) > 20 * (quiet.half or 0)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 10, 20])
def test_the_variance_of_a_median(count: int) -> None:
    values = np.random.default_rng(count).standard_normal((200_000, count))
    simulated = float(np.var(np.median(values, axis=1)))
    assert median_variance(count) == pytest.approx(simulated, rel=0.02 if count <= 10 else 0.08)  # of many: pi / 2n


@pytest.mark.parametrize("count", [3, 5])
def test_the_interval_over_rounds_covers_as_often_as_it_says(count: int) -> None:
    rng = random.Random(count)
    hits = 0
    for _ in range(4000):
        estimate = over_rounds([in_process(rng.gauss(0.1, 0.01), half=0.0) for _ in range(count)])
        hits += (estimate.low or 0) <= math.exp(0.1) <= (estimate.high or 0)
    assert 0.94 <= hits / 4000 <= 0.97  # of three 0.964: an outlier widens s more than it moves the median


def test_rounds_that_agree_by_chance_are_as_unsure_as_their_pairs() -> None:
    # t alone: 4.302653 * 0.0001 * sqrt(0.44867) = 0.000288; the pairs: sqrt(3 * 0.01^2 / 3 * 0.44867) = 0.0066983
    estimate = over_rounds([in_process(log, half=0.01) for log in (0.0030, 0.0031, 0.0032)])
    assert math.log(estimate.high or 0) == pytest.approx(0.0031 + 0.0066983, abs=1e-7)
    assert math.log(estimate.low or 0) == pytest.approx(0.0031 - 0.0066983, abs=1e-7)
    few = Estimate(1.0, None, None, IN_PROCESS, 3)
    assert over_rounds([few, few, few]).high == 1.0


def test_intervals_over_rounds_of_real_pairs_miss_less_than_they_may() -> None:
    """3 rounds of 30 pairs with a standard deviation of 1 %, processes that do not differ: t alone misses in 5 %."""
    rng = random.Random(11)
    misses = 0
    for _ in range(400):
        rounds = [one_round([rng.gauss(0, 0.01) for _ in range(30)]) for _ in range(3)]
        estimate = over_rounds(rounds)
        misses += not (estimate.low or 0) <= 1 <= (estimate.high or 0)
    assert misses <= 6


def test_one_round_keeps_its_own_interval() -> None:
    assert over_rounds([in_process(0.1)]) == in_process(0.1)


@pytest.mark.parametrize(
    ("value", "low", "high", "word"),
    [
        (1.11, 1.08, 1.14, FASTER),
        (0.90, 0.88, 0.92, SLOWER),
        (1.11, 0.99, 1.24, NOISE),  # the interval holds 1
        (1.009, 1.005, 1.013, NOISE),  # sure, but under 1 %
        (1 / 1.009, 0.985, 0.995, NOISE),  # the threshold is symmetric in the logarithm
        (1.02, 1.001, 1.04, FASTER),
    ],
)
def test_verdict_needs_certainty_and_size(value: float, low: float, high: float, word: str) -> None:
    assert verdict(Estimate(value, low, high, ROUNDS, 5)) == word


def test_geometric_mean_counts_slow_downs() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([4.0, 1.0, 2.0]) == pytest.approx(2.0)
    assert geometric_mean([]) is None


def test_outliers_are_counted_and_kept() -> None:
    summary = spread([1.0, 1.1, 1.2, 1.3, 1.4, 9.0])
    assert summary.median == pytest.approx(1.25)
    assert (summary.count, summary.outliers) == (6, 1)
    assert summary.iqr_percent == pytest.approx(100 * (1.375 - 1.125) / 1.25)


def test_deviation_of_rounds() -> None:
    assert deviation_percent([0.9, 1.0, 1.1]) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("compile_s", "eager_s", "compiled_s", "iterations"),
    [
        (10.0, 0.2, 0.1, 100),
        (10.05, 0.2, 0.1, 101),
        (10.0, 0.1, 0.1, None),
        (10.0, 0.1, 0.2, None),
        (-0.1, 0.2, 0.1, 0),
    ],
)
def test_break_even(compile_s: float, eager_s: float, compiled_s: float, iterations: int | None) -> None:
    assert break_even(compile_s, eager_s, compiled_s) == iterations


def correlated(rng: random.Random, count: int, correlation: float) -> list[float]:
    """Return an AR(1) series of unit-variance noise around 0, from its stationary state."""
    value = rng.gauss(0, 1) / math.sqrt(1 - correlation**2)
    series = []
    for _ in range(count):
        value = correlation * value + rng.gauss(0, 1)
        series.append(0.01 * value)
    return series


@pytest.mark.parametrize(("pairs", "correlation", "least"), [(20, 0.0, 0.95), (20, 0.4, 0.93), (100, 0.4, 0.92)])
def test_coverage_of_the_interval_of_one_round(pairs: int, correlation: float, least: float) -> None:
    rng = random.Random(20261121)
    hits = 0
    for _ in range(1000):
        estimate = one_round(correlated(rng, pairs, correlation))
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 1 <= estimate.high
    assert hits / 1000 >= least


def test_false_alarms_and_power_over_five_rounds() -> None:
    """sd of a process's speed-up 0.8 % (docs/measuring.md): A/A is called at most 1 %, a planted 5 % nearly always."""
    rng = random.Random(7)

    def words(effect: float) -> list[str]:
        rounds = ([in_process(rng.gauss(effect, 0.008)) for _ in range(5)] for _ in range(1000))
        return [verdict(over_rounds(estimates)) for estimates in rounds]

    assert sum(word != NOISE for word in words(0.0)) <= 10
    assert words(math.log(1.05)).count(FASTER) >= 980
    assert words(-math.log(1.05)).count(SLOWER) >= 980


def test_unpaired_is_welchs_interval_on_logarithms() -> None:
    """Against scipy's own Welch interval."""
    eager, compiled = [0.10, 0.11, 0.105, 0.098], [0.05, 0.056, 0.052]
    expected = stats.ttest_ind(np.log(eager), np.log(compiled), equal_var=False).confidence_interval(0.95)
    estimate = unpaired(eager, compiled)
    assert (estimate.low, estimate.high) == (
        pytest.approx(math.exp(expected.low)),
        pytest.approx(math.exp(expected.high)),
    )
    assert estimate.value == pytest.approx(math.exp(np.log(eager).mean() - np.log(compiled).mean()))
    assert estimate.kind == "unpaired"


def test_unpaired_of_one_process_has_no_interval_and_no_verdict() -> None:
    estimate = unpaired([0.2], [0.1])
    assert (estimate.value, estimate.low, estimate.high) == (pytest.approx(2.0), None, None)
    assert verdict(estimate) == "within noise"


def test_unpaired_of_equal_values() -> None:
    assert unpaired([0.2, 0.2], [0.1, 0.1]) == Estimate(*[pytest.approx(2.0)] * 3, "unpaired", 2, error=0.0, within=0.0)


# -- groups


def measured(rng: random.Random, truth: float, rounds: int, between: float, within: float = 0.003) -> Estimate:
    """Return what `rounds` processes say of a workload whose log speed-up is `truth`."""
    half = stats.norm.ppf(0.975) * within
    return over_rounds([in_process(truth + rng.gauss(0, math.hypot(between, within)), half) for _ in range(rounds)])


def holds(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= math.exp(truth) <= estimate.high


@pytest.mark.parametrize(
    ("models", "rounds", "between", "workloads"),
    [(2, 3, 0.01, 1), (5, 3, 0.01, 1), (20, 3, 0.01, 1), (10, 5, 0.01, 1), (10, 1, 0.0, 1), (6, 3, 0.01, 3)],
)
def test_coverage_of_both_intervals_of_a_group(models: int, rounds: int, between: float, workloads: int) -> None:
    """95 % of each hold the truth: the mean of these workloads, and that which the models are drawn from, log 0.2."""
    rng = random.Random(0)
    these = others = mistaken = 0
    for _ in range(600):
        drawn = [rng.gauss(0.2, 0.15) for _ in range(models)]
        truths = [[model + rng.gauss(0, 0.02) for _ in range(workloads)] for model in drawn]
        noise = [between * rng.choice((0.5, 1, 3)) for _ in drawn]  # some models are noisier than others
        found = [[measured(rng, t, rounds, sd) for t in ts] for ts, sd in zip(truths, noise, strict=True)]
        group = over_workloads([one for ones in found for one in ones])
        these += holds(group, float(np.mean(truths)))
        mistaken += holds(group, 0.2)
        others += holds(over_models(found), 0.2)
    assert 0.93 <= these / 600 <= 0.99  # a little wide: so are the intervals of medians of three
    assert 0.93 <= others / 600 <= 0.97
    assert mistaken / 600 < 0.6  # the two questions are not one


def test_a_group_by_hand() -> None:
    rows = [over_rounds([in_process(log, 0.0) for log in logs]) for logs in ((0.1, 0.11, 0.13), (0.3, 0.3, 0.36))]
    squares = [0.44867 * np.var(logs, ddof=1) for logs in ((0.1, 0.11, 0.13), (0.3, 0.3, 0.36))]
    freedom = sum(squares) ** 2 / sum(square**2 / 2 for square in squares)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(squares)) / 2
    group = over_workloads(rows)
    assert group.value == pytest.approx(math.exp((0.11 + 0.3) / 2))
    assert (group.low, group.high) == pytest.approx((math.exp(0.205 - half), math.exp(0.205 + half)))
    assert (group.kind, group.count, group.freedom) == (ROUNDS, 2, pytest.approx(freedom))


def test_what_models_like_these_do_is_students_t_over_models() -> None:
    logs = [0.1, 0.3, 0.8, 0.2]
    group = over_models([[in_process(log)] for log in logs])
    low, high = stats.t.interval(0.95, 3, np.mean(logs), stats.sem(logs))
    assert (group.low, group.high) == pytest.approx((math.exp(low), math.exp(high)))
    thrice = over_models([[in_process(log)] * 3 for log in logs])  # more of the same models says nothing of others
    assert (thrice.low, thrice.high) == pytest.approx((group.low, group.high))


def test_an_uneven_group_is_the_jackknife_over_models() -> None:
    logs = [[0.1, 0.2, 0.15], [0.5], [0.3, 0.4]]
    means = [np.mean([log for other in logs if other is not one for log in other]) for one in logs]
    whole = np.mean([log for one in logs for log in one])
    half = stats.t.ppf(0.975, 2) * math.sqrt(2 / 3 * sum((mean - whole) ** 2 for mean in means))
    group = over_models([[in_process(log) for log in model] for model in logs])
    assert (group.low, group.high) == pytest.approx((math.exp(whole - half), math.exp(whole + half)))


def test_one_workload_has_the_interval_of_its_row_and_says_nothing_of_others() -> None:
    row = Estimate(1.5, 1.4, 1.7, IN_PROCESS, 20)  # order statistics: not symmetric
    assert over_workloads([row]) == row
    alone = over_models([[row, row]])
    assert (alone.value, alone.low, alone.high) == (pytest.approx(1.5), None, None)


def test_models_that_agree_by_chance_are_known_no_better_than_each() -> None:
    rows = [in_process(0.2, 0.05), in_process(0.2, 0.05)]
    these, others = over_workloads(rows), over_models([[row] for row in rows])
    assert these.half == pytest.approx(0.05 / math.sqrt(2))
    assert others.half == pytest.approx(these.half)


def test_rounds_that_agree_by_chance_do_not_make_a_group_narrower_than_its_pairs() -> None:
    rows = [over_rounds([in_process(log, 0.03)] * 3) for log in (0.1, 0.2)]
    assert over_workloads(rows).half == pytest.approx(math.hypot(*(row.half or 0 for row in rows)) / 2)


def test_a_group_is_known_as_its_weakest_row() -> None:
    exact, bare = in_process(0.1), Estimate(1.2, None, None, IN_PROCESS, 0)
    rounds, apart = over_rounds([in_process(log) for log in (0.1, 0.11, 0.13)]), unpaired([0.2, 0.21], [0.1, 0.11])
    assert over_workloads([rounds, apart]).kind == "unpaired"
    assert over_workloads([rounds, apart, exact]).kind == IN_PROCESS
    unknown = over_workloads([rounds, bare])
    assert (unknown.low, unknown.high) == (None, None)
    assert over_models([[rounds], [bare]]).low is not None  # imported figures have no interval; their spread is seen
    with pytest.raises(ValueError, match="no workloads"):
        over_workloads([])


def test_an_absurd_spread_is_a_number() -> None:
    for group in (over_models([[in_process(-70)], [in_process(70)]]), over_rounds([in_process(-70), in_process(70)])):
        assert group.low is not None
        assert group.high is not None
        assert 0 < group.low < 1e-200
        assert 1e200 < group.high < math.inf


@pytest.mark.parametrize(  # those of 263, 148, 20 and 29: Newcombe, Statistics in Medicine 17 (1998), table I
    ("passed", "planned", "low", "high"),
    [
        (10, 10, 0.722, 1),
        (9, 10, 0.596, 0.982),
        (0, 10, 0, 0.278),
        (1, 1, 0.207, 1),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_by_published_values(passed: int, planned: int, low: float, high: float) -> None:
    assert wilson(passed, planned) == pytest.approx((low, high), abs=6e-4 if planned <= 10 else 6e-5)


def test_nothing_planned_has_no_share() -> None:
    with pytest.raises(ValueError, match="nothing was planned"):
        wilson(0, 0)
