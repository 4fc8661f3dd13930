"""The charts, as Vega-Lite specifications in which only the data are missing.

A module is a family of charts. A specification names its data ("rows", "samples", "boxes"); the page's script puts the
rows that are filtered there, and `Chart` tells it which. What a chart says is decided here, not in the script.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts import compilation, heat_map, latency, memory, over_time, speedup
from orchestrator.page.charts.chart import Chart


def of_sweep(series: Sequence[str]) -> list[Chart]:
    """Return the charts of a page, in their order. `series`: what is told apart by colour and shape."""
    return [
        speedup.chart(series),
        heat_map.chart(series),
        latency.distributions(series),
        compilation.chart(series),
        memory.against_latency(series),
        memory.by_phase(series),
    ]


def of_job() -> list[Chart]:
    """Return the charts of a job's page."""
    return [latency.in_time_order()]


def of_several(series: Sequence[str]) -> list[Chart]:
    """Return the charts that need more than one sweep. `series`: compilers."""
    return [over_time.chart(series)]
