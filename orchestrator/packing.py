"""The jobs of a plan as JSON: a plan of 10,000 has a few hundred distinct workloads and compilers, each stored once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from sys import intern
from typing import Any

from orchestrator.records import JobSpec, Need, PluginSpec, Workload, fingerprint, once_a_record
from orchestrator.typed_json import from_json, to_json
from orchestrator.validity import check_job, check_order, check_plugin, check_sizes, check_workload

PARTS = ("workload", "compiler", "measure")
"""Fields of a job that are named by their fingerprints. Words that 100,000 jobs share are interned."""
LATER = ("keep_outputs", "compare_outputs")
"""Fields that are left out where there is nothing in them."""


def pack(jobs: Sequence[JobSpec]) -> dict[str, Any]:
    """Return the jobs as JSON: `records`, each stored once, and `jobs`, which name them."""
    records: dict[str, Any] = {}
    print_of = once_a_record(fingerprint)

    def refer(record: Workload | PluginSpec) -> str:
        key = print_of(record)[:16]
        if key not in records:
            records[key] = to_json(record)
        return key

    packed = [
        {name: value for name, value in vars(job).items() if value or name not in LATER}
        | {part: refer(getattr(job, part)) for part in PARTS}
        | {
            "env": dict(job.env),
            "needs": [[need.job, need.kind] for need in job.needs],
            "verdict": to_json(job.verdict),
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
    check_sizes(sizes, (job[part] for job in data["jobs"] for part in PARTS))
    jobs = tuple(_job(job, workloads, plugins) for job in data["jobs"])
    check_order(jobs)
    return jobs


def _job(job: Any, workloads: dict[str, Workload], plugins: dict[str, PluginSpec]) -> JobSpec:
    parts = {part: (workloads if part == "workload" else plugins)[job[part]] for part in PARTS}
    words = {name: intern(job[name]) for name in ("id", "launcher", "kind") if job.get(name) is not None}
    needs = [Need(job=intern(need), kind=intern(kind)) for need, kind in job["needs"]]
    return check_job(from_json(JobSpec, {**job, **parts, **words, "needs": needs}))
