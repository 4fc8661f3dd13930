"""Every compiler of conf/compiler on a small real model: right results, or a true reason why it cannot be done here."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import os
import shutil
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import orchestrator, table
from support.judging import CONF, context, judged, option, workload
from support.measuring import QUICK, NetBuilder

from orchestrator.compilers import onnx_runtime
from orchestrator.compilers.captured import as_in_a_step
from orchestrator.compilers.dynamo import TorchCompile, resolved
from orchestrator.compilers.eager import Eager
from orchestrator.compilers.export import AOTInductor, Export
from orchestrator.compilers.onnx_runtime import OnnxRuntime
from orchestrator.compilers.packages import present, require
from orchestrator.compilers.quantized import Quantized
from orchestrator.compilers.torch_config import expect_keys, expect_mode
from orchestrator.compilers.torchscript import JitTrace
from orchestrator.errors import UsageError
from orchestrator.plugins import Compiled, Program, Unsupported, instantiate, wants_cuda_graphs
from orchestrator.records import PASS, PluginSpec

CPU_ONLY = pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is refused without a GPU")


COMPILERS = sorted(file.stem for file in (CONF / "compiler").glob("*.yaml"))
INDUCTOR = {name for name in COMPILERS if name.startswith("inductor") or name == "aot_inductor"}
REFUSED_ON_CPU = {
    "cudagraphs": "CUDA graphs need device=cuda",
    "inductor_reduce_overhead": "CUDA graphs need device=cuda",
    "tensorrt": "NVIDIA GPUs only, not on cpu: take device=cuda",
    "xla": "XLA needs torch_xla.*pip install torch_xla",
}
ONLY_TRAINING = {"inductor_compiled_autograd"}
INFERENCE_ONLY = {
    *("aot_inductor", "inductor_freezing", "jit_trace_freeze", "jit_trace_optimize", "openvino_convert"),
    *("onnx_dynamo", "onnx_dynamo_no_optimize", "onnx_torchscript", "onnx_torchscript_no_optimize"),
}


@pytest.fixture(autouse=True)
def _a_process_like_a_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.set_num_threads(1)
    gc.freeze()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()
    dynamo, deterministic = torch._dynamo.config.save_config(), torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporters and tracers, which have many
        yield
    torch._dynamo.config.load_config(dynamo)
    torch.use_deterministic_algorithms(deterministic)


def named(names: set[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] if name in INDUCTOR else []) for name in sorted(names)]


@pytest.mark.parametrize("name", named({*COMPILERS} - REFUSED_ON_CPU.keys() - ONLY_TRAINING))
def test_inference_is_right(tmp_path: Path, name: str) -> None:
    outcome, seen = judged(tmp_path, instantiate(option("compiler", name)), workload())
    assert outcome.status == PASS, outcome.reason
    assert {record["name"] for record in seen.facts["accuracy"]["tensors"]} == {"output.loss", "output.logits"}


@pytest.mark.parametrize("name", named({*COMPILERS} - REFUSED_ON_CPU.keys() - INFERENCE_ONLY - {"openvino"}))
def test_training_is_right(tmp_path: Path, name: str) -> None:
    """Outputs, loss, gradients, and the running means: a capture that ran the model must not be seen in them."""
    outcome, seen = judged(tmp_path, instantiate(option("compiler", name)), workload("training"))
    assert outcome.status == PASS, outcome.reason
    found = {record["name"] for record in seen.facts["accuracy"]["tensors"]}
    assert {"grad.first.weight", "buffer.norm.running_mean"} <= found


def test_openvino_that_falls_back_to_torch_fails(tmp_path: Path) -> None:
    """OpenVINO 2026.4 cannot load a graph that keeps activations for a backward pass: its back-end runs it in torch."""
    compiler = instantiate(option("compiler", "openvino"))
    with pytest.raises(RuntimeError, match="OpenVINO fell back to torch: GeneralFailure"):
        judged(tmp_path, compiler, workload("training"))


def test_openvino_has_the_threads_and_the_precision_of_the_workload(tmp_path: Path) -> None:
    from openvino.frontend.pytorch.torchdynamo import execute

    execute.clear_caches()
    load = dataclasses.replace(workload(), threads=2)
    outcome, seen = judged(tmp_path, instantiate(option("compiler", "openvino")), load)
    assert outcome.status == PASS
    facts = seen.facts["compiled"]
    assert (facts["partitions"], facts["precision"]) == (1, "float32")
    (compiled,) = execute.compiled_cache.values()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2


def test_openvino_that_takes_nothing_of_a_model_fails() -> None:
    from orchestrator.plugins import Program

    class Sorted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": torch.special.i0(x)}

    program = Program(model=Sorted(), inputs={"x": torch.randn(4)}, loss=sum)
    from openvino.frontend.pytorch.torchdynamo import execute

    execute.clear_caches()
    with torch.no_grad(), pytest.raises(RuntimeError, match="no part of this model"):
        instantiate(option("compiler", "openvino")).compile(program, workload())(**program.inputs)


@pytest.mark.parametrize("name", sorted(INFERENCE_ONLY))
def test_what_cannot_train_says_so(name: str) -> None:
    with pytest.raises(Unsupported, match="inference only"):
        instantiate(option("compiler", name)).check(workload("training"))


def test_tensorrt_does_not_train_where_it_runs_either() -> None:
    with pytest.raises(Unsupported, match="no backward pass: inference only, not mode=training"):
        instantiate(option("compiler", "tensorrt")).check(workload("training", device="cuda:0"))


@CPU_ONLY
@pytest.mark.parametrize(("name", "reason"), REFUSED_ON_CPU.items())
def test_what_cannot_run_here_says_what_is_needed(name: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        instantiate(option("compiler", name)).check(workload())


@pytest.mark.parametrize(
    ("compiler", "mode", "reason"),
    [
        (TorchCompile(backend="dynamo_minifier_backend"), "inference", "looks for the graph that fails"),
        (TorchCompile(backend="relu_accuracy_error_TESTING_ONLY"), "inference", "plants an error"),
        (TorchCompile(backend="openvino"), "inference", "take compiler=openvino"),
        (TorchCompile(backend="tvm"), "inference", "Relay"),
        (TorchCompile(backend="aot_eagr"), "inference", "no back-end 'aot_eagr' here; did you mean 'aot_eager'"),
        (TorchCompile(compiled_autograd=True), "inference", "training only"),
        (TorchCompile(options={"triton": {"cudagraphs": True}}), "inference", "CUDA graphs need device=cuda"),
        (TorchCompile(options={"freezing": True}), "training", "inference only"),
        (TorchCompile(dynamo={"cache_size_limits": 4}), "inference", "_dynamo.config has no key cache_size_limits"),
        (AOTInductor(options={"frezing": True}), "inference", "no key frezing .*did you mean 'freezing'"),
    ],
)
@CPU_ONLY
def test_refusals_name_the_remedy(compiler: Any, mode: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        compiler.check(workload(mode))


@pytest.mark.parametrize("name", ["aot_inductor", "onnx_dynamo", "openvino", "xla"])
def test_what_is_not_wired_to_a_device_says_so_and_does_not_run_elsewhere(name: str) -> None:
    with pytest.raises(Unsupported, match=r"not .*xpu:0"):
        instantiate(option("compiler", name)).check(dataclasses.replace(workload(), device="xpu:0"))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("dynamo.TorchCompile", {"modules": ["os"]}, "module 'os' is not imported: .*torch_tensorrt"),
        ("dynamo.TorchCompile", {"dynamo": {"compiled_autograd": True}}, "set compiled_autograd=true"),
        ("dynamo.TorchCompile", {"options": 3}, "options=3 of .*: it must be a map"),
        ("dynamo.TorchCompile", {"backend": ["inductor"]}, "it must be a text"),
        ("dynamo.TorchCompile", {"mode": {"a": 1}}, "it must be a text, or null"),
        ("torchscript.JitTrace", {"optimization": "frezze"}, "did you mean 'freeze'"),
        ("onnx_runtime.OnnxRuntime", {"exporter": "dynam"}, "did you mean 'dynamo'"),
        ("quantization.TorchAO", {"method": "int9"}, "method='int9' of .*: it must be one of int8_dynamic"),
    ],
)
def test_wrong_options_are_found_when_planning(target: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, ValueError), match=message):
        instantiate(PluginSpec(name="x", target=f"orchestrator.compilers.{target}", options=options))


def test_a_map_among_the_options_reaches_inductor() -> None:
    """Flat or nested, and a key whose value is itself a map stays one."""
    fused: dict[str, Any] = {"batch_linear": {"min_fuse_set_size": 3}}
    given = TorchCompile(options={"triton": {"cudagraphs": False}, "pre_grad_fusion_options": fused})
    assert given.inductor_options() == {"triton.cudagraphs": False, "pre_grad_fusion_options": fused}


def test_a_key_of_dynamos_configuration_is_set_and_has_its_type(tmp_path: Path) -> None:
    outcome, _ = judged(tmp_path, TorchCompile(backend="eager", dynamo={"recompile_limit": 3}), workload())
    assert outcome.status == PASS
    assert torch._dynamo.config.recompile_limit == 3
    with pytest.raises(ValueError, match=r"_dynamo\.config\.recompile_limit is a int, not 'many'"):
        TorchCompile(dynamo={"recompile_limit": "many"}).check(workload())


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    assert present("torch.export", "no_such_package") == ("torch.export",)
    if not present("intel_extension_for_pytorch"):
        with pytest.raises(Unsupported, match=r"X needs intel_ext.*not installed: pip install intel-extension-for-py"):
            require("X", "torch", "intel_extension_for_pytorch")


def test_a_package_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch_xla.py").write_text("raise OSError('undefined symbol: of another torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    if present("torch_xla"):
        with pytest.raises(Unsupported, match="torch_xla, which cannot be imported here: undefined symbol"):
            require("XLA", "torch_xla")


def test_every_registered_backend_runs_or_is_refused(tmp_path: Path) -> None:
    """What torch registers next must be looked at: it has to work, or to stand in NO_COMPILERS with its reason."""
    heavy = {"inductor", "cudagraphs"}  # have tests of their own
    for backend in sorted({*torch._dynamo.list_backends(exclude_tags=())} - heavy):
        torch._dynamo.reset()
        compiler = TorchCompile(backend=backend)
        try:
            compiler.check(workload())
        except Unsupported:
            continue
        outcome, _ = judged(tmp_path, compiler, workload())
        assert outcome.status == PASS, f"{backend}: {outcome.reason}"


def test_the_remedy_for_torchscripts_backend_is_still_needed() -> None:
    """When this fails torch has mended its back-end: `resolved` can go."""
    assert callable(resolved("ts"))
    model = torch.compile(NetBuilder().build(workload(), dropout=False).model, backend="ts")
    program = NetBuilder().build(workload(), dropout=False)
    with pytest.raises(Exception, match=r"."):
        model(**program.inputs)


def test_compiled_autograd_captures_the_backward_pass_and_leaves_eagers_alone(tmp_path: Path) -> None:
    outcome, seen = judged(tmp_path, TorchCompile(backend="aot_eager", compiled_autograd=True), workload("training"))
    assert outcome.status == PASS, outcome.reason
    assert seen.facts["counters"]["autograd_captures"] == 1
    program = seen.build(dropout=False)
    seen.mode.observe(program, program.model, seen.workload)
    assert torch._dynamo.utils.counters["compiled_autograd"]["captures"] == 1


def test_compiled_autograd_is_timed_in_pairs_with_eager(tmp_path: Path) -> None:
    compiler = TorchCompile(backend="eager", compiled_autograd=True)
    seen = context(tmp_path, compiler, workload("training"))
    assert QUICK.run(seen).status == PASS
    assert torch._dynamo.utils.counters["compiled_autograd"]["captures"] >= 1


@pytest.mark.parametrize("compiler", [JitTrace(), OnnxRuntime(exporter="torchscript"), Export()])
def test_what_was_captured_refuses_other_shapes(compiler: Any) -> None:
    program = NetBuilder().build(workload(), dropout=False)
    with torch.no_grad():
        forward = compiler.compile(program, workload())
        forward(**program.inputs)
        with pytest.raises(Unsupported, match=r"x float32\[8, 16\].*x float32\[3, 16\]"):
            forward(**{name: tensor[:3] for name, tensor in program.inputs.items()})


class Counting(torch.nn.Module):
    """Its loss looks at the values of its labels, as a detector's matching does."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        y = x.square()
        if labels is None:
            return {"y": y}
        return {"y": y, "loss": y.mean() if labels.sum() > 2 else y.sum()}


