"""What is timed is what the row says, or the row is marked: small models through real compilers, in this process."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.measuring import QUICK, context

from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.compilers.eager import Eager
from orchestrator.compilers.quantized import Quantized
from orchestrator.measures.context import Context
from orchestrator.measures.timed import not_finite
from orchestrator.modes.inference import Inference
from orchestrator.modes.training import Training
from orchestrator.plugins import Forward, Program, Unsupported, through_dynamo
from orchestrator.records import (
    COMPILES_ITSELF,
    EAGER_FAIL_TO_RUN,
    FAIL_TO_RUN,
    INPUTS_SET_BACK,
    NOT_FINITE,
    OTHER_THREADS,
    PASS,
    RAN_EAGER,
    RAN_PARTLY_EAGER,
    Workload,
)

NO_OP = TorchCompile(backend="eager")
INDUCTOR = TorchCompile(backend="inductor")


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch.set_num_threads(1)


class Whole(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        return self.lin(x).relu()


class Counting(Whole):
    """Compiled again at each call, until dynamo's limit."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        return self.lin(x) * self.calls


class CountingInside(Whole):
    """One function is over the limit, the one that calls it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.counting = Counting()

    def forward(self, x: torch.Tensor) -> Any:
        h = self.lin(x)
        torch._dynamo.graph_break()
        return self.counting(h).sin()


class Skipped(Whole):
    """A branch on data inside a loop: dynamo leaves the whole function to eager."""

    def forward(self, x: torch.Tensor) -> Any:
        h = self.lin(x)
        for _ in range(2):
            if h.sum() > 0:
                h = h * 2
        return h


class OffAndOn(Whole):
    """Three calls are compiled; later ones are not, without any limit."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> Any:
        return self.counted(x) if self.calls > 3 else self.plain(x)

    @torch.compiler.disable
    def counted(self, x: torch.Tensor) -> Any:
        return self.lin(x)

    def plain(self, x: torch.Tensor) -> Any:
        y = self.lin(x).cos()
        self.count()
        return y

    @torch.compiler.disable
    def count(self) -> None:
        self.calls += 1


class Halving(Whole):
    def forward(self, x: torch.Tensor) -> Any:
        x.mul_(0.5)
        return self.lin(x)


class Threading(Whole):
    def forward(self, x: torch.Tensor) -> Any:
        torch.set_num_threads(2)
        return self.lin(x)


class ThreadsWhenBuilt(Whole):
    def __init__(self) -> None:
        super().__init__()
        torch.set_num_threads(2)


class NaNRow(Whole):
    def forward(self, x: torch.Tensor) -> Any:
        return {"logits": torch.where(torch.arange(x.shape[0]) == 1, float("nan"), self.lin(x).T).T}


class Compiling(Whole):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.compile(lambda x: x.sin() * 2, backend="eager")

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(self.lin(x))


@dataclass(frozen=True)
class Built:
    model: type[torch.nn.Module]
    scale: float = 1.0

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(workload.seed)
        x = torch.randn(workload.batch_size, 8) * self.scale
        return Program(self.model(), {"x": x}, loss=lambda outputs: (outputs**2).mean())


def timed(
    folder: Path, model: type[torch.nn.Module], compiler: Any = NO_OP, mode: Any = None, scale: float = 1.0, **more: Any
) -> tuple[Any, Context]:
    """Return the outcome of a performance job, and what it has seen."""
    seen = context(folder, compiler, "eager" if type(compiler) is Eager else "compiled", mode, **more)
    seen.builder = Built(model, scale)
    return QUICK.run(seen), seen


@pytest.mark.parametrize("compiler", [NO_OP, INDUCTOR], ids=["no-op", "inductor"])
@pytest.mark.parametrize("mode", [Inference(), Training()], ids=["inference", "training"])
def test_a_compiled_model_has_no_mark_and_no_late_compilation(tmp_path: Path, compiler: Any, mode: Any) -> None:
    outcome, seen = timed(tmp_path, Whole, compiler, mode)
    assert outcome.status == PASS
    assert seen.facts.get("measured", {}) == {}
    assert seen.facts["later_compilations"] == {"count": 0, "seconds": 0.0}
    assert list(seen.facts["counters_by_phase"]) == ["compile", "warmup", "steady", "pairs"]
    assert seen.facts["counters_by_phase"]["compile"] == seen.facts["counters"]
    assert seen.facts["counters"]["graphs"] == 1


