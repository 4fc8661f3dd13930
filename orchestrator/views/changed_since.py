"""What a sweep's summary says beside that of earlier sweeps: means and pass rates over time, flags that are new.

Means may be of other models: the numbers in brackets tell. Whether a figure of a row has changed is `diff`'s question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.markdown import code, details, table
from orchestrator.results.flags import MARKS
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS, MISSING
from orchestrator.results.overview import SECTION
from orchestrator.results.tables import Tables
from orchestrator.views.summary import geomean_interval
from orchestrator.words import plural

Row = Mapping[str, Any]
Collected = tuple[SweepResults, Tables]

MEANS = {  # title -> the mean, its count, its unit
    "pass rate": ("pass_rate_percent", "planned", "%"),
    "speed-up": ("geomean_speedup", "geomean_count", "x"),
    "compile time": ("mean_compile_latency_cold_s", "mean_compile_latency_cold_count", " s"),
    "memory": ("geomean_compression_ratio", "geomean_compression_count", "x"),
}


SHORT = (*SECTION[:4], "compiler")
"""What a mean is of. Seed and threads belong to it only where one sweep has several."""
ROW = ("suite", "model", "mode", "dtype", "device", "batch_size", "compiler")


def changes(sweep: Collected, before: Sequence[Collected], most: int) -> list[str]:
    """Return the means of all sweeps, the oldest first, and what is flagged now and was not in the newest before."""
    older = sorted(before, key=lambda collected: collected[0].sweep.created)
    means = _means([*older, sweep], most)
    return ["### Beside earlier sweeps", "", *means, "", *_newly_flagged(older[-1], sweep, most)]


def _means(sweeps: Sequence[Collected], most: int) -> list[str]:
    overviews = [tables.overview.rows for _, tables in sweeps]
    names = SHORT if all(len(_by(SHORT, rows)) == len(rows) for rows in overviews) else (*SECTION, "compiler")
    found = [_by(names, rows) for rows in overviews]
    keys = list(dict.fromkeys(key for rows in reversed(found) for key in rows))
    own = [i for i, name in enumerate(names) if name == "compiler" or len({key[i] for key in keys}) > 1]
    lines = []
    for key in keys:
        for title, mean in MEANS.items():
            values = [counted(rows[key], *mean) if key in rows else MISSING for rows in found]
            if any(value != MISSING for value in values):
                lines.append([*(code(key[i]) for i in own), title, *values])
    titles = [*(names[i] for i in own), "", *(code(results.folder.name) for results, _ in sweeps)]
    return table(titles, lines, range(len(own) + 1, len(titles)), most, " lines")


def counted(row: Row, name: str, count: str, unit: str = "") -> str:
    """Return a mean with how many rows are in it, "1.37x (42)"; of speed-ups with its interval before that."""
    if row[name] is None:
        return MISSING
    interval = whole(geomean_interval(row, "speedup")) if name == "geomean_speedup" else ""
    return " ".join(filter(None, (f"{COLUMNS[name].text(row[name])}{unit}", interval, f"({row[count]})")))


def whole(interval: str) -> str:
    """Return an interval that no line break divides."""
    return interval.replace(" ", "&nbsp;").replace("<", "&lt;")


def _newly_flagged(before: Collected, after: Collected, most: int) -> list[str]:
    """Return the rows of both sweeps that are flagged now for what they were not flagged for before."""
    old, new = (_by(ROW, tables.summary.rows) for _, tables in (before, after))
    pairs = [(old[key], row) for key, row in new.items() if key in old]
    found = [(was, row, mark) for was, row in pairs for mark in MARKS if mark in _marks(row) - _marks(was)]
    gone = sum(len(_marks(was) - _marks(row)) for was, row in pairs)
    told = (
        f"{plural(len(found), 'new flag')} since {before[0].folder.name}, {gone} of its flags no longer; "
        f"{plural(len(pairs), 'row')} in both"
    )
    if not found:
        return [f"{told.replace(before[0].folder.name, code(before[0].folder.name))}."]
    lines = []
    for was, row, mark in found:
        column = MARKS[mark].column
        texts = [_text(one[column], column) for one in (was, row)]
        lines.append([MARKS[mark].rule, code(row["model"]), code(row["compiler"]), *texts])
    titles = ("rule", "model", "compiler", "before", "now")
    return details(told, table(titles, lines, (3, 4), most, " flags"))


def _by(names: Sequence[str], rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Return the rows by their key; of rows that share one, none: which of them would be meant?"""
    keys = [tuple(row[name] for name in names) for row in rows]
    count = Counter(keys)
    return {key: row for key, row in zip(keys, rows, strict=True) if count[key] == 1}


def _text(value: Any, column: str) -> str:
    return code(value) if isinstance(value, str) else COLUMNS[column].text(value)


def _marks(row: Row) -> set[str]:
    return set((row["flags"] or "").split(", ")) - {""}
