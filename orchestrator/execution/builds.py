"""Environments that jobs run in: made once each, in the user's cache, and found there again.

A build (`orchestrator.records.Build`) with requirements is a virtual environment over that of its interpreter: what pip
installs lies in front, all else is found where it was. One that names an interpreter alone is used as it is. This
package is what both find of orchestrator: a build has other code to measure, and the same that measures.

Whoever makes one holds its lock, as do the processes that it starts for it. One that was not made to its end has no
mark, and is removed by the next who asks for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.errors import UsageError, in_one_line
from orchestrator.files import remove_tree
from orchestrator.records import Build, JobSpec, fingerprint
from orchestrator.words import some

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import fcntl

CACHE_VARIABLE = "XDG_CACHE_HOME"
MADE = ".orchestrator-made"
"""In a build that was made to its end."""
BIN_PYTHON = "bin/python"
LONGEST, LAST_LINES = 60, 6
STILL_S = 30.0
"""So often it is said that an environment is still being made: pip may load gigabytes, and says nothing of them."""
DOES_NOT_FIT = re.compile(r"\S+ \S+ requires .*, but you have .*")
"""What pip says, and installs all the same: of a package below, which needs another version than is now in front."""
PYTHON, STATE = "ORCHESTRATOR_PYTHON", "ORCHESTRATOR_PYTHON_STATE"
"""What stands in the variables of a build for its interpreter, and for all packages that it has."""
OLDEST = (3, 11)
NEEDED = ("numpy", "psutil", "pynvml", "safetensors", "torch")
"""Modules that every job imports; it is a package of pip's that `PACKAGES` says otherwise."""
PACKAGES = {"pynvml": "nvidia-ml-py"}
DESCRIBE = """
import importlib.metadata, importlib.util, json, os, site, sys
sites = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
known = {one.metadata["Name"] or "": one.version for one in reversed(list(importlib.metadata.distributions()))}
print(json.dumps({"version": sys.version, "python": list(sys.version_info[:3]), "packages": known,
                  "sites": [one for one in sites if os.path.isdir(one)],
                  "missing": [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]}))
"""
Tell = Callable[[str], None]


class CannotBuild(Exception):
    """What cannot be made; its text says why: of what was run, the last lines."""


@dataclass(frozen=True)
class Interpreter:
    """What the jobs of a build are started with. variables: of their environment; packages: name -> version."""

    python: str
    variables: Mapping[str, str]
    packages: Mapping[str, str]


def interpreters(jobs: Iterable[JobSpec], tell: Tell = lambda _: None) -> dict[Build, Interpreter]:
    """Return the environments that jobs name, made now where they are not there yet.

    tell: hears what takes a while. Raises UsageError that names the build, and says what pip said last.
    """
    found: dict[Build, Interpreter] = {}
    for job in jobs:
        build = job.workload.build
        if build is None or build in found:
            continue
        with _named(build):
            found[build] = interpreter(build, tell)
    return found


def interpreter(build: Build, tell: Tell = lambda _: None) -> Interpreter:
    """Return the environment of a build, made now where it is not there yet. Raises CannotBuild."""
    below = _described(build.python or sys.executable)
    if not (build.requirements or build.setup):
        return _checked(below, build.python or sys.executable, {"PYTHONPATH": _with_us()})
    folder, _ = _place(build, below)
    made_once(folder, lambda lock: _make(build, below, folder, lock, tell), tell, BIN_PYTHON)
    python = str(folder / BIN_PYTHON)
    return _checked(_described(python), python, {})


def in_words(build: Build) -> str:
    """Return what a plan says of a build: what it is made of, and whether it is there. Raises UsageError."""
    with _named(build):
        below = _described(build.python or sys.executable)
    parts = [f"pip install {' '.join(build.requirements)}"] if build.requirements else []
    parts += [build.setup] if build.setup else []
    over = f"{build.python or 'this environment'} (Python {'.'.join(map(str, below['python']))})"
    if not parts:
        return f"{build.name}: {over}"
    folder, is_there = _place(build, below)
    state = f"made, in {folder}" if is_there else "made when the sweep starts"
    return f"{build.name}: {', then '.join(parts)}, over {over}; {state}"


@contextlib.contextmanager
def _named(build: Build) -> Iterator[None]:
    """Raise UsageError that names the build which cannot be made."""
    try:
        yield
    except CannotBuild as error:
        raise UsageError(f"the build {build.name} cannot be made: {error}") from error


def users_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return our folder in the user's cache."""
    chosen = environment.get(CACHE_VARIABLE, "")
    return (Path(chosen) if os.path.isabs(chosen) else Path.home() / ".cache") / "orchestrator"


def cache(*what: Any) -> Path:
    """Return the folder, below the user's cache, of what is made of these."""
    return users_cache() / "builds" / hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def made_once(folder: Path, make: Callable[[int], None], tell: Tell = lambda _: None, has: str = "") -> None:
    """Let `make` fill a folder unless that was done to its end. It is given the lock, for processes that it starts.

    has: what lies in it; when somebody has removed that, it is made anew. Raises CannotBuild, and what `make` raises.
    """
    if _is_made(folder, has):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder.with_suffix(".lock"), tell) as lock:
            if not _is_made(folder, has):
                remove_tree(folder)
                make(lock)
                (folder / MADE).touch()
    except OSError as error:
        raise CannotBuild(in_one_line(error)) from error


