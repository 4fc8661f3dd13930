"""What a plan, a header or a result must be before anything uses it: whoever wrote it, and whatever for.

The types of fields are checked where records are made of JSON (`orchestrator.typed_json.from_json`). Here stands what
types do not say, and what would otherwise become a path that leaves the sweep folder, a loop without end, gigabytes,
escape sequences in a terminal, or a traceback. Everything raises ValueError, for its reader to name the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator import limits
from orchestrator.records import (
    KINDS,
    NEED_REQUIRES_SUCCESS,
    SCHEMA_VERSION,
    STATUSES,
    JobResult,
    JobSpec,
    PluginSpec,
    Workload,
)

ID = re.compile(r"[0-9a-f]{8,64}")
"""Of a job or a family: it is the name of a folder. Ours have 16 hexadecimal digits."""
DEVICE = re.compile(r"[a-z][a-z0-9_]*(:[0-9]{1,3})?")
"""Ours are "cpu" and "cuda:1"; files of other tools have others."""
LAUNCHERS = ("fork", "subprocess")


def without_schema(data: Any) -> dict[str, Any]:
    """Return the JSON object of a file of this schema version without its "schema"; ValueError for any other."""
    version = data.get("schema") if isinstance(data, dict) else None
    if type(version) is not int:
        raise ValueError("has no schema version: it is damaged, or was not written by orchestrator")
    if version != SCHEMA_VERSION:
        age, remedy = ("a newer", "upgrade") if version > SCHEMA_VERSION else ("an older", "use the one that wrote it")
        raise ValueError(
            f"was written by {age} orchestrator (schema version {version}); this one reads {SCHEMA_VERSION}: {remedy}"
        )
    return {key: value for key, value in data.items() if key != "schema"}


def check_id(text: str) -> str:
    """Return the id of a job or a family, which becomes the name of a folder."""
    if not ID.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no id of a job: it has 8 to 64 of the characters 0-9 and a-f")
    return text


def check_name(text: str, what: str, longest: int = limits.NAME) -> None:
    """A name is one line of characters that can be seen: nothing in it moves a cursor or turns a line around."""
    if len(text) > longest:
        raise ValueError(f"the name of a {what} has {len(text):,} characters, over {longest:,}")
    if not text.isprintable():
        raise ValueError(f"the name of a {what}, {text[:80]!r}, holds characters that cannot be printed")


def _check_called(text: str, what: str) -> None:
    """As `check_name`, of what must have a name: its rows would have none."""
    if not text:
        raise ValueError(f"the name of a {what} is empty")
    check_name(text, what)


def check_device(text: str) -> None:
    if not DEVICE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no device, such as cpu or cuda:0")


def check_workload(workload: Workload) -> None:
    for what in ("suite", "dtype"):
        _check_called(getattr(workload, what), what)
    check_device(workload.device)
    check_plugin(workload.builder, "model")
    check_plugin(workload.mode, "mode")
    if workload.build is not None:
        build = workload.build
        check_name(build.name, "build")
        for text in (build.python or "", *build.requirements, build.setup or ""):
            check_name(text, "part of a build", limits.MESSAGE)
    if min(workload.batch_size, workload.threads, workload.sequence_length or 0) < 0:
        raise ValueError(f"{workload.model}: batch_size, sequence_length and threads are not negative")


def check_plugin(spec: PluginSpec, what: str) -> None:
    _check_called(spec.name, what)
    check_name(spec.target, "class")


def check_job(job: JobSpec) -> JobSpec:
    """Return a job, of which everything is checked but its records (`check_workload`, `check_plugin`) and its place."""
    check_id(job.id)
    if job.launcher not in LAUNCHERS:
        raise ValueError(f"job {job.id} has the launcher {job.launcher[:40]!r}; there are {', '.join(LAUNCHERS)}")
    if not 0 <= job.round < limits.ROUNDS:
        raise ValueError(f"job {job.id} has the round {job.round}")
    if job.point is not None and job.point < 0:
        raise ValueError(f"job {job.id} has the grid point {job.point}")
    if not (0 < job.timeout_s <= limits.SECONDS and 0 <= job.cost_s <= limits.SECONDS):
        raise ValueError(f"job {job.id}: timeout_s is more than 0, cost_s is not less, and both are at most a year")
    if not 0 <= job.memory_bytes < math.inf:
        raise ValueError(f"job {job.id}: memory_bytes is not less than 0")
    if job.kind is not None and job.kind not in KINDS:
        raise ValueError(f"job {job.id} is of the kind {job.kind[:40]!r}; there are {', '.join(KINDS)}")
    if job.verdict is not None and job.verdict.status not in STATUSES:
        raise ValueError(f"job {job.id} has the unknown status {job.verdict.status[:40]!r}")
    for need in job.needs:
        check_id(need.job)
        if need.kind not in NEED_REQUIRES_SUCCESS:
            raise ValueError(f"job {job.id} has a need of the unknown kind {need.kind[:40]!r}")
    if job.compare_outputs is not None:
        check_name(job.compare_outputs, "folder")
    for name, value in job.env.items():
        check_name(f"{name}={value}", "variable")
        if not name or "=" in name:
            raise ValueError(f"job {job.id}: {name!r} is no name of an environment variable")
    return job


def check_order(jobs: Sequence[JobSpec]) -> None:
    """Ids are unique, and every job stands behind those of the plan that it needs: so there are no circles."""
    if len(jobs) > limits.JOBS:
        raise ValueError(f"it has {len(jobs):,} jobs, over {limits.JOBS:,}")
    place = {job.id: number for number, job in enumerate(jobs)}
    if len(place) < len(jobs):
        raise ValueError("two jobs have the same id")
    for number, job in enumerate(jobs):
        for need in job.needs:
            if place.get(need.job, -1) >= number:
                raise ValueError(f"job {job.id} stands before {need.job}, which it needs")


def check_sizes(records: Mapping[str, int], references: Iterable[str]) -> None:
    """`records`: key -> characters; `references`: the keys that jobs refer to, once for every time that they do."""
    largest = max(records, key=lambda key: records[key], default=None)
    if largest is not None and records[largest] > limits.RECORD:
        raise ValueError(f"record {largest} has {records[largest]:,} characters, over {limits.RECORD:,}")
    total = sum(records[key] for key in references)
    if total > limits.RECORDS:
        raise ValueError(f"its jobs would have {total:,} characters in a table, over {limits.RECORDS:,}")


def check_header(points: Sequence[Any], grid: Sequence[Sequence[str]], environment: Any, created: float) -> None:
    """Check what of a sweep's header its type does not say."""
    parts = [point.get("execution", {}) if type(point) is dict else None for point in points]
    if not all(type(one) is dict for one in (*parts, environment)):
        raise ValueError("a grid point, its execution, or the environment is no object")
    if any(type(environment.get(key) or {}) is not dict for key in ("packages", "conf")):
        raise ValueError("the packages or the conf of its environment is no object")
    gpus = environment.get("gpus") or []
    if type(gpus) is not list or not all(type(gpu) is dict for gpu in gpus):
        raise ValueError("the gpus of its environment are no list of objects")
    if any(sum(map(len, own)) > limits.RECORD for own in grid):
        raise ValueError(f"the overrides of a grid point have over {limits.RECORD:,} characters")
    check_time(created)


def check_parts(shard: Sequence[int], parts: Sequence[int]) -> None:
    """Check which part of its plan a folder has: () for all, or (which, of how many), one of which each job is in."""
    fine = (
        not parts if not shard else len(shard) == 2 and shard[0] in parts and 1 <= min(parts) <= max(parts) <= shard[1]
    )
    if not fine:
        raise ValueError(f"it is part {list(shard)[:2]} of a plan that has no such part")


def check_result(result: JobResult) -> JobResult:
    """Return a result whose times are dates, and whose message fits a table."""
    check_time(result.started)
    check_time(result.ended)
    if len(result.samples) > limits.METRICS:
        raise ValueError(f"it has samples of {len(result.samples):,} metrics, over {limits.METRICS:,}")
    failure = result.failure
    if failure is None or len(failure.message) <= limits.MESSAGE:
        return result
    return replace(result, failure=replace(failure, message=failure.message[: limits.MESSAGE] + "…"))


def check_time(seconds: float) -> None:
    if not 0 <= seconds < limits.LAST_SECOND:
        raise ValueError(f"{seconds:g} is no time, in seconds since 1970")
