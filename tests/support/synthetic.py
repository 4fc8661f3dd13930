"""Sweeps made by hand, with known numbers: for tests of tables, reports and whatever reads a sweep folder.

Everything defaults to a passing job, so that a test says only what it is about:

    sweep = SyntheticSweep(tmp_path)
    eager = sweep.performance("Bert", "eager", latency=0.100)
    sweep.performance("Bert", "inductor", latency=0.050, pairs=[(0.100, 0.050)] * 20, baseline=eager)
    folder = sweep.write()
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator.comparison.snapshot import Snapshot, of_results
from orchestrator.records import (
    EAGER,
    JUDGED,
    PASS,
    REFERENCE_KIND,
    TIMED,
    Failure,
    JobResult,
    JobSpec,
    Need,
    PluginSpec,
    Samples,
    Verdict,
    Workload,
    fingerprint,
    job_id,
)
from orchestrator.results.load import load
from orchestrator.store import JobGraph, Sweep, SweepFolder

MIB = 2**20
TARGETS = {
    "eager": "orchestrator.compilers.eager.Eager",
    "performance": "orchestrator.measures.performance.Performance",
    "accuracy": "orchestrator.measures.accuracy.Accuracy",
    "reference": "orchestrator.measures.reference.Reference",
}


def workload(model: str = "Bert", **changes: Any) -> Workload:
    """Return a workload; `changes` are its fields, `mode` may be a name."""
    fields: dict[str, Any] = {
        "suite": "quick",
        "builder": PluginSpec(
            name=model,
            target="orchestrator.suites.huggingface.HuggingFaceModel",
            options={"class_name": model},
        ),
        "mode": "inference",
        "dtype": "float16",
        "device": "cpu",
        "batch_size": 4,
        "sequence_length": 128,
        "seed": 0,
        "threads": 2,
    } | changes
    if isinstance(fields["mode"], str):
        mode = fields["mode"]
        fields["mode"] = PluginSpec(name=mode, target=f"orchestrator.modes.{mode}.{mode.capitalize()}")
    return Workload(**fields)


def compiler(name: str, **options: Any) -> PluginSpec:
    target = TARGETS.get(name, "orchestrator.compilers.dynamo.TorchCompile")
    return PluginSpec(name=name, target=target, options=options)


def job(
    model: str | Workload,
    compiler_: str | PluginSpec,
    measure: str = "performance",
    round: int = 0,
    *,
    needs: Sequence[Need] = (),
    launcher: str = "fork",
    env: Mapping[str, str] | None = None,
    verdict: Verdict | None = None,
    cost_s: float = 10.0,
) -> JobSpec:
    """Return a job with its true id."""
    load = workload(model) if isinstance(model, str) else model
    spec = compiler(compiler_) if isinstance(compiler_, str) else compiler_
    asked = PluginSpec(name=measure, target=TARGETS.get(measure, f"orchestrator.measures.{measure}.Other"))
    prints = (fingerprint(load), fingerprint(spec), fingerprint(asked))
    return JobSpec(
        id=job_id(*prints, round=round, launcher=launcher, env=env or {}),
        workload=load,
        compiler=spec,
        measure=asked,
        round=round,
        launcher=launcher,
        env=env or {},
        needs=tuple(needs),
        timeout_s=600.0,
        cost_s=cost_s,
        verdict=verdict,
        kind={"accuracy": JUDGED, "reference": REFERENCE_KIND}.get(measure, TIMED),
    )


def performance_result(
    spec: JobSpec,
    *,
    latency: float | Sequence[float] = 0.1,
    first_call: float | None = None,
    pairs: Sequence[tuple[float, float]] = (),
    peak_mib: float = 600.0,
    base_mib: float = 300.0,
    cache: str | None = None,
    disturbed: Sequence[str] = (),
    counters: Mapping[str, int] | None = None,
    pair_method: str = "interleaved",
    measured: Mapping[str, str] | None = None,
    later: tuple[int, float] | None = None,
    work: Any = None,
    compile_phases: Any = None,
) -> JobResult:
    """Return a passing result. `latency` in seconds: all samples, or the value of 20 equal ones. The first call takes
    as long for eager, of others 5 s.

    later: compilations after the first call, and their seconds. work, compile_phases: the facts of these names.
    """
    values = [latency] * 20 if isinstance(latency, float) else list(latency)
    samples = [Samples(metric="latency", unit="s", better="lower", values=tuple(values))]
    first = first_call or (values[0] if spec.compiler.name == EAGER else 5.0)
    samples.append(Samples(metric="first_call", unit="s", better="lower", values=(first,)))
    if pairs:
        sides = zip(("pair_eager_latency", "pair_latency"), zip(*pairs, strict=True), strict=True)
        samples += [Samples(metric=name, unit="s", better="lower", values=tuple(side)) for name, side in sides]
    eager = spec.compiler.name == EAGER
    phases = {"compile": peak_mib + 150, "steady": peak_mib}
    facts: dict[str, Any] = {
        "cache": cache or ("none" if eager else "cold" if spec.round == 0 else "warm"),
        "disturbed": list(disturbed),
        "memory": {
            "source": "VmHWM",
            "base": int(base_mib * MIB),
            "phases": {name: {"start": 0, "peak": int(peak * MIB), "end": 0} for name, peak in phases.items()},
            "children": {} if eager else {"compile": 400 * MIB},
            "cuda": None,
        },
    }
    if not eager:
        facts["pair"] = {"method": pair_method}
        facts["counters"] = dict(counters or {"graphs": 1, "graph_breaks": 0, "captured_calls": 50, "fallbacks": 0})
    if measured:
        facts["measured"] = dict(measured)
    if work is not None:
        facts["work"] = work
    if compile_phases is not None:
        facts["compile_phases"] = compile_phases
    if later:
        facts["later_compilations"] = {"count": later[0], "seconds": later[1]}
    return JobResult(job_id=spec.id, status=PASS, samples=tuple(samples), facts=facts, started=1000.0, ended=1012.0)


def accuracy_result(spec: JobSpec, *, status: str = PASS, reason: str = "", error: Any = 1e-4) -> JobResult:
    """Return an accuracy result with two tensors: one exact, and "logits" with `error`."""
    tensor = {
        "name": "logits",
        "shape": [4, 128],
        "numel": 512,
        "max_abs_error": error,
        "rmse": error,
        "reference_rmse": 5e-5,
        "cosine": 0.99999,
        "multiplier": 3.0,
        "rule": "rmse",
        "limit": 2e-4,
        "passed": status == PASS,
    }
    exact = tensor | {"name": "loss", "max_abs_error": 0.0, "rmse": 0.0, "rule": "allclose", "passed": True}
    return JobResult(
        job_id=spec.id,
        status=status,
        facts={"accuracy": {"tolerance": 1e-3, "fp64": "ok", "tensors": [exact, tensor]}},
        failure=None if status == PASS else Failure(kind="wrong_result", phase="compare", message=reason),
        started=1000.0,
        ended=1006.0,
    )


def failed_result(spec: JobSpec, status: str, reason: str, phase: str = "compile") -> JobResult:
    failure = Failure(kind="error", phase=phase, message=reason)
    return JobResult(job_id=spec.id, status=status, failure=failure, started=1000.0, ended=1003.0)


class SyntheticSweep:
    """Collects jobs and results, and writes them as a sweep folder."""

    def __init__(self, root: Path, overrides: Sequence[str] = ("compiler=eager,inductor", "dtype=float16")) -> None:
        self.folder = SweepFolder(root)
        self.overrides = overrides
        self.jobs: list[JobSpec] = []
        self.results: list[JobResult] = []
        self.elsewhere: set[str] = set()
        """Ids of jobs of the second of two shards: the folder is the first's."""

    def add(self, spec: JobSpec, result: JobResult | None = None) -> JobSpec:
        """Add a job; without a result it is planned only."""
        self.jobs.append(spec)
        if result is not None:
            self.results.append(result)
        return spec

    def performance(
        self,
        model: str | Workload,
        compiler_: str | PluginSpec,
        round: int = 0,
        *,
        baseline: JobSpec | None = None,
        launcher: str = "fork",
        env: Mapping[str, str] | None = None,
        **figures: Any,
    ) -> JobSpec:
        """Add a performance job that passed with these `figures` (`performance_result`)."""
        needs = [Need(job=baseline.id, kind="baseline")] if baseline is not None else []
        spec = job(model, compiler_, round=round, needs=needs, launcher=launcher, env=env)
        return self.add(spec, performance_result(spec, **figures))

    def accuracy(self, model: str | Workload, compiler_: str | PluginSpec, **figures: Any) -> JobSpec:
        """Add an accuracy job with these `figures` (`accuracy_result`)."""
        spec = job(model, compiler_, "accuracy")
        return self.add(spec, accuracy_result(spec, **figures))

    def largest_batch(self, model: str, size: int | None, bounded_by: str = "memory", **changes: Any) -> JobSpec:
        """Add a job of the suite `tiny`, but for `changes`, that found `size`; None: one that failed."""
        target = "orchestrator.measures.largest_batch.LargestBatch"
        spec = job(workload(model, **{"suite": "tiny", **changes}), "eager", "largest_batch")
        spec = dataclasses.replace(spec, measure=PluginSpec(name="largest_batch", target=target))
        if size is None:
            return self.add(spec, failed_result(spec, "fail_to_run", "why"))
        row = {"largest_batch_size": size, "bounded_by": bounded_by, "memory_budget_bytes": 2 * 2**30,
               "memory_budget_source": "measure.options.memory_gib", "memory_at_largest_bytes": 3 * 2**20}  # fmt: skip
        facts = {"findings": {"largest_batch": [row]}}
        return self.add(spec, JobResult(job_id=spec.id, status=PASS, facts=facts, started=1000.0, ended=1003.0))

    def graph(self) -> JobGraph:
        return JobGraph(tuple(self.jobs))

    def write(self) -> SweepFolder:
        """Write plan and results; returns the folder. Nothing waits for the disk: it need not survive."""
        sweep = Sweep(argv=("orchestrator",), overrides=tuple(self.overrides), points=(), created=1000.0)
        if self.elsewhere:
            parts = tuple(2 if spec.id in self.elsewhere else 1 for spec in self.jobs)
            sweep = dataclasses.replace(sweep, shard=(1, 2), parts=parts)
        with mock.patch.object(os, "fsync"):
            self.folder.write_plan(sweep, self.graph())
            for spec in self.jobs:
                self.folder.write_job(spec)
            for result in self.results:
                self.folder.write_result(result)
        return self.folder


