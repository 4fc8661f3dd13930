"""What the measures share that look at the model's own code, before any compiler has touched it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.measures.context import Context
from orchestrator.plugins import Program, Unsupported

ARTIFACTS = "artifacts"
"""Folder of the files that a measure leaves, inside the job's folder."""


@dataclass
class Inside:
    """What `really_eager` saw: whether code was called that the model has compiled itself, with torch.compile."""

    compiled: bool = False


@contextmanager
def really_eager() -> Iterator[Inside]:
    """Run what a model compiles itself (torch.compile in it, Module.compile) as plain Python; say whether it did.

    It is `torch.compiler.set_stance("force_eager")`. Enter it outside of the clock, and never while dynamo is at work.
    What torch.compile returns asks `_callback_from_stance` at each call which compiler is in force (torch 2.6 to 2.13),
    whichever way the model made it, and when: that is how it is noticed.
    """
    import torch
    from torch._dynamo import eval_frame

    inside = Inside()
    ask = eval_frame._callback_from_stance

    def noting(callback: Any) -> Any:
        inside.compiled |= callback is not None and callback is not False  # those are torch.compiler.disable
        return ask(callback)

    with torch.compiler.set_stance("force_eager"):
        eval_frame._callback_from_stance = noting
        try:
            yield inside
        finally:
            eval_frame._callback_from_stance = ask


def eager_only(context: Context, why: str) -> None:
    """Raise Unsupported for another compiler than eager: no row may have a compiler's name and eager's figures."""
    if not context.is_eager:
        raise Unsupported(f"{why}: ask for it with compiler=eager")


def eager_step(context: Context) -> tuple[Program, Callable[[], Any]]:
    """Return the program as the suite builds it, and one step of the workload's mode through the model itself."""
    with context.phase("build"):
        program = context.build(dropout=context.mode.training)
    context.seed()
    return program, context.mode.step(program, context.group.eager(program), context.workload)


def artifact(context: Context, name: str) -> tuple[str, str]:
    """Return the path at which to leave a file, and what a row calls it: its path relative to the job's folder."""
    folder = context.folder / ARTIFACTS
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / name), f"{ARTIFACTS}/{name}"
