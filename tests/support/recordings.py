"""Sweeps that have run, replayed through the forecast that the progress display asks.

A recording (`benchmarks/record_progress.py` makes it) has what was planned and when each job started and ended. Its
times are the recorded ones: a replay gives the same figures anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.execution.forecast import Forecast, Left, Task
from orchestrator.records import NOT_NEEDED, SUCCESSES

FOLDER = Path(__file__).parents[1] / "recordings"
FACTOR = 1.5
"""A time left is right when it is within this factor of the true one."""


@dataclass(frozen=True)
class Guess:
    """What was said at some moment of a sweep, and how many seconds were left."""

    said: Left
    true: float

    @property
    def ratio(self) -> float:
        return self.said.middle / self.true

    @property
    def is_right(self) -> bool:
        return abs(math.log(self.ratio)) <= math.log(FACTOR)

    @property
    def is_inside(self) -> bool:
        return self.said.low <= self.true <= self.said.high


@dataclass(frozen=True)
class Recording:
    """One sweep. held_out: it ran after the forecast's priors were fixed."""

    name: str
    argv: list[str]
    held_out: bool
    budget_s: float | None
    tasks: dict[str, Task]
    events: list[list[Any]]

    @property
    def seconds(self) -> float:
        return float(self.events[-1][0])

    @property
    def was_quiet(self) -> bool:
        """Whether four of five timed jobs found the machine quiet within a second; not of a sweep without any."""
        waits = [event[4] for event in self.events if event[1] == "finished" and self.tasks[str(event[2])].timed]
        looked = [wait for wait in waits if wait is not None]
        return bool(looked) and sum(wait < 1.0 for wait in looked) >= 0.8 * len(looked)

    def at(self, part: float) -> Guess:
        """Return what the forecast says when this part of the sweep's time is over."""
        now = part * self.seconds
        return Guess(self.until(now).left(now), self.seconds - now)

    def until(self, now: float) -> Forecast:
        """Return a forecast that was told all that happened until `now`, in seconds since the plan."""
        forecast = Forecast(self.tasks, 0.0, self.budget_s)
        for at, what, task, *result in self.events:
            if at > now:
                break
            if what == "started":
                forecast.started(str(task), at)
            else:
                worked, waited, status = result
                well, needed = status in SUCCESSES, status != NOT_NEEDED
                forecast.finished(str(task), at, worked, well=well, needed=needed, waited_s=waited)
        return forecast


def recordings(folder: Path = FOLDER) -> Iterator[Recording]:
    """Yield the recordings of a folder, by name."""
    for file in sorted(folder.glob("*.json")):
        data = json.loads(file.read_text())
        tasks = {
            str(number): Task(**{**task, "needs": tuple(map(str, task["needs"]))})
            for number, task in enumerate(data.pop("tasks"))
        }
        yield Recording(name=file.stem, tasks=tasks, **data)
