"""Our rules of accuracy, on tensors with known errors: the kinds of faults that the rules of `same` let pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.judging import compare_tensor

from orchestrator.measures.compare import Rule, compare, roundoff

FLOAT32 = Rule(tolerance=1e-3)
BFLOAT16 = Rule(tolerance=1e-3, roundoff=roundoff("bfloat16"))
DYNAMO = Rule(tolerance=1e-3, rules="dynamo", equal_nan=True)
NAN, INF = math.nan, math.inf


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rounded(truth: torch.Tensor, error: float, seed: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Return values that are off by a relative error, in a dtype: what arithmetic does."""
    return (truth + error * truth.square().mean().sqrt() * normal(*truth.shape, seed=seed)).to(dtype)


def judge(e: torch.Tensor, r: torch.Tensor, t: torch.Tensor | None, rule: Rule = FLOAT32) -> dict[str, Any]:
    return compare_tensor("output.x", e, r, t, rule)


def edited(tensor: torch.Tensor, index: Any, value: float) -> torch.Tensor:
    copy = tensor.clone()
    copy[index] = value
    return copy


def test_equal_tensors_pass_with_zero_errors() -> None:
    record = judge(torch.arange(6.0), torch.arange(6.0), torch.arange(6.0).double())
    assert record["passed"]
    assert (record["max_abs_error"], record["rmse"], record["arbiter"]) == (0.0, 0.0, "float64")
    assert record["cosine"] == pytest.approx(1.0)
    assert record["scale"] == pytest.approx(math.sqrt(55 / 6))


def test_a_tensor_of_small_numbers_is_judged_by_its_own_scale() -> None:
    """All zeros are no softmax over 30,000 classes, and a factor is one, however small the numbers."""
    softmax = torch.softmax(normal(4, 30_000), -1)
    for wrong in (torch.zeros(4, 30_000), 2 * softmax.float(), 1.01 * softmax.float()):
        assert judge(softmax.float(), wrong, softmax, DYNAMO)["passed"]
        assert not judge(softmax.float(), wrong, softmax)["passed"]
    assert judge(softmax.float(), softmax.float() * (1 + 1e-6), softmax)["passed"]


def test_one_element_among_two_million_and_one_sample_of_64() -> None:
    truth = normal(64, 30_000)
    e, r = rounded(truth, 0.005, 1), rounded(truth, 0.005, 2)
    assert judge(e, r, truth, BFLOAT16)["passed"]
    element = judge(e, edited(r, (3, 77), 5.0), truth, BFLOAT16)
    assert (element["passed"], element["rule"]) == (False, "element")
    assert "[3, 77]" in element["why"]
    sample = judge(e, edited(r, 5, 0.0), truth, BFLOAT16)
    assert (sample["passed"], sample["rule"]) == (False, "rmse")
    small = torch.cat([truth[:1], 0.05 * truth[1:2], truth[2:]])  # of a sample that is small the others say nothing
    e, r = rounded(small, 1e-3, 1), rounded(small, 1e-3, 2)
    sample = judge(e, edited(r, 1, 0.0), small, BFLOAT16)
    assert (sample["passed"], sample["rule"]) == (False, "sample")
    assert "sample 1" in sample["why"]


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1.006, False), (0.994, False)])
def test_a_common_factor_below_the_rounding_of_an_element_is_found(factor: float, passed: bool) -> None:
    truth = normal(16, 1000)
    e, r = rounded(truth, 0.004, 1), rounded(factor * truth, 0.004, 2)
    record = judge(e, r, truth, BFLOAT16)
    assert record["passed"] == passed
    assert record["rule"] == ("rmse" if passed else "scale")


