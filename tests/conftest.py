"""Fixtures of several test files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import setuptools  # noqa: F401 - torch imports it, and it refuses to come after anybody's distutils
from fakes.leftovers import MARK, left

from orchestrator.execution.devices import VARIABLE as LOCKS
from orchestrator.store import SweepFolder

SHARED = ("XDG_STATE_HOME", "XDG_CACHE_HOME")


def pytest_configure(config: pytest.Config) -> None:
    """Make signals what they are in a terminal, and give the tests of this process devices of their own.

    A shell starts what runs in its background with SIGINT ignored; commands under test would inherit that. Sweeps of
    tests that run side by side would wait for each other, and for those of people.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["LC_ALL"] = "C.UTF-8"  # whatever that of the machine is: in C there is another "·"
    os.environ[LOCKS] = tempfile.mkdtemp(prefix="orchestrator-locks-")
    if not hasattr(config, "workerinput"):
        # pytest-xdist's processes share them: the toolchain is made once, and a sweep that one of them has made is no
        # stranger's to the other (`orchestrator.execution.ownership`)
        for variable in SHARED:
            os.environ[variable] = tempfile.mkdtemp(prefix="orchestrator-")


def pytest_unconfigure(config: pytest.Config) -> None:
    for variable in (LOCKS,) if hasattr(config, "workerinput") else (LOCKS, *SHARED):
        shutil.rmtree(os.environ.pop(variable), ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """For `-m "alone and ..."` import no module without such tests: all of them take longer than its few.

    Marks are written as `pytest.mark.NAME`: `test_architecture`.
    """
    if not re.fullmatch(r"alone( and (not )?\w+)*", config.getoption("markexpr")):
        return None
    return (collection_path.match("test_*.py") and "pytest.mark.alone" not in collection_path.read_text()) or None


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark this test's processes in their environment; afterwards none of them may be left.

    Workers find the test-only plug-ins (`fakes`).
    """
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    yield value
    assert left(value) == []


@pytest.fixture
def store(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path)
