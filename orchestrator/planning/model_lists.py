"""A file that names models where a suite's `models` name one, a line each: `NAME,BATCH`, `NAME BATCH`, or `NAME` alone.

PyTorch's `benchmarks/dynamo/*_models_list.txt` are such files, and what its `--batch-size-file` reads. As there, what a
file says is what performance jobs run with: the suite's divisor is not applied to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import limits
from orchestrator.errors import UsageError

ENDINGS = (".txt", ".csv")
LINE = re.compile(r"([^\s,;]+)(?:(?:\s*,\s*|\s+)([1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class Listed:
    """What a file says of a model: its batch size, None where it says none; where: "line 3 of sizes.txt"."""

    batch_size: int | None
    where: str

    def over(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model's entry with the batch size of the file; that of accuracy jobs stays the suite's."""
        if self.batch_size is None:
            return dict(entry)
        sizes = {**(entry.get("batch_size") or {}), "cpu": self.batch_size, "cuda": self.batch_size}
        return {**entry, "batch_size": sizes, "divisor": 1}


def is_file(asked: str, catalog: Collection[str] = ()) -> bool:
    """Tell whether what stands among a suite's models is a file that names some."""
    return asked.lower().endswith(ENDINGS) and asked not in catalog


def expand(asked: Iterable[str], catalog: Collection[str]) -> tuple[list[str], dict[str, Listed]]:
    """Return the models that are asked for, what a file names in the place of the file, and what files say of them.

    Raises UsageError for a file that cannot be read or names none, a line that is none, and two sizes of one model.
    """
    names, listed = [], dict[str, Listed]()
    for one in asked:
        if not is_file(one, catalog):
            names.append(one)
            continue
        for name, said in _read(one).items():
            known = listed.setdefault(name, said)
            if known.batch_size != said.batch_size:
                raise UsageError(f"suite.models: {known.where} and {said.where} give {name} different batch sizes")
            names.append(name)
    return names, listed


def _read(asked: str) -> dict[str, Listed]:
    try:
        with Path(asked).expanduser().open(encoding="utf-8") as file:
            lines = file.read(limits.RULES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"suite.models: {asked} cannot be read as a list of models: {why}") from error
    if len(lines) > limits.RULES:
        raise UsageError(f"suite.models: {asked} is no list of models: it has over {limits.RULES:,} characters")
    found: dict[str, Listed] = {}
    for number, line in enumerate(lines.splitlines(), 1):
        text, where = line.strip(), f"line {number} of {asked}"
        if not text or text.startswith("#"):
            continue
        if (read := LINE.fullmatch(text)) is None:
            raise UsageError(f"suite.models: {where} is {text!r:.80}: write NAME,BATCH with a batch of at least 1")
        said = Listed(int(read[2]) if read[2] else None, where)
        if (known := found.setdefault(read[1], said)).batch_size != said.batch_size:
            raise UsageError(f"suite.models: {known.where} and line {number} give {read[1]} different batch sizes")
    if not found:
        raise UsageError(f"suite.models: {asked} names no model: write a line NAME,BATCH for each")
    return found
