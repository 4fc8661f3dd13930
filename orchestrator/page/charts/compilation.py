"""How long compiling takes, from an empty cache and from a filled one."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    Chart,
    band,
    compiled,
    offset,
    series_scales,
    spec,
    tooltip,
    workload_axis,
)


def chart(series: Sequence[str]) -> Chart:
    """Return a filled mark for the cold compile latency and a hollow one for the warm, joined by a line."""
    series = compiled(series)
    colour, shape = series_scales(series)
    x = {
        "field": "seconds",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 16},
        "axis": {"title": "compile latency (s, log scale)", "format": "~g", "tickCount": 6},
    }
    words = tooltip(
        ("workload", "workload", ""), ("series", "compiler", ""), ("cache", "cache", ""), ("seconds", "s", ".3~g")
    )
    folded = [
        {"fold": ["compile_latency_cold_s", "compile_latency_warm_s"], "as": ["column", "seconds"]},
        {"filter": "isValid(datum.seconds) && datum.seconds > 0"},
        {"calculate": "datum.column == 'compile_latency_cold_s' ? 'cold' : 'warm'", "as": "cache"},
    ]
    marks = [
        {
            "transform": [{"filter": f"datum.cache == '{cache}'"}],
            "mark": {"type": "point", "size": 60, "opacity": 1, "filled": cache == "cold", "cursor": "pointer"},
            "encoding": {"shape": shape, "tooltip": words},
        }
        for cache in ("warm", "cold")
    ]
    return Chart(
        id="compilation",
        title="Compile latency, cold and warm",
        note="First call minus median latency. A filled mark is cold: the compile cache was empty. A hollow one is "
        "warm: it held what the round before had left.",
        spec=spec(
            data={"name": "rows"},
            transform=folded,
            height=band(series),
            encoding={"x": x, "y": workload_axis(), "yOffset": offset(series), "color": colour},
            layer=[
                {"mark": {"type": "line", "size": 1.5, "opacity": 0.6}, "encoding": {"detail": {"field": "key"}}},
                *marks,
            ],
        ),
        compiled=True,
        lines=True,
        fields=("compile_latency_cold_s", "compile_latency_warm_s"),
        needs=("compile_latency_cold_s|compile_latency_warm_s",),
        orders={"-compile_latency_cold_s": "longest first", "compile_latency_cold_s": "shortest first", "": "by name"},
    )
