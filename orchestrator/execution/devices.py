"""One timing job per device at a time on the whole machine, whoever runs it.

A device has a lock file in a folder that all users of the machine share. A job that times something holds it alone
(flock, exclusive), a job that may run beside others together with others (shared). A job on a GPU shares the CPU
too: what is timed on the CPU waits for it, and two GPUs do not wait for each other. Each CPU of a slot that has its own
(`execution.cpu_sets`) has a lock, too, which whatever may run on any CPU shares. The kernel drops a lock with the
process that has it, however that ends: none is ever stale.

Who waits holds the device's gate meanwhile, and nobody goes on but through the gate: a stream of jobs that share a
device cannot keep out one that wants it alone, and of two sweeps neither gets the device twice in a row. The gates
and devices of a job are always taken in the same order, GPUs before the CPU and that before single CPUs, so that no
two wait for each other.

Containers that share a machine but no folder do not see each other; what then runs beside a timing is noticed by the
noise probe (`orchestrator.probes.noise`).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.execution.agenda import is_shareable
from orchestrator.execution.lock import taken
from orchestrator.execution.slots import Slot
from orchestrator.records import JobSpec
from orchestrator.store import SweepFolder
from orchestrator.system import gpu_uuids

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import fcntl

VARIABLE = "ORCHESTRATOR_LOCKS"
"""Names another folder for the lock files."""
FOLDERS = (Path("/run/lock"), Path("/tmp"))
"""The first that everybody may write into: the same for all users, whatever their TMPDIR says."""
SHARED_BY_ALL = stat.S_ISVTX | stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
NOTE_LENGTH = 400
CPU = "cpu"
WHOLE = Slot()
REMEDY = f"set {VARIABLE} to another folder, or execution.device_lock=false"


class Turn:
    """A job's way to its devices: `come` until it is True, then run, then `leave`."""

    def __init__(self, folder: Path, wanted: Sequence[tuple[str, int]], note: str) -> None:
        self._folder, self._wanted, self._note = folder, list(wanted), note
        self._held: list[int] = []
        self._gate: int | None = None
        self._shared_by = 1
        self.reason = ""  # whom it waits for, where `come` was False

    def come(self) -> bool:
        """Return whether the devices are ours now. Does not block. Raises UsageError where there can be no lock."""
        while self._wanted:
            device, kind = self._wanted[0]
            if self._gate is None:
                self._gate = self._take(device, ".next", fcntl.LOCK_EX, "is the next to run")
            if self._gate is None:
                return False
            lock = self._take(device, "", kind, "runs")
            if lock is None:
                return False
            self._held.append(lock)
            os.close(self._gate)
            self._gate = None
            del self._wanted[0]
        return True

    def shared(self) -> Turn:
        """Return this way for another job that goes it too: the last of them gives all back."""
        self._shared_by += 1
        return self

    def leave(self) -> None:
        """Give all back; again is harmless, to who does not share it."""
        self._shared_by -= 1
        if self._shared_by > 0:
            return
        for descriptor in (*self._held, *([] if self._gate is None else [self._gate])):
            os.close(descriptor)
        self._held, self._gate = [], None

    def _take(self, device: str, suffix: str, kind: int, does: str) -> int | None:
        """Return the descriptor of a lock that is ours now; None, and say whose it is, when it is another's."""
        path = self._folder / f"orchestrator-{device}{suffix}.lock"
        while True:
            descriptor, writable = _open(path)
            if not taken(descriptor, kind, path):
                self.reason = f"{device}: {_holder(descriptor)}"
                os.close(descriptor)
                return None
            if _is_at(path, descriptor):  # else somebody has cleaned the folder up meanwhile
                if writable:
                    now = time.strftime("%H:%M:%S")
                    _write(descriptor, f"process {os.getpid()} of {_user()} {does} {self._note} since {now}")
                return descriptor
            os.close(descriptor)


