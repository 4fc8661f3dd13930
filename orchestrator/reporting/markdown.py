"""Pieces of GitHub's Markdown in which nothing of what is shown is taken for markup.

Names and messages stand as code: there `<b>`, `*`, `@someone` and `#12` are what they are. A "|" ends a cell of a table
even in code, so it is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from orchestrator.results.exports import markdown_code
from orchestrator.results.load import one_line
from orchestrator.results.metrics import MISSING

LONGEST = 300
"""Characters of one piece of code; a message may be a whole traceback."""


def code(text: object) -> str:
    """Return a text as code, on one line; `MISSING` for none."""
    line = one_line("" if text is None else str(text))
    if not line:
        return MISSING
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    return markdown_code(line)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Return the lines of a table; the cells are Markdown already. Columns from `left` on are set to the right."""
    rule = ["---" if i < left else "---:" for i in range(len(titles))]
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


def details(summary: str, body: Sequence[str]) -> list[str]:
    """Return lines that are folded behind `summary`, a plain text."""
    line = html.escape(one_line(summary)[:LONGEST])
    return ["<details>", f"<summary>{line}</summary>", "", *body, "", "</details>"]


def not_shown(shown: int, total: int, what: str) -> list[str]:
    """Return the line that says how many are not shown, if any."""
    return ["", f"{total - shown:,} more {what} are not shown."] if shown < total else []
