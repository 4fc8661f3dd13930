"""Jobs inside a job: one after the other, each in a fresh process, by a fork server of this job's own.

What runs out of memory leaves an allocator, a CUDA context and half a model behind, which the next try must not find.
So a try is a job like those of a sweep (job.json, log.txt and result.json in a folder of its own), run by the server
that runs those (`orchestrator.worker.server`), which is met here, as everywhere, in files and processes only. It has
imported torch and the model's module, so a try starts in half a second instead of six.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.capacity import oom_kills
from orchestrator.exits import cause
from orchestrator.records import TIMEOUT, JobResult, JobSpec
from orchestrator.store import SweepFolder

CLOSING_S = 10.0
STARTING_S = 180.0  # for a process to begin: the server's imports on a busy machine
LOG_TAIL_BYTES = 4000


@dataclass(frozen=True)
class Seen:
    """What became of one try: a status of `orchestrator.records.STATUSES`, why, and its result if it left one."""

    status: str
    reason: str
    result: JobResult | None


class Tries:
    """The server, as a context manager: leaving it ends every process.

    `memory_limit` bounds the private memory of each try, in bytes (RLIMIT_DATA): what goes beyond it fails in the
    allocator, cleanly, instead of in the kernel's out-of-memory killer. `home` is where the command runs.
    """

    def __init__(self, folder: SweepFolder, memory_limit: int | None, timeout_s: float, home: Path) -> None:
        self._folder, self._memory_limit, self._timeout_s, self._home = folder, memory_limit, timeout_s, home
        self._pending = b""

    def __enter__(self) -> Tries:
        theirs, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        try:
            # In this job's process group: what kills the job kills the server, and that takes its workers along.
            self._server = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.worker.server"]
                + ["--requests", str(theirs), "--replies", str(replies)],
                stdin=subprocess.DEVNULL,
                cwd=self._home,
                pass_fds=(theirs, replies),
            )
        finally:
            os.close(theirs)
            os.close(replies)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._requests)
        try:
            self._server.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        os.close(self._replies)

    def run(self, job: JobSpec) -> Seen:
        """Run one job to its end. Raises RuntimeError when the server cannot start it, or is gone."""
        self._folder.write_job(job)
        self._folder.result_file(job.id).unlink(missing_ok=True)
        killed_before = oom_kills()
        code = self._run(job.id)
        result = self._folder.read_result(job.id)
        if isinstance(result, JobResult):
            return Seen(result.status, result.failure.message if result.failure else "", result)
        if code is None:
            return Seen(TIMEOUT, f"no result after {self._timeout_s:g} s (measure.options.try_timeout_s): killed", None)
        log = self._folder.log_file(job.id).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        status, reason = cause(code, log, oom_killed=oom_kills() > killed_before)
        return Seen(status, reason, None)

    def _run(self, job_id: str) -> int | None:
        """Return the exit code of the job's process, None when it was killed for its time-out."""
        request: dict[str, Any] = {
            "job": job_id,
            "folder": str(self._folder),
            "env": {},
            "log": str(self._folder.log_file(job_id)),
            "memory_limit": self._memory_limit,
            "cpus": [],  # this process's own, which its server inherits
        }
        with contextlib.suppress(BrokenPipeError):  # then there is no reply, which tells
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + STARTING_S
        pid: int | None = None
        running = timed_out = False
        while True:
            for reply in self._news(deadline):
                if reply["event"] == "started":
                    pid = int(reply["pid"])
                elif reply["event"] == "running":
                    running, deadline = True, time.monotonic() + self._timeout_s
                elif reply["event"] == "refused":
                    raise RuntimeError(f"no process could be started for {job_id}: {reply['message']}")
                elif reply["event"] == "exited":
                    return None if timed_out else int(reply["code"])
            if time.monotonic() >= deadline:
                if pid is None or not running or timed_out:
                    raise RuntimeError(f"{job_id}: its process did not {'end' if timed_out else 'begin to run'}")
                timed_out, deadline = True, time.monotonic() + CLOSING_S
                os.killpg(pid, signal.SIGKILL)

    def _news(self, deadline: float) -> list[dict[str, Any]]:
        """Return the server's replies, waiting for them until `deadline`; none when there were none."""
        ready, _, _ = select.select([self._replies], [], [], max(deadline - time.monotonic(), 0.0))
        if not ready:
            return []
        data = os.read(self._replies, 1 << 16)
        if not data:
            raise RuntimeError(
                f"the server of the tries ended with exit code {self._server.wait()} (see the job's log)"
            )
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [json.loads(line) for line in lines]
