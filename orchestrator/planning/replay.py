"""Which jobs of a stored plan to run again, with what they need. Pure functions: a plan in, a plan out."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.rounds import JUDGED_TURN, Turns, is_timed
from orchestrator.planning.selection import Names, matches, names, parse_only
from orchestrator.records import IN_TURNS, REFERENCE_MEASURE, Build, JobSpec, Need, PluginSpec, fingerprint, job_id
from orchestrator.store import JobGraph
from orchestrator.suites import user_files

IF_CHOSEN = ("round", "timed", "series", IN_TURNS)
"""Kinds of needs whose job is no reason to run it again."""


def closed(graph: JobGraph, chosen: Iterable[str]) -> JobGraph:
    """Return the jobs with the ids `chosen` and all that they need, in plan order.

    Of earlier rounds only the first is needed, for the compile cache that it leaves; eager has none and needs none.
    A judged job needs no timed one: without it, it compiles a twin. With it, both keep what joins them.
    """
    jobs = {job.id: job for job in graph.jobs}
    wanted: set[str] = set()
    waiting = list(chosen)
    while waiting:
        job = jobs[waiting.pop()]
        if job.id not in wanted:
            wanted.add(job.id)
            waiting += [need.job for need in job.needs if need.kind not in IF_CHOSEN and need.job in jobs]
            waiting += [] if job.is_eager else list(_earlier_rounds(job, jobs))[-1:]
    judged = {need.job for name in wanted for need in jobs[name].needs if need.kind == "timed"}
    return JobGraph(tuple(_with_needs(job, jobs, wanted, judged) for job in graph.jobs if job.id in wanted))


def _with_needs(job: JobSpec, jobs: Mapping[str, JobSpec], wanted: set[str], judged: set[str]) -> JobSpec:
    """Return the job with the needs that are left: instead of a round that is left out, the last one before it."""
    needs = [need for need in job.needs if need.job in wanted and (need.kind != "series" or job.id in judged)]
    before = next((earlier for earlier in _earlier_rounds(job, jobs) if earlier in wanted), None)
    if before is not None and not any(need.kind == "round" for need in needs):
        needs.insert(0, Need(job=before, kind="round"))
    return dataclasses.replace(job, needs=tuple(needs))


def _earlier_rounds(job: JobSpec, jobs: Mapping[str, JobSpec]) -> Iterator[str]:
    """Yield the ids of the rounds before that of `job`, the latest first."""
    while True:
        before = next((need.job for need in job.needs if need.kind == "round" and need.job in jobs), None)
        if before is None:
            return
        yield before
        job = jobs[before]


def named(jobs: Iterable[JobSpec], prefix: str) -> JobSpec:
    """Return the one job whose id begins with `prefix`. Raises UsageError when there is none, or several."""
    known = list(jobs)
    found = [job for job in known if prefix and job.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{prefix}' names {len(found)} jobs: {', '.join(f'{j.id} ({j.title})' for j in found[:5])}")
    raise UsageError(f"no job has an id that begins with '{prefix}': {did_you_mean(prefix, [j.id for j in known])}")


def matching(graph: JobGraph, expressions: Sequence[str]) -> set[str]:
    """Return the ids of the jobs that match one of the expressions "key=value,key=value".

    Keys are those of `exclude` (`orchestrator.planning.selection.KEYS`), values may be globs; a key that is given twice
    matches either value. References are not looked at: they have no row. Raises UsageError for an expression that is
    none, or matches nothing.
    """
    rows = [
        (job.id, names(job.workload, job.compiler, job.measure, job.is_training))
        for job in graph.jobs
        if job.measure.name != REFERENCE_MEASURE
    ]
    chosen: set[str] = set()
    for expression in expressions:
        rule = parse_only(expression)
        found = {name for name, called in rows if matches(rule, called)}
        if not found:
            raise UsageError(f"--only {expression}: {_why_nothing(rule, [called for _, called in rows])}")
        chosen |= found
    return chosen


def _why_nothing(rule: Mapping[str, list[str]], rows: Sequence[Names]) -> str:
    for key, values in rule.items():
        if not any(matches({key: values}, called) for called in rows):
            known = {str(name) for called in rows for name in called[key] if name is not None}
            return f"no {key} is named '{values[0]}': {did_you_mean(values[0], known)}"
    return "no row has all of that"


def with_rounds(graph: JobGraph, count: int) -> JobGraph:
    """Return the plan with `count` rounds of every job that has rounds.

    More rounds are planned as the planner would have: after the last one, with the baseline of the same round.
    """
    repeated = _Rounds([job for job in graph.jobs if job.round < count])
    repeated.extend(count)
    return JobGraph(tuple(repeated.in_order()))


def row_of(graph: JobGraph, job: JobSpec) -> JobGraph:
    """Return the rounds of the row that a job belongs to, with what they need, in plan order."""
    return closed(graph, [one.id for one in graph.jobs if one.family == job.family])


def with_code_of(
    graph: JobGraph, paths: Sequence[str], moved: tuple[str, str] | None, build: Build | None = None
) -> dict[str, JobSpec]:
    """Return id -> the same job with other code: its interpreter finds `paths` first, or is that of a build.

    moved: files that a job names below the first folder are those of the second. What it was planned to read of them
    (the hash of a file of models) is read anew; a file that is not there is left to the job to tell of.
    """
    found: dict[str, JobSpec] = {}
    for job in graph.jobs:
        before = job.env.get("PYTHONPATH") or os.environ.get("PYTHONPATH")
        env = {**job.env, "PYTHONPATH": os.pathsep.join([*paths, *([before] if before else [])])} if paths else job.env
        builder, mode = (_moved(spec, moved) for spec in (job.workload.builder, job.workload.mode))
        workload = dataclasses.replace(job.workload, builder=builder, mode=mode, build=build or job.workload.build)
        compiler, measure = _moved(job.compiler, moved), _moved(job.measure, moved)
        prints = fingerprint(workload), fingerprint(compiler), fingerprint(measure)
        found[job.id] = dataclasses.replace(
            job,
            id=job_id(*prints, round=job.round, launcher=job.launcher, env=env),
            workload=workload,
            compiler=compiler,
            measure=measure,
            env=env,
            needs=tuple(dataclasses.replace(need, job=found[need.job].id) for need in job.needs),
        )
    return found


def in_turns(first: Mapping[str, JobSpec], second: Mapping[str, JobSpec]) -> Iterator[JobSpec]:
    """Yield two sides' jobs for the same keys, round by round, those that time something in turns with each other.

    Which side goes first changes from round to round. Ranks take no turns: they wait for each other.
    """
    for round in sorted({job.round for job in first.values()}):
        for key in [key for key, job in first.items() if job.round == round]:
            one, other = (first[key], second[key]) if round % 2 == 0 else (second[key], first[key])
            yield one
            if one.id == other.id:
                continue
            together = is_timed(one) and one.workload.parallel is None
            edge = (Need(job=one.id, kind=IN_TURNS),) if together else ()
            yield dataclasses.replace(other, needs=(*other.needs, *edge))


def _moved(spec: PluginSpec, moved: tuple[str, str] | None) -> PluginSpec:
    if moved is None:
        return spec
    old, new = moved
    options = {
        key: f"{new}{value[len(old) :]}" if isinstance(value, str) and value.startswith(f"{old}{os.sep}") else value
        for key, value in spec.options.items()
    }
    if options != spec.options and "sha256" in options:
        file = Path(str(options.get("model")).rpartition(":")[0])
        options["sha256"] = user_files.described(file).get("sha256")
    return dataclasses.replace(spec, options=options)


class _Rounds:
    """Jobs in plan order, to which rounds can be added."""

    def __init__(self, planned: Sequence[JobSpec]) -> None:
        self._planned = planned
        self._jobs = {job.id: job for job in planned}
        self._turns = Turns(job.workload.build for job in planned)

    def extend(self, count: int) -> None:
        """Add rounds until every job that has rounds has `count`. Needed jobs come first, as in the plan."""
        last: dict[str, JobSpec] = {}
        for job in self._planned:
            if is_timed(job) and job.verdict is None:
                family = self._id(job, -1)
                last[family] = max(last.get(family, job), job, key=lambda one: one.round)
        for job in last.values():
            for _ in range(job.round + 1, count):
                job = self._next(job)
                self._jobs[job.id] = job

    def _next(self, job: JobSpec) -> JobSpec:
        """Return the round after that of `job`."""
        needs = [self._next_need(job, need) for need in job.needs if need.kind not in ("series", IN_TURNS)]
        if job.round == 0:
            needs.insert(0, Need(job=job.id, kind="round"))
        return dataclasses.replace(job, id=self._id(job, job.round + 1), round=job.round + 1, needs=tuple(needs))

    def _next_need(self, job: JobSpec, need: Need) -> Need:
        needed = self._jobs[need.job]
        if need.kind == "round" and needed.round == job.round - 1:
            return Need(job=job.id, kind="round")
        if need.kind == "baseline":
            return Need(job=self._id(needed, needed.round + 1), kind="baseline")
        return need

    def in_order(self) -> Iterator[JobSpec]:
        """Yield the jobs in plan order: what is timed of a workload stands together, round by round, eager first.

        What judges the code of round 0 stands behind that round.
        """
        blocks: dict[str, list[JobSpec]] = defaultdict(list)
        for job in self._jobs.values():
            if _is_in_block(job):
                blocks[self._turns.without_build(job.workload)].append(job)
        left = Counter(self._turns.without_build(job.workload) for job in self._planned if _is_in_block(job))
        for job in self._planned:
            if not _is_in_block(job):
                yield job
                continue
            workload = self._turns.without_build(job.workload)
            left[workload] -= 1
            if not left[workload]:
                yield from sorted(blocks[workload], key=self._turn)

    def _turn(self, job: JobSpec) -> tuple[int, int, int, bytes]:
        round, build, own, chance = self._turns.of(job.workload, job.compiler, job.round)
        return round, build, own if is_timed(job) else JUDGED_TURN, chance

    def _id(self, job: JobSpec, round: int) -> str:
        prints = map(self._turns.print, (job.workload, job.compiler, job.measure))
        return job_id(*prints, round=round, launcher=job.launcher, env=job.env)


def _is_in_block(job: JobSpec) -> bool:
    return is_timed(job) or any(need.kind == "timed" for need in job.needs)
