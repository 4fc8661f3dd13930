"""A rerun, for a person: what differs from then, then row by row what became of it, and one line that says it all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from orchestrator.comparison.reproduction import (
    CHANGED,
    FAILS_AGAIN,
    FIRST,
    LATENCY,
    REPAIRED,
    REPRODUCED,
    UNFINISHED,
    Conditions,
    Reproduction,
    in_words,
    names,
)
from orchestrator.results.naming import IDENTITY, WORKLOAD
from orchestrator.views.document import Document, Heading, Listing, Paragraph, Piece
from orchestrator.views.grid import Cell, Grid, Spanning
from orchestrator.words import plural, some

LISTED = 20
NAMED = 3
"""So many models are listed, and rows named in the last line; the others are counted."""
NAME = ("model", "mode", "dtype", "device", "compiler", "measure")
SHARED = ("suite", "mode", "dtype", "device")
EVIDENCE = (LATENCY, "speedup")
"""What is shown of a row that is reproduced, for its interval: the first that it has."""


def then_and_now(found: Conditions, heading: str, style: str = "") -> Document:
    """Return the heading, and a line for each difference; what is the same is counted."""
    told = f"Environment: as it was then ({found.same} packages, variables and the like)"
    pieces: list[Piece] = [Paragraph(told, wrap=False)]
    if found.differing:
        heading = f"{heading} ({found.same} others are the same):"
        pieces = [Paragraph(heading, style), Listing(found.lines(), style=style, rest="")]
    return Document("Environment", pieces)


def document(found: Sequence[Reproduction]) -> Document:
    """Return one line a row, under its model, models with what is not reproduced first; then the conclusion."""
    good = all(reproduction.word not in (CHANGED, UNFINISHED) for reproduction in found)
    told = Paragraph(conclusion(found), "bold" if good else "bold red", strong=True, above=bool(found), wrap=False)
    if not found:
        return Document("Rerun", [], [told])
    rows = [reproduction.before.names for reproduction in found]
    shared = [str(rows[0][name]) for name in SHARED if len({row[name] for row in rows}) == 1]
    heading = Heading(" · ".join(["rerun", *shared]), style="bold reverse")
    table = Grid(("row", "", "now / then"), _lines(found), group="model", most=LISTED, rest=": --csv has them all")
    return Document("Rerun", [heading, table], [told])


def _lines(found: Sequence[Reproduction]) -> list[list[Cell] | Spanning]:
    rows = [reproduction.before.names for reproduction in found]
    workloads = names(rows, ("model",), among=WORKLOAD)
    others = names(rows, ("compiler",), among=[name for name in IDENTITY if name not in WORKLOAD])
    groups: dict[str, list[tuple[str, Reproduction]]] = defaultdict(list)
    for workload, other, reproduction in zip(workloads, others, found, strict=True):
        groups[workload].append((other, reproduction))
    lines: list[list[Cell] | Spanning] = []
    for workload, group in sorted(groups.items(), key=lambda item: all(v.word == REPRODUCED for _, v in item[1])):
        lines.append(Spanning(workload))
        for other, reproduction in group:
            first, *more = reproduction.differences or [_evidence(reproduction)]
            lines.append([Cell(f" {other}"), Cell(reproduction.word, style=_style(reproduction)), Cell(first)])
            lines += [[Cell(), Cell(), Cell(text)] for text in more]
    return lines


def conclusion(found: Sequence[Reproduction]) -> str:
    """Return the last line: how many rows are reproduced, or which are not and what changed in them."""
    if not found:
        return "nothing to compare: what was run is no row of a table (references have none)"
    of = f"of {plural(len(found), 'row')}"
    changed = [reproduction for reproduction in found if reproduction.word == CHANGED]
    if changed:
        called = names([reproduction.before.names for reproduction in found], NAME)
        listed = [f"{name} {v.headline}" for name, v in zip(called, found, strict=True) if v.word == CHANGED]
        parts = [f"not reproduced: {len(changed)} {of}: {some(listed, NAMED, '; ')}"]
    else:
        parts = [f"reproduced: {sum(reproduction.word in (REPRODUCED, FAILS_AGAIN) for reproduction in found)} {of}"]
    counts = Counter(reproduction.word for reproduction in found)
    words = (FAILS_AGAIN, REPAIRED, FIRST, UNFINISHED)
    return "; ".join(parts + [f"{counts[word]} {_number(word, counts[word])}" for word in words if counts[word]])


def _number(word: str, count: int) -> str:
    """Return a word of several rows: "fail as before"."""
    return word if count == 1 else word.replace("fails", "fail").replace("passes", "pass")


def _evidence(reproduction: Reproduction) -> str:
    """Return the headline figure of a row without changes, or its status."""
    metrics = {metric.metric: metric for metric in reproduction.pair.metrics}
    shown = next((in_words(metrics[name]) for name in EVIDENCE if name in metrics), None)
    return shown or reproduction.after.status


def _style(reproduction: Reproduction) -> str:
    return {REPRODUCED: "", CHANGED: "red", FAILS_AGAIN: "yellow", UNFINISHED: "yellow"}.get(reproduction.word, "green")
