"""Dynamo's back-ends by name: which of the registered ones compile nothing, need an argument, or need a remedy.

What torch registers is more than what anyone can run: tools of its own tests, and back-ends whose package has moved
on. Facts of torch 2.13 (docs/compilers.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.errors import did_you_mean
from orchestrator.plugins import Unsupported

if TYPE_CHECKING:
    import torch

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
"""Registered back-ends (regular expressions) that are refused -> why."""


def check(backend: str) -> None:
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
