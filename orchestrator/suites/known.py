"""Models whose figures are known beforehand: what the harness must find when it measures itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.plugins import Program
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

AWAKE_S = 0.005  # the end of a known wait, spent looking at the clock
Kind = Literal[
    "matmul", "allocate", "sleep", "fail", "cuda_sleep", "copy", "temp", "hold", "mutate", "stateful", "full"
]
OF_CUDA = frozenset({"cuda_sleep", "hold", "full"})
"""Kinds that there are on CUDA only."""


@dataclass(frozen=True)
class KnownModel:
    """One model with a known figure.

    matmul: `layers` square linear layers of `width`: a step that is arithmetic (or, of a small width, launches) and
    nothing else. allocate: a step that allocates and touches `bytes` (`per_sample`: of each sample), holds them for
    `seconds`. sleep: a step that takes `seconds`, to microseconds. fail: a step that raises. Gradients flow through
    each of these, so that it can be trained.

    cuda_sleep: one kernel that spins for `cycles` of the SM's clock; `aside`: on a stream of its own that nothing waits
    for. copy: `bytes` are read and as many written. temp: two linear layers, width -> hidden -> width: what is between
    them has batch * hidden elements, and no compiler can fuse it away. hold: `share` of the device's memory, kept from
    the first step on. mutate: a step that writes into its input. stateful: one that centres its input in place, counts
    its calls in a buffer, averages batches in training, and returns what depends on all of it. full: a process that may
    allocate nothing on its device from before the first tensor.
    """

    kind: Kind
    width: int = 1024
    layers: int = 4
    bytes: int = 0
    seconds: float = 0.0
    cycles: int = 0
    aside: bool = False
    per_sample: bool = False
    hidden: int = 0
    share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share}: it must be from 0 to 1")

    def load(self, workload: Workload) -> None:
        """Take away the memory of `full`, before anything is allocated."""
        import torch

        if self.kind == "full" and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(0.0, torch.device(workload.device))

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        if self.kind in OF_CUDA and not workload.device.startswith("cuda"):
            raise ValueError(f"kind={self.kind} is of CUDA devices, not of {workload.device}")
        generator = torch.Generator().manual_seed(workload.seed)
        width = self.width if self.kind in ("matmul", "temp", "stateful") else 8
        model = _module(self, width, generator)
        inputs = {"x": torch.randn(workload.batch_size, width, generator=generator)}
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs["y"].float().square().mean())

    def shapes(self, width: int) -> list[tuple[int, int]]:
        """Return (inputs, outputs) of each linear layer."""
        if self.kind == "temp":
            return [(width, self.hidden), (self.hidden, width)]
        return [(width, width)] * (self.layers if self.kind in ("matmul", "stateful") else 1)


def _wait(seconds: float) -> None:
    """Return after `seconds`: asleep, but for the end, because a virtual machine may wake a sleeper 0.5 ms late."""
    end = time.perf_counter() + seconds
    time.sleep(max(seconds - AWAKE_S, 0.0))
    while time.perf_counter() < end:
        pass


def _module(known: KnownModel, width: int, generator: torch.Generator) -> torch.nn.Module:
    """Return the module. Its class is defined in here: torch is imported where a model is built, not before."""
    import torch

    class Known(torch.nn.Module):
        calls: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            layers = [torch.nn.Linear(inputs, outputs, bias=False) for inputs, outputs in known.shapes(width)]
            for layer in layers:
                torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            self.layers = torch.nn.ModuleList(layers)
            self.kept: Any = None  # what was allocated at the first call, on the device of its input
            if known.kind == "stateful":
                self.norm = torch.nn.BatchNorm1d(width)
                self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            if known.kind not in ("matmul", "temp"):
                self.before(x)
            for layer in self.layers:
                x = layer(x)
            return {"y": self.norm(x) * self.calls + x if known.kind == "stateful" else x}

        def before(self, x: torch.Tensor) -> None:
            if known.kind == "fail":
                raise RuntimeError("planted failure of the self-test")
            if known.kind == "allocate":
                count = known.bytes * (len(x) if known.per_sample else 1)
                block = torch.full((count,), 1, dtype=torch.uint8, device=x.device)
                time.sleep(known.seconds)
                del block
            if known.kind == "sleep":
                _wait(known.seconds)
            if known.kind == "mutate":
                x.add_(1)
            if known.kind == "stateful":
                x.sub_(x.mean(-1, keepdim=True))
                self.calls += 1
            if known.kind == "cuda_sleep":
                self.spin(x.device)
            if known.kind == "copy":
                if self.kept is None:
                    self.kept = [torch.zeros(known.bytes, dtype=torch.uint8, device=x.device) for _ in range(2)]
                self.kept[0].copy_(self.kept[1])
            if known.kind == "hold" and self.kept is None:
                total = torch.cuda.get_device_properties(x.device).total_memory
                self.kept = torch.empty(int(known.share * total), dtype=torch.uint8, device=x.device)

        def spin(self, device: torch.device) -> None:
            if known.aside and self.kept is None:
                self.kept = torch.cuda.Stream(device)
            with torch.cuda.stream(self.kept):  # None: the present stream
                torch.cuda._sleep(known.cycles)

    return Known()
