"""examples/ci_gate: each step's script as it stands, run by bash on a real sweep; only `gh` and pip are not theirs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.command import ENVIRONMENT, FAKES, ROOT

EXAMPLE = ROOT / "examples" / "ci_gate"
WORKFLOW: dict[Any, Any] = yaml.safe_load((EXAMPLE / "compiler-gate.yml").read_text())
INPUTS = WORKFLOW[True]["workflow_call"]["inputs"]  # YAML 1.1 reads `on` as a truth value
(JOB,) = WORKFLOW["jobs"].values()
STEPS = {step["name"]: step for step in JOB["steps"] if "name" in step}
SWEEP = " ".join([*FAKES, "suite=paced", "suite.models=[one]", "compiler=identity", "measure=glance", "rounds=1"])
"""Steps that last 20 ms and more asleep: those of microseconds differ by half from run to run on a busy machine."""
BASELINE = "ci/base line.json"


class Runner:
    """A GitHub runner, as far as these scripts see one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands = folder / "bin"
        commands.mkdir()
        for name, line in {
            "orchestrator": f'exec {sys.executable} -m orchestrator "$@"',
            "gh": 'printf "%s\\n" "$@" > gh.txt',
        }.items():
            (commands / name).write_text(f"#!/bin/sh\n{line}\n")
            (commands / name).chmod(0o755)
        self.environment = {
            **ENVIRONMENT,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output.txt"),
        }

    def step(self, name: str, **inputs: str) -> int:
        """Run a step's script as GitHub does (bash -e -o pipefail); return its exit code."""
        given = {f"inputs.{key}": str(value["default"]) for key, value in INPUTS.items()}
        given |= {f"inputs.{key}": value for key, value in inputs.items()}
        given |= {"github.token": "token", "github.event.pull_request.number": "17"}
        if (self.folder / "output.txt").exists():
            lines = (self.folder / "output.txt").read_text().splitlines()
            given |= {f"steps.gate.outputs.{key}": value for key, _, value in (line.partition("=") for line in lines)}
        step = STEPS[name]
        variables = {
            key: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: given[found[1]], value)
            for key, value in {**JOB["env"], **step.get("env", {})}.items()
        }
        (self.folder / "script.sh").write_text(step["run"])
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "script.sh"]
        return subprocess.run(command, cwd=self.folder, env={**self.environment, **variables}, check=False).returncode

    def run(self, sweep: bool = True) -> int:
        """Run the steps; without the first they judge the sweep that is there."""
        assert not sweep or self.step("Sweep", sweep=SWEEP) == 0
        (self.folder / "output.txt").unlink(missing_ok=True)
        assert self.step("Gate", baseline=BASELINE) == 0
        assert self.step("Comment") == 0
        return self.step("Verdict")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.mark.slow
def test_a_baseline_is_made_then_held_against_and_what_is_worse_fails(runner: Runner) -> None:
    folder, comment = runner.folder, runner.folder / "comment.md"
    assert runner.run() == 0
    assert f"There was no baseline `{BASELINE}`" in comment.read_text()
    assert "paced" in comment.read_text()

    assert runner.run() == 0
    assert comment.read_text().startswith((folder / "gate.md").read_text())
    assert comment.read_text() in (folder / "summary.md").read_text()
    assert (folder / "gate.xml").read_text().startswith("<?xml")
    said = (folder / "gh.txt").read_text().split("\n")
    assert said[:3] == ["pr", "comment", "17"]
    assert "comment.md" in said

    baseline = json.loads((folder / BASELINE).read_text())
    (folder / BASELINE).write_text(json.dumps(baseline).replace('"paced"', '"another"'))
    assert runner.run(sweep=False) == 1
    assert comment.read_text().startswith("## Gate: failed")


@pytest.mark.slow
def test_failed_jobs_are_judged_by_the_gate_and_bad_input_ends_the_run(runner: Runner) -> None:
    assert runner.step("Sweep", sweep=SWEEP.replace("identity", "does_raise")) == 0
    assert runner.step("Sweep", sweep=SWEEP.replace("identity", "no_such")) != 0


def test_no_input_is_text_of_a_script() -> None:
    """Else a branch's name could be a command: GitHub puts `${{ }}` into the script before bash reads it."""
    assert all("${{" not in step.get("run", "") for step in JOB["steps"])
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_what_calls_it_gives_inputs_that_it_has() -> None:
    use = yaml.safe_load((EXAMPLE / "use.yml").read_text())
    (call,) = use["jobs"].values()
    assert set(call["with"]) <= set(INPUTS)
    assert call["uses"].endswith("/compiler-gate.yml")
    assert use[True] == "pull_request"  # never pull_request_target
