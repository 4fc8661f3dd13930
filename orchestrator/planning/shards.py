"""Cut a job graph into shards that can run on different machines.

The cut goes along workloads: what is compared (all compilers, all rounds, eager and reference) runs on one machine,
and no edge of the graph leaves its shard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.errors import UsageError
from orchestrator.records import JobSpec, Workload
from orchestrator.store import JobGraph

Unit = tuple[object, ...]

MOST_SHARDS = 10_000
"""Of one sweep; a list of them is made."""


def comparison(workload: Workload) -> Unit:
    """Return what a workload shares with those it is compared with: all but the batch size.

    An accuracy job may use a smaller batch than the performance job that it gates.
    """
    w = workload
    return (w.suite, w.model, w.mode.name, w.dtype, w.device, w.sequence_length, w.seed, w.threads)


def cut(graph: JobGraph, of: int) -> list[tuple[JobSpec, ...]]:
    """Return `of` shards, each in plan order; every job is in exactly one. Shards may be empty.

    Balanced by cost: the dearest unit first, always to the shard with the least so far (longest processing time).
    """
    units: dict[Unit, list[JobSpec]] = {}
    keys: dict[int, Unit] = {}  # by identity: a graph of 10,000 jobs has few distinct workloads
    for job in graph.jobs:
        key = keys.setdefault(id(job.workload), comparison(job.workload))
        units.setdefault(key, []).append(job)
    loads = [0.0] * of
    shard_of: dict[str, int] = {}
    for jobs in sorted(units.values(), key=cost, reverse=True):  # stable: equal costs stay in plan order
        lightest = loads.index(min(loads))
        loads[lightest] += cost(jobs)
        shard_of |= dict.fromkeys((job.id for job in jobs), lightest)
    return [tuple(job for job in graph.jobs if shard_of[job.id] == shard) for shard in range(of)]


def cost(jobs: Sequence[JobSpec]) -> float:
    """Return the estimated seconds of jobs that run one after the other; a verdict costs nothing."""
    return sum(job.cost_s for job in jobs if job.verdict is None)


def by_hand(graph: JobGraph, shard: str) -> JobGraph:
    """Return the part of the graph that `shard` names: "2/5" is the second of five. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", shard)
    if match is None:
        raise UsageError(f"shard={shard}: write <which>/<of how many>, as in shard=2/5")
    which, of = int(match[1]), int(match[2])
    if not 1 <= which <= of:
        raise UsageError(f"shard={shard}: the first number goes from 1 to the second, as in shard=1/5 ... shard=5/5")
    if of > MOST_SHARDS:
        raise UsageError(f"shard={shard}: there are {MOST_SHARDS:,} shards at most")
    jobs = cut(graph, of)[which - 1]
    if not jobs:
        count = len({comparison(job.workload) for job in graph.jobs})
        raise UsageError(f"shard={shard} is empty: this sweep has {count} workloads, which is the most shards it fills")
    return JobGraph(jobs)
