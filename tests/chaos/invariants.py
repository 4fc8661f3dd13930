"""What must hold, whatever was done to a sweep."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from chaos import builds
from chaos.schedule import LAUNCHED
from chaos.sweeps import ChaosSweep
from orchestrator.records import REFERENCE_MEASURE
from orchestrator.results.load import load
from orchestrator.results.tables import Table, build

MEASURED_UNITS = frozenset({"s", "ms", "MiB", "%", "x", "1/s", "J", "W", "GFLOP/s", "GB/s"})
MEASURED = frozenset(
    {
        *("verdict", "interval", "flags", "disturbed", "other_cores"),  # words for figures that were measured
        *("choice", "beaten_by", "break_even_low", "break_even_high", "geomean_disturbed"),  # what follows from them
        *("rows_faster", "rows_slower", "rows_undecided", "inter_token_count"),
        *("samples", "outliers", "pairs", "break_even_iterations"),  # counts of samples: they stop when it is steady
        "attempt",  # how often it was started: more often than on a quiet day
    }
)
MEASURED_NOTES = re.compile(
    r"the clock's own .* of a step|the GPU's power limit .* of the time|\d+ MiB (lie|were) |"
    r"it was trained while it was timed|what the CPU does at best could not be measured: MemoryError: an array of"
)
"""Sentences of the column `notes` that are there or not as figures, or the memory that is left, are over a limit."""
JUDGED = "judged"
"""What was judged is a twin where the calls of the timed code could not be kept, or are gone."""
FINE = (0, 1, 2, 130)
"""Exit codes: fine, a job failed, usage or not written, interrupted. 3 is a defect of ours."""
TRACEBACK = "Traceback (most recent call last)"
ENDED_S = 10.0  # for processes whose parent was killed to be gone


@dataclass
class Ledger:
    """The results that were seen finished: none may be lost, or become another."""

    sweep: ChaosSweep
    seen: dict[str, bytes] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Compare what is there with what was, and remember it."""
        now = self.sweep.finished()
        for job, before in self.seen.items():
            if job not in now and not self._may_be_made_again(before):
                self.broken.append(f"the finished result of {job} is lost")
            elif job in now and _content(now[job]) != _content(before) and not self._may_be_made_again(before):
                self.broken.append(f"the finished result of {job} has changed")
        self.seen = now

    def forget(self, jobs: Collection[str]) -> None:
        """Results that were damaged, or that somebody has removed, on purpose."""
        self.damaged |= set(jobs)
        for job in jobs:
            self.seen.pop(job, None)

    def _may_be_made_again(self, before: bytes) -> bool:
        """Return whether a result is one of those that do not stand by themselves.

        A reference is made again when a job that compares with it has to run and its tensors are gone; a failure that
        was handed down stands as long as the result that it is from.
        """
        result = json.loads(before)
        (job,) = (job for job in self.sweep.graph().jobs if job.id == result["job_id"])
        handed_down = (result.get("failure") or {}).get("kind") == "dependency"
        return job.measure.name == REFERENCE_MEASURE or (
            handed_down and any(need.job in self.damaged for need in job.needs)
        )


def _content(result: bytes) -> dict[str, Any]:
    """Return a result without the number of its attempt, which the orchestrator adds to what the worker has written."""
    content: dict[str, Any] = json.loads(result)
    content.pop("attempt", None)
    return content


def tables(sweep: ChaosSweep) -> dict[str, list[dict[str, Any]]]:
    """Return the final tables without what was measured."""
    return {name: list(_unmeasured(table)) for name, table in build(load(sweep.folder)).named().items()}


def _unmeasured(table: Table) -> Iterator[dict[str, Any]]:
    kept = [name for name in table.columns if table.column(name).unit not in MEASURED_UNITS and name not in MEASURED]
    for row in table.rows:
        found = {name: row[name] for name in kept}
        if "notes" in found:
            notes = (found["notes"] or "").split("; ")
            found["notes"] = [note for note in notes if note and not MEASURED_NOTES.match(note)]
        yield found


def differences(
    quiet: dict[str, list[dict[str, Any]]], now: dict[str, list[dict[str, Any]]], without: Collection[str] = ()
) -> Iterator[str]:
    """Yield what differs between the tables of two sweeps, in columns other than `without`."""
    for name in quiet.keys() | now.keys():
        old, new = quiet.get(name, []), now.get(name, [])
        if len(old) != len(new):
            yield f"table {name} has {len(new)} rows, on a quiet day {len(old)}"
        for before, after in zip(old, new, strict=False):
            for column in before.keys() - without:
                if before[column] != after[column]:
                    yield f"table {name}, {before.get('job')}: {column} is {after[column]!r}, not {before[column]!r}"


def rows(sweep: ChaosSweep, hit: dict[str, set[str]]) -> Iterator[str]:
    """Yield what is wrong with the rows: one per planned job, and none failed but those that were `hit`.

    `hit`: job -> statuses that it may have. A job that needs one of them may have its status too.
    """
    results = load(sweep.folder)
    planned = Counter(job.id for job in sweep.folder.read_graph().jobs)
    found = Counter(row["job"] for row in build(results).jobs.rows)
    folders = {path.name for path in sweep.folder.jobs.iterdir()}
    if planned != found or max(planned.values()) > 1:
        yield f"{len(planned)} planned jobs have rows {found}"
    if folders != set(planned):
        yield f"folders of jobs that were not planned, or none of one that was: {folders ^ set(planned)}"
    for outcome in results.outcomes:
        failure = outcome.result.failure if outcome.result is not None else None
        handed_down = failure is not None and failure.kind == "dependency"
        allowed = set().union(*hit.values()) if handed_down and hit else hit.get(outcome.job.id, set())
        if outcome.status != "pass" and outcome.status not in allowed:
            yield f"'{outcome.job.title}' ended with {outcome.status}: {outcome.reason}"


def leftovers(sweep: ChaosSweep) -> Iterator[str]:
    """Yield what a complete sweep has left: processes, temporary files, shared folders."""
    end = time.monotonic() + ENDED_S
    while (alive := [one for one in sweep.marked() if not (sweep.kind == LAUNCHED and _is_joblibs(one))]) and (
        time.monotonic() < end
    ):
        time.sleep(0.05)
    for process in alive:
        yield f"process {process.pid} is left: {' '.join(process.cmdline())}"
    for folder in (place for one in sweep.folders for place in (one.caches, one.references)):
        if folder.is_dir():
            yield f"{folder.name}/ is left: {[path.name for path in folder.iterdir()]}"
    for path in (*sweep.outputs.glob("*/jobs/*/.*.tmp"), *builds.half_made(sweep)):
        yield f"{path} is left"


def _is_joblibs(process: psutil.Process) -> bool:
    """Return whether it is of joblib's pool, which waits five minutes for another call when its command was killed."""
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "joblib.externals" in line or "multiprocessing.resource_tracker" in line


def endings(sweep: ChaosSweep, signals: Collection[int]) -> Iterator[str]:
    """Yield what is wrong with how commands ended, and with what they said. `signals`: those that were sent to them."""
    for code in (*sweep.codes, *(process.returncode for process in sweep.run.processes)):
        if code not in FINE and -code not in signals:
            yield f"a command ended with {code}"
    for log in sorted(sweep.cwd.glob("*.log")):
        if TRACEBACK in log.read_text(errors="replace"):
            yield f"{log.name} has a traceback"
