"""How each fault is done. An injector returns what it hit, or None when there was nothing to hit any more."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from chaos.schedule import KINDS, SIGNALS
from chaos.sweeps import ChaosSweep
from orchestrator.execution.lock import holder

PATIENCE_S = 30.0  # for a process of the wanted kind to be there
ENDED_S = 30.0  # for an orchestrator that is told to end: it still makes its tables
STOPPED_S = 2.0  # until a person who has stopped an orchestrator lets it go on
HELD_S = (0.3, 2.0)  # how long a disk is full, or a folder read-only
CGROUPS = Path("/sys/fs/cgroup/memory")
CGROUP_BYTES = 4 << 20
RLIMIT_BYTES = 8 << 20
BACK_S = -7200.0
T = TypeVar("T")


@dataclass(frozen=True)
class Hit:
    """jobs: those whose row may show it, or that run again; corrupted: those whose result file it has damaged."""

    jobs: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()
    words: str = ""


def possible(mounts: bool) -> list[str]:
    """Return the names of the kinds that can be done here; `mounts`: in a mount namespace of our own."""
    absent = set() if mounts else {"disk full", "folder read-only"}
    if not os.access(CGROUPS, os.W_OK):
        absent.add("memory starved (cgroup)")
    return [kind.name for kind in KINDS if kind.name not in absent]


def inject(name: str, sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Do the fault `name` to a sweep."""
    word, _, target = name.partition(" to ")
    if word in SIGNALS:
        return _signal(signal.Signals[word], TARGETS[target], sweep, chance)
    return OTHERS[name](sweep, chance)


# -- signals


Found = dict[str, psutil.Process]


def _workers(sweep: ChaosSweep) -> Found:
    return sweep.workers()


def _compile_workers(sweep: ChaosSweep) -> Found:
    return sweep.compile_workers()


def _servers(sweep: ChaosSweep) -> Found:
    return {f"server {server.pid}": server for server in sweep.servers()}


def _runners(sweep: ChaosSweep) -> Found:
    return {f"runner {runner.pid}": runner for runner in sweep.runners()}


TARGETS: dict[str, Callable[[ChaosSweep], Found]] = {
    "a worker": _workers,
    "a compile worker": _compile_workers,
    "the fork server": _servers,
    "a shard runner": _runners,
    "the orchestrator": _runners,
}


def _signal(
    number: signal.Signals, find: Callable[[ChaosSweep], Found], sweep: ChaosSweep, chance: random.Random
) -> Hit | None:
    def hit() -> Hit | None:
        found = find(sweep)
        if not found:
            return None
        name, process = chance.choice(sorted(found.items()))
        running = tuple(sweep.workers())
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return None
        if find is _runners and number == signal.SIGSTOP:
            time.sleep(STOPPED_S)
            process.send_signal(signal.SIGCONT)
        elif find is _runners:
            sweep.await_end(process.pid, ENDED_S)
        return Hit((name,) if find in (_workers, _compile_workers) else running)

    return _awaited(sweep, hit)


def _awaited(sweep: ChaosSweep, find: Callable[[], T]) -> T | None:
    """Return what `find` finds as soon as that is anything; None when the run has ended, or nothing came in time.

    By looking again and again: a process, a file and a lock of somebody else's tell nobody when they come.
    """
    end = time.monotonic() + PATIENCE_S
    while sweep.run.alive and time.monotonic() < end:
        found = find()
        if found:
            return found
        time.sleep(0.01)
    return None


# -- the disk


