"""Which lines of Python change a level of memory: `sys.settrace` over some modules, and what each line did.

A trace function is called before each line, at each call and at each return. What the level has changed by since the
last of them belongs to the line that ran meanwhile, in the innermost traced function; what untraced functions (torch's)
do belongs to the line that called them. What runs outside the traced modules is counted as `OUTSIDE`.

The level is how many bytes are allocated now: read between two lines of Python, so it must be exact and cheap.
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
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PROBE_BYTES = 2**20
Line = tuple[CodeType | None, int]
OUTSIDE: Line = (None, 0)


@dataclass(frozen=True)
class ExecutedLine:
    """One executed line, or the part of it before, between or after the traced functions that it calls, in order.

    `difference` is what it changed the level by, `level` the level after it, both in bytes.
    """

    file: str | None  # None: outside the traced modules
    line: int
    starts: bool  # the first part of an execution
    difference: int
    level: int


class LineTracer:
    """Traces what `run` calls, in this thread, as often as it is called; only the last call is kept.

    So the first call pays for the tables of this class, and the second finds them made: what it sees is the code's own.
    `modules` are names of modules or packages; `read` returns the level in bytes.
    """

    def __init__(self, modules: Iterable[str], read: Callable[[], int]) -> None:
        self._modules = tuple(modules)
        self._read = read
        self._lines: dict[Line, int] = {OUTSIDE: 0}
        self._wanted: dict[str, bool] = {}
        self._stack: list[int] = [0]
        self._starts = 0  # 1 until the first account of a line that has begun
        self._sequence = array("q")  # 2 * number of the line + whether it starts, difference, level; and so on
        self._length = 0
        self._last = 0

    def run(self, function: Callable[[], Any]) -> Any:
        """Call `function` and return what it returns. The trace function that was there is there again afterwards."""
        self._stack = [0]
        self._length = 0
        before = sys.gettrace()
        self._last = self._read()
        sys.settrace(self._call)
        try:
            return function()
        finally:
            sys.settrace(before)
            self._account()

    def steps(self) -> Iterator[ExecutedLine]:
        """Yield what was seen, in order, outside included; a line that calls a traced one is there in parts."""
        lines = list(self._lines)
        for place in range(0, self._length, 3):
            entry, difference, level = self._sequence[place : place + 3]
            code, line = lines[entry >> 1]
            yield ExecutedLine(None if code is None else code.co_filename, line, bool(entry & 1), difference, level)

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        name = frame.f_globals.get("__name__", "")
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = any(name == m or name.startswith(f"{m}.") for m in self._modules)
        if not wanted:
            return None
        self._account()
        self._stack.append(self._stack[-1])  # until its first line, the function's frame belongs to the calling line
        return self._local

    def _local(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "line":
            self._account()
            self._stack[-1] = self._number((frame.f_code, frame.f_lineno))
            self._starts = 1
        elif event == "return":  # an exception that leaves the function is one too
            self._account()
            self._stack.pop()
        return self._local

    def _number(self, line: Line) -> int:
        number = self._lines.get(line)
        if number is None:
            number = self._lines[line] = len(self._lines)
        return number

    def _account(self) -> None:
        """Give the line that ran what the level has changed by; what this itself allocates is no one's."""
        level = self._read()
        place = self._length
        if place == len(self._sequence):
            self._sequence.extend((0,) * 3072)
        self._sequence[place] = self._stack[-1] << 1 | self._starts
        self._starts = 0
        self._sequence[place + 1] = level - self._last
        self._sequence[place + 2] = level
        self._length = place + 3
        self._last = self._read()


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
