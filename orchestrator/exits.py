"""Why a process ended without a result: one list of causes, for the jobs of a sweep and for the tries of a job."""

from __future__ import annotations

import os
import signal

from orchestrator.errors import says_out_of_memory
from orchestrator.records import CRASH, INFRASTRUCTURE, OUT_OF_MEMORY

SENT = {-number: number.name for number in signal.Signals if number.name in ("SIGTERM", "SIGHUP", "SIGINT")}
SENT[128 + signal.SIGINT] = "SIGINT"
"""Exit codes after signals by which people and batch systems end processes; nothing that is measured sends them."""


def cause(code: int, log: str, *, oom_killed: bool) -> tuple[str, str]:
    """Return the status and the one-line reason of an exit code, by the end of the log.

    `oom_killed`: whether the kernel's out-of-memory killer has acted meanwhile.
    """
    if code == -signal.SIGKILL and oom_killed:
        return OUT_OF_MEMORY, "killed by the kernel's out-of-memory killer"
    if code in SENT:
        return INFRASTRUCTURE, f"ended by {SENT[code]}, which somebody sent"
    if says_out_of_memory(log):
        return OUT_OF_MEMORY, f"ended with {exit_words(code)} after memory could not be allocated (see its log)"
    if code == os.EX_TEMPFAIL:  # `orchestrator.worker.process`: what was raised is not the job's fault
        return INFRASTRUCTURE, log.rstrip().rpartition("\n")[2] or "the worker could not write its result"
    if code < 0:
        return CRASH, f"killed by {exit_words(code)}"
    return CRASH, f"ended with {exit_words(code)} and no result"


def exit_words(code: int) -> str:
    """Return an exit code in words: "exit code 3" or "SIGSEGV"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
