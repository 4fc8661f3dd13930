"""The parent of all workers: starts each job in a fresh process, reports its end, leaves no process behind.

    python -m orchestrator.worker.server --requests FD --replies FD [--exec]

By default a worker is a fork of this process, which has imported (only imported, never run) what jobs need: seconds
cheaper than a new interpreter, and equal in every figure (docs/measuring.md). With `--exec` nothing is imported and
every worker is a new interpreter; so is a worker whose job uses CUDA when something that was imported here has
initialised CUDA, which no fork survives. The pipes carry one JSON object a line and are inherited, not stdin and
stdout, which any imported module may print to.

    request  {"job", "folder", "env": {name: value}, "log", "memory_limit": bytes or null, "cpus": []}
    replies  {"event": "started", "job", "pid"}            forked; pid is also the process group and the session
             {"event": "running", "job"}                   the worker's first instruction
             {"event": "refused", "job", "message"}        could not be forked
             {"event": "exited", "job", "code"}            code as `os.waitstatus_to_exitcode`; its group is gone

Forking a process of this size takes 10 ms, so one worker is always forked ahead and waits, blocked, for its request.

The end of the requests pipe (the orchestrator ended, however it did) kills every worker with its process group.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.store import SweepFolder
from orchestrator.worker.process import (
    BY_EXEC,
    EXIT_INFRASTRUCTURE,
    announce,
    become_subreaper,
    die_with_parent,
    isolate,
    load_entry,
    perform,
)

PRELOADED = ("torch",)
PROBE_S = 30.0  # for a fork to initialise CUDA: a driver that nobody keeps loaded takes seconds
CANNOT = 3  # exit code of such a fork that cannot
CUDA_ERROR_NOT_INITIALIZED = 3  # cuda.h: what cuInit returns in a fork of a process that has called it
MESSAGE_LENGTH = 1000  # a reply stays under PIPE_BUF (4,096 bytes), so that those of server and workers cannot mix


class Server:
    """Serves requests from one pipe until it ends. Single-threaded: it forks."""

    def __init__(self, requests: int, replies: int, entry: str, execute: bool) -> None:
        self.requests, self.replies, self.entry, self.execute = requests, replies, entry, execute
        self.environment = dict(os.environ)  # before any import could write into it
        self.workers: dict[int, str] = {}  # pid -> job id
        self.spare: tuple[int, int] | None = None  # a worker that waits for its request: pid, pipe
        self.frozen = 0  # how many modules the spare has: their objects are frozen
        self.poison = ""  # why no fork of this process can use CUDA
        self.probed = 0  # how many modules there were when a fork could
        self.wake, self._alarm = os.pipe()  # a byte for every SIGCHLD and SIGTERM
        for end in (self.wake, self._alarm):
            os.set_blocking(end, False)
        self.ending = False

    def serve(self) -> None:
        """Start workers and report their ends, until the requests end or SIGTERM comes."""
        become_subreaper()
        die_with_parent(signal.SIGCONT)  # if somebody has stopped this process: it must see that its requests ended
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler of any kind, or no byte is written
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        pending = b""
        while not self.ending:
            ready, _, _ = select.select([self.wake, self.requests], [], [])  # epoll would be one more file to close
            if self.wake in ready:
                os.read(self.wake, 4096)
            if self.requests in ready:
                data = os.read(self.requests, 1 << 16)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._start(json.loads(line))
                if not data:
                    self._end()
            self._reap()
        self._drop_spare()
        for pid in self.workers:
            _bury(pid)
        self._kill_strays()

    def _end(self) -> None:
        self.ending = True

    def _start(self, request: dict[str, Any]) -> None:
        """Hand the request to the spare worker, and fork the next spare while this one gets going."""
        notes, by_exec = ([], "") if self.execute else self._preload(request["folder"], request["job"])
        try:
            pid, pipe = self._take_spare()
        except OSError as error:
            self._reply(event="refused", job=request["job"], message=str(error)[:MESSAGE_LENGTH])
            return
        self.workers[pid] = request["job"]
        with contextlib.suppress(BrokenPipeError), open(pipe, "w") as file:  # if it died meanwhile, `_reap` tells
            json.dump({**request, "notes": notes, "by_exec": by_exec}, file)
        self._reply(event="started", job=request["job"], pid=pid)
        with contextlib.suppress(OSError):  # then the next start tries, and tells
            self.spare = self._fork()

    def _take_spare(self) -> tuple[int, int]:
        """Return pid and pipe of a worker that waits for its request, and has all that is imported by now."""
        if len(sys.modules) > self.frozen:
            self._drop_spare()
            gc.collect()
            gc.freeze()  # a worker's collector must not touch, and so copy, the pages that it shares with this process
            self.frozen = len(sys.modules)
        spare, self.spare = self.spare or self._fork(), None
        return spare

    def _drop_spare(self) -> None:
        if self.spare is not None:
            pid, pipe = self.spare
            self.spare = None
            os.close(pipe)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _fork(self) -> tuple[int, int]:
        parent = os.getpid()
        theirs, ours = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(ours)
            raise
        finally:
            if os.getpid() == parent:
                os.close(theirs)
        if pid == 0:
            os.close(ours)
            self._become_worker(parent, theirs)
        return pid, ours

    def _preload(self, folder: str, job_id: str) -> tuple[list[str], str]:
        """Import what the job's plug-ins name. Return what went wrong, for the job's log (it will meet it itself), and
        why the job cannot run in a fork: nothing where it can.
        """
        module = sys.modules[self.entry.partition(":")[0]]
        preloads = getattr(module, "preloads", None)
        if preloads is None:
            return [], ""
        notes: list[str] = []
        names: tuple[str, ...] = ()
        device = "cpu"
        try:
            job = SweepFolder(folder).read_job(job_id)
            device = job.workload.device.partition(":")[0]
            names = preloads(job)
        except Exception as error:  # noqa: BLE001 - the process border: the job's plug-ins may raise anything
            notes.append(f"its plug-ins could not say what to preload: {type(error).__name__}: {error}")
        for name in names:
            notes += _import(name)
            if not self.poison and _cuda_is_initialised():
                self.poison = f"importing {name} initialised CUDA, which no fork survives"
        if device not in ("cpu", "cuda"):
            why = f"whether a fork can use {device} is not known"
            return [*notes, f"{why}: this job is started by exec"], why
        if device == "cpu":
            return notes, ""
        if not self.poison and len(sys.modules) > self.probed:
            self.poison, self.probed = _why_no_fork_has_cuda(), len(sys.modules)
        return ([*notes, f"{self.poison}: this job is started by exec"], self.poison) if self.poison else (notes, "")

    def _become_worker(self, parent: int, pipe: int) -> NoReturn:
        try:
            die_with_parent(signal.SIGKILL)  # a spare that somebody has stopped would not see that its pipe ended
            signal.set_wakeup_fd(-1)
            for end in (self.requests, self.wake, self._alarm):
                os.close(end)
            with open(pipe) as file:
                request = json.loads(file.read() or "null")
            if request is None:  # the server ended
                os._exit(0)
            isolate(parent, request["log"], request["memory_limit"], request["cpus"])
            for note in request["notes"]:
                print(f"preload: {note}", file=sys.stderr, flush=True)
            environment = {**self.environment, **request["env"]}
            if self.execute or request["by_exec"]:
                self._execute(request, environment)
            os.environ.clear()
            os.environ.update(environment)
            tempfile.tempdir = None  # what an import has asked for in the server is not this job's TMPDIR
            announce(self.replies, request["job"])
        except BaseException:  # noqa: BLE001 - must never run the server's code
            sys.excepthook(*sys.exc_info())
            os._exit(EXIT_INFRASTRUCTURE)
        perform(self.entry, request["folder"], request["job"])

    def _execute(self, request: dict[str, Any], environment: dict[str, str]) -> NoReturn:
        os.set_inheritable(self.replies, True)
        options = ["--replies", str(self.replies), "--entry", self.entry]
        command = [sys.executable, "-m", "orchestrator.worker", *options, request["folder"], request["job"]]
        if request["by_exec"]:
            environment = {**environment, BY_EXEC: request["by_exec"]}
        os.execve(sys.executable, command, environment)

    def _reap(self) -> None:
        """Bury the workers that ended. Orphans of theirs became our children; they end with the last worker."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                job = self.workers.pop(ended.si_pid, None)
                if self.spare and self.spare[0] == ended.si_pid:
                    self._drop_spare()
                    continue
                code = _bury(ended.si_pid)
                if job is not None:
                    self._reply(event="exited", job=job, code=code)
        if not self.workers:
            self._kill_strays()

    def _kill_strays(self) -> None:
        """Kill orphans that left their worker's group (daemons); they became children of this process."""
        spare = self.spare[0] if self.spare else None
        with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN
            for name in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                if int(name) != spare:
                    _kill_group(int(name))
                    os.waitpid(int(name), 0)

    def _reply(self, **reply: Any) -> None:
        try:
            os.write(self.replies, json.dumps(reply).encode() + b"\n")
        except BrokenPipeError:
            self._end()


