"""Everything about one job: what it was, what became of it, what it saw, and how to run it again."""

from __future__ import annotations

import itertools
import math
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.comparison import snapshot
from orchestrator.errors import printable
from orchestrator.records import HARMLESS, SUCCESSES
from orchestrator.results import configuration, details
from orchestrator.results.metrics import MIB, MS, significant
from orchestrator.results.rounds import round_speedup
from orchestrator.results.tables import Table
from orchestrator.views.commands import shown
from orchestrator.views.document import Document, Item, Paragraph, Piece, Verbatim
from orchestrator.views.grid import Cell, Grid
from orchestrator.views.layout import age, duration
from orchestrator.views.sweep import brief, environment_items, pairs, seconds
from orchestrator.words import more, plural

if TYPE_CHECKING:
    from orchestrator.results.details import JobDetails, Summary

LISTED, LOG_LINES, DETAIL_LINES, SPARKS = 10, 20, 40, 16
LOG_BYTES = 16 << 20
"""So much of the end of a log is written as JSON, CSV or Markdown, which are made in memory; for people all of it."""
LEVELS = "▁▂▃▄▅▆▇█"


def tables(found: JobDetails, form: str, whole_log: bool) -> dict[str, Table]:
    """Return all of it for JSON or CSV (key, value)."""
    key_value = ("key", "value")
    facts = dict(configuration.flatten(found.outcome.facts))
    environment = {} if found.outcome.result is None else snapshot.flat_environment(found.outcome.result.environment)
    about = _about(found)
    about["log"] = "\n".join(found.log(LOG_BYTES)) if whole_log else "\n".join(found.end_of_log()[-LOG_LINES:])
    if form == "csv":
        about |= found.config
        about |= {f"facts.{key}": value for key, value in facts.items()}
        about |= {f"environment.{key}": value for key, value in environment.items()}
    return {
        "about": Table.of(key_value, pairs(about, form)),
        "config": Table.of(key_value, pairs(found.config, form)),
        "samples": Table.of(SAMPLES, (_sample_row(one) for one in details.summaries(found.outcome))),
        "facts": Table.of(key_value, pairs(facts, form)),
        "environment": Table.of(key_value, pairs(environment, form)),
        "edges": Table.of(("relation", "job", "status", "series"), (_edge_row(edge) for edge in found.edges)),
        "files": Table.of(("file", "bytes"), ({"file": file, "bytes": size} for file, size in found.files)),
    }


SAMPLES = ("metric", "unit", "count", "median", "quartile_low", "quartile_high", "minimum", "maximum")


def _about(found: JobDetails) -> dict[str, Any]:
    outcome, result, failure = found.outcome, found.outcome.result, _failure(found)
    return {
        "job": found.job.id,
        "sweep": found.folder.name,
        "folder": str(found.folder.job(found.job.id)),
        "title": found.job.title,
        "status": outcome.status,
        "reason": outcome.reason,
        "kind": failure.kind if failure else None,
        "phase": failure.phase if failure else None,
        "detail": failure.detail if failure else None,
        "attempt": result.attempt if result else None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(result.started)) if result else None,
        "duration_s": seconds(outcome),
        "timeout_s": found.job.timeout_s,
        "round": found.job.round,
        "point": list(found.point),
        "rerun": rerun_command(found),
        "command": found.command,
    }


def _failure(found: JobDetails) -> Any:
    return found.outcome.result.failure if found.outcome.result is not None else None


def rerun_command(found: JobDetails) -> str:
    """Return the command that repeats exactly this job, from the configuration that the sweep has stored."""
    return f"python -m orchestrator rerun {shlex.quote(f'{shown(found.folder)}:{found.job.id}')}"


def _sample_row(summary: Summary) -> dict[str, Any]:
    values = summary.samples.values
    return {
        "metric": summary.samples.metric,
        "unit": summary.samples.unit,
        "count": len(values),
        "median": summary.median,
        "quartile_low": summary.low,
        "quartile_high": summary.high,
        "minimum": min(values, default=None),
        "maximum": max(values, default=None),
    }


def _edge_row(edge: details.Edge) -> dict[str, Any]:
    job = edge.other.job
    relation = f"{'needs' if edge.needs else 'needed by'} ({edge.kind})"
    return {"relation": relation, "job": job.id, "status": edge.other.status, "series": job.title}


