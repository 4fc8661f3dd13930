"""Everything about one sweep: what was asked, where it ran, what became of it, what to do next."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.comparison import snapshot
from orchestrator.files import files_below
from orchestrator.records import HARMLESS, NOT_RUN, JobSpec
from orchestrator.results import configuration, listing
from orchestrator.results.configuration import literal
from orchestrator.results.listing import RUNNING, Listed
from orchestrator.results.load import JobOutcome, SweepResults, is_handed_down, items, outcome, outcomes
from orchestrator.results.naming import WORKLOAD
from orchestrator.results.performance import measured
from orchestrator.results.tables import Table
from orchestrator.store import JobGraph, Sweep, SweepFolder
from orchestrator.views.commands import next_command, shown
from orchestrator.views.document import Document, Heading, Item, Listing, Paragraph, Piece, Verbatim
from orchestrator.views.layout import LISTED, age, by_cause, duration, plain, short
from orchestrator.words import more, plural

SLOWEST = 5
LONGEST = 200
"""Characters of one value of an environment: the list of changed files may be long. --json has all."""
LISTED_JOBS = (
    *("job", *WORKLOAD, "compiler", "measure", "round", "status", "reason", "phase", "attempt"),
    *("started_s", "duration_s", "measured", "disturbed", "log"),
)


def read(folder: SweepFolder, sweep: Sweep, graph: JobGraph) -> tuple[SweepResults, Listed]:
    """Read all that is shown of a sweep."""
    found = outcomes(folder, sweep, graph)
    listed = listing.of(folder, sweep, graph, Counter(one.status for one in found if not one.elsewhere))
    return SweepResults(folder, sweep, found), listed


def tables(results: SweepResults, listed: Listed, form: str) -> dict[str, Table]:
    """Return all of it for JSON or CSV."""
    key_value = ("key", "value")
    row = {key: value for key, value in listed.row().items() if value is not None}
    about = row | {f"jobs.{status}": count for status, count in listed.statuses.items()}
    about |= {"bytes": disk(results.folder)}
    settings = {key: list(values) for key, values in configuration.settings(results.sweep.points).items()}
    environment = snapshot.environment(results.sweep, results.outcomes)
    return {
        "about": Table.of(key_value, pairs(about, form)),
        "settings": Table.of(key_value, pairs(settings, form)),
        "environment": Table.of(key_value, pairs(environment, form)),
        "jobs": Table.of(LISTED_JOBS, (job_row(results.folder, found) for found in results.outcomes)),
    }


def disk(folder: SweepFolder) -> int:
    """Return the bytes of all files of a sweep."""
    return sum(size for _, size in files_below(folder.root))


def failures(outcomes: Iterable[JobOutcome]) -> list[JobOutcome]:
    """Return the jobs that failed by themselves, not for a job that they need."""
    failed = [found for found in outcomes if found.status not in HARMLESS | {NOT_RUN}]
    return [found for found in failed if not is_handed_down(found)]


def document(results: SweepResults, listed: Listed) -> Document:
    """Return what was asked, where it ran, what became of it, and what to do next."""
    sweep = results.sweep
    total = sum(took for found in results.outcomes if (took := seconds(found)) is not None)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sweep.created))
    settings = [_setting(key, values) for key, values in configuration.settings(sweep.points).items()]
    words = [f"{status} {count:,}" for status, count in listed.statuses.most_common()]
    pieces: list[Piece] = [
        Paragraph(f"{listed.name}: {listed.state}", "bold", strong=True, wrap=False),
        *([Item("tag", listed.tag)] if listed.tag else []),
        Item("command", listed.row()["command"], command=True),
        Item("folder", f"{shown(results.folder)}  ({disk(results.folder) / 2**20:.1f} MiB)", wrap=False),
        Item("planned", f"{when}, {age(time.time() - sweep.created)} ago; its jobs took {duration(total)}"),
        *([Item("origin" if sweep.imported else "repeats", sweep.origin, wrap=False)] if sweep.origin else []),
        *([Item("run by", listed.holder)] if listed.holder else []),
        Item("what", _axes([found.job for found in results.outcomes])),
        *([Item("settings", " ".join(settings), whole=True)] if settings else []),
        *environment_items(snapshot.environment(sweep, results.outcomes)),
        Item("jobs", f"{listed.planned:,}: {', '.join(words)}"),
        *_slowest(results.outcomes),
        *_failures(results),
        *_disturbed(results.outcomes),
    ]
    pieces += [Item("next", command, command=True) for command in next_commands(results, listed)]
    return Document("Sweep", pieces)


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


def environment_items(environment: Mapping[str, Any]) -> list[Item]:
    """Return a flat environment, an item for each of its parts: machine, packages, torch, git, variables."""
    parts: dict[str, list[str]] = {}
    for key, value in environment.items():
        part, dot, rest = key.partition(".")
        parts.setdefault(part if dot else "machine", []).append(f"{rest if dot else key} {short(str(value), LONGEST)}")
    return [Item(part, ", ".join(words)) for part, words in parts.items()]


def _slowest(outcomes: Sequence[JobOutcome]) -> list[Item]:
    timed = sorted(((took, found) for found in outcomes if (took := seconds(found))), key=lambda pair: -pair[0])
    texts = [f"{duration(took)}  {found.job.id[:8]}  {brief(found.job)}" for took, found in timed[:SLOWEST]]
    return [Item("slowest" if i == 0 else "", text, cut=True) for i, text in enumerate(texts)]


def _failures(results: SweepResults) -> list[Piece]:
    failed = failures(results.outcomes)
    logs = [results.folder.log_file(found.job.id).relative_to(results.folder.root) for found in failed]
    texts = by_cause(
        (found.status, *_named(found.job), found.reason or "", f"{shown(results.folder)}/{log}")
        for found, log in zip(failed, logs, strict=True)
    )
    pieces = _counted(len(failed), "failure", "", "red", texts, LISTED)
    others = sum(map(is_handed_down, results.outcomes))
    told = f"{plural(others, 'job')} could not run for a failure of a job that they need" if others else ""
    return [*pieces, Paragraph(told, indent="  ", wrap=False)]


def _disturbed(outcomes: Sequence[JobOutcome]) -> list[Piece]:
    disturbed = [(found, reasons) for found in outcomes if (reasons := items(found.facts, "disturbed"))]
    texts = [f"{found.job.title}: {'; '.join(map(str, reasons))}" for found, reasons in disturbed]
    return _counted(len(texts), "job", " disturbed", "yellow", texts, SLOWEST)


def _counted(count: int, noun: str, what: str, colour: str, texts: Sequence[str], most: int) -> list[Piece]:
    """Return a heading with a number, and the texts."""
    heading = Heading(f"{plural(count, noun)}{what}:", style=f"bold {colour}", above=False)
    return [heading, Listing(texts, rest=": --csv", most=most)] if texts else []


def next_commands(results: SweepResults, listed: Listed) -> list[str]:
    """Return what one may want to run next, ready to be pasted."""
    place = shlex.quote(shown(results.folder))
    failed = failures(results.outcomes)
    commands = [next_command(results)] if listed.not_run and listed.state != RUNNING else []
    if failed:
        commands += [f"python -m orchestrator show {place}:{failed[0].job.id}"]
        commands += [f"python -m orchestrator rerun {place} --failed"]
    return [*commands, f"python -m orchestrator report {place}"]


def _named(job: JobSpec) -> tuple[str, str]:
    """Return a job's title in two parts: its row, and which measure and round of it."""
    what = f"{job.measure.name} #{job.round}"
    return job.title.removesuffix(f" {what}"), what


