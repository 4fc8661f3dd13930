"""How the figures of a suite went from sweep to sweep."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import Chart, series_scales, spec, tooltip

CHOICES = {  # column of the overview -> what it is, with its unit
    "geomean_speedup": "geometric-mean speed-up (x)",
    "geomean_speedup_clipped": "the same, below 1 counts as 1 (x)",
    "pass_rate_percent": "pass rate (%)",
    "mean_compile_latency_cold_s": "mean cold compile latency (s)",
    "geomean_compression_ratio": "geometric-mean memory ratio (x)",
}


def chart(series: Sequence[str]) -> Chart:
    """Return one figure of the overview over the sweeps, for one suite, mode, dtype and device."""
    colour, shape = series_scales(series)
    x = {
        "field": "sweep",
        "type": "ordinal",
        "sort": None,
        "axis": {"title": None, "labelAngle": -20, "labelLimit": 140, "labelOverlap": "greedy"},
        "scale": {"type": "point", "padding": 0.3},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 12},
        "axis": {"title": None, "tickCount": 5, "format": ".4~g"},
    }
    words = tooltip(
        ("sweep", "sweep", ""),
        ("when", "when", ""),
        ("series", "compiler", ""),
        ("value", "", ".4~g"),
        ("count", "workloads", "d"),
    )
    return Chart(
        id="over_time",
        title="Over time",
        note="One mark a sweep, oldest first, at equal distances. Means are over the workloads that all compilers of a "
        "sweep ran (bars: 95 %, for exactly these); where their number (under the mark) differs between sweeps, so may "
        "what they mean.",
        data="overview",
        spec=spec(
            data={"name": "rows"},
            height=190,
            encoding={"x": x, "y": y, "color": colour},
            layer=[
                {"mark": {"type": "line", "size": 1.5}},
                {
                    "transform": [{"filter": "isValid(datum.low)"}],
                    "mark": {"type": "rule", "size": 1.5, "opacity": 0.5},
                    "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1},
                    "encoding": {"shape": shape, "tooltip": words},
                },
                {
                    "mark": {"type": "text", "dx": 9, "dy": 15, "fontSize": 10},
                    "encoding": {"text": {"field": "count", "type": "nominal"}},
                },
            ],
        ),
        panels=True,
        choices=CHOICES,
        limit=12,
    )
