"""Folders that nobody needs afterwards: those that jobs share (compile caches, tensors), and one of temporary files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.files import remove_tree
from orchestrator.records import TIMED, JobSpec
from orchestrator.store import SERIES, SweepFolder

LEAVE_TENSORS = ("reference", "series", "timed")
"""Kinds of needs whose jobs leave tensors for those that have them."""
TRASH = ".removed"  # suffix of a folder that is being removed


class Scratch:
    """Removes each shared folder of `jobs` when the last of those that use it has ended.

    `unfinished` are the jobs that have no result yet. What none of them uses was left by a run that was killed, and
    goes at once. Folders of kinds to be kept are not looked at.
    """

    def __init__(
        self,
        store: SweepFolder,
        jobs: Sequence[JobSpec],
        unfinished: Iterable[JobSpec],
        *,
        keep_caches: bool,
        keep_references: bool,
    ) -> None:
        self._store = store
        self._keep_caches, self._keep_references = keep_caches, keep_references
        self._users: defaultdict[Path, set[str]] = defaultdict(set)
        families = {job.id: job.family for job in jobs if job.kind == TIMED}
        self._timed = {  # job that judges -> the timed job whose code it judges, and the family of that
            job.id: (need.job, families[need.job])
            for job in jobs
            for need in job.needs
            if need.kind == "timed" and need.job in families
        }
        waiting, known = {job.id for job in unfinished}, set[Path]()
        for job in jobs:
            for folder in self._folders(job):
                known.add(folder)
                if job.id in waiting:
                    self._users[folder].add(job.id)
        for parent in (store.caches, store.references):
            for left in list(parent.glob("*")):
                if left.name.endswith(TRASH):
                    remove_tree(left)
                elif left in known and left not in self._users:
                    self._remove(left)
            with contextlib.suppress(OSError):  # it has others in it, or is not there
                parent.rmdir()

    def fresh_cache(self, job: JobSpec) -> Path:
        """Return the cache folder of the job's family, empty when this is the family's first round. Raises OSError.

        That of a job which has to compile a twin of timed code begins as a copy of what the timed job has left.
        """
        cache = self._store.cache(job.family)
        if job.round == 0:
            remove(cache)
        timed, family = self._timed.get(job.id, (None, None))
        if timed is not None and not (self._store.reference(timed) / SERIES).exists():
            with contextlib.suppress(FileNotFoundError):  # the timed job was run by an earlier run
                shutil.copytree(self._store.cache(str(family)), cache, symlinks=True, copy_function=_link)
        cache.mkdir(parents=True, exist_ok=True)
        return cache

    def finished(self, job: JobSpec) -> None:
        for folder in self._folders(job):
            self._users[folder].discard(job.id)
            if not self._users[folder]:
                del self._users[folder]
                self._remove(folder)

    @staticmethod
    def _remove(folder: Path) -> None:
        remove(folder)
        with contextlib.suppress(OSError):  # it has others in it, or never was
            folder.parent.rmdir()

    def _folders(self, job: JobSpec) -> Sequence[Path]:
        families = [job.family, *([self._timed[job.id][1]] if job.id in self._timed else [])]
        caches = [] if self._keep_caches else [self._store.cache(family) for family in families]
        tensors = [job.id, *(need.job for need in job.needs if need.kind in LEAVE_TENSORS)]
        return caches + ([] if self._keep_references else [self._store.reference(name) for name in tensors])


class Temporary:
    """A folder for each job's temporary files, gone with it: what one leaves no other finds, and no disk fills.

    They lie where the system keeps such files, not in the sweep folder: names of sockets have room for 107 characters.
    Their name comes from the sweep's, so that what a killed run has left is found, and removed, when it is resumed.
    jobs: all of a shard; the first names it.
    """

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


def drop_caches(store: SweepFolder, jobs: Iterable[JobSpec]) -> None:
    """Remove the compile caches of these jobs that an earlier run has left.

    A cache holds pickles and shared libraries, which compilers load: whoever wrote it runs as whoever uses it. So no
    run uses one that it has not made itself, whoever made the folder: nobody can tell what was put there meanwhile. A
    later round of a sweep that is resumed then starts cold, and says so.
    """
    for family in {job.family for job in jobs} if store.caches.is_dir() else ():
        remove(store.cache(family))


def clear(store: SweepFolder, job: JobSpec) -> None:
    """Write a job's file, and leave nothing of an earlier attempt but its log."""
    store.write_job(job)
    for file in store.job(job.id).glob(".*.tmp"):  # of a process that was killed while it wrote
        file.unlink(missing_ok=True)
    for file in (store.result_file(job.id), store.phase_file(job.id)):
        file.unlink(missing_ok=True)
    remove(store.artifacts(job.id))
    remove(store.reference(job.id))


def remove(folder: Path) -> None:
    """Remove a folder so that it is there whole or not at all, also when this process is killed meanwhile."""
    trash = folder.with_name(folder.name + TRASH)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, trash)
    remove_tree(trash)


def _link(source: str, target: str) -> None:
    """Let a file be in two caches: compilers replace what they write, and never write into it."""
    try:
        os.link(source, target)
    except OSError:  # no hard links there
        shutil.copy2(source, target)


def _is_ours(folder: Path) -> bool:
    """Return whether it is a folder (no link to one) that only this user may write into."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
