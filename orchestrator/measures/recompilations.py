"""How often, and why, is what was compiled compiled again? Guard failures, when a step is repeated and when its inputs
change.

torch records with each compilation which guard of the earlier ones failed (`recompile_reason` of its compilation
metrics; `torch._dynamo.utils.CompileProfiler`, which once said so, is gone).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.context import Context
from orchestrator.measures.shapes import Shape, build_inputs
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes import compilations
from orchestrator.records import OBSERVED, PASS


@dataclass(frozen=True)
class Recompilations:
    """calls: steps with the workload's inputs, and then with inputs of each of `batch_sizes`."""

    kind: ClassVar[str] = OBSERVED
    shareable: ClassVar[bool] = True
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "recompilations": TableSpec(
            (
                "recompiles",
                columns.text("recompile_reason", "the guard that failed, of the newest of the earlier compilations"),
                columns.text("user_frame", "the function that was compiled, and where it begins"),
                columns.count("compilations", "compilations in all, backward graphs included"),
                "calls",
            )
        ),
    }

    calls: int = 3
    batch_sizes: Sequence[int] = ()

    def __post_init__(self) -> None:
        at_least_1(self, "calls", "batch_sizes")

    def run(self, context: Context) -> Outcome:
        if context.is_eager:
            raise Unsupported("eager compiles nothing, and so nothing again; compiler=inductor")
        workload = context.workload
        shapes = [Shape(size, workload.sequence_length) for size in (workload.batch_size, *self.batch_sizes)]
        with context.phase("build"):
            program = context.build(dropout=context.mode.training)
            inputs = [program.inputs, *(build_inputs(context, shape, like=program.inputs) for shape in shapes[1:])]
        compilations.forget()
        context.seed()
        with context.phase("compile", children=True):
            forward = context.compiler.compile(program, workload)
        for shape, given in zip(shapes, inputs, strict=True):
            with context.phase(f"calls_{shape}", children=True):
                step = context.mode.step(replace(program, inputs=given), forward, shape.of(workload))
                for _ in range(self.calls):
                    step()
        found = compilations.compilations()
        if not found:
            raise Unsupported(f"{context.job.compiler.name} does not go through dynamo, which is asked here")
        again = Counter(
            (compilations.short_reason(one.recompile_reason), compilations.short_frame(one))
            for one in found
            if one.recompile_reason and compilations.limit_of(one) is None
        )
        refused = compilations.over_limit(found)
        compiled = sum(compilations.limit_of(one) is None for one in found)
        totals = {"calls": self.calls * len(shapes), "compilations": compiled}
        for (reason, frame), count in again.most_common():
            context.find("recompilations", recompiles=count, recompile_reason=reason, user_frame=frame, **totals)
        for over in refused:
            context.find("recompilations", recompiles=0, recompile_reason=words(over), user_frame=over.place, **totals)
        if not again and not refused:
            context.find("recompilations", recompiles=0, **totals)
        return Outcome(PASS)


def words(over: compilations.OverLimit) -> str:
    """Return what it means that dynamo compiles a frame no more: a row beside those of the recompilations before."""
    from torch._dynamo import config

    return (
        f"{over.limit} ({getattr(config, over.limit, '?')}) was hit: from here on what none of its code fits runs in "
        f"eager (failed last: {over.guard})"
    )
