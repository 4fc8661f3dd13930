"""Every command in README and docs runs: verbs for real on a small sweep, sweeps as a dry run of what is printed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import synthetic
from support.command import ENVIRONMENT, FAKES, ROOT, command, orchestrator, table
from support.once import once

from orchestrator.planning.overrides import is_file

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return sorted({line for page in PAGES for block in BLOCK.findall(page.read_text()) for line in block.splitlines()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sweep was run, and exported as CSV files to import."""

    def make(cwd: Path) -> None:
        orchestrator(cwd, *FAKES, "suite=perceptrons", "compiler=identity", "measure=glance", "rounds=1")
        orchestrator(cwd, "export", "dynamobench", "-o", "benchmark_logs")
        _write_files(cwd)

    return Path(shutil.copytree(once(tmp_path_factory, "docs", make), tmp_path_factory.mktemp("docs") / "own"))


def _write_files(cwd: Path) -> None:
    """Write what docs/suites.md and docs/sweep.md show and name: models of a user's own, experiments, batch sizes."""
    (code,) = re.findall(
        r"^```python\n# my_models.py\n(.*?)^```", (ROOT / "docs" / "suites.md").read_text(), re.M | re.S
    )
    (cwd / "my_models.py").write_text(code)
    (cwd / "my_package").mkdir()
    (cwd / "my_package" / "models.py").write_text(code.replace("def wide", "def build"))
    (text,) = re.findall(r"^```yaml\n(# mine.yaml\n.*?)^```", (ROOT / "docs" / "sweep.md").read_text(), re.M | re.S)
    (cwd / "folder").mkdir()
    for file in ("mine.yaml", "folder/mine.yaml"):
        (cwd / file).write_text(text)
    (cwd / "sizes.txt").write_text("BertForMaskedLM,8\n")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic sweep that found a largest batch size, exported."""
    cwd = tmp_path_factory.mktemp("batches")
    sweep = synthetic.SyntheticSweep(cwd / "outputs" / "2026-11-21" / "10-00-00")
    sweep.largest_batch("bert_small", 2, suite="quick")
    sweep.write()
    orchestrator(cwd, "export", "batch_sizes", "-o", "my_conf")
    return cwd


@pytest.fixture(scope="module")
def gated(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that sweep alone, its baseline, and the rules of docs/gate.md."""
    cwd = tmp_path_factory.mktemp("gated")
    shutil.copytree(folder / "outputs", cwd / "outputs")
    orchestrator(cwd, "gate", "latest", "--against", "baseline.json", "--accept")
    (rules,) = re.findall(r"^```yaml\n(# gate.yaml\n.*?)^```", (ROOT / "docs" / "gate.md").read_text(), re.M | re.S)
    (cwd / "gate.yaml").write_text(re.sub(r"expires: .*", "expires: 2999-12-31", rules))
    return cwd


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic sweep: pages that name models and jobs name those of it."""
    cwd = tmp_path_factory.mktemp("known")
    synthetic.quick_sweep(cwd / "outputs" / "2026-11-21" / "10-00-00").write()
    return cwd


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three synthetic sweeps of the same, and the table of the first."""
    cwd = tmp_path_factory.mktemp("compared")
    for number in range(3):
        synthetic.quick_sweep(cwd / "outputs" / "2026-11-21" / f"10-00-0{number}").write()
    (cwd / "last_week.csv").write_text(orchestrator(cwd, "report", "10-00-00", "--csv", code=1))
    return cwd


PLACES = {
    **{"gate": "gated", "diff": "compared", "show": "known", "history": "known", "rerun": "known"},
    **{"export batch_sizes": "batches", "--config-dir=my_conf": "batches"},
}
"""Beginning of a command -> the fixture that is the folder in which it runs; the others run in `folder`."""


def test_there_are_commands() -> None:
    assert len(commands()) > 15
    assert "python -m orchestrator -m compiler=eager,inductor dtype=float16" in commands()


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("python -m orchestrator")])
def test_command_runs(folder: Path, command: str, request: pytest.FixtureRequest) -> None:
    arguments = shlex.split(command)[3:]
    is_sweep = all("=" in argument or argument.startswith("-") or is_file(argument) for argument in arguments)
    if is_sweep and not any(argument.startswith(("resume=", "dry_run=", "--help")) for argument in arguments):
        arguments.append("dry_run=true")
    if arguments[0] == "rerun":
        arguments.append("--dry-run")
    begins = [name for name in (" ".join(arguments[:2]), arguments[0]) if name in PLACES]
    place = request.getfixturevalue(PLACES[begins[0]]) if begins else folder
    output = orchestrator(place, *arguments)
    assert output.strip()
    assert "Traceback" not in output


def test_other_commands_are_targets_of_the_makefile() -> None:
    others = [command for command in commands() if not command.startswith("python -m orchestrator")]
    targets = {match.group(1) for match in re.finditer(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
    assert {command.removeprefix("make ").split()[0] for command in others} <= targets, others


def test_make_sweep_is_the_main_command() -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "sweep"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout
    assert "python -m orchestrator -m compiler=eager,inductor dtype=float16" in printed


def test_the_way_to_a_data_frame_gives_one(folder: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "report.md").read_text(), re.M | re.S)
    (sweep,) = folder.glob("outputs/*/*")
    code = re.sub(r'"outputs/[^"]*"', repr(str(sweep)), code) + "print(type(frame).__name__, len(frame))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.startswith("DataFrame ")


@pytest.mark.slow
def test_the_compiler_of_the_architecture_compiles(tmp_path: Path) -> None:
    """The class as it is printed, in a package of its own."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.M | re.S)
    imports = """
from dataclasses import dataclass
from typing import ClassVar
from orchestrator.compilers.captured import as_in_a_step, for_these_inputs, inference_only
from orchestrator.plugins import Forward, Program
from orchestrator.records import Workload
"""
    (tmp_path / "printed").mkdir()
    (tmp_path / "printed" / "__init__.py").write_text(imports + code)
    (tmp_path / "conf" / "compiler").mkdir(parents=True)
    option = "# As in the docs.\nname: printed\ntarget: printed.ExportedModule\noptions: {}\n"
    (tmp_path / "conf" / "compiler" / "printed.yaml").write_text(option)
    told = command(
        *("--config-dir", "conf", "suite=tiny", "suite.models=[bert_tiny]", "compiler=printed", "measure=accuracy"),
        *("mode=inference,training",),
        cwd=tmp_path,
        ORCHESTRATOR_PLUGIN_PACKAGES="printed",
        PYTHONPATH=str(tmp_path),
    )
    found = table(tmp_path, "accuracy").set_index("mode")["status"].to_dict()
    assert found == {"inference": "pass", "training": "unsupported"}, told.stdout + told.stderr
