"""What is published: the wheel and the source distribution, what they say of themselves, and the files beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from support.command import ROOT, command
from support.once import once

from orchestrator import DISTRIBUTION, __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
PLACES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/*.md",
    "orchestrator/**/*.py",
    "examples/**/*",
    "docker/*",
)
INSTALLS = re.compile(r"pip install (?:\S+ )*?'?((?:orchestrator|compiler-verdict)\b[^\s'`]*)")


def files() -> list[Path]:
    return [file for place in PLACES for file in sorted(ROOT.glob(place)) if file.is_file()]


def test_the_version_is_the_same_everywhere() -> None:
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest == __version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_the_distribution_has_one_name_and_its_extras_exist() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    asked = [name for file in files() for name in INSTALLS.findall(file.read_text())]
    assert f"{DISTRIBUTION}[onnx]" in asked
    for name in asked:
        found = re.fullmatch(rf"{DISTRIBUTION}(?:\[([\w,]+)\])?", name)
        assert found is not None, name
        assert set((found[1] or "dev").split(",")) <= set(PROJECT["optional-dependencies"])
    (dev,) = [name for name in PROJECT["optional-dependencies"]["dev"] if name.startswith(DISTRIBUTION)]
    assert set(re.findall(r"\w+", dev.partition("[")[2])) <= set(PROJECT["optional-dependencies"])


def test_what_is_ours_is_apache_and_what_is_not_says_so() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0 AND BSD-3-Clause"
    assert not [name for name in PROJECT["classifiers"] if name.startswith("License ::")]  # PEP 639: one or the other
    listed = {file for pattern in PROJECT["license-files"] for file in ROOT.glob(pattern)}
    assert listed == {ROOT / "LICENSE", *(ROOT / "orchestrator").rglob("*.LICENSE")}
    assert all("Redistribution and use" in file.read_text() for file in listed if file.suffix == ".LICENSE")


def test_linters_are_pinned_and_run_before_a_commit() -> None:
    """Hooks run what `make lint` does, from .venv: nothing else names a version."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"].replace("python -m ", "") for hook in repository["hooks"]]
    tools = {entry.split()[0].removeprefix(".venv/bin/") for entry in entries}
    made = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert tools == set(re.findall(r"\$\(BIN\)/([\w-]+)", made))
    assert {"ruff", "mypy", "import-linter"} <= PINNED.keys()


def test_the_citation_has_what_citation_file_format_requires() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= said.keys()
    assert said["license"] == "Apache-2.0"
    assert {author["name"] for author in PROJECT["authors"]} == {author["name"] for author in said["authors"]}


def test_what_the_manifest_names_is_there() -> None:
    words = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines() if not line.startswith("#")]
    named = [name for kind, *names in words if kind in ("include", "graft") for name in names]
    assert "tests" in named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel that is built from it."""
    source = tmp_path_factory.mktemp("source")

    def make(made: Path) -> None:
        copy_sources(source)
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(source)]
        done = subprocess.run(build, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "dist", make)


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def copy_sources(target: Path) -> None:
    """Copy what git has, as it is now, so that building leaves no files in the checkout."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


@pytest.mark.slow
def test_the_wheel_has_all_that_the_checkout_has(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = [
        file for file in (ROOT / "orchestrator").rglob("*") if file.is_file() and "__pycache__" not in file.parts
    ]
    needed = {str(file.relative_to(ROOT)) for file in package if not file.name.startswith(".")}
    beside = [file for folder in ("conf", "experiments") for file in (ROOT / folder).rglob("*.yaml")]
    needed |= {f"orchestrator/{file.relative_to(ROOT)}" for file in beside}
    assert {
        "orchestrator/py.typed",
        "orchestrator/page/assets/vendor/vega.min.js",
        "orchestrator/conf/config.yaml",
    } <= needed
    assert needed - names == set()
    assert {name.partition("/")[0] for name in names} == {"orchestrator", f"compiler_verdict-{__version__}.dist-info"}
    assert f"compiler_verdict-{__version__}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_source_distribution_has_tests_and_documentation(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for name in (
        "tests/conftest.py",
        "docs/measuring.md",
        "CHANGELOG.md",
        "constraints.txt",
        "conf/config.yaml",
        "LICENSE",
    ):
        assert name in names


@pytest.mark.slow
def test_the_package_index_would_take_them(dist: Path) -> None:
    pytest.importorskip("twine")
    files = [str(file) for file in dist.iterdir()]
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_does_the_main_job_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """Configuration and experiments are found inside the package; `python -m orchestrator` is what is installed."""

    def run(*words: str) -> str:
        done = command(*words, cwd=tmp_path, PYTHONPATH=str(installed))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run("--info", "searchpath")
    assert f"file://{installed}/orchestrator/conf" in where
    assert f"experiments://{installed}/orchestrator/experiments" in where
    assert "Verbs:" in run("--help")
    assert "torch.compile as everyone calls it" in run("options", "compiler")
    assert "Dry run" in run("experiment=quick", "dry_run=true")
    assert (installed / "bin" / "orchestrator").is_file()
    said = run("-m", "compiler=eager,inductor", "dtype=float16", "suite=tiny", "suite.models=[bert_tiny]", "rounds=1")
    assert re.search(r"inductor +\d+\.\d\dx", said), said
    (page,) = tmp_path.glob("outputs/*/*/report.html")
    assert page.stat().st_size > 800_000  # the charting library is in it
