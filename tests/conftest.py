"""Fixtures of several test files."""

from __future__ import annotations

import os
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


def pytest_configure(config: pytest.Config) -> None:
    """Make signals what they are in a terminal, and give the tests of this process devices of their own.

    A shell starts what runs in its background with SIGINT ignored; commands under test would inherit that. Sweeps of
    tests that run side by side would wait for each other, and for those of people.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["LC_ALL"] = "C.UTF-8"  # whatever that of the machine is: in C there is another "·"
    os.environ[LOCKS] = tempfile.mkdtemp(prefix="orchestrator-locks-")
    # sweeps of tests are noted as this user's own (`orchestrator.execution.ownership`), and not in their home
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="orchestrator-state-")
    if not hasattr(config, "workerinput"):  # pytest-xdist's processes share one: the toolchain is made once
        os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="orchestrator-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    own = () if hasattr(config, "workerinput") else ("XDG_CACHE_HOME",)
    for variable in (LOCKS, "XDG_STATE_HOME", *own):
        shutil.rmtree(os.environ.pop(variable), ignore_errors=True)


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
