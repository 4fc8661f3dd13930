"""What a speed-up costs: time to compile, from an empty cache and from a filled one, and memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    COLUMNS,
    OF_A_ROW,
    Chart,
    Spec,
    band,
    bands,
    compiled,
    offset,
    quantitative,
    series_scales,
    spec,
    tooltip,
    workload_axis,
)
from orchestrator.records import COMPILE_PHASES

LINE, TRADEOFF_HEIGHT = 16, 260
"""Pixels: of a name's line, and of the chart."""
MOST_MARKS = 60
"""Of more models the marks of the means could not be seen: these alone are drawn then."""


def compilation(series: Sequence[str]) -> Chart:
    """Return a filled mark for the cold compile latency and a hollow one for the warm, joined by a line."""
    series = compiled(series)
    colour, shape = series_scales(series)
    scale = {"type": "log", "nice": False, "padding": 16}
    x = quantitative("seconds", scale, title="compile latency (s, log scale)", format="~g", tickCount=6)
    words = tooltip(*OF_A_ROW, ("cache", "cache", ""), ("seconds", "s", ".3~g"))
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
    )


def compile_phases() -> Chart:
    """Return a bar for each compiler and state of the cache, parted into phases in the order of the work."""
    names = [phase.replace("_", " ") for phase in COMPILE_PHASES]
    colour = {
        "field": "phase",
        "type": "ordinal",
        "scale": {"domain": names, "scheme": "viridis"},
        "legend": {"title": None, "orient": "top", "columns": COLUMNS, "symbolOpacity": 1},
    }
    words = tooltip(
        ("bar", "", ""),
        ("phase", "phase", ""),
        ("seconds", "s", ".3~g"),
        ("share", "%", ".1f"),
        ("count", "workloads", "d"),
    )
    return Chart(
        id="compile_phases",
        title="Where compile time goes",
        note="First calls by phase, in the order of the work, summed over all workloads of the section, filtered or "
        "not; means over rounds. Cold: the compile cache was empty. Warm: it held what the round before had left.",
        data="compile_phases",
        spec=spec(
            data={"name": "rows"},
            transform=[{"calculate": f"indexof({names}, datum.phase)", "as": "order"}],
            height={"step": 22},
            mark={"type": "bar", "stroke": "white", "strokeWidth": 0.5},
            encoding={
                "y": bands("bar"),
                "x": quantitative("seconds", {"nice": False}, title="first calls (s)", tickCount=6),
                "color": colour,
                "order": {"field": "order", "type": "quantitative"},
                "tooltip": words,
            },
        ),
        panels=True,
        each="section",
        limit=6,
    )


def memory(series: Sequence[str]) -> Chart:
    """Return a mark for what each compiler takes of each workload: on paper nobody can point at a mark for its name."""
    colour, shape = series_scales(series)
    title = "peak in steady state, model and compiler alone (MiB)"
    x = quantitative("own_memory_mib", {"zero": True, "nice": True}, title=title, tickCount=6)
    words = tooltip(*OF_A_ROW, ("own_memory_mib", "MiB", ",.4~r"))
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
    )


