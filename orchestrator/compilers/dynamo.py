"""Everything that goes through `torch.compile`: inductor and its variants, aot_eager, any registered back-end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.compilers.captured import inference_only
from orchestrator.compilers.packages import check_cpp_compiler, check_cuda_toolkit, check_triton, require
from orchestrator.compilers.torch_config import checked, expect_keys, expect_mode
from orchestrator.errors import did_you_mean
from orchestrator.plugins import Compiled, Forward, Program, Unsupported, trains
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

BACKEND_COSTS: Mapping[str, float] = {
    "eager": 0.12,
    "ts": 0.12,
    "aot_eager": 0.2,
    "aot_eager_decomp_partition": 0.25,
    "cudagraphs": 0.3,
}
MODE_COSTS: Mapping[str, float] = {"max-autotune": 1.4, "max-autotune-no-cudagraphs": 1.4}
OPTION_COSTS: Mapping[str, float] = {"cpp_wrapper": 1.4, "freezing": 1.2}
"""Compile time in that of inductor as it is (docs/measuring.md); so are the next two."""
DYNAMIC_COST = 1.9
COMPILED_AUTOGRAD_COST = 1.3

ALL, BATCH, UNBACKED = "all", "batch", "unbacked"
"""Words of `dynamic`, besides true and false."""
CUDA_GRAPHS = "CUDA graphs need device=cuda; on the CPU torch runs this silently as something else"

MODULES = ("torch_tensorrt", "intel_extension_for_pytorch")
"""What `modules` may name: packages that register back-ends when they are imported. A sweep imports no other."""

NO_COMPILERS: Mapping[str, str] = {
    r".*_TESTING_ONLY": "plants an error, for torch's own tests",
    r"dynamo(_accuracy)?_minifier_backend": "looks for the graph that fails, and raises when it has it",
    r"aot_eager_decomp_partition_with_mode": "needs a TorchDispatchMode, which no YAML can hold",
    r"invoke_subgraph": "wraps graphs for a compilation around it, and is none itself",
    r"tvm": "speaks to TVM's Relay, which TVM has removed: no released TVM can run it",
    r"openxla(_eval)?": "runs on XLA devices only: take compiler=xla, which moves the model to one",
    r"openvino": "falls back to torch without a word: take compiler=openvino, which notices",
}
"""Registered back-ends (regular expressions) that are refused -> why: tools of torch's own tests, and back-ends whose
package has moved on. Facts of torch 2.13 (docs/compilers.md).
"""


@dataclass(frozen=True)
class TorchCompile:
    """`torch.compile(model, backend=..., mode=..., dynamic=..., fullgraph=..., options=...)`.

    `options` are what the back-end takes: for inductor keys of `torch._inductor.config` ("triton.cudagraphs",
    "freezing", ...; maps may be nested instead). Given with `mode`, they are laid over the mode's own options
    (torch.compile takes only one of the two).
    dynamic: what torch.compile takes (true, or "all": every size is a symbol; false: none; null: what has changed), or
    "batch": the batch dimension alone, marked (`torch._dynamo.mark_dynamic`: a model that needs a certain size fails),
    or "unbacked": the same as a size of which the code knows nothing, not even that it is not 1 (`mark_unbacked`). It
    is the first dimension of an input that is as large as the batch, as in PyTorch's benchmarks/dynamo.
    dynamo: keys of `torch._dynamo.config`, set in the job's process.
    compiled_autograd: compile the backward pass as autograd runs it, hooks and accumulation included, instead of the
    one that was partitioned from the forward graph. Training only.
    modules: packages that register the back-end when they are imported (`MODULES`).
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo", "torch._inductor.compile_fx")

    backend: str = "inductor"
    mode: str | None = None
    dynamic: bool | str | None = None
    fullgraph: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    dynamo: Mapping[str, Any] = field(default_factory=dict)
    compiled_autograd: bool = False
    modules: Sequence[str] = ()

    def __post_init__(self) -> None:
        for module in self.modules:
            if module not in MODULES:
                raise ValueError(f"module '{module}' is not imported: {did_you_mean(module, MODULES)}")
        if not (self.dynamic is None or isinstance(self.dynamic, bool) or self.dynamic in (ALL, BATCH, UNBACKED)):
            raise ValueError(f"dynamic={self.dynamic}: write true, false, null, {ALL}, {BATCH} or {UNBACKED}")
        if "compiled_autograd" in self.dynamo:
            raise ValueError("dynamo.compiled_autograd alone changes nothing: set compiled_autograd=true")

    def check_when_planned(self) -> None:
        """Raise ValueError for an option that this torch does not take, without importing it."""
        if self.backend == "inductor" and self.mode is not None:
            expect_mode(self.mode)
        if self.backend == "inductor":
            expect_keys("torch._inductor.config", self.options)
        expect_keys("torch._dynamo.config", self.dynamo)

    @property
    def cost_factor(self) -> float:
        factor = BACKEND_COSTS.get(self.backend, 1.0) * MODE_COSTS.get(self.mode or "", 1.0)
        factor *= DYNAMIC_COST if self.dynamic else 1.0
        factor *= COMPILED_AUTOGRAD_COST if self.compiled_autograd else 1.0
        for key, value in self.options.items():
            factor *= OPTION_COSTS.get(key, 1.0) if value else 1.0
        return factor

    @property
    def changes_model(self) -> bool:
        return self._asks("freezing")  # which folds the parameters into constants

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        return ("torch._dynamo.compiled_autograd",) if self.compiled_autograd else ()

    def toolchain(self, workload: Workload) -> tuple[str, ...]:
        if self.backend != "inductor":
            return ()
        if workload.device != "cpu":
            return ("triton",) if workload.device.startswith("cuda") else ()
        return ("cpp", "cpp_wrapper") if self._asks("cpp_wrapper") else ("cpp",)

    def check(self, workload: Workload) -> None:
        on_cuda = workload.device.startswith("cuda")
        if "torch_tensorrt" in self.modules:
            if not on_cuda:
                raise Unsupported(f"TensorRT runs on NVIDIA GPUs only, not on {workload.device}: take device=cuda")
            inference_only(workload, "TensorRT's engines have no backward pass")
        require(f"back-end '{self.backend}'", *self.modules)
        check_backend(self.backend)
        if not on_cuda and (self.backend == "cudagraphs" or self._wants_cuda_graphs()):
            raise Unsupported(CUDA_GRAPHS)
        if self.changes_model and trains(workload.mode):
            raise Unsupported("freezing turns parameters into constants: inference only")
        if self.compiled_autograd and not trains(workload.mode):
            raise Unsupported("compiled autograd compiles the backward pass: training only, as mode=training")
        if self.dynamic == BATCH and workload.batch_size <= 1:
            raise Unsupported("dynamo makes a size of 1 a constant, never a symbol: dynamic=batch needs batch_size=2")
        if self.dynamo:
            from torch._dynamo import config

            checked(config, self.dynamo)
        if self.backend == "inductor":
            self._check_inductor(on_gpu=workload.device != "cpu")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        self._configure_dynamo()
        settings: dict[str, Any] = {
            "backend": resolved(self.backend),
            "dynamic": self._dynamic,
            "fullgraph": self.fullgraph,
            **self._mode_or_options(),
        }
        compiled = self._marked(torch.compile(program.model, **settings), program.inputs, workload.batch_size)
        return _with_backward(compiled, settings) if self.compiled_autograd else compiled

    def capture(self, program: Program, backend: Callable[..., Any]) -> Forward:
        import torch

        self._configure_dynamo()
        captured = torch.compile(program.model, backend=backend, dynamic=self._dynamic, fullgraph=self.fullgraph)
        return self._marked(captured, program.inputs, next(iter(program.inputs.values())).shape[0])

    @property
    def _dynamic(self) -> bool | None:
        """Return what torch.compile is given."""
        return True if self.dynamic == ALL else None if isinstance(self.dynamic, str) else self.dynamic

    def _marked(self, compiled: Forward, inputs: Mapping[str, Any], batch_size: int) -> Forward:
        """Return `compiled` so that the batch dimension of each call's inputs is marked, where that is asked for."""
        if self.dynamic not in (BATCH, UNBACKED):
            return compiled
        shapes = {name: tuple(getattr(tensor, "shape", ())) for name, tensor in inputs.items()}
        places = {name: shape.index(batch_size) for name, shape in shapes.items() if batch_size in shape}
        if not places:
            raise Unsupported(f"dynamic={self.dynamic}: no input has a dimension of the batch size, {batch_size}")
        return MarkingBatch(compiled, places, unbacked=self.dynamic == UNBACKED)

    def inductor_options(self) -> dict[str, Any]:
        from torch._inductor import config, list_mode_options

        own = checked(config, self.options) if self.backend == "inductor" else {}
        return {**(list_mode_options(self.mode) if self.mode else {}), **own}

    def _configure_dynamo(self) -> None:
        if self.dynamo:
            from torch._dynamo import config

            for key, value in checked(config, self.dynamo).items():
                setattr(config, key, value)

    def cuda_graphs(self, workload: Workload) -> bool:
        """Return whether CUDA graphs are asked for: by the back-end, a mode of inductor's, or an option."""
        if not workload.device.startswith("cuda"):
            return False
        inductor = self.backend == "inductor" and self.inductor_options().get("triton.cudagraphs")
        return self.backend == "cudagraphs" or bool(inductor)

    def _wants_cuda_graphs(self) -> bool:
        return self.mode == "reduce-overhead" or self._asks("triton.cudagraphs")

    def _asks(self, key: str) -> bool:
        """Return whether the options switch on `key`, written flat or nested."""
        group, _, name = key.partition(".")
        nested = self.options.get(group)
        return bool(self.options.get(key) or (isinstance(nested, Mapping) and nested.get(name)))

    def _mode_or_options(self) -> dict[str, Any]:
        if not self.options:
            return {"mode": self.mode}
        return {"options": self.inductor_options() if self.backend == "inductor" else dict(self.options)}

    def _check_inductor(self, *, on_gpu: bool) -> None:
        from torch._inductor import config, list_mode_options

        if self.mode is not None and self.mode not in list_mode_options():
            raise Unsupported(f"inductor has no mode '{self.mode}'; modes: {', '.join(list_mode_options())}")
        checked(config, self.options)
        if on_gpu:
            check_triton("inductor")
        if not on_gpu or self._asks("cpp_wrapper"):
            check_cpp_compiler("inductor")
        if on_gpu and self._asks("cpp_wrapper"):
            check_cuda_toolkit("inductor's C++ wrapper")


