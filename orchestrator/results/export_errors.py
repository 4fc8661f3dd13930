"""Why models could not be exported: causes by kind, each with how many models it stops. Only where there are such."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.columns import Column, count, text
from orchestrator.records import FAIL_TO_RUN, UNSUPPORTED
from orchestrator.results.load import JobOutcome
from orchestrator.words import some

NAME = "export_errors"
EXPORTERS = (
    "orchestrator.compilers.onnx_runtime.",
    "orchestrator.compilers.export.",
    "orchestrator.compilers.openvino.",
)
COLUMNS: tuple[Column | str, ...] = (
    "compiler",
    text("error_kind", "class of the innermost exception that the exporter names"),
    text("error_cause", "what it says, in one line"),
    count("models", "models that it stops"),
    text("such_as", "some of them"),
)
_NAMED = re.compile(r"(?:torch\.onnx\.export|(?:\w+\.)*([A-Z]\w*[a-z0-9][A-Z]\w*|Unsupported)): ")
"""What stands before a message, exceptions inside of each other: "RuntimeError: torch.onnx.export: UserError: "."""


def rows(outcomes: Iterable[JobOutcome]) -> list[dict[str, Any]]:
    """Return a row for each compiler, kind and cause, the most models first."""
    found: dict[tuple[str, str, str], dict[str, None]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.status not in (FAIL_TO_RUN, UNSUPPORTED) or not outcome.job.compiler.target.startswith(EXPORTERS):
            continue
        failure = None if outcome.result is None else outcome.result.failure
        if failure is not None and failure.phase == "compile":
            kind, cause = parted(outcome.reason)
            found[outcome.job.compiler.name, kind or outcome.status, cause][outcome.job.workload.model] = None
    made = [_row(*key, list(models)) for key, models in found.items()]
    return sorted(made, key=lambda row: (-row["models"], row["compiler"], row["error_kind"], row["error_cause"]))


def _row(compiler: str, kind: str, cause: str, models: Sequence[str]) -> dict[str, Any]:
    told = {"error_kind": kind, "error_cause": cause, "models": len(models), "such_as": some(models, 3)}
    return {"compiler": compiler, **told}


def parted(reason: str) -> tuple[str, str]:
    """Return the class of the innermost exception that a reason begins with, "" without one, and the rest."""
    kind = ""
    while (named := _NAMED.match(reason)) is not None:
        kind, reason = named[1] or kind, reason[named.end() :]
    return kind, reason
