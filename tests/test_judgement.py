"""Accuracy on models and compilers that are difficult to judge: each kind of wrong result is found, and no right one
blamed.

Real models, real compilers, and compilers with a planted fault; the reference job first, as in a sweep.
"""

from __future__ import annotations

import copy
import gc
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from support.judging import context as context_of
from support.judging import option, workload
from torch import nn
from torch.nn import functional

from orchestrator.compilers.eager import Eager
from orchestrator.measures.accuracy import Accuracy
from orchestrator.measures.calls import inputs_of, series
from orchestrator.measures.context import Context
from orchestrator.measures.reference import Reference
from orchestrator.plugins import Outcome, Program, instantiate
from orchestrator.records import (
    COMPARISON_ERROR,
    EAGER_TWO_RUNS_DIFFER,
    FAIL_ACCURACY,
    PASS,
    RANDOM,
    Workload,
)

Forward = Callable[..., Any]


@pytest.fixture(autouse=True)
def _as_in_a_fresh_process() -> Any:
    torch.set_num_threads(1)
    torch.compiler.reset()
    gc.freeze()  # each phase collects garbage first: not all that pytest and torch hold
    yield
    torch.use_deterministic_algorithms(False)
    if "torch._inductor.config" in sys.modules:
        torch._inductor.config.fallback_random = False


