"""What NVML says of a CUDA device: this process's memory, clocks, power, temperature, throttling, other processes.

One query that a device does not support (many on a MIG slice) costs its own figure only: None.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import system
from orchestrator.probes.children import descendants

if TYPE_CHECKING:
    import torch


SLOWDOWNS = {
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML's clock event reasons (nvml.h) that make a timing worse than the GPU's own; idle clocks are not among them, nor
is the power cap, the usual limit of a large GPU under load: it is counted."""
POWER_CAP = 0x4
SAMPLING_S = 0.2  # of clocks, while a phase is timed: a tenth of a millisecond each, without Python's lock
IN_USE_PERCENT = 5.0  # of its time that other processes keep a GPU busy: from here on they disturb


@dataclass(frozen=True)
class Gpu:
    """NVML's handles of a CUDA device: `instance` holds memory and processes, `whole` has clocks, power, temperature.

    They are the same but for a MIG slice, whose GPU is `whole`.
    """

    instance: Any
    whole: Any

    @property
    def is_slice(self) -> bool:
        return self.instance is not self.whole


def find(device: torch.device) -> Gpu | None:
    """Return the handles of a torch device, None where NVML has none.

    They are found by UUID, because CUDA_VISIBLE_DEVICES renumbers torch's devices; CUDA has the UUID without the
    beginning that tells a GPU from a MIG slice.
    """
    import torch

    properties = torch.cuda.get_device_properties(device)
    uuid = str(properties.uuid).removeprefix("GPU-").removeprefix("MIG-")
    return _by_uuid(f"GPU-{uuid}") or _by_uuid(f"MIG-{uuid}")


def settings(device: torch.device) -> dict[str, Any]:
    """Return what an administrator may have set: power limit (W), highest clocks (MHz), ECC and MIG mode; the UUID."""
    import pynvml

    gpu = find(device)
    if gpu is None:
        return {}
    limit = _ask("nvmlDeviceGetEnforcedPowerLimit", gpu.whole)
    ecc, mig = (_ask(query, gpu.whole) for query in ("nvmlDeviceGetEccMode", "nvmlDeviceGetMigMode"))
    return {
        "uuid": _ask("nvmlDeviceGetUUID", gpu.instance),
        "power_limit_w": None if limit is None else limit / 1000,
        "max_sm_clock_mhz": _ask("nvmlDeviceGetMaxClockInfo", gpu.whole, pynvml.NVML_CLOCK_SM),
        "max_memory_clock_mhz": _ask("nvmlDeviceGetMaxClockInfo", gpu.whole, pynvml.NVML_CLOCK_MEM),
        "ecc": None if ecc is None else bool(ecc[0]),
        "mig": None if mig is None else bool(mig[0]),
    }


def free_memory(device: str) -> int | None:
    """Return the free bytes of a device ("cuda:1") without initialising CUDA; of several that it may be, the least."""
    found = [_by_uuid(uuid) for uuid in system.gpu_uuids(device)]
    memories = [_ask("nvmlDeviceGetMemoryInfo", gpu.instance) for gpu in found if gpu is not None]
    return min((int(memory.free) for memory in memories if memory is not None), default=None)


def process_memory(device: torch.device) -> int | None:
    """Return the bytes that this process holds on `device`, its CUDA context included; None where NVML cannot say.

    In a container NVML may tell the ids that processes have outside of it: then the only process that there is is this
    one, and of several none can be told to be.
    """
    gpu = find(device)
    running = None if gpu is None else _ask("nvmlDeviceGetComputeRunningProcesses", gpu.instance)
    if not running:
        return None
    mine = [process for process in running if process.pid == os.getpid()] or (running if len(running) == 1 else [])
    return int(mine[0].usedGpuMemory) if mine and mine[0].usedGpuMemory else None


def others(gpu: Gpu) -> list[dict[str, Any]] | None:
    """Return the processes that have a context on the device, but for this one and its descendants: {"pid", "bytes"}.

    `bytes` is the memory that the process holds there, None where NVML may not say. None where nobody can tell: NVML
    cannot be read, or lists several processes and not this one, though it has a context (a container's ids).
    """
    running = _ask("nvmlDeviceGetComputeRunningProcesses", gpu.instance)
    if running is None:
        return None
    own = {os.getpid(), *descendants(os.getpid())}  # a compiler's processes are the job's
    if running and _has_context() and os.getpid() not in {process.pid for process in running}:
        return [] if len(running) == 1 else None
    return [
        {"pid": process.pid, "bytes": process.usedGpuMemory or None} for process in running if process.pid not in own
    ]


def use_of_others(gpu: Gpu, since: float, also: Iterable[int] = ()) -> dict[int, float] | None:
    """Return what percentage of the time each other process kept the GPU busy since a time (s since the epoch).

    `also` are processes that may have ended. None where nobody can tell: the driver does not say (MIG), or whose
    work it is.
    """
    known = others(gpu)
    if known is None:
        return None
    pids = {*(process["pid"] for process in known), *also}
    samples = _ask("nvmlDeviceGetProcessUtilization", gpu.whole, int(since * 1e6), none_is=()) if pids else ()
    if samples is None:
        return None
    used: dict[int, list[float]] = {}
    for sample in samples:
        if sample.pid in pids:
            used.setdefault(int(sample.pid), []).append(float(sample.smUtil))
    return {pid: statistics.mean(values) for pid, values in used.items()}


