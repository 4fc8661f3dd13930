"""docker/: what can be said of an image without building it, and that what it copies makes the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.command import ROOT

FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
KNOWN = ("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "WORKDIR")


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile and what stands behind each, continued lines in one."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    words = [line.split(maxsplit=1) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    return [(name, rest) for name, rest in words]


def copied(file: Path) -> list[str]:
    return [name for kind, rest in instructions(file) if kind == "COPY" for name in rest.split()[:-1]]


def of(file: Path, kind: str) -> list[str]:
    return [rest for name, rest in instructions(file) if name == kind]


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_is_one_for_the_cpu_and_one_for_cuda() -> None:
    assert [file.suffix for file in FILES] == [".cpu", ".cuda"]


def test_the_base_is_pinned_and_nobody_is_root(file: Path) -> None:
    assert {name for name, _ in instructions(file)} <= set(KNOWN)
    assert instructions(file)[0][0] == "FROM"
    for base in of(file, "FROM"):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base), (
            "a whole version and a release of Debian, never latest"
        )
    (user,) = of(file, "USER")
    assert user == "$UID"
    assert of(file, "ARG")[-1] == "UID=1000"
    assert of(file, "ENTRYPOINT") == ['["orchestrator"]']


def test_what_pip_installs_is_pinned_by_the_constraints(file: Path) -> None:
    installs = re.findall(r"pip install[^&]*", " ".join(of(file, "RUN")))
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in command for command in installs)
    assert ("--index-url" in installs[0]) == (file.suffix == ".cpu")  # the package index's torch is a CUDA build


def test_what_is_copied_is_there_and_not_ignored(file: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied(file)) == kept
    assert [name for name in kept if not (ROOT / name).exists()] == []


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, "--no-color", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_what_is_copied_makes_the_package(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in copied(file):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(place, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "-w", str(tmp_path), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {"orchestrator/conf/config.yaml", "orchestrator/experiments/quick.yaml"} <= set(archive.namelist())
