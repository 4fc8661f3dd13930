"""A sweep as runs of Weights & Biases, one per row of the summary, written offline.

A run is what it is in an MLflow store (`orchestrator.exchange.mlflow_store.runs`): the row's configuration as config,
its figures as summary, those of the rounds as history ("by_round/...", a step for each), statuses and origin beside the
configuration. Nothing is sent: `wandb sync` does that. Needs the package wandb.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from orchestrator import DISTRIBUTION
from orchestrator.errors import UsageError, first_line
from orchestrator.exchange.mlflow_store import Run, runs
from orchestrator.results.load import SweepResults
from orchestrator.results.tables import Tables

EXTRA = f"Weights & Biases is not installed: pip install '{DISTRIBUTION}[wandb]'"
BY_ROUND = "by_round/"


def export(results: SweepResults, tables: Tables, folder: Path, project: str) -> list[str]:
    """Write a run for each row below `folder`/wandb; return what was done, for people.

    Raises UsageError when wandb is not installed, or cannot write.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing here speaks to the network by itself
    try:
        import wandb
    except ImportError:
        raise UsageError(EXTRA) from None
    made = runs(results, tables)
    try:
        for run in made:
            _write(wandb, run, folder, project, results.folder.name)
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise UsageError(f"runs of wandb cannot be written to {folder}: {first_line(error)}") from error
    place = folder / "wandb"
    return [f"{place}  {len(made)} runs, project '{project}'", f"upload: wandb sync {place}/offline-run-*"]


def _write(wandb: Any, run: Run, folder: Path, project: str, sweep: str) -> None:
    """Write one run, whatever the machine's settings of wandb are."""
    written = wandb.init(
        project=project,
        dir=str(folder),
        id=run.key,
        name=run.name,
        group=sweep,
        config={**run.params, **{f"orchestrator.{key}": value for key, value in run.tags.items()}},
        mode="offline",
        save_code=False,
        settings=wandb.Settings(silent=True, console="off"),
    )
    steps: dict[int, dict[str, float]] = defaultdict(dict)
    for name, value, step in run.metrics:
        if name.startswith(BY_ROUND):
            steps[step][name] = value
    for step in sorted(steps):
        written.log(steps[step], step=step)
    written.summary.update({name: value for name, value, _ in run.metrics if not name.startswith(BY_ROUND)})
    written.finish(exit_code=0 if run.passed else 1)