def tradeoff(series: Sequence[str]) -> Chart:
    """Return time against memory, both relative to eager: a named mark a compiler, a faint one a workload, the front.

    Names stand to the right of the marks of the left half, and the other way round. On each side they are kept apart by
    height: of the marks sorted by it, a name is at least a line above the one before, and a line leads to it. For that
    each mark has a `span`, the logarithm of the largest memory of the section over the smallest.
    """
    colour, shape = series_scales(series)
    scale = {"type": "log", "nice": False, "padding": 24}
    axis = {"format": "~g", "tickCount": 5, "labelOverlap": True}
    x = quantitative("time", scale, title="time of a step, over eager's (x)", **axis)
    y = quantitative("memory", scale, title="memory over eager's (x)", **axis)
    marked: Spec = {"x": x, "y": y, "color": {**colour, "legend": None}, "shape": {**shape, "legend": None}}
    ratios = (("time", "time over eager's", ".3f"), ("memory", "memory over eager's", ".3f"))
    each = tooltip(*OF_A_ROW, *ratios)
    mean = tooltip(
        ("series", "compiler", ""), *ratios, ("compile_s", "compiles in (s)", ".3~g"), ("count", "workloads", "d")
    )
    means: Spec = {"name": "means"}
    front: list[Spec] = [
        {
            "window": [{"op": "min", "field": "memory", "as": "least"}],
            "sort": [{"field": "time"}, {"field": "memory"}],
            "frame": [None, 0],
        },
        {"filter": "datum.memory == datum.least"},
    ]
    by_height: Spec = {"sort": [{"field": "memory"}, {"field": "time"}], "groupby": ["right"]}
    apart: list[Spec] = [
        {"joinaggregate": [{"op": op, "field": "time", "as": f"{op}_time"} for op in ("min", "max")]},
        {"calculate": "datum.time * datum.time > datum.min_time * datum.max_time", "as": "right"},
        {"calculate": f"{LINE / TRADEOFF_HEIGHT} * max(datum.span, 0.05)", "as": "line"},
        {"window": [{"op": "row_number", "as": "number"}], **by_height},
        {"calculate": "log(datum.memory) - datum.number * datum.line", "as": "above"},
        {
            "window": [{"op": "max", "field": "above", "as": "highest"}],
            **by_height,
            "frame": [None, 0],
        },
        {"calculate": "exp(datum.highest + datum.number * datum.line)", "as": "at"},
        {
            "calculate": "datum.series + (isValid(datum.compile_s) && datum.compile_s > 0"
            " ? ' · ' + format(datum.compile_s, '.2~r') + ' s to compile' : '')",
            "as": "name",
        },
    ]
    names = [
        {
            "data": means,
            "transform": [*apart, {"filter": test}],
            "mark": {"type": "text", "align": align, "dx": dx, "dy": dy, "fontSize": 12},
            "encoding": {"x": x, "y": {**y, "field": "at"}, "text": {"field": "name"}},
        }
        for test, align, dx, dy in (("!datum.right", "left", 10, -9), ("datum.right", "right", -10, 0))
    ]
    return Chart(
        id="tradeoff",
        title="Time against memory",
        note="Down and left is better; eager is at 1. Large marks are geometric means over the models that all "
        "compilers ran, faint ones the models, where these are few. The line is the front: nothing on it is beaten in "
        "both. Filled: nothing else is better in time, memory and compile latency together.",
        data="means",
        spec=spec(
            height=TRADEOFF_HEIGHT,
            layer=[
                {
                    "data": {"name": "rows"},
                    "mark": {"type": "point", "size": 22, "filled": True, "opacity": 0.45, "cursor": "pointer"},
                    "encoding": marked | {"tooltip": each},
                },
                {
                    "data": means,
                    "transform": front,
                    "mark": {"type": "line", "size": 1.5, "interpolate": "step-after", "opacity": 0.8},
                    "encoding": {"x": x, "y": y, "order": {"field": "time"}},
                },
                *(
                    {
                        "data": means,
                        "transform": [{"filter": test}],
                        "mark": {"type": "point", "size": 130, "filled": filled, "opacity": 1, "strokeWidth": 2},
                        "encoding": marked | {"tooltip": mean},
                    }
                    for test, filled in (("datum.front", True), ("!datum.front", False))
                ),
                {
                    "data": means,
                    "transform": apart,
                    "mark": {"type": "rule", "size": 1, "opacity": 0.6},
                    "encoding": {"x": x, "y": y, "y2": {"field": "at"}},
                },
                *names,
            ],
        ),
        fields=("speedup", "compression_ratio"),
        needs=("speedup", "compression_ratio"),
        panels=True,
        each="section",
        limit=4,
    )
