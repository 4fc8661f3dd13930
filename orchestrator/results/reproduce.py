"""The one shell command that runs a row again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from orchestrator.records import PluginSpec, Workload

REPLACED = frozenset(
    {"suite", "compiler", "dtype", "mode", "device", "measure", "batch_size", "sequence_length", "seed"}
    | {"suite.models", "suite.filter", "suite.exclude", "device.index", "threads"}
    | {"exclude", "zip", "grids", "shard", "resume", "dry_run"}
)
"""Keys of the sweep's own overrides that the row answers itself, or that choose among rows."""


def command(
    workload: Workload,
    compiler: PluginSpec,
    measures: Iterable[str],
    overrides: Iterable[str] = (),
    *,
    own_batch_sizes: bool = False,
) -> str:
    """Return the command line, quoted for a POSIX shell, in Hydra's grammar.

    `measures` are the names of the measures; with `own_batch_sizes` each takes the suite's batch size for it, not the
    workload's. Of the sweep's own `overrides` those are kept that fix one value of something else (an option of
    the compiler, the number of rounds): without them other numbers would come out.
    """
    w = workload
    device, _, index = w.device.partition(":")
    words = [
        f"suite={value(w.suite)}",
        f"suite.models=[{value(w.model)}]",
        f"compiler={value(compiler.name)}",
        f"measure={','.join(value(name) for name in measures)}",
        f"dtype={value(w.dtype)}",
        f"mode={value(w.mode.name)}",
        f"device={value(device)}",
        *([f"device.index={index}"] if index else []),
        *([] if own_batch_sizes else [f"batch_size={w.batch_size}"]),
        *([f"sequence_length={w.sequence_length}"] if w.sequence_length is not None else []),
        f"seed={w.seed}",
        f"threads={w.threads}",
        *(override for override in overrides if _fixes_something_else(override)),
    ]
    return "python -m orchestrator " + " ".join(shlex.quote(word) for word in words)


def value(text: str) -> str:
    """Return a string as Hydra's grammar reads it: quoted where it is more than a plain word."""
    if text and all(c.isalnum() or c in "_-./:" for c in text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fixes_something_else(override: str) -> bool:
    key, separator, chosen = override.partition("=")
    name = key.lstrip("+~")
    swept = "," in _outside_brackets(chosen) or chosen.startswith(("glob(", "range(", "choice("))
    return bool(separator) and name not in REPLACED and not name.startswith("hydra") and not swept


def _outside_brackets(text: str) -> str:
    """Return the characters that stand in no bracket: a comma among them means a sweep over values."""
    depth = 0
    kept = []
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if depth == 0:
            kept.append(character)
    return "".join(kept)
