"""Model by compiler: the speed-up, or what went wrong instead."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import Chart, compiled, spec, tooltip, two_lines

SLOW, EVEN, FAST = "#d55e00", "#f2f0eb", "#0072b2"
"""Vermilion and blue (Okabe and Ito), told apart by everyone; what is in the cell says it in words too."""
LINE = 13
TEXT_ON_LIGHT, TEXT_ON_DARK = "#16181d", "#ffffff"


def chart(series: Sequence[str]) -> Chart:
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
    y = {
        "field": "workload",
        "type": "nominal",
        "sort": None,
        "axis": {
            "title": None,
            "domain": False,
            "ticks": False,
            "labelPadding": 8,
            **two_lines(),
        },
    }
    colour = {
        "field": "doublings",
        "type": "quantitative",
        "scale": {"domain": [-1, 0, 1], "range": [SLOW, EVEN, FAST], "clamp": True, "interpolate": "lab"},
        "legend": {
            "title": "speed-up",
            "orient": "bottom",
            "direction": "horizontal",
            "values": [-1, 0, 1],
            "labelExpr": "format(pow(2, datum.value), '.2~f') + 'x'",
            "gradientLength": 180,
        },
    }
    words = tooltip(
        ("workload", "workload", ""), ("series", "compiler", ""), ("words", "", ""), ("status", "status", "")
    )
    said = (
        "isValid(datum.speedup) ? format(datum.speedup, '.2f') + 'x'"
        " + (datum.speedup_low > 1 ? ' faster' : datum.speedup_high < 1 ? ' slower' : '') : datum.status"
    )
    short = (
        "isValid(datum.speedup) ? format(datum.speedup, '.2f')"
        " : datum.status == 'pass' ? '·' : replace(datum.status, regexp('_', 'g'), ' ')"
    )
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
            encoding={"x": x, "y": y},
            layer=[
                {
                    "mark": {"type": "rect", "cornerRadius": 3, "cursor": "pointer", "strokeWidth": 2, "stroke": None},
                    "encoding": {
                        "color": {"condition": {"test": "!isValid(datum.doublings)", "value": "transparent"}, **colour},
                        "tooltip": words,
                    },
                },
                {
                    "mark": {
                        "type": "text",
                        "fontSize": {"expr": "bandwidth('x') < 34 ? 9 : 11"},
                        "limit": {"expr": "max(bandwidth('x') - 2, 26)"},
                    },
                    "transform": [{"filter": "isValid(datum.doublings)"}],
                    "encoding": {
                        "text": {"field": "short"},
                        "color": {"condition": {"test": dark, "value": TEXT_ON_DARK}, "value": TEXT_ON_LIGHT},
                    },
                },
                {
                    "mark": {
                        "type": "text",
                        "fontSize": {"expr": "bandwidth('x') < 34 ? 9 : 11"},
                        "limit": {"expr": "max(bandwidth('x') - 2, 26)"},
                    },
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
        orders={"speedup": "slowest first", "-speedup": "fastest first", "": "by name"},
        limit=25,
    )
