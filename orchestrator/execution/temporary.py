"""A folder for the temporary files of each job, gone with it: what one leaves there no other finds, and no disk fills.

They lie where the system keeps such files, not in the sweep folder: names of sockets have room for 107 characters.
Their name comes from the sweep's, so that what a killed run has left is found, and removed, when it is resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestrator.files import remove_tree
from orchestrator.records import JobSpec
from orchestrator.store import SweepFolder


class Temporary:
    """Makes and removes the temporary folders of a shard's jobs (all of them: the first names the shard)."""

    def __init__(self, store: SweepFolder, jobs: Sequence[JobSpec]) -> None:
        shard = jobs[0].id if jobs else ""
        key = hashlib.sha256(f"{os.path.realpath(store.root)} {shard}".encode()).hexdigest()[:8]
        self._root = Path(tempfile.gettempdir()) / f"orchestrator-{os.getuid()}-{key}"
        if _is_ours(self._root):
            remove_tree(self._root)

    def fresh(self, name: str) -> Path:
        """Return the folder of a job (its id is the name), or of jobs that take turns, empty. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            self._root.mkdir(mode=0o700)
        if not _is_ours(self._root):  # somebody has guessed the name, in a folder that all may write into
            self._root = Path(tempfile.mkdtemp(prefix="orchestrator-"))
        folder = self._root / name
        remove_tree(folder)
        folder.mkdir()
        return folder

    def finished(self, name: str) -> None:
        remove_tree(self._root / name)
        with contextlib.suppress(OSError):  # it has others in it, or never was
            self._root.rmdir()


def _is_ours(folder: Path) -> bool:
    """Return whether it is a folder (no link to one) that only this user may write into."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
