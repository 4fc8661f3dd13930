"""How counts and lists are said: one row, 2 rows; a, b and 3 more."""

from __future__ import annotations

import re
from collections.abc import Iterable


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + "s" * (count != 1)


def more(total: int, shown: int, what: str = "") -> list[str]:
    """Return the line that says how many of a list are not shown; nothing where all are."""
    return [f"and {total - shown:,} more{what}"] if total > shown else []


def some(texts: Iterable[str], most: int, separator: str = ", ", what: str = "") -> str:
    """Return the first texts, and how many more there are, on one line."""
    listed = list(texts)
    return " ".join([separator.join(listed[:most]), *more(len(listed), most, what)])


UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(h|min|s)\s*")


def seconds_of(text: str) -> float:
    """Return the seconds of "20min", "90s", "1h30min", "1.5 h". Raises ValueError for anything else, and for none."""
    parts = _PART.findall(text.strip())
    total = sum(float(number) * UNITS[unit] for number, unit in parts)
    if total <= 0 or _PART.sub("", text.strip()):
        raise ValueError("write a time as 20min, 90s or 1h30min")
    return total
