"""Everything about one job: what it was, what became of it, what it saw, and how to run it again."""

from __future__ import annotations

import itertools
import math
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from orchestrator.records import HARMLESS, SUCCESSES
from orchestrator.reporting import output
from orchestrator.reporting.layout import Cell, age, console, cut, duration, grid, item
from orchestrator.reporting.report import shown
from orchestrator.reporting.show_sweep import brief, pairs, print_environment, seconds
from orchestrator.results import configuration, details, snapshot
from orchestrator.results.load import lines
from orchestrator.results.metrics import MIB, MS, significant
from orchestrator.results.performance import round_speedup
from orchestrator.results.tables import Table
from orchestrator.words import more

if TYPE_CHECKING:
    from orchestrator.results.details import JobDetails, Summary

LISTED, LOG_LINES, DETAIL_LINES, SPARKS = 10, 20, 40, 16
LOG_BYTES = 16 << 20
"""So much of the end of a log is written as JSON, CSV or Markdown, which are made in memory; for people all of it."""
LEVELS, PLAIN_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def write(form: str, found: JobDetails, whole_log: bool) -> None:
    """Write all of it as JSON, CSV (key, value) or Markdown."""
    key_value = ("key", "value")
    facts = dict(configuration.flatten(found.outcome.facts))
    environment = {} if found.outcome.result is None else snapshot.flat_environment(found.outcome.result.environment)
    about = _about(found)
    about["log"] = "\n".join(found.log(LOG_BYTES)) if whole_log else "\n".join(found.end_of_log()[-LOG_LINES:])
    if form == "csv":
        about |= found.config
        about |= {f"facts.{key}": value for key, value in facts.items()}
        about |= {f"environment.{key}": value for key, value in environment.items()}
    tables = {
        "about": Table.of(key_value, pairs(about, form)),
        "config": Table.of(key_value, pairs(found.config, form)),
        "samples": Table.of(SAMPLES, (_sample_row(one) for one in details.summaries(found.outcome))),
        "facts": Table.of(key_value, pairs(facts, form)),
        "environment": Table.of(key_value, pairs(environment, form)),
        "edges": Table.of(("relation", "job", "status", "series"), (_edge_row(edge) for edge in found.edges)),
        "files": Table.of(("file", "bytes"), ({"file": file, "bytes": size} for file, size in found.files)),
    }
    output.write(form, tables)


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


def show(found: JobDetails, whole_log: bool) -> None:
    """Print it for people."""
    out, job, outcome = console(), found.job, found.outcome
    style = "bold green" if outcome.status in SUCCESSES else "bold red"
    out.print(Text(f"{job.title}: ", "bold").append(outcome.status, style), soft_wrap=True)
    item(out, "job", f"{job.id} of {found.folder.name}")
    if outcome.result is not None:
        begun = outcome.result.started
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun))
        words = f"{when}, {age(time.time() - begun)} ago; {duration(seconds(outcome) or 0)} of at most "
        words += f"{duration(job.timeout_s)}, attempt {outcome.result.attempt}"
        item(out, "run", words)
    _why(out, found, whole_log)
    if found.point:
        item(out, "grid point", " ".join(map(shlex.quote, found.point)), whole=True)
    _config(out, found.config)
    _samples(out, found)
    _memory(out, found)
    _facts(out, found)
    _tensors(out, found.tensors())
    if outcome.result is not None:
        print_environment(out, snapshot.flat_environment(outcome.result.environment))
    _edges(out, found.edges)
    files = [f"{file} {size} bytes" for file, size in found.files]
    item(out, "folder", shown(found.folder) + f"/jobs/{job.id}", wrap=False)
    item(out, "files", ", ".join(files[:LISTED] + more(len(files), LISTED)) or "none")
    _log(out, found, whole_log)
    item(out, "again, as then", rerun_command(found), wrap=False)
    if outcome.status not in HARMLESS:
        item(out, "debug", f"{rerun_command(found)} --in-process", wrap=False)
    item(out, "as of today", found.command, wrap=False)


def _why(out: Console, found: JobDetails, whole: bool) -> None:
    """Print the reason of a failure, its phase, and the end of its traceback unless the log ends so too."""
    failure = _failure(found)
    if found.outcome.reason:
        phase = f" (in phase {failure.phase}, {failure.kind})" if failure and failure.phase else ""
        item(out, "reason", found.outcome.reason + phase)
    detail = lines(failure.detail) if failure else []
    if not detail or (not whole and detail[-1:] == found.end_of_log()[-1:]):
        return
    item(out, "detail", "")
    if len(detail) > DETAIL_LINES and not whole:
        out.print(f"    {len(detail) - DETAIL_LINES} lines before: --log")
        detail = detail[-DETAIL_LINES:]
    for line in detail:
        out.print(Text(f"    {line}"), soft_wrap=True)


def _config(out: Console, config: Mapping[str, Any]) -> None:
    """Print the configuration as words that can be pasted into a command, a line for each group."""
    groups: dict[str, list[str]] = {}
    for key, value in config.items():
        group = key.partition(".")[0]
        group = group if group in ("compiler", "quantization", "measure", "mode", "execution") else "workload"
        groups.setdefault(group, []).append(configuration.override(key, value))
    for group, words in groups.items():
        item(out, group, " ".join(shlex.quote(word) for word in words), whole=True)


