"""The verb `export`: a sweep as files, or in a store, that other people's tools read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, printable
from orchestrator.words import plural

if TYPE_CHECKING:
    from orchestrator.page.plots import OverTime
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Table, Tables

SWEEP = "path, latest, latest~1, or <date>/<time> (latest)"
PLOT_FORMATS = ("svg", "png")
EXAMPLES = {"batch_sizes": "my_conf", "dynamobench": "benchmark_logs", "plots": "pictures"}


@dataclass(frozen=True)
class Loaded:
    """The sweep to export."""

    results: SweepResults
    tables: Tables


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator export`. Raises UsageError for bad input and for what is not installed."""
    asked = _parser().parse_args(argv)
    if asked.target is None:
        words = " ".join(["export", asked.format, *([asked.sweep] if asked.sweep != "latest" else [])])
        raise UsageError(f"say where to with -o {asked.what}: {words} -o {EXAMPLES.get(asked.format, 'exported')}")
    from orchestrator.comparison.builds import build
    from orchestrator.comparison.sides import find
    from orchestrator.results.load import load

    found, job = find(asked.sweep, Path(asked.root))
    if job is not None and not asked.of_a_job:
        raise UsageError(f"{asked.sweep} is one job: {asked.format} exports a whole sweep; leave out :{job}")
    asked.job = job
    results = load(found)
    to: Callable[[Loaded, argparse.Namespace], list[str]] = asked.to
    for line in to(Loaded(results, build(results)), asked):
        print("\n".join(printable(line)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "export",
        "Write a sweep for other tools: export FORMAT [SWEEP] -o DIR.",
        "Exit code: 0 written, 2 no such sweep or package. More: export FORMAT --help",
        forms=False,
        roots="none",
    )
    formats = parser.add_subparsers(metavar="FORMAT", required=True)

    def add(
        name: str,
        what: str,
        to: Callable[[Loaded, argparse.Namespace], list[str]],
        metavar: str = "DIR",
        default: str | None = None,
        where: str = "the folder to write into, made if need be",
        of_a_job: bool = False,
    ) -> argparse.ArgumentParser:
        made = formats.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        made.usage = f"python -m orchestrator export {name} [SWEEP] -o {metavar}"
        made.add_argument("sweep", metavar="SWEEP", nargs="?", default="latest", help=SWEEP)
        help = where + (f" ({default})" if default else "")
        made.add_argument("--output", "-o", dest="target", metavar=metavar, default=default, help=help)
        output.add_root(made)
        made.set_defaults(to=to, format=name, what=metavar, of_a_job=of_a_job)
        return made

    add("batch_sizes", "suites with the batch sizes that measure=largest_batch found", _batch_sizes)
    add("csv", "every table as a CSV file", _csv)
    add("dynamobench", "CSV files as PyTorch's benchmarks/dynamo writes them", _dynamobench)
    what = "records of PyTorch's benchmark database, one a line"
    hud = add("hud", what, _hud, "FILE", "-", "the file to write; - is standard output")
    hud.add_argument(
        "--benchmark", default="TorchInductor", metavar="NAME", help="name in the database (TorchInductor)"
    )
    add("json", "every table as a JSON file", _json)
    what = "an MLflow tracking store, one run per row, none of them twice"
    flow = add("mlflow", what, _mlflow, "URI", "sqlite:///mlflow.db", "the store")
    flow.add_argument("--experiment", metavar="NAME", help="its name in the store (the sweep's)")
    add("parquet", "every table, and every sample, as a Parquet file", _parquet)
    what = "the traces of measure=profile, of SWEEP or SWEEP:JOB"
    add("perfetto", what, _perfetto, of_a_job=True)
    plots = add("plots", "the main plots as pictures, for papers", _plots)
    plots.add_argument("--format", dest="picture", choices=PLOT_FORMATS, default="svg", help="svg, or png (svg)")
    what = "also the means of its suites over so many sweeps, up to this one"
    plots.add_argument("--over-time", type=output.at_least_1, metavar="N", help=what)
    add("transformers", "CSV files as the old transformers.benchmark wrote them", _transformers)
    what = "runs of Weights & Biases, one per row, written offline"
    bias = add("wandb", what, _wandb)
    bias.add_argument("--project", default="orchestrator", metavar="NAME", help="the project (orchestrator)")
    return parser


def folder(target: str) -> Path:
    """Return the folder to write into, made if need be. Raises UsageError when that is not possible."""
    path = Path(target)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{target} cannot be a folder: {error}; name another one") from error
    return path


def _save(target: str, files: Iterable[tuple[str, str]]) -> list[Path]:
    """Write (name, text) into the folder; return where each file is."""
    place, paths = folder(target), []
    for name, text in files:
        output.save("export", place / name, text)
        paths.append(place / name)
    return paths


def _noted(notes: Iterable[str]) -> list[str]:
    return [f"note: {note}" for note in notes]


def _dynamobench(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.dynamobench_export import export
    from orchestrator.exchange.rows import joined

    files, notes = export(joined(sweep.results, sweep.tables))
    if not files:
        raise UsageError(f"{sweep.results.folder} has no compiler's results to export: plain eager has no file there")
    paths = _save(asked.target, ((str(file.name), file.text()) for file in files))
    written = [f"{path}  {len(file.rows)} rows" for path, file in zip(paths, files, strict=True)]
    return written + _noted(notes)


def _transformers(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.rows import joined
    from orchestrator.exchange.transformers_benchmark import export

    files, notes = export(joined(sweep.results, sweep.tables))
    if not files:
        why = "; ".join(notes) or "nothing was timed: run one with measure=performance"
        raise UsageError(f"{sweep.results.folder} has nothing for its files: {why}")
    return [*map(str, _save(asked.target, files.items())), *_noted(notes)]


def _batch_sizes(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.batch_sizes import export

    files, notes = export(sweep.results)
    if not files:
        why = "; ".join(notes) or "run one with measure=largest_batch first"
        raise UsageError(f"{sweep.results.folder} has no largest batch sizes to export: {why}")
    paths = _save(str(Path(asked.target) / "suite"), ((f"{file.suite}.yaml", file.text) for file in files))
    written = [f"{path}  {file.models} models" for path, file in zip(paths, files, strict=True)]
    return written + _noted(notes) + [f"use: --config-dir {asked.target} suite={file.suite}" for file in files]


def _hud(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.hud import lines

    made = lines(sweep.results, sweep.tables, asked.benchmark)
    if asked.target == "-":
        return made
    output.save("export", Path(asked.target), "\n".join([*made, ""]))
    return [f"{asked.target}  {len(made)} records"]


def _csv(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.results.exports import to_csv

    return _tables(sweep, asked.target, "csv", lambda _, table: to_csv(table))


def _json(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.results.exports import to_json

    return _tables(sweep, asked.target, "json", lambda name, table: to_json({name: table}))


def _tables(sweep: Loaded, target: str, end: str, to: Callable[[str, Table], str]) -> list[str]:
    """Write each table of the sweep as a file <table>.<end>; return a line for each."""
    tables = sweep.tables.named()
    paths = _save(target, ((f"{name}.{end}", to(name, table)) for name, table in tables.items()))
    return [f"{path}  {plural(len(table.rows), 'row')}" for path, table in zip(paths, tables.values(), strict=True)]


def _mlflow(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.mlflow_store import export

    return export(sweep.results, sweep.tables, asked.target, asked.experiment)


def _wandb(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.wandb_runs import export

    return export(sweep.results, sweep.tables, folder(asked.target), asked.project)


def _parquet(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.exchange.parquet import export

    return export(sweep.results, sweep.tables, folder(asked.target))


def _perfetto(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.comparison.sides import only
    from orchestrator.exchange.perfetto import export, traces

    results = sweep.results if asked.job is None else only(sweep.results, asked.job)
    found = traces(results)
    return export(found, folder(asked.target))


def _plots(sweep: Loaded, asked: argparse.Namespace) -> list[str]:
    from orchestrator.page.plots import export

    return export(sweep.tables, folder(asked.target), asked.picture, _over_time(sweep, asked))


def _over_time(sweep: Loaded, asked: argparse.Namespace) -> OverTime | None:
    """Return the means of the sweep and of those before it, so many in all as are asked for."""
    if asked.over_time is None:
        return None
    from orchestrator.comparison import means
    from orchestrator.page.plots import OverTime
    from orchestrator.results.listing import folders

    own, there = sweep.results.folder.root.resolve(), folders([Path(asked.root)])
    places = [path.resolve() for path in there]
    before = there[places.index(own) + 1 :] if own in places else there
    found, series = means.read([sweep.results.folder.root, *before[: asked.over_time - 1]], "*")
    return OverTime(series, sweep.results.folder.name, [f"{name} is left out: {why}" for name, why in found.unreadable])
