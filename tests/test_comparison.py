"""Has a figure changed, which rows belong together, and which key goes with a change: with numbers known beforehand."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from scipy import stats

from orchestrator.comparison import matching
from orchestrator.comparison.attribution import circumstances, shared
from orchestrator.comparison.changes import Change, Figure, changes, holm, over_rows
from orchestrator.comparison.compare import BETTER, CHANGED, NOISE, WORSE, Comparison, compare
from orchestrator.comparison.differences import means, regressed, tally
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import LIMITS, Limit
from orchestrator.results.configuration import ABSENT
from orchestrator.statistics import median_variance


def figure(*logs: float, halves: Sequence[float] = ()) -> Figure:
    return Figure(values=tuple(map(math.exp, logs)), halves=tuple(halves))


def row(model: str = "Bert", compiler: str = "inductor", *, status: str = "pass", **changes: Any) -> Row:
    """Return a row with a complete configuration; `changes` with a point in their name are keys of it."""
    config = {
        "suite": "quick", "suite.models": model, "suite.target": "x.Model", "dtype": "float16", "batch_size": 4,
        "threads": 1, "compiler": compiler, "compiler.target": "x.Compiler", "measure": "performance",
        **changes.pop("config", {}),
    }  # fmt: skip
    config = {key: value for key, value in config.items() if value is not ABSENT}
    names = {"suite": "quick", "model": model, "mode": "inference", "dtype": config["dtype"], "device": "cpu",
             "compiler": compiler, "measure": config["measure"], "batch_size": config["batch_size"]}  # fmt: skip
    fields: dict[str, Any] = {
        "figures": {},
        "counts": {},
        "disturbed": "",
        "reason": "",
        "jobs": (),
        "kind": "performance",
    }
    return Row(**(fields | {"names": names, "config": config, "status": status} | changes))


def sweep(*rows: Row, **fields: Any) -> Snapshot:
    known: dict[str, Any] = {
        "name": "s",
        "created": 0.0,
        "argv": (),
        "settings": {"rounds": [3]},
        "environment": {"a": 1},
    }
    return Snapshot(**(known | fields), rows=rows)


def one(change: Sequence[Change]) -> Change:
    (found,) = change
    return found


def speedups(before: Sequence[float], after: Sequence[float], **fields: Any) -> Comparison:
    """Compare sweeps of one row: its speed-up in each round."""
    sides = [sweep(row(figures={"speedup": Figure(values=tuple(side))}, **fields)) for side in (before, after)]
    return compare(*sides)


# -- one figure


WIDER = math.sqrt(3 * median_variance(3))
"""What the interval of a median of three is wider than that of their mean."""


def test_one_row_alone_is_students_t_test() -> None:
    """The prior is that row itself, and must not count twice."""
    before, after = (0.0, 0.01, -0.01), (0.05, 0.06, 0.04)
    found = one(changes([(figure(*before), figure(*after))]))
    expected = stats.ttest_ind(after, before)
    interval = expected.confidence_interval()
    assert found.ratio == pytest.approx(math.exp(0.05))
    assert found.p == pytest.approx(expected.pvalue)  # of means
    half = WIDER * (interval.high - interval.low) / 2
    assert (found.low, found.high) == pytest.approx((math.exp(0.05 - half), math.exp(0.05 + half)))


def test_variances_are_moderated_by_those_of_the_other_rows() -> None:
    """s0^2 = (4 * 1e-4 + 4 * 4e-4) / 8 = 2.5e-4; of a side with s^2 = 1e-4: (4 * 2.5e-4 + 2 * 1e-4) / 6 = 2e-4."""
    quiet = (figure(0.0, 0.01, -0.01), figure(0.1, 0.11, 0.09))
    noisy = (figure(0.0, 0.02, -0.02), figure(0.1, 0.12, 0.08))
    found = changes([quiet, noisy])
    for change, variance in zip(found, (2e-4, 4e-4 - 1e-4), strict=True):
        half = WIDER * stats.t.ppf(0.975, 8) * math.sqrt(2 * variance / 3)
        assert math.log(change.high / change.low) / 2 == pytest.approx(half)


def test_many_rows_give_a_row_12_degrees_of_freedom() -> None:
    found = changes([(figure(0.0, 0.01, -0.01), figure(0.1, 0.11, 0.09))] * 20)[0]
    half = WIDER * stats.t.ppf(0.975, 12) * math.sqrt(2 * 1e-4 / 3)  # 2 sides of 4 + 2
    assert math.log(found.high / found.low) / 2 == pytest.approx(half)


def test_the_interval_is_never_narrower_than_the_pairs_allow() -> None:
    sides = [figure(mean, mean, mean, halves=(0.03, 0.03, 0.03)) for mean in (0.0, 0.01)]
    found = one(changes([(sides[0], sides[1])]))
    error = WIDER * math.hypot(0.03 / math.sqrt(3), 0.03 / math.sqrt(3)) / stats.norm.ppf(0.975)
    assert math.log(found.high / found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * error)


def test_one_round_has_the_interval_of_its_pairs_and_no_p() -> None:
    found = one(changes([(figure(0.0, halves=(0.03,)), figure(0.1, halves=(0.04,)))]))
    assert (found.low, found.high) == pytest.approx((math.exp(0.05), math.exp(0.15)))
    assert found.p is None
    assert one(changes([(figure(0.0), figure(0.1))])) == Change(math.exp(0.1), None, None, None)


def test_rounds_alike_to_the_bit() -> None:
    same, other = Figure(values=(4.0, 4.0)), Figure(values=(8.0, 8.0))
    assert one(changes([(same, same)])) == Change(1.0, 1.0, 1.0, 1.0)
    found = one(changes([(same, other)]))
    assert (found.ratio, found.low, found.high) == pytest.approx((2, 2, 2))
    assert found.p == pytest.approx(0, abs=1e-12)


def test_no_pairs() -> None:
    assert changes([]) == []


def test_holm() -> None:
    """0.01 * 4; 0.02 * 3; 0.02 * 2 is less than the one before; 0.9 * 1."""
    assert holm([0.02, None, 0.01, 0.9, 0.02]) == pytest.approx([0.06, None, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


# -- words


def test_faster_and_slower_by_the_metric() -> None:
    (pair,) = speedups((2.0, 2.01, 1.99), (1.0, 1.01, 0.99)).matched
    assert [(m.metric, m.word) for m in pair.changed] == [("speedup", WORSE)]
    assert speedups((1.0, 1.01, 0.99), (2.0, 2.01, 1.99)).matched[0].changed[0].word == BETTER
    sides = [sweep(row(figures={"latency_ms": Figure(values=(ms, ms * 1.01))})) for ms in (10.0, 20.0)]
    assert compare(*sides).matched[0].changed[0].word == WORSE


@pytest.mark.parametrize(
    ("after", "word"),
    [
        ((1.015, 1.0151, 1.0149), NOISE),  # sure, but under 2 %
        ((1.03, 1.031, 1.029), BETTER),
        ((1.2, 1.0, 1.4), NOISE),  # large, but its rounds say that it may be nothing
    ],
)
def test_a_change_is_sure_and_large(after: Sequence[float], word: str) -> None:
    (metric,) = speedups((1.0, 1.0001, 0.9999), after).matched[0].metrics
    assert metric.word == word


@pytest.mark.parametrize(("after", "word"), [(1.05, NOISE), (1.09, NOISE), (1.12, BETTER)])
def test_one_round_is_held_to_the_wide_limit(after: float, word: str) -> None:
    """Its pairs say +- 0.1 %, but another process would differ by more: 10 %, not 2 %."""
    sides = [sweep(row(figures={"speedup": Figure(values=(value,), halves=(0.001,))})) for value in (1.0, after)]
    (metric,) = compare(*sides).matched[0].metrics
    assert (metric.word, metric.p) == (word, None)


def test_one_round_whose_pairs_hold_1_is_noise() -> None:
    sides = [sweep(row(figures={"speedup": Figure(values=(value,), halves=(0.2,))})) for value in (1.0, 1.2)]
    assert compare(*sides).matched[0].metrics[0].word == NOISE


def test_a_disturbed_row_is_held_to_the_wide_limit() -> None:
    quiet = speedups((1.0, 1.001, 0.999), (1.05, 1.051, 1.049))
    noisy = speedups((1.0, 1.001, 0.999), (1.05, 1.051, 1.049), disturbed="steal")
    assert [m.word for c in (quiet, noisy) for m in c.matched[0].metrics] == [BETTER, NOISE]


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        pytest.param(10.1, 10.2, NOISE, id="half of the steps shared their CPU"),
        pytest.param(10.1, 17.0, WORSE, id="each step takes longer"),
        pytest.param(10.1, 8.0, NOISE, id="the fastest say the contrary"),
        pytest.param(None, 17.0, WORSE, id="a quiet side has its median"),
        pytest.param(None, 15.0, NOISE, id="and 24 % more than it is no large change"),
    ],
)
def test_a_latency_of_a_disturbed_row_is_called_only_with_its_fastest_steps(
    before: float | None, after: float, word: str
) -> None:
    """12 ms a step, 24 where a neighbour has the CPU as well: the median is one or the other."""
    sides = [
        sweep(
            row(
                figures={"latency_ms": Figure(values=seen)},
                fastest_ms=fastest,
                disturbed="busy" * (fastest is not None),
            )
        )
        for seen, fastest in (((12.0, 12.1, 12.2), before), ((24.0, 24.1, 24.2), after))
    ]
    assert [metric.word for metric in compare(*sides).matched[0].metrics] == [word]


def test_a_change_below_the_floor_is_none() -> None:
    """Twice 0.2 s to compile is 0.2 s more: nothing."""
    sides = [sweep(row(figures={"compile_latency_cold_s": Figure(values=(s, s * 1.001))})) for s in (0.2, 0.4)]
    assert compare(*sides).matched[0].same
    sides = [sweep(row(figures={"compile_latency_cold_s": Figure(values=(s, s * 1.001))})) for s in (2.0, 4.0)]
    assert not compare(*sides).matched[0].same


def test_counts_are_compared_exactly() -> None:
    sides = [sweep(row(counts={"graph_breaks": n, "graphs": n + 1, "recompiles": 0, "fallbacks": n})) for n in (0, 3)]
    (pair,) = compare(*sides).matched
    assert {m.metric: (m.before, m.after, m.ratio, m.word) for m in pair.metrics} == {
        "graph_breaks": (0, 3, None, WORSE),
        "graphs": (1, 4, 4.0, CHANGED),
    }


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("pass", "pass", None),
        ("pass", "crash", WORSE),
        ("crash", "pass", BETTER),
        ("timeout", "crash", WORSE),
        ("crash", "timeout", BETTER),
        ("pass", "pass_due_to_skip", CHANGED),
        ("pass", "unsupported", WORSE),
    ],
)
def test_status(before: str, after: str, word: str | None) -> None:
    found = compare(sweep(row(status=before)), sweep(row(status=after)))
    assert found.matched[0].status_change == word
    assert regressed(found) == (word == WORSE)


def test_a_metric_may_be_left_out_and_is_then_no_test() -> None:
    """Holm's factor is the number of tests."""
    figures = [
        {"speedup": figure(0.0 + d, 0.01 + d, -0.01 + d), "latency_ms": figure(1.0 + d, 1.01 + d, 0.99 + d)}
        for d in (0.0, 0.05)
    ]
    both = compare(*(sweep(row(figures=f)) for f in figures)).matched[0].metrics
    alone = compare(*(sweep(row(figures=f)) for f in figures), metrics=["speedup"]).matched[0].metrics
    assert [m.metric for m in alone] == ["speedup"]
    assert both[0].p == pytest.approx(2 * alone[0].p)