def test_not_much_further_from_the_truth_than_eager() -> None:
    truth = normal(20, 1000)
    e = rounded(truth, 0.02, 1)
    assert judge(e, rounded(truth, 0.0, 2), truth, BFLOAT16)["passed"]
    assert judge(e, rounded(truth, 0.03, 2), truth, BFLOAT16)["passed"]
    assert not judge(e, rounded(truth, 0.09, 2), truth, BFLOAT16)["passed"]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_not_finite_is_compared_by_its_place_and_the_rest_by_its_size(value: float) -> None:
    truth = edited(normal(8, 64), 0, value)
    e = truth.float()
    assert judge(e, e.clone(), truth)["passed"]
    for wrong in (torch.zeros_like(e), torch.full_like(e, value), e.roll(1, 0), edited(e, 0, 1.0)):
        record = judge(e, wrong, truth)
        assert (record["passed"], record["rule"]) == (False, "places")
    doubled = torch.where(e.isfinite(), 2 * e, e)
    assert judge(e, doubled, truth)["rule"] == "rmse"
    assert not judge(e, doubled, truth)["passed"]
    if value is not NAN:
        assert not judge(e, edited(e, 0, -value), truth)["passed"]


def test_the_result_may_be_finite_where_only_eager_overflowed() -> None:
    truth = edited(normal(8, 64), (0, 0), 70_000.0)
    e = truth.half()
    assert e[0, 0] == INF
    assert judge(e.float(), truth.float(), truth)["passed"]
    assert not judge(e.float(), edited(truth.float(), (0, 0), 7.0), truth)["passed"]
    rule = Rule(tolerance=1e-3, roundoff=roundoff("float16"))
    assert judge(edited(e, (0, 0), 65_504.0), edited(e, (0, 0), INF), edited(truth, (0, 0), 65_510.0), rule)["passed"]


@pytest.mark.parametrize("mask", [-1e9, float(torch.finfo(torch.float32).min)])
def test_what_a_mask_fills_hides_nothing_of_the_rest(mask: float) -> None:
    truth = edited(normal(8, 64), (slice(None), slice(40, 64)), mask)
    e = truth.float()
    twin = edited(truth, (slice(None), slice(40, 64)), float(torch.finfo(torch.float64).min)) if mask < -1e30 else truth
    assert judge(e, e.clone(), twin)["passed"]
    assert not judge(e, torch.where(e > -100, 1.1 * e, e), twin)["passed"]
    assert judge(e, edited(e, (0, 50), 0.0), twin)["rule"] == "places"


def test_without_float64_length_and_direction_count_and_the_record_says_so() -> None:
    reference = normal(10, 100).float()
    record = judge(reference, reference * (1 + 1e-6), None)
    assert record["passed"]
    assert record["arbiter"] == "eager: there is no float64 reference"
    for wrong in (2 * reference, -reference, 1.02 * reference, edited(reference, 3, 0.0)):
        assert not judge(reference, wrong, None)["passed"]
    assert judge(torch.tensor(3.0), torch.tensor(6.0), None, DYNAMO)["passed"]
    assert not judge(torch.tensor(3.0), torch.tensor(6.0), None)["passed"]


def test_float64_of_another_shape_does_not_arbitrate() -> None:
    boxes = normal(27, 4).float()
    record = judge(boxes, boxes.clone(), normal(32, 4))
    assert record["passed"]
    assert "[32, 4]" in record["arbiter"]
    assert not judge(boxes, 2 * boxes, normal(32, 4))["passed"]


def test_float64_that_is_another_computation_does_not_arbitrate() -> None:
    e, other = normal(16, 100).float(), normal(16, 100, seed=5)
    assert judge(e, e.clone(), other)["passed"]
    assert "away from float64" in judge(e, e.clone(), other)["arbiter"]
    assert not judge(e, 2 * e, other)["passed"]


def test_in_low_precision_what_cannot_be_told_is_neither_right_nor_wrong() -> None:
    truth = normal(16, 1000)
    e, r = rounded(truth, 0.8, 1), rounded(truth, 0.8, 2)
    assert judge(e, r, truth, BFLOAT16)["passed"] is None
    assert judge(e, e.clone(), truth, BFLOAT16)["passed"] is True
    assert judge(e, 5 * r, truth, BFLOAT16)["passed"] is False


