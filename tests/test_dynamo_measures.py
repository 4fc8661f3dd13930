"""What measures say of dynamo: models with known graphs, breaks and guards, through real back-ends, in this process."""

from __future__ import annotations

import inspect
import logging
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.measuring import context

from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.compilers.eager import Eager
from orchestrator.measures import cache_lookup, dynamic_shapes
from orchestrator.measures.batch_invariance import BatchInvariance
from orchestrator.measures.cache_lookup import CacheLookup
from orchestrator.measures.coverage import Coverage
from orchestrator.measures.dynamic_shapes import DynamicShapes
from orchestrator.measures.explain import BREAK, LEFT, Explain, by_reason
from orchestrator.measures.minify import Minify, keep, operators
from orchestrator.measures.recompilations import Recompilations
from orchestrator.modes.inference import Inference
from orchestrator.modes.training import Training
from orchestrator.plugins import Forward, Program, Unsupported
from orchestrator.probes import graphs as graphs_probe
from orchestrator.probes.compilations import short_reason
from orchestrator.records import FAIL_ACCURACY, FAIL_TO_RUN, PASS, PASS_DUE_TO_SKIP, Workload
from orchestrator.worker.run import classify

NO_OP = TorchCompile(backend="eager")


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch.set_num_threads(1)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Whole(torch.nn.Module):
    """Linear, ReLU, sum: three operators and one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.layer(x).relu(), "loss": x.sum() * self.layer.bias.sum()}


class Torn(Whole):
    """A value decides what is done: two graphs, and an operator between them that none has."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.layer(x).relu()
        if y.sum().item() > -1:
            y = y + 1
        return {"y": y, "loss": y.sum()}


class Branching(Whole):
    """A branch on a value: a graph on each side of the break, which is a jump."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.layer(x)
        y = y * 2 if y.sum() > 0 else y - 1
        return {"y": y, "loss": y.sum()}


class Counting(Whole):
    """Each call has another constant: compiled again and again, until dynamo's limit."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        y = self.layer(x) * self.calls
        return {"y": y, "loss": y.sum()}


class Mixed(Whole):
    """A sample's result depends on the others in its batch."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x - x.mean(0), "other": x * 2, "loss": x.sum()}


@dataclass(frozen=True)
class Built:
    model: type[torch.nn.Module]

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(workload.seed)
        x = torch.randn(workload.batch_size, 4)
        return Program(self.model(), {"x": x}, loss=lambda outputs: outputs["loss"])


def observed(
    tmp_path: Path, measure: Any, model: type[torch.nn.Module] = Whole, compiler: Any = NO_OP, **more: Any
) -> tuple[Any, dict[str, list[dict[str, Any]]]]:
    """Return the outcome, and the rows by table."""
    name = "eager" if isinstance(compiler, Eager) else "compiled"
    seen = context(tmp_path, compiler, name, **more)
    seen.builder = Built(model)
    return measure.run(seen), seen.facts.get("findings", {})


@pytest.mark.parametrize(
    "measure",
    [Coverage(), Explain(), Recompilations(), CacheLookup(), DynamicShapes(batch_sizes=(2, 4)), Minify()],
    ids=lambda measure: type(measure).__name__,
)
def test_eager_is_told_why_not(tmp_path: Path, measure: Any) -> None:
    with pytest.raises(Unsupported, match="compile"):
        observed(tmp_path, measure, compiler=Eager())


@dataclass(frozen=True)
class Another(Eager):
    """A compiler that does not go through dynamo."""


@pytest.mark.parametrize(
    "measure",
    [Coverage(), Explain(), Recompilations(), CacheLookup(), Minify()],
    ids=lambda measure: type(measure).__name__,
)
def test_a_compiler_without_dynamo_is_unsupported_not_zero(tmp_path: Path, measure: Any) -> None:
    seen = context(tmp_path, Another(), "another")
    seen.builder = Built(Whole)
    with pytest.raises(Unsupported, match="another does not go through dynamo"):
        measure.run(seen)


class Refusing(Eager):
    """Compiles ahead of time, and cannot."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        raise RuntimeError("no capture")


