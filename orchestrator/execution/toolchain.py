"""What compilers make once on a machine, whatever they compile: made once, measured, and no model's cost.

Inductor compiles test programs for every instruction set and a header that all its kernels include; they lie in its
cache, so each job with a cache of its own would pay them. They are made here instead, part by part, in a folder of the
user's cache that is named by all that they depend on, and every private cache starts as a copy of it: with the
toolchain, without any graph or kernel.

A folder appears whole (it is renamed) or not at all, and one process makes it at a time (flock). Only a folder that
this user has made, and nobody else can look into, is used. Where there can be none the jobs pay it themselves, and
their environment says why.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orchestrator
from orchestrator import system
from orchestrator.errors import UsageError, in_one_line
from orchestrator.execution.builds import CACHE_VARIABLE, PYTHON, users_cache
from orchestrator.files import read_json, remove_tree, write_json
from orchestrator.plugins import instantiate, toolchain_of
from orchestrator.records import Build, JobSpec

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import fcntl

NOTE = "toolchain.json"
"""In a toolchain's folder and in each cache that began as its copy."""
MAKE_S, WAIT_S, POLL_S = 600.0, 900.0, 0.2
LARGE = (".gch",)
"""Ends of the names of files of 150 MB that nobody writes to once they are there: they are linked, not copied."""
STOPPED = "the run was interrupted"
MAKING = "the compilers' toolchain, which is made once on this machine"
VARIABLES = (
    *("CXX", "CC", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("COMPILER_PATH", "GCC_EXEC_PREFIX", "CONDA_PREFIX", "TORCH", "TRITON_", "ATEN_", "CUDA_HOME", "CUDA_PATH"),
)
"""Beginnings of the names of environment variables that change what is made."""

Make = Callable[[str, Path, Mapping[str, str], threading.Event], float]
"""(part, folder, environment, stop) -> seconds; RuntimeError soon after `stop` is set."""


_Key = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""The parts, and the job's own environment with the variables of its build."""


@dataclass(frozen=True)
class Toolchain:
    """What there is for a job: a folder and the seconds that its parts took, or why there is none."""

    folder: Path | None
    facts: Mapping[str, Any]


class Toolchains:
    """Those of the jobs of one run. `environment` is that of its workers; `make` makes a part in a folder.

    builds: the variables of the environments that jobs name (`builds.Interpreter`).
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        make: Make | None = None,
        builds: Mapping[Build, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self._environment, self._make, self._builds = environment, make or run_part, builds
        self._known: dict[_Key, Toolchain] = {}
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make none any more, and give up what is being made."""
        self._stop.set()

    def has(self, job: JobSpec) -> bool:
        """Return whether `prepare` has nothing to do for a job."""
        key = self._key(job)
        return key is None or key in self._known

    def prepare(self, job: JobSpec, tell: Callable[[str], None] = lambda _: None) -> Toolchain | None:
        """Return the toolchain of a job, made now where it is not there yet; None of a job that needs none."""
        key = self._key(job)
        if key is None:
            return None
        parts = key[0]
        if key not in self._known:
            try:
                self._known[key] = self._found(parts, dict(key[1]), tell)
            except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
                self._known[key] = Toolchain(None, {"missing": in_one_line(error)[:300]})
        return self._known[key]

    def seed(self, cache: Path, job: JobSpec) -> None:
        """Let a compile cache begin with the job's toolchain, if it is empty. Raises OSError."""
        if any(cache.iterdir()):
            return
        toolchain = self.prepare(job)
        if toolchain is not None:
            files = 0 if toolchain.folder is None else _copy(toolchain.folder, cache)
            write_json(cache / NOTE, {"files": files, "toolchain": dict(toolchain.facts)})

    def _key(self, job: JobSpec) -> _Key | None:
        try:
            parts = toolchain_of(instantiate(job.compiler), job.workload)
        except UsageError:  # the job's own result will say so
            return None
        own = {**job.env, **(self._builds[job.workload.build] if job.workload.build else {})}
        return (parts, tuple(sorted(own.items()))) if parts else None

    def _found(self, parts: Sequence[str], own: Mapping[str, str], tell: Callable[[str], None]) -> Toolchain:
        environment = {**self._environment, **own}
        root = _root(self._environment)
        folder = root / key_of(parts, environment, own)
        with _locked(folder.with_suffix(".lock"), self._stop):
            for left in root.glob(f".{folder.name}.*"):  # of a process that was killed
                remove_tree(left)
            if folder.exists() or folder.is_symlink():
                _refuse_others(folder)
                return Toolchain(folder, read_json(folder / NOTE))
            before = self._found(parts[:-1], own, tell) if parts[1:] else Toolchain(None, {})
            if parts[-1] != "triton" and _compiler(environment) is None:
                raise RuntimeError(f"there is no C++ compiler: {environment.get('CXX', 'g++')}")
            tell(MAKING)
            with contextlib.ExitStack() as leaving:
                making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=root))
                leaving.callback(remove_tree, making)
                if before.folder is not None:
                    _copy(before.folder, making)
                seconds = self._make(parts[-1], making, environment, self._stop)
                for locks in list(making.glob("**/locks")):
                    remove_tree(locks)
                write_json(making / NOTE, {**before.facts, f"{parts[-1]}_s": round(seconds, 2)})
                os.rename(making, folder)
        return Toolchain(folder, read_json(folder / NOTE))


