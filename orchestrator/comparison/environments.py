"""Then and now: what differs between where a sweep was measured and where this process would measure it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.comparison.pairing import differing
from orchestrator.results.load import SweepResults
from orchestrator.results.tables import Table
from orchestrator.words import some

LISTED = 5
COLUMNS = ("key", "before", "after")
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

    def table(self) -> Table:
        rows = [{"key": key, "before": then, "after": now} for key, (then, now) in self.differing.items()]
        return Table.of(COLUMNS, rows)


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
