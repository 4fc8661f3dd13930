"""What rows are called: names that are unique in a sweep, and the columns that say what was run.

Two plug-ins may share a name and differ in options (`compiler.options.dynamic=true,false`). Their rows must neither
overwrite each other nor look alike, so what differs is added to the name: `inductor(dynamic=true)`.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from orchestrator.records import (
    BASE,
    DEFAULT_PRECISION,
    EAGER,
    OWN_BATCH,
    JobSpec,
    PluginSpec,
    fingerprint,
    once_a_record,
)
from orchestrator.results.load import SweepResults

Key = tuple[Any, ...]
Anything = TypeVar("Anything", bound=Mapping[str, Any])
Named = dict[Any, tuple[str, Mapping[str, Any]]]
"""Key -> (name, what may tell it from others of that name)."""

WORKLOAD = ("suite", "model", "mode", "dtype", "device", "batch_size", "sequence_length", "seed", "threads", "build")
IDENTITY = (*WORKLOAD, "compiler", "measure", "launcher", "variant")


class Naming:
    """Keys and names of the jobs of one sweep."""

    def __init__(self, jobs: Iterable[JobSpec], own_batches: Mapping[str, int] | None = None) -> None:
        """own_batches: job id -> samples of a batch that was left to the model, of jobs that said so."""
        jobs = list(jobs)
        self._base = BASE if any(job.workload.build for job in jobs) else None
        self._own: dict[str, int] = {}
        self.print = once_a_record(fingerprint)
        builders: Named = {}
        modes: Named = {}
        measures: Named = {}
        contenders: dict[str, Named] = defaultdict(dict)
        for job in jobs:
            if own_batches and job.id in own_batches:
                self._own[self.print(job.workload)] = own_batches[job.id]
            for specs, spec in ((builders, job.workload.builder), (measures, job.measure)):
                specs[self.print(spec)] = (spec.name, spec.options)
            mode = job.workload.mode
            modes[self.print(mode)] = (mode.name, {"precision": DEFAULT_PRECISION, **mode.options})
            details = {"measure": job.measure.name, **job.measure.options, **job.compiler.options}
            details |= {"launcher": job.launcher, **job.env}
            contenders[measure_kind(job.measure)][self._contender(job)] = (job.compiler.name, details)
        self._builders, self._measures = distinguish(builders), distinguish(measures)
        self._modes = {key: _always_told(label, modes[key]) for key, label in distinguish(modes).items()}
        # accuracy jobs may all use another launcher than performance jobs: that alone makes no new name
        self._contenders = {kind: distinguish(named) for kind, named in contenders.items()}

    def family(self, job: JobSpec) -> Key:
        """Return what the rounds of one job share: its row in a table."""
        return (self.print(job.workload), *self._contender(job))

    def except_batch(self, job: JobSpec) -> Key:
        """Return what a performance row and its accuracy row share: all of the workload but the batch, the compiler."""
        w = job.workload
        prints = (self.print(w.builder), self.print(w.mode), self.print(job.compiler))
        return (w.suite, *prints, w.dtype, w.device, w.sequence_length, w.seed, w.build)

    def identity(self, job: JobSpec) -> dict[str, Any]:
        """Return the columns that say what the job runs."""
        w = job.workload
        return {
            "suite": w.suite,
            "model": self._builders[self.print(w.builder)],
            "mode": self._modes[self.print(w.mode)],
            "dtype": w.dtype,
            "device": w.device,
            "batch_size": w.batch_size or self._own.get(self.print(w), OWN_BATCH),
            "sequence_length": w.sequence_length,
            "seed": w.seed,
            "threads": w.threads,
            "build": w.build.name if w.build is not None else self._base,
            "compiler": self._contenders[measure_kind(job.measure)][self._contender(job)],
            "measure": self._measures[self.print(job.measure)],
            "launcher": job.launcher,
            "variant": " ".join(f"{name}={value}" for name, value in sorted(job.env.items())) or None,
        }

    def _contender(self, job: JobSpec) -> Key:
        """Return what competes in a comparison: the compiler, and whatever else was varied but the workload."""
        return (self.print(job.compiler), self.print(job.measure), job.launcher, *sorted(job.env.items()))


def named(results: SweepResults) -> Naming:
    """Return the names of a sweep's jobs; a batch that was left to the model has the size that its jobs tell."""
    own: dict[str, int] = {}
    told: set[int] = set()  # workloads, by identity: one job of each is asked, until one tells
    for one in results.outcomes:
        workload = one.job.workload
        if workload.batch_size == OWN_BATCH and id(workload) not in told and one.batch_size != OWN_BATCH:
            own[one.job.id] = one.batch_size
            told.add(id(workload))
    return Naming((outcome.job for outcome in results.outcomes), own)


