"""The result of a job that left none: what killed it, in which phase, with the end of its log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.batons import Pipes
from orchestrator.capacity import oom_kills
from orchestrator.execution.agenda import without_a_process
from orchestrator.execution.devices import CPU, Turn
from orchestrator.exits import cause
from orchestrator.records import (
    HARMLESS,
    INFRASTRUCTURE,
    OUT_OF_MEMORY,
    TIMEOUT,
    Failure,
    JobResult,
    JobSpec,
)
from orchestrator.store import SweepFolder, Unreadable

LOG_TAIL_BYTES = 4000


@dataclass
class Attempt:
    """One process of a job, while it runs.

    `began` is in seconds since the epoch; `clock` (the same moment) and `deadline` are on the monotonic clock, which
    nobody sets back.
    """

    job: JobSpec
    number: int
    turn: Turn
    began: float
    clock: float
    deadline: float
    log_start: int  # size of the log before this attempt, in bytes
    oom_kills: int  # what `oom_kills` said before
    slot: int = 0  # number of the slot that it runs on
    running: bool = False  # it has executed its first instruction
    beside: bool = False  # others ran meanwhile that take of the same memory or time
    pipes: Pipes | None = None  # of a job that takes turns with another
    killed: str = ""  # why the scheduler killed it: "timeout", "stopped", "hang" or ""


def result_of_death(
    store: SweepFolder, attempt: Attempt, code: int | None, message: str = "", left: Unreadable | None = None
) -> JobResult:
    """Return the result of a process that ended with exit code `code` (None: its server died) and wrote none.

    `left` is what is in the place of its result and cannot be read.
    """
    job = attempt.job
    log = _log_tail(store.log_file(job.id), attempt.log_start)
    status, message = _cause(attempt, code, message, log)
    if code == 0 and left is not None:  # it has written its result; a file of an earlier run says nothing of a crash
        status, message = INFRASTRUCTURE, f"its result was damaged before it was read: {left.reason}"
    phase = ""
    with contextlib.suppress(OSError):
        phase = store.phase_file(job.id).read_text().strip()
    if job.workload.parallel and attempt.killed == "timeout":
        stacks = _stacks(store.stacks(job.id))
        message += "; " + "; ".join(f"{rank} in {_place(stack)}" for rank, stack in stacks.items())
        log = "".join(f"{rank}:\n{stack}\n" for rank, stack in stacks.items()) + log
    elif job.workload.parallel and code is not None:
        message = f"rank 0: {message}"
    failure = Failure(kind=status, phase=phase, message=message, detail=log)
    return JobResult(
        job_id=job.id,
        status=status,
        failure=failure,
        started=attempt.began,
        ended=attempt.began + time.monotonic() - attempt.clock,
        attempt=attempt.number,
    )


def verdict_result(job: JobSpec) -> JobResult:
    """Return the result of a job whose outcome was known when it was planned."""
    assert job.verdict is not None
    return without_a_process(job, job.verdict.status, job.verdict.reason, "unsupported")


def may_be_chance(attempt: Attempt, code: int | None) -> bool:
    """Return whether a death may have nothing to do with the job: SIGKILL that neither we nor the kernel sent.

    A batch system's, a container's or a person's: the job is worth another attempt. A limit on memory that we cannot
    see kills it again.
    """
    return code == -signal.SIGKILL and not attempt.killed and oom_kills() == attempt.oom_kills


def may_be_neighbours(attempt: Attempt, status: str) -> bool:
    """Return whether a job may have failed because others ran beside it: they took its memory or its time.

    Where the kernel has killed for memory meanwhile it may have hit a process of the job's compiler, which says so in
    words of its own.
    """
    if not attempt.beside or status in HARMLESS:
        return False
    return status in (OUT_OF_MEMORY, TIMEOUT) or oom_kills() > attempt.oom_kills


def may_starve(attempt: Attempt, other: Attempt) -> bool:
    """Return whether another can be why an attempt fails for want of memory or time; a GPU of one's own has its own."""
    return attempt.slot == other.slot or attempt.job.workload.device == CPU


def _cause(attempt: Attempt, code: int | None, message: str, log: str) -> tuple[str, str]:
    """Return the status and the one-line reason. A status of death is also the kind of its failure."""
    if attempt.killed == "timeout":
        return TIMEOUT, f"no result after {attempt.job.timeout_s:g} s (timeout_s): killed"
    if attempt.killed == "stopped":  # by somebody else: that says nothing of the job
        return INFRASTRUCTURE, f"no result after {attempt.job.timeout_s:g} s: it was stopped (SIGSTOP, or a debugger)"
    if attempt.killed == "hang":
        return INFRASTRUCTURE, "the process did not begin to run: killed"
    if code is None:
        return INFRASTRUCTURE, message or "the worker server died"
    return cause(code, log, oom_killed=oom_kills() > attempt.oom_kills)


def _stacks(folder: Path) -> dict[str, str]:
    """Return "rank 0" -> the stack that each rank left when its time was up; "" of one that could not."""
    files = sorted(folder.glob("rank*.txt"), key=lambda file: int(file.stem.removeprefix("rank")))
    return {f"rank {file.stem.removeprefix('rank')}": file.read_text(errors="replace") for file in files}


def _place(stack: str) -> str:
    """Return the innermost line of a stack that faulthandler wrote: function and place."""
    found = re.search(r'File "(.*)", line (\d+) in (.*)', stack)
    return "what could not be told" if found is None else f"{found[3]} ({os.path.basename(found[1])}:{found[2]})"


def _log_tail(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
