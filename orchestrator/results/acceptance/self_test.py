"""The self-test: what was found of figures that are known beforehand, and whether this machine can be trusted.

Pure: outcomes and performance rows in, checks out. What is known stands in the jobs themselves, as the options of
`orchestrator.suites.known.KnownModel` and `orchestrator.compilers.planted.Slowdown`. Only what was planned is checked.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.records import EAGER, HARMLESS, PASS, PluginSpec
from orchestrator.results.load import JobOutcome, fact, figure, items
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import measure_kind, telling
from orchestrator.statistics import NOISE, SLOWER
from orchestrator.words import plural

SUITE = "self_test"
PLANTED = "planted failure of the self-test"
"""What the model `fail` raises. The model itself cannot be asked here: its module knows torch."""

PEAK_PERCENT = 1.0
SLEEP_PERCENT = 1.0
RELATIVE_IQR = 0.10
FOREIGN_CORES = 0.1
DISTURBED_SHARE = 0.25
"""At most: error of a peak, of a known wait; medians over the jobs (the limits of `orchestrator.probes.noise`); part of
the jobs that were disturbed."""

QUIET = "end what else runs on this machine, or take one of your own, and run the self-test again"
AGAIN = f"one run in twenty fails this by chance; if it fails again, {QUIET}"
MARKS = "peak memory needs a Linux kernel whose /proc/self/clear_refs can be written; do not use peaks from here"
BROKEN = "read the failures above and their logs"
PARTS = ("A/A", "slow-down", "peak", "timer", "planted failure")
"""What a whole self-test has: beginnings of the checks' names."""

