"""Errors that a person is meant to read.

Everything that bad input can cause is a `UsageError`: one message that names the value and the remedy.
`__main__` prints it without a traceback and exits with 2. Anything else that escapes is a defect of ours
and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Bad input: the message names the thing, the value and what to write instead."""


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return `" did you mean 'x'?"`-style advice with the nearest legal name, and the legal names.

    At most twelve names are listed; the number of the others is given.
    """
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(value.lower(), list(lowered), n=1, cutoff=0.6)
    hint = f"did you mean '{lowered[near[0]]}'? " if near else ""
    shown = ", ".join(names[:12]) + (f", and {len(names) - 12} more" if len(names) > 12 else "")
    return f"{hint}Available: {shown or 'none'}"
