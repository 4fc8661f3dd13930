"""The processes of a job that is several ranks: started, watched, and ended as one.

Rank 0 is the job's own process, forks the others and watches them. They are in its process group, and die with it: who
kills the job kills all of them. The first rank that fails, by an error or by dying, is the job's failure, and ends the
others at once: what they say of a lost connection is its consequence. A rank that hangs lets the others wait for it
until the job's time is up; each then writes where it is (SIGUSR1), into a file of its own that the scheduler reads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from orchestrator.capacity import oom_kills
from orchestrator.exits import cause
from orchestrator.files import write_json
from orchestrator.plugins import Unsupported
from orchestrator.records import UNSUPPORTED, Failure, JobSpec
from orchestrator.store import SweepFolder
from orchestrator.typed_json import from_json, to_json
from orchestrator.worker.process import die_with_parent

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.group import Group

GRACE_S = 5.0
"""So long a lost connection waits for the rank that was lost."""
CONSEQUENCE = re.compile(r"gloo|nccl|connection (was )?(closed|reset)|\bElsewhere\b", re.IGNORECASE)
"""What an error of a rank says where another one is gone."""


@dataclass(frozen=True)
class Failed:
    """Why a rank failed."""

    rank: int
    status: str
    failure: Failure

    @property
    def is_consequence(self) -> bool:
        return CONSEQUENCE.search(self.failure.message) is not None


class Crew:
    """All ranks of one job, in each of them. `rank` is this process's own.

    write: makes the job's result of a status and a failure; called in rank 0 only.
    """

    def __init__(self, job: JobSpec, store: SweepFolder, write: Callable[[str, Failure | None], None]) -> None:
        self.job, self.rank, self.size = job, 0, job.workload.ranks
        self.pids: list[int] = []
        self._folder = Path(tempfile.mkdtemp(prefix="ranks"))
        self.meeting = str(self._folder / "meeting")
        self._stacks = store.stacks(job.id)
        self._phase = store.phase_file(job.id)
        self._write = write
        self._failed: list[Failed] = []
        self._news = threading.Condition()
        self._ended: set[int] = set()
        self._oom_kills = oom_kills()

    def start(self) -> None:
        """Fork the other ranks. Returns in each of them; call it before anything has started a thread."""
        shutil.rmtree(self._stacks, ignore_errors=True)
        self._stacks.mkdir(parents=True)
        parent = os.getpid()
        for rank in range(1, self.size):
            pid = os.fork()
            if pid == 0:
                die_with_parent(signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)
                self.rank, self.pids = rank, []
                self._tell_stacks()
                return
            self.pids.append(pid)
        self._tell_stacks()
        for rank, pid in enumerate(self.pids, 1):
            threading.Thread(target=self._watch, args=(rank, pid), daemon=True).start()
        threading.Thread(target=self._judge, daemon=True).start()

    @property
    def phase_file(self) -> Path:
        """Where this rank says what it is doing."""
        return self._folder / f"phase.{self.rank}" if self.rank else self._phase

    def fail(self, status: str, failure: Failure) -> NoReturn:
        """End this rank, and with it the job: `failure` is its own, or another's whose consequence it is."""
        if self.rank:
            write_json(self._report(self.rank), {"status": status, "failure": to_json(failure)})
            os._exit(1)
        self._heard(Failed(0, status, failure))
        while True:  # the judge ends this process
            time.sleep(GRACE_S)

    def end(self) -> None:
        """This rank is done. Rank 0 returns when all are; another's process ends."""
        if self.rank:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        with self._news:
            while len(self._ended) < len(self.pids):
                self._news.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._stacks, ignore_errors=True)

    def _watch(self, rank: int, pid: int) -> None:
        """Wait for a rank's end, and say why it was one that it should not have."""
        _, status = os.waitpid(pid, 0)
        if status == 0:
            with self._news:
                self._ended.add(rank)
                self._news.notify_all()
            return
        self._heard(self._why(rank, os.waitstatus_to_exitcode(status)))

    def _why(self, rank: int, code: int) -> Failed:
        try:
            told = json.loads(self._report(rank).read_text())
            return Failed(rank, told["status"], from_json(Failure, told["failure"]))
        except FileNotFoundError:
            status, message = cause(code, "", oom_killed=oom_kills() > self._oom_kills)
        phase = ""
        if (file := self._folder / f"phase.{rank}").exists():
            phase = file.read_text()
        return Failed(rank, status, Failure(kind=status, phase=phase, message=message))

    def _heard(self, failed: Failed) -> None:
        with self._news:
            self._failed.append(failed)
            self._news.notify_all()

    def _judge(self) -> None:
        """Wait for the first failure that is no consequence of another; write the result, end all."""
        with self._news:
            while not self._failed:
                self._news.wait()
            until = time.monotonic() + GRACE_S
            while all(one.is_consequence for one in self._failed) and (left := until - time.monotonic()) > 0:
                self._news.wait(left)
            first = next((one for one in self._failed if not one.is_consequence), self._failed[0])
        for pid in self.pids:
            _kill(pid)
        for folder in (self._folder, self._stacks):
            shutil.rmtree(folder, ignore_errors=True)
        failure = first.failure
        if first.status != UNSUPPORTED:  # that is so of all
            failure = replace(failure, message=f"rank {first.rank}: {failure.message}")
        self._write(first.status, failure)
        os._exit(0)

    def _report(self, rank: int) -> Path:
        return self._folder / f"failure.{rank}.json"

    def _tell_stacks(self) -> None:
        """Let SIGUSR1 leave this rank's stack in its file; rank 0 passes the signal on to the others."""
        self._stack = (self._stacks / f"rank{self.rank}.txt").open("w")  # faulthandler keeps its descriptor only
        faulthandler.unregister(signal.SIGUSR1)  # of the one that `process.perform` has, whose handler knows no other
        if self.rank == 0:
            woken, alarm = os.pipe()
            os.set_blocking(alarm, False)
            signal.signal(signal.SIGUSR1, lambda *_: None)
            signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
            threading.Thread(target=self._pass_on, args=(woken,), daemon=True).start()
        faulthandler.register(signal.SIGUSR1, file=self._stack, all_threads=False, chain=self.rank == 0)

    def _pass_on(self, woken: int) -> None:
        while sent := os.read(woken, 1):
            for pid in self.pids if sent[0] == signal.SIGUSR1 else ():
                os.kill(pid, signal.SIGUSR1)