COLUMNS = ("check", "result", "expected", "found", "advice")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One known figure. `advice` is what to do if it was not found; `word` stands for "pass" where that is too much."""

    name: str
    expected: str
    found: str
    passed: bool
    advice: str
    word: str = ""

    def row(self) -> dict[str, str]:
        return {
            "check": self.name,
            "result": self.word or PASS if self.passed else "fail",
            "expected": self.expected,
            "found": self.found,
            "advice": "" if self.passed else self.advice,
        }


@dataclass(frozen=True)
class TimedFamily:
    """The rounds of one performance job and their row in the performance table; `name` tells it from others."""

    name: str
    rounds: Sequence[JobOutcome]
    row: Row

    @property
    def model(self) -> PluginSpec:
        return self.rounds[0].job.workload.builder

    @property
    def compiler(self) -> PluginSpec:
        return self.rounds[0].job.compiler

    @property
    def trouble(self) -> str:
        """Why there is no figure, in a few words."""
        return f"{self.row['status']}: {self.row['reason']}" if self.row["status"] != PASS else "no such figure"


def checks(outcomes: Iterable[JobOutcome], performance: Iterable[Row]) -> list[Check]:
    """Return the checks of a sweep's self-test, the conclusion last; none when the suite is not in the sweep.

    `performance`: the rows of the performance table.
    """
    own = [outcome for outcome in outcomes if outcome.job.workload.suite == SUITE]
    if not own:
        return []
    own_families = families(own, performance)
    judges: Sequence[Callable[[TimedFamily], Check | None]] = (same, slower, _peak, _sleep)
    found = [check for judge in judges for family in own_families if (check := judge(family)) is not None]
    found += [*_failure(own), *other_jobs([outcome for outcome in own if not _fails(outcome)]), *_noise(own)]
    return [*found, conclusion(found)]


def conclusion(found: Sequence[Check]) -> Check:
    """Return the last check: can this machine be trusted, and if not, which checks say so, and what to do."""
    failed = [check for check in found if not check.passed]
    missing = [part for part in PARTS if not any(check.name.startswith(part) for check in found)]
    if failed:
        todo: dict[str, list[str]] = defaultdict(list)
        for check in failed:
            todo[check.advice].append(check.name)
        reasons = "; ".join(f"{', '.join(names)} ({advice})" for advice, names in todo.items())
        text = f"This machine cannot be trusted today: {reasons}."
    elif missing:
        text = f"All that was checked is well; not checked: {', '.join(missing)} (experiment=self_test checks all)."
    else:
        text = "This machine can be trusted today."
    return Check("this machine", "every check passed", text, not failed, "")


def families(own: Sequence[JobOutcome], performance: Iterable[Row]) -> list[TimedFamily]:
    """Group performance jobs by what their rounds share, in plan order."""
    rounds: dict[str, list[JobOutcome]] = defaultdict(list)
    for outcome in own:
        if measure_kind(outcome.job.measure) == "performance":
            rounds[outcome.job.family].append(outcome)
    rows = {row["job"]: row for row in performance}
    found = [next(rows[one.job.id] for one in group if one.job.id in rows) for group in rounds.values()]
    shown = telling(found, ("mode", "dtype", "device"))
    return [
        TimedFamily(row["model"] + f" ({' '.join(str(row[name]) for name in shown)})" * bool(shown), group, row)
        for group, row in zip(rounds.values(), found, strict=True)
    ]


def _is(spec: PluginSpec, name: str) -> bool:
    return spec.target.rpartition(".")[2] == name


def same(family: TimedFamily) -> Check | None:
    """A/A: eager under another name is neither faster nor slower than eager."""
    if not _is(family.compiler, "Eager") or family.compiler.name == EAGER or family.model.options.get("kind") == "fail":
        return None
    low, high = family.row.get("speedup_low"), family.row.get("speedup_high")
    passed = low is not None and high is not None and low <= 1 <= high and family.row["verdict"] == NOISE
    return Check(f"A/A {family.name}", "1 in the interval", _speedup(family), passed, AGAIN)


def slower(family: TimedFamily) -> Check | None:
    """A planted slow-down is found."""
    if not family.compiler.target.endswith("Slowdown") or family.model.options.get("kind") == "fail":
        return None
    fraction = figure(family.compiler.options, "fraction") or 0.0
    expected = f"slower, about {1 / (1 + fraction):.3f}x"
    passed = family.row.get("verdict") == SLOWER
    return Check(f"slow-down {100 * fraction:g} % {family.name}", expected, _speedup(family), passed, QUIET)


def _speedup(family: TimedFamily) -> str:
    row = family.row
    if row.get("speedup") is None:
        return family.trouble
    if row.get("speedup_low") is None:
        return f"{row['speedup']:.3f}x without an interval"
    word = f" {row['verdict']}" if row["verdict"] != NOISE else ""
    return f"{row['speedup']:.3f}x [{row['speedup_low']:.3f}, {row['speedup_high']:.3f}]{word}"


def _peak(family: TimedFamily) -> Check | None:
    """The steady state's peak over its start is what the step allocates; the worst round counts."""
    if family.model.options.get("kind") != "allocate" or not _is(family.compiler, "Eager"):
        return None
    known = figure(family.model.options, "bytes") or 0.0
    expected = f"{known * MIB:.1f} MiB ± {PEAK_PERCENT:g} %"
    name = f"peak {family.name}"
    seen = [risen(outcome) for outcome in family.rounds if outcome.status == PASS]
    peaks = [peak for peak in seen if peak is not None]
    if not known or not peaks or len(peaks) < len(seen):
        return Check(name, expected, family.trouble, False, BROKEN)
    peak = max(peaks, key=lambda peak: abs(peak - known))
    percent = 100 * (peak - known) / known
    exact = {fact(outcome.facts, "memory", "source") for outcome in family.rounds if outcome.status == PASS} == {
        "VmHWM"
    }
    advice = QUIET if exact else MARKS
    return Check(name, expected, f"{peak * MIB:.1f} MiB ({percent:+.2f} %)", abs(percent) <= PEAK_PERCENT, advice)


