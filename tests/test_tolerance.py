"""Tolerance: known differences of known tensors, and what it says of a model and of eager itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.measuring import Broken, context, run_reference

from orchestrator.compilers.eager import Eager
from orchestrator.measures.tolerance import Tolerance, distance, over_all
from orchestrator.modes.inference import Inference
from orchestrator.modes.training import Training
from orchestrator.records import COMPARISON_ERROR, PASS


def test_a_known_difference_has_known_figures() -> None:
    reference, result = torch.tensor([1.0, -3.0]), torch.tensor([1.5, -3.0])
    row = distance("x", reference, result, reference.double()).row()
    assert row["relative_max"] == 0.25
    assert row["relative_mean"] == 0.125
    assert row["relative_std"] == pytest.approx(float(torch.tensor([0.25, 0.0]).std()))
    assert row["max_abs_error"] == 0.5
    assert row["rmse"] == pytest.approx(math.sqrt(0.125))
    assert row["reference_rmse"] == 0.0
    assert row["rmse_ratio"] is None  # eager is exact: nothing is so many times as far


def test_all_tensors_together_are_what_upstream_computes_of_them_concatenated() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(n, generator=generator), torch.randn(n, generator=generator)) for n in (1, 7, 300)]
    row = over_all([distance(str(i), ref, res, None) for i, (ref, res) in enumerate(pairs)])
    together = torch.cat([(ref - res).abs() / (1 + ref.abs()) for ref, res in pairs])
    assert row["relative_max"] == pytest.approx(float(together.max()))
    assert row["relative_mean"] == pytest.approx(float(together.mean()))
    assert row["relative_std"] == pytest.approx(float(together.std()))
    assert (row["tensors"], row["elements"]) == (3, 308)


def test_the_same_infinity_and_nan_on_both_sides_are_no_difference_and_on_one_side_the_worst() -> None:
    reference = torch.tensor([math.inf, math.nan, 1.0])
    assert distance("x", reference, reference.clone(), None).row()["relative_max"] == 0.0
    off = distance("off", torch.ones(2), torch.tensor([1.0, 9.0]), None)
    nan = distance("nan", torch.ones(2), torch.tensor([1.0, math.nan]), None)
    assert nan.row()["relative_max"] == "nan"
    assert over_all([off, nan, off])["worst_tensor"] == "nan"


def test_integers_and_other_dtypes_are_compared_and_named() -> None:
    seen = distance("x", torch.tensor([1, 2]), torch.tensor([1.0, 3.0]), None)
    assert seen.dtype == "float32 instead of int64"
    assert seen.row()["max_abs_error"] == 1.0


def test_eager_is_itself_and_says_how_far_it_is_from_float64(tmp_path: Path) -> None:
    run_reference(tmp_path, Training())
    seen = context(tmp_path, Eager(), "eager", Training())
    assert Tolerance().run(seen).status == PASS
    (row,) = seen.facts["findings"]["tolerance"]
    assert row["relative_max"] == 0.0
    assert 0 < row["rmse"] == row["reference_rmse"] < 1e-5
    assert row["rmse_ratio"] == 1.0
    assert row["cosine"] == pytest.approx(1.0)
    tensors = seen.facts["findings"]["tolerance_tensors"]
    assert row["tensors"] == len(tensors)
    assert "grad.first.weight" in {tensor["tensor"] for tensor in tensors}


def test_a_wrong_output_passes_and_is_told_by_its_figures(tmp_path: Path) -> None:
    run_reference(tmp_path, Inference())
    seen = context(tmp_path, Broken(change=lambda outputs: outputs | {"logits": outputs["logits"] + 1}), "wrong")
    assert Tolerance().run(seen).status == PASS
    (row,) = seen.facts["findings"]["tolerance"]
    assert row["worst_tensor"] == "output.logits"
    assert row["max_abs_error"] == pytest.approx(1.0, rel=1e-5)
    assert 0.1 < row["relative_max"] <= 1.0
    assert row["rmse"] == pytest.approx(1.0, rel=1e-5)
    assert row["rmse_ratio"] > 1e5


def test_an_output_that_is_missing_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    run_reference(tmp_path, Inference())
    seen = context(tmp_path, Broken(change=lambda outputs: {"loss": outputs["loss"]}), "short")
    outcome = Tolerance().run(seen)
    assert outcome.status == COMPARISON_ERROR
    assert "output.logits" in outcome.reason
    assert [row["tensor"] for row in seen.facts["findings"]["tolerance_tensors"]] == ["output.loss"]


def test_another_shape_is_a_comparison_error(tmp_path: Path) -> None:
    run_reference(tmp_path, Inference())
    seen = context(tmp_path, Broken(change=lambda outputs: outputs | {"logits": outputs["logits"][:1]}), "cut")
    outcome = Tolerance().run(seen)
    assert outcome.status == COMPARISON_ERROR
    assert "output.logits has shape [1, 4] instead of [8, 4]" in outcome.reason
