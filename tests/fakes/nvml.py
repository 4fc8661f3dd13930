"""A driver with known answers, in place of NVML's: for what a machine without a GPU is to be told of one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

UUID = "6b3c8cf0-0000-4000-8000-000000000001"
GIB = 2**30


@dataclass
class Driver:
    """One GPU, or one MIG slice of it. `processes`: pid -> bytes (None: not told); `use`: pid -> percent of the time.

    `unsupported` are queries that raise; `reasons` are the clock event reasons, one a look, the last for ever.
    """

    processes: dict[int, int | None] = field(default_factory=dict)
    use: dict[int, int] = field(default_factory=dict)
    unsupported: set[str] = field(default_factory=set)
    is_slice: bool = False
    busy: int = 100
    free: int = 70 * GIB
    capped_ns: list[int] = field(default_factory=lambda: [0])
    energy_mj: list[int] = field(default_factory=lambda: [0])
    reasons: list[int] = field(default_factory=lambda: [0])

    def install(self, monkeypatch: pytest.MonkeyPatch, *, with_context: bool = True) -> None:
        import pynvml
        import torch

        answers = {name: getattr(self, name) for name in dir(self) if name.startswith("nvml")}
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, self._raising(name) if name in self.unsupported else answer)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=UUID))
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: with_context)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def _raising(self, name: str) -> Any:
        import pynvml

        def raises(*_: object) -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

        return raises

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return "gpu"

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{UUID}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        import pynvml

        if uuid != ("MIG-" if self.is_slice else "GPU-") + UUID:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "slice" if self.is_slice else "gpu"

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        assert handle == "slice"
        return "gpu"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return 700_000

    def nvmlDeviceGetMaxClockInfo(self, handle: str, clock: int) -> int:
        import pynvml

        return {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}[clock]

    def nvmlDeviceGetEccMode(self, handle: str) -> list[int]:
        return [1, 0]

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [int(self.is_slice), 0]

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(free=self.free, total=80 * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in self.processes.items()]

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Any]:
        import pynvml

        assert handle == "gpu"
        if not self.use:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return [SimpleNamespace(pid=pid, smUtil=percent) for pid, percent in self.use.items()]

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        assert handle == "gpu"
        return 1410

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 55

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=self.busy, memory=10)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self._next(self.reasons)

    def nvmlDeviceGetViolationStatus(self, handle: str, policy: int) -> Any:
        return SimpleNamespace(violationTime=self._next(self.capped_ns))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self._next(self.energy_mj)

    @staticmethod
    def _next(values: list[int]) -> int:
        return values.pop(0) if len(values) > 1 else values[0]


def own(memory: int | None = GIB) -> dict[int, int | None]:
    return {os.getpid(): memory}
