"""The largest batch sizes that a sweep found, as a suite that has them: a YAML file for `--config-dir`.

A catalog has one batch size for each kind of device. Where a model was tried in several ways (modes, dtypes, lengths,
compilers), the smallest of the largest sizes is taken: it fits all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.exchange.dynamobench import numbered, word
from orchestrator.records import SUCCESSES, JobSpec
from orchestrator.results.load import JobOutcome, SweepResults, fact, figure, items, one_line
from orchestrator.results.naming import measure_kind

MEASURE = "largestbatch"
SUFFIX = "_largest"
GIB = 2.0**30


@dataclass(frozen=True)
class SuiteFile:
    """`suite` is the name of the new suite, and of its file; `models` how many have a batch size there."""

    suite: str
    models: int
    text: str


@dataclass(frozen=True)
class _Found:
    """One job that found a size. `text` says what was run."""

    job: JobSpec
    size: int
    divisor: int  # the suite divides the batch sizes of its catalog by it
    bounded_by: str
    text: str


def export(results: SweepResults) -> tuple[list[SuiteFile], list[str]]:
    """Return a file for every suite with sizes, and what the files do not say, a line each."""
    found: dict[str, dict[str, dict[str, list[_Found]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    budgets: dict[str, list[str]] = defaultdict(list)
    notes = []
    for outcome in results.outcomes:
        job = outcome.job
        if measure_kind(job.measure) != MEASURE:
            continue
        sizes = list(_sizes(outcome, results.sweep.points))
        if not sizes:
            notes.append(f"{_title(job)}: no batch size, {outcome.status}: {outcome.reason}; the suite's own stays")
        for size in sizes:
            found[job.workload.suite][job.workload.model][_kind(job)].append(size)
            budgets[job.workload.suite].append(_budget(outcome))
    files: dict[str, SuiteFile] = {}
    for suite, models in found.items():
        chosen = {m: {kind: _smallest(sizes) for kind, sizes in kinds.items()} for m, kinds in models.items()}
        notes += [note for kinds in models.values() for sizes in kinds.values() for note in _notes(sizes)]
        header = [f"The largest batch sizes of suite {suite} that fitted in sweep {results.folder.name}."]
        header += sorted(set(budgets[suite]))
        names = numbered(word(suite) + SUFFIX, "_")  # of a file: what a sweep calls its suite may be a path
        name = next(one for one in names if one not in files)
        files[name] = SuiteFile(name, len(chosen), _text(suite, name, chosen, header))
    return list(files.values()), notes


def _text(suite: str, name: str, chosen: Mapping[str, Mapping[str, _Found]], header: Sequence[str]) -> str:
    """Return the file. Every line of its header stays one: in another it would be configuration, which is code."""
    if any(size.divisor > 1 for kinds in chosen.values() for size in kinds.values()):
        header = [*header, "Sizes stand before the division by `divisor`, as in the suite itself."]
    entries = {
        model: {"batch_size": {kind: size.size * size.divisor for kind, size in kinds.items()}}
        for model, kinds in chosen.items()
    }
    document = {"defaults": [suite], "name": name, "catalog": entries}
    body = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, allow_unicode=True, width=1000)
    return "".join(f"# {one_line(line)}\n" for line in header) + body


def _sizes(outcome: JobOutcome, points: Sequence[Any]) -> Iterator[_Found]:
    if outcome.status not in SUCCESSES:
        return
    for row in items(outcome.facts, "findings", "largest_batch"):
        size = figure(row, "largest_batch_size")
        if size is not None:
            divisor = _divisor(outcome.job, points)
            yield _Found(outcome.job, int(size), divisor, str(fact(row, "bounded_by")), _title(outcome.job))


def _divisor(job: JobSpec, points: Sequence[Any]) -> int:
    """Return the divisor that the suite's configuration had for the job's model."""
    suite = fact(points[job.point], "suite") if job.point is not None and job.point < len(points) else None
    own = figure(suite, "catalog", job.workload.model, "divisor")
    return int(own or figure(suite, "common", "divisor") or 1)


def _smallest(sizes: Iterable[_Found]) -> _Found:
    return min(sizes, key=lambda found: found.size)


def _notes(sizes: Sequence[_Found]) -> Iterator[str]:
    chosen = _smallest(sizes)
    if len({found.size for found in sizes}) > 1:
        others = ", ".join(f"{found.size} ({found.text})" for found in sizes if found.size != chosen.size)
        yield f"{chosen.text}: {chosen.size}, the smallest; also found: {others}"
    if chosen.bounded_by != "memory":
        yield f"{chosen.text}: more than {chosen.size} may fit: {chosen.bounded_by} ended the search"


def _budget(outcome: JobOutcome) -> str:
    row = items(outcome.facts, "findings", "largest_batch")[0]
    budget = figure(row, "memory_budget_bytes")
    memory = "an unknown budget" if budget is None else f"{budget / GIB:.2f} GiB"
    return f"{outcome.job.workload.device}: {memory} ({fact(row, 'memory_budget_source')})"


def _kind(job: JobSpec) -> str:
    return job.workload.device.partition(":")[0]


def _title(job: JobSpec) -> str:
    w = job.workload
    length = f" length {w.sequence_length}" if w.sequence_length is not None else ""
    return f"{w.model} {w.mode.name} {w.dtype} {w.device}{length} {job.compiler.name}"
