"""One record of each kind."""

from __future__ import annotations

from typing import Any

from orchestrator.records import (
    Failure,
    JobResult,
    JobSpec,
    Need,
    PluginSpec,
    Samples,
    Verdict,
    Workload,
)

WORKLOAD = Workload(
    suite="quick",
    builder=PluginSpec(
        name="m", target="orchestrator.suites.x.Y", options={"config": {"layers": 2, "list": [1, None]}}
    ),
    mode=PluginSpec(name="inference", target="orchestrator.modes.inference.Inference"),
    dtype="float16",
    device="cuda:1",
    batch_size=2,
    sequence_length=None,
    seed=1337,
    threads=1,
)
EAGER = PluginSpec(name="eager", target="orchestrator.compilers.eager.Eager")
PERFORMANCE = PluginSpec(
    name="performance", target="orchestrator.measures.performance.Performance", options={"pairs": 3}
)
JOB = JobSpec(
    id="0123456789abcdef",
    workload=WORKLOAD,
    compiler=EAGER,
    measure=PERFORMANCE,
    round=2,
    launcher="fork",
    env={"A": "1"},
    needs=(Need(job="fedcba9876543210", kind="round"),),
    timeout_s=10.5,
    cost_s=3.0,
    verdict=Verdict(status="unsupported", reason="gone"),
)
RESULT = JobResult(
    job_id=JOB.id,
    status="crash",
    samples=(Samples(metric="latency", unit="s", better="lower", values=(0.1, 2.0)),),
    facts={"memory": {"base": 1, "cuda": None}},
    failure=Failure(kind="crash", phase="steady", message="SIGSEGV", detail="é\n"),
    environment={"torch": "2.13"},
    started=1.5,
    ended=2.5,
    attempt=2,
)


def built_by(builder: str, model: str = "m", *, suite: str = "s", mode: str = "inference", **changes: Any) -> Workload:
    """Return a workload of `orchestrator.suites.<builder>`: float32 on the CPU, two samples; changes: other fields."""
    fields: dict[str, Any] = {
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 2,
        "sequence_length": None,
        "seed": 0,
        "threads": 1,
    }
    return Workload(
        suite=suite,
        builder=PluginSpec(name=model, target=f"orchestrator.suites.{builder}"),
        mode=PluginSpec(name=mode, target=f"orchestrator.modes.{mode}.{mode.title()}"),
        **{**fields, **changes},
    )


KNOWN = built_by("known.KnownModel", suite="self_test", seed=1)
