"""What a gate found, for people: on a terminal, and as Markdown for the comment of a pull request.

Failures first, what is flaky next; of the rest the number. Rows of which the same is to be said are said once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from orchestrator.results.exports import markdown_code
from orchestrator.results.gate import FAIL, FLAKY, KNOWN, NEW, NOTICE, WARNING, Case, Judgement
from orchestrator.results.load import one_line
from orchestrator.words import more, plural, some

if TYPE_CHECKING:
    from rich.console import Console

LISTED = 20
"""So many different things are shown of each level; the others are counted, and stand in --json and --csv."""
LISTED_MARKDOWN = 40
NAMES = 4
"""So many rows of which the same is to be said are named."""
SPECIAL = "\\`*_[]<|~&"
"""Characters that mean something in GitHub's Markdown, and in its tables."""

Group = tuple[Sequence[str], Sequence[str], str]
"""Names of rows, what is to be said of them, and a command or ""."""


def headline(judgement: Judgement) -> str:
    """Return the verdict in one line."""
    expected = judgement.expected
    failed = [case for case in judgement.cases if case.result == FAIL]
    rows = sum(case.expected for case in failed)
    others = len(failed) - rows
    aside = [
        plural(sum(case.result == FLAKY for case in judgement.cases), "flaky row"),
        plural(sum(case.result == KNOWN for case in expected), "accepted failure"),
        plural(sum(case.result == WARNING for case in judgement.cases), "warning"),
    ]
    words = [f"{rows} of {plural(len(expected), 'expected row')}" if rows else ""]
    words += [plural(others, "other failure") if others else ""]
    verdict = (
        f"FAIL: {' and '.join(filter(None, words))}" if failed else f"PASS: {plural(len(expected), 'expected row')}"
    )
    noted = ", ".join(text for text in aside if not text.startswith("0 "))
    return f"{verdict} ({noted})" if noted else verdict


def notices(judgement: Judgement) -> str:
    """Return what is only counted, "" if there is nothing."""
    kinds = [(kind, n) for level in (KNOWN, NEW, NOTICE) for kind, n in sorted(judgement.kinds(level).items())]
    return ", ".join(f"{count} {_PLURALS.get(kind, kind) if count > 1 else kind}" for kind, count in kinds)


_PLURALS = {"accepted failure": "accepted failures", "new row": "new rows"}


def groups(cases: Iterable[Case], *levels: str) -> list[Group]:
    """Return the findings of these levels by case, cases of which the same is to be said together."""
    same: dict[tuple[str, ...], list[Case]] = defaultdict(list)
    commands: dict[tuple[str, ...], str] = {}
    for case in cases:
        findings = [finding for finding in case.findings if finding.level in levels]
        texts = tuple(finding.text for finding in findings)
        if texts:
            same[texts].append(case)
            commands.setdefault(texts, next((finding.command for finding in findings if finding.command), ""))
    return [([case.name for case in found], texts, commands[texts]) for texts, found in same.items()]


def show(judgement: Judgement, names: tuple[str, str]) -> None:
    """Print failures, flaky rows, warnings, the number of the rest, and last the verdict. names: BASE and REF."""
    from rich.text import Text

    from orchestrator.reporting.layout import console, paragraph

    out = console()
    out.print(Text(paragraph(f"gate: {names[1]} against {names[0]}", out.width)), soft_wrap=True)
    for level, title, style in (
        (FAIL, "fail", "bold red"),
        (FLAKY, "flaky", "bold yellow"),
        (WARNING, "warnings", "bold"),
    ):
        listed(out, f"{title}:", groups(judgement.cases, level), style)
    counted = notices(judgement)
    if counted:
        out.print(Text(paragraph(f"notices: {counted} (--md lists them)", out.width)), soft_wrap=True)
    out.print(Text(headline(judgement), "bold green" if judgement.passed else "bold red"), soft_wrap=True)


def listed(out: Console, title: str, found: Sequence[Group], style: str = "bold") -> None:
    """Print groups below a title; nothing where there are none."""
    from rich.text import Text

    from orchestrator.reporting.layout import paragraph

    if not found:
        return
    lines = [Text(title, style)]
    for names, texts, command in found[:LISTED]:
        lines += [Text(paragraph(f"  {name}", out.width, "    ")) for name in names[:NAMES]]
        lines += [Text(f"  {line}") for line in more(len(names), NAMES, " rows")]
        lines += [Text(paragraph(f"    {text}", out.width, "      ")) for text in texts]
        lines += [Text.assemble("    ", (command, "dim"))] if command else []
    rest = sum(len(names) for names, *_ in found[LISTED:])
    lines += [Text(f"  {line}") for line in more(rest, 0, ": --json and --csv have all")]
    for line in lines:
        out.print(line, soft_wrap=True)


def to_markdown(judgement: Judgement, names: tuple[str, str]) -> str:
    """Return a comment for a pull request: the verdict, a table of failures, and the rest folded away."""
    lines = [f"## Gate: {'passed' if judgement.passed else 'failed'}", ""]
    lines += [f"{escape(names[1])} against {escape(names[0])}: **{escape(headline(judgement))}**", ""]
    for name, _, texts in _plain(groups(judgement.cases, WARNING)):
        lines += [f"> **{escape(name)}**: {escape(texts)}", ""]
    lines += table(groups(judgement.cases, FAIL))
    for summary, levels in (("Flaky", [FLAKY]), (f"Notices: {notices(judgement)}", [KNOWN, NEW, NOTICE])):
        found = groups(judgement.cases, *levels)
        if found:  # GitHub reads Markdown inside <details> behind an empty line only
            lines += [f"<details><summary>{summary}</summary>", "", *table(found), "</details>", ""]
    return "\n".join(lines)


def table(found: Sequence[Group]) -> list[str]:
    """Return the lines of a Markdown table of groups, an empty line behind it; none where there are no groups."""
    if not found:
        return []
    rows = []
    for name, command, texts in _plain(found[:LISTED_MARKDOWN]):
        code = f"<br>{markdown_code(command)}" if command else ""
        rows.append(f"| {escape(name)} | {escape(texts)}{code} |")
    rest = sum(len(names) for names, *_ in found[LISTED_MARKDOWN:])
    left = [f"| {line} | |" for line in more(rest, 0)]
    return ["| row | found |", "|---|---|", *rows, *left, ""]


def _plain(found: Iterable[Group]) -> list[tuple[str, str, str]]:
    """Return (names, command, texts) as one text each."""
    return [
        (
            some(names, NAMES, what=" rows"),
            command,
            ". ".join(texts),
        )
        for names, texts, command in found
    ]


def escape(text: str) -> str:
    """Return text that GitHub shows as it is, on one line: no markup, no new cell, no one is called by an @name, and
    no issue by a #number. Nothing in it can do anything to a terminal."""
    plain = "".join(f"\\{c}" if c in SPECIAL else c for c in one_line(text))
    return re.sub(r"@|#(?=\d)", "\\g<0>\u200b", plain)
