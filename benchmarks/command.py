"""The real command, run into a folder, and the tables that it leaves there."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHORT = ("measure.options.warmup_seconds=0.2", "measure.options.iterations=5", "measure.options.seconds=0.2")
"""Shortens warm-up and steady state. Speed-ups come from the pairs, which stay as they are by default."""


def sweep(folder: Path, *arguments: str) -> list[dict[str, str]]:
    """Run a performance sweep into `folder` and return the rows of its table (`passed`)."""
    run(folder, *arguments, "measure=performance")
    return passed(folder, "performance")


def run(folder: Path, *arguments: str, checkout: Path = ROOT) -> float:
    """Run the command of a checkout into `folder`; return the seconds from its start to its exit.

    What it prints goes to NAME.txt beside the folder. Whether jobs failed `passed` says.
    """
    command = [sys.executable, "-m", "orchestrator", *arguments, f"hydra.sweep.dir={folder}"]
    print(f"running: {' '.join(command[1:-1])}", file=sys.stderr, flush=True)
    start = time.monotonic()
    with _printed(folder).open("w") as log:
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        subprocess.run(command, stdout=log, cwd=folder.parent, env=environment)
    return time.monotonic() - start


def passed(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a table of the sweep in `folder`, as text; "" where there is no figure.

    Raises SystemExit, with what the command printed, when a job did not pass. (Its exit code says less: it is 1 too
    when a self-test finds fault.)
    """
    table = folder / "tables" / f"{name}.csv"
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    if not rows or any(row["status"] != "pass" for row in rows):
        raise SystemExit(f"{folder} has a job without a good result in {table.name}:\n{_printed(folder).read_text()}")
    return rows


def _printed(folder: Path) -> Path:
    return folder.with_suffix(".txt")
