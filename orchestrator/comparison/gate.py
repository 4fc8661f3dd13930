"""The gate: does a sweep keep what a baseline has? Row by row of the *baseline*, so that what is gone is seen.

Every expected row is one case, and so is every new row, every entry of the rules that is out of date and, where it
differs, the environment. A case has findings; the worst of them is its result. A pure function of two snapshots,
the rules and the day.
"""

from __future__ import annotations

import datetime
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.comparison import rules as written
from orchestrator.comparison.compare import WORSE, Matched, MetricChange, judge, looks_worse
from orchestrator.comparison.matching import differing, match_rows, named_keys
from orchestrator.comparison.rules import Entry, Rules
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.comparison.thresholds import STATUS, Limit
from orchestrator.planning.selection import matches
from orchestrator.records import HARMLESS, INFRASTRUCTURE, NOT_RUN, PASS, SUCCESSES
from orchestrator.results.configuration import override
from orchestrator.results.load import one_line
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.naming import unique
from orchestrator.words import some

FAIL, FLAKY, WARNING, KNOWN, NEW, NOTICE = "fail", "flaky", "warning", "known", "new", "notice"
LEVELS = (FAIL, FLAKY, WARNING, KNOWN, NEW, NOTICE)
"""Of a finding, the worst first. A case without any has the result `PASS`, and so has one with notices only."""
UNMEASURED = frozenset({NOT_RUN, INFRASTRUCTURE})
"""Nothing is known of such a row. It is never excused: an expected row was not looked at."""
NOT_MEASURED_WITH = ("host", "git.", "conf.")
"""Beginnings of keys of the environment that name what is tested, and where, not what it is measured with."""
LISTED_KEYS = 8


@dataclass(frozen=True, kw_only=True)
class GateFinding:
    """One thing to say of a case: `level` is one of `LEVELS`, `kind` what it is about, `command` what to run next.

    change: the figure, where it is one; allowed: the relative change of it that would have been none; unsure: whether
    it says of a failure that it need not be the code's.
    """

    level: str
    kind: str
    text: str
    command: str = ""
    change: MetricChange | None = None
    allowed: float | None = None
    unsure: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """What was looked at. `expected` tells whether the baseline has it; `row` is None where it is no row."""

    name: str
    row: Row | None
    expected: bool
    findings: tuple[GateFinding, ...] = ()

    @property
    def result(self) -> str:
        """fail, flaky, warning, known (an accepted failure), new or pass."""
        levels = [finding.level for finding in self.findings]
        worst = next((level for level in LEVELS if level in levels), NOTICE)
        return PASS if worst == NOTICE else worst


@dataclass(frozen=True, kw_only=True)
class GateResult:
    before: Snapshot
    after: Snapshot
    cases: tuple[Case, ...]  # expected rows in the baseline's order, new rows, then the rest
    undecided: tuple[str, ...] = ()  # figures that look worse by more than is allowed, and may be within noise

    @property
    def passed(self) -> bool:
        return not any(case.result == FAIL for case in self.cases)

    def cannot_tell(self) -> list[str]:
        """Return why this code can be called neither good nor bad: nothing where it can.

        One failure that stands makes it bad, whatever else is unsure.
        """
        failures = [(case, one) for case in self.cases for one in case.findings if one.level == FAIL]
        if any(not one.unsure for _, one in failures):
            return []
        return [*(f"{case.name}: {one.text}" for case, one in failures), *self.undecided]

    @property
    def expected(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.expected)

    def kinds(self, level: str) -> Counter[str]:
        """Return kind -> how many findings of this level there are."""
        return Counter(finding.kind for case in self.cases for finding in case.findings if finding.level == level)


def gate(before: Snapshot, after: Snapshot, rules: Rules, today: datetime.date, sweep: str | None = None) -> GateResult:
    """Judge `after` by its baseline `before`. `sweep`: how a command names `after`, where it is a sweep."""
    return _Gate(before, after, rules, today, sweep).result()


