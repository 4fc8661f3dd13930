"""`keep_outputs` and `compare_outputs`: which judged jobs keep what their calls left, and whose they compare."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Mapping

from orchestrator.errors import UsageError
from orchestrator.plugins import resolve
from orchestrator.records import JUDGED, JobSpec
from orchestrator.store import JobGraph, SweepFolder


def with_outputs(graph: JobGraph, keep: bool, other: SweepFolder | None) -> JobGraph:
    """Return the plan whose judged jobs keep their outputs, and compare them with those that `other` has kept.

    Raises UsageError where no job could do so, and where `other` has kept none of what is run here.
    """
    if not keep and other is None:
        return graph
    keepers = {job.id for job in graph.jobs if _keeps(job)}
    if not keepers:
        key = "keep_outputs=true" if keep else f"compare_outputs={other}"
        raise UsageError(f"{key}: no job of this sweep looks at outputs; measure=accuracy does")
    theirs = {} if other is None else _theirs(graph, keepers, other)
    jobs = (
        dataclasses.replace(job, keep_outputs=keep, compare_outputs=theirs.get(job.id)) if job.id in keepers else job
        for job in graph.jobs
    )
    return JobGraph(tuple(jobs))


def as_stored(graph: JobGraph, stored: JobGraph) -> JobGraph:
    """Return the plan with the outputs of a sweep that is resumed: `latest` may be another sweep by now."""
    known = {job.id: job for job in stored.jobs}
    return JobGraph(
        tuple(
            dataclasses.replace(
                job, keep_outputs=known[job.id].keep_outputs, compare_outputs=known[job.id].compare_outputs
            )
            for job in graph.jobs
        )
    )


def _keeps(job: JobSpec) -> bool:
    return job.kind == JUDGED and job.verdict is None and bool(getattr(resolve(job.measure.target), "keeps_outputs", 0))


def _theirs(graph: JobGraph, keepers: set[str], other: SweepFolder) -> Mapping[str, str]:
    """Return job -> the folder to compare with: that of the same job, else of the only one that is called the same.

    A job that has no such folder compares with that of its own id, which is not there: its row says so.
    """
    kept = [job for job in other.read_graph().jobs if other.outputs(job.id).is_dir()]
    if not kept:
        raise UsageError(f"compare_outputs={other}: that sweep kept no outputs; run it with keep_outputs=true")
    same = {job.id for job in kept}
    called: dict[Hashable, list[str]] = defaultdict(list)
    for job in kept:
        called[_called(job)].append(job.id)
    found, missed = {}, []
    for job in graph.jobs:
        if job.id in keepers:
            candidates = [job.id] if job.id in same else called.get(_called(job), [])
            missed += [job] if len(candidates) != 1 else []
            found[job.id] = str(other.outputs(candidates[0] if len(candidates) == 1 else job.id))
    if len(missed) == len(keepers):
        raise UsageError(
            f"compare_outputs={other}: it kept outputs of {len(kept)} jobs, such as '{kept[0].title}', and none of "
            f"what is run here, such as '{missed[0].title}': the model, mode, dtype, device, sizes, seed and compiler "
            "must be the same"
        )
    return found


def _called(job: JobSpec) -> Hashable:
    """Return what two jobs share that may differ in options, threads or environment."""
    load = job.workload
    return (
        *(load.suite, load.model, load.mode.name, load.dtype, load.device.partition(":")[0]),
        *(load.batch_size, load.sequence_length, load.seed, job.compiler.name, job.measure.target),
    )