@pytest.mark.parametrize("measure", [Recompilations(), DynamicShapes(batch_sizes=(2, 4))])
def test_a_compiler_that_fails_is_not_called_a_model_that_does_not_load(tmp_path: Path, measure: Any) -> None:
    seen = context(tmp_path, Refusing(), "refusing")
    seen.builder = Built(Whole)
    with pytest.raises(RuntimeError, match="no capture") as raised:
        measure.run(seen)
    assert classify(raised.value, seen.now, "refusing")[0] == FAIL_TO_RUN


def test_a_whole_model_is_captured_whole(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, Coverage())
    assert (outcome.status, outcome.reason) == (PASS, "")
    (row,) = found["coverage"]
    assert (row["graphs"], row["graph_calls"]) == (1, 1)
    assert row["captured_operators"] == row["operators"] == 5  # linear, relu, sum, sum, mul
    assert row["captured_operators_percent"] == row["captured_time_percent"] == 100
    assert 0 < row["captured_time_s"] == row["operator_time_s"] < 1


def test_what_is_between_two_graphs_is_not_captured(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Coverage(), Torn)
    (row,) = found["coverage"]
    assert (row["graphs"], row["graph_calls"]) == (2, 2)
    assert row["operators"] - row["captured_operators"] == 1  # item
    assert 0 < row["captured_time_percent"] < 100


def test_in_training_the_backward_graph_is_captured_and_the_optimizer_is_not(tmp_path: Path) -> None:
    _, inference = observed(tmp_path, Coverage())
    _, training = observed(tmp_path, Coverage(), mode=Training())
    (row,) = training["coverage"]
    assert (row["graphs"], row["graph_calls"]) == (1, 2)
    assert inference["coverage"][0]["captured_operators"] < row["captured_operators"] < row["operators"]


def test_breaks_have_a_reason_and_the_line_of_the_model(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, Explain(), Torn)
    assert outcome.status == PASS
    (row,) = found["explain"]
    assert (row["graphs"], row["graph_breaks"], row["unique_graph_breaks"]) == (2, 1, 1)
    assert row["captured_calls"] > 3
    assert row["first_call_s"] >= row["dynamo_time_s"] > 0
    (broken,) = found["graph_breaks"]
    lines, start = inspect.getsourcelines(Torn.forward)
    line = start + next(i for i, text in enumerate(lines) if ".item()" in text)
    assert broken["user_stack"] == f"test_dynamo_measures.py:{line}"
    assert "item" in broken["break_reason"]
    assert "\n" not in broken["break_reason"]
    assert (broken["effect"], broken["count"]) == (BREAK, 1)


def test_a_model_without_breaks_has_a_row_of_graphs_and_none_of_breaks(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Explain())
    assert found["explain"][0]["graphs"] == 1
    assert "graph_breaks" not in found


@pytest.mark.parametrize("mode", [Inference(), Training()], ids=["inference", "training"])
def test_graphs_are_left_as_files_where_they_are_asked_for(tmp_path: Path, mode: Any) -> None:
    training = ["aot_joint_graph", "aot_forward_graph", "aot_backward_graph"]
    own = training if mode == Training() else ["aot_inference_graph"]
    _, found = observed(tmp_path, Explain(graphs=True), Torn, TorchCompile(backend="aot_eager"), mode=mode)
    graphs = found["explain"][0]["graphs"]
    files = list((tmp_path / found["explain"][0]["file"]).iterdir())
    of_stage = {stage: [file for file in files if stage in file.name] for stage in ("dynamo_output_graph", *own)}
    assert {stage: len(those) for stage, those in of_stage.items()} == dict.fromkeys(of_stage, graphs)
    assert len(files) == graphs * len(of_stage)
    assert any("torch._C._nn.linear" in file.read_text() for file in of_stage["dynamo_output_graph"])
    assert any("torch.ops.aten.relu" in file.read_text() for file in of_stage[own[0]])
    assert found["explain"][0]["total_aot_graphs"] == found["explain"][0]["ok_aot_graphs"] == graphs
    assert not any(isinstance(one, graphs_probe._Ear) for one in logging.getLogger(graphs_probe.LOG).handlers)


def test_a_back_end_without_autograd_graphs_has_none(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Explain())
    assert found["explain"][0]["total_aot_graphs"] == 0
    assert found["explain"][0]["file"] is None


