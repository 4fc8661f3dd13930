"""What a person sees of many sweeps: rows by sweeps, in as many blocks of columns as the terminal is narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.comparison import matrix as many
from orchestrator.comparison.compare import BETTER, CHANGED, WORSE
from orchestrator.comparison.difference_tables import value_text
from orchestrator.comparison.differences import MISSING, NEW, Labels, tally
from orchestrator.results.metrics import named
from orchestrator.views.diff import DISTURBED, STYLES, figure
from orchestrator.views.document import Document, Heading, Listing, Paragraph, Piece, Side
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.keys import cut
from orchestrator.views.layout import LISTED
from orchestrator.words import plural

MARKS = {WORSE: "!", BETTER: "+", CHANGED: "~", NEW: "new"}


def document(made: many.Matrix, *, everything: bool, config_only: bool) -> Document:
    """Return what the letters stand for, the keys that differ, and the rows that do."""
    sides = zip(made.sides, made.snapshots, strict=True)
    pieces: list[Piece] = [Side(side, one.name, plural(len(one.rows), "row")) for side, one in sides]
    pieces += [Heading("Configuration"), _keys(made.sides, made.configuration)]
    if not config_only:
        pieces += [Heading("Environment"), _keys(made.sides, made.environment), *_rows(made, everything)]
    return Document("Diff", pieces)


def _keys(sides: Sequence[str], keys: Mapping[str, Sequence[Any]]) -> Listing:
    """Say which sweeps have which value of a key: "rounds: 3 (A C), 5 (B)"."""
    texts = []
    for key, values in keys.items():
        owners: dict[str, list[str]] = {}
        for side, value in zip(sides, values, strict=True):
            owners.setdefault(cut(value_text(value)), []).append(side)
        said = ", ".join(f"{value} ({' '.join(those)})" for value, those in owners.items())
        texts.append(f"{key}: {said}")
    return Listing(texts or ["no key differs"])


def _rows(made: many.Matrix, everything: bool) -> list[Piece]:
    shown = made.rows if everything else made.changed
    labels = Labels([(row.names, row.names) for row, _ in made.rows])
    rows = [
        [Cell(f"  {labels.of(row.names, row.names)}"), *(_cell(made, cell) for cell in cells)] for row, cells in shown
    ]
    means = [
        [
            Cell(f"  geometric mean, {compiler}, {plural(count, 'row')}"),
            *(Cell(figure(made.metric, mean, made.column)) for mean in means),
        ]
        for compiler, count, means in made.means
    ]
    figures = range(1, len(made.sides) + 1)
    return [
        Heading(
            named(made.metric, made.column), f"{plural(len(made.rows) - len(made.changed), 'row')} the same in all"
        ),
        Listing([_against(side, tally(one)) for side, one in zip(made.sides[1:], made.comparisons, strict=True)]),
        Grid(["", *made.sides], rows, means, figures=figures, repeated=2),
        Paragraph(_meanings([cell for _, cells in shown[:LISTED] for cell in cells]), "dim", "  "),
    ]


def _against(side: str, counts: Mapping[str, int]) -> str:
    parts = [f"{counts[what]:,} {what}" for what in (WORSE, BETTER, CHANGED, MISSING, NEW) if counts[what]]
    return f"{side} against A: {', '.join(parts) or 'the same'}"


def _meanings(cells: Sequence[many.MatrixCell]) -> str:
    """Say what the marks mean that occur."""
    used = {cell.word for cell in cells}
    meanings = [f"{mark} {what}" for what, mark in MARKS.items() if what in used and mark != what]
    meanings += [f"{DISTURBED} disturbed while it was measured"] if any(cell.disturbed for cell in cells) else []
    return f"against A, beyond noise: {', '.join(meanings)}" if meanings else ""


def _cell(made: many.Matrix, cell: many.MatrixCell) -> Cell:
    mark = MARKS.get(cell.word, "") + DISTURBED * cell.disturbed
    text = figure(made.metric, cell.value, made.column)
    return Cell(" ".join(filter(None, (text, mark))), style=STYLES.get(cell.word, ""))