def document(found: JobDetails, whole_log: bool) -> Document:
    """Return what it was, what became of it, what it saw, and how to run it again."""
    job, outcome, result = found.job, found.outcome, found.outcome.result
    style = "bold green" if outcome.status in SUCCESSES else "bold red"
    files = [f"{file} {size} bytes" for file, size in found.files]
    pieces: list[Piece] = [
        Paragraph(f"{job.title}: {outcome.status}", style, strong=True, wrap=False),
        Item("job", f"{job.id} of {found.folder.name}"),
        *([Item("run", _run(found))] if result is not None else []),
        *_why(found, whole_log),
        *([Item("grid point", " ".join(map(shlex.quote, found.point)), whole=True)] if found.point else []),
        *_config(found.config),
        *_samples(found),
        *_memory(found),
        *_facts(found),
        *_tensors(found.tensors()),
        *(environment_items(snapshot.flat_environment(result.environment)) if result is not None else []),
        *_edges(found.edges),
        Item("folder", shown(found.folder) + f"/jobs/{job.id}", wrap=False),
        Item("files", ", ".join(files[:LISTED] + more(len(files), LISTED)) or "none"),
        *_log(found, whole_log),
        Item("again, as then", rerun_command(found), command=True),
    ]
    if outcome.status not in HARMLESS:
        pieces.append(Item("debug", f"{rerun_command(found)} --in-process", command=True))
    return Document("Job", [*pieces, Item("as of today", found.command, command=True)])


def _run(found: JobDetails) -> str:
    result = found.outcome.result
    assert result is not None
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.started))
    took = f"{duration(seconds(found.outcome) or 0)} of at most {duration(found.job.timeout_s)}"
    return f"{when}, {age(time.time() - result.started)} ago; {took}, attempt {result.attempt}"


def _why(found: JobDetails, whole: bool) -> list[Piece]:
    """Return the reason of a failure, its phase, and the end of its traceback unless the log ends so too."""
    failure = _failure(found)
    pieces: list[Piece] = []
    if found.outcome.reason:
        phase = f" (in phase {failure.phase}, {failure.kind})" if failure and failure.phase else ""
        pieces.append(Item("reason", found.outcome.reason + phase))
    detail = printable(failure.detail) if failure else []
    if not detail or (not whole and detail[-1:] == found.end_of_log()[-1:]):
        return pieces
    before = 0 if whole else max(len(detail) - DETAIL_LINES, 0)
    told = [f"{before} lines before: --log"] if before else []
    return [*pieces, Item("detail", ""), Verbatim([*told, *detail[before:]])]


def _config(config: Mapping[str, Any]) -> list[Item]:
    """Return the configuration as words that can be pasted into a command, an item for each group.

    What the suite builds its model from is one line: no one pastes that.
    """
    groups: dict[str, list[str]] = {}
    built = [key for key in config if key.startswith("suite.catalog.")]
    for key, value in config.items():
        if key in built:
            continue
        group = key.partition(".")[0]
        group = group if group in ("compiler", "quantization", "measure", "mode", "execution") else "workload"
        groups.setdefault(group, []).append(configuration.override(key, value))
    items = [Item(group, " ".join(map(shlex.quote, words)), whole=True) for group, words in groups.items()]
    if built:
        first = f"{built[0].rpartition('.')[2]} {configuration.literal(config[built[0]])}"
        rest = f" and {plural(len(built) - 1, 'more key')} (--json has them)" if built[1:] else ""
        items.insert(0, Item("model", f"{config.get('suite.models')}: {first}{rest}"))
    return items


def _samples(found: JobDetails) -> list[Piece]:
    """Return one line per metric: count, median, quartiles, ends, and how it went over time."""
    summaries = details.summaries(found.outcome)
    if not summaries:
        return []
    titles = ("samples", "count", "median", "IQR", "min", "max", "in time order")
    pieces: list[Piece] = [_grid(titles, [_sample_cells(summary) for summary in summaries], range(1, 6))]
    speedup = round_speedup(found.outcome)
    if speedup is not None:
        ends = f" [{speedup.low:.3f}, {speedup.high:.3f}] (in-process)" if speedup.low and speedup.high else ""
        pieces.append(Item("speed-up", f"{speedup.value:.3f}x{ends}, over {speedup.count} pairs of this round"))
    return pieces


def _grid(titles: Sequence[str], rows: Sequence[Sequence[Cell]], figures: Sequence[int]) -> Grid:
    return Grid(titles, rows, figures=figures, most=None, indent="  ")


