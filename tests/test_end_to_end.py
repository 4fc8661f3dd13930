"""What a user sees, through the real command, with real compilers and real deaths."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.command import FAKES, latest, orchestrator, run, start, table
from support.once import once

from orchestrator.records import JobResult


@pytest.mark.slow
def test_the_main_command_shrunk(tmp_path: Path) -> None:
    """One model of the main job: a row per compiler, plausible numbers, accuracy, files, exit code 0."""
    output = run(tmp_path, "-m", "suite=tiny", "suite.models=[bert_tiny]", "compiler=eager,inductor", "dtype=float16",
                 "rounds=2")  # fmt: skip
    assert "bert_tiny" in output
    assert "inductor" in output
    assert "right on 1 of 1 model" in " ".join(output.split())
    assert str(latest(tmp_path).root.relative_to(tmp_path)) in output
    summary = table(tmp_path, "summary").set_index("compiler")
    assert list(summary.index) == ["eager", "inductor"]
    assert (summary["accuracy"] == "pass").all()
    row = summary.loc["inductor"]
    assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
    assert 0.2 < row["speedup"] < 20
    assert 0.01 < row["latency_ms"] < 1000
    assert row["compile_latency_cold_s"] > row["compile_latency_warm_s"] > 0
    assert 1 < row["own_memory_mib"] < 2000
    assert len(table(tmp_path, "jobs")) == len(latest(tmp_path).read_graph().jobs) == 7


@pytest.mark.slow
def test_training_and_inference_of_real_models(tmp_path: Path) -> None:
    """The way of a Hugging Face sweep: both modes, both measures, every planned job exactly one row."""
    orchestrator(
        tmp_path, *FAKES, "suite=tiny", "suite.models=[t5_tiny]", "batch_size=1", "compiler=eager,aot_eager",
        "measure=glance,accuracy", "mode=inference,training", "rounds=1"
    )  # fmt: skip
    jobs = table(tmp_path, "jobs")
    assert sorted(jobs["job"]) == sorted(job.id for job in latest(tmp_path).read_graph().jobs)
    assert set(jobs["status"]) == {"pass"}
    accuracy = table(tmp_path, "accuracy")
    assert len(accuracy) == 2 * 2
    assert set(accuracy["status"]) == {"pass"}


@pytest.mark.slow
def test_inductor_trains_a_real_model_right(tmp_path: Path) -> None:
    orchestrator(
        tmp_path,
        "suite=tiny",
        "suite.models=[gpt2_tiny]",
        "compiler=inductor",
        "measure=accuracy",
        "mode=training_adamw",
    )
    row = table(tmp_path, "accuracy").iloc[0]
    assert row["status"] == "pass"
    assert row["tensors"] > 10  # outputs, loss, and every gradient


@pytest.mark.slow
@pytest.mark.alone
def test_five_ways_to_die_give_five_rows_with_five_reasons_and_spare_the_rest(tmp_path: Path) -> None:
    ways = ["does_raise", "does_segfault", "does_sigkill", "does_hang", "does_allocate"]
    output = run(tmp_path, *FAKES, "suite=perceptrons", f"compiler=eager,identity,{','.join(ways)}", "measure=glance",
                 "rounds=1", "suite.models=[one]", "execution.timeout_s=12",
                 "execution.memory_limit_gib=1.5", code=1)  # fmt: skip
    jobs = table(tmp_path, "jobs").set_index("compiler")
    assert sorted(jobs.index) == sorted(["eager", "identity", *ways])
    assert jobs["status"].to_dict() == {
        "eager": "pass",
        "identity": "pass",
        "does_raise": "fail_to_run",
        "does_segfault": "crash",
        "does_sigkill": "crash",
        "does_hang": "timeout",
        "does_allocate": "out_of_memory",
    }
    reasons = jobs.loc[ways, "reason"]
    assert len(set(reasons)) == 5
    assert {_result(tmp_path, jobs.loc[way, "job"]).failure.phase for way in ways} == {"compile"}  # type: ignore[union-attr]
    for way, word in zip(ways, ["always raises", "SIGSEGV", "SIGKILL", "12 s", ""], strict=True):
        assert word in reasons[way]
        assert way in output


@pytest.mark.slow
def test_what_times_nothing_runs_side_by_side_and_what_times_runs_alone(tmp_path: Path) -> None:
    orchestrator(
        tmp_path, *FAKES, "suite=perceptrons", "compiler=eager,does_sleep", "measure=glance,accuracy", "rounds=1",
        "execution.parallel=2", "threads=1"
    )  # fmt: skip
    folder = latest(tmp_path)
    spans = []
    for job in folder.read_graph().jobs:
        result = folder.read_result(job.id)
        assert isinstance(result, JobResult)
        assert result.status == "pass"
        spans.append((job, result.started, result.ended))
    together = [
        {one.measure.name, other.measure.name}
        for (one, start, end), (other, start2, end2) in itertools.combinations(spans, 2)
        if start < end2 and start2 < end
    ]
    assert {"accuracy"} in together  # each sleeps for three seconds
    assert all(names <= {"accuracy", "reference"} for names in together)
    moments = sorted(start for _, start, _ in spans)
    assert all(sum(start <= moment < end for _, start, end in spans) <= 2 for moment in moments)


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed(tmp_path: Path) -> None:
    """`kill -9`, then resume: nothing finished runs again, and all but the timings is as without the kill."""
    arguments = [*FAKES, "suite=perceptrons", "suite.models=[two]", "compiler=eager,identity",
                 "measure=glance,accuracy", "rounds=2"]  # fmt: skip
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    for folder in (quiet, killed):
        folder.mkdir()
    orchestrator(quiet, *arguments)
    process = start(killed, *arguments)
    deadline = time.monotonic() + 120
    while not finished(killed) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    before = finished(killed)
    assert before
    output = run(killed, *arguments, "resume=latest")
    assert finished(killed).items() >= before.items()
    assert len(list((killed / "outputs").glob("*/*"))) == 1, output
    columns = ["job", "model", "compiler", "measure", "round", "status"]
    assert table(killed, "jobs")[columns].to_dict() == table(quiet, "jobs")[columns].to_dict()
    assert set(table(killed, "jobs")["status"]) == {"pass"}
    assert run(killed, "resume=latest").count("pass") >= 1
    assert finished(killed).items() >= before.items()


def finished(cwd: Path) -> dict[str, Any]:
    """Job id -> what tells one run of it from another."""
    found = {}
    for file in (cwd / "outputs").glob("*/*/jobs/*/result.json"):
        result = json.loads(file.read_text())
        found[result["job_id"]] = (result["started"], result["ended"])
    return found


@pytest.mark.slow
@pytest.mark.alone
def test_both_launchers_agree(tmp_path: Path) -> None:
    """Same model, same seed: same outputs to the bit, same memory of a model that outweighs the libraries' pages."""
    run(tmp_path, *FAKES, "suite=perceptrons", "suite.models=[one]", "suite.catalog.one.build.width=4096",
        "compiler=eager", "measure=glance,accuracy", "rounds=1", "execution.launcher=fork,subprocess",
        "execution.keep_references=true")  # fmt: skip
    folder = latest(tmp_path)
    timed, calls = {}, {}
    for job in folder.read_graph().jobs:
        if job.measure.name == "glance":
            timed[job.launcher] = job
        elif job.measure.name == "reference":
            files = folder.reference(job.id).glob("eager.*.safetensors")
            calls[job.launcher] = {file.name: file.read_bytes() for file in files}
    assert sum(len(content) > 1000 for content in calls["fork"].values()) == 3  # the last file has no tensors
    assert calls["fork"] == calls["subprocess"]
    rows = table(tmp_path, "performance").set_index("job")
    memory = {launcher: rows.loc[job.id, "own_memory_mib"] for launcher, job in timed.items()}
    assert memory["fork"] == pytest.approx(memory["subprocess"], rel=0.10)
    assert memory["subprocess"] > 100
    found = {launcher: _result(tmp_path, job.id) for launcher, job in timed.items()}
    assert _facts_that_time_does_not_change(found["fork"]) == _facts_that_time_does_not_change(found["subprocess"])
    forked, executed = (min(one.sample("latency").values) for one in (found["fork"], found["subprocess"]))  # type: ignore[union-attr]
    assert 0.5 < forked / executed < 2.0
    for one in found.values():
        build = one.facts["memory"]["phases"]["build"]
        model = one.facts["parameter_bytes"]
        assert model < build["peak"] - build["start"] < model + (8 << 20)


