"""What a speed-up costs: time to compile, from an empty cache and from a filled one, and memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    COLUMNS,
    Chart,
    band,
    compiled,
    offset,
    quantitative,
    series_scales,
    spec,
    tooltip,
    workload_axis,
)
from orchestrator.records import COMPILE_PHASES


def compilation(series: Sequence[str]) -> Chart:
    """Return a filled mark for the cold compile latency and a hollow one for the warm, joined by a line."""
    series = compiled(series)
    colour, shape = series_scales(series)
    scale = {"type": "log", "nice": False, "padding": 16}
    x = quantitative("seconds", scale, title="compile latency (s, log scale)", format="~g", tickCount=6)
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


def compile_phases() -> Chart:
    """Return a bar for each compiler and state of the cache, parted into phases in the order of the work."""
    y = {"field": "bar", "type": "nominal", "sort": None, "axis": {"title": None, "domain": False, "ticks": False}}
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
        note="First calls by phase, in the order of the work, summed over the workloads; means over rounds. Cold: the "
        "compile cache was empty. Warm: it held what the round before had left.",
        data="compile_phases",
        spec=spec(
            data={"name": "rows"},
            transform=[{"calculate": f"indexof({names}, datum.phase)", "as": "order"}],
            height={"step": 22},
            mark={"type": "bar", "stroke": "white", "strokeWidth": 0.5},
            encoding={
                "y": y,
                "x": quantitative("seconds", {"nice": False}, title="first calls (s)", tickCount=6),
                "color": colour,
                "order": {"field": "order", "type": "quantitative"},
                "tooltip": words,
            },
        ),
        panels=True,
        limit=6,
    )


def memory(series: Sequence[str]) -> Chart:
    """Return a mark for what each compiler takes of each workload: on paper nobody can point at a mark for its name."""
    colour, shape = series_scales(series)
    title = "peak in steady state, model and compiler alone (MiB)"
    x = quantitative("own_memory_mib", {"zero": True, "nice": True}, title=title, tickCount=6)
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


def tradeoff(series: Sequence[str]) -> Chart:
    """Return latency against memory, with a line from eager to each compiler of the same workload."""
    colour, shape = series_scales(series)

    scale = {"type": "log", "nice": False, "padding": 14}
    axis = {"format": "~g", "tickCount": 6, "labelOverlap": True}
    x = quantitative("own_memory_mib", scale, title="own share of memory (MiB)", **axis)
    y = quantitative("latency_ms", scale, title="latency (ms)", **axis)
    words = tooltip(
        ("workload", "workload", ""),
        ("series", "compiler", ""),
        ("latency_ms", "latency (ms)", ".4~g"),
        ("own_memory_mib", "memory (MiB)", ",.4~r"),
        ("compression_ratio", "memory ratio", ".2f"),
    )
    return Chart(
        id="tradeoff",
        title="Latency against memory",
        note="Down is faster, left is smaller. Marks of one workload are joined; both axes are logarithmic.",
        spec=spec(
            data={"name": "rows"},
            height=380,
            encoding={"x": x, "y": y},
            layer=[
                {
                    "mark": {"type": "line", "size": 1, "opacity": 0.45, "strokeDash": [3, 3]},
                    "encoding": {"detail": {"field": "workload"}, "order": {"field": "series_number"}},
                },
                {
                    "mark": {"type": "point", "size": 60, "filled": True, "opacity": 0.85, "cursor": "pointer"},
                    "encoding": {"color": colour, "shape": shape, "tooltip": words},
                },
            ],
        ),
        fields=("latency_ms", "own_memory_mib", "compression_ratio"),
        needs=("latency_ms", "own_memory_mib"),
        orders={"-latency_ms": "slowest first", "-own_memory_mib": "largest first", "": "by name"},
        limit=100,
        wide=12,
    )
