"""Everything that goes through `torch.compile`: inductor and its variants, aot_eager, any registered back-end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.plugins import Forward, Program, Unsupported
from orchestrator.records import Workload

CUDA_GRAPHS = "CUDA graphs need device=cuda; on the CPU torch runs this silently as something else"


@dataclass(frozen=True)
class TorchCompile:
    """`torch.compile(model, backend=..., mode=..., dynamic=..., fullgraph=..., options=...)`.

    `options` are keys of `torch._inductor.config` ("triton.cudagraphs", "freezing", ...). Given with `mode`, they
    are laid over the mode's own options (torch.compile takes only one of the two).
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo", "torch._inductor.compile_fx")

    backend: str = "inductor"
    mode: str | None = None
    dynamic: bool | None = None
    fullgraph: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes_model(self) -> bool:
        return bool(self.options.get("freezing"))  # freezing folds the parameters into constants

    def check(self, workload: Workload) -> None:
        import torch

        backends = torch._dynamo.list_backends(exclude_tags=())
        if self.backend not in backends:
            raise Unsupported(f"dynamo has no back-end '{self.backend}' here; registered: {', '.join(backends)}")
        on_cuda = workload.device.startswith("cuda")
        if not on_cuda and (self.backend == "cudagraphs" or self._wants_cuda_graphs()):
            raise Unsupported(CUDA_GRAPHS)
        if self.changes_model and workload.mode.name != "inference":
            raise Unsupported("freezing turns parameters into constants: inference only")
        if self.backend == "inductor":
            self._check_inductor(on_cuda)

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        compiled: Forward = torch.compile(
            program.model,
            backend=self.backend,
            dynamic=self.dynamic,
            fullgraph=self.fullgraph,
            **self._mode_or_options(),
        )
        return compiled

    def capture(self, program: Program, backend: Callable[..., Any]) -> Forward:
        import torch

        captured: Forward = torch.compile(
            program.model, backend=backend, dynamic=self.dynamic, fullgraph=self.fullgraph
        )
        return captured

    def inductor_options(self) -> dict[str, Any]:
        from torch._inductor import list_mode_options

        chosen = {**(list_mode_options(self.mode) if self.mode else {}), **self.options}
        return {key.replace("-", "_"): value for key, value in chosen.items()}

    def _wants_cuda_graphs(self) -> bool:
        return self.mode == "reduce-overhead" or bool(self.options.get("triton.cudagraphs"))

    def _mode_or_options(self) -> dict[str, Any]:
        return {"options": self.inductor_options()} if self.options else {"mode": self.mode}

    def _check_inductor(self, on_cuda: bool) -> None:
        from torch._inductor import config, list_mode_options

        if self.mode is not None and self.mode not in list_mode_options():
            raise Unsupported(f"inductor has no mode '{self.mode}'; modes: {', '.join(list_mode_options())}")
        known = config.get_config_copy()
        unknown = [key for key in self.options if key.replace("-", "_") not in known]
        if unknown:
            raise Unsupported(f"torch._inductor.config has no key {', '.join(unknown)} in this version of torch")
        if on_cuda:
            from torch.utils._triton import has_triton

            if not has_triton():
                raise Unsupported("inductor on CUDA needs triton and a GPU that it supports: pip install triton")
        else:
            from torch._inductor.cpp_builder import get_cpp_compiler
            from torch._inductor.exc import InvalidCxxCompiler

            try:
                get_cpp_compiler()
            except InvalidCxxCompiler as error:
                raise Unsupported("inductor on the CPU needs a C++ compiler: install g++ or clang++") from error
