"""`tag=`: a label that people give a sweep. It is shown wherever sweeps are, and changes no job."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from support.command import FAKES, answer, latest, orchestrator

SMALL = (*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "rounds=1")


@pytest.mark.slow
def test_a_tag_is_shown_by_every_verb_that_shows_sweeps(tmp_path: Path) -> None:
    output = orchestrator(tmp_path, *SMALL, "measure=glance", "tag='before the upgrade'")
    assert "tag           before the upgrade" in output
    assert "before the upgrade: perceptrons: eager" in orchestrator(tmp_path, "ls")
    for command in (("show", "latest"), ("report", "latest")):
        assert "before the upgrade" in orchestrator(tmp_path, *command)
    (listed,) = csv.DictReader(io.StringIO(orchestrator(tmp_path, "ls", "--csv")))
    assert listed["tag"] == "before the upgrade"
    known = dict(csv.reader(io.StringIO((latest(tmp_path).tables / "environment.csv").read_text())))
    assert {"cpu", "architecture", "memory_gib", "affinity", "packages.torch"} <= known.keys()
    first = {job.id for job in latest(tmp_path).read_graph().jobs}

    orchestrator(tmp_path, *SMALL, "measure=glance", "tag=after")
    assert {job.id for job in latest(tmp_path).read_graph().jobs} == first
    assert "tag" not in orchestrator(tmp_path, "diff", "latest~1", "latest", "--config-only").replace("tag=", "")
    told = list(csv.DictReader(io.StringIO(orchestrator(tmp_path, "history", "--csv", "--metric", "latency_ms"))))
    assert {row["tag"] for row in told} == {"before the upgrade", "after"}


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("tag=a,b", "'tag' belongs to the whole sweep and cannot be swept itself"),
        (f"tag={'x' * 61}", "write 1 to 60 printable characters"),
        ("tag=''", "write 1 to 60 printable characters"),
    ],
)
def test_what_is_no_tag_is_refused(tmp_path: Path, tag: str, message: str) -> None:
    code, _, error = answer(tmp_path, *SMALL, tag, "dry_run=true")
    assert code == 2
    assert message in " ".join(error.split())
