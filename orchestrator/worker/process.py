"""What makes a process a worker, whichever way it was started: own session, log, memory limit, a death that is seen.

`isolate` runs in the new process right after the fork; `perform` runs the job in it and ends it. Both launchers use
both, so a job finds the same process under either.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

Entry = Callable[[str, str], None]
"""Runs one job: `entry(sweep folder, job id)`. Turns the job's own exceptions into a result."""

EXIT_INFRASTRUCTURE = os.EX_TEMPFAIL
"""Exit code that says: not the job's fault (what escapes `run_job`: disk full, unreadable job, ...)."""

BY_EXEC = "ORCHESTRATOR_BY_EXEC"
"""Variable of a worker that was asked for as a fork and is a new interpreter: why."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_SYSTEM = ctypes.CDLL(None, use_errno=True)


def isolate(parent: int, log: str, memory_limit: int | None, cpus: Sequence[int] = ()) -> None:
    """Cut this new process loose from `parent` (a pid), except that it dies with it.

    Own session and process group, stdin empty, stdout and stderr appended to the file `log`, default signal handlers,
    first in line for the kernel's out-of-memory killer, at most `memory_limit` bytes of private memory,
    and what it starts on the CPUs `cpus` only, if there are any.
    """
    os.setsid()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(EXIT_INFRASTRUCTURE)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _redirect(os.devnull, os.O_RDONLY, 0)
    _redirect(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 1)
    os.dup2(1, 2)
    with contextlib.suppress(OSError):  # no /proc, or one that may not be written
        Path("/proc/self/oom_score_adj").write_text("1000")
    if memory_limit is not None:
        # RLIMIT_DATA counts private writable memory, mapped or not yet touched; RLIMIT_AS would count mapped files too.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
    if cpus:
        os.sched_setaffinity(0, cpus)


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process `number` when its parent ends (Linux only)."""
    _prctl(PR_SET_PDEATHSIG, number)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that it can end and reap them (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def announce(replies: int, job_id: str) -> None:
    """Tell the orchestrator that the worker runs, and close the pipe: the job must not hold it."""
    os.write(replies, json.dumps({"event": "running", "job": job_id}).encode() + b"\n")
    os.close(replies)


def load_entry(name: str) -> Entry:
    """Return the function that "module:function" names."""
    module, _, function = name.partition(":")
    entry: Entry = getattr(importlib.import_module(module), function)
    return entry


def perform(entry: str, folder: str, job_id: str) -> NoReturn:
    """Run the job with the function that `entry` names, then end the process.

    At once: the interpreter's own teardown takes a second with torch loaded.
    """
    # A crash, or SIGUSR1 (sent before a job is killed for its time-out), leaves the Python stacks in the log.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    code = EXIT_INFRASTRUCTURE
    try:
        code = _outcome(entry, folder, job_id)
        with contextlib.suppress(OSError):  # the log's disk is full: the result, if there is one, stands
            sys.stdout.flush()
            sys.stderr.flush()
    finally:  # no memory, no disk: whatever happens, a fork must not go on with the server's code
        os._exit(code)


def _outcome(entry: str, folder: str, job_id: str) -> int:
    """Run the job; return the process's exit code."""
    try:
        load_entry(entry)(folder, job_id)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:  # noqa: BLE001 - the process border
        with contextlib.suppress(OSError):  # the log's disk is full
            traceback.print_exc()
        return EXIT_INFRASTRUCTURE
    return 0


def _redirect(path: str, flags: int, target: int) -> None:
    descriptor = os.open(path, flags, 0o644)
    if descriptor != target:
        os.dup2(descriptor, target)
        os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and _SYSTEM.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