class MarkingBatch:
    """A callable that marks the batch dimension of its inputs: those of every call, for some are made anew.

    `places`: which dimension it is, by the input's name, whatever size it has in a call. Dynamo makes a size of 1 a
    constant, so it is marked only where nothing is to be known of it. Of a tensor that is marked already, one attribute
    is looked at: that is in the time of a call.
    """

    def __init__(self, compiled: Forward, places: Mapping[str, int], *, unbacked: bool) -> None:
        from torch._dynamo.decorators import mark_dynamic, mark_unbacked

        self._compiled, self._places, self._least = compiled, places, 1 if unbacked else 2
        self._mark: Callable[[Any, int], None] = mark_unbacked if unbacked else mark_dynamic
        self._marks = "_dynamo_unbacked_indices" if unbacked else "_dynamo_dynamic_indices"

    def __call__(self, **inputs: Any) -> Any:
        for name, place in self._places.items():
            tensor = inputs.get(name)
            if tensor is not None and not hasattr(tensor, self._marks) and tensor.shape[place] >= self._least:
                self._mark(tensor, place)
        return self._compiled(**inputs)


def check_backend(backend: str) -> None:
    """Raise Unsupported when torch has no such back-end, or it is none that could be compared."""
    import torch

    for pattern, why in NO_COMPILERS.items():
        if re.fullmatch(pattern, backend):
            raise Unsupported(f"dynamo's back-end '{backend}' {why}")
    backends = torch._dynamo.list_backends(exclude_tags=())
    if backend not in backends:
        known = [name for name in backends if not any(re.fullmatch(pattern, name) for pattern in NO_COMPILERS)]
        raise Unsupported(f"dynamo has no back-end '{backend}' here; {did_you_mean(backend, known)}")


