"""A history for people: each point a dot with whiskers, and what else changed where it moved; also as one SVG file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.text import Text

from orchestrator import markdown
from orchestrator.columns import Column
from orchestrator.comparison.compare import MetricChange
from orchestrator.comparison.history import Read, Series, SeriesPoint, column_of, title
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, Heading, Listing, Paragraph, Piece
from orchestrator.views.layout import PAGE, cut, paragraph, plain, short
from orchestrator.words import more, plural

LISTED, POINTS, CAUSES = 20, 60, 6
"""So many series, points of all of them, and causes of a change a terminal shows; the others are counted."""
FEWEST = 3
"""So many points of a series are shown in any case, the newest; and as many more that moved."""
NARROWEST, WIDEST = 10, 60
"""Columns of the plot: with fewer there is none."""
NAME = 32
FIRST = ("packages.", "torch.", "driver", "gpu", "git.commit", "git.", "orchestrator")
"""Causes that are named first, by the beginning of their keys."""
MARKS = "├─●┤"
RERUN, IMPORTED = " r", " i"
SVG_WIDTH, LEFT, RIGHT = 860, 70, 20
PANEL, TOP, PLOT = 142, 44, 66
"""Pixels: a panel's height, where its plot begins, and the plot's height."""
COLOURS = {"better": "#1a7f37", "worse": "#cf222e", "changed": "#9a6700"}
QUIET = "#57606a"


def means(asked: Mapping[str, Sequence[Series]], found: Read, named: Sequence[str] | None) -> Document:
    """Return the series of each mean: they have no verdict, so none of them has moved."""
    pieces: list[Piece] = []
    for metric, series in asked.items():
        pieces += [Heading(f"{metric}: {COLUMNS[metric].doc}"), _All(series, COLUMNS[metric])] if series else []
    count = max((len(series) for series in asked.values()), default=0)
    said = f"{plural(len(found.snapshots), 'sweep')} below {', '.join(named or ('outputs',))}: means of {count} series."
    return Document("History", [*pieces, *_end(said, found)])


def _end(said: str, found: Read) -> list[Piece]:
    """Return the last line, and below it what could not be read."""
    lost = f" {len(found.unreadable)} cannot be read:" * bool(found.unreadable)
    return [Paragraph(said + lost), Listing([f"{sweep}: {reason}" for sweep, reason in found.unreadable], rest="")]


def document(series: Sequence[Series], found: Read, metric: str, named: Sequence[str] | None) -> Document:
    """Return series below their machines, what the marks mean, and what could not be read. named: the roots."""
    moving = sum(one.moved for one in series)
    points = [point for one in series for point in one.points]
    legend = f"{MARKS[2]} value, {MARKS[0]}{MARKS[1] * 2}{MARKS[3]} its 95 % interval, on one scale for each series"
    legend += "; * measured under disturbance" * any(point.row.disturbed for point in points)
    origins = {_origin(point) for point in points}
    legend += "; r a rerun" * (RERUN in origins) + "; i imported" * (IMPORTED in origins)
    where = ", ".join(named or ("outputs",))
    said = f"{plural(len(found.snapshots), 'sweep')} below {where}: {metric} of {len(series)} series, {moving} moved."
    told: list[Piece] = [_All(series, column_of(series, metric)), Paragraph(legend if points else "", "dim")]
    return Document("History", [*told, *_end(said, found)])


@dataclass(frozen=True)
class _All:
    """Series below their machines; where they are too many, those that moved."""

    series: Sequence[Series]
    column: Column

    def lines(self, width: int) -> Iterator[Text]:
        for piece in self._pieces(1):
            yield from piece.lines(width)

    def markdown(self) -> list[str]:
        return "\n\n".join("\n".join(piece.markdown()) for piece in self._pieces(PAGE)).split("\n")

    def _pieces(self, times: int) -> Iterator[Piece]:
        most = LISTED * times
        chosen = {id(one) for one in sorted(self.series, key=lambda one: not one.moved)[:most]}
        machine = None
        for one in self.series:
            if id(one) not in chosen:
                continue
            if machine != one.machine:
                machine = one.machine
                yield Heading(title(machine), style="bold reverse", above=False, short=True)
            yield _Points(one, self.column, max(FEWEST, times * POINTS // len(chosen)))
        if len(self.series) > most:
            rest = f"and {len(self.series) - most:,} series more: --model, --compiler choose"
            yield Paragraph(f"{rest}; --json and --csv have all", wrap=False)


@dataclass(frozen=True)
class _Points:
    """One line per point: sweep, value, plot, change; below a point that moved, what else changed."""

    series: Series
    column: Column
    most: int

    def lines(self, width: int) -> Iterator[Text]:
        yield Text(plain(self.series.label), "bold")
        points = _chosen(self.series.points, self.most)
        yield from (Text(f"  {left}") for left in self._left(points))
        cells = [("sweep", self.column.name, "change", "")] + [_cells(point, self.column) for point in points]
        widths = [max(len(row[i]) for row in cells) for i in range(3)]
        # of one point there is nothing to draw: it would be an axis for itself
        room = min(width - 2 - sum(widths) - 3 * 2, WIDEST) if len(points) > 1 else 0
        low, high = scale(points)
        plots = [_axis(low, high, self.column, room), *(_plot(point, low, high, room) for point in points)]
        for row, plot, point in zip(cells, plots, (None, *points), strict=True):
            line = Text(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  ", "" if point else "dim")
            line.append(f"{plot:<{room}}  " if room >= NARROWEST else "", "" if point else "dim")
            line.append(row[2], row[3] if point else "dim")
            line.rstrip()
            line.truncate(width, overflow="ellipsis")
            yield line
            if point is not None and point.causes is not None:
                yield Text(paragraph(f"    {_why(point)}", width, indent="      "))

    def markdown(self) -> list[str]:
        points = _chosen(self.series.points, self.most)
        rows = [[*_cells(point, self.column)[:3], "" if point.causes is None else _why(point)] for point in points]
        cells = [[markdown.text(text) if text else "" for text in row] for row in rows]
        left = ["", *self._left(points)] if len(points) < len(self.series.points) else []
        titles = ["sweep", markdown.text(self.column.name), "change", ""]
        return [f"**{markdown.text(self.series.label)}**", "", *markdown.table(titles, cells), *left]

    def _left(self, points: Sequence[SeriesPoint]) -> list[str]:
        left = len(self.series.points) - len(points)
        return [f"{left} other points are in --json and --csv"] if left else []


def _chosen(points: Sequence[SeriesPoint], most: int) -> list[SeriesPoint]:
    """Return the newest points, and the newest of those that moved."""
    kept = {id(point) for point in points[-most:]} | {id(p) for p in [p for p in points if p.moved][-most:]}
    return [point for point in points if id(point) in kept]


def _cells(point: SeriesPoint, column: Column) -> tuple[str, str, str, str]:
    """Return sweep, value with interval, change, and the style of the change."""
    value = point.row.status if point.value is None else _value(column, point.value)
    if point.low is not None and point.high is not None:
        value += f" [{column.text(point.low)}, {column.text(point.high)}]"
    change = point.change
    words = [_percent(column, change)] if change is not None else []
    words += [str(point.word)] if point.moved else []
    words += [cut(point.sweep.tag, NAME)] if point.sweep.tag else []
    style = {"better": "green", "worse": "red", "changed": "yellow"}.get(point.word or "", "dim")
    return cut(point.sweep.name, NAME) + _origin(point), value + "*" * bool(point.row.disturbed), " ".join(words), style


def _origin(point: SeriesPoint) -> str:
    """Return the mark of a sweep that was not just run."""
    return IMPORTED if point.sweep.imported else RERUN if point.sweep.origin else ""


def _percent(column: Column, change: MetricChange) -> str:
    """Return the size of a change: relative, or for a count both counts."""
    if column.kind == "count" or change.ratio is None:
        return f"{column.text(change.before)} -> {column.text(change.after)}"
    return f"{round((change.ratio - 1) * 100, 1) + 0.0:+.1f} %"  # + 0.0: no "-0.0"


def _why(point: SeriesPoint) -> str:
    """Return what else changed where a point moved, the reason of a failure, and whether it was disturbed."""
    words = causes(point.causes, CAUSES) or ["nothing that is recorded changed"]
    words = [point.row.reason] * bool(point.row.reason) + words
    words += [f"measured under disturbance ({cut(point.row.disturbed, 60)})"] * bool(point.row.disturbed)
    return f"{point.word}: {'; '.join(words)}" if point.word else "; ".join(words)


def _value(column: Column, value: float) -> str:
    return column.text(value) + "x" * (column.name == "speedup")


def scale(points: Sequence[SeriesPoint]) -> tuple[float, float]:
    """Return the ends of the scale: all values and intervals are within."""
    seen = [v for point in points for v in (point.low, point.value, point.high) if v is not None]
    return (min(seen), max(seen)) if seen else (0.0, 0.0)


def _axis(low: float, high: float, column: Column, width: int) -> str:
    ends = _value(column, low), _value(column, high)
    return ends[0] + " " * (width - len(ends[0]) - len(ends[1])) + ends[1] if low < high else ""


def _plot(point: SeriesPoint, low: float, high: float, width: int) -> str:
    """Return a dot with whiskers where the value and its interval lie between `low` and `high`."""
    if point.value is None or width < NARROWEST:
        return ""

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1)) if high > low else width // 2

    left, middle, right = (
        place(v if v is not None else point.value or 0.0) for v in (point.low, point.value, point.high)
    )
    line = [" "] * width
    line[left : right + 1] = MARKS[1] * (right + 1 - left)
    if left < middle:
        line[left] = MARKS[0]
    if right > middle:
        line[right] = MARKS[3]
    line[middle] = MARKS[2]
    return "".join(line)


def causes(found: Mapping[str, tuple[Any, Any]] | None, most: int, width: int = NAME) -> list[str]:
    """Return "key before -> after" of what changed, the likeliest causes first, at most so many."""

    def likelihood(key: str) -> int:
        return next((i for i, start in enumerate(FIRST) if key.startswith(start)), len(FIRST))

    changed = found or {}
    order = sorted(changed, key=likelihood)
    words = [f"{key} {' -> '.join(_short(value, width) for value in changed[key])}" for key in order[:most]]
    return words + more(len(order), most)


def _short(value: Any, width: int) -> str:
    """Return a value that was recorded, for people: hashes with eight digits, lists that have one value as that."""
    if isinstance(value, (list, tuple)):
        return cut(", ".join(_short(item, width) for item in value), width)
    text = "null" if value is None else str(value)
    return short(text, width) if width == NAME else cut(text, width)


def tables(asked: Mapping[str, Sequence[Series]], found: Read, form: str) -> dict[str, Table]:
    """Return a row for each point of each metric, and what could not be read (in CSV only where there is such)."""
    which = ("machine", "series", "sweep", "tag", "created_s", "origin", "metric")
    seen = ("status", "value", "value_low", "value_high", "rounds", "before", "ratio", "ratio_low", "ratio_high", "p")
    columns: tuple[str, ...] = (*which, *IDENTITY, *seen, "change", "causes", "disturbed", "reason")
    lost = ({"sweep": sweep, "reason": reason} for sweep, reason in found.unreadable)
    points = (_row(one, point, metric) for metric, found in asked.items() for one in found for point in one.points)
    made = {"history": Table.of(columns, points)}
    if form == "json" or found.unreadable:
        made["unreadable"] = Table.of(("sweep", "reason"), lost)
    return made


def _row(series: Series, point: SeriesPoint, metric: str) -> dict[str, Any]:
    figure = point.row.figures.get(metric)
    return {
        **point.row.names,
        **(point.change.row() if point.change is not None else {}),
        "machine": title(series.machine),
        "series": series.label,
        "sweep": point.sweep.name,
        "tag": point.sweep.tag,
        "created_s": point.sweep.created,
        "origin": point.sweep.origin,
        "metric": metric,
        "status": point.row.status,
        "reason": point.row.reason,
        "value": point.value,
        "value_low": point.low,
        "value_high": point.high,
        "rounds": len(figure.values) if figure is not None else None,
        "change": point.word,
        "causes": "; ".join(causes(point.causes, len(point.causes), 10_000)) if point.causes is not None else None,
        "disturbed": point.row.disturbed,
    }


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
