"""What a fault has hit, and how an injector waits for something to hit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from chaos.sweeps import ChaosSweep

PATIENCE_S = 30.0  # for a process of the wanted kind to be there
ENDED_S = 30.0  # for an orchestrator that is told to end: it still makes its tables
T = TypeVar("T")


@dataclass(frozen=True)
class Hit:
    """jobs: those whose row may show it, or that run again; corrupted: those whose result file it has damaged.

    signals: what was sent to commands, which may end of it.
    """

    jobs: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()
    words: str = ""
    signals: tuple[int, ...] = ()


def awaited(sweep: ChaosSweep, find: Callable[[], T]) -> T | None:
    """Return what `find` finds as soon as that is anything; None when the run has ended, or nothing came in time.

    By looking again and again: a process, a file and a lock of somebody else's tell nobody when they come.
    """
    end = time.monotonic() + PATIENCE_S
    while sweep.run.alive and time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.01)
    return None
