"""What the planner has to know of this machine, found without importing torch (which takes seconds)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import capacity, system
from orchestrator.records import JobSpec
from orchestrator.words import plural


@dataclass(frozen=True)
class Machine:
    """cores: physical cores that this process may use; cuda_devices: how many torch could use here; xpu_build: torch
    is built for Intel's GPUs, of which nobody counts the devices without it.
    """

    cores: int
    cuda_devices: int
    xpu_build: bool = False

    @property
    def threads(self) -> int:
        """Threads of a job by default: one core is left to the machine.

        A single busy neighbour makes two threads on two cores 3 times slower and leaves one thread as it was
        (docs/measuring.md), because every parallel section waits for its slowest thread.
        """
        return max(1, self.cores - 1)

    def threads_of(self, ranks: int) -> int:
        """Threads of each rank of a job by default: together as many as a job of one process has, and at least one."""
        return max(1, self.threads // ranks)

    @property
    def device(self) -> str:
        """What device=auto stands for."""
        return "cuda:0" if self.cuda_devices else "cpu"

    def cautions(self, jobs: Sequence[JobSpec]) -> list[str]:
        """Return what this machine lacks that jobs ask for: a sentence each."""
        wanted = [job.workload for job in jobs if job.verdict is None]
        busiest = max(wanted, key=lambda workload: workload.threads * workload.ranks, default=None)
        found = []
        for device, count in Counter(workload.device for workload in wanted).items():
            kind, _, index = device.partition(":")
            if kind == "cuda" and int(index or 0) >= self.cuda_devices:
                there = plural(self.cuda_devices, "CUDA device") if self.cuda_devices else "no CUDA device"
                found.append(
                    f"{plural(count, 'job')} on {device}, and this torch has {there} here: take device=auto, or run "
                    "where there is one"
                )
            if kind == "xpu" and not self.xpu_build:
                found.append(
                    f"{plural(count, 'job')} on {device}, and this torch is not built for Intel's GPUs: take "
                    "device=auto, or another build"
                )
        if busiest is not None and busiest.threads * busiest.ranks > self.cores:
            cores, of_each = plural(self.cores, "core"), f" in each of {busiest.ranks} ranks" * (busiest.ranks > 1)
            found.append(
                f"threads={busiest.threads}{of_each}, and jobs may use {cores} here: threads will wait for each other"
            )
        return found


def detect() -> Machine:
    """Look at this machine."""
    devices = _nvidia_devices() if system.torch_build()["cuda"] else 0
    return Machine(cores=capacity.cores(), cuda_devices=devices, xpu_build=system.torch_has_xpu())


def _nvidia_devices() -> int:
    """Return the number of CUDA devices that the driver has and CUDA_VISIBLE_DEVICES leaves."""
    import pynvml

    try:
        pynvml.nvmlInit()
        present = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    chosen = visible.split(",")
    invalid = next((i for i, name in enumerate(chosen) if name.strip() in ("", "-1")), len(chosen))  # CUDA stops there
    return min(present, invalid)
