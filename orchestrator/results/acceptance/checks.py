"""What the judges of the GPU acceptance run look at, and how a figure becomes a check (`gpu_acceptance`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.records import EAGER, UNSUPPORTED
from orchestrator.results.acceptance.self_test import BROKEN, Check, TimedFamily
from orchestrator.results.load import JobOutcome, fact
from orchestrator.results.naming import measure_kind

SUITE = "gpu_acceptance"
ANOTHER = "this figure would mislead on this machine: please report it with report.html"
HOPPER = ("H100 80GB HBM3", "H100 SXM", "H200")
"""Devices, by parts of their names, that the known ranges below are of (an H200 NVL too)."""
HIDDEN = "a container: NVML has the host's process ids"


@dataclass(frozen=True)
class Seen:
    """All outcomes of the sweep, and the families of its performance jobs."""

    outcomes: Sequence[JobOutcome]
    families: Sequence[TimedFamily]

    def family(self, model: str, compiler: str = EAGER, **workload: str) -> TimedFamily | None:
        for family in self.families:
            load = family.rounds[0].job.workload
            wanted = all(getattr(load, key) == value for key, value in workload.items())
            if family.model.name == model and family.compiler.name.rpartition("/")[2] == compiler and wanted:
                return family
        return None

    def jobs(self, model: str, kind: str) -> list[JobOutcome]:
        """Return the jobs of a model and a kind of measure (`measure_kind`), in plan order."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.job.workload.model == model and measure_kind(outcome.job.measure) == kind
        ]

    def look(self, name: str) -> tuple[Any, str] | None:
        """Return (figures, why there are none) of a check of measure=gpu_checks; None where it was not planned."""
        for outcome in self.outcomes:
            names = outcome.job.measure.options.get("checks", ("process", "nvml", "sleep", "clock"))
            if measure_kind(outcome.job.measure) == "gpuchecks" and name in names:
                figures = fact(outcome.facts, "gpu_checks", name) or {}
                error = fact(figures, "error")
                return figures, str(error or f"{outcome.status}: {outcome.reason}")
        return None

    @property
    def device(self) -> str:
        """The name of the GPU, as torch has it; "" where no job could tell."""
        look = self.look("process")
        return str(fact(look[0], "versions", "device") or "") if look else ""


def own_families(seen: Seen) -> list[TimedFamily]:
    return [family for family in seen.families if family.rounds[0].job.workload.suite == SUITE]


def in_range(
    name: str, value: float | None, low: float, high: float, form: str, trouble: str, advice: str = ANOTHER
) -> Check:
    """Return the check of one figure; `form` is what is printed, with `{}` where the number stands."""
    span = f"{low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"
    expected = form.format(f"up to {high:g}" if low == 0 else span)
    if value is None:
        return Check(name, expected, trouble, False, BROKEN)
    return Check(name, expected, form.format(f"{value:.4g}"), low <= value <= high, advice)


def about(
    name: str, value: float | None, known: float, within: float, form: str, trouble: str, advice: str = ANOTHER
) -> Check:
    """Return the check of one figure that is known to within an absolute difference."""
    expected = form.format(f"{known:g} ± {within:g}")
    if value is None:
        return Check(name, expected, trouble, False, BROKEN)
    return Check(name, expected, form.format(f"{value:.5g}"), abs(value - known) <= within, advice)


def of_hopper(check: Check, seen: Seen) -> Check:
    """Return a check whose range is of H100 and H200, or elsewhere that it was not made, with what was found."""
    if any(name in seen.device for name in HOPPER):
        return check
    return replace(check, expected=f"{check.expected} (H100, H200)", passed=True, word=UNSUPPORTED)