class Sampler:
    """Looks at a device from its creation until `stop`: clocks, power and who else uses it change with the load."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = find(device)
        self._samples: list[dict[str, float | None]] = []
        self._others: dict[int, dict[str, Any]] = {}
        self._cannot_tell = False
        self._started, self._began = time.time(), time.perf_counter()
        self._counters = {} if self._gpu is None else _counters(self._gpu)
        self._stop = threading.Event()
        self._see_others()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Return the figures since the beginning.

        Clocks in MHz, the temperature in degrees Celsius (the highest), power in W, energy in J (counted by the
        driver), busy_percent of the time with a kernel at work, throttle_reasons (all of NVML's bits that were seen)
        and the share of the time under the power cap. other_processes are those that were seen with a context, each
        with busy_percent, None where it cannot be told; None in all where nobody can tell who they are.
        """
        self._stop.set()
        self._thread.join()
        if self._gpu is None:
            return {"unreadable": "NVML does not know this device"}
        self._sample()
        self._see_others()
        use = use_of_others(self._gpu, self._started, self._others)
        seen = [
            {**process, "busy_percent": None if use is None else use.get(pid, 0.0)}
            for pid, process in self._others.items()
        ]
        return {
            "sm_clock_mhz": self._middle("sm_clock_mhz"),
            "memory_clock_mhz": self._middle("memory_clock_mhz"),
            "temperature_c": max(self._seen("temperature_c"), default=None),
            "busy_percent": self._middle("busy_percent"),
            "throttle_reasons": self._reasons(),
            "samples": len(self._samples),
            **self._counted(),
            "other_processes": None if self._cannot_tell else seen,
        }

    def _run(self) -> None:
        while not self._stop.wait(SAMPLING_S):
            self._sample()

    def _sample(self) -> None:
        if self._gpu is not None:
            self._samples.append(_state(self._gpu))

    def _see_others(self) -> None:
        found = [] if self._gpu is None else others(self._gpu)
        self._cannot_tell |= found is None
        self._others |= {process["pid"]: process for process in found or ()}

    def _seen(self, name: str) -> list[float]:
        return [value for sample in self._samples if (value := sample[name]) is not None]

    def _middle(self, name: str) -> float | None:
        values = self._seen(name)
        return statistics.median(values) if values else None

    def _reasons(self) -> int | None:
        values = [int(value) for value in self._seen("throttle_reasons")]
        together = 0
        for value in values:
            together |= value
        return together if values else None

    def _counted(self) -> dict[str, float | None]:
        """Return what the driver has counted meanwhile; the power cap's share from the samples where it does not."""
        assert self._gpu is not None
        passed = time.perf_counter() - self._began
        rise = {
            name: None if now is None or (before := self._counters.get(name)) is None else now - before
            for name, now in _counters(self._gpu).items()
        }
        energy, capped = rise["energy_mj"], rise["capped_ns"]
        reasons = [int(value) for value in self._seen("throttle_reasons")]
        share: float | None = None
        if capped is not None:
            share = min(capped * 1e-9 / passed, 1.0)
        elif reasons:
            share = sum(bool(value & POWER_CAP) for value in reasons) / len(reasons)
        return {
            "energy_j": None if energy is None else energy * 1e-3,
            "mean_power_w": None if energy is None else energy * 1e-3 / passed,
            "power_capped_share": share,
        }


def _state(gpu: Gpu) -> dict[str, float | None]:
    import pynvml

    utilisation = _ask("nvmlDeviceGetUtilizationRates", gpu.whole)  # a slice has none of its own
    return {
        "sm_clock_mhz": _ask("nvmlDeviceGetClockInfo", gpu.whole, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _ask("nvmlDeviceGetClockInfo", gpu.whole, pynvml.NVML_CLOCK_MEM),
        "temperature_c": _ask("nvmlDeviceGetTemperature", gpu.whole, pynvml.NVML_TEMPERATURE_GPU),
        "throttle_reasons": _ask("nvmlDeviceGetCurrentClocksThrottleReasons", gpu.whole),
        "busy_percent": None if utilisation is None or gpu.is_slice else utilisation.gpu,
    }


def _counters(gpu: Gpu) -> dict[str, int | None]:
    """Return what only ever rises: energy in mJ, and nanoseconds below the clock that was asked for, for its power."""
    import pynvml

    energy = _ask("nvmlDeviceGetTotalEnergyConsumption", gpu.whole)
    capped = _ask("nvmlDeviceGetViolationStatus", gpu.whole, pynvml.NVML_PERF_POLICY_POWER)
    return {
        "energy_mj": None if energy is None else int(energy),
        "capped_ns": None if capped is None else int(capped.violationTime),
    }


def _has_context() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())


def _by_uuid(uuid: str) -> Gpu | None:
    if _ask("nvmlInit", none_is=True) is None:
        return None
    handle = _ask("nvmlDeviceGetHandleByUUID", uuid)
    if handle is None:
        return None
    whole = _ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) if uuid.startswith("MIG-") else None
    return Gpu(handle, handle if whole is None else whole)


def _ask(query: str, *arguments: Any, none_is: Any = None) -> Any:
    """Return NVML's answer, None where it has none. `none_is` stands for an answer that is nothing, or not found."""
    import pynvml

    try:
        answer = getattr(pynvml, query)(*arguments)
    except pynvml.NVMLError as error:
        nothing = (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND)  # pynvml raises an error for an empty list, too
        return none_is if error.value in nothing else None
    return none_is if answer is None else answer
