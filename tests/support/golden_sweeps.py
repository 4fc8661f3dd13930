"""The sweeps whose views are pinned (`test_golden_views`): real ones, and ones with known numbers. Always the same.

real/*       were measured; checked in below golden/sweeps, with a neutral host, neutral paths and 40 samples of each
             kind. `more` was stopped before its last jobs
synthetic/*  every status and mode, quantisation, noise, names that are markup; `after` has what a diff can find.
             findings, self_test, gpu: every table that only some measures or suites have; checked in
broken/*     results that cannot be read or are missing, headers that lack keys or are damaged
imported/*   CSV files of PyTorch's benchmarks
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.__main__ import main
from orchestrator.planning.quantized import combined
from orchestrator.records import NOT_NEEDED, STATUSES, JobSpec, Need, PluginSpec, Verdict, Workload
from orchestrator.store import SweepFolder
from support import hostile, synthetic
from support.synthetic import SyntheticSweep

GOLDEN = Path(__file__).parent.parent / "golden"
STORED = GOLDEN / "sweeps"
FILES = GOLDEN / "files"
"""A table and a baseline, as they were once written."""
CSV_FILES = GOLDEN / "dynamobench"
CREATED = 1_790_000_000.0
"""Seconds since the epoch: 2026-09-21, in the afternoon."""
DAY = 86_400.0
ROUNDS = 3
EVIL = "=1+1<script>alert(1)</script>|*bold*|@someone `tick` é日本"
RULES = """\
thresholds: {speedup: 0.4, latency_ms: off, own_memory_mib: {threshold: 0.05, floor: 16}}
models: {Llama: {speedup: 0.01}}
flaky:
  - {model: Ends_pass, metric: status, reason: see issue 12, expires: 2027-01-01}
  - {model: Electra, compiler: inductor, reason: spills to swap, expires: 2026-01-01}
  - {model: Nobody, reason: is gone, expires: 2027-01-01}