def _samples(out: Console, found: JobDetails) -> None:
    """Print one line per metric: count, median, quartiles, ends, and how it went over time."""
    summaries = details.summaries(found.outcome)
    if not summaries:
        return
    levels = _levels(out)
    rows = [_sample_cells(summary, levels) for summary in summaries]
    for line in grid(("samples", "count", "median", "IQR", "min", "max", "in time order"), rows, out.width - 2, False):
        out.print(Text("  ") + line, no_wrap=True, overflow="ellipsis")
    speedup = round_speedup(found.outcome)
    if speedup is not None:
        ends = f" [{speedup.low:.3f}, {speedup.high:.3f}] (in-process)" if speedup.low and speedup.high else ""
        item(out, "speed-up", f"{speedup.value:.3f}x{ends}, over {speedup.count} pairs of this round")


def _sample_cells(summary: Summary, levels: str) -> list[Cell]:
    samples = summary.samples
    scale, unit = _unit(samples.unit, summary.median)

    def text(value: float | None) -> str:
        return "" if value is None else significant(value * scale)

    spread = "" if summary.low is None or summary.high is None else text(summary.high - summary.low)
    values = samples.values
    texts = [samples.metric, str(len(values)), f"{text(summary.median)} {unit}".strip(), spread]
    texts += [text(min(values, default=None)), text(max(values, default=None))]
    return [Cell(one) for one in (*texts, sparkline(values, SPARKS, levels) if len(values) > 1 else "")]


def _unit(unit: str, typical: float | None) -> tuple[float, str]:
    """Return how samples are shown: (factor, unit)."""
    if unit == "s" and typical is not None and abs(typical) < 1:
        return MS, "ms"
    return {"bytes": (MIB, "MiB"), "1": (1.0, "")}.get(unit, (1.0, unit))


def sparkline(values: Sequence[float], width: int, levels: str = LEVELS) -> str:
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
    return "".join(levels[round((mean - low) / span * (len(levels) - 1))] for mean in means)


def _levels(out: Console) -> str:
    try:
        LEVELS.encode(out.encoding)
    except UnicodeEncodeError:
        return PLAIN_LEVELS
    return LEVELS


def _memory(out: Console, found: JobDetails) -> None:
    rows = [
        [Cell(f"{what} {phase}"), *(Cell("" if level is None else f"{level:.1f}") for level in levels)]
        for what, phase, *levels in found.memory()
    ]
    if rows:
        for line in grid(("memory, MiB", "start", "peak", "end"), rows, out.width - 2, False):
            out.print(Text("  ") + line, no_wrap=True, overflow="ellipsis")
    base = found.base
    if base is not None:
        item(out, "before model", f"{base:.1f} MiB ({found.memory_source})")


def _facts(out: Console, found: JobDetails) -> None:
    """Print all other facts, an item for each that has parts; graph breaks with their reasons."""
    groups: dict[str, list[str]] = {}
    for key, value in found.facts().items():
        group, dot, rest = key.partition(".")
        if isinstance(value, (list, tuple)):
            groups[key] = ["; ".join(map(str, value)) or "none"]
        elif value is not None:
            text = significant(value) if isinstance(value, float) else str(value)
            groups.setdefault(group if dot else "facts", []).append(f"{rest if dot else key} {text}")
    for group, words in groups.items():
        item(out, group, ", ".join(words))
    for reason, count in found.graph_breaks()[:LISTED]:
        item(out, "graph break", f"{count} x {reason}")
    for line in more(len(found.graph_breaks()), LISTED, " reasons: --json"):
        item(out, "", line)


def _tensors(out: Console, tensors: Sequence[Mapping[str, Any]]) -> None:
    """Print what accuracy compared, the worst first."""
    if not tensors:
        return
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
    for line in grid(titles, rows, out.width - 2, False):
        out.print(Text("  ") + line, no_wrap=True, overflow="ellipsis")
    failed = sum(one.get("passed") is False for one in tensors)
    item(out, "tensors", f"{len(tensors)} compared, {failed} failed")


def _figure(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value) if value is not None else ""
    return significant(float(value), 4)


def _edges(out: Console, edges: Sequence[details.Edge]) -> None:
    for needs, title in ((True, "needs"), (False, "needed by")):
        mine = [edge for edge in edges if edge.needs is needs]
        for number, edge in enumerate(mine[:LISTED]):
            job = edge.other.job
            text = f"{edge.kind}: {edge.other.status} {job.id[:8]}  {brief(job)}"
            item(out, title if number == 0 else "", cut(text, out.width - 16), wrap=False)
        if len(mine) > LISTED:
            counts = Counter(edge.other.status for edge in mine[LISTED:])
            words = ", ".join(f"{status} {count}" for status, count in counts.items())
            item(out, "", more(len(mine), LISTED, f": {words}")[0])


def _log(out: Console, found: JobDetails, whole: bool) -> None:
    if whole:
        item(out, "log", "")
        for line in found.log():
            out.print(Text(f"    {line}"), soft_wrap=True)
        return
    end = [line for line in found.end_of_log() if line]
    item(out, "log", "the last of its lines (--log shows all)" if len(end) > LOG_LINES else "" if end else "empty")
    for line in end[-LOG_LINES:]:
        out.print(Text(f"    {line}"), soft_wrap=True)
