"""Files are written whole or not at all: a temporary file in the same folder, flush, fsync, rename.

A reader sees the old content or the new, never half of it, whenever the writer dies.

What is read may have been written by anyone: sweeps, baselines and tables are exchanged between people. So nothing is
opened but regular files (a pipe would block for ever, a device may never end), nothing larger than a limit is read, and
of JSON nothing is taken that no file of ours has: NaN, numbers that fit no machine word, lists a thousand deep.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

LARGEST = 256 << 20
"""Bytes of a file that is read whole. The plan of 10,000 jobs has 5 MB; parsed, a file may take 25 times its size."""
DEEPEST = 64
"""Levels of lists and objects in each other."""
WORD = 2**63
"""Integers are smaller, as in a column of a table."""
NUMBERS = frozenset({int, float})


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


def open_file(path: Path, *, linked: bool = True) -> BinaryIO:
    """Open a regular file for reading, in bytes. Anything else is an OSError that says so, at once.

    `linked=False`: nor may it be a symbolic link, which can name any file of the reader's.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if linked else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(descriptor, "rb")


def read_bytes(path: Path, most: int = LARGEST, *, linked: bool = True) -> bytes:
    """Return what a regular file holds; ValueError when that is more than `most` bytes. `linked`: as `open_file`."""
    with open_file(path, linked=linked) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"it has {size:,} bytes, and no more than {most:,} are read")
        return file.read()


def read_json(path: Path, most: int = LARGEST, *, linked: bool = True) -> Any:
    """Read a JSON file. ValueError when it is none (UnicodeDecodeError included), or not one of `check_json`.

    `most` and `linked`: as `read_bytes`.
    """
    try:
        value = json.loads(read_bytes(path, most, linked=linked), parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    check_json(value)
    return value


def check_json(value: Any, depth: int = 0) -> None:
    """Raise ValueError for a JSON value that would become a wrong figure or a traceback somewhere.

    Nested over `DEEPEST`; a number that is infinite (1e999 is read so) or an integer over `WORD`; half of a character.
    """
    if depth > DEEPEST:
        raise ValueError(f"nested more than {DEEPEST} deep")
    kind = type(value)
    if kind is dict:
        for key in value:
            _check_scalar(key)
        value = value.values()
    elif kind is not list:
        _check_scalar(value)
        return
    elif value and NUMBERS.issuperset(map(type, value)):  # samples: at the speed of C
        _check_scalar(min(value))
        _check_scalar(max(value))
        return
    for item in value:
        if type(item) in (dict, list):
            check_json(item, depth + 1)
        else:
            _check_scalar(item)


def _check_scalar(value: Any) -> None:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is float:
        if not math.isfinite(value):
            _no_number(str(value))
    elif kind is int and not -WORD < value < WORD:
        raise ValueError(f"an integer of {value.bit_length()} bits is no figure")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a text has half of a character: {text[:40]!r}") from error


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
