"""Two snapshots side by side: which rows belong together, what of each has changed, and which key goes with it.

Rows are matched by their configuration. Where a key has other values in one sweep than in the other (`dtype`, an
option of a compiler), rows that differ in nothing else are matched too, and the change is put down to that key.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.records import SUCCESSES
from orchestrator.results.changes import Change, Figure, changes, holm
from orchestrator.results.configuration import ABSENT
from orchestrator.results.load import WORST_FIRST
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.snapshot import Row, Snapshot

BETTER, WORSE, CHANGED, NOISE = "better", "worse", "changed", "within noise"
ALPHA = 0.05
"""A change is called when its p-value, corrected for all that are compared (Holm), is at most this."""
SAME_THING = ("suite.models", "measure")
"""Keys in which matched rows never differ: other models, other measures are other things."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What size of a change is one. All are relative, but `floor`, in the metric's unit.

    threshold: where rounds give an interval; alone: where there is none (one round), or a row was disturbed: absolute
    times of one process move by that much on a quiet machine. A change must exceed `floor` too.
    """

    threshold: float
    alone: float
    floor: float = 0.0


LIMITS: Mapping[str, Limit] = {
    "speedup": Limit(threshold=0.02, alone=0.10),
    "latency_ms": Limit(threshold=0.10, alone=0.30),
    "compile_latency_cold_s": Limit(threshold=0.25, alone=0.50, floor=0.5),
    "compile_latency_warm_s": Limit(threshold=0.25, alone=0.50, floor=0.5),
    "own_memory_mib": Limit(threshold=0.02, alone=0.05, floor=8.0),
}
COUNTED = ("graphs", "graph_breaks", "recompiles")
"""Compared exactly: they do not vary from run to run. (`captured_calls`, `fallbacks` follow from them.)"""


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """One figure of a matched row; `word` is better, worse, changed (no direction) or within noise."""

    metric: str
    before: float
    after: float
    ratio: float | None
    low: float | None
    high: float | None
    p: float | None
    word: str


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A row of both snapshots. `keys`: the configuration keys in which the two differ -> (before, after)."""

    before: Row
    after: Row
    keys: Mapping[str, tuple[Any, Any]]
    metrics: tuple[MetricChange, ...] = ()

    @property
    def status_change(self) -> str | None:
        """better, worse or changed where the status is another one; None where it is the same."""
        if self.before.status == self.after.status:
            return None
        before, after = (row.status in SUCCESSES for row in (self.before, self.after))
        if before != after:
            return BETTER if after else WORSE
        order = WORST_FIRST.index(self.after.status) - WORST_FIRST.index(self.before.status)
        return CHANGED if before or order == 0 else BETTER if order > 0 else WORSE

    @property
    def disturbed(self) -> bool:
        return bool(self.before.disturbed or self.after.disturbed)

    @property
    def changed(self) -> tuple[MetricChange, ...]:
        return tuple(metric for metric in self.metrics if metric.word != NOISE)

    @property
    def same(self) -> bool:
        """True when status and all figures are what they were, within noise."""
        return self.status_change is None and not self.changed


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A key in which matched rows differ: its values, and how many rows changed how, by metric.

    `only` tells that no other key differs in these rows: the change goes with this one.
    """

    key: str
    before: Any
    after: Any
    rows: int
    only: bool
    words: Mapping[str, Mapping[str, int]]  # metric or "status" -> word -> rows


@dataclass(frozen=True, kw_only=True)
class Comparison:
    before: Snapshot
    after: Snapshot
    matched: tuple[Matched, ...]
    missing: tuple[Row, ...]  # only before
    new: tuple[Row, ...]  # only after
    settings: Mapping[str, tuple[Any, Any]]  # key -> values before, after; only what differs
    environment: Mapping[str, tuple[Any, Any]]
    attributions: tuple[Attribution, ...] = field(default=())


def compare(before: Snapshot, after: Snapshot, limits: Mapping[str, Limit] = LIMITS) -> Comparison:
    """Compare two sweeps: match their rows, judge every figure, put changes down to keys."""
    pairs, missing, new = match(before.rows, after.rows)
    matched = judge(pairs, limits)
    return Comparison(
        before=before,
        after=after,
        matched=tuple(matched),
        missing=tuple(missing),
        new=tuple(new),
        settings=differing(before.settings, after.settings),
        environment=differing(before.environment, after.environment),
        attributions=tuple(attribute(matched)),
    )


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, sorted; `ABSENT` where one side does not have the key."""
    pairs = {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in sorted(before.keys() | after.keys())}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


def match(before: Iterable[Row], after: Iterable[Row]) -> tuple[list[Matched], list[Row], list[Row]]:
    """Return the matched rows in the order of `before`, and the rows that only one side has.

    Equal configurations first; then rows that differ in one key alone; then in all keys that separate what is left.
    Among rows that one key would match with several others, none is taken: a guess would be a wrong number.
    """
    left, right = list(before), list(after)
    order = {id(row): position for position, row in enumerate(left)}
    pairs = _take(left, right, ())
    separating = _separating(left, right)
    for key in separating:
        pairs += _take(left, right, (key,))
    if len(separating) > 1:
        pairs += _take(left, right, tuple(separating))
    matched = [Matched(before=old, after=new, keys=differing(old.config, new.config)) for old, new in pairs]
    return sorted(matched, key=lambda pair: order[id(pair.before)]), left, right