def test_noise_around_zero_is_judged_by_the_largest_gradient() -> None:
    """The gradient of a key's bias is zero: what eager and compiled have there is rounding."""
    large, noise = normal(100, 100), normal(100)
    truth = {"grad.a": large, "grad.b": 1e-17 * noise}
    e = {"grad.a": large.float(), "grad.b": (1e-8 * noise).float()}
    r = e | {"grad.b": (2e-8 * normal(100, seed=3)).float()}
    assert all(record["passed"] for record in compare(e, r, truth, FLOAT32))
    wrong = e | {"grad.b": (1e-2 * noise).float()}
    assert [record["passed"] for record in compare(e, wrong, truth, FLOAT32)] == [True, False]


def test_the_gradient_of_a_whole_layer_that_is_zero_is_found_however_small() -> None:
    truth = {"grad.a": normal(50, 50), "grad.b": 1e-5 * normal(50, 50, seed=1)}
    e = {name: tensor.float() for name, tensor in truth.items()}
    r = e | {"grad.b": torch.zeros(50, 50)}
    assert [record["passed"] for record in compare(e, r, truth, DYNAMO)] == [True, True]
    assert [record["passed"] for record in compare(e, r, truth, FLOAT32)] == [True, False]


@pytest.mark.parametrize(
    ("share", "rows", "rule"),
    [(0.2, 4, "rmse"), (0.2, 5, "sample"), (0.3, 3, "sample")],
    ids=["a token's share", "of too many rows", "more than a token's share"],
)
def test_a_token_on_the_other_side_of_a_kink_moves_a_row_of_a_gradient(share: float, rows: int, rule: str) -> None:
    truth, rule_of = normal(256, 1000), Rule(tolerance=1e-2, roundoff=roundoff("float16"))
    e, r = (rounded(truth, 0.0005, seed, torch.float16) for seed in (1, 2))
    e[100:102] += 0.2 * normal(2, 1000, seed=4).half()  # eager is on the other side, from float64, in other rows
    r[:rows] += share * normal(rows, 1000, seed=3).half()
    (record,) = compare({"grad.w": e}, {"grad.w": r}, {"grad.w": truth}, rule_of)
    assert (record["rule"], record["passed"]) == (rule, rule == "rmse")
    (record,) = compare({"output.w": e}, {"output.w": r}, {"output.w": truth}, rule_of)
    assert not record["passed"]  # no output is a sum over tokens


def test_one_wrong_element_of_a_gradient_is_no_token_on_the_other_side_of_a_kink() -> None:
    truth, rule = edited(normal(256, 1000), (7, 7), 0.0), Rule(tolerance=1e-2, roundoff=roundoff("float16"))
    e, r = (rounded(truth, 0.003, seed, torch.float16) for seed in (1, 2))
    (record,) = compare({"grad.w": e}, {"grad.w": edited(r, (7, 7), 3.0)}, {"grad.w": truth}, rule)
    assert (record["rule"], record["passed"]) == ("sample", False)


def test_no_gradient_and_a_gradient_of_zeros_are_the_same() -> None:
    weight = normal(4, 4).float()
    (only,) = compare({}, {"grad.w": torch.zeros(4, 4)}, None, FLOAT32)
    assert only["passed"]
    (only,) = compare({"grad.w": torch.zeros(4, 4)}, {}, None, FLOAT32)
    assert only["passed"]
    (only,) = compare({}, {"grad.w": weight}, None, FLOAT32)
    assert not only["passed"]
    (output,) = compare({"output.x": torch.zeros(4)}, {}, None, FLOAT32)
    assert not output["passed"]


def test_structure_differences_are_named() -> None:
    one, two = torch.zeros(2), torch.zeros(3)
    reference, result = {"a": one, "b": one, "c": one, "input.x": one}, {"a": two, "b": one.half(), "d": one}
    records = {record["name"]: record for record in compare(reference, result, None, FLOAT32)}
    assert records["a"]["why"] == "shape [3] instead of [2]"
    assert records["b"]["why"] == "dtype torch.float16 instead of torch.float32"
    assert records["c"]["why"] == "eager has it, and the compiled model has not"
    assert records["d"]["why"] == "the compiled model has it, and eager has not"
    assert records["input.x"]["why"] == "eager changes it, and the compiled model leaves it as it was"
    assert not any(record["passed"] for record in records.values())


