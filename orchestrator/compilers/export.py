"""torch.export: the model as one graph of ATen operators, run by Python, or compiled by AOTInductor into a package."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.compilers.captured import as_in_a_step, cpu_or_cuda, for_these_inputs, inference_only, refuse_scripted
from orchestrator.compilers.packages import check_cpp_compiler, check_cuda_toolkit, check_triton
from orchestrator.compilers.torch_config import checked
from orchestrator.plugins import Compiled, Forward, Program
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Export:
    """`torch.export.export(model, (), inputs).module()`: nothing is compiled; what remains is the graph without Python.

    strict: capture with dynamo instead of running the model's Python on fake tensors. The graph shares the model's
    parameters, so it can be trained.
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch.export", "torch._export", "torch._dynamo")
    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.1
    fixed_inputs: ClassVar[bool] = True

    strict: bool = False

    def check(self, workload: Workload) -> None:
        """Runs wherever torch does."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        with as_in_a_step(program, workload):
            module: Forward = exported(program, strict=self.strict).module()
        return for_these_inputs(module, program.inputs, "the exported graph")


@dataclass(frozen=True)
class AOTInductor:
    """Inductor ahead of time: a .pt2 package of C++ (or CUDA) code with the weights, loaded and run without Python.

    options: keys of `torch._inductor.config`. What the package was unpacked into stays while the model is there: on
    CUDA a kernel's file is read when the kernel is first launched.
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch.export", "torch._dynamo", "torch._inductor.compile_fx")
    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 2.0
    fixed_inputs: ClassVar[bool] = True
    owns_state: ClassVar[bool] = True

    options: Mapping[str, Any] = field(default_factory=dict)

    def toolchain(self, workload: Workload) -> tuple[str, ...]:
        return ("triton",) if workload.device.startswith("cuda") else ("cpp", "aoti")

    def check(self, workload: Workload) -> None:
        from torch._inductor import config

        inference_only(workload, "AOTInductor compiles the forward pass alone")
        checked(config, self.options)
        cpu_or_cuda(workload, "AOTInductor's packages")
        check_cpp_compiler("AOTInductor")
        if workload.device.startswith("cuda"):
            check_triton("AOTInductor")
            check_cuda_toolkit("AOTInductor")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch
        from torch._inductor import config

        folder = tempfile.TemporaryDirectory(
            prefix="aotinductor_", ignore_cleanup_errors=True
        )  # a loader cleans up too
        path = Path(folder.name, "model.pt2")
        with as_in_a_step(program, workload):
            graph = exported(program)
            torch._inductor.aoti_compile_and_package(
                graph, package_path=str(path), inductor_configs=checked(config, self.options)
            )
        size = path.stat().st_size
        index = torch.device(workload.device).index
        with _temporary_files_in(folder.name):
            loaded = torch._inductor.aoti_load_package(str(path), device_index=-1 if index is None else index)
        path.unlink()
        weakref.finalize(loaded, folder.cleanup)
        return Compiled(
            for_these_inputs(loaded, program.inputs, "the package of AOTInductor"), facts={"package_bytes": size}
        )


def exported(program: Program, *, strict: bool = False) -> torch.export.ExportedProgram:
    """Return the model as an exported program that is called with its inputs as keywords."""
    import torch

    refuse_scripted(program, "torch.export")
    return torch.export.export(program.model, (), dict(program.inputs), strict=strict)


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Let torch's C++ unpack into `folder`: it cleans up when a loader is destroyed, which no worker waits for."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
