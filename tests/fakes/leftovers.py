"""Which processes of a test are still alive: those that were started with its mark in their environment."""

from __future__ import annotations

import time

import psutil

MARK = "ORCHESTRATOR_TEST_MARK"


def marked(value: str) -> list[str]:
    """Return the command lines of living processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def left(value: str, name: str = "", within: float = 5.0) -> list[str]:
    """Return those of `marked` with `name` in their command line that are still there after `within` seconds."""
    end = time.monotonic() + within
    while (found := [line for line in marked(value) if name in line]) and time.monotonic() < end:
        time.sleep(0.02)
    return found
