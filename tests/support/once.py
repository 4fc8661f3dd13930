"""What takes seconds to make is made once for all processes of pytest-xdist, though each has fixtures of its own."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of that name, which the first to ask for it has filled. Whoever changes it takes a copy."""
    base = factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    folder = shared / name
    made = shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a process that ends, however, lets go of it
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half of it, where that failed before
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