@pytest.mark.parametrize("compiler", [Export(), OnnxRuntime()])
def test_a_loss_that_cannot_be_captured_is_named_with_the_way_to_leave_it_out(compiler: Any) -> None:
    inputs = {"x": torch.ones(4), "labels": torch.arange(4)}
    program = Program(Counting(), inputs, lambda outputs: outputs["loss"])
    with pytest.raises(RuntimeError, match=r"data-dependent.*mode\.options\.labels=false leaves it out"):
        compiler.compile(program, workload())
    program.inputs.pop("labels")
    assert torch.equal(compiler.compile(program, workload())(**program.inputs)["y"], inputs["x"])


def test_a_capture_leaves_random_state_and_buffers_alone() -> None:
    program = NetBuilder().build(workload(), dropout=True)
    state, mean = torch.get_rng_state(), program.model.norm.running_mean.clone()
    with as_in_a_step(program, workload("training")):
        program.model(**program.inputs)
        assert program.model.training
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(program.model.norm.running_mean, mean)
    with as_in_a_step(program, workload(dtype="amp_bfloat16")):
        assert not program.model.training
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")


class Writing(torch.nn.Module):
    """Counts its calls in a buffer, in evaluation too, and writes into its input."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return x.mul_(2) * self.calls * mask


def test_a_trace_of_a_model_that_writes_into_buffers_and_inputs_begins_where_eager_does() -> None:
    mask = torch.ones(1).expand(3)  # its elements are one: it could not be written back
    program = Program(Writing(), {"x": torch.ones(3), "mask": mask}, loss=torch.sum)
    forward = JitTrace().compile(program, workload())
    assert program.model.calls.item() == 0
    assert program.inputs["x"].tolist() == [1, 1, 1]
    assert forward(**program.inputs).tolist() == [2, 2, 2]


class Odd(torch.nn.Module):
    """Outputs that are no flat dict of tensors: a tuple in a dict, a number, an input given back, None."""

    def forward(self, x: torch.Tensor, unused: torch.Tensor) -> dict[str, Any]:
        return {"pair": (x * 2, [x.sum()]), "number": 3, "nothing": None, "same": x}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_onnx_gives_outputs_back_as_the_model_built_them(exporter: str) -> None:
    from orchestrator.plugins import Program

    inputs = {"x": torch.arange(6.0).reshape(2, 3), "unused": torch.ones(2)}
    program = Program(model=Odd(), inputs=inputs, loss=sum)
    forward = OnnxRuntime(exporter=exporter).compile(program, workload())
    found = forward(**inputs)
    assert list(found) == ["pair", "number", "nothing", "same"]
    assert torch.equal(found["pair"][0], inputs["x"] * 2)
    assert found["pair"][1][0].item() == 15
    assert (found["number"], found["nothing"]) == (3, None)
    assert torch.equal(found["same"], inputs["x"])


def test_onnx_without_a_kernel_for_the_dtype_is_unsupported() -> None:
    load = workload(dtype="bfloat16")
    program = context(Path(), Eager(), load).build(dropout=False)
    with pytest.raises(Unsupported, match=r"no kernel in bfloat16"):
        OnnxRuntime(exporter="torchscript").compile(program, load)


def test_onnx_has_the_threads_of_the_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    seen = []
    session = onnxruntime.InferenceSession

    def noted(path: Any, options: Any, **others: Any) -> Any:
        seen.append(options)
        return session(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    load = dataclasses.replace(workload(), threads=2)
    for optimize in (True, False):
        program = NetBuilder().build(load, dropout=False)
        OnnxRuntime(exporter="torchscript", optimize=optimize).compile(program, load)
    levels = onnxruntime.GraphOptimizationLevel
    assert [options.intra_op_num_threads for options in seen] == [2, 2]
    assert [options.graph_optimization_level for options in seen] == [levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL]


@pytest.mark.parametrize(
    ("name", "wants"),
    [("inductor", False), ("inductor_reduce_overhead", True), ("inductor_max_autotune", True), ("cudagraphs", True),
     ("aot_eager", False)],
)  # fmt: skip
def test_who_asks_for_cuda_graphs_is_known(name: str, wants: bool) -> None:
    compiler = instantiate(option("compiler", name))
    assert wants_cuda_graphs(compiler, workload(device="cuda:0")) is wants
    assert not wants_cuda_graphs(compiler, workload())
    quantized = Quantized(
        quantization=dataclasses.asdict(option("quantization", "int8_dynamic")),
        compiler=dataclasses.asdict(option("compiler", name)),
    )
    assert wants_cuda_graphs(quantized, workload(device="cuda:0")) is wants
    assert not wants_cuda_graphs(Eager(), workload(device="cuda:0"))


def test_onnxruntime_has_torchs_precision_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own default is TF32, torch's is not: their results and their speed are of two precisions."""
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for tf32, asked in ((False, "0"), (True, "1")):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            expected = [("CUDAExecutionProvider", {"device_id": "1", "use_tf32": asked})]
            assert onnx_runtime._gpu_providers("cuda:1") == expected
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert onnx_runtime._gpu_providers("cpu") == []


