"""Which sweep folders this user made: their plan and header are signed with a key that only this user has.

A sweep that was sent by someone may name code to run (a user's model, variables such as LD_PRELOAD). So a person is
asked before it is run again; one's own is not asked about, wherever it was moved to. The signature is an HMAC over
plan.json and sweep.json, in the file `owner` beside them; the key lies in the user's state folder, and never leaves it.

Where there is no key and none can be made, every sweep counts as someone else's: more is asked, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from orchestrator import limits
from orchestrator.files import read_bytes, write_text
from orchestrator.store import SweepFolder

STATE_VARIABLE = "XDG_STATE_HOME"
KEY_BYTES = 32


def claim(store: SweepFolder) -> None:
    """Sign plan and header of the folder, which this user has just written."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a user without a home
        _make_key(_key_file())
        write_text(store.owner, _signature(store) + "\n")


def is_own(store: SweepFolder) -> bool:
    """Tell whether plan and header of the folder are as this user wrote them."""
    try:
        return hmac.compare_digest(read_bytes(store.owner).strip(), _signature(store).encode())
    except (OSError, ValueError, RuntimeError):
        return False


def _signature(store: SweepFolder) -> str:
    key = read_bytes(_key_file())
    if len(key) != KEY_BYTES:
        raise ValueError("the key is damaged")
    parts = [hashlib.sha256(read_bytes(file, limits.PLAN)).digest() for file in (store.plan_file, store.sweep_file)]
    return hmac.new(key, b"".join(parts), "sha256").hexdigest()


def _key_file() -> Path:
    state = os.environ.get(STATE_VARIABLE)
    return (
        (Path(state) if state and os.path.isabs(state) else Path.home() / ".local" / "state") / "orchestrator" / "key"
    )


def _make_key(file: Path) -> None:
    """Make the user's key, where there is none: whole at once, readable by the user alone."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)  # of mode 0600
    with open(handle, "wb") as made:
        made.write(secrets.token_bytes(KEY_BYTES))
    os.rename(name, file)
