"""What dynamo did: graphs, breaks, captured calls, frames left to eager, recompilations."""

from __future__ import annotations

import gc
import sys
from typing import Any

from orchestrator.probes.compilations import KEPT


def reset() -> None:
    """Set dynamo's counters back to zero, and let torch remember all compilations: `recompiles` counts them."""
    import torch

    torch._dynamo.utils.counters.clear()
    torch._dynamo.utils.set_compilation_metrics_limit(KEPT)


def read() -> dict[str, Any]:
    """Return the counters since `reset` and the reasons of the graph breaks.

    graphs: compiled graphs; captured_calls: calls in them; graph_breaks, unique_graph_breaks: breaks, distinct reasons;
    fallbacks: frames that dynamo gave up and left to eager; recompiles: compilations with a recompile reason;
    cudagraph_skips: CUDA graphs that inductor did not use.
    """
    import torch

    counters = torch._dynamo.utils.counters
    frames = counters["frames"]
    breaks = dict(counters["graph_break"])
    metrics = torch._dynamo.utils.get_compilation_metrics()
    return {
        "counters": {
            "graphs": counters["stats"]["unique_graphs"],
            "captured_calls": counters["stats"]["calls_captured"],
            "graph_breaks": sum(breaks.values()),
            "unique_graph_breaks": len(breaks),
            "fallbacks": frames["total"] - frames["ok"],
            "recompiles": sum(1 for metric in metrics if metric.recompile_reason),
            "cudagraph_skips": counters["inductor"]["cudagraph_skips"],
            "autograd_captures": counters["compiled_autograd"]["captures"],
            "autograd_compiles": counters["compiled_autograd"]["compiles"],
        },
        "graph_break_reasons": [
            {"reason": reason, "count": count} for reason, count in sorted(breaks.items(), key=lambda item: -item[1])
        ],
    }


def recorded_graphs() -> int:
    """Return how many CUDA graphs this process has recorded and keeps: by inductor, or by whoever calls torch for them.

    Those that a benchmark has recorded are gone by then. Inductor keeps one more, an empty one, for each of its pools.
    """
    import torch

    trees = sys.modules.get("torch._inductor.cudagraph_trees")
    pools = () if trees is None else trees.CUDAGraphTreeManager
    alive = gc.get_objects()
    graphs = sum(1 for one in alive if issubclass(type(one), torch.cuda.CUDAGraph))
    return graphs - sum(1 for one in alive if issubclass(type(one), pools) and one.graph is not None)


def cudagraph_skips() -> list[str]:
    """Return why inductor did not use CUDA graphs, as far as it says so while it compiles."""
    import torch

    reasons = (getattr(one, "cudagraph_skip_reason", None) for one in torch._dynamo.utils.get_compilation_metrics())
    return list(dict.fromkeys(" ".join(str(reason).split()) for reason in reasons if reason))