class TornInside(Whole):
    """The break is in a function that is inlined into another, which is inlined into the outermost."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.outer(self.layer(x)) + 1, "loss": x.sum()}

    def outer(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x * 2) * 3

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.sum().item()


def test_a_break_in_an_inlined_function_is_one_row_with_the_whole_way_to_it(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Explain(), TornInside)
    (broken,) = found["graph_breaks"]
    first = inspect.getsourcelines(TornInside)[1]
    assert broken["user_stack"] == " < ".join(f"test_dynamo_measures.py:{first + n}" for n in (10, 7, 4))
    assert broken["count"] == found["explain"][0]["graph_breaks"] == 3


def test_what_a_failed_compilation_has_seen_is_kept(tmp_path: Path) -> None:
    seen = context(tmp_path, TorchCompile(backend="eager", fullgraph=True), "fullgraph")
    seen.builder = Built(Torn)
    with pytest.raises(Exception, match="item"):
        Explain().run(seen)
    assert [row["effect"] for row in seen.facts["findings"]["graph_breaks"]] == [LEFT]


def test_a_reason_is_one_line_without_addresses_and_advice() -> None:
    message = (
        "Unsupported call\n  Explanation: It is long.\n  Hint: Do not.\n\n"
        "  Developer debug context: function <f at 0x7f00deadbeef> of <C>\n\n For more details: https://x"
    )
    assert short_reason(message) == "Unsupported call (function <f> of <C>)"
    assert (
        short_reason("skipped (file matches /usr/lib/python3/site-packages/torch/x)")
        == "skipped (file matches torch/x)"
    )
    assert short_reason("0/1: tensor 'x' size mismatch") == "tensor 'x' size mismatch"


def test_reasons_are_counted_over_the_sweep() -> None:
    def row(model: str, reason: str | None, count: int | None) -> dict[str, Any]:
        return {"suite": "s", "model": model, "break_reason": reason, "effect": BREAK, "count": count,
                "user_stack": f"{model}.py:1"}  # fmt: skip

    rows = [row("a", "once", 9), row("a", "often", 1), row("b", "often", 2), row("b", "often", 1), row("c", None, None)]
    assert [(r["break_reason"], r["models"], r["count"], r["user_stack"]) for r in by_reason(rows)] == [
        ("often", 2, 4, "a.py:1"),
        ("once", 1, 9, "a.py:1"),
    ]


def test_a_step_that_is_repeated_is_not_compiled_again(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Recompilations())
    assert found["recompilations"] == [{"recompiles": 0, "calls": 3, "compilations": 1}]


def test_other_batch_sizes_name_the_guard_that_failed(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Recompilations(batch_sizes=(4, 2)))
    (row,) = found["recompilations"]  # the second size makes the dimension dynamic, the third finds that
    assert row["recompiles"] == 1
    assert "size mismatch at index 0. expected 8, actual 4" in row["recompile_reason"]
    assert row["user_frame"].startswith("forward (test_dynamo_measures.py:")
    assert (row["calls"], row["compilations"]) == (9, 2)


def test_a_branch_on_data_is_a_graph_break_for_both_of_explains_tables(tmp_path: Path) -> None:
    _, found = observed(tmp_path, Explain(), Branching)
    (broken,) = found["graph_breaks"]
    assert broken["break_reason"].startswith("generic_jump")
    assert broken["effect"] == BREAK
    row = found["explain"][0]
    assert (row["graph_breaks"], row["unique_graph_breaks"], broken["count"]) == (1, 1, 1)
    assert row["graphs"] == 2


@pytest.mark.parametrize(
    ("limits", "name", "compiled"),
    [
        ({}, "recompile_limit (8)", 8),
        ({"recompile_limit": 3}, "recompile_limit (3)", 3),
        ({"accumulated_recompile_limit": 5}, "accumulated_recompile_limit (5)", 5),
    ],
)
def test_the_limit_of_recompilations_is_a_row_that_says_what_it_means(
    tmp_path: Path, limits: dict[str, int], name: str, compiled: int
) -> None:
    with torch._dynamo.config.patch(**limits):
        _, found = observed(tmp_path, Recompilations(calls=12), Counting)
    *again, last = found["recompilations"]
    assert sum(row["recompiles"] for row in again) == compiled - 1
    assert {row["compilations"] for row in again} == {compiled}
    line = inspect.getsourcelines(Counting.forward)[1]
    assert {row["user_frame"] for row in (*again, last)} == {f"forward (test_dynamo_measures.py:{line})"}
    assert last["recompile_reason"].startswith(f"{name} was hit: from here on what none of its code fits runs in eager")
    assert f"calls == {compiled - 1}" in last["recompile_reason"]


@pytest.mark.parametrize(
    ("compiler", "mark_dynamic", "graphs"),
    [(NO_OP, None, 2), (NO_OP, True, 1), (NO_OP, False, 4), (TorchCompile(backend="eager", dynamic=True), None, 1)],
    ids=["automatic", "marked dynamic", "marked static", "dynamic=True"],
)
def test_shapes_through_one_callable(tmp_path: Path, compiler: Any, mark_dynamic: bool | None, graphs: int) -> None:
    measure = DynamicShapes(batch_sizes=(2, 3, 4, 5), mark_dynamic=mark_dynamic, calls=4)
    outcome, found = observed(tmp_path, measure, compiler=compiler)
    assert outcome.status == PASS
    rows = found["dynamic_shapes"]
    assert [row["shape_batch_size"] for row in rows] == [2, 3, 4, 5]
    assert [row["graphs"] for row in rows] == [min(n, graphs) for n in (1, 2, 3, 4)]
    assert [row["recompiles"] for row in rows] == [min(n, graphs) - 1 for n in (1, 2, 3, 4)]
    assert [row["compilation"] for row in rows] == ["new"] * graphs + ["reused"] * (4 - graphs)
    for row in rows:
        assert row["calls"] == 4
        assert row["first_call_s"] > 0
        assert row["latency_spread_percent"] >= 0


def test_a_shapes_figures_are_those_of_its_samples(tmp_path: Path) -> None:
    seen = context(tmp_path, NO_OP, "compiled")
    seen.builder = Built(Whole)
    DynamicShapes(batch_sizes=(2, 3), calls=5).run(seen)
    found = {sample.metric: sample.values for sample in seen.samples}
    eager, compiled = found["eager_latency 3"], found["latency 3"]
    row = seen.facts["findings"]["dynamic_shapes"][1]
    assert len(eager) == len(compiled) == 5
    assert row["speedup"] == pytest.approx(statistics.median(e / c for e, c in zip(eager, compiled, strict=True)))
    assert (row["eager_latency_s"], row["latency_s"]) == (statistics.median(eager), statistics.median(compiled))


def test_both_modes_take_other_shapes(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, DynamicShapes(batch_sizes=(2, 3), calls=2), mode=Training())
    assert outcome.status == PASS
    assert len(found["dynamic_shapes"]) == 2


def test_what_dynamo_would_run_in_eager_without_a_word_is_said(tmp_path: Path) -> None:
    measure = DynamicShapes(batch_sizes=(2, 3, 4), mark_dynamic=False, calls=2)
    with torch._dynamo.config.patch(recompile_limit=2):
        outcome, found = observed(tmp_path, measure)
    assert outcome.status == PASS
    rows = found["dynamic_shapes"]
    assert [row["compilation"] for row in rows] == ["new", "new", dynamic_shapes.OVER_LIMIT]
    assert "latency_s" not in rows[2]


@dataclass(frozen=True)
class WrongFor:
    """Eager, whose `y` is off by 1 % in one sample of batches of `size`, or whose gradient is, where `gradient`."""

    size: int
    gradient: bool = False

    changes_model = False

    def check(self, workload: Workload) -> None: ...

    def compile(self, program: Program, workload: Workload) -> Forward:
        def forward(x: torch.Tensor) -> Any:
            outputs = program.model(x=x)
            if x.shape[0] != self.size:
                return outputs
            if self.gradient:
                loss = outputs["loss"]
                return {**outputs, "loss": loss.detach() + (loss - loss.detach()) * 1.5}
            scale = torch.ones(self.size, 1)
            scale[-1] = 1.01
            return {**outputs, "y": outputs["y"] * scale}

        return forward


@dataclass(frozen=True)
class GraphWrongFor(WrongFor):
    """One graph of dynamo's for all sizes, whose code is off by 1 % for one of them: its first call says nothing."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            def code(*given: Any) -> Any:
                wrong = any(isinstance(one, torch.Tensor) and one.shape[:1] == (self.size,) for one in given)
                return [one * 1.01 if wrong else one for one in graph(*given)]

            return code

        compiled: Forward = torch.compile(program.model, backend=backend, dynamic=True)
        return compiled


