"""Peak memory by phase, exactly: the kernel's own high-water mark, not a sampler.

Writing "5" to /proc/self/clear_refs sets the process's peak resident set (VmHWM in /proc/self/status) back to its
present level (Linux, proc(5)), so that a phase's peak is read at its end at no cost while it runs. Where that file
is not writable, `ru_maxrss` stands in: it is the peak since the process started, never falls, and the record says so.
On CUDA the allocator keeps the marks (`torch.cuda.max_memory_allocated`, `max_memory_reserved`). Two things it does not
see. A CUDA graph's tensors are allocated when it is recorded and never again: what its pool keeps for them counts as
used from then on. And what other allocators take (onnxruntime's, TensorRT's, AOTInductor's weights): NVML tells what
the process holds on the device, `cudaMemGetInfo` what all processes do. Of another GPU there are the marks of
torch's allocator there, under the same names.

Compile workers are processes of their own with marks of their own (`orchestrator.probes.children`).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.probes.children import ChildSampler
from orchestrator.probes.gpu import process_memory

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import resource

if TYPE_CHECKING:
    import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class MemoryProbe:
    """Reads the memory of this process, and of `device` when it is a GPU. All figures are bytes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.source = "VmHWM" if _reset_peak() else "ru_maxrss"
        self.base: int | None = None
        self.phases: dict[str, dict[str, int]] = {}
        self.children: dict[str, int | None] = {}
        self.cuda: dict[str, dict[str, int | None]] | None = {} if device.type != "cpu" else None
        self.cuda_base: dict[str, int | None] | None = None

    def mark_base(self) -> None:
        """Take the present levels as those before the model exists; CUDA's context and cuBLAS's workspace are there."""
        _settle()
        if self.cuda is not None:
            self._reset_gpu(empty=True)
            self.cuda_base = self._read_gpu()
        self.base = _level()

    @contextlib.contextmanager
    def phase(self, name: str, children: bool = False, keep_cache: bool = False) -> Iterator[None]:
        """Measure the peak of what runs inside, also when it raises; `children` looks at child processes too.

        Freed memory is given back before, so that no phase starts on the garbage of another. `keep_cache`: not that of
        CUDA's allocator, whose next allocations would be in the times that are taken inside.
        """
        _settle()
        _reset_peak()
        allocated = self._reset_gpu(empty=not keep_cache)
        start = _level()
        sampler = ChildSampler() if children else None
        try:
            yield
        finally:
            self.phases[name] = {"start": start, "peak": self._peak(), "end": _level()}
            if sampler is not None:
                self.children[name] = sampler.stop()
            if self.cuda is not None:
                self.cuda[name] = {"start": allocated, **self._read_gpu()}

    def facts(self) -> dict[str, Any]:
        """Return what was seen, as the `memory` fact of a result."""
        return {
            "source": self.source,
            "base": self.base,
            "phases": self.phases,
            "children": self.children,
            "cuda": self.cuda,
            "cuda_base": self.cuda_base,
        }

    def _peak(self) -> int:
        if self.source == "VmHWM":
            return _status("VmHWM")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _reset_gpu(self, *, empty: bool) -> int | None:
        """Set the allocator's marks back; return what is allocated now."""
        if self.cuda is None:
            return None
        import torch

        module = torch.get_device_module(self.device)
        module.synchronize(self.device)
        if empty:
            module.empty_cache()
        module.reset_peak_memory_stats(self.device)
        return int(module.memory_allocated(self.device))

    def _read_gpu(self) -> dict[str, int | None]:
        """Return what the allocator says since the marks were set back; on CUDA more (`_read_cuda`)."""
        if self.device.type == "cuda":
            return self._read_cuda()
        import torch

        module = torch.get_device_module(self.device)
        module.synchronize(self.device)
        allocated = int(module.max_memory_allocated(self.device))
        reserved, end = module.max_memory_reserved(self.device), module.memory_allocated(self.device)
        return {"allocated": allocated, "reserved": int(reserved), "end": int(end), "peak": allocated}

    def _read_cuda(self) -> dict[str, int | None]:
        """Return what the allocator, NVML and the driver say since the marks were set back.

        allocated, reserved: peaks. end: allocated now. graph_pools: reserved now by pools of their own, CUDA graphs';
        what of them no tensor has at the moment is a graph's all the same. peak: the highest of all that is used.
        process: what NVML says of this process. device: used by all processes together. All in bytes.
        """
        import torch

        torch.cuda.synchronize(self.device)
        allocated = int(torch.cuda.max_memory_allocated(self.device))
        end = int(torch.cuda.memory_allocated(self.device))
        pools = [segment for segment in torch.cuda.memory_snapshot() if self._is_of_a_pool(segment)]
        reserved, live = (sum(int(segment[key]) for segment in pools) for key in ("total_size", "allocated_size"))
        free, total = torch.cuda.mem_get_info(self.device)
        return {
            "allocated": allocated,
            "reserved": int(torch.cuda.max_memory_reserved(self.device)),
            "end": end,
            "graph_pools": reserved,
            "peak": max(allocated, end + reserved - live),
            "process": process_memory(self.device),
            "device": int(total - free),
        }

    def _is_of_a_pool(self, segment: Mapping[str, Any]) -> bool:
        """Pools have ids; (0, 0) is the one that all others allocate from."""
        return segment["device"] == (self.device.index or 0) and tuple(segment["segment_pool_id"]) != (0, 0)


def _reset_peak() -> bool:
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status(key: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {key}")


def _level() -> int:
    """Return the resident set now, in bytes."""
    if STATUS.exists():
        return _status("VmRSS")
    import psutil

    return int(psutil.Process().memory_info().rss)


def _settle() -> None:
    """Give freed memory back to the system: a phase's level holds what is alive, not the last phase's garbage."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
