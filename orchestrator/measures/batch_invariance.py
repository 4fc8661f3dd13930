"""Does a sample's result depend on how many others are in its batch? It must not, to the bit.

As `--batch-invariant` of PyTorch's benchmarks/dynamo: the batch is cut down to its first N // 2, N // 4, ..., 1
samples, each compiled afresh, and the outputs must be slices of those of the whole batch. Forward only, in eval mode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator import precision
from orchestrator.measures.compare import differing
from orchestrator.measures.context import Context
from orchestrator.measures.reference import make_deterministic
from orchestrator.plugins import Outcome, Program, Unsupported
from orchestrator.records import FAIL_ACCURACY, OBSERVED, PASS, PASS_DUE_TO_SKIP

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class BatchInvariance:
    """The whole batch is the workload's: 8 unless `batch_size` says another."""

    kind: ClassVar[str] = OBSERVED
    default_batch_size: ClassVar[int] = 8

    def run(self, context: Context) -> Outcome:
        if context.mode.training:
            raise Unsupported("batch invariance is asked of a forward pass: mode=inference")
        whole = context.workload.batch_size
        if whole < 2:
            return Outcome(PASS_DUE_TO_SKIP, f"a batch of {whole} has no smaller ones: batch_size=8")
        make_deterministic()
        precision.use(context.workload, judged=True)
        with context.phase("build"):
            program = context.build(dropout=False)
        if not any(_has_batch(tensor, whole) for tensor in program.inputs.values()):
            return Outcome(PASS_DUE_TO_SKIP, f"no input has the {whole} samples as its first dimension")
        with context.phase(f"batch_{whole}", children=not context.is_eager):
            outputs = observe(context, program, whole)
        expected = {name: tensor for name, tensor in outputs.items() if _has_batch(tensor, whole)}
        if not expected:
            return Outcome(PASS_DUE_TO_SKIP, f"no output has the {whole} samples as its first dimension")
        wrong = [reason for size in smaller(whole) if (reason := _check(context, program, expected, size))]
        return Outcome(FAIL_ACCURACY, "; ".join(wrong)) if wrong else Outcome(PASS)


def smaller(whole: int) -> Iterator[int]:
    """Yield whole // 2, whole // 4, ..., 1."""
    while whole := whole // 2:
        yield whole


def observe(context: Context, program: Program, size: int) -> dict[str, torch.Tensor]:
    """Build and compile the model afresh; return what it makes of the first `size` samples of `program`, by name.

    Not a copy of its model: a model with a weight that is computed (weight_norm) cannot be copied.
    """
    import torch

    if not context.is_eager:
        torch.compiler.reset()
    whole = context.workload.batch_size
    inputs = {name: tensor[:size] if _has_batch(tensor, whole) else tensor for name, tensor in program.inputs.items()}
    part = dataclasses.replace(context.build(dropout=False), inputs=inputs)
    workload = dataclasses.replace(context.workload, batch_size=size)
    context.seed()
    return context.mode.observe(part, context.compiler.compile(part, workload), workload)


def _check(context: Context, program: Program, expected: dict[str, torch.Tensor], size: int) -> str:
    """Leave the row of one size; return what is wrong with it, nothing when it is right."""
    with context.phase(f"batch_{size}", children=not context.is_eager):
        outputs = observe(context, program, size)
        found = {name: outputs[name] for name in expected if name in outputs}
        unequal = differing({name: tensor[:size] for name, tensor in expected.items()}, found)
    worst = max(
        unequal, key=lambda record: _size(record["max_abs_error"]), default={"name": None, "max_abs_error": None}
    )
    context.find(
        "batch_invariance",
        slice_batch_size=size,
        tensors=len(expected),
        tensors_failed=len(unequal),
        worst_tensor=worst["name"],
        max_abs_error=worst["max_abs_error"],
    )
    if not unequal:
        return ""
    how = "has another shape or dtype" if worst["max_abs_error"] is None else f"by {worst['max_abs_error']}"
    return f"batch {size} is no slice of {context.workload.batch_size}: {worst['name']} {how}"


def _has_batch(tensor: torch.Tensor, size: int) -> bool:
    return tensor.ndim > 0 and tensor.shape[0] == size


def _size(error: float | str | None) -> float:
    """What cannot be compared, and what is not a number, is worst."""
    return error if isinstance(error, float) else float("inf")
