"""Which figures of a row are compared between sweeps, and what size of a change of each is one.

`diff`, `gate`, `history` and `rerun` know the same figures: those here, and those that a row's measure declares
(`orchestrator.columns.TableSpec.compared`). Nothing heavy is imported: the command line's help names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.columns import Column


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What size of a change is one. All are relative, but `floor`, in the metric's unit.

    threshold: where rounds give an interval; alone: where there is none (one round), or a row was disturbed: absolute
    times of one process move by that much on a quiet machine. A change must exceed `floor` too. exact: the figure has
    no noise, so that `alone` is what `threshold` is, unless it is written.
    """

    threshold: float
    alone: float
    floor: float = 0.0
    exact: bool = False

    def allowed(self, p: float | None, disturbed: bool) -> float:
        """Return the relative change that is none yet: `alone` where there is no p-value, or a row was disturbed."""
        return self.alone if p is None or disturbed else self.threshold


LATENCY = "latency_ms"

LIMITS: Mapping[str, Limit] = {
    "speedup": Limit(threshold=0.02, alone=0.10),
    LATENCY: Limit(threshold=0.10, alone=0.30),
    "compile_latency_cold_s": Limit(threshold=0.25, alone=0.50, floor=0.5),
    "compile_latency_warm_s": Limit(threshold=0.25, alone=0.50, floor=0.5),
    "own_memory_mib": Limit(threshold=0.02, alone=0.05, floor=8.0),
}
COUNTED = ("graphs", "graph_breaks", "recompiles")
"""Compared exactly: they do not vary from run to run. (`captured_calls`, `fallbacks` follow from them.)"""
METRICS = (*LIMITS, *COUNTED)
STATUS = "status"
"""What stands for a metric where the status is another one."""
EXACT = Limit(threshold=0.0, alone=0.0)
"""Of a count."""
WITHOUT_NOISE = Limit(threshold=0.0, alone=0.0, exact=True)
"""Of a number that a measure declares exact: any change is one, unless a rule says from which size on."""
DECLARED = LIMITS[LATENCY]
"""Of a number that a measure declares: nothing is known of its noise, so it is that of a time."""
DEFAULTS: Mapping[str, Limit] = {**LIMITS, **dict.fromkeys(COUNTED, EXACT)}


def limits_of(columns: Mapping[str, Column]) -> dict[str, Limit]:
    """Return metric -> limit of the built-in figures, and of those that measures declare."""
    declared = {
        name: EXACT if column.kind == "count" else WITHOUT_NOISE if column.exact else DECLARED
        for name, column in columns.items()
    }
    return {**DEFAULTS, **declared}
