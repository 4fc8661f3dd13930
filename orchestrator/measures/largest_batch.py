"""The largest batch size that fits: doubled until one does not, then bisected, each try in a fresh process.

A larger batch is taken to need more memory. A try that fails for another reason ends the search with that reason: it
says nothing about what fits.

What runs out of memory leaves an allocator, a CUDA context and half a model behind, which the next try must not find.
So a try is a job like those of a sweep (job.json, log.txt and result.json in a folder of its own), run by a fork server
of this job's own (`orchestrator.worker.server`), which is met here, as everywhere, in files and processes only. It has
imported torch and the model's module, so a try starts in half a second instead of six.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from orchestrator import columns, precision
from orchestrator.capacity import available_memory, oom_kills
from orchestrator.columns import TableSpec
from orchestrator.exits import cause
from orchestrator.measures.context import Context
from orchestrator.measures.eager import ARTIFACTS
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes.gpu import free_memory
from orchestrator.records import OBSERVED, OUT_OF_MEMORY, PASS, TIMEOUT, JobResult, JobSpec, PluginSpec
from orchestrator.store import SweepFolder

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import resource

ONE_STEP = "orchestrator.measures.one_step.OneStep"
GIB = 2**30
SHARE_OF_AVAILABLE = 0.9  # the rest of the machine goes on while we try, and its page cache with it
CLOSING_S = 10.0
STARTING_S = 180.0  # for a process to begin: the server's imports on a busy machine
LOG_TAIL_BYTES = 4000


@dataclass(frozen=True)
class LargestBatch:
    """start: the first size that is tried; None: the workload's. upper: no size above it is tried.

    precision: the search ends when the gap is no larger than this share of the size that fits; 0: at the exact size.
    memory_gib: the budget; None: `execution.memory_limit_gib`, else 90 % of what is available when the job starts, on
    CUDA all that is free on the device. On the CPU it bounds what the process may map for itself (RLIMIT_DATA), the
    interpreter's 0.3 to 0.5 GiB included; on CUDA, what torch's allocator takes. steps: steps of each try.
    try_timeout_s: seconds for one try.
    """

    kind: ClassVar[str] = OBSERVED
    cost_factor: ClassVar[float] = 12.0  # doublings to some hundred, and as many halvings; each compiles
    works_in_children: ClassVar[bool] = True  # a context of this process's own would take memory from the tries
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "largest_batch": TableSpec(
            (
                columns.count(
                    "largest_batch_size", "the largest batch size that fits into the memory budget", "higher"
                ),
                columns.count(
                    "too_large_batch_size",
                    "the smallest that was tried and does not fit; none where the upper bound fits",
                ),
                columns.text("bounded_by", "memory; or the option that ended the search, and more may fit"),
                columns.count("tries", "batch sizes that were tried, each in a fresh process"),
                columns.memory(
                    "memory_at_largest_mib", "peak of the process at the largest batch size (on CUDA: of the allocator)"
                ),
                columns.memory(
                    "memory_budget_mib", "what a try could have (on the CPU RLIMIT_DATA, on CUDA the allocator)"
                ),
                columns.text("memory_budget_source", "where the budget is from"),
                columns.text(
                    "too_large_because", "what the allocator said at the smallest batch size that does not fit"
                ),
            )
        ),
    }

    start: int | None = None
    upper: int = 1024
    precision: float = 0.0
    memory_gib: float | None = None
    steps: int = 2
    try_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        at_least_1(self, "start", "upper", "steps")
        for name in ("memory_gib", "try_timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value}: it must be more than 0")
        if not 0 <= self.precision < 1:
            raise ValueError(f"precision={self.precision}: it must be at least 0 and less than 1")

    def run(self, context: Context) -> Outcome:
        """Leave one row: the largest size that fits, the smallest that does not, and the peak memory at the largest.

        The tries are jobs in artifacts/tries. Not even one sample fitting is a failure, out_of_memory.
        """
        if context.device.type not in ("cpu", "cuda"):
            raise Unsupported(f"how much memory a try may take is known on cpu and cuda, not on {context.device}")
        budget, source = self._budget(context)
        on_cuda = context.device.type == "cuda"
        seen: dict[int, Seen] = {}
        with context.phase("tries"):
            folder = SweepFolder(context.folder / ARTIFACTS / "tries")
            with Tries(folder, None if on_cuda else budget, self.try_timeout_s, context.home) as tries:

                def fits(size: int) -> bool:
                    tried = seen[size] = tries.run(self._job(context.job, size, budget if on_cuda else None))
                    context.facts["tries"] = [_record(*one) for one in seen.items()]
                    if tried.status not in (PASS, OUT_OF_MEMORY):
                        raise _NeitherNorError(tried.status, f"at batch size {size}: {tried.reason or tried.status}")
                    return tried.status == PASS

                try:
                    found = search(fits, self.start or context.workload.batch_size or 1, self.upper, self.precision)
                except _NeitherNorError as error:
                    return Outcome(*error.args)
        return self._leave(context, found, seen, budget, source)

    def _leave(
        self, context: Context, found: tuple[int, int | None], seen: dict[int, Seen], budget: int, source: str
    ) -> Outcome:
        largest, too_large = found
        why = seen[too_large].reason if too_large is not None else None
        result = seen[largest].result if largest else None
        context.find(
            "largest_batch",
            largest_batch_size=largest or None,
            too_large_batch_size=too_large,
            bounded_by="memory" if too_large is not None else "measure.options.upper",
            tries=len(seen),
            memory_at_largest_bytes=None if result is None else result.facts.get("peak_bytes"),
            memory_budget_bytes=budget,
            memory_budget_source=source,
            too_large_because=why,
        )
        if not largest:
            return Outcome(OUT_OF_MEMORY, f"not even batch size 1 fits into {budget / GIB:.2f} GiB ({source}): {why}")
        return Outcome(PASS)

    def _budget(self, context: Context) -> tuple[int, str]:
        """Return bytes, and where they are from."""
        asked = None if self.memory_gib is None else (int(self.memory_gib * GIB), "measure.options.memory_gib")
        if context.device.type == "cuda":
            return asked or (_free_on_device(context), "the device's free memory")
        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if limit != resource.RLIM_INFINITY and (asked is None or limit < asked[0]):
            return limit, "execution.memory_limit_gib"  # a child cannot have more than this process
        share = int(available_memory() * SHARE_OF_AVAILABLE)
        return asked or (share, f"{SHARE_OF_AVAILABLE:.0%} of what was available")

    def _job(self, job: JobSpec, size: int, device_bytes: int | None) -> JobSpec:
        options = {"steps": self.steps, "device_bytes": device_bytes}
        return dataclasses.replace(
            job,
            id=f"{size:08d}",  # digits only: it names a folder
            workload=dataclasses.replace(job.workload, batch_size=size),
            measure=PluginSpec(name="one_step", target=ONE_STEP, options=options),
            needs=(),
        )


def _free_on_device(context: Context) -> int:
    """Return the free bytes; where NVML cannot say, at the price of a context in this process."""
    free = free_memory(context.workload.device)
    if free is None:
        import torch

        precision.check(context.workload)
        free = int(torch.cuda.mem_get_info(context.device)[0])
    return free


class _NeitherNorError(Exception):
    """A try that failed, and not for memory: status and reason of the search."""


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


def search(fits: Callable[[int], bool], start: int, upper: int, precision: float) -> tuple[int, int | None]:
    """Return (the largest size that fits, the smallest that was tried and does not).

    0 when 1 does not fit, None when `upper` does. `fits` is called once for a size, with sizes of 1 to `upper`.
    """
    low, high = 0, None
    size = min(start, upper)
    while high is None and low < upper:
        if fits(size):
            low, size = size, min(2 * size, upper)
        else:
            high = size
    while high is not None and high - low > max(1, precision * low):
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low, high


def _record(size: int, seen: Seen) -> dict[str, Any]:
    peak = None if seen.result is None else seen.result.facts.get("peak_bytes")
    seconds = None if seen.result is None else seen.result.ended - seen.result.started
    return {"batch_size": size, "status": seen.status, "reason": seen.reason, "peak_bytes": peak, "seconds": seconds}
