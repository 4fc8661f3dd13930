"""Files of the user's that a model is made from: named when planning, read in the worker, the same in between.

A job names its file by absolute path, so that it can be run from any folder, and with the SHA-256 of its content, so
that a changed file is another job. What the file itself imports or reads is not looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path


def described(path: Path) -> dict[str, str]:
    """Return {"sha256": hexadecimal} of a file's content, {} of one that cannot be read: the job will say why."""
    try:
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError:
        return {}


def read(path: Path, sha256: str | None) -> bytes:
    """Return the content. Raises ValueError when there is none, or another one than `sha256` was planned with."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} has changed since this job was planned: run the command again, it is another job now")
    return content


def absolute(path: str) -> Path:
    """Return an absolute path without `~`, `.` and `..`, seen from the directory in which the command runs."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def row_name(text: str) -> str:
    """Return `text` as a name for rows: what is no letter, digit, or one of the signs _ . + - becomes _."""
    return re.sub(r"[^\w.+-]", "_", text)
