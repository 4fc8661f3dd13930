"""The jobs of a plan as JSON: a plan of 10,000 has a few hundred distinct workloads and compilers, each stored once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from orchestrator.records import JobSpec, Need, PluginSpec, Verdict, Workload, fingerprint
from orchestrator.typed_json import from_json, to_json
from orchestrator.validity import check_job, check_order, check_plugin, check_sizes, check_workload

NO_ENV: Mapping[str, str] = {}
"""Of most of 100,000 jobs; their words are interned, too."""


def pack(jobs: Sequence[JobSpec]) -> dict[str, Any]:
    """Return the jobs as JSON: `records`, each stored once, and `jobs`, which name them."""
    records: dict[str, Any] = {}
    keys: dict[int, str] = {}  # by identity: fingerprints are slow, and the jobs keep every record alive

    def refer(record: Workload | PluginSpec) -> str:
        if id(record) not in keys:
            keys[id(record)] = fingerprint(record)[:16]
            records[keys[id(record)]] = to_json(record)
        return keys[id(record)]

    packed = [
        {
            "id": job.id,
            "workload": refer(job.workload),
            "compiler": refer(job.compiler),
            "measure": refer(job.measure),
            "round": job.round,
            "launcher": job.launcher,
            "env": dict(job.env),
            "needs": [[need.job, need.kind] for need in job.needs],
            "timeout_s": job.timeout_s,
            "cost_s": job.cost_s,
            "verdict": to_json(job.verdict),
            "point": job.point,
            "kind": job.kind,
            "disk_bytes": job.disk_bytes,
            "memory_bytes": job.memory_bytes,
            "training": job.training,
            **({"keep_outputs": True} if job.keep_outputs else {}),
            **({"compare_outputs": job.compare_outputs} if job.compare_outputs else {}),
        }
        for job in jobs
    ]
    return {"records": records, "jobs": packed}


def unpack(data: Any) -> tuple[JobSpec, ...]:
    """Return the jobs of what `pack` returned, needs first.

    Raises AttributeError, KeyError, TypeError or ValueError for anything else.
    """
    workloads: dict[str, Workload] = {}
    plugins: dict[str, PluginSpec] = {}
    for key, value in data["records"].items():
        if "builder" in value:
            workloads[key] = from_json(Workload, value)
            check_workload(workloads[key])
        else:
            plugins[key] = from_json(PluginSpec, value)
            check_plugin(plugins[key], "plug-in")
    sizes = {key: len(json.dumps(value)) for key, value in data["records"].items()}
    check_sizes(sizes, (job[part] for job in data["jobs"] for part in ("workload", "compiler", "measure")))
    jobs = tuple(_job(job, workloads, plugins) for job in data["jobs"])
    check_order(jobs)
    return jobs


def _job(job: Any, workloads: dict[str, Workload], plugins: dict[str, PluginSpec]) -> JobSpec:
    return check_job(
        JobSpec(
            id=intern(str(job["id"])),
            workload=workloads[job["workload"]],
            compiler=plugins[job["compiler"]],
            measure=plugins[job["measure"]],
            round=int(job["round"]),
            launcher=intern(str(job["launcher"])),
            env={str(key): str(value) for key, value in job["env"].items()} or NO_ENV,
            needs=tuple(Need(job=intern(str(need)), kind=intern(str(kind))) for need, kind in job["needs"]),
            timeout_s=float(job["timeout_s"]),
            cost_s=float(job["cost_s"]),
            verdict=None if job["verdict"] is None else from_json(Verdict, job["verdict"]),
            point=None if job.get("point") is None else int(job["point"]),
            kind=None if job.get("kind") is None else intern(str(job["kind"])),
            disk_bytes=float(job.get("disk_bytes", 0.0)),
            memory_bytes=float(job.get("memory_bytes", 0.0)),
            training=None if job.get("training") is None else bool(job["training"]),
            keep_outputs=bool(job.get("keep_outputs", False)),
            compare_outputs=None if job.get("compare_outputs") is None else str(job["compare_outputs"]),
        )
    )
