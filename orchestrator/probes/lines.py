"""Which lines of Python change a level of memory: `sys.settrace` over some modules, and what each line did.

A trace function is called before each line, at each call and at each return. What the level has changed by since the
last of them belongs to the line that ran meanwhile, in the innermost traced function; what untraced functions (torch's)
do belongs to the line that called them. What runs outside the traced modules is counted as `OUTSIDE`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

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