def test_nodes_that_onnxruntime_runs_elsewhere_are_counted_in_the_first_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that has CUDA's provider, and no kernel of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    import onnxruntime

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnx_runtime, "_gpu_providers", lambda device: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, providers: CudaFirst(real(path, options))
    )
    load = workload()
    program = NetBuilder().build(load, dropout=False)
    forward = OnnxRuntime(exporter="torchscript").compile(program, load)
    assert isinstance(forward, Compiled)
    for _ in range(2):
        forward(**program.inputs)
    nodes = forward.facts["nodes"]["CPUExecutionProvider"]
    assert nodes > 1
    assert forward.facts["notes"] == [f"onnxruntime ran {nodes} of {nodes} nodes on the CPU"]
    assert not list(tmp_path.glob("onnxruntime*"))


class CudaFirst:
    """A real session on the CPU that names CUDA's provider first, as one on a GPU does."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.slow
def test_aot_inductor_keeps_what_it_has_unpacked_until_the_model_is_gone_and_leaves_no_files(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """On CUDA a kernel's file is opened when the kernel is first launched, long after loading."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    load = workload()
    program = NetBuilder().build(load, dropout=False)

    def files(*suffixes: str) -> list[Path]:  # inductor's own processes may have folders there meanwhile
        return [file for file in temporary.rglob("*") if file.suffix in suffixes]

    forward = AOTInductor().compile(program, load)
    assert isinstance(forward, Compiled)
    assert forward.facts["package_bytes"] > 1000
    assert files(".so")
    assert not files(".pt2")  # the weights, a second time
    forward(**program.inputs)
    del forward
    gc.collect()
    assert files(".so", ".o", ".cpp", ".json", ".pt2", ".txt") == []
    assert not list((tmp_path / "inductor").rglob("*.pt2"))
    assert os.environ["TMPDIR"] == str(temporary)


