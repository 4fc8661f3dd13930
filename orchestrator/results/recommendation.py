"""Which compiler to take: the fastest that is right, the smallest, and those that no other beats in everything.

Eager stands for election, too: it takes no time to compile, so that what is neither faster nor smaller is beaten by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.records import EAGER
from orchestrator.samples import Estimate
from orchestrator.statistics import FASTER, NOISE, THRESHOLD

SAME_MEMORY = 0.02
"""Relative: memory that differs by less is not called smaller (as `diff`, docs/diff.md)."""


@dataclass(frozen=True)
class Candidate:
    """A compiler, on one workload or on several: its figures relative to eager. What is not known is None.

    memory: compiled / eager, below 1 is smaller. compile_s: seconds, from an empty cache. right: all that was judged is
    right; None: nothing was judged.
    """

    compiler: str
    speedup: Estimate | None
    verdict: str | None
    memory: float | None
    compile_s: float | None
    right: bool | None


@dataclass(frozen=True)
class Recommendation:
    """What follows from the figures of several compilers.

    fastest: None where none is shown to be faster than eager; like_fastest: those that cannot be told apart from it.
    smallest: a compiler, or "eager" where none is smaller. front: the Pareto front of latency, memory and compile time,
    in the order of the candidates, without eager; beaten: (compiler, by whom) for each that is not on it.
    undecided: those that are not shown to be faster or slower. left_out: those that are wrong, failed, or were not
    judged where others were; judged: whether any was.
    """

    fastest: str | None
    like_fastest: tuple[str, ...]
    smallest: str | None
    front: tuple[str, ...]
    beaten: tuple[tuple[str, str], ...]
    undecided: tuple[str, ...]
    left_out: tuple[str, ...]
    judged: bool

    def words(self, compiler: str) -> list[str]:
        """Return what a compiler is chosen as."""
        found = {
            "fastest": compiler == self.fastest,
            "like the fastest": compiler in self.like_fastest,
            "smallest": compiler == self.smallest,
            "front": compiler in self.front,
            "left out": compiler in self.left_out,
        }
        return [word for word, chosen in found.items() if chosen]


def recommend(candidates: Sequence[Candidate]) -> Recommendation:
    """Choose among compilers. What has no speed-up, or is not right where anything was judged, is left out."""
    judged = any(one.right is not None for one in candidates)
    fit = [one for one in candidates if one.speedup is not None and (one.right or not judged)]
    eager = Candidate(EAGER, Estimate(1.0, 1.0, 1.0, "", 0), NOISE, 1.0, 0.0, True)
    faster = [one for one in fit if one.verdict == FASTER]
    fastest = max(faster, key=lambda one: one.speedup.value if one.speedup else 0.0, default=None)
    smallest = min((one for one in fit if one.memory is not None), key=lambda one: one.memory or 0.0, default=None)
    if smallest is not None and smallest.memory is not None and smallest.memory > 1 / (1 + SAME_MEMORY):
        smallest = eager
    beaten = {one.compiler: by for one in fit if (by := _beaten_by(one, [eager, *fit])) is not None}
    return Recommendation(
        fastest=None if fastest is None else fastest.compiler,
        like_fastest=tuple(
            one.compiler for one in fit if fastest is not None and one is not fastest and not is_faster(fastest, one)
        ),
        smallest=None if smallest is None else smallest.compiler,
        front=tuple(one.compiler for one in fit if one.compiler not in beaten),
        beaten=tuple(beaten.items()),
        undecided=tuple(one.compiler for one in fit if one.verdict == NOISE),
        left_out=tuple(one.compiler for one in candidates if one not in fit),
        judged=judged,
    )


def is_faster(one: Candidate, other: Candidate) -> bool:
    """Return whether one is shown to be faster than another: their intervals tell them apart, by over 1 %.

    Both speed-ups are over eager and of processes of their own, so that the half-width of their ratio is that of both
    in quadrature. Where one has no interval the figures as such decide.
    """
    if one.speedup is None or other.speedup is None:
        return False
    apart = math.log(one.speedup.value / other.speedup.value)
    if one.speedup.half is None or other.speedup.half is None:
        return apart > 0
    return apart > max(math.hypot(one.speedup.half, other.speedup.half), math.log1p(THRESHOLD))


def _beaten_by(one: Candidate, others: Sequence[Candidate]) -> str | None:
    return next((other.compiler for other in others if other is not one and _beats(other, one, others)), None)


def _beats(one: Candidate, other: Candidate, everyone: Sequence[Candidate]) -> bool:
    """Return whether `other` is better than `one` in nothing that is shown, and worse in something.

    What is not known of either might be better. A figure that is known of eager alone is not among those that count.
    """
    pairs = [
        (getattr(one, name), getattr(other, name))
        for name in ("memory", "compile_s")
        if any(getattr(each, name) is not None for each in everyone if each.compiler != EAGER)
    ]
    if any(mine is None or theirs is None for mine, theirs in pairs) or is_faster(other, one):
        return False
    if any(mine > theirs for mine, theirs in pairs):
        return False
    return is_faster(one, other) or any(mine < theirs for mine, theirs in pairs)
