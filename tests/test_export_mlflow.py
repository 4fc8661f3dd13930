"""A sweep in an MLflow store, read back with MLflow's own client."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import orchestrator, run

pytest.importorskip("mlflow", reason="mlflow-skinny (extra mlflow) is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy (extra mlflow) is not installed")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's in which nothing is: making one takes it seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "flow.db"
    assert [found.name for found in MlflowClient(f"sqlite:///{path}").search_experiments()] == ["Default"]
    return path


@pytest.fixture(params=["sqlite", "folder"])
def nowhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is not there yet."""
    return f"sqlite:///{tmp_path}/flow.db" if request.param == "sqlite" else str(tmp_path / "runs")


@pytest.fixture
def uri(nowhere: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store without runs; a database is there already."""
    if nowhere.startswith("sqlite"):
        shutil.copyfile(request.getfixturevalue("database"), tmp_path / "flow.db")
    return nowhere


@pytest.fixture
def sweep(tmp_path: Path) -> synthetic.SyntheticSweep:
    """The usual sweep of four models, with a log."""
    made = synthetic.quick_sweep(tmp_path / "outputs" / "2026-11-21" / "10-31-07")
    folder = made.write()
    folder.log_file(made.jobs[-1].id).write_bytes(b"x" * 70_000 + b"the end\n")
    return made


def read(uri: str, monkeypatch: pytest.MonkeyPatch, experiment: str = "2026-11-21/10-31-07") -> tuple[Any, list[Any]]:
    """Return a client and the runs of the experiment."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return client, list(client.search_runs([found.experiment_id], max_results=1000))


def test_a_store_read_back_shows_the_rows(
    sweep: synthetic.SyntheticSweep, nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = nowhere
    printed = run(tmp_path, "export", "mlflow", "-o", uri)
    assert printed == f"{uri}  experiment '2026-11-21/10-31-07': 8 added, 0 replaced, 0 unchanged\n"
    client, runs = read(uri, monkeypatch)
    assert len(runs) == 8
    named = {run.info.run_name: run for run in runs}
    bert = named["DistilBertForMaskedLM inference float16 cpu inductor"]
    assert bert.data.params["compiler"] == "inductor"
    assert bert.data.params["dtype"] == "float16"
    assert bert.data.params["batch_size"] == "4"
    assert bert.data.metrics["speedup"] == pytest.approx(1.11, rel=1e-3)
    assert bert.data.metrics["speedup_low"] < 1.11 < bert.data.metrics["speedup_high"]
    assert bert.data.tags["verdict"] == "faster"
    assert bert.data.tags["accuracy"] == "pass"
    assert bert.info.status == "FINISHED"
    rounds = client.get_metric_history(bert.info.run_id, "by_round/speedup")
    assert [(m.step, m.value) for m in sorted(rounds, key=lambda m: m.step)] == [
        (step, pytest.approx(1.11 / (1 + 0.004 * (step - 2)))) for step in range(5)
    ]
    crash = named["ElectraForCausalLM inference float16 cpu inductor"]
    assert crash.info.status == "FAILED"
    assert crash.data.tags["performance"] == "crash"
    assert "SIGSEGV" in crash.data.tags["performance_reason"]
    assert "speedup" not in crash.data.metrics


def test_artifacts_are_the_jobs_files_and_the_end_of_the_log(
    sweep: synthetic.SyntheticSweep, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator(tmp_path, "export", "mlflow", "-o", uri)
    client, runs = read(uri, monkeypatch)
    job = sweep.jobs[-1].id
    run = next(r for r in runs if r.info.run_name == "ElectraForCausalLM inference float16 cpu inductor")
    names = {item.path for item in client.list_artifacts(run.info.run_id, f"jobs/{job}")}
    assert names == {f"jobs/{job}/{name}" for name in ("job.json", "result.json", "log.txt")}
    local = Path(client.download_artifacts(run.info.run_id, f"jobs/{job}", str(tmp_path)))
    assert json.loads((local / "result.json").read_text())["status"] == "fail_accuracy"
    log = (local / "log.txt").read_bytes()
    assert (len(log), log[-8:]) == (64 * 1024, b"the end\n")


def test_exporting_again_adds_nothing_and_replaces_what_changed(
    sweep: synthetic.SyntheticSweep, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator(tmp_path, "export", "mlflow", "-o", uri)
    assert "0 added, 0 replaced, 8 unchanged" in orchestrator(tmp_path, "export", "mlflow", "-o", uri)
    electra = next(job for job in sweep.jobs if job.workload.model == "ElectraForCausalLM" and job.needs)
    sweep.folder.write_result(synthetic.performance_result(electra, pairs=[(0.3, 0.1)] * 20))
    assert "0 added, 1 replaced, 7 unchanged" in orchestrator(tmp_path, "export", "mlflow", "-o", uri)
    _, runs = read(uri, monkeypatch)
    assert len(runs) == 8
    run = next(r for r in runs if r.info.run_name == "ElectraForCausalLM inference float16 cpu inductor")
    assert run.data.metrics["speedup"] == pytest.approx(3.0)


def test_an_experiment_may_have_another_name(
    sweep: synthetic.SyntheticSweep, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchestrator(tmp_path, "export", "mlflow", "-o", uri, "latest", "--experiment", "nightly")
    assert len(read(uri, monkeypatch, "nightly")[1]) == 8


def test_names_and_texts_that_mlflow_would_refuse(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-31-07")
    name = "<script>alert(1)</script>|ü"
    spec = synthetic.job(name, synthetic.compiler("inductor", **{"odd key!?": "v" * 9000, "nothing": None}))
    made.add(spec, synthetic.failed_result(spec, "crash", "r" * 9000))
    made.write()
    orchestrator(tmp_path, "export", "mlflow", "-o", uri)
    (run,) = read(uri, monkeypatch)[1]
    assert run.data.params["suite.models"] == name
    assert run.data.params["compiler.options.odd key--"] == "v" * 4999 + "…"
    assert len(run.data.tags["performance_reason"]) == 5000


@pytest.mark.parametrize("uri", ["sqlite:///taken", "sqlite:///taken/flow.db", "taken", "nonsense://there"])
def test_a_store_that_cannot_be_used(sweep: synthetic.SyntheticSweep, tmp_path: Path, uri: str) -> None:
    (tmp_path / "taken").write_text("a text, no database\n" * 100)
    printed = orchestrator(tmp_path, "export", "mlflow", "-o", uri, code=2)
    assert f"the MLflow store {uri} cannot be used" in printed.splitlines()[-1]
