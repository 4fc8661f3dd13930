"""A sweep that is run again, or on: what differs between where it was measured and here, and is it reproduced?

Of a rerun there is one answer for every row that was run again, and one for all of them (`verdict`). There are three:
reproduced, not reproduced, and *cannot tell*, where what surrounds a row may have made the difference (a busy machine,
another one, other packages), where its rounds differ too much among themselves, or where nothing succeeded. What has no
noise (a status, a count, an exact number) is never excused by any of that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import ALPHA, NOISE, Matched, MetricChange, judge, own_limits
from orchestrator.comparison.matching import Keys, differing
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import LATENCY
from orchestrator.records import HARMLESS, INFRASTRUCTURE, NOT_RUN, OUT_OF_MEMORY, RAN_EAGER, SUCCESSES, TIMEOUT
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS, named
from orchestrator.results.naming import IDENTITY, telling
from orchestrator.results.tables import Table
from orchestrator.words import plural, some

REPRODUCED = "reproduced"
FAILS_AGAIN = "fails as before"
CHANGED = "not reproduced"
CANNOT_TELL = "cannot tell"
REPAIRED = "failed before, passes now"
FIRST = "not run before"
UNFINISHED = "not run now"

CODES = {REPRODUCED: 0, CHANGED: 1, CANNOT_TELL: 4}
"""Exit codes of a rerun: 2 is a wrong command, 3 a defect of ours."""

TIMED = (LATENCY, "speedup")
"""What a row without a word on anything else is about."""
SHORT = (TIMEOUT, OUT_OF_MEMORY)
"""Statuses of a job that had too little of the machine: others may have had the rest."""
NO_EXCUSE = ("git.", "toolchain.", "variables.HF_")
"""Keys of the environment that no figure depends on by themselves. (What the code does is what is being asked.)"""
ROWS = (*IDENTITY, "reproduced", "status_before", "status", "difference", "evidence", "disturbed", "reason", "job")
METRICS = (*IDENTITY, "metric", "before", "after", "ratio", "ratio_low", "ratio_high", "p", "change")
LISTED, FEW = 5, 3
AS_SAID = "as the row says"
WHEN = ("then", "now")
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
    then = {k: value for k, value in then.items() if k not in NOT_COMPARED and not k.startswith(snapshot.CONF)}
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
    """A row that was run again: before and after, and one of the words above.

    elsewhere: what differs in the environment and may change figures; busy: how many rows of each sweep were disturbed.
    """

    pair: Matched
    elsewhere: Keys = field(default_factory=dict)
    busy: tuple[int, int] = (0, 0)

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
        if not self.differences:
            return CANNOT_TELL if self.evidence else REPRODUCED if after in HARMLESS else FAILS_AGAIN
        return CANNOT_TELL if self._excused else CHANGED

    @property
    def _excused(self) -> bool:
        """Tell whether something other than the row's own code may have made each of its differences."""
        status = self.before.status == self.after.status or bool(self._excuses_of_status())
        return status and not self._ran_eager and all(self._excuses(metric) for metric in self.pair.changed)

    @property
    def evidence(self) -> list[str]:
        """Return why it cannot be told whether the row is reproduced; of one that is not, what else is known of it."""
        found = [] if self.before.status == self.after.status else self._excuses_of_status()
        for metric in self.pair.metrics:
            found += self._uncertain(metric) if metric.word == NOISE else self._excuses(metric)
        return list(dict.fromkeys([*found, *self._lost()]))

    def _excuses(self, metric: MetricChange) -> list[str]:
        """Return what may have changed a figure besides the code. What disturbs a machine only makes times longer."""
        column = metric.column
        if column.kind == "count" or column.exact:
            return []
        sides = [("then", self.before), ("now", self.after)]
        if column.better == "lower":
            sides = sides[:1] if metric.after < metric.before else sides[1:]
        noisy = [] if column.unit == "MiB" else [f"{when}: {row.disturbed}" for when, row in sides if row.disturbed]
        return noisy + self._other_machine()

    def _other_machine(self) -> list[str]:
        lines = Conditions(self.elsewhere, 0).lines()
        return [some(lines, FEW, "; ")] if lines else []

    def _excuses_of_status(self) -> list[str]:
        """Return what may have made another status: the job was not at fault, or others may have had the machine."""
        if self.after.status == INFRASTRUCTURE:
            return [f"now: {self.after.reason}"]
        sides = [(row.status, when, n) for row, when, n in zip((self.before, self.after), WHEN, self.busy, strict=True)]
        found = []
        for status, when, busy in sides:
            if status in SHORT and busy:
                found.append(f"{when}: {plural(busy, 'row')} of the sweep {'was' if busy == 1 else 'were'} disturbed")
        return found + (self._other_machine() if any(status in SHORT for status, _, _ in sides) else [])

    def _uncertain(self, metric: MetricChange) -> list[str]:
        """Say of a figure that is not called another whether it is only because so little is known of it."""
        limit = own_limits(self.before).get(metric.metric)
        if limit is None or not metric.ratio or abs(metric.after - metric.before) <= limit.floor:
            return []
        if abs(math.log(metric.ratio)) <= math.log1p(limit.alone):
            return []
        if metric.metric == LATENCY and self.pair.disturbed and (metric.p is None or metric.p <= ALPHA):
            return [*self._excuses(metric), f"the fastest steps do not show it: {in_words(metric)}"]
        return [f"the rounds differ too much among themselves: {in_words(metric)}"]

    @property
    def _ran_eager(self) -> bool:
        """Tell whether compiled code ran on one side only."""
        before, after = (row.measured.startswith(RAN_EAGER) for row in (self.before, self.after))
        return before != after

    def _lost(self) -> list[str]:
        """Name the figures that the row had, and now has not though it passed."""
        if self.after.status not in SUCCESSES:
            return []
        lost = [name for name in TIMED if name in self.before.figures and name not in self.after.figures]
        return [f"now without {' and '.join(map(named, lost))}"] if lost else []

    @property
    def differences(self) -> list[str]:
        """Return what changed, in words: "crash -> pass", "latency 2.03x (80 -> 162 ms)"; latency first."""
        parts = [] if self.before.status == self.after.status else [f"{self.before.status} -> {self.after.status}"]
        if self._ran_eager:
            parts.append(f"measured {self.before.measured or AS_SAID} -> {self.after.measured or AS_SAID}")
        ordered = sorted(self.pair.changed, key=lambda metric: metric.metric != LATENCY)
        return parts + [in_words(metric) for metric in ordered]

    @property
    def difference(self) -> str:
        """Return all differences on one line; "" where nothing changed."""
        parts = self.differences
        return ", ".join(parts) + (" (disturbed)" if parts and self.pair.disturbed else "")

    @property
    def headline(self) -> str:
        """Return the first difference, and how many others there are; of what cannot be told also why."""
        first, *others = self.differences or self.evidence
        more = f" and {len(others)} more" if others else ""
        why = f" ({some(self.evidence, 1, '; ')})" if self.word == CANNOT_TELL and self.differences else ""
        return first + more + (why or " (disturbed)" * self.pair.disturbed)

    def row(self) -> dict[str, Any]:
        """Return the row of the table `ROWS`. Names are those of the sweep that was rerun."""
        return {
            **self.before.names,
            "reproduced": self.word,
            "status_before": self.before.status,
            "status": self.after.status,
            "difference": self.difference,
            "evidence": "; ".join(self.evidence),
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
    found = differing(before.environment, after.environment) if before.environment and after.environment else {}
    elsewhere = {key: pair for key, pair in found.items() if not key.startswith(NO_EXCUSE)}
    busy = (sum(bool(row.disturbed) for row in before.rows), sum(bool(row.disturbed) for row in after.rows))
    return [Reproduction(pair, elsewhere, busy) for pair in judge(pairs)]


def verdict(found: Sequence[Reproduction], *, failed_only: bool = False) -> str:
    """Return the one answer: reproduced, not reproduced or cannot tell.

    One row that is not reproduced decides; then one that cannot be told. Where nothing succeeds there is nothing to
    reproduce. failed_only: what failed was run again: then whatever passes now is a success, whatever fails is none.
    """
    words = Counter(one.word for one in found)
    if words[CHANGED] or words[UNFINISHED] or (failed_only and words[FAILS_AGAIN]):
        return CHANGED
    succeeded = any(
        one.after.status in SUCCESSES and (failed_only or one.word in (REPRODUCED, REPAIRED)) for one in found
    )
    return REPRODUCED if succeeded and not words[CANNOT_TELL] else CANNOT_TELL


def in_words(metric: MetricChange) -> str:
    """Return a change of a metric in words: "latency 2.03x [1.98, 2.09] (80.0 -> 162 ms)", "graph breaks 0 -> 1"."""
    name, column = named(metric.metric, metric.column), metric.column
    if metric.ratio is None or column.kind == "count":
        return f"{name} {metric.before:g} -> {metric.after:g}"
    text = COLUMNS["ratio"].text
    interval = f" [{text(metric.low)}, {text(metric.high)}]" if metric.low is not None else ""
    unit = {"1": "", "x": "x"}.get(column.unit, f" {column.unit}")
    return f"{name} {text(metric.ratio)}x{interval} ({column.text(metric.before)} -> {column.text(metric.after)}{unit})"


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
