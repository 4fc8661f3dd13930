"""A sweep as a comment on a pull request: what it comes to, what is wrong, all rows, and what it was measured with.

All that is long is folded. A comment on GitHub has an end: where a sweep is too large for one, the tables show fewer
rows and say how many they leave out.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.markdown import code, details, rest, table
from orchestrator.records import PASS, SUCCESSES
from orchestrator.results.flags import MARKS, failures, flagged
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS, MISSING
from orchestrator.results.naming import is_eager, telling
from orchestrator.results.overview import SECTION
from orchestrator.results.performance import MEASURED_EAGER
from orchestrator.results.statistics import FASTER, SLOWER
from orchestrator.results.tables import Tables
from orchestrator.views.changed_since import changes, counted, whole
from orchestrator.views.summary import geomean_interval
from orchestrator.views.tables import shown_columns
from orchestrator.words import plural, some

LIMIT = 65_536
"""Characters of a comment; GitHub refuses longer ones."""
MOST = (2000, 500, 200, 100, 50, 25, 12, 6, 3, 1)
"""So many rows a table may have: the first with which the comment is short enough."""
NOTES = (
    "Pass rate: rows of which every planned measure passed. Speed-up: geometric mean over the models that all compared "
    "compilers ran with right results, with its 95 % interval for exactly these models. Like these: that for models "
    "like these, as is the pass rate's (Wilson). Clipped: every slow-down counted as 1. Compile time: mean, from an "
    "empty cache. "
    "Memory: geometric mean of eager's share over the compiler's, above 1 is smaller. In brackets: how many rows. "
    "Bold below: faster or slower for certain, the rest is within noise."
)

Row = Mapping[str, Any]
Collected = tuple[SweepResults, Tables]


def text(sweep: Collected, before: Sequence[Collected] = ()) -> str:
    """Return the comment, at most `LIMIT` characters. `before`: earlier sweeps to compare with."""
    for most in MOST:
        made = _document(sweep, before, most)
        if len(made) <= LIMIT:
            return made
    end = f"\n\nCut off here: {len(made):,} characters are more than a comment can have.\n"
    return made[: LIMIT - len(end)].rpartition("\n")[0] + end


def _document(sweep: Collected, before: Sequence[Collected], most: int) -> str:
    results, tables = sweep
    summary = tables.summary.rows
    parts = [
        ["## Summary", "", _headline(results, summary)],
        _executive(tables, most),
        _self_test(tables),
        changes(sweep, before, most) if before else [],
        _warnings(summary, most),
        _failures(summary, most),
        *_sections(summary, most),
        *_findings(tables, most),
        _build(results, max(most, 50)),
    ]
    return "\n".join("\n".join([*part, ""]) for part in parts if part)


def _headline(results: SweepResults, summary: Sequence[Row]) -> str:
    statuses = Counter(
        row[measure] for row in summary for measure in ("performance", "accuracy") if row[measure] is not None
    )
    passed = sum(statuses[status] for status in SUCCESSES)
    bad = ", ".join(f"{count} {code(status)}" for status, count in statuses.most_common() if status not in SUCCESSES)
    found = f"{passed} of {plural(sum(statuses.values()), 'result')} passed" + (f"; {bad}" if bad else "")
    return f"Sweep {code(results.folder.name)}, {plural(len(summary), 'row')}: {found}."


def _executive(tables: Tables, most: int) -> list[str]:
    """Return the table of means: one row for each suite and compiler; what all rows share stands above it."""
    rows = [row for row in tables.overview.rows if not is_eager(row["compiler"]) or _failed(row)]
    if not rows:
        return []
    common = [name for name in SECTION if len({row[name] for row in tables.overview.rows}) == 1]
    own = [name for name in SECTION if name not in common]
    titles = [*own, "compiler", "pass rate", "speed-up", "like these", "clipped", "compile time (s)", "memory"]
    lines = [
        [
            *(code(row[name]) for name in (*own, "compiler")),
            percentage(row),
            counted(row, "geomean_speedup", "geomean_count", "x"),
            whole(geomean_interval(row, "over_models")) or MISSING,
            counted(row, "geomean_speedup_clipped", "geomean_count", "x"),
            counted(row, "mean_compile_latency_cold_s", "mean_compile_latency_cold_count"),
            counted(row, "geomean_compression_ratio", "geomean_compression_count", "x"),
        ]
        for row in rows
    ]
    shared = " · ".join(f"{name.replace('_', ' ')} {code(rows[0][name])}" for name in common)
    body = table(titles, lines, range(len(own) + 1, len(titles)), most)
    return [*([shared, ""] if shared else []), *body, "", f"<sub>{NOTES}</sub>"]


def _findings(tables: Tables, most: int) -> list[list[str]]:
    """Return the tables of other measures, each folded."""
    parts = []
    for name, found in tables.findings.items():
        columns, _ = shown_columns(found, found.rows)
        columns = [
            *columns,
            *(["reason"] if "reason" in found.columns and any(r["reason"] for r in found.rows) else []),
        ]
        lines = [[code(found.column(column).text(row[column])) for column in columns] for row in found.rows]
        titles = [column.replace("_", " ") for column in columns]
        body = table(titles, lines, most=most)
        parts.append(details(f"{name.replace('_', ' ')}: {plural(len(found.rows), 'row')}", body))
    return parts


def _failed(row: Row) -> bool:
    return bool(row["passed"] < row["planned"])


def percentage(row: Row) -> str:
    """Return the pass rate as "93%, 42/45 [82, 98]"."""
    low, high = row["pass_rate_low_percent"], row["pass_rate_high_percent"]
    return f"{row['pass_rate_percent']:.0f}%, {row['passed']}/{row['planned']} [{low:.0f},&nbsp;{high:.0f}]"


def _self_test(tables: Tables) -> list[str]:
    rows = tables.self_test.rows
    if not rows:
        return []
    lines = [[row["result"], code(row["check"]), code(row["expected"]), code(row["found"])] for row in rows]
    return ["### Self-test", "", *table(("result", "check", "expected", "found"), lines)]


def _warnings(summary: Sequence[Row], most: int) -> list[str]:
    """Return the rows that the dashboard would flag, by its four rules, or that were measured as something else."""
    flags = flagged(summary)
    if not flags:
        return ["### Warnings", "", f"None of: {', '.join(mark.rule for mark in MARKS.values())}."]
    counts = Counter(flag.mark for flag in flags)
    told = ", ".join(f"{counts[name]} x {mark.rule}" for name, mark in MARKS.items() if counts[name])
    lines = []
    for flag in flags:
        mark, row = MARKS[flag.mark], summary[flag.row]
        lines.append([mark.rule.replace(" ", "&nbsp;"), *_who(row), _figure(row, mark.column)])
    body = table(("rule", *WHO, "found"), lines, (len(WHO) + 1,), most, " flags")
    return ["### Warnings", "", *details(told, body)]


WHO = ("model", "compiler", "what")


def _who(row: Row) -> list[str]:
    what = f"{row['suite']} {row['mode']} {row['dtype']} {row['device']} batch {row['batch_size']}"
    return [code(row["model"]), code(row["compiler"]), code(what)]


def _figure(row: Row, name: str) -> str:
    if COLUMNS[name].kind == "text":
        return code(row[name])
    return COLUMNS[name].text(row[name]) + ("x" if COLUMNS[name].unit == "x" else f" {COLUMNS[name].unit}")


def _failures(summary: Sequence[Row], most: int) -> list[str]:
    """Return what has no good result, by reason."""
    groups = failures(summary)
    if not groups:
        return []
    lines = []
    for group in groups:
        rows = list(dict.fromkeys(f"{summary[i]['model']} {summary[i]['compiler']}" for i in group.rows))
        named = some(map(code, rows), 3)
        lines.append([code(group.status), group.measure, str(len(group.rows)), named, code(group.reason)])
    body = table(("status", "measure", "rows", "such as", "reason"), lines, (), most, " reasons")
    total = plural(sum(len(group.rows) for group in groups), "result")
    return ["### Failures", "", *details(total, body)]


def _sections(summary: Sequence[Row], most: int) -> list[list[str]]:
    """Return a folded table for each suite, mode, dtype and device."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in summary:
        groups[tuple(row[name] for name in SECTION)].append(row)
    several = telling(summary, SECTION[4:])
    made = []
    for key, rows in list(groups.items())[:most]:
        named = dict(zip(SECTION, key, strict=True))
        title = " · ".join([*(str(part) for part in key[:4]), *(f"{name} {named[name]}" for name in several)])
        made.append(_section(title, rows, most))
    return [*made, rest(len(groups), most, " sections")]


