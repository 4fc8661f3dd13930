"""Text laid out in columns: cells of one or more lines, widths from the content.

Rich's `Table` has no cell that spans columns, and a model's name as a line of its own above its compilers is what
makes the summary fit into 80 columns.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from orchestrator.results.load import lines

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


@dataclass(frozen=True)
class Spanning:
    """A line across all columns."""

    text: str
    style: str = "bold"


DRAWN = str.maketrans("▁▂▃▄▅▆▇█├─●┤", "_.-=+*#@|-o|")
"""What is drawn, and with which characters where a stream has no others."""


class _Console(Console):
    """A console that prints its own colours, and of texts only what can be seen: rich lets escapes through."""

    @cached_property
    def drawn(self) -> dict[int, int]:
        try:
            "".join(map(chr, DRAWN)).encode(self.encoding)
        except UnicodeEncodeError:
            return DRAWN
        return {}

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or (text.isascii() and text.isprintable()) or text == "\n":
                yield segment
            else:
                seen = "".join(c for c in text.translate(self.drawn) if c.isprintable() or c == "\n")
                yield Segment(seen, segment.style)


def console(width: int | None = None) -> Console:
    """Return a console on stdout. A character that the stream cannot encode becomes "?", never an exception.

    What cannot be seen is not printed: no text moves the cursor, whatever file it is from.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return _Console(width=width, highlight=False, markup=False, emoji=False)


def grid(titles: Sequence[str], rows: Sequence[Sequence[Cell] | Spanning], width: int, stacked: bool) -> list[Text]:
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


def natural_width(titles: Sequence[str], rows: Sequence[Sequence[Cell] | Spanning]) -> int:
    """Return how wide the table is with every cell on one line."""
    return max((line.cell_len for line in grid(titles, rows, 10_000, stacked=False)), default=0)


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


def paragraph(text: str, width: int, indent: str = "  ", whole: bool = False) -> str:
    """Return text wrapped between words to `width` columns, the lines after the first indented.

    With `whole` a word that is longer than a line is not broken, so that it can be copied.
    """
    return "\n".join(
        textwrap.wrap(
            text, max(width, 20), subsequent_indent=indent, break_on_hyphens=False, break_long_words=not whole
        )
    )


def item(name: str, text: str, width: int, wrap: bool = True, whole: bool = False) -> Text:
    """Return "name  text"; with `wrap=False` on one line of any length, so that paths and commands can be copied.

    With `whole` it is wrapped between words only. Newlines in the text become spaces.
    """
    label, text = f"  {plain(name):<13} ", plain(text)
    if wrap:
        text = paragraph(text, width - len(label), "", whole).replace("\n", "\n" + " " * len(label))
    return Text.assemble((label, "dim"), text)


def plain(text: str) -> str:
    """Return text on one line that can do nothing to a terminal; spaces are kept, so that commands stay themselves."""
    return " ".join(lines(text))


def cut(text: str, width: int) -> str:
    """Return text of at most `width` characters; what is left out is an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def age(seconds: float) -> str:
    """Return how long ago something was, to one unit: "5 s", "59 min", "3 h", "12 d". The future is "0 s"."""
    for unit, size, limit in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{max(int(seconds // size), 0)} {unit}"
    return f"{int(seconds // 86400)} d"


def duration(seconds: float) -> str:
    """Return a duration for people: "45 s", "4 min 30 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
