"""The steps of a bisection: commits of a git repository, versions of a package; and what runs one of them.

A commit is folders that stand first in PYTHONPATH: a clone that shares the repository's objects (the repository itself
stays as it is). A version is a build, with the package in it (`orchestrator.execution.builds`, which makes both once).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.execution.builds import Tell, cache, interpreter, made_once, run
from orchestrator.records import Build


@dataclass(frozen=True)
class Step:
    """One commit or version: what tells it from the others, and what it says of itself."""

    name: str
    title: str = ""

    @property
    def short(self) -> str:
        """Its name for people: of a commit the first digits."""
        return self.name[:10] if re.fullmatch(r"[0-9a-f]{40}", self.name) else self.name


@dataclass(frozen=True)
class Code:
    """A step that can run: in a build, or from folders.

    paths: of code, found first; moved: (the folder that a job may name files in, its own).
    """

    step: Step
    paths: tuple[Path, ...] = ()
    moved: tuple[str, str] | None = None
    build: Build | None = None


class Commits:
    """Those of the git repository that a folder is in."""

    def __init__(self, folder: str, setup: str | None = None) -> None:
        top = _said(["git", "-C", folder, "rev-parse", "--show-toplevel"], f"--over git:{folder}")
        self._top, self._setup = Path(top), setup

    def between(self, good: str, bad: str) -> list[Step]:
        """Return the commits from the good one to the bad one, both with it, on the line of first parents.

        Raises UsageError where one is none, or the good one is no ancestor.
        """
        first, last = (self._commit(name, flag) for name, flag in ((good, "--good"), (bad, "--bad")))
        text = self._git("log", "--first-parent", "--reverse", "--format=%H %s", f"{first}..{last}")
        found = [Step(*line.partition(" ")[::2]) for line in text.splitlines()]
        if not found or self._git("merge-base", first, last) != first:
            raise UsageError(f"--good {good} --bad {bad}: the first is no ancestor of the second in {self._top}")
        return [Step(first, self._git("log", "-1", "--format=%s", first)), *found]

    def build(self, step: Step, tell: Tell = lambda _: None) -> Code:
        """Make a commit, if it is not there. Raises CannotBuild."""
        folder = cache(str(self._top.resolve()), step.name, self._setup or "")

        def make(lock: int) -> None:
            run(["git", "clone", "--quiet", "--shared", "--no-checkout", str(self._top), str(folder)], lock=lock)
            run(["git", "-C", str(folder), "checkout", "--quiet", "--detach", step.name], lock=lock)
            if self._setup:
                run(["sh", "-c", self._setup], folder, lock)

        made_once(folder, make, tell)
        paths = [folder / "src"] if (folder / "src").is_dir() else []
        return Code(step, (*paths, folder), (str(self._top), str(folder)))

    def _commit(self, name: str, flag: str) -> str:
        command = ["git", "-C", str(self._top), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
        return _said(command, f"{flag} {name}: no commit of {self._top}")

    def _git(self, *arguments: str) -> str:
        return _said(["git", "-C", str(self._top), *arguments], f"git {arguments[0]}")


class Versions:
    """Those of a package that pip finds, where it looks by default (its configuration and PIP_* variables hold)."""

    def __init__(self, package: str, setup: str | None = None) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", package):
            raise UsageError(f"--over pip:{package}: write the name of one package, as in pip:torch")
        self._package, self._setup = package, setup

    def between(self, good: str, bad: str) -> list[Step]:
        """Return the released versions from the good one to the bad one. Raises UsageError where one is none."""
        text = _said([*_PIP, "index", "versions", self._package], f"--over pip:{self._package}")
        listed = re.search(r"^Available versions: (.+)$", text, re.MULTILINE)
        known = [one.strip() for one in listed[1].split(",")][::-1] if listed else []  # pip's newest come first
        for version, flag in ((good, "--good"), (bad, "--bad")):
            if version not in known:
                raise UsageError(f"{flag} {version}: pip finds no such {self._package}: {did_you_mean(version, known)}")
        if known.index(good) >= known.index(bad):
            raise UsageError(f"--good {good} --bad {bad}: the first must be the older version")
        return [Step(version, self._package) for version in known[known.index(good) : known.index(bad) + 1]]

    def build(self, step: Step, tell: Tell = lambda _: None) -> Code:
        """Install a version over this environment, if it is not there. tell: hears of it. Raises CannotBuild."""
        build = Build(name=step.name, requirements=(f"{self._package}=={step.name}",), setup=self._setup)
        interpreter(build, tell)
        return Code(step, build=build)


_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
Builds = Commits | Versions


def builds_of(over: str, setup: str | None = None) -> Builds:
    """Return what "git:DIR" or "pip:PACKAGE" names. Raises UsageError.

    setup: a shell command that is run in the folder of a new build.
    """
    kind, _, what = over.partition(":")
    if kind not in ("git", "pip") or not what:
        raise UsageError(f"--over {over}: write git:DIR, a repository, or pip:PACKAGE")
    return Commits(what, setup) if kind == "git" else Versions(what, setup)


def _said(command: Sequence[str], about: str) -> str:
    """Return what a command says on stdout. Raises UsageError that begins with `about`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise UsageError(f"{about}: {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise UsageError(": ".join(part for part in (about, _last_line(done.stderr)) if part))
    return done.stdout.strip()


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