@dataclass(frozen=True)
class Builds:
    """A builder of one model; `inputs` draws from the generators that are seeded before."""

    model: Callable[[], nn.Module]
    inputs: Callable[[int], dict[str, torch.Tensor]] = lambda n: {"x": torch.randn(n, 8)}

    def build(self, load: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(load.seed)
        model = self.model()
        return Program(model, self.inputs(load.batch_size), lambda outputs: outputs["loss"])


@dataclass(frozen=True)
class Planted:
    """A compiler whose callable is what `make` makes of the model."""

    make: Callable[[nn.Module], Forward]
    changes_model: bool = False

    def check(self, load: Workload) -> None: ...

    def compile(self, program: Program, load: Workload) -> Forward:
        return self.make(program.model)


def after(change: Callable[[Any], Any]) -> Planted:
    """Return the compiler that changes what the model returns."""
    return Planted(lambda model: lambda **inputs: change(model(**inputs)))


def compiler(name: str) -> Any:
    return instantiate(option("compiler", name))


def model_of(forward: Callable[..., Any], **parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a constructor of a model with a linear layer `lin`, other parts, a counter `calls`, and this forward."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(8, 8)
            self.calls = 0
            for name, make in parts.items():
                setattr(self, name, make())

    Model.forward = forward  # type: ignore[method-assign]
    return Model


def referenced(folder: Path, builds: Builds, load: Workload, **options: Any) -> tuple[Outcome, Context]:
    seen = context_of(folder, Eager(), load)
    seen.builder = builds
    return Reference(**options).run(seen), seen


def judged(
    folder: Path, builds: Builds, by: Any, mode: str = "inference", dtype: str = "float32", **options: Any
) -> tuple[Outcome, dict[str, Any]]:
    """Run the reference, which must be one, then accuracy; return its outcome, and its facts."""
    load = workload(mode, dtype)
    made, _ = referenced(folder, builds, load)
    assert made.status == PASS, made.reason
    seen = context_of(folder, by, load)
    seen.builder = builds
    by.check(load)
    tolerance = 1e-2 if mode == "training" else 1e-3
    return Accuracy(**{"tolerance": tolerance, **options}).run(seen), dict(seen.facts)


def count(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    return self.lin(x) * self.calls


def branch(self: Any, x: torch.Tensor) -> torch.Tensor:
    hidden = self.lin(x)
    return hidden * 2 if hidden.sum() > 0 else hidden - 1


def biggest(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.lin(x) if float(x[0, 0]) > 0 else self.lin(-2 * x)


@pytest.mark.parametrize("forward", [count, branch, biggest])
@pytest.mark.parametrize(
    ("name", "status"), [("eager", PASS), ("dynamo_eager", PASS), ("aot_eager", PASS), ("jit_trace", FAIL_ACCURACY)]
)
def test_what_needs_a_second_call_or_another_branch_is_seen(
    tmp_path: Path, forward: Callable[..., Any], name: str, status: str
) -> None:
    outcome, facts = judged(tmp_path, Builds(model_of(forward)), compiler(name))
    assert outcome.status == status, outcome.reason
    calls = facts["accuracy"]["calls"]
    assert calls[:3] == ["first", "fresh 1", "mirrored"]
    assert calls[-1] == "first"


def test_a_compiler_that_is_wrong_from_its_second_call_on_is_found(tmp_path: Path) -> None:
    def late(model: nn.Module) -> Forward:
        made: list[int] = []

        def forward(**inputs: Any) -> Any:
            made.append(1)
            return model(**inputs) * (1 if len(made) < 2 else 1.1)

        return forward

    plain = Builds(model_of(lambda self, x: self.lin(x)))
    outcome, _ = judged(tmp_path, plain, Planted(late))
    assert outcome.status == FAIL_ACCURACY
    assert "call 2 of 4 (fresh 1 inputs)" in outcome.reason
    assert judged(tmp_path, plain, Planted(late), rules="dynamo")[0].status == PASS


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_as_many_calls_are_judged_as_are_asked_for(tmp_path: Path, calls: int) -> None:
    load, builds = workload(), Builds(model_of(lambda self, x: self.lin(x)))
    assert referenced(tmp_path, builds, load, calls=calls)[0].status == PASS
    seen = context_of(tmp_path, Eager(), load)
    seen.builder = builds
    assert Accuracy(tolerance=1e-3, calls=calls).run(seen).status == PASS
    assert len(seen.facts["accuracy"]["calls"]) == calls


def test_the_first_inputs_come_again_at_the_end() -> None:
    tokens, image = {"x": torch.arange(3)}, {"x": torch.tensor([-1.0, 1.0])}
    assert [call.inputs for call in series(tokens, None, 5)] == ["first", "fresh 1", "first"]
    assert [call.inputs for call in series(image, None, 5)] == ["first", "fresh 1", "mirrored", "first"]
    assert [call.inputs for call in series(image, 2, 5)] == ["first", "fresh 1"]
    assert [call.seed for call in series(tokens, None, 5)] == [5, 6, 5]


def test_inputs_of_which_there_are_no_others_are_told(tmp_path: Path) -> None:
    words = model_of(lambda self, x: self.words(x), words=lambda: nn.Embedding(64, 8))
    tokens = Builds(words, lambda n: {"x": torch.arange(n * 8).reshape(n, 8)})
    outcome, facts = judged(tmp_path, tokens, compiler("eager"))
    assert outcome.status == PASS
    assert "every call had the same inputs" in facts["accuracy"]["weaker"][0]


def test_inputs_that_are_all_ones_are_halved_having_no_other_order() -> None:
    ones, calls = {"x": torch.ones(2, 4)}, series({"x": torch.ones(2, 4)}, 4, 5)
    made = inputs_of(ones, calls, {"fresh 1": ones, "fresh 2": ones})
    assert [made[kind]["x"].unique().tolist() for kind in ("first", "fresh 1", "fresh 2")] == [[1.0], [0.5], [0.25]]


def test_a_layer_that_is_lazy_changes_nothing_by_becoming_one(tmp_path: Path) -> None:
    lazy = Builds(model_of(lambda self, x: self.late(self.lin(x)), late=lambda: nn.LazyLinear(4)))
    for name in ("eager", "dynamo_eager"):
        assert judged(tmp_path, lazy, compiler(name))[0].status == PASS


def test_stale_inputs_are_seen_where_the_model_draws_none_anew(tmp_path: Path) -> None:
    """Inputs that do not depend on a seed are turned around: a compiler that keeps the first ones is found all the
    same.
    """
    constant = Builds(model_of(lambda self, x: self.lin(x)), lambda n: {"x": torch.linspace(0, 1, n * 8).reshape(n, 8)})

    def stale(model: nn.Module) -> Forward:
        kept: list[dict[str, torch.Tensor]] = []

        def forward(**inputs: torch.Tensor) -> Any:
            kept.append({name: tensor.clone() for name, tensor in inputs.items()})
            return model(**kept[0])

        return forward

    assert judged(tmp_path, constant, Planted(stale))[0].status == FAIL_ACCURACY
    assert judged(tmp_path, constant, compiler("aot_eager"))[0].status == PASS


def mutate(self: Any, x: torch.Tensor) -> torch.Tensor:
    y = functional.dropout(x, 0.5, False)
    y += 1
    return y.sum(-1)


def tally(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.norm.running_mean.add_(1)
    return self.lin(x)


def drift(self: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        self.lin.weight.mul_(0.5)
    return x.sum(-1)


def copied(model: nn.Module) -> Forward:
    """A compiler that works on copies of everything: whatever the model changes is lost."""
    return lambda **inputs: copy.deepcopy(model)(**copy.deepcopy(inputs))


@pytest.mark.parametrize(
    ("forward", "lost"), [(mutate, "input.x"), (tally, "buffer.norm.running_mean"), (drift, "parameter.lin.weight")]
)
def test_what_a_call_changes_is_compared(tmp_path: Path, forward: Callable[..., Any], lost: str) -> None:
    builds = Builds(model_of(forward, norm=lambda: nn.BatchNorm1d(8)))
    outcome, _ = judged(tmp_path, builds, Planted(copied))
    assert outcome.status == FAIL_ACCURACY
    assert f"{lost}: eager changes it, and the compiled model leaves it as it was" in outcome.reason
    assert judged(tmp_path, builds, compiler("dynamo_eager"))[0].status == PASS


def test_aot_autograd_loses_what_a_dropout_that_is_off_passes_through(tmp_path: Path) -> None:
    """pytorch#195422: the caller's x is changed in eager."""
    assert judged(tmp_path, Builds(model_of(mutate)), compiler("aot_eager"))[0].status == FAIL_ACCURACY


def test_an_input_that_only_the_compiled_model_writes_into_is_found(tmp_path: Path) -> None:
    def writes(model: nn.Module) -> Forward:
        def forward(x: torch.Tensor) -> Any:
            outputs = model(x)
            x[0, 0] += 1
            return outputs

        return forward

    outcome, _ = judged(tmp_path, Builds(model_of(lambda self, x: self.lin(x))), Planted(writes))
    assert "input.x: the compiled model changes it" in outcome.reason


@pytest.mark.parametrize("name", ["export", pytest.param("aot_inductor", marks=pytest.mark.slow), "jit_trace"])
def test_buffers_are_those_of_whoever_keeps_them(tmp_path: Path, name: str) -> None:
    """An exported program shares the model's; a package has its own, whose change the next call's output shows."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.norm.running_mean += 1
        return self.lin(x) + self.norm.running_mean

    builds = Builds(model_of(forward, norm=lambda: nn.BatchNorm1d(8)))
    assert judged(tmp_path, builds, compiler(name))[0].status == PASS


def masked(self: Any, x: torch.Tensor) -> torch.Tensor:
    rows = torch.zeros(len(x), 8, dtype=torch.bool)
    rows[0] = True
    return torch.softmax(self.lin(x).masked_fill(rows, float("-inf")), -1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_nan_in_one_row_of_eager_hides_nothing_of_the_others(tmp_path: Path, dtype: str) -> None:
    builds = Builds(model_of(masked))
    for name in ("eager", "aot_eager"):
        assert judged(tmp_path, builds, compiler(name), dtype=dtype)[0].status == PASS
    for wrong in (torch.zeros_like, lambda y: 2 * y, lambda y: y * float("nan"), torch.nan_to_num):
        assert judged(tmp_path, builds, after(wrong), dtype=dtype)[0].status == FAIL_ACCURACY


def test_one_overflow_in_float16_does_not_let_everything_pass(tmp_path: Path) -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.lin(x)
        return torch.cat([y, 1e6 * y[:1].abs()])

    builds = Builds(model_of(forward))
    assert judged(tmp_path, builds, compiler("aot_eager"), dtype="float16")[0].status == PASS
    outcome, _ = judged(tmp_path, builds, after(lambda y: torch.where(y.isfinite(), 1.1 * y, y)), dtype="float16")
    assert outcome.status == FAIL_ACCURACY


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: torch.from_numpy(numpy.random.rand(n, 8).astype("float32")),
        lambda n: torch.tensor([[random.random() for _ in range(8)] for _ in range(n)]),
        lambda n: torch.rand(n, 8),
    ],
    ids=["numpy", "random", "torch"],
)
def test_inputs_may_be_drawn_by_any_generator(tmp_path: Path, draw: Callable[[int], torch.Tensor]) -> None:
    builds = Builds(model_of(lambda self, x: self.lin(x)), lambda n: {"x": draw(n)})
    assert judged(tmp_path, builds, compiler("eager"))[0].status == PASS


def noisy(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.lin(x) + torch.randn_like(x)


def dropped(self: Any, x: torch.Tensor) -> torch.Tensor:
    return functional.dropout(self.lin(x), 0.3)


def by_numpy(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.lin(x) + float(numpy.random.rand())


@pytest.mark.parametrize("forward", [noisy, dropped, by_numpy])
def test_random_models_are_judged_where_the_compiler_draws_as_eager_does(
    tmp_path: Path, forward: Callable[..., Any]
) -> None:
    builds = Builds(model_of(forward))
    outcome, facts = judged(tmp_path, builds, compiler("aot_eager" if forward is not by_numpy else "eager"))
    assert outcome.status == PASS, outcome.reason
    assert facts["accuracy"]["weaker"] == ["output: random: float64 draws other numbers"]
    assert judged(tmp_path, builds, after(lambda y: 2 * y))[0].status == FAIL_ACCURACY


@pytest.mark.slow
@pytest.mark.parametrize("forward", [noisy, dropped])
def test_inductor_is_made_to_draw_as_eager_does(tmp_path: Path, forward: Callable[..., Any]) -> None:
    outcome, facts = judged(tmp_path, Builds(model_of(forward)), compiler("inductor"))
    assert outcome.status == PASS, outcome.reason
    assert facts["fallback_random"] is True


def test_another_random_stream_is_no_wrong_result(tmp_path: Path) -> None:
    def draws(model: nn.Module) -> Forward:
        def forward(**inputs: Any) -> Any:
            torch.rand(1)
            return model(**inputs)

        return forward

    outcome, _ = judged(tmp_path, Builds(model_of(noisy)), Planted(draws))
    assert outcome.status == RANDOM
    assert "output: random" in outcome.reason

    def half(self: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"noisy": noisy(self, x), "plain": self.lin(x)}

    both = Planted(lambda model: lambda **inputs: {n: 2 * y for n, y in draws(model)(**inputs).items()})
    outcome, _ = judged(tmp_path, Builds(model_of(half)), both)
    assert outcome.status == FAIL_ACCURACY


def without_float64(self: Any, x: torch.Tensor) -> torch.Tensor:
    place = torch.arange(1.0, 9.0, dtype=torch.float32)
    return self.lin(x).sum(0) + functional.linear(place, self.lin.weight)


def test_without_a_float64_run_length_counts_and_the_row_says_so(tmp_path: Path) -> None:
    builds = Builds(model_of(without_float64))
    outcome, facts = judged(tmp_path, builds, compiler("aot_eager"))
    assert outcome.status == PASS
    (weaker,) = facts["accuracy"]["weaker"]
    assert weaker.startswith("output: there is no float64 reference (RuntimeError: ")
    for wrong in (lambda y: 2 * y, lambda y: 1.02 * y, torch.neg):
        assert judged(tmp_path, builds, after(wrong))[0].status == FAIL_ACCURACY
    loss = Builds(model_of(lambda self, x: without_float64(self, x).square().mean()))
    assert judged(tmp_path, loss, after(lambda y: 7 * y))[0].status == FAIL_ACCURACY


def test_a_shape_that_depends_on_the_data_is_judged_without_float64(tmp_path: Path) -> None:
    def forward(self: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.lin(x)
        kept = hidden[hidden > hidden.to(torch.bfloat16).to(hidden.dtype)]  # others in float64
        return {"all": hidden, "kept": kept}

    builds = Builds(model_of(forward))
    outcome, _ = judged(tmp_path, builds, compiler("dynamo_eager"))
    assert outcome.status == PASS, outcome.reason
    assert judged(tmp_path, builds, after(lambda y: y | {"kept": 2 * y["kept"]}))[0].status == FAIL_ACCURACY


def scored(self: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    scores = self.head(x)
    return {"scores": scores, "class": scores.argmax(-1)}


def test_a_compiler_that_is_exacter_than_eager_is_not_blamed_for_its_classes(tmp_path: Path) -> None:
    builds = Builds(model_of(scored, head=lambda: nn.Linear(8, 5000)))

    def exact(model: Any) -> Forward:
        wide = copy.deepcopy(model.head).double()

        def forward(x: torch.Tensor) -> Any:
            scores = wide(x.double())
            return {"scores": scores.to(x.dtype), "class": scores.argmax(-1)}

        return forward

    assert judged(tmp_path, builds, Planted(exact), dtype="bfloat16")[0].status == PASS
    for dtype in ("float32", "bfloat16"):
        other = after(lambda y: y | {"class": (y["class"] + 1) % 5000})
        assert judged(tmp_path, builds, other, dtype=dtype)[0].status == FAIL_ACCURACY


def test_eager_is_eager_where_a_model_compiles_a_part_of_itself(tmp_path: Path) -> None:
    def backend(graph: Any, inputs: Any) -> Forward:
        return lambda *given: [2 * output for output in graph(*given)]  # wrong

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.part(self.lin(x))

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.compiled = torch.compile(torch.sin, backend=backend)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.compiled(x)

    builds = Builds(model_of(forward, part=Part))
    _, seen = referenced(tmp_path, builds, workload())
    assert seen.facts["compiles_itself"] is True
    assert judged(tmp_path, builds, after(lambda y: y))[0].status == FAIL_ACCURACY  # runs the wrong part
    right = Planted(lambda model: lambda x: model.lin(x).sin())
    assert judged(tmp_path, builds, right)[0].status == PASS


@dataclass
class Answer:
    value: torch.Tensor
    text: str


@pytest.mark.parametrize(
    ("forward", "status"),
    [
        (lambda self, x: self.lin(x).relu().to_sparse(), PASS),
        (lambda self, x: torch.nested.nested_tensor([self.lin(x), x]), PASS),
        (lambda self, x: self.lin(x).to(torch.float8_e4m3fn), PASS),
        (lambda self, x: Answer(self.lin(x), "cat"), PASS),
        (lambda self, x: {"y": self.lin(x), "text": "cat"}, PASS),
        (lambda self, x: "cat", COMPARISON_ERROR),
    ],
    ids=["sparse", "nested", "float8", "dataclass", "text beside", "text"],
)
def test_outputs_of_any_kind_blame_nobody(tmp_path: Path, forward: Callable[..., Any], status: str) -> None:
    outcome, facts = judged(tmp_path, Builds(model_of(forward)), compiler("eager"))
    assert outcome.status == status, outcome.reason
    if "text" in str(facts["accuracy"]["weaker"]):
        assert facts["accuracy"]["weaker"][0].startswith("not compared: output")


def unused(self: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"loss": self.lin(x).square().mean(), "y": self.lin(x)}


@pytest.mark.parametrize("name", ["aot_eager", "dynamo_eager"])
def test_an_unused_head_without_a_gradient_is_no_difference(tmp_path: Path, name: str) -> None:
    """AOTAutograd gives zeros where eager gives None (BigBird's pooler)."""

    def forward(self: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = unused(self, x)
        self.head(x)
        return outputs

    builds = Builds(model_of(forward, head=lambda: nn.Linear(8, 8)))
    assert judged(tmp_path, builds, compiler(name), "training")[0].status == PASS
    zeros = after(lambda y: y | {"loss": y["loss"] + 0})
    assert judged(tmp_path, builds, zeros, "training")[0].status == PASS


def test_gradients_are_compared_in_every_call(tmp_path: Path) -> None:
    def late(model: nn.Module) -> Forward:
        made: list[int] = []

        def forward(**inputs: Any) -> Any:
            made.append(1)
            y = model(**inputs)
            return y if len(made) < 2 else y | {"loss": y["loss"] * 2 - y["loss"].detach()}

        return forward

    outcome, _ = judged(tmp_path, Builds(model_of(unused)), Planted(late), "training")
    assert outcome.status == FAIL_ACCURACY
    assert "grad.lin" in outcome.reason
    assert "call 2 of" in outcome.reason


def test_eager_that_depends_on_the_hour_is_no_reference(tmp_path: Path) -> None:
    hours = iter(range(1000))
    builds = Builds(model_of(lambda self, x: self.lin(x) + next(hours)))
    assert referenced(tmp_path, builds, workload())[0].status == EAGER_TWO_RUNS_DIFFER


def test_other_inputs_that_eager_refuses_are_left_out_and_told(tmp_path: Path) -> None:
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        if float(x[0, 0]) == -self.expected:
            raise ValueError("not these")
        return self.lin(x)

    class Model(model_of(forward)):  # type: ignore[misc]
        expected = 0.0

    def build() -> nn.Module:
        return Model()

    def inputs(n: int) -> dict[str, torch.Tensor]:
        x = torch.randn(n, 8)
        Model.expected = Model.expected or float(x[0, 0])
        return {"x": x}

    outcome, facts = judged(tmp_path, Builds(build, inputs), compiler("eager"))
    assert outcome.status == PASS, outcome.reason
    assert facts["accuracy"]["calls"] == ["first", "fresh 1", "first"]
    assert "mirrored: ValueError" in facts["accuracy"]["weaker"][0]
