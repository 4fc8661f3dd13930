"""`measure=training_loss`: eager is not accused, a planted wrong gradient is found, what cannot be told is said."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from support.command import orchestrator, table
from support.measuring import Broken, context

from orchestrator.compilers.planted import NeedsTwin
from orchestrator.measures.training_loss import (
    LIKE,
    OPEN,
    UNLIKE,
    Difference,
    TrainingLoss,
    difference,
    fall,
    progress,
    student,
)
from orchestrator.measures.trainings import along, structured, training_set
from orchestrator.measures.variations import VARIATIONS
from orchestrator.modes.training import Training
from orchestrator.plugins import Forward, Program, Unsupported
from orchestrator.precision import cast
from orchestrator.records import COMPARISON_ERROR, EAGER_FAIL_TO_RUN, FAIL_ACCURACY, PASS, Workload

Change = Callable[[str, torch.Tensor], torch.Tensor]


@pytest.fixture(autouse=True)
def _one_thread_and_little_garbage() -> None:
    torch.set_num_threads(1)
    gc.freeze()


def with_gradient(parameter: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the same values, whose gradient is `factor` times as large."""
    return parameter * factor + (parameter * (1 - factor)).detach()


@dataclass(frozen=True)
class WrongGradients:
    """Eager's forward pass; gradients of the parameters that are named, or of all, are `factor` times eager's."""

    factor: float
    names: tuple[str, ...] = ()
    changes_model: bool = False

    def compile(self, program: Program, workload: Workload) -> Forward:
        def forward(**inputs: Any) -> Any:
            changed = {
                name: with_gradient(tensor, self.factor)
                for name, tensor in program.model.named_parameters()
                if not self.names or name in self.names
            }
            return torch.func.functional_call(program.model, changed, kwargs=inputs)

        return forward


@dataclass(frozen=True)
class Honest:
    """The model in other arithmetic."""

    variation: str
    changes_model: bool = False

    def compile(self, program: Program, workload: Workload) -> Forward:
        return VARIATIONS[self.variation](program.model, program, 0)


def trained(
    tmp_path: Path, compiler: Any, mode: Any = None, options: Any = None, **changes: Any
) -> tuple[Any, Any, Any]:
    """Return the outcome, the row and the rows of the curves."""
    seen = context(tmp_path, compiler, "tested", mode or Training(learning_rate=0.1), **changes)
    outcome = TrainingLoss(**{"steps": 32, **(options or {})}).run(seen)
    found = seen.facts["findings"]
    return outcome, found.get("training_loss", [None])[0], found["loss_curves"]


# -- eager is not accused


@pytest.mark.parametrize("mode", [Training(learning_rate=0.1), Training(optimizer="adamw")])
def test_eager_is_like_itself_to_the_bit(tmp_path: Path, mode: Any) -> None:
    outcome, row, curves = trained(tmp_path, Broken(), mode)
    assert (outcome.status, row["convergence"]) == (PASS, LIKE)
    assert row["progress_low_percent"] == row["progress_high_percent"] == 0
    assert row["moved_low"] == row["moved_high"] == 1
    assert 0 < max(abs(row["eager_low_percent"]), abs(row["eager_high_percent"])) < 1
    assert all(line["loss"] == line["eager_loss"] for line in curves)
    assert any(line["eager_again_loss"] != line["eager_loss"] for line in curves)
    assert [line["training_step"] for line in curves] == 5 * list(range(32))
    assert row["eager_loss_last"] < 0.8 * row["loss_first"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "variation"),
    [
        ("float32", "float64, then rounded"),
        ("bfloat16", "float32, then rounded"),
        ("float32", "TF32-like rounding"),
        ("amp_bfloat16", "other summation order"),
    ],
)
def test_other_arithmetic_is_not_accused(tmp_path: Path, dtype: str, variation: str) -> None:
    """Of 20 whole measurements with seeds of their own none may be: the stated rate, 5 %, would let one through."""
    options = {"seeds": 3, "steps": 16, "batches": 4}
    found = [
        trained(tmp_path, Honest(variation), options=options, dtype=dtype, seed=100 * number)[0] for number in range(20)
    ]
    assert [outcome for outcome in found if outcome.status not in (PASS, COMPARISON_ERROR)] == []
    if dtype == "float32":
        assert {outcome.status for outcome in found} == {PASS}


# -- what is wrong is found


@pytest.mark.parametrize("factor", [1.1, 0.9, 1.05])
def test_gradients_of_another_scale_are_found(tmp_path: Path, factor: float) -> None:
    outcome, row, curves = trained(tmp_path, WrongGradients(factor))
    assert outcome.status == FAIL_ACCURACY
    assert row["convergence"] in (UNLIKE, OPEN)
    assert "parameters go another way" in outcome.reason
    assert (row["moved_steps"], row["moved_ratio"]) == (1, pytest.approx(factor, abs=1e-3))
    assert row["progress_low_percent"] <= row["progress_difference_percent"] <= row["progress_high_percent"]
    assert (row["progress_difference_percent"] > 0) == (factor > 1)
    assert curves[0]["loss"] == pytest.approx(curves[0]["eager_loss"])  # the fault is behind the first loss


