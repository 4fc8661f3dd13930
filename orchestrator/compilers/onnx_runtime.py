"""ONNX: the model exported by torch.onnx, run by onnxruntime on tensors of torch, without copies."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.compilers.captured import as_in_a_step, cpu_or_cuda, for_these_inputs, inference_only, refuse_scripted
from orchestrator.compilers.packages import present, require
from orchestrator.plugins import Compiled, Forward, Program, Unsupported
from orchestrator.probes.peaks import uses_tf32
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.compilers.flat_outputs import FlatOutputs, Structure

ELEMENT_TYPES: Mapping[str, int] = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "bfloat16": 16,
}
"""dtype of torch -> onnx.TensorProto.DataType (onnx.proto3)."""


@dataclass(frozen=True)
class OnnxRuntime:
    """`torch.onnx.export`, then an `onnxruntime.InferenceSession` on the CPU or with CUDA's provider.

    exporter: "dynamo" (torch.export) or "torchscript" (a trace). optimize: of the exporter (ONNX Script's optimizer;
    constant folding) and of onnxruntime (all graph optimizations) together; false switches both off.
    opset: None takes the exporter's own. Threads are the workload's; they do not spin while they wait, for eager is
    timed on the same cores. Inputs are bound where they lie, outputs are fresh tensors of torch. On CUDA float32 is
    computed in TF32 where torch's matrix products are; which nodes ran where is counted in the first call.
    """

    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.3
    fixed_inputs: ClassVar[bool] = True

    exporter: Literal["dynamo", "torchscript"] = "dynamo"
    optimize: bool = True
    opset: int | None = None

    @property
    def _modules(self) -> tuple[str, ...]:
        return ("onnx", "onnxruntime", *(("onnxscript",) if self.exporter == "dynamo" else ()))

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        exporter = present("onnx", "onnxscript") if self.exporter == "dynamo" else ()  # onnxruntime starts a thread
        return ("torch.onnx", "torch._dynamo", "torch.export", *exporter)

    def check(self, workload: Workload) -> None:
        inference_only(workload, "onnxruntime runs the forward pass alone")
        cpu_or_cuda(workload, "onnxruntime")
        require("ONNX", *self._modules)
        import onnxruntime

        if workload.device.startswith("cuda") and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise Unsupported(
                f"this onnxruntime has no CUDA provider, only {', '.join(onnxruntime.get_available_providers())}: "
                "pip uninstall onnxruntime, pip install onnxruntime-gpu"
            )

    def compile(self, program: Program, workload: Workload) -> Forward:
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        from orchestrator.compilers.flat_outputs import FlatOutputs

        refuse_scripted(program, "torch.onnx")
        flat = FlatOutputs(program.model, program.inputs)
        with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="onnx_") as folder:
            path = Path(folder, "model.onnx")
            with as_in_a_step(program, workload, cached_casts=False):
                self._export(flat, program, path)
                structure = flat.structure(*program.inputs.values())
            size = sum(file.stat().st_size for file in Path(folder).iterdir())
            session = self._session(path, workload)
        facts = {"onnx_bytes": size, "providers": session.get_providers()}
        run = _Run(session, structure, workload, facts)
        return Compiled(for_these_inputs(run, program.inputs, "the ONNX model"), facts=facts)

    def _export(self, flat: FlatOutputs, program: Program, path: Path) -> None:
        import torch

        arguments = tuple(program.inputs.values())
        common: dict[str, Any] = {"input_names": list(program.inputs), "opset_version": self.opset}
        if self.exporter == "dynamo":
            try:
                exported = torch.onnx.export(
                    flat, arguments, dynamo=True, optimize=self.optimize, verbose=False, **common
                )
            except torch.onnx.OnnxExporterError as error:  # its own text says what to do next, its cause what is wrong
                cause = error.__cause__ or error
                raise RuntimeError(f"torch.onnx.export: {type(cause).__name__}: {cause}") from error
            assert exported is not None
            exported.save(path)
            return
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that this exporter is the old one
            torch.onnx.export(flat, arguments, str(path), dynamo=False, do_constant_folding=self.optimize, **common)

    def _session(self, path: Path, workload: Workload) -> Any:
        """Return the session. Raises Unsupported for an operator that onnxruntime does not have in this dtype."""
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workload.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if self.optimize else level.ORT_DISABLE_ALL
        providers = _gpu_providers(workload.device)
        if providers:  # the profile of the first call says which provider a node ran on; it ends with that call
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(tempfile.gettempdir(), "onnxruntime"))
        try:
            session = onnxruntime.InferenceSession(path, options, providers=[*providers, "CPUExecutionProvider"])
        except NoKernel as error:
            raise Unsupported(f"onnxruntime has no kernel in {workload.dtype}: {error}") from error
        if providers and session.get_providers()[0] != "CUDAExecutionProvider":
            raise Unsupported("onnxruntime fell back to the CPU: its CUDA provider could not be loaded (see the log)")
        return session


def _gpu_providers(device: str) -> list[Any]:
    """Return CUDA's provider with its options for a CUDA device, nothing for another."""
    kind, _, index = device.partition(":")
    tf32 = str(int(uses_tf32("matmul")))  # onnxruntime's own default is 1, torch's is not
    return [("CUDAExecutionProvider", {"device_id": index or "0", "use_tf32": tf32})] if kind == "cuda" else []


