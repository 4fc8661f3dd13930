"""Files of earlier schema versions, made readable: one step for each version that was left behind.

`records.SCHEMA_VERSION` is raised when a reader of the old files would misread the new ones. Whoever raises it enters a
step here, and every sweep that lies on a disk stays readable, comparable and resumable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.records import SCHEMA_VERSION

Step = Callable[[str, dict[str, Any]], dict[str, Any]]
"""(what a file is: "sweep", "plan", "job", "result" or "snapshot"; its JSON object) -> that of the next version."""

MIGRATIONS: dict[int, Step] = {}
"""Version -> the step from it to the next one. Empty: there was no other version yet."""


def migrated(what: str, data: Any) -> dict[str, Any]:
    """Return the JSON object of a file as this version has it, without its "schema".

    Raises ValueError, which says what to do, when it is none, is newer, or is so old that no step leads here.
    """
    version = data.get("schema") if isinstance(data, dict) else None
    if type(version) is not int:
        raise ValueError("has no schema version: it is damaged, or was not written by orchestrator")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"was written by a newer orchestrator (schema version {version}); "
            f"this one reads up to {SCHEMA_VERSION}: upgrade"
        )
    while version < SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise ValueError(
                f"was written by an older orchestrator (schema version {version}); this one cannot read it, "
                "the version that wrote it can"
            )
        data = MIGRATIONS[version](what, data)
        version += 1
    return {key: value for key, value in data.items() if key != "schema"}