class _Gate:
    def __init__(
        self, before: Snapshot, after: Snapshot, rules: Rules, today: datetime.date, sweep: str | None
    ) -> None:
        self.before, self.after, self.rules, self.today, self.sweep = before, after, rules, today, sweep
        self.live = [entry for entry in rules.flaky if not entry.expired(today)]
        found, self.missing, self.new = match_rows(before.rows, after.rows)
        self.matched = [Matched(before=old, after=new, keys=differing(old.config, new.config)) for old, new in found]
        self.names = {id(row): written.called(row) for row in (*before.rows, *self.new)}
        self.known: dict[tuple[object, ...], Mapping[str, Limit]] = {}
        self.titles = titles((*before.rows, *self.new))
        self.undecided: list[str] = []

    def result(self) -> GateResult:
        found = {
            id(row): [GateFinding(level=FAIL, kind="missing", text="missing: no such row", unsure=True)]
            for row in self.missing
        }
        found |= {id(pair.before): [self.elsewhere(pair)] for pair in self.matched if pair.keys}
        rows = {id(pair.before): pair.after for pair in self.matched}
        for pair in self.judged():
            said = (*self.status(pair), *self.figures(pair))
            found[id(pair.before)] = [self.excuse(pair.before, finding) for finding in said]
        expected = [self.case(row, rows.get(id(row), row), found[id(row)], True) for row in self.before.rows]
        new = [self.case(row, row, self.newcomer(row), False) for row in self.new]
        return GateResult(
            before=self.before,
            after=self.after,
            cases=(*expected, *new, *self.entries(), *self.around()),
            undecided=tuple(self.undecided),
        )

    def judged(self) -> list[Matched]:
        """Return the rows of one configuration with their figures judged.

        Rows that are known to be flaky are judged apart: their spread is not that of the others.
        """
        same = [pair for pair in self.matched if not pair.keys]
        flaky = {id(pair) for pair in same if any(self.covers(entry, pair.before) for entry in self.live)}
        return [
            *judge([pair for pair in same if id(pair) not in flaky], self.limits),
            *judge([pair for pair in same if id(pair) in flaky], self.limits),
        ]

    def limits(self, row: Row) -> Mapping[str, Limit]:
        """Return the limits of a row. Rows of one model and compiler have the same: found once."""
        called = self.names[id(row)]
        key = (called["model"], called["compiler"])
        if key not in self.known:
            self.known[key] = self.rules.limits(called)
        return self.known[key]

    def case(self, row: Row, measured: Row, findings: Iterable[GateFinding], expected: bool) -> Case:
        return Case(name=self.titles[id(row)], row=measured, expected=expected, findings=tuple(findings))

    def elsewhere(self, pair: Matched) -> GateFinding:
        keys = named_keys(pair.keys)
        repeat = " ".join(shlex.quote(override(key, old)) for key, (old, _) in keys.items())
        text = f"configuration differs: {_keys(keys)}. Sweep with {repeat}, or make this the baseline with --accept"
        return GateFinding(level=FAIL, kind="configuration", text=text, unsure=True)

    def status(self, pair: Matched) -> list[GateFinding]:
        """Return what is to be said of the status: nothing where the row passes as it did."""
        old, new, word = pair.before.status, pair.after.status, pair.status_change
        because = _because(pair.after)
        if new in UNMEASURED:
            return [GateFinding(level=FAIL, kind=new, text=f"{new}{because}", unsure=True)]
        if word is None:
            known = GateFinding(level=KNOWN, kind="accepted failure", text=f"accepted failure: {new}{because}")
            return [] if new in SUCCESSES else [known]
        if word == WORSE:
            text = f"status {old} -> {new}{because}"
            return [GateFinding(level=FAIL, kind=STATUS, text=text, command=self.of_job("show", pair))]
        if old == PASS:  # now skipped: there is nothing left to compare, and the skip would let everything pass
            return [GateFinding(level=FAIL, kind=STATUS, text=f"no longer judged: {old} -> {new}{because}")]
        if new in SUCCESSES:
            return [GateFinding(level=NOTICE, kind="fixed", text=f"fixed: {old} -> {new}")]
        return [GateFinding(level=KNOWN, kind="accepted failure", text=f"accepted failure: {old}, now {new}{because}")]

    def figures(self, pair: Matched) -> list[GateFinding]:
        """Return which figures have changed, and which the baseline has and the sweep has not."""
        if pair.after.status not in SUCCESSES:
            return []
        limits = self.limits(pair.before)
        found = [self.figure(pair, change, limits[change.metric]) for change in pair.changed if change.metric in limits]
        for change in pair.metrics:
            if change.metric in limits and looks_worse(change, limits[change.metric]):
                self.undecided.append(
                    f"{self.titles[id(pair.before)]}: {_figure(change, limits[change.metric].allowed(change.p, False))}"
                )
        measured = f" (measured: {pair.after.measured})" if pair.after.measured else ""
        for metric, value in _gone(pair, limits):
            text = f"{metric} {pair.before.column(metric).text(value)} -> no figure{measured}"
            found.append(GateFinding(level=FAIL, kind=metric, text=text))
        return found

    def figure(self, pair: Matched, change: MetricChange, limit: Limit) -> GateFinding:
        worse, is_count = change.word == WORSE, change.column.kind == "count"
        allowed = None if is_count else limit.allowed(change.p, pair.disturbed)
        doubtful = worse and pair.disturbed and not (is_count or change.column.exact)
        return GateFinding(
            level=FAIL if worse else NOTICE,
            kind=change.metric if worse else change.word,
            text=_figure(change, allowed) + (_disturbance(pair) if doubtful else ""),
            command=self.of_job("rerun", pair) if doubtful and pair.after.disturbed else "",
            change=change,
            allowed=allowed,
            unsure=doubtful,
        )

    def newcomer(self, row: Row) -> list[GateFinding]:
        if row.status in HARMLESS:
            return [GateFinding(level=NEW, kind="new row", text=f"new row: {row.status}")]
        text = f"new row that failed: {row.status}{_because(row)}"
        if self.rules.new_rows == written.IGNORE:
            return [GateFinding(level=NEW, kind="new row", text=f"{text}. Not judged (new_rows: ignore)")]
        return [self.excuse(row, GateFinding(level=FAIL, kind=STATUS, text=text))]

    def excuse(self, row: Row, finding: GateFinding) -> GateFinding:
        """Return the finding; one that an entry of the rules expects as flaky."""
        if finding.level != FAIL or finding.kind in UNMEASURED:
            return finding
        names = self.names[id(row)]
        entry = next((entry for entry in self.live if entry.covers(names, finding.kind)), None)
        if entry is None:
            return finding
        text = f"flaky ({one_line(entry.reason)}, until {entry.expires}): {finding.text}"
        return replace(finding, level=FLAKY, text=text)

    def entries(self) -> list[Case]:
        """Return what is wrong with the rules themselves: entries that expired, names that nothing bears."""
        cases = []
        for entry in self.rules.flaky:
            name = f"{entry.where}: {one_line(entry.title)}"
            if entry.expired(self.today):
                text = f"expired on {entry.expires}: fix it, or extend it with a reason (was: {one_line(entry.reason)})"
                cases.append(_about(name, FAIL, "expired", text))
            elif not any(self.covers(entry, row) for row in (*self.before.rows, *self.new)):
                cases.append(_about(name, WARNING, "unmatched", "no row is called so: remove it, or correct a name"))
        for key, section in (("model", self.rules.models), ("compiler", self.rules.compilers)):
            for glob in section:
                if not any(matches({key: glob}, names) for names in self.names.values()):
                    text = "no row is called so: its limits hold for nothing"
                    cases.append(_about(f"{key}s: {glob}", WARNING, "unmatched", text))
        return cases

    def around(self) -> list[Case]:
        """Return what is to be said of the two sweeps as such."""
        cases = []
        if self.before.rows == self.after.rows and self.before.created == self.after.created:
            cases.append(_about("baseline", WARNING, "itself", "it is this very sweep: nothing was compared"))
        found = differing(self.before.environment, self.after.environment)
        differs = {key: pair for key, pair in found.items() if not key.startswith(NOT_MEASURED_WITH)}
        if differs and self.rules.environment != written.IGNORE:
            if self.rules.environment == written.FAIL:
                level, note = FAIL, "(environment: fail)"
            else:
                level, note = WARNING, "Figures are compared all the same; with 'environment: fail' this fails"
            cases.append(_about("environment", level, "environment", f"measured elsewhere: {_keys(differs)}. {note}"))
        return cases

    def covers(self, entry: Entry, row: Row) -> bool:
        return matches(entry.rule, self.names[id(row)])

    def of_job(self, verb: str, pair: Matched) -> str:
        """Return the command of a verb on the job of a row; "" where it is not of a sweep."""
        if self.sweep is None or not pair.after.jobs:
            return ""
        return f"python -m orchestrator {verb} {shlex.quote(f'{self.sweep}:{pair.after.jobs[0]}')}"


