"""How each fault is done. An injector returns what it hit, or None when there was nothing to hit any more."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from chaos import builds
from chaos.hits import ENDED_S, PATIENCE_S, Hit, awaited
from chaos.schedule import KINDS, LAUNCHED, SIGNALS
from chaos.sweeps import ChaosSweep
from orchestrator.execution.lock import holder

STOPPED_S = 2.0  # until a person who has stopped an orchestrator lets it go on
HELD_S = (0.3, 2.0)  # how long a disk is full, or a folder read-only
CGROUPS = Path("/sys/fs/cgroup/memory")
CPU_CGROUPS = Path("/sys/fs/cgroup/cpu")
CGROUP_BYTES = 4 << 20
RLIMIT_BYTES = 8 << 20
CPU_PERIOD_US, CPU_QUOTA_US = 100_000, 20_000
FILE_BYTES = 1024
EVERY = (2, 12)  # of so many calls one fails
DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
LOCK_ERRORS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
BACK_S = -7200.0
Injector = Callable[[ChaosSweep, random.Random], Hit | None]


def possible(mounts: bool, library: bool) -> list[str]:
    """Return the names of the kinds that can be done here.

    mounts: in a mount namespace of our own; library: with a flaky disk (`chaos.disk`).
    """
    absent = set() if mounts else {"disk full", "disk full, making a build", "folder read-only"}
    absent |= set() if library else {"every n-th call fails", "no locks"}
    if not _has_joblib():
        absent |= {kind.name for kind in KINDS if kind.sweeps == (LAUNCHED,)}
    if not os.access(CGROUPS, os.W_OK):
        absent.add("memory starved (cgroup)")
    if not os.access(CPU_CGROUPS, os.W_OK):
        absent.add("a fifth of a CPU (cgroup)")
    return [kind.name for kind in KINDS if kind.name not in absent]


def _has_joblib() -> bool:
    try:
        return importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None
    except ModuleNotFoundError:  # Hydra has no plug-in at all
        return False


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


def _shards(sweep: ChaosSweep) -> Found:
    return {f"shard {shard.pid}": shard for shard in sweep.shards()}


def _merges(sweep: ChaosSweep) -> Found:
    return {name: runner for name, runner in _runners(sweep).items() if "merge" in _words_of(runner)}


def _making(sweep: ChaosSweep) -> Found:
    return _runners(sweep) if builds.half_made(sweep) else {}


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


TARGETS: dict[str, Callable[[ChaosSweep], Found]] = {
    "a worker": _workers,
    "a compile worker": _compile_workers,
    "the fork server": _servers,
    "a shard runner": _runners,
    "the orchestrator": _runners,
    "a part's orchestrator": _runners,
    "a merge": _merges,
    "what makes a build": builds.makers,
    "the orchestrator, making a build": _making,
    "a build's server": builds.servers,
    "a launched shard": _shards,
    "the launching orchestrator": _runners,
}
COMMANDS = (_runners, _merges, _making, _shards)


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
        if find in COMMANDS and number == signal.SIGSTOP:
            time.sleep(STOPPED_S)
            process.send_signal(signal.SIGCONT)
        elif find in COMMANDS:
            sweep.await_end(process.pid, ENDED_S)
            return Hit(running, signals=(number,))
        return Hit((name,) if find in (_workers, _compile_workers) else running)

    if find is _merges:
        _await_merge(sweep)
    if find in (_making, builds.makers):
        builds.make_anew(sweep)
    return awaited(sweep, hit)


def _await_merge(sweep: ChaosSweep) -> None:
    """Have the parts run to their end, and the merge started."""
    for _ in range(8):
        sweep.wait()
        if sweep.folder.sweep_file.exists():
            return
        sweep.start()
        if _merges(sweep):
            return


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


def _disk_full_making(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    builds.make_anew(sweep)
    return _disk_full(sweep, chance) if awaited(sweep, lambda: builds.half_made(sweep)) else None


def _flaky(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Let the disk fail every n-th call for a moment while something runs."""
    assert sweep.disk is not None
    if not awaited(sweep, sweep.runners):
        return None
    sweep.disk.tell(chance.randint(*EVERY), chance.choice(DISK_ERRORS))
    _hold(sweep, chance)
    sweep.disk.tell()
    return Hit(tuple(sweep.workers()))


