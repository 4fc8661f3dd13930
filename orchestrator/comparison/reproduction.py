"""A sweep that is run again, or on: what differs between where it was measured and here, and is it reproduced?

Of a rerun there is one answer for every row that was run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import Matched, MetricChange, judge
from orchestrator.comparison.matching import differing
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.records import HARMLESS, NOT_RUN
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS, named
from orchestrator.results.naming import IDENTITY, telling
from orchestrator.results.tables import Table
from orchestrator.words import some

REPRODUCED = "reproduced"
FAILS_AGAIN = "fails as before"
CHANGED = "not reproduced"
REPAIRED = "failed before, passes now"
FIRST = "not run before"
UNFINISHED = "not run now"

LATENCY = "latency_ms"
ROWS = (*IDENTITY, "reproduced", "status_before", "status", "difference", "disturbed", "reason", "job")
METRICS = (*IDENTITY, "metric", "before", "after", "ratio", "ratio_low", "ratio_high", "p", "change")
LISTED = 5
NOT_COMPARED = ("cpu_capability", "gpu", "toolchain.missing")
"""What only a worker knows, once it runs."""


@dataclass(frozen=True)
class Conditions:
    """differing: key -> (then, now), sorted by key; same: how many keys are as they were."""

    differing: Mapping[str, tuple[Any, Any]]
    same: int

    def lines(self) -> list[str]:
        """Return one line for each difference: "packages.torch: 2.12.0 -> 2.13.0"; of lists only what differs."""
        return [f"{key}: {_change(then, now)}" for key, (then, now) in self.differing.items()]


def conditions(results: SweepResults, now: Mapping[str, Any]) -> Conditions:
    """Compare the environment of a sweep with that of `now` (`orchestrator.planning.provenance.environment`).

    The hash of the configuration is left out: what is rerun or resumed comes from the stored plan.
    """
    then = snapshot.environment(results.sweep, results.outcomes)
    then = {k: value for k, value in then.items() if k not in NOT_COMPARED and not k.startswith("conf.")}
    here = snapshot.flat_environment(now)
    found = differing(then, here)
    return Conditions(found, len(then.keys() | here.keys()) - len(found))


def _change(then: Any, now: Any) -> str:
    old, new = (str(value).split(", ") for value in (then, now))
    if len(old) == len(new) == 1:
        return f"{then} -> {now}"
    before, after = Counter(old), Counter(new)  # two GPUs of a kind are not one
    sides = {"only then": [*(before - after).elements()], "only now": [*(after - before).elements()]}
    return "; ".join(f"{word} {some(items, LISTED)}" for word, items in sides.items() if items) or "in another order"


@dataclass(frozen=True)
class Reproduction:
    """A row that was run again: before and after, and one of the words above."""

    pair: Matched

    @property
    def before(self) -> Row:
        return self.pair.before

    @property
    def after(self) -> Row:
        return self.pair.after

    @property
    def word(self) -> str:
        before, after = self.before.status, self.after.status
        if after == NOT_RUN:
            return UNFINISHED
        if after in HARMLESS and before not in HARMLESS and not self.pair.changed:
            return FIRST if before == NOT_RUN else REPAIRED
        if not self.pair.same:
            return CHANGED
        return REPRODUCED if after in HARMLESS else FAILS_AGAIN

    @property
    def differences(self) -> list[str]:
        """Return what changed, in words: "crash -> pass", "latency 2.03x [1.98, 2.09]"; latency first."""
        parts = [] if self.before.status == self.after.status else [f"{self.before.status} -> {self.after.status}"]
        ordered = sorted(self.pair.changed, key=lambda metric: metric.metric != LATENCY)
        return parts + [in_words(metric) for metric in ordered]

    @property
    def difference(self) -> str:
        """Return all differences on one line; "" where nothing changed."""
        parts = self.differences
        return ", ".join(parts) + (" (disturbed)" if parts and self.pair.disturbed else "")

    @property
    def headline(self) -> str:
        """Return the first difference, and how many others there are."""
        first, *others = self.differences
        return first + (f" and {len(others)} more" if others else "") + (" (disturbed)" if self.pair.disturbed else "")

    def row(self) -> dict[str, Any]:
        """Return the row of the table `ROWS`. Names are those of the sweep that was rerun."""
        return {
            **self.before.names,
            "reproduced": self.word,
            "status_before": self.before.status,
            "status": self.after.status,
            "difference": self.difference,
            "disturbed": "; ".join(text for text in (self.before.disturbed, self.after.disturbed) if text),
            "reason": self.after.reason,
            "job": self.after.jobs[0],
        }


def reproductions(before: Snapshot, after: Snapshot) -> list[Reproduction]:
    """Return one reproduction for each row of the rerun `after`, in its order; the jobs of a row have their old ids."""
    rows = {job: row for row in before.rows for job in row.jobs}
    pairs = []
    for row in after.rows:
        old = next((rows[job] for job in row.jobs if job in rows), None)
        if old is not None:
            pairs.append(Matched(before=old, after=row, keys={}))
    return [Reproduction(pair) for pair in judge(pairs)]


def in_words(metric: MetricChange) -> str:
    """Return a change of a metric in words: "latency 2.03x [1.98, 2.09]", "graph breaks 0 -> 1"."""
    name = named(metric.metric, metric.column)
    if metric.ratio is None or metric.column.kind == "count":
        return f"{name} {metric.before:g} -> {metric.after:g}"
    text = COLUMNS["ratio"].text
    interval = f" [{text(metric.low)}, {text(metric.high)}]" if metric.low is not None else ""
    return f"{name} {text(metric.ratio)}x{interval}"


def tables(found: Sequence[Reproduction]) -> dict[str, Table]:
    """Return the reproductions, and every figure that both sweeps have, as tables."""
    metrics = [
        {**reproduction.before.names, **metric.row()} for reproduction in found for metric in reproduction.pair.metrics
    ]
    return {
        "rerun": Table.of(ROWS, (reproduction.row() for reproduction in found)),
        "metrics": Table.of(METRICS, metrics),
    }


def names(rows: Sequence[Mapping[str, Any]], always: Sequence[str], among: Sequence[str] = IDENTITY) -> list[str]:
    """Return a name for each row: the columns `always`, and those `among` which differ from row to row."""
    differing = telling(rows, among)
    shown = [name for name in among if name in always or name in differing]
    return [" ".join(_word(name, row[name]) for name in shown if row[name] is not None) for row in rows]


def _word(column: str, value: Any) -> str:
    return f"{column.replace('_', ' ')} {value}" if COLUMNS[column].kind == "count" else str(value)
