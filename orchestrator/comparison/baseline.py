"""`gate --accept`: a sweep becomes the baseline. What that changes is said, so that nothing is accepted unseen."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.comparison import gate, snapshot_files
from orchestrator.comparison.gate import FAIL, FLAKY, NOTICE, UNMEASURED, Case, GateFinding, GateResult
from orchestrator.comparison.rules import Rules
from orchestrator.comparison.snapshot import Snapshot
from orchestrator.errors import UsageError
from orchestrator.records import HARMLESS
from orchestrator.results.load import one_line

CHANGES = (FAIL, FLAKY, NOTICE)


@dataclass(frozen=True)
class Accepted:
    """What was written to `path`, judged by what was there before (by no row at all where the file is new)."""

    path: Path
    found: GateResult

    @property
    def changes(self) -> list[Case]:
        """The rows of the old baseline that are gone, or are not as they were."""
        return [c for c in self.found.expected if any(finding.level in CHANGES for finding in c.findings)]

    @property
    def failures(self) -> Iterator[Case]:
        """The rows of the new baseline that failed: whatever fails in the same way from now on is no failure."""
        rows = self.found.after.rows
        titles = gate.titles(rows)
        for row in rows:
            if row.status not in HARMLESS:
                text = f"{row.status}: {one_line(row.reason)}" if row.reason else row.status
                yield Case(
                    name=titles[id(row)],
                    row=row,
                    expected=True,
                    findings=(GateFinding(level=FAIL, kind="", text=text),),
                )

    @property
    def headline(self) -> str:
        rows = self.found.after.rows
        removed = sum(finding.kind == "missing" for case in self.changes for finding in case.findings)
        added = sum(case.row is not None and not case.expected for case in self.found.cases)
        counts = f"{added} added, {removed} removed, {len(self.changes) - removed} changed"
        news = counts if self.found.before.rows else "a new baseline"
        return f"Accepted {self.found.after.name} as {self.path}: {len(rows):,} rows ({news})"

    @property
    def disturbed(self) -> str:
        count = sum(bool(row.disturbed) for row in self.found.after.rows)
        rows = f"{count} {'row was' if count == 1 else 'rows were'} disturbed"
        return f"{rows}: only large changes of their figures will be seen" if count else ""


def accept(path: Path, after: Snapshot, rules: Rules, today: datetime.date, *, force: bool) -> Accepted:
    """Write the snapshot as the baseline file `path`.

    Raises UsageError when `path` is no place for one, the sweep is not complete, or the file there is no baseline;
    the last two not with `force`.
    """
    if path.suffix != ".json" or os.path.isdir(path):
        raise UsageError(f"--accept writes a baseline file: --against must end in .json, and {path} does not")
    if not os.path.isdir(path.parent):
        raise UsageError(f"{path.parent} is no folder: mkdir -p {path.parent}")
    if not after.rows:
        raise UsageError(f"{after.name} has no rows: as a baseline it would expect nothing")
    count = sum(after.jobs.get(status, 0) for status in UNMEASURED) or sum(
        row.status in UNMEASURED for row in after.rows
    )
    if count and not force:
        jobs, them = ("job that has", "it") if count == 1 else ("jobs that have", "them")
        raise UsageError(
            f"{after.name} has {count} {jobs} not run: resume={after.name} runs {them}, --force accepts it as it is"
        )
    judged = gate.gate(_before(path, after, force), after, rules, today)
    snapshot_files.write(path, after)
    return Accepted(path, judged)


def _before(path: Path, after: Snapshot, force: bool) -> Snapshot:
    nothing = replace(after, rows=())
    if not os.path.exists(path):
        return nothing
    try:
        return snapshot_files.read(path)
    except UsageError as error:
        if force:
            return nothing
        raise UsageError(f"{error}. It was left as it is; --force replaces it") from error
