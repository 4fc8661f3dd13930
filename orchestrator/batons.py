"""Two jobs that take turns: each runs a tenth of a second while the other waits, so what the machine does hits both.

Each has a pipe (fifo(7)), from which it reads when it is its turn: a line with the process id of the other and the CPU
that it ran on, or `ALONE` from the scheduler. Both import at the same time, while nothing is timed; the first begins
when the second is ready. A turn ends only before a step that is timed, so no step is cut. Once both are warm, the
second goes on where the first has just run: CPUs are not alike, least of all virtual ones, whose cores others use, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "ORCHESTRATOR_BATON"
"""Environment variable of a job that takes turns: its own pipe; the other's lies beside it."""
SLICE_S = 0.1
"""Short beside changes of a machine's speed (seconds), long beside what a process needs until its caches are warm."""
ALONE, DONE = "alone", "done"
FIRST, SECOND = "0", "1"
"""Names of the pipes."""


class Pipes:
    """The scheduler's side: both pipes, held open until both jobs have ended. Raises OSError where there can be none.

    folder: of the pipes alone, which exists; jobs: their ids, the one that begins first.
    """

    def __init__(self, folder: Path, jobs: tuple[str, str]) -> None:
        self.folder = folder
        self._files = {job: folder / name for job, name in zip(jobs, (FIRST, SECOND), strict=True)}
        self._open: dict[str, int] = {}
        try:
            for job, file in self._files.items():
                os.mkfifo(file, 0o600)
                self._open[job] = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            while self._open:
                os.close(self._open.popitem()[1])
            raise

    def environment(self, job: str) -> dict[str, str]:
        """Return the variable by which a job finds its pipe."""
        return {VARIABLE: str(self._files[job])}

    def ended(self, job: str) -> bool:
        """Tell the other job that it is alone, once this one's process is gone; return whether both have ended."""
        with contextlib.suppress(KeyError):
            os.close(self._open.pop(job))
        for pipe in self._open.values():
            os.write(pipe, f"{ALONE}\n".encode())
        return not self._open


class Baton:
    """A job's side: `begin` before anything is measured, `take` before each step that is timed, `leave` at the end.

    partners: the process id of the other, once it has given the baton; waits: (when one ended, how long it was), in
    seconds of `time.perf_counter`.
    """

    def __init__(self, pipe: Path) -> None:
        self._pipe, self._is_first = os.open(pipe, os.O_RDWR | os.O_CLOEXEC), pipe.name == FIRST
        self._other: int | None = None
        with contextlib.suppress(OSError):  # it is gone, and its pipe with it
            self._other = os.open(pipe.with_name(SECOND if self._is_first else FIRST), os.O_WRONLY | os.O_NONBLOCK)
        self.partners: list[int] = []
        self.waits: list[tuple[float, float]] = []
        self._alone = self._other is None
        self._follows = False
        self._until = 0.0

    @classmethod
    def of_environment(cls) -> Baton | None:
        """Return the baton of this job, None of one that takes no turns."""
        pipe = os.environ.pop(VARIABLE, "")
        return cls(Path(pipe)) if pipe else None

    def begin(self) -> None:
        """Return when both are ready, and it is this process's turn."""
        if not self._alone:
            if not self._is_first:
                self._give()
            self._wait()

    def take(self) -> None:
        """Return at once, or, where this turn is over, when the next has come."""
        if not self._alone and time.perf_counter() >= self._until:
            self._give()
            self._wait()

    def follow(self) -> None:
        """Run from the next turn on where the first has run in its own, if this is the second; of one thread each."""
        self._follows = not self._is_first

    def leave(self) -> None:
        """Let the other go on to its end, and stay until then: it counts what this process uses as its own."""
        if not self._alone:
            self._give(DONE)
            self._wait()

    def facts(self) -> dict[str, Any]:
        """Return {"count", "waited_s"}: how many turns it had, and the seconds in which the other had its own."""
        return {"count": len(self.waits), "waited_s": sum(seconds for _, seconds in self.waits)}

    def waited(self, since: float) -> float:
        """Return the seconds that were waited since a moment of `time.perf_counter`."""
        seconds = 0.0
        for end, wait in reversed(self.waits):
            if end <= since:
                break
            seconds += wait
        return seconds

    def _give(self, how: str = "") -> None:
        assert self._other is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, and the scheduler says so
            os.write(self._other, f"{os.getpid()} {_cpu()} {how}\n".encode())

    def _wait(self) -> None:
        before = time.perf_counter()
        for line in os.read(self._pipe, 4096).decode().splitlines():
            if line == ALONE:
                self._alone = True
                continue
            who, cpu, how = line.split(" ")
            self._alone |= how == DONE
            if not self.partners:
                self.partners.append(int(who))
            if self._follows and int(cpu) >= 0:
                with contextlib.suppress(OSError):  # somebody has taken that CPU from this process meanwhile
                    os.sched_setaffinity(0, {int(cpu)})
        now = time.perf_counter()
        self.waits.append((now, now - before))
        self._until = now + SLICE_S


def _cpu() -> int:
    """Return the number of the CPU that this thread runs on, -1 where the system does not tell."""
    ask = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return -1 if ask is None else int(ask())
