"""The real command: in a process of its own, or in this one where only its text is looked at."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from orchestrator.__main__ import main
from orchestrator.store import SweepFolder, find_sweep

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
FAKES = ["--config-dir", str(TESTS / "fakes" / "conf")]
MOMENT = ["measure=performance", "measure.options.iterations=5", *(f"measure.options.{name}=0" for name in (
    "seconds", "pair_seconds", "block_seconds", "warmup_seconds", "extra_seconds", "quiet_seconds"))]  # fmt: skip
"""The measure `glance` of `FAKES`, of the configuration of everyone: where only that something is timed matters."""
OWN = {
    "HF_HUB_OFFLINE": "1",
    "ORCHESTRATOR_PLUGIN_PACKAGES": "fakes",
    "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}",
    "COLUMNS": "120",
}
ENVIRONMENT = {**os.environ, **OWN}


def start(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(cwd: Path, *arguments: str, code: int = 0) -> str:
    process = start(cwd, *arguments)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == code, output
    return output


def latest(cwd: Path) -> SweepFolder:
    return find_sweep("latest", cwd / "outputs")


def table(cwd: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(latest(cwd).tables / f"{name}.csv")


def answer(cwd: Path, *arguments: str, columns: int = 120, **environment: str) -> tuple[int, str, str]:
    """Run the command in this process, as if in `cwd`; return (exit code, stdout, stderr).

    It says what it does in a process of its own: `test_command_line` asks that of every verb.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        mock.patch.dict(os.environ, {**OWN, "COLUMNS": str(columns)}),
        mock.patch.dict(os.environ, environment),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(arguments)
        except SystemExit as stopped:  # argparse ends so
            code = int(stopped.code or 0)
    said, told = (stream.buffer.getvalue().decode() for stream in (out, err))
    return code, said, told


def orchestrator(cwd: Path, *arguments: str, code: int = 0) -> str:
    """Run the command in this process, and return what it printed."""
    found, out, err = answer(cwd, *arguments)
    assert found == code, out + err
    return out + err


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **environment},
        check=False,
    )


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return (exit code, stdout, stderr)."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
