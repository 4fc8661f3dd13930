"""In how many environments the rows of one sweep were measured: a launcher, or machines whose folders were joined."""

from __future__ import annotations

import functools
import typing
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from orchestrator.records import build_name
from orchestrator.results.configuration import flatten
from orchestrator.results.load import JobOutcome, once
from orchestrator.words import plural, some

OF_A_JOB = frozenset({"threads", "interop_threads", "variables", "gpu", "toolchain"})
"""What a job's environment has that jobs of one machine differ in."""
INSTALLED = "installed"
"""All distributions of a job's environment, as one text (`probes.environment.installed`)."""
OF_A_BUILD = frozenset({"python", "packages", INSTALLED, "torch", "torch_git", "torch_cuda"})
"""What it has that builds differ in."""
OF_WORKERS = ("host", "cpu", "cpu_capability", "gpu", "toolchain")
"""What a job's environment has that its worker knows better than who planned the sweep, or alone."""
Flat = tuple[tuple[str, str], ...]
Told = TypeVar("Told", bound=Hashable)


@once
def environment_of(outcome: JobOutcome) -> tuple[Flat, str] | None:
    """Return where a job ran, by which jobs of one machine are alike, and its slot; None where nothing is told."""
    if not outcome.environment:
        return None
    slot = outcome.facts.get("slot")
    left_out = OF_A_JOB | ({"affinity"} if slot else frozenset())
    return _one((tuple(sorted(_flat(_without(outcome.environment, left_out)))), str(slot)))


@once
def of_workers(outcome: JobOutcome) -> tuple[tuple[str, Any], ...]:
    """Return what a job's worker tells of where it ran (`OF_WORKERS`), flat."""
    found = outcome.environment
    return _one(tuple(flat_environment({key: found[key] for key in OF_WORKERS if key in found}).items()))


def _one(value: Told) -> Told:
    return typing.cast(Told, _first_equal(value))


@functools.lru_cache(maxsize=256)
def _first_equal(value: Hashable) -> Hashable:
    """Return the first value that was equal to this one: of 100,000 jobs most have the same environment."""
    return value


def flat_environment(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as flat keys; lists become one text, so that they are compared as a whole.

    Without `INSTALLED`: packages that compilers are made of are compared everywhere, all others between builds.
    """
    flat = {}
    for key, value in flatten({key: value for key, value in header.items() if key != INSTALLED}):
        if isinstance(value, (list, tuple)):
            value = ", ".join(" ".join(map(str, v.values())) if isinstance(v, Mapping) else str(v) for v in value)
        if value not in (None, "", {}):
            flat[key] = value
    return flat


def of_a_build(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what builds differ in, flat, every installed package included, as "packages.NAME"."""
    own = flat_environment({key: environment[key] for key in OF_A_BUILD if key in environment})
    return {**dict(_installed(str(environment.get(INSTALLED, "")))), **own}


@functools.lru_cache(maxsize=64)
def _installed(text: str) -> Flat:
    pairs = (one.partition("==") for one in text.split())
    return tuple((f"packages.{name}", version) for name, _, version in pairs)


def mixed(outcomes: Sequence[JobOutcome]) -> Iterator[str]:
    """Yield, where results come from several environments, how many, and in what each differs from the first.

    A row whose figures come from several is named: its speed-up compares across them. The slots of one machine
    (`execution.cpu_sets`) are no environments of their own, but what is compared across them is named, too. Builds are
    meant to differ: it is said in what, and whether they ran on several machines.
    """
    builds: dict[str, list[JobOutcome]] = defaultdict(list)
    for outcome in outcomes:
        builds[build_name(outcome.job.workload.build)].append(outcome)
    for name, own in builds.items():
        yield from (f"build {name}: {line}" if len(builds) > 1 else line for line in _of_one_build(own))
    several = builds if len(builds) > 1 else {}  # results are read for it
    seen = {name: found for name, own in several.items() if (found := _seen(own))}
    if seen:
        yield from (f"Of the build {name} nothing has been run." for name in builds if name not in seen)
        first, *others = seen
        yield from (_beside(first, seen[first], name, seen[name]) for name in others)


def _seen(outcomes: Sequence[JobOutcome]) -> dict[str, str]:
    found = (one.environment for one in outcomes if one.environment)
    return _whole(_flat(_without(next(found, {}), OF_A_JOB)))


def _without(environment: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in environment.items() if key not in left_out}


def _whole(flat: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a flat environment in which each package that is installed has a key of its own."""
    told = dict(flat)
    return {**dict(_installed(told.pop(INSTALLED, ""))), **told}


def _beside(first: str, known: Mapping[str, str], name: str, own: Mapping[str, str]) -> str:
    """Say in what two builds differ, by the environment of a job of each."""
    keys = [key for key in {**known, **own} if known.get(key) != own.get(key)]
    machines = [key for key in keys if key.partition(".")[0] not in OF_A_BUILD]
    changed = {key.removeprefix("packages."): (known.get(key, "none"), own.get(key, "none")) for key in keys}
    told = [f"{what} {before} -> {after}" for what, (before, after) in changed.items()]  # torch once, as it says itself
    if machines:
        return f"! The builds {first} and {name} were not run in the same place: {some(told, 6)}."
    if not told:
        return f"! The builds {first} and {name} have the same Python, torch and other packages."
    return f"The build {name} beside {first}: {some(told, 6)}."


def _of_one_build(outcomes: Sequence[JobOutcome]) -> Iterator[str]:
    found: Counter[Flat] = Counter()
    rows: dict[str, set[Flat]] = defaultdict(set)
    slots: dict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        where = environment_of(outcome)
        if where is not None:
            key, slot = where
            found[key] += 1
            workload = outcome.job.workload
            name = f"{workload.model} {workload.mode.name} {workload.dtype} {workload.device}"
            rows[name].add(key)
            slots[name].add(slot)
    if across_slots := [name for name, on in slots.items() if len(on) > 1]:
        yield f"! Compared across slots: {some(across_slots, 3)}. Run all of a workload on one."
    if len(found) < 2:
        return
    (first, count), *others = found.most_common()
    yield f"Results come from {len(found)} environments, {plural(count, 'job')} from the first."
    known = _whole(first)
    for other, jobs in others[:3]:
        differs = [f"{key} {value}" for key, value in sorted(_whole(other).items()) if known.get(key) != value]
        yield f"  {plural(jobs, 'job')} from another: {some(differs, 4)}"
    across = [name for name, keys in rows.items() if len(keys) > 1]
    if across:
        yield f"! Compared across environments: {some(across, 3)}. Run all of a workload in one."


def _flat(environment: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in environment.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", str(value)
