"""Rounds: which jobs are repeated in fresh processes, and whose turn it is in each of them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.plugins import resolve
from orchestrator.records import EAGER, JUDGED, KINDS, TIMED, JobSpec, PluginSpec, Workload

OF_THE_SUITE = frozenset({"tolerance", "cosine", "larger_multiplier"})
"""Options of a measure that a suite's models have."""


JUDGED_TURN = 2
"""Of a job that judges what round 0 has timed: behind eager and all compilers of that round (`turn`)."""


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
    options = _options(measure.target)
    return "tolerance" in options and (kind_of(measure) == JUDGED or options >= OF_THE_SUITE)


def makes_series(measure: PluginSpec) -> bool:
    """True for a timed measure that makes the calls by which its code is judged (`measures/timed_series.py`)."""
    return bool(getattr(resolve(measure.target), "makes_series", False))


def is_timed(job: JobSpec) -> bool:
    """True for a job that has rounds, unless its verdict is known beforehand.

    The job says its kind, so that who only reads a sweep need not import the class that it names.
    """
    return job.kind == TIMED


def turn(workload: str, compiler: str, name: str, round: int) -> tuple[int, bytes]:
    """Return eager's turn, the first, or a compiler's: random, by the workload's seed, anew in every round.

    `workload` and `compiler` are the `fingerprint`s of those records, `name` is the compiler's.
    """
    text = f"{workload} {round} {compiler}"
    return int(name != EAGER), hashlib.sha256(text.encode()).digest()[:8]


def without_build(workload: Workload) -> Workload:
    """Return what a workload has in common with those that are the same but for the build they run in."""
    return dataclasses.replace(workload, build=None)


def build_turn(place: int, count: int, round: int) -> int:
    """Return whose turn it is in a round, of builds of which this is the one at `place`: who goes first changes.

    A round has all builds, one after the other: what the machine does meanwhile happens to all of them.
    """
    return (place + round) % count


@functools.cache
def _options(target: str) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(resolve(target)))
