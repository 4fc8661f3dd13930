"""The tables of a diff, for JSON, CSV and Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.comparison.attribution import Attribution, circumstances, shared
from orchestrator.comparison.compare import BETTER, CHANGED, NOISE, WORSE, Comparison, Matched
from orchestrator.comparison.configuration_changes import KeyChange, Values
from orchestrator.comparison.differences import (
    FAILING,
    MISSING,
    NEITHER,
    NEW,
    Difference,
    Labels,
    differences,
    means,
    phase_changes,
    tally,
)
from orchestrator.comparison.matching import Keys
from orchestrator.comparison.pasting import Pasted
from orchestrator.results.configuration import ABSENT, literal
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table

CHANGE = ("metric", "before", "after", "ratio", "ratio_low", "ratio_high", "p", "change", "disturbed", "reason")
WORDS = {"rows_worse": WORSE, "rows_better": BETTER, "rows_changed": CHANGED, "rows_within_noise": NOISE}
OTHERS = {"rows_failing": FAILING, "rows_run_in_neither": NEITHER, "rows_missing": MISSING, "rows_new": NEW}


def tables(comparison: Comparison, changes: Sequence[KeyChange], everything: bool) -> dict[str, Table]:
    """Return the tables of a diff; `results` is the main one. everything: with the rows within noise."""
    labels = Labels.of_comparison(comparison)
    return {
        "totals": totals([("B", comparison)]),
        "configuration": configuration(changes),
        "environment": changed(comparison.environment),
        "results": Table.of((*IDENTITY, "keys", *CHANGE), map(result_row, differences(comparison, labels, everything))),
        "geometric_means": Table.listed(
            ("compiler", "before", "after", "ratio", "ratio_low", "ratio_high", "rows_compared"),
            ((m.compiler, m.before, m.after, m.ratio, m.low, m.high, m.rows) for m in means(comparison)),
        ),
        "compile_phases": Table.listed(
            ("cache", "compile_phase", "before", "after", "compile_phase_change_s", "share_percent", "rows_compared"),
            (
                (one.cache, one.phase, one.before, one.after, one.change, one.share_percent, one.rows)
                for one in phase_changes(comparison.matched)
            ),
        ),
        "attribution": attribution(comparison.attributions),
        "shared": common(comparison.matched),
        "circumstances": Table.listed(
            ("circumstance", "rows_changed", "rows_with_it", "before", "after"),
            ((c.what, c.rows, c.rows_with_it, c.before, c.after) for c in circumstances(comparison.matched)),
        ),
    }


def totals(comparisons: Iterable[tuple[str, Comparison]]) -> Table:
    """Return how many rows became what, a line for each side that was compared with A."""
    words = WORDS | OTHERS
    return Table.listed(
        ("side", "rows_compared", *words),
        (
            (side, len(comparison.matched), *(counts[word] for word in words.values()))
            for side, comparison in comparisons
            for counts in [tally(comparison)]
        ),
    )


def configuration(changes: Iterable[KeyChange]) -> Table:
    """Return the keys that differ, with the overrides that can be pasted."""
    return Table.listed(
        ("key", "option", "before", "after", "rows_differing", "paste_before", "paste_after"),
        (
            (one.key, one.of or None, values_text(one.before), values_text(one.after), one.rows)
            + (_paste(one.paste_before), _paste(one.paste_after))
            for one in changes
        ),
    )


def pasted(found: Sequence[Pasted]) -> Table:
    """Return what brings about B's jobs with A's command, and A's with B's, a line each."""
    return Table.listed(
        ("side", "paste", "paste_note", "paste_planned"),
        (
            (side, line, one.note, "yes" if one.tried else "no")
            for side, one in zip("BA", found, strict=True)
            for line in one.lines
        ),
    )


def changed(keys: Mapping[str, tuple[Any, Any]]) -> Table:
    """Return keys with their values before and after; None where a side does not have the key."""
    present = ((key, *(None if value is ABSENT else value for value in pair)) for key, pair in keys.items())
    return Table.listed(("key", "before", "after"), present)


def attribution(found: Iterable[Attribution]) -> Table:
    """Return a line for each set of keys that rows differ in, and each metric. No key: the same configuration."""
    return Table.listed(
        ("keys", "metric", "rows_differing", *WORDS),
        (
            (keys_text(one.keys), metric, one.rows, *(words.get(word, 0) for word in WORDS.values()))
            for one in found
            for metric, words in one.words.items()
        ),
    )


def common(matched: Sequence[Matched]) -> Table:
    """Return the values that the rows with a change share, and no other row has."""
    return Table.listed(
        ("metric", "change", "key", "value", "rows_changed", "rows_with_it", "rows_compared"),
        (
            (one.metric, one.word, one.key, literal(one.value), one.rows, one.rows_with_it, one.rows_compared)
            for one in shared(matched)
        ),
    )


def keys_text(keys: Keys | None) -> str | None:
    """Return "dtype=float16 -> float32, threads=1 -> 2", None without keys."""
    return (
        ", ".join(f"{key}={value_text(old)} -> {value_text(new)}" for key, (old, new) in (keys or {}).items()) or None
    )


def values_text(values: Values) -> str:
    """Return the values of an axis as a command line has them: "float16,float32"."""
    return ",".join(map(value_text, values))


def value_text(value: Any) -> str:
    """Return a value for people: a text as it is, everything else as a command line has it."""
    return value if isinstance(value, str) and value else literal(value)


def result_row(line: Difference) -> dict[str, Any]:
    """Return what differs between two sides of a row: its names, the values, and what is known of the change."""
    return {
        **{column: line.names.get(column) for column in IDENTITY},
        **({} if line.change is None else line.change.row()),
        "keys": keys_text(line.keys),
        "metric": line.metric,
        "before": line.before,
        "after": line.after,
        "change": line.word,
        "disturbed": line.disturbed,
        "reason": line.reason,
    }


def _paste(words: Sequence[str] | None) -> str | None:
    return None if words is None else shlex.join(words)