def _disk_full(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    filler = sweep.outputs / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:  # it is full now
            pass
    _hold(sweep, chance)
    filler.unlink()
    return Hit(tuple(sweep.workers()))


def _read_only(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Lay a read-only view of the folder over it: what is opened from now on is opened there."""
    if not _awaited(sweep, sweep.folder.root.is_dir):
        return None
    root = str(sweep.folder.root)
    subprocess.run(["mount", "--bind", root, root], check=True)
    try:
        end = time.monotonic() + PATIENCE_S
        while subprocess.run(
            ["mount", "-o", "remount,bind,ro", root], check=False, stderr=subprocess.DEVNULL
        ).returncode:
            if time.monotonic() > end:
                return None
            time.sleep(0.01)  # busy: a file is just being written through it
        _hold(sweep, chance)
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
    return Hit(tuple(sweep.workers()))


def _hold(sweep: ChaosSweep, chance: random.Random) -> None:
    end = time.monotonic() + chance.uniform(*HELD_S)
    while time.monotonic() < end and sweep.run.alive:
        time.sleep(0.05)


def _cache_removed(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    if not _awaited(sweep, lambda: sweep.workers() and sweep.folder.caches.is_dir()):
        return None
    time.sleep(chance.uniform(0.0, 3.0))
    hit = Hit(tuple(sweep.workers()))
    shutil.rmtree(sweep.folder.caches, ignore_errors=True)
    return hit


def _truncated(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    return _damage(sweep, chance, lambda data: data[: chance.randrange(len(data))])


def _overwritten(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Write a block of zeros over a part, as a file has it whose blocks never reached the disk."""

    def zeros(data: bytes) -> bytes:
        start = chance.randrange(len(data))
        size = min(512, len(data) - start)
        return data[:start] + bytes(size) + data[start + size :]

    return _damage(sweep, chance, zeros)


def _damage(sweep: ChaosSweep, chance: random.Random, change: Callable[[bytes], bytes]) -> Hit | None:
    _awaited(sweep, sweep.finished)
    victims = sorted(sweep.finished())
    if not victims:
        return None
    job = chance.choice(victims)
    path = sweep.folder.result_file(job)
    path.write_bytes(change(path.read_bytes()))
    return Hit((job,), corrupted=(job,))


# -- the rest


def _clock_back(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    sweep.clock.write_text(str(float(sweep.clock.read_text()) + BACK_S))
    return Hit(tuple(sweep.workers())) if sweep.run.alive else None


def _second(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Start a second one while the first holds the folder: stopped, or a quick sweep ends before the second looks."""
    if _awaited(sweep, lambda: holder(sweep.folder)) is None:
        return None
    with _stopped(sweep.runners()):
        if holder(sweep.folder) is None:
            return None  # the first has ended meanwhile
        code, output = sweep.second()
    if code != 2 or "in use by process" not in output:
        raise AssertionError(f"a second orchestrator on a folder in use ended with {code}: {output[-2000:]}")
    return Hit(words="refused, exit code 2")


@contextlib.contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            process.resume()


def _starved_by_cgroup(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Move a worker into a memory cgroup that has room for nothing new: the kernel's killer comes."""
    found = _new_worker(sweep)
    if found is None:
        return None
    job, worker = found
    group = CGROUPS / f"chaos-{os.getpid()}"
    group.mkdir(exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(str(CGROUP_BYTES))
    try:
        (group / "cgroup.procs").write_text(str(worker.pid))
    except ProcessLookupError:
        return None
    return Hit((job,))


def _starved_by_rlimit(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    found = _new_worker(sweep)
    if found is None:
        return None
    job, worker = found
    try:
        size = worker.memory_info().vms + RLIMIT_BYTES
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (size, size))
    except (psutil.Error, ProcessLookupError):
        return None
    return Hit((job,))


def _new_worker(sweep: ChaosSweep) -> tuple[str, psutil.Process] | None:
    """Return a worker that has just been started: it still needs memory."""
    before = {process.pid for process in sweep.workers().values()}
    return _awaited(sweep, lambda: next((new for new in sweep.workers().items() if new[1].pid not in before), None))


OTHERS: dict[str, Callable[[ChaosSweep, random.Random], Hit | None]] = {
    "disk full": _disk_full,
    "folder read-only": _read_only,
    "result truncated, running": _truncated,
    "result truncated, stopped": _truncated,
    "result overwritten, running": _overwritten,
    "result overwritten, stopped": _overwritten,
    "cache folder removed": _cache_removed,
    "clock set back": _clock_back,
    "memory starved (cgroup)": _starved_by_cgroup,
    "memory starved (rlimit)": _starved_by_rlimit,
    "second orchestrator": _second,
}
