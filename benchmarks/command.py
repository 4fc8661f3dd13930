"""The real command, run into a folder, and the table that it leaves there."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

SHORT = ("measure.options.warmup_seconds=0.2", "measure.options.iterations=5", "measure.options.seconds=0.2")
"""Shortens warm-up and steady state. Speed-ups come from the pairs, which stay as they are by default."""


def sweep(folder: Path, *arguments: str) -> list[dict[str, str]]:
    """Run a performance sweep into `folder` and return the rows of its table, as text; "" where there is no figure.

    What the command prints goes to NAME.txt beside the folder. Raises SystemExit when a job did not pass.
    """
    command = [sys.executable, "-m", "orchestrator", *arguments, "measure=performance", f"hydra.sweep.dir={folder}"]
    print(f"running: {' '.join(command[1:-1])}", file=sys.stderr, flush=True)
    log_file = folder.with_suffix(".txt")
    with log_file.open("w") as log:
        code = subprocess.run(command, stdout=log, cwd=folder.parent).returncode
    table = folder / "tables" / "performance.csv"
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    if not rows or any(row["status"] != "pass" for row in rows):  # the code is 1 too when a self-test finds fault
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{log_file.read_text()}")
    return rows
