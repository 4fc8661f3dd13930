"""Folders of other schema versions are refused, with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import synthetic

from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.records import SCHEMA_VERSION
from orchestrator.store import SweepFolder


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    sweep.performance("Bert", "eager", latency=0.1)
    return sweep.write()


def rewrite(folder: SweepFolder, version: Any) -> None:
    """Make all files those of another version."""
    for file in folder.root.rglob("*.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "schema": version}))


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
    assert f"this one reads {SCHEMA_VERSION}: upgrade" in error
    assert len(list(Path("outputs").glob("*/*"))) == 1


@pytest.mark.parametrize("version", [None, "1", 1.0, True, [1]])
def test_a_version_that_is_none(folder: SweepFolder, version: Any) -> None:
    rewrite(folder, version)
    with pytest.raises(UsageError, match="has no schema version: it is damaged"):
        folder.read_sweep()
