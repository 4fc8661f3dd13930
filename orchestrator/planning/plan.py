"""Points and a machine in, job graph out: a pure function. Same input, same ids, same order.

For every point and model of its suite it adds the job that was asked for and what that job needs:

    reference -> accuracy                 eager outputs that it is judged by, shared by all compilers
    baseline  -> performance              eager's own job in the same round
    round r-1 -> round r                  another fresh process, with the compile cache of the one before
    accuracy  -> performance              with gate=accuracy
    performance -> accuracy               else: the code that round 0 timed is judged, or its compile cache is used
    reference -> performance              whose calls round 0 makes for that, after its timing

What a job needs depends on the kind of its measure (`orchestrator.records.KINDS`): a judged one has a reference, a
timed one rounds and baselines, an observed one nothing.

`exclude` takes away what was asked for; what remains still gets the baselines and references that it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.planning import cost
from orchestrator.planning.machine import Machine
from orchestrator.planning.points import EAGER_COMPILER, Point
from orchestrator.planning.ranks import check_devices
from orchestrator.planning.rounds import JUDGED_TURN, Turns, has_tolerance, kind_of, makes_series
from orchestrator.planning.selection import matches, names
from orchestrator.planning.shards import Unit, comparison
from orchestrator.planning.suites import Model
from orchestrator.plugin_classes import option_names, resolve
from orchestrator.records import (
    EAGER,
    JUDGED,
    OBSERVED,
    REFERENCE_KIND,
    REFERENCE_MEASURE,
    TIMED,
    JobSpec,
    Need,
    PluginSpec,
    Verdict,
    Workload,
    job_id,
)
from orchestrator.store import JobGraph

REFERENCE = PluginSpec(name=REFERENCE_MEASURE, target="orchestrator.measures.reference.Reference")
ACCURACY = PluginSpec(name="accuracy", target="orchestrator.measures.accuracy.Accuracy")

STAGES = (REFERENCE_KIND, JUDGED, TIMED, OBSERVED)
"""Within a comparison, by kind: the cheap verdicts first, so that a gate can spare the timing."""


def plan(points: Iterable[Point], machine: Machine) -> JobGraph:
    """Return the job graph. Raises UsageError when nothing is left to run, or a suite lacks what a job needs."""
    planner = _Planner(machine, points := list(points))
    for point in points:
        for model in point.suite.models:
            planner.ask(point, model)
    if not planner.jobs:
        raise UsageError(f"nothing to run: exclude leaves none of the jobs of {len(points)} grid points")
    check_devices(list(planner.jobs.values()), machine)
    planner.judge_what_is_timed()
    return JobGraph(tuple(sorted(planner.jobs.values(), key=lambda job: planner.positions[job.id])))


class _Planner:
    def __init__(self, machine: Machine, points: list[Point]) -> None:
        self.machine = machine
        self.jobs: dict[str, JobSpec] = {}
        # where each job stands: one comparison after the other, in it stage, workload, and turn (`Turns.of`)
        self.positions: dict[str, tuple[int, int, int, int, int, int, bytes]] = {}
        self._asked: set[str] = set()  # jobs that a point asked for itself, not only for the sake of another job
        self._turns = Turns(point.build for point in points)
        self._comparisons: dict[Unit, int] = {}
        self._places: dict[str, int] = {}  # of workloads, by their fingerprint without the build
        self._defaults: dict[str, dict[str, Any]] = {}
        self._compiling: dict[str, float] = {}  # seconds that each judged job compiles
        self._workloads: dict[Any, Workload] = {}
        self._measures: dict[Any, PluginSpec] = {}
        self._references: dict[int | None, PluginSpec] = {None: REFERENCE}  # by how many calls are judged
        self._modes: dict[tuple[int, int], PluginSpec] = {}
        self._points = {id(point): number for number, point in enumerate(points)}
        judged = (point.measure for point in points if kind_of(point.measure) == JUDGED)
        self._gate = next((measure for measure in judged if has_tolerance(measure)), ACCURACY)

    def ask(self, point: Point, model: Model) -> None:
        """Add the job of a point and a model, and what it needs."""
        kind = kind_of(point.measure)
        if kind == JUDGED:
            self._ask_judged(point, model, point.measure)
        elif kind == OBSERVED:
            self._ask_observed(point, model)
        else:
            self._ask_timed(point, model)

    def _ask_judged(self, point: Point, model: Model, measure: PluginSpec) -> JobSpec | None:
        """Return the judged job, None when it is excluded."""
        workload = self._workload(point, model, judged=True)
        measure = self._filled(point, model, measure, workload)
        excluded, verdict = self._known_beforehand(point, model, workload, measure)
        if excluded:
            return None
        needs: list[Need] = []
        if verdict is None:
            calls = measure.options.get("calls")
            made = self._references.setdefault(calls, dataclasses.replace(REFERENCE, options={"calls": calls}))
            reference = self._add(point, model, workload, EAGER_COMPILER, made, kind=REFERENCE_KIND)
            needs.append(Need(job=reference.id, kind="reference"))
        return self._add(point, model, workload, point.compiler, measure, kind=JUDGED, needs=needs, verdict=verdict)

    def _ask_observed(self, point: Point, model: Model) -> None:
        batch_size = getattr(resolve(point.measure.target), "default_batch_size", None)
        workload = self._workload(point, model, judged=False, batch_size=batch_size)
        measure = self._filled(point, model, point.measure, workload)
        excluded, verdict = self._known_beforehand(point, model, workload, measure)
        if not excluded:
            self._add(point, model, workload, point.compiler, measure, kind=OBSERVED, verdict=verdict)

    def _ask_timed(self, point: Point, model: Model) -> None:
        workload = self._workload(point, model, judged=False)
        compiler, measure = point.compiler, point.measure
        excluded, verdict = self._known_beforehand(point, model, workload, measure)
        if excluded:
            return
        if verdict is not None:
            self._add(point, model, workload, compiler, measure, kind=TIMED, verdict=verdict)
            return
        compiled = compiler.name != EAGER
        gate = self._ask_judged(point, model, self._gate) if compiled and point.gate else None
        baseline: JobSpec | None = None
        previous: JobSpec | None = None
        for round in range(point.rounds):
            needs = [Need(job=previous.id, kind="round")] if previous else []
            if compiled:
                before = [Need(job=baseline.id, kind="round")] if baseline else []
                baseline = self._add(
                    point, model, workload, EAGER_COMPILER, measure, kind=TIMED, round=round, needs=before
                )
                needs.append(Need(job=baseline.id, kind="baseline"))
            if gate is not None:
                needs.append(Need(job=gate.id, kind="gate"))
            previous = self._add(point, model, workload, compiler, measure, kind=TIMED, round=round, needs=needs)

    def judge_what_is_timed(self) -> None:
        """Let judged jobs wait for round 0 of the same workload and compiler, and that make the calls to be judged."""
        timed = {
            self._code(job): job
            for job in reversed(self.jobs.values())
            if job.kind == TIMED
            and job.round == 0
            and makes_series(job.measure)
            and all(need.kind != "gate" for need in job.needs)
        }
        for job in list(self.jobs.values()):
            before = timed.get(self._code(job)) if job.kind == JUDGED and job.verdict is None else None
            if before is None or before.verdict is not None:
                continue
            place, group = self.positions[before.id], self.positions[job.id]
            self.positions[job.id] = (*place[:5], JUDGED_TURN, group[6])
            self.jobs[job.id] = dataclasses.replace(
                job,
                needs=(*job.needs, Need(job=before.id, kind="timed")),
                cost_s=job.cost_s - cost.spared_s(self._compiling[job.id], job.is_training),
            )
            if not job.training:
                series = [Need(job=need.job, kind="series") for need in job.needs if need.kind == "reference"]
                known = self.jobs[before.id]
                new = [need for need in series if need not in known.needs]
                self.jobs[before.id] = dataclasses.replace(known, needs=(*known.needs, *new))

    def _code(self, job: JobSpec) -> tuple[Any, ...]:
        """Return what two jobs share that run the same code: all but the measure."""
        return (*map(self._turns.print, (job.workload, job.compiler)), job.launcher, *sorted(job.env.items()))

    def _add(
        self,
        point: Point,
        model: Model,
        workload: Workload,
        compiler: PluginSpec,
        measure: PluginSpec,
        *,
        kind: str,
        round: int = 0,
        needs: Sequence[Need] = (),
        verdict: Verdict | None = None,
    ) -> JobSpec:
        """Add a job unless it is there already; return the one that is in the plan."""
        prints = map(self._turns.print, (workload, compiler, measure))
        key = job_id(*prints, round=round, launcher=point.launcher, env=point.env)
        asked = compiler.name == point.compiler.name and measure.name == point.measure.name
        if key in self.jobs:
            if asked and key not in self._asked:
                self.jobs[key] = dataclasses.replace(self.jobs[key], point=self._points[id(point)])
                self._asked.add(key)
            return self.jobs[key]
        if asked:
            self._asked.add(key)
        if len(self.jobs) >= limits.JOBS:
            raise UsageError(f"these are over {limits.JOBS:,} jobs: sweep less at a time, or fewer rounds")
        on_disk = cost.reference_bytes(workload, model.params_m, point.training) if kind == REFERENCE_KIND else 0.0
        self.jobs[key] = JobSpec(
            id=key,
            workload=workload,
            compiler=compiler,
            measure=measure,
            round=round,
            launcher=point.launcher,
            env=point.env,
            needs=tuple(needs),
            timeout_s=point.timeout_s,
            cost_s=0.0 if verdict else self._cost_s(point, model, workload, compiler, measure, kind, round),
            verdict=verdict,
            point=self._points[id(point)],
            kind=kind,
            disk_bytes=on_disk,
            memory_bytes=0.0 if verdict else cost.memory_bytes(workload, model.params_m, point.training),
            training=point.training,
        )
        if kind == JUDGED:
            self._compiling[key] = cost.compile_s(compiler, workload, model.params_m, point.training)
        self.positions[key] = (*self._place(workload, kind), *self._turns.of(workload, compiler, round))
        return self.jobs[key]

    def _place(self, workload: Workload, kind: str) -> tuple[int, int, int]:
        group = self._comparisons.setdefault(comparison(workload), len(self._comparisons))
        alike = self._turns.without_build(workload)
        return group, STAGES.index(kind), self._places.setdefault(alike, len(self._places))

    def _known_beforehand(
        self, point: Point, model: Model, workload: Workload, measure: PluginSpec
    ) -> tuple[bool, Verdict | None]:
        """Return (is the job excluded, the verdict that the suite has on it)."""
        job = names(workload, point.compiler, measure, point.training)
        verdict = model.verdict(job) or model.without_length(point.sequence_length)
        return any(matches(rule, job) for rule in point.exclude), verdict

    def _workload(self, point: Point, model: Model, *, judged: bool, batch_size: int | None = None) -> Workload:
        """Return the workload. `batch_size` stands for the suite's, where the point has none."""
        device = self.machine.device if point.device == "auto" else point.device
        kind = device.partition(":")[0]
        batch_size = point.batch_size or batch_size or (1 if model.gone else model.batch(kind, judged))
        length = model.length(point.sequence_length)
        mode = self._mode(point.mode, model)
        ranks = mode.options.get("ranks", 1) if mode.options.get("parallel") else 1
        threads = point.threads or self.machine.threads_of(ranks)
        key = (
            id(point.suite),
            id(model),  # not its name: two models of an open suite may share one
            id(mode),
            point.dtype,
            device,
            batch_size,
            length,
            point.seed,
            threads,
            point.build,
        )
        if key not in self._workloads:
            self._workloads[key] = Workload(
                suite=point.suite.name,
                builder=point.suite.builder(model),
                mode=mode,
                dtype=point.dtype,
                device=device,
                batch_size=batch_size,
                sequence_length=length,
                seed=point.seed,
                threads=threads,
                build=point.build,
            )
        return self._workloads[key]

    def _mode(self, mode: PluginSpec, model: Model) -> PluginSpec:
        """Return the mode; one that makes tokens, and does not say how many, makes those of the model's entry."""
        if model.new_tokens is None or mode.options.get("new_tokens") is not None:
            return mode
        if "new_tokens" not in option_names(mode.target):
            return mode
        options = {**mode.options, "new_tokens": model.new_tokens}
        return self._modes.setdefault((id(mode), model.new_tokens), dataclasses.replace(mode, options=options))

    def _filled(self, point: Point, model: Model, measure: PluginSpec, workload: Workload) -> PluginSpec:
        """Return the measure with what it leaves open: the suite's tolerance and exceptions, a quantisation's rule."""
        if not has_tolerance(measure):
            return measure
        device = workload.device.partition(":")[0]
        tolerance = model.tolerance_for(device, point.training)
        key = (id(measure), tolerance, model.cosine, model.larger_multiplier, *point.judged_by.items())
        if key not in self._measures:
            given = tolerance if tolerance is not None else measure.options.get("tolerance")
            if given is None and model.gone is None and kind_of(measure) == JUDGED:
                mode = "training" if point.training else "inference"
                raise UsageError(
                    f"suite.catalog.{model.name} has no tolerance for {mode}: add one, or set measure.options.tolerance"
                )
            suite = {"tolerance": tolerance, "cosine": model.cosine, "larger_multiplier": model.larger_multiplier}
            own = {name: value for name, value in measure.options.items() if value is not None}
            known = option_names(measure.target)
            quantized = {name: value for name, value in point.judged_by.items() if name in known}
            self._measures[key] = dataclasses.replace(measure, options={**suite, **quantized, **own})
        return self._measures[key]

    def _cost_s(
        self,
        point: Point,
        model: Model,
        workload: Workload,
        compiler: PluginSpec,
        measure: PluginSpec,
        kind: str,
        round: int,
    ) -> float:
        """Return the estimated seconds of a job, its process included."""
        step = cost.step_s(workload, model.params_m, point.training)
        compiling = cost.compile_s(compiler, workload, model.params_m, point.training)
        start = cost.START[point.launcher]
        if kind == REFERENCE_KIND:
            return start + cost.reference_s(step)
        if kind == JUDGED:
            return start + cost.accuracy_s(step, compiling)
        if kind == OBSERVED:
            return start + cost.observed_s(step, compiling, model.params_m, measure)
        return start + cost.performance_s(step, compiling, round, self._settings(measure))

    def _settings(self, measure: PluginSpec) -> dict[str, Any]:
        """Return all options of a measure: those that are set, over the defaults of its class."""
        key = self._turns.print(measure)
        if key not in self._defaults:
            fields = dataclasses.fields(resolve(measure.target))
            self._defaults[key] = {f.name: f.default for f in fields} | dict(measure.options)
        return self._defaults[key]
