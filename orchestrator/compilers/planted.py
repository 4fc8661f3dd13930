"""Compilers with a known effect: what must be found when the harness measures itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.plugins import Forward, Program, Unsupported
from orchestrator.probes.clock import synchroniser
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

CALIBRATION = 2_000_000
"""Cycles that a clock's rate is found with: a millisecond."""
WARM_UP, CALLS = 3, 11
"""Calls before those whose median is taken, and these."""


@dataclass(frozen=True)
class Slowdown:
    """Eager, and then as much longer as `fraction` says: 0.03 makes every forward pass take 1.03 times its time."""

    changes_model: ClassVar[bool] = False

    fraction: float = 0.03

    def check(self, workload: Workload) -> None:
        """Runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        synchronise = synchroniser(torch.device(workload.device))

        def forward(**inputs: torch.Tensor) -> Any:
            synchronise()
            start = time.perf_counter()
            outputs = program.model(**inputs)
            synchronise()
            end = time.perf_counter()
            until = end + (end - start) * self.fraction
            while time.perf_counter() < until:
                pass
            return outputs

        return forward


class _OnCuda:
    """What there is on CUDA devices only."""

    changes_model: ClassVar[bool] = False

    def check(self, workload: Workload) -> None:
        if not workload.device.startswith("cuda"):
            raise Unsupported(f"this is planted on CUDA devices, not on {workload.device}: take device=cuda")


@dataclass(frozen=True)
class DeviceSlowdown(_OnCuda):
    """Eager, and then a kernel that spins: a forward pass takes 1 + `fraction` times its time on the CUDA device.

    How long that is it finds out once, with CUDA events, when it compiles.
    """

    fraction: float = 0.03

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        with torch.no_grad():
            forward_ms = _event_ms(lambda: program.model(**program.inputs))
        cycles = round(self.fraction * forward_ms / _event_ms(lambda: torch.cuda._sleep(CALIBRATION)) * CALIBRATION)

        def forward(**inputs: torch.Tensor) -> Any:
            outputs = program.model(**inputs)
            torch.cuda._sleep(cycles)
            return outputs

        return forward


@dataclass(frozen=True)
class OutsideAllocator(_OnCuda):
    """Eager, with `bytes` of the CUDA device's memory besides that torch's allocator knows nothing of."""

    bytes: int = 2**29

    def compile(self, program: Program, workload: Workload) -> Forward:
        import ctypes

        import torch

        torch.zeros(1, device=workload.device)  # the device's context is then the present one
        address = ctypes.c_uint64()
        code = ctypes.CDLL("libcuda.so.1").cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(self.bytes))
        if code:
            raise RuntimeError(f"cuMemAlloc of {self.bytes} bytes failed: CUDA driver error {code}")
        return program.model


@dataclass(frozen=True)
class StaleGraph(_OnCuda):
    """A CUDA graph of the first call, replayed whatever later calls are given: right once, and wrong ever after."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        graphs: list[tuple[torch.cuda.CUDAGraph, Any]] = []

        def record(inputs: dict[str, torch.Tensor]) -> None:
            own = {name: tensor.clone() for name, tensor in inputs.items()}
            torch.cuda.synchronize()
            aside = torch.cuda.Stream()
            with torch.cuda.stream(aside):  # a first call outside of the graph: libraries make their handles
                program.model(**own)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = program.model(**own)
            graphs.append((graph, (own, outputs)))

        def forward(**inputs: torch.Tensor) -> Any:
            if not graphs:
                record(inputs)
            graph, (_, outputs) = graphs[0]
            graph.replay()
            return outputs

        return forward


@dataclass(frozen=True)
class NeedsTwin:
    """Eager that says it changes the model: the pairs build another one for eager, and both must fit."""

    changes_model: ClassVar[bool] = True

    def check(self, workload: Workload) -> None:
        """Runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        return program.model


def _event_ms(work: Callable[[], Any]) -> float:
    """Return the median of the milliseconds that `work` takes on the present CUDA device, by CUDA events."""
    import torch

    found: list[float] = []
    for _ in range(WARM_UP + CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end))
    return statistics.median(found[WARM_UP:])
