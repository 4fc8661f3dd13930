"""A job's model in eager and compiled, compared call by call, by a script that runs by itself in a fresh process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.measures.calls import Call, Watch, fresh_inputs, inputs_of, series
from orchestrator.measures.compare import Rule, compare, differing, roundoff
from orchestrator.measures.context import Context
from orchestrator.measures.eager import really_eager
from orchestrator.measures.reference import make_deterministic
from orchestrator.plugins import instantiate
from orchestrator.precision import computed_in
from orchestrator.records import JobSpec
from orchestrator.typed_json import Json, from_json, to_json

if TYPE_CHECKING:
    import torch

EAGER_DIFFERS = "eager differs from eager"
SCRIPT = '''"""{title}: eager and the compiler, each in a fresh state and from the same seed.

It needs orchestrator, what builds the model ({builder}) and, for plug-ins of one's own, ORCHESTRATOR_PLUGIN_PACKAGES.
Run it: it prints what differs, and ends with an AccuracyError.
"""

import json

from orchestrator.measures.whole_model import show

JOB = json.loads({job!r})

if __name__ == "__main__":
    show(JOB, tolerance={tolerance!r})
'''


def write(path: Path, job: JobSpec, tolerance: float) -> None:
    """Write the script for one job."""
    builder = ", ".join([job.workload.builder.target, *map(str, job.workload.builder.options.values())])
    text = SCRIPT.format(title=job.title, builder=builder, job=json.dumps(to_json(job)), tolerance=tolerance)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def show(job: Json, *, tolerance: float) -> None:
    """Print how each tensor of the compiled step was judged, by the rules of accuracy under this tolerance.

    Raises `torch._dynamo.debug_utils.AccuracyError` where one is wrong; prints `EAGER_DIFFERS` where eager itself
    is not the same twice, to the bit: then nothing can be said.
    """
    import torch
    from torch._dynamo.debug_utils import AccuracyError

    context = _context(from_json(JobSpec, job))
    make_deterministic()
    calls = series(context.build(dropout=False).inputs, None, context.workload.seed)
    with really_eager():
        eager, again = _observe(context, calls), _observe(context, calls)
        float64 = _float64(context, calls)
    if unstable := [record for one, two in zip(eager, again, strict=True) for record in differing(one, two)]:
        print(f"{EAGER_DIFFERS}: {', '.join(record['name'] for record in unstable)}")
        return
    torch.compiler.reset()
    with torch._inductor.config.patch(fallback_random=True):  # the same random numbers as eager's
        result = _observe(context, calls, compiled=True)
    wrong = []
    rule = Rule(tolerance=tolerance, roundoff=roundoff(computed_in(context.workload)))
    for place, call in enumerate(calls):
        for record in compare(eager[place], result[place], float64[place] if float64 else None, rule):
            name = f"{record['name']} ({call.inputs} inputs)"
            print(f"{'right' if record['passed'] else 'WRONG'}  {name}: {record['why'] or record['rule']}, "
                  f"largest difference {record['max_abs_error']}")  # fmt: skip
            wrong += [] if record["passed"] else [name]
    if wrong:
        raise AccuracyError(f"{len(wrong)} tensors are wrong: {', '.join(wrong[:5])}")


def _context(job: JobSpec) -> Context:
    import torch

    from orchestrator.probes.memory import MemoryProbe

    torch.set_num_threads(job.workload.threads)
    builder, mode, compiler = (instantiate(spec) for spec in (job.workload.builder, job.workload.mode, job.compiler))
    if hasattr(builder, "load"):
        builder.load(job.workload)
    device, here = torch.device(job.workload.device), Path()
    memory = MemoryProbe(device)
    return Context(
        job, device, builder, mode, compiler, here, here, references=(), memory=memory, entered=lambda phase: None
    )


def _observe(
    context: Context, calls: Sequence[Call], *, compiled: bool = False, dtype: str | None = None
) -> list[dict[str, torch.Tensor]]:
    """Build the model afresh; return what each call leaves."""
    fresh = fresh_inputs(context, calls, dtype)
    program = context.build(dropout=False, dtype=dtype)
    inputs = inputs_of(program.inputs, calls, fresh)
    workload = replace(context.workload, dtype=dtype or context.workload.dtype)
    context.seed()
    forward = context.compiler.compile(program, workload) if compiled else program.model
    watch = Watch(context, program, forward, workload)
    return [watch.call(call, inputs[call.inputs]) for call in calls]


def _float64(context: Context, calls: Sequence[Call]) -> list[dict[str, torch.Tensor]] | None:
    """Return the same calls in float64; None where that fails (memory, an operator without it), and say so."""
    try:
        return _observe(context, calls, dtype="float64")
    except (RuntimeError, MemoryError, NotImplementedError, TypeError) as error:
        print(f"no float64 reference: {type(error).__name__}: {error}")
        return None
