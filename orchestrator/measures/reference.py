"""The reference of a workload: what eager computes in the dtype asked for (twice), and in float64.

Computed once per workload; the accuracy jobs of all compilers read its tensors. Two eager runs that differ leave no
stable reference; a float64 run that fails (memory, an operator without float64) leaves the reference without it, and
the record says why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from orchestrator import precision
from orchestrator.measures.compare import differing
from orchestrator.measures.context import Context
from orchestrator.plugins import Outcome
from orchestrator.records import EAGER_TWO_RUNS_DIFFER, PASS, REFERENCE_KIND

if TYPE_CHECKING:
    import torch

EAGER_FILE = "eager.safetensors"
FP64_FILE = "fp64.safetensors"


@dataclass(frozen=True)
class Reference:
    """Writes `eager.safetensors` and `fp64.safetensors` into the job's reference folder."""

    kind: ClassVar[str] = REFERENCE_KIND
    PRELOAD: ClassVar[tuple[str, ...]] = (
        "torch._inductor.config",
    )  # what make_deterministic makes torch import: 1.5 s

    def run(self, context: Context) -> Outcome:
        make_deterministic()
        precision.use(context.workload, judged=True)
        context.reference.mkdir(parents=True, exist_ok=True)
        context.facts["fp64"] = self._float64(context)
        with context.phase("eager_1st_run"):
            first = observe_eager(context)
        with context.phase("eager_2nd_run"):
            second = observe_eager(context)
        unstable = differing(first, second)
        if unstable:
            context.facts["differing"] = unstable
            names = ", ".join(record["name"] for record in unstable[:3])
            return Outcome(EAGER_TWO_RUNS_DIFFER, f"{len(unstable)} of {len(first)} tensors differ: {names}")
        save(context.reference / EAGER_FILE, first)
        return Outcome(PASS)

    def _float64(self, context: Context) -> str:
        """Run in float64 and store it; return "ok", or why there is none."""
        import torch

        try:
            with context.phase("fp64_run"):
                program = context.build(dropout=False, dtype="float64")
                context.seed()
                in_float64 = replace(context.workload, dtype="float64")
                found = context.mode.observe(program, program.model, in_float64)
        except (RuntimeError, MemoryError, NotImplementedError, TypeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        floats = {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}
        save(context.reference / FP64_FILE, floats)
        return "ok"


def observe_eager(context: Context) -> dict[str, torch.Tensor]:
    """Build the model anew and observe one step without a compiler."""
    program = context.build(dropout=False)
    context.seed()
    return context.mode.observe(program, program.model, context.workload)


def make_deterministic() -> None:
    """Ask torch for deterministic algorithms, as far as it has them, and exact matrix products.

    What cuBLAS needs for that is in the job's environment (`execution/environment.py`): it reads it only once.
    """
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors as safetensors (no pickle), atomically; on the CPU, each in storage of its own."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(".tmp")
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)
    os.replace(temporary, path)


def load(path: Path) -> dict[str, torch.Tensor]:
    """Read what `save` wrote, to the CPU."""
    from safetensors.torch import load_file

    return dict(load_file(path))