@pytest.mark.parametrize("before", [None, "/somewhere"])
def test_aot_inductors_package_is_unpacked_where_it_was_made_and_goes_with_the_model(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the minute of compiling: torch's two functions stand in, with what they are given and find."""
    if before is None:
        monkeypatch.delenv("TMPDIR", raising=False)
    else:
        monkeypatch.setenv("TMPDIR", before)
    seen: list[tuple[Path, Any]] = []

    def compiled(graph: Any, *, package_path: str, inductor_configs: Any) -> None:
        Path(package_path).write_bytes(b"p" * 1234)
        seen.append((Path(package_path), inductor_configs))
        assert os.environ.get("TMPDIR") == before
        graph.module()

    def loaded(package_path: str, *, device_index: int) -> Any:
        path = Path(package_path)
        assert path.stat().st_size == 1234
        assert os.environ["TMPDIR"] == str(path.parent)
        (path.parent / "kernel.so").touch()
        seen.append((path, device_index))
        if len(seen) > 2:
            raise RuntimeError("this package cannot be loaded")
        return torch.nn.Identity()

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compiled)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", loaded)
    load = workload()
    program = NetBuilder().build(load, dropout=False)
    forward = AOTInductor(options={"freezing": True}).compile(program, load)
    (package, options), (same, index) = seen
    assert (same, options, index) == (package, {"freezing": True}, -1)
    assert isinstance(forward, Compiled)
    assert forward.facts == {"package_bytes": 1234}
    assert [file.name for file in package.parent.iterdir()] == ["kernel.so"], "the weights are not there twice"
    assert os.environ.get("TMPDIR") == before
    del forward
    gc.collect()
    assert not package.parent.exists()

    with pytest.raises(RuntimeError, match="cannot be loaded"):
        AOTInductor().compile(program, load)
    assert os.environ.get("TMPDIR") == before


