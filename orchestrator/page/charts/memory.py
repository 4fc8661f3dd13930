"""Peak memory by phase, and what speed costs in memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import Chart, series_scales, spec, tooltip


def by_phase(series: Sequence[str]) -> Chart:
    """Return, for one workload, the peak of each phase of the job, a line for each compiler."""
    colour, shape = series_scales(series)
    x = {
        "field": "phase",
        "type": "ordinal",
        "sort": None,
        "axis": {"title": None, "labelAngle": 0, "labelOverlap": "greedy"},
        "scale": {"padding": 0.4},
    }
    y = {
        "field": "mib",
        "type": "quantitative",
        "axis": {"title": "peak (MiB)", "tickCount": 4},
        "scale": {"zero": True},
    }
    words = tooltip(("series", "compiler", ""), ("phase", "phase", ""), ("mib", "peak (MiB)", ",.4~r"))
    return Chart(
        id="phases",
        title="Peak memory by phase",
        note="Of the process over its level before the model existed, on CUDA of the allocator; median over rounds. "
        "Processes that the compiler starts are not in it.",
        data="phases",
        spec=spec(
            data={"name": "rows"},
            height=150,
            encoding={"x": x, "y": y, "color": {**colour, "legend": None}},
            layer=[
                {"mark": {"type": "line", "size": 1.5}},
                {
                    "mark": {"type": "point", "size": 55, "filled": True, "opacity": 1},
                    "encoding": {"shape": {**shape, "legend": None}, "tooltip": words},
                },
            ],
        ),
        panels=True,
        needs=("own_memory_mib",),
        fields=("own_memory_mib", "compression_ratio"),
        orders={"compression_ratio": "most growth first", "-own_memory_mib": "largest first", "": "by name"},
        limit=6,
    )


def against_latency(series: Sequence[str]) -> Chart:
    """Return latency against memory, with a line from eager to each compiler of the same workload."""
    colour, shape = series_scales(series)

    def channel(name: str, title: str) -> dict[str, object]:
        scale = {"type": "log", "nice": False, "padding": 14}
        axis = {"title": title, "format": "~g", "tickCount": 6, "labelOverlap": True}
        return {"field": name, "type": "quantitative", "scale": scale, "axis": axis}

    x, y = channel("own_memory_mib", "own share of memory (MiB)"), channel("latency_ms", "latency (ms)")
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
