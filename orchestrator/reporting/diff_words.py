"""The sentences of a diff, which the terminal and Markdown have in common. Lists are cut, and the rest is counted."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.columns import Column
from orchestrator.records import SUCCESSES
from orchestrator.results.attribution import STATUS, Attribution, Shared, shared
from orchestrator.results.comparison import BETTER, CHANGED, NOISE, WORSE, Comparison
from orchestrator.results.configuration import ABSENT
from orchestrator.results.configuration_changes import KeyChange, Values, paste_lines
from orchestrator.results.difference import MISSING, NEW, Difference, still_failing, tally
from orchestrator.results.difference_tables import value_text, values_text
from orchestrator.results.matching import is_complete
from orchestrator.results.metrics import COLUMNS, MIB, is_number, named
from orchestrator.results.metrics import MISSING as NO_FIGURE
from orchestrator.words import more, plural

LISTED = 20
"""So many rows, keys and facts are shown of each kind; the others are counted, and stand in --json."""
LONGEST = 100
"""Values of keys are cut to so many characters."""
MANY = 8
"""Of an axis with more values before and after only those are named that come or go."""
PASTED = 1000
"""No line of overrides is longer."""
DISTURBED = "*"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def some(texts: Sequence[str], where: str = "--json has all") -> list[str]:
    """Return the first texts, and how many more there are."""
    return [*texts[:LISTED], *more(len(texts), LISTED, f" ({where})")]


def figure(metric: str, value: Any, column: Column | None = None) -> str:
    """Return a value with its unit; a status as it is. column: of a figure that is not built in."""
    if value is None:
        return NO_FIGURE
    if isinstance(value, str):
        return value
    column = column or COLUMNS[metric]
    return column.text(value) + {"": "", "1": "", "x": "x"}.get(column.unit, f" {column.unit}")


def figures_of(line: Difference) -> tuple[str, str, str]:
    """Return a line's figure by name, before and after."""
    column = None if line.change is None else line.change.column
    return named(line.metric, column), figure(line.metric, line.before, column), figure(line.metric, line.after, column)


def ratio(value: float | None, low: float | None, high: float | None) -> str:
    """Return "0.664 [0.659, 0.668]"."""
    if value is None:
        return ""
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def ratio_of(line: Difference) -> str:
    return "" if line.change is None else ratio(line.change.ratio, line.change.low, line.change.high)


def word(metric: str, what: str) -> str:
    """Of a speed-up better is faster: the compiler gains more than it did. A status has no noise."""
    if metric == STATUS and what == NOISE:
        return "the same"
    return {BETTER: "faster", WORSE: "slower"}.get(what, what) if metric == "speedup" else what


def configuration(comparison: Comparison, changes: Sequence[KeyChange]) -> list[str]:
    """Say which keys of the configuration differ."""
    sides = (("A", comparison.before), ("B", comparison.after))
    unknown = [side for side, one in sides if not one.settings or not all(map(is_complete, one.rows))]
    said = [f"Of {' and '.join(unknown)} not all settings are known: what both know is compared."] if unknown else []
    return [*said, *(some([_key_change(change) for change in changes]) or ["no key differs"])]


def _key_change(change: KeyChange) -> str:
    about = [change.of.partition("=")[2]] if change.of else []
    about += [plural(change.rows, "row")] if change.rows else []
    suffix = f"  ({', '.join(about)})" if about else ""
    if len(change.before) + len(change.after) <= MANY:
        return f"{change.key}: {cut(values_text(change.before))} -> {cut(values_text(change.after))}{suffix}"
    gone, come = ([one for one in side if one not in other] for side, other in _both_ways(change.before, change.after))
    said = [f"{sign} {cut(values_text(tuple(side)))}" for sign, side in (("-", gone), ("+", come)) if side]
    return f"{change.key}: {'  '.join(said)}{suffix}"


def _both_ways(one: Values, other: Values) -> tuple[tuple[Values, Values], tuple[Values, Values]]:
    return (one, other), (other, one)


def pasted(changes: Sequence[KeyChange], *, after: bool) -> list[str]:
    """Return the overrides to paste; a line that no one would paste is only mentioned."""
    long = f"(more than {PASTED} characters: --config-only --json has them)"
    unseen = "(with characters that cannot be printed: --config-only --json has them)"
    return [
        long if len(line) > PASTED else line if line.isprintable() else unseen
        for line in paste_lines(changes, after=after)
    ]


def environment(comparison: Comparison) -> list[str]:
    """Say which keys of the environment differ."""
    both = comparison.before.environment, comparison.after.environment
    if not all(both):
        return ["known of one side only" if any(both) else "not known of either side"]
    return keys(comparison.environment) or ["no key differs"]


