"""Rounds: which jobs are repeated in fresh processes, and whose turn it is in each of them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib

from orchestrator.plugins import resolve
from orchestrator.records import EAGER, REFERENCE_MEASURE, JobSpec, PluginSpec


def is_judged(measure: PluginSpec) -> bool:
    """True for a measure with a tolerance: judged once, by a reference. Others have rounds and a baseline."""
    return _has_tolerance(measure.target)


def is_timed(job: JobSpec) -> bool:
    """True for a job that is neither judged nor a reference: it has rounds, unless its verdict is known beforehand.

    A planned job that is judged has its tolerance: that tells without importing the class that the job names, which
    who only reads a sweep must not do.
    """
    return job.measure.name != REFERENCE_MEASURE and "tolerance" not in job.measure.options


def turn(workload: str, compiler: str, name: str, round: int) -> tuple[int, bytes]:
    """Return eager's turn, the first, or a compiler's: random, by the workload's seed, anew in every round.

    `workload` and `compiler` are the `fingerprint`s of those records, `name` is the compiler's.
    """
    text = f"{workload} {round} {compiler}"
    return int(name != EAGER), hashlib.sha256(text.encode()).digest()[:8]


@functools.cache
def _has_tolerance(target: str) -> bool:
    return "tolerance" in {field.name for field in dataclasses.fields(resolve(target))}
