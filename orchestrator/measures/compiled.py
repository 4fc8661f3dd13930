"""The compiled step of a job, and its first call, as the measures that only observe need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.measures.context import Context
from orchestrator.plugins import DynamoCompiler, Program, Unsupported
from orchestrator.probes.clock import make_ready

Step = Callable[[], Any]


def compiled_step(context: Context, program: Program | None = None, calls: int = 0) -> tuple[Program, Step]:
    """Build the program, if none is given, compile its step and call that: most compilers compile at the first call.

    Each of the `calls` is made ready (`plugins.Preparing`), and in the phase of compiling.
    """
    if program is None:
        with context.phase("build"):
            program = context.build(dropout=context.mode.training)
    context.seed()
    with context.phase("compile", children=not context.is_eager):
        forward = context.compiler.compile(program, context.workload)
        step = context.mode.step(program, forward, context.workload)
        for _ in range(calls):
            make_ready(step)
            step()
        return program, step


def dynamo_compiler(context: Context, why: str) -> DynamoCompiler:
    """Return the job's compiler when it goes through dynamo. Raises Unsupported, which says `why` that is needed."""
    context.refuse_quantized(why)
    if not isinstance(context.compiler, DynamoCompiler):
        raise Unsupported(f"{why}; {context.job.compiler.name} does not go through dynamo: compiler=inductor does")
    return context.compiler
