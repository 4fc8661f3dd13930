"""A sweep as a comment on a pull request: what it comes to, what is wrong, all rows, and what it was measured with.

Beside earlier sweeps: means and pass rates over time, and flags that are new. Means may be of other models: the numbers
in brackets tell. Whether a figure of a row has changed is `diff`'s question.

All that is long is folded. A comment on GitHub has an end: where a sweep is too large for one, the tables show fewer
rows and say how many they leave out.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.markdown import LONGEST
from orchestrator.records import PASS, SUCCESSES
from orchestrator.results.answer import RowAnswer, of_row
from orchestrator.results.flags import MARKS, failures, flagged, marks_of
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS, MISSING
from orchestrator.results.naming import grouped, is_eager, telling
from orchestrator.results.overview import SECTION
from orchestrator.results.performance import MEASURED_EAGER
from orchestrator.results.tables import Tables
from orchestrator.statistics import FASTER, SLOWER
from orchestrator.views import answer, findings
from orchestrator.views.answer import change, interval, latencies, memory, pays_off_after
from orchestrator.views.commands import shown
from orchestrator.views.document import Document, Folded, Heading, Item, Paragraph, Piece, to_markdown
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.layout import PAGE, cut
from orchestrator.views.notes import self_test
from orchestrator.views.summary import geomean_interval, said
from orchestrator.words import more, plural, some

LIMIT = 65_536
"""Characters of a comment; GitHub refuses longer ones."""
MOST = (700, 170, 70, 35, 17, 8, 4, 2, 1)
"""So many rows a table may have, and a page `PAGE` times as many: the first with which the comment is short enough."""
NOTES = (
    "Pass rate: rows of which every planned measure passed. Speed-up: geometric mean over the models that all compared "
    "compilers ran with right results, with its 95 % interval for exactly these models. Like these: that for models "
    "like these, as is the pass rate's (Wilson). Clipped: every slow-down counted as 1. Compile time: mean, from an "
    "empty cache. "
    "Memory: geometric mean of the compiler's over eager's, -10 % is smaller. In brackets: how many rows. "
    "Bold below: faster or slower for certain, the rest is within noise, or of one process beside other work."
)

Row = Mapping[str, Any]
Collected = tuple[SweepResults, Tables]


def text(sweep: Collected, before: Sequence[Collected] = ()) -> str:
    """Return the comment, at most `LIMIT` characters. `before`: earlier sweeps to compare with."""
    for most in MOST:
        made = to_markdown(document(sweep, before, most))
        if len(made) <= LIMIT:
            return made
    end = f"\n\nCut off here: {len(made):,} characters are more than a comment can have.\n"
    return made[: LIMIT - len(end)].rpartition("\n")[0] + end


def document(sweep: Collected, before: Sequence[Collected], most: int) -> Document:
    """Return the comment, with tables of at most so many rows."""
    results, tables = sweep
    summary = tables.summary.rows
    pieces: list[Piece] = [
        *_means(tables, most),
        *self_test(tables.self_test.rows),
        *(_beside(sweep, before, most) if before else ()),
        *_warnings(summary, most),
        *_failures(summary, most),
        *_sections(summary, most),
        *(findings.folded(name, found, most) for name, found in tables.listed.items()),
        _build(results, max(most, 17)),
    ]
    first = answer.pieces(tables, shown(results.folder), results.sweep.imported)
    return Document("Summary", pieces, [*first, Paragraph(_headline(results, summary))])


def _grid(titles: Sequence[str], rows: Sequence[Sequence[Any]], figures: Sequence[int], most: int) -> Grid:
    """Return a table; what is no cell yet is a value to show, `MISSING` for none."""
    cells = [[one if isinstance(one, Cell) else Cell(_shown(one)) for one in row] for row in rows]
    return Grid(titles, cells, figures=figures, most=most, rest="")


def _shown(value: Any) -> str:
    return MISSING if value in (None, "") else cut(str(value), LONGEST)


def _headline(results: SweepResults, summary: Sequence[Row]) -> str:
    statuses = Counter(
        row[measure] for row in summary for measure in ("performance", "accuracy") if row[measure] is not None
    )
    passed = sum(statuses[status] for status in SUCCESSES)
    bad = ", ".join(f"{count} {status}" for status, count in statuses.most_common() if status not in SUCCESSES)
    found = f"{passed} of {plural(sum(statuses.values()), 'result')} passed" + (f"; {bad}" if bad else "")
    return f"Sweep {results.folder.name}, {plural(len(summary), 'row')}: {found}."


def _means(tables: Tables, most: int) -> list[Piece]:
    """Return the table of means: one row for each suite and compiler; what all rows share stands above it."""
    rows = [row for row in tables.overview.rows if not is_eager(row["compiler"]) or row["passed"] < row["planned"]]
    if not rows:
        return []
    common = [name for name in SECTION if len({row[name] for row in tables.overview.rows}) == 1]
    own = [*(name for name in SECTION if name not in common), "compiler"]
    common = [name for name in common if name != "build" or rows[0][name] is not None]
    lines = [
        [
            *(row[name] for name in own),
            _pass_rate(row),
            _mean(row, "geomean_speedup", "geomean_count", "x"),
            geomean_interval(row, "over_models") or MISSING,
            _mean(row, "geomean_speedup_clipped", "geomean_count", "x"),
            _mean(row, "mean_compile_latency_cold_s", "mean_compile_latency_cold_count"),
            _mean(row, "geomean_compression_ratio", "geomean_compression_count"),
        ]
        for row in rows
    ]
    titles = [*own, "pass rate", "speed-up", "like these", "clipped", "compile time (s)", "memory"]
    return [
        Paragraph(" · ".join(cut(f"{name.replace('_', ' ')} {rows[0][name]}", LONGEST) for name in common)),
        _grid(titles, lines, range(len(own), len(titles)), most),
        Folded("About these means", [Paragraph(NOTES)]),
    ]


def _pass_rate(row: Row) -> str:
    """Return the pass rate as "93%, 42/45 [82, 98]"."""
    low, high = row["pass_rate_low_percent"], row["pass_rate_high_percent"]
    return f"{row['pass_rate_percent']:.0f}%, {row['passed']}/{row['planned']} [{low:.0f}, {high:.0f}]"


def _mean(row: Row, name: str, count: str, unit: str = "") -> str:
    """Return a mean with how many rows are in it, "1.37x (42)"; of speed-ups with its interval before that."""
    if row[name] is None:
        return MISSING
    interval = geomean_interval(row, "speedup") if name == "geomean_speedup" else ""
    value = _larger(row[name]) if name == "geomean_compression_ratio" else f"{COLUMNS[name].text(row[name])}{unit}"
    return " ".join(filter(None, (value, interval, f"({row[count]})")))


def _larger(compression_ratio: float) -> str:
    """Return by how much the compiler's memory is larger than eager's, as "+79 %"."""
    return change(1 / compression_ratio - 1)


def _warnings(summary: Sequence[Row], most: int) -> list[Piece]:
    """Return the rows that the dashboard would flag, by its four rules, or that were measured as something else."""
    flags = flagged(summary)
    if not flags:
        return [Heading("Warnings"), Paragraph(f"None of: {', '.join(mark.rule for mark in MARKS.values())}.")]
    counts = Counter(flag.mark for flag in flags)
    told = ", ".join(f"{counts[name]} x {mark.rule}" for name, mark in MARKS.items() if counts[name])
    lines, own = [], [name for name in TELLING if name in _telling(summary)]
    for flag in flags:
        mark, row = MARKS[flag.mark], summary[flag.row]
        what = f"{row['suite']} {row['mode']} {row['dtype']} {row['device']} batch {row['batch_size']}"
        what += "".join(f", {name.replace('_', ' ')} {row[name]}" for name in own if row[name] is not None)
        lines.append([mark.rule, row["model"], row["compiler"], what, _figure(row, mark.column)])
    titles = ("rule", "model", "compiler", "what", "found")
    return [Heading("Warnings"), Folded(told, [_grid(titles, lines, (4,), most)])]


def _figure(row: Row, name: str) -> str:
    if name == "compression_ratio" and row[name] is not None:
        return _larger(row[name])
    return MISSING if row[name] is None else COLUMNS[name].amount(row[name])


def _failures(summary: Sequence[Row], most: int) -> list[Piece]:
    """Return what has no good result, by reason."""
    groups = failures(summary)
    if not groups:
        return []
    lines = []
    for group in groups:
        rows = list(dict.fromkeys(f"{summary[i]['model']} {summary[i]['compiler']}" for i in group.rows))
        lines.append([group.status, group.measure, str(len(group.rows)), some(rows, 3), group.reason])
    total = plural(sum(len(group.rows) for group in groups), "result")
    titles = ("status", "measure", "rows", "such as", "reason")
    return [Heading("Failures"), Folded(total, [_grid(titles, lines, (2,), most)])]


def _sections(summary: Sequence[Row], most: int) -> list[Piece]:
    """Return a folded table for each suite, mode, dtype and device."""
    groups = grouped(summary, SECTION)
    several = telling(summary, SECTION[4:])
    made: list[Piece] = []
    for key, rows in list(groups.items())[: most * PAGE]:
        named = dict(zip(SECTION, key, strict=True))
        title = " · ".join([*(str(part) for part in key[:4]), *(f"{name} {named[name]}" for name in several)])
        made.append(_section(title, rows, most))
    return [*made, *(Paragraph(line) for line in more(len(groups), most * PAGE, " sections"))]


OWN = {"compiler": "", "batch_size": "batch ", "sequence_length": "length "}
"""What is a column only where rows differ in it, and how it is called where it stands in the title."""
TITLES = ("speed-up [95 %]", "latency", "compile (s)", "pays off after", "memory", "accuracy")
MOST_REASONS = 5


def _section(title: str, rows: Sequence[Row], most: int) -> Folded:
    """Return the section's table. Eager is a column; it has rows of its own where it failed or stands alone."""
    listed = [row for row in rows if not _is_baseline(row)] or rows
    own = telling(listed, OWN)
    same = "".join(f", {OWN[name]}{listed[0][name]}" for name in OWN if name not in own and listed[0][name])
    lines = [[row["model"], *(COLUMNS[name].text(row[name]) for name in own), *_figures(row)] for row in listed]
    titles = ("model", *(OWN[name].strip() or name for name in own), *TITLES)
    body: list[Piece] = [_grid(titles, lines, range(2 if "compiler" in own else 1, len(titles)), most)]
    seen = listed[: most * PAGE]
    if any(row["disturbed"] for row in seen):
        body.append(Paragraph("* something else used the machine meanwhile."))
    weaker = [cut(text, LONGEST) for text in sorted({row["weaker"] for row in seen if row["weaker"]})[:MOST_REASONS]]
    if weaker:
        body.append(Paragraph(f"~ judged by weaker rules: {'; '.join(weaker)}"))
    return Folded(f"{title}{same}: {plural(len(listed), 'row')}", body)


