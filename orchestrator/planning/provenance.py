"""Where a sweep comes from: machine, packages, git state, and a copy of the configuration that was composed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator import limits, system
from orchestrator.files import files_below
from orchestrator.planning.machine import Machine

GIT_SECONDS = 10
OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"})
"""Variables that name a repository, whatever the folder: git sets them for its hooks, and there it is another one."""
DEPTHS = ("*.yaml", "*/*.yaml", "*/*/*.yaml")
"""What is copied of a configuration folder: no deeper, for `--config-dir .` would copy every sweep in ./outputs."""


def environment(machine: Machine) -> dict[str, Any]:
    """Return machine, versions and the git state of this code; nothing heavy is imported."""
    return {
        **system.host(),
        "cores": machine.cores,
        "threads": machine.threads,
        "cuda_devices": machine.cuda_devices,
        "gpus": system.gpus(),
        "driver": system.driver(),
        "orchestrator": orchestrator.__version__,
        "packages": system.packages(),
        "torch": system.torch_build(),
        "variables": system.variables(system.inherited()),
        "git": git_state(Path(orchestrator.__file__).parent),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return {"commit", "changed"} of the repository that `folder` is in; None when it is in none, or git is absent.

    `changed`: files that differ from the commit, at most 50.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain") or ""
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()[:50]]}


def copy_conf(sources: Iterable[tuple[str, Path]], target: Path) -> dict[str, Any]:
    """Copy the YAML files of configuration folders, and single ones; return {provider: {"path", "sha256"}}.

    sources: (provider, folder or file) in search order. The hash is over relative paths and contents. Raises OSError.
    """
    copied: dict[str, Any] = {}
    for index, (provider, folder) in enumerate(sources):
        if not folder.exists():
            continue
        name = f"{index}-{provider}"
        for relative, file in _files(folder):
            (target / name / relative.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name / relative)
        copied[name] = {"path": str(folder), "sha256": _hash(folder)}
    return copied


def stored_conf(stored: Path, copied: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Return (provider, folder) of the copies that `copy_conf` made in `stored`, in search order.

    copied: what it returned. Raises ValueError where one is not as it was made.
    """
    found = []
    for name in sorted(copied, key=lambda name: int(name.partition("-")[0])):
        if _hash(stored / name) != copied[name]["sha256"]:
            raise ValueError(f"{stored / name} is not as it was copied")
        found.append((name.partition("-")[2], stored / name))
    return found


def _files(folder: Path) -> list[tuple[Path, Path]]:
    """Return the YAML files of a folder, or a single one: (path below the folder, file)."""
    if folder.is_file():
        return [(Path(folder.name), folder)]
    return [
        (file.relative_to(folder), file) for file in sorted(file for depth in DEPTHS for file in folder.glob(depth))
    ]


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for relative, file in _files(folder):
        content = file.read_bytes()
        digest.update(f"{relative.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def copy_stored_conf(stored: Path, target: Path) -> None:
    """Copy the YAML files of one sweep's conf/ to that of another. Raises OSError.

    Nothing that `copy_conf` would not have put there.
    """
    for name, size in files_below(stored):
        path = Path(name)
        if path.suffix == ".yaml" and len(path.parts) <= len(DEPTHS) + 1 and size <= limits.RULES:
            (target / path.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stored / path, target / path)


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    own = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=own, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
