"""The verb `gate`: for CI. Does a sweep keep what a baseline has, within limits? And the way to a new baseline."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, printable
from orchestrator.views.commands import shown
from orchestrator.words import some

if TYPE_CHECKING:
    from orchestrator.comparison.snapshot import Snapshot

CANNOT_TELL = 125
"""git-bisect(1): this commit cannot be tested, take another."""


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator gate`. Returns 0 if it passes, else 1, or `CANNOT_TELL`; raises UsageError."""
    asked = _arguments(argv)
    from orchestrator.comparison import gate, rules
    from orchestrator.comparison.thresholds import limits_of
    from orchestrator.views import gate as view

    today = rules.date(asked.today, "--today") if asked.today else datetime.datetime.now(datetime.UTC).date()
    after, sweep = _read(asked.ref, Path(asked.root))
    before = after if asked.accept else _read_baseline(asked.against, Path(asked.root))
    metrics = limits_of({**after.columns, **before.columns})
    chosen = rules.read(Path(asked.rules), metrics) if asked.rules else rules.Rules(defaults=metrics)
    if asked.accept:
        from orchestrator.comparison.baseline import accept

        accepted = accept(Path(asked.against), after, chosen, today, force=asked.force)
        output.present(
            asked.form,
            lambda: view.accepted_document(accepted),
            lambda: view.tables(accepted.found, "accepted"),
            "gate",
        )
        return 0
    found = gate.gate(before, after, chosen, today, sweep)
    if asked.junit:
        output.save("--junit", Path(asked.junit), view.to_junit(found))
    names = _named(asked.against, before), _named(asked.ref, after)
    output.present(asked.form, lambda: view.document(found, names), lambda: view.tables(found), "gate")
    if asked.bisect and (why := found.cannot_tell()):
        print(" ".join(printable(f"Cannot tell: {some(why, 3, '; ')}")), file=sys.stderr)
        return CANNOT_TELL
    return int(not found.passed)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = output.parser(
        "gate",
        "Fail when a sweep lacks a row of the baseline, or has a worse one.",
        "Exit code: 0 passed or accepted, 1 failed, 2 usage, 125 cannot tell (--bisect). Rules: docs/gate.md",
        usage="REF --against BASE [options]",
    )
    parser.add_argument("ref", metavar="REF", help="sweep to judge: path, latest, <date>/<time>, or file")
    parser.add_argument("--against", metavar="BASE", required=True, help="baseline: a file (.json), or a sweep")
    parser.add_argument("--rules", metavar="FILE", help="limits, flaky rows: a YAML file")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML for the CI server")
    parser.add_argument("--today", metavar="DAY", help="for expiry dates: 2026-12-01 (now, in UTC)")
    parser.add_argument("--accept", action="store_true", help="make REF the baseline: write BASE")
    parser.add_argument("--force", action="store_true", help="accept in spite of jobs that have not run")
    parser.add_argument("--bisect", action="store_true", help="exit with 125 where it cannot tell: git bisect skips it")
    asked = parser.parse_args(argv)
    if asked.accept and asked.junit:
        parser.error("--junit tells what failed, --accept takes it as it is: use one of them")
    if asked.accept and asked.bisect:
        parser.error("--bisect judges a sweep, --accept takes it as it is: use one of them")
    if asked.force and not asked.accept:
        parser.error("--force goes with --accept")
    return asked


def _read(reference: str, root: Path) -> tuple[Snapshot, str | None]:
    """Return what a person named, and how commands name the sweep that it is (None: it is a file)."""
    from orchestrator.comparison import sides, snapshot_files
    from orchestrator.execution.lock import holder

    if os.path.isfile(reference):
        return snapshot_files.read(Path(reference)), None
    folder, _ = sides.find(reference, root)
    folder.check()
    running = holder(folder)
    if running is not None:
        raise UsageError(f"{shown(folder)} still runs ({running}): wait for its end, then run this again")
    return sides.read(reference, root), shown(folder)


def _read_baseline(reference: str, root: Path) -> Snapshot:
    if reference.endswith(".json") and not os.path.exists(reference):
        raise UsageError(
            f"there is no baseline {reference}: `orchestrator gate REF --against {reference} --accept` makes one"
        )
    found, _ = _read(reference, root)
    if not found.rows:
        raise UsageError(f"{reference} has no rows: nothing would be expected, and the gate could not fail")
    return found


def _named(reference: str, snapshot: Snapshot) -> str:
    return f"{reference} ({snapshot.name})" if os.path.isfile(reference) else snapshot.name
