"""A sweep folder that is written all of it or nothing: what was read from files of other tools, or other folders."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.execution.lock import held, is_left
from orchestrator.files import remove_tree
from orchestrator.records import SCHEMA_VERSION, JobResult, JobSpec
from orchestrator.store import JobGraph, Sweep, SweepFolder
from orchestrator.typed_json import to_json
from orchestrator.words import plural

HALF = ".half-"
"""What the name of a folder begins with that is being made."""


@dataclass(frozen=True)
class Imported:
    """The jobs of a sweep that was read from files, and their results."""

    jobs: Sequence[JobSpec]
    results: Sequence[JobResult]
    notes: Sequence[str]


@contextlib.contextmanager
def whole(into: Path) -> Iterator[SweepFolder]:
    """Make the sweep folder `into`, all of it or nothing: what is yielded stands beside it, and is renamed at the end.

    What one that was killed has left there is removed. Raises UsageError when `into` exists, or cannot be written.
    """
    if into.exists():
        raise UsageError(f"{into} exists: name another folder with --into")
    half = into.with_name(f"{HALF}{os.urandom(6).hex()}")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        for left in into.parent.glob(f"{HALF}*"):
            if is_left(left):
                remove_tree(left)
        half.mkdir(mode=0o700)
        with held(half):
            folder = SweepFolder(half / into.name)
            yield folder
            folder.root.rename(into)
    except OSError as error:
        raise UsageError(f"{into} cannot be written: {error}") from error
    finally:
        remove_tree(half)


def write(imported: Imported, into: Path, argv: Sequence[str], files: Sequence[Path], created: float) -> SweepFolder:
    """Write the sweep folder `into`; `files` are what was read, `created` when it was measured, in s since the epoch.

    Raises UsageError when the folder exists, or cannot be written.
    """
    sweep = Sweep(
        argv=tuple(argv),
        overrides=(),
        points=(),
        created=created,
        environment={},  # a file says nothing of the machine
        origin=f"imported from {plural(len(files), 'file')}",
    )
    with whole(into) as folder:
        for job, result in zip(imported.jobs, imported.results, strict=True):
            folder.job(job.id).mkdir(parents=True)
            _write(folder.job_file(job.id), job)
            _write(folder.result_file(job.id), result)
            folder.log_file(job.id).write_text(_log(result), encoding="utf-8")
        folder.write_plan(sweep, JobGraph(tuple(imported.jobs)))
    return SweepFolder(into)


def _write(path: Path, record: JobSpec | JobResult) -> None:
    """Write a record as `SweepFolder` does, but at once: nobody reads the folder before it is complete, and waiting for
    the disk 30,000 times would take minutes."""
    text = json.dumps({"schema": SCHEMA_VERSION, **to_json(record)}, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _log(result: JobResult) -> str:
    """Return, in the place of a log, where a result comes from."""
    origin = result.facts.get("dynamobench")
    if origin is None:
        return "eager, as the rows of compilers tell of it\n"
    cells = "".join(f"{column}: {cell}\n" for column, cell in origin["cells"].items())
    return f"{origin['file']}, line {origin['line']}\n{cells}"
