"""A rerun, for a person: what differs from then, then row by row what became of it, and one line that says it all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from orchestrator.comparison.reproduction import (
    CANNOT_TELL,
    CHANGED,
    FAILS_AGAIN,
    FIRST,
    REPAIRED,
    REPRODUCED,
    UNFINISHED,
    Conditions,
    Reproduction,
    in_words,
    names,
    verdict,
)
from orchestrator.comparison.thresholds import LATENCY
from orchestrator.results.naming import IDENTITY, WORKLOAD
from orchestrator.views.document import Document, Heading, Listing, Paragraph, Piece
from orchestrator.views.grid import Cell, Grid, Spanning
from orchestrator.words import plural, some

NAMED = 3
"""So many rows are named in the last line; the others are counted."""
NAME = ("model", "mode", "dtype", "device", "compiler", "measure")
SHARED = ("suite", "mode", "dtype", "device")
STYLES = {REPRODUCED: "", CHANGED: "red", CANNOT_TELL: "yellow", FAILS_AGAIN: "yellow", UNFINISHED: "yellow"}
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


def document(found: Sequence[Reproduction], *, failed_only: bool = False) -> Document:
    """Return one line a row, under its model, models with what is not reproduced first; then the conclusion."""
    style = STYLES[verdict(found, failed_only=failed_only)]
    text = conclusion(found, failed_only=failed_only)
    told = Paragraph(text, f"bold {style}".strip(), strong=True, above=bool(found), wrap=False)
    if not found:
        return Document("Rerun", [], [told])
    rows = [reproduction.before.names for reproduction in found]
    shared = [str(rows[0][name]) for name in SHARED if len({row[name] for row in rows}) == 1]
    heading = Heading(" · ".join(["rerun", *shared]), style="bold reverse")
    table = Grid(("row", "", "now / then"), _lines(found), group="model", rest=": --csv has them all")
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
            more += reproduction.evidence if reproduction.word in (CANNOT_TELL, CHANGED) else []
            style = STYLES.get(reproduction.word, "green")
            lines.append([Cell(f" {other}"), Cell(reproduction.word, style=style), Cell(first)])
            lines += [[Cell(), Cell(), Cell(text)] for text in more]
    return lines


def conclusion(found: Sequence[Reproduction], *, failed_only: bool = False) -> str:
    """Return the last line: how many rows are reproduced, or which are not, or cannot be told, and why."""
    if not found:
        return "nothing to compare: what was run is no row of a table (references have none)"
    counts = Counter(reproduction.word for reproduction in found)
    told = verdict(found, failed_only=failed_only)
    rows = plural(len(found), "row")
    of_word = [one for one in found if one.word == told]
    if told != REPRODUCED and of_word:
        called = names([one.before.names for one in found], NAME)
        listed = [f"{name} {one.headline}" for name, one in zip(called, found, strict=True) if one.word == told]
        parts = [f"{told}: {len(of_word)} of {rows}: {some(listed, NAMED, '; ')}"]
    elif told == CANNOT_TELL:
        parts = [f"{told}: nothing succeeded then and now"]
    elif told == CHANGED and not counts[UNFINISHED]:  # what failed was run again, and nothing else is wrong with it
        told, parts = FAILS_AGAIN, [f"still failing: {counts[FAILS_AGAIN]} of {rows}"]
    elif counts[REPRODUCED] or told == CHANGED:
        parts = [f"reproduced: {counts[REPRODUCED]} of {rows}"]
    else:
        parts = [f"nothing of before to reproduce in {rows}"]
    words = (CANNOT_TELL, FAILS_AGAIN, REPAIRED, FIRST, UNFINISHED)
    shown = [word for word in words if counts[word] and word != told]
    return "; ".join(parts + [f"{counts[word]} {_number(word, counts[word])}" for word in shown])


def _number(word: str, count: int) -> str:
    """Return a word of several rows: "fail as before"."""
    word = "cannot be told" if word == CANNOT_TELL else word
    return word if count == 1 else word.replace("fails", "fail").replace("passes", "pass")


def _evidence(reproduction: Reproduction) -> str:
    """Return the headline figure of a row without changes, or its status."""
    metrics = {metric.metric: metric for metric in reproduction.pair.metrics}
    shown = next((in_words(metrics[name]) for name in EVIDENCE if name in metrics), None)
    return shown or reproduction.after.status
