"""CSV files of PyTorch's benchmarks/dynamo as a sweep folder, which every verb reads.

Nothing is made up. A median becomes the one sample of its metric. A speed-up, a compilation latency and a ratio of
memory come without what they were made of, so they are facts of the result ("given"), and have no interval. Eager was
timed in the process of each compiler: its latency, speed-up x abs_latency, and its peak memory are one round of the
workload's eager row for every file. All cells of a row stay with its result, so that an export gives them back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.exchange.dynamobench import COMPILERS, COUNTERS, GB, status_of
from orchestrator.exchange.dynamobench_files import CsvLine, Source, outcome_of
from orchestrator.exchange.folder import Imported
from orchestrator.records import (
    CRASH,
    EAGER,
    FAIL_ACCURACY,
    INFRASTRUCTURE,
    OUT_OF_MEMORY,
    PASS,
    SUCCESSES,
    TIMEOUT,
    Failure,
    JobResult,
    JobSpec,
    Need,
    PluginSpec,
    Samples,
    Workload,
    fingerprint,
    job_id,
)
from orchestrator.results.load import GIVEN
from orchestrator.results.memory import DYNAMOBENCH

TARGET = "dynamobench"
"""Package in the targets of imported plug-ins. There is none: these jobs can be read, and not run again."""
SEED = 1337
"""benchmarks/dynamo sets all random states to it."""
LAUNCHER = "subprocess"
TIMEOUT_S = 60.0
"""Should somebody run one of these jobs again, this is enough for the error that says why it cannot be."""
KINDS: Mapping[str, str] = {
    OUT_OF_MEMORY: "out_of_memory",
    TIMEOUT: "timeout",
    CRASH: "crash",
    FAIL_ACCURACY: "wrong_result",
    INFRASTRUCTURE: "infrastructure",
}
"""Status -> kind of the failure, where that is not "error"."""
CPU_MEMORY = (
    "peak memory of CPU rows: where benchmarks/dynamo wrote it, it is the current size of the process, 100 times too "
    "large; only ratios mean something"
)
Printed = tuple[Any, str]
"""A workload or plug-in, and its fingerprint."""
OURS = {theirs: ours for ours, theirs in COMPILERS.items()}


class _Reader:
    """Makes jobs and results of rows. Equal records are made once, so that a plan stores them once."""

    def __init__(self, sources: Sequence[Source], threads: int) -> None:
        self.sources = sources
        self.threads = threads
        self.batch_sizes = _batch_sizes(sources)
        self.workloads: dict[tuple[Any, ...], Printed] = {}
        self.plugins: dict[tuple[str, str, str], Printed] = {}
        self.jobs: dict[str, JobSpec] = {}
        self.results: list[JobResult] = []
        self.rounds: Counter[str] = Counter()  # of eager, by workload
        self.words: Counter[str] = Counter()  # that are not known

    def read(self) -> Imported:
        for source in self.sources:
            for line in source.lines:
                self._row(source, line)
        notes = [f"'{word}' is no known status: taken for fail_to_run, {n} times" for word, n in self.words.items()]
        if any(job.workload.device == "cpu" and job.compiler.name == EAGER for job in self.jobs.values()):
            notes.append(CPU_MEMORY)
        if any(job.workload.batch_size == 0 for job in self.jobs.values()):
            notes.append("batch size 0: the files have none for these rows")
        return Imported(tuple(self.jobs.values()), self.results, notes)

    def _row(self, source: Source, line: CsvLine) -> None:
        testing = source.name.testing
        workload, compiler = self._workload(source, line), self._compiler(source, line)
        status, word = outcome_of(source, line)
        if status not in SUCCESSES and word not in ("", "0") and not _known(word):
            self.words[word] += 1
        measure = self._plugin(testing, testing.capitalize())
        facts: dict[str, Any] = {"dynamobench": {"file": source.path.name, "line": line.number, "cells": line.cells}}
        samples: tuple[Samples, ...] = ()
        needs: tuple[Need, ...] = ()
        if testing == "performance" and status == PASS:
            samples = _latency(line.number_of("abs_latency"))
            facts |= _facts(line, workload[0].device)
            eager = self._eager(source, line, workload, measure)
            needs = (Need(job=eager, kind="baseline"),) if eager is not None else ()
        elif testing == "accuracy":
            facts |= _counters(line)
        job = self._job(source, workload, compiler, measure, needs=needs)
        failure = _failure(status, word, f"{source.path.name}, line {line.number}")
        self._result(source, job, status, samples=samples, facts=facts, failure=failure)

    def _eager(self, source: Source, line: CsvLine, workload: Printed, measure: Printed) -> str | None:
        """Add what this row says of eager as one more round of it; return its job, None when it says nothing."""
        latency = eager_latency(line)
        memory = _memory(line.number_of("eager_peak_mem"), workload[0].device)
        if latency is None and not memory:
            return None
        round = self.rounds[workload[1]]
        self.rounds[workload[1]] += 1
        job = self._job(source, workload, self._plugin(EAGER, "Eager"), measure, round)
        self._result(source, job, PASS, samples=_latency(latency), facts={"cache": "none", **memory})
        return job

    def _job(
        self,
        source: Source,
        workload: Printed,
        compiler: Printed,
        measure: Printed,
        round: int = 0,
        needs: tuple[Need, ...] = (),
    ) -> str:
        number = job_id(workload[1], compiler[1], measure[1], round=round, launcher=LAUNCHER, env={})
        if number in self.jobs:
            raise UsageError(
                f"{source.path}: {workload[0].model} with {compiler[0].name} stands in another of these files, too; "
                "import them apart, or name the compiler of one with --compiler"
            )
        self.jobs[number] = JobSpec(
            id=number,
            workload=workload[0],
            compiler=compiler[0],
            measure=measure[0],
            round=round,
            launcher=LAUNCHER,
            env={},
            needs=needs,
            timeout_s=TIMEOUT_S,
            cost_s=1.0,
        )
        return number

    def _result(self, source: Source, job: str, status: str, **seen: Any) -> None:
        self.results.append(JobResult(job_id=job, status=status, started=source.seen, ended=source.seen, **seen))

    def _workload(self, source: Source, line: CsvLine) -> Printed:
        name = source.name
        device = line.text("dev") or name.device
        device = "cuda:0" if device == "cuda" else device  # which of several, a file does not say
        batch_size = _batch_size(line) or self.batch_sizes.get(_model(source, line), 0)
        key = (name.suite, line.text("name"), name.mode, name.dtype, device, batch_size)
        if key not in self.workloads:
            workload = Workload(
                suite=name.suite,
                builder=self._plugin(line.text("name"), "Model")[0],
                mode=self._plugin(name.mode, name.mode.capitalize())[0],
                dtype=name.dtype,
                device=device,
                batch_size=batch_size,
                sequence_length=None,
                seed=SEED,
                threads=self.threads,
            )
            self.workloads[key] = (workload, fingerprint(workload))
        return self.workloads[key]

    def _compiler(self, source: Source, line: CsvLine) -> Printed:
        tag = line.text("tag")
        tag = "" if _known(tag) or tag in ("0", "0.0000") else tag
        return self._plugin(OURS.get(source.name.compiler, source.name.compiler), "Compiler", tag)

    def _plugin(self, name: str, kind: str, tag: str = "") -> Printed:
        key = (name, kind, tag)
        if key not in self.plugins:
            spec = PluginSpec(name=name, target=f"{TARGET}.{kind}", options={"tag": tag} if tag else {})
            self.plugins[key] = (spec, fingerprint(spec))
        return self.plugins[key]


def read(sources: Sequence[Source], threads: int = 0) -> Imported:
    """Return the jobs and results that the files tell of. `threads`: of their runs, 0 where nobody knows.

    Raises UsageError when two files speak of the same run.
    """
    return _Reader(sources, threads).read()


def _batch_sizes(sources: Sequence[Source]) -> dict[tuple[str, ...], int]:
    """Return the batch size of every model that has one and only one: rows of failures often have none."""
    seen: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for source in sources:
        for line in source.lines:
            if size := _batch_size(line):
                seen[_model(source, line)].add(size)
    return {key: next(iter(sizes)) for key, sizes in seen.items() if len(sizes) == 1}


def _model(source: Source, line: CsvLine) -> tuple[str, ...]:
    n = source.name
    return (n.suite, n.dtype, n.mode, n.device, n.testing, line.text("name"))


def _batch_size(line: CsvLine) -> int:
    """Return a row's batch size; 0, as of rows of failures, for none. Raises UsageError for what is no batch size."""
    size = line.number_of("batch_size")
    if size is None and not any(c.isdigit() for c in line.text("batch_size")):
        return 0
    if size is None or not 0 <= size < limits.WORD or size != int(size):
        raise UsageError(
            f"line {line.number}: batch_size '{line.text('batch_size')[:40]}' is no batch size: mend the file"
        )
    return int(size)