def risen(outcome: JobOutcome) -> float | None:
    """Return by how many bytes memory rose during the steady state: the allocator's on CUDA, else the process's."""
    memory = fact(outcome.facts, "memory")
    steady = fact(memory, "cuda", "steady") or fact(memory, "phases", "steady")
    peak = figure(steady, "allocated") or figure(steady, "peak")
    start = figure(steady, "start")
    return None if peak is None or start is None else peak - start


def _sleep(family: TimedFamily) -> Check | None:
    """A known wait is never found shorter than it is; what is over is the overhead of our clock and of the call."""
    if family.model.options.get("kind") != "sleep" or not _is(family.compiler, "Eager"):
        return None
    known_ms = (figure(family.model.options, "seconds") or 0.0) * MS
    most_ms = known_ms * (1 + SLEEP_PERCENT / 100)
    name, expected = f"timer {family.name}", f"{known_ms:.2f} to {most_ms:.2f} ms"
    latency_ms = family.row.get("latency_ms")
    if latency_ms is None:
        return Check(name, expected, family.trouble, False, BROKEN)
    passed = known_ms <= latency_ms <= most_ms
    return Check(name, expected, f"{latency_ms:.2f} ms, {1000 * (latency_ms - known_ms):.0f} µs over", passed, QUIET)


def _failure(own: Sequence[JobOutcome]) -> list[Check]:
    """What must fail has failed, and says why."""
    planted = [outcome for outcome in own if _fails(outcome)]
    if not planted:
        return []
    rows = plural(len(planted), "row")
    wrong = [o for o in planted if o.status in HARMLESS or o.result is None or PLANTED not in o.reason]
    first = wrong[0] if wrong else planted[0]
    found = f"{len(wrong)} otherwise: {first.status} {first.reason}".rstrip() if wrong else f"{rows}: {first.status}"
    return [Check("planted failure", f"{rows}, its message", found, not wrong, BROKEN)]


def other_jobs(others: Sequence[JobOutcome]) -> list[Check]:
    """Nothing is hurt but what has to fail: `others` are all that has not."""
    bad = [outcome for outcome in others if outcome.status not in HARMLESS]
    found = f"{len(others) - len(bad)} of {len(others)}"
    if bad:
        found += f": {bad[0].job.title} {ended(bad[0])}"
    return [Check("other jobs", "all pass", found, not bad, BROKEN)] if others else []


def ended(outcome: JobOutcome) -> str:
    return f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status


def _fails(outcome: JobOutcome) -> bool:
    return outcome.job.workload.builder.options.get("kind") == "fail"


def _noise(own: Sequence[JobOutcome]) -> list[Check]:
    """How quiet the machine was while our jobs were timed."""
    timed = [o for o in own if measure_kind(o.job.measure) == "performance" and not _fails(o) and o.status == PASS]
    if not timed:
        return []
    spreads = [value for o in timed if (value := figure(o.facts, "noise", "relative_iqr")) is not None]
    foreign = [value for o in timed if (value := figure(o.facts, "noise", "foreign_cores")) is not None]
    disturbed = sum(bool(items(o.facts, "disturbed")) for o in timed)
    spread, cores = (statistics.median(values) if values else None for values in (spreads, foreign))
    return [
        Check(
            "noise: spread",
            f"IQR up to {100 * RELATIVE_IQR:g} %",
            "not measured" if spread is None else f"{100 * spread:.1f} %",
            spread is not None and spread <= RELATIVE_IQR,
            QUIET,
        ),
        Check(
            "noise: neighbours",
            f"up to {FOREIGN_CORES:g} cores",
            "not measured" if cores is None else f"{cores:.2f} cores",
            cores is not None and cores <= FOREIGN_CORES,
            QUIET,
        ),
        Check(
            "noise: disturbed",
            f"up to {100 * DISTURBED_SHARE:g} %",
            f"{disturbed} of {len(timed)}",
            disturbed <= DISTURBED_SHARE * len(timed),
            QUIET,
        ),
    ]
