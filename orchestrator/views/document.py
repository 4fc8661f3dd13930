"""What a view says, whoever reads it: a document is made of pieces, and each piece knows its two forms.

`lines(width)` is the piece on a terminal of so many columns, `markdown()` the piece on a page of GitHub. A view is one
function that returns a document; `show`, `to_text` and `to_markdown` are the renderers, and `api/tabled.py` for
notebooks. Long lists are cut here and nowhere else: a page has room for `PAGE` times as many rows as a terminal, and
both say how many they leave out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from rich.console import Console
from rich.text import Text

from orchestrator import markdown
from orchestrator.views.layout import LISTED, PAGE, console, cut, paragraph, plain
from orchestrator.words import more, some

NAMED = 4
"""So many rows of which the same is to be said are named."""
MOST_LINES = 100_000
"""So many lines of a log, the last, are on a page: a page is made in memory."""


class Piece(Protocol):
    """A part of a document."""

    def lines(self, width: int) -> Iterable[Text]:
        """Return the lines for a terminal; some are longer than it, so that they can be copied."""
        ...

    def markdown(self) -> list[str]:
        """Return the lines for a page, without empty ones at the ends."""
        ...


@dataclass(frozen=True)
class Document:
    """title: for a page only, in a terminal the reader has just typed it. conclusion: what it all comes to, last in a
    terminal and first on a page, where one looks first."""

    title: str
    body: Sequence[Piece]
    conclusion: Sequence[Piece] = ()


def show(document: Document, out: Console | None = None) -> None:
    """Print a document."""
    out = out or console()
    for piece in (*document.body, *document.conclusion):
        for line in piece.lines(out.width):
            out.print(line, soft_wrap=True)


def to_text(document: Document, width: int) -> str:
    """Return a document as a terminal of so many columns shows it, without colours."""
    pieces = (*document.body, *document.conclusion)
    return "\n".join(line.plain for piece in pieces for line in piece.lines(width)).strip("\n")


def to_markdown(document: Document) -> str:
    """Return a document as Markdown."""
    pieces = (*document.conclusion, *document.body)
    return "\n\n".join([f"## {markdown.text(document.title)}", *_paragraphs(pieces)]) + "\n"


def _paragraphs(pieces: Iterable[Piece]) -> list[str]:
    """Return pieces as Markdown. Items that follow each other are one list."""
    made = []
    for listed, group in groupby(pieces, lambda piece: isinstance(piece, (Item, Side))):
        texts = ["\n".join(lines) for piece in group if (lines := piece.markdown())]
        made += ["\n".join(texts)] if listed else texts
    return made


@dataclass(frozen=True)
class Heading:
    """aside: something lesser about the part; above: an empty line above it, in a terminal; short: cut to one line."""

    text: str
    aside: str = ""
    style: str = "bold"
    above: bool = True
    short: bool = False

    def lines(self, width: int) -> Iterator[Text]:
        if self.above:
            yield Text()
        if self.aside:
            yield Text.assemble((plain(self.text), self.style), (f"  ({plain(self.aside)})", "dim"))
        else:
            text = plain(self.text)
            yield Text(f" {cut(text, width - 2)} " if self.short else paragraph(text, width, ""), self.style)

    def markdown(self) -> list[str]:
        aside = f" ({markdown.text(self.aside)})" if self.aside else ""
        return [f"### {markdown.text(self.text.strip().rstrip(':'))}{aside}"]


@dataclass(frozen=True)
class Side:
    """One of several things that are called A, B, C below: its letter, its name, its size, and what else it has."""

    letter: str
    name: str
    size: str
    more: str = ""

    def lines(self, width: int) -> Iterator[Text]:
        yield Text.assemble((f"{self.letter}  ", "bold"), f"{plain(self.name)}  ", (self.size, "dim"))
        if self.more:
            yield Text(paragraph(f"   {plain(self.more)}", width, "     "), "dim")

    def markdown(self) -> list[str]:
        return markdown.bullets(
            [f"{self.letter}: {markdown.text('; '.join(filter(None, (f'{self.name}, {self.size}', self.more))))}"]
        )


@dataclass(frozen=True)
class Paragraph:
    """strong: bold on a page; above: an empty line above it, in a terminal; wrap: False for a line of any length."""

    text: str
    style: str = ""
    indent: str = ""
    strong: bool = False
    above: bool = False
    wrap: bool = True

    def lines(self, width: int) -> Iterator[Text]:
        if self.above:
            yield Text()
        if self.text:
            text = self.indent + plain(self.text)
            yield Text(paragraph(text, width, self.indent + "  ") if self.wrap else text, self.style)

    def markdown(self) -> list[str]:
        if not self.text:
            return []
        return [f"**{markdown.text(self.text)}**" if self.strong else markdown.text(self.text)]


@dataclass(frozen=True)
class Listing:
    """Texts below each other. title: what they are; rest: where those are that are left out."""

    texts: Sequence[str]
    title: str = ""
    style: str = ""
    indent: str = "  "
    rest: str = " (--json has all)"
    most: int = LISTED

    def lines(self, width: int) -> Iterator[Text]:
        if self.title and self.texts:
            yield Text(f"  {self.title}:", self.style)
        for text in (*self.texts[: self.most], *more(len(self.texts), self.most, self.rest)):
            wrapped = paragraph(self.indent + plain(text), width, self.indent + "  ")
            yield Text(wrapped, "" if self.title else self.style)

    def markdown(self) -> list[str]:
        most = self.most * PAGE
        heading = [f"### {markdown.text(self.title[:1].upper() + self.title[1:])}", ""] if self.title else []
        listed = markdown.bullets(map(markdown.text, (*self.texts[:most], *more(len(self.texts), most, self.rest))))
        return [*heading, *listed] if listed else []


@dataclass(frozen=True)
class CommandLines:
    """What can be pasted into a shell, never wrapped. label: in a terminal in front of each; about: on a page."""

    label: str
    texts: Sequence[str]
    about: str

    def lines(self, width: int) -> Iterator[Text]:
        for text in self.texts:
            yield Text.assemble((f"  {self.label}  ", "dim"), plain(text))

    def markdown(self) -> list[str]:
        return (
            [f"{markdown.text(self.about)}:", "", *markdown.fence(map(plain, self.texts), "sh")] if self.texts else []
        )


@dataclass(frozen=True)
class Verbatim:
    """Lines as they are: the end of a log. short: cut to the width of the terminal."""

    texts: Iterable[str]
    short: bool = False
    indent: str = "    "

    def lines(self, width: int) -> Iterator[Text]:
        for text in self.texts:
            line = Text(f"{self.indent}{text}")
            if self.short:
                line.truncate(width, overflow="ellipsis")
            yield line

    def markdown(self) -> list[str]:
        texts = deque(self.texts, MOST_LINES)
        return markdown.fence(texts) if texts else []


@dataclass(frozen=True)
class Item:
    """A name and what it is.

    With `wrap=False` it stands on one line of any length, with `cut` on one that fits; `whole`: no word is broken;
    command: to be copied.
    """

    name: str
    text: str
    wrap: bool = True
    whole: bool = False
    command: bool = False
    cut: bool = False

    def lines(self, width: int) -> Iterator[Text]:
        label, text = f"  {plain(self.name):<13} ", plain(self.text)
        if self.cut:
            text = cut(text, width - len(label))
        elif self.wrap and not self.command:
            text = paragraph(text, width - len(label), "", self.whole).replace("\n", "\n" + " " * len(label))
        yield Text.assemble((label, "dim"), text)

    def markdown(self) -> list[str]:
        text = markdown.code(self.text, None) if self.command or self.whole else markdown.text(self.text)
        if not self.name:  # one more of what the item above has
            return [f"  - {text}"]
        return [f"- {markdown.text(self.name)}: {text if self.text else ''}".rstrip()]


@dataclass(frozen=True)
class Remark:
    """names: of rows of which the same is to be said; texts: what; command: to look at it, or ""."""

    names: Sequence[str]
    texts: Sequence[str]
    command: str = ""


@dataclass(frozen=True)
class Remarks:
    """What is said of rows, below a title; nothing where there is nothing to say."""

    title: str
    remarks: Sequence[Remark]
    style: str = "bold"
    most: int = LISTED

    def lines(self, width: int) -> Iterator[Text]:
        if self.remarks:
            yield Text(f"{self.title}:", self.style)
        for remark in self.remarks[: self.most]:
            for name in remark.names[:NAMED]:
                yield Text(paragraph(f"  {plain(name)}", width, "    "))
            yield from (Text(f"  {line}") for line in more(len(remark.names), NAMED, " rows"))
            yield from (Text(paragraph(f"    {plain(text)}", width, "      ")) for text in remark.texts)
            if remark.command:
                yield Text.assemble("    ", (plain(remark.command), "dim"))
        for line in self._left(self.most):
            yield Text(f"  {line}")

    def markdown(self) -> list[str]:
        most = self.most * PAGE
        rows = [[some(map(markdown.text, one.names), NAMED, what=" rows"), _said(one)] for one in self.remarks]
        rows = [*rows[:most], *([line, ""] for line in self._left(most))]
        title = [f"### {markdown.text(self.title[:1].upper() + self.title[1:])}", ""] if self.title else []
        return [*title, *markdown.table(("row", "found"), rows)] if rows else []

    def _left(self, most: int) -> list[str]:
        return more(sum(len(remark.names) for remark in self.remarks[most:]), 0, ": --json and --csv have all")


def _said(remark: Remark) -> str:
    """Return a cell: the texts as sentences, and the command below."""
    command = [markdown.code(remark.command, None)] if remark.command else []
    return "<br>".join([markdown.text(". ".join(remark.texts)), *command])


@dataclass(frozen=True)
class Folded:
    """What a page shows on demand; a terminal has only `instead`."""

    summary: str
    body: Sequence[Piece]
    instead: Sequence[Piece] = field(default=())

    def lines(self, width: int) -> Iterator[Text]:
        for piece in self.instead:
            yield from piece.lines(width)

    def markdown(self) -> list[str]:
        body = "\n\n".join(_paragraphs(self.body))
        return markdown.details(self.summary, body.split("\n")) if body else []
