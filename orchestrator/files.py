"""Files are written whole or not at all: a temporary file in the same folder, flush, fsync, rename.

A reader sees the old content or the new, never half of it, whenever the writer dies.

What is read may have been written by anyone: sweeps, baselines and tables are exchanged between people. So nothing
larger than a limit is read (`orchestrator.limits`), and of JSON nothing is taken that no file of ours has: NaN, numbers
that fit no machine word, lists a thousand deep, texts that move a terminal's cursor.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from orchestrator import limits
from orchestrator.errors import without_escapes

NUMBERS = frozenset({int, float})
LEFT_S = 3600.0
"""A temporary file that is older is no one's: none is written for so long."""
SHORT, LARGE = 1000, 1e300
"""A text of fewer characters, a number nearer to 0: of most one need not look closer."""


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write `value` as JSON, atomically: temporary file in the same folder, flush, fsync, rename.

    NaN and infinities are refused (ValueError): they are not JSON, and a figure that is not there is None.
    """
    dense = (",", ":") if indent is None else None
    write_text(path, json.dumps(value, indent=indent, separators=dense, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str | Iterable[str]) -> None:
    """Write a text file atomically, as `write_json` does; of pieces, one after the other. OSError leaves the old file
    as it was. What a process that was killed has left of the same file goes."""
    name = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")  # known before it is there, whenever Ctrl-C comes
    try:
        with open(name, "x", encoding="utf-8", newline="") as file:
            file.writelines((text,) if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # somebody else has removed it
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()


def read_bytes(path: Path | str, most: int = limits.FILE) -> bytes:
    """Return what a file holds; ValueError when that is more than `most` bytes."""
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes, and no more are read")
    return content


def read_json(path: Path | str, most: int = limits.FILE) -> Any:
    """Read a JSON file of at most `most` bytes, as `checked` returns it.

    ValueError when it is none (UnicodeDecodeError included), or would take far more memory than bytes.
    """
    content = read_bytes(path, most)
    lists = content.count(b"[") + content.count(b"{")
    if lists > most // limits.LIST_BYTES:
        raise ValueError(f"it has {lists:,} lists and objects, over {most // limits.LIST_BYTES:,}")
    try:
        value = json.loads(content, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return checked(value)


def checked(value: Any, depth: int = 0) -> Any:
    """Return a JSON value (the same, changed) whose texts are of some length, and can do nothing to a terminal.

    Raises ValueError for what would become a wrong figure or a traceback somewhere: nested too deeply; a number that is
    infinite (1e999 is read so) or an integer that fits no machine word; half of a character.
    """
    kind = type(value)
    if kind is not dict and kind is not list:
        return _scalar(value)
    if depth > limits.DEEPEST:
        raise ValueError(f"nested more than {limits.DEEPEST} deep")
    if kind is dict:
        if not "".join(value).isprintable():
            value = {_scalar(key): item for key, item in value.items()}
        places = value.items()
    elif value and NUMBERS.issuperset(map(type, value)):  # samples: at the speed of C
        _scalar(min(value))
        _scalar(max(value))
        return value
    else:
        places = enumerate(value)
    for place, item in places:
        kind = type(item)
        if kind is str and len(item) < SHORT and item.isprintable():
            continue
        if kind is float and -LARGE < item < LARGE:
            continue
        new = checked(item, depth + 1) if kind is dict or kind is list else _scalar(item)
        if new is not item:
            value[place] = new
    return value


def _scalar(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isprintable() and len(value) <= limits.RECORD else _text(value)
    if kind is float and not math.isfinite(value):
        _no_number(str(value))
    if kind is int and not -limits.WORD < value < limits.WORD:
        raise ValueError(f"an integer of {value.bit_length()} bits is no figure")
    return value


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a text has half of a character: {text[:40]!r}") from error
    return without_escapes(text if len(text) <= limits.RECORD else text[: limits.RECORD] + "…")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def files_below(root: Path) -> Iterator[tuple[str, int]]:
    """Yield (path relative to `root`, bytes) of all files below, links as themselves. What cannot be read is left out.

    Not `os.walk`: that calls itself for every level, and a folder may have thousands.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = os.path.join(folder, entry.name)
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    else:
                        yield name, entry.stat(follow_symlinks=False).st_size


def remove_tree(path: Path) -> None:
    """Remove a folder and what is in it; a folder that is not there is fine.

    What cannot be removed stays, also what lies a thousand folders deep: `shutil.rmtree` calls itself for every level.
    """
    with contextlib.suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
