"""What a person sees of a diff: only what differs, the worst first, and how much does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from orchestrator.records import SUCCESSES
from orchestrator.reporting import diff_words as words
from orchestrator.reporting.diff_words import DISTURBED, LISTED, figure
from orchestrator.reporting.layout import Cell, Heading, console, grid, paragraph
from orchestrator.results.comparison import BETTER, WORSE, Comparison
from orchestrator.results.configuration_changes import KeyChange
from orchestrator.results.difference import MISSING, NEW, Difference, Labels, lines, means
from orchestrator.results.matching import Keys
from orchestrator.words import plural

STYLES = {WORSE: "red", MISSING: "red", BETTER: "green"}


def show(
    comparison: Comparison,
    changes: Sequence[KeyChange],
    facts: tuple[Keys, int] | None,
    *,
    everything: bool,
    config_only: bool,
) -> None:
    """Print a diff of two sides. facts: of two jobs, what differs in them and how many facts do not."""
    out = console()
    _sides(out, comparison)
    title(out, "Configuration")
    say(out, words.configuration(comparison, changes))
    for arrow, after in (("A to B", True), ("B to A", False)):
        for line in words.pasted(changes, after=after):
            out.print(Text.assemble((f"  {arrow}  ", "dim"), line), soft_wrap=True)
    if config_only:
        return
    known = comparison.before.environment.keys() | comparison.after.environment.keys()
    title(out, "Environment", f"{plural(len(known - comparison.environment.keys()), 'key')} the same" * bool(known))
    say(out, words.environment(comparison))
    labels = Labels.of_comparison(comparison)
    title(out, "Results", " · ".join(labels.common))
    _results(out, comparison, lines(comparison, labels, everything or facts is not None))
    told = words.attributions(comparison)
    if told:
        title(out, "Which key goes with it")
        say(out, told)
    if facts is not None:
        title(out, "Facts", f"{facts[1]} are the same, or within 1 %")
        say(out, words.facts(facts[0]))


def title(out: Console, text: str, more: str = "") -> None:
    """Print the title of a part."""
    out.print()
    out.print(Text.assemble((text, "bold"), (f"  ({more})" if more else "", "dim")), soft_wrap=True)


def say(out: Console, texts: Iterable[str], style: str = "", indent: str = "  ") -> None:
    """Print paragraphs."""
    for text in texts:
        out.print(Text(paragraph(indent + text, out.width, indent=indent + "  "), style), soft_wrap=True)


def _sides(out: Console, comparison: Comparison) -> None:
    for side, one in (("A", comparison.before), ("B", comparison.after)):
        jobs = sum(one.jobs.values())
        failed = sum(count for status, count in one.jobs.items() if status not in SUCCESSES)
        size = f"{plural(len(one.rows), 'row')}" + (f", {plural(jobs, 'job')}" if jobs else "")
        size += f", {failed:,} without success" if failed else ""
        out.print(Text.assemble((f"{side}  ", "bold"), f"{one.name}  ", (size, "dim")), soft_wrap=True)
        other = comparison.after.argv if one is comparison.before else comparison.before.argv
        own = [word for word in one.argv if word not in other]
        if own:
            say(out, [f"only here: {words.cut(' '.join(own))}"], "dim", indent="   ")


def _results(out: Console, comparison: Comparison, found: Sequence[Difference]) -> None:
    say(out, [words.totals(comparison)])
    both = [line for line in found if line.word not in (MISSING, NEW)]
    _table(out, both, _means(comparison))
    say(out, words.reasons(both))
    for what in (MISSING, NEW):
        rows = words.lonely(found, what)
        if rows:
            say(out, [f"{what} in B:"], STYLES.get(what, "bold"))
            say(out, rows, indent="    ")
    say(out, words.notes(comparison, both), "dim")


def _table(out: Console, found: Sequence[Difference], last: Sequence[list[Cell] | Heading]) -> None:
    """Print the rows that differ, with a line for each figure, and `last` below them."""
    blocks = [(label, list(block)) for label, block in groupby(found, key=lambda line: line.label)]
    rows: list[list[Cell] | Heading] = []
    for label, block in blocks[:LISTED]:
        rows.append(Heading(f"  {label}{f' {DISTURBED}' if block[0].disturbed else ''}"))
        rows += [_cells(line) for line in block]
    rows += [Heading(f"  and {plural(len(blocks) - LISTED, 'more row')} (--json has all)")] * (len(blocks) > LISTED)
    rows += last
    if rows:
        out.print()
        for text in grid(("", "A", "B", "B / A [95 %]", ""), rows, out.width, stacked=False):
            out.print(text, no_wrap=True, overflow="ellipsis")


def _cells(line: Difference) -> list[Cell]:
    name, before, after = words.figures_of(line)
    return [
        Cell(f"    {name}"),
        Cell(before),
        Cell(after),
        Cell(words.ratio_of(line)),
        Cell(words.word(line.metric, line.word), style=STYLES.get(line.word, "")),
    ]


def _means(comparison: Comparison) -> list[list[Cell] | Heading]:
    found = [mean for mean in means(comparison) if mean.rows > 1]
    rows: list[list[Cell] | Heading] = [Heading("  geometric mean of the speed-up")] if found else []
    for mean in found[:LISTED]:
        values = (figure("speedup", value) for value in (mean.before, mean.after))
        name = Cell(f"    {mean.compiler}, {plural(mean.rows, 'row')}")
        rows.append([name, *map(Cell, values), Cell(words.ratio(mean.ratio, mean.low, mean.high)), Cell()])
    return rows
