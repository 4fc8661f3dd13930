"""Text for a terminal of so many columns: the console, lines that are wrapped or cut, ages and durations."""

from __future__ import annotations

import math
import os
import re
import sys
import textwrap
from collections.abc import Iterable
from functools import cached_property

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from orchestrator.errors import printable
from orchestrator.words import plural, some

LISTED = 20
"""So many of a list are shown on a terminal."""
PAGE = 3
"""A page has room for so many times as many."""

DRAWN = str.maketrans(dict(zip("▁▂▃▄▅▆▇█├─●┤·µ—", "_.-=+*#@|-o||u-", strict=True)) | {"±": "+-", "…": "..."})
"""What is drawn, and with which characters where there are no others."""
COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python itself sets LC_CTYPE to in the locale C (PEP 538): not what the user has asked for."""
ONE_WORD = re.compile(r"(\[[^\[\]\s]+,|\(\d[^\s()]*) ([^\[\]\s()]+[\])])")
"""An interval, and a figure with its unit in brackets: no line ends in them."""
TOGETHER = "\u00a0"


def plain_locale() -> bool:
    """Return whether the user has asked for the locale C or POSIX, whose terminals show ASCII alone.

    Python writes UTF-8 there all the same. A locale that is not set, as in a log of CI, says nothing.
    """
    everything, characters, others = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return (everything or (characters if characters not in COERCED else None) or others) in ("C", "POSIX")


class _Console(Console):
    """A console that prints its own colours, and of texts only what can be seen: rich lets escapes through."""

    @cached_property
    def drawn(self) -> dict[int, str]:
        try:
            "".join(map(chr, DRAWN)).encode(self.encoding)
        except UnicodeEncodeError:
            return DRAWN
        return DRAWN if plain_locale() else {}

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


def paragraph(text: str, width: int, indent: str = "  ", whole: bool = False) -> str:
    """Return text wrapped between words to `width` columns, the lines after the first indented.

    With `whole` a word that is longer than a line is not broken, so that it can be copied. `ONE_WORD` is one.
    """
    words = ONE_WORD.sub(rf"\1{TOGETHER}\2", text)
    wrapped = textwrap.wrap(
        words, max(width, 20), subsequent_indent=indent, break_on_hyphens=False, break_long_words=not whole
    )
    return "\n".join(wrapped).replace(TOGETHER, " ")


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
    return " ".join(printable(text))


def cut(text: str, width: int) -> str:
    """Return text of at most `width` characters; what is left out is an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def by_cause(failed: Iterable[tuple[str, str, str, str, str]]) -> list[str]:
    """Return a text for each cause of (status, row, measure, reason, log): what failed alike is told once, by name.

    The log is that of the first.
    """
    causes: dict[tuple[str, str], tuple[str, dict[str, list[str]]]] = {}
    for status, row, measure, reason, log in failed:
        _, rows = causes.setdefault((status, reason or "no reason was given"), (log, {}))
        rows.setdefault(row, []).append(measure)
    texts = []
    for (status, reason), (log, rows) in causes.items():
        names = [f"{row} {' and '.join(measures)}" for row, measures in rows.items()]
        if len(names) == 1:
            texts.append(f"{status}: {names[0]}: {reason} ({log})")
        else:
            texts.append(f"{status}, {plural(len(names), 'row')}: {reason} ({log}): {some(names, LISTED)}")
    return texts


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


def span(low: float, high: float) -> str:
    """Return a range of seconds for people, in round numbers of one unit: "20-35 s", "3-5 min", "2-3 h"."""
    if high < 5:
        return "under 5 s"
    size, unit, step = (1, "s", 5) if high < 90 else (60, "min", 1) if high < 5400 else (3600, "h", 0.5)
    least = max(math.floor(low / size / step), 0) * step
    most = max(math.ceil(high / size / step), 1) * step
    if least == 0:
        return f"under {most:g} {unit}"
    return f"{least:g}-{most:g} {unit}" if least < most else f"about {most:g} {unit}"
