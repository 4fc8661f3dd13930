"""Going on with a sweep: is a command the sweep that a folder holds, and what may be asked of a stored one?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import OmegaConf

from orchestrator.errors import UsageError
from orchestrator.planning.compose import explained
from orchestrator.planning.grid import parse
from orchestrator.planning.points import check_execution, check_rounds
from orchestrator.planning.schema import Config, ExecutionConf
from orchestrator.records import JobSpec
from orchestrator.store import JobGraph, Sweep, SweepFolder
from orchestrator.typed_json import to_json
from orchestrator.words import plural

LISTED = 3
SETTINGS = ("online", "rounds_min", "budget")
"""What belongs to a run and not to the jobs, beside `execution`."""
OF_THE_JOBS = ("launcher", "env")
"""Keys of `execution` that change figures, and so the jobs' ids."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a command says that only resumes: resume=SWEEP, and perhaps dry_run, `SETTINGS` and execution.*."""

    sweep: str
    dry_run: bool
    execution: dict[str, Any]  # the keys that were given
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)  # those of `SETTINGS` that were given


def read(overrides: Sequence[str]) -> Asked | None:
    """Return what a command says that only resumes a sweep, None where it says more, or does not resume.

    Raises UsageError for an unknown key of `execution`, or a value of another type.
    """
    parsed = parse(overrides, None)
    keys = [override.key_or_group for override in parsed]
    only = all(key in ("resume", "dry_run", *SETTINGS) or key.partition(".")[0] == "execution" for key in keys)
    if "resume" not in keys or not only or any(override.is_delete() for override in parsed):
        return None
    conf = OmegaConf.structured(Config)
    for override in parsed:
        if override.is_sweep_override():
            raise UsageError(f"{override.input_line}: a sweep that is resumed has one value of each key")
        with explained():
            OmegaConf.update(conf, override.key_or_group, override.value())
    if conf.resume is None:
        return None
    given = {key.split(".")[1] for key in keys if key.startswith("execution.")}
    for override in parsed:
        value = override.value()
        if override.key_or_group == "execution" and isinstance(value, dict):
            given |= set(value)
    execution: Any = OmegaConf.to_container(conf.execution)
    check_execution(execution)
    check_rounds(conf.rounds_min, conf.budget)
    settings = {key: conf[key] for key in SETTINGS if key in keys}
    return Asked(str(conf.resume), bool(conf.dry_run), {key: execution[key] for key in given}, settings)


def with_execution(
    sweep: Sweep, graph: JobGraph, given: dict[str, Any], settings: dict[str, Any] | None = None
) -> tuple[Sweep, JobGraph]:
    """Return the stored sweep and plan with other values of `execution` and of `SETTINGS`.

    A new time-out is that of the jobs that had the old one.

    Raises UsageError for values that would make other jobs of these.
    """
    default = dataclasses.asdict(ExecutionConf())
    stored = [{**default, **point.get("execution", {})} for point in sweep.points] or [default]
    for key in OF_THE_JOBS:
        if key in given and any(old[key] != given[key] for old in stored):
            raise UsageError(
                f"execution.{key} belongs to the jobs of a sweep: with {given[key]!r} they would be others. "
                "Leave it out, or start a new sweep"
            )
    own = settings or {}
    points = tuple({**point, "execution": {**point.get("execution", {}), **given}, **own} for point in sweep.points)
    if "timeout_s" in given:
        old = {float(execution["timeout_s"]) for execution in stored}  # a measure's own time-out stays
        jobs = (
            dataclasses.replace(job, timeout_s=float(given["timeout_s"])) if job.timeout_s in old else job
            for job in graph.jobs
        )
        graph = JobGraph(tuple(jobs))
    return dataclasses.replace(sweep, points=points), graph


def expect_same(folder: SweepFolder, graph: JobGraph) -> None:
    """Raise UsageError, saying what differs, when `graph` does not have the jobs of the plan in the folder."""
    if different := what_differs(folder.read_graph(), graph, "its stored plan", "this command"):
        raise UsageError(
            f"this command is not the sweep that {folder} holds: {different} "
            f"'resume={folder.name}' alone repeats the command of that sweep"
        )


def what_differs(stored: JobGraph, asked: JobGraph, one: str = "the one", other: str = "the other") -> str:
    """Return in words which jobs only `one` of two plans has, and what of them changed; "" for the same jobs."""
    here, there = ({job.id: job for job in graph.jobs} for graph in (stored, asked))
    gone = [job for key, job in here.items() if key not in there]
    new = [job for key, job in there.items() if key not in here]
    if not gone and not new:
        return ""
    counts = [
        f"{plural(len(jobs), 'job')} only in {where}, such as '{jobs[0].title}'"
        for where, jobs in ((one, gone), (other, new))
        if jobs
    ]
    changes = sorted(set(_changes(gone, new)))
    changed = f" What changed: {', '.join(changes[:LISTED])}." if changes else ""
    return f"{'; '.join(counts)}.{changed}"


def _changes(gone: list[JobSpec], new: list[JobSpec]) -> Iterator[str]:
    """Yield "workload.threads 1 -> 3" for jobs that bear the same title in both plans."""
    titles = {job.title: job for job in new}
    for job in gone[:100]:
        if job.title in titles:
            before, now = dict(_flat("", _identity(job))), dict(_flat("", _identity(titles[job.title])))
            yield from (
                f"{key} {before.get(key)} -> {now.get(key)}" for key in before | now if before.get(key) != now.get(key)
            )


def _identity(job: JobSpec) -> Any:
    """Return all that a job's id is made of."""
    return to_json({key: getattr(job, key) for key in ("workload", "compiler", "measure", "launcher", "env")})


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{path}.{key}" if path else key, item)
    else:
        yield path, value
