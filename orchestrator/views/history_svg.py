"""A history as one SVG file: a panel for each series, a dot with its interval for each point."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from html import escape

from orchestrator.columns import Column
from orchestrator.comparison.history import Series, SeriesPoint, column_of, title
from orchestrator.views.history import causes, scale
from orchestrator.views.layout import plain

SVG_WIDTH, LEFT, RIGHT = 860, 70, 20
PANEL, TOP, PLOT = 142, 44, 66
"""Pixels: a panel's height, where its plot begins, and the plot's height."""
COLOURS = {"better": "#1a7f37", "worse": "#cf222e", "changed": "#9a6700"}
QUIET = "#57606a"


def svg(asked: Mapping[str, Sequence[Series]]) -> str:
    """Return one SVG file without scripts or fonts of its own: a panel for each series of each metric, a dot for each
    point, the dates (UTC) of the first and the last below it.

    Moved points are coloured, failed ones are crosses; each says what it is when pointed at.
    """
    drawn = [(one, column_of(found, metric)) for metric, found in asked.items() for one in found]
    panels = [_panel(one, column, number * PANEL) for number, (one, column) in enumerate(drawn)]
    height = max(len(panels), 1) * PANEL
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_WIDTH}" height="{height}" '
            f'viewBox="0 0 {SVG_WIDTH} {height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{SVG_WIDTH}" height="{height}" fill="white"/>',
            *panels,
            "</svg>\n",
        ]
    )


def _panel(series: Series, column: Column, top: float) -> str:
    low, high = scale(series.points)
    step = (SVG_WIDTH - LEFT - RIGHT) / max(len(series.points), 1)

    def y(value: float) -> float:
        return top + TOP + (PLOT * (high - value) / (high - low) if high > low else PLOT / 2)

    parts = [
        _text(LEFT, top + 18, f"{series.label}: {column.name}", "bold"),
        _text(LEFT, top + 34, title(series.machine), "normal", QUIET),
        *(_text(8, y(end) + 4, column.text(end), "normal", QUIET) for end in dict.fromkeys((low, high))),
        _line(LEFT, top + TOP + PLOT + 8, SVG_WIDTH - RIGHT, top + TOP + PLOT + 8, "#d0d7de"),
    ]
    ends = series.points[:1], series.points[1:][-1:]
    for end, points in zip(("start", "end"), ends, strict=True):
        parts += [_date(point, end, top + TOP + PLOT + 22) for point in points]
    for number, point in enumerate(series.points):
        x = LEFT + (number + 0.5) * step
        marks = _failed(x, top + TOP + PLOT) if point.value is None else _dot(point, x, y)
        parts.append(f"<g><title>{_about(point, column)}</title>{marks}</g>")
    return "\n".join(parts)


def _date(point: SeriesPoint, anchor: str, y: float) -> str:
    x, date = (LEFT if anchor == "start" else SVG_WIDTH - RIGHT), time.strftime("%F", time.gmtime(point.sweep.created))
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="10" fill="{QUIET}">{date}</text>'


def _dot(point: SeriesPoint, x: float, y: Callable[[float], float]) -> str:
    assert point.value is not None
    colour = COLOURS.get(point.word or "", QUIET)
    whisker = ""
    if point.low is not None and point.high is not None:
        whisker = _line(x, y(point.low), x, y(point.high), colour)
    return f'{whisker}<circle cx="{x:.1f}" cy="{y(point.value):.1f}" r="4" fill="{colour}"/>'


def _failed(x: float, y: float) -> str:
    red = COLOURS["worse"]
    return _line(x - 4, y - 4, x + 4, y + 4, red) + _line(x - 4, y + 4, x + 4, y - 4, red)


def _about(point: SeriesPoint, column: Column) -> str:
    value = point.row.status if point.value is None else column.text(point.value)
    words = [f"{point.sweep.name}: {value}", *([point.word] if point.word else []), *causes(point.causes, 6)]
    return escape(plain("; ".join(words)))


def _text(x: float, y: float, text: str, weight: str, colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" fill="{colour}">{escape(plain(text))}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"/>'
