"""Eager and compiled results of the same inputs in one process, for measures that have no reference of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.measures.compare import compare, differing
from orchestrator.measures.context import Context
from orchestrator.plugins import Forward, Program
from orchestrator.records import FAIL_ACCURACY, PASS, Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.compare import Rule

Observed = dict[str, "torch.Tensor"]
NOT_COMPARED = "not compared"
FAILED = (RuntimeError, MemoryError, NotImplementedError, TypeError, ValueError)


@dataclass
class SideBySide:
    """Two callables of one model: eager's, and a compiler's, which may share their parameters and buffers.

    `eager` is the program whose model eager calls, `compiled` the one that was compiled. Both have the same parameters:
    those of the float64 model, the arbiter, are copied from eager's at each call. Without the memory for it, or without
    an operator in float64, it is judged without, and `float64` says why.
    """

    context: Context
    eager: Program
    compiled: Program
    forward: Forward
    rule: Rule
    float64: str = "ok"

    def judge(self, inputs: Mapping[str, torch.Tensor], workload: Workload) -> str:
        """Return "pass", "fail_accuracy: ..." with the worst tensor, or "not compared: ..." with the reason.

        The step up to the optimizer's (`Mode.observe`): outputs; in training the loss, gradients and buffers. Buffers
        and inputs are what they were afterwards. Raises what the compiled callable raises.
        """
        import torch

        def observed(program: Program, forward: Forward, seed: int | None = None) -> Observed:
            kept = [(buffer, buffer.detach().clone()) for buffer in program.model.buffers()]
            self.context.seed()
            if seed is not None:
                torch.manual_seed(seed)
            copies = {name: _copy(tensor) for name, tensor in inputs.items()}
            try:
                return self.context.mode.observe(replace(program, inputs=copies), forward, workload)
            finally:
                with torch.no_grad():
                    for buffer, before in kept:
                        buffer.copy_(before)

        try:
            reference = observed(self.eager, self.eager.model)
            other = observed(self.eager, self.eager.model, workload.seed + 1)
        except FAILED as error:
            return f"{NOT_COMPARED}: eager: {_line(error)}"
        if random := differing(reference, other):
            return f"{NOT_COMPARED}: {random[0]['name']} is random in eager (two seeds give two results)"
        float64 = self._float64(inputs, workload)
        result = observed(self.compiled, self.forward)
        try:
            records = compare(reference, result, float64, self.rule)
        except FAILED as error:
            return f"{NOT_COMPARED}: {_line(error)}"
        if not records:
            return f"{NOT_COMPARED}: the model returned no tensor"
        wrong = [record for record in records if not record["passed"]]
        if not wrong:
            return PASS
        worst = max(wrong, key=lambda record: _size(record["max_abs_error"]))
        how = f"worst {worst['name']} by {worst['max_abs_error']} (rule {worst['rule']})"
        return f"{FAIL_ACCURACY}: {len(wrong)} of {len(records)} tensors, {how}"

    def _float64(self, inputs: Mapping[str, torch.Tensor], workload: Workload) -> Observed | None:
        """Return what the model makes of the same inputs with the same parameters in float64, of floating tensors."""
        import torch

        try:
            program = self.context.build(dropout=False, dtype="float64")
            model = program.model
            with torch.no_grad():
                own = dict(self.eager.model.named_parameters()) | dict(self.eager.model.named_buffers())
                for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                    tensor.copy_(own[name])
            program.inputs = {name: _copy(tensor, exact=True) for name, tensor in inputs.items()}
            self.context.seed()
            found = self.context.mode.observe(program, model, replace(workload, dtype="float64"))
        except FAILED as error:
            self.float64 = _line(error)
            return None
        return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def _copy(tensor: torch.Tensor, *, exact: bool = False) -> torch.Tensor:
    """Return a copy; `exact`: in float64 or complex128. What dynamo was told of a tensor's shape is an attribute."""
    import torch

    copy = tensor.detach().clone()
    if exact and (tensor.is_floating_point() or tensor.is_complex()):
        return copy.to(torch.complex128 if tensor.is_complex() else torch.float64)
    vars(copy).update(vars(tensor))
    return copy.requires_grad_(tensor.requires_grad)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def _size(error: float | str | None) -> float:
    """What cannot be compared, and what is not a number, is worst."""
    return error if isinstance(error, float) else float("inf")
