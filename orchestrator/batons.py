"""Two jobs that take turns: each runs a tenth of a second while the other waits, so what the machine does hits both.

Each has a pipe (fifo(7)), from which it reads when it is its turn. A line in it is who says so: the process id of the
other, `BEGIN` or `ALONE` from the scheduler. A turn ends only before a step that is timed, so no step is cut.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "ORCHESTRATOR_BATON"
"""Environment variable of a job that takes turns: its own pipe; the other's lies beside it."""
SLICE_S = 0.1
"""Short beside changes of a machine's speed (seconds), long beside what a process needs until its caches are warm."""
BEGIN, ALONE, DONE = "0", "-1", "done"


class Pipes:
    """The scheduler's side: both pipes, held open until both jobs have ended. Raises OSError where there can be none.

    folder: of the pipes alone, which exists; jobs: their ids, the one that begins first.
    """

    def __init__(self, folder: Path, jobs: tuple[str, str]) -> None:
        self.folder, self._files = folder, {job: folder / str(number) for number, job in enumerate(jobs)}
        self._open: dict[str, int] = {}
        try:
            for job, file in self._files.items():
                os.mkfifo(file, 0o600)
                self._open[job] = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.close()
            raise
        self._say(jobs[0], BEGIN)

    def environment(self, job: str) -> dict[str, str]:
        """Return the variable by which a job finds its pipe."""
        return {VARIABLE: str(self._files[job])}

    def ended(self, job: str) -> bool:
        """Tell the other job that it is alone, once this one's process is gone; return whether both have ended."""
        with contextlib.suppress(KeyError):
            os.close(self._open.pop(job))
        for other in self._open:
            self._say(other, ALONE)
        return not self._open

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def _say(self, job: str, what: str) -> None:
        os.write(self._open[job], f"{what}\n".encode())


class Baton:
    """A job's side: `take` before each step that is timed, `leave` at the end.

    partners: the process id of the other, once it has given the baton; waits: (when one ended, how long it was), in
    seconds of `time.perf_counter`.
    """

    def __init__(self, pipe: Path) -> None:
        self._pipe = os.open(pipe, os.O_RDWR | os.O_CLOEXEC)
        self._other: int | None = None
        with contextlib.suppress(OSError):  # it is gone, and its pipe with it
            self._other = os.open(pipe.with_name("1" if pipe.name == "0" else "0"), os.O_WRONLY | os.O_NONBLOCK)
        self.partners: list[int] = []
        self.waits: list[tuple[float, float]] = []
        self._alone = self._other is None
        self._until = 0.0

    @classmethod
    def of_environment(cls) -> Baton | None:
        """Return the baton of this job, None of one that takes no turns."""
        pipe = os.environ.pop(VARIABLE, "")
        return cls(Path(pipe)) if pipe else None

    def wait(self) -> None:
        """Return when it is this process's turn."""
        if self._alone:
            return
        before = time.perf_counter()
        for line in os.read(self._pipe, 4096).decode().splitlines():
            who, _, how = line.partition(" ")
            self._alone |= who == ALONE or how == DONE
            if who not in (BEGIN, ALONE) and not self.partners:
                self.partners.append(int(who))
        now = time.perf_counter()
        self.waits.append((now, now - before))
        self._until = now + SLICE_S

    def take(self) -> None:
        """Return at once, or, where this turn is over, when the next has come."""
        if not self._alone and time.perf_counter() >= self._until:
            self._give(str(os.getpid()))
            self.wait()

    def leave(self) -> None:
        """Let the other go on to its end, and stay until then: it counts what this process uses as its own."""
        if not self._alone:
            self._give(f"{os.getpid()} {DONE}")
            self.wait()

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

    def _give(self, line: str) -> None:
        assert self._other is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, and the scheduler says so
            os.write(self._other, f"{line}\n".encode())
