"""Sweeps for other tools: what the files say, cell by cell, and what those tools read out of them."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import synthetic
from support.command import answer, orchestrator, run
from support.dynamobench import COUNTERS, GOLDEN, load_of, timed

from orchestrator.exchange import dynamobench
from orchestrator.exchange.dynamobench import FileName, parse_name
from orchestrator.records import TIMED_CODE, TWIN, Need
from orchestrator.results.load import load
from orchestrator.results.tables import build
from orchestrator.store import SweepFolder

HERE = Path(__file__).parent


def failed(sweep: synthetic.SyntheticSweep, spec: Any, status: str, phase: str = "compile") -> None:
    sweep.add(spec, synthetic.failed_result(spec, status, "why", phase))


def judged(sweep: synthetic.SyntheticSweep, workload: Any, compiler: str, status: str = "pass") -> None:
    spec = synthetic.job(workload, compiler, "accuracy")
    result = synthetic.accuracy_result(spec, status=status, reason="wrong")
    sweep.add(spec, dataclasses.replace(result, facts={**result.facts, "counters": COUNTERS}))


@pytest.fixture
def sweep(tmp_path: Path) -> synthetic.SyntheticSweep:
    """Two compilers, and every way in which a run ends."""
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    timed(sweep, load_of("BertForMaskedLM"), "inductor", 0.1, 1.25, first_call=40.0)
    timed(sweep, load_of("BertForMaskedLM"), "dynamo_eager", 0.1, 0.98, first_call=0.1)
    timed(sweep, load_of("=SUM(A1)", batch_size=8), "inductor", 0.2, 2.0, first_call=0.05)  # compile latency < 0
    ends = {
        "Crash": ("crash", "crash"),
        "Host": ("infrastructure", "infrastructure"),
        "Long": ("timeout", "timeout"),
        "Memory": ("out_of_memory", "out_of_memory"),
        "Missing": ("model_fail_to_load", "model_fail_to_load"),
        "Raises": ("fail_to_run", "fail_to_run"),
        "Unable": ("unsupported", "comparison_error"),
    }
    for model, (performance, accuracy) in ends.items():
        failed(sweep, synthetic.job(load_of(model), "inductor"), performance)
        failed(sweep, synthetic.job(load_of(model, batch_size=1), "inductor", "accuracy"), accuracy)
    for model, status in (("BertForMaskedLM", "pass"), ("=SUM(A1)", "fail_accuracy")):
        judged(sweep, load_of(model, batch_size=1), "inductor", status)
    judged(sweep, load_of("BertForMaskedLM", batch_size=1), "dynamo_eager")
    sweep.add(synthetic.job(load_of("NotYet"), "inductor"))
    sweep.add(synthetic.job(load_of("NotYet", batch_size=1), "inductor", "accuracy"))
    for model, status, phase in (
        ("EagerOOM", "out_of_memory", "eager_1st_run"),
        ("Unstable", "eager_two_runs_differ", ""),
    ):
        reference = synthetic.job(load_of(model, batch_size=1), "eager", "reference")
        failed(sweep, reference, status, phase)
        needs = [Need(job=reference.id, kind="reference")]
        spec = synthetic.job(load_of(model, batch_size=1), "inductor", "accuracy", needs=needs)
        dependent = synthetic.failed_result(spec, status, "needs another", "")
        failure = dataclasses.replace(dependent.failure, kind="dependency") if dependent.failure else None
        sweep.add(spec, dataclasses.replace(dependent, failure=failure))
        failed(sweep, synthetic.job(load_of(model), "inductor"), "eager_fail_to_run")
    return sweep


@pytest.fixture
def files(sweep: synthetic.SyntheticSweep, tmp_path: Path) -> Path:
    """The folder into which the sweep was exported."""
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    return tmp_path / "csv"


# -- transformers.benchmark


def test_transformers_files_are_what_its_plots_read(tmp_path: Path) -> None:
    """Its reader takes whole batch sizes and lengths, and results that are numbers, or anything else for none."""
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    for batch, length in ((1, 8), (1, 32), (8, 8)):
        load_ = synthetic.workload("BertForMaskedLM", batch_size=batch, sequence_length=length)
        eager = sweep.performance(load_, "eager", latency=batch * length / 1e4)
        sweep.performance(load_, "inductor", baseline=eager, latency=batch * length / 2e4)
    failed(sweep, synthetic.job(synthetic.workload("=Gpt", batch_size=8, sequence_length=8), "eager"), "out_of_memory")
    training = synthetic.workload("BertForMaskedLM", mode="training", batch_size=1, sequence_length=8)
    sweep.performance(training, "eager", latency=0.5)
    sweep.performance(synthetic.workload("resnet", sequence_length=None), "eager", latency=0.1)
    sweep.write()
    said = orchestrator(tmp_path, "export", "transformers", "-o", "csv")
    assert "note: 1 row of models without a sequence length left out" in said
    files = {path.name: list(csv.DictReader(path.open())) for path in (tmp_path / "csv").iterdir()}
    figures = [f"{kind}_{what}" for kind in ("inference", "train") for what in ("time", "memory")]
    assert set(files) == {f"{name}_eager.csv" for name in figures} | {f"{name}_inductor.csv" for name in figures[:2]}
    assert all(
        list(row) == ["model", "batch_size", "sequence_length", "result"] for rows in files.values() for row in rows
    )
    assert [(row["model"], int(row["batch_size"]), int(row["sequence_length"]), row["result"])
            for row in files["inference_time_eager.csv"]] == [
        ("'=Gpt", 8, 8, "N/A"), ("BertForMaskedLM", 1, 8, "0.000800"), ("BertForMaskedLM", 1, 32, "0.003200"),
        ("BertForMaskedLM", 8, 8, "0.006400"),
    ]  # fmt: skip
    assert [row["result"] for row in files["train_time_eager.csv"]] == ["0.500000"]
    assert all(row["result"].isdecimal() for row in files["inference_memory_inductor.csv"])


def test_transformers_files_say_what_differs_besides(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    for dtype in ("float32", "float16"):
        sweep.performance(synthetic.workload("A", dtype=dtype, sequence_length=8), "eager", latency=0.1)
    sweep.write()
    orchestrator(tmp_path, "export", "transformers", "-o", "csv")
    names = {f"inference_{what}_eager_{dtype}.csv" for what in ("time", "memory") for dtype in ("float32", "float16")}
    assert {path.name for path in (tmp_path / "csv").iterdir()} == names


# -- benchmarks/dynamo


def test_files_equal_the_golden_ones_cell_by_cell(files: Path) -> None:
    assert sorted(path.name for path in files.iterdir()) == sorted(path.name for path in GOLDEN.iterdir())
    for path in GOLDEN.iterdir():
        expected, found = (list(csv.DictReader(place.open())) for place in (path, files / path.name))
        assert [row["name"] for row in found] == [row["name"] for row in expected], path.name
        for row, other in zip(expected, found, strict=True):
            assert other == row, f"{path.name}: {row['name']}"
        assert (files / path.name).read_bytes() == path.read_bytes()


def test_units_and_zeros(files: Path) -> None:
    """What the golden files say is right: figures that are known, and rows of failures as theirs are."""
    table = pd.read_csv(files / "inductor_huggingface_amp_training_cuda_performance.csv").set_index("name")
    bert = table.loc["BertForMaskedLM"]
    assert bert["speedup"] == pytest.approx(1.25)
    assert bert["abs_latency"] == pytest.approx(80.0)  # ms
    assert bert["compilation_latency"] == pytest.approx(40.0 - 0.08)  # s
    assert bert["compression_ratio"] == pytest.approx(8.0 / 6.4)
    assert (bert["eager_peak_mem"], bert["dynamo_peak_mem"]) == (8.0, 6.4)  # GB of 1e9 bytes
    assert (bert["dev"], bert["batch_size"]) == ("cuda", 16)
    assert (bert["calls_captured"], bert["unique_graphs"], bert["cudagraph_skips"]) == (310, 2, 3)
    assert list(table.loc["Crash"])[1:] == [16] + [0] * 14
    assert (table["speedup"] == 0).sum() == 10


@pytest.mark.parametrize("status", ["pass", "fail_accuracy"])
def test_an_accuracy_file_has_the_counters_of_whatever_was_judged(tmp_path: Path, status: str) -> None:
    """The accuracy job of timed code compiles nothing. check_graph_breaks.py stops at a count that is empty."""
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    twin = COUNTERS | {"graph_breaks": 7}
    for model, judged, own in (("Timed", TIMED_CODE, {}), ("Twin", TWIN, {"counters": twin})):
        timed(sweep, load_of(model), "inductor", 0.1, 1.25)
        spec = synthetic.job(load_of(model), "inductor", "accuracy")
        result = synthetic.accuracy_result(spec, status=status)
        facts = {"accuracy": {**result.facts["accuracy"], "judged": judged}, **own}
        sweep.add(spec, dataclasses.replace(result, facts=facts))
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    table = pd.read_csv(tmp_path / "csv" / "inductor_huggingface_amp_training_cuda_accuracy.csv").set_index("name")
    assert list(table["unique_graphs"]) == [2, 2]
    assert dict(table["graph_breaks"]) == {"Timed": 1, "Twin": 7}


def test_text_that_is_a_formula_is_quoted_and_negative_numbers_stay_numbers(files: Path) -> None:
    text = (files / "inductor_huggingface_amp_training_cuda_performance.csv").read_text()
    assert "cuda,'=SUM(A1),8,2.000000,100.000000,-0.050000," in text


def test_their_eager_is_dynamo_and_plain_eager_has_no_file(files: Path) -> None:
    (row,) = csv.DictReader((files / "eager_huggingface_amp_training_cuda_performance.csv").open())
    assert (row["name"], row["speedup"]) == ("BertForMaskedLM", "0.980000")


def test_statuses_are_words_that_their_files_have(files: Path) -> None:
    table = pd.read_csv(files / "inductor_huggingface_amp_training_cuda_accuracy.csv").set_index("name")["accuracy"]
    assert dict(table) == {
        "'=SUM(A1)": "fail_accuracy",
        "BertForMaskedLM": "pass",
        "Crash": "fail_to_run",
        "EagerOOM": "eager_1st_run_OOM",
        "Host": "infra_error",
        "Long": "timeout",
        "Memory": "OOM",
        "Missing": "model_fail_to_load",
        "NotYet": "infra_error",
        "Raises": "fail_to_run",
        "Unable": "fail_accuracy",
        "Unstable": "eager_two_runs_differ",
    }
    assert set(dynamobench.TO_THEIRS.values()) <= set(dynamobench.TO_OURS)


class Runner:
    """What runner.py --visualize-logs reads (facts F1 of its extract_df): files by name, rows by position and name."""

    def __init__(self, folder: Path, compilers: list[str], suite: str, dtype: str, mode: str, device: str) -> None:
        self.folder, self.compilers = folder, compilers
        self.scope = f"{suite}_{dtype}_{mode}_{device}"
        self.accuracy = self.frame("accuracy", "accuracy")

    def frame(self, metric: str, testing: str) -> pd.DataFrame:
        merged: pd.DataFrame | None = None
        sizes: list[int] | None = None
        for compiler in self.compilers:
            path = self.folder / f"{compiler}_{self.scope}_{testing}.csv"
            assert "dev" in path.read_text().splitlines()[0]  # else it is taken for a file without header
            own = pd.read_csv(path)
            own["batch_size"] = own["batch_size"].astype(int)
            for a, b in zip(sizes or own["batch_size"], own["batch_size"], strict=False):
                assert a == b or 0 in (a, b)
            sizes = sizes or list(own["batch_size"])
            own = own[["dev", "name", "batch_size", metric]].rename(columns={metric: compiler})
            merged = own if merged is None else merged.merge(own, on=["dev", "name", "batch_size"])
        assert merged is not None
        return merged

    def gated(self, metric: str, compiler: str) -> pd.Series[float]:
        table = self.frame(metric, "performance")
        values = pd.to_numeric(table[compiler], errors="coerce").fillna(0)
        passed = self.accuracy.set_index("name")[compiler].isin(["pass", "pass_due_to_skip"])
        return values.where(table["name"].map(passed).fillna(False), 0.0)

    def passrate(self, compiler: str) -> str:
        values = self.gated("speedup", compiler)
        return f"{round(100 * (values > 0).sum() / len(values))}%, {(values > 0).sum()}/{len(values)}"

    def geomean(self, compiler: str) -> float:
        values = self.gated("speedup", compiler)
        return float(math.exp(values[values > 0].clip(1).map(math.log).mean()))


def test_runner_reads_pass_rate_and_geometric_mean(files: Path) -> None:
    runner = Runner(files, ["inductor"], "huggingface", "amp", "training", "cuda")
    assert runner.passrate("inductor") == "8%, 1/12"  # wrong results do not count, whatever their speed-up
    assert runner.geomean("inductor") == pytest.approx(1.25)
    alone = Runner(files, ["eager"], "huggingface", "amp", "training", "cuda")
    assert (alone.passrate("eager"), alone.geomean("eager")) == ("100%, 1/1", pytest.approx(1.0))
    assert not runner.frame("compression_ratio", "performance")["inductor"].isna().any()


def test_runner_reads_compilers_together_though_runs_failed(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for i, model in enumerate("ABC"):
        for compiler in ("aot_eager", "inductor"):
            if (model, compiler) == ("B", "aot_eager"):
                failed(sweep, synthetic.job(load_of(model, batch_size=4 + i), compiler), "crash")
            else:
                timed(sweep, load_of(model, batch_size=4 + i), compiler, 0.1, 2.0)
            judged(sweep, load_of(model, batch_size=1), compiler)
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    runner = Runner(tmp_path / "csv", ["aot_eager", "inductor"], "huggingface", "amp", "training", "cuda")
    assert (runner.passrate("aot_eager"), runner.passrate("inductor")) == ("67%, 2/3", "100%, 3/3")


def test_what_the_files_do_not_say_is_said(sweep: synthetic.SyntheticSweep, tmp_path: Path) -> None:
    sweep.write()
    printed = orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    assert "note: 1 x crash: 'fail_to_run' for accuracy" in printed
    assert "note: 1 x crash: a speed-up of 0 for performance" in printed
    assert "the compilers' files have different models" in printed


def test_check_accuracy_finds_every_model_once(files: Path) -> None:
    """check_accuracy.py looks a model up by name and takes `.item()`: twice the same name is 'missing'."""
    actual = pd.read_csv(files / "inductor_huggingface_amp_training_cuda_accuracy.csv")
    assert actual["name"].is_unique
    assert all(isinstance(actual.loc[actual["name"] == name]["accuracy"].item(), str) for name in actual["name"])


def test_check_perf_csv_finds_numbers_everywhere(files: Path) -> None:
    """check_perf_csv.py raises where speedup is missing, and divides by a compression ratio that is not 0."""
    for path in files.glob("*_performance.csv"):
        table = pd.read_csv(path)
        assert pd.api.types.is_float_dtype(table["speedup"])
        assert pd.api.types.is_float_dtype(table["abs_latency"])
        assert table[["speedup", "abs_latency"]].notna().all(axis=None)
        failing = table.loc[table["speedup"] < 0.95, "name"]
        assert "BertForMaskedLM" not in set(failing)


def test_two_batch_sizes_do_not_overwrite_each_other(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for size, speedup in ((4, 1.5), (8, 2.5)):
        for model in ("A", "B"):
            timed(sweep, load_of(model, batch_size=size), "inductor", 0.1, speedup)
    for model in ("A", "B"):
        judged(sweep, load_of(model, batch_size=1), "inductor")
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    for size, speedup in ((4, 1.5), (8, 2.5)):
        compiler = f"inductor-batch_size-{size}"
        table = pd.read_csv(tmp_path / "csv" / f"{compiler}_huggingface_amp_training_cuda_performance.csv")
        assert list(table["speedup"]) == [speedup, speedup]
        assert (
            Runner(tmp_path / "csv", [compiler], "huggingface", "amp", "training", "cuda").passrate(compiler)
            == "100%, 2/2"
        )
    assert len(list((tmp_path / "csv").iterdir())) == 4


def test_sizes_of_their_own_do_not_split_a_file(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    timed(sweep, load_of("A", batch_size=4), "inductor", 0.1, 2.0)
    timed(sweep, load_of("B", batch_size=8), "inductor", 0.1, 2.0)
    sweep.write()
    output = orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    assert "has no accuracy file beside it" in output
    assert [path.name for path in (tmp_path / "csv").iterdir()] == [
        "inductor_huggingface_amp_training_cuda_performance.csv"
    ]


def test_options_precisions_and_modes_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for dynamic in (True, False):
        spec = synthetic.job(load_of("A"), synthetic.compiler("inductor", dynamic=dynamic))
        sweep.add(spec, synthetic.performance_result(spec, pairs=[(0.2, 0.1)] * 20))
    for dtype in ("amp_float16", "amp_bfloat16"):
        timed(sweep, load_of("A", dtype=dtype), "aot_eager", 0.1, 2.0)
    adamw = dataclasses.replace(synthetic.workload("A", mode="training").mode, name="training_adamw")
    timed(sweep, load_of("A", mode=adamw), "cudagraphs", 0.1, 2.0)
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    assert sorted(
        path.name.removesuffix("_huggingface_amp_training_cuda_performance.csv")
        for path in (tmp_path / "csv").iterdir()
    ) == [
        "aot_eager-dtype-amp_bfloat16",
        "aot_eager-dtype-amp_float16",
        "cudagraphs",
        "inductor-dynamic-false",
        "inductor-dynamic-true",
    ]


def test_what_has_no_results_has_no_file_and_eager_alone_is_an_error(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    sweep.performance("A", "eager")
    sweep.write()
    output = orchestrator(tmp_path, "export", "dynamobench", "-o", "csv", code=2)
    assert "plain eager has no file there" in output
    assert not (tmp_path / "csv").exists()
    failed(sweep, synthetic.job("A", "openvino"), "unsupported")
    timed(sweep, load_of("A"), "inductor", 0.1, 2.0)
    sweep.write()
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv")
    assert not list((tmp_path / "csv").glob("openvino*"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("inductor_huggingface_amp_training_cuda_accuracy.csv", ("inductor", "huggingface", "amp", "training", "cuda")),
        (
            "inductor_no_cudagraphs_timm_models_float32_inference_cpu_performance.csv",
            ("inductor_no_cudagraphs", "timm_models", "float32", "inference", "cpu"),
        ),
        (
            "inductor_huggingface_bfloat16_inference_cpu_x86_zen_performance.csv",
            ("inductor", "huggingface", "bfloat16", "inference", "cpu_x86_zen"),
        ),
        ("aot_eager_quick_amp_bf16_training_cuda_accuracy.csv", ("aot_eager", "quick", "amp_bf16", "training", "cuda")),
        ("inductor.csv", None),
        ("geomean.csv", None),
        ("huggingface_float32_inference_cpu_accuracy.csv", None),
    ],
)
def test_names_of_files(text: str, expected: tuple[str, ...] | None) -> None:
    parsed = parse_name(text)
    assert (parsed and tuple(vars(parsed).values())[:-1]) == expected
    if parsed is not None:
        assert str(parsed) == text


def test_a_suite_with_underscores_has_to_be_named() -> None:
    name = "inductor_my_own_suite_float32_inference_cpu_accuracy.csv"
    assert parse_name(name) == FileName("inductor_my_own", "suite", "float32", "inference", "cpu", "accuracy")
    assert parse_name(name, "my_own_suite") == FileName(
        "inductor", "my_own_suite", "float32", "inference", "cpu", "accuracy"
    )


# -- PyTorch's benchmark database


def test_hud_records_have_the_fields_of_the_schema(sweep: synthetic.SyntheticSweep, tmp_path: Path) -> None:
    sweep.write()
    assert orchestrator(tmp_path, "export", "hud", "-o", "records.json").startswith("records.json  ")
    records = [json.loads(line) for line in (tmp_path / "records.json").read_text().splitlines()]
    assert orchestrator(tmp_path, "export", "hud").splitlines() == (tmp_path / "records.json").read_text().splitlines()
    for record in records:
        assert set(record) == {"benchmark", "model", "metric", "runners", "dependencies"}
        assert set(record["benchmark"]) == {"name", "mode", "dtype", "extra_info"}
        assert set(record["model"]) == {"name", "type", "backend", "origins"}
        assert record["model"]["origins"] == ["huggingface"]
        assert set(record["metric"]) <= {"name", "benchmark_values", "target_value", "extra_info"}
        assert all(isinstance(value, str) for value in record["benchmark"]["extra_info"].values())
        assert all(isinstance(value, float | int) for value in record["metric"].get("benchmark_values", []))
        assert record["runners"][0]["name"] == "cuda"
    head = records[0]["benchmark"]
    assert (head["name"], head["mode"], head["dtype"]) == ("TorchInductor", "training", "amp")

    def values(model: str, backend: str, metric: str) -> list[Any]:
        return [
            r["metric"].get("benchmark_values") or r["metric"]["extra_info"]["benchmark_values"]
            for r in records
            if (r["model"]["name"], r["model"]["backend"], r["metric"]["name"]) == (model, backend, metric)
        ]

    assert values("BertForMaskedLM", "inductor", "speedup") == [[pytest.approx(1.25)]]
    assert values("BertForMaskedLM", "inductor", "dynamo_peak_mem") == [[pytest.approx(6.4)]]
    assert values("BertForMaskedLM", "eager", "accuracy") == [["pass"]]
    assert values("Long", "inductor", "speedup") == [[0.0]]
    assert values("EagerOOM", "inductor", "accuracy") == [["eager_1st_run_OOM"]]
    # the dashboard reads the compiler out of this name
    outputs = {record["benchmark"]["extra_info"]["output"] for record in records}
    assert outputs == {path.name for path in GOLDEN.iterdir()}


def test_hud_says_how_many_ranks(tmp_path: Path) -> None:
    """Two ranks and four are other work: their records are not one series."""
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    alone = load_of("A")
    several = [
        dataclasses.replace(alone, mode=dataclasses.replace(alone.mode, options={"parallel": "ddp", "ranks": ranks}))
        for ranks in (2, 4)
    ]
    for workload in (alone, *several):
        timed(sweep, workload, "inductor", 0.1, 1.25)
    sweep.write()
    records = map(json.loads, orchestrator(tmp_path, "export", "hud").splitlines())
    told = {(info.get("parallel"), info.get("ranks")) for info in (one["benchmark"]["extra_info"] for one in records)}
    assert told == {(None, None), ("ddp", "2"), ("ddp", "4")}


def test_hud_values_are_those_of_the_rounds(tmp_path: Path) -> None:
    folder = synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    lines = orchestrator(tmp_path, "export", "hud", "-o", "-", str(folder), "--benchmark", "mine").splitlines()
    records = {(r["model"]["name"], r["metric"]["name"]): r for r in map(json.loads, lines)}
    bert = records["DistilBertForMaskedLM", "speedup"]
    expected = [1.11 / (1 + 0.004 * (round - 2)) for round in range(5)]
    assert bert["metric"]["benchmark_values"] == pytest.approx(expected)
    assert 1.0 < float(bert["metric"]["extra_info"]["low"]) < 1.11 < float(bert["metric"]["extra_info"]["high"])
    assert bert["benchmark"]["name"] == "mine"
    assert (
        len(records["DistilBertForMaskedLM", "compilation_latency"]["metric"]["benchmark_values"]) == 1
    )  # the cold one
    crash = records["ElectraForCausalLM", "speedup"]["metric"]
    assert (crash["benchmark_values"], crash["extra_info"]["status"]) == ([0.0], "crash")


def test_hud_takes_no_other_gpu_memory_than_whole_bytes(tmp_path: Path) -> None:
    """A header may say anything: a number of bytes that is none is no traceback."""
    made = synthetic.SyntheticSweep(tmp_path / "sweep")
    made.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20)
    folder = made.write()
    gpus = [{"name": "H200", "memory_bytes": size} for size in (3 * 2**30, "4", {"a": 1}, 1.7e308, 1.7e308, None)]
    folder.write_plan(dataclasses.replace(folder.read_sweep(), environment={"gpus": gpus}), made.graph())
    records = orchestrator(tmp_path, "export", "hud", "-o", "-", str(folder)).splitlines()
    assert {json.loads(record)["runners"][0]["avail_gpu_mem_in_gb"] for record in records} == {3}


@pytest.mark.parametrize("count", [1e300, "many", [1], {"a": 1}], ids=str)
def test_a_counter_that_is_no_count_is_an_empty_cell(tmp_path: Path, count: Any) -> None:
    """A result that somebody sent may say anything."""
    made = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    made.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20, counters={"graphs": count, "graph_breaks": 2})
    made.write()
    orchestrator(tmp_path, "export", "parquet", "-o", "tables")
    (row,) = pd.read_parquet(tmp_path / "tables" / "summary.parquet").to_dict("records")
    assert (pd.isna(row["graphs"]), row["graph_breaks"]) == (True, 2)
    records = map(json.loads, orchestrator(tmp_path, "export", "hud", "-o", "-").splitlines())
    assert "graph_breaks" in {record["metric"]["name"] for record in records}


def test_a_sweep_in_the_place_of_the_file_is_noticed(files: Path, tmp_path: Path) -> None:
    assert orchestrator(tmp_path, "export", "hud", "latest") == orchestrator(tmp_path, "export", "hud", "-o", "-")
    assert not (tmp_path / "latest").exists()


# -- Parquet


def test_parquet_tables_have_types_and_units(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra parquet) is not installed")
    folder = synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    orchestrator(tmp_path, "export", "parquet", "-o", "pq")
    made = build(load(SweepFolder(folder.root)))
    for name, table in made.named().items():
        read = parquet.read_table(tmp_path / "pq" / f"{name}.parquet")
        assert read.to_pylist() == [dict(row) for row in table.rows], name
    field = parquet.read_schema(tmp_path / "pq" / "summary.parquet").field("latency_ms")
    assert str(field.type) == "double"
    assert field.metadata[b"unit"] == b"ms"
    samples = parquet.read_table(tmp_path / "pq" / "samples.parquet").to_pylist()
    first = next(row for row in samples if row["metric"] == "first_call")
    assert (first["unit"], first["number"]) == ("s", 0)
    assert len([row for row in samples if row["metric"] == "pair_latency"]) == 3 * 5 * 20


def test_a_figure_that_is_none_is_not_null(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra parquet) is not installed")
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    sweep.accuracy("Bert", "inductor", status="fail_accuracy", error="nan")
    sweep.write()
    orchestrator(tmp_path, "export", "parquet", "-o", "pq")
    (row,) = parquet.read_table(tmp_path / "pq" / "accuracy.parquet").to_pylist()
    assert math.isnan(row["max_abs_error"])
    assert row["cosine"] == 0.99999


# -- CSV and JSON


def test_csv_and_json_have_every_table(tmp_path: Path) -> None:
    folder = synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    made = build(load(SweepFolder(folder.root))).named()
    for form in ("csv", "json"):
        printed = orchestrator(tmp_path, "export", form, "latest", "-o", form)
        assert len(printed.splitlines()) == len(made)
        assert {path.stem for path in (tmp_path / form).iterdir()} == made.keys()
    read = pd.read_csv(tmp_path / "csv" / "summary.csv")
    assert list(read["model"]) == [row["model"] for row in made["summary"].rows]
    (tables,) = json.loads((tmp_path / "json" / "summary.json").read_text())["tables"].values()
    assert [row["speedup"] for row in tables] == [row["speedup"] for row in made["summary"].rows]


# -- traces


def traced(root: Path, *contents: str) -> SweepFolder:
    """Write a sweep of as many jobs that left a trace, and one that did not."""
    made = synthetic.SyntheticSweep(root)
    specs = [made.performance(f"Model/{n}", "inductor") for n in range(len(contents) + 1)]
    folder = made.write()
    for spec, content in zip(specs, contents, strict=False):
        folder.artifacts(spec.id).mkdir(parents=True)
        (folder.artifacts(spec.id) / "trace.json").write_text(content)
    return folder


def test_traces_are_files_that_perfetto_opens(tmp_path: Path) -> None:
    event = {"ph": "X", "name": "aten::mm", "ts": 1.0, "dur": 2.0, "pid": 1, "tid": 1}
    small, large = (json.dumps({"traceEvents": [event] * count}) for count in (3, 150_000))
    folder = traced(tmp_path / "outputs" / "1" / "2", small, large)
    printed = orchestrator(tmp_path, "export", "perfetto", "latest", "-o", "traces")
    assert "ui.perfetto.dev" in printed
    one, two = sorted((tmp_path / "traces").iterdir())
    assert one.name.startswith("Model-0-inference-float16-cpu-inductor-")
    assert json.loads(one.read_text()) == json.loads(small)
    assert two.name.endswith(".json.gz")
    assert json.loads(gzip.decompress(two.read_bytes())) == json.loads(large)
    job = folder.read_graph().jobs[0].id
    orchestrator(tmp_path, "export", "perfetto", f"latest:{job}", "-o", "alone")
    assert [path.name for path in (tmp_path / "alone").iterdir()] == [one.name]
    assert f"leave out :{job}" in orchestrator(tmp_path, "export", "csv", f"latest:{job}", "-o", "x", code=2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"traceEvents": [NaN]}', '{"traceEvents": []}'])
def test_what_is_no_trace_is_refused(tmp_path: Path, content: str) -> None:
    traced(tmp_path / "outputs" / "1" / "2", content)
    assert "trace.json" in orchestrator(tmp_path, "export", "perfetto", "-o", "traces", code=2)


def test_a_sweep_without_traces_says_how_to_get_them(tmp_path: Path) -> None:
    traced(tmp_path / "outputs" / "1" / "2")
    assert "measure=profile" in orchestrator(tmp_path, "export", "perfetto", "-o", "traces", code=2)
    assert not (tmp_path / "traces").exists()


@pytest.mark.slow
def test_a_real_trace(tmp_path: Path) -> None:
    orchestrator(tmp_path, "suite=tiny", "suite.models=[bert_tiny]", "compiler=aot_eager", "measure=profile")
    orchestrator(tmp_path, "export", "perfetto", "latest", "-o", "traces")
    files = list((tmp_path / "traces").iterdir())
    assert len(files) == 1
    text = (gzip.decompress(files[0].read_bytes()) if files[0].suffix == ".gz" else files[0].read_bytes()).decode()
    names = {event.get("name") for event in json.loads(text)["traceEvents"]}
    assert "aten::addmm" in names


# -- Weights & Biases


def test_runs_of_wandb_are_written_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="wandb (extra wandb) is not installed")
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    printed = run(tmp_path, "export", "wandb", "latest", "-o", "runs", "--project", "nightly")
    assert "8 runs, project 'nightly'" in printed
    written = list((tmp_path / "runs" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(written) == 8
    everything = b"".join(path.read_bytes() for path in written)
    for told in (b"speedup_low", b"by_round/latency_ms", b"T5Small", b"killed by SIGSEGV"):
        assert told in everything


# -- what all formats share


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["latest", "-o", "there"], "there"),
        (["-o", "there"], "there"),
        (["-o", "there", "outputs/1/2"], "there"),
    ],
    ids=" ".join,
)
def test_sweep_and_target(tmp_path: Path, words: list[str], target: str) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    orchestrator(tmp_path, "export", "csv", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs", target]
    assert (tmp_path / target / "summary.csv").is_file()


def test_a_format_that_there_is_not_is_answered_with_what_may_be_meant(tmp_path: Path) -> None:
    code, out, said = answer(tmp_path, "export", "cvs", "latest", "-o", "exported")
    assert (code, out) == (2, "")
    assert "'cvs': did you mean 'csv'? Available: batch_sizes, csv, " in said


@pytest.mark.parametrize(("words", "advice"), [
    (["ls", "--jsn"], "--jsn: did you mean '--json'? Available: --"),
    (["export", "csv", "latest", "--ouput=there"], "--ouput: did you mean '--output'? Available: --help, --output"),
])  # fmt: skip
def test_a_flag_that_there_is_not_is_answered_with_what_may_be_meant(
    tmp_path: Path, words: list[str], advice: str
) -> None:
    code, out, said = answer(tmp_path, *words)
    assert (code, out) == (2, "")
    assert f"unknown flag {advice}" in said


@pytest.mark.parametrize("sweeps", [True, False])
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["latest"], "export csv -o exported"),
        (["lastest"], "export csv lastest -o exported"),
        (["latest~1"], "export csv latest~1 -o exported"),
        (["2026-11-21/10-31-07"], "export csv 2026-11-21/10-31-07 -o exported"),
        ([], "export csv -o exported"),
        (["latest", "there"], "unrecognized arguments: there"),
        (["there", "-o", "here"], "'there' names no sweep"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_folder_is_ever_called_as_a_sweep(tmp_path: Path, words: list[str], line: str, sweeps: bool) -> None:
    if sweeps:
        synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    before = sorted(tmp_path.rglob("*"))
    assert line in orchestrator(tmp_path, "export", "csv", *words, code=2)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("form", "module", "extra"),
    [
        ("parquet", "pyarrow", "parquet"),
        ("mlflow", "mlflow", "mlflow"),
        ("plots", "vl_convert", "plots"),
        ("wandb", "wandb", "wandb"),
    ],
)
def test_what_is_not_installed_is_named(
    tmp_path: Path, form: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = answer(tmp_path, "export", form, "-o", "there")
    assert code == 2
    assert f"pip install 'compiler-verdict[{extra}]'" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("form", ["dynamobench", "parquet", "plots"])
def test_a_target_that_is_a_file_is_an_error(tmp_path: Path, form: str) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    (tmp_path / "taken").write_text("mine")
    assert "taken cannot be a folder" in orchestrator(tmp_path, "export", form, "-o", "taken", code=2)
    assert (tmp_path / "taken").read_text() == "mine"


def test_no_such_sweep(tmp_path: Path) -> None:
    assert "there are 0 sweeps" in orchestrator(tmp_path, "export", "dynamobench", "-o", "csv", code=2)