def quick_sweep(root: Path) -> SyntheticSweep:
    """A sweep as people make it: four models, two compilers, five rounds, a slow-down, a failure, a noisy row."""
    sweep = SyntheticSweep(root)
    models = {  # eager seconds, speed-up, compiled peak MiB
        "DistilBertForMaskedLM": (0.1538, 1.11, 672.0),
        "GPT2ForSequenceClassification": (0.0801, 0.93, 700.0),
        "T5Small": (0.2113, 2.31, 580.0),
    }
    for model, (eager_s, speedup, peak) in models.items():
        for round in range(5):
            jitter = 1 + 0.004 * (round - 2)
            noisy = ["other processes used 0.62 cores (over 0.1)"] if model == "T5Small" and round == 3 else []
            eager = sweep.performance(model, "eager", round, latency=eager_s * jitter, first_call=0.4)
            pair = (eager_s, eager_s / speedup * jitter)
            sweep.performance(
                model,
                "inductor",
                round,
                baseline=eager,
                latency=pair[1],
                first_call=24.5 if round == 0 else 6.25,
                pairs=[pair] * 20,
                peak_mib=peak,
                disturbed=noisy,
            )
        sweep.accuracy(workload(model, batch_size=1), "inductor")
    eager = sweep.performance("ElectraForCausalLM", "eager", latency=0.095, first_call=0.3)
    spec = job("ElectraForCausalLM", "inductor", needs=[Need(job=eager.id, kind="baseline")])
    sweep.add(spec, failed_result(spec, "crash", "killed by SIGSEGV (signal 11) [see the end of the log]"))
    sweep.accuracy(
        workload("ElectraForCausalLM", batch_size=1),
        "inductor",
        status="fail_accuracy",
        reason="1 of 2 tensors are wrong, first logits: max error 0.5, RMSE 0.31 over the limit 0.0002",
        error=0.5,
    )
    return sweep


def of_folder(folder: SweepFolder) -> Snapshot:
    return of_results(load(folder))