@pytest.mark.parametrize("name", ["first.weight", "last.weight", "norm.bias"])
@pytest.mark.parametrize("factor", [0.0, 1.1, -1.0])
def test_one_wrong_gradient_is_found_and_named(tmp_path: Path, name: str, factor: float) -> None:
    outcome, row, _ = trained(tmp_path, WrongGradients(factor, (name,)))
    assert outcome.status == FAIL_ACCURACY
    assert row["moved_parameter"] == name
    assert f"furthest {name}: it moves" in outcome.reason
    assert row["moved_ratio"] == pytest.approx(factor, abs=1e-3)


@dataclass(frozen=True)
class Hooking:
    """A compiler that changes the model that it is given: a hook scales one weight's gradient."""

    changes_model: bool = False

    def compile(self, program: Program, workload: Workload) -> Forward:
        dict(program.model.named_parameters())["last.weight"].register_hook(lambda gradient: 1.1 * gradient)
        return program.model


def test_what_a_compiler_hooks_into_its_model_eager_has_not(tmp_path: Path) -> None:
    outcome, row, _ = trained(tmp_path, Hooking())
    assert (outcome.status, row["moved_parameter"]) == (FAIL_ACCURACY, "last.weight")


def test_adam_divides_by_the_scale_and_a_dropped_gradient_is_found_all_the_same(tmp_path: Path) -> None:
    mode = Training(optimizer="adam")
    assert trained(tmp_path, WrongGradients(1.1), mode)[0].status == PASS
    outcome, row, _ = trained(tmp_path, WrongGradients(0.0, ("last.bias",)), mode)
    assert (outcome.status, row["moved_parameter"]) == (FAIL_ACCURACY, "last.bias")


def test_a_loss_that_is_not_finite_is_whose_it_is(tmp_path: Path) -> None:
    def late_nan() -> Callable[[Any], Any]:
        calls: list[int] = []

        def change(outputs: Any) -> Any:
            calls.append(1)
            return {**outputs, "loss": outputs["loss"] * (math.nan if len(calls) == 20 else 1)}

        return change

    outcome, row, curves = trained(tmp_path, Broken(change=late_nan()))
    assert outcome.status == FAIL_ACCURACY
    assert outcome.reason == "the loss is not finite after step 20 of seed 1, and eager's is for all 32"
    assert row is None
    assert len(curves) == 32
    assert [line["training_step"] for line in curves if "loss" in line][-1] == 19
    outcome, _, _ = trained(tmp_path, Broken(), Training(learning_rate=1e30))
    assert outcome.status == EAGER_FAIL_TO_RUN
    assert "a lower mode.options.learning_rate" in outcome.reason


# -- what cannot be told


def test_where_nothing_is_learnt_nothing_is_told(tmp_path: Path) -> None:
    outcome, row, _ = trained(tmp_path, Broken(), Training(learning_rate=0.0))
    assert (outcome.status, row["convergence"]) == (COMPARISON_ERROR, OPEN)
    assert "eager's loss does not fall" in outcome.reason


def test_where_rounding_alone_leads_away_nobody_is_accused(tmp_path: Path) -> None:
    options = {"margin_percent": 1e-9}
    outcome, row, _ = trained(tmp_path, Honest("float64, then rounded"), options=options)
    assert (outcome.status, row["convergence"]) == (COMPARISON_ERROR, OPEN)
    assert "rounding alone changes how eager's loss falls" in outcome.reason


def test_what_is_no_training_or_has_other_parameters_is_unsupported(tmp_path: Path) -> None:
    measure = TrainingLoss()
    with pytest.raises(Unsupported, match="mode=training"):
        measure.run(context(tmp_path, Broken(), "tested"))
    with pytest.raises(Unsupported, match="changes the model"):
        measure.run(context(tmp_path, NeedsTwin(), "tested", Training()))
    with pytest.raises(ValueError, match="seeds=2: an interval over seeds needs 3"):
        TrainingLoss(seeds=2)
    with pytest.raises(ValueError, match="steps=10: each of 8 batches is seen twice"):
        TrainingLoss(steps=10)
    with pytest.raises(ValueError, match="margin_percent=0: it must be above 0"):
        TrainingLoss(margin_percent=0)


# -- figures


def test_the_quantile_is_that_of_scipy() -> None:
    for freedom in (1, 2, 3, 4, 7, 10, 39):
        for confidence in (0.5, 0.95, 0.975, 1 - 1e-4):
            assert student(freedom, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom), rel=1e-8)


