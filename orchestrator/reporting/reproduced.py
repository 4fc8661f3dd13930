"""The end of a rerun, for a person: row by row, and one line that says it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from orchestrator.reporting.layout import Cell, console, grid
from orchestrator.results.reproduced import (
    CHANGED,
    FAILS_AGAIN,
    FIRST,
    REPAIRED,
    REPRODUCED,
    UNFINISHED,
    Verdict,
    in_words,
    names,
)

LISTED = 40
NAMED = 3
"""So many rows are listed, and named in the last line; the others are counted."""
NAME = ("model", "mode", "dtype", "device", "compiler", "measure")
HEADLINES = ("latency_ms", "speedup")
"""What is shown of a row that is reproduced, for its interval: the first that it has."""


def show_verdicts(found: Sequence[Verdict]) -> None:
    """Print one line a row, those that are not reproduced first, then the conclusion."""
    out = console()
    if found:
        rows = [verdict.before.names for verdict in found]
        label = dict(zip(map(id, found), names(rows, ("model", "compiler")), strict=True))
        shared = [str(rows[0][name]) for name in ("mode", "dtype", "device") if len({row[name] for row in rows}) == 1]
        out.print(Text(f"rerun, {' '.join(shared)}".rstrip(", "), "bold reverse"))
        ordered = sorted(found, key=lambda verdict: verdict.word == REPRODUCED)
        lines = [
            [Cell(label[id(v)]), Cell(v.word, style=_style(v)), Cell(v.difference or _evidence(v))]
            for v in ordered[:LISTED]
        ]
        for line in grid(("row", "", "now / then"), lines, out.width, stacked=False):
            out.print(line, no_wrap=True, overflow="ellipsis")
        if len(found) > LISTED:
            out.print(f"and {len(found) - LISTED} more rows: --csv has them all")
        out.print()
    good = all(verdict.word not in (CHANGED, UNFINISHED) for verdict in found)
    out.print(Text(conclusion(found), "bold" if good else "bold red"), soft_wrap=True)


def conclusion(found: Sequence[Verdict]) -> str:
    """Return the last line: how many rows are reproduced, or which are not and what changed in them."""
    if not found:
        return "nothing to compare: what was run is no row of a table (references have none)"
    of = f"of {len(found)} row{'s' if len(found) != 1 else ''}"
    changed = [verdict for verdict in found if verdict.word == CHANGED]
    if changed:
        called = names([verdict.before.names for verdict in found], NAME)
        listed = [f"{name} {v.difference}" for name, v in zip(called, found, strict=True) if v.word == CHANGED]
        parts = [f"not reproduced: {len(changed)} {of}: {_some(listed)}"]
    else:
        parts = [f"reproduced: {sum(verdict.word in (REPRODUCED, FAILS_AGAIN) for verdict in found)} {of}"]
    counts = Counter(verdict.word for verdict in found)
    words = (FAILS_AGAIN, REPAIRED, FIRST, UNFINISHED)
    return "; ".join(parts + [f"{counts[word]} {_number(word, counts[word])}" for word in words if counts[word]])


def _number(word: str, count: int) -> str:
    """Return a word of several rows: "fail as before"."""
    return word if count == 1 else word.replace("fails", "fail").replace("passes", "pass")


def _evidence(verdict: Verdict) -> str:
    """Return the headline figure of a row without changes, or its status."""
    metrics = {metric.metric: metric for metric in verdict.pair.metrics}
    shown = next((in_words(metrics[name]) for name in HEADLINES if name in metrics), None)
    return shown or verdict.after.status


def _style(verdict: Verdict) -> str:
    return {REPRODUCED: "", CHANGED: "red", FAILS_AGAIN: "yellow", UNFINISHED: "yellow"}.get(verdict.word, "green")


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more
