"""OpenVINO on the CPU: as dynamo's back-end, or the whole model converted."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.compilers.captured import as_in_a_step, for_these_inputs, inference_only, refuse_scripted
from orchestrator.compilers.packages import require
from orchestrator.compilers.torchscript import traced
from orchestrator.plugins import Compiled, Forward, Program, Unsupported
from orchestrator.precision import CAST_TO, computed_in
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.compilers.flat_outputs import Structure


@dataclass(frozen=True)
class OpenVINOBackend:
    """`torch.compile(model, backend="openvino")`.

    aot_autograd: let AOTAutograd make the graph, with the weights as constants; without it each weight is an input of
    every call. config: properties of OpenVINO's CPU plug-in, over the threads and the precision of the workload.

    The back-end hands a graph to inductor, or its part of one to torch, when OpenVINO cannot take it, and says so in a
    debug message only. Here that is an error. Operators that its partitioner leaves to torch by design are counted
    (`operators_in_torch`); a model of which it takes nothing is an error too.
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo", "torch._inductor.compile_fx")
    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.2

    aot_autograd: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)

    def check(self, workload: Workload) -> None:
        if not self.aot_autograd:
            inference_only(workload, "without aot_autograd OpenVINO's back-end returns tensors without gradients")
        _check(workload)
        require("compiler=openvino", "openvino.torch")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        _forbid_falling_back()
        options: dict[str, Any] = {
            "aot_autograd": self.aot_autograd,
            "device": "CPU",
            "config": _config(workload, self.config),
        }
        compiled = torch.compile(program.model, backend="openvino", options=options)
        facts: dict[str, Any] = {}

        def forward(**inputs: Any) -> Any:
            outputs = compiled(**inputs)
            if "partitions" not in facts:
                facts.update(_partitions())
            return outputs

        return Compiled(forward, facts)


@dataclass(frozen=True)
class OpenVINOConvert:
    """`openvino.convert_model` of the whole model, compiled for the CPU.

    capture: "export" (torch.export) or "trace" (torch.jit.trace; cross_entropy_loss has no conversion then, so it takes
    models without labels only). config: as for `OpenVINOBackend`.
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch.export", "torch._dynamo")
    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.2
    fixed_inputs: ClassVar[bool] = True

    capture: Literal["export", "trace"] = "export"
    config: Mapping[str, Any] = field(default_factory=dict)

    def check(self, workload: Workload) -> None:
        inference_only(workload, "OpenVINO's runtime has no backward pass")
        _check(workload)
        require("compiler=openvino_convert", "openvino")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import openvino
        import torch

        with as_in_a_step(program, workload, cached_casts=False):
            model, names, structure = self._converted(program)
        compiled = openvino.Core().compile_model(model, "CPU", _config(workload, self.config))
        request = compiled.create_infer_request()

        def forward(**inputs: torch.Tensor) -> Any:
            arrays = [inputs[name].numpy() for name in names]
            results = request.infer(arrays, share_inputs=True, share_outputs=False)
            return structure.restored([torch.from_numpy(results[port]) for port in compiled.outputs])

        facts = {"operators": len(compiled.get_runtime_model().get_ops()), "precision": _precision(compiled)}
        return Compiled(for_these_inputs(forward, program.inputs, "the OpenVINO model"), facts)

    def _converted(self, program: Program) -> tuple[Any, list[str], Structure]:
        """Return OpenVINO's model, which of the program's inputs it takes (in order), and how outputs are built."""
        import openvino
        import torch

        from orchestrator.compilers.flat_outputs import FlatOutputs

        tensors = tuple(program.inputs.values())
        if self.capture == "trace":
            script, structure = traced(program)
            shapes = [list(tensor.shape) for tensor in tensors]
            with _one_message():
                model = openvino.convert_model(script, example_input=tensors, input=shapes)
            if len(model.inputs) != len(tensors):
                raise RuntimeError(f"the OpenVINO model has {len(model.inputs)} inputs, the model {len(tensors)}")
            return model, list(program.inputs), structure
        refuse_scripted(program, "torch.export")
        flat = FlatOutputs(program.model, program.inputs)
        exported = torch.export.export(flat, tensors)
        with _one_message():
            model = openvino.convert_model(exported)
        called = dict(zip(exported.graph_signature.user_inputs, program.inputs, strict=True))
        # what the model does not use is dropped; an output that is an input gives it a second name
        names = [called[next(name for name in port.get_names() if name in called)] for port in model.inputs]
        model.reshape({port: list(program.inputs[name].shape) for port, name in zip(model.inputs, names, strict=True)})
        return model, names, flat.structure(*tensors)


@contextmanager
def _one_message() -> Iterator[None]:
    """Turn the report of a conversion that failed into one line that names the operators."""
    from openvino.frontend import OpConversionFailure

    try:
        yield
    except OpConversionFailure as error:
        lines = [line.strip("- ").strip() for line in str(error).splitlines()]
        named = [line for line in lines if "operations:" in line or "message:" in line] or lines
        raise RuntimeError(f"OpenVINO cannot convert the model: {'; '.join(named)}") from error


def _check(workload: Workload) -> None:
    # without this package, which is optional, importing openvino sends nothing over the network
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if not workload.device.startswith("cpu"):
        raise Unsupported(f"OpenVINO runs on CPUs, and on GPUs of Intel's, not on {workload.device}: take device=cpu")
    dtype = computed_in(workload)
    if dtype == "bfloat16":
        raise Unsupported("OpenVINO's bridge to torch has no bfloat16 tensors: take dtype=float32 or float16")
    if dtype == "float64":
        raise Unsupported("OpenVINO computes in float32 at most: take dtype=float32")


def _config(workload: Workload, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of the CPU plug-in. It knows nothing of `torch.set_num_threads`.

    Left to itself it computes a float32 model in bfloat16 on CPUs that have it, and so it does when it is asked for
    float16 on one that has not: then float32 is nearer to what was asked for (`precision` among the facts).
    """
    from openvino import Core

    half = CAST_TO[workload.dtype] == "float16" and "FP16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {
        "INFERENCE_NUM_THREADS": str(workload.threads),
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f16" if half else "f32",
        **own,
    }