def test_a_word_needs_the_whole_interval_on_its_side() -> None:
    words = [
        Difference(0, low, high).word(0.02) for low, high in ((-0.02, 0.01), (0.01, 0.03), (0.021, 0.03), (-1, -0.03))
    ]
    assert words == [LIKE, OPEN, UNLIKE, UNLIKE]
    assert difference([math.inf] * 3, 0.05).word(0.02) == UNLIKE
    assert difference([0.0, math.inf, 0.0], 0.05).word(0.02) == OPEN
    assert difference([0.0, math.nan, 0.0], 0.05).word(0.02) == OPEN
    seen = difference([0.01, 0.02, 0.03], 0.05)
    assert (seen.mean, seen.high - seen.mean) == pytest.approx((0.02, 4.302653 * 0.01 / math.sqrt(3)))


def test_progress_and_ways() -> None:
    eager = [4.0, 8.0, 3.0, 7.0, 2.0, 6.0]
    assert fall(eager, 2) == 1.5
    assert progress(eager, [4.0, 8.0, 2.85, 6.85, 1.85, 5.85], 2) == pytest.approx(0.1)
    assert math.isnan(progress([1.0, 1.0], [1.0, 1.0], 1))
    way = torch.tensor([3.0, 4.0])
    assert along(1.1 * way, way) == pytest.approx(1.1)
    assert along(torch.tensor([-4.0, 3.0]), way) == 0
    assert (along(way, 0 * way), along(0 * way, 0 * way)) == (math.inf, 1)


# -- data


def drawn(rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def of(*shape: int, low: int = 0, high: int = 300) -> torch.Tensor:
        return torch.randint(low, high, (rows, *shape), generator=generator)

    ids = of(12)
    ids[:, -1] = 2
    words = {"input_ids": ids, "labels": of(12), "next_sentence_label": of(high=2)}
    mask = {"attention_mask": of(12, low=1, high=2), "beyond": torch.tensor(3)}
    return {**words, **mask, "pixel_values": torch.randn(rows, 3, 4, generator=generator)}


def test_text_keeps_shapes_ranges_and_what_is_the_same_everywhere() -> None:
    before = drawn(16)
    after, what = structured(before, 4, 7)
    assert what == "text and topics and patterns"
    for name, tensor in before.items():
        assert (after[name].shape, after[name].dtype) == (tensor.shape, tensor.dtype)
    assert after["input_ids"][:, -1].tolist() == [2] * 16
    assert torch.equal(after["attention_mask"], before["attention_mask"])
    assert all(b"\n" <= bytes([token]) < b"\x7f" for token in after["labels"].flatten().tolist())
    assert torch.equal(after["labels"][:, :-1], after["input_ids"][:, :-1])
    assert torch.equal(structured(before, 4, 7)[0]["labels"], after["labels"])
    assert not torch.equal(structured(before, 4, 8)[0]["labels"], after["labels"])


def test_images_without_labels_have_the_pattern_of_their_place() -> None:
    images = {"x": torch.zeros(6, 3, 4)}
    after, what = structured(images, 2, 0)
    assert what == "patterns"
    assert torch.equal(after["x"][0], after["x"][2])
    assert not torch.equal(after["x"][0], after["x"][1])
    assert structured({"x": torch.zeros(6, dtype=torch.int64)}, 2, 0)[1] == "as drawn"


def test_batches_are_parted_and_what_does_not_grow_is_in_each(tmp_path: Path) -> None:
    seen = context(tmp_path, Broken(), "tested", Training())
    _, batches, _ = training_set(seen, 3, 4)
    assert [{name: len(tensor) for name, tensor in batch.items()} for batch in batches] == 4 * [{"x": 8, "labels": 8}]
    assert not torch.equal(batches[0]["x"], batches[1]["x"])
    program = cast(Program(torch.nn.Identity(), drawn(4), torch.sum), "bfloat16", torch.device("cpu"))
    assert structured(program.inputs, 4, 0)[0]["pixel_values"].dtype == torch.bfloat16


# -- the whole command


@pytest.mark.slow
def test_inductor_trains_a_real_model_as_eager_does(tmp_path: Path) -> None:
    small = ["suite=tiny", "suite.models=[bert_tiny]", "compiler=inductor", "mode=training", "measure=training_loss"]
    orchestrator(tmp_path, *small, "measure.options.steps=24", "measure.options.batches=4", "measure.options.seeds=3")
    (row,) = table(tmp_path, "training_loss").to_dict("records")
    assert (row["status"], row["convergence"], row["training_data"]) == ("pass", "like eager", "text")
    assert abs(row["progress_difference_percent"]) < 0.1
    assert row["eager_loss_last"] < row["loss_first"] - 0.3
    assert row["parameters_judged"] >= 38  # a key's bias has no gradient but rounding
    curves = table(tmp_path, "loss_curves")
    assert len(curves) == 3 * 24
    assert curves.loss.notna().all()
