"""Rounds: which jobs are repeated in fresh processes, and whose turn it is in each of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.plugin_classes import option_names, resolve
from orchestrator.records import (
    EAGER,
    JUDGED,
    KINDS,
    TIMED,
    Build,
    JobSpec,
    PluginSpec,
    Workload,
    fingerprint,
    once_a_record,
)

OF_THE_SUITE = frozenset({"tolerance", "cosine", "larger_multiplier"})
"""Options of a measure that a suite's models have."""
JUDGED_TURN = 2
"""Of a job that judges what round 0 has timed: behind eager and all compilers of that round (`Turns.of`)."""


def kind_of(measure: PluginSpec) -> str:
    """Return the kind of a measure (`orchestrator.records.KINDS`), which its class declares; timed without that.

    Raises UsageError for a class that declares something else.
    """
    kind: str = getattr(resolve(measure.target), "kind", TIMED)
    if kind not in KINDS:
        raise UsageError(f"{measure.target} is of kind '{kind}': {did_you_mean(kind, KINDS)}")
    return kind


def has_tolerance(measure: PluginSpec) -> bool:
    """True for a measure that says right or wrong by the suite's tolerance and exceptions, which are filled in.

    A judged one can be a gate too. An observed one has all options of the suite's: a `tolerance` alone may be its own.
    """
    options = option_names(measure.target)
    return "tolerance" in options and (kind_of(measure) == JUDGED or options >= OF_THE_SUITE)


def makes_series(measure: PluginSpec) -> bool:
    """True for a timed measure that makes the calls by which its code is judged (`measures/timed_series.py`)."""
    return bool(getattr(resolve(measure.target), "makes_series", False))


def is_timed(job: JobSpec) -> bool:
    """True for a job that has rounds, unless its verdict is known beforehand.

    The job says its kind, so that who only reads a sweep need not import the class that it names.
    """
    return job.kind == TIMED


class Turns:
    """Whose turn it is in each round of a plan; `builds`: those of its jobs, in plan order."""

    def __init__(self, builds: Iterable[Build | None]) -> None:
        self.print = once_a_record(fingerprint)
        self._builds = list(dict.fromkeys(builds))
        self._without_build: dict[str, str] = {}

    def of(self, workload: Workload, compiler: PluginSpec, round: int) -> tuple[int, int, int, bytes]:
        """Return what orders the jobs of a workload: round, build, eager before compilers, and among these chance.

        A round has all builds, one after the other: what the machine does meanwhile happens to all of them, and who
        goes first changes. Chance is by the workload's seed, anew in every round.
        """
        build = (self._builds.index(workload.build) + round) % len(self._builds)
        text = f"{self.print(workload)} {round} {self.print(compiler)}"
        return round, build, int(compiler.name != EAGER), hashlib.sha256(text.encode()).digest()[:8]

    def without_build(self, workload: Workload) -> str:
        """Return the fingerprint of what a workload is whatever its build."""
        own = self.print(workload)
        if workload.build is None:
            return own
        if own not in self._without_build:
            self._without_build[own] = fingerprint(dataclasses.replace(workload, build=None))
        return self._without_build[own]
