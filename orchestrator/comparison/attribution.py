"""Which key goes with which change: those in which the two sweeps differ, and those that the changed rows share.

And what else is recorded of the changed rows: how much others used the machine, and whether that disturbed them.
None of it is a cause. A key that differs goes with what happened to its rows; where several differ in the same rows,
nothing tells them apart. Where no key differs, a value that all rows with a change have and no other row has says
where to look.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from orchestrator.comparison.matching import Keys, hangs_on, named_keys
from orchestrator.comparison.thresholds import STATUS

if TYPE_CHECKING:
    from orchestrator.columns import Column
    from orchestrator.comparison.compare import Matched

LOAD = 0.1
"""Cores: a load that differs by less is the same (`orchestrator.probes.noise` calls nothing below it a disturbance)."""
SHARE = 0.5
"""A value is named when at least this part of the rows that have it changed (and no row without it)."""


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Rows that differ in the same keys in the same way, and what happened to them.

    keys: key -> (before, after). With several, they cannot be told apart; with none, the configuration is the same.
    words: metric or "status" -> better, worse, changed or within noise -> rows.
    """

    keys: Keys
    rows: int
    words: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A value that all `rows` rows have of which `metric` became `word`, and none of the others.

    rows_with_it: how many rows have the value; rows_compared: how many were compared.
    """

    metric: str
    word: str
    key: str
    value: Any
    rows: int
    rows_with_it: int
    rows_compared: int


@dataclass(frozen=True, kw_only=True)
class Circumstance:
    """What else is known of rows whose times changed: `what` ("load" or "disturbed") was another in `rows_with_it`.

    rows: how many rows have such a change; before, after: medians of the cores that others used, or how many were
    disturbed.
    """

    what: str
    rows: int
    rows_with_it: int
    before: float
    after: float


def circumstances(matched: Iterable[Matched]) -> list[Circumstance]:
    """Return the load and the disturbance that go with changed times, where they differ between the two sides.

    No change of a count, of memory or of an exact number is put down to them.
    """
    changed = [pair for pair in matched if any(_is_time(change.column) for change in pair.changed)]
    loads = [(pair.before.load, pair.after.load) for pair in changed]
    loaded = [(a, b) for a, b in loads if a is not None and b is not None and abs(a - b) > LOAD]
    disturbed = [(bool(pair.before.disturbed), bool(pair.after.disturbed)) for pair in changed]
    other = sum(a != b for a, b in disturbed)
    found = []
    if loaded:
        before, after = (median(side) for side in zip(*loaded, strict=True))
        found.append(Circumstance(what="load", rows=len(changed), rows_with_it=len(loaded), before=before, after=after))
    if other:
        before, after = (sum(side) for side in zip(*disturbed, strict=True))
        found.append(Circumstance(what="disturbed", rows=len(changed), rows_with_it=other, before=before, after=after))
    return found


def _is_time(column: Column) -> bool:
    return column.kind != "count" and not column.exact and column.unit != "MiB"


def attribute(matched: Iterable[Matched]) -> list[Attribution]:
    """Return what happened to the rows that differ in a key, by key; last the rows that differ in none."""
    groups: dict[str, list[Matched]] = defaultdict(list)
    for pair in matched:
        groups[json.dumps(named_keys(pair.keys), sort_keys=True)].append(pair)
    ordered = sorted(groups.values(), key=lambda rows: (not rows[0].keys, len(rows[0].keys), -len(rows)))
    return [Attribution(keys=named_keys(rows[0].keys), rows=len(rows), words=_words(rows)) for rows in ordered]


def _words(rows: Sequence[Matched]) -> dict[str, dict[str, int]]:
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.status_change is not None:
            words[STATUS][row.status_change] += 1
        for metric in row.metrics:
            words[metric.metric][metric.word] += 1
    return {metric: dict(counts) for metric, counts in words.items()}


def shared(matched: Sequence[Matched]) -> list[Shared]:
    """Return the values that rows with the same change share, and no row without it has.

    Only where two rows or more have the change. Left out is what just repeats in which rows a key differs.
    """
    changed: dict[tuple[str, str], list[Matched]] = defaultdict(list)
    for pair in matched:
        if pair.status_change is not None:
            changed[STATUS, pair.status_change].append(pair)
        for change in pair.changed:
            changed[change.metric, change.word].append(pair)
    found = []
    for (metric, word), rows in changed.items():
        if len(rows) > 1:
            found += _shared(metric, word, rows, [pair for pair in matched if _has(pair, metric)])
    return found


def _shared(metric: str, word: str, rows: Sequence[Matched], compared: Sequence[Matched]) -> list[Shared]:
    first = rows[0]
    alike = [
        key
        for key, value in first.after.config.items()
        if _tells(key) and key not in first.keys and all(row.after.config.get(key) == value for row in rows[1:])
    ]
    keyed = [bool(pair.keys) for pair in compared]
    found = []
    for key in alike:
        value = first.after.config[key]
        having = [pair.after.config.get(key) == value for pair in compared]
        count = sum(having)
        if len(rows) <= count < len(compared) and len(rows) >= SHARE * count and having != keyed:
            found.append(
                Shared(
                    metric=metric,
                    word=word,
                    key=key,
                    value=value,
                    rows=len(rows),
                    rows_with_it=count,
                    rows_compared=len(compared),
                )
            )
    keys = [one.key for one in found]
    named = [one for one in found if not any(other != one.key and hangs_on(one.key, other) for other in keys)]
    return sorted(named, key=lambda one: one.rows_with_it)


def _tells(key: str) -> bool:
    """Leave out what only repeats a name: the class behind a plug-in, what a model is built from."""
    return not key.endswith(".target") and not key.startswith("suite.catalog.")


def _has(pair: Matched, metric: str) -> bool:
    """Tell whether the metric was compared in this row. Counts are listed where they differ only."""
    if metric == STATUS or any(change.metric == metric for change in pair.metrics):
        return True
    return metric in pair.before.counts and metric in pair.after.counts
