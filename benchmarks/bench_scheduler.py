"""What the scheduler itself costs per job: from one worker's last instruction to the next one's first.

    python benchmarks/bench_scheduler.py [JOBS]

Jobs that do nothing, in fork-server children with torch, transformers, dynamo and inductor really imported in the
server; so the figure holds all that is ours (reaping, reading the result, cleaning up, writing job.json, fork,
set-up) and nothing of the interpreter's start and imports. Then jobs that sleep for a second, on a slot for each CPU
(`execution.cpu_sets`): how many times as fast they are done as one after the other. Exit code 1 when the median is over
the limit, or n slots are less than 0.9 n times as fast.

The workers run this file: as a module it must not import more than a worker has.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.records import PASS, JobResult, JobSpec, PluginSpec, Workload, job_id
from orchestrator.store import SweepFolder

LIMIT_S = 0.020
SLEEP_S, SLEEPERS = 1.0, 10  # jobs a slot
EFFICIENCY = 0.9
PRELOADED = ("torch", "torch._dynamo", "torch._inductor.compile_fx", "transformers.modeling_utils",
             "transformers.models.bert.modeling_bert")  # fmt: skip


def preloads(job: JobSpec) -> tuple[str, ...]:
    """Stands in for `orchestrator.worker.run.preloads`: what the fork server imports before the job."""
    return PRELOADED


def run_job(folder: str, name: str) -> None:
    """Stands in for `orchestrator.worker.run.run_job`: notes its first and last moment, and that imports are there."""
    first = time.monotonic()
    store = SweepFolder(folder)
    now = time.time()
    time.sleep(store.read_job(name).compiler.options.get("sleep_s", 0.0))
    facts = {"first": first, "imported": [module for module in PRELOADED if module in sys.modules]}
    store.write_result(JobResult(job_id=name, status=PASS, facts=facts, started=now, ended=now))
    (store.job(name) / "last").write_text(repr(time.monotonic()))


def make_job(number: int, sleep_s: float = 0.0) -> JobSpec:
    workload = Workload(
        suite="bench",
        builder=PluginSpec(name=f"model {number}", target="none"),
        mode=PluginSpec(name="none", target="none"),
        dtype="float32",
        device="cpu",
        batch_size=1,
        sequence_length=None,
        seed=0,
        threads=1,
    )
    compiler = PluginSpec(name="none", target="none", options={"sleep_s": sleep_s} if sleep_s else {})
    measure = PluginSpec(name="performance", target="none")
    return JobSpec(
        id=job_id(str(number), "", "", round=0, launcher="fork", env={}),
        workload=workload,
        compiler=compiler,
        measure=measure,
        round=0,
        launcher="fork",
        env={},
        needs=(),
        timeout_s=60.0,
        cost_s=0.0,
    )


class Silent:
    """An observer that takes no time: what a display costs is the display's."""

    def waiting(self, job: JobSpec, reason: str) -> None: ...

    def started(self, job: JobSpec) -> None: ...

    def finished(self, job: JobSpec, result: JobResult) -> None: ...

    def verdicts(self, still_open: int) -> None: ...

    def out_of_time(self, job: JobSpec) -> None: ...

    def interrupted(self, *, at_once: bool) -> None: ...


def run(store: SweepFolder, jobs: list[JobSpec], cpu_sets: list[str] | None = None) -> None:
    """Run the jobs in the folder."""
    from orchestrator.execution.environment import worker_environment
    from orchestrator.execution.processes import Processes
    from orchestrator.execution.scheduler import Scheduler
    from orchestrator.execution.settings import Settings

    with Processes(worker_environment(), "bench_scheduler:run_job", ()) as processes:
        Scheduler(store, jobs, Settings(cpu_sets=cpu_sets), Silent(), processes).run()


def speed_on_slots(cpus: list[str]) -> float:
    """Return how many times as fast sleeping jobs are done on a slot for each CPU as one after the other."""
    jobs = [make_job(number, SLEEP_S) for number in range(SLEEPERS * len(cpus))]
    with tempfile.TemporaryDirectory() as folder:
        store = SweepFolder(folder)
        run(store, jobs, cpus)
        results = [result for job in jobs if isinstance(result := store.read_result(job.id), JobResult)]
        last = [float((store.job(job.id) / "last").read_text()) for job in jobs]
    first = [float(result.facts["first"]) for result in results]
    return SLEEP_S * len(jobs) / (max(last) - min(first))


def main() -> int:
    jobs = [make_job(number) for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 200)]
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as folder:
        store = SweepFolder(folder)
        run(store, jobs)
        results = [store.read_result(job.id) for job in jobs]
        last = [float((store.job(job.id) / "last").read_text()) for job in jobs]
    first = [result.facts["first"] for result in results if isinstance(result, JobResult)]
    missing = [module for module in PRELOADED if module not in results[0].facts["imported"]]  # type: ignore[union-attr]
    if len(first) != len(jobs) or missing:
        print(f"{len(first)} of {len(jobs)} jobs have a result; not preloaded: {missing}")
        return 1
    costs = [start - end for end, start in zip(last, first[1:], strict=False)]
    median, p90 = statistics.median(costs), statistics.quantiles(costs, n=10)[-1]
    print(f"jobs: {len(jobs)}")
    print(f"own cost per job / limit: median {median / LIMIT_S:.2f}, 90th percentile {p90 / LIMIT_S:.2f}")
    cpus = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]
    speed = speed_on_slots(cpus)
    print(f"jobs that sleep, on {len(cpus)} slots: {speed:.2f} times as fast as one after the other")
    return int(median > LIMIT_S or speed < EFFICIENCY * len(cpus))


if __name__ == "__main__":
    sys.exit(main())