@pytest.mark.parametrize(
    ("compiler", "mode", "wrong"),
    [
        (WrongFor(3), Inference(), "output.y"),
        (GraphWrongFor(3), Inference(), "output.loss"),
        (WrongFor(3), Training(), "output.y"),
        (WrongFor(3, gradient=True), Training(), "grad.layer.bias"),
        (WrongFor(9), Training(), None),
        (NO_OP, Training(), None),
    ],
)
def test_a_shape_with_wrong_results_is_found(tmp_path: Path, compiler: Any, mode: Any, wrong: str | None) -> None:
    measure = DynamicShapes(batch_sizes=(2, 3, 4), calls=2, tolerance=1e-4)
    outcome, found = observed(tmp_path, measure, compiler=compiler, mode=mode)
    first, second, third = (row["accuracy"] for row in found["dynamic_shapes"])
    assert first == third == PASS
    assert {row["fp64"] for row in found["dynamic_shapes"]} == {"ok"}
    if wrong is None:
        assert (outcome.status, second) == (PASS, PASS)
    else:
        assert outcome.status == FAIL_ACCURACY
        assert outcome.reason == f"shape 3: {second}"
        assert f"worst {wrong} by " in second


class Noisy(Whole):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.layer(x) + torch.randn_like(x)}


class Half(Whole):
    """No float64: a product with a constant of its own dtype."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": self.layer(x) @ torch.ones(4, 4, dtype=torch.float32)}


@pytest.mark.parametrize(
    ("model", "options", "accuracy", "fp64"),
    [
        (Whole, {}, "not compared: no tolerance from the suite", None),
        (Noisy, {"tolerance": 1e-4}, "not compared: output.y is random in eager", "ok"),
        (Half, {"tolerance": 1e-4}, "pass", "RuntimeError: "),
    ],
)
def test_what_of_a_shape_is_not_compared_says_why(
    tmp_path: Path, model: type[torch.nn.Module], options: dict[str, Any], accuracy: str, fp64: str | None
) -> None:
    outcome, found = observed(tmp_path, DynamicShapes(batch_sizes=(2, 3), calls=2, **options), model, mode=Inference())
    assert outcome.status == PASS
    for row in found["dynamic_shapes"]:
        assert row["accuracy"].startswith(accuracy)
        assert row.get("fp64", "").startswith(fp64 or "")


def test_shapes_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing varies"):
        DynamicShapes(batch_sizes=(2,))
    with pytest.raises(ValueError, match=r"batch_sizes=\(2, 0\): it must be at least 1"):
        DynamicShapes(batch_sizes=(2, 0))
    with pytest.raises(Unsupported, match=r"net has no sequence: give measure\.options\.batch_sizes"):
        observed(tmp_path, DynamicShapes(sequence_lengths=(2, 4)))


@pytest.mark.parametrize(("model", "frames"), [(Whole, 1), (Torn, 2)])
def test_each_compiled_frame_is_looked_up(tmp_path: Path, model: type[torch.nn.Module], frames: int) -> None:
    outcome, found = observed(tmp_path, CacheLookup(calls=5), model)
    assert outcome.status == PASS
    (row,) = found["cache_lookup"]
    assert (row["lookups"], row["calls"]) == (frames, 5)
    assert 1e-7 < row["cache_lookup_low_s"] <= row["cache_lookup_s"] <= row["cache_lookup_high_s"] < 0.1


def test_a_torch_without_the_event_is_told_apart_from_a_fast_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_lookup, "EVENT", "No Such Event")
    with pytest.raises(Unsupported, match=r"torch .* recorded no event 'No Such Event'"):
        observed(tmp_path, CacheLookup(calls=2))


def test_a_model_that_mixes_samples_is_not_invariant_in_eager(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, BatchInvariance(), Mixed, Eager())
    assert outcome.status == FAIL_ACCURACY
    assert (
        "the model itself, in eager, is not batch-invariant: batch 4 is no slice of 8: output.y by " in outcome.reason
    )
    rows = found["batch_invariance"]
    assert [row["slice_batch_size"] for row in rows] == [4, 2, 1]
    assert {(row["tensors"], row["tensors_failed"], row["worst_tensor"]) for row in rows} == {(2, 1, "output.y")}
    assert all(row["max_abs_error"] > 0 for row in rows)


@dataclass(frozen=True)
class Spoils:
    """Adds `error` to sample 0 of output `name`, in batches of 4."""

    name: str
    error: float

    changes_model = False

    def check(self, workload: Workload) -> None: ...

    def compile(self, program: Program, workload: Workload) -> Forward:
        def forward(**inputs: torch.Tensor) -> Any:
            outputs = program.model(**inputs)
            outputs[self.name][0] += self.error * (workload.batch_size == 4)
            return outputs

        return forward


@pytest.mark.parametrize(
    ("compiler", "failed"),
    [(NO_OP, 0), (Spoils("y", 1e-6), 0), (Spoils("y", 0.1), 1), (Spoils("other", 1e-6), 1)],
    ids=["compiled", "rounding", "wrong", "not to the bit where eager is"],
)
def test_a_compiler_is_judged_beyond_what_eager_does(tmp_path: Path, compiler: Any, failed: int) -> None:
    outcome, found = observed(tmp_path, BatchInvariance(), Mixed, compiler)
    assert outcome.status == (FAIL_ACCURACY if failed else PASS)
    assert "the model itself, in eager, is not batch-invariant" in outcome.reason
    first, *others = found["batch_invariance"]
    assert (first["tensors_failed"], first["eager_max_abs_error"] > 0) == (failed, compiler != Spoils("other", 1e-6))
    assert [row["tensors_failed"] for row in others] == [0, 0]


class Apart(Whole):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": (x + 1) * 2, "loss": x.sum()}


def test_samples_that_do_not_know_each_other_are_invariant(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, BatchInvariance(), Apart)
    assert (outcome.status, outcome.reason) == (PASS, "")
    assert [row["tensors_failed"] for row in found["batch_invariance"]] == [0, 0, 0]
    assert {row["left_out"] for row in found["batch_invariance"]} == {"output.loss: [], [] of half the samples"}


class Normed(Apart):
    """Its weight is computed from others, and no leaf: deepcopy refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4)) * 2


