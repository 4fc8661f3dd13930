"""Points as Hydra would compose them, without Hydra, and a job graph in few words."""

from __future__ import annotations

from typing import Any

from orchestrator.planning.machine import Machine
from orchestrator.planning.points import Point, PointReader
from orchestrator.records import JobSpec
from orchestrator.store import JobGraph

MACHINE = Machine(cores=4, cuda_devices=0)
BACKENDS = {"inductor": "inductor", "aot_eager": "aot_eager"}


def suite(catalog: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    common = {
        "sequence_length": 64,
        "batch_size": {"cpu": 8, "cuda": 32, "accuracy": 1},
        "tolerance": {"inference": 1e-3, "training": 1e-2},
    }
    return {
        "name": "models",
        "target": "orchestrator.suites.huggingface.HuggingFaceModel",
        "models": None,
        "filter": None,
        "exclude": None,
        "common": common,
        "catalog": {"Bert": {}, "T5": {}} if catalog is None else catalog,
        **keys,
    }


def point(compiler: str = "eager", measure: Any = "performance", mode: str = "inference", **keys: Any) -> Point:
    """Read a configuration as Hydra would compose it."""
    eager = {"name": "eager", "target": "orchestrator.compilers.eager.Eager", "options": {}}
    compiled = {
        "name": compiler,
        "target": "orchestrator.compilers.dynamo.TorchCompile",
        "options": {"backend": BACKENDS.get(compiler, "inductor")},
    }
    conf: dict[str, Any] = {
        "suite": suite(),
        "compiler": eager if compiler == "eager" else compiled,
        "dtype": {"name": "float32"},
        "mode": {"name": mode, "target": f"orchestrator.modes.{mode}.{mode.title()}", "options": {}},
        "device": {"type": "auto", "index": None},
        "measure": measure if isinstance(measure, dict) else named_measure(measure),
        "batch_size": None,
        "sequence_length": None,
        "rounds": 3,
        "rounds_min": 2,
        "budget": None,
        "seed": 1337,
        "threads": None,
        "exclude": [],
        "zip": [],
        "grids": [],
        "effect_threshold": 0.01,
        "gate": None,
        "shard": None,
        "dry_run": False,
        "resume": None,
        "execution": execution(),
        "shard_job": {"folder": None, "index": 0, "of": 1},
    }
    return PointReader().read({**conf, **keys})


def execution(launcher: str = "fork", env: dict[str, str] | None = None, timeout_s: float = 1800.0) -> dict[str, Any]:
    return {
        "launcher": launcher,
        "env": env or {},
        "timeout_s": timeout_s,
        "parallel": 1,
        "disk_reserve_mib": 100.0,
        "retries": 1,
    }


def named_measure(name: str) -> dict[str, Any]:
    return {"name": name, "target": f"orchestrator.measures.{name}.{name.title()}", "options": {}, "timeout_s": None}


def short(job: JobSpec) -> str:
    return f"{job.workload.model} {job.compiler.name} {job.measure.name} {job.round}"


def needs(graph: JobGraph) -> dict[str, list[str]]:
    jobs = {job.id: job for job in graph.jobs}
    return {short(job): [f"{need.kind}: {short(jobs[need.job])}" for need in job.needs] for job in graph.jobs}
