"""The page of a sweep, or of several: one file that opens anywhere, offline, and asks nobody for anything.

The page is a template with the style sheet, the scripts and the data inside (`assets/`). What was measured or named
goes in as JSON and is made into text nodes by the scripts; a Content-Security-Policy allows exactly the scripts that
are in the file (by their hashes) and no request at all, so that even a defect in that could not load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.files import write_text
from orchestrator.page.charts import costs, panels, speedups
from orchestrator.page.charts.chart import OF_ROWS, ON_DARK, ORDERS, Chart, series_scales
from orchestrator.page.data import ROW_COLUMNS, Document, compilers, document
from orchestrator.store import SweepFolder

if TYPE_CHECKING:
    from orchestrator.results.load import SweepResults
    from orchestrator.results.tables import Tables

LIBRARIES = ("vega", "vega-lite", "vega-embed")
SCRIPTS = (
    *("data", "dom", "state", "forest", "job", "records", "charts", "table", "answer", "models", "attention"),
    *("summary", "findings", "compare", "main"),
)
"""In the order in which they need each other."""


def write(folder: SweepFolder, results: SweepResults, tables: Tables, *, running: bool = False) -> None:
    """Write the sweep's report.html, atomically. Raises OSError when the folder cannot be written."""
    write_text(folder.page, pieces([(results, tables)], folder.root, running=running))


def write_file(file: Path, sweeps: Sequence[tuple[SweepResults, Tables]], *, running: bool = False) -> None:
    """Write the page of one sweep or several to a file of the user's. Raises UsageError when that is not possible."""
    if os.path.isdir(file):
        raise UsageError(f"--html {file} is a folder; name the file to write, such as {file / 'report.html'}")
    try:
        write_text(file, pieces(sweeps, file.absolute().parent, running=running))
    except OSError as error:
        raise UsageError(f"--html {file} cannot be written: {error}") from error


def page(sweeps: Sequence[tuple[SweepResults, Tables]], place: Path, *, running: bool = False) -> str:
    """Return the page that will lie in the folder `place`. Same folders in, same bytes out."""
    return "".join(pieces(sweeps, place, running=running))


def pieces(sweeps: Sequence[tuple[SweepResults, Tables]], place: Path, *, running: bool = False) -> Iterator[str]:
    """Yield the page piece by piece: of a large sweep its data are many megabytes."""
    data = document(sweeps, place, running=running)
    style = _asset("report.css")
    scripts = [_script(f"vendor/{name}.min.js") for name in LIBRARIES] + [_script(f"{name}.js") for name in SCRIPTS]
    parts: dict[str, Iterable[str]] = {
        "title": [html.escape(f"{', '.join(sweep['name'] for sweep in data['sweeps'])} · orchestrator")],
        "policy": [policy(scripts, style)],
        "style": [style],
        "charts": [json_block(chart_data(data))],
        "data": _data_block(data),
        "scripts": ["\n".join(f"<script>{script}</script>" for script in scripts)],
    }
    first, *others = _asset("page.html").split("{{")
    yield first
    for piece in others:
        name, _, rest = piece.partition("}}")
        yield from parts[name]
        yield rest


def _data_block(data: dict[str, Any]) -> Iterator[str]:
    """Yield `json_block` of the data key by key, each of which is dropped then."""
    before = "{"
    for key in list(data):
        yield f"{before}{json_block(key)}:"
        yield json_block(data.pop(key))
        before = ","
    yield "}"


def of_sweep(series: Sequence[str]) -> list[Chart]:
    """Return the charts of a page, in their order. `series`: what is told apart by colour and shape."""
    return [
        costs.tradeoff(series),
        speedups.heat_map(series),
        costs.compilation(series),
        costs.compile_phases(),
        panels.latency(series),
        panels.phases(series),
        panels.loss_curves(),
    ]


def chart_data(data: Document) -> dict[str, Any]:
    """Return the charts of a page as JSON, and colours and shapes for legends outside of them.

    Raises ValueError for a chart that asks for data which the page has not, or a column which its summary has not.
    """
    series = data["series"]
    colour, shape = series_scales(series)
    shown, several = of_sweep(series), [panels.over_time(compilers(data["overview"]))]
    for chart in (*shown, *several):
        _check(chart, data)
    return {
        "sweep": [asdict(chart) for chart in shown],
        "job": [asdict(panels.job_samples())],
        "several": [asdict(chart) for chart in several],
        "of_rows": list(OF_ROWS),
        "on_dark": dict(ON_DARK),
        "orders": dict(ORDERS),
        "most_marks": costs.MOST_MARKS,
        "series": {"names": list(series), "colours": colour["scale"]["range"], "shapes": shape["scale"]["range"]},
    }


def _check(chart: Chart, data: Document) -> None:
    if chart.data not in OF_ROWS and chart.data not in data:
        raise ValueError(f"chart '{chart.id}': the page has no data '{chart.data}' (page/data.py)")
    asked = [*chart.fields, *"|".join(chart.needs).split("|"), *(order.removeprefix("-") for order in ORDERS)]
    unknown = [name for name in asked if name and name not in ROW_COLUMNS]
    if unknown:
        raise ValueError(f"chart '{chart.id}': the summary has no column '{unknown[0]}'")


def json_block(value: Any) -> str:
    """Return JSON that can stand in a script element: ASCII without "<", so that nothing in it ends the element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def policy(scripts: Iterable[str], style: str) -> str:
    """Return the Content-Security-Policy: these scripts and this style, and not a single request.

    Style *attributes* are allowed: Vega's SVG has some, and they can load nothing under `default-src 'none'`.
    """
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src-elem {_hash(style)}; style-src-attr 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script(name: str) -> str:
    """Return a script without the comment that makes a browser's debugger ask for a source map."""
    lines = _asset(name).splitlines()
    return "\n".join(line for line in lines if not line.startswith("//# sourceMappingURL")) + "\n"


def _asset(name: str) -> str:
    return resources.files("orchestrator.page").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")
