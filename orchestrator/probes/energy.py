"""Energy while something runs, from counters that only ever rise: reading them twice disturbs nothing.

On CUDA it is NVML's total of the device since the driver was loaded, in mJ (Volta and later; the whole board, whoever
uses it). On the CPU the RAPL counters of all packages, where the kernel lets us read them (Linux powercap; since 2020
root alone): whatever runs on the machine is in them. There is none on most virtual machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

POWERCAP = Path("/sys/class/powercap")
SHORTEST_S = 0.2
"""The counters are brought up to date every 10 to 100 ms: of less time than this nothing is said."""


@dataclass(frozen=True)
class Counter:
    """`read` returns joules since some moment; starts again at `wraps_at` (0: never). `source`: its name."""

    read: Callable[[], float]
    source: str
    wraps_at: float = 0.0


class EnergyProbe:
    """Reads the counter of `device` at its creation, and once more in `facts`."""

    def __init__(self, device: torch.device) -> None:
        self._counters = counters(device)
        self._started = time.monotonic()
        self._before = [counter.read() for counter in self._counters]

    def facts(self, steps: int) -> dict[str, Any]:
        """Return {"energy": {"joules", "seconds", "steps", "source"}}; nothing where there is no counter, or no time.

        steps: how many steps ran meanwhile.
        """
        seconds = time.monotonic() - self._started
        if not self._counters or seconds < SHORTEST_S:
            return {}
        joules = 0.0
        for counter, before in zip(self._counters, self._before, strict=True):
            risen = counter.read() - before
            joules += risen + counter.wraps_at if risen < 0 else risen
        source = self._counters[0].source
        return {"energy": {"joules": joules, "seconds": seconds, "steps": steps, "source": source}}


def counters(device: torch.device) -> list[Counter]:
    """Return the counters of a device, none where it has none that can be read."""
    return _nvml(device) if device.type == "cuda" else _rapl()


def _nvml(device: torch.device) -> list[Counter]:
    import pynvml
    import torch

    uuid = str(torch.cuda.get_device_properties(device).uuid)
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
        counter = Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, "NVML")
        counter.read()
    except pynvml.NVMLError:  # no such counter: older than Volta, MIG, a virtual GPU
        return []
    return [counter]


def _rapl() -> list[Counter]:
    """Return the counters of the packages; what is below one (cores, memory controller) is counted in it."""
    found = []
    for folder in sorted(POWERCAP.glob("intel-rapl:[0-9]*")):
        if folder.name.count(":") > 1:
            continue
        try:
            if not (folder / "name").read_text().startswith("package"):
                continue
            wraps_at = int((folder / "max_energy_range_uj").read_text()) / 1e6
            counter = Counter(lambda file=folder / "energy_uj": int(file.read_text()) / 1e6, "RAPL", wraps_at)  # type: ignore[misc]
            counter.read()
        except OSError:  # not for us
            return []
        found.append(counter)
    return found