def _always_told(label: str, mode: tuple[str, Mapping[str, Any]]) -> str:
    """Return a mode's label with its precision and ranks, also where all rows have the same: other sweeps may not."""
    name, options = mode
    told = {key: options[key] for key in ("parallel", "precision", "ranks") if key in options}
    if told["precision"] == DEFAULT_PRECISION:
        del told["precision"]
    words = [word for word in (f"{key}={value}" for key, value in told.items()) if word not in label]
    if not words:
        return label
    return f"{name}({', '.join(words)})" if label == name else f"{label[:-1]}, {', '.join(words)})"


def measure_kind(measure: PluginSpec) -> str:
    """Return "performance", "accuracy", "reference", ...: the plug-in's class, whatever its YAML file calls it."""
    return measure.target.rpartition(".")[2].lower()


def is_eager(label: str) -> bool:
    """Return whether a row's label of the compiler, as `eager` or `eager(OMP_NUM_THREADS=2)`, is that of eager."""
    return label.partition("(")[0] == EAGER


def row_order(row: Mapping[str, Any]) -> Key:
    """Sort key of table rows: by workload, eager before its compilers. Absent lengths come first."""
    keys = ("suite", "mode", "dtype", "device", "seed", "threads", "build", "model", "batch_size", "sequence_length")
    label = str(row["compiler"])
    rest = (not is_eager(label), label, str(row["measure"]), str(row["launcher"]), str(row["variant"]))
    return (*((row[key] is not None, row[key] if row[key] is not None else 0) for key in keys), *rest)


def key_of(row: Mapping[str, Any], columns: Iterable[str]) -> Key:
    return tuple(row[column] for column in columns)


def grouped(rows: Iterable[Anything], columns: Sequence[str]) -> dict[Key, list[Anything]]:
    """Return the rows that have the same values in `columns`, by these, in the order of the first of each."""
    groups: dict[Key, list[Anything]] = defaultdict(list)
    for row in rows:
        groups[key_of(row, columns)].append(row)
    return groups


def telling(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = IDENTITY) -> list[str]:
    """Return the columns that tell rows apart: those in which they differ."""
    return [column for column in columns if len({str(row.get(column)) for row in rows}) > 1]


def telling_of_models(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return the columns that tell rows of one model apart."""
    told = {column for group in grouped(rows, ("model",)).values() for column in telling(group, columns)}
    return [column for column in columns if column in told]


def unique(labels: Sequence[str], rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = IDENTITY) -> list[str]:
    """Return a label for each row; to one that several rows have is added what tells those apart."""
    sharing: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for label, row in zip(labels, rows, strict=True):
        sharing[label].append(row)
    added = {label: telling(same, columns) for label, same in sharing.items()}
    return [
        " ".join([label, *(f"{column}={row.get(column)}" for column in added[label])])
        for label, row in zip(labels, rows, strict=True)
    ]


def distinguish(named: Named) -> dict[Any, str]:
    """Give each (name, details) a label that no other has: the name, and where names are shared what differs."""
    sharing: dict[str, list[Any]] = defaultdict(list)
    for key, (name, _) in named.items():
        sharing[name].append(key)
    labels = {}
    for name, keys in sharing.items():
        details = [named[key][1] for key in keys]
        differing = sorted(
            {k for d in details for k in d if any(_text(other.get(k)) != _text(d[k]) for other in details)}
        )
        if len(differing) > 1:  # what says most: a file's path, and not its hash
            differing = [k for k in differing if k != "sha256"]
        shared = {k: _folder([_text(d.get(k)) for d in details]) for k in differing}
        for number, (key, detail) in enumerate(zip(keys, details, strict=True), start=1):
            parts = ", ".join(f"{k}={_text(detail[k])[shared[k] :]}" for k in differing if k in detail)
            # same name and details, another target: only a number tells them apart
            labels[key] = name if len(keys) == 1 else f"{name}({parts})" if differing else f"{name}({number})"
    return labels


def _folder(paths: Sequence[str]) -> int:
    """Return how many characters of absolute paths are the folder that they share; 0 of other texts."""
    if not all(path.startswith("/") for path in paths):
        return 0
    return len(os.path.commonpath(paths).rstrip("/")) + 1


def _text(value: Any) -> str:
    plain = isinstance(value, str) and value.isprintable()
    return str(value) if plain else json.dumps(value, sort_keys=True, default=str)