@pytest.fixture
def cuda_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for a machine where all is there; return the toolkit's folder.

    Inductor is there before it: its modules ask for Triton when they are imported.
    """
    import torch._inductor.compile_fx  # noqa: F401
    from torch.utils import _triton, cpp_extension

    toolkit, headers = tmp_path / "toolkit", tmp_path / "headers"
    for file in (toolkit / "include" / "cuda.h", headers / "Python.h"):
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.setattr(_triton, "has_triton", lambda: True)
    monkeypatch.setattr(_triton, "has_triton_package", lambda: True)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", str(toolkit))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(headers))
    monkeypatch.setenv("CC", "gcc")
    return toolkit


@pytest.mark.parametrize("name", ["inductor", "inductor_cpp_wrapper", "aot_inductor"])
def test_what_inductor_builds_with_on_cuda_is_asked_for_before_it_fails(
    name: str, cuda_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils import _triton, cpp_extension

    compiler, load = instantiate(option("compiler", name)), workload(device="cuda:0")
    compiler.check(load)

    def lacks() -> str:
        with pytest.raises(Unsupported) as caught:
            compiler.check(load)
        return str(caught.value)

    if name != "inductor":
        (cuda_machine / "include" / "cuda.h").unlink()
        assert "needs cuda.h, which is not in" in lacks()
        monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
        assert "set CUDA_HOME" in lacks()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(cuda_machine))
    assert "Python.h" in lacks()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "a C compiler" in lacks()
    monkeypatch.setattr(_triton, "has_triton_package", lambda: False)
    assert "pip install triton" in lacks()


CHEAP = "dynamo_ts,aot_eager_decomp_partition,export,jit_trace_optimize,onnx_dynamo,onnx_torchscript,openvino_convert"


@pytest.mark.slow
def test_through_the_command(tmp_path: Path) -> None:
    orchestrator(
        tmp_path, "suite=tiny", "suite.models=[t5_tiny]", f"compiler={CHEAP},cudagraphs,xla", "measure=accuracy",
        "execution.parallel=2"
    )  # fmt: skip
    rows = table(tmp_path, "accuracy").set_index("compiler")
    assert {*rows[rows["status"] == "pass"].index} == {*CHEAP.split(",")}
    assert {*rows[rows["status"] == "unsupported"].index} == {"cudagraphs", "xla"}
    assert "pip install torch_xla" in rows.loc["xla"]["reason"]


@pytest.mark.parametrize("module", ["torch._inductor.config", "torch._dynamo.config"])
def test_what_is_read_in_torchs_source_is_what_torch_has(module: str) -> None:
    keys = importlib.import_module(module).get_config_copy()
    expect_keys(module, {key: None for key in keys if key != "TYPE_CHECKING"})
    with pytest.raises(ValueError, match="has no key verbos"):
        expect_keys(module, {"verbos": True})


def test_the_modes_that_are_read_in_torchs_source_are_inductors() -> None:
    from torch._inductor import list_mode_options

    for mode in list_mode_options():
        expect_mode(mode)
    with pytest.raises(ValueError, match="did you mean 'max-autotune'"):
        expect_mode("max-autotunee")
