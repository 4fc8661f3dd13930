"""Everything about one sweep: what was asked, where it ran, what became of it, what to do next."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.files import files_below
from orchestrator.records import HARMLESS, NOT_RUN, JobSpec
from orchestrator.reporting import output
from orchestrator.reporting.layout import age, console, cut, duration, item, paragraph, plain
from orchestrator.reporting.report import next_command, shown
from orchestrator.results import configuration, listing, snapshot
from orchestrator.results.configuration import literal
from orchestrator.results.listing import RUNNING, Listed
from orchestrator.results.load import JobOutcome, SweepResults, items, outcome, uncollected
from orchestrator.results.performance import measured
from orchestrator.results.tables import Table
from orchestrator.store import JobGraph, Sweep, SweepFolder
from orchestrator.words import more, plural

LISTED, SLOWEST = 20, 5
LONGEST = 200
"""Characters of one value of an environment: the list of changed files may be long. --json has all."""
JOBS = (
    *("job", "suite", "model", "mode", "dtype", "device", "batch_size", "sequence_length", "seed", "threads"),
    *("compiler", "measure", "round", "status", "reason", "phase", "attempt", "started_s", "duration_s"),
    *("measured", "disturbed", "log"),
)


def show(folder: SweepFolder, sweep: Sweep, graph: JobGraph, form: str | None) -> int:
    """Show a sweep, or write it in a form. Returns the exit code."""
    with uncollected():
        outcomes = tuple(outcome(job, folder.read_result(job.id)) for job in graph.jobs)
    results = SweepResults(folder, sweep, outcomes)
    listed = listing.of(folder, sweep, graph, Counter(found.status for found in outcomes))
    if form:
        output.write(form, _tables(results, listed, form), "jobs")
    else:
        _show_sweep(results, listed)
    return 0


def _tables(results: SweepResults, listed: Listed, form: str) -> dict[str, Any]:
    key_value = ("key", "value")
    row = {key: value for key, value in listed.row().items() if value is not None}
    about = row | {f"jobs.{status}": count for status, count in listed.statuses.items()}
    about |= {"bytes": disk(results.folder)}
    settings = {key: list(values) for key, values in configuration.settings(results.sweep.points).items()}
    environment = snapshot.environment(results.sweep, results.outcomes)
    tables = {
        "about": Table.of(key_value, pairs(about, form)),
        "settings": Table.of(key_value, pairs(settings, form)),
        "environment": Table.of(key_value, pairs(environment, form)),
        "jobs": Table.of(JOBS, (job_row(results.folder, found) for found in results.outcomes)),
    }
    if form == "md":
        failed = (job_row(results.folder, found) for found in failures(results.outcomes))
        tables["failures"] = Table.of(("job", "model", "compiler", "measure", "status", "reason", "log"), failed)
        del tables["jobs"]
    return tables


def disk(folder: SweepFolder) -> int:
    """Return the bytes of all files of a sweep."""
    return sum(size for _, size in files_below(folder.root))


def failures(outcomes: Iterable[JobOutcome]) -> list[JobOutcome]:
    """Return the jobs that failed by themselves, not for a job that they need."""
    failed = [found for found in outcomes if found.status not in HARMLESS | {NOT_RUN}]
    return [found for found in failed if not _depends(found)]


def _depends(found: JobOutcome) -> bool:
    return found.result is not None and found.result.failure is not None and found.result.failure.kind == "dependency"


def _show_sweep(results: SweepResults, listed: Listed) -> None:
    out, sweep = console(), results.sweep
    out.print(Text(f"{plain(listed.name)}: {listed.state}", "bold"), soft_wrap=True)
    item(out, "command", listed.row()["command"], wrap=False)
    item(out, "folder", f"{shown(results.folder)}  ({disk(results.folder) / 2**20:.1f} MiB)", wrap=False)
    total = sum(took for found in results.outcomes if (took := seconds(found)) is not None)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sweep.created))
    item(out, "planned", f"{when}, {age(time.time() - sweep.created)} ago; its jobs took {duration(total)}")
    if sweep.origin:
        item(out, "repeats", sweep.origin, wrap=False)
    if listed.holder:
        item(out, "run by", listed.holder)
    item(out, "what", _axes([found.job for found in results.outcomes]))
    settings = [_setting(key, values) for key, values in configuration.settings(sweep.points).items()]
    if settings:
        item(out, "settings", " ".join(settings), whole=True)
    print_environment(out, snapshot.environment(sweep, results.outcomes))
    words = [f"{status} {count:,}" for status, count in listed.statuses.most_common()]
    item(out, "jobs", f"{listed.planned:,}: {', '.join(words)}")
    _slowest(out, results.outcomes)
    _failures(out, results)
    _disturbed(out, results.outcomes)
    for command in next_commands(results, listed):
        item(out, "next", command, wrap=False)


def _axes(jobs: Sequence[JobSpec]) -> str:
    axes = (
        [job.workload.suite for job in jobs],
        [job.workload.mode.name for job in jobs],
        [job.workload.dtype for job in jobs],
        [job.workload.device for job in jobs],
        [job.compiler.name for job in jobs],
        [job.measure.name for job in jobs],
    )
    words = [", ".join(map(plain, dict.fromkeys(values))) for values in axes]
    models = len({(job.workload.suite, job.workload.model) for job in jobs})
    return "; ".join([words[0], f"{plural(models, 'model')}", *words[1:]])


def _setting(key: str, values: Sequence[Any]) -> str:
    return shlex.quote(f"{key}={','.join(literal(value) for value in values)}")


def print_environment(out: Console, environment: Mapping[str, Any]) -> None:
    """Print a flat environment, an item for each of its parts: machine, packages, torch, git, variables."""
    parts: dict[str, list[str]] = {}
    for key, value in environment.items():
        part, dot, rest = key.partition(".")
        text = str(value)
        is_hash = len(text) >= 40 and set(text) <= set("0123456789abcdef")
        short = text[:8] if is_hash else cut(text, LONGEST)
        parts.setdefault(part if dot else "machine", []).append(f"{rest if dot else key} {short}")
    for part, words in parts.items():
        item(out, part, ", ".join(words))


def _slowest(out: Console, outcomes: Sequence[JobOutcome]) -> None:
    timed = sorted(((took, found) for found in outcomes if (took := seconds(found))), key=lambda pair: -pair[0])
    for number, (took, found) in enumerate(timed[:SLOWEST]):
        text = f"{duration(took)}  {found.job.id[:8]}  {brief(found.job)}"
        item(out, "slowest" if number == 0 else "", cut(text, out.width - 16), wrap=False)


def _failures(out: Console, results: SweepResults) -> None:
    failed = failures(results.outcomes)
    if failed:
        out.print(Text(f"{plural(len(failed), 'failure')}:", "bold red"))
    for found in failed[:LISTED]:
        log = results.folder.log_file(found.job.id).relative_to(results.folder.root)
        reason = found.reason or "no reason was given"
        text = f"  {found.status}: {found.job.title}: {reason} ({shown(results.folder)}/{log})"
        out.print(Text(paragraph(text, out.width, indent="    ")), soft_wrap=True)
    for line in more(len(failed), LISTED, ": --csv"):
        out.print(f"  {line}")
    others = sum(map(_depends, results.outcomes))
    if others:
        out.print(f"  {plural(others, 'job')} could not run for a failure of a job that they need")


def _disturbed(out: Console, outcomes: Sequence[JobOutcome]) -> None:
    disturbed = [(found, reasons) for found in outcomes if (reasons := items(found.facts, "disturbed"))]
    if disturbed:
        out.print(Text(f"{plural(len(disturbed), 'job')} disturbed:", "bold yellow"))
    for found, reasons in disturbed[:SLOWEST]:
        text = f"  {found.job.title}: {'; '.join(map(str, reasons))}"
        out.print(Text(paragraph(text, out.width, indent="    ")), soft_wrap=True)
    for line in more(len(disturbed), SLOWEST, ": --csv"):
        out.print(f"  {line}")


def next_commands(results: SweepResults, listed: Listed) -> list[str]:
    """Return what one may want to run next, ready to be pasted."""
    place = shlex.quote(shown(results.folder))
    failed = failures(results.outcomes)
    commands = [next_command(results)] if listed.not_run and listed.state != RUNNING else []
    if failed:
        commands += [f"python -m orchestrator show {place}:{failed[0].job.id}"]
        commands += [f"python -m orchestrator rerun {place} --failed"]
    return [*commands, f"python -m orchestrator report {place}"]


def brief(job: JobSpec) -> str:
    """Return a job's title with what tells it from its neighbours first: lines are cut at the end."""
    w = job.workload
    return f"{w.model} {job.compiler.name} {job.measure.name} #{job.round} ({w.mode.name} {w.dtype} {w.device})"


