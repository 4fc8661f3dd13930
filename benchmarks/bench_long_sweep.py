"""A sweep of 10,000 jobs: does the orchestrator's memory stay flat, do descriptors leak, does the display slow down?

    python benchmarks/bench_long_sweep.py [JOBS]

Jobs that do nothing but leave a result of the usual size, in children of the real fork server, through the real
scheduler with the display of a terminal. Prints the curve; exit code 1 when a limit is not kept.

The workers run this file: as a module it must not import more than a worker has.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench_scheduler import make_job

from orchestrator.records import PASS, JobResult, JobSpec, Samples
from orchestrator.store import JobGraph, SweepFolder

if TYPE_CHECKING:
    from orchestrator.execution.processes import Processes
    from orchestrator.views.progress import Progress

GROWTH_MIB = 50.0
SLOWER = 1.5  # of the last tenth over the first
MIB = 2**20
SAMPLES = 300


def run_job(folder: str, name: str) -> None:
    """Stands in for `orchestrator.worker.run.run_job`: leaves 600 samples and some facts, as a real job does."""
    now = time.time()
    values = tuple(0.001 + index * 1e-7 for index in range(SAMPLES))
    samples = tuple(Samples(metric=metric, unit="s", better="lower", values=values) for metric in ("latency", "warmup"))
    facts = {f"fact_{index}": {"figure": index * 1.1, "text": "x" * 40} for index in range(50)}
    result = JobResult(job_id=name, status=PASS, samples=samples, facts=facts, started=now, ended=now)
    SweepFolder(folder).write_result(result)


@dataclass(frozen=True)
class Reading:
    """The orchestrator after `jobs` jobs: memory, descriptors; seconds so far, and those of them in the display."""

    jobs: int
    resident: int
    descriptors: int
    server_resident: int
    server_descriptors: int
    seconds: float
    display_s: float


class Watch:
    """An observer that times the display and reads the process every `every` jobs."""

    def __init__(self, progress: Progress, processes: Processes, every: int) -> None:
        self.progress, self.processes, self.every = progress, processes, every
        self.jobs, self.display_s, self.start = 0, 0.0, time.perf_counter()
        self.readings: list[Reading] = []

    def waiting(self, job: JobSpec, reason: str) -> None:
        self.progress.waiting(job, reason)

    def started(self, job: JobSpec) -> None:
        begin = time.perf_counter()
        self.progress.started(job)
        self.display_s += time.perf_counter() - begin

    def finished(self, job: JobSpec, result: JobResult) -> None:
        begin = time.perf_counter()
        self.progress.finished(job, result)
        self.display_s += time.perf_counter() - begin
        self.jobs += 1
        if self.jobs % self.every == 0:
            self.read()

    def verdicts(self, still_open: int) -> None:
        self.progress.verdicts(still_open)

    def out_of_time(self, job: JobSpec) -> None:
        self.progress.out_of_time(job)

    def interrupted(self, *, at_once: bool) -> None:
        self.progress.interrupted(at_once=at_once)

    def read(self) -> None:
        server = self.processes.server_pid("fork")
        memory, descriptors = _read(os.getpid())
        server_memory, server_descriptors = (0, 0) if server is None else _read(server)
        seconds = time.perf_counter() - self.start
        self.readings.append(
            Reading(self.jobs, memory, descriptors, server_memory, server_descriptors, seconds, self.display_s)
        )


def _read(pid: int) -> tuple[int, int]:
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident, len(os.listdir(f"/proc/{pid}/fd"))


def main() -> int:
    from rich.console import Console

    from orchestrator.execution.environment import worker_environment
    from orchestrator.execution.processes import Processes
    from orchestrator.execution.scheduler import Scheduler
    from orchestrator.execution.settings import Settings
    from orchestrator.views.progress import Progress

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    jobs = [make_job(number) for number in range(count)]
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as terminal:
        store = SweepFolder(folder)
        progress = Progress(JobGraph(tuple(jobs)), store, Console(file=terminal, force_terminal=True, width=120))
        with Processes(worker_environment(), "bench_long_sweep:run_job", ()) as processes, progress:
            watch = Watch(progress, processes, max(count // 10, 1))
            scheduler = Scheduler(store, jobs, Settings(), watch, processes)
            watch.read()
            scheduler.run()
        missing = sum(store.read_status(job.id) != PASS for job in jobs)
    return _report(watch.readings, missing)


def _report(readings: list[Reading], missing: int) -> int:
    print("| jobs | resident, MiB | descriptors | server, MiB | its descriptors | ms a job | of it display, ms |")
    print("|---|---|---|---|---|---|---|")
    for before, now in zip([readings[0], *readings], readings, strict=False):
        jobs = max(now.jobs - before.jobs, 1)
        each, display = (now.seconds - before.seconds) / jobs, (now.display_s - before.display_s) / jobs
        print(
            f"| {now.jobs} | {now.resident / MIB:.1f} | {now.descriptors} | {now.server_resident / MIB:.1f} "
            f"| {now.server_descriptors} | {each * 1e3:.1f} | {display * 1e3:.2f} |"
        )
    first, last = readings[1], readings[-1]
    growth = (max(reading.resident for reading in readings) - readings[0].resident) / MIB
    leaked = last.descriptors - first.descriptors + last.server_descriptors - first.server_descriptors
    tenth = readings[-2]
    slower = (last.seconds - tenth.seconds) / (first.seconds - readings[0].seconds)
    display = (last.display_s - tenth.display_s) / max(first.display_s - readings[0].display_s, 1e-9)
    print(f"growth: {growth:.1f} MiB (limit {GROWTH_MIB:g}), descriptors: {leaked:+d} (limit 0)")
    print(f"last tenth / first: {slower:.2f} a job, {display:.2f} its display (limit {SLOWER:g})")
    print(f"jobs without a good result: {missing}")
    return int(growth > GROWTH_MIB or leaked > 0 or slower > SLOWER or display > SLOWER or missing > 0)


if __name__ == "__main__":
    sys.exit(main())
