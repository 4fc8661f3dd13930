"""Runs a schedule of faults, checks what must hold after each sweep, and counts what became of each fault."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chaos import invariants
from chaos.injectors import Hit, inject
from chaos.schedule import FAULTS_A_SWEEP, KINDS, SHARDED, UNWRITABLE, Fault, Plan, sooner
from chaos.sweeps import ChaosSweep, Hangs
from orchestrator.records import JobResult

TMPFS_MIB = 192
LISTED = 5  # differences of tables, of one sweep
ROUNDS = 6  # of sweeps for faults that found nothing to hit
RESUMES = 8  # more and the sweep does not come to its end


@dataclass
class Done:
    """A fault that was done: what it hit, and how the run that it was done to ended because of it, if it did."""

    fault: Fault
    hit: Hit
    run: int
    ended: str = ""
    outcome: str = ""


@dataclass
class Campaign:
    """`base` is an empty folder; `mounts`: whether this process may mount (it is in a namespace of its own).

    library: of the flaky disk, if there is one; seconds: no sweep is begun later than this; record: a file to which is
    added, after each sweep, what became of its faults.
    """

    base: Path
    seed: int
    mounts: bool
    library: Path | None = None
    seconds: float = math.inf
    record: Path | None = None
    done: list[Done] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    resumes: int = 0
    sweeps: int = 0
    asked_again: int = 0
    _quiet: dict[str, Any] = field(default_factory=dict)

    def run(self, plans: Sequence[Plan]) -> None:
        """Run the plans; faults that found nothing to hit any more are done in more sweeps at the end."""
        left: list[Plan] = list(plans)
        end = time.monotonic() + self.seconds
        for _ in range(ROUNDS):
            missed: dict[str, list[Fault]] = defaultdict(list)
            for plan in left:
                if time.monotonic() > end:
                    return
                missed[plan.sweep] += self._sweep(plan)
            left = [
                Plan(sweep, sooner(faults[at : at + FAULTS_A_SWEEP]))
                for sweep, faults in missed.items()
                for at in range(0, len(faults), FAULTS_A_SWEEP)
            ]
            if not left:
                return

    # -- one sweep

    def _sweep(self, plan: Plan) -> list[Fault]:
        """Run a sweep with its faults to its end; return the faults that could not be done."""
        self.sweeps += 1
        number, began, before = self.sweeps, time.monotonic(), len(self.violations)
        try:
            quiet = self._quiet_tables(plan.sweep)
        except (Hangs, AssertionError) as error:
            self.violations.append(f"to which nothing was done: {error}")
            print(f"sweep {number} ({plan.sweep}) was not begun: {error}", flush=True)
            return []
        with self._place(f"{number:03}-{plan.sweep}") as sweep:
            ledger = invariants.Ledger(sweep)
            done: list[Done] = []
            try:
                missed = self._inject_all(sweep, plan, ledger, done)
                self._complete(sweep, ledger, done)
                self._judge(sweep, ledger, done, quiet)
            except (Hangs, AssertionError) as error:
                self.violations.append(f"{sweep.cwd}: {error}")
                missed = []
            finally:
                sweep.end()
            self.done += done
            if self.record is not None:
                with self.record.open("a") as file:
                    file.writelines(json.dumps([self.seed, one.fault.kind.name, one.outcome]) + "\n" for one in done)
            self.resumes += sweep.runs - 1
            new = len(self.violations) - before
            names = ", ".join(one.fault.kind.name for one in done)
            print(
                f"sweep {number} ({plan.sweep}), {time.monotonic() - began:.0f} s, {new} violations: {names}",
                flush=True,
            )
            if new:
                print("\n".join(f"  {violation}" for violation in self.violations[before:]), flush=True)
                shutil.copytree(sweep.cwd, self.base / f"kept-{number:03}", ignore_dangling_symlinks=True)
        return missed

    def _inject_all(self, sweep: ChaosSweep, plan: Plan, ledger: invariants.Ledger, done: list[Done]) -> list[Fault]:
        chance = random.Random(f"{self.seed} {self.sweeps}")
        missed = []
        if plan.sweep == SHARDED:
            sweep.plan()
        sweep.start()
        for fault in plan.faults:
            if fault.kind.name.endswith("stopped"):
                sweep.wait()
            else:
                self._wait_for(sweep, fault, done)
            self._note_end(sweep, done)
            ledger.look()
            hit = inject(fault.kind.name, sweep, chance)
            if hit is None:
                missed.append(fault)
                continue
            ledger.forget(hit.corrupted)
            done.append(Done(fault, hit, sweep.runs))
            if not sweep.run.alive:
                self._note_end(sweep, done)
                if not sweep.is_complete():
                    sweep.start()
        return missed

    def _wait_for(self, sweep: ChaosSweep, fault: Fault, done: list[Done]) -> None:
        """Wait until the sweep has come as far as the fault wants; resume it where it has ended before."""
        for _ in range(RESUMES):
            while sweep.run.alive and len(sweep.finished()) < fault.after:
                time.sleep(0.05)
            if sweep.run.alive:
                time.sleep(fault.delay)
            self._note_end(sweep, done)
            if sweep.run.alive or sweep.is_complete():
                return
            sweep.start()

    @staticmethod
    def _note_end(sweep: ChaosSweep, done: list[Done]) -> None:
        """Where the run has ended before its sweep was complete, the last fault is what ended it."""
        if done and done[-1].run == sweep.runs and not sweep.run.alive and not done[-1].ended:
            codes = sorted({process.returncode for process in sweep.run.processes})
            if codes[0] < 0 or codes[-1] > 1 or not sweep.is_complete():
                done[-1].ended = f"the run ended ({', '.join(map(_words, codes))})"

    def _complete(self, sweep: ChaosSweep, ledger: invariants.Ledger, done: list[Done]) -> None:
        """Resume without faults until every job has its result."""
        for _ in range(RESUMES):
            sweep.wait()
            self._note_end(sweep, done)
            ledger.look()
            if sweep.is_complete():
                return
            sweep.start()
        raise AssertionError(f"after {RESUMES} resumes without a fault it is still not complete")

    def _judge(self, sweep: ChaosSweep, ledger: invariants.Ledger, done: list[Done], quiet: Any) -> None:
        hit: dict[str, set[str]] = defaultdict(set)
        for one in done:
            for job in one.hit.jobs:
                hit[job] |= set(one.fault.kind.rows)
        sent = {number for one in done for number in one.hit.signals}
        found = [*ledger.broken, *invariants.rows(sweep, hit), *invariants.endings(sweep, sent)]
        for one in done:
            one.outcome = self._outcome(sweep, one)
        asked = self._ask_again(sweep, {job for job, rows in hit.items() if rows})
        twins = asked or any(one.hit.corrupted or one.fault.kind.name in UNWRITABLE for one in done)
        without = (invariants.JUDGED,) if twins else ()
        found += [
            *islice(invariants.differences(quiet, invariants.tables(sweep), without), LISTED),
            *invariants.leftovers(sweep),
        ]
        self.violations += [f"{sweep.cwd}: {what}" for what in found]

    def _outcome(self, sweep: ChaosSweep, one: Done) -> str:
        """Say what became of a fault, in the words of the table."""
        if one.hit.words:
            return one.hit.words
        if one.hit.corrupted:
            return "the job was run again by resume"
        if one.ended:
            return f"{one.ended} and was resumed"
        results = [sweep.folder.read_result(job) for job in one.hit.jobs]
        known = [result for result in results if isinstance(result, JobResult)]
        if not known:
            return "no job was running"
        failed = [result.status for result in known if result.status != "pass"]
        if failed:
            return f"its row: {failed[0]}"
        return "the job was run again at once" if any(result.attempt > 1 for result in known) else "the job passed"

    def _ask_again(self, sweep: ChaosSweep, jobs: set[str]) -> bool:
        """Do what a person does who knows that a failure was not the job's: remove the results, and resume.

        Return whether there were any.
        """
        graph = sweep.graph().jobs
        for job in graph:  # needs come first
            if any(need.job in jobs for need in job.needs if need.kind != "baseline"):
                jobs = jobs | {job.id}
        jobs = {job for job in jobs if sweep.folder.result_file(job).exists()}
        if not jobs:
            return False
        self.asked_again += len(jobs)
        for job in jobs:
            sweep.folder.result_file(job).unlink()
        for _ in range(2):
            sweep.start()
            sweep.wait()
        return True

    # -- surroundings

    def _quiet_tables(self, kind: str) -> Any:
        """Return the tables of a sweep of this kind to which nothing is done; it is run once."""
        if kind not in self._quiet:
            with self._place(f"quiet-{kind}") as sweep:
                while not sweep.is_complete() and sweep.runs <= len(sweep.parts):
                    sweep.start()
                    sweep.wait()
                if not sweep.is_complete() or sweep.run.processes[0].returncode != 0:
                    raise AssertionError(f"the quiet sweep {kind} failed: see {sweep.cwd}")
                self._quiet[kind] = invariants.tables(sweep)
        return self._quiet[kind]

    @contextmanager
    def _place(self, name: str) -> Iterator[ChaosSweep]:
        """Make a sweep whose outputs are on a disk of their own, a small one, where this process may mount."""
        cwd, locks = self.base / name, self.base / "locks"
        (cwd / "outputs").mkdir(parents=True)
        locks.mkdir(exist_ok=True)
        if self.mounts:
            size = f"size={TMPFS_MIB}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", str(cwd / "outputs")], check=True)
        try:
            yield ChaosSweep(name.rpartition("-")[2], cwd, locks, library=self.library)
        finally:
            if self.mounts:
                subprocess.run(["umount", "--lazy", str(cwd / "outputs")], check=True)


def _words(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def table(done: Sequence[tuple[str, str]], possible: Sequence[str]) -> str:
    """Return what became of the faults, each its kind and its outcome, as Markdown: kind, count, outcomes."""
    lines = ["| fault | count | outcome |", "|---|---|---|"]
    for kind in KINDS:
        outcomes = Counter(outcome for name, outcome in done if name == kind.name)
        words = "; ".join(f"{outcome} ({count})" for outcome, count in outcomes.most_common())
        if kind.name not in possible:
            words = "cannot be done on this machine"
        lines.append(f"| {kind.name} | {sum(outcomes.values())} | {words} |")
    return "\n".join(lines)
