"""Tables as pandas DataFrames that know their columns, and a document as text and, for notebooks, as HTML."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, did_you_mean, printable
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, Heading, Item, Listing, Paragraph, Piece, to_text
from orchestrator.views.grid import Cell, Grid, GridRow, Spanning
from orchestrator.views.layout import plain
from orchestrator.words import more

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 100
"""Of a text where no terminal says how wide it is."""
MOST_ROWS = 500
COLOURS = {"green": "#1a7f37", "red": "#cf222e", "yellow": "#9a6700"}
"""Seen on white and on black alike."""
CELL = "padding:1px 12px 1px 0;text-align:left;white-space:nowrap;vertical-align:top"


class Tabled:
    """What was found: tables by name, and a document that says it."""

    @property
    def _named(self) -> Mapping[str, Table]:
        """The tables as records."""
        raise NotImplementedError

    def _document(self) -> Document:
        """Return what the command line shows of it."""
        raise NotImplementedError

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that there are."""
        return tuple(self._named)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table: texts are objects, numbers float64, counts Int64; what is missing is missing, never 0.

        `attrs["columns"]` of the frame says what each column is. Raises UsageError where there is no such table.
        """
        if name not in self._named:
            raise UsageError(f"there is no table '{name}' here: {did_you_mean(name, self.tables)}")
        return frame(self._named[name])

    def columns_help(self, table: str | None = None) -> pd.DataFrame:
        """Return what columns are, those of one table or of all: name (the index), unit, better, doc.

        better: "lower", "higher", or "none". Raises UsageError where there is no such table.
        """
        import pandas as pd

        frames = [self.table(name) for name in (self.tables if table is None else [table])]
        described = {name: about for one in frames for name, about in one.attrs["columns"].items()}
        made = pd.DataFrame.from_dict(described, orient="index", columns=["unit", "better", "doc"])
        return made.rename_axis("column")

    def to_text(self, width: int | None = None) -> str:
        """Return what the command line shows. width: columns, those of the terminal by default."""
        return to_text(self._document(), width or shutil.get_terminal_size((COLUMNS, 24)).columns)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return to_html(self._document())


def frame(table: Table) -> pd.DataFrame:
    """Return a table as a DataFrame with the documentation of its columns in `attrs["columns"]`."""
    made = table.frame()
    columns = map(table.column, table.columns)
    made.attrs["columns"] = {one.name: {"unit": one.unit, "better": one.better, "doc": one.doc} for one in columns}
    return made


def to_html(document: Document) -> str:
    """Return a document as one element of HTML, in the notebook's own colours, light or dark.

    Everything that a sweep says is escaped. What has no form here stands as it does in a terminal.
    """
    parts = "\n".join(part for piece in (*document.body, *document.conclusion) for part in _piece(piece))
    return f'<div style="font-size:13px;line-height:1.45;overflow-x:auto">\n{parts}\n</div>'


def _piece(piece: Piece) -> Iterator[str]:
    if isinstance(piece, Grid):
        yield from _grid(piece)
    elif isinstance(piece, Heading):
        aside = f" {_span(piece.aside, 'dim')}" if piece.aside else ""
        yield f'<p style="margin:8px 0 2px">{_span(piece.text.strip(), f"{piece.style} bold")}{aside}</p>'
    elif isinstance(piece, Paragraph):
        if piece.text:
            yield _line(_span(piece.text, piece.style))
    elif isinstance(piece, Item):
        text = _code(piece.text) if piece.command else _span(piece.text)
        yield _line(f"{_span(piece.name, 'dim')} {text}")
    elif isinstance(piece, Listing):
        if piece.texts:
            yield _line(_span(piece.title, piece.style)) if piece.title else ""
            texts = (*piece.texts[: piece.most], *more(len(piece.texts), piece.most, piece.rest))
            items = "".join(f"<li>{_span(text)}</li>" for text in texts)
            yield f'<ul style="margin:2px 0 2px 1.5em;padding:0">{items}</ul>'
    else:
        text = "\n".join(seen for line in piece.lines(COLUMNS) for seen in printable(line.plain))
        if text.strip():
            yield f'<pre style="margin:2px 0">{escape(text)}</pre>'


def _grid(piece: Grid) -> Iterator[str]:
    rows = [*piece.rows[:MOST_ROWS], *piece.last]
    cells = [row for row in rows if not isinstance(row, Spanning)]
    used = [i for i in range(len(piece.titles)) if any(row[i].first for row in cells)]
    if not rows:
        return
    titles = "".join(f'<th style="{CELL}">{escape(plain(piece.titles[i]))}</th>' for i in used)
    body = "\n".join(f'<tr style="background:none">{_row(row, used)}</tr>' for row in rows)
    yield (
        '<table style="border-collapse:collapse;margin:2px 0;font-size:inherit;color:inherit">\n'
        f'<thead><tr style="background:none">{titles}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    )
    for line in more(len(piece.rows), MOST_ROWS, " rows: .summary has all"):
        yield _line(_span(line, "dim"))


def _row(row: GridRow, used: Sequence[int]) -> str:
    if isinstance(row, Spanning):
        return f'<td colspan="{max(len(used), 1)}" style="{CELL};white-space:normal">{_span(row.text, row.style)}</td>'
    return "".join(f'<td style="{CELL}">{_cell(row[i])}</td>' for i in used)


def _cell(cell: Cell) -> str:
    return " ".join([_span(cell.first, cell.style), *([_span(cell.second, "dim")] if cell.second else [])])


def _line(content: str) -> str:
    return f'<p style="margin:1px 0">{content}</p>'


def _code(text: str) -> str:
    return f"<code>{escape(plain(text))}</code>"


def _span(text: str, style: str = "") -> str:
    """Return text in one of the terminal's styles: a colour by name, bold, dim, or several of them."""
    words = style.split()
    css = [f"color:{COLOURS[word]}" for word in words if word in COLOURS]
    css += ["font-weight:600"] * ("bold" in words) + ["opacity:0.7"] * ("dim" in words)
    content = escape(plain(text))
    return f'<span style="{";".join(css)}">{content}</span>' if css else content