def _separating(left: Sequence[Row], right: Sequence[Row]) -> list[str]:
    """Return the keys that have other values in the rows on one side than in those on the other, names first.

    A key that comes with an option of a group (`compiler.target` with `compiler`) goes with its group.
    """
    if not left or not right:
        return []
    seen = [defaultdict(set), defaultdict(set)]
    for side, rows in zip(seen, (left, right), strict=True):
        for row in rows:
            for key, value in row.config.items():
                side[key].add(json.dumps(value, sort_keys=True))
    keys = [key for key in {**seen[0], **seen[1]} if seen[0][key] != seen[1][key]]
    return [key for key in keys if key not in SAME_THING and not key.startswith("suite.catalog.")] + [
        key for key in keys if key.startswith("suite.catalog.")
    ]


def _take(left: list[Row], right: list[Row], without: Sequence[str]) -> list[tuple[Row, Row]]:
    """Match rows that are equal but for the keys `without` (and what hangs on them), and take them off both lists."""
    if not left or not right:
        return []
    groups: list[dict[str, list[Row]]] = [defaultdict(list), defaultdict(list)]
    for group, rows in zip(groups, (left, right), strict=True):
        for row in rows:
            group[_print(row, without)].append(row)
    pairs = [(rows[0], groups[1][key][0]) for key, rows in groups[0].items() if len(rows) == len(groups[1][key]) == 1]
    taken = {id(row) for pair in pairs for row in pair}
    left[:] = [row for row in left if id(row) not in taken]
    right[:] = [row for row in right if id(row) not in taken]
    return pairs


def _print(row: Row, without: Sequence[str]) -> str:
    kept = {key: value for key, value in row.config.items() if not any(_hangs_on(key, other) for other in without)}
    return json.dumps(kept, sort_keys=True)


def _hangs_on(key: str, other: str) -> bool:
    """`compiler=x` brings compiler.target and compiler.options with it; `compiler.options.y` nothing but itself."""
    return key == other or ("." not in other and key.startswith(f"{other}."))


def judge(pairs: Sequence[Matched], limits: Mapping[str, Limit] = LIMITS) -> list[Matched]:
    """Return the matched rows with their figures judged, all of them together (see `orchestrator.results.changes`)."""
    tests: list[tuple[int, str, Figure, Figure, Change]] = []
    for metric in limits:
        both = [
            (i, pair.before.figures[metric], pair.after.figures[metric])
            for i, pair in enumerate(pairs)
            if metric in pair.before.figures and metric in pair.after.figures
        ]
        found = changes([(old, new) for _, old, new in both])
        tests += [(i, metric, old, new, change) for (i, old, new), change in zip(both, found, strict=True)]
    adjusted = holm([change.p for *_, change in tests])
    metrics: dict[int, list[MetricChange]] = defaultdict(list)
    for (i, metric, old, new, change), p in zip(tests, adjusted, strict=True):
        word = _word(metric, old.mean, new.mean, change, p, limits[metric], pairs[i].disturbed)
        metrics[i].append(
            MetricChange(
                metric=metric,
                before=old.mean,
                after=new.mean,
                ratio=change.ratio,
                low=change.low,
                high=change.high,
                p=p,
                word=word,
            )
        )
    return [
        Matched(before=pair.before, after=pair.after, keys=pair.keys, metrics=(*metrics[i], *_counted(pair)))
        for i, pair in enumerate(pairs)
    ]


def _word(
    metric: str, before: float, after: float, change: Change, p: float | None, limit: Limit, disturbed: bool
) -> str:
    known = p is not None and not disturbed
    large = abs(math.log(change.ratio)) > math.log1p(limit.threshold if known else limit.alone)
    if not large or abs(after - before) <= limit.floor or (p is not None and p > ALPHA):
        return NOISE
    return direction(metric, before, after)


def direction(metric: str, before: float, after: float) -> str:
    """Return better or worse, or changed for a metric of which neither more nor less is better."""
    better = COLUMNS[metric].better
    if better == "none":
        return CHANGED
    return BETTER if (after < before) == (better == "lower") else WORSE


def _counted(pair: Matched) -> list[MetricChange]:
    """Return the counts that differ; those that do not are no news, and no figure with a spread."""
    found = []
    for metric in COUNTED:
        old, new = pair.before.counts.get(metric), pair.after.counts.get(metric)
        if old is not None and new is not None and old != new:
            found.append(
                MetricChange(
                    metric=metric,
                    before=old,
                    after=new,
                    ratio=new / old if old else None,
                    low=None,
                    high=None,
                    p=None,
                    word=direction(metric, old, new),
                )
            )
    return found


def attribute(matched: Iterable[Matched]) -> list[Attribution]:
    """Return, for every key and its values before and after, what happened to the rows that differ in it."""
    groups: dict[tuple[str, str, str], list[Matched]] = defaultdict(list)
    for pair in matched:
        for key, (old, new) in named_keys(pair.keys).items():
            groups[key, json.dumps(old), json.dumps(new)].append(pair)
    found = []
    for (key, old, new), rows in groups.items():
        words: dict[str, Counter[str]] = defaultdict(Counter)
        for row in rows:
            if row.status_change is not None:
                words["status"][row.status_change] += 1
            for metric in row.metrics:
                words[metric.metric][metric.word] += 1
        found.append(
            Attribution(
                key=key,
                before=json.loads(old),
                after=json.loads(new),
                rows=len(rows),
                only=all(len(named_keys(row.keys)) == 1 for row in rows),
                words={metric: dict(counts) for metric, counts in words.items()},
            )
        )
    return found


def named_keys(keys: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Leave out what hangs on another key: with `compiler=x`, its target and options."""
    return {key: pair for key, pair in keys.items() if not any(k != key and _hangs_on(key, k) for k in keys)}
