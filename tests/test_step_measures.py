"""Measures of what one step does: its operators, its profile, the memory of its lines, its arithmetic."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.measuring import QUICK, Broken, NetBuilder, context

from orchestrator import capacity
from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.compilers.eager import Eager
from orchestrator.measures import flops
from orchestrator.measures.context import Context
from orchestrator.measures.flops import Flops, convolutions, count, missing_formulas
from orchestrator.measures.memory_by_line import MemoryByLine, modules_of
from orchestrator.measures.operators import Operators
from orchestrator.measures.profile import Profile
from orchestrator.modes.inference import Inference
from orchestrator.modes.training import Training
from orchestrator.plugins import Program, Unsupported
from orchestrator.probes import peaks
from orchestrator.probes.dispatch import DTYPES, OperatorCounter, TouchedBytes, TrafficCounter, log_text, text
from orchestrator.probes.lines import LineTracer
from orchestrator.probes.peaks import bandwidth, peak
from orchestrator.records import PASS, PluginSpec, Workload
from orchestrator.suites.example_inputs import by_name
from orchestrator.suites.huggingface import HuggingFaceModel

MIB = 2**20
CPU = torch.device("cpu")
BERT = HuggingFaceModel(
    class_name="BertForMaskedLM",
    config={"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 128},
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def rows(seen: Context, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = seen.facts["findings"][table]
    return found


def bert(tmp_path: Path, compiler: Any, name: str, mode: Any = None, **changes: Any) -> Context:
    """Return the context of a real model, small."""
    seen = context(tmp_path, compiler, name, mode, batch_size=2, sequence_length=16, **changes)
    seen.builder = BERT
    return seen


# -- operators


def test_operators_of_a_step_are_counted_exactly(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager")
    assert Operators().run(seen).status == PASS
    products = {
        row["inputs"]: row["count"] for row in rows(seen, "operators") if row["operator"].startswith("aten.addmm")
    }
    assert products == {
        "((T([32], f32), T([8, 16], f32), T([16, 32], f32, stride=(1, 16))), {})": 1,
        "((T([4], f32), T([8, 32], f32), T([32, 4], f32, stride=(1, 32))), {})": 1,
    }
    assert not any(row["operator"] in ("aten.t.default", "aten.detach.default") for row in rows(seen, "operators"))
    (total,) = rows(seen, "operator_totals")
    assert total["count"] == sum(row["count"] for row in rows(seen, "operators"))
    assert total["distinct_inputs"] == len(rows(seen, "operators"))
    assert total["file"] == "artifacts/net_eval.txt"


def test_training_counts_backward_and_optimizer_without_its_first_step(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager", Training(optimizer="adamw"))
    Operators(everything=True).run(seen)
    names = {row["operator"] for row in rows(seen, "operators")}
    assert "aten.native_batch_norm_backward.default" in names
    assert any("addcdiv" in name for name in names)  # AdamW
    assert "aten.t.default" in names
    assert "aten.zeros_like.default" not in names  # its state is made in the first step
    assert rows(seen, "operator_totals")[0]["file"] == "artifacts/net_training.txt"


def test_the_file_can_be_read_and_run_as_pytorchs_operator_benchmark_does(tmp_path: Path) -> None:
    """Each line is evaluated with the names that operator_inp_utils.py gives it, and its operator called with that."""
    seen = bert(tmp_path, Eager(), "eager", dtype="bfloat16")
    Operators().run(seen)
    names = {abbreviation: dtype for dtype, abbreviation in DTYPES.items()}

    def tensor(size: list[int], dtype: torch.dtype, stride: tuple[int, ...] | None = None) -> torch.Tensor:
        made = torch.empty(size, dtype=dtype) if stride is None else torch.empty_strided(size, stride, dtype=dtype)
        return made.zero_()

    known = {"T": tensor, "inf": float("inf"), "torch": torch, **names}
    called = set()
    (file,) = (tmp_path / "artifacts").glob("*.txt")
    operator = ""
    for line in file.read_text().splitlines():
        if line.startswith("Operator: "):
            operator = line.removeprefix("Operator: ")
            continue
        count, _, inputs = line.removeprefix("cnt: ").partition(", ")
        assert int(count) >= 1
        args, kwargs = eval(inputs, known)
        eval(operator, {"aten": torch.ops.aten})(*args, **kwargs)
        called.add(operator)
    assert {"aten.addmm.default", "aten.native_layer_norm.default", "aten.gelu.default"} <= called


class Cached:
    """A step whose cache has to be emptied before each call."""

    def __init__(self) -> None:
        self.cache, self.ready = torch.ones(1000), False

    def prepare(self) -> None:
        self.cache.zero_()
        self.ready = True

    def __call__(self) -> None:
        if not self.ready:
            self.prepare()
        self.ready = False
        torch.ones(2).add_(1)


def test_what_makes_a_step_ready_is_no_part_of_what_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = context(tmp_path, Eager(), "eager")
    monkeypatch.setattr(Inference, "step", lambda *_: Cached())
    Operators().run(seen)
    assert [row["operator"] for row in rows(seen, "operators")] == ["aten.add_.Tensor"]
    assert count(Cached())[1] == 4 * (2 + 2 + 2)  # filled, then read and written


def test_compiled_code_has_no_operators_to_see(tmp_path: Path) -> None:
    for measure in (Operators(), MemoryByLine()):
        with pytest.raises(Unsupported, match="compiler=eager"):
            measure.run(context(tmp_path, Broken(), "inductor"))


def test_inputs_are_written_as_upstream_writes_them() -> None:
    tensor = torch.zeros(2, 3)
    assert text(((tensor, [tensor.t(), None], 1.5), {"dtype": torch.float16, "device": CPU})) == (
        "((T([2, 3], f32), [T([3, 2], f32, stride=(1, 3)), None], 1.5), {'dtype': f16, 'device': 'cpu'})"
    )
    assert text((torch.zeros(1, dtype=torch.bool),)) == "(T([1], b8),)"
    assert text(torch.Size([2, 3])) == "[2, 3]"
    assert text(torch.Generator()) == "None"
    assert text(torch.float8_e4m3fn) == "torch.float8_e4m3fn"
    assert text(torch.eye(2).to_sparse()) == "ST([2, 2], f32, torch.sparse_coo, True, 2)"
    counter = OperatorCounter()
    with counter:
        torch.ones(2).add_(1)
        torch.ones(2, 3).t().contiguous().view(-1)
    assert set(counter.counts) == {"aten.add_.Tensor"}  # `contiguous` has a memory format, `ones` no tensor
    assert log_text(counter.counts) == "Operator: aten.add_.Tensor\ncnt: 1, ((T([2], f32), 1), {})\n"


# -- profile


@pytest.mark.parametrize("mode", [Inference(), Training()])
def test_a_profile_has_a_trace_and_the_operators_by_self_time(tmp_path: Path, mode: Any) -> None:
    seen = bert(tmp_path, Eager(), "eager", mode)
    assert Profile(steps=2, warmup=1, operators=10).run(seen).status == PASS
    (total,) = rows(seen, "profile_totals")
    trace = tmp_path / total["file"]
    assert trace.stat().st_size == total["bytes"]
    names = [event.get("name", "") for event in json.loads(trace.read_text())["traceEvents"]]
    assert names.count("aten::addmm") >= 2 * 13
    assert sum(name.startswith("ProfilerStep#") for name in names) == 2
    found = rows(seen, "profile")
    assert len(found) == 10
    times = [row["self_cpu_s"] for row in found]
    assert times == sorted(times, reverse=True)
    assert 0 < sum(times) <= total["self_cpu_s"] < 5
    assert sum(row["share_percent"] for row in found) == pytest.approx(100 * sum(times) / total["self_cpu_s"])
    assert {row["operator"]: row["count"] for row in found}["aten::addmm"] % 2 == 0
    assert all(row["self_cuda_s"] is None for row in found)


def test_a_profile_of_compiled_code(tmp_path: Path) -> None:
    seen = bert(tmp_path, TorchCompile(backend="aot_eager"), "aot_eager")
    assert Profile(steps=1, warmup=1, record_shapes=True, with_stack=True).run(seen).status == PASS
    assert any("Torch-Compiled Region" in row["operator"] for row in rows(seen, "profile"))


def test_a_profile_without_kernels_is_none(tmp_path: Path) -> None:
    """A GPU's profiler that may not look sees the CPU's side only: no row of zeros is made of that."""
    seen = bert(tmp_path, Eager(), "eager", Inference())
    measure = Profile(steps=1, warmup=1)
    profiler = measure._profiler(seen)
    with profiler:
        for _ in range(2):
            torch.ones(3).sum()
            profiler.step()
    seen.device = torch.device("cuda", 0)
    with pytest.raises(Unsupported, match="saw no kernel"):
        measure._leave(seen, profiler)
    assert "findings" not in seen.facts


# -- memory by line


class Hoarder(torch.nn.Module):
    """Allocates known amounts on known lines."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = torch.zeros(8 * MIB, dtype=torch.uint8)  # line A
        for _ in range(3):
            other = torch.zeros(MIB, dtype=torch.uint8)  # line B: a second one while the first is there
        del kept  # line C
        y = self.inner(x)  # line D: frees what the callee still held when it returned
        return y + other[0] * self.weight