OWN = {"compiler": "", "batch_size": "batch ", "sequence_length": "length "}
"""What is a column only where rows differ in it, and how it is called where it stands in the title."""
TITLES = ("speed-up [95 %]", "eager (ms)", "latency (ms)", "compile (s)", "memory", "accuracy")
MOST_REASONS = 5
DISTURBED = "\\* something else used the machine meanwhile."


def _section(title: str, rows: Sequence[Row], most: int) -> list[str]:
    """Return the section's table. Eager is a column; it has rows of its own where it failed or stands alone."""
    shown = [row for row in rows if not _is_baseline(row)] or rows
    own = telling(shown, OWN)
    same = "".join(f", {OWN[name]}{shown[0][name]}" for name in OWN if name not in own and shown[0][name])
    lines = [[code(row["model"]), *(_own(row, name) for name in own), *_row(row)] for row in shown]
    titles = ("model", *(OWN[name].strip() or name for name in own), *TITLES)
    body = table(titles, lines, range(2 if "compiler" in own else 1, len(titles)), most)
    starred = ["", DISTURBED] if any(row["disturbed"] for row in shown[:most]) else []
    weaker = sorted({row["weaker"] for row in shown[:most] if row["weaker"]})
    starred += ["", f"~ judged by weaker rules: {'; '.join(map(code, weaker[:MOST_REASONS]))}"] if weaker else []
    return details(f"{title}{same}: {plural(len(shown), 'row')}", [*body, *starred])


