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
    tally,
)
from orchestrator.comparison.matching import Keys
from orchestrator.comparison.pasting import Pasted
from orchestrator.comparison.phase_changes import phase_changes
from orchestrator.results.configuration import ABSENT, literal
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table

CHANGE = ("metric", "before", "after", "ratio", "ratio_low", "ratio_high", "p", "change", "disturbed", "reason")
PHASES = ("cache", "compile_phase", "before", "after", "compile_phase_change_s", "share_percent", "rows_compared")
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
        "geometric_means": Table.of(
            ("compiler", "before", "after", "ratio", "ratio_low", "ratio_high", "rows_compared"),
            (
                {"compiler": mean.compiler, "before": mean.before, "after": mean.after, "ratio": mean.ratio}
                | {"ratio_low": mean.low, "ratio_high": mean.high, "rows_compared": mean.rows}
                for mean in means(comparison)
            ),
        ),
        "compile_phases": Table.of(PHASES, (one.row() for one in phase_changes(comparison.matched))),
        "attribution": attribution(comparison.attributions),
        "shared": common(comparison.matched),
        "circumstances": Table.of(
            ("circumstance", "rows_changed", "rows_with_it", "before", "after"),
            (
                {"circumstance": one.what, "rows_changed": one.rows, "rows_with_it": one.rows_with_it}
                | {"before": one.before, "after": one.after}
                for one in circumstances(comparison.matched)
            ),
        ),
    }


def totals(comparisons: Iterable[tuple[str, Comparison]]) -> Table:
    """Return how many rows became what, a line for each side that was compared with A."""
    counted = [(side, comparison, tally(comparison)) for side, comparison in comparisons]
    return Table.of(
        ("side", "rows_compared", *WORDS, *OTHERS),
        (
            {"side": side, "rows_compared": len(comparison.matched)}
            | {column: words[word] for column, word in (WORDS | OTHERS).items()}
            for side, comparison, words in counted
        ),
    )


def configuration(changes: Iterable[KeyChange]) -> Table:
    """Return the keys that differ, with the overrides that can be pasted."""
    return Table.of(
        ("key", "option", "before", "after", "rows_differing", "paste_before", "paste_after"),
        (
            {"key": change.key, "option": change.of or None, "rows_differing": change.rows}
            | {"before": values_text(change.before), "after": values_text(change.after)}
            | {"paste_before": _paste(change.paste_before), "paste_after": _paste(change.paste_after)}
            for change in changes
        ),
    )


def pasted(found: Sequence[Pasted]) -> Table:
    """Return what brings about B's jobs with A's command, and A's with B's, a line each."""
    return Table.of(
        ("side", "paste", "paste_note", "paste_planned"),
        (
            {"side": side, "paste": line, "paste_note": one.note, "paste_planned": "yes" if one.tried else "no"}
            for side, one in zip("BA", found, strict=True)
            for line in one.lines
        ),
    )


def changed(keys: Mapping[str, tuple[Any, Any]]) -> Table:
    """Return keys with their values before and after; None where a side does not have the key."""
    return Table.of(
        ("key", "before", "after"),
        ({"key": key, "before": _present(old), "after": _present(new)} for key, (old, new) in keys.items()),
    )


def attribution(found: Iterable[Attribution]) -> Table:
    """Return a line for each set of keys that rows differ in, and each metric. No key: the same configuration."""
    return Table.of(
        ("keys", "metric", "rows_differing", *WORDS),
        (
            {"keys": keys_text(one.keys), "metric": metric, "rows_differing": one.rows}
            | {column: words.get(word, 0) for column, word in WORDS.items()}
            for one in found
            for metric, words in one.words.items()
        ),
    )


def common(matched: Sequence[Matched]) -> Table:
    """Return the values that the rows with a change share, and no other row has."""
    return Table.of(
        ("metric", "change", "key", "value", "rows_changed", "rows_with_it", "rows_compared"),
        (
            {"metric": one.metric, "change": one.word, "key": one.key, "value": literal(one.value)}
            | {"rows_changed": one.rows, "rows_with_it": one.rows_with_it, "rows_compared": one.rows_compared}
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


def _present(value: Any) -> Any:
    return None if value is ABSENT else value
