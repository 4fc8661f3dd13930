"""Latency: how the samples of each process are spread, and how they went in time."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    BLUE,
    COLUMNS,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    Chart,
    Spec,
    series_scales,
    spec,
    tooltip,
)

KINDS = {  # samples of a job, in the order in which they are taken: colour and shape
    "first_call": (PURPLE, "diamond"),
    "warmup_latency": (GREY, "triangle-up"),
    "latency": (BLUE, "circle"),
    "pair_eager_latency": (VERMILION, "square"),
    "pair_latency": (GREEN, "cross"),
}


def distributions(series: Sequence[str]) -> Chart:
    """Return, for one workload, every latency sample of every process, with median and quartiles."""
    colour, _ = series_scales(series)
    colour = {**colour, "legend": None}
    y: Spec = {
        "field": "process",
        "type": "nominal",
        "sort": None,
        "axis": {"title": None, "domain": False, "ticks": False, "labelLimit": 150},
    }
    x: Spec = {
        "field": "ms",
        "type": "quantitative",
        "scale": {"zero": False, "nice": False, "padding": 6},
        "axis": {"title": "latency (ms)", "tickCount": 5, "format": ",f"},
    }
    box = tooltip(
        ("process", "process", ""),
        ("median", "median (ms)", ".4~g"),
        ("q25", "25 % (ms)", ".4~g"),
        ("q75", "75 % (ms)", ".4~g"),
        ("low", "least (ms)", ".4~g"),
        ("high", "most (ms)", ".4~g"),
        ("count", "samples", "d"),
    )
    boxes = {"name": "boxes"}
    layers = [
        {
            "data": boxes,
            "mark": {"type": "rule", "size": 1, "opacity": 0.5},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
        },
        {
            "data": boxes,
            "mark": {"type": "bar", "height": 12, "opacity": 0.25, "cursor": "pointer"},
            "encoding": {"y": y, "x": {**x, "field": "q25"}, "x2": {"field": "q75"}, "color": colour, "tooltip": box},
        },
        {
            "data": {"name": "samples"},
            "mark": {"type": "point", "size": 9, "filled": True, "opacity": 0.55},
            "encoding": {
                "y": y,
                "yOffset": {"field": "jitter", "type": "quantitative", "scale": {"domain": [-1, 1]}},
                "x": x,
                "color": colour,
            },
        },
        {
            "data": boxes,
            "mark": {"type": "tick", "thickness": 2.5, "height": 16},
            "encoding": {"y": y, "x": {**x, "field": "median"}, "tooltip": box},
        },
    ]
    return Chart(
        id="latency",
        title="Latency distributions",
        note="Every dot is one call in steady state, every line one fresh process (r0 is round 0); the tick is the "
        "median, the bar holds the middle half. Scales differ between models.",
        data="samples",
        spec=spec(height={"step": 20}, layer=layers),
        needs=("latency_ms",),
        panels=True,
        orders={"-latency_spread_percent": "most spread first", "-latency_ms": "slowest first", "": "by name"},
        fields=("latency_ms", "latency_spread_percent"),
        limit=6,
    )


def in_time_order() -> Chart:
    """Return the samples of one job in the order in which they were taken."""
    colours = {"domain": list(KINDS), "range": [colour for colour, _ in KINDS.values()]}
    shapes = {"domain": list(KINDS), "range": [shape for _, shape in KINDS.values()]}
    legend = {"title": None, "orient": "top", "columns": COLUMNS}
    return Chart(
        id="job_samples",
        title="Samples in time order",
        note="The first call is left out where there are others: it is the compilation. Pairs are timed after the "
        "steady samples, eager and compiled in turn.",
        data="job",
        spec=spec(
            data={"name": "rows"},
            height=260,
            mark={"type": "point", "size": 34, "filled": True, "opacity": 0.75},
            encoding={
                "x": {"field": "order", "type": "quantitative", "axis": {"title": "sample", "tickMinStep": 1}},
                "y": {
                    "field": "value",
                    "type": "quantitative",
                    "scale": {"zero": False},
                    "axis": {"title": "latency (ms)"},
                },
                "color": {"field": "metric", "type": "nominal", "scale": colours, "legend": legend},
                "shape": {"field": "metric", "type": "nominal", "scale": shapes, "legend": legend},
                "tooltip": tooltip(("metric", "", ""), ("order", "sample", "d"), ("value", "ms", ".4~g")),
            },
        ),
    )
