"""What dynamo did: graphs, breaks, captured calls, frames left to eager, recompilations, and where it gave up."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from typing import Any

from orchestrator.probes import compilations


def reset() -> None:
    """Set dynamo's counters back to zero, and let torch remember all compilations: `recompiles` counts them."""
    compilations.forget()


def read() -> dict[str, Any]:
    """Return the counters since `reset`, the reasons of the graph breaks, and the frames over a recompile limit.

    graphs: compiled graphs; captured_calls: calls in them; graph_breaks, unique_graph_breaks: breaks, distinct reasons;
    fallbacks: frames that dynamo gave up and left to eager; recompiles: compilations with a recompile reason;
    recompile_limit_hits: compilations that dynamo refused, because the frame has had too many;
    cudagraph_skips: CUDA graphs that inductor did not use.

    Breaks are those of `graph_break_reasons`, one for each graph that ends in one: `counters["graph_break"]` lacks
    what breaks at a jump (a branch on data; torch 2.11 to 2.13).
    """
    import torch

    counters = torch._dynamo.utils.counters
    frames = counters["frames"]
    breaks = Counter(compilations.short_reason(broken.reason) for broken in compilations.graph_breaks())
    found = compilations.compilations()
    refused = sum(compilations.limit_of(one) is not None for one in found)
    return {
        "counters": {
            "graphs": counters["stats"]["unique_graphs"],
            "captured_calls": counters["stats"]["calls_captured"],
            "graph_breaks": breaks.total(),
            "unique_graph_breaks": len(breaks),
            "fallbacks": frames["total"] - frames["ok"],
            "recompiles": sum(bool(one.recompile_reason) and compilations.limit_of(one) is None for one in found),
            "recompile_limit_hits": refused,
            "cudagraph_skips": counters["inductor"]["cudagraph_skips"],
            "autograd_captures": counters["compiled_autograd"]["captures"],
            "autograd_compiles": counters["compiled_autograd"]["compiles"],
        },
        "graph_break_reasons": [{"reason": reason, "count": count} for reason, count in breaks.most_common()],
        "over_recompile_limit": [vars(frame) for frame in compilations.over_limit(found)],
    }


def aot_graphs() -> dict[str, int]:
    """Return how many graphs AOTAutograd was given since `reset` ("total"), and how many it compiled ("ok")."""
    import torch

    counted = torch._dynamo.utils.counters["aot_autograd"]
    return {name: counted[name] for name in ("total", "ok")}


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
