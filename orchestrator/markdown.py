"""GitHub's Markdown, written in one way: nothing of what is shown is taken for markup.

`text` escapes what would be more than text. `code` is for what is better read as code: names in a comment, commands.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Collection, Iterable, Sequence

from orchestrator.errors import printable

MISSING = "—"
LONGEST = 300
"""Characters of one piece of code or one summary; a message may be a whole traceback."""
MARKUP = re.compile(r"[\\`*|~$]|<(?=[a-z/!?])|&(?=[#\w])|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
"""What is more than itself: code, bold, struck, HTML, formulas, cells of a table."""
LINK = re.compile(r"\][(\[:]")
"""Where it occurs, brackets may be a link, a picture or a reference; else they are brackets."""
BEGINS = re.compile(r"^(?:\d*[-+#.)](?=[\s#-]|$)|>|\[(?=[ x]\]))", re.IGNORECASE)
"""What makes a list, a heading, a rule or a quotation at the beginning of a line."""
ADDRESS = re.compile(r"(?=://)|(?<=\bwww)(?=\.)", re.IGNORECASE)
"""Where an address is broken that would be a link."""
CALL = re.compile(r"@|#(?=\d)|\bGH-(?=\d)", re.IGNORECASE)
"""What tells somebody, or refers to an issue, also of another repository (owner/name#12): no backslash hinders it."""
INVISIBLE = "\u200b"


def text(value: object) -> str:
    """Return a value as text that GitHub shows as it is, on one line; `MISSING` for none."""
    return _escaped("" if value is None else str(value))


@functools.lru_cache(maxsize=2048)
def _escaped(text: str) -> str:
    line = MARKUP.sub(r"\\\g<0>", _one_line(text))
    line = line.replace("[", "\\[") if LINK.search(line) else line
    line = BEGINS.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", line)
    return CALL.sub(rf"\g<0>{INVISIBLE}", ADDRESS.sub(r"\\", line)) or MISSING


def code(value: object, longest: int | None = LONGEST) -> str:
    """Return a value as code, on one line; `MISSING` for none. A "|" ends a cell of a table even there: it is escaped.

    Code has no escapes of its own, and a backslash in front of a "|" would take away its escape.
    """
    line = _one_line(value).replace("`", "'").replace("\\|", "/|")
    line = line if longest is None or len(line) <= longest else line[: longest - 1] + "…"
    return "`" + line.replace("|", "\\|") + "`" if line else MISSING


def row(cells: Iterable[str]) -> str:
    """Return a line of a table; the cells are Markdown already."""
    return f"| {' | '.join(cells)} |"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return the lines of a table; titles and cells are Markdown already. right: the columns that are set right."""
    rule = ["---:" if i in right else "---" for i in range(len(titles))]
    return [row(cells) for cells in (titles, rule, *rows)]


def bullets(texts: Iterable[str]) -> list[str]:
    """Return the lines of a list; the texts are Markdown already."""
    return [f"- {one}" for one in texts]


def fence(lines: Iterable[str], language: str = "") -> list[str]:
    """Return lines that are shown, and copied, as they are. None of them can end the block."""
    whole = list(lines)
    longest = max((len(found) for line in whole for found in re.findall("`+", line)), default=0)
    marks = "`" * max(longest + 1, 3)
    return [f"{marks}{language}", *whole, marks]


def details(summary: str, body: Sequence[str]) -> list[str]:
    """Return lines that are folded behind `summary`, a plain text. Behind an empty line Markdown is read again."""
    line = CALL.sub(rf"\g<0>{INVISIBLE}", _one_line(summary)[:LONGEST])
    return ["<details>", f"<summary>{html.escape(line)}</summary>", "", *body, "", "</details>"]


def _one_line(value: object) -> str:
    return "" if value is None else " ".join(" ".join(printable(str(value))).split())