class Inner(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = torch.zeros(4 * MIB, dtype=torch.uint8)  # line E
        return x + large[:1]


class HoarderBuilder(NetBuilder):
    def build(self, workload: Workload, *, dropout: bool) -> Program:
        return Program(model=Hoarder(), inputs={"x": torch.ones(1)}, loss=lambda outputs: outputs.square().mean())


@pytest.fixture
def hoarded(tmp_path: Path) -> Context:
    seen = context(tmp_path, Eager(), "eager")
    seen.builder = HoarderBuilder()
    assert MemoryByLine().run(seen).status == PASS
    return seen


def test_lines_have_what_they_allocate_to_the_byte(hoarded: Context) -> None:
    found = {row["source"].partition("# ")[2][:6]: row for row in rows(hoarded, "memory_by_line")}
    slack = 8192  # malloc rounds mappings up to pages
    a, b, c, e = (found[f"line {letter}"] for letter in "ABCE")
    assert a["executions"] == 1
    assert 8 * MIB <= a["increase_bytes"] == a["cumulative_bytes"] <= 8 * MIB + slack
    assert b["executions"] == 3
    assert b["cumulative_bytes"] == pytest.approx(MIB, abs=slack)
    assert c["increase_bytes"] == 0
    assert c["cumulative_bytes"] == pytest.approx(-8 * MIB, abs=slack)
    assert e["cumulative_bytes"] == pytest.approx(4 * MIB, abs=slack)
    assert a["current_bytes"] - c["current_bytes"] == pytest.approx(7 * MIB, abs=2 * slack)
    assert found["line D"]["cumulative_bytes"] == pytest.approx(-4 * MIB, abs=slack)  # the local variable of the callee
    assert all(row["source_file"].endswith("test_step_measures.py") for row in found.values())


def test_the_sequence_and_the_totals_agree_with_the_lines(hoarded: Context) -> None:
    (total,) = rows(hoarded, "memory_by_line_totals")
    lines = rows(hoarded, "memory_by_line")
    assert total["level_source"] == "mallinfo2"
    assert total["cumulative_bytes"] == sum(row["cumulative_bytes"] for row in lines)
    assert total["increase_bytes"] == sum(row["increase_bytes"] for row in lines)
    with (hoarded.folder / total["file"]).open() as file:
        sequence = list(csv.DictReader(file))
    traced = [step for step in sequence if step["file"]]
    assert sum(int(step["difference_bytes"]) for step in traced) == total["cumulative_bytes"]
    assert max(int(step["level_bytes"]) for step in traced) == total["current_bytes"]
    assert len(traced) > len(lines)
    cumulative = [row["cumulative_bytes"] for row in lines]
    assert cumulative == sorted(cumulative, reverse=True)


def test_the_trace_function_is_gone_afterwards_also_after_an_exception() -> None:
    def fails() -> None:
        raise ValueError("planted")

    def another(*_: Any) -> None:
        return None

    before = sys.gettrace()
    tracer = LineTracer([__name__], lambda: 0)
    with pytest.raises(ValueError, match="planted"):
        tracer.run(fails)
    assert sys.gettrace() is before
    sys.settrace(another)
    try:
        tracer.run(lambda: None)
        assert sys.gettrace() is another
    finally:
        sys.settrace(before)


def test_a_line_that_raises_and_a_generator_leave_the_stack_as_it_was() -> None:
    levels = iter(range(0, 10**9, 10))

    def inner() -> None:
        raise ValueError("planted")

    def outer() -> int:
        with contextlib.suppress(ValueError):
            inner()
        return sum(number for number in range(3))

    tracer = LineTracer([__name__], lambda: next(levels))
    assert tracer.run(outer) == 3
    assert tracer._stack == [0]
    steps = list(tracer.steps())
    assert sum(step.difference for step in steps) == 10 * len(steps)  # each is one reading after the last
    assert sum(step.starts for step in steps if step.line == outer.__code__.co_firstlineno + 2) == 1


def test_memory_of_a_real_model_in_both_modes(tmp_path: Path) -> None:
    for mode, least in ((Inference(), 0), (Training(), 2 * 16 * 1000 * 4)):
        seen = bert(tmp_path, Eager(), "eager", mode)
        assert MemoryByLine().run(seen).status == PASS
        found = rows(seen, "memory_by_line")
        assert any("modeling_bert.py" in row["source_file"] for row in found)
        assert not any(row["source_file"].startswith("/") for row in found)
        (total,) = rows(seen, "memory_by_line_totals")
        assert total["cumulative_bytes"] >= least  # what backward needs is still there when forward ends: the logits
        assert total["executions"] >= total["lines"] > 20


def test_the_modules_to_trace() -> None:
    assert modules_of(Hoarder()) == [__name__]
    assert all(name.startswith("torch.nn.modules") for name in modules_of(torch.nn.Sequential(torch.nn.ReLU())))
    wrapped, inputs = by_name(Hoarder(), {"x": [torch.ones(1)]}, "these")
    assert list(inputs) == ["x_0"]
    assert modules_of(wrapped) == [__name__]  # without the wrapper that makes the list
    workload = Workload(
        suite="tests", builder=PluginSpec(name="bert", target="x"), mode=PluginSpec(name="inference", target="x"),
        dtype="float32", device="cpu", batch_size=1, sequence_length=8, seed=1, threads=1,
    )  # fmt: skip
    names = modules_of(BERT.build(workload, dropout=False).model)
    assert "transformers.models.bert.modeling_bert" in names
    assert not any(name.startswith(("torch.", "orchestrator.")) for name in names)


def test_modules_that_do_not_run_are_an_error_that_names_the_option(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager")
    with pytest.raises(ValueError, match=r"no line of nowhere ran: set measure\.options\.modules"):
        MemoryByLine(modules=["nowhere.*"]).run(seen)


LEVELS = """
import torch
from orchestrator.probes.lines import _resident_level, level_of

torch.set_num_threads(1)
level, resident = level_of(torch.device("cpu")), _resident_level()
first = torch.ones(32 * 2**20, dtype=torch.uint8)  # the code that fills a tensor becomes resident with the first one
before = level.read(), resident()
block = torch.ones(first.nbytes, dtype=torch.uint8)
after = level.read(), resident()
print(after[0] - before[0], after[1] - before[1])
"""


def test_the_levels_see_a_tensor() -> None:
    """In a process of its own: what other threads of this one touch meanwhile is resident, too."""
    done = subprocess.run([sys.executable, "-c", LEVELS], capture_output=True, text=True, check=True)
    allocated, resident = map(int, done.stdout.split())
    assert allocated == pytest.approx(32 * MIB, abs=64 * 1024)
    assert resident == pytest.approx(32 * MIB, abs=MIB)


# -- FLOPs


@pytest.mark.parametrize(("mode", "flops"), [
    (Inference(), 2 * 8 * (16 * 32 + 32 * 4)),
    (Training(), 2 * 8 * (2 * 16 * 32 + 3 * 32 * 4)),  # the first layer needs no gradient of its input
])  # fmt: skip
def test_flops_are_exact(tmp_path: Path, mode: Any, flops: int) -> None:
    seen = context(tmp_path, Eager(), "eager", mode)
    assert Flops(calls=4, warmup=1).run(seen).status == PASS
    (row,) = rows(seen, "flops")
    assert row["step_gflop"] * 1e9 == pytest.approx(flops)
    assert row["parameters"] == 16 * 32 + 32 + 64 + 32 * 4 + 4
    assert row["achieved_gflop_per_s"] == pytest.approx(row["step_gflop"] / row["step_s"])
    assert "eager_step_s" not in row
    assert row["of_peak_percent"] == pytest.approx(100 * row["achieved_gflop_per_s"] / row["peak_gflop_per_s"])
    assert row["peak_source"] == "measured on this CPU, float32"
    assert len(seen.samples[0].values) == 4
    modules = {found["module"]: found["forward_gflop"] * 1e9 for found in rows(seen, "flops_by_module")}
    assert modules == pytest.approx({"first": 2 * 8 * 16 * 32, "last": 2 * 8 * 32 * 4})


@pytest.mark.slow
def test_a_compilers_row_has_both_latencies_and_the_eager_count(tmp_path: Path) -> None:
    seen = bert(tmp_path, TorchCompile(backend="aot_eager"), "aot_eager")
    assert Flops(calls=4, warmup=1).run(seen).status == PASS
    (row,) = rows(seen, "flops")
    assert row["step_s"] > 0 < row["eager_step_s"]
    assert row["eager_achieved_gflop_per_s"] == pytest.approx(row["step_gflop"] / row["eager_step_s"])
    eager = bert(tmp_path, Eager(), "eager")
    Flops(calls=4, warmup=1).run(eager)
    assert rows(eager, "flops")[0]["step_gflop"] == row["step_gflop"]
    assert {found["module"] for found in rows(seen, "flops_by_module")} >= {"model", "model.bert", "model.cls"}


@pytest.mark.slow
def test_a_compilation_is_no_disturbance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """inductor compiles in processes of their own, which nothing tells from a neighbour's while they live."""
    watching = False

    class Watch:
        def __init__(self, _: torch.device) -> None:
            nonlocal watching
            watching = True

        def facts(self, *_: Any) -> dict[str, Any]:
            nonlocal watching
            watching = False
            return {"disturbed": ["a neighbour"]}

    class Compiling(Eager):
        def compile(self, program: Program, workload: Workload) -> Any:
            assert not watching
            return super().compile(program, workload)

    monkeypatch.setattr(flops, "NoiseProbe", Watch)
    seen = context(tmp_path, Compiling(), "compiling")
    assert Flops(calls=1, warmup=1).run(seen).status == PASS
    assert rows(seen, "flops")[0]["disturbed"] == "eager: a neighbour; a neighbour"


def test_modules_share_the_forward_pass_of_training(tmp_path: Path) -> None:
    """An encoder and a decoder: in backward torch's tracker would count the encoder as the decoder's."""
    seen = bert(tmp_path, Eager(), "eager", Training())
    seen.builder = HuggingFaceModel(
        class_name="T5ForConditionalGeneration",
        config={"vocab_size": 100, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
    )
    Flops(calls=1, warmup=1).run(seen)
    shares = {row["module"]: row["share_percent"] for row in rows(seen, "flops_by_module")}
    assert shares["model"] == pytest.approx(100)
    assert sum(shares[f"model.{part}"] for part in ("encoder", "decoder", "lm_head")) == pytest.approx(100)
    assert sum(
        row["forward_gflop"] for row in rows(seen, "flops_by_module") if row["module"] == "model"
    ) == pytest.approx(rows(seen, "flops")[0]["step_gflop"] / 3, rel=0.1)


def test_attention_on_the_cpu_counts_as_on_a_gpu() -> None:
    """Two products of 2 x 4 heads x 16 x 16 x 8, forward; if torch has come to count it, ours is not added."""
    from torch.utils.flop_counter import FlopCounterMode

    query = torch.randn(2, 4, 16, 8, requires_grad=True)
    counter = FlopCounterMode(display=False, custom_mapping=dict(missing_formulas()))
    with counter:
        result = torch.nn.functional.scaled_dot_product_attention(query, query, query)
    forward = 2 * 2 * (2 * 4 * 16 * 16 * 8)
    assert counter.get_total_flops() == forward
    with counter:
        result.sum().backward()
    assert counter.get_total_flops() == 2.5 * forward  # five products, one of them again


def test_traffic_is_what_operators_read_and_write() -> None:
    a, b = torch.ones(256, 1024), torch.ones(1024)
    traffic = TrafficCounter()
    with traffic:
        a.t().view_as(a.t())
        assert traffic.bytes == 0
        a + b.expand(256, 1024)
    assert traffic.bytes == 4 * (2 * 256 * 1024 + 1024)


def test_a_peak_is_never_invented() -> None:
    other = torch.device("mps")
    assert peak(other, "float32") is bandwidth(other) is None


@pytest.mark.parametrize(
    ("name", "dtype", "tflop"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5),
        ("NVIDIA H100 80GB HBM3", "amp_float16", 989.5),
        ("NVIDIA H100 80GB HBM3", "float32", 67.0),
        ("NVIDIA H100 NVL", "float16", 835.5),
        ("NVIDIA H100 PCIe", "float16", 756.5),
        ("NVIDIA H200 NVL", "bfloat16", 835.5),
        ("NVIDIA H200", "bfloat16", 989.5),
        ("NVIDIA B200", "bfloat16", 2250.0),
        ("NVIDIA L40S", "float32", 91.6),
        ("NVIDIA L40S", "bfloat16", 362.05),
        ("NVIDIA GH200 480GB", "bfloat16", 989.5),
        ("NVIDIA GeForce RTX 5090", "float16", 209.5),
        ("NVIDIA L4", "bfloat16", 121.0),
        ("NVIDIA A10", "bfloat16", 125.0),
        ("NVIDIA A100 80GB PCIe", "float16", 312.0),
        ("Tesla T4", "bfloat16", None),
        ("NVIDIA A10G", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16", None),
        ("NVIDIA H100 80GB HBM3", "float64", None),
    ],
)
def test_a_peak_is_that_of_the_whole_name(
    name: str, dtype: str, tflop: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    found = peak(torch.device("cuda", 0), dtype)
    assert (None if found is None else found.flop_per_s / 1e12) == tflop


def test_every_device_with_a_peak_has_a_bandwidth_by_its_whole_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in (
        ("NVIDIA H100 80GB HBM3", 3.35e12),
        ("NVIDIA B200", 7.7e12),
        ("NVIDIA GeForce RTX 4090", 1.008e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert bandwidth(torch.device("cuda", 0)) == expected


def test_what_a_step_has_to_read_is_each_tensor_once_and_of_a_table_its_rows() -> None:
    table, weight, unused = torch.nn.Embedding(1000, 16), torch.nn.Linear(16, 8, bias=False), torch.nn.Linear(9, 9)
    tokens = torch.randint(0, 1000, (4,))
    with torch.no_grad(), TouchedBytes([table.weight, weight.weight, *unused.parameters(), tokens]) as touched:
        found = table(tokens)
        weight(found) + weight(found)
    once = 4 * 16 * 4 + 16 * 8 * 4 + 4 * 8
    assert touched.bytes == once
    touched.again()
    with torch.no_grad(), touched:
        weight.weight[:2].sum() + weight.weight[1:3].sum()
        weight.weight.t().view_as(weight.weight.t())
        assert touched.bytes == once + 2 * 2 * 16 * 4
        weight.weight[2:].sum() + weight.weight[:7].sum()
    assert touched.bytes == once + 16 * 8 * 4, "parts that overlap are no more than the whole"


@pytest.mark.parametrize(("mode", "flops", "moved"), [
    (Inference(), 2 * 8 * (16 * 32 + 32 * 4), 4 * (16 * 32 + 32 + 4 * 32 + 32 * 4 + 4 + 8 * 16 + 8 * 4 + 1) + 8 * 8),
    (Training(), 2 * 8 * (2 * 16 * 32 + 3 * 32 * 4), None),
])  # fmt: skip
def test_the_baseline_says_what_its_step_has_to_do(tmp_path: Path, mode: Any, flops: int, moved: int | None) -> None:
    seen = context(tmp_path, Eager(), "eager", mode)
    assert QUICK.run(seen).status == PASS
    work = seen.facts["work"]
    assert work["flops"] == flops
    assert moved is None or work["bytes"] == moved
    assert work["peak_source"] == "measured on this CPU, float32"
    assert work["peak_flop_per_s"] > 1e8
    assert work["peak_bytes_per_s"] > 1e8
    assert list(seen.facts["memory"]["phases"])[-1] == "work", "after all that is timed, and in no phase of it"


def test_only_the_baseline_counts_and_in_its_first_round(tmp_path: Path) -> None:
    compiled = context(tmp_path, TorchCompile(backend="eager"), "dynamo_eager")
    later = context(tmp_path, Eager(), "eager")
    later.job = replace(later.job, round=1)
    for seen in (compiled, later):
        assert QUICK.run(seen).status == PASS
        assert "work" not in seen.facts


def test_a_step_that_cannot_be_counted_keeps_its_times_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise AssertionError("no formula for these shapes")

    monkeypatch.setattr(flops, "counter_of_flops", refuse)
    seen = context(tmp_path, Eager(), "eager")
    assert QUICK.run(seen).status == PASS
    assert seen.facts["work"] == {}
    why = "the step's FLOPs and bytes could not be counted: AssertionError: no formula for these shapes"
    assert seen.facts["notes"] == [why]
    assert any(samples.metric == "latency" for samples in seen.samples)


def test_a_cpus_peak_is_the_fastest_of_products_that_grow_until_one_would_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 2e10 FLOP/s at most 1e9 are done in 50 ms: 512 x 512 x 512 is 2.7e8, 1024 x 1024 x 1024 is 2.1e9."""
    made: list[tuple[int, ...]] = []

    def multiplied(left: torch.Tensor, right: torch.Tensor) -> None:
        assert left.dtype == right.dtype == torch.float16
        made.append((*left.shape, len(right)))

    def seconds(call: Callable[[], Any]) -> float:
        call()
        rows, depth, columns = made[-1]
        return 2 * rows * depth * columns / (2e10 if rows == 256 else 1e10)

    monkeypatch.setattr(torch.nn.functional, "linear", multiplied)
    monkeypatch.setattr(peaks, "_fastest", seconds)
    found = peak(CPU, "amp_float16")
    assert found is not None
    assert (found.flop_per_s, found.source) == (pytest.approx(2e10), "measured on this CPU, float16")
    assert made == [(64, 4096, 64), (256, 256, 256), (512, 512, 512)]


@pytest.mark.parametrize(("cache", "size"), [(2**20, 2**21), (None, 2**27)])
def test_a_cpus_bandwidth_is_that_of_memory_its_caches_cannot_hold(
    cache: int | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted: a piece read; one read and one written; one read and written. Whose turn comes is the oldest."""
    took = iter((1.0, 4.0, 1.6))
    turns: list[int] = []
    ones = torch.ones

    def seconds(call: Callable[[], Any]) -> float:
        with Turns():
            call()
        return next(took)

    class Turns(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            assert all(len(one) == size / 4 / peaks.PIECES for one in args if isinstance(one, torch.Tensor))
            turns.extend(one.storage_offset() for one in args if isinstance(one, torch.Tensor))
            return function(*args, **(kwargs or {}))

    made: list[int] = []
    monkeypatch.setattr(torch, "ones", lambda count, **kept: made.append(4 * count) or ones(count, **kept))
    monkeypatch.setattr(peaks, "last_level_cache", lambda threads: cache)
    monkeypatch.setattr(peaks, "_fastest", seconds)
    assert bandwidth(CPU) == pytest.approx(2 * size / peaks.PIECES / 1.6)
    assert made == [size]
    assert sorted(turns) == [number * size // 4 // peaks.PIECES for number in range(4)]


@pytest.mark.parametrize(("threads", "expected"), [(1, 96), (2, 128), (16, 128)])
def test_each_thread_may_have_a_last_level_cache_of_its_own(
    threads: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four CPUs in two pairs, each with a third level of its own: 32 and 96 MiB. Another process's CPU has a larger."""
    caches = {"0": (2, "1024K", "{cpu}"), "1": (3, "{third}K", "{pair}"), "2": (None, "8K", "0-3")}
    for cpu, pair, third in ((0, "0-1", 32), (1, "0-1", 32), (2, "2-3", 96), (3, "2-3", 96), (4, "4", 512)):
        for index, (level, size, shared) in caches.items():
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, value in (("level", level), ("size", size), ("shared_cpu_list", shared)):
                if value is not None:
                    (folder / name).write_text(f"{value}\n".format(cpu=cpu, pair=pair, third=third * 1024))
    monkeypatch.setattr(capacity, "CPUS", tmp_path)
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert capacity.last_level_cache(threads) == expected * 2**20
    monkeypatch.setattr(capacity, "CPUS", tmp_path / "nothing")
    assert capacity.last_level_cache(threads) is None


def test_the_fastest_of_calls_is_not_the_one_that_was_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 0.0, 9.0, 9.0, 11.0, 11.0, 12.0, 12.0))
    monkeypatch.setattr(peaks.time, "perf_counter", lambda: next(clock))
    called: list[None] = []
    monkeypatch.setattr(peaks, "ENOUGH_S", 0.0)
    assert peaks._fastest(lambda: called.append(None)) == 1.0
    assert len(called) == 3


def test_a_cpu_without_room_for_the_arrays_has_no_bandwidth_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "available_memory", lambda: 100 * 2**20)
    monkeypatch.setattr(peaks, "last_level_cache", lambda threads: 16 * 2**20)
    seen = context(tmp_path, Eager(), "eager")
    assert QUICK.run(seen).status == PASS
    assert seen.facts["work"]["peak_flop_per_s"] > 0
    assert seen.facts["work"]["peak_bytes_per_s"] is None
    (why,) = seen.facts["notes"]
    assert why == (
        "what the CPU does at best could not be measured: MemoryError: an array of 32 MiB, larger than its caches, "
        "of 100 MiB that are left"
    )


def test_convolutions_have_the_peak_of_tf32_where_torch_computes_them_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(peaks, "uses_tf32", lambda what: what == "conv")
    gpu = torch.device("cuda", 0)
    whole, half = peak(gpu, "float32", 1.0), peak(gpu, "float32", 0.5)
    assert whole is not None
    assert half is not None
    assert (whole.flop_per_s / 1e12, whole.source) == (pytest.approx(494.5), "H100 data sheet, SXM, tf32")
    assert half.flop_per_s / 1e12 == pytest.approx(2 / (1 / 67 + 1 / 494.5))
    assert half.source == "H100 data sheet, SXM, 50% float32 and 50% tf32"


def test_convolutions_are_told_from_other_arithmetic() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5))
    counter, _ = count(lambda: model(torch.ones(2, 3, 8, 8)).sum().backward())
    assert counter.get_total_flops() - convolutions(counter) == 2 * (2 * 2 * 288 * 5) + 2 * 2 * 288 * 5
    assert convolutions(counter) > 0


def test_options_that_cannot_be_meant_are_named() -> None:
    for measure, name in ((Flops(), "calls"), (Profile(), "steps")):
        with pytest.raises(ValueError, match=f"{name}=0: it must be at least 1"):
            replace(measure, **{name: 0})
