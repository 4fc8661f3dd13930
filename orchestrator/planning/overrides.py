"""How a text is written in Hydra's grammar of overrides. Without Hydra, which takes long to import."""

from __future__ import annotations

import re

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
