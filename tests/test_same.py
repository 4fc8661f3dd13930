"""The rules of PyTorch's dashboard on tensors with known errors, and against torch's own `same`, whose they are."""

from __future__ import annotations

import pytest
import torch
from support.judging import compare_tensor

from orchestrator.measures.compare import Rule
from orchestrator.measures.same import rmse_multiplier

RULE = Rule(tolerance=1e-3, rules="dynamo")


def judge(reference, result, fp64=None, rule=RULE):
    return compare_tensor("t", reference, result, reference.double() if fp64 is None else fp64, rule)


def test_equal_tensors_pass_with_zero_errors() -> None:
    record = judge(torch.arange(6.0), torch.arange(6.0))
    assert record["passed"]
    assert record["rule"] == "allclose"
    assert record["max_abs_error"] == 0.0
    assert record["rmse"] == 0.0
    assert record["cosine"] == pytest.approx(1.0)


def test_numbers_of_a_known_error_are_kept() -> None:
    reference = torch.ones(1000)
    result = torch.ones(1000)
    result[0] = 3.0
    record = judge(reference, result)
    assert not record["passed"]
    assert record["max_abs_error"] == pytest.approx(2.0)
    assert record["rmse"] == pytest.approx((4 / 1000) ** 0.5)
    assert record["reference_rmse"] == 0.0
    assert record["limit"] == pytest.approx(1e-4)  # 2 * 0 + tolerance / 10


def test_rmse_rule_allows_the_multiple_of_eagers_own_error() -> None:
    truth = torch.zeros(2000, dtype=torch.float64)
    reference = torch.full((2000,), 0.1)
    assert judge(reference, torch.full((2000,), 0.19), truth)["rule"] == "rmse"
    assert judge(reference, torch.full((2000,), 0.19), truth)["passed"]
    assert not judge(reference, torch.full((2000,), 0.21), truth)["passed"]


@pytest.mark.parametrize(
    ("dtype", "shape", "rule", "expected"),
    [
        (torch.float32, (2000,), RULE, 2.0),
        (torch.float16, (2000,), RULE, 3.0),
        (torch.float32, (999,), RULE, 3.0),
        (torch.float32, (64, 64, 1, 1), RULE, 3.0),
        (torch.float32, (2000,), Rule(tolerance=2e-2), 3.0),
        (torch.float32, (10,), Rule(tolerance=1e-3, larger_multiplier=True), 10.0),
        (torch.float32, (500,), Rule(tolerance=1e-3, larger_multiplier=True), 8.0),
        (torch.float32, (10,), RULE, 3.0),
    ],
)
def test_multiplier(dtype, shape, rule, expected) -> None:
    assert rmse_multiplier(dtype, torch.zeros(shape, dtype=dtype), rule) == expected


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_torchs_same(seed: int) -> None:
    """The rule is `torch._dynamo.utils.same`'s: same verdict on random tensors around the limit."""
    from torch._dynamo.utils import same

    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(3000, generator=generator, dtype=torch.float64)
    reference = (truth + 0.02 * torch.randn(3000, generator=generator, dtype=torch.float64)).float()
    size = 0.02 + 0.04 * torch.rand((), generator=generator, dtype=torch.float64)
    result = (truth + size * torch.randn(3000, generator=generator, dtype=torch.float64)).float()
    assert judge(reference, result, truth)["passed"] == same(reference, result, truth, tol=1e-3)


def test_nan_counts_as_equal_only_where_asked() -> None:
    nan = torch.tensor([1.0, float("nan")])
    assert not judge(nan, nan.clone())["passed"]
    assert judge(nan, nan.clone(), rule=Rule(tolerance=1e-3, equal_nan=True, rules="dynamo"))["passed"]
    assert judge(nan, nan.clone())["max_abs_error"] == "nan"


def test_reference_with_nan_and_a_right_result_passes() -> None:
    truth = torch.ones(4, dtype=torch.float64)
    record = judge(torch.tensor([1.0, 1.0, 1.0, float("nan")]), torch.ones(4), truth)
    assert record["rule"] == "nan"
    assert record["passed"]


def test_without_float64_the_cosine_decides_and_the_record_says_so() -> None:
    reference = torch.tensor([1.0, 2.0, 3.0])
    near = compare_tensor("t", reference, reference * 1.5, None, RULE)
    far = compare_tensor("t", reference, -reference, None, RULE)
    assert near["passed"]
    assert "no float64" in near["rule"]
    assert not far["passed"]


def test_integers_and_booleans_must_be_equal() -> None:
    assert judge(torch.tensor([1, 2]), torch.tensor([1, 2]))["passed"]
    assert not judge(torch.tensor([1, 2]), torch.tensor([1, 3]))["passed"]
    assert not judge(torch.tensor([True]), torch.tensor([False]))["passed"]


def test_empty_tensors_are_equal() -> None:
    assert judge(torch.zeros(0), torch.zeros(0))["passed"]
