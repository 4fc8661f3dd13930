"""Tables packed for a page: column by column, each in the shortest of a few plain forms of JSON.

A table of 10,000 rows and 60 columns is 30 MB as a list of objects and 3 MB so. `assets/data.js` unpacks it.

    {"same": value}                                   every row has it
    {"values": [...]}                                 one value a row
    {"words": [...], "index": [...]}                  texts that repeat; index -1 is null
    {"parts": [...], "lists": [[...], ...]}           texts made of parts that repeat, joined by spaces
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DIGITS = 5
"""Significant digits of figures in a page; the tables beside it have them unrounded."""


def pack(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return {"length", "columns": name -> packed values}."""
    return {"length": len(rows), "columns": {name: column([row[name] for row in rows]) for name in columns}}


def column(values: Sequence[Any]) -> dict[str, Any]:
    """Return the packed form of one column of scalars."""
    plain = [rounded(value) for value in values]
    if len({(type(value), value) for value in plain}) <= 1:  # 1, 1.0 and True are equal, and not the same
        return {"same": plain[0] if plain else None}
    if not all(isinstance(value, str) or value is None for value in plain):
        return {"values": plain}
    index = {text: number for number, text in enumerate(dict.fromkeys(v for v in plain if v is not None))}
    if 2 * len(index) > len(plain) and sum(map(len, index)) > 40 * len(index):
        return _in_parts(plain)
    return {"words": list(index), "index": [-1 if value is None else index[value] for value in plain]}


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """Return a float with `digits` significant digits, as an int where it is whole; "nan", "inf" and "-inf" as words.

    Digits in front of the point are never rounded away. All else is returned as it is.
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 10**digits:
        return round(value)
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def _in_parts(texts: Sequence[str | None]) -> dict[str, Any]:
    parts: dict[str, int] = {}
    lists = [
        None if text is None else [parts.setdefault(part, len(parts)) for part in text.split(" ")] for text in texts
    ]
    return {"parts": list(parts), "lists": lists}
