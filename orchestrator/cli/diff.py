"""The verb `diff`: what differs between two sweeps, two jobs, or a sweep and a file; many sweeps side by side."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from orchestrator.columns import Column
    from orchestrator.comparison.sides import NamedSide
    from orchestrator.comparison.snapshot import Snapshot
    from orchestrator.comparison.thresholds import Limit
    from orchestrator.execution.planned import PlannedSweep
    from orchestrator.results.tables import Table
    from orchestrator.store import SweepFolder

OFF = ("off", "false")


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator diff`. Returns 1 if a row is worse or missing; raises UsageError for bad input."""
    asked = _arguments(argv)
    from orchestrator.comparison.sides import read_with_job

    if asked.words:
        return _ahead(asked)
    sides = [read_with_job(reference, Path(asked.root)) for reference in asked.references]
    gc.freeze()  # what was read stays: the garbage collector need not look at millions of objects again
    columns = {name: column for snapshot, _ in reversed(sides) for name, column in snapshot.columns.items()}
    limits = _limits(asked.threshold, columns)
    if len(sides) > 2:
        return _many(asked, [snapshot for snapshot, _ in sides], limits)
    return _two(asked, sides[0], sides[1], limits)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = output.parser(
        "diff",
        "What differs between sweeps, or jobs, and which key goes with which change.",
        "A, B: latest, latest~1, folder, SWEEP:JOB, baseline, tables (.json, .csv); B also FILE.yaml, key=value. "
        "Exit code: 0 nothing is worse, 1 a row is worse or missing, 2 usage.",
        usage="A B [C ...] [options]",
    )
    parser.add_argument("references", nargs="+", metavar="A B", help="with three or more: rows by sweeps")
    parser.add_argument("--all", action="store_true", dest="everything", help="also what did not change")
    parser.add_argument("--metric", action="append", metavar="NAME", help="only this figure (of many: speedup)")
    parser.add_argument("--threshold", action="append", metavar="NAME=X", help="smaller changes are none: 0.03, off")
    parser.add_argument("--config-only", action="store_true", help="only the keys that differ, and their overrides")
    parser.add_argument("--config-dir", "-cd", metavar="DIR", help="for FILE.yaml, key=value")
    asked = parser.parse_args(argv)
    asked.words = [word for word in asked.references if _is_configuration(word)]
    if asked.words:
        asked.references = [word for word in asked.references if word not in asked.words]
        if len(asked.references) != 1 or asked.metric or asked.threshold:
            parser.error("a configuration is compared with one sweep, without figures: diff latest mine.yaml dtype=...")
        return asked
    if len(asked.references) < 2:
        parser.error("name two sweeps, as in: diff latest~1 latest")
    if asked.config_only and (asked.metric or asked.threshold):
        parser.error("--config-only shows no figures: leave out --metric and --threshold")
    if len(asked.references) > 2 and len(asked.metric or ()) > 1:
        parser.error("a matrix shows one --metric")
    return asked


def _is_configuration(word: str) -> bool:
    """Tell whether a word is an override, or a file of them, and names no sweep and no table."""
    return word.endswith((".yaml", ".yml")) or ((word.startswith("~") or "=" in word) and not os.path.exists(word))


def _ahead(asked: argparse.Namespace) -> int:
    """Compare a sweep with a configuration, before it is run."""
    from orchestrator.comparison import ahead, difference_tables
    from orchestrator.comparison.configuration_changes import configuration_changes
    from orchestrator.comparison.sides import find, read_with_job
    from orchestrator.views import ahead as view

    before, job = read_with_job(asked.references[0], Path(asked.root))
    if os.path.isfile(asked.references[0]) or job is not None:
        raise UsageError(f"{asked.references[0]} is no sweep: a configuration is compared with all jobs of one")
    folder, _ = find(asked.references[0], Path(asked.root))
    comparison = ahead.compared(before, _planned(asked, folder))
    changes, rows = configuration_changes(comparison), ahead.rows_ahead(comparison)
    output.present(
        asked.form,
        lambda: view.document(comparison, changes, rows, everything=asked.everything),
        lambda: {
            "rows_ahead": ahead.table(row for row in rows if asked.everything or row.word != ahead.SAME),
            "configuration": difference_tables.configuration(changes),
            "environment": difference_tables.changed(comparison.environment),
        },
    )
    return 0


