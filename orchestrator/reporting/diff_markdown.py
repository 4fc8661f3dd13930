"""A diff for a pull request: the results as one table, everything else as lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.reporting import diff_words as words
from orchestrator.reporting.diff_words import DISTURBED, figure
from orchestrator.reporting.judgement import escape
from orchestrator.results.comparison import Comparison
from orchestrator.results.configuration_changes import KeyChange
from orchestrator.results.difference import MISSING, NEW, Difference, Labels, lines, means
from orchestrator.results.exports import markdown_row
from orchestrator.results.matching import Keys
from orchestrator.words import more, plural

LISTED = 60
"""So many lines of the table are shown; a comment on a pull request has an end."""


def to_markdown(
    comparison: Comparison,
    changes: Sequence[KeyChange],
    facts: tuple[Keys, int] | None,
    *,
    everything: bool,
    config_only: bool,
) -> str:
    """Return the diff of two sides, as `orchestrator.reporting.diff_text` shows it."""
    parts = ["## Diff", "", f"- A: {escape(comparison.before.name)}", f"- B: {escape(comparison.after.name)}", ""]
    parts += _part("Configuration", words.configuration(comparison, changes))
    for name, after in (("from A to B", True), ("from B to A", False)):
        pasted = words.pasted(changes, after=after)
        if pasted:
            parts += [f"Overrides {name}:", "", "```sh", *pasted, "```", ""]
    if config_only:
        return "\n".join(parts)
    labels = Labels.of_comparison(comparison)
    found = lines(comparison, labels, everything or facts is not None)
    parts += _part("Environment", words.environment(comparison))
    parts += ["### Results", "", escape(" · ".join(labels.common)), "", f"**{escape(words.totals(comparison))}**", ""]
    parts += _table([line for line in found if line.word not in (MISSING, NEW)])
    parts += _means(comparison)
    parts += _bullets(words.reasons(found))
    parts += _part("Missing in B", words.lonely(found, MISSING)) + _part("New in B", words.lonely(found, NEW))
    parts += _part("Notes", words.notes(comparison, found))
    parts += _part("Which key goes with it", words.attributions(comparison))
    parts += _part("Facts", words.facts(facts[0])) if facts is not None else []
    return "\n".join(parts)


def _part(title: str, texts: Sequence[str]) -> list[str]:
    return [f"### {title}", "", *_bullets(texts)] if texts else []


def _bullets(texts: Iterable[str]) -> list[str]:
    listed = [f"- {escape(text)}" for text in texts]
    return [*listed, ""] if listed else []


def _table(found: Sequence[Difference]) -> list[str]:
    if not found:
        return []
    rows = [markdown_row(["row", "figure", "A", "B", "B / A [95 %]", ""]), "|---|---|---:|---:|---|---|"]
    for line in found[:LISTED]:
        cells = [line.label + f" {DISTURBED}" * bool(line.disturbed), *words.figures_of(line)]
        cells += [words.ratio_of(line), words.word(line.metric, line.word)]
        rows.append(markdown_row(map(escape, cells)))
    left = more(len(found), LISTED, " lines (`--json` has all)")
    return [*rows, "", *left, *[""] * len(left)]


def _means(comparison: Comparison) -> list[str]:
    return _bullets(
        f"geometric mean of the speed-up, {mean.compiler}, {plural(mean.rows, 'row')}: "
        f"{figure('speedup', mean.before)} -> {figure('speedup', mean.after)}, "
        f"{words.ratio(mean.ratio, mean.low, mean.high)}"
        for mean in means(comparison)
        if mean.rows > 1
    )
