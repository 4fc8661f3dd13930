"""Models whose figures are known beforehand: what the harness must find when it measures itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Program
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

AWAKE_S = 0.005  # the end of a known wait, spent looking at the clock
KINDS = ("matmul", "allocate", "sleep", "fail")


@dataclass(frozen=True)
class KnownModel:
    """One model with a known figure.

    matmul: `layers` square linear layers of `width`: a step that is arithmetic and nothing else. allocate: a step that
    allocates and touches `bytes`, holds them for `seconds`. sleep: a step that takes `seconds`, to microseconds. fail:
    a step that raises. Gradients flow through each, so that it can be trained.
    """

    kind: str
    width: int = 1024
    layers: int = 4
    bytes: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind '{self.kind}'; available: {', '.join(KINDS)}")

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        generator = torch.Generator().manual_seed(workload.seed)
        width = self.width if self.kind == "matmul" else 8
        model = _module(self, width, generator)
        inputs = {"x": torch.randn(workload.batch_size, width, generator=generator)}
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs["y"].float().square().mean())


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
        def __init__(self) -> None:
            super().__init__()
            count = known.layers if known.kind == "matmul" else 1
            layers = [torch.nn.Linear(width, width, bias=False) for _ in range(count)]
            for layer in layers:
                torch.nn.init.normal_(layer.weight, std=width**-0.5, generator=generator)
            self.layers = torch.nn.ModuleList(layers)

        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            if known.kind == "fail":
                raise RuntimeError("planted failure of the self-test")
            if known.kind == "allocate":
                block = torch.full((known.bytes,), 1, dtype=torch.uint8, device=x.device)
                time.sleep(known.seconds)
                del block
            if known.kind == "sleep":
                _wait(known.seconds)
            for layer in self.layers:
                x = layer(x)
            return {"y": x}

    return Known()
