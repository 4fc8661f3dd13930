"""What a search over builds has found: the step to blame, or between which ones it lies, and each that was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.columns import Column
from orchestrator.comparison.bisection import BAD, CANNOT_TELL, GOOD, Answer, Found, Question, in_words
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, Heading, Paragraph, Piece
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.layout import cut
from orchestrator.words import plural

if TYPE_CHECKING:
    from orchestrator.execution.steps import Step

LONGEST = 60
"""Characters of an answer: a reason may be an error's message, and was said in full when the step was judged."""
STYLES = {GOOD: "", BAD: "red", CANNOT_TELL: "yellow"}
COLUMNS = (
    Column("step", "commit or version", format="text"),
    Column("title", "what it says of itself", format="text"),
    Column("answer", "good, bad or cannot tell", format="text"),
    "ratio",
    "ratio_low",
    "ratio_high",
    "reason",
)


def document(
    steps: Sequence[Step], said: Mapping[int, Answer], asked: Question | Answer, found: Found | None
) -> Document:
    """Return the steps that were judged, in their order, and the conclusion."""
    if found is None or isinstance(asked, Answer):
        why = asked.why if isinstance(asked, Answer) else ""
        return Document("Bisect", [], [Paragraph(f"Cannot tell: {why}", "bold yellow", strong=True, wrap=False)])
    pieces: list[Piece] = [Heading(f"bisect · {asked.metric}", style="bold reverse")]
    rows = [
        [
            Cell(steps[number].short),
            Cell(cut(in_words(asked, answer), LONGEST), style=STYLES[answer.word]),
            Cell(steps[number].title),
        ]
        for number, answer in sorted(said.items())
    ]
    pieces.append(Grid(("step", "", "title"), rows, cut_last=True))
    bad, good = steps[found.bad], steps[found.good]
    if found.is_one:
        text = f"The first bad one is {bad.name} {bad.title}".rstrip()
        return Document("Bisect", pieces, [Paragraph(text, "bold", strong=True, above=True, wrap=False)])
    between = plural(found.bad - found.good, "step")
    text = f"It is one of the {between} after {good.name}, up to {bad.name}: those between cannot be told"
    return Document("Bisect", pieces, [Paragraph(text, "bold yellow", strong=True, above=True, wrap=False)])


def tables(steps: Sequence[Step], said: Mapping[int, Answer]) -> dict[str, Table]:
    """Return the table `bisect`: a row for each step that was judged, in their order."""
    return {"bisect": Table.of(COLUMNS, [_row(steps[number], answer) for number, answer in sorted(said.items())])}


def _row(step: Step, answer: Answer) -> dict[str, Any]:
    ratio = answer.ratio
    figures = {} if ratio is None else {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    return {"step": step.name, "title": step.title, "answer": answer.word, **figures, "reason": answer.why or None}
