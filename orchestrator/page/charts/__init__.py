"""The charts, as Vega-Lite specifications in which only the data are missing.

A function is a chart, called by its id. Its specification names its data ("rows", "samples", "boxes"); the page's
script puts the rows that are filtered there, and `Chart` tells it which. What a chart says is decided here, not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.page.charts import costs, panels, speedups
from orchestrator.page.charts.chart import ON_DARK, Chart, series_scales
from orchestrator.page.data import ROW_COLUMNS


def of_sweep(series: Sequence[str]) -> list[Chart]:
    """Return the charts of a page, in their order. `series`: what is told apart by colour and shape."""
    return [
        speedups.speedup(series),
        speedups.heat_map(series),
        panels.latency(series),
        costs.compilation(series),
        costs.tradeoff(series),
        panels.phases(series),
    ]


def of_pictures(series: Sequence[str]) -> list[Chart]:
    """Return the charts that are drawn for papers, too."""
    return [
        speedups.speedup(series),
        speedups.heat_map(series),
        costs.compilation(series),
        costs.memory(series),
        costs.tradeoff(series),
    ]


def for_page(series: Sequence[str], compilers: Sequence[str]) -> dict[str, Any]:
    """Return the charts of a page as JSON, and colours and shapes for legends outside of them.

    Raises ValueError for a chart of rows that asks for a column which the page's summary has not.
    """
    colour, shape = series_scales(series)
    shown = of_sweep(series)
    for chart in shown:
        _check_columns(chart)
    return {
        "sweep": [asdict(chart) for chart in shown],
        "job": [asdict(panels.job_samples())],
        "several": [asdict(panels.over_time(compilers))],
        "on_dark": dict(ON_DARK),
        "series": {"names": list(series), "colours": colour["scale"]["range"], "shapes": shape["scale"]["range"]},
    }


def _check_columns(chart: Chart) -> None:
    asked = [*chart.fields, *"|".join(chart.needs).split("|"), *(order.removeprefix("-") for order in chart.orders)]
    unknown = [name for name in asked if name and name not in ROW_COLUMNS]
    if unknown:
        raise ValueError(f"chart '{chart.id}': the summary has no column '{unknown[0]}'")