def job_row(folder: SweepFolder, found: JobOutcome) -> dict[str, Any]:
    """Return the row of a job in a table with `JOBS`."""
    job, result = found.job, found.result
    w = job.workload
    return {
        **{name: getattr(w, name) for name in ("suite", "model", "dtype", "device", "batch_size", "seed", "threads")},
        "sequence_length": w.sequence_length,
        "mode": w.mode.name,
        "job": job.id,
        "compiler": job.compiler.name,
        "measure": job.measure.name,
        "round": job.round,
        "status": found.status,
        "reason": found.reason,
        "phase": result.failure.phase if result is not None and result.failure is not None else None,
        "attempt": result.attempt if result is not None else None,
        "started_s": result.started if result is not None else None,
        "duration_s": seconds(found),
        "measured": measured([found]),
        "disturbed": plain("; ".join(map(str, items(found.facts, "disturbed")))),
        "log": str(folder.log_file(job.id).relative_to(folder.root)) if found.status != NOT_RUN else None,
    }


def seconds(found: JobOutcome) -> float | None:
    """Return how long the job's process ran."""
    return None if found.result is None else found.result.ended - found.result.started


def pairs(values: Mapping[str, Any], form: str) -> list[dict[str, Any]]:
    """Return rows of (key, value). Where the form has no lists they are JSON texts; Markdown leaves out what is not."""

    def shown(value: Any) -> Any:
        return json.dumps(value) if form != "json" and isinstance(value, (list, dict)) else value

    wanted = {key: value for key, value in values.items() if form != "md" or value not in (None, "")}
    return [{"key": key, "value": shown(value)} for key, value in wanted.items()]


def list_jobs(folder: SweepFolder, jobs: Sequence[JobSpec], form: str | None) -> int:
    """List the jobs that --only matches."""
    listed = jobs if form else jobs[: 2 * LISTED]
    found = [outcome(job, folder.read_result(job.id)) for job in listed]
    if form:
        output.write(form, {"jobs": Table.of(JOBS, (job_row(folder, one) for one in found))})
        return 0
    out = console()
    for one in found:
        out.print(Text(cut(f"{one.job.id[:8]}  {one.status:<13} {brief(one.job)}", out.width)), soft_wrap=True)
    for line in more(len(jobs), len(found)):
        out.print(line)
    out.print(Text(f"python -m orchestrator show {shlex.quote(shown(folder))}:{jobs[0].id}"), soft_wrap=True)
    return 0
