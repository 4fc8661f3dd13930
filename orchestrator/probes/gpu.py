"""What NVML says of a CUDA device: this process's memory, clocks, temperature, throttling, other processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orchestrator.probes.memory import descendants

if TYPE_CHECKING:
    import torch


SLOWDOWNS = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock event reasons (nvml.h) that make a timing worse than the GPU's own; idle clocks and the power cap of
normal operation are not among them."""


def process_memory(device: torch.device) -> int | None:
    """Return the bytes that this process holds on `device`, its CUDA context included; None where NVML cannot say."""
    import pynvml

    try:
        handle = _handle(device)
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    mine = [process.usedGpuMemory for process in running if process.pid == os.getpid()]
    return int(mine[0]) if mine and mine[0] is not None else None


def state(device: torch.device) -> dict[str, Any]:
    """Return clocks (MHz), temperature (degrees Celsius), throttle reasons (NVML's bits) and `other_processes`."""
    import pynvml

    try:
        handle = _handle(device)
        return {
            "sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "temperature_c": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "throttle_reasons": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
            "other_processes": _others(handle),
        }
    except pynvml.NVMLError as error:
        return {"unreadable": str(error)}


def others(device: torch.device) -> list[dict[str, Any]]:
    """Return the processes that compute on `device`, but for this one and its descendants: {"pid", "bytes"} each.

    `bytes` is the memory that the process holds there, None where NVML may not say. Empty where NVML cannot be read.
    """
    import pynvml

    try:
        return _others(_handle(device))
    except pynvml.NVMLError:
        return []


def _others(handle: Any) -> list[dict[str, Any]]:
    import pynvml

    own = {os.getpid(), *descendants(os.getpid())}  # a compiler's processes are the job's
    return [
        {"pid": process.pid, "bytes": process.usedGpuMemory}
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        if process.pid not in own
    ]


def _handle(device: torch.device) -> Any:
    """Return NVML's handle of a torch device; found by UUID, because CUDA_VISIBLE_DEVICES renumbers torch's devices."""
    import pynvml
    import torch

    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
