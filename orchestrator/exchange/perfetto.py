"""The traces of `measure=profile` as files that ui.perfetto.dev opens: Chrome JSON, compressed where it is large."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.errors import UsageError
from orchestrator.files import read_bytes
from orchestrator.records import JobSpec
from orchestrator.results.load import SweepResults
from orchestrator.words import some

TRACE = "trace.json"
"""What the measure calls it, among the artifacts of its job."""
LARGEST = 1 << 30
"""Bytes of a trace: three steps of a small model have 2 MB."""
COMPRESSED = 8 << 20
"""Bytes from which on a file is compressed. Perfetto opens both."""

Trace = tuple[JobSpec, Path]


def traces(results: SweepResults) -> list[Trace]:
    """Return the jobs that left a trace, and where. Raises UsageError when none did."""
    found = [(one.job, results.folder.artifacts(one.job.id) / TRACE) for one in results.outcomes]
    found = [(job, path) for job, path in found if path.is_file()]
    if not found:
        failed = [f"{one.job.title}: {one.reason}" for one in results.outcomes if one.reason]
        why = f" ({some(failed, 2, '; ')})" if failed else ""
        raise UsageError(f"{results.folder} has no trace{why}: measure=profile leaves one for each of its jobs")
    return found


def export(found: Sequence[Trace], folder: Path) -> list[str]:
    """Copy the traces into `folder`, each checked; return a line for each. Raises UsageError."""
    lines = []
    for job, path in found:
        content, events = _checked(path)
        large = len(content) > COMPRESSED
        target = folder / f"{_name(job)}.json{'.gz' * large}"
        try:
            target.write_bytes(gzip.compress(content, 6, mtime=0) if large else content)
        except OSError as error:
            raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error
        lines.append(f"{target}  {events:,} events")
    return [*lines, "open them at https://ui.perfetto.dev (they stay in the browser), or in chrome://tracing"]


def _checked(path: Path) -> tuple[bytes, int]:
    """Return a trace and how many events it has. Raises UsageError for what no viewer would open."""
    try:
        content = read_bytes(path, LARGEST)
        trace: Any = json.loads(content, parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    events = trace.get("traceEvents") if isinstance(trace, dict) else None
    if not isinstance(events, list) or not events:
        raise UsageError(f"{path} is no trace: it has no traceEvents")
    return content, len(events)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _name(job: JobSpec) -> str:
    load = job.workload
    words = (load.model, load.mode.name, load.dtype, load.device, job.compiler.name, job.id[:8])
    return re.sub(r"[^\w.+-]+", "-", "-".join(words))[:200]
