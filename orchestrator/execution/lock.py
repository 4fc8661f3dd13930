"""One scheduler per sweep folder (and per shard of it): two would run every job twice and wipe each other's caches."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.files import read_bytes
from orchestrator.store import SweepFolder

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import fcntl

HAS_LOCKS = importlib.util.find_spec("fcntl") is not None
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What `flock` fails with on a file system that has none."""
PATIENCE_S = 0.2
"""How long a lock is tried for: a reader that asks who has it (`holder`) has it for some microseconds."""

JUST_MADE_S = 2.0
"""A folder that is younger may not be held yet by whoever has made it."""


class InUse(UsageError):
    """Someone else runs the sweep: its folder, its progress and its tables are theirs."""


@contextlib.contextmanager
def locked(store: SweepFolder, shard: int, of: int) -> Iterator[None]:
    """Hold the sweep folder: alone, or beside its other shards. Raises InUse when someone else has it.

    The kernel drops the lock with the process, however that ends: there are no stale locks.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_flock(store.lock, fcntl.LOCK_EX if of == 1 else fcntl.LOCK_SH))
        if of > 1:
            stack.enter_context(_flock(store.lock.with_name(f"{store.lock.name}.{shard}"), fcntl.LOCK_EX))
        yield


def holder(store: SweepFolder) -> str | None:
    """Return who runs the sweep now ("process 17 on host since ..."), None when nobody does.

    There is no way to ask for a lock but to try it: a shared one is taken and dropped at once. It hinders no other
    reader, and a scheduler that starts in this instant waits for it (`PATIENCE_S`). Nothing is created or written.
    Where there are no such locks nobody can be seen, and nothing is run (`system.need_linux`).
    """
    if not HAS_LOCKS:
        return None
    for path in (store.lock, *sorted(store.root.glob(f"{store.lock.name}.*"))):
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
        except OSError:  # no lock file, or a file system without locks
            continue
    return None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder that this process makes: to others it is not left (`is_left`)."""
    if not HAS_LOCKS:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # whoever asks `is_left` has it for a moment
        yield
    finally:
        os.close(descriptor)


def is_left(folder: Path) -> bool:
    """Return whether whoever made a folder is gone, as a kill leaves it. False where there are no locks to tell."""
    if not HAS_LOCKS:
        return False
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return time.time() - os.fstat(descriptor).st_mtime > JUST_MADE_S
        finally:
            os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    try:
        return read_bytes(path, limits.LOCK).decode(errors="replace").strip() or "another process"
    except (OSError, ValueError):
        return "another process"


@contextlib.contextmanager
def _flock(path: Path, kind: int) -> Iterator[None]:
    with _opened(path) as file:
        patience = time.monotonic() + PATIENCE_S
        while not taken(file.fileno(), kind, path):
            if time.monotonic() > patience:
                raise InUse(
                    f"{path.parent} is in use by {_holder(path)}; "
                    "wait until that has ended, or stop it, then run this again"
                )
            time.sleep(PATIENCE_S / 20)
        if kind == fcntl.LOCK_EX:
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            note = f"process {os.getpid()} on {socket.gethostname()} since {now}"
            with contextlib.suppress(OSError):  # a full disk: only the message for those who wait is poorer
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), note.encode())
        yield


def _opened(path: Path) -> TextIO:
    """Open the lock file, which is made if need be. Raises UsageError."""
    try:
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be run: {path.name} in it cannot be opened for writing ({error.strerror}); "
            "repair this, or rerun the sweep into another folder"
        ) from error


def taken(descriptor: int, kind: int, path: Path) -> bool:
    """Try to lock a file; return False where another has it. A file system without locks locks nothing: said once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        _without_locks(str(path.parent), error.strerror)
    return True


@functools.cache
def _without_locks(folder: str, why: str) -> None:
    print(
        f"Warning: the file system of {folder} has no locks ({why}): see to it yourself that nobody else runs this "
        "sweep, and that nothing else is timed on this machine",
        file=sys.stderr,
    )