def _bury(pid: int) -> int:
    """Kill what is left of an ended worker's group, wait until it is gone, and return the worker's exit code.

    The worker itself is reaped last but one: while it is a zombie its group id cannot name another group.
    """
    _kill_group(pid)
    _, status = os.waitpid(pid, 0)
    while True:  # its descendants: each becomes our child when its parent dies
        try:
            os.waitpid(-pid, 0)
        except ChildProcessError:
            return os.waitstatus_to_exitcode(status)


def _kill_group(pid: int) -> None:
    """Kill a worker that was not reaped yet, and its group (which it has from `setsid` on)."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: only zombies (BSD)
            kill(pid, signal.SIGKILL)


def _cuda_is_initialised() -> bool:
    return "torch" in sys.modules and bool(sys.modules["torch"].cuda.is_initialized())


def _why_no_fork_has_cuda() -> str:
    """Try to initialise CUDA in a fork of this process; return why it cannot be, "" where it can or there is no driver.

    torch notes each call that initialises CUDA, such as counting the devices where NVML cannot; the driver knows of the
    others, of a library that calls it without torch.
    """
    if _cuda_is_initialised():
        return "what every job needs initialised CUDA when it was imported, which no fork survives"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = CANNOT if _a_fork_cannot() else 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + PROBE_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"a fork that initialised CUDA did not end within {PROBE_S:.0f} s"
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(status)
    if code == CANNOT:
        return "something that was imported has touched CUDA, which no fork survives"
    return "" if code == 0 else f"a fork that initialised CUDA ended with {code}"


def _a_fork_cannot() -> bool:
    """Return whether this process, a fork, cannot use CUDA because its parent has."""
    if "torch" in sys.modules and sys.modules["torch"].cuda._is_in_bad_fork():
        return True
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return int(driver.cuInit(0)) == CUDA_ERROR_NOT_INITIALIZED


@functools.cache  # once: a module that cannot be imported is not tried again for every job
def _import(name: str) -> tuple[str, ...]:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the process border
        return (f"importing {name} failed: {type(error).__name__}: {error}",)
    return ()


def _preload_base(modules: list[str]) -> None:
    """Import what every job needs, and keep what is imported from starting threads or processes.

    An operator that ran on several threads before a fork leaves the children a pool whose threads do not exist: they
    hang. With one thread there is no pool. The NVML check keeps `torch.cuda.is_available()` from initialising CUDA,
    which does not survive a fork. torch before 2.7 starts inductor's compile workers when it is imported. Dynamo makes
    the folder of inductor's cache when it is imported; no job uses this one, so it is a folder that is there.
    """
    os.environ.update(PYTORCH_NVML_BASED_CUDA_CHECK="1", TORCH_WARM_POOL="0")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir())
    for module in modules:
        for note in _import(module):
            print(note, file=sys.stderr)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--replies", type=int, required=True)
    parser.add_argument("--exec", action="store_true", dest="execute")
    parser.add_argument("--entry", default="orchestrator.worker.run:run_job")
    parser.add_argument("--preload", nargs="*", default=list(PRELOADED))
    arguments = parser.parse_args()
    server = Server(arguments.requests, arguments.replies, arguments.entry, arguments.execute)
    if not arguments.execute:
        load_entry(arguments.entry)
        _preload_base(arguments.preload)
    server.serve()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
