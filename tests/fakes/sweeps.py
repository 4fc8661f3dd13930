"""Job graphs with known edges, and a scheduler run over them as a program of its own.

python -m fakes.sweeps FOLDER SETTINGS      (SETTINGS: JSON of `orchestrator.execution.settings.Settings`)
"""

from __future__ import annotations

import json
import sys
from typing import Any

from orchestrator.execution.environment import worker_environment
from orchestrator.execution.lock import locked
from orchestrator.execution.observer import PlainObserver
from orchestrator.execution.processes import Processes
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.settings import Settings
from orchestrator.records import (
    JUDGED,
    REFERENCE_KIND,
    TIMED,
    JobResult,
    JobSpec,
    Need,
    PluginSpec,
    Verdict,
    Workload,
    fingerprint,
    job_id,
)
from orchestrator.store import JobGraph, Sweep, SweepFolder

LAUNCHERS = ("fork", "subprocess")
ENTRY = "fakes.entry:run_job"
ACCURACY, REFERENCE = "orchestrator.measures.accuracy.Accuracy", "orchestrator.measures.reference.Reference"
PERFORMANCE = "orchestrator.measures.performance.Performance"
TARGETS = {"accuracy": ACCURACY, "reference": REFERENCE, "performance": PERFORMANCE}


def make_job(
    name: str,
    does: str = "pass",
    *,
    measure: str = "performance",
    needs: tuple[tuple[JobSpec, str], ...] = (),
    round: int = 0,
    launcher: str = "fork",
    env: dict[str, str] | None = None,
    timeout_s: float = 60.0,
    verdict: Verdict | None = None,
    builder: PluginSpec | None = None,
    compiler: PluginSpec | None = None,
    measure_options: dict[str, Any] | None = None,
    **options: str,
) -> JobSpec:
    workload = Workload(
        suite="fakes",
        builder=builder or PluginSpec(name=name, target="fakes.plugins.Perceptron"),
        mode=PluginSpec(name="inference", target="orchestrator.modes.inference.Inference"),
        dtype="float32",
        device="cpu",
        batch_size=1,
        sequence_length=None,
        seed=0,
        threads=1,
    )
    compiler = compiler or PluginSpec(
        name=f"does {does}", target="fakes.plugins.Misbehaving", options={"does": does, **options}
    )
    asked = PluginSpec(name=measure, target=TARGETS[measure], options=measure_options or {})
    prints = (fingerprint(workload), fingerprint(compiler), fingerprint(asked))
    return JobSpec(
        id=job_id(*prints, round=round, launcher=launcher, env=env or {}),
        workload=workload,
        compiler=compiler,
        measure=asked,
        round=round,
        launcher=launcher,
        env=env or {},
        needs=tuple(Need(job=job.id, kind=kind) for job, kind in needs),
        timeout_s=timeout_s,
        cost_s=1.0,
        memory_bytes=1e6,
        verdict=verdict,
        kind={"accuracy": JUDGED, "reference": REFERENCE_KIND}.get(measure, TIMED),
    )


def write_sweep(store: SweepFolder, jobs: list[JobSpec]) -> None:
    store.write_plan(Sweep(argv=[], overrides=[], points=[], created=0.0), JobGraph(tuple(jobs)))


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.reasons: list[str] = []  # why a job waited
        self.open: list[int] = []  # how many verdicts were, as it changed
        self.too_late: list[str] = []  # jobs for which the budget left no time

    def waiting(self, job: JobSpec, reason: str) -> None:
        self.reasons.append(reason)

    def started(self, job: JobSpec) -> None:
        self.events.append(("started", job.id))

    def finished(self, job: JobSpec, result: JobResult) -> None:
        self.events.append(("finished", job.id))

    def verdicts(self, still_open: int) -> None:
        self.open.append(still_open)

    def out_of_time(self, job: JobSpec) -> None:
        self.too_late.append(job.id)

    def interrupted(self, *, at_once: bool) -> None:
        self.events.append(("interrupted", "at once" if at_once else ""))


def run(store: SweepFolder, jobs: list[JobSpec], **settings: Any) -> Recorder:
    """Run the jobs with the torch-free entry, in this process."""
    recorder = Recorder()
    with Processes(worker_environment(), ENTRY, preload=()) as processes:
        Scheduler(store, jobs, Settings(**settings), recorder, processes).run()
    return recorder


def results(store: SweepFolder, jobs: list[JobSpec]) -> list[JobResult]:
    found = [store.read_result(job.id) for job in jobs]
    assert all(isinstance(result, JobResult) for result in found), found
    return found  # type: ignore[return-value]


def main() -> None:
    store = SweepFolder(sys.argv[1])
    settings = Settings(**json.loads(sys.argv[2]))
    with locked(store, 0, 1), Processes(worker_environment(), ENTRY, preload=()) as processes:
        Scheduler(store, store.read_graph().jobs, settings, PlainObserver(), processes).run()


if __name__ == "__main__":
    main()