def test_a_model_that_cannot_be_copied_is_built_again(tmp_path: Path) -> None:
    outcome, found = observed(tmp_path, BatchInvariance(), model=Normed, compiler=Eager())
    assert outcome.status == PASS
    assert [row["slice_batch_size"] for row in found["batch_invariance"]] == [4, 2, 1]


class Scalar(Whole):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": x.sum()}


def test_what_cannot_be_sliced_is_skipped_with_a_reason(tmp_path: Path) -> None:
    outcome, _ = observed(tmp_path, BatchInvariance(), batch_size=1)
    assert outcome.status == PASS_DUE_TO_SKIP
    assert outcome.reason.endswith("batch_size=8")
    outcome, _ = observed(tmp_path, BatchInvariance(), Scalar)
    assert outcome.status == PASS_DUE_TO_SKIP
    assert outcome.reason.startswith("no output has one dimension that is the batch (output.loss: []")
    with pytest.raises(Unsupported, match="mode=inference"):
        observed(tmp_path, BatchInvariance(), mode=Training())


@dataclass(frozen=True)
class Given:
    """A model with inputs of these shapes: "n" stands for the batch size."""

    model: Any
    shapes: dict[str, tuple[Any, ...]]
    sizes: tuple[int, ...] = (8, 4)

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        if workload.batch_size not in self.sizes:
            raise ValueError(f"this model has a batch of {self.sizes[0]}")
        torch.manual_seed(0)
        inputs = {
            name: torch.randn(
                *(size if isinstance(size, int) else eval(size, {"n": workload.batch_size}) for size in shape)
            )
            for name, shape in self.shapes.items()
        }
        return Program(Called(self.model), inputs, loss=sum)


