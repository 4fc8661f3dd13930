"""What a person sees of a diff: only what differs, the worst first, and how much does not."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from orchestrator.columns import Column
from orchestrator.comparison.attribution import Attribution, Circumstance, Shared, circumstances, shared
from orchestrator.comparison.compare import BETTER, CHANGED, NOISE, WORSE, Comparison
from orchestrator.comparison.configuration_changes import KeyChange
from orchestrator.comparison.difference_tables import value_text
from orchestrator.comparison.differences import (
    FAILING,
    MISSING,
    NEITHER,
    NEW,
    Difference,
    Labels,
    PhaseChange,
    differences,
    means,
    phase_changes,
    tally,
)
from orchestrator.comparison.matching import Keys
from orchestrator.comparison.pasting import Pasted
from orchestrator.comparison.thresholds import STATUS
from orchestrator.records import SUCCESSES
from orchestrator.results.metrics import COLUMNS, named, significant
from orchestrator.results.metrics import MISSING as NO_FIGURE
from orchestrator.views.document import CommandLines, Document, Heading, Listing, Paragraph, Piece, Side
from orchestrator.views.grid import Cell, Grid, Spanning
from orchestrator.views.keys import configuration_pieces, cut, environment_pieces, facts_pieces
from orchestrator.words import plural

TOLD = (WORSE, BETTER, CHANGED, NOISE, FAILING, NEITHER)
"""What became of rows of both sides."""
PASTED = 1000
"""No line of overrides is longer."""
DISTURBED = "*"
STYLES = {WORSE: "red", MISSING: "red", BETTER: "green"}


def document(
    comparison: Comparison,
    changes: Sequence[KeyChange],
    facts: tuple[Keys, int] | None,
    *,
    everything: bool,
    config_only: bool,
    pasted: Sequence[Pasted],
) -> Document:
    """Return the diff of two sides. facts: of two jobs, what differs in them and how many facts do not.

    pasted: what brings about B's jobs with A's command, and A's with B's.
    """
    pieces = [*_sides(comparison), Heading("Configuration"), *configuration_pieces(comparison, changes)]
    for (label, about), paste in zip((("A to B", "from A to B"), ("B to A", "from B to A")), pasted, strict=True):
        pieces.append(CommandLines(label, _shown(paste.lines), f"Overrides {about}"))
        pieces.append(Listing([f"{label}: {paste.note}"] if paste.note else [], style="dim"))
    if config_only:
        return Document("Diff", pieces)
    pieces += environment_pieces(comparison)
    pieces += _results(comparison, everything or facts is not None)
    pieces += _compile_phases(comparison, everything)
    told = _attributions(comparison)
    pieces += [Heading("Which key goes with it"), *told] if told else []
    if facts is not None:
        pieces += [Heading("Facts", f"{facts[1]} are the same, or within 1 %"), *facts_pieces(facts[0])]
    return Document("Diff", pieces)


def builds(comparison: Comparison) -> list[Piece]:
    """Return what differs between two builds of one sweep: A is the first, B the other."""
    title = f"build {comparison.after.name} (B) against {comparison.before.name} (A)"
    return [Heading(title, style="bold reverse"), *_results(comparison, everything=False)]


def _sides(comparison: Comparison) -> list[Piece]:
    pieces: list[Piece] = []
    for side, one in (("A", comparison.before), ("B", comparison.after)):
        jobs = sum(one.jobs.values())
        failed = sum(count for status, count in one.jobs.items() if status not in SUCCESSES)
        size = f"{plural(len(one.rows), 'row')}" + (f", {plural(jobs, 'job')}" if jobs else "")
        size += f", {failed:,} without success" if failed else ""
        other = comparison.after.argv if one is comparison.before else comparison.before.argv
        own = [word for word in one.argv if word not in other]
        pieces.append(Side(side, one.name, size, f"only here: {cut(' '.join(own))}" if own else ""))
    return pieces


def _results(comparison: Comparison, everything: bool) -> list[Piece]:
    labels = Labels.of_comparison(comparison)
    found = differences(comparison, labels, everything)
    both = [line for line in found if line.word not in (MISSING, NEW)]
    return [
        Heading("Results", " · ".join(labels.common)),
        Paragraph(_totals(comparison), indent="  ", strong=True),
        _table(both, _means(comparison)),
        Listing(_reasons(both)),
        *(Listing(_lonely(found, what), f"{what} in B", STYLES.get(what, "bold"), "    ") for what in (MISSING, NEW)),
        Listing(_notes(comparison, both), style="dim"),
    ]


def _compile_phases(comparison: Comparison, everything: bool) -> list[Piece]:
    """Say which phases a change of compile latency is made of, of the states of the cache in which one is called."""
    changed = {change.metric for pair in comparison.matched for change in pair.metrics if change.word != NOISE}
    found = [
        one for one in phase_changes(comparison.matched) if everything or f"compile_latency_{one.cache}_s" in changed
    ]
    rows: list[Sequence[Cell] | Spanning] = []
    for (cache, count), block in groupby(found, key=lambda one: (one.cache, one.rows)):
        phases = list(block)
        rows += [Spanning(f"  {cache}, {plural(count, 'row')}"), *map(_phase_cells, phases)]
        ends = (sum(one.before for one in phases), sum(one.after for one in phases))
        rows.append([Cell("    first call"), *(Cell(f"{significant(end)} s") for end in ends), Cell(), Cell()])
    grid = Grid(("", "A", "B", "B - A", "share"), rows, group="row", figures=(1, 2, 3, 4), above=True)
    return [Heading("Where compile time changed"), grid] if rows else []


def _phase_cells(one: PhaseChange) -> list[Cell]:
    share = "" if one.share_percent is None else f"{one.share_percent:.0f} %"
    figures = (f"{significant(one.before)} s", f"{significant(one.after)} s", f"{one.change:+.3g} s", share)
    return [Cell(f"    {one.phase.replace('_', ' ')}"), *map(Cell, figures)]


def _table(found: Sequence[Difference], last: Sequence[Sequence[Cell] | Spanning]) -> Grid:
    """Return the rows that differ, with a line for each figure, and `last` below them."""
    rows: list[Sequence[Cell] | Spanning] = []
    for label, block in groupby(found, key=lambda line: line.label):
        figures = list(block)
        rows.append(Spanning(f"  {label}{f' {DISTURBED}' if figures[0].disturbed else ''}"))
        rows += map(_cells, figures)
    titles = ("", "A", "B", "B / A [95 %]", "")
    return Grid(titles, rows, last, group="row", figures=(1, 2), above=True)


def _cells(line: Difference) -> list[Cell]:
    ratio = "" if line.change is None else _ratio(line.change.ratio, line.change.low, line.change.high)
    column = None if line.change is None else line.change.column
    return [
        Cell(f"    {named(line.metric, column)}"),
        Cell(figure(line.metric, line.before, column)),
        Cell(figure(line.metric, line.after, column)),
        Cell(ratio),
        Cell(_word(line.metric, line.word), style=STYLES.get(line.word, "")),
    ]


def _means(comparison: Comparison) -> list[Sequence[Cell] | Spanning]:
    found = [mean for mean in means(comparison) if mean.rows > 1]
    rows: list[Sequence[Cell] | Spanning] = [Spanning("  geometric mean of the speed-up")] if found else []
    for mean in found:
        values = (figure("speedup", value) for value in (mean.before, mean.after))
        name = Cell(f"    {mean.compiler}, {plural(mean.rows, 'row')}")
        rows.append([name, *map(Cell, values), Cell(_ratio(mean.ratio, mean.low, mean.high)), Cell()])
    return rows


def figure(metric: str, value: Any, column: Column | None = None) -> str:
    """Return a value with its unit; a status as it is. column: of a figure that is not built in."""
    if value is None:
        return NO_FIGURE
    if isinstance(value, str):
        return value
    return (column or COLUMNS[metric]).amount(value)


def _ratio(value: float | None, low: float | None, high: float | None) -> str:
    """Return "0.664 [0.659, 0.668]"."""
    if value is None:
        return ""
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def _word(metric: str, what: str) -> str:
    """Of a speed-up better is faster: the compiler gains more than it did. A status has no noise."""
    if metric == STATUS and what == NOISE:
        return "the same"
    return {BETTER: "faster", WORSE: "slower"}.get(what, what) if metric == "speedup" else what


def _shown(lines: Sequence[str]) -> list[str]:
    """Return the overrides to paste; a line that no one would paste is only mentioned."""
    long = f"(more than {PASTED} characters: --config-only --json has them)"
    unseen = "(with characters that cannot be printed: --config-only --json has them)"
    return [long if len(line) > PASTED else line if line.isprintable() else unseen for line in lines]


def _totals(comparison: Comparison) -> str:
    """Say how many rows became what."""
    counts = tally(comparison)
    parts = ", ".join(f"{counts[what]:,} {what}" for what in TOLD if counts[what])
    others = ", ".join(f"{counts[what]:,} {what} in B" for what in (MISSING, NEW) if counts[what])
    both = f"{plural(len(comparison.matched), 'row')} in both" + (f": {parts}" if parts else "")
    return "; ".join(filter(None, (both, others)))


def _reasons(found: Iterable[Difference]) -> list[str]:
    """Say why a row fails, or failed before."""
    told = [line for line in found if line.metric == STATUS and line.reason and line.word not in (MISSING, NEW)]
    return [f"{line.before if line.after in SUCCESSES else line.after}: {line.label}: {line.reason}" for line in told]


def _lonely(found: Iterable[Difference], what: str) -> list[str]:
    """Name the rows that are missing or new, with the reason of those that fail."""
    rows = [line for line in found if line.word == what]
    failing = [line.after not in (None, *SUCCESSES) for line in rows]
    return [
        line.label + f": {line.after} {line.reason}".rstrip() * bad for line, bad in zip(rows, failing, strict=True)
    ]


def _notes(comparison: Comparison, found: Sequence[Difference]) -> list[str]:
    """Say what one must know to read the figures; only what applies."""
    said = []
    for metric in ("latency_ms", "own_memory_mib"):
        ratios = [m.ratio for pair in comparison.matched for m in pair.metrics if m.metric == metric and m.ratio]
        said += [f"{named(metric)} {statistics.median(ratios):.3f}"] if len(ratios) > 1 else []
    said = [f"median over all rows of B / A: {', '.join(said)}"] if said else []
    if any(line.disturbed for line in found):
        said.append(
            f"{DISTURBED} was disturbed while it was measured: only large changes are called, and of latencies those "
            "that the fastest tenth of the steps shows, too"
        )
    shown = [line.change for line in found if line.change is not None and line.change.low is not None]
    if any(change.p is None for change in shown):
        said.append(
            "Intervals are from the pairs of one process only: another process may differ by more. "
            "rounds=3 gives intervals over fresh processes."
        )
    return said


def _attributions(comparison: Comparison) -> list[Piece]:
    """Say which key goes with which change; nothing where nothing changed and no key differs."""
    changed = any(not pair.same for pair in comparison.matched)
    keyed = any(one.keys for one in comparison.attributions)
    listed = [f"{_of_keys(one)}: {_words(one)}" for one in comparison.attributions] if keyed else []
    around = circumstances(comparison.matched)
    said = []
    if changed and not keyed and comparison.environment:
        said.append(f"The rows have the same configuration. The environment differs: {_few(comparison.environment)}.")
    elif changed and not keyed and around:
        said.append("Neither configuration nor environment differs.")
    elif changed and not keyed and comparison.before.environment and comparison.after.environment:
        said.append("Neither configuration nor environment differs: what changed goes with nothing that is recorded.")
    elif changed and keyed and comparison.environment:
        said.append(f"The environment differs too ({_few(comparison.environment)}): it may be that as well.")
    said += map(_circumstance, around)
    told = (listed, said, [_shared(one) for one in shared(comparison.matched)])
    return [Listing(texts) for texts in told if texts]


def _circumstance(one: Circumstance) -> str:
    rows = f"{one.rows_with_it} of the {plural(one.rows, 'row')} whose times changed"
    if one.what == "load":
        return f"Goes with: load {one.before:.2f} -> {one.after:.2f} cores used by others ({rows})"
    return f"Goes with: disturbed rows {one.before:g} -> {one.after:g} ({rows})"


def _of_keys(one: Attribution) -> str:
    names = [f"{key}={cut(value_text(old))} -> {cut(value_text(new))}" for key, (old, new) in one.keys.items()]
    size = plural(one.rows, "row")
    if not names:
        return f"no key differs ({size})"
    together = ", which cannot be told apart" if len(names) > 1 else ""
    return f"{' and '.join(names)} ({size}{together})"


def _words(one: Attribution) -> str:
    """Return "speed-up 3 slower, 1 faster, 5 within noise; graph breaks 2 worse"; only the metrics that changed."""
    parts = []
    for metric, counts in one.words.items():
        if set(counts) != {NOISE}:
            words = [
                f"{counts[what]:,} {_word(metric, what)}" for what in (WORSE, BETTER, CHANGED, NOISE) if what in counts
            ]
            parts.append(f"{named(metric)} {', '.join(words)}")
    return "; ".join(parts) or "all within noise"


def _shared(one: Shared) -> str:
    some_of = f"{one.rows} of the " if one.rows < one.rows_with_it else "all "
    rows = f"{some_of}{plural(one.rows_with_it, 'row')} with {one.key}={value_text(one.value)}"
    others = one.rows_compared - one.rows_with_it
    return f"{named(one.metric)} {_word(one.metric, one.word)}: {rows}, none of the {plural(others, 'other')}"


def _few(differing: Iterable[str]) -> str:
    listed = list(differing)
    return ", ".join(listed[:4]) + (f" and {plural(len(listed) - 4, 'more key')}" if len(listed) > 4 else "")
