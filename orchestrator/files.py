"""Files are written whole or not at all: a temporary file in the same folder, flush, fsync, rename.

A reader sees the old content or the new, never half of it, whenever the writer dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write `value` as JSON, atomically: temporary file in the same folder, flush, fsync, rename.

    NaN and infinities are refused (ValueError): they are not JSON, and a figure that is not there is None.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as `write_json` does. OSError leaves the old file as it was."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError when it is not JSON (UnicodeDecodeError and RecursionError included)."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def remove_tree(path: Path) -> None:
    """Remove a folder and what is in it; a folder that is not there is fine."""
    shutil.rmtree(path, ignore_errors=True)
