"""The main charts of the page as pictures, for papers: the same specifications, drawn without a browser.

Needs vl-convert-python, which has Vega and a renderer in it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import DISTRIBUTION
from orchestrator.errors import UsageError
from orchestrator.exchange.dynamobench import word
from orchestrator.page.charts import costs, speedups
from orchestrator.page.charts.chart import ORDERS, Chart
from orchestrator.page.data import compilers
from orchestrator.results import answer
from orchestrator.results.naming import is_eager, key_of, telling, telling_of_models
from orchestrator.results.overview import SECTION
from orchestrator.results.tables import Tables

EXTRA = f"Pictures need vl-convert-python, which is not installed: pip install '{DISTRIBUTION}[plots]'"
MOST = 100
"""Workloads of one picture: of more nobody could read a name."""
WIDTH = 480
SCALE = 200 / 72
"""PNG: 200 dots per inch."""
WORDS = {"batch_size": "batch ", "sequence_length": "length ", "seed": "seed ", "threads": "threads "}

Row = Mapping[str, Any]


def export(tables: Tables, folder: Path, form: str) -> list[str]:
    """Write <chart>_<suite>_<mode>_<dtype>_<device>.<form>; return a line for each.

    Raises UsageError when vl-convert-python is not installed, or there is nothing to draw, or a file cannot be written.
    """
    try:
        import vl_convert
    except ImportError:
        raise UsageError(EXTRA) from None
    lines = []
    means = _means(tables)
    for key, rows in _sections(tables.summary.rows).items():
        present = {row["compiler"] for row in rows}
        series = [name for name in compilers(tables.overview.rows) if name in present]
        for chart in of_pictures(series):
            drawn, count = _filled(chart, rows, series, means.get(key_of(rows[0], SECTION), []), " · ".join(key[:4]))
            if drawn is None:
                continue
            svg = form == "svg"
            content = vl_convert.vegalite_to_svg(drawn) if svg else vl_convert.vegalite_to_png(drawn, scale=SCALE)
            path = folder / f"{chart.id}_{'_'.join(word(part) for part in key)}.{form}"
            try:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error}") from error
            lines.append(f"{path}" + (f"  the first {MOST} of {count} workloads" if count > MOST else ""))
    if not lines:
        raise UsageError("there is nothing to draw: no job has figures yet")
    return lines


def _sections(summary: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Return the rows that may be compared; seed and threads are in a key only where they tell sections apart."""
    sections: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    shown = [*SECTION[:4], *telling(summary, SECTION[4:])]
    for row in summary:
        sections[tuple(WORDS.get(name, "") + str(row[name]) for name in shown)].append(row)
    return sections


def of_pictures(series: Sequence[str]) -> list[Chart]:
    """Return the charts that are drawn, in their order."""
    return [
        speedups.speedup(series),
        speedups.heat_map(series),
        costs.compilation(series),
        costs.memory(series),
        costs.tradeoff(series),
    ]


def _means(tables: Tables) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return the marks of the compilers in each section, relative to eager, as `assets/records.js` makes them."""
    fronts = {tuple(one.key.values()): one.recommendation.front for one in answer.of(tables).sections}
    means: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in tables.overview.rows:
        eager = is_eager(row["compiler"])
        speedup, ratio = (1.0, 1.0) if eager else (row["geomean_speedup"], row["geomean_compression_ratio"])
        if speedup is not None and ratio is not None:
            mark = {"series": row["compiler"], "time": 1 / speedup, "memory": 1 / ratio, "count": row["geomean_count"]}
            front = eager or row["compiler"] in fronts.get(key_of(row, SECTION), ())
            means[key_of(row, SECTION)].append(
                {**mark, "compile_s": row["mean_compile_latency_cold_s"], "front": front}
            )
    return means


def _filled(
    chart: Chart, rows: Sequence[Row], series: Sequence[str], means: Sequence[Row], section: str
) -> tuple[dict[str, Any] | None, int]:
    """Return the chart's specification with its data, and how many workloads have some; None where none has."""
    rows = [row for row in rows if not (chart.compiled and is_eager(row["compiler"]))]
    groups: dict[str, list[Row]] = defaultdict(list)
    for row, workload in zip(rows, _workloads(rows), strict=True):
        if all(any(row[name] is not None for name in names.split("|")) for names in chart.needs):
            groups[workload].append(row)
    names = sorted(groups, key=lambda name: _rank(groups[name], series, name))[:MOST]
    records = [
        {
            "workload": name,
            "series": row["compiler"],
            "key": f"{name}\n{row['compiler']}",
            "series_number": series.index(row["compiler"]),
            "status": row["performance"] or row["accuracy"],
            **{field: row[field] for field in chart.fields},
            **_relative(chart, row),
        }
        for name in names
        for row in groups[name]
    ]
    size = {"width": WIDTH, "autosize": {"type": "pad"}, "padding": 12, "background": "white"}
    title = {"text": chart.title, "subtitle": section, "anchor": "start", "offset": 12}
    data = _with_means(records, means) if chart.data == "means" else {"rows": records}
    return ({**chart.spec, **size, "title": title, "datasets": data} if records else None), len(groups)


def _with_means(records: Sequence[dict[str, Any]], means: Sequence[Row]) -> dict[str, Any]:
    """Return the data of time against memory: the models' marks where these are few, and the means."""
    few = records if len(records) <= costs.MOST_MARKS else []
    ratios = [mark["memory"] for mark in (*few, *means)]
    span = math.log(max(ratios, default=1.0) / min(ratios, default=1.0))
    return {"rows": list(few), "means": [{**mean, "span": span} for mean in means]}


def _relative(chart: Chart, row: Row) -> dict[str, float]:
    if chart.data != "means":
        return {}
    return {"time": 1 / row["speedup"], "memory": 1 / row["compression_ratio"]}


def _workloads(rows: Sequence[Row]) -> list[str]:
    """Return the name of each row's workload: the model, and what else tells rows of one model apart."""
    differing = telling_of_models(rows, ("batch_size", "sequence_length"))
    return [
        " · ".join([row["model"], *(WORDS[n] + str(row[n]) for n in differing if row[n] is not None)]) for row in rows
    ]


def _rank(rows: Sequence[Row], series: Sequence[str], name: str) -> tuple[float, str]:
    """Return the place of a workload in the first of `ORDERS`: by the value of the first compiler that has it."""
    column = next(iter(ORDERS))
    values = {row["compiler"]: row[column] for row in rows if row[column] is not None}
    return (next((values[one] for one in series if one in values), math.inf), name)
