"""What the measures share that look at the model's own code, before any compiler has touched it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.measures.context import Context
from orchestrator.plugins import Program, Unsupported

ARTIFACTS = "artifacts"
"""Folder of the files that a measure leaves, inside the job's folder."""


def eager_only(context: Context, why: str) -> None:
    """Raise Unsupported for another compiler than eager: no row may have a compiler's name and eager's figures."""
    if not context.is_eager:
        raise Unsupported(f"{why}: ask for it with compiler=eager")


def eager_step(context: Context) -> tuple[Program, Callable[[], Any]]:
    """Return the program as the suite builds it, and one step of the workload's mode through the model itself."""
    with context.phase("build"):
        program = context.build(dropout=context.mode.training)
    context.seed()
    return program, context.mode.step(program, program.model, context.workload)


def artifact(context: Context, name: str) -> tuple[str, str]:
    """Return the path at which to leave a file, and what a row calls it: its path relative to the job's folder."""
    folder = context.folder / ARTIFACTS
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / name), f"{ARTIFACTS}/{name}"
