"""Speed-up of each model, with its interval."""

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
from orchestrator.results.metrics import SLOW_SPEEDUP

TICKS = [
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1,
    1.1,
    1.2,
    1.3,
    1.4,
    1.5,
    1.75,
    2,
    2.5,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    20,
]
"""A logarithmic axis of its own makes no useful ticks between 0.9 and 1.5."""


def chart(series: Sequence[str]) -> Chart:
    """Return a dot with its 95 % interval for each workload and compiler, on a logarithmic axis around 1."""
    series = compiled(series)
    colour, shape = series_scales(series)
    x = {
        "field": "speedup",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 24},
        "axis": {
            "title": "speed-up (x, log scale)",
            "values": TICKS,
            "format": "~g",
            "labelOverlap": True,
        },
    }
    shared = {"y": workload_axis(), "yOffset": offset(series), "color": colour}
    words = tooltip(
        ("workload", "workload", ""),
        ("series", "compiler", ""),
        ("speedup", "speed-up", ".3f"),
        ("speedup_low", "95 % from", ".3f"),
        ("speedup_high", "to", ".3f"),
        ("verdict", "verdict", ""),
        ("interval", "interval over", ""),
        ("rounds", "rounds", "d"),
        ("measured", "measured", ""),
        ("disturbed", "disturbed", ""),
    )
    limits = {"values": [{"at": 1, "dash": "eager"}, {"at": SLOW_SPEEDUP, "dash": "mark"}]}
    layers = [
        {
            "data": limits,
            "mark": {"type": "rule", "size": 1.2},
            "encoding": {
                "x": {"field": "at", "type": "quantitative"},
                "strokeDash": {
                    "field": "dash",
                    "type": "nominal",
                    "scale": {"domain": ["eager", "mark"], "range": [[1, 0], [4, 4]]},
                    "legend": None,
                },
            },
        },
        {
            "mark": {"type": "rule", "size": 2.5},
            "encoding": {**shared, "x": {**x, "field": "speedup_low"}, "x2": {"field": "speedup_high"}},
        },
        {
            "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1, "cursor": "pointer"},
            "encoding": {**shared, "x": x, "shape": shape, "tooltip": words},
        },
        {
            "transform": [{"calculate": "(datum.flagged ? '!' : '') + (datum.disturbed ? '*' : '')", "as": "signs"}],
            "mark": {"type": "text", "align": "left", "dx": 7, "fontWeight": "bold"},
            "encoding": {
                "y": shared["y"],
                "yOffset": shared["yOffset"],
                "x": {**x, "field": "right"},
                "text": {"field": "signs"},
            },
        },
    ]
    right = {"calculate": "isValid(datum.speedup_high) ? datum.speedup_high : datum.speedup", "as": "right"}
    flagged = {"calculate": f"datum.speedup < {SLOW_SPEEDUP}", "as": "flagged"}
    return Chart(
        id="speedup",
        title="Speed-up over eager",
        note="Dots with 95 % intervals; right of the line at 1 is faster. The dashed line is the dashboard's mark "
        "(0.95). ! is below it, * was measured under disturbance.",
        spec=spec(
            data={"name": "rows"},
            transform=[right, flagged],
            height=band(series),
            layer=layers,
        ),
        fields=("speedup", "speedup_low", "speedup_high", "verdict", "interval", "rounds", "measured", "disturbed"),
        needs=("speedup",),
        compiled=True,
        lines=True,
        orders={"speedup": "slowest first", "-speedup": "fastest first", "": "by name"},
    )
