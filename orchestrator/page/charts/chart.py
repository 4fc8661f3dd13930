"""What all charts share: the record that describes one, colours and shapes, the marks of a workload's row.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any common colour vision tell
apart; a shape goes with each, so that colour never stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.results.naming import is_eager

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
GREY, BLUE, ORANGE, GREEN = "#8a8a8a", "#0072b2", "#e69f00", "#009e73"
VERMILION, SKY, PURPLE = "#d55e00", "#56b4e9", "#cc79a7"
EVEN, TEXT_ON_LIGHT, TEXT_ON_DARK = "#f2f0eb", "#16181d", "#ffffff"
"""Of a heat map: a cell without a difference, and the words in its cells."""
ON_DARK = {BLUE: "#4a9fdf", VERMILION: "#f07b35", EVEN: "#2f343b", TEXT_ON_LIGHT: "#e9ebee", TEXT_ON_DARK: "#0c0d0f"}
"""What takes the place of a colour that is too dark, or glows, on a dark page. None is the key of another."""
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
"""Seven shapes for six colours: 42 series before a pair repeats."""
ORDERS = {
    "speedup": "slowest first",
    "-speedup": "fastest first",
    "-latency_ms": "longest step first",
    "-compile_latency_cold_s": "longest compilation first",
    "compression_ratio": "most growth of memory first",
    "-latency_spread_percent": "most spread first",
    "model": "by name",
}
"""Orders of the workloads, one for all charts: by a column, of the first compiler that has it; "-": largest first."""

OF_ROWS = ("rows", "samples", "phases", "means")
"""Kinds of data that are made of rows. Any other is a key of the page's data, made into records by `assets/records.js`.
"""

OF_A_ROW = (("workload", "workload", ""), ("series", "compiler", ""))
"""How the tooltip of a row's mark begins."""

COLUMNS = {"expr": "columns"}
"""Of a legend: as many as there is room for, which has to be known before it is laid out."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: what it asks (title), how to read it (note), its specification, and what the script puts into it.

    data: "rows" (one record a row), "samples" (one a latency sample), "phases" (one a row and phase), "means" (one a
    compiler of a section, and one a row), "overview" (one a sweep and compiler), "compile_phases" (one a sweep,
    compiler, state of the cache and phase), "loss_curves" (one a training, step and side), "job" (one a sample of one
    job).
    fields: columns of the summary that go into a record; needs: those that a row must have. compiled: rows of eager are
    left out, for all is relative to them. least: so many series besides eager make the chart worthwhile; more than
    `wide` take the page's width. lines: each series has a line, so that many leave room for fewer workloads. panels:
    one small chart of `each`, instead of one of all. limit: so many of them at first.
    """

    id: str
    title: str
    note: str
    spec: Spec
    data: str = "rows"
    fields: Sequence[str] = ()
    needs: Sequence[str] = ()
    compiled: bool = False
    least: int = 0
    wide: int = 5
    lines: bool = False
    panels: bool = False
    each: str = "workload"
    limit: int = 25
    choices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.panels and self.data not in ("rows", "job"):
            raise ValueError(f"chart '{self.id}': of '{self.data}' only the first would be drawn: it needs `panels`")


def spec(**parts: Any) -> Spec:
    """Return a specification of the container's width.

    The page sets `narrow` where that is a telephone's, `lines` to the lines of a label, `columns` to those of a legend.
    """
    return {
        "$schema": SCHEMA,
        "params": [{"name": "narrow", "value": False}, {"name": "lines", "value": 1}, {"name": "columns", "value": 3}],
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        **parts,
    }


def series_scales(series: Sequence[str]) -> tuple[Spec, Spec]:
    """Return the colour and shape channels of `series`: grey for eager, the others in order."""
    others = compiled(series)
    eager = [name for name in series if name not in others]
    colours = {name: COLOURS[others.index(name) % len(COLOURS)] if name in others else GREY for name in series}
    numbers = {name: others.index(name) + 1 if name in others else eager.index(name) for name in series}
    shapes = {name: SHAPES[number % len(SHAPES)] for name, number in numbers.items()}
    legend = {"title": None, "orient": "top", "columns": COLUMNS, "symbolSize": 80, "symbolOpacity": 1}
    colour = {"field": "series", "type": "nominal", "scale": named_scale(colours), "legend": legend}
    shape = {"field": "series", "type": "nominal", "scale": named_scale(shapes), "legend": legend}
    return colour, shape


def compiled(series: Sequence[str]) -> list[str]:
    """Return the series that are not eager."""
    return [name for name in series if not is_eager(name.partition(" · ")[0])]


def band(series: Sequence[str]) -> Spec:
    """Return the height of a chart with a line for each series of a workload."""
    return {"step": max(13, 28 // max(len(series), 1))}


def workload_axis(*, lines: bool = True) -> Spec:
    """Return the y channel with a band for each workload, in the order of the data; `lines` part the bands."""
    grid = {"grid": True, "tickBand": "extent"} if lines else {}
    return bands("workload", labelPadding=8, **grid, **_two_lines())


def bands(field: str, **axis: Any) -> Spec:
    """Return the y channel with a band for each value of a field, in the order of the data."""
    bare = {"title": None, "domain": False, "ticks": False}
    return {"field": field, "type": "nominal", "sort": None, "axis": {**bare, **axis}}


def quantitative(field: str, scale: Spec, **axis: Any) -> Spec:
    """Return the channel of a number, with its scale and its axis."""
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def offset(series: Sequence[str]) -> Spec:
    """Return the channel that puts the series of a workload side by side, in the same order everywhere."""
    return {"field": "series", "sort": list(series)}


def _two_lines() -> Spec:
    """Return the part of an axis that writes a workload: the model, and below it what else tells it apart.

    Where it is narrow a long name loses its middle: models often differ in their last word.
    """
    model = "split(datum.label, ' · ')[0]"
    shorter = f"slice({model}, 0, 11) + '…' + slice({model}, -10)"
    line = f"(narrow && length({model}) > 22 ? {shorter} : {model})"
    rest = "join(slice(split(datum.label, ' · '), 1), ' · ')"
    return {
        "labelExpr": f"lines == 1 ? (narrow ? {line} : datum.label) : [{line}, {rest}]",
        "labelOffset": {"expr": "lines == 1 ? 0 : -6"},
        "labelLineHeight": 13,
        "labelOverlap": False,
    }


def tooltip(*fields: tuple[str, str, str]) -> list[Spec]:
    """Return the tooltip channel of (field, title, number format); "" is for text."""
    return [
        {"field": name, "title": title, **({"type": "quantitative", "format": form} if form else {"type": "nominal"})}
        for name, title, form in fields
    ]


def named_scale(values: Mapping[str, str]) -> Spec:
    """Return the scale of name -> colour or shape."""
    return {"domain": list(values), "range": list(values.values())}
