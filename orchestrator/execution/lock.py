"""One scheduler per sweep folder (and per shard of it): two would run every job twice and wipe each other's caches."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.store import SweepFolder


@contextlib.contextmanager
def locked(store: SweepFolder, shard: int, of: int) -> Iterator[None]:
    """Hold the sweep folder: alone, or beside its other shards. Raises UsageError when someone else has it.

    The kernel drops the lock with the process, however that ends: there are no stale locks.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_flock(store.lock, fcntl.LOCK_EX if of == 1 else fcntl.LOCK_SH))
        if of > 1:
            stack.enter_context(_flock(store.lock.with_name(f"{store.lock.name}.{shard}"), fcntl.LOCK_EX))
        yield


@contextlib.contextmanager
def _flock(path: Path, kind: int) -> Iterator[None]:
    with path.open("a+") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"{path.parent} is in use by {file.read().strip() or 'another process'}; "
                "wait until that has ended, or stop it, then run this again"
            ) from None
        if kind == fcntl.LOCK_EX:
            file.truncate(0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}")
            file.flush()
        yield
