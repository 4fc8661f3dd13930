"""What is different in the rows of two sweeps, line by line, the worst first; their geometric means; and which phases
of compiling a difference is made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison.changes import over_rows
from orchestrator.comparison.compare import BETTER, CHANGED, NOISE, WORSE, Comparison, Matched, MetricChange
from orchestrator.comparison.matching import Keys
from orchestrator.comparison.snapshot import Row
from orchestrator.comparison.thresholds import STATUS
from orchestrator.records import COMPILE_PHASES, FAIL_ACCURACY, HARMLESS, NOT_NEEDED, NOT_RUN, UNSUPPORTED
from orchestrator.results.compile_phases import CACHES
from orchestrator.results.naming import IDENTITY, telling, unique
from orchestrator.statistics import geometric_mean

Names = Mapping[str, Any]
"""The columns that say what was run."""

NOTHING_RAN = frozenset({NOT_RUN, NOT_NEEDED, UNSUPPORTED})
MISSING, NEW = "missing", "new"
ORDER = (WORSE, MISSING, CHANGED, BETTER, NEW, NOISE)
"""Of lines: what a person must look at first."""
FAILING, NEITHER = "failing in both", "run in neither"
"""Of rows without a change that are not within noise: there is nothing that could be."""
ALWAYS, OFTEN = ("model", "compiler"), ("mode", "dtype", "device")
"""Columns that name a row: always, and where rows differ in them; others only where nothing else tells rows apart."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is another in a row: a figure, the status ("status"), or that the row is missing or new.

    label: the row's name among those of the comparison; change: the figure, None for a status; disturbed: evidence.
    """

    names: Names
    label: str
    metric: str
    before: Any
    after: Any
    word: str
    change: MetricChange | None = None
    keys: Keys | None = None
    disturbed: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """Geometric mean of the speed-ups of a compiler over the rows that both sweeps have.

    low, high: 95 % interval of the ratio (`changes.over_rows`); None where one of the rows has none.
    """

    compiler: str
    rows: int
    before: float
    after: float
    low: float | None
    high: float | None

    @property
    def ratio(self) -> float:
        return self.after / self.before


@dataclass(frozen=True, kw_only=True)
class PhaseChange:
    """Seconds of one phase in the first calls of `rows` rows, before and after.

    total: what all phases together changed by, in seconds, of which this phase's change is a share. Shares add up to
    100 %; where some phases took longer and others less, a share is negative or over 100 %.
    """

    cache: str
    phase: str
    before: float
    after: float
    total: float
    rows: int

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def share_percent(self) -> float | None:
        return 100 * self.change / self.total if self.total else None


class Labels:
    """Names of rows that tell them apart, as short as that allows. Where a name has changed: `float16 -> float32`."""

    def __init__(self, both: Sequence[tuple[Names, Names]]) -> None:
        rows = [_arrows(old, new) for old, new in both]
        differing = telling(rows, ("suite", *OFTEN))
        self.columns = [*ALWAYS[:1], *(column for column in OFTEN if column in differing), *ALWAYS[1:], "measure"]
        self.common = [rows[0][column] for column in ("suite", *OFTEN) if rows and column not in differing]
        others = [column for column in IDENTITY if column not in self.columns]
        made = unique([self._short(row) for row in rows], rows, others)
        self._labels = {tuple(row.values()): label for row, label in zip(rows, made, strict=True)}

    @classmethod
    def of_comparison(cls, comparison: Comparison) -> Labels:
        both = [(pair.before.names, pair.after.names) for pair in comparison.matched]
        return cls(both + [(row.names, row.names) for row in (*comparison.missing, *comparison.new)])

    def of(self, old: Names, new: Names) -> str:
        """Return the label of a row by its names before and after."""
        return self._labels[tuple(_arrows(old, new).values())]

    def _short(self, row: Mapping[str, str]) -> str:
        words = [row[column] for column in self.columns]
        return " ".join(words[:-1] if words[-1] == "performance" else words)


def _arrows(old: Names, new: Names) -> dict[str, str]:
    return {column: _arrow(old, new, column) for column in IDENTITY}


def _arrow(old: Names, new: Names, column: str) -> str:
    before, after = str(old.get(column)), str(new.get(column))
    return before if before == after else f"{before} -> {after}"


def differences(comparison: Comparison, labels: Labels, everything: bool = False) -> list[Difference]:
    """Return what differs, the worst rows first; with `everything` also what is within noise."""
    blocks = [_of_pair(pair, labels, everything) for pair in comparison.matched]
    blocks += [[_of_one(row, labels, MISSING)] for row in comparison.missing]
    blocks += [[_of_one(row, labels, NEW)] for row in comparison.new]
    return [line for block in sorted(filter(None, blocks), key=_severity) for line in block]


def _of_pair(pair: Matched, labels: Labels, everything: bool) -> list[Difference]:
    shown = [metric for metric in pair.metrics if everything or metric.word != NOISE]
    status = pair.status_change or (NOISE if everything else None)
    if not shown and status is None:
        return []
    old, new = pair.before, pair.after
    base: dict[str, Any] = {
        "names": new.names,
        "label": labels.of(old.names, new.names),
        "keys": pair.keys,
        "disturbed": "; ".join(filter(None, (old.disturbed, new.disturbed))),
    }
    found = []
    if status is not None:
        reason = new.reason or old.reason
        found.append(Difference(**base, metric=STATUS, before=old.status, after=new.status, word=status, reason=reason))
    for metric in shown:
        word = metric.word
        found.append(
            Difference(**base, metric=metric.metric, before=metric.before, after=metric.after, word=word, change=metric)
        )
    return found


def _of_one(row: Row, labels: Labels, word: str) -> Difference:
    gone = word == MISSING
    return Difference(
        names=row.names,
        label=labels.of(row.names, row.names),
        metric=STATUS,
        before=row.status if gone else None,
        after=None if gone else row.status,
        word=word,
        disturbed=row.disturbed,
        reason="" if gone else row.reason,
    )


def _severity(block: Sequence[Difference]) -> tuple[Any, ...]:
    """Order rows: by their worst line, status before figures, large changes before small ones."""
    worst = min(ORDER.index(line.word) for line in block)
    those = [line for line in block if ORDER.index(line.word) == worst]
    ratios = [line.change.ratio for line in those if line.change is not None and line.change.ratio]
    size = max((abs(math.log(ratio)) for ratio in ratios), default=0.0)
    return (worst, not any(line.metric == STATUS for line in those), -size)


def tally(comparison: Comparison) -> dict[str, int]:
    """Return word -> how many rows: each row once, by the worst that happened to it."""
    counts = dict.fromkeys((*ORDER[:-1], FAILING, NEITHER, NOISE), 0)
    for pair in comparison.matched:
        words = {metric.word for metric in pair.metrics} | {pair.status_change or _unchanged(pair.after.status)}
        counts[next(word for word in counts if word in words)] += 1
    return counts | {MISSING: len(comparison.missing), NEW: len(comparison.new)}


def _unchanged(status: str) -> str:
    """Return what a row is that has the same status on both sides, and no figure that changed."""
    if status in NOTHING_RAN:
        return NEITHER
    return NOISE if status in HARMLESS else FAILING


def regressed(comparison: Comparison) -> bool:
    """Tell whether a row is worse, or missing."""
    counts = tally(comparison)
    return bool(counts[WORSE] or counts[MISSING])


def means(comparison: Comparison) -> list[Mean]:
    """Return the geometric means of the speed-ups by compiler. Wrong results are left out."""
    wrong = wrong_results((pair.before, pair.after) for pair in comparison.matched)
    groups: dict[str, list[MetricChange]] = defaultdict(list)
    for pair in comparison.matched:
        found = next((metric for metric in pair.metrics if metric.metric == "speedup"), None)
        if found is not None and computed(pair.before) not in wrong:
            groups[_arrow(pair.before.names, pair.after.names, "compiler")].append(found)
    return [_mean(compiler, found) for compiler, found in groups.items()]


def wrong_results(rows: Iterable[Sequence[Row]]) -> set[tuple[str, ...]]:
    """Return what is computed wrongly (`computed` of the first of each rows) in some of the rows."""
    return {computed(same[0]) for same in rows if any(row.status == FAIL_ACCURACY for row in same)}


def computed(row: Row) -> tuple[str, ...]:
    """Return what the accuracy and the performance of a row have in common."""
    columns = ("suite", "model", "mode", "dtype", "device", "sequence_length", "seed", "compiler")
    return tuple(str(row.names.get(column)) for column in columns)


def _mean(compiler: str, found: Sequence[MetricChange]) -> Mean:
    before, after = (geometric_mean(values) for values in ([m.before for m in found], [m.after for m in found]))
    assert before is not None
    assert after is not None
    mean = over_rows([metric.change for metric in found if metric.change is not None])
    return Mean(compiler=compiler, rows=len(found), before=before, after=after, low=mean.low, high=mean.high)


def phase_changes(matched: Sequence[Matched]) -> list[PhaseChange]:
    """Return the change of each phase over the rows that both sweeps have, of cold first calls and of warm ones, in the
    order of the work."""
    found = []
    for cache in CACHES:
        both = [
            (pair.before.phases[cache], pair.after.phases[cache])
            for pair in matched
            if cache in pair.before.phases and cache in pair.after.phases
        ]
        sums = {
            phase: (sum(old.get(phase, 0.0) for old, _ in both), sum(new.get(phase, 0.0) for _, new in both))
            for phase in COMPILE_PHASES
        }
        total = sum(after - before for before, after in sums.values())
        found += [
            PhaseChange(cache=cache, phase=phase, before=before, after=after, total=total, rows=len(both))
            for phase, (before, after) in sums.items()
            if before or after
        ]
    return found