def _precision(compiled: Any) -> str:
    """Return in what a compiled model computes: "float32", "float16", ..."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT")).partition("'")[2].rstrip("'>")


def _forbid_falling_back() -> None:
    """Make the back-end raise, in this process, where it would hand a graph back to torch.

    Raises RuntimeError when OpenVINO's back-end is not made as it is known (2026.4): then nothing could be noticed.
    """
    from openvino.frontend.pytorch.torchdynamo import backend, execute

    module = execute.OpenVINOGraphModule
    if not hasattr(backend, "compile_fx") or "perm_fallback" not in module.__init__.__code__.co_names:
        raise RuntimeError("this version of OpenVINO's back-end may fall back to torch unnoticed: take openvino 2026.4")

    def refuse(*_: Any) -> Any:
        error = sys.exc_info()[1]
        raise RuntimeError(f"OpenVINO fell back to torch: {type(error).__name__}: {error}") from error

    def set_fallback(_: Any, value: bool) -> None:
        if value:
            refuse()

    backend.compile_fx = refuse
    module.perm_fallback = property(lambda _: False, set_fallback)


def _partitions() -> dict[str, Any]:
    """Return how many parts of the graphs OpenVINO runs and in what precision, and the operators that it left to torch.

    Raises RuntimeError when it runs none.
    """
    from openvino.frontend.pytorch.torchdynamo import execute

    graphs = list(execute.partitioned_modules.values())
    parts = sum(isinstance(part, execute.OpenVINOGraphModule) for graph in graphs for part in graph.children())
    if not parts:
        raise RuntimeError("OpenVINO runs no part of this model: its partitioner left every operator to torch")
    calls = [node for graph in graphs for node in graph.graph.nodes if node.op == "call_function"]
    left = sum(node.target is not operator.getitem for node in calls)
    precisions = {_precision(compiled) for compiled in execute.compiled_cache.values()}
    return {"partitions": parts, "operators_in_torch": left, "precision": ", ".join(sorted(precisions))}