def _result(cwd: Path, job: str) -> JobResult:
    result = latest(cwd).read_result(job)
    assert isinstance(result, JobResult)
    return result


def _facts_that_time_does_not_change(found: JobResult) -> dict[str, Any]:
    noise = ("host", "variables")
    facts = {key: found.facts[key] for key in ("parameters", "parameter_bytes", "cache")}
    environment = {key: value for key, value in found.environment.items() if key not in noise}
    folders = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    variables = {key: value for key, value in found.environment["variables"].items() if key not in folders}
    return {
        **facts,
        "status": found.status,
        "environment": environment,
        "variables": variables,
        "samples": [samples.metric for samples in found.samples],
    }


@pytest.mark.slow
def test_the_command_in_a_row_runs_the_same_jobs_again(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    run(first, "suite=tiny", "suite.models=[gpt2_tiny]", "compiler=identity", "measure=accuracy",
        "batch_size=1,3", "mode=inference,training", "compiler.options={}")  # fmt: skip
    row = table(first, "summary").query("mode == 'training' and batch_size == 3").iloc[0]
    words = shlex.split(row["command"])
    assert words[:3] == ["python", "-m", "orchestrator"]
    run(again, *words[3:])
    assert set(table(again, "jobs")["job"]) <= set(table(first, "jobs")["job"])
    assert row["accuracy_log"].split("/")[1] in set(table(again, "jobs")["job"])


GLANCE = (*FAKES, "suite=perceptrons", "compiler=eager,identity", "measure=glance", "rounds=1")


@pytest.fixture(scope="module")
def glance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished sweep: of two small models, two jobs each."""
    return once(tmp_path_factory, "glance", lambda cwd: orchestrator(cwd, *GLANCE))


@pytest.fixture
def own(glance: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(glance, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path


@pytest.mark.slow
def test_report_again_gives_the_same_tables(own: Path) -> None:
    tables = {file.name: file.read_bytes() for file in latest(own).tables.iterdir()}
    assert len(tables) >= 9
    for file in latest(own).tables.iterdir():
        file.unlink()
    run(own, "report", "latest")
    assert {file.name: file.read_bytes() for file in latest(own).tables.iterdir()} == tables


@pytest.mark.slow
def test_rows_have_what_a_step_achieves_and_its_share_of_what_the_cpu_was_seen_to_do(glance: Path) -> None:
    """Two layers of 32 features, 4 samples: 2 x 4 x 32 x 32 FLOPs each; weights, biases, input and result, once."""
    found = table(glance, "performance").query("model == 'one'")
    assert sorted(found["compiler"]) == ["eager", "identity"]
    for _, row in found.iterrows():
        assert row["step_gflop"] * 1e9 == pytest.approx(2 * 2 * 4 * 32 * 32)
        assert row["achieved_gflop_per_s"] == pytest.approx(row["step_gflop"] / row["latency_ms"] * 1e3)
        assert row["step_mib"] * 2**20 == pytest.approx(4 * (2 * (32 * 32 + 32) + 2 * 4 * 32))
        assert row["achieved_gb_per_s"] == pytest.approx(row["step_mib"] * 2**20 / row["latency_ms"] / 1e6)
    assert set(found["peak_source"]) == {"measured on this CPU, float32"}
    peaks = found[["achieved_gflop_per_s", "achieved_gb_per_s"]] / found[["mfu_percent", "of_bandwidth_percent"]].values
    assert (peaks.iloc[0].tolist()) == pytest.approx(peaks.iloc[1].tolist()), "the compiler's row has eager's"


@pytest.mark.slow
def test_a_result_cut_short_is_one_row_and_is_run_again_on_resume(own: Path) -> None:
    before = finished(own)
    victim = sorted(before)[0]
    file = latest(own).result_file(victim)
    file.write_bytes(file.read_bytes()[:100])
    orchestrator(own, "report", "latest", code=1)
    jobs = table(own, "jobs").set_index("job")
    assert jobs.loc[victim, "status"] == "not_run"
    assert "cannot be read" in jobs.loc[victim, "reason"]
    assert set(jobs.drop(victim)["status"]) == {"pass"}
    orchestrator(own, *GLANCE, "resume=latest")
    after = finished(own)
    assert after.keys() == before.keys()
    assert {job for job in after if after[job] != before[job]} == {victim}


@pytest.mark.alone
def test_a_job_beside_a_busy_neighbour_is_marked_and_kept(tmp_path: Path) -> None:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        run(tmp_path, *FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=1",
            "measure.options.seconds=0.5")  # fmt: skip
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    row = table(tmp_path, "performance").iloc[0]
    assert row["status"] == "pass"
    assert row["latency_ms"] > 0
    assert "other processes used" in row["disturbed"]
