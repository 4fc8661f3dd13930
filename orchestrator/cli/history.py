"""The verb `history`: a figure of each workload and compiler over all sweeps, and what changed where it moved."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli import output
from orchestrator.comparison.thresholds import METRICS
from orchestrator.errors import UsageError
from orchestrator.files import write_text

if TYPE_CHECKING:
    from orchestrator.comparison.history import Read, Series, SeriesPoint
    from orchestrator.results.tables import Table


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator history`. Raises UsageError for a folder, file or glob that names nothing."""
    asked = _parser().parse_args(argv)
    files = [Path(file) for file in asked.file]
    for file in files:
        if not os.path.isfile(file):
            raise UsageError(f"{file} is no file: sweeps are found below --root, files are baselines of `gate`")
    from orchestrator.comparison.history import Wanted, build, read
    from orchestrator.results.listing import folders
    from orchestrator.results.load import uncollected

    wanted = Wanted(asked.metric, asked.model, asked.compiler)
    with uncollected():
        found = read(folders(output.roots(asked.root))[: asked.last], files, wanted)
        wanted.check()
        series = build(found.snapshots, asked.metric)
    if asked.svg:
        _plot(Path(asked.svg), series, asked.metric)
    from orchestrator.views import history as history_view

    output.present(
        asked.form,
        lambda: history_view.document(series, found, asked.metric, asked.root),
        lambda: _tables(asked.form, series, found, asked.metric),
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "history",
        "Show a metric of each workload and compiler over all sweeps; where it moved, what else changed.",
        "Another machine is another series. Exit code: 0, or 2 for usage.",
        roots=True,
    )
    parser.usage = f"{parser.prog} [file ...] [options]"
    parser.add_argument("file", nargs="*", help="baseline files (.json), which are points too")
    parser.add_argument("--model", default="*", metavar="GLOB", help="only these models")
    parser.add_argument("--compiler", default="*", metavar="GLOB", help="only these compilers")
    known = f"{', '.join(METRICS)}, or one that a measure declares"
    parser.add_argument("--metric", default=METRICS[0], metavar="NAME", help=known)
    parser.add_argument("--last", type=_positive, metavar="N", help="only the newest N sweeps")
    parser.add_argument("--svg", metavar="FILE", help="write a plot, too")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of sweeps: write 1, 2, 3, ...")
    return int(text)


def _plot(file: Path, series: Sequence[Series], metric: str) -> None:
    from orchestrator.views.history import svg

    try:
        write_text(file, svg(series, metric))
    except OSError as error:
        raise UsageError(f"--svg {file}: it cannot be written: {error.strerror}") from error


def _tables(form: str, series: Sequence[Series], found: Read, metric: str) -> dict[str, Table]:
    from orchestrator.results import tables
    from orchestrator.results.naming import IDENTITY

    which = ("machine", "series", "sweep", "created_s", "origin", "metric")
    seen = ("status", "value", "value_low", "value_high", "rounds", "before", "ratio", "ratio_low", "ratio_high", "p")
    columns: tuple[str, ...] = (*which, *IDENTITY, *seen, "change", "causes", "disturbed", "reason")
    lost = ({"sweep": sweep, "reason": reason} for sweep, reason in found.unreadable)
    made = {"history": tables.Table.of(columns, (_row(one, point, metric) for one in series for point in one.points))}
    if form == "json" or found.unreadable:
        made["unreadable"] = tables.Table.of(("sweep", "reason"), lost)
    return made


def _row(series: Series, point: SeriesPoint, metric: str) -> dict[str, Any]:
    from orchestrator.comparison.history import title
    from orchestrator.views.history import causes

    figure, change = point.row.figures.get(metric), point.change
    compared = ("before", "ratio", "p")
    return {
        **point.row.names,
        "machine": title(series.machine),
        "series": series.label,
        "sweep": point.sweep.name,
        "created_s": point.sweep.created,
        "origin": point.sweep.origin,
        "metric": metric,
        "status": point.row.status,
        "reason": point.row.reason,
        "value": point.value,
        "value_low": point.low,
        "value_high": point.high,
        "rounds": len(figure.values) if figure is not None else None,
        **({name: getattr(change, name) for name in compared} if change is not None else {}),
        "ratio_low": change.low if change is not None else None,
        "ratio_high": change.high if change is not None else None,
        "change": point.word,
        "causes": "; ".join(causes(point.causes, len(point.causes), 10_000)) if point.causes is not None else None,
        "disturbed": point.row.disturbed,
    }
