"""Fresh processes for jobs, seen from the orchestrator: start one, wait for what happens, kill one with all it started.

Both launchers ("fork", "subprocess") are servers (`python -m orchestrator.worker.server`), started when first
needed: a server that starts nothing but workers can promise that none outlives the orchestrator, even one that was
killed. A server that dies takes its workers with it; their jobs are reported as lost, and the next start makes
a new server.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from orchestrator.execution import orphans
from orchestrator.execution.builds import PYTHON, STATE
from orchestrator.execution.environment import NOTHING
from orchestrator.exits import exit_words

CLOSING_S = 10.0  # for a server to kill its workers and to end
LAST_LINES, MESSAGE_LENGTH = 3, 500
SENT = tuple(number for number in signal.Signals if number.name in ("SIGKILL", "SIGTERM", "SIGHUP"))
"""Signals that somebody sends: what a server has printed before has nothing to do with it."""
LONGEST_WAIT_S = 86400.0  # at once: the kernel counts milliseconds in 31 bits
QUERY, ADDR_NO_RANDOMIZE = 0xFFFFFFFF, 0x0040000  # of Linux' personality(2)
KEPT = 8
"""Servers with variables of their own that stay though none of their jobs runs: each holds some 300 MB."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a server is asked to start.

    `env` comes on top of the server's environment; `memory_limit` is in bytes; `cpus` are those that it may run on, all
    without any.
    """

    job: str
    folder: str
    env: Mapping[str, str]
    log: str
    memory_limit: int | None
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened to a job's process.

    kind "started" (the process exists), "running" (its first instruction),
    "exited" (with `code`, negative for a signal; nothing of its group is left), "refused" (not started) or "lost"
    (its server died); the last two say why in `message`.
    """

    kind: str
    job: str
    code: int | None = None
    message: str = ""


class _Server:
    """One running server process and the jobs it has."""

    def __init__(self, launcher: str, options: list[str], environment: Mapping[str, str]) -> None:
        self.mark = orphans.own(environment.get(orphans.MARK, ""), launcher)
        theirs, ours = os.pipe()
        self.requests = open(ours, "wb")  # noqa: SIM115 - closed in `close`, as the next one
        self.replies, replies = os.pipe()
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        python = environment.get(PYTHON, sys.executable)
        environment = {name: value for name, value in environment.items() if name not in (PYTHON, STATE)}
        try:
            self.process = subprocess.Popen(
                [python, "-m", "orchestrator.worker.server", "--requests", str(theirs)]
                + ["--replies", str(replies), *options],
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=subprocess.STDOUT,
                env={**environment, orphans.MARK: self.mark},
                pass_fds=(theirs, replies),
                start_new_session=True,  # Ctrl-C in the terminal is for the orchestrator alone
            )
        finally:
            os.close(theirs)
            os.close(replies)
        self.jobs: dict[str, int | None] = {}  # job -> pid of its process, once it is known
        self._pending = b""

    def start(self, launch: Launch) -> None:
        self.jobs[launch.job] = None
        with contextlib.suppress(BrokenPipeError):  # it died: the end of its replies tells
            self.requests.write(json.dumps(vars(launch)).encode() + b"\n")
            self.requests.flush()

    def read(self) -> list[Event] | None:
        """Return the events that have come, or None when the server is gone."""
        data = os.read(self.replies, 1 << 16)
        if not data:
            return None
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [self._event(json.loads(line)) for line in lines]

    def _event(self, reply: dict[str, Any]) -> Event:
        job = reply["job"]
        if reply["event"] == "started":
            self.jobs[job] = reply["pid"]
        elif reply["event"] in ("exited", "refused"):
            del self.jobs[job]
        return Event(
            kind=reply["event"],
            job=job,
            code=reply.get("code"),
            message=reply.get("message", ""),
        )

    def kill(self, job: str) -> None:
        """Kill the job's process group; before it has one, or where the server could not report it, the server."""
        pid = self.jobs.get(job)
        if pid is not None:
            _kill_group(pid)
        if pid is None or _is_stopped(self.process.pid):
            self.process.kill()

    def stopped(self, job: str) -> bool:
        """Tell whether somebody has stopped the job's process, one of its children, or this server."""
        pid = self.jobs.get(job)
        return any(map(_is_stopped, [self.process.pid, *([] if pid is None else _family(pid))]))

    def close(self) -> str:
        """End the server, its workers and what they left; return how it ended, with the end of what it printed."""
        with contextlib.suppress(BrokenPipeError):
            self.requests.close()
        try:
            self.process.send_signal(signal.SIGCONT)  # a stopped one would not see that the requests have ended
            self.process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in self.jobs.values():
            if pid is not None:
                _kill_group(pid)
        orphans.kill(self.mark)
        os.close(self.replies)
        self.output.seek(0)
        printed = self.output.read().decode(errors="replace").strip()
        self.output.close()
        code = self.process.returncode
        last = "" if -code in SENT else " | ".join(printed.splitlines()[-LAST_LINES:])[-MESSAGE_LENGTH:]
        return f"the worker server ended with {exit_words(code)}" + (f": {last}" if last else "")


