"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "orchestrator"
MODULES = sorted(PACKAGE.rglob("*.py"))
CONF = sorted((PACKAGE.parent / "conf").rglob("*.yaml"))
HEAVY = ("torch", "transformers", "hydra", "pandas", "rich", "scipy")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_global_statement_and_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert path.name == "__init__.py" or ast.get_docstring(tree)


ARCHITECTURE = (PACKAGE.parent / "docs" / "architecture.md").read_text()


def test_the_map_has_every_folder_and_no_other() -> None:
    table = ARCHITECTURE.partition("## The map")[2].partition("Single files")[0]
    named = {folder.rstrip("/") for folder in re.findall(r"`([\w/]+/)`", table)} - {"conf", "experiments"}
    there = {str(file.parent.relative_to(PACKAGE)) for file in [*MODULES, *PACKAGE.glob("page/assets/*.js")]} - {"."}
    assert named == there


def test_every_file_that_the_architecture_names_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|yaml))`", ARCHITECTURE))
    assert len(named) > 40
    roots = (PACKAGE, PACKAGE.parent)
    assert [file for file in sorted(named) if not any((root / file).exists() for root in roots)] == []


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_plugins_imports_nothing_heavy() -> None:
    """The planner imports them to check their options, and their imports would sit in the memory that is measured."""
    targets = {
        target for file in CONF for target in re.findall(r"^target: ([\w.]+)\.\w+", file.read_text(), re.MULTILINE)
    }
    assert {"orchestrator.compilers.dynamo", "orchestrator.suites.huggingface"} <= targets
    assert imported_by(f"import {', '.join(sorted(targets))}") == set()


def test_the_records_and_the_store_import_nothing_heavy() -> None:
    assert imported_by("import orchestrator.records, orchestrator.store, orchestrator.worker.run") == set()


TESTS = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_file_in_tests_imports_a_test_module(path: Path) -> None:
    """What tests share is in `tests/support`, or in the plug-ins `fakes` and the campaign `chaos`."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    assert not [name for name in names if name.split(".")[-1].startswith("test_")]


def test_marks_are_written_in_full() -> None:
    """`conftest` finds by `pytest.mark.NAME` which modules have any: written otherwise, its tests would not be run."""
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert "pytest" not in [alias.name for alias in node.names if alias.asname], path
            elif isinstance(node, ast.ImportFrom):
                assert node.module != "pytest", path
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and isinstance(node.value, ast.Attribute):
                assert node.value.attr != "mark", path