def eager_latency(line: CsvLine) -> float | None:
    """Return eager's median in ms: its column where there is one, else speed-up x abs_latency, which is how it is
    defined."""
    known = line.number_of("eager_latency")
    speedup, latency = line.number_of("speedup"), line.number_of("abs_latency")
    return known or (speedup * latency if speedup and latency else None)


def _latency(milliseconds: float | None) -> tuple[Samples, ...]:
    if not milliseconds or milliseconds < 0:
        return ()
    return (Samples(metric="latency", unit="s", better="lower", values=(milliseconds / 1e3,)),)


def _facts(line: CsvLine, device: str) -> dict[str, Any]:
    """Return the facts of a performance row that passed. A ratio or a peak of 0 was not measured."""
    given = {
        "speedup": line.number_of("speedup"),
        "compile_latency_s": line.number_of("compilation_latency"),
        "compression_ratio": line.number_of("compression_ratio") or None,
    }
    memory = _memory(line.number_of("dynamo_peak_mem"), device)
    return {
        "cache": "cold",  # their dashboards start so; a file does not say
        GIVEN: {name: value for name, value in given.items() if value is not None},
        **memory,
        **_counters(line),
    }


def _memory(gigabytes: float | None, device: str) -> dict[str, Any]:
    if not gigabytes or gigabytes < 0:
        return {}
    size = round(gigabytes * GB)
    cuda = {"steady": {"allocated": size}} if device.startswith("cuda") else None
    return {"memory": {"source": DYNAMOBENCH, "base": 0, "phases": {"steady": {"peak": size}}, "cuda": cuda}}


def _counters(line: CsvLine) -> dict[str, Any]:
    counted = {ours: line.number_of(theirs) for theirs, ours in COUNTERS.items()}
    counters = {ours: int(value) for ours, value in counted.items() if value is not None}
    return {"counters": counters} if counters else {}


def _failure(status: str, word: str, where: str) -> Failure | None:
    if status in SUCCESSES:
        return None
    told = f"the file says '{word}'" if word not in ("", "0") else "the run failed; the file does not say how"
    return Failure(kind=KINDS.get(status, "error"), phase="", message=f"{told} ({where})")


def _known(word: str) -> bool:
    return status_of(word) is not None
