"""What a person sees of many sweeps: rows by sweeps, in as many blocks of columns as the terminal is narrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.reporting.diff_text import STYLES, say, title
from orchestrator.reporting.diff_words import DISTURBED, LISTED, cut, figure
from orchestrator.reporting.judgement import escape
from orchestrator.reporting.layout import Cell, console, grid, natural_width
from orchestrator.results import matrix as many
from orchestrator.results.comparison import BETTER, CHANGED, WORSE
from orchestrator.results.difference import MISSING, NEW, Labels, tally
from orchestrator.results.difference_tables import value_text
from orchestrator.results.exports import markdown_row
from orchestrator.results.metrics import named
from orchestrator.words import more, plural

MARKS = {WORSE: "!", BETTER: "+", CHANGED: "~", NEW: "new"}


def show(made: many.Matrix, *, everything: bool, config_only: bool) -> None:
    """Print what the letters stand for, the keys that differ, and the rows that do."""
    out = console()
    for side, one in zip(made.sides, made.snapshots, strict=True):
        out.print(Text.assemble((f"{side}  ", "bold"), one.name, (f"  {plural(len(one.rows), 'row')}", "dim")))
    _keys(out, "Configuration", made.sides, made.configuration)
    if config_only:
        return
    _keys(out, "Environment", made.sides, made.environment)
    _rows(out, made, everything)


def _keys(out: Console, name: str, sides: Sequence[str], keys: Mapping[str, Sequence[Any]]) -> None:
    """Print which sweeps have which value of a key: "rounds: 3 (A C), 5 (B)"."""
    title(out, name)
    if not keys:
        say(out, ["no key differs"])
    for key, values in list(keys.items())[:LISTED]:
        owners: dict[str, list[str]] = {}
        for side, value in zip(sides, values, strict=True):
            owners.setdefault(cut(value_text(value)), []).append(side)
        said = ", ".join(f"{value} ({' '.join(those)})" for value, those in owners.items())
        say(out, [f"{key}: {said}"])
    say(out, more(len(keys), LISTED, " (--json has all)"))


def _rows(out: Console, made: many.Matrix, everything: bool) -> None:
    shown = made.lines if everything else made.changed
    title(out, named(made.metric, made.column), f"{plural(len(made.lines) - len(made.changed), 'row')} the same in all")
    for side, comparison in zip(made.sides[1:], made.comparisons, strict=True):
        counts = tally(comparison)
        parts = [f"{counts[what]:,} {what}" for what in (WORSE, BETTER, CHANGED, MISSING, NEW) if counts[what]]
        say(out, [f"{side} against A: {', '.join(parts) or 'the same'}"])
    labels = Labels([(row.names, row.names) for row, _ in made.lines])
    rows = [
        [Cell(f"  {labels.of(row.names, row.names)}"), *(_cell(made, cell) for cell in cells)]
        for row, cells in shown[:LISTED]
    ]
    for line in more(len(shown), LISTED, " (--json has all)"):
        rows.append([Cell(f"  {line}"), *[Cell()] * len(made.sides)])
    for compiler, count, means in made.means:
        name = f"  geometric mean, {compiler}, {plural(count, 'row')}"
        rows.append([Cell(name), *(Cell(figure(made.metric, mean)) for mean in means)])
    if rows:
        _blocks(out, made.sides, rows)
    used = {cell.word for _, cells in shown[:LISTED] for cell in cells}
    meanings = [f"{mark} {what}" for what, mark in MARKS.items() if what in used and mark != what]
    disturbed = any(cell.disturbed for _, cells in shown[:LISTED] for cell in cells)
    meanings += [f"{DISTURBED} disturbed while it was measured"] if disturbed else []
    if meanings:
        say(out, [f"against A, beyond noise: {', '.join(meanings)}"], "dim")


def _cell(made: many.Matrix, cell: many.MatrixCell) -> Cell:
    mark = MARKS.get(cell.word, "") + DISTURBED * cell.disturbed
    text = figure(made.metric, cell.value, made.column)
    return Cell(" ".join(filter(None, (text, mark))), style=STYLES.get(cell.word, ""))


def _blocks(out: Console, sides: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print columns side by side; where they are too many, in blocks that all begin with A."""
    first, others = 1, list(range(2, len(sides) + 1))
    while others:
        taken = len(others)
        while taken > 1 and natural_width(*_columns(sides, rows, [first, *others[:taken]])) > out.width:
            taken -= 1
        titles, cells = _columns(sides, rows, [first, *others[:taken]])
        for line in grid(titles, cells, out.width, stacked=False):
            out.print(line, no_wrap=True, overflow="ellipsis")
        others = others[taken:]
        if others:
            out.print()


def _columns(sides: Sequence[str], rows: Sequence[Sequence[Cell]], chosen: Sequence[int]) -> Any:
    return ["", *(sides[i - 1] for i in chosen)], [[row[0], *(row[i] for i in chosen)] for row in rows]


def to_markdown(made: many.Matrix, everything: bool) -> str:
    """Return the matrix as one table, rows by sweeps, below what the letters stand for."""
    shown = made.lines if everything else made.changed
    labels = Labels([(row.names, row.names) for row, _ in made.lines])
    lines = [f"## {named(made.metric, made.column).capitalize()}", ""]
    lines += [f"- {side}: {escape(one.name)}" for side, one in zip(made.sides, made.snapshots, strict=True)]
    lines += ["", markdown_row(["row", *made.sides]), markdown_row(["---", *["---:"] * len(made.sides)])]
    for row, cells in shown:
        texts = (_cell(made, cell).first for cell in cells)
        lines.append(markdown_row([escape(labels.of(row.names, row.names)), *texts]))
    for compiler, count, means in made.means:
        name = f"geometric mean, {compiler}, {plural(count, 'row')}"
        lines.append(markdown_row([escape(name), *(figure(made.metric, mean) for mean in means)]))
    same = len(made.lines) - len(made.changed)
    return "\n".join([*lines, "", f"{plural(same, 'row')} the same in all. Against A: ! worse, + better.", ""])
