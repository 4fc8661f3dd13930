"""Inputs that take another path through a model than the first ones do: a trace has frozen one of them.

A model can only branch on its data where it reads a number out of a tensor. For one that does, draws are tried until
the operators, the truth values that were read, or the lines that ran are others than with the first inputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import orchestrator
from orchestrator.measures.calls import Call, Tensors, Watch, fresh_inputs, inputs_of
from orchestrator.measures.context import Context
from orchestrator.plugins import Program

READS = "aten._local_scalar_dense"
SMALL, DRAWS, DRAWS_OF_LARGE = 5_000_000, 40, 4
"""Parameters up to which a model is small, and how many draws are tried: each builds the model once more."""

Trail = tuple[tuple[Any, ...], frozenset[tuple[str, int]]]


class _Operators(TorchDispatchMode):
    """Notes the name of each operator, and each truth value that is read out of a tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[Any] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = str(function.overloadpacket)
        self.seen.append((name, result) if name == READS and isinstance(result, bool) else name)
        return result


def other_path(context: Context, program: Program, calls: Sequence[Call]) -> Call | None:
    """Return a call whose inputs take another path than the first ones; None where those of `calls` do, or none is
    found.

    `program` is used up: its state is what the tries made of it.
    """
    watch = Watch(context, program, program.model)
    first = _trail(watch, calls[0], program.inputs)
    if not any(READS in (one, one[0]) for one in first[0]):
        return None
    known = {call.inputs for call in calls}
    draws = DRAWS if sum(weight.numel() for weight in program.model.parameters()) <= SMALL else DRAWS_OF_LARGE
    more = [Call(f"fresh {number}", calls[0].seed + number) for number in range(1, draws + 1)]
    for call in (*calls[1:], *more):
        given = inputs_of(program.inputs, [call], fresh_inputs(context, [call]))[call.inputs]
        if _trail(watch, call, given) != first:
            return None if call.inputs in known else call
    return None


def _trail(watch: Watch, call: Call, given: Tensors) -> Trail:
    """Return what ran in one call: operators and truth values in their order, and lines of the model's code."""
    with _Operators() as operators, _lines() as lines:
        watch.call(call, given)
    return tuple(operators.seen), frozenset(lines)


@contextmanager
def _lines() -> Iterator[set[tuple[str, int]]]:
    """Collect the lines that run, but for torch's and ours."""
    others = tuple(str(Path(str(module.__file__)).parent) for module in (torch, orchestrator))
    seen: set[tuple[str, int]] = set()

    def in_function(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return in_function

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        return None if frame.f_code.co_filename.startswith(others) else in_function

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        yield seen
    finally:
        sys.settrace(before)