class Processes:
    """The servers of both launchers, as one place to wait at.

    `entry` is the function that runs a job ("module:function"), `preload` what the fork server imports before any
    job says what it needs. A context manager: leaving it ends every process.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        entry: str = "orchestrator.worker.run:run_job",
        preload: tuple[str, ...] = ("torch",),
    ) -> None:
        self._environment = environment
        self._options = {
            "fork": ["--entry", entry, "--preload", *preload],
            "subprocess": ["--entry", entry, "--exec"],
        }
        self._servers: dict[str, _Server] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._alarm = os.pipe()
        for end in (self._wake, self._alarm):
            os.set_blocking(end, False)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alarm(self) -> int:
        """A file descriptor; a byte written to it ends the present `wait` (for `signal.set_wakeup_fd`)."""
        return self._alarm

    def server_pid(self, launcher: str) -> int | None:
        server = self._servers.get(launcher)
        return None if server is None else server.process.pid

    def start(self, launcher: str, launch: Launch, own: Mapping[str, str] = NOTHING, one_layout: bool = False) -> None:
        """Start a process for a job; what becomes of it comes from `wait`. Raises OSError when no server starts.

        own: what an interpreter reads when it starts, such as where it finds code (of a build, `builds.Interpreter`);
        one_layout: at the addresses of all that are started so; where no system call allows that, each process at its
        own, so that rounds tell what addresses cost. The jobs of each such environment have a server of their own.
        """
        if one_layout and not _allows_one_layout():
            launcher, one_layout = "subprocess", False
        words = [launcher, *["one_layout"] * one_layout]
        name = " ".join([*words, *(f"{variable}={value}" for variable, value in sorted(own.items()))])
        if name not in self._servers:
            idle = [other for other, server in self._servers.items() if other not in self._options and not server.jobs]
            for other in idle[: max(0, len(idle) - KEPT + 1)]:
                self._lost(other)
            with _one_layout() if one_layout else contextlib.nullcontext():
                server = _Server(launcher, self._options[launcher], {**self._environment, **own})
            self._servers[name] = server
            self._selector.register(server.replies, selectors.EVENT_READ, name)
        self._servers[name] = self._servers.pop(name)  # the last that was used stands last
        self._servers[name].start(launch)

    def wait(self, timeout: float | None) -> list[Event]:
        """Block until something happens, at most `timeout` seconds; return it in order, [] when nothing did."""
        events: list[Event] = []
        for key, _ in self._selector.select(None if timeout is None else min(timeout, LONGEST_WAIT_S)):
            if key.fd == self._wake:
                os.read(self._wake, 4096)
                continue
            news = self._servers[key.data].read()
            events += self._lost(key.data) if news is None else news
        return events

    def dump(self, job: str) -> None:
        """Ask the job's process for its Python stacks, in its log (SIGUSR1; `orchestrator.worker.process`)."""
        for server in self._servers.values():
            pid = server.jobs.get(job)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)

    def stopped(self, job: str) -> bool:
        """Tell whether somebody has stopped a process that the job depends on (SIGSTOP, a debugger)."""
        return any(server.stopped(job) for server in self._servers.values() if job in server.jobs)

    def memory(self, job: str) -> int:
        """Return the resident bytes of the job's process and all that it started, 0 before there is one."""
        pids = [server.jobs.get(job) for server in self._servers.values()]
        return sum(_resident(member) for pid in pids if pid is not None for member in _family(pid))

    def kill(self, job: str) -> None:
        """Kill the job's process and all of its group; "exited" or "lost" follows."""
        for server in self._servers.values():
            if job in server.jobs:
                server.kill(job)

    def kill_server(self, job: str) -> None:
        """Kill the server that has the job: "lost" follows for all of its jobs."""
        for server in self._servers.values():
            if job in server.jobs:
                server.process.kill()

    def close(self) -> None:
        """End all servers and all their workers."""
        for name in list(self._servers):
            self._lost(name)
        self._selector.close()
        for end in (self._wake, self._alarm):
            os.close(end)

    def _lost(self, name: str) -> list[Event]:
        server = self._servers.pop(name)
        self._selector.unregister(server.replies)
        message = server.close()
        return [Event(kind="lost", job=job, message=message) for job in server.jobs]


@contextlib.contextmanager
def _one_layout() -> Iterator[bool]:
    """Let what is started have its code and data at the same addresses as anything else that is started so.

    Yields whether this system allows it: Linux does, but for a container's seccomp profile. Forks have the layout of
    their server, so what an unlucky one costs is in all rounds alike, and no interval shows it: beside a busy neighbour
    up to 4 % (docs/bisect.md; Mytkowicz et al., Producing Wrong Data Without Doing Anything Obviously Wrong, ASPLOS
    2009).
    """
    before = _personality(QUERY)
    allowed = before != -1 and _personality(before | ADDR_NO_RANDOMIZE) != -1  # of this thread, from an exec on
    try:
        yield allowed
    finally:
        if allowed:
            _personality(before)


@functools.cache
def _allows_one_layout() -> bool:
    with _one_layout() as allowed:
        return allowed


def _personality(value: int) -> int:
    """Set what personality(2) says; return what it was, -1 where that is refused or unknown."""
    change = getattr(ctypes.CDLL(None), "personality", None)
    return -1 if change is None else int(change(ctypes.c_ulong(value)))


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _is_stopped(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))
    except psutil.Error:
        return False


def _kill_group(pid: int) -> None:
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
