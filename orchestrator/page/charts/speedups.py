"""Speed-up of each model and compiler: with its interval, and as a table of colours that says what went wrong, too."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    BLUE,
    EVEN,
    OF_A_ROW,
    TEXT_ON_DARK,
    TEXT_ON_LIGHT,
    VERMILION,
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
from orchestrator.results.metrics import SLOW_SPEEDUP

TICKS = [*(tenths / 10 for tenths in range(1, 10)), 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20]
"""A logarithmic axis of its own makes no useful ticks between 0.9 and 1.5."""
LINE = 13


def speedup(series: Sequence[str]) -> Chart:
    """Return a dot with its 95 % interval for each workload and compiler, on a logarithmic axis around 1."""
    series = compiled(series)
    colour, shape = series_scales(series)
    scale = {"type": "log", "nice": False, "padding": 24}
    title = "speed-up (x, log scale)"
    x = quantitative("speedup", scale, title=title, values=TICKS, format="~g", labelOverlap=True)
    shared = {"y": workload_axis(), "yOffset": offset(series), "color": colour}
    words = tooltip(
        *OF_A_ROW,
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
    )


def heat_map(series: Sequence[str]) -> Chart:
    """Return a cell for each workload and compiler. Colours end at 2x and 0.5x; the number says more."""
    lines = max((len(name.replace(" · ", "_").split("_")) for name in compiled(series)), default=1)
    spaced = "replace(replace(datum.label, ' · ', ' '), regexp('_', 'g'), '_ ')"
    x = {
        "field": "series",
        "type": "nominal",
        "sort": compiled(series),
        "axis": {
            "title": None,
            "orient": "top",
            "domain": False,
            "ticks": False,
            "labelOverlap": False,
            "labelExpr": f"narrow ? datum.label : split({spaced}, ' ')",
            "labelLineHeight": LINE,
            "labelPadding": {"expr": f"narrow ? 4 : {4 + LINE * (lines - 1)}"},  # lines grow downwards
            "labelAngle": {"expr": "narrow ? -90 : 0"},
            "labelAlign": {"expr": "narrow ? 'left' : 'center'"},
            "labelBaseline": {"expr": "narrow ? 'middle' : 'bottom'"},
        },
    }
    colour = {
        "field": "doublings",
        "type": "quantitative",
        "scale": {"domain": [-1, 0, 1], "range": [VERMILION, EVEN, BLUE], "clamp": True, "interpolate": "lab"},
        "legend": {
            "title": "speed-up",
            "orient": "bottom",
            "direction": "horizontal",
            "values": [-1, 0, 1],
            "labelExpr": "format(pow(2, datum.value), '.2~f') + 'x'",
            "gradientLength": 180,
        },
    }
    words = tooltip(*OF_A_ROW, ("words", "", ""), ("status", "status", ""))
    said = (
        "isValid(datum.speedup) ? format(datum.speedup, '.2f') + 'x'"
        " + (datum.speedup_low > 1 ? ' faster' : datum.speedup_high < 1 ? ' slower' : '') : datum.status"
    )
    short = (
        "isValid(datum.speedup) ? format(datum.speedup, '.2f')"
        " : datum.status == 'pass' ? '·' : replace(datum.status, regexp('_', 'g'), ' ')"
    )
    text = {
        "type": "text",
        "fontSize": {"expr": "bandwidth('x') < 34 ? 9 : 11"},
        "limit": {"expr": "max(bandwidth('x') - 2, 26)"},
    }
    dark = "isValid(datum.doublings) && abs(datum.doublings) > 0.62"
    return Chart(
        id="heat_map",
        title="Model by compiler",
        note="Speed-up over eager: blue is faster, orange is slower, and the cell says by how much, or why it has no "
        "figure. A dot is a pass without a speed-up.",
        spec=spec(
            data={"name": "rows"},
            transform=[
                {"calculate": "isValid(datum.speedup) ? log(datum.speedup) / LN2 : null", "as": "doublings"},
                {"calculate": said, "as": "words"},
                {"calculate": short, "as": "short"},
            ],
            height={"step": 30},
            encoding={"x": x, "y": workload_axis(lines=False)},
            layer=[
                {
                    "mark": {"type": "rect", "cornerRadius": 3, "cursor": "pointer", "strokeWidth": 2, "stroke": None},
                    "encoding": {
                        "color": {"condition": {"test": "!isValid(datum.doublings)", "value": "transparent"}, **colour},
                        "tooltip": words,
                    },
                },
                {
                    "mark": text,
                    "transform": [{"filter": "isValid(datum.doublings)"}],
                    "encoding": {
                        "text": {"field": "short"},
                        "color": {"condition": {"test": dark, "value": TEXT_ON_DARK}, "value": TEXT_ON_LIGHT},
                    },
                },
                {
                    "mark": text,
                    "transform": [{"filter": "!isValid(datum.doublings)"}],
                    "encoding": {"text": {"field": "short"}},
                },
            ],
            config={"scale": {"bandPaddingInner": 0.06}},
        ),
        compiled=True,
        least=2,
        wide=3,
        fields=("speedup", "speedup_low", "speedup_high"),
        limit=25,
    )
