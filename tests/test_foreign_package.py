"""A package from outside brings a measure, a compiler, a mode and a suite: every view has them, without a line here.

It is built and installed as any other, used through the real command, and then taken away: what it measured can still
be read, with unit, direction and meaning.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.command import answer, command
from support.once import once

from orchestrator.records import JobSpec
from orchestrator.store import SweepFolder, find_sweep

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """A folder with two sweeps, in the second of which a step takes twice the energy; `site`: the installed package."""

    work: Path
    site: Path

    def run(self, *arguments: str, code: int = 0, installed: bool = False, joules: float = 2.5) -> str:
        """Run the command, and return what it printed. Where the package is not installed nothing of it is there."""
        if installed:
            done = command(
                *arguments,
                cwd=self.work,
                ORCHESTRATOR_PLUGIN_PACKAGES="watt",
                WATT_JOULES=str(joules),
                PYTHONPATH=os.pathsep.join([str(HERE.parent), str(self.site)]),
            )
            found, said = done.returncode, done.stdout + done.stderr
        else:
            assert find_spec("watt") is None
            found, out, err = answer(self.work, *arguments, ORCHESTRATOR_PLUGIN_PACKAGES="")
            said = out + err
        assert found == code, said
        assert "Traceback" not in said
        return said

    def tables(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code))
        return found

    @property
    def latest(self) -> SweepFolder:
        return find_sweep("latest", self.work / "outputs")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = once(tmp_path_factory, "foreign", _installed)
    return Place(Path(shutil.copytree(root / "work", tmp_path_factory.mktemp("foreign") / "work")), root / "site")


def _installed(root: Path) -> None:
    """Install the package, and run two sweeps with it."""
    made = Place(root / "work", root / "site")
    made.work.mkdir()
    shutil.copytree(HERE / "foreign", root / "source")  # a build leaves files beside its sources
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(made.site))
    subprocess.run([sys.executable, "-m", "pip", *install, str(root / "source")], check=True)
    sweep = ("-m", "suite=sparks", "compiler=eager,plain", "mode=inference,finetune", "measure=energy")
    for joules in (2.5, 5.0):
        made.run(*sweep, "--config-dir", str(made.site / "watt" / "conf"), installed=True, joules=joules)


def test_the_terminal_shows_the_columns_with_their_unit(place: Place) -> None:
    told = place.run("report", "latest")
    assert re.search(r"mode +compiler +energy, J +counter +wraps", told)
    assert re.search(r"finetune +plain +10\.0 +made up +0", told)


def test_files_have_unit_direction_and_meaning(place: Place) -> None:
    found = place.tables("report", "latest", "--table", "energy")
    assert found["columns"]["energy_j"] == {
        "unit": "J",
        "better": "lower",
        "doc": "energy of one step, by the counter",
    }
    rows = found["tables"]["energy"]
    assert {(row["mode"], row["compiler"]): row["energy_j"] for row in rows} == {
        ("inference", "eager"): 5.0,
        ("inference", "plain"): 5.0,
        ("finetune", "eager"): 10.0,
        ("finetune", "plain"): 10.0,
    }
    (first, *_) = csv.DictReader(io.StringIO(place.run("report", "latest", "--table", "energy", "--csv")))
    assert (first["energy_j"], first["counter"], first["wraps"]) == ("5.0", "made up", "0")
    assert "| energy (J) | counter | wraps |" in place.run("report", "latest", "--table", "energy", "--md")
    assert "| mode | compiler | energy, J | counter | wraps |" in place.run("report", "latest", "--md")
    assert {"energy.csv", "energy.md", "energy.json"} <= {file.name for file in place.latest.tables.iterdir()}


def test_the_page_has_the_table(place: Place) -> None:
    place.run("report", "latest")
    page = place.latest.page.read_text()
    assert '"energy_j":{"title":"energy","unit":"J","better":"lower","form":"three"' in page.replace(", ", ",").replace(
        '": ', '":'
    )


def test_show_has_the_job(place: Place) -> None:
    assert len(re.findall("pass .*finetune", place.run("show", "latest", "--only", "mode=finetune"))) == 2
    job = _jobs(place)[0]
    assert "energy_j" in place.run("show", f"latest:{job.id}")


def test_diff_judges_the_figure(place: Place) -> None:
    told = place.run("diff", "latest~1", "latest", code=1)
    assert re.search(r"energy +2\.50 J +5\.00 J +2\.000 +worse", told)
    rows = place.tables("diff", "latest~1", "latest", "--metric", "energy_j", code=1)["tables"]["results"]
    assert {(row["metric"], round(row["ratio"], 9), row["change"]) for row in rows} == {("energy_j", 2.0, "worse")}
    back = place.tables("diff", "latest", "latest~1")["tables"]["results"]
    assert {row["change"] for row in back} == {"better"}
    assert place.tables("diff", "latest~1", "latest", "--threshold", "energy_j=off")["tables"]["results"] == []
    many = place.run("diff", "latest~1", "latest", "latest", "--metric", "energy_j", code=1)
    assert re.search(r"2\.50 J +5\.00 J ! +5\.00 J !", many)


def test_the_gate_fails_for_it(place: Place, tmp_path: Path) -> None:
    assert "energy_j 2.50 -> 5.00: worse" in place.run("gate", "latest", "--against", "latest~1", code=1)
    baseline = str(tmp_path / "base.json")
    place.run("gate", "latest~1", "--against", baseline, "--accept")
    assert "energy_j 2.50 -> 5.00: worse" in place.run("gate", "latest", "--against", baseline, code=1)
    place.run("gate", "latest~1", "--against", baseline)
    rules = tmp_path / "rules.yaml"
    rules.write_text("models: {spark: {energy_j: off}}")
    place.run("gate", "latest", "--against", baseline, "--rules", str(rules))
    rules.write_text("thresholds: {energy_i: off}")
    assert "energy_j" in place.run("gate", "latest", "--against", baseline, "--rules", str(rules), code=2)


def test_history_follows_it(place: Place) -> None:
    told = place.run("history", "--metric", "energy_j")
    assert "2 sweeps below outputs: energy_j of 4 series, 4 moved." in told
    assert "+100.0 % worse" in told
    assert "energy_j" in place.run("history", "--metric", "energy_i", code=2)


def test_a_mode_that_trains_is_training_whatever_it_is_called(place: Place) -> None:
    told = place.run("rerun", "latest", "--only", "mode=training", "--dry-run", installed=True)
    assert "2 jobs" in told
    assert "finetune" in told
    assert "inference" not in told


def test_what_the_plugins_cost_is_their_own(place: Place) -> None:
    costs = {job.compiler.name: job.cost_s for job in _jobs(place) if job.workload.mode.name == "inference"}
    assert costs["eager"] < costs["plain"] < costs["eager"] + 1


BROKEN = {
    "no declaration": None,
    "a list": [],
    "no columns": {"columns": []},
    "a unit that is no text": {"columns": [{"name": "energy_j", "doc": "", "unit": 7}]},
    "an unknown format": {"columns": [{"name": "energy_j", "doc": "", "format": "lambda"}]},
    "a name to make a terminal red": {"columns": [{"name": "\x1b[31m", "doc": ""}]},
    "another key": {"columns": [{"name": "energy_j", "doc": "", "show": "eval"}]},
    "too many columns": {"columns": [{"name": f"c{i}", "doc": ""} for i in range(1000)]},
    "a built-in column in another unit": {"columns": [{"name": "latency_ms", "doc": "", "unit": "J"}]},
    "a column that says what was run": {"columns": ["model"]},
    "a column that is in no built-in table": {"columns": ["energy_j"]},
    "a text to compare": {"columns": [{"name": "energy_j", "doc": "", "format": "text"}], "compared": ["energy_j"]},
}


@pytest.mark.parametrize("declared", BROKEN.values(), ids=BROKEN)
def test_a_declaration_that_is_none_costs_its_table_only(place: Place, tmp_path: Path, declared: Any) -> None:
    shutil.copytree(place.work / "outputs", tmp_path / "outputs")
    there = replace(place, work=tmp_path)
    for job in _jobs(there):
        file = there.latest.result_file(job.id)
        result = json.loads(file.read_text())
        result["facts"]["tables"] = {"energy": declared} if declared is not None else {}
        file.write_text(json.dumps(result))
    from orchestrator.comparison.snapshot import of_results
    from orchestrator.results.load import load
    from orchestrator.results.tables import build

    made = build(load(there.latest))
    assert len(made.jobs.rows) == 4
    assert not any("energy_j" in table.columns for table in made.findings.values())
    (reason,) = made.refused
    assert "and 3 more: table 'energy': " in reason
    assert reason.isprintable()
    assert all(not row.figures and not row.columns for row in of_results(load(there.latest)).rows)


def _jobs(place: Place) -> list[JobSpec]:
    return [job for job in place.latest.read_graph().jobs if job.measure.name == "energy"]