def _is_baseline(row: Row) -> bool:
    return is_eager(row["compiler"]) and bool(row["performance"] == PASS)


def _figures(row: Row) -> list[Cell | str]:
    found = of_row(0, row)
    alone = "" if row["latency_ms"] is None else f"{COLUMNS['latency_ms'].text(row['latency_ms'])} ms"
    return [
        _speedup(row, found),
        latencies(found) or alone or MISSING,
        COLUMNS["compile_latency_cold_s"].text(row["compile_latency_cold_s"]),
        "" if found.payoff is None else pays_off_after(found.payoff),
        " ".join(filter(None, memory(found))),
        f"{row['accuracy'] or MISSING}{' ~' if row['weaker'] else ''}",
    ]


def _speedup(row: Row, found: RowAnswer) -> Cell:
    marks = " !" * ("measured" in marks_of(row)) + " *" * found.disturbed
    if row["speedup"] is None:
        if row["verdict"] == MEASURED_EAGER:
            return Cell(f"{MEASURED_EAGER} !")
        return Cell(f"baseline{marks}" if _is_baseline(row) else row["performance"] or MISSING)
    ends = interval(row["speedup_low"], row["speedup_high"])
    style = "bold" if said(found) in (FASTER, SLOWER) else ""
    return Cell(f"{COLUMNS['speedup'].text(row['speedup'])}x", f"{ends}{marks}".strip(), style)