class Preparation:
    """A job's way to its toolchain, which takes a while the first time: `come` until it is True, or `leave`.

    It is made in a thread, so that whoever waits hears what else happens.
    """

    def __init__(self, toolchains: Toolchains, job: JobSpec) -> None:
        self._toolchains, self._job = toolchains, job
        self._thread: threading.Thread | None = None
        self._defect: BaseException | None = None
        self.reason = ""  # what it waits for, where `come` was False

    def come(self) -> bool:
        """Return whether the job has all that there will be. Blocks for a moment at most."""
        if self._thread is None:
            if self._toolchains.has(self._job):
                return True
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._thread.join(POLL_S)  # it may only have to be found
        if self._defect is not None:
            raise self._defect
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Give up what is being made."""
        if self._thread is not None:
            self._toolchains.stop()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._toolchains.prepare(self._job, self._tell)
        except BaseException as defect:  # noqa: BLE001 - raised where the thread is waited for
            self._defect = defect

    def _tell(self, what: str) -> None:
        self.reason = what


def key_of(parts: Sequence[str], environment: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Return the name of the folder of these parts: a hash of all that changes what is in it.

    Of the environment it is `VARIABLES`; of `own`, what the job sets itself, all: whoever wrote the job may mean harm.
    """
    spec = importlib.util.find_spec("torch")
    facts = {
        "parts": parts,
        "orchestrator": orchestrator.__version__,
        "machine": [platform.machine(), platform.libc_ver(), system.cpu_model(), system.cpu_flags()],
        "python": [sys.version, sys.prefix],
        "torch": [system.torch_build(), spec.origin if spec is not None else None],
        "packages": {name: system.packages().get(name) for name in ("torch", "triton")},
        "driver": system.driver() if "triton" in parts else None,
        "compiler": _compiler(environment),
        "variables": {
            name: value
            for name, value in environment.items()
            if name.startswith(VARIABLES) and name not in system.OF_A_JOB
        },
        "own": dict(own),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def run_part(part: str, folder: Path, environment: Mapping[str, str], stop: threading.Event) -> float:
    """Make a part in a process of its own. Raises RuntimeError with what it said last, or after `stop`; OSError.

    The process has a session of its own: Ctrl-C in the terminal is for the orchestrator alone.
    """
    temporary, answer = folder / "tmp", folder / "seconds"
    temporary.mkdir()
    folders = {"TORCHINDUCTOR_CACHE_DIR": folder / "inductor", "TRITON_CACHE_DIR": folder / "triton"}
    own = {name: str(path) for name, path in {**folders, "TMPDIR": temporary, system.DEBUG_FOLDER: temporary}.items()}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [environment.get(PYTHON, sys.executable), "-m", "orchestrator.worker.toolchain", part, str(answer)],
            env={**environment, system.COMPILE_THREADS: "1", **own},
            cwd=temporary,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait(process, stop)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    if process.returncode != 0:
        raise RuntimeError(f"{part}: {lines[-1] if lines else f'it ended with {process.returncode}'}")
    seconds = float(read_json(answer))
    answer.unlink()
    remove_tree(temporary)
    return seconds


def _wait(process: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """Raises RuntimeError after `stop`, or when the process takes too long."""
    deadline = time.monotonic() + MAKE_S
    while process.poll() is None:
        if stop.wait(POLL_S):
            raise RuntimeError(STOPPED)
        if time.monotonic() > deadline:
            raise RuntimeError(f"it was not made within {MAKE_S:.0f} s")


def _compiler(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the real path of the C++ compiler that inductor takes, and what it says of itself; None without one."""
    path = shutil.which(environment.get("CXX", "g++"), path=environment.get("PATH"))
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.path.realpath(path), done.stdout


def _root(environment: Mapping[str, str]) -> Path:
    """Return the folder of all toolchains, which this user has made. Raises OSError, RuntimeError."""
    root = users_cache(environment) / "toolchain"
    root.parent.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root.parent, root):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _refuse_others(folder)
    return root


def _refuse_others(folder: Path) -> None:
    """Raise PermissionError unless it is a folder (no link to one) that is this user's alone."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone: remove it, or set {CACHE_VARIABLE}")


@contextlib.contextmanager
def _locked(file: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the lock; who waits too long for another raises TimeoutError, and after `stop` RuntimeError."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has {file} for over {WAIT_S:.0f} s") from None
                if stop.wait(POLL_S):
                    raise RuntimeError(STOPPED) from None
        yield
    finally:
        os.close(descriptor)


def _copy(folder: Path, target: Path) -> int:
    """Copy a toolchain into an empty cache; return how many files inductor's have become."""
    count = 0
    for top in ("inductor", "triton"):
        for where, _, names in os.walk(folder / top):
            into = target / Path(where).relative_to(folder)
            into.mkdir(parents=True, exist_ok=True)
            for name in names:
                _copy_file(Path(where, name), into / name)
            count += len(names) if top == "inductor" else 0
    return count


def _copy_file(source: Path, target: Path) -> None:
    if source.name.endswith(LARGE):
        try:
            os.link(source, target)
        except OSError:  # another disk, or no hard links there
            target.symlink_to(source)
    else:
        shutil.copy2(source, target)
