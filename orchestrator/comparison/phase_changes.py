"""Which phases of compiling a difference between two sweeps is made of: sums over the rows that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.records import COMPILE_PHASES
from orchestrator.results.compile_phases import CACHES

if TYPE_CHECKING:
    from orchestrator.comparison.compare import Matched


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


def phase_changes(matched: Sequence[Matched]) -> list[PhaseChange]:
    """Return the change of each phase, of cold first calls and of warm ones, in the order of the work."""
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
