"""Rows of cells, in columns as wide as what is in them, some below a line that spans all columns.

Rich's `Table` has no cell that spans columns, and a model's name as a line of its own above its compilers is what
makes the summary fit into 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.text import Text

from orchestrator import markdown
from orchestrator.views.layout import LISTED, PAGE, cut, plain
from orchestrator.words import plural

GAP = 2
NARROWEST = 9
"""No column is folded to fewer characters."""


@dataclass(frozen=True)
class Cell:
    """What a cell says, and a second, lesser thing. Side by side where there is room, else below each other."""

    first: str = ""
    second: str = ""
    style: str = ""

    def lines(self, stacked: bool) -> list[Text]:
        parts = [plain(part) for part in (self.first, self.second) if part]
        if stacked or len(parts) < 2:
            return [Text(part, self.style if i == 0 else "dim") for i, part in enumerate(parts)]
        return [Text.assemble((parts[0], self.style), " ", (parts[1], "dim"))]

    def markdown(self) -> str:
        """Return the cell of a page: the first part strong where it is bold in a terminal."""
        first, second = _escaped(self.first), _escaped(self.second)
        return " ".join(filter(None, (f"**{first}**" if first and self.style == "bold" else first, second)))


@dataclass(frozen=True)
class Spanning:
    """A line across all columns."""

    text: str
    style: str = "bold"


GridRow = Sequence[Cell] | Spanning


@dataclass(frozen=True)
class Grid:
    """Rows of cells, some below a heading that spans all columns.

    On a page such headings are a column of their own, `group`. last: rows below the cut, such as means; figures: the
    columns set right on a page. Where all is too wide cells are folded, or with `stacked` their second parts go below
    the first, with `cut_last` the last column is cut, with `repeated` there are blocks that begin with so many columns.
    """

    titles: Sequence[str]
    rows: Sequence[GridRow]
    last: Sequence[GridRow] = ()
    group: str = ""
    figures: Sequence[int] = ()
    most: int | None = LISTED
    rest: str = " (--json has all)"
    indent: str = ""
    above: bool = False
    stacked: bool = False
    repeated: int = 0
    cut_last: bool = False

    def lines(self, width: int) -> Iterator[Text]:
        first, left = self._cut(self.most)
        rows = [*first, *(Spanning(f"  {text}", "") for text in left), *self.last]
        if not rows:
            return
        if self.above:
            yield Text()
        room = width - len(self.indent)
        for i, (titles, block) in enumerate(self._blocks(rows, room)):
            if i:
                yield Text()
            stacked = self.stacked and natural_width(titles, block) > room
            for line in grid(titles, block, room, stacked):
                line = Text(self.indent) + line
                line.truncate(width, overflow="ellipsis")
                yield line

    def markdown(self) -> list[str]:
        first, left = self._cut(None if self.most is None else self.most * PAGE)
        rows = [*first, *self.last]
        spanned = any(isinstance(row, Spanning) for row in rows)
        cells = [row for row in rows if not isinstance(row, Spanning)]
        used = [i for i in range(len(self.titles)) if any(row[i].first for row in cells)]
        made = []
        heading, alone = "", False
        for row in rows:
            if isinstance(row, Spanning):
                made += [[heading]] if alone else []
                heading, alone = _escaped(row.text), True
            else:
                own = [row[i].markdown() for i in used]
                made.append([heading, *own] if spanned else own)
                alone = False
        made += [[heading]] if alone else []
        titles = [*[self.group] * spanned, *(self.titles[i] for i in used)]
        right = [k + spanned for k, i in enumerate(used) if i in self.figures]
        padded = [[*row, *[""] * (len(titles) - len(row))] for row in made]
        told = [line for text in left for line in ("", text)]
        return [*markdown.table([*map(_escaped, titles)], padded, right), *told] if made else []

    def _cut(self, most: int | None) -> tuple[list[GridRow], list[str]]:
        """Return the first rows, of those below headings whole groups, and the text that says how many are left out."""
        starts = [i for i, row in enumerate(self.rows) if isinstance(row, Spanning)] or range(len(self.rows))
        if most is None or len(starts) <= most:
            return [*self.rows], []
        return [*self.rows[: starts[most]]], [f"and {plural(len(starts) - most, 'more row')}{self.rest}"]

    def _blocks(self, rows: Sequence[GridRow], width: int) -> Iterator[tuple[Sequence[str], Sequence[GridRow]]]:
        first, others = range(self.repeated), list(range(self.repeated, len(self.titles)))
        if not self.repeated:
            yield self.titles, self._with_short_ends(rows, width) if self.cut_last else rows
            return
        while others:
            taken = len(others)
            while taken > 1 and natural_width(*self._columns(rows, [*first, *others[:taken]])) > width:
                taken -= 1
            yield self._columns(rows, [*first, *others[:taken]])
            others = others[taken:]

    def _with_short_ends(self, rows: Sequence[GridRow], width: int) -> list[GridRow]:
        others = natural_width(*self._columns(rows, range(len(self.titles) - 1)))
        left = max(width - others - GAP, len(self.titles[-1]))
        return [
            row if isinstance(row, Spanning) else [*row[:-1], replace(row[-1], first=cut(row[-1].first, left))]
            for row in rows
        ]

    def _columns(self, rows: Sequence[GridRow], chosen: Sequence[int]) -> tuple[Sequence[str], Sequence[GridRow]]:
        cells = [row if isinstance(row, Spanning) else [row[i] for i in chosen] for row in rows]
        return [self.titles[i] for i in chosen], cells


def grid(titles: Sequence[str], rows: Sequence[GridRow], width: int, stacked: bool) -> list[Text]:
    """Return the lines of a table. Columns without content are left out.

    Where all is too wide, titles are folded between words, then the last column (status words), then the first (names).
    """
    used = [i for i in range(len(titles)) if any(not isinstance(row, Spanning) and row[i].first for row in rows)]
    cells = [row if isinstance(row, Spanning) else [row[i].lines(stacked) for i in used] for row in rows]
    head = [[Text(titles[i], "bold")] for i in used]
    bodies = [row for row in cells if not isinstance(row, Spanning)]
    widths = [max((line.cell_len for row in bodies for line in row[i]), default=0) for i in range(len(used))]
    whole = [max(width, line.cell_len) for width, (line,) in zip(widths, head, strict=True)]
    if sum(whole) + GAP * (len(whole) - 1) <= width:
        widths = whole
    else:
        widths = [max([w, *map(len, line.plain.split())]) for w, (line,) in zip(widths, head, strict=True)]
    for column in (-1, 0):
        overflow = max(sum(widths) + GAP * (len(widths) - 1) - width, 0)
        widths[column] = max(widths[column] - overflow, min(widths[column], NARROWEST))
    lines: list[Text] = []
    for row in (head, *cells):
        lines += [Text(row.text, row.style)] if isinstance(row, Spanning) else _row(row, widths)
    return lines


def natural_width(titles: Sequence[str], rows: Sequence[GridRow]) -> int:
    """Return how wide the table is with every cell on one line."""
    return max((line.cell_len for line in grid(titles, rows, 10_000, stacked=False)), default=0)


def _escaped(text: str) -> str:
    return markdown.text(text.strip()) if text.strip() else ""


def _row(cells: Sequence[list[Text]], widths: Sequence[int]) -> list[Text]:
    folded = [
        cell if all(line.cell_len <= width for line in cell) else _folded(cell, width)
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for i in range(max(len(cell) for cell in folded)):
        line = Text()
        for cell, width in zip(folded, widths, strict=True):
            text = cell[i] if i < len(cell) else Text()
            line.append_text(text)
            line.append(" " * (width - text.cell_len + GAP))
        line.rstrip()
        lines.append(line)
    return lines


def _folded(cell: Sequence[Text], width: int) -> list[Text]:
    return [Text(part, line.style) for line in cell for part in fold(line.plain, width)]


def fold(text: str, width: int) -> list[str]:
    """Cut text into pieces of at most `width` characters, behind an underscore, space or comma where there is one."""
    pieces = []
    while len(text) > width:
        cut = max(text.rfind(mark, 1, width) for mark in "_ ,") + 1 or width
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]
