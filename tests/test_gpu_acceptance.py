"""The acceptance run of a GPU machine: its plan, and its judge on figures as an H100 gives them, right and wrong.

The plan is the experiment's own; the figures are made for its jobs, one place for each.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import start
from support.plans import planned
from support.synthetic import MIB, SyntheticSweep

from orchestrator.cli import report
from orchestrator.records import PASS, Failure, JobResult, JobSpec, Samples
from orchestrator.results.acceptance.gpu import NO_DEVICE
from orchestrator.results.load import load
from orchestrator.results.tables import build
from orchestrator.store import JobGraph, SweepFolder

PID = 4711
UUID = "GPU-5f2c1f0a-0000-1111-2222-333344445555"
SPIN_S = 0.010101  # 2e7 cycles at 1.98 GHz

LOOKS: Mapping[str, dict[str, Any]] = {
    "process": {
        "started_by": "orchestrator.worker.server",
        "torchao": False,
        "computed": 8.0,
        "versions": {"torch": "2.11.0+cu130", "device": "NVIDIA H100 80GB HBM3"},
    },
    "nvml": {
        "listed": True,
        "process_bytes": 800 * MIB,
        "reserved_bytes": 290 * MIB,
        "torch_uuid": UUID,
        "nvml_uuids": [UUID],
        "uuid_of_another": UUID.removeprefix("GPU-"),
    },
    "sleep": {
        "cycles": 20_000_000,
        "event_s": SPIN_S,
        "event_2_s": 2 * SPIN_S,
        "latency_s": SPIN_S + 18e-6,
        "max_sm_clock_hz": 1.98e9,
    },
    "clock": {"empty_s": 12e-6, "empty_max_s": 30e-6},
    "neighbour": {
        "pid": PID,
        "busy": {"disturbed": [f"the GPU was used by other processes: {PID} (600 MiB)"]},
        "idle": {"disturbed": []},
    },
    "home": {"home": "/tmp/nowhere", "files": [], "count": 0},
}
LATENCIES = {
    "spin_10ms": SPIN_S,
    "spin_20ms": 2 * SPIN_S,
    "spin_aside": SPIN_S * 1.001,
    "launches": 0.003,
    "gemm": 0.0018,
    "copy_4gib": 0.00155,
}
GEMM = {"bfloat16": 0.00157, "float32": 0.0214, "tf32": 0.0031}
PAIRS = {"identity": 1.0, "self_test/planted_device_slowdown": 1.03, "inductor_reduce_overhead": 0.2}


@functools.cache
def graph() -> JobGraph:
    return planned("experiment=gpu_acceptance")


def seen(spec: JobSpec) -> JobResult:
    """Return the result of a job as it should be."""
    load_, kind = spec.workload, spec.measure.name
    model, compiler = load_.model, spec.compiler.name
    if kind == "gpu_checks":
        names = spec.measure.options.get("checks", ("process", "nvml", "sleep", "clock"))
        return passed(spec, gpu_checks={name: copy.deepcopy(LOOKS[name]) for name in names})
    if kind == "performance" and model in ("too_large", "full"):
        return ended(spec, "out_of_memory", "OutOfMemoryError: CUDA out of memory.")
    if compiler == "self_test/planted_stale_graph":
        return ended(spec, "fail_accuracy", "1 of 1 tensors are wrong")
    if kind == "performance":
        return timed(spec)
    rows = {
        "largest_batch": {"largest_batch": [{"largest_batch_size": 19}]},
        "profile": {"profile_totals": [{"steps": 3, "self_cuda_s": 3 * SPIN_S}]},
        "flops": {"flops": [{"of_peak_percent": 70.0}]},
    }
    return passed(spec, findings=rows.get(kind, {}))


def timed(spec: JobSpec) -> JobResult:
    model, compiler = spec.workload.model, spec.compiler.name
    kind = spec.workload.mode.options.get("precision", spec.workload.dtype)
    latency = GEMM[kind] if model == "gemm_8192" else LATENCIES.get(model, 0.001)
    pairs = [] if model == "over_half" else [(latency, latency * PAIRS.get(compiler, 1.0))] * 20
    result = synthetic.performance_result(
        spec,
        latency=latency,
        first_call=0.5 if compiler == "eager" else 9.0 if spec.round == 0 else 4.0,
        pairs=[] if compiler == "eager" else pairs,
        pair_method="none" if model == "over_half" else "interleaved",
        counters={"graphs": 1, "cudagraph_skips": int(model == "mutate")},
    )
    facts = copy.deepcopy(dict(result.facts))
    facts["memory"]["cuda"] = {"steady": memory(spec)}
    facts["cudagraphs"] = {"recorded": int(model != "mutate")}
    facts["noise"] = {"wall_s": 3.0, "iterations": 1900, "gpu": {"sm_clock_mhz": 1500, "energy_j": 650.0 * 3}}
    share = 0.97 if model == "launches" else 0.004
    samples = (*result.samples, Samples(metric="enqueue", unit="s", better="none", values=(latency * share,) * 20))
    return dataclasses.replace(result, facts=facts, samples=samples)


def memory(spec: JobSpec) -> dict[str, int]:
    model, outside = spec.workload.model, "outside" in spec.compiler.name
    own = {"weights_64mib": 64 * MIB, "temp_1gib": 1250 * MIB}.get(model, MIB)
    start = own
    if model == "held_800mb":
        own = start + 800_000_000
    return {"start": start, "allocated": own, "reserved": own, "process": 600 * MIB + own + outside * 512 * MIB}


def passed(spec: JobSpec, **facts: Any) -> JobResult:
    return JobResult(job_id=spec.id, status=PASS, facts=facts, started=1000.0, ended=1003.0)


def ended(spec: JobSpec, status: str, reason: str) -> JobResult:
    failure = Failure(kind="error", phase="compile", message=reason)
    return JobResult(job_id=spec.id, status=status, failure=failure, started=1000.0, ended=1003.0)


Change = Callable[[JobSpec, JobResult], JobResult | None]


def sweep(folder: Path, change: Change = lambda spec, result: result) -> SweepFolder:
    made = SyntheticSweep(folder, overrides=["experiment=gpu_acceptance"])
    for spec in graph().jobs:
        made.add(spec, change(spec, seen(spec)))
    return made.write()


def checks(folder: SweepFolder) -> dict[str, dict[str, Any]]:
    return {str(row["check"]): dict(row) for row in build(load(folder)).self_test.rows}


def failing(found: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {name for name, row in found.items() if row["result"] == "fail"}


def test_all_is_well(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    found = checks(folder)
    assert failing(found) == set()
    assert {name.partition(" ")[0] for name in found} >= {str(number) for number in range(1, 23)}
    assert found["3 latency over events"]["found"] == "18 µs"
    assert found["5 enqueue launches"]["found"] == "0.97 of the latency, marked"
    assert found["6 slow-down 3 % gemm"]["found"].endswith("slower")
    assert found["7 gemm bfloat16"]["found"] == "700.3 TFLOP/s"
    assert found["12 outside the allocator"]["found"] == "512 MiB more"
    assert found["13 largest batch"]["found"] == "19 and 19"
    assert found["14 recorded"]["found"] == "1 recorded, 0 skipped"
    assert found["21 mean power"]["found"] == "650 W"
    last = found["this GPU machine"]
    assert last["found"].startswith("NVIDIA H100 80GB HBM3: ")
    assert last["found"].endswith("What is measured here can be believed.")
    assert report.finish(folder) == 0


def facts_of(model: str, *path: str, value: Any, compiler: str | None = None, measure: str = "performance") -> Change:
    """One fact of the jobs of a model is another."""

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        wanted = spec.workload.model == model and spec.measure.name == measure
        if not wanted or (compiler is not None and spec.compiler.name != compiler):
            return result
        facts = copy.deepcopy(dict(result.facts))
        inside = facts
        for key in path[:-1]:
            inside = inside[key]
        if callable(value):
            inside[path[-1]] = value(inside[path[-1]])
        else:
            inside[path[-1]] = value
        return dataclasses.replace(result, facts=facts)

    return change


def look(check: str, key: str, value: Any) -> Change:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        if check not in result.facts.get("gpu_checks", {}):
            return result
        return facts_of(spec.workload.model, "gpu_checks", check, key, value=value, measure="gpu_checks")(spec, result)

    return change


def sampled(model: str, metric: str, factor: float, compiler: str | None = None) -> Change:
    """All samples of one metric are longer or shorter."""

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        if spec.workload.model != model or (compiler is not None and spec.compiler.name != compiler):
            return result
        samples = [
            dataclasses.replace(s, values=tuple(v * factor for v in s.values)) if s.metric == metric else s
            for s in result.samples
        ]
        return dataclasses.replace(result, samples=tuple(samples))

    return change


def becomes(model: str, status: str, reason: str, compiler: str | None = None, measure: str = "performance") -> Change:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        same = spec.workload.model == model and spec.measure.name == measure
        return ended(spec, status, reason) if same and compiler in (None, spec.compiler.name) else result

    return change


def rows_of(measure: str, table: str, key: str, value: Any, first_only: bool = False) -> Change:
    done: list[str] = []

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        if spec.measure.name != measure or (first_only and done):
            return result
        done.append(spec.id)
        return dataclasses.replace(result, facts={"findings": {table: [{"steps": 3, key: value}]}})

    return change


def trained(spec: JobSpec, result: JobResult) -> JobResult:
    wanted = spec.workload.mode.name == "training" and spec.workload.dtype == "bfloat16"
    return ended(spec, "eager_two_runs_differ", "2 tensors differ") if wanted and spec.kind == "reference" else result


OOM = "CUDA out of memory."
HELD = ("memory", "cuda", "steady")
MUTATED = facts_of("mutate", "counters", "cudagraph_skips", value=0, compiler="inductor_reduce_overhead")
WRONG: Mapping[str, tuple[Change, set[str]]] = {
    "1 it computes nothing": (look("process", "computed", None), {"1 process"}),
    "2 less than torch has": (look("nvml", "process_bytes", 200 * MIB), {"2 own memory"}),
    "2 our memory is none": (look("nvml", "process_bytes", None), {"2 own memory"}),
    "2 another device": (look("nvml", "nvml_uuids", ["GPU-1"]), {"2 UUID"}),
    "2 UUID not seen": (look("nvml", "uuid_of_another", "RuntimeError: no CUDA GPUs"), {"2 by UUID"}),
    "3 too short": (look("sleep", "latency_s", SPIN_S - 1e-6), {"3 latency over events"}),
    "3 too long": (look("sleep", "latency_s", SPIN_S + 61e-6), {"3 latency over events"}),
    "3 not twice": (look("sleep", "event_2_s", 2.03 * SPIN_S), {"3 twice the cycles"}),
    "3 too fast": (look("sleep", "max_sm_clock_hz", 1.9e9), {"3 clock rate"}),
    "3 in a sweep": (sampled("spin_20ms", "latency", 1.03), {"3 twice the cycles, in a sweep"}),
    "4 not waited for": (sampled("spin_aside", "latency", 0.01), {"4 another stream"}),
    "4 an empty step": (look("clock", "empty_s", 150e-6), {"4 empty step"}),
    "5 no mark": (sampled("launches", "enqueue", 0.8), {"5 enqueue launches"}),
    "5 a wrong mark": (sampled("spin_10ms", "enqueue", 240.0), {"5 enqueue spin_10ms"}),
    "6 A/A": (sampled("gemm", "pair_latency", 1.02, "identity"), {"6 A/A gemm"}),
    "6 not slower": (
        sampled("gemm", "pair_latency", 1 / 1.03, "self_test/planted_device_slowdown"),
        {"6 slow-down 3 % gemm"},
    ),
    "7 too slow": (sampled("gemm_8192", "latency", 1.3), {"7 gemm bfloat16"}),
    "7 over the peak": (
        sampled("gemm_8192", "latency", 0.5),
        {"7 gemm bfloat16", "7 gemm float32", "7 gemm tf32"},
    ),
    "7 MFU": (rows_of("flops", "flops", "of_peak_percent", 130.0), {"7 MFU"}),
    "8 too slow": (sampled("copy_4gib", "latency", 1.5), {"8 copy"}),
    "8 not a copy": (sampled("copy_4gib", "latency", 0.1), {"8 copy"}),
    "9 2 MiB more": (facts_of("held_800mb", *HELD, "allocated", value=lambda b: b + 2 * MIB), {"9 held"}),
    "10 a workspace": (
        facts_of("weights_64mib", *HELD, "allocated", value=96 * MIB, compiler="eager"),
        {"10 own memory"},
    ),
    "11 parameters only": (
        facts_of("temp_1gib", *HELD, "allocated", value=160 * MIB, compiler="inductor_reduce_overhead"),
        {"11 peak of a CUDA graph", "11 eager's over it"},
    ),
    "12 not seen": (
        facts_of("weights_64mib", *HELD, "process", value=664 * MIB, compiler="self_test/planted_outside_allocator"),
        {"12 outside the allocator"},
    ),
    "12 not told": (facts_of("weights_64mib", *HELD, "process", value=None), {"12 outside the allocator"}),
    "13 called another": (becomes("too_large", "eager_fail_to_run", OOM), {"13 too large"}),
    "13 paired": (becomes("over_half", "out_of_memory", OOM), {"13 no room for a twin", "other jobs"}),
    "13 another size": (rows_of("largest_batch", "largest_batch", "largest_batch_size", 16), {"13 largest batch"}),
    "13 two sizes": (
        rows_of("largest_batch", "largest_batch", "largest_batch_size", 18, first_only=True),
        {"13 largest batch"},
    ),
    "14 not faster": (sampled("launches", "pair_latency", 4.0, "inductor_reduce_overhead"), {"14 CUDA graph"}),
    "14 skipped": (
        facts_of("launches", "counters", "cudagraph_skips", value=1, compiler="inductor_reduce_overhead"),
        {"14 recorded"},
    ),
    "14 none": (
        facts_of("launches", "cudagraphs", "recorded", value=0, compiler="inductor_reduce_overhead"),
        {"14 recorded"},
    ),
    "15 not found out": (
        lambda spec, result: passed(spec) if spec.compiler.name == "self_test/planted_stale_graph" else result,
        {"15 stale CUDA graph"},
    ),
    "15 a graph": (
        lambda spec, result: MUTATED(
            spec, facts_of("mutate", "cudagraphs", "recorded", value=1)(spec, result) or result
        ),
        {"15 input written into"},
    ),
    "16 differ": (trained, {"16 eager twice"}),
    "17 wrong": (
        becomes("bert_tiny", "fail_accuracy", "wrong", "aot_inductor", "accuracy"),
        {"17 aot_inductor"},
    ),
    "18 as long": (
        lambda spec, result: sampled("bert_tiny", "first_call", 2.25 if spec.round else 1.0)(spec, result),
        {"18 warm over cold"},
    ),
    "18 a file": (
        look("home", "count", 1),
        {"18 home folder"},
    ),
    "19 not marked": (look("neighbour", "busy", {"disturbed": []}), {"19 busy neighbour"}),
    "19 idle is marked": (look("neighbour", "idle", {"disturbed": [f"by {PID}"]}), {"19 idle neighbour"}),
    "19 clock of an idle GPU": (facts_of("gemm_8192", "noise", "gpu", "sm_clock_mhz", value=345), {"19 SM clock"}),
    "20 longer": (rows_of("profile", "profile_totals", "self_cuda_s", 3.1 * SPIN_S), {"20 profile"}),
    "20 nothing": (rows_of("profile", "profile_totals", "self_cuda_s", 0.0), {"20 profile"}),
    "21 idle": (facts_of("gemm_8192", "noise", "gpu", "energy_j", value=3 * 120.0), {"21 mean power"}),
    "21 too much": (facts_of("gemm_8192", "noise", "gpu", "energy_j", value=3 * 900.0), {"21 mean power"}),
    "22 unsupported": (becomes("full", "unsupported", f"dtype float32 on cuda:0: {OOM}"), {"22 no memory at all"}),
    "a crash": (becomes("mutate", "crash", "SIGSEGV", "eager"), {"other jobs"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_found_and_nothing_else(case: str, tmp_path: Path) -> None:
    change, expected = WRONG[case]
    folder = sweep(tmp_path, change)
    found = checks(folder)
    assert failing(found) == expected | {"this GPU machine"}
    assert all(name in found["this GPU machine"]["found"] for name in expected)
    assert report.finish(folder) == 1


def test_where_there_is_no_gpu_it_says_so_and_checks_nothing(tmp_path: Path) -> None:
    reason = f"device cuda:0: torch 2.13.0+cpu {NO_DEVICE} here; install a CUDA build of torch and its driver"
    folder = sweep(tmp_path, lambda spec, _: ended(spec, "unsupported", reason))
    found = checks(folder)
    assert list(found) == ["this GPU machine"]
    assert found["this GPU machine"]["found"].startswith(
        "0 checks: there is no CUDA device to check here (device cuda:0"
    )
    assert report.finish(folder) == 1


def test_what_is_known_of_one_device_is_not_asked_of_another(tmp_path: Path) -> None:
    other = look("process", "versions", {"torch": "2.11.0", "device": "NVIDIA A100-SXM4-80GB"})
    slow = sampled("gemm_8192", "latency", 3.0)
    found = checks(sweep(tmp_path, lambda spec, result: other(spec, slow(spec, result) or result)))
    assert failing(found) == set()
    assert found["7 gemm bfloat16"]["result"] == "unsupported"
    assert "TFLOP/s" in found["7 gemm bfloat16"]["found"]
    assert "7 gemm bfloat16" in found["this GPU machine"]["found"]


def test_what_cannot_be_had_here_is_said_and_is_no_failure(tmp_path: Path) -> None:
    without = becomes("bert_tiny", "unsupported", "cuda.h is not installed", "aot_inductor", "accuracy")
    cupti = becomes("spin_10ms", "unsupported", "CUPTI may not be used", measure="profile")
    folder = sweep(tmp_path, lambda spec, result: without(spec, cupti(spec, result) or result))
    found = checks(folder)
    assert (found["17 aot_inductor"]["result"], found["20 profile"]["result"]) == ("unsupported", "unsupported")
    assert found["17 aot_inductor"]["found"] == "unsupported: cuda.h is not installed"
    assert failing(found) == set()
    assert report.finish(folder) == 0


def test_a_container_that_hides_process_ids_is_told(tmp_path: Path) -> None:
    listed, bytes_ = look("nvml", "listed", False), look("nvml", "process_bytes", None)
    found = checks(sweep(tmp_path / "none", lambda spec, result: listed(spec, bytes_(spec, result) or result)))
    assert failing(found) == set()
    assert found["2 own memory"]["found"].startswith("not told (a container")
    assert found["19 busy neighbour"]["result"] == found["19 idle neighbour"]["result"] == "unsupported"
    assert failing(checks(sweep(tmp_path / "right", listed))) == set()
    less = look("nvml", "process_bytes", 200 * MIB)
    wrong = checks(sweep(tmp_path / "less", lambda spec, result: listed(spec, less(spec, result) or result)))
    assert failing(wrong) == {"2 own memory", "this GPU machine"}


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_a_look_that_raised_fails_alone_with_what_it_raised(name: str, tmp_path: Path) -> None:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        if name not in result.facts.get("gpu_checks", {}):
            return result
        facts = {**result.facts["gpu_checks"], name: {"error": "RuntimeError: planted"}}
        return dataclasses.replace(ended(spec, "eager_fail_to_run", "planted"), facts={"gpu_checks": facts})

    found = checks(sweep(tmp_path, change))
    wrong = failing(found) - {"other jobs", "this GPU machine"}
    assert wrong
    assert all("RuntimeError: planted" in found[check]["found"] for check in wrong)


def test_a_part_checks_what_was_planned_only(tmp_path: Path) -> None:
    part = SyntheticSweep(tmp_path)
    for spec in graph().jobs:
        if spec.workload.model == "copy_4gib":
            part.add(spec, seen(spec))
    assert list(checks(part.write())) == ["8 copy", "other jobs", "this GPU machine"]


def test_what_the_device_had_to_do_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of the performance table, and what the terminal says of a step that waits for Python."""

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        queued = Samples(metric="back_to_back", unit="s", better="lower", values=(0.002,) * 5)
        return dataclasses.replace(result, samples=(*result.samples, queued)) if spec.kind == "timed" else result

    folder = sweep(tmp_path, change)
    rows = build(load(folder)).performance.rows
    launches = next(row for row in rows if row["model"] == "launches" and str(row["compiler"]).startswith("eager"))
    gemm = next(row for row in rows if row["model"] == "gemm_8192" and row["dtype"] == "bfloat16")
    assert launches["enqueue_ms"] == pytest.approx(0.97 * 3)
    assert (launches["launch_bound"], gemm["launch_bound"]) == ("yes", None)
    assert launches["back_to_back_ms"] == pytest.approx(2.0)
    assert launches["samples_per_second"] == pytest.approx(16 / 0.002)
    compiled = next(row for row in rows if row["model"] == "launches" and not str(row["compiler"]).startswith("eager"))
    assert (launches["back_to_back_speedup"], compiled["back_to_back_speedup"]) == (None, pytest.approx(1.0))
    assert gemm["energy_per_step_j"] == pytest.approx(650.0 * 3 / 1900)
    assert gemm["mean_power_w"] == pytest.approx(650.0)
    report.finish(folder)
    assert "Launch-bound, the device waits for Python: launches" in " ".join(capsys.readouterr().out.split())


def test_energy_of_too_short_a_time_is_none(tmp_path: Path) -> None:
    folder = sweep(tmp_path, facts_of("gemm_8192", "noise", "wall_s", value=0.1))
    rows = [row for row in build(load(folder)).performance.rows if row["model"] == "gemm_8192"]
    assert len(rows) == 3
    assert all(row["mean_power_w"] is row["energy_per_step_j"] is None for row in rows)


@pytest.mark.slow
def test_on_this_machine_without_a_gpu_through_the_real_command(tmp_path: Path) -> None:
    left_out = "exclude=[{suite:[tiny,generation_tiny]},{model:['spin_*','gemm*','temp*','held*',launches]}]"
    process = start(tmp_path, "experiment=gpu_acceptance", left_out)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "0 checks: there is no CUDA device to check here" in " ".join(output.split())