@pytest.mark.parametrize("compiler", [NO_OP, INDUCTOR], ids=["no-op", "inductor"])
def test_a_model_over_the_recompile_limit_was_measured_in_eager(tmp_path: Path, compiler: Any) -> None:
    with torch._dynamo.config.patch(recompile_limit=3):
        _, seen = timed(tmp_path, Counting, compiler)
    line = inspect.getsourcelines(Counting.forward)[1]
    assert seen.facts["measured"] == {RAN_EAGER: f"dynamo's recompile_limit was hit in forward (test_timed.py:{line})"}
    first, last = seen.facts["counters_by_phase"]["compile"], seen.facts["counters"]
    assert (first["graphs"], first["recompiles"], first["recompile_limit_hits"]) == (1, 0, 0)
    assert (last["graphs"], last["recompiles"], last["recompile_limit_hits"]) == (3, 2, 1)
    later = seen.facts["later_compilations"]
    assert later["count"] == 2
    assert 0 < later["seconds"] < 60


def test_one_function_over_the_limit_is_partly_eager(tmp_path: Path) -> None:
    with torch._dynamo.config.patch(recompile_limit=3):
        _, seen = timed(tmp_path, CountingInside)
    ((kind, why),) = seen.facts["measured"].items()
    assert kind == RAN_PARTLY_EAGER
    assert why.startswith("dynamo's recompile_limit was hit in torch_dynamo_resume_in_forward")


def test_a_model_that_dynamo_skips_was_measured_in_eager_and_the_reason_is_named(tmp_path: Path) -> None:
    _, seen = timed(tmp_path, Skipped)
    why = seen.facts["measured"][RAN_EAGER]
    assert why.startswith("dynamo captured no graph: Data-dependent branching")
    assert seen.facts["counters"]["graphs"] == 0


def test_a_model_that_leaves_its_graphs_without_a_limit_is_noticed(tmp_path: Path) -> None:
    _, seen = timed(tmp_path, OffAndOn)
    assert seen.facts["counters"]["graphs"] > 0
    assert seen.facts["measured"] == {RAN_EAGER: "a step after the warm-up ran none of the captured graphs"}


