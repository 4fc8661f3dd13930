"""Which sweep folders this user made here: a note outside of them, because a folder can say anything about itself.

A sweep that was sent by someone may name code to run (a user's model, variables such as LD_PRELOAD) or bring compile
caches, which are pickles and shared libraries. So it is resumed and rerun with more care than one's own. One's own is
known by a note in the user's state folder: the path of the sweep folder, and inode and change time of its plan and
header. A folder that was unpacked, copied or moved does not fit its note: a kernel gives every new file its own change
time, and no archive can set one.

Where no note can be written, every sweep counts as someone else's: more is asked then, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from orchestrator.files import read_json, write_json
from orchestrator.store import SweepFolder

STATE_VARIABLE = "XDG_STATE_HOME"
LONGEST = 64 << 10
"""Bytes of a note."""
MANY = 1000
"""With so many notes, those of folders that are gone are removed."""


def claim(store: SweepFolder) -> None:
    """Note that this user has just written plan and header of the folder, here."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        notes = _notes()
        notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(notes)
        write_json(_note(store), _about(store))


def is_own(store: SweepFolder) -> bool:
    """Tell whether this user wrote plan and header of the folder, here, and nobody has put others in their place."""
    try:
        return bool(read_json(_note(store), LONGEST) == _about(store))
    except (OSError, ValueError, RuntimeError):
        return False


def _notes() -> Path:
    state = os.environ.get(STATE_VARIABLE)
    return (
        (Path(state) if state and os.path.isabs(state) else Path.home() / ".local" / "state") / "orchestrator" / "own"
    )


def _note(store: SweepFolder) -> Path:
    return (
        _notes() / f"{hashlib.sha256(os.path.realpath(store.root).encode(errors='surrogateescape')).hexdigest()}.json"
    )


def _about(store: SweepFolder) -> dict[str, Any]:
    files = [os.lstat(file) for file in (store.plan_file, store.sweep_file)]
    return {"folder": os.path.realpath(store.root), "files": [[one.st_ino, one.st_ctime_ns] for one in files]}


def _tidy(notes: Path) -> None:
    """Remove the notes of folders that are gone, once there are many."""
    files = list(notes.glob("*.json"))
    for file in files if len(files) > MANY else ():
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if not os.path.isdir(read_json(file, LONGEST)["folder"]):
                file.unlink()
