"""The verb `history`: a figure of each workload and compiler over all sweeps, and what changed where it moved."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli import output
from orchestrator.comparison.thresholds import METRICS
from orchestrator.errors import UsageError
from orchestrator.results.overview import MEANS

ALL_MEANS = "means"


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator history`. Raises UsageError for a folder, file or glob that names nothing."""
    asked = _parser().parse_args(argv)
    files = [Path(file) for file in asked.file]
    for file in files:
        if not os.path.isfile(file):
            raise UsageError(f"{file} is no file: sweeps are found below --root, files are baselines of `gate`")
    of_means = asked.metric in MEANS or asked.metric == ALL_MEANS
    if of_means and (asked.model != "*" or files):
        raise UsageError(f"--metric {asked.metric}: a mean is over all models of a sweep; --model and files have none")
    from orchestrator.comparison import history, means
    from orchestrator.results.listing import folders
    from orchestrator.results.load import uncollected
    from orchestrator.views import history as view

    with uncollected():
        places = folders(output.roots(asked.root))[: asked.last]
        if of_means:
            found, every = means.read(places, asked.compiler)
            series = every if asked.metric == ALL_MEANS else {asked.metric: every[asked.metric]}
        else:
            wanted = history.Wanted(asked.metric, asked.model, asked.compiler)
            found = history.read(places, files, wanted)
            wanted.check()
            series = {asked.metric: history.build(found.snapshots, asked.metric)}
    if asked.svg:
        output.save("--svg", Path(asked.svg), view.svg(series))
    output.present(
        asked.form,
        lambda: (
            view.means(series, found, asked.root)
            if of_means
            else view.document(series[asked.metric], found, asked.metric, asked.root)
        ),
        lambda: view.tables(series, found, asked.form),
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "history",
        "Show a metric of each workload and compiler over all sweeps; where it moved, what else changed.",
        "Another machine is another series. Exit code: 0, or 2 for usage.",
        usage="[file ...] [options]",
        roots="several",
    )
    parser.add_argument("file", nargs="*", help="baseline files (.json), which are points too")
    parser.add_argument("--model", default="*", metavar="GLOB", help="only these models")
    parser.add_argument("--compiler", default="*", metavar="GLOB", help="only these compilers")
    known = f"{', '.join(METRICS)}, one that a measure declares, or {ALL_MEANS} (or one of them), over a suite's models"
    parser.add_argument("--metric", default=METRICS[0], metavar="NAME", help=known)
    parser.add_argument("--last", type=output.at_least_1, metavar="N", help="only the newest N sweeps")
    parser.add_argument("--svg", metavar="FILE", help="write a plot, too")
    return parser
