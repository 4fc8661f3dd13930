"""Memory of each model, beside eager's."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import Chart, offset, series_scales, spec, tooltip, workload_axis


def chart(series: Sequence[str]) -> Chart:
    """Return a mark for what each compiler takes of each workload: on paper nobody can point at a mark for its name."""
    colour, shape = series_scales(series)
    x = {
        "field": "own_memory_mib",
        "type": "quantitative",
        "scale": {"zero": True, "nice": True},
        "axis": {"title": "peak in steady state, model and compiler alone (MiB)", "tickCount": 6},
    }
    words = tooltip(("workload", "workload", ""), ("series", "compiler", ""), ("own_memory_mib", "MiB", ",.4~r"))
    return Chart(
        id="memory",
        title="Peak memory",
        note="Of the process over its level before the model existed, on CUDA of the allocator; median over rounds.",
        spec=spec(
            data={"name": "rows"},
            height={"step": 15},
            mark={"type": "point", "size": 70, "filled": True, "opacity": 1},
            encoding={
                "y": workload_axis(),
                "yOffset": offset(series),
                "color": colour,
                "shape": shape,
                "x": x,
                "tooltip": words,
            },
        ),
        fields=("own_memory_mib",),
        needs=("own_memory_mib",),
        orders={"-own_memory_mib": "largest first", "": "by name"},
    )
