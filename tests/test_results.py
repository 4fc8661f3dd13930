"""From a sweep folder to tables: known numbers in, known numbers out, and a row for everything that was planned."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support import synthetic

from orchestrator.errors import UsageError
from orchestrator.records import RAN_EAGER, STATUSES, JobResult, Need, Samples, Verdict
from orchestrator.results import exports, load, tables
from orchestrator.results.metrics import COLUMNS, MISSING, significant
from orchestrator.results.naming import distinguish
from orchestrator.results.row_commands import command
from orchestrator.store import SweepFolder


@pytest.fixture
def sweep(tmp_path: Path) -> synthetic.SyntheticSweep:
    return synthetic.SyntheticSweep(tmp_path / "sweep")


def build(folder: SweepFolder) -> tables.Tables:
    return tables.build(load.load(folder))


def rows(table: tables.Table) -> list[dict[str, object]]:
    return list(table.rows)


@pytest.mark.parametrize(
    ("device", "warmup", "compile_s"),
    [
        ("cpu", [], 19.7),  # 0.3 s are what eager's first call costs too
        ("cpu", [0.051, 0.3, 0.05], 19.7),  # a disturbed call after one like the later ones
        ("cpu", [1.05, 0.55, 0.05, 0.3], 21.2),  # TorchScript's profiling executor
        ("cuda:0", [1.05, 0.05], 20.7),  # the graph is recorded
        ("cuda:0", [1.0] * 9, 20.0 + 4 * 0.95 - 0.3),
    ],
)
def test_compile_latency_is_what_the_first_calls_cost(
    device: str, warmup: list[float], compile_s: float, sweep: synthetic.SyntheticSweep
) -> None:
    load = replace(synthetic.workload("Bert"), device=device)
    eager = sweep.performance(load, "eager", latency=0.1, first_call=0.4)
    sweep.performance(load, "inductor", baseline=eager, latency=0.05, first_call=20.05)
    calls = Samples(metric="warmup_latency", unit="s", better="none", values=tuple(warmup))
    sweep.results[1] = replace(sweep.results[1], samples=(*sweep.results[1].samples, calls))
    row = rows(build(sweep.write()).performance)[1]
    assert row["compile_latency_cold_s"] == pytest.approx(compile_s)


def test_notes_are_those_of_the_jobs_and_of_their_figures(sweep: synthetic.SyntheticSweep) -> None:
    """How the row was started, that no graph was recorded, the power limit, and the clock's share of a short step."""
    eager = sweep.performance("Bert", "eager", latency=1e-4, first_call=0.9)
    sweep.performance("Bert", "inductor", baseline=eager, latency=1e-4, first_call=0.9)
    state = {"power_capped_share": 0.43, "sm_clock_mhz": 1410.0}
    facts = {
        **sweep.results[1].facts,
        "notes": ["no CUDA graph was recorded: mutated inputs"] * 2,
        "noise": {"gpu": state},
        "clock_overhead_s": 1.5e-5,
        "cudagraphs": {"recorded": 0},
    }
    sweep.results[1] = replace(sweep.results[1], facts=facts)
    silent, row = rows(build(sweep.write()).performance)
    assert row["notes"] == (
        "no CUDA graph was recorded: mutated inputs; the GPU's power limit held its clock down for 43% of the time, at "
        "1410 MHz; the clock's own 15 us are 15% of a step: ratios are nearer to 1"
    )
    assert (row["cudagraphs"], row["clock_overhead_ms"]) == (0, pytest.approx(0.015))
    assert (silent["notes"], silent["cudagraphs"]) == (None, None)


@pytest.mark.parametrize(("rise", "noted"), [(0, False), (8 << 20, False), (300 << 20, True)])
def test_memory_that_only_a_collector_would_free_is_noted(
    rise: int, noted: bool, sweep: synthetic.SyntheticSweep
) -> None:
    sweep.performance("Bert", "eager")
    memory = {**sweep.results[0].facts["memory"], "cuda": {"steady": {"start": 5, "end": 5 + rise, "peak": 5 + rise}}}
    sweep.results[0] = replace(sweep.results[0], facts={**sweep.results[0].facts, "memory": memory})
    (row,) = rows(build(sweep.write()).performance)
    assert row["notes"] == (
        "300 MiB were not given back in the steady phase, in which Python's collector is off" if noted else None
    )


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_what_compiles_nothing_costs_nothing(device: str, sweep: synthetic.SyntheticSweep) -> None:
    """Its first call loads what eager's does: libraries, kernels."""
    load = replace(synthetic.workload("Bert"), device=device)
    eager = sweep.performance(load, "eager", latency=0.1, first_call=0.9)
    sweep.performance(load, "identity", baseline=eager, latency=0.1, first_call=0.8)
    assert rows(build(sweep.write()).performance)[1]["compile_latency_cold_s"] == pytest.approx(-0.1)


GIB = 2**30


