"""What a person sees of a diff: only what differs, the worst first, and how much does not."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.records import SUCCESSES
from orchestrator.reporting.layout import Cell, Heading, console, grid, paragraph
from orchestrator.results.attribution import STATUS, Attribution, shared
from orchestrator.results.comparison import BETTER, CHANGED, NOISE, WORSE, Comparison
from orchestrator.results.configuration_changes import KeyChange, paste_lines
from orchestrator.results.difference import MISSING, NEW, Labels, Line, lines, means, still_failing, tally
from orchestrator.results.difference_tables import value_text, values_text
from orchestrator.results.matching import Keys, is_complete
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.metrics import MISSING as NO_FIGURE

LISTED = 20
"""So many rows, keys and facts are shown of each kind; the others are counted, and stand in --json."""
LONGEST = 100
"""Values of keys are cut to so many characters."""
NAMES = {
    "speedup": ("speed-up", "x"),
    "latency_ms": ("latency", " ms"),
    "compile_latency_cold_s": ("compile, cold", " s"),
    "compile_latency_warm_s": ("compile, warm", " s"),
    "compile_latency_s": ("compile", " s"),
    "own_memory_mib": ("memory", " MiB"),
}
"""Metric -> its name for people, and its unit."""
STYLES = {WORSE: "red", MISSING: "red", BETTER: "green"}
DISTURBED = "*"


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
    _configuration(out, comparison, changes)
    if config_only:
        return
    _environment(out, comparison)
    labels = Labels.of_comparison(comparison)
    _results(out, comparison, labels, lines(comparison, labels, everything or facts is not None))
    _attributions(out, comparison)
    if facts is not None:
        title(out, "Facts", f"{facts[1]} are the same, or within 1 %")
        keys(out, facts[0])


def title(out: Console, text: str, more: str = "") -> None:
    """Print the title of a part."""
    out.print()
    out.print(Text.assemble((text, "bold"), (f"  ({more})" if more else "", "dim")), soft_wrap=True)


def say(out: Console, text: str, style: str = "", indent: str = "  ") -> None:
    """Print a paragraph."""
    out.print(Text(paragraph(indent + text, out.width, indent=indent + "  "), style), soft_wrap=True)


def keys(out: Console, differing: Mapping[str, tuple[Any, Any]]) -> None:
    """Print keys with their values before and after."""
    for key, (old, new) in list(differing.items())[:LISTED]:
        say(out, f"{key}: {cut(value_text(old))} -> {cut(value_text(new))}")
    rest(out, len(differing) - LISTED)


def rest(out: Console, count: int, where: str = "--json has all") -> None:
    """Say that there are `count` more, if there are."""
    if count > 0:
        out.print(Text(f"  and {count:,} more ({where})", "dim"), soft_wrap=True)


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("s" if count != 1 else "")


def named(metric: str) -> str:
    return NAMES[metric][0] if metric in NAMES else metric.replace("_", " ")


def figure(metric: str, value: Any) -> str:
    """Return a value with its unit; a status as it is."""
    if value is None:
        return NO_FIGURE
    if isinstance(value, str):
        return value
    return f"{COLUMNS[metric].text(value)}{NAMES[metric][1] if metric in NAMES else ''}"


def word(metric: str, what: str) -> str:
    """Of a speed-up better is faster: the compiler gains more than it did."""
    return {BETTER: "faster", WORSE: "slower"}.get(what, what) if metric == "speedup" else what


def _sides(out: Console, comparison: Comparison) -> None:
    both = comparison.before, comparison.after
    for side, one in zip("AB", both, strict=True):
        jobs = sum(one.jobs.values())
        failed = sum(count for status, count in one.jobs.items() if status not in SUCCESSES)
        size = f"{plural(len(one.rows), 'row')}" + (f", {plural(jobs, 'job')}" if jobs else "")
        size += f", {failed:,} without success" if failed else ""
        out.print(Text.assemble((f"{side}  ", "bold"), f"{one.name}  ", (size, "dim")), soft_wrap=True)
        if both[0].argv != both[1].argv and one.argv:
            say(out, cut(" ".join(one.argv)), "dim", indent="   ")


def _configuration(out: Console, comparison: Comparison, changes: Sequence[KeyChange]) -> None:
    title(out, "Configuration")
    unknown = [
        side
        for side, one in (("A", comparison.before), ("B", comparison.after))
        if not all(map(is_complete, one.rows)) or not one.settings
    ]
    if unknown:
        say(out, f"Of {' and '.join(unknown)} not all settings are known: only what is known of both is compared.")
    if not changes:
        say(out, "no key differs")
        return
    for change in changes[:LISTED]:
        about = [change.of.partition("=")[2]] if change.of else []
        about += [plural(change.rows, "row")] if change.rows else []
        suffix = f"  ({', '.join(about)})" if about else ""
        say(out, f"{change.key}: {cut(values_text(change.before))} -> {cut(values_text(change.after))}{suffix}")
    rest(out, len(changes) - LISTED)
    for arrow, after in (("A to B", True), ("B to A", False)):
        for line in paste_lines(changes, after=after):
            out.print(Text.assemble((f"  {arrow}  ", "dim"), line), soft_wrap=True)


def _environment(out: Console, comparison: Comparison) -> None:
    both = comparison.before.environment, comparison.after.environment
    if not all(both):
        title(out, "Environment")
        say(out, "known of one side only" if any(both) else "not known of either side")
        return
    same = sum(both[1].get(key) == value for key, value in both[0].items())
    title(out, "Environment", f"{plural(same, 'key')} the same")
    if not comparison.environment:
        say(out, "no key differs")
    keys(out, comparison.environment)


def _results(out: Console, comparison: Comparison, labels: Labels, found: Sequence[Line]) -> None:
    title(out, "Results", " · ".join(labels.common))
    counts = tally(comparison)
    order = (WORSE, BETTER, CHANGED, NOISE, MISSING, NEW)
    parts = ", ".join(f"{counts[what]:,} {what}" for what in order if counts[what])
    say(out, f"{plural(len(comparison.matched), 'row')} in both{': ' if parts else ''}{parts}")
    whole = [line for line in found if line.word not in (MISSING, NEW)]
    _table(out, whole)
    _reasons(out, [line for line in whole if line.metric == STATUS and line.reason])
    for what, place in ((MISSING, "missing in B"), (NEW, "new in B")):
        rows = [line for line in found if line.word == what]
        if rows:
            say(out, f"{place}: {plural(len(rows), 'row')}", STYLES.get(what, "bold"))
        for line in rows[:LISTED]:
            status = line.after if line.after not in (None, *SUCCESSES) else ""
            say(out, line.label + (f": {status} {line.reason}" if status else ""), indent="    ")
        rest(out, len(rows) - LISTED)
    _means(out, comparison)
    _notes(out, comparison, whole)


def _table(out: Console, found: Sequence[Line]) -> None:
    """Print the rows that differ, with a line for each figure."""
    blocks = [(label, list(block)) for label, block in groupby(found, key=lambda line: line.label)]
    rows: list[list[Cell] | Heading] = []
    for label, block in blocks[:LISTED]:
        rows.append(Heading(f"  {label}{f' {DISTURBED}' if block[0].disturbed else ''}"))
        rows += [_cells(line) for line in block]
    if rows:
        out.print()
        for text in grid(("", "A", "B", "B / A [95 %]", ""), rows, out.width, stacked=False):
            out.print(text, no_wrap=True, overflow="ellipsis")
    rest(out, len(blocks) - LISTED)


def _cells(line: Line) -> list[Cell]:
    ratio = ""
    if line.change is not None and line.change.ratio is not None:
        show = COLUMNS["ratio"].text
        ends = line.change.low, line.change.high
        ratio = show(line.change.ratio) + (f" [{show(ends[0])}, {show(ends[1])}]" if ends[0] is not None else "")
    return [
        Cell(f"    {named(line.metric)}"),
        Cell(figure(line.metric, line.before)),
        Cell(figure(line.metric, line.after)),
        Cell(ratio),
        Cell(word(line.metric, line.word), style=STYLES.get(line.word, "")),
    ]


def _reasons(out: Console, found: Sequence[Line]) -> None:
    for line in found[:LISTED]:
        bad = line.before if line.after in SUCCESSES else line.after
        say(out, f"{bad}: {line.label}: {line.reason}")
    rest(out, len(found) - LISTED)


def _means(out: Console, comparison: Comparison) -> None:
    show = COLUMNS["ratio"].text
    for mean in means(comparison)[:LISTED]:
        interval = "" if mean.low is None else f" [{show(mean.low)}, {show(mean.high)}]"
        figures = f"{figure('speedup', mean.before)} -> {figure('speedup', mean.after)}, {show(mean.ratio)}{interval}"
        say(out, f"geometric mean, {mean.compiler}, {plural(mean.rows, 'row')}: speed-up {figures}")
    for metric in ("latency_ms", "own_memory_mib"):
        ratios = [m.ratio for pair in comparison.matched for m in pair.metrics if m.metric == metric and m.ratio]
        if len(ratios) > 1:
            say(out, f"median of {plural(len(ratios), 'row')}: {named(metric)} {show(statistics.median(ratios))}")


def _notes(out: Console, comparison: Comparison, found: Sequence[Line]) -> None:
    if any(line.disturbed for line in found):
        say(out, f"{DISTURBED} was disturbed while it was measured: only large changes are called", "dim")
    shown = [line.change for line in found if line.change is not None and line.change.low is not None]
    if any(change.p is None for change in shown):
        text = "Intervals are from the pairs of one process only: another process may differ by more."
        say(out, f"{text} rounds=3 gives intervals over fresh processes.", "dim")
    failing = still_failing(comparison)
    if failing:
        say(out, f"{plural(failing, 'row')} failed before and still {'fails' if failing == 1 else 'fail'}", "dim")


def _attributions(out: Console, comparison: Comparison) -> None:
    """Say which key goes with which change; nothing where nothing changed and no key differs."""
    changed = any(not pair.same for pair in comparison.matched)
    keyed = [one for one in comparison.attributions if one.keys]
    found = shared(comparison.matched)
    if not keyed and not changed:
        return
    title(out, "Which key goes with it")
    for one in comparison.attributions[:LISTED] if keyed else ():
        say(out, f"{_keys(one)}: {_words(one)}")
    rest(out, len(comparison.attributions) - LISTED if keyed else 0)
    if not keyed:
        same = "The configuration is the same."
        if comparison.environment:
            say(out, f"{same} What changed goes with the environment: {_some(comparison.environment)}.")
        elif comparison.before.environment and comparison.after.environment:
            say(out, f"{same} So is the environment: what changed goes with nothing that is recorded.")
    elif comparison.environment and changed:
        say(out, f"The environment differs too ({_some(comparison.environment)}): it may be that as well.")
    for what in found[:LISTED]:
        changed_so = f"{named(what.metric)} {word(what.metric, what.word)}"
        others = what.rows_compared - what.rows_with_it
        many = f"{what.rows} of the {plural(what.rows_with_it, 'row')}" if what.rows < what.rows_with_it else "all"
        many = f"all {plural(what.rows, 'row')}" if many == "all" else many
        say(out, f"{changed_so}: {many} with {what.key}={value_text(what.value)}, none of the {others:,} others")


def _keys(one: Attribution) -> str:
    names = [f"{key}={cut(value_text(old))} -> {cut(value_text(new))}" for key, (old, new) in one.keys.items()]
    size = plural(one.rows, "row")
    if not names:
        return f"no key differs ({size})"
    together = ", cannot be told apart" if len(names) > 1 else ""
    return f"{' and '.join(names)} ({size}{together})"


def _words(one: Attribution) -> str:
    """Return "speed-up 3 slower, 1 faster, 5 within noise; graph breaks 2 worse"; only the metrics that changed."""
    parts = []
    for metric, counts in one.words.items():
        if set(counts) != {NOISE}:
            listed = [
                f"{counts[what]:,} {word(metric, what)}" for what in (WORSE, BETTER, CHANGED, NOISE) if what in counts
            ]
            parts.append(f"{named(metric)} {', '.join(listed)}")
    return "; ".join(parts) or "all within noise"


def _some(differing: Iterable[str]) -> str:
    listed = list(differing)
    return ", ".join(listed[:4]) + (f" and {len(listed) - 4} more keys" if len(listed) > 4 else "")
