"""Make recordings of sweeps that have run: what was planned, and when each job started and ended. Some kilobytes each.

    python benchmarks/record_progress.py [--held-out] SWEEP ...    recordings of these, into tests/recordings
    python benchmarks/record_progress.py                           how right the time left was in all that are there

A job's start is when the scheduler wrote its job.json; its end is in its result. `support/recordings.py` (tests)
replays them through the forecast that the progress display asks (`orchestrator.execution.forecast`).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.recordings import FACTOR, FOLDER, Recording, recordings

from orchestrator.execution.budget import RESERVE_S
from orchestrator.execution.forecast import tasks_of
from orchestrator.execution.settings import Settings
from orchestrator.records import JobResult
from orchestrator.results.load import figure
from orchestrator.store import SweepFolder

SHORTEST_S = 60.0
"""At a third of less hardly more has happened than that torch was imported."""


def record(folder: SweepFolder, held_out: bool) -> dict[str, Any]:
    """Return a recording of a sweep that ran from its plan to its end, once. Raises ValueError where it did not.

    Times are in seconds since it was planned. An event is [seconds, "started", task] or [seconds, "finished", task,
    seconds of the worker, those in which it waited for a quiet machine, status].
    """
    sweep, jobs = folder.read_sweep(), folder.read_graph().jobs
    settings = Settings.of(sweep.points)
    tasks = tasks_of(jobs, settings.rounds_min)
    number = {name: place for place, name in enumerate(tasks)}
    events: list[tuple[Any, ...]] = []
    for name in tasks:
        result = folder.read_result(name)
        if result is None and settings.budget_s is not None:
            continue  # it left no time
        if not isinstance(result, JobResult):
            raise ValueError(f"{folder} has no result of {name}")
        worked, waited = result.ended - result.started, figure(result.facts, "waited_for_quiet_s")
        if folder.job_file(name).exists():
            start = min(folder.job_file(name).stat().st_mtime, result.started)
            events.append((start - sweep.created, "started", number[name]))
            events.append((result.ended - sweep.created, "finished", number[name], worked, waited, result.status))
        else:
            events.append((result.ended - sweep.created, "finished", number[name], None, None, result.status))
    if events and max(event[0] for event in events) < SHORTEST_S:
        raise ValueError(f"{folder} took no minute")
    events.sort(key=lambda event: (event[0], event[1] == "started"))
    if not 0 <= events[0][0] <= 60:
        raise ValueError(f"{folder} was copied, or run later than it was planned: {events[0][0]:.0f} s")
    short: dict[str, str] = {}

    def named(text: str, prefix: str) -> str:
        return short.setdefault(text, f"{prefix}{len(short)}")

    return {
        "argv": [word for word in sweep.argv if not word.startswith("hydra.")],
        "held_out": held_out,
        "budget_s": None if settings.budget_s is None else settings.budget_s - RESERVE_S,
        "tasks": [
            {
                **dataclasses.asdict(task),
                "workload": named(task.workload, "w"),
                "row": named(task.row, "r"),
                "unit": named(str(task.unit), "u"),
                "cost_s": round(task.cost_s, 2),
                "needs": [number[need] for need in task.needs if need in number],
            }
            for task in tasks.values()
        ],
        "events": [[round(part, 2) if isinstance(part, float) else part for part in event] for event in events],
    }


def main(arguments: list[str]) -> int:
    if not arguments:
        return _table()
    held_out = arguments[0] == "--held-out"
    FOLDER.mkdir(exist_ok=True)
    for sweep in arguments[held_out:]:
        folder = SweepFolder(sweep)
        try:
            recording = record(folder, held_out)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        lines = ",\n".join(f' "{key}": {_lines(value)}' for key, value in recording.items())
        (FOLDER / f"{folder.root.name}.json").write_text(f"{{\n{lines}\n}}\n")
    return 0


def _table() -> int:
    print("| recording | held out | jobs | s | left at 1/3, s | said | ratio | inside |")
    print("|---|---|---|---|---|---|---|---|")
    for one in recordings():
        guess = one.at(1 / 3)
        said, inside = f"{guess.said.low:.0f}-{guess.said.high:.0f}", "yes" if guess.is_inside else "no"
        known = f"{one.name} | {'yes' if one.held_out else ''} | {len(one.tasks)} | {one.seconds:.0f}"
        print(f"| {known} | {guess.true:.0f} | {said} | {guess.ratio:.2f} | {inside} |")
    groups: dict[str, Callable[[Recording], bool]] = {
        "all": lambda one: True,
        "held out": lambda one: one.held_out,
        "others": lambda one: not one.held_out,
        "on a quiet machine": lambda one: one.was_quiet,
    }
    for what, chosen in groups.items():
        for part in (0.1, 1 / 3, 1 / 2, 2 / 3):
            guesses = [one.at(part) for one in recordings() if chosen(one)]
            right, inside_ = sum(guess.is_right for guess in guesses), sum(guess.is_inside for guess in guesses)
            print(f"{what}, at {part:.2f}: within a factor of {FACTOR} {right} of {len(guesses)}, inside {inside_}")
    return 0


def _lines(value: Any) -> str:
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
