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

from orchestrator.columns import Column
from orchestrator.comparison.attribution import Attribution, attribute
from orchestrator.comparison.changes import Change, Figure, changes, holm
from orchestrator.comparison.matching import Keys, by_names, differing, is_complete, match_rows
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import COUNTED, LATENCY, LIMITS, Limit, limits_of
from orchestrator.records import STATUSES, SUCCESSES

BETTER, WORSE, CHANGED, NOISE = "better", "worse", "changed", "within noise"
ALPHA = 0.05
"""A change is called when its p-value, corrected for all that are compared (Holm), is at most this."""


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """One figure of a matched row; `word` is better, worse, changed (no direction) or within noise.

    change: what a mean over rows is made of; None of counts.
    """

    column: Column
    before: float
    after: float
    ratio: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    word: str
    change: Change | None = None

    @property
    def metric(self) -> str:
        return self.column.name

    def row(self) -> dict[str, Any]:
        """Return what a table says of it, in all that have a change."""
        figures = {"before": self.before, "after": self.after, "ratio": self.ratio, "p": self.p}
        return figures | {"metric": self.metric, "ratio_low": self.low, "ratio_high": self.high, "change": self.word}


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
        order = STATUSES.index(self.after.status) - STATUSES.index(self.before.status)
        return CHANGED if before or order == 0 else BETTER if order > 0 else WORSE

    @property
    def disturbed(self) -> bool:
        return bool(self.before.disturbed or self.after.disturbed)

    def has(self, metric: str) -> bool:
        """Return whether both rows may have the figure, and mean the same by it."""
        return self.before.column(metric).means(self.after.column(metric))

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
    limits: Mapping[str, Limit] | None = None,
    *,
    metrics: Collection[str] = (),
    one_row: bool = False,
) -> Comparison:
    """Compare two sweeps: match their rows, judge every figure, put changes down to keys.

    limits: of all figures that are compared (none given: those of `limits_of`); metrics: only these (none: all);
    one_row: both have one row, and it is the same thing whatever it is called (two jobs that a person named).
    """
    missing: list[Row] = []
    only_new: list[Row] = []
    if one_row:
        old, new = before.rows[0], after.rows[0]
        found = [Matched(before=old, after=new, keys=differing(old.config, new.config))]
    else:
        found, missing, only_new = match(before.rows, after.rows)
    limits = limits_of({**after.columns, **before.columns}) if limits is None else limits
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
    """Return the matched rows in the order of `before`, and the rows that only one side has (see `matching`).

    Rows that were read from a table know names only: then names are compared.
    """
    if not all(map(is_complete, (*before, *after))):
        before, after = list(map(by_names, before)), list(map(by_names, after))
    found, left, right = match_rows(before, after)
    return [Matched(before=old, after=new, keys=differing(old.config, new.config)) for old, new in found], left, right


def own_limits(row: Row) -> Mapping[str, Limit]:
    return limits_of(row.columns)


def judge(matched: Sequence[Matched], limits: Callable[[Row], Mapping[str, Limit]] = own_limits) -> list[Matched]:
    """Return the matched rows with their figures judged, all of them together (see `orchestrator.comparison.changes`).

    limits: row of `before` -> its limits; a metric that has none there is not judged, and no test among the others.
    """
    own = [limits(pair.before) for pair in matched]
    tests: list[tuple[int, str, Figure, Figure, Change]] = []
    for metric in dict.fromkeys((*LIMITS, *(metric for one in own for metric in one))):
        both = [
            (i, pair.before.figures[metric], pair.after.figures[metric])
            for i, pair in enumerate(matched)
            if metric in own[i] and metric in pair.before.figures and metric in pair.after.figures and pair.has(metric)
        ]
        found = changes([(old, new) for _, old, new in both])
        tests += [(i, metric, old, new, change) for (i, old, new), change in zip(both, found, strict=True)]
    adjusted = holm([change.p for *_, change in tests])
    metrics: dict[int, list[MetricChange]] = defaultdict(list)
    for (i, metric, old, new, change), p in zip(tests, adjusted, strict=True):
        column = matched[i].after.column(metric)
        word = _word(column, old.middle, new.middle, change, p, own[i][metric], matched[i])
        metrics[i].append(
            MetricChange(
                column=column,
                before=old.middle,
                after=new.middle,
                ratio=change.ratio,
                low=change.low,
                high=change.high,
                p=p,
                word=word,
                change=change,
            )
        )
    return [
        Matched(before=pair.before, after=pair.after, keys=pair.keys, metrics=(*metrics[i], *_counted(pair)))
        for i, pair in enumerate(matched)
    ]


def _word(
    column: Column, before: float, after: float, change: Change, p: float | None, limit: Limit, pair: Matched
) -> str:
    allowed = limit.allowed(p, pair.disturbed)
    holds_1 = change.low is not None and change.high is not None and change.low <= 1 <= change.high
    if not _beyond(change.ratio, allowed) or abs(after - before) <= limit.floor or holds_1:
        return NOISE
    if p is not None and p > ALPHA:
        return NOISE
    if column.name == LATENCY and pair.disturbed and not _fastest_differ(pair, change, allowed):
        return NOISE
    return direction(column, before, after)


def _beyond(ratio: float, allowed: float) -> bool:
    return abs(math.log(ratio)) > math.log1p(allowed)


def _fastest_differ(pair: Matched, change: Change, allowed: float) -> bool:
    """Return whether the fastest steps of a disturbed row say what its medians say; of a row that was not, these do."""
    before, after = (row.fastest_ms or row.figures[LATENCY].middle for row in (pair.before, pair.after))
    return _beyond(after / before, allowed) and (after > before) == (change.ratio > 1)


def direction(column: Column, before: float, after: float) -> str:
    """Return better or worse, or changed for a metric of which neither more nor less is better."""
    if column.better == "none":
        return CHANGED
    return BETTER if (after < before) == (column.better == "lower") else WORSE


def looks_worse(change: MetricChange, limit: Limit) -> bool:
    """Return whether a figure that is called within noise is worse by more than its limit allows of an undisturbed row.

    It may be one or the other: more rounds, or a quieter machine, would tell.
    """
    if change.word != NOISE or change.ratio is None or change.column.better == "none":
        return False
    large = _beyond(change.ratio, limit.allowed(change.p, False))
    beyond = abs(change.after - change.before) > limit.floor
    return large and beyond and direction(change.column, change.before, change.after) == WORSE


def _counted(pair: Matched) -> list[MetricChange]:
    """Return the counts that differ, and the exact numbers of which one is not positive.

    Those that do not differ are no news, and no figure with a spread.
    """
    found = []
    for metric in (*COUNTED, *(name for name in pair.before.columns if name not in COUNTED)):
        old, new = _exactly(pair.before, metric), _exactly(pair.after, metric)
        if metric in pair.before.figures and metric in pair.after.figures:
            continue  # both are positive: judged with the others
        if old is not None and new is not None and old != new and pair.has(metric):
            found.append(
                MetricChange(
                    column=pair.after.column(metric),
                    before=old,
                    after=new,
                    ratio=new / old if old > 0 <= new else None,
                    word=direction(pair.after.column(metric), old, new),
                )
            )
    return found


def _exactly(row: Row, metric: str) -> float | None:
    """Return a count, or a number that is the same whenever it is measured; None of what has noise."""
    if metric in row.figures and row.column(metric).exact:
        return row.figures[metric].middle
    return row.counts.get(metric)
