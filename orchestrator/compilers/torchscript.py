"""torch.jit.trace: one run of the model, recorded as TorchScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.compilers.captured import as_in_a_step, for_these_inputs, inference_only
from orchestrator.plugins import Forward, Program
from orchestrator.records import Workload

if TYPE_CHECKING:
    from orchestrator.compilers.flat_outputs import Structure


@dataclass(frozen=True)
class JitTrace:
    """`torch.jit.trace`, then nothing, `torch.jit.freeze` (weights become constants, which are folded) or
    `torch.jit.optimize_for_inference` (freezes, and takes oneDNN's layouts where that pays).

    A trace shares the model's parameters and can be trained; a frozen one cannot.
    """

    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.06
    fixed_inputs: ClassVar[bool] = True

    optimization: Literal["none", "freeze", "optimize_for_inference"] = "none"

    def check(self, workload: Workload) -> None:
        if self.optimization != "none":
            inference_only(workload, f"torch.jit.{self.optimization} turns parameters into constants")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch

        with as_in_a_step(program, workload, cached_casts=False):
            script, structure = traced(program)
            if self.optimization == "freeze":
                script = torch.jit.freeze(script)
            elif self.optimization == "optimize_for_inference":
                script = torch.jit.optimize_for_inference(script)
        names = tuple(program.inputs)

        def forward(**inputs: Any) -> Any:
            return structure.restored(script(*[inputs[name] for name in names]))

        return for_these_inputs(forward, program.inputs, "the trace")


def traced(program: Program) -> tuple[Any, Structure]:
    """Return the trace of a model, and how its outputs are built.

    It is called with the inputs by position, in their order, and returns the tensors of the outputs as a tuple: a trace
    knows neither `**inputs` nor dicts of anything but tensors.
    """
    import torch

    from orchestrator.compilers.flat_outputs import FlatOutputs

    flat = FlatOutputs(program.model, program.inputs).train(program.model.training)
    script = torch.jit.trace(flat, tuple(program.inputs.values()), strict=False, check_trace=False)
    return script, flat.structure(*program.inputs.values())
