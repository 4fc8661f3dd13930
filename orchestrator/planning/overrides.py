"""How a text is written in Hydra's grammar of overrides. Without Hydra, which takes long to import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

BEFORE_A_QUOTE = re.compile(r"(\\*)('|\Z)")
OTHER_TYPE = re.compile(r"|null|true|false|[+-]?(inf|nan|[0-9][0-9_.]*(e[+-]?[0-9]+)?|\.[0-9]+)", re.IGNORECASE)
"""Text that Hydra's grammar would take for something else than text."""


def quoted(text: str) -> str:
    """Return `text` as one value, whatever characters it has.

    In quotes a backslash is itself, but for those in front of a quote, or of the closing one: they are doubled.
    """
    return "'" + BEFORE_A_QUOTE.sub(lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def value(text: str) -> str:
    """Return a string as one value, quoted where it is more than a plain word."""
    plain = all((c.isascii() and c.isalnum()) or c in "_-./:" for c in text)
    return text if plain and not OTHER_TYPE.fullmatch(text) else quoted(text)


def literal(given: Any) -> str:
    """Return a value of YAML as the grammar writes it: {a: [1, null]} as "{a:[1,null]}"."""
    if isinstance(given, Mapping):
        return "{" + ",".join(f"{value(str(key))}:{literal(item)}" for key, item in given.items()) + "}"
    if isinstance(given, (list, tuple)):
        return "[" + ",".join(map(literal, given)) + "]"
    if isinstance(given, str):
        return value(given)
    return "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given)


def override(key: str, given: Any) -> str:
    """Return "key=value" of a value of YAML. A text is taken as the command line would: "a,b" are two values."""
    return f"{key}={given if isinstance(given, str) else literal(given)}"