def _no_locks(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Kill the orchestrator, and take the file system's locks away from the next one, which resumes."""
    assert sweep.disk is not None
    running = awaited(sweep, lambda: tuple(sweep.workers()))
    if running is None or not sweep.disk.has_locks:
        return None
    sweep.disk.without_locks(chance.choice(LOCK_ERRORS))
    for runner in sweep.runners():
        runner.kill()
        sweep.await_end(runner.pid, ENDED_S)
    return Hit(running, signals=(signal.SIGKILL,))


def _read_only(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Lay a read-only view of the folder over it: what is opened from now on is opened there."""
    if not awaited(sweep, sweep.folder.root.is_dir):
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
    if not awaited(sweep, lambda: sweep.workers() and sweep.folder.caches.is_dir()):
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
    awaited(sweep, sweep.finished)
    victims = sorted(sweep.finished())
    if not victims:
        return None
    job = chance.choice(victims)
    path = sweep.result_file(job)
    path.write_bytes(change(path.read_bytes()))
    return Hit((job,), corrupted=(job,))


# -- the rest


def _clock_back(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    sweep.clock.write_text(str(float(sweep.clock.read_text()) + BACK_S))
    return Hit(tuple(sweep.workers())) if sweep.run.alive else None


def _second(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Start a second one while the first holds the folder: stopped, or a quick sweep ends before the second looks."""
    if awaited(sweep, lambda: holder(sweep.folder)) is None:
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


def _limited(which: int, size: Callable[[psutil.Process], int], *, worker: bool) -> Injector:
    """Return what sets a limit of a process, for good: of a new worker, or of the orchestrator."""

    def inject(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
        found = _new_worker(sweep) if worker else awaited(sweep, lambda: next(iter(_runners(sweep).items()), None))
        if found is None:
            return None
        try:
            hard = resource.prlimit(found[1].pid, which)[1]
            resource.prlimit(found[1].pid, which, (size(found[1]), hard))
        except (psutil.Error, ProcessLookupError):
            return None
        return Hit((found[0],) if worker else tuple(sweep.workers()))

    return inject


def _slowed(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Move a worker into a CPU cgroup with a quota."""
    found = _new_worker(sweep)
    if found is None:
        return None
    group = CPU_CGROUPS / f"chaos-{os.getpid()}"
    group.mkdir(exist_ok=True)
    (group / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(CPU_QUOTA_US))
    try:
        (group / "cgroup.procs").write_text(str(found[1].pid))
    except ProcessLookupError:
        return None
    return Hit((found[0],))


def _new_worker(sweep: ChaosSweep) -> tuple[str, psutil.Process] | None:
    """Return a worker that has just been started: it still needs memory."""
    before = {process.pid for process in sweep.workers().values()}
    return awaited(sweep, lambda: next((new for new in sweep.workers().items() if new[1].pid not in before), None))


def _open_files(process: psutil.Process) -> int:
    return process.num_fds() + 1


def _small(process: psutil.Process) -> int:
    return FILE_BYTES


OTHERS: dict[str, Injector] = {
    "disk full": _disk_full,
    "disk full, making a build": _disk_full_making,
    "a build's python removed": builds.python_removed,
    "every n-th call fails": _flaky,
    "no locks": _no_locks,
    "no descriptors left to a worker": _limited(resource.RLIMIT_NOFILE, _open_files, worker=True),
    "no descriptors left to the orchestrator": _limited(resource.RLIMIT_NOFILE, _open_files, worker=False),
    "files of 1 kB at most, a worker": _limited(resource.RLIMIT_FSIZE, _small, worker=True),
    "files of 1 kB at most, the orchestrator": _limited(resource.RLIMIT_FSIZE, _small, worker=False),
    "a fifth of a CPU (cgroup)": _slowed,
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