environment: fail
"""
"""Of a gate: limits of a metric and a model, rows that are flaky, were so, and do not exist."""
ENVIRONMENT: Mapping[str, Any] = {
    "host": "bench-01",
    "system": "Linux 6.1",
    "python": "3.11.7",
    "cpu": "Test CPU",
    "cores": 8,
    "threads": 2,
    "gpus": [],
    "driver": None,
    "orchestrator": "1.0",
    "packages": {"torch": "2.12.0", "transformers": "5.1.0"},
    "torch": {"version": "2.12.0", "git": "0123456789abcdef"},
    "variables": {"OMP_NUM_THREADS": "2"},
    "git": {"commit": "ab" * 20, "changed": ["conf/suite/quick.yaml"]},
}
POINT: Mapping[str, Any] = {
    "rounds": ROUNDS,
    "compiler": {"name": "inductor"},
    "execution": {"launcher": "fork", "timeout_s": 600.0},
}


def write_all(root: Path) -> None:
    """Write all sweeps below `root`, and beside it, in the working directory, files that a sweep is compared with."""
    (root.parent / "gate.yaml").write_text(RULES)
    for file in FILES.iterdir():
        shutil.copyfile(file, root.parent / file.name)
        os.utime(root.parent / file.name, (CREATED, CREATED))
    for stored in sorted(STORED.glob("*/*")):
        shutil.copytree(stored, root / stored.relative_to(STORED))
    before(root / "synthetic" / "before")
    after(root / "synthetic" / "after")
    broken(root / "broken")
    imported(root / "imported" / "dynamobench")


# -- synthetic


@dataclasses.dataclass(frozen=True)
class Told:
    """What was measured of a compiler on a workload."""

    eager_s: float
    speedup: float
    peak_mib: float = 600.0
    wobble: float = 0.002
    disturbed: tuple[str, ...] = ()
    graph_breaks: int = 0
    first_call_s: float = 20.0
    rounds: int = 1


LOADS: Mapping[str, Workload] = {
    "bert": synthetic.workload("Bert", dtype="float32"),
    "bert_training": synthetic.workload("Bert", mode="training", batch_size=8),
    "t5": synthetic.workload("T5Small", sequence_length=None),
    "electra": synthetic.workload("Electra", dtype="bfloat16", threads=1),
    "gpt2": synthetic.workload("GPT2", suite="other", dtype="amp_bfloat16"),
    "evil": synthetic.workload(EVIL),
}
INDUCTOR = synthetic.compiler("inductor", backend="inductor", dynamic=True)
AOT_EAGER = synthetic.compiler("aot_eager", backend="aot_eager")
BEFORE: Mapping[str, Told] = {
    "bert": Told(0.100, 2.0, rounds=ROUNDS),
    "bert_training": Told(0.300, 1.5, peak_mib=900.0, rounds=ROUNDS),
    "t5": Told(0.200, 1.0, rounds=ROUNDS, wobble=0.03, disturbed=("other processes used 0.62 cores (over 0.1)",)),
    "electra": Told(0.050, 0.8, peak_mib=450.0),
    "gpt2": Told(0.080, 1.1, graph_breaks=3),
    "evil": Told(0.010, 1.2),
}
AFTER: Mapping[str, Told] = {
    "bert": Told(0.100, 1.4, rounds=ROUNDS),  # slower
    "bert_training": Told(0.300, 1.9, peak_mib=700.0, rounds=ROUNDS),  # faster, smaller
    "t5": Told(0.200, 1.02, rounds=ROUNDS, wobble=0.04, disturbed=("steal 0.3 cores",)),  # undecided
    "electra": Told(0.050, 0.8, peak_mib=700.0, first_call_s=35.0),  # larger, compiles longer
    "evil": Told(0.010, 1.2, graph_breaks=2),
}
ENDS = (
    *("pass", "pass_due_to_skip", "fail_accuracy", "fail_to_run", "eager_fail_to_run", "eager_two_runs_differ"),
    *("model_fail_to_load", "comparison_error", "out_of_memory", "timeout", "crash", "random", "unsupported"),
    *("infrastructure", "not_run"),
)
JUDGED = ("pass", "pass_due_to_skip", "fail_accuracy", "comparison_error", "random", "timeout")
"""How accuracy jobs end, too."""
LANGUAGE: Mapping[str, float] = {"prefill": 0.040, "decode": 0.004, "generate": 0.150}
"""Mode -> eager seconds."""


def before(root: Path) -> SweepFolder:
    sweep = SyntheticSweep(root)
    for name, told in BEFORE.items():
        timed(sweep, LOADS[name], INDUCTOR, told)
    timed(sweep, LOADS["bert"], AOT_EAGER, dataclasses.replace(BEFORE["bert"], speedup=0.97))
    quantised(sweep, 1.6)
    language(sweep, 1.3)
    ends(sweep, {})
    return finished(sweep, CREATED, {})


def after(root: Path) -> SweepFolder:
    """The same a day later with another torch: rows that are slower, faster, larger, gone, new, broken, mended."""
    sweep = SyntheticSweep(root)
    for name, told in AFTER.items():
        timed(sweep, LOADS[name], INDUCTOR, told)
    timed(sweep, synthetic.workload("Newcomer"), INDUCTOR, Told(0.1, 1.7))
    quantised(sweep, 1.9)
    language(sweep, 1.1)
    ends(sweep, {"crash": "pass", "pass": "crash", "timeout": "out_of_memory"})
    return finished(sweep, CREATED + DAY, {"packages": {"torch": "2.13.0", "transformers": "5.1.0"}})


def timed(sweep: SyntheticSweep, load: Workload, compiler: PluginSpec, told: Told) -> None:
    """Add the rounds of eager, if they are not there, and of a compiler, and its accuracy."""
    for round in range(told.rounds):
        jitter = 1 + told.wobble * (round - told.rounds // 2)
        eager = synthetic.job(load, "eager", round=round)
        if eager.id not in {job.id for job in sweep.jobs}:
            sweep.performance(load, "eager", round, latency=told.eager_s * jitter, first_call=0.5)
        seconds = told.eager_s / told.speedup * jitter
        sweep.performance(
            load,
            compiler,
            round,
            baseline=eager,
            latency=[seconds * factor for factor in (1.02, 0.99, 1.0, 1.01, 1.0, 0.98, 1.0, 1.1)],
            first_call=told.first_call_s if round == 0 else told.first_call_s / 4,
            pairs=[(told.eager_s * factor, seconds) for factor in (1.0, 1.01, 0.99, 1.0, 1.0, 1.02, 0.98, 1.0)],
            peak_mib=told.peak_mib,
            disturbed=told.disturbed if round == told.rounds - 1 else (),
            counters={"graphs": 1 + told.graph_breaks, "graph_breaks": told.graph_breaks, "captured_calls": 50},
        )
    sweep.accuracy(dataclasses.replace(load, batch_size=1), compiler)


def quantised(sweep: SyntheticSweep, speedup: float) -> None:
    int8 = PluginSpec(name="int8_dynamic", target="orchestrator.compilers.quantized.Int8", options={"group": 32})
    timed(sweep, LOADS["bert"], combined(INDUCTOR, int8), Told(0.1, speedup, peak_mib=350.0))


def language(sweep: SyntheticSweep, speedup: float) -> None:
    """Add the three modes of a language model. What one step makes is in the mode's options."""
    for name, eager_s in LANGUAGE.items():
        mode = PluginSpec(
            name=name,
            target=f"orchestrator.modes.generate.{name.capitalize()}",
            options={"new_tokens": 16, "cache": "static"},
        )
        timed(sweep, synthetic.workload("Llama", mode=mode, batch_size=1), INDUCTOR, Told(eager_s, speedup))