def on_cuda(
    result: JobResult, *, peak: int, hidden: int = 0, source: str = "process", warmup: int = 0, base: int = 32 << 20
) -> JobResult:
    """Return the result with CUDA's memory: `peak` over the base, and `hidden` bytes outside of torch's allocator."""
    steady = {"allocated": base + 1, "peak": base + peak, "reserved": base + peak, source: 2 * base + peak + hidden}
    cuda = {"warmup": {"peak": base + warmup}, "compile": {"peak": base + 3 * peak}, "steady": steady}
    started = {"allocated": base, "reserved": base, source: 2 * base}
    memory = {**result.facts["memory"], "cuda": cuda, "cuda_base": started}
    return replace(result, facts={**result.facts, "memory": memory})


@pytest.mark.parametrize(
    ("compiled", "expected"),
    [
        ({"peak": GIB}, {"own_memory_mib": 1024, "compression_ratio": 1.5, "device_memory_mib": 1024, "notes": None}),
        # recorded in the warm-up, replayed in the steady phase
        ({"peak": 1, "warmup": GIB}, {"own_memory_mib": 1024, "compression_ratio": 1.5}),
        # the weights are where torch does not see them: the allocator's ratio would be spectacular
        (
            {"peak": GIB // 8, "hidden": GIB},
            {
                "own_memory_mib": 128,
                "device_memory_mib": 1152,
                "compression_ratio": pytest.approx(1536 / 1152),
                "notes": "1024 MiB lie outside of torch's allocator: the memory ratio is of device_memory_mib",
            },
        ),
        ({"peak": GIB, "hidden": 20 << 20}, {"compression_ratio": 1.5, "notes": None}),  # kernels' code
        ({"peak": GIB, "source": "device"}, {"compression_ratio": 1.5, "device_memory_source": "mem_get_info"}),
        # what the driver says of one process, and of all of them together, is never compared
        ({"peak": GIB, "hidden": GIB, "source": "device"}, {"compression_ratio": 1.5}),
    ],
)
def test_memory_on_cuda(compiled: dict[str, int], expected: dict[str, object], sweep: synthetic.SyntheticSweep) -> None:
    eager = sweep.performance("Bert", "eager", 0)
    sweep.performance("Bert", "inductor", 0, baseline=eager, pairs=[(0.1, 0.05)] * 20)
    sweep.results[0] = on_cuda(sweep.results[0], peak=3 * GIB // 2, warmup=GIB)
    sweep.results[1] = on_cuda(sweep.results[1], **compiled)  # type: ignore[arg-type]
    row = rows(build(sweep.write()).performance)[1]
    assert {name: row[name] for name in expected} == expected
    assert row["memory_source"] == "CUDA allocator"
    assert row["compile_peak_memory_mib"] == pytest.approx(3 * compiled["peak"] / 2**20 + 32)
    assert row["compile_peak_host_memory_mib"] == 750


def test_performance_row_has_the_known_figures(sweep: synthetic.SyntheticSweep) -> None:
    for round in range(3):
        eager = sweep.performance("Bert", "eager", round, latency=0.100, peak_mib=600)
        sweep.performance(
            "Bert",
            "inductor",
            round,
            baseline=eager,
            latency=0.050,
            first_call=20.05 if round == 0 else 5.05,
            pairs=[(0.100, 0.050)] * 20,
            peak_mib=500,
            base_mib=350,
        )
    eager_row, row = rows(build(sweep.write()).performance)
    expected = {
        "speedup": 2.0, "speedup_low": 2.0, "speedup_high": 2.0, "verdict": "faster", "interval": "rounds",
        "rounds": 3, "rounds_planned": 3, "pairs": 60, "samples": 60, "outliers": 0,
        "eager_latency_ms": 100.0, "latency_ms": 50.0, "latency_spread_percent": 0.0,
        "compile_latency_cold_s": 20.0, "compile_latency_cold_count": 1,
        "compile_latency_warm_s": 5.0, "compile_latency_warm_count": 2,
        "break_even_iterations": 400,  # 20 s / (100 ms - 50 ms)
        "eager_peak_memory_mib": 600.0, "peak_memory_mib": 500.0, "compression_ratio": 2.0,
        "own_memory_mib": 150.0, "eager_own_memory_mib": 300.0,
        "compile_peak_memory_mib": 650.0, "children_peak_memory_mib": 400.0,
        "graphs": 1, "captured_calls": 50, "status": "pass", "flags": None,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["recompiles"] is None  # not in the facts: missing, not 0
    assert eager_row["compiler"] == "eager"
    for name in ("speedup", "verdict", "compile_latency_cold_s", "compression_ratio", "eager_latency_ms"):
        assert eager_row[name] is None


WORK = {"flops": 2e9, "bytes": 10**8, "peak_flop_per_s": 1e12, "peak_source": "a sheet", "peak_bytes_per_s": 1e11}
UTILISATION = ("step_gflop", "achieved_gflop_per_s", "mfu_percent", "achieved_gb_per_s", "of_bandwidth_percent")


@pytest.mark.parametrize(
    ("work", "eager", "compiled"),
    [
        (WORK, (2.0, 20.0, 2.0, 1.0, 1.0), (2.0, 40.0, 4.0, 2.0, 2.0)),
        (
            WORK | {"peak_flop_per_s": None, "peak_source": None, "peak_bytes_per_s": None},
            (2.0, 20.0, None, 1.0, None),
            (2.0, 40.0, None, 2.0, None),
        ),
        (WORK | {"flops": 0}, (None, None, None, 1.0, 1.0), (None, None, None, 2.0, 2.0)),
        ({}, (None,) * 5, (None,) * 5),
        ("no work", (None,) * 5, (None,) * 5),
    ],
)
def test_what_a_step_achieves_is_eagers_work_over_each_compilers_own_time(
    work: Any, eager: tuple[Any, ...], compiled: tuple[Any, ...], tmp_path: Path
) -> None:
    made = synthetic.SyntheticSweep(tmp_path)
    first = made.performance("A", "eager", 0, latency=0.1, work=work)
    made.performance("A", "inductor", 0, baseline=first, latency=0.05, pairs=[(0.1, 0.05)] * 20)
    found = {row["compiler"]: row for row in rows(build(made.write()).performance)}
    for name, expected in (("eager", eager), ("inductor", compiled)):
        row = found[name]
        assert tuple(row[key] for key in UTILISATION) == pytest.approx(expected), name
        assert row["peak_source"] == (work.get("peak_source") if isinstance(work, dict) else None)


def test_of_peaks_that_each_round_measured_the_highest_counts(tmp_path: Path) -> None:
    made = synthetic.SyntheticSweep(tmp_path)
    for number, (peak, moved) in enumerate([(1e12, 2e11), (2e12, 1e11), (None, None)]):
        work = WORK | {"peak_flop_per_s": peak, "peak_bytes_per_s": moved}
        made.performance("A", "eager", number, latency=0.1, work=work)
    (row,) = rows(build(made.write()).performance)
    assert (row["mfu_percent"], row["of_bandwidth_percent"]) == pytest.approx((1.0, 0.5))


@pytest.mark.parametrize(("measured", "expected"), [(None, 4.0), ({RAN_EAGER: "a limit"}, None)])
def test_a_ratio_of_steps_back_to_back_has_no_clock_in_it(
    measured: dict[str, str] | None, expected: float | None, tmp_path: Path
) -> None:
    """A clock of 15 us in a step of 20 and of 5 us: the latencies' ratio is 1.75."""

    def queued(result: JobResult, seconds: float) -> JobResult:
        more = Samples(metric="back_to_back", unit="s", better="lower", values=(seconds,) * 5)
        return replace(result, samples=(*result.samples, more))

    made = synthetic.SyntheticSweep(tmp_path)
    job = synthetic.job(synthetic.workload("A"), "eager")
    made.add(job, queued(synthetic.performance_result(job, latency=35e-6), 20e-6))
    other = synthetic.job(synthetic.workload("A"), "inductor", needs=[Need(job=job.id, kind="baseline")])
    pairs = [(35e-6, 20e-6)] * 20
    result = synthetic.performance_result(other, latency=20e-6, pairs=pairs, measured=measured)
    made.add(other, queued(result, 5e-6))
    found = {row["compiler"]: row["back_to_back_speedup"] for row in rows(build(made.write()).performance)}
    assert found == {"eager": None, "inductor": None if expected is None else pytest.approx(expected)}


def test_a_job_that_took_turns_has_the_10th_percentile_of_its_steps(sweep: synthetic.SyntheticSweep) -> None:
    """Other programs took part of the CPU in most of them."""
    job = synthetic.job("Bert", "eager")
    alone = synthetic.performance_result(job, latency=[0.1, 0.1, *[0.3] * 9])
    sweep.add(job, dataclasses.replace(alone, facts={**alone.facts, "turns": {"count": 3, "waited_s": 1.0}}))
    other = synthetic.job("GPT", "eager")
    sweep.add(other, dataclasses.replace(alone, job_id=other.id))
    found = {row["model"]: row["latency_ms"] for row in rows(build(sweep.write()).performance)}
    assert found == {"Bert": pytest.approx(100.0), "GPT": pytest.approx(300.0)}


def test_one_round_is_labelled_in_process(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("Bert", "inductor", pairs=[(0.11, 0.1)] * 20)
    (row,) = rows(build(sweep.write()).performance)
    assert (row["interval"], row["verdict"], row["speedup"]) == ("in-process", "faster", pytest.approx(1.1))
    assert row["eager_latency_ms"] is None  # no baseline was planned


@pytest.mark.parametrize(
    ("status", "figures"), [("crash", False), ("timeout", False), ("infrastructure", True), (None, True)]
)
def test_a_round_without_result_costs_precision_a_failed_one_the_figures(
    sweep: synthetic.SyntheticSweep, status: str | None, figures: bool
) -> None:
    for round in range(2):
        sweep.performance("Bert", "inductor", round, pairs=[(0.2, 0.1)] * 20)
    last = synthetic.job("Bert", "inductor", round=2)
    sweep.add(last, synthetic.failed_result(last, status, "why") if status else None)
    (row,) = rows(build(sweep.write()).performance)
    assert row["status"] == (status or "not_run")
    assert row["reason"] == ("why" if status else "no result yet")
    assert (row["rounds"], row["rounds_planned"]) == ((2, 3) if figures else (0, 3))
    assert row["speedup"] == (pytest.approx(2.0) if figures else None)
    assert row["latency_ms"] == (pytest.approx(100.0) if figures else None)


def test_a_failed_baseline_leaves_the_speedup_and_takes_the_memory_ratio(sweep: synthetic.SyntheticSweep) -> None:
    eager = synthetic.job("Bert", "eager")
    sweep.add(eager, synthetic.failed_result(eager, "out_of_memory", "std::bad_alloc"))
    sweep.performance("Bert", "inductor", baseline=eager, pairs=[(0.2, 0.1)] * 20)
    _, row = rows(build(sweep.write()).performance)
    assert row["speedup"] == pytest.approx(2.0)
    assert row["compression_ratio"] is None
    assert row["eager_latency_ms"] is None


def test_only_shares_are_compared_across_launchers(sweep: synthetic.SyntheticSweep) -> None:
    eager = sweep.performance("Bert", "eager", launcher="subprocess")
    sweep.performance("Bert", "inductor", baseline=eager, launcher="fork")
    _, row = rows(build(sweep.write()).performance)
    assert row["compression_ratio"] == pytest.approx(1.0)
    assert (row["eager_own_memory_mib"], row["own_memory_mib"]) == (300.0, 300.0)


def test_where_pairing_is_impossible_the_row_says_so_and_has_the_wide_interval(sweep: synthetic.SyntheticSweep) -> None:
    for round, wobble in enumerate((1.0, 1.05, 0.95)):
        eager = sweep.performance("Bert", "eager", round, latency=0.2 * wobble)
        sweep.performance("Bert", "big", round, baseline=eager, latency=0.1, pair_method="none")
    _, row = rows(build(sweep.write()).performance)
    assert row["interval"] == "unpaired"
    assert row["speedup"] == pytest.approx(2.0, rel=0.01)
    assert row["speedup_low"] < 1.9
    assert row["speedup_high"] > 2.1
    assert row["pairs"] == 0


@pytest.mark.parametrize(("threshold", "word"), [(0.01, "faster"), (0.10, "within noise"), (0.0, "faster")])
def test_the_threshold_of_an_effect_is_the_sweeps(sweep: synthetic.SyntheticSweep, threshold: float, word: str) -> None:
    """0 is a threshold as well: whatever the interval excludes is called."""
    for round in range(3):
        sweep.performance("Bert", "inductor", round, pairs=[(0.105 if threshold else 0.1005, 0.1)] * 20)
    folder = sweep.write()
    header = json.loads(folder.sweep_file.read_text())
    header["points"] = [{"effect_threshold": threshold}]
    folder.sweep_file.write_text(json.dumps(header))
    assert rows(build(folder).performance)[0]["verdict"] == word


def test_flags_are_huds(sweep: synthetic.SyntheticSweep) -> None:
    eager = sweep.performance("Bert", "eager", peak_mib=600)
    sweep.performance("Bert", "inductor", baseline=eager, first_call=130.0, pairs=[(0.09, 0.1)] * 20, peak_mib=700)
    sweep.accuracy("Bert", "inductor", status="fail_accuracy", reason="wrong")
    made = build(sweep.write())
    assert rows(made.performance)[1]["flags"] == "speedup, compile_latency, compression_ratio"
    assert rows(made.summary)[1]["flags"] == "speedup, compile_latency, compression_ratio, accuracy"


def test_what_differs_in_anything_keeps_its_own_row(sweep: synthetic.SyntheticSweep) -> None:
    loads = [
        synthetic.workload("Bert"),
        synthetic.workload("Bert", dtype="bfloat16"),
        synthetic.workload("Bert", device="cuda:0"),
        synthetic.workload("Bert", mode="training"),
        synthetic.workload("Bert", seed=1),
        synthetic.workload("Bert", threads=1),
        synthetic.workload("Bert", batch_size=8),
        synthetic.workload("Bert", sequence_length=None),
    ]
    compilers = [synthetic.compiler("inductor"), synthetic.compiler("inductor", dynamic=True)]
    for load_ in loads:
        for spec in compilers:
            sweep.performance(load_, spec, pairs=[(0.2, 0.1)] * 20)
            sweep.accuracy(load_, spec)
    sweep.performance("Bert", compilers[0], launcher="subprocess")
    sweep.performance("Bert", compilers[0], env={"OMP_WAIT_POLICY": "PASSIVE"})
    made = build(sweep.write())
    assert len(made.performance.rows) == 18
    assert len(made.accuracy.rows) == 16
    assert len(made.summary.rows) == 18
    names = {row["compiler"] for row in rows(made.performance)}
    assert len(names) == 4
    identity = [tuple(row[name] for name in tables.IDENTITY) for row in rows(made.performance)]
    assert len(set(identity)) == 18


def test_accuracy_without_performance_stands_in_the_same_section(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("A", "inductor", pairs=[(2.0, 1.0)] * 20)
    sweep.accuracy("A", "inductor")
    sweep.accuracy("B", "inductor")
    made = build(sweep.write())
    assert [row["performance"] for row in rows(made.summary)] == ["pass", None]
    (row,) = rows(made.overview)
    assert (row["planned"], row["performance_planned"], row["accuracy_planned"]) == (2, 1, 2)


def test_distinguish_adds_only_what_differs() -> None:
    named = {
        1: ("inductor", {"mode": None, "dynamic": True}),
        2: ("inductor", {"mode": None}),
        3: ("eager", {"mode": "x"}),
    }
    assert distinguish(named) == {1: "inductor(dynamic=true)", 2: "inductor()", 3: "eager"}
    assert sorted(distinguish({1: ("a", {}), 2: ("a", {})}).values()) == ["a(1)", "a(2)"]


def test_accuracy_shows_the_tensor_that_decides(sweep: synthetic.SyntheticSweep) -> None:
    sweep.accuracy("Bert", "inductor", status="fail_accuracy", reason="1 of 2 tensors are wrong", error=0.5)
    (row,) = rows(build(sweep.write()).accuracy)
    assert (row["worst_tensor"], row["max_abs_error"], row["rule"]) == ("logits", 0.5, "rmse")
    assert (row["tensors"], row["tensors_failed"], row["reason"]) == (2, 1, "1 of 2 tensors are wrong")


def test_an_error_that_is_not_a_number_is_shown_as_such(sweep: synthetic.SyntheticSweep) -> None:
    sweep.accuracy("Bert", "inductor", status="fail_accuracy", error="nan")
    sweep.accuracy("Gpt", "inductor", error=1e-4)
    made = build(sweep.write())
    assert [row["max_abs_error"] for row in rows(made.accuracy)] == ["nan", 1e-4]
    assert json.loads(exports.to_json({"accuracy": made.accuracy}))["tables"]["accuracy"][0]["max_abs_error"] == "nan"


def test_accuracy_at_another_batch_size_is_joined_and_an_equal_one_preferred(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20)
    sweep.accuracy(synthetic.workload("Bert", batch_size=1), "inductor", status="fail_accuracy", reason="no")
    (row,) = rows(build(sweep.write()).summary)
    assert (row["batch_size"], row["accuracy_batch_size"], row["accuracy"]) == (4, 1, "fail_accuracy")

    sweep.accuracy("Bert", "inductor")
    joined, alone = rows(build(sweep.write()).summary)[::-1]
    assert (joined["accuracy_batch_size"], joined["accuracy"], joined["performance"]) == (4, "pass", "pass")
    assert (alone["accuracy_batch_size"], alone["accuracy"], alone["performance"]) == (1, "fail_accuracy", None)


def test_geometric_mean_is_over_the_models_that_all_compilers_ran(sweep: synthetic.SyntheticSweep) -> None:
    for model, speedup in (("A", 2.0), ("B", 8.0), ("C", 100.0)):
        sweep.performance(model, "inductor", pairs=[(speedup, 1.0)] * 20)
    for model in ("A", "B"):
        sweep.performance(model, "freezing", pairs=[(1.0, 1.0)] * 20)
    crashed = synthetic.job("C", "freezing")
    sweep.add(crashed, synthetic.failed_result(crashed, "crash", "SIGSEGV"))
    absent = synthetic.job("A", "openvino")  # ran nothing at all: is not compared, takes nothing away
    sweep.add(absent, synthetic.failed_result(absent, "unsupported", "not installed"))
    by_name = {row["compiler"]: row for row in rows(build(sweep.write()).overview)}
    assert by_name["inductor"]["geomean_speedup"] == pytest.approx(4.0)
    assert by_name["inductor"]["geomean_count"] == 2
    assert by_name["inductor"]["geomean_models"] == "A, B"
    assert by_name["freezing"]["geomean_speedup"] == pytest.approx(1.0)
    assert by_name["openvino"]["geomean_speedup"] is None
    assert (by_name["freezing"]["passed"], by_name["freezing"]["planned"]) == (2, 3)
    assert by_name["freezing"]["pass_rate_percent"] == pytest.approx(200 / 3)


def around(speedup: float) -> list[tuple[float, float]]:
    """Return eight pairs around a speed-up, of which the interval is their range: 1 % to either side."""
    return [(speedup * math.exp(sign * k / 400), 1.0) for k in range(1, 5) for sign in (1, -1)]


def test_a_geometric_mean_has_an_interval_for_these_models_and_one_for_models_like_these(
    sweep: synthetic.SyntheticSweep,
) -> None:
    for model, speedup in (("A", 1.2), ("B", 1.5), ("C", 1.1)):
        sweep.performance(model, "inductor", pairs=around(speedup))
    (mean,) = build(sweep.write()).overview.rows
    logs = np.log([1.2, 1.5, 1.1])
    low, high = stats.t.interval(0.95, 2, np.mean(logs), stats.sem(logs))
    assert (mean["geomean_over_models_low"], mean["geomean_over_models_high"]) == pytest.approx(
        (math.exp(low), math.exp(high))
    )
    assert (mean["geomean_interval"], mean["geomean_disturbed"]) == ("in-process", 0)
    half = math.log(mean["geomean_speedup_high"] / mean["geomean_speedup_low"]) / 2
    assert half == pytest.approx(0.01 / math.sqrt(3))
    assert (mean["pass_rate_low_percent"], mean["pass_rate_high_percent"]) == (pytest.approx(43.85, abs=0.01), 100.0)


def test_a_group_says_when_one_of_it_was_disturbed_or_has_no_interval(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("A", "inductor", pairs=around(1.2), disturbed=["other processes used 0.6 cores"])
    sweep.performance("B", "inductor", pairs=around(1.5)[:4])  # too few for an interval
    sweep.performance("A", "freezing", pairs=around(1.2))
    crashed = synthetic.job("C", "freezing")
    sweep.add(crashed, synthetic.failed_result(crashed, "crash", "SIGSEGV"))
    sweep.performance("B", "freezing", pairs=around(1.3))
    by_name = {row["compiler"]: row for row in rows(build(sweep.write()).overview)}
    assert by_name["inductor"]["geomean_disturbed"] == 1
    assert by_name["inductor"]["geomean_speedup"] == pytest.approx(math.sqrt(1.2 * 1.5))
    assert [by_name["inductor"][name] for name in ("geomean_speedup_low", "geomean_interval")] == [None, None]
    assert by_name["inductor"]["geomean_over_models_low"] is not None
    assert by_name["freezing"]["geomean_disturbed"] == 0
    assert by_name["freezing"]["geomean_speedup_low"] is not None
    assert by_name["freezing"]["pass_rate_low_percent"] == pytest.approx(20.77, abs=0.01)


def test_a_group_without_a_figure_has_a_pass_rate_with_its_interval(sweep: synthetic.SyntheticSweep) -> None:
    for model in ("A", "B"):
        failed = synthetic.job(model, "inductor")
        sweep.add(failed, synthetic.failed_result(failed, "crash", "SIGSEGV"))
    (mean,) = rows(build(sweep.write()).overview)
    assert {mean[name] for name in mean if name.startswith("geomean") and not name.endswith("count")} == {None}
    assert [mean[f"pass_rate{end}_percent"] for end in ("", "_low")] == [0.0, 0.0]
    assert mean["pass_rate_high_percent"] == pytest.approx(65.76, abs=0.01)


def test_wrong_results_do_not_raise_the_mean(sweep: synthetic.SyntheticSweep) -> None:
    for model, speedup in (("A", 2.0), ("B", 50.0)):
        sweep.performance(model, "inductor", pairs=[(speedup, 1.0)] * 20)
    sweep.accuracy("A", "inductor")
    sweep.accuracy("B", "inductor", status="fail_accuracy", reason="wrong")
    (row,) = rows(build(sweep.write()).overview)
    assert (row["geomean_speedup"], row["geomean_count"]) == (pytest.approx(2.0), 1)
    assert (row["performance_passed"], row["accuracy_passed"], row["accuracy_planned"]) == (2, 1, 2)


def test_disturbed_rounds_are_named(tmp_path: Path) -> None:
    row = next(r for r in rows(build(synthetic.quick_sweep(tmp_path / "s").write()).summary) if r["disturbed"])
    assert (row["model"], row["compiler"]) == ("T5Small", "inductor")
    assert row["disturbed"] == "round 3: other processes used 0.62 cores (over 0.1)"


def test_a_dependent_job_points_to_the_log_of_the_job_that_failed(sweep: synthetic.SyntheticSweep) -> None:
    reference = synthetic.job("Bert", "eager", "reference")
    sweep.add(reference, synthetic.failed_result(reference, "eager_fail_to_run", "IndexError: 7", "eager_1st_run"))
    waiting = synthetic.job("Bert", "inductor", "accuracy", needs=[Need(job=reference.id, kind="reference")])
    result = synthetic.failed_result(waiting, "eager_fail_to_run", "needs the reference, which failed: IndexError: 7")
    failure = result.failure
    assert failure is not None
    dependency = synthetic.Failure(kind="dependency", phase="", message=failure.message)
    sweep.add(
        waiting, synthetic.JobResult(job_id=waiting.id, status=result.status, failure=dependency, started=0, ended=0)
    )
    (row,) = rows(build(sweep.write()).accuracy)
    assert row["log"] == f"jobs/{reference.id}/log.txt"
    assert row["job"] == waiting.id


# -- nothing is lost


def test_every_planned_job_has_one_row_whatever_is_missing_or_damaged(tmp_path: Path) -> None:
    rng = random.Random(11)
    for trial in range(8):
        sweep = synthetic.quick_sweep(tmp_path / str(trial))
        folder = sweep.write()
        damaged = 0
        for spec in sweep.jobs:
            file = folder.result_file(spec.id)
            text = file.read_bytes()
            damage = rng.choice(["none", "gone", "cut", "garbage", "other", "list", "status", "facts"])
            if damage == "gone":
                file.unlink()
            elif damage == "cut":
                file.write_bytes(text[: rng.randrange(len(text) - 2)])
            elif damage == "garbage":
                file.write_bytes(bytes(rng.randrange(256) for _ in range(99)))
            elif damage == "other":
                file.write_bytes(text.replace(spec.id.encode(), b"0123456789abcdef"))
            elif damage == "list":
                file.write_text("[1, 2]")
            elif damage == "status":
                file.write_text(text.decode().replace('"status": "', '"status": "un'))
            elif damage == "facts":  # readable, of our schema, and not what we expect
                data = json.loads(text)
                data["facts"] = {"memory": 7, "disturbed": 3, "counters": [], "accuracy": {"tensors": {}}, "cache": []}
                file.write_text(json.dumps(data))
            damaged += damage not in ("none", "facts")
        made = build(folder)
        jobs = made.jobs.rows
        assert [row["job"] for row in jobs] == [spec.id for spec in sweep.jobs]
        assert {row["status"] for row in jobs} <= set(STATUSES)
        assert sum(row["status"] == "not_run" for row in jobs) == damaged
        assert all(row["reason"] for row in jobs if row["status"] == "not_run")
        assert len(made.performance.rows) == 8
        assert len(made.accuracy.rows) == 4
        exports.write(folder, made)
        assert len(json.loads((folder.tables / "jobs.json").read_text())["tables"]["jobs"]) == len(sweep.jobs)


def test_damaged_result_says_so(sweep: synthetic.SyntheticSweep) -> None:
    spec = sweep.performance("Bert", "inductor")
    folder = sweep.write()
    folder.result_file(spec.id).write_text('{"schema": 1, "job_id"')
    (row,) = rows(build(folder).jobs)
    assert row["status"] == "not_run"
    assert str(row["reason"]).startswith("result file cannot be read: ")


def test_a_verdict_stands_before_its_result_is_written(sweep: synthetic.SyntheticSweep) -> None:
    sweep.add(synthetic.job("Bert", "inductor", verdict=Verdict(status="unsupported", reason="gone from transformers")))
    (row,) = rows(build(sweep.write()).performance)
    assert (row["status"], row["reason"], row["speedup"]) == ("unsupported", "gone from transformers", None)


def test_unequal_or_impossible_samples_give_no_speedup(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("Bert", "inductor", pairs=[(0.0, 0.1)] * 20, latency=[0.0] * 20)
    folder = sweep.write()
    (row,) = rows(build(folder).performance)
    assert (row["status"], row["speedup"], row["latency_ms"]) == ("pass", None, None)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "argv": 3}'])
@pytest.mark.parametrize("name", ["sweep.json", "plan.json"])
def test_a_damaged_sweep_is_a_usage_error(sweep: synthetic.SyntheticSweep, name: str, text: str) -> None:
    folder = sweep.write()
    (folder.root / name).write_text(text)
    with pytest.raises(UsageError, match=name):
        load.load(folder)


# -- exports

GOLDEN = """\
## Overview

| suite | mode | dtype | device | seed | threads | compiler | geomean speedup (x) \
| geomean speedup low (x) | geomean speedup high (x) | geomean speedup clipped (x) | geomean count | geomean disturbed \
| pass rate (%) | pass rate low (%) | pass rate high (%) | passed | planned \
| performance passed | performance planned | accuracy passed | accuracy planned \
| mean compile latency cold (s) | geomean compression ratio (x) |
| --- | --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: \
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| quick | inference | float16 | cpu | 0 | 2 | inductor | 2.00 | 2.00 | 2.00 | 2.00 | 1 | 0 | 50.0 | 9.5 | 90.5 \
| 1 | 2 | 1 | 2 | 0 | 0 | 4.90 | 1.50 |
"""


def test_markdown_golden(sweep: synthetic.SyntheticSweep) -> None:
    eager = sweep.performance("A", "eager", peak_mib=600)
    sweep.performance("A", "inductor", baseline=eager, pairs=[(0.2, 0.1)] * 20, peak_mib=500)
    sweep.add(synthetic.job("B", "inductor"))
    made = build(sweep.write())
    others = [row for row in made.overview.rows if row["compiler"] != "eager"]
    assert exports.to_markdown("overview", tables.Table.of(made.overview.columns, others)) == GOLDEN


def test_exports_are_the_same_bytes_again(tmp_path: Path) -> None:
    folder = synthetic.quick_sweep(tmp_path / "s").write()

    def export() -> dict[str, bytes]:
        exports.write(folder, build(folder))
        return {path.name: path.read_bytes() for path in sorted(folder.tables.iterdir())}

    first = export()
    assert len(first) == 18
    assert export() == first


def test_csv_text_is_no_formula_and_numbers_stay_numbers(sweep: synthetic.SyntheticSweep) -> None:
    spec = synthetic.job("=HYPERLINK(1)", "inductor")
    sweep.add(spec, synthetic.failed_result(spec, "fail_to_run", '-1 is wrong, "quoted",\n@here'))
    sweep.performance("Bert", "inductor", first_call=0.05)  # compile latency -0.05 s
    text = exports.to_csv(build(sweep.write()).performance)
    first, second = csv.DictReader(io.StringIO(text))
    assert first["model"] == "'=HYPERLINK(1)"
    assert first["reason"] == '\'-1 is wrong, "quoted", @here'
    assert first["speedup"] == ""
    assert float(second["compile_latency_cold_s"]) == pytest.approx(-0.05)
    assert second["batch_size"] == "4"


def test_json_has_units_and_nulls(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("Bert", "eager", latency=0.1)
    document = json.loads(exports.to_json(build(sweep.write()).named()))
    assert document["schema"] == 1
    assert document["columns"]["latency_ms"]["unit"] == "ms"
    assert document["columns"]["speedup"]["better"] == "higher"
    row = document["tables"]["performance"][0]
    assert (row["latency_ms"], row["speedup"], row["reason"]) == (pytest.approx(100.0), None, None)
    assert all(name in document["columns"] for rows in document["tables"].values() for row in rows for name in row)


def test_markdown_cells_cannot_break_the_table(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("a|b<script>", "inductor", disturbed=["x\ny"])
    lines = exports.to_markdown("performance", build(sweep.write()).performance).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3
    assert "| a\\|b\\<script> |" in table[2]


# -- names, numbers, commands


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"), (0.00123, "0.00123"), (0.05, "0.0500"), (1.2345, "1.23"), (24.36, "24.4"), (153.8, "154"),
        (1234.5, "1234"), (999_999.0, "999999"), (2e6, "2.00e+06"), (1e-4, "1.00e-04"), (-0.05, "-0.0500"),
        (math.inf, "inf"), (0.99999, "1.00"), (99.996, "100"), (-9.999, "-10.0"), (9.994, "9.99"), (9999.6, "10000"),
    ],
)  # fmt: skip
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_every_column_shows_a_missing_value_as_missing_and_zero_as_zero() -> None:
    for column in COLUMNS.values():
        assert column.text(None) == MISSING
        assert column.text(math.nan) == MISSING
        assert column.doc
        if column.kind != "text":
            assert column.text(0) != MISSING


def test_command_is_quoted_for_the_shell_and_for_hydra() -> None:
    load_ = synthetic.workload("Model; rm -rf 'x'", device="cuda:1", sequence_length=None)
    text = command(
        load_,
        synthetic.compiler("inductor"),
        ["performance"],
        ["compiler=eager,inductor", "compiler.options.mode=max-autotune", "rounds=5", "seed=1,2", "resume=latest",
         "hydra.sweep.dir=x", "+measure.options.pairs=[1,2]", "threads=1,2", "dtype=float16"],
    )  # fmt: skip
    code = "import sys; print('\\n'.join(sys.argv[1:]))"
    line = text.replace("python -m orchestrator", f'{sys.executable} -c "{code}"')
    words = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()
    assert words == [
        "suite=quick",
        "suite.models=['Model; rm -rf \\'x\\'']",
        "compiler=inductor",
        "measure=performance",
        "dtype=float16",
        "mode=inference",
        "device=cuda",
        "device.index=1",
        "batch_size=4",
        "seed=0",
        "threads=2",
        "compiler.options.mode=max-autotune",
        "rounds=5",
        "+measure.options.pairs=[1,2]",
    ]


def test_command_of_a_summary_row_leaves_different_batch_sizes_to_the_suite(sweep: synthetic.SyntheticSweep) -> None:
    sweep.performance("Bert", "inductor")
    sweep.performance("Gpt", "inductor")
    sweep.accuracy("Bert", "inductor")
    sweep.accuracy(synthetic.workload("Gpt", batch_size=1), "inductor")
    same, other = rows(build(sweep.write()).summary)
    assert "measure=performance,accuracy" in str(same["command"])
    assert "batch_size=4" in str(same["command"])
    assert "batch_size" not in str(other["command"])


def test_a_table_is_a_data_frame_for_those_who_want_one(tmp_path: Path) -> None:
    """Counts stay integers where some are missing, and what was seen and is no number stays the word."""
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20)
    sweep.accuracy("Bert", "inductor", error="nan")
    sweep.accuracy("Gpt", "inductor", error=1e-4)
    made = build(sweep.write())
    frame = made.summary.frame()
    assert str(frame["rounds"].dtype) == "Int64"
    assert str(frame["speedup"].dtype) == "float64"
    assert frame["rounds"].isna().tolist() == [False, True]
    assert made.accuracy.frame()["max_abs_error"].tolist() == ["nan", 1e-4]
