"""Folders of other schema versions: an older one is migrated where a step is known, a newer one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import synthetic

from orchestrator import migrations, store
from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.records import SCHEMA_VERSION
from orchestrator.results import snapshot
from orchestrator.results.load import load
from orchestrator.store import SweepFolder, Unreadable


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    sweep.performance("Bert", "eager", latency=0.1)
    return sweep.write()


def rewrite(folder: SweepFolder, version: Any, **renamed: str) -> None:
    """Make all files those of another version; `renamed`: what a key was called then."""
    for file in folder.root.rglob("*.json"):
        text = file.read_text()
        for now, then in renamed.items():
            text = text.replace(f'"{now}"', f'"{then}"')
        file.write_text(json.dumps({**json.loads(text), "schema": version}))


def test_a_planted_migration_makes_an_old_folder_readable(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two versions back: `timeout_s` was `limit`, and before that the status was in capitals."""
    before = load(folder)
    assert before.outcomes[0].result is not None
    rewrite(folder, SCHEMA_VERSION - 2, timeout_s="limit", status="STATUS")
    assert isinstance(folder.read_result(before.outcomes[0].job.id), Unreadable)
    with pytest.raises(UsageError, match=r"sweep\.json was written by an older orchestrator \(schema version -1\)"):
        load(folder)
    seen: list[tuple[int, str]] = []

    def oldest(what: str, data: dict[str, Any]) -> dict[str, Any]:
        seen.append((-2, what))
        return json.loads(json.dumps(data).replace('"STATUS"', '"status"'))

    def older(what: str, data: dict[str, Any]) -> dict[str, Any]:
        seen.append((-1, what))
        return json.loads(json.dumps(data).replace('"limit"', '"timeout_s"'))

    monkeypatch.setattr(migrations, "MIGRATIONS", {SCHEMA_VERSION - 2: oldest, SCHEMA_VERSION - 1: older})
    after = load(folder)
    assert after.outcomes == before.outcomes
    assert after.sweep == before.sweep
    assert folder.read_job(after.outcomes[0].job.id) == before.outcomes[0].job
    assert {what for _, what in seen} == {"sweep", "plan", "job", "result"}
    assert [step for step, what in seen if what == "sweep"] == [-2, -1]


def test_a_baseline_of_an_older_version_is_migrated(
    folder: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "baseline.json"
    snapshot.write(file, snapshot.of_folder(folder))
    before = snapshot.read(file)
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "schema": SCHEMA_VERSION - 1}).replace('"rows"', '"lines"'))

    def step(what: str, old: dict[str, Any]) -> dict[str, Any]:
        assert what == "snapshot"
        return {"rows" if key == "lines" else key: value for key, value in old.items()}

    with pytest.raises(UsageError, match=r"baseline\.json was written by an older orchestrator"):
        snapshot.read(file)
    monkeypatch.setattr(migrations, "MIGRATIONS", {SCHEMA_VERSION - 1: step})
    assert snapshot.read(file) == before


def test_what_is_written_has_todays_version(folder: SweepFolder) -> None:
    assert {json.loads(file.read_text())["schema"] for file in folder.root.rglob("*.json")} == {SCHEMA_VERSION}


@pytest.mark.parametrize(
    "arguments", [["report"], ["rerun", "latest"], ["resume=latest"], ["resume=latest", "dry_run=true"]], ids=str
)
def test_a_newer_folder_is_refused_with_what_to_do(
    folder: SweepFolder, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(folder, 3)
    monkeypatch.chdir(folder.root.parent.parent.parent)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "sweep.json was written by a newer orchestrator (schema version 3)" in error
    assert f"this one reads up to {SCHEMA_VERSION}: upgrade" in error
    assert len(list(Path("outputs").glob("*/*"))) == 1


@pytest.mark.parametrize("version", [None, "1", 1.0, True, [1]])
def test_a_version_that_is_none(folder: SweepFolder, version: Any) -> None:
    rewrite(folder, version)
    with pytest.raises(UsageError, match="has no schema version: it is damaged"):
        folder.read_sweep()


def test_there_is_a_step_from_every_earlier_version() -> None:
    """Whoever raises SCHEMA_VERSION enters a migration."""
    assert sorted(migrations.MIGRATIONS) == list(range(1, SCHEMA_VERSION))
    assert store.SCHEMA_VERSION == SCHEMA_VERSION
