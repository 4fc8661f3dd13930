"""A document's two renderers: widths, what is cut, and that nothing that is shown is taken for markup."""

from __future__ import annotations

import io
import re

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from orchestrator import markdown
from orchestrator.views.document import (
    CommandLines,
    Document,
    Folded,
    Heading,
    Item,
    Listing,
    Paragraph,
    Piece,
    Remark,
    Remarks,
    Side,
    Verbatim,
    show,
    to_markdown,
)
from orchestrator.views.grid import Cell, Grid, Spanning
from orchestrator.views.layout import PAGE

EVIL = "<script>x</script> |*b* _c_ `d` [e](https://f.org) ![g](h) @i #12 GH-3 www.j.org &lt; ~~k~~ $l$ \\| __m__"


def printed(*pieces: Piece, width: int = 40) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    show(Document("Title", pieces), out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def page(*pieces: Piece) -> str:
    return to_markdown(Document("Title", pieces))


def html_of(text: str) -> str:
    return str(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))


def test_what_it_comes_to_is_last_in_a_terminal_and_first_on_a_page() -> None:
    document = Document("Gate", [Paragraph("body")], [Paragraph("passed", strong=True)])
    out = Console(file=io.StringIO(), width=80)
    show(document, out)
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == "body\npassed\n"
    assert to_markdown(document) == "## Gate\n\n**passed**\n\nbody\n"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_that_is_wrapped_or_cut_is_wider_than_the_terminal(width: int) -> None:
    rows = [Spanning("a model " * 20), [Cell("name " * 9), Cell("1.23x"), Cell("status_word " * 5)]]
    lines = printed(
        Paragraph("word " * 60),
        Listing(["word " * 60]),
        Grid(("name", "x", "what"), rows, indent="  "),
        Grid(("name", "x", "what"), rows[1:], cut_last=True),
        Item("name", "word " * 60),
        Item("name", "word " * 60, cut=True),
        Verbatim(["word " * 60], short=True),
        width=width,
    )
    assert max(map(len, lines)) <= width


def test_commands_are_never_wrapped() -> None:
    command = "python -m orchestrator " + "x" * 100
    assert command in printed(Item("next", command, command=True))[0]
    assert printed(CommandLines("A to B", [command], "Overrides")) == [f"  A to B  {command}"]
    assert f"- next: `{command}`" in page(Item("next", command, command=True))
    assert page(CommandLines("", ["a ``` b"], "Run")).endswith("Run:\n\n````sh\na ``` b\n````\n")


def test_columns_that_are_too_many_come_in_blocks_that_begin_alike() -> None:
    rows = [[Cell("row"), *(Cell(f"value-{i}") for i in range(8))]]
    lines = printed(Grid(["", *"ABCDEFGH"], rows, repeated=2))
    heads = [line.split() for line in lines if line.strip().startswith("A")]
    assert heads == [["A", "B", "C", "D"], ["A", "E", "F", "G"], ["A", "H"]]
    assert page(Grid(["", *"ABCDEFGH"], rows, repeated=2)).count("value-") == 8


@pytest.mark.parametrize(
    "piece",
    [
        Listing([f"text {i}" for i in range(100)], most=5),
        Grid(("name",), [[Cell(f"text {i}")] for i in range(100)], most=5),
        Grid(
            ("name",),
            [row for i in range(100) for row in (Spanning(f"group {i}"), [Cell(f"text {i}")], [Cell("more")])],
            most=5,
        ),
        Remarks("fail", [Remark([f"row {i}"], [f"text {i}"]) for i in range(100)], most=5),
    ],
)
def test_what_is_left_out_is_counted_and_a_page_has_more(piece: Piece) -> None:
    for said, shown in (("\n".join(printed(piece)), 5), (page(piece), 5 * PAGE)):
        assert len(re.findall(r"text \d", said)) == shown
        assert f"and {100 - shown} more" in said


def test_headings_across_a_table_are_a_column_of_a_page() -> None:
    rows = [Spanning("Bert"), [Cell("  speed-up"), Cell("2.00x"), Cell()], [Cell("  latency"), Cell("1 ms"), Cell()]]
    table = Grid(("", "A", "nothing"), rows, [[Cell("mean"), Cell("3"), Cell()]], group="row", figures=(1,))
    assert printed(table) == ["            A", "Bert", "  speed-up  2.00x", "  latency   1 ms", "mean        3"]
    assert table.markdown() == [
        "| row |  | A |",
        "| --- | --- | ---: |",
        "| Bert | speed-up | 2.00x |",
        "| Bert | latency | 1 ms |",
        "| Bert | mean | 3 |",
    ]


def test_a_terminal_has_of_what_is_folded_only_what_stands_for_it() -> None:
    folded = Folded("12 notices <b>", [Listing(["one"])], [Paragraph("notices: 12")])
    assert printed(folded) == ["notices: 12"]
    assert folded.markdown() == [
        "<details>",
        "<summary>12 notices &lt;b&gt;</summary>",
        "",
        "- one",
        "",
        "</details>",
    ]


def test_nothing_that_is_shown_is_markup() -> None:
    pieces: list[Piece] = [
        Heading(EVIL, EVIL),
        Paragraph(EVIL, strong=True),
        Listing([EVIL], EVIL),
        Item(EVIL, EVIL),
        Item(EVIL, EVIL, command=True),
        Side("A", EVIL, EVIL, EVIL),
        Grid((EVIL, "x"), [Spanning(EVIL), [Cell(EVIL, EVIL), Cell("1")]], group=EVIL),
        Remarks(EVIL, [Remark([EVIL], [EVIL], EVIL)]),
        CommandLines(EVIL, ["```", "</details>"], EVIL),
        Verbatim(["```", EVIL]),
        Folded(EVIL, [Paragraph(EVIL)]),
    ]
    html = html_of(page(*pieces))
    allowed = "h2 h3 p strong ul li table thead tbody tr th td code pre br details summary"
    assert set(re.findall(r"<(\w+)", html)) <= set(allowed.split())
    prose = re.sub(r"<(code|summary)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"@\w|#\d|GH-\d", prose)
    assert "[e](https://f.org)" in prose


@pytest.mark.parametrize("text", ["# a", "- a", "+ a", "1. a", "2) a", "> a", ">a", "---", "[ ] a", "[a]: b", "a | b"])
def test_a_text_that_begins_like_something_else_is_a_paragraph(text: str) -> None:
    rendered = html_of(markdown.text(text))
    assert rendered == f"<p>{text.replace('>', '&gt;')}</p>\n"
    (item,) = re.findall(r"<li>(.*?)</li>", html_of("\n".join(markdown.bullets([markdown.text(text)]))), re.DOTALL)
    assert item == text.replace(">", "&gt;")


@pytest.mark.parametrize("text", ["1.23x [1.20, 1.26]", "fail_to_run", "speed-up < 0.95x", "-5", "A & B", "a.b/c-d"])
def test_figures_and_names_stand_as_they_are(text: str) -> None:
    assert markdown.text(text) == text