class Devices:
    """Makes the turns of a sweep's jobs; with `enabled` False nobody waits for anybody."""

    def __init__(self, store: SweepFolder, *, enabled: bool) -> None:
        self._sweep, self._folder = str(store), lock_folder() if enabled else None

    def turn(self, job: JobSpec, slot: Slot = WHOLE) -> Turn:
        if self._folder is None:
            return Turn(Path(), (), "")
        kind = fcntl.LOCK_SH if is_shareable(job) else fcntl.LOCK_EX
        on_gpu = job.workload.device != CPU
        wanted = []
        if on_gpu:
            environment = {**os.environ, **job.env}
            names = {slot.gpu} if slot.gpu else {n for one in _gpus(job) for n in gpu_names(one, environment)}
            wanted = [(name, kind) for name in sorted(names)]
        if slot.cpus:
            wanted += [(CPU, fcntl.LOCK_SH), *((f"{CPU}-{cpu}", kind) for cpu in slot.cpus)]
        elif on_gpu or kind == fcntl.LOCK_SH:
            wanted += [(CPU, fcntl.LOCK_SH), *((f"{CPU}-{cpu}", fcntl.LOCK_SH) for cpu in own_cpus())]
        else:
            wanted.append((CPU, kind))
        return Turn(self._folder, wanted, f"'{job.title}' of {self._sweep}")


def _gpus(job: JobSpec) -> list[str]:
    """Return the devices of a job on a GPU: one for each of its ranks."""
    kind, _, index = job.workload.device.partition(":")
    return [f"{kind}:{int(index or 0) + rank}" for rank in range(job.workload.ranks)]


def lock_folder() -> Path:
    """Return where the lock files are. Raises UsageError when there is no such folder."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        if not os.path.isdir(chosen):
            raise UsageError(f"{VARIABLE}={chosen}: there is no such folder; make it, or unset {VARIABLE}")
        return Path(chosen)
    for folder in FOLDERS:
        if folder.is_dir() and folder.stat().st_mode & SHARED_BY_ALL == SHARED_BY_ALL:
            return folder
    raise UsageError(f"neither of {', '.join(map(str, FOLDERS))} can be written by all users: {REMEDY}")


def own_cpus() -> list[int]:
    """Return the CPUs that this process may use."""
    return sorted(os.sched_getaffinity(0))


def gpu_names(device: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return what the locks of a GPU ("cuda:1") are named by: its UUID, which does not depend on who asks.

    `environment` is the job's: its CUDA_VISIBLE_DEVICES renumbers devices.
    """
    uuids = gpu_uuids(device, environment) if device.startswith("cuda") else []
    return uuids or [device.replace(":", "-")]


def _open(path: Path) -> tuple[int, bool]:
    """Open a lock file, making it when it is not there; return its descriptor, and whether it may be written.

    In a folder that others write into a name may be a trap: no link is followed, and what is not a plain file with
    this one name is refused.
    """
    try:
        descriptor, writable = _created(path) or _existing(path) or (-1, False)
    except OSError as error:
        raise UsageError(f"{path} cannot be used as a lock: {error.strerror}; {REMEDY}") from error
    if descriptor < 0:  # it was there, and then was not
        return _open(path)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise UsageError(f"{path} is not a plain file, and no lock of ours: remove it, {REMEDY}")
    return descriptor, writable


def _created(path: Path) -> tuple[int, bool] | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return None
    os.fchmod(descriptor, 0o666)  # whatever the umask: it is everybody's
    return descriptor, True


def _existing(path: Path) -> tuple[int, bool] | None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # of a pipe that lies there under our name
    try:
        return os.open(path, os.O_RDWR | flags), True
    except FileNotFoundError:
        return None
    except PermissionError:  # its maker did not live to give it to everybody
        return os.open(path, os.O_RDONLY | flags), False


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write(descriptor: int, note: str) -> None:
    """Say who has the lock. Only for the message of those who wait: a full disk must not keep anybody from running."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode()[:NOTE_LENGTH], 0)


def _holder(descriptor: int) -> str:
    """Return who has the lock, as it says itself; of several that share it, the last that came."""
    note = os.pread(descriptor, NOTE_LENGTH, 0).decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in note).split()) or "another process"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for this user
        return f"user {os.getuid()}"
