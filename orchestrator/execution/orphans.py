"""Processes that nobody owns any more: found by a mark in their environment, and killed.

A worker server ends all that its workers started. When it is killed itself (SIGKILL) nobody is left that is the parent
of a process that had made itself a session: a compiler's daemon, a process that somebody had stopped. All of them
have inherited the server's environment, and with it `MARK`, which names the sweep folder and the server.
"""

from __future__ import annotations

import contextlib
import os
import uuid

import psutil

MARK = "ORCHESTRATOR_SERVER"
GONE_S = 5.0  # for killed processes to be gone


def of_run(folder: str, shard: int, of: int) -> str:
    """Return what the marks of all servers of a shard begin with; when it is the only one, of the folder."""
    place = os.path.realpath(folder)
    return f"{place}:" if of == 1 else f"{place}:{shard}/{of}:"


def own(run: str, launcher: str) -> str:
    """Return the mark of one server. Always as long: the length of the environment moves a program's stack."""
    return f"{run}{launcher:.4}:{uuid.uuid4().hex[:12]}"


def kill(mark: str) -> list[str]:
    """Kill all processes whose mark begins with `mark`, this one excepted; return their command lines.

    Processes of others, whose environment cannot be read, are not ours.
    """
    found = [process for process in psutil.process_iter() if process.pid != os.getpid() and _has(process, mark)]
    killed = [_command(process) for process in found]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, GONE_S)
    return killed


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK, "").startswith(mark))
    except (psutil.Error, OSError):
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