def titles(rows: Sequence[Row]) -> dict[int, str]:
    """Return id(row) -> a name that no other of the rows has, as far as the columns tell them apart."""
    made = unique([row.title for row in rows], [row.names for row in rows])
    return {id(row): one_line(title) for row, title in zip(rows, made, strict=True)}


def _about(name: str, level: str, kind: str, text: str) -> Case:
    finding = GateFinding(level=level, kind=kind, text=text, unsure=True)
    return Case(name=name, row=None, expected=False, findings=(finding,))


def _gone(pair: Matched, limits: Mapping[str, Limit]) -> list[tuple[str, float]]:
    """Return the figures that only the baseline has. What is below a metric's floor may come and go."""
    before = {metric: figure.middle for metric, figure in pair.before.figures.items()} | dict(pair.before.counts)
    after = pair.after.figures.keys() | pair.after.counts.keys()
    return [
        (metric, before[metric])
        for metric, limit in limits.items()
        if metric in before and metric not in after and (metric in pair.before.counts or before[metric] > limit.floor)
    ]


def _figure(change: MetricChange, allowed: float | None) -> str:
    """Return "speedup 1.31 -> 0.98: worse, 0.75x [0.72, 0.78], allowed 2 %"."""
    show, ratio = change.column.text, COLUMNS["ratio"].text
    text = f"{change.metric} {show(change.before)} -> {show(change.after)}: {change.word}"
    if allowed is None or change.ratio is None:
        return text
    interval = "" if change.low is None else f" [{ratio(change.low)}, {ratio(change.high)}]"
    alone = ", no interval" if change.low is None else ""
    return f"{text}, {ratio(change.ratio)}x{interval}{alone}, allowed {100 * allowed:g} %"


def _disturbance(pair: Matched) -> str:
    """Return what disturbed a row, for a person who must decide whether to believe its figures; "" if nothing did.

    Only the first reasons: a busy machine gives one for every round.
    """
    after, before = (one_line(some(row.disturbed.split("; "), 2, "; ")) for row in (pair.after, pair.before))
    return (f"; disturbed: {after}" if after else "") + (f"; the baseline was disturbed: {before}" if before else "")


def _because(row: Row) -> str:
    return f": {one_line(row.reason)}" if row.reason else ""


def _keys(differs: Mapping[str, tuple[object, object]]) -> str:
    """Return "threads 1 -> 3, dtype float32 -> float16 and 2 more"."""
    return one_line(some((f"{key} {_text(old)} -> {_text(new)}" for key, (old, new) in differs.items()), LISTED_KEYS))


def _text(value: object) -> str:
    return "null" if value is None else str(value)