def of_rank(job: JobSpec, rank: int) -> JobSpec:
    """Return the job as another rank than 0 has it: on CUDA it runs on the device so many after the job's.

    Outputs that are kept, and compared with those of other sweeps, are rank 0's.
    """
    kind, _, index = job.workload.device.partition(":")
    device = kind if kind == "cpu" else f"{kind}:{int(index or 0) + rank}"
    return replace(job, workload=replace(job.workload, device=device), keep_outputs=False, compare_outputs=None)


def joined(crew: Crew | None, mode: Any, device: torch.device) -> Group:
    """Return the group of this process. Raises Unsupported where torch or the machine has not what its ranks need."""
    import torch
    import torch.distributed as dist

    from orchestrator.measures.group import Group
    from orchestrator.measures.parallelism import parallelism
    from orchestrator.measures.ranks import Ranks

    if crew is None or (kind := crew.job.workload.parallel) is None:
        return Group()
    if not (dist.is_available() and dist.is_gloo_available()):
        raise Unsupported("this torch was built without gloo, by which ranks find each other: parallel=none")
    if device.type == "cuda" and not dist.is_nccl_available():
        raise Unsupported("this torch was built without NCCL: parallel=none, or device=cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Unsupported(f"there is no {device}, which rank {crew.rank} of {crew.size} runs on: fewer ranks")
    unused = bool(getattr(mode, "find_unused_parameters", False))
    how = parallelism(kind, training=mode.training, unused=unused)
    return Ranks(crew.rank, crew.size, how, device, crew.meeting, crew.job.timeout_s)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