def _is_baseline(row: Row) -> bool:
    return is_eager(row["compiler"]) and bool(row["performance"] == PASS)


def _own(row: Row, name: str) -> str:
    return code(row[name]) if name == "compiler" else COLUMNS[name].text(row[name])


def _row(row: Row) -> list[str]:
    return [
        _speedup(row),
        *(COLUMNS[name].text(row[name]) for name in ("eager_latency_ms", "latency_ms", "compile_latency_cold_s")),
        MISSING if row["compression_ratio"] is None else _figure(row, "compression_ratio"),
        MISSING if row["accuracy"] is None else code(row["accuracy"]) + "&nbsp;~" * bool(row["weaker"]),
    ]


def _speedup(row: Row) -> str:
    star = "&nbsp;!" * ("measured" in (row["flags"] or "").split(", ")) + "&nbsp;\\*" * bool(row["disturbed"])
    if row["speedup"] is None:
        if row["verdict"] == MEASURED_EAGER:
            return f"{MEASURED_EAGER} !"
        return f"baseline{star}" if _is_baseline(row) else code(row["performance"])
    ends = [COLUMNS["speedup"].text(row[name]) for name in ("speedup_low", "speedup_high")]
    interval = f"&nbsp;[{',&nbsp;'.join(ends)}]" if row["speedup_low"] is not None else ""
    bold = "**" if row["verdict"] in (FASTER, SLOWER) else ""
    return f"{bold}{COLUMNS['speedup'].text(row['speedup'])}x{bold}{interval}{star}"


def _build(results: SweepResults, most: int) -> list[str]:
    """Return what the sweep was measured with: the build summary."""
    sweep = results.sweep
    known = {
        "command": shlex.join(["python", "-m", "orchestrator", *sweep.argv]),
        "started": datetime.fromtimestamp(sweep.created, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "origin": sweep.origin,
        **snapshot.environment(sweep, results.outcomes),
    }
    lines = [[code(key), code(value)] for key, value in known.items() if value not in (None, "")]
    return details("Build summary", table(("", ""), lines, (), most, " lines"))
