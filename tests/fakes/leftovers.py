"""Which processes of a test are still alive: those that were started with its mark in their environment."""

from __future__ import annotations

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