def keys(differing: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Say which values keys have before and after."""
    return some([f"{key}: {cut(value_text(old))} -> {cut(value_text(new))}" for key, (old, new) in differing.items()])


def facts(differing: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Say in which facts two jobs differ; those that only one of them has (the other failed) are counted."""
    both = {key: pair for key, pair in differing.items() if ABSENT not in pair}
    said = keys({key: (_fact(key, old), _fact(key, new)) for key, (old, new) in both.items()})
    only = [sum(pair[1 - side] is ABSENT for pair in differing.values()) for side in (0, 1)]
    counted = [f"{plural(count, 'fact')} of {side} only" for count, side in zip(only, "AB", strict=True) if count]
    return said + ([f"{', '.join(counted)} (--json has all)"] if counted else [])


def _fact(key: str, value: Any) -> Any:
    if key.startswith("memory.") and is_number(value):
        return f"{value * MIB:.1f} MiB"
    return f"{value:.6g}" if isinstance(value, float) else value


def totals(comparison: Comparison) -> str:
    """Say how many rows became what."""
    counts = tally(comparison)
    parts = ", ".join(f"{counts[what]:,} {what}" for what in (WORSE, BETTER, CHANGED, NOISE) if counts[what])
    others = ", ".join(f"{counts[what]:,} {what} in B" for what in (MISSING, NEW) if counts[what])
    both = f"{plural(len(comparison.matched), 'row')} in both" + (f": {parts}" if parts else "")
    return "; ".join(filter(None, (both, others)))


def reasons(found: Iterable[Difference]) -> list[str]:
    """Say why a row fails, or failed before."""
    told = [line for line in found if line.metric == STATUS and line.reason and line.word not in (MISSING, NEW)]
    return some(
        [f"{line.before if line.after in SUCCESSES else line.after}: {line.label}: {line.reason}" for line in told]
    )


def lonely(found: Iterable[Difference], what: str) -> list[str]:
    """Name the rows that are missing or new, with the reason of those that fail."""
    rows = [line for line in found if line.word == what]
    failing = [line.after not in (None, *SUCCESSES) for line in rows]
    return some(
        [line.label + f": {line.after} {line.reason}".rstrip() * bad for line, bad in zip(rows, failing, strict=True)]
    )


def notes(comparison: Comparison, found: Sequence[Difference]) -> list[str]:
    """Say what one must know to read the figures; only what applies."""
    said = []
    for metric in ("latency_ms", "own_memory_mib"):
        ratios = [m.ratio for pair in comparison.matched for m in pair.metrics if m.metric == metric and m.ratio]
        said += [f"{named(metric)} {statistics.median(ratios):.3f}"] if len(ratios) > 1 else []
    said = [f"median over all rows of B / A: {', '.join(said)}"] if said else []
    if any(line.disturbed for line in found):
        said.append(f"{DISTURBED} was disturbed while it was measured: only large changes are called")
    shown = [line.change for line in found if line.change is not None and line.change.low is not None]
    if any(change.p is None for change in shown):
        said.append(
            "Intervals are from the pairs of one process only: another process may differ by more. "
            "rounds=3 gives intervals over fresh processes."
        )
    failing = still_failing(comparison)
    if failing:
        said.append(f"{plural(failing, 'row')} failed before and still {'fails' if failing == 1 else 'fail'}")
    return said


def attributions(comparison: Comparison) -> list[str]:
    """Say which key goes with which change; nothing where nothing changed and no key differs."""
    changed = any(not pair.same for pair in comparison.matched)
    keyed = any(one.keys for one in comparison.attributions)
    said = some([f"{_keys(one)}: {_words(one)}" for one in comparison.attributions]) if keyed else []
    if changed and not keyed and comparison.environment:
        said.append(f"The rows have the same configuration. The environment differs: {_few(comparison.environment)}.")
    elif changed and not keyed and comparison.before.environment and comparison.after.environment:
        said.append("Neither configuration nor environment differs: what changed goes with nothing that is recorded.")
    elif changed and keyed and comparison.environment:
        said.append(f"The environment differs too ({_few(comparison.environment)}): it may be that as well.")
    return said + some([_shared(one) for one in shared(comparison.matched)])


def _keys(one: Attribution) -> str:
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
                f"{counts[what]:,} {word(metric, what)}" for what in (WORSE, BETTER, CHANGED, NOISE) if what in counts
            ]
            parts.append(f"{named(metric)} {', '.join(words)}")
    return "; ".join(parts) or "all within noise"


def _shared(one: Shared) -> str:
    some_of = f"{one.rows} of the " if one.rows < one.rows_with_it else "all "
    rows = f"{some_of}{plural(one.rows_with_it, 'row')} with {one.key}={value_text(one.value)}"
    others = one.rows_compared - one.rows_with_it
    return f"{named(one.metric)} {word(one.metric, one.word)}: {rows}, none of the {plural(others, 'other')}"


def _few(differing: Iterable[str]) -> str:
    listed = list(differing)
    return ", ".join(listed[:4]) + (f" and {plural(len(listed) - 4, 'more key')}" if len(listed) > 4 else "")
