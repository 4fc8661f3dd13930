"""What `examples/` shows runs as it stands there; the notebook's stored outputs are those of such a run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command import ROOT, latest, orchestrator, table
from support.notebook import code_cells, executed, read

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "notebook.ipynb"


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "own_model", tmp_path / "own_model"))


def test_the_experiment_of_the_own_model_is_planned_as_its_readme_says(own_model: Path) -> None:
    commands = re.findall(
        r"^python -m orchestrator (.*?)(?:\s+#.*)?$", (own_model / "README.md").read_text(), re.MULTILINE
    )
    assert len(commands) == 3
    for command in commands:
        shown = orchestrator(own_model, *dict.fromkeys([*command.split(), "dry_run=true"]))
        assert "Classifier" in shown
        assert "training" in shown


@pytest.mark.slow
def test_the_own_model_runs(own_model: Path) -> None:
    orchestrator(
        own_model, "experiment=classifier", "compiler=aot_eager", "mode=inference,training", "measure=accuracy"
    )
    accuracy = table(own_model, "accuracy")
    assert set(accuracy["status"]) == {"pass"}
    assert set(accuracy["mode"]) == {"inference", "training"}
    assert latest(own_model).page.exists()


# -- the notebook


def shape(outputs: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what of a cell's outputs does not depend on the machine: their kinds."""
    return [(one["output_type"], *sorted(one.get("data", ()))) for one in outputs]


def text(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output["data"]["text/plain"])


def test_the_notebook_is_one_and_every_cell_has_been_executed() -> None:
    """nbformat 4.5: its keys, each cell with an id of its own; outputs in the order of the cells, none an error."""
    notebook = read(NOTEBOOK)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert [cell["execution_count"] for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    stored = NOTEBOOK.read_text()
    assert "Traceback" not in stored
    assert "fail" not in text(code_cells(notebook)[1]["outputs"][0])
    assert not re.search(r"/(work|home|tmp|root)/", stored)


@pytest.mark.long  # `compare`, `sweep`, `load` and their tables: `test_python_runs`, `test_python_api`
def test_the_notebook_runs_and_its_outputs_are_of_that_kind(tmp_path: Path) -> None:
    """Times differ from run to run; what is right, and what the tables are, does not."""
    notebook = read(NOTEBOOK)
    found = executed(notebook, tmp_path)
    for cell, outputs in zip(code_cells(notebook), found, strict=True):
        assert shape(outputs) == shape(cell["outputs"]), cell["id"]
    cells = {cell["id"]: (cell["outputs"], outputs) for cell, outputs in zip(code_cells(notebook), found, strict=True)}
    for name in ("help", "sweep", "load", "failures"):
        stored, now = cells[name]
        assert list(map(text, now)) == list(map(text, stored)), name
    stored, now = cells["summary"]
    columns = [[re.split(r"\s+", line)[1:3] for line in text(one[0]).splitlines()[1:]] for one in (stored, now)]
    assert columns[0] == columns[1]  # the same models and compilers
    assert "pass" in text(now[0])
    assert "fail" not in text(now[0])
