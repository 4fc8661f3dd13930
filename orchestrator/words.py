"""How counts and lists are said: one row, 2 rows; a, b and 3 more."""

from __future__ import annotations

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
