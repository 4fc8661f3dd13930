"""A sweep in parts, and the verb that joins them: through the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.command import FAKES, orchestrator, run
from support.once import once

from orchestrator.exchange.folder import whole
from orchestrator.execution import lock
from orchestrator.records import Failure, JobResult
from orchestrator.store import SweepFolder

SWEEP = (*FAKES, "suite=perceptrons", "compiler=identity", "measure=glance,accuracy", "rounds=2", "threads=1")
SKIPPED = (*SWEEP, "++suite.common.skip=[{reason:known}]")
"""The same without a process: what all its jobs come to is known beforehand."""


def _swept(cwd: Path) -> None:
    """Run the sweep in one, and in two parts of which the first is another process."""
    (cwd / "printed.txt").write_text(run(cwd, *SWEEP, "shard=1/2", "hydra.sweep.dir=outputs/1/first"))
    orchestrator(cwd, *SWEEP, "shard=2/2", "hydra.sweep.dir=outputs/1/second")
    orchestrator(cwd, *SWEEP, "hydra.sweep.dir=outputs/1/whole")


@pytest.fixture
def swept(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A folder of a test's own with the sweeps `first`, `second` and `whole`."""
    return Path(shutil.copytree(once(tmp_path_factory, "merge", _swept), tmp_path, dirs_exist_ok=True))


@pytest.mark.slow
def test_parts_that_are_joined_are_the_sweep_in_one(swept: Path) -> None:
    printed = (swept / "printed.txt").read_text()
    assert "1 of 2: " in printed
    assert "python -m orchestrator merge outputs/1/first FOLDER ..." in printed
    whole = SweepFolder(swept / "outputs/1/whole").read_graph()
    assert SweepFolder(swept / "outputs/1/first").read_graph() == whole
    reasons = {row["reason"] for row in _jobs(swept, "first") if row["status"] == "not_run"}
    assert reasons == {"in shard 2/2"}

    half = orchestrator(swept, "merge", "outputs/1/first", "outputs/1/whole", "--into", "outputs/1/both")
    assert "in several of them: those of the folder that is named first are kept" in half
    printed = orchestrator(swept, "merge", "outputs/1/first", "outputs/1/second", "--into", "outputs/1/joined")
    assert "2 folders -> outputs/1/joined" in printed
    joined = SweepFolder(swept / "outputs/1/joined")
    assert joined.read_graph() == whole
    assert [(row["job"], row["status"]) for row in _jobs(swept, "joined")] == [
        (row["job"], row["status"]) for row in _jobs(swept, "whole")
    ]
    assert not joined.read_sweep().shard
    assert "environments" not in orchestrator(swept, "report", "outputs/1/joined")
    moved = next(job for job in whole.jobs if joined.read_status(job.id) == "pass")
    result = json.loads(joined.result_file(moved.id).read_text())
    result["environment"]["packages"]["transformers"] = "4.0"
    joined.result_file(moved.id).write_text(json.dumps(result))
    printed = orchestrator(swept, "report", "outputs/1/joined")
    assert "1 job from another: packages.transformers 4.0" in printed
    assert f"Compared across environments: {moved.workload.model}" in printed
    assert "0 of these" in orchestrator(swept, "resume=outputs/1/joined", "dry_run=true")


@pytest.mark.slow
def test_what_one_part_lacks_is_run_by_the_resume_of_the_joined_folder(swept: Path) -> None:
    second = SweepFolder(swept / "outputs/1/second")
    lost = next(job for job in second.read_graph().jobs if second.read_status(job.id) == "pass" and not job.is_eager)
    second.result_file(lost.id).unlink()
    said = orchestrator(swept, "merge", "outputs/1/first", "outputs/1/second", "--into", "outputs/1/3", code=1)
    assert "no result in any of them: 1 job;" in said
    orchestrator(swept, *FAKES, "resume=outputs/1/3")
    assert {row["status"] for row in _jobs(swept, "3")} == {"pass"}

    shutil.rmtree(swept / "outputs/1/3/tables")
    (swept / "outputs/1/3/tables").write_text("in the way")
    printed = orchestrator(swept, "report", "outputs/1/3", code=2)
    assert "The tables could not be written" in printed
    assert "(report.html, jobs/)" in printed


@pytest.mark.slow
def test_a_result_that_is_to_be_had_anew_gives_way_to_one_that_stands(swept: Path) -> None:
    shutil.copytree(swept / "outputs/1/whole", swept / "outputs/1/again")
    first = SweepFolder(swept / "outputs/1/whole")
    for job in first.read_graph().jobs:
        result = first.read_result(job.id)
        assert isinstance(result, JobResult)
        first.write_result(
            replace(
                result,
                status="infrastructure",
                failure=Failure(kind="infrastructure", phase="compile", message="a full disk"),
            )
        )
    orchestrator(swept, "merge", "outputs/1/whole", "outputs/1/again", "--into", "outputs/1/3")
    assert {row["status"] for row in _jobs(swept, "3")} == {"pass"}


@pytest.mark.slow
def test_folders_of_other_plans_are_refused_with_what_differs(tmp_path: Path) -> None:
    orchestrator(tmp_path, *SKIPPED, "shard=1/2", "hydra.sweep.dir=outputs/1/1")
    orchestrator(tmp_path, *SKIPPED, "threads=2", "shard=1/2", "hydra.sweep.dir=outputs/1/2")
    said = orchestrator(tmp_path, "merge", "outputs/1/1", "outputs/1/2", "--into", "outputs/1/3", code=2)
    assert "workload.threads 1 -> 2" in said
    assert not (tmp_path / "outputs/1/3").exists()
    assert "name at least two" in orchestrator(tmp_path, "merge", "outputs/1/1", "outputs/1/1", code=2)


@pytest.mark.slow
def test_a_header_whose_shards_are_not_the_plans_is_damaged(tmp_path: Path) -> None:
    orchestrator(tmp_path, *SKIPPED, "shard=1/2", "hydra.sweep.dir=outputs/1/1")
    file = tmp_path / "outputs/1/1/sweep.json"
    header = json.loads(file.read_text())
    for change in ({"shard": [3, 2]}, {"parts": header["parts"][1:]}, {"shard": [1]}, {"parts": []}):
        file.write_text(json.dumps({**header, **change}))
        assert "is damaged" in orchestrator(tmp_path, "report", "outputs/1/1", code=2), change


def _jobs(tmp_path: Path, name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((tmp_path / "outputs/1" / name / "tables/jobs.json").read_text())["tables"][
        "jobs"
    ]
    return rows


HALF_MADE = """
import sys, time
from pathlib import Path
from orchestrator.exchange.folder import whole
with whole(Path(sys.argv[1])) as folder:
    folder.root.mkdir()
    print(folder.root.parent, flush=True)
    time.sleep(1000)
"""


def test_what_a_merge_that_was_killed_has_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "JUST_MADE_S", 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", HALF_MADE, tmp_path / "joined"], stdout=subprocess.PIPE, text=True
    ) as at:
        assert at.stdout is not None
        half = Path(at.stdout.readline().strip())
        with whole(tmp_path / "another") as folder:
            folder.root.mkdir()
        assert half.exists()  # whoever makes it lives
        at.kill()
    (tmp_path / ".half-link").symlink_to(tmp_path)
    assert half.exists()
    with whole(tmp_path / "third") as folder:
        folder.root.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {".half-link", "another", "third"}