def _is_made(folder: Path, has: str) -> bool:
    return (folder / MADE).exists() and (folder / has).exists()


def run(
    command: Sequence[str], folder: Path | None = None, lock: int | None = None, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that makes something; return what it said. Raises CannotBuild with its last lines.

    lock: a descriptor that the command keeps open too; more: variables on top of this process's.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(more or {})},
            pass_fds=() if lock is None else (lock,),
        )
    except OSError as error:
        raise CannotBuild(in_one_line(error)) from error
    if done.returncode != 0:
        lines = [line.rstrip() for line in (done.stderr.strip() or done.stdout).splitlines() if line.strip()]
        said = "\n  ".join(lines[-LAST_LINES:]) or f"it ended with {done.returncode}"
        short = " ".join(command)
        raise CannotBuild(f"{short if len(short) <= LONGEST else f'{short[:LONGEST]}...'}: {said}")
    return done


def _make(build: Build, below: Mapping[str, Any], folder: Path, lock: int, tell: Tell) -> None:
    """Make a virtual environment that has what its interpreter has, and install what was asked for in front of it."""
    has_pip = importlib.util.find_spec("pip") is not None
    without = ["--without-pip"] if has_pip or not build.requirements else []
    with _heard(build, tell):
        run([build.python or sys.executable, "-m", "venv", *without, str(folder)], lock=lock)
        python = str(folder / BIN_PYTHON)
        (packages,) = folder.glob("lib/python*/site-packages")
        lines = [str(_us()), f"import site; list(map(site.addsitedir, {below['sites']!r}))"]
        (packages / "orchestrator_build.pth").write_text("\n".join(lines) + "\n")
        if build.requirements:
            pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
            quiet = ["--disable-pip-version-check", "--quiet", "--no-input"]
            done = run([*pip, *quiet, "install", *build.requirements], lock=lock, more={"PYTHONPATH": ""})
            for line in filter(DOES_NOT_FIT.match, done.stderr.splitlines()):
                tell(line)
        if build.setup:
            path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)])
            run(["sh", "-c", build.setup], folder, lock, {"PATH": path, "VIRTUAL_ENV": str(folder)})


@contextlib.contextmanager
def _heard(build: Build, tell: Tell) -> Iterator[None]:
    """Tell that a build is being made, and again and again that it still is."""
    start, ended = time.monotonic(), threading.Event()

    def still() -> None:
        while not ended.wait(STILL_S):
            tell(f"still making {build.name}, {time.monotonic() - start:.0f} s so far")

    what = " ".join(build.requirements) or str(build.setup)
    tell(f"making the build {build.name}" + f": {what}" * (what != build.name))
    thread = threading.Thread(target=still, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _place(build: Build, below: Mapping[str, Any]) -> tuple[Path, bool]:
    """Return the folder of a build, named by what it is made of, and whether it was made.

    What is in front was chosen for what lies below: other packages there make it another one.
    """
    what = [build.python or sys.executable, below["version"], below["sites"], sorted(below["packages"].items())]
    folder = cache(*what, build.requirements, build.setup)
    return folder, _is_made(folder, BIN_PYTHON)


def _described(python: str) -> dict[str, Any]:
    """Return what an interpreter says of itself (`DESCRIBE`). Raises CannotBuild."""
    if not os.access(python, os.X_OK) or os.path.isdir(python):
        raise CannotBuild(f"{python} is no interpreter: there is no such program")
    text = run([python, "-c", DESCRIBE, *NEEDED], more={"PYTHONPATH": ""}).stdout
    try:
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise CannotBuild(f"{python} is no interpreter of Python: it says {text.strip()[:LONGEST]!r}") from error
    return found


def _checked(found: Mapping[str, Any], python: str, variables: Mapping[str, str]) -> Interpreter:
    """Return the interpreter, if jobs can run with it. Raises CannotBuild."""
    if tuple(found["python"]) < OLDEST:
        version = ".".join(map(str, found["python"]))
        raise CannotBuild(f"{python} is Python {version}: jobs need {'.'.join(map(str, OLDEST))} or newer")
    if found["missing"]:
        names = [PACKAGES.get(name, name) for name in found["missing"]]
        raise CannotBuild(
            f"{python} lacks {some(found['missing'], 5)}, which every job imports: {python} -m pip install "
            f"{' '.join(names)}"
        )
    state = fingerprint([found["version"], sorted(found["packages"].items())])
    return Interpreter(python, {**variables, PYTHON: python, STATE: state[:16]}, found["packages"])


def _us() -> Path:
    """Return a folder that has this package and nothing else: what lies beside it is not a build's."""
    package = Path(orchestrator.__file__).absolute().parent
    link = cache("orchestrator", str(package)) / "orchestrator"
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(package)
    return link.parent


def _with_us() -> str:
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_us()), *([before] if before else [])])


@contextlib.contextmanager
def _locked(file: Path, tell: Tell) -> Iterator[int]:
    """Hold a lock, as long as this process and those that it starts with it live. Raises OSError."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another process that makes the same build")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