def ends(sweep: SyntheticSweep, changed: Mapping[str, str]) -> None:
    """Add a performance and an accuracy job for each way in which a job can end; `changed`: status -> another one."""
    assert set(ENDS) == set(STATUSES) - {NOT_NEEDED}  # which only a later round can be
    for planned in ENDS:
        status = changed.get(planned, planned)
        load = synthetic.workload(f"Ends_{planned}")
        for measure in ("performance", "accuracy") if status in JUDGED else ("performance",):
            ended(sweep, synthetic.job(load, INDUCTOR, measure, verdict=skip(status)), status)
    eager = synthetic.job(synthetic.workload("Dependent"), "eager", "reference")
    ended(sweep, eager, "eager_two_runs_differ")
    spec = synthetic.job(
        synthetic.workload("Dependent"), INDUCTOR, "accuracy", needs=[Need(job=eager.id, kind="reference")]
    )
    result = synthetic.failed_result(spec, "eager_two_runs_differ", f"needs {eager.title}", "")
    assert result.failure is not None
    sweep.add(spec, dataclasses.replace(result, failure=dataclasses.replace(result.failure, kind="dependency")))


def skip(status: str) -> Verdict | None:
    return Verdict(status=status, reason="left out by the suite") if status == "pass_due_to_skip" else None


def ended(sweep: SyntheticSweep, spec: JobSpec, status: str) -> None:
    """Add a job that ended with this status; `not_run`: without a result."""
    if status == "not_run":
        sweep.add(spec)
    elif status == "pass":
        made = synthetic.accuracy_result if spec.measure.name == "accuracy" else synthetic.performance_result
        sweep.add(spec, made(spec))
    elif status == "fail_accuracy":
        sweep.add(spec, synthetic.accuracy_result(spec, status=status, reason="1 of 2 tensors are wrong", error=0.5))
    else:
        sweep.add(spec, synthetic.failed_result(spec, status, f"what {status} says: \x1b[31m<b>|`x`\nsecond line"))


def finished(sweep: SyntheticSweep, created: float, environment: Mapping[str, Any]) -> SweepFolder:
    """Write the sweep, its header, and a log for every job that failed."""
    folder = sweep.write()
    header = dataclasses.replace(
        folder.read_sweep(),
        argv=("compiler=eager,inductor", "suite.models=[Bert, T5Small]", f"rounds={ROUNDS}"),
        points=(POINT, {**POINT, "compiler": {"name": "aot_eager"}}),
        created=created,
        environment={**ENVIRONMENT, **environment},
    )
    folder.write_plan(header, sweep.graph())
    for result in sweep.results:
        if result.failure is not None:
            folder.log_file(result.job_id).write_text(
                f"loading\n{result.failure.message}\nend of the log\n", encoding="utf-8"
            )
    return folder


# -- broken


def small(root: Path) -> SyntheticSweep:
    """A sweep of two models, to be broken."""
    sweep = SyntheticSweep(root)
    for name in ("bert", "t5"):
        timed(sweep, LOADS[name], INDUCTOR, BEFORE[name])
    return sweep


def broken(root: Path) -> None:
    """Write sweeps as crashes, full disks and other versions leave them."""
    unreadable_results(root / "results")
    interrupted(root / "interrupted")
    for name, keys in (("header", ("environment", "grid", "origin")), ("no_points", ("points",))):
        finished(small(root / name), CREATED, {})
        hostile.rewrite(root / name / "sweep.json", without(*keys))
    finished(small(root / "no_plan"), CREATED, {}).plan_file.unlink()
    finished(small(root / "damaged"), CREATED, {}).sweep_file.write_text('{"schema": ')


def without(*keys: str) -> Any:
    return lambda value: {key: kept for key, kept in value.items() if key not in keys}


def unreadable_results(root: Path) -> None:
    """One result is cut short, one is no JSON object, one of another job, one of a future version, one is gone."""
    sweep = small(root)
    folder = finished(sweep, CREATED, {})
    cut, listed, other, future, gone = (folder.result_file(job.id) for job in sweep.jobs[:10:2])
    cut.write_text(cut.read_text()[:200])
    listed.write_text("[]\n")
    shutil.copyfile(folder.result_file(sweep.jobs[1].id), other)
    hostile.rewrite(future, lambda value: value | {"schema": 99})
    gone.unlink()


def interrupted(root: Path) -> None:
    """The second half of the jobs has no result, and the one that ran has begun its log."""
    sweep = small(root)
    done = len(sweep.jobs) // 2
    sweep.results = sweep.results[:done]
    folder = finished(sweep, CREATED, {})
    running = sweep.jobs[done].id
    folder.phase_file(running).write_text("compile\n")
    folder.log_file(running).write_text("compiling\n")


# -- imported


def imported(place: Path) -> None:
    """Import CSV files beside the sweeps, whose age is known."""
    files = place.parent.parent.parent / "csv"
    shutil.copytree(CSV_FILES, files)
    for file in files.iterdir():
        os.utime(file, (CREATED, CREATED))
    assert main(["import", "dynamobench", files.name, "--into", os.path.relpath(place)]) == 0
    shutil.rmtree(files)
    shutil.rmtree(place / "tables")
