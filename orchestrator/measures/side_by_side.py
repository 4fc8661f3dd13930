"""Eager and compiled results of the same inputs in one process, for measures that have no reference of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.errors import in_one_line
from orchestrator.measures.calls import FIRST, Call, Watch
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

        What one call leaves (`calls.Watch`): outputs, in training the loss and gradients, and what it changes. Buffers
        and inputs are what they were afterwards. Raises what the compiled callable raises.
        """
        import torch

        def observed(program: Program, forward: Forward, seed: int) -> Observed:
            kept = [(buffer, buffer.detach().clone()) for buffer in program.model.buffers()]
            try:
                return Watch(self.context, program, forward, workload).call(Call(FIRST, seed), inputs)
            finally:
                with torch.no_grad():
                    for buffer, before in kept:
                        buffer.copy_(before)

        try:
            reference = observed(self.eager, self.eager.model, workload.seed)
            other = observed(self.eager, self.eager.model, workload.seed + 1)
        except FAILED as error:
            return f"{NOT_COMPARED}: eager: {in_one_line(error)}"
        if random := differing(reference, other):
            return f"{NOT_COMPARED}: {random[0]['name']} is random in eager (two seeds give two results)"
        float64 = self._float64(inputs, workload)
        result = observed(self.compiled, self.forward, workload.seed)
        try:
            records = compare(reference, result, float64, self.rule)
        except FAILED as error:
            return f"{NOT_COMPARED}: {in_one_line(error)}"
        if not records:
            return f"{NOT_COMPARED}: the model returned no tensor"
        wrong = [record for record in records if not record["passed"]]
        if not wrong:
            return PASS
        worst = max(wrong, key=lambda record: _size(record["max_abs_error"]))
        how = f"worst {worst['name']} by {worst['max_abs_error']} (rule {worst['rule']}: {worst['why']})"
        return f"{FAIL_ACCURACY}: {len(wrong)} of {len(records)} tensors, {how}"

    def _float64(self, inputs: Mapping[str, torch.Tensor], workload: Workload) -> Observed | None:
        """Return what the model makes of the same inputs with the same parameters in float64."""
        import torch

        try:
            program = self.context.build(dropout=False, dtype="float64")
            model = program.model
            with torch.no_grad():
                own = dict(self.eager.model.named_parameters()) | dict(self.eager.model.named_buffers())
                for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                    tensor.copy_(own[name])
            exact = {name: _exact(tensor) for name, tensor in inputs.items()}
            watch = Watch(self.context, program, model, replace(workload, dtype="float64"))
            return watch.call(Call(FIRST, workload.seed), exact)
        except FAILED as error:
            self.float64 = in_one_line(error)
            return None


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _size(error: float | str | None) -> float:
    """What cannot be compared, and what is not a number, is worst."""
    return error if isinstance(error, float) else float("inf")
