"""How long does dynamo take, at each call, to find the compiled code whose guards hold?

torch's profiler has an event for it, one for each compiled frame that a step enters. A profiler slows what it looks at,
so this stands apart from latency; the figure is an upper bound.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes import compilations
from orchestrator.records import OBSERVED, PASS

EVENT = "TorchDynamo Cache Lookup"
STEP = "STEP"


@dataclass(frozen=True)
class CacheLookup:
    """calls: steps under the profiler, after `warm_up` without it."""

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "cache_lookup": TableSpec(
            (
                columns.duration(
                    "cache_lookup_us", "dynamo's search for compiled code in one step, all frames; median of the steps"
                ),
                columns.duration("cache_lookup_low_us", "a quarter of the steps took less"),
                columns.duration("cache_lookup_high_us", "a quarter of the steps took more"),
                columns.number("lookups", "look-ups in one step", "1", "lower"),
                "calls",
            )
        ),
    }

    calls: int = 20
    warm_up: int = 3

    def __post_init__(self) -> None:
        at_least_1(self, "calls", "warm_up")

    def run(self, context: Context) -> Outcome:
        import torch
        from torch.profiler import ProfilerActivity, profile, record_function

        if context.is_eager:
            raise Unsupported("eager looks nothing up; compiler=inductor")
        compilations.forget()
        _, step = compiled_step(context)
        with context.phase("warmup", children=True):
            for _ in range(self.warm_up):
                step()
        if not compilations.compilations():
            raise Unsupported(f"{context.job.compiler.name} does not go through dynamo, whose look-up this is")
        with context.phase("profile"), profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(self.calls):
                with record_function(STEP):
                    step()
        seconds, lookups = per_call(profiler.events())
        if not lookups:
            raise Unsupported(f"the profiler of torch {torch.__version__} recorded no event '{EVENT}'")
        context.add("cache_lookup", "s", "lower", seconds)
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if self.calls > 1 else seconds * 3
        context.find(
            "cache_lookup",
            cache_lookup_s=middle,
            cache_lookup_low_s=low,
            cache_lookup_high_s=high,
            lookups=lookups / self.calls,
            calls=self.calls,
        )
        return Outcome(PASS)


def per_call(events: Iterable[Any]) -> tuple[list[float], int]:
    """Return the seconds of all look-ups in each step, in time order, and how many look-ups there were in all."""
    found = sorted((event for event in events if event.name in (EVENT, STEP)), key=lambda e: e.time_range.start)
    starts = [event.time_range.start for event in found if event.name == STEP]
    seconds = [0.0] * len(starts)
    lookups = 0
    for event in found:
        if event.name == EVENT:
            lookups += 1
            seconds[bisect.bisect_right(starts, event.time_range.start) - 1] += event.time_range.elapsed_us() / 1e6
    return seconds, lookups
