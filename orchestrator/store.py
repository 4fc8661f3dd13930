"""The sweep folder: the only database, and the only module that spells its paths.

    outputs/2026-11-21/10-31-07/
      sweep.json            what was asked, where, with what: argv, overrides, points, environment, git state
      owner                 signature of plan and header, by which a user knows a sweep of their own
      lock                  held while the sweep runs, and by whom (lock.<n>: a shard)
      stop                  whoever makes this file asks all that run the sweep to end (`execution.interrupts`)
      shards/               of a sweep that a launcher runs: <n>.log is what a shard printed, <n>.json how it ended
      plan.json             the job graph, each record stored once and referred to by its fingerprint
      conf/                 copy of the configuration folders that were composed
      models/               what `orchestrator.api` saved of a notebook's model: files of the user's, which jobs load
      jobs/<id>/            job.json, result.json, log.txt, artifacts, outputs (tensors, with keep_outputs=true)
      references/<id>/      tensors that accuracy jobs compare with (removed when the last of them is done)
      caches/<family>/      private compile caches (removed when the sweep is done)
      tables/               performance, accuracy, summary as csv, md, json
      report.html           the same to look at, in one file

A file is written whole or not at all (`orchestrator.files`). A result file that cannot be read counts as absent, and
says so.

A folder may come from anyone. Ids are names of folders in it, and are checked (`orchestrator.validity`) before they
become paths. Its header is what everybody reads first, and before that the folder is walked once: one with a symbolic
link, a pipe or a device where we read or write is refused (`SweepFolder.check`). So what a sweep says stays in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.files import read_json, write_json
from orchestrator.packing import pack, unpack
from orchestrator.records import SCHEMA_VERSION, JobResult, JobSpec
from orchestrator.typed_json import from_json, to_json
from orchestrator.validity import (
    check_header,
    check_id,
    check_job,
    check_parts,
    check_plugin,
    check_result,
    check_workload,
    without_schema,
)

_RESULT_HEAD = re.compile(rb'\{\s*"schema": %d,\s*"job_id": "(\w+)",\s*"status": "(\w+)",' % SCHEMA_VERSION)
_HEAD_BYTES = 200
MODELS = "models"
OUTPUTS = "outputs"
"""Folder of a judged job with what its calls left, for other sweeps (`keep_outputs`)."""
SERIES = "series.json"
"""What a timed job says of the calls that it made to be judged, beside what they left."""
_TAIL = b"\n}\n"
_ROOM = 64 << 10  # bytes for what is added when it is written
_OWN = re.compile(
    r"(sweep\.json|plan\.json|owner|report\.html|lock(\.\d+)?|stop|conf|shards|jobs|tables|references|caches)"
)


@dataclass(frozen=True)
class JobGraph:
    """The planned jobs in plan order: ids are unique, and every job stands behind the jobs it needs."""

    jobs: tuple[JobSpec, ...]


def own_jobs(graph: JobGraph, sweep: Sweep) -> JobGraph:
    """Return the jobs that are run in this folder: all, or those of its part."""
    if not sweep.shard:
        return graph
    return JobGraph(tuple(job for job, part in zip(graph.jobs, sweep.parts, strict=True) if part == sweep.shard[0]))


def was_imported(argv: Sequence[str]) -> bool:
    """Return whether a sweep's command line is one that read another tool's results."""
    return tuple(argv[:1]) == ("import",)


@dataclass(frozen=True)
class Sweep:
    """The header of a sweep: what was asked, and where. `created` is in seconds since the epoch."""

    argv: tuple[str, ...]
    overrides: tuple[str, ...]
    points: tuple[Any, ...]  # the composed configuration of each grid point
    created: float
    environment: Any = field(default_factory=dict)
    origin: str | None = None  # the folder of the sweep that this one reruns, or what it was imported from
    grid: tuple[tuple[str, ...], ...] = ()  # the overrides of each grid point, single values; () where it was imported
    shard: tuple[int, ...] = ()  # (2, 3): the second of three parts is run in this folder; (): all is
    parts: tuple[int, ...] = ()  # the part of each job, in plan order; () without a shard

    @property
    def imported(self) -> bool:
        """True where the runs were made by another tool: they can be read, and not be run again."""
        return was_imported(self.argv)


@dataclass(frozen=True)
class Unreadable:
    """A result file that exists and cannot be used, and why."""

    path: Path
    reason: str


class SweepFolder:
    """Paths, readers and writers of one sweep folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self.sweep_file = self.root / "sweep.json"
        self.plan_file = self.root / "plan.json"
        self.owner = self.root / "owner"
        self.lock = self.root / "lock"
        self.stop = self.root / "stop"
        self.shards = self.root / "shards"
        self.conf = self.root / "conf"
        self.jobs = self.root / "jobs"
        self.tables = self.root / "tables"
        self.page = self.root / "report.html"
        self.references = self.root / "references"
        self.caches = self.root / "caches"

    def __str__(self) -> str:
        return str(self.root)

    @property
    def name(self) -> str:
        """What people call the sweep: "<date>/<time>"."""
        return f"{self.root.parent.name}/{self.root.name}"

    def job(self, job_id: str) -> Path:
        """Return the job's folder. Raises ValueError for what is no id, as the other paths of jobs and families do."""
        return self.jobs / check_id(job_id)

    def job_file(self, job_id: str) -> Path:
        return self.job(job_id) / "job.json"

    def result_file(self, job_id: str) -> Path:
        return self.job(job_id) / "result.json"

    def _result_name(self, job_id: str) -> str:
        """The same as a text: of 100,000 results paths alone take seconds."""
        return f"{self.jobs}/{check_id(job_id)}/result.json"

    def log_file(self, job_id: str) -> Path:
        return self.root / self.log_name(job_id)

    @staticmethod
    def log_name(job_id: str) -> str:
        """The log's path relative to the folder."""
        return f"jobs/{check_id(job_id)}/log.txt"

    def phase_file(self, job_id: str) -> Path:
        """What the worker is doing now, one word: read when it dies without a result."""
        return self.job(job_id) / "phase.txt"

    def stacks(self, job_id: str) -> Path:
        """Folder with where each rank of a job was when its time was up: rank0.txt, rank1.txt, ..."""
        return self.job(job_id) / "stacks"

    def artifacts(self, job_id: str) -> Path:
        """Folder with what a job makes besides its result: traces, scripts, packages. Empty when the job starts."""
        return self.job(job_id) / "artifacts"

    def outputs(self, job_id: str) -> Path:
        """Folder with what a judged job's calls left, where they are kept for other sweeps."""
        return self.job(job_id) / OUTPUTS

    def reference(self, job_id: str) -> Path:
        """Folder with the tensors that a reference, or a timed job, leaves for the jobs that need it."""
        return self.references / check_id(job_id)

    def cache(self, family: str) -> Path:
        """Private compile-cache folder of a job family (the rounds of one job)."""
        return self.caches / check_id(family)

    def seed(self, family: str) -> Path:
        """What the family's cache began with, where that was not nothing."""
        return self.cache(family) / "toolchain.json"

    def end_of_log(self, job_id: str, most: int) -> bytes | None:
        """Return the last `most` bytes of a job's log, None when there is no log that can be read."""
        try:
            with open(self.log_file(job_id), "rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - most, 0))
                return file.read(most)
        except OSError:
            return None

    def check(self) -> None:
        """Raise UsageError when anything that we read or write in here is neither a file nor a folder.

        What jobs made for themselves (artifacts, caches) is not looked into: we do not read it.
        """
        waiting = [str(self.root)]
        while waiting:
            folder = waiting.pop()
            with contextlib.suppress(OSError):  # it is gone, or cannot be read: then its files cannot be either
                for entry in list(os.scandir(folder)):
                    if folder == str(self.root) and not _OWN.fullmatch(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != "artifacts" and folder != str(self.caches):
                            waiting.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False):
                        raise UsageError(
                            f"{entry.path} is a symbolic link, or no file, and may lead out of the sweep. "
                            "orchestrator never makes one: remove it, if you trust this folder at all"
                        )

    # -- sweep and plan

    def write_plan(self, sweep: Sweep, graph: JobGraph) -> None:
        """Write plan.json, then sweep.json: a folder with a sweep.json is a complete sweep folder."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.plan_file, {"schema": SCHEMA_VERSION, **pack(graph.jobs)}, indent=None)
        write_json(self.sweep_file, {"schema": SCHEMA_VERSION, **to_json(sweep)})

    def read_sweep(self) -> Sweep:
        """Raises UsageError as `check`, and when the folder is no sweep, is damaged, or of another schema version."""
        self.check()
        data = _read_part(self.sweep_file, "sweep", limits.HEADER)
        try:
            sweep = from_json(Sweep, data)
            check_header(sweep.points, sweep.grid, sweep.environment, sweep.created)
            check_parts(sweep.shard, sweep.parts)
            return sweep
        except ValueError as error:
            raise UsageError(f"{self.sweep_file} is damaged: {error}") from error

    def read_graph(self) -> JobGraph:
        """Raises UsageError as `read_sweep`."""
        data = _read_part(self.plan_file, "plan", limits.PLAN)
        try:
            return JobGraph(unpack(data))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{self.plan_file} is damaged ({error}); run the sweep again") from error

    # -- jobs and results

    def write_job(self, job: JobSpec) -> None:
        self.job(job.id).mkdir(parents=True, exist_ok=True)
        write_json(self.job_file(job.id), {"schema": SCHEMA_VERSION, **to_json(job)})

    def read_job(self, job_id: str) -> JobSpec:
        """Raises UsageError as `read_job`, and when the file describes another job."""
        job = read_job(self.job_file(job_id))
        if job.id != job_id:
            raise UsageError(f"{self.job_file(job_id)} is damaged: it describes the job {job.id}")
        return job

    def write_result(self, result: JobResult) -> None:
        self.job(result.job_id).mkdir(parents=True, exist_ok=True)
        write_json(self.result_file(result.job_id), {"schema": SCHEMA_VERSION, **to_json(result)})

    def read_result(self, job_id: str) -> JobResult | Unreadable | None:
        """Return the result, None when there is none, or `Unreadable` when the file is cut short or not ours."""
        try:
            data = without_schema(read_json(self._result_name(job_id), limits.RESULT))
            result = check_result(from_json(JobResult, data))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError) as error:
            return Unreadable(self.result_file(job_id), str(error))
        if result.job_id != job_id:
            return Unreadable(self.result_file(job_id), f"it is the result of job {result.job_id}")
        return result

    def check_results(self, jobs: int) -> None:
        """Raise UsageError when the results of so many jobs have more bytes than are read.

        One that is too large alone is not read, and is a row that says so.
        """
        size = 0
        with contextlib.suppress(OSError):  # there are none, or they cannot be read
            for entry in os.scandir(self.jobs):
                with contextlib.suppress(OSError):
                    own = os.stat(os.path.join(entry.path, "result.json")).st_size
                    size += own if own <= limits.RESULT else 0
        most = limits.RESULTS + limits.RESULTS_EACH * jobs
        if size > most:
            raise UsageError(
                f"{self.jobs}: the results have {size:,} bytes, over the {most:,} that are read of {jobs:,} jobs"
            )

    def read_status(self, job_id: str) -> str | None:
        """Return the status of a job's result, None where there is no result that can be read.

        Of a file that begins and ends as `write_result` leaves it only that is read: 10,000 results have 100 MB of
        samples. Any other is read in full.
        """
        try:
            with open(self._result_name(job_id), "rb", buffering=0) as file:  # a buffer costs as much again
                head = file.read(_HEAD_BYTES)
                file.seek(-len(_TAIL), os.SEEK_END)
                tail = file.read()
        except OSError:
            return None
        found = _RESULT_HEAD.match(head)
        if found is not None and found[1] == job_id.encode() and tail == _TAIL:
            return found[2].decode()
        result = self.read_result(job_id)
        return result.status if isinstance(result, JobResult) else None


def check_size(sweep: Sweep, graph: JobGraph) -> None:
    """Raise UsageError for a header or a plan that would be written, and then be too large to be read."""
    size = len(json.dumps(to_json(sweep), indent=1, ensure_ascii=False).encode())
    _fits(size, limits.HEADER - _ROOM, len(sweep.points), "grid points")
    _fits(len(graph.jobs), limits.JOBS, len(graph.jobs), "jobs")
    size = len(json.dumps(pack(graph.jobs), separators=(",", ":"), ensure_ascii=False).encode())
    _fits(size, limits.PLAN - _ROOM, len(graph.jobs), "jobs")


def _fits(size: int, most: int, count: int, what: str) -> None:
    if size > most:
        raise UsageError(
            f"{count:,} {what} are too many for one sweep folder, which holds some {most * count // size:,} of them: "
            "sweep less at a time"
        )


def read_job(path: Path) -> JobSpec:
    """Read one job.json. Raises UsageError when it is missing, damaged or of another schema version."""
    data = _read_part(path, "job", limits.RESULT)
    try:
        job = check_job(from_json(JobSpec, data))
        check_workload(job.workload)
        for spec, what in ((job.compiler, "compiler"), (job.measure, "measure")):
            check_plugin(spec, what)
        return job
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}") from error


def new_folder(wanted: Path) -> SweepFolder:
    """Create the folder `wanted`, or `wanted`-1, -2, ... where it is taken. Raises OSError."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    path, number = wanted, 0
    while True:
        try:
            path.mkdir()
            return SweepFolder(path)
        except FileExistsError:
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")


def find_sweeps(root: Path) -> Iterator[SweepFolder]:
    """Yield the sweep folders below `root`, newest first (by folder name: date, then time)."""
    for file in sorted(root.glob("*/*/sweep.json"), reverse=True):
        yield SweepFolder(file.parent)


def find_sweep(reference: str, root: Path) -> SweepFolder:
    """Return the sweep that a person named: a path, "latest", "latest~1", or the beginning of "<date>/<time>".

    Raises UsageError when there is none, or more than one.
    """
    if os.path.isfile(os.path.join(reference, "sweep.json")):  # not Path.is_file: a name may be too long to be one
        return SweepFolder(reference)
    sweeps = list(find_sweeps(root))
    if reference == "latest" or reference.startswith("latest~"):
        back = reference.removeprefix("latest").removeprefix("~") or "0"
        if not back.isdecimal():
            raise UsageError(f"'{reference}' does not name a sweep: write latest, latest~1, latest~2, ...")
        if int(back) >= len(sweeps):
            raise UsageError(f"'{reference}': there are {len(sweeps)} sweeps under {root}")
        return sweeps[int(back)]
    if os.path.isdir(reference):
        raise UsageError(f"{reference} is not a sweep folder: it has no sweep.json")
    named = {sweep: sweep.name for sweep in sweeps}
    hits = [
        sweep
        for sweep, name in named.items()
        if reference and (name.startswith(reference) or name.endswith(f"/{reference}"))
    ]
    if len(hits) != 1:
        found = f"{len(hits)} sweeps" if hits else "no sweep"
        listed = ", ".join(list(named.values())[:5]) or "none"
        raise UsageError(f"'{reference}' names {found} under {root}. Newest: {listed}")
    return hits[0]


def _read_part(path: Path, what: str, most: int) -> dict[str, Any]:
    try:
        data = read_json(path, most)
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is not a {what} folder: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    try:
        return without_schema(data)
    except ValueError as error:
        raise UsageError(f"{path} {error}") from error
