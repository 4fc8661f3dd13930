"""Which faults, in which sweep, after how many results: a seeded random list."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.records import (
    CRASH,
    EAGER_FAIL_TO_RUN,
    FAIL_TO_RUN,
    MODEL_FAIL_TO_LOAD,
    OUT_OF_MEMORY,
    TIMEOUT,
)

SIGNALS = ("SIGTERM", "SIGKILL", "SIGSEGV", "SIGSTOP")
QUICK, COMPILED, SHARDED, SMALL = "quick", "compiled", "sharded", "small"
TIMED, BUDGETED, PARTED, BUILT, LAUNCHED = "timed", "budgeted", "parted", "built", "launched"
"""Sweeps of real performance jobs, with a budget, of two parts (shard=) that are merged, of two builds, by joblib."""
MEMORY_ROWS = (OUT_OF_MEMORY, FAIL_TO_RUN, EAGER_FAIL_TO_RUN, MODEL_FAIL_TO_LOAD, CRASH)
FAULTS_A_SWEEP = 5
UNWRITABLE = (
    *("disk full", "every n-th call fails", "folder read-only", "no descriptors left to a worker"),
    *("files of 1 kB at most, a worker", "files of 1 kB at most, the orchestrator"),
)
"""Kinds after which the calls of timed code may not have been kept for the judge."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    sweeps: where it can be done. rows: what the job that it hits may end with instead of what it ends with on a quiet
    day, as far as nobody could tell that it was not the job's own doing. weight: how often it comes.
    """

    name: str
    sweeps: tuple[str, ...] = (QUICK, SMALL)
    rows: tuple[str, ...] = ()
    weight: float = 1.0


def _signals(target: str, sweeps: tuple[str, ...], rows: dict[str, tuple[str, ...]], slow: float) -> list[Kind]:
    return [
        Kind(f"{name} to {target}", sweeps, rows.get(name, ()), slow if name == "SIGSTOP" else 1.0) for name in SIGNALS
    ]


KINDS: tuple[Kind, ...] = (
    # a second SIGKILL on the second attempt is believed; SIGSEGV is the compiler's own way to die
    *_signals(
        "a worker",
        (QUICK, SMALL, SHARDED, TIMED, BUDGETED, PARTED, BUILT),
        {"SIGKILL": (CRASH,), "SIGSEGV": (CRASH,)},
        0.6,
    ),
    # the compiler reports what became of its process, and that is a row
    *_signals(
        "a compile worker",
        (COMPILED,),
        dict.fromkeys(SIGNALS, (FAIL_TO_RUN, CRASH, TIMEOUT)),
        0.5,
    ),
    *_signals("the fork server", (QUICK, SMALL, SHARDED, TIMED, BUDGETED, PARTED, BUILT), {}, 0.6),
    *_signals("a shard runner", (SHARDED,), {}, 1.0),
    *_signals("the orchestrator", (QUICK, SMALL, TIMED, BUDGETED), {}, 1.0),
    *_signals("a part's orchestrator", (PARTED,), {}, 0.5),
    *_signals("a launched shard", (LAUNCHED,), {}, 0.5),
    *_signals("the launching orchestrator", (LAUNCHED,), {}, 0.5),
    Kind("SIGKILL to a merge", (PARTED,), (), 0.5),
    Kind("SIGTERM to a merge", (PARTED,), (), 0.5),
    Kind("SIGKILL to what makes a build", (BUILT,), (), 0.5),
    Kind("SIGTERM to what makes a build", (BUILT,), (), 0.5),
    Kind("SIGKILL to the orchestrator, making a build", (BUILT,), (), 0.5),
    Kind("SIGTERM to the orchestrator, making a build", (BUILT,), (), 0.5),
    Kind("SIGKILL to a build's server", (BUILT,), (), 0.5),
    Kind("disk full, making a build", (BUILT,), (), 0.5),
    Kind("a build's python removed", (BUILT,)),
    Kind("disk full", (QUICK, COMPILED, SMALL, TIMED, BUDGETED, PARTED)),
    Kind("every n-th call fails", (QUICK, SMALL, SHARDED, TIMED, BUDGETED, PARTED, BUILT), (), 2.0),
    Kind("no locks", (QUICK, SMALL, TIMED, BUDGETED)),
    Kind("folder read-only"),
    Kind("result truncated, running"),
    Kind("result truncated, stopped"),
    Kind("result overwritten, running"),
    Kind("result overwritten, stopped"),
    Kind("cache folder removed", (COMPILED, SMALL), (), 1.5),
    Kind("clock set back"),
    Kind("memory starved (cgroup)", (QUICK, SMALL), MEMORY_ROWS),
    Kind("memory starved (rlimit)", (QUICK, SMALL), MEMORY_ROWS),
    Kind("no descriptors left to a worker", (QUICK, SMALL), (), 0.7),
    Kind("no descriptors left to the orchestrator", (QUICK, SMALL, BUDGETED), (), 0.7),
    Kind("files of 1 kB at most, a worker", (QUICK, SMALL), (), 0.7),
    Kind("files of 1 kB at most, the orchestrator", (QUICK, SMALL, BUDGETED), (), 0.7),
    Kind("a fifth of a CPU (cgroup)", (QUICK, SMALL, TIMED)),
    Kind("second orchestrator", (QUICK, SMALL)),
)
NAMED = {kind.name: kind for kind in KINDS}
SHORT = (
    *("SIGKILL to a worker", "result truncated, running", "SIGKILL to the fork server", "disk full"),
    *("SIGKILL to the orchestrator", "second orchestrator", "SIGSEGV to a worker", "folder read-only"),
    *("SIGTERM to a worker", "cache folder removed", "SIGTERM to the orchestrator", "result overwritten, stopped"),
)
"""The faults of the short form, in the order of two sweeps."""


@dataclass(frozen=True)
class Fault:
    """Done once at least `after` jobs have a result, and `delay` seconds later."""

    kind: Kind
    after: int
    delay: float


@dataclass(frozen=True)
class Plan:
    """One sweep of the campaign, and what is done to it, in order."""

    sweep: str
    faults: tuple[Fault, ...]


def schedule(seed: int, count: int, possible: Collection[str]) -> list[Plan]:
    """Return plans with `count` faults in all, each kind as often as its weight says, where it is `possible`."""
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if kind.name in possible]
    total = sum(kind.weight for kind in kinds)
    chosen = [kind for kind in kinds for _ in range(max(1, round(count * kind.weight / total)))]
    while len(chosen) < count:
        chosen.append(chance.choice(kinds))
    chance.shuffle(chosen)
    return _grouped(chosen[:count], chance)


def short(possible: Collection[str]) -> list[Plan]:
    """Return the short form: two small sweeps."""
    chosen = [NAMED[name] for name in SHORT if name in possible]
    half = len(chosen) // 2
    return [Plan(SMALL, tuple(_spread(part, random.Random(0)))) for part in (chosen[:half], chosen[half:])]


def _grouped(kinds: Sequence[Kind], chance: random.Random) -> list[Plan]:
    """Put each fault into a sweep where it can be done, `FAULTS_A_SWEEP` together."""
    open_plans: dict[str, list[Kind]] = {}
    plans = []
    for kind in kinds:
        sweep = chance.choice([name for name in kind.sweeps if name != SMALL])
        group = open_plans.setdefault(sweep, [])
        group.append(kind)
        if len(group) == FAULTS_A_SWEEP:
            plans.append(Plan(sweep, tuple(_spread(group, chance))))
            del open_plans[sweep]
    return plans + [Plan(sweep, tuple(_spread(group, chance))) for sweep, group in open_plans.items()]


def _spread(kinds: Sequence[Kind], chance: random.Random) -> list[Fault]:
    """Spread faults over the first part of a sweep, in order; what is done later finds nothing that runs."""
    return [Fault(kind, place, chance.uniform(0.0, 0.8)) for place, kind in enumerate(kinds)]


def sooner(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return faults that came too late for a sweep that was quick, for a new one: from its start on, less delayed."""
    return tuple(Fault(fault.kind, place, fault.delay / 2) for place, fault in enumerate(faults))