def _sample_cells(summary: Summary) -> list[Cell]:
    samples = summary.samples
    scale, unit = _unit(samples.unit, summary.median)

    def text(value: float | None) -> str:
        return "" if value is None else significant(value * scale)

    spread = "" if summary.low is None or summary.high is None else text(summary.high - summary.low)
    values = samples.values
    texts = [samples.metric, str(len(values)), f"{text(summary.median)} {unit}".strip(), spread]
    texts += [text(min(values, default=None)), text(max(values, default=None))]
    return [Cell(one) for one in (*texts, sparkline(values, SPARKS) if len(values) > 1 else "")]


def _unit(unit: str, typical: float | None) -> tuple[float, str]:
    """Return how samples are shown: (factor, unit)."""
    if unit == "s" and typical is not None and abs(typical) < 1:
        return MS, "ms"
    return {"bytes": (MIB, "MiB"), "1": (1.0, "")}.get(unit, (1.0, unit))


def sparkline(values: Sequence[float], width: int) -> str:
    """Return values in time order as at most `width` characters, lowest to highest level from minimum to maximum.

    Where there are more values than characters, each is the mean of its share. Nothing for what is no number.
    """
    if not values or not all(map(math.isfinite, values)):
        return ""
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(LEVELS[round((mean - low) / span * (len(LEVELS) - 1))] for mean in means)


def _memory(found: JobDetails) -> list[Piece]:
    rows = [
        [Cell(f"{what} {phase}"), *(Cell("" if level is None else f"{level:.1f}") for level in levels)]
        for what, phase, *levels in found.memory()
    ]
    pieces: list[Piece] = [_grid(("memory, MiB", "start", "peak", "end"), rows, (1, 2, 3))] if rows else []
    base = found.base
    return pieces + ([Item("before model", f"{base:.1f} MiB ({found.memory_source})")] if base is not None else [])


def _facts(found: JobDetails) -> list[Item]:
    """Return all other facts, an item for each that has parts; graph breaks with their reasons."""
    groups: dict[str, list[str]] = {}
    for key, value in found.facts().items():
        group, dot, rest = key.partition(".")
        if isinstance(value, (list, tuple)):
            groups[key] = ["; ".join(map(str, value)) or "none"]
        elif value is not None:
            text = significant(value) if isinstance(value, float) else str(value)
            groups.setdefault(group if dot else "facts", []).append(f"{rest if dot else key} {text}")
    breaks = found.graph_breaks()
    return [
        *(Item(group, ", ".join(words)) for group, words in groups.items()),
        *(Item("graph break", f"{count} x {reason}") for reason, count in breaks[:LISTED]),
        *(Item("", line) for line in more(len(breaks), LISTED, " reasons: --json")),
    ]


def _tensors(tensors: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """Return what accuracy compared, the worst first."""
    if not tensors:
        return []
    columns = ("max_abs_error", "rmse", "limit", "cosine")
    rows = [
        [
            Cell(str(one.get("name"))),
            Cell("pass" if one.get("passed") else "FAIL"),
            Cell(str(one.get("rule"))),
        ]
        + [Cell(_figure(one.get(column))) for column in columns]
        for one in tensors[:LISTED]
    ]
    titles = ("tensor", "", "rule", "max error", "RMSE", "limit", "cosine")
    failed = sum(one.get("passed") is False for one in tensors)
    return [
        _grid(titles, rows, (3, 4, 5, 6)),
        Item("tensors", f"{len(tensors)} compared, {failed} failed"),
    ]


def _figure(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value) if value is not None else ""
    return significant(float(value), 4)


def _edges(edges: Sequence[details.Edge]) -> list[Item]:
    made = []
    for needs, title in ((True, "needs"), (False, "needed by")):
        mine = [edge for edge in edges if edge.needs is needs]
        for number, edge in enumerate(mine[:LISTED]):
            job = edge.other.job
            text = f"{edge.kind}: {edge.other.status} {job.id[:8]}  {brief(job)}"
            made.append(Item(title if number == 0 else "", text, cut=True))
        counts = Counter(edge.other.status for edge in mine[LISTED:])
        words = ", ".join(f"{status} {count}" for status, count in counts.items())
        made += [Item("", line) for line in more(len(mine), LISTED, f": {words}")]
    return made


def _log(found: JobDetails, whole: bool) -> list[Piece]:
    if whole:
        return [Item("log", ""), Verbatim(found.log())]
    end = [line for line in found.end_of_log() if line]
    about = "the last of its lines (--log shows all)" if len(end) > LOG_LINES else "" if end else "empty"
    return [Item("log", about), Verbatim(end[-LOG_LINES:])]