def nodes_by_provider(profile: Path) -> dict[str, int]:
    """Return how many nodes ran on each provider, from a profile of onnxruntime's (Chrome's trace format)."""
    events = json.loads(profile.read_text())
    ran = {(event["name"], event["args"]["provider"]) for event in events if event.get("args", {}).get("provider")}
    return dict(Counter(provider for _, provider in ran))


class _Run:
    """Runs a session on torch's tensors, and gives its outputs the structure of the model's own."""

    def __init__(self, session: Any, structure: Structure, workload: Workload, facts: dict[str, Any]) -> None:
        self._session, self._facts = session, facts
        self._profiled = session.get_session_options().enable_profiling
        self._structure = structure
        self._inputs = [entry.name for entry in session.get_inputs()]  # an exporter drops what the model does not use
        self._outputs = [entry.name for entry in session.get_outputs()]
        if len(self._outputs) != len(self._structure.shapes):
            raise RuntimeError(
                f"the ONNX model has {len(self._outputs)} outputs, the model {len(self._structure.shapes)} tensors"
            )
        device, _, index = workload.device.partition(":")
        self._place = (device, int(index or 0))
        self._device = workload.device

    def __call__(self, **inputs: torch.Tensor) -> Any:
        import torch

        binding = self._session.io_binding()
        given = {name: inputs[name].contiguous() for name in self._inputs}
        for name, tensor in given.items():
            binding.bind_input(name, *self._place, _element_type(tensor), tuple(tensor.shape), tensor.data_ptr())
        results = [
            torch.empty(shape, dtype=dtype, device=self._device)
            for shape, dtype in zip(self._structure.shapes, self._structure.dtypes, strict=True)
        ]
        for name, tensor in zip(self._outputs, results, strict=True):
            if not tensor.numel():  # it has no memory to bind; onnxruntime makes one of its own
                binding.bind_output(name, *self._place)
                continue
            binding.bind_output(name, *self._place, _element_type(tensor), tuple(tensor.shape), tensor.data_ptr())
        if self._place[0] == "cuda":
            torch.cuda.current_stream().synchronize()  # onnxruntime has a stream of its own
        self._session.run_with_iobinding(binding)
        if self._profiled:
            self._profiled = False
            self._tell_providers()
        return self._structure.restored(results)

    def _tell_providers(self) -> None:
        profile = Path(self._session.end_profiling())
        nodes = nodes_by_provider(profile)
        profile.unlink()
        self._facts["nodes"] = nodes
        elsewhere = sum(count for provider, count in nodes.items() if provider != self._session.get_providers()[0])
        if elsewhere:
            self._facts["notes"] = [f"onnxruntime ran {elsewhere} of {sum(nodes.values())} nodes on the CPU"]


def _element_type(tensor: torch.Tensor) -> int:
    return ELEMENT_TYPES[str(tensor.dtype).removeprefix("torch.")]