def _planned(asked: argparse.Namespace, folder: SweepFolder) -> PlannedSweep:
    """Plan the words of the command line. Without --config-dir, that of the sweep's own command is used."""
    from orchestrator.comparison.pasting import config_dir
    from orchestrator.execution.hydra_plugin import planned, search_path
    from orchestrator.execution.ownership import is_own
    from orchestrator.planning.experiments import by_path
    from orchestrator.planning.overrides import is_file

    overrides, files = by_path([f"experiment={word}" if is_file(word) else word for word in asked.words])
    own = config_dir(folder.read_sweep())[1:] if asked.config_dir is None and is_own(folder) else []
    user = asked.config_dir or next((path for path in own if os.path.isdir(path)), None)
    return planned(overrides, search_path(user, files))


def _limits(changes: Sequence[str] | None, columns: Mapping[str, Column]) -> dict[str, Limit]:
    """Return the limits with those of --threshold. Raises UsageError."""
    from orchestrator.comparison import rules
    from orchestrator.comparison.thresholds import limits_of

    wanted: dict[str, float | str] = {}
    for change in changes or ():
        metric, equals, size = change.partition("=")
        try:
            wanted[metric] = size if size in OFF else float(size)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"--threshold {change}: write METRIC=SIZE, as speedup=0.03 for 3 %, or METRIC=off")
    return rules.parse({"thresholds": wanted}, "--threshold", limits_of(columns)).limits({})


def _metrics(asked: argparse.Namespace, known: Sequence[str]) -> list[str]:
    for metric in asked.metric or ():
        if metric not in known:
            raise UsageError(f"--metric {metric}: {did_you_mean(metric, known)}")
    return asked.metric or []


def _two(asked: argparse.Namespace, before: NamedSide, after: NamedSide, limits: dict[str, Limit]) -> int:
    from orchestrator.comparison import difference_tables, differences
    from orchestrator.comparison.configuration_changes import configuration_changes
    from orchestrator.comparison.pasting import both_ways
    from orchestrator.comparison.sides import compare_named, differing_facts
    from orchestrator.views import diff as view

    comparison = compare_named(before, after, limits, _metrics(asked, list(limits)) or list(limits))
    changes = configuration_changes(comparison)
    pasted = both_ways(asked.references, (before, after), Path(asked.root), changes)
    facts = None if before[1] is None or after[1] is None else differing_facts(before[1], after[1])
    seen = {"everything": asked.everything, "config_only": asked.config_only}

    def tables() -> dict[str, Table]:
        lines = {"pasted": difference_tables.pasted(pasted)}
        if asked.config_only:
            return {"configuration": difference_tables.configuration(changes), **lines}
        told = {} if facts is None else {"facts": difference_tables.changed(facts[0])}
        return {**difference_tables.tables(comparison, changes, asked.everything), **lines, **told}

    output.present(
        asked.form,
        lambda: view.document(comparison, changes, facts, **seen, pasted=pasted),
        tables,
        "configuration" if asked.config_only else "results",
    )
    return int(not asked.config_only and differences.regressed(comparison))


def _many(asked: argparse.Namespace, snapshots: Sequence[Snapshot], limits: dict[str, Limit]) -> int:
    from orchestrator.comparison import differences, matrix
    from orchestrator.views import matrix as view

    known = dict.fromkeys((*matrix.METRICS, *(name for one in snapshots for name in one.columns)))
    metric = (_metrics(asked, list(known)) or ["speedup"])[0]
    made = matrix.matrix(snapshots, metric, limits)
    seen = {"everything": asked.everything, "config_only": asked.config_only}

    def tables() -> dict[str, Table]:
        found = matrix.tables(made, asked.everything)
        return {"configuration": found["configuration"]} if asked.config_only else found

    main = "configuration" if asked.config_only else "matrix"
    output.present(asked.form, lambda: view.document(made, **seen), tables, main)
    worse = any(differences.regressed(comparison) for comparison in made.comparisons)
    return int(not asked.config_only and worse)