def scored(classes: int = 5000, samples: int = 64) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return eager's scores and classes in bfloat16, and float64's."""
    truth = normal(samples, classes)
    scores = rounded(truth, 0.005, 1)
    return {"scores": scores, "class": scores.argmax(-1)}, {"scores": truth, "class": truth.argmax(-1)}


def test_classes_may_differ_where_their_scores_tie() -> None:
    e, t = scored()
    r = {"scores": t["scores"].bfloat16(), "class": t["class"]}
    assert int((e["class"] != r["class"]).sum()) > 1
    assert [record["passed"] for record in compare(e, r, t, DYNAMO)] == [True, False]
    records = compare(e, r, t, BFLOAT16)
    assert [record["passed"] for record in records] == [True, True]
    assert records[1]["rule"] == "tie"


@pytest.mark.parametrize("sure", [0, 7])
def test_a_class_that_is_no_tie_is_wrong(sure: int) -> None:
    e, t = scored()
    far = t["scores"].argmin(-1)
    r = e | {"class": torch.where(torch.arange(64) == sure, far, e["class"])}
    (_, record) = compare(e, r, t, BFLOAT16)
    assert not record["passed"]
    assert "1 of 64" in record["why"]


def test_the_best_few_may_change_places_where_they_tie() -> None:
    scores = torch.tensor([[5.0, 4.0, 4.0001, 1.0]])
    e = {"scores": scores, "best": scores.topk(3).indices}
    assert e["best"].tolist() == [[0, 2, 1]]
    rule = Rule(tolerance=1e-3, roundoff=roundoff("bfloat16"))
    swapped = e | {"best": torch.tensor([[0, 1, 2]])}
    assert compare(e, swapped, {"scores": scores.double()}, rule)[1]["passed"]
    assert not compare(e, e | {"best": torch.tensor([[3, 2, 1]])}, {"scores": scores.double()}, rule)[1]["passed"]


def test_integers_without_scores_may_be_off_as_often_as_eager_is() -> None:
    t = torch.arange(100)
    e, r = t.clone(), t.clone()
    e[:5] += 1
    r[10:14] += 1
    assert judge(e, r, t)["passed"]
    assert judge(e, t.clone(), t)["passed"]
    r[:50] += 1
    record = judge(e, r, t)
    assert not record["passed"]
    assert "differ from float64's" in record["why"]
    assert not judge(e, t.clone(), None)["passed"]
    assert not judge(torch.tensor([True]), torch.tensor([False]), torch.tensor([True]))["passed"]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 5), (5, 0), (1, 1), (1, 512, 3), (3, 1), (2, 3, 4, 5)])
def test_any_shape_can_be_judged(shape: tuple[int, ...]) -> None:
    truth = normal(*shape)
    assert judge(truth.float(), truth.float(), truth)["passed"]
    if truth.numel():
        assert not judge(truth.float(), -truth.float(), truth)["passed"]
        assert not judge(truth.float(), truth.float() * NAN, truth)["passed"]


def test_blocks_of_a_large_tensor_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = normal(7, 33)
    e, r = rounded(truth, 1e-5, 1, torch.float32), edited(rounded(truth, 1e-5, 2, torch.float32), (6, 32), 9.0)
    whole = judge(e, r, truth)
    for size in (1, 5, 40, 100):
        monkeypatch.setattr("orchestrator.measures.distances.ELEMENTS", size)
        parts = judge(e, r, truth)
        for key in ("rmse", "reference_rmse", "scale", "limit", "cosine"):
            assert parts[key] == pytest.approx(whole[key])
        assert parts["why"] == whole["why"]


def test_numbers_too_small_to_be_normal_may_be_taken_for_zero() -> None:
    """As libraries take them; a small number that is normal is judged."""
    tiny = torch.full((4, 100), 2.0**-130)
    assert judge(tiny, torch.zeros_like(tiny), tiny.double())["passed"]
    small = torch.full((4, 100), 2.0**-120)
    assert not judge(small, torch.zeros_like(small), small.double())["passed"]