class Called(torch.nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self.function(**inputs)


@pytest.mark.parametrize(
    ("function", "shapes", "tensors", "left_out"),
    [
        (
            lambda x: {"all": x @ x.t(), "y": x * 2},
            {"x": ("n", 8)},
            1,
            "output.all: [8, 8], [4, 4] of half the samples",
        ),
        (lambda x: {"y": x + 1}, {"x": (5, "n", 8)}, 1, None),  # the batch is the second dimension
        (lambda x, w: {"y": (x @ w).t(), "w": w + 0}, {"x": ("n", 8), "w": (8, 8)}, 1, "output.w: [8, 8], [8, 8] of"),
        (lambda x: {"flat": x.flatten(), "y": -x}, {"x": ("n", 3)}, 1, "output.flat: [24], [12] of half the samples"),
    ],
    ids=["pairs of samples", "second dimension", "a weight of the batch's size", "flattened"],
)
def test_the_batch_is_what_changes_with_its_size(
    tmp_path: Path, function: Any, shapes: Any, tensors: int, left_out: str | None
) -> None:
    seen = context(tmp_path, Eager(), "eager")
    seen.builder = Given(function, shapes, sizes=(8, 4, 2, 1))
    outcome = BatchInvariance().run(seen)
    assert outcome.status == PASS, outcome.reason
    rows = seen.facts["findings"]["batch_invariance"]
    assert {row["tensors"] for row in rows} == {tensors}
    assert all((row["left_out"] or "").startswith(left_out or "") for row in rows)


@pytest.mark.parametrize(
    ("function", "shapes", "sizes", "reason"),
    [
        (lambda x: x @ x.t(), {"x": ("n", 8)}, (8, 4), "no output has one dimension that is the batch (output: [8, 8]"),
        (lambda x: x + 1, {"x": (8, 8)}, (8, 4), "no input changes with the batch size: x: [8, 8]"),
        (lambda x: x + 1, {"x": ("3 * n", 8)}, (8, 4), "an input has no one dimension that is the batch: x: [24, 8]"),
        (lambda x: x + 1, {"x": ("n", 8)}, (8,), "no inputs for 4 samples, to see where the batch is: this model has"),
    ],
    ids=["pairs of samples", "fixed", "three to a sample", "one size"],
)
def test_where_the_batch_is_not_found_nothing_is_blamed(
    tmp_path: Path, function: Any, shapes: Any, sizes: tuple[int, ...], reason: str
) -> None:
    seen = context(tmp_path, Eager(), "eager")
    seen.builder = Given(function, shapes, sizes)
    outcome = BatchInvariance().run(seen)
    assert outcome.status == PASS_DUE_TO_SKIP
    assert outcome.reason.startswith(reason)


def test_only_graphs_of_inductor_are_minified(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="not those of eager: compiler=inductor"):
        observed(tmp_path, Minify(), mode=Inference())


def test_a_script_is_kept_with_its_inputs_and_nothing_of_this_machine(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "inputs" / "storages").mkdir(parents=True)
    for name in ("abc1", "abc2"):
        (work / "inputs" / "storages" / name).write_bytes(b"x")
    (work / "repro.py").write_text(
        "import os\n"
        "os.environ['TORCHINDUCTOR_CACHE_DIR'] = '/private'\n"
        "os.environ['_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR'] = '140'\n"
        f"torch._dynamo.config.debug_dir_root = '{work}'\n"
        "        relu = torch.ops.aten.relu.default(x)\n"
        "    buf0 = reader.storage('abc1', 4)\n"
        f"        run_repro(mod, load_args, save_dir='{work}/inputs')\n"
    )
    kept = keep(work, tmp_path / "kept")
    assert [file.name for file in (tmp_path / "kept" / "storages").iterdir()] == ["abc1"]
    assert operators(kept) == 1
    text = kept.read_text()
    assert "/private" not in text
    assert "140" not in text
    assert str(tmp_path) not in text
    assert "save_dir=os.path.dirname(os.path.abspath(__file__))" in text
