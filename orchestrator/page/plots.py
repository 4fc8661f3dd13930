"""The main charts of the page as pictures, for papers: the same specifications, drawn without a browser.

Needs vl-convert-python, which has Vega and a renderer in it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import DISTRIBUTION
from orchestrator.comparison.history import Series, SeriesPoint, title
from orchestrator.errors import UsageError
from orchestrator.exchange.dynamobench import word
from orchestrator.page.charts import costs, panels, speedups
from orchestrator.page.charts.chart import ORDERS, Chart, Spec
from orchestrator.page.data import compilers, loss_curves, short_names
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


@dataclass(frozen=True)
class OverTime:
    """Means of suites over sweeps: metric -> its series (`comparison.means`); now: the sweep whose suites are drawn."""

    series: Mapping[str, Sequence[Series]]
    now: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """name: of the file, without its ending; note: what is not in it."""

    name: str
    spec: Spec
    note: str = ""


def export(tables: Tables, folder: Path, form: str, over_time: OverTime | None = None) -> list[str]:
    """Write the pictures as <name>.<form>; return a line for each.

    Raises UsageError when vl-convert-python is not installed, or there is nothing to draw, or a file cannot be written.
    """
    try:
        import vl_convert
    except ImportError:
        raise UsageError(EXTRA) from None
    lines, names = [], list[str]()
    for picture in (*_of_rows(tables), *_of_trainings(tables), *(() if over_time is None else _of_means(over_time))):
        svg = form == "svg"
        content = (
            vl_convert.vegalite_to_svg(picture.spec) if svg else vl_convert.vegalite_to_png(picture.spec, scale=SCALE)
        )
        names.append(picture.name if picture.name not in names else f"{picture.name}_{len(names)}")
        path = folder / f"{names[-1]}.{form}"
        try:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error}") from error
        lines.append(f"{path}" + (f"  {picture.note}" if picture.note else ""))
    if not lines:
        raise UsageError("there is nothing to draw: no job has figures yet")
    if over_time is not None:
        lines += over_time.notes
        if not any(name.startswith(panels.OVER_TIME) for name in names):
            lines.append("over time: no other sweep has a mean of these suites on this machine")
    return lines


def _of_rows(tables: Tables) -> Iterator[Picture]:
    """Yield the charts of each suite, mode, dtype and device: <chart>_<suite>_<mode>_<dtype>_<device>."""
    means = _means(tables)
    for key, rows in _sections(tables.summary.rows).items():
        present = {row["compiler"] for row in rows}
        series = [name for name in compilers(tables.overview.rows) if name in present]
        for chart in of_pictures(series):
            drawn, count = _filled(chart, rows, series, means.get(key_of(rows[0], SECTION), []), " · ".join(key[:4]))
            if drawn is not None:
                note = f"the first {MOST} of {count} workloads" if count > MOST else ""
                yield Picture(f"{chart.id}_{'_'.join(word(part) for part in key)}", drawn, note)


def _of_trainings(tables: Tables) -> Iterator[Picture]:
    """Yield eager's and the compiler's loss of each training: loss_curves_<model>_<compiler>."""
    chart = panels.loss_curves()
    for curve in loss_curves(tables):
        records = [
            {"side": side, "step": step, "loss": losses[place]}
            for place, side in enumerate(("eager", "compiled"))
            for step, *losses in curve["points"]
        ]
        name = "_".join(word(part) for part in curve["title"].split(" · "))
        yield Picture(f"{chart.id}_{name}", _drawn(chart, curve["title"], {"rows": records}))


def _of_means(over_time: OverTime) -> Iterator[Picture]:
    """Yield each mean of each section of the sweep over the sweeps of its machine: over_time_<mean>_<section>."""
    for metric, found in over_time.series.items():
        groups: dict[tuple[Any, ...], list[SeriesPoint]] = defaultdict(list)
        for one in found:
            names = one.points[0].row.names
            groups[(title(one.machine), *(names[name] for name in SECTION))] += one.points
        shown = telling([dict(zip(("machine", *SECTION), key, strict=True)) for key in groups], SECTION[4:])
        for points in groups.values():
            sweeps = {point.sweep.name: point.sweep for point in sorted(points, key=lambda one: one.sweep.created)}
            if over_time.now not in sweeps or len(sweeps) < 2:
                continue
            names = points[0].row.names
            section = [WORDS.get(name, "") + str(names[name]) for name in (*SECTION[:4], *shown)]
            chart = panels.over_time(sorted({point.row.names["compiler"] for point in points}))
            short = dict(zip(sweeps, short_names(list(sweeps)), strict=True))
            records = [
                {
                    "sweep": short[point.sweep.name],
                    "when": time.strftime("%F %T", time.gmtime(point.sweep.created)),
                    "series": point.row.names["compiler"],
                    **{"value": point.value, "low": point.low, "high": point.high, "count": point.row.counts["count"]},
                }
                for name in sweeps
                for point in points
                if point.sweep.name == name
            ]
            said = f"{chart.title}: {panels.CHOICES[metric]}"
            drawn = _drawn(dataclasses.replace(chart, title=said), " · ".join(section), {"rows": records})
            yield Picture(f"{chart.id}_{metric}_{'_'.join(map(word, section))}", drawn)


def _drawn(chart: Chart, subtitle: str, data: Mapping[str, Any]) -> Spec:
    """Return a chart's specification with its data, as a picture."""
    size = {"width": WIDTH, "autosize": {"type": "pad"}, "padding": 12, "background": "white"}
    head = {"text": chart.title, "subtitle": subtitle, "anchor": "start", "offset": 12}
    return {**chart.spec, **size, "title": head, "datasets": data}


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
) -> tuple[Spec | None, int]:
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
    data = _with_means(records, means) if chart.data == "means" else {"rows": records}
    return (_drawn(chart, section, data) if records else None), len(groups)


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
