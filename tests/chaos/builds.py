"""Faults of builds (docs/builds.md): while an environment is made, and when jobs lose that in which they run."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import psutil

from chaos.hits import Hit, awaited
from chaos.sweeps import ChaosSweep
from orchestrator.execution.builds import BIN_PYTHON, MADE


def half_made(sweep: ChaosSweep) -> list[Path]:
    """Return the environments that were not made to their end."""
    return [folder for folder in _environments(sweep) if not (folder / MADE).exists()]


def makers(sweep: ChaosSweep) -> dict[str, psutil.Process]:
    """Return what the orchestrator has started to make an environment: Python for venv, a shell."""
    if not half_made(sweep):
        return {}
    return {f"maker {one.pid}": one for one in sweep.helpers()}


def servers(sweep: ChaosSweep) -> dict[str, psutil.Process]:
    """Return the fork servers that run in an environment that was made."""
    return {f"server {one.pid}": one for one in sweep.servers() if str(sweep.cache) in _line(one)}


def make_anew(sweep: ChaosSweep) -> None:
    """Have an environment made once more that is there already."""
    if sweep.run.alive and _environments(sweep) and not half_made(sweep):
        sweep.kill()
        shutil.rmtree(sweep.cache)
        sweep.start()


def python_removed(sweep: ChaosSweep, chance: random.Random) -> Hit | None:
    """Remove the interpreter that jobs run in, or all of its environment, and kill the server that it runs."""
    server = awaited(sweep, lambda: next(iter(servers(sweep).values()), None))
    if server is None:
        return None
    running = tuple(sweep.workers())
    for folder in _environments(sweep):
        if chance.random() < 0.5:
            shutil.rmtree(folder)
        else:
            (folder / BIN_PYTHON).unlink()
    with contextlib.suppress(psutil.NoSuchProcess):
        server.kill()
    return Hit(running)


def _environments(sweep: ChaosSweep) -> list[Path]:
    return [path.parent for path in sweep.cache.glob("orchestrator/builds/*/pyvenv.cfg")]


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
