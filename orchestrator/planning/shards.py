"""Cut a job graph into shards that can run on different machines.

The cut goes along workloads: what is compared (all compilers, all rounds, eager and reference) runs on one machine,
and no edge of the graph leaves its shard.

`shard=2/3` is cut on each machine anew, so that cut depends on nothing of the machine: not on its threads, nor on what
"auto" is there. Each folder holds the whole plan, and which part of it is its own; the verb `merge` joins them.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from orchestrator.errors import UsageError
from orchestrator.records import JobSpec, Workload
from orchestrator.store import JobGraph

Unit = tuple[object, ...]
Named = TypeVar("Named", bound=Hashable)

MOST_SHARDS = 10_000
"""Of one sweep; a list of them is made."""


def comparison(workload: Workload) -> Unit:
    """Return what a workload shares with those it is compared with: all but the batch size.

    An accuracy job may use a smaller batch than the performance job that it gates.
    """
    w = workload
    return (w.suite, w.model, w.mode.name, w.dtype, w.device, w.sequence_length, w.seed, w.threads)


def anywhere(workload: Workload) -> Unit:
    """Return what of `comparison` is the same on every machine, as texts, which have an order."""
    w = workload
    return tuple(map(str, (w.suite, w.model, w.mode.name, w.dtype, w.sequence_length, w.seed)))


def cut(graph: JobGraph, of: int, *, empty: bool = True) -> list[tuple[JobSpec, ...]]:
    """Return `of` shards, each in plan order; every job is in exactly one. Without `empty` ones there are fewer shards
    where there are fewer units. Balanced by cost.
    """
    units: dict[Unit, list[JobSpec]] = {}
    keys: dict[int, Unit] = {}  # by identity: a graph of 10,000 jobs has few distinct workloads
    for job in graph.jobs:
        key = keys.setdefault(id(job.workload), comparison(job.workload))
        units.setdefault(key, []).append(job)
    of = of if empty else min(of, len(units))
    shard_of = _balanced({unit: cost(jobs) for unit, jobs in units.items()}, of)
    return [tuple(job for job in graph.jobs if shard_of[keys[id(job.workload)]] == shard) for shard in range(of)]


def cost(jobs: Sequence[JobSpec]) -> float:
    """Return the estimated seconds of jobs that run one after the other; a verdict costs nothing."""
    return sum(job.cost_s for job in jobs if job.verdict is None)


def wall_s(jobs: Iterable[JobSpec], slots: int) -> float:
    """Return the estimated seconds of jobs on so many slots of one machine: until the last one has nothing to do."""
    costs: dict[Unit, float] = {}
    for job in jobs:
        unit = comparison(job.workload)
        costs[unit] = costs.get(unit, 0.0) + cost([job])
    return sum(costs[unit] for unit in busiest(costs, slots))


def busiest(costs: Mapping[Named, float], slots: int) -> set[Named]:
    """Return the units of the slot that ends last, where each goes, in this order, to the slot that is free first.

    costs: unit -> seconds. A unit is not divided, so that more slots than units are no faster.
    """
    free = [(0.0, slot) for slot in range(slots)]
    units: list[set[Named]] = [set() for _ in range(slots)]
    for unit, seconds in costs.items():
        begins, slot = heapq.heappop(free)
        units[slot].add(unit)
        heapq.heappush(free, (begins + seconds, slot))
    return units[max(free)[1]]


def by_hand(graph: JobGraph, shard: str, nominal: JobGraph) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Return which part `shard` names ("2/5" is the second of five: 2, 5), and the part of each job, in plan order.

    `nominal`: the plan of a machine that is nobody's, whose costs are the same everywhere. Of any machines that plan
    the same models, the parts are a partition of them. Raises UsageError.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", shard)
    if match is None:
        raise UsageError(f"shard={shard}: write <which>/<of how many>, as in shard=2/5")
    which, of = int(match[1]), int(match[2])
    if not 1 <= which <= of:
        raise UsageError(f"shard={shard}: the first number goes from 1 to the second, as in shard=1/5 ... shard=5/5")
    if of > MOST_SHARDS:
        raise UsageError(f"shard={shard}: there are {MOST_SHARDS:,} shards at most")
    costs: dict[Unit, float] = {anywhere(job.workload): 0.0 for job in graph.jobs}
    for job in nominal.jobs:
        unit = anywhere(job.workload)
        costs[unit] = costs.get(unit, 0.0) + cost([job])
    part_of = _balanced(dict(sorted(costs.items())), of)  # whatever the order in which a machine plans them
    parts = tuple(part_of[anywhere(job.workload)] + 1 for job in graph.jobs)
    if which not in parts:
        raise UsageError(
            f"shard={shard} is empty: this sweep has {len(costs)} workloads, which is the most shards it fills"
        )
    return (which, of), parts


def _balanced(costs: Mapping[Named, float], of: int) -> dict[Named, int]:
    """Return the shard of each unit: the dearest first, of equal ones in their order, always to the shard with the
    least so far (longest processing time).
    """
    loads = [0.0] * of
    found: dict[Named, int] = {}
    for unit in sorted(costs, key=lambda unit: -costs[unit]):
        found[unit] = loads.index(min(loads))
        loads[found[unit]] += costs[unit]
    return found