def test_limits_may_be_others() -> None:
    sides = [sweep(row(figures={"speedup": figure(d, d + 0.001)})) for d in (0.0, 0.05)]
    assert not compare(*sides).matched[0].same
    assert compare(*sides, {"speedup": Limit(threshold=0.1, alone=0.1)}).matched[0].same
    assert compare(*sides, {}).matched[0].metrics == ()


# -- which rows belong together


def matched(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (before's, after's) configuration as "dtype batch compiler" of the matched rows."""
    found, _, _ = matching.match_rows(before, after)
    return [
        tuple(" ".join(str(r.config[k]) for k in ("suite.models", "dtype", "compiler")) for r in pair)  # type: ignore[misc]
        for pair in found
    ]


def test_equal_rows_match_in_the_order_of_before() -> None:
    before, after = [row("A"), row("B"), row("C")], [row("C"), row("A"), row("D")]
    found, missing, new = matching.match_rows(before, after)
    assert [(old.config["suite.models"], new.config["suite.models"]) for old, new in found] == [("A", "A"), ("C", "C")]
    assert [r.config["suite.models"] for r in missing] == ["B"]
    assert [r.config["suite.models"] for r in new] == ["D"]


def test_a_key_that_all_rows_have_another_value_of() -> None:
    sides = [
        [row(m, c, config={"dtype": d}) for m in "AB" for c in ("eager", "inductor")] for d in ("float16", "float32")
    ]
    found, missing, new = matching.match_rows(*sides)
    assert (len(found), missing, new) == (4, [], [])
    assert all(matching.named_keys(matching.differing(old.config, new.config)) == {"dtype": ("float16", "float32")}
               for old, new in found)  # fmt: skip


def test_a_key_of_some_rows() -> None:
    def side(dynamic: Any) -> list[Row]:
        return [row(m, c, config={"compiler.options.dynamic": dynamic} if c == "inductor" else {})
                for m in "AB" for c in ("eager", "inductor")]  # fmt: skip

    for before, after in ((False, True), (ABSENT, True), (True, ABSENT)):
        found, missing, new = matching.match_rows(side(before), side(after))
        keys = [matching.differing(old.config, new.config) for old, new in found]
        assert keys == [{}, {"compiler.options.dynamic": (before, after)}] * 2
        assert (missing, new) == ([], [])


def test_rows_of_other_ranks_are_never_matched() -> None:
    def side(parallel: str, ranks: int) -> list[Row]:
        config = {"mode.options.parallel": parallel, "mode.options.ranks": ranks}
        return [row(m, config=config if ranks > 1 else {}) for m in "AB"]

    for other in (side("ddp", 4), side("ddp_outside", 2), side("", 1)):
        found, missing, new = matching.match_rows(side("ddp", 2), other)
        assert (found, len(missing), len(new)) == ([], 2, 2)
    assert len(matching.match_rows(side("ddp", 2), side("ddp", 2))[0]) == 2
    named = [
        matching.by_names(dataclasses.replace(row("A"), names={"mode": f"training(parallel=ddp, ranks={ranks})"}))
        for ranks in (2, 4)
    ]
    assert matching.match_rows(named[:1], named[1:])[0] == []


def test_another_compiler_brings_its_options_along() -> None:
    before = [row(m, "inductor", config={"compiler.options.backend": "inductor"}) for m in "AB"]
    after = [row(m, "tvm", config={"compiler.target": "x.Tvm"}) for m in "AB"]
    found, _, _ = matching.match_rows(before, after)
    assert len(found) == 2
    assert matching.named_keys(matching.differing(found[0][0].config, found[0][1].config)) == {
        "compiler": ("inductor", "tvm")
    }


def test_several_keys_at_once_and_one_compiler_more() -> None:
    """No row is equal, all rows differ in dtype and threads, and one compiler is new: it must not stand in the way."""
    before = [row("A", c) for c in ("eager", "inductor")]
    after = [row("A", c, config={"dtype": "float32", "threads": 2}) for c in ("eager", "inductor", "tvm")]
    found, missing, new = matching.match_rows(before, after)
    assert [old.config["compiler"] for old, _ in found] == ["eager", "inductor"]
    assert all(old.config["compiler"] == other.config["compiler"] for old, other in found)
    assert (missing, [r.config["compiler"] for r in new]) == ([], ["tvm"])


def test_what_would_fit_several_rows_is_not_guessed() -> None:
    before = [row("A", config={"batch_size": 4})]
    after = [row("A", config={"batch_size": size}) for size in (8, 16)]
    found, missing, new = matching.match_rows(before, after)
    assert (found, len(missing), len(new)) == ([], 1, 2)


def test_models_and_measures_are_never_each_other() -> None:
    assert matched([row("A")], [row("B")]) == []
    assert matched([row("A")], [row("A", config={"measure": "accuracy"})]) == []
    assert matched([row("A")], [row("A", config={"suite": "nightly"})]) == [("A float16 inductor",) * 2]
    models = [[row(m, config={"suite": s}) for m in "ABC"] for s in ("quick", "nightly")]
    assert [old[0] for old, _ in matched(*models)] == list("ABC")


def test_a_row_of_a_table_is_matched_by_its_names() -> None:
    table = matching.by_names(row("A"))
    found = compare(sweep(table), sweep(row("A", config={"compiler.options.dynamic": True})))
    assert len(found.matched) == 1
    assert found.matched[0].keys == {}
    (pair,) = compare(sweep(table), sweep(row("A", "tvm"))).matched
    assert pair.keys == {"compiler": ("inductor", "tvm")}


def test_two_jobs_are_compared_whatever_they_are() -> None:
    found = compare(sweep(row("A")), sweep(row("B")), one_row=True)
    assert dict(found.matched[0].keys) == {"suite.models": ("A", "B")}


def test_settings_and_environment_are_compared_where_both_sides_know_them() -> None:
    found = compare(
        sweep(row(), settings={"rounds": [3]}), sweep(row(), settings={"rounds": [5]}, environment={"a": 2})
    )
    assert found.settings == {"rounds": ([3], [5])}
    assert found.environment == {"a": (1, 2)}
    assert compare(sweep(row()), sweep(row(), settings={}, environment={})).environment == {}


# -- which key goes with it


def dynamic(value: Any, slow: str = "", models: str = "ABCD") -> Snapshot:
    """Eager and inductor with an option; inductor's speed-up is 2, of the models in `slow` it is 1."""
    rows = []
    for model in models:
        rows.append(row(model, "eager"))
        centre = 0.0 if model in slow else math.log(2)
        figures = {"speedup": figure(centre - 0.001, centre, centre + 0.001)}
        rows.append(row(model, config={"compiler.options.dynamic": value}, figures=figures))
    return sweep(*rows)


def test_a_change_goes_with_the_key_that_changed() -> None:
    found = compare(dynamic(False), dynamic(True, slow="AC"))
    keyed, rest = found.attributions
    assert keyed.keys == {"compiler.options.dynamic": (False, True)}
    assert keyed.rows == 4
    assert keyed.words == {"speedup": {WORSE: 2, NOISE: 2}}
    assert (rest.keys, rest.rows, rest.words) == ({}, 4, {})
    assert shared(found.matched) == []  # that they all are inductor's says nothing more


def test_keys_that_change_together_are_one_group() -> None:
    before, after = dynamic(False), dynamic(True, slow="A")
    after = dataclasses.replace(
        after, rows=tuple(dataclasses.replace(r, config={**r.config, "threads": 2}) for r in after.rows)
    )
    groups = {tuple(sorted(g.keys)): g.rows for g in compare(before, after).attributions}
    assert groups == {("threads",): 4, ("compiler.options.dynamic", "threads"): 4}


def test_what_changed_rows_share_and_no_other_has() -> None:
    def side(slow: bool) -> Snapshot:
        rows = []
        for model in "ABC":
            for dtype in ("float16", "float32"):
                centre = 0.0 if slow and dtype == "float16" and model != "C" else 1.0
                figures = {"speedup": figure(centre - 0.001, centre, centre + 0.001)}
                rows.append(row(model, config={"dtype": dtype}, figures=figures))
        return sweep(*rows)

    (found,) = shared(compare(side(False), side(True)).matched)
    assert (found.metric, found.word, found.key, found.value) == ("speedup", WORSE, "dtype", "float16")
    assert (found.rows, found.rows_with_it, found.rows_compared) == (2, 3, 6)


def test_one_changed_row_shares_nothing() -> None:
    assert shared(compare(dynamic(True), dynamic(True, slow="B")).matched) == []


def test_rows_are_counted_once_by_the_worst_that_happened() -> None:
    same = [
        row(f"is {status}", status=status) for status in ("pass", "fail_to_run", "timeout", "not_run", "unsupported")
    ]
    before = sweep(*same, row("B", figures={"speedup": figure(1, 1.001)}, counts={"graph_breaks": 1}), row("C"))
    after = sweep(*same, row("B", figures={"speedup": figure(2, 2.001)}, counts={"graph_breaks": 2}), row("D"))
    assert tally(compare(before, after)) == {
        WORSE: 1, BETTER: 0, CHANGED: 0, NOISE: 1, "failing in both": 2, "run in neither": 2, "missing": 1, "new": 1
    }  # fmt: skip


def test_geometric_means_are_over_common_rows_without_wrong_results() -> None:
    def side(values: Mapping[str, float], wrong: str) -> Snapshot:
        rows = [row(m, figures={"speedup": Figure(values=(v, v * 1.0001))}) for m, v in values.items()]
        config = {"measure": "accuracy"}
        return sweep(*rows, *(row(m, status="fail_accuracy", kind="accuracy", config=config) for m in wrong))

    before = side({"A": 1.0, "B": 4.0, "C": 9.0, "Gone": 7.0}, wrong="C")
    after = side({"A": 2.0, "B": 8.0, "C": 1.0}, wrong="C")
    (mean,) = means(compare(before, after))
    assert (mean.compiler, mean.rows) == ("inductor", 2)
    assert (mean.before, mean.after, mean.ratio) == pytest.approx((2, 4, 2), rel=1e-3)
    assert mean.low is not None
    assert mean.low < 2 < mean.high


# -- how often it is wrong: 30 rows of 3 rounds, speed-ups with 0.5 to 2 %, latencies that drift by 3 %


def simulated(chance: random.Random, drift: float = 1.0, slow: Mapping[int, float] | None = None) -> Snapshot:
    def rounds(value: float, deviation: float, count: int = 3) -> tuple[float, ...]:
        return tuple(value * math.exp(chance.gauss(0, deviation)) for _ in range(count))

    rows = []
    for number in range(30):
        factor = (slow or {}).get(number, 1.0)
        figures = {
            "speedup": Figure(values=rounds(1.2 / factor, DEVIATIONS[number]), halves=(0.003,) * 3),
            "latency_ms": Figure(values=rounds(50 * drift * factor, 0.02)),
            "compile_latency_cold_s": Figure(values=rounds(20 * drift, 0.05, 1)),
            "compile_latency_warm_s": Figure(values=rounds(5 * drift, 0.05, 2)),
            "own_memory_mib": Figure(values=rounds(400, 0.003)),
        }
        rows.append(row(f"M{number}", figures=figures))
    return sweep(*rows)


DEVIATIONS = [0.005 + 0.015 * number / 29 for number in range(30)]
"""Of the rounds' speed-ups, row by row."""


def test_two_sweeps_of_the_same_rarely_differ() -> None:
    """Holm's 5 % of the comparisons, nearly 7 with latencies that drift together: of 200 up to 23 (binomial, 99 %)."""
    chance = random.Random(1)
    wrong = 0
    for _ in range(200):
        found = compare(simulated(chance), simulated(chance, drift=math.exp(chance.gauss(0, 0.03))))
        wrong += any(not pair.same for pair in found.matched)
    assert wrong <= 23


def test_planted_changes_are_found_and_no_other_row_is_named() -> None:
    """A row twice as slow always, one 5 % slower with rounds of 0.5 % nearly always; others are not named."""
    chance = random.Random(2)
    twice = five = others = 0
    for _ in range(40):
        found = compare(simulated(chance), simulated(chance, slow={20: 2.0, 0: 1.05}))
        named = {
            int(p.before.names["model"][1:])
            for p in found.matched
            for m in p.changed
            if (m.metric, m.word) == ("speedup", WORSE)
        }
        twice += 20 in named
        five += 0 in named
        others += len(named - {0, 20})
    assert (twice, others) == (40, 0)
    assert five >= 36


def test_the_limits_are_those_of_the_documentation() -> None:
    assert {metric: (limit.threshold, limit.alone) for metric, limit in LIMITS.items()} == {
        "speedup": (0.02, 0.10),
        "latency_ms": (0.10, 0.30),
        "compile_latency_cold_s": (0.25, 0.50),
        "compile_latency_warm_s": (0.25, 0.50),
        "own_memory_mib": (0.02, 0.05),
    }


@pytest.mark.parametrize(("rows", "spreads"), [(2, (0.007,)), (8, (0.007,)), (8, (0.005, 0.02)), (24, (0.005, 0.02))])
def test_the_interval_of_a_mean_holds_the_truth_in_95_of_100_and_is_no_wider(
    rows: int, spreads: Sequence[float]
) -> None:
    """Two sweeps of the same, in three rounds. What adds the rows' half-widths as squares is wider, and holds more."""
    chance, tries = random.Random(1), 500

    def measured(spread: float) -> Figure:
        return figure(*(chance.gauss(0.3, spread) for _ in range(3)))

    held = 0
    narrower = 0.0
    for _ in range(tries):
        spread_of = [spreads[n % len(spreads)] for n in range(rows)]
        found = changes([(measured(spread), measured(spread)) for spread in spread_of])
        mean = over_rows(found)
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 1 <= mean.high
        halves = [math.log(one.high / one.low) / 2 for one in found if one.low and one.high]
        narrower += math.log(mean.high / mean.low) / 2 / (math.hypot(*halves) / rows)
    assert 0.92 <= held / tries <= 0.98
    assert narrower / tries <= (0.94 if rows >= 8 else 1.000001)


def test_the_interval_of_a_mean_without_rounds_is_that_of_the_pairs() -> None:
    found = changes([(figure(0.0, halves=[0.03]), figure(0.1, halves=[0.04]))] * 2)
    mean = over_rows(found)
    assert mean.value == pytest.approx(math.exp(0.1))
    assert mean.low == pytest.approx(math.exp(0.1 - 0.05 / math.sqrt(2)))
    assert over_rows(changes([(figure(0.0), figure(0.1))] * 2)).low is None


def test_load_and_disturbance_go_with_times_and_with_nothing_else() -> None:
    slow = {"latency_ms": figure(math.log(20.0))}
    fast = {"latency_ms": figure(math.log(10.0))}
    before = [row("a", figures=slow, load=3.0, disturbed="busy"), row("b", figures=slow, load=3.2, disturbed="busy")]
    after = [row("a", figures=fast, load=0.2), row("b", figures=fast, load=0.2)]
    load, disturbed = circumstances(compare(sweep(*before), sweep(*after)).matched)
    assert (load.what, load.rows, load.rows_with_it, load.before, load.after) == ("load", 2, 2, 3.1, 0.2)
    assert (disturbed.what, disturbed.before, disturbed.after) == ("disturbed", 2, 0)
    same = [row("a", figures=fast, load=3.0, disturbed="busy")]
    assert circumstances(compare(sweep(*same), sweep(*after)).matched) == []
    large, small = ({"own_memory_mib": figure(math.log(size))} for size in (900.0, 100.0))
    found = compare(sweep(row("a", figures=large, load=3.0)), sweep(row("a", figures=small, load=0.1)))
    assert found.matched[0].changed
    assert circumstances(found.matched) == []


def test_a_folder_of_configuration_more_or_less_is_no_other_environment() -> None:
    before = sweep(row("a"), environment={"host": "vm", "conf.1-experiments": "f00"})
    assert compare(before, sweep(row("a"), environment={"host": "vm"})).environment == {}
