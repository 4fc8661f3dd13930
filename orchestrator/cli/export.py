"""The verb `export`: a sweep as files, or in a store, that other people's tools read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.output import save
from orchestrator.errors import UsageError, printable
from orchestrator.store import SweepFolder, find_sweep

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables

SWEEP = "path, latest, latest~1, or <date>/<time> (latest)"
PLOT_FORMATS = ("svg", "png")


@dataclass(frozen=True)
class Loaded:
    """The sweep to export."""

    folder: SweepFolder
    results: SweepResults
    tables: Tables


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator export`. Raises UsageError for bad input and for what is not installed."""
    asked = _parser().parse_args(argv)
    from orchestrator.results.load import load
    from orchestrator.results.tables import build

    results = load(find_sweep(asked.sweep, Path(asked.root)))
    to: Callable[[Loaded, argparse.Namespace], list[str]] = asked.to
    for line in to(Loaded(results.folder, results, build(results)), asked):
        print("\n".join(printable(line)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator export",
        description="Write a sweep for other tools. `export FORMAT --help` says more.",
        epilog="Exit code: 0 written, 2 no such sweep, or something that has to be installed first.",
    )
    formats = parser.add_subparsers(metavar="FORMAT", required=True)

    def add(name: str, what: str, to: Callable[[Loaded, argparse.Namespace], list[str]]) -> argparse.ArgumentParser:
        made = formats.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        made.set_defaults(to=to)
        return made

    add("dynamobench", "CSV files as PyTorch's benchmarks/dynamo writes them", _dynamobench).add_argument(
        "target", metavar="DIR"
    )
    add(
        "batch_sizes", "suites with the largest batch sizes that measure=largest_batch found", _batch_sizes
    ).add_argument("target", metavar="DIR", help="a folder for --config-dir")
    hud = add("hud", "records of PyTorch's benchmark database, one JSON object a line", _hud)
    hud.add_argument("target", metavar="FILE", nargs="?", default="-", help="- is standard output (-)")
    hud.add_argument(
        "--benchmark", default="TorchInductor", metavar="NAME", help="name in the database (TorchInductor)"
    )
    flow = add("mlflow", "an MLflow tracking store, one run per row; once exported, a row is not added again", _mlflow)
    flow.add_argument("target", metavar="URI", nargs="?", default="sqlite:///mlflow.db", help="(sqlite:///mlflow.db)")
    flow.add_argument("--experiment", metavar="NAME", help="its name in the store (the sweep's)")
    add("parquet", "every table, and every sample, as a Parquet file", _parquet).add_argument("target", metavar="DIR")
    plots = add("plots", "the main plots as pictures, for papers", _plots)
    plots.add_argument("target", metavar="DIR")
    plots.add_argument("--format", choices=PLOT_FORMATS, default="svg", help="svg, or png at 200 dots per inch (svg)")
    for made in formats.choices.values():
        made.add_argument("sweep", metavar="SWEEP", nargs="?", default="latest", help=SWEEP)
        made.add_argument("--root", default="outputs", metavar="DIR", help="where sweeps lie (outputs)")
    return parser


def _no_sweep(asked: argparse.Namespace, instead: str) -> None:
    """Raise UsageError when what may be left out was left out, and a sweep stands in its place."""
    try:
        find_sweep(asked.target, Path(asked.root))
    except UsageError:
        return
    raise UsageError(f"'{asked.target}' is a sweep, and that is named last: {instead} {asked.target}")


def folder(target: str) -> Path:
    """Return the folder to write into, made if need be. Raises UsageError when that is not possible."""
    path = Path(target)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{target} cannot be a folder: {error}; name another one") from error
    return path


def _dynamobench(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.dynamobench_export import export
    from orchestrator.exchange.rows import joined

    files, notes = export(joined(sweep.results, sweep.tables))
    if not files:
        raise UsageError(f"{sweep.folder} has no compiler's results to export: plain eager has no file there")
    target = folder(asked.target)
    for file in files:
        save("export", target / str(file.name), file.text())
    return [f"{target / str(file.name)}  {len(file.rows)} rows" for file in files] + [f"note: {note}" for note in notes]


def _batch_sizes(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.batch_sizes import export

    files, notes = export(sweep.results)
    if not files:
        why = "; ".join(notes) or "run one with measure=largest_batch first"
        raise UsageError(f"{sweep.folder} has no largest batch sizes to export: {why}")
    target = folder(str(Path(asked.target) / "suite"))
    for file in files:
        save("export", target / f"{file.suite}.yaml", file.text)
    use = [f"use: --config-dir {asked.target} suite={file.suite}" for file in files]
    written = [f"{target / file.suite}.yaml  {file.models} models" for file in files]
    return written + [f"note: {note}" for note in notes] + use


def _hud(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.hud import lines

    _no_sweep(asked, "export hud -")
    made = lines(sweep.results, sweep.tables, asked.benchmark)
    if asked.target == "-":
        return made
    save("export", Path(asked.target), "\n".join([*made, ""]))
    return [f"{asked.target}  {len(made)} records"]


def _mlflow(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.mlflow_store import export

    _no_sweep(asked, "export mlflow sqlite:///mlflow.db")
    return export(sweep.results, sweep.tables, asked.target, asked.experiment)


def _parquet(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.parquet import export

    return export(sweep.results, sweep.tables, folder(asked.target))


def _plots(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.page.plots import export

    return export(sweep.tables, folder(asked.target), asked.format)
