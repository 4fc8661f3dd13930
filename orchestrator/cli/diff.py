"""The verb `diff`: what differs between two sweeps, two jobs, or a sweep and a file; many sweeps side by side."""

from __future__ import annotations

import argparse
import gc
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

OFF = ("off", "false")


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator diff`. Returns 1 if a row is worse or missing; raises UsageError for bad input."""
    asked = _arguments(argv)
    from orchestrator.comparison.sides import read_with_job

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
        "A, B: latest, latest~1, <date>/<time>, folder, SWEEP:JOB, baseline, tables (.json, .csv). "
        "Exit code: 0 nothing is worse, 1 a row is worse or missing, 2 usage.",
    )
    parser.add_argument("references", nargs="+", metavar="A B", help="with three or more: rows by sweeps")
    parser.add_argument("--all", action="store_true", dest="everything", help="also what did not change")
    parser.add_argument("--metric", action="append", metavar="NAME", help="only this figure (of many: speedup)")
    parser.add_argument("--threshold", action="append", metavar="NAME=X", help="smaller changes are none: 0.03, off")
    parser.add_argument("--config-only", action="store_true", help="only the keys that differ, and their overrides")
    asked = parser.parse_args(argv)
    if len(asked.references) < 2:
        parser.error("name two sweeps, as in: diff latest~1 latest")
    if asked.config_only and (asked.metric or asked.threshold):
        parser.error("--config-only shows no figures: leave out --metric and --threshold")
    if len(asked.references) > 2 and len(asked.metric or ()) > 1:
        parser.error("a matrix shows one --metric")
    return asked


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
    from orchestrator.comparison.sides import compare_named, differing_facts

    comparison = compare_named(before, after, limits, _metrics(asked, list(limits)) or list(limits))
    changes = configuration_changes(comparison)
    facts = None if before[1] is None or after[1] is None else differing_facts(before[1], after[1])
    if asked.form in (None, "md"):
        from orchestrator.views import diff as diff_view

        seen = {"everything": asked.everything, "config_only": asked.config_only}
        output.render(asked.form, diff_view.document(comparison, changes, facts, **seen))
    elif asked.config_only:
        output.write(asked.form, {"configuration": difference_tables.configuration(changes)})
    else:
        tables = difference_tables.tables(comparison, changes, asked.everything)
        if facts is not None:
            tables["facts"] = difference_tables.changed(facts[0])
        output.write(asked.form, tables, "results")
    return int(not asked.config_only and differences.regressed(comparison))


def _many(asked: argparse.Namespace, snapshots: Sequence[Snapshot], limits: dict[str, Limit]) -> int:
    from orchestrator.comparison import differences, matrix

    known = dict.fromkeys((*matrix.METRICS, *(name for one in snapshots for name in one.columns)))
    metric = (_metrics(asked, list(known)) or ["speedup"])[0]
    made = matrix.matrix(snapshots, metric, limits)
    if asked.form in (None, "md"):
        from orchestrator.views import matrix as matrix_view

        seen = {"everything": asked.everything, "config_only": asked.config_only}
        output.render(asked.form, matrix_view.document(made, **seen))
    elif asked.config_only:
        output.write(asked.form, {"configuration": matrix.tables(made, False)["configuration"]})
    else:
        output.write(asked.form, matrix.tables(made, asked.everything), "matrix")
    worse = any(differences.regressed(comparison) for comparison in made.comparisons)
    return int(not asked.config_only and worse)