def resolved(backend: str) -> str | Callable[..., Any]:
    """Return what `torch.compile(backend=...)` gets: the name, or for TorchScript's back-ends a function that works.

    As torch 2.13 registers them they raise (pytorch#188872): dynamo's and AOTAutograd's graphs generate their code
    lazily, and `torch.jit.script` tries to script that. It takes a plain GraphModule of the same graph. Dynamo in turn
    takes a script module for a model, so the script is hidden in a function.
    """
    if backend == "ts":
        return ts
    if backend == "aot_ts":
        from functorch.compile import ts_compile
        from torch._dynamo.backends.common import aot_autograd

        function: Callable[..., Any] = aot_autograd(fw_compiler=lambda graph, inputs: ts_compile(_plain(graph), inputs))
        return function
    return backend


def ts(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """Dynamo's back-end of that name; see `resolved`."""
    import torch

    script = torch.jit.script(_plain(graph))
    return lambda *tensors: script(*tensors)


def _plain(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    import torch

    return torch.fx.GraphModule(graph, graph.graph)


def _with_backward(compiled: Forward, settings: Mapping[str, Any]) -> Compiled:
    """Return `compiled` so that its backward pass goes through compiled autograd.

    `torch._dynamo.config.compiled_autograd` is in force inside the compiled call only: where the backward pass is run
    outside of it, as here, the switch does nothing. So the context that it enters is entered around both passes. It is
    left after each: eager is timed in the same process.
    """
    import torch
    from torch._dynamo import compiled_autograd

    counters = torch._dynamo.utils.counters["compiled_autograd"]

    def enabled() -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = compiled_autograd._enable(
            lambda graph: torch.compile(graph, **settings), dynamic=bool(settings["dynamic"])
        )
        return context

    def forward(**inputs: Any) -> Any:
        with enabled():
            return compiled(**inputs)

    @contextmanager
    def backward() -> Iterator[None]:
        with enabled():
            yield
        if not counters["captures"]:
            raise RuntimeError("compiled autograd captured nothing: the backward pass ran without it")

    return Compiled(forward, around_backward=backward)
