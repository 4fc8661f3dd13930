"""The benchmarks still run to their last figure. What the figures are is judged by who runs one on a quiet machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHORTEST = {
    "bench_long_sweep.py 100": "jobs without a good result: 0",
    "bench_planning.py": "the command with dry_run=true:",
    "bench_probe.py": "steady-state peak of the model / bytes of its parameters:",
    "bench_scheduler.py 20": "own cost per job / limit:",
    "bench_verbs.py --jobs 50": "| rerun | 50 |",
    "bench_wall.py --quick": "the goals hold:",
    "trust_repeatability.py --quick --rounds 1": "intervals that cover the mean of the other sweeps:",
}
"""Command -> what its last lines say. Not here are those that take minutes, or a browser."""
LONG = ("trust", "bench_wall", "bench_probe")
LIMIT_NOT_KEPT = 1


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.long if command.startswith(LONG) else pytest.mark.slow)
        for command in SHORTEST
    ],
)
def test_a_benchmark_runs_to_its_last_figure(command: str, tmp_path: Path) -> None:
    name, *options = command.split()
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *options],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, LIMIT_NOT_KEPT), done.stderr
    assert "Traceback" not in done.stderr
    assert SHORTEST[command] in done.stdout