def brief(job: JobSpec) -> str:
    """Return a job's title with what tells it from its neighbours first: lines are cut at the end."""
    w = job.workload
    build = f" {w.build.name}" if w.build is not None else ""
    return f"{w.model} {job.compiler.name} {job.measure.name} #{job.round} ({w.mode.name} {w.dtype} {w.device}{build})"


def job_row(folder: SweepFolder, found: JobOutcome) -> dict[str, Any]:
    """Return the row of a job in a table with `LISTED_JOBS`."""
    job, result = found.job, found.result
    w = job.workload
    return {
        **{name: getattr(w, name) for name in WORKLOAD},
        "build": w.build.name if w.build is not None else None,
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
    """Return rows of (key, value). Where the form has no lists they are JSON texts."""

    def shown(value: Any) -> Any:
        return json.dumps(value) if form != "json" and isinstance(value, (list, dict)) else value

    return [{"key": key, "value": shown(value)} for key, value in values.items()]


def some_jobs(folder: SweepFolder, jobs: Sequence[JobSpec]) -> Document:
    """Return the jobs that --only matches, and how to see one of them."""
    found = [outcome(job, folder.read_result(job.id)) for job in jobs[: 2 * LISTED]]
    texts = [f"{one.job.id[:8]}  {one.status:<13} {brief(one.job)}" for one in found]
    pieces: list[Piece] = [
        Verbatim(texts, short=True, indent=""),
        *(Paragraph(text) for text in more(len(jobs), len(found))),
        Paragraph(f"python -m orchestrator show {shlex.quote(shown(folder))}:{jobs[0].id}", wrap=False),
    ]
    return Document("Jobs", pieces)


def job_tables(folder: SweepFolder, jobs: Sequence[JobSpec]) -> dict[str, Table]:
    """Return the jobs that --only matches as a table."""
    rows = (job_row(folder, outcome(job, folder.read_result(job.id))) for job in jobs)
    return {"jobs": Table.of(LISTED_JOBS, rows)}
