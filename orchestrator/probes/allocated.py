"""How many bytes are allocated now: read between two lines of Python, so it must be exact and cheap.

On the CPU these are the C library's own books (`mallinfo2`, glibc 2.33 or later): all bytes that `malloc` and
`posix_memalign`, which torch's CPU allocator calls, have given out, whatever was touched and whatever the library has
kept of what was freed. The resident set knows neither: it counts 4 KiB pages when they are first touched, and what was
freed often stays resident. It stands in where the books cannot be read or torch allocates elsewhere (musl, jemalloc by
LD_PRELOAD). On a GPU the books are those of torch's allocator.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PROBE_BYTES = 2**20


@dataclass(frozen=True)
class Level:
    """`read` returns bytes. `source`: "mallinfo2", "resident set", "CUDA allocator", ...; `resolution` is in bytes."""

    read: Callable[[], int]
    source: str
    resolution: int


class _MallInfo2(ctypes.Structure):
    """struct mallinfo2 of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")
        + ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    )


def level_of(device: torch.device) -> Level:
    """Return the best level that there is for `device`."""
    if device.type != "cpu":
        import torch

        allocated = torch.get_device_module(device).memory_allocated
        return Level(lambda: int(allocated(device)), f"{device.type.upper()} allocator", 512)  # its block size
    in_use = _malloc_level()
    if in_use is not None and _sees_tensors(in_use):
        return Level(in_use, "mallinfo2", 16)  # malloc's alignment
    return Level(_resident_level(), "resident set", mmap.PAGESIZE)


def _malloc_level() -> Callable[[], int] | None:
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return None
    mallinfo2.restype = _MallInfo2

    def in_use() -> int:
        info = mallinfo2()
        return int(info.uordblks + info.hblkhd)  # in the arenas, and in mappings of their own

    return in_use


def _sees_tensors(in_use: Callable[[], int]) -> bool:
    import torch

    before = in_use()
    block = torch.empty(PROBE_BYTES, dtype=torch.uint8)
    return in_use() - before >= block.nbytes


def _resident_level() -> Callable[[], int]:
    page = mmap.PAGESIZE
    statm = os.open("/proc/self/statm", os.O_RDONLY)

    def resident() -> int:
        return int(os.pread(statm, 256, 0).split()[1]) * page

    return resident
