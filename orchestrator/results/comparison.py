"""Two snapshots side by side: which rows belong together, what of each has changed, and which key goes with it.

Rows are matched by their configuration. Where a key has other values in one sweep than in the other (`dtype`, an
option of a compiler), rows that differ in nothing else are matched too, and the change is put down to that key.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.records import SUCCESSES
from orchestrator.results.attribution import Attribution, attribute
from orchestrator.results.changes import Change, Figure, changes, holm
from orchestrator.results.load import WORST_FIRST
from orchestrator.results.matching import Keys, by_names, is_complete, pairs
from orchestrator.results.matching import differing as differing
from orchestrator.results.matching import named_keys as named_keys
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.snapshot import Row, Snapshot

BETTER, WORSE, CHANGED, NOISE = "better", "worse", "changed", "within noise"
ALPHA = 0.05
"""A change is called when its p-value, corrected for all that are compared (Holm), is at most this."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What size of a change is one. All are relative, but `floor`, in the metric's unit.

    threshold: where rounds give an interval; alone: where there is none (one round), or a row was disturbed: absolute
    times of one process move by that much on a quiet machine. A change must exceed `floor` too.
    """

    threshold: float
    alone: float
    floor: float = 0.0

    def allowed(self, p: float | None, disturbed: bool) -> float:
        """Return the relative change that is none yet: `alone` where there is no p-value, or a row was disturbed."""
        return self.alone if p is None or disturbed else self.threshold


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
    keys: Keys
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
class Comparison:
    before: Snapshot
    after: Snapshot
    matched: tuple[Matched, ...]
    missing: tuple[Row, ...]  # only before
    new: tuple[Row, ...]  # only after
    settings: Mapping[str, tuple[Any, Any]]  # key -> values before, after; only what differs
    environment: Mapping[str, tuple[Any, Any]]
    attributions: tuple[Attribution, ...] = field(default=())


def compare(
    before: Snapshot,
    after: Snapshot,
    limits: Mapping[str, Limit] = LIMITS,
    *,
    metrics: Collection[str] = (),
    one_row: bool = False,
) -> Comparison:
    """Compare two sweeps: match their rows, judge every figure, put changes down to keys.

    metrics: compare only these (none: all); one_row: both have one row, and it is the same thing whatever it is called
    (two jobs that a person named).
    """
    missing: list[Row] = []
    only_new: list[Row] = []
    if one_row:
        old, new = before.rows[0], after.rows[0]
        found = [Matched(before=old, after=new, keys=differing(old.config, new.config))]
    else:
        found, missing, only_new = match(before.rows, after.rows)
    wanted = metrics or (*limits, *COUNTED)
    judged = judge(found, lambda row: {metric: limit for metric, limit in limits.items() if metric in wanted})
    matched = [replace(p, metrics=tuple(change for change in p.metrics if change.metric in wanted)) for p in judged]
    return Comparison(
        before=before,
        after=after,
        matched=tuple(matched),
        missing=tuple(missing),
        new=tuple(only_new),
        settings=_known(before.settings, after.settings),
        environment=_known(before.environment, after.environment),
        attributions=tuple(attribute(matched)),
    )


def _known(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs; nothing where one side knows nothing (a table)."""
    return differing(before, after) if before and after else {}


def match(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[Matched], list[Row], list[Row]]:
    """Return the matched rows in the order of `before`, and the rows that only one side has (see `.matching`).

    Rows that were read from a table know names only: then names are compared.
    """
    if not all(map(is_complete, (*before, *after))):
        before, after = list(map(by_names, before)), list(map(by_names, after))
    found, left, right = pairs(before, after)
    return [Matched(before=old, after=new, keys=differing(old.config, new.config)) for old, new in found], left, right


def judge(pairs: Sequence[Matched], limits: Callable[[Row], Mapping[str, Limit]] = lambda row: LIMITS) -> list[Matched]:
    """Return the matched rows with their figures judged, all of them together (see `orchestrator.results.changes`).

    limits: row of `before` -> its limits; a metric that has none there is not judged, and no test among the others.
    """
    own = [limits(pair.before) for pair in pairs]
    tests: list[tuple[int, str, Figure, Figure, Change]] = []
    for metric in LIMITS:
        both = [
            (i, pair.before.figures[metric], pair.after.figures[metric])
            for i, pair in enumerate(pairs)
            if metric in own[i] and metric in pair.before.figures and metric in pair.after.figures
        ]
        found = changes([(old, new) for _, old, new in both])
        tests += [(i, metric, old, new, change) for (i, old, new), change in zip(both, found, strict=True)]
    adjusted = holm([change.p for *_, change in tests])
    metrics: dict[int, list[MetricChange]] = defaultdict(list)
    for (i, metric, old, new, change), p in zip(tests, adjusted, strict=True):
        word = _word(metric, old.middle, new.middle, change, p, own[i][metric], pairs[i].disturbed)
        metrics[i].append(
            MetricChange(
                metric=metric,
                before=old.middle,
                after=new.middle,
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
    large = abs(math.log(change.ratio)) > math.log1p(limit.allowed(p, disturbed))
    if not large or abs(after - before) <= limit.floor or (p is not None and p > ALPHA) or _holds_1(change):
        return NOISE
    return direction(metric, before, after)


def _holds_1(change: Change) -> bool:
    return change.low is not None and change.high is not None and change.low <= 1 <= change.high


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
