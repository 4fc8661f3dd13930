"""Sweeps as PyTorch's benchmarks have them: on a GPU, in their models and dtypes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from orchestrator.records import Need
from support import synthetic

GOLDEN = Path(__file__).parent.parent / "golden" / "dynamobench"
COUNTERS = {
    "captured_calls": 310,
    "graphs": 2,
    "fallbacks": 0,
    "graph_breaks": 1,
    "unique_graph_breaks": 1,
    "autograd_captures": 0,
    "autograd_compiles": 0,
    "cudagraph_skips": 3,
    "recompiles": 0,
}


def load_of(model: str, **changes: Any) -> Any:
    fields = {"suite": "huggingface", "dtype": "amp_float16", "device": "cuda:0", "mode": "training", "batch_size": 16}
    return synthetic.workload(model, **{**fields, **changes})


def on_cuda(result: Any, allocated: int, counters: dict[str, int] | None = None) -> Any:
    """Return the result with what a GPU's allocator says instead of the process."""
    memory = {**result.facts["memory"], "cuda": {"steady": {"allocated": allocated}}}
    facts = {**result.facts, "memory": memory} | ({"counters": counters} if counters else {})
    return dataclasses.replace(result, facts=facts)


def timed(
    sweep: synthetic.SyntheticSweep, workload: Any, compiler: str, eager_s: float, speedup: float, **figures: Any
) -> None:
    """Add an eager and a compiled job: 8 GB of memory for eager, 6.4 GB compiled."""
    eager = synthetic.job(workload, "eager")
    if eager.id not in {job.id for job in sweep.jobs}:
        sweep.add(
            eager, on_cuda(synthetic.performance_result(eager, latency=eager_s, first_call=eager_s), 8_000_000_000)
        )
    spec = synthetic.job(workload, compiler, needs=[Need(job=eager.id, kind="baseline")])
    pairs = [(eager_s, eager_s / speedup)] * 20
    result = synthetic.performance_result(spec, latency=eager_s / speedup, pairs=pairs, **figures)
    sweep.add(spec, on_cuda(result, 6_400_000_000, COUNTERS))