def _build(results: SweepResults, most: int) -> Folded:
    """Return what the sweep was measured with: the build summary."""
    sweep = results.sweep
    command = shlex.join(["python", "-m", "orchestrator", *sweep.argv])
    known = {
        "started": datetime.fromtimestamp(sweep.created, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "origin": sweep.origin,
        **snapshot.environment(sweep, results.outcomes),
    }
    lines = [[key, str(value)] for key, value in known.items() if value not in (None, "")]
    body: list[Piece] = [Item("command", command, command=True), _grid(("key", "value"), lines, (), most)]
    return Folded("Build summary", body)


OVER_TIME = {  # title -> the mean, its count, its unit
    "pass rate": ("pass_rate_percent", "planned", "%"),
    "speed-up": ("geomean_speedup", "geomean_count", "x"),
    "compile time": ("mean_compile_latency_cold_s", "mean_compile_latency_cold_count", " s"),
    "memory": ("geomean_compression_ratio", "geomean_compression_count", ""),
}
SHORT = (*SECTION[:4], "compiler")
"""What a mean is of. Seed and threads belong to it only where one sweep has several."""
SAME_ROW = ("suite", "model", "mode", "dtype", "device", "batch_size", "compiler")
TELLING = ("sequence_length", "seed", "threads", "launcher", "variant")
"""What a row is, too, where one sweep has several of it: another machine has other threads."""


def _beside(sweep: Collected, before: Sequence[Collected], most: int) -> list[Piece]:
    """Return the means of all sweeps, the oldest first, and what is flagged now and was not in the newest before."""
    older = sorted(before, key=lambda collected: collected[0].sweep.created)
    return [
        Heading("Beside earlier sweeps"),
        _over_time([*older, sweep], most),
        _newly_flagged(older[-1], sweep, most),
    ]


def _over_time(sweeps: Sequence[Collected], most: int) -> Grid:
    overviews = [tables.overview.rows for _, tables in sweeps]
    names = SHORT if all(len(_by(SHORT, rows)) == len(rows) for rows in overviews) else (*SECTION, "compiler")
    found = [_by(names, rows) for rows in overviews]
    keys = list(dict.fromkeys(key for rows in reversed(found) for key in rows))
    own = [i for i, name in enumerate(names) if name == "compiler" or len({key[i] for key in keys}) > 1]
    lines = []
    for key in keys:
        for title, mean in OVER_TIME.items():
            values = [_mean(rows[key], *mean) if key in rows else MISSING for rows in found]
            if any(value != MISSING for value in values):
                lines.append([*(key[i] for i in own), title, *values])
    titles = [*(names[i] for i in own), "", *(results.folder.name for results, _ in sweeps)]
    return _grid(titles, lines, range(len(own) + 1, len(titles)), most)


def _newly_flagged(before: Collected, after: Collected, most: int) -> Piece:
    """Return the rows of both sweeps that are flagged now for what they were not flagged for before."""
    rows = [tables.summary.rows for _, tables in (before, after)]
    own = [name for name in TELLING if any(name in _telling(one) for one in rows)]
    old, new = (_by((*SAME_ROW, *own), one) for one in rows)
    pairs = [(old[key], row) for key, row in new.items() if key in old]
    found = [
        (was, row, mark) for was, row in pairs for mark in MARKS if mark in marks_of(row) and mark not in marks_of(was)
    ]
    gone = sum(len(set(marks_of(was)) - set(marks_of(row))) for was, row in pairs)
    told = (
        f"{plural(len(found), 'new flag')} since {before[0].folder.name}, {gone} of its flags no longer; "
        f"{plural(len(pairs), 'row')} in both"
    )
    if not found:
        return Paragraph(f"{told}.")
    lines = []
    for was, row, mark in found:
        texts = [_figure(one, MARKS[mark].column) for one in (was, row)]
        lines.append([MARKS[mark].rule, row["model"], *(row[name] for name in own), row["compiler"], *texts])
    titles = ("rule", "model", *(name.replace("_", " ") for name in own), "compiler", "before", "now")
    return Folded(told, [_grid(titles, lines, (len(titles) - 2, len(titles) - 1), most)])


def _telling(rows: Sequence[Row]) -> set[str]:
    """Return those of `TELLING` that tell rows of one sweep apart which have the same `SAME_ROW`."""
    return {name for group in grouped(rows, SAME_ROW).values() for name in telling(group, TELLING)}


def _by(names: Sequence[str], rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Return the rows by their key; of rows that share one, none: which of them would be meant?"""
    return {key: same[0] for key, same in grouped(rows, names).items() if len(same) == 1}
