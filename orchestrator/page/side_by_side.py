"""Several sweeps row by row: which rows are the same thing, and how each sweep differs from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.comparison.compare import Matched, compare
from orchestrator.comparison.snapshot import Row
from orchestrator.comparison.thresholds import LIMITS
from orchestrator.page.columnar import rounded
from orchestrator.results.load import SweepResults

Entry = dict[str, Any]


def side_by_side(results: Sequence[SweepResults], rows: Sequence[Mapping[str, int]]) -> list[Entry]:
    """Return one entry for each row of the first sweep, and then for what only later ones have; none of one sweep.

    `rows`: for each sweep, job -> number of its row in the summary. An entry is {"rows": the row in each sweep, None
    where it has none, "changes": for each sweep metric -> [word, ratio, low, high] against the first sweep, "keys": for
    each sweep the keys of the configuration that differ from the first sweep}.
    """
    if len(results) < 2:
        return []
    sweeps = [snapshot.of_results(one) for one in results]
    entries: dict[int, Entry] = {}
    for row in sweeps[0].rows:
        _entry(entries, _number(row, rows[0]), len(sweeps), 0)
    for i, sweep in enumerate(sweeps[1:], start=1):
        comparison = compare(sweeps[0], sweep)
        for pair in comparison.matched:
            entry = _entry(entries, _number(pair.before, rows[0]), len(sweeps), 0)
            if entry is not None:
                _fill(entry, i, pair, _number(pair.after, rows[i]))
        for row in comparison.new:
            _entry(entries, _number(row, rows[i]), len(sweeps), i)
    return list(entries.values())


def _entry(entries: dict[int, Entry], row: int | None, count: int, sweep: int) -> Entry | None:
    if row is None:
        return None
    if row not in entries:
        entries[row] = {
            "rows": [None] * count,
            "changes": [{} for _ in range(count)],
            "keys": [{} for _ in range(count)],
        }
        entries[row]["rows"][sweep] = row
    return entries[row]


def _number(row: Row, rows: Mapping[str, int]) -> int | None:
    return next((rows[job] for job in row.jobs if job in rows), None)


def _fill(entry: Entry, sweep: int, pair: Matched, row: int | None) -> None:
    entry["rows"][sweep] = row
    entry["keys"][sweep] |= {key: list(values) for key, values in pair.keys.items()}
    changes = entry["changes"][sweep]
    for change in pair.metrics:
        if change.metric in LIMITS:
            ends = [None if end is None else rounded(float(end)) for end in (change.ratio, change.low, change.high)]
            changes[change.metric] = [change.word, *ends]
    if pair.status_change is not None:
        changes[pair.before.kind] = [pair.status_change, None, None, None]
