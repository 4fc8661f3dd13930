"""How a sweep is run: what of its `execution` the scheduler looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.statistics import THRESHOLD
from orchestrator.words import seconds_of

AUTO = "auto"
SMALLEST = {"parallel": 1, "rounds_min": 1}
LARGEST = {"memory_limit_gib": limits.GIB, "memory_fraction": 1, "hang_s": limits.SECONDS}
OF_THE_SWEEP = ("online", "rounds_min", "effect_threshold", "budget")
"""Settings that stand beside `execution`, not in it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a shard is run.

    retries: more attempts for a job whose result is `infrastructure`, or that SIGKILL ended; no other is retried.
    parallel: how many jobs that time nothing may run at a time; AUTO = as many as there are cores and memory for
        (`orchestrator.execution.policy`). Those that time something run alone.
    devices: numbers of GPUs, "all", or None; cpu_sets: texts like "0-7", or None (`orchestrator.execution.slots`).
    memory_limit_gib: private memory that a worker may have; None = no limit but the machine's.
    memory_fraction: of a CUDA device's memory, which a job's torch may have; None = all.
    keep_caches, keep_references: leave compile caches and reference tensors in the folder.
    stop_on_failure: start no more jobs after the first that fails.
    online: jobs may use the network.
    rounds_min: rounds that a row gets even if it is decided before; effect_threshold: relative, smaller is noise.
    budget: the time that the whole sweep may take ("20min"); None = no limit.
    hang_s: seconds from the request to a worker's first instruction, the server's imports included.
    device_lock: run no timing job while another sweep on this machine runs one on the same device.
    disk_reserve_mib: start no job when the disk has less room than this.
    """

    retries: int = 1
    parallel: int | str = AUTO
    devices: Any = None
    cpu_sets: Sequence[str] | None = None
    memory_limit_gib: float | None = None
    memory_fraction: float | None = None
    keep_caches: bool = False
    keep_references: bool = False
    stop_on_failure: bool = False
    online: bool = False
    hang_s: float = 180.0
    device_lock: bool = True
    disk_reserve_mib: float = 100.0
    rounds_min: int = 2
    effect_threshold: float = THRESHOLD
    budget: str | None = None

    @classmethod
    def of(cls, points: Sequence[Any]) -> Settings:
        """Return the settings of a sweep with these grid points: they share their `execution`, but for the jobs'.

        Raises UsageError for a stored value that is none.
        """
        point = points[0] if points else {}
        asked = {**point.get("execution", {}), **{key: point[key] for key in OF_THE_SWEEP if key in point}}
        found = {field.name: asked[field.name] for field in dataclasses.fields(cls) if field.name in asked}
        for name, value in found.items():
            if not _fits(name, value):
                raise UsageError(f"the sweep's header is damaged: {name} is {str(value)[:80]!r}")
        return cls(**found)

    @property
    def budget_s(self) -> float | None:
        """The budget in seconds."""
        return None if self.budget is None else seconds_of(self.budget)


def _fits(name: str, value: Any) -> bool:
    """Tell whether what a folder holds may be a setting's value: of its kind, and not less than its smallest."""
    default = getattr(Settings, name)
    if name in ("devices", "cpu_sets"):  # what they name is looked for when the sweep is run, here
        return value is None or isinstance(value, list) or (name == "devices" and value == "all")
    if name == "budget":
        return value is None or _is_time(value)
    if default == AUTO:
        return value == AUTO or (type(value) is int and value >= SMALLEST[name])
    if isinstance(default, bool):
        return isinstance(value, bool)
    if value is None:
        return default is None
    kinds = (int,) if isinstance(default, int) else (int, float)
    return type(value) in kinds and SMALLEST.get(name, 0) <= value <= LARGEST.get(name, limits.WORD)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and seconds_of(value) > 0
    except ValueError:
        return False