@dataclass(frozen=True)
class Foreign(Eager):
    """A plug-in of somebody's that says nothing of dynamo, and uses it."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        return torch.compile(program.model, backend="eager")


def test_a_compiler_of_somebodys_that_uses_dynamo_is_looked_at_too(tmp_path: Path) -> None:
    seen = context(tmp_path, Foreign(), "foreign")
    seen.builder = Built(Skipped)
    QUICK.run(seen)
    assert RAN_EAGER in seen.facts["measured"]


def test_a_compiler_without_dynamo_has_no_graphs_and_no_mark(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "identity")
    seen.builder = Built(Whole)
    assert QUICK.run(seen).status == PASS
    assert seen.facts["counters"]["graphs"] == 0
    assert seen.facts.get("measured", {}) == {}


@pytest.mark.parametrize(("target", "asked"), [("dynamo.TorchCompile", True), ("eager.Eager", False)])
def test_a_quantised_model_goes_through_dynamo_if_its_compiler_does(target: str, asked: bool) -> None:
    compiler = {"name": "compiler", "target": f"orchestrator.compilers.{target}", "options": {}}
    quantization = {"name": "qint8", "target": "orchestrator.compilers.quantization.DynamicQint8", "options": {}}
    assert through_dynamo(Quantized(quantization=quantization, compiler=compiler)) == asked


@pytest.mark.parametrize("compiler", [Eager(), NO_OP, INDUCTOR], ids=["eager", "no-op", "inductor"])
def test_an_input_that_each_call_halves_is_set_back_for_both_sides(tmp_path: Path, compiler: Any) -> None:
    seen = context(tmp_path, compiler, "eager" if isinstance(compiler, Eager) else "compiled")
    programs: list[Program] = []

    class Kept(Built):
        def build(self, workload: Workload, *, dropout: bool) -> Program:
            programs.append(super().build(workload, dropout=dropout))
            return programs[-1]

    seen.builder = Kept(Halving)
    assert QUICK.run(seen).status == PASS
    assert "writes into x" in seen.facts["measured"][INPUTS_SET_BACK]
    first = Built(Halving).build(seen.workload, dropout=False).inputs["x"]
    (program,) = programs
    ratio = program.inputs["x"] / first
    assert ratio.min() == ratio.max() >= 1 / 8, "not halved hundreds of times"


def test_what_compiled_code_lost_of_a_write_is_set_back_too(tmp_path: Path) -> None:
    class Losing(Eager):
        def compile(self, program: Program, workload: Workload) -> Forward:
            return lambda x: program.model(x.clone())

    seen = context(tmp_path, Losing(), "losing")
    seen.builder = Built(Halving)
    QUICK.run(seen)
    assert "writes into x" in seen.facts["measured"][INPUTS_SET_BACK]


@pytest.mark.parametrize("compiler", [Eager(), NO_OP], ids=["eager", "no-op"])
def test_threads_set_by_a_model(tmp_path: Path, compiler: Any) -> None:
    _, seen = timed(tmp_path, ThreadsWhenBuilt, compiler)
    assert seen.facts["threads_set_back"] == 2
    assert seen.facts.get("measured", {}) == {}
    assert torch.get_num_threads() == 1
    _, seen = timed(tmp_path, Threading, Eager())
    assert seen.facts["measured"] == {OTHER_THREADS: "2 intra-op threads were set in phase compile; the row says 1"}


def test_outputs_that_are_not_finite_are_a_mark_that_says_whose(tmp_path: Path) -> None:
    where = "after the first call output.logits has nan in 8 of 64 elements"
    outcome, seen = timed(tmp_path, NaNRow, Eager())
    assert outcome.status == PASS
    assert seen.facts["measured"] == {NOT_FINITE: where}
    outcome, seen = timed(tmp_path, NaNRow)
    assert outcome.status == PASS
    assert seen.facts["measured"] == {NOT_FINITE: f"{where} (eager's are not either)"}


@dataclass(frozen=True)
class Spoiling(Eager):
    """A compiler whose results are what `change` makes of the right ones."""

    change: Callable[[torch.Tensor], torch.Tensor]

    def compile(self, program: Program, workload: Workload) -> Forward:
        return lambda **inputs: self.change(program.model(**inputs))


def test_a_compiler_that_makes_nan_of_outputs_is_marked_and_of_losses_fails(tmp_path: Path) -> None:
    spoiling = Spoiling(lambda outputs: outputs * float("nan"))
    outcome, seen = timed(tmp_path, Whole, spoiling)
    assert outcome.status == PASS
    assert seen.facts["measured"][NOT_FINITE].endswith("(eager's are finite)")
    outcome, seen = timed(tmp_path, Whole, spoiling, Training())
    assert outcome.status == FAIL_TO_RUN
    assert outcome.reason == "the loss is not finite after the first call (1 steps), and eager's is after as many"


@pytest.mark.parametrize("compiler", [Eager(), NO_OP], ids=["eager", "no-op"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam_is_timed_in_float16_as_people_run_it_only(tmp_path: Path, compiler: Any, optimizer: str) -> None:
    mode = Training(optimizer=optimizer)
    with pytest.raises(Unsupported, match=r"eps of 1e-8 is 0 in float16.*float32 weights and state.*dtype=amp_float16"):
        timed(tmp_path, Whole, compiler, mode, dtype="float16")
    outcome, seen = timed(tmp_path, Whole, compiler, mode, dtype="amp_float16")
    assert outcome.status == PASS
    assert all(map(math.isfinite, seen.facts["loss"].values()))


def test_each_block_of_the_pairs_trains_from_the_same_parameters(tmp_path: Path) -> None:
    """Both sides see the losses of one block, over and over; without that the loss falls from block to block."""
    seen: list[float] = []

    def noting(outputs: Any) -> Any:
        seen.append(float(outputs.detach().square().mean()))
        return outputs

    outcome, timed_so = timed(tmp_path, Whole, Spoiling(noting), Training(learning_rate=0.1))
    assert outcome.status == PASS
    pair = timed_so.facts["pair"]
    assert pair["set_back"] is True
    of_pairs = seen[-1 - pair["pairs"] : -1]  # blocks of one call, and the look after them
    assert pair["block"] == 1
    assert len(set(of_pairs)) == 1
    assert seen[0] > of_pairs[0]


def test_a_loss_that_moved_far_while_it_was_timed_is_told(tmp_path: Path) -> None:
    _, far = timed(tmp_path, Whole, Eager(), Training(learning_rate=0.1))
    losses = list(far.facts["loss"].values())
    said = f"it was trained while it was timed: its loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    assert far.facts["notes"] == [said]
    _, near = timed(tmp_path, Whole, Eager(), Training(learning_rate=1e-6))
    assert "notes" not in near.facts


def test_a_training_that_diverges_in_eager_is_not_the_compilers_fault(tmp_path: Path) -> None:
    outcome, _ = timed(tmp_path, Whole, NO_OP, Training(learning_rate=1e6), scale=100.0)
    assert outcome.status == EAGER_FAIL_TO_RUN
    assert "eager's after " in outcome.reason
    assert "learning_rate" in outcome.reason


def test_the_loss_of_training_is_kept_by_phase_for_it_falls(tmp_path: Path) -> None:
    _, seen = timed(tmp_path, Whole, Eager(), Training())
    losses = seen.facts["loss"]
    assert list(losses) == ["the first call", "the warm-up", "the steady state"]
    assert losses["the first call"] > losses["the steady state"] > 0


@pytest.mark.parametrize("compiler", [Eager(), NO_OP], ids=["eager", "no-op"])
def test_a_model_that_compiles_itself_is_eager_where_eager_is_meant(tmp_path: Path, compiler: Any) -> None:
    _, seen = timed(tmp_path, Compiling, compiler)
    assert list(seen.facts["measured"]) == [COMPILES_ITSELF]
    if not isinstance(compiler, Eager):
        assert seen.facts["counters"]["graphs"] == 1


def test_what_is_not_finite_is_named_with_its_place_and_number() -> None:
    inf, nan = float("inf"), float("nan")
    result = {"a": torch.tensor([1.0, inf]), "b": [torch.tensor([nan, inf, 0]), torch.tensor([1])], "c": "text", "d": 1}
    assert not_finite(result) == "output.a has inf in 1 of 2 elements, output.b.0 has nan in 2 of 3 elements"
    assert not_finite(torch.ones(2, dtype=torch.float8_e4m3fn)) == ""
    assert not_finite(torch.ones(2).to_sparse()) == ""
    assert not_finite(None) == ""


@pytest.mark.parametrize("small", [False, True])
def test_what_tensorrt_leaves_to_torch_is_counted(tmp_path: Path, small: bool) -> None:
    """A back-end that runs everything, or nothing, by the operator of TensorRT's runtime, registered in its name."""
    library = torch.library.Library("tensorrt", "DEF")
    try:
        library.define("execute_engine(Tensor[] inputs) -> Tensor[]")
        graphs: list[Any] = []
        library.impl("execute_engine", lambda inputs: list(graphs[0](*inputs)), "CPU")

        def backend(graph: Any, _: Any) -> Any:
            graphs.append(graph)
            return graph if small else lambda *inputs: torch.ops.tensorrt.execute_engine(list(inputs))

        class Planted(Eager):
            def compile(self, program: Program, workload: Workload) -> Any:
                return torch.compile(program.model, backend=backend)

        seen = context(tmp_path, Planted(), "tensorrt")
        assert QUICK.run(seen).status == PASS
    finally:
        library._destroy()
        torch._dynamo.reset()
    found = seen.facts["tensorrt"]
    if not small:
        assert found == {"engines": 1, "operators_in_torch": 0}
        assert "notes" not in seen.facts
        return
    assert found["engines"] == 0
    assert found["operators_in_torch"] >= 4
    said = f"no engine of TensorRT's ran: the step's {found['operators_in_torch']} operators are torch's"
    assert said in seen.facts["notes"]
