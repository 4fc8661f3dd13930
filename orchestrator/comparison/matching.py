"""Which row of one sweep belongs to which row of another: by configuration, key by key.

Equal configurations belong together. So do rows that differ only where the two sweeps as a whole do: a sweep with
`dtype=float16` and one with `dtype=float32` have no row in common, and every row of one has its partner in the other.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.comparison.snapshot import CONF, Row
from orchestrator.results.configuration import ABSENT

Keys = Mapping[str, tuple[Any, Any]]
"""Key of the configuration -> its values before and after, which differ."""

SAME_THING = ("suite.models", "measure")
"""Keys in which matched rows never differ: other models, other measures are other things."""
RANKS = ("mode.options.parallel", "mode.options.ranks")
"""Nor in these: the times of two ranks and of four are times of other work."""
NAMED_BY = {"suite.models": "model", "execution.launcher": "launcher"}
"""Key of the configuration -> column that shows it, where the two are not called alike."""


def match_rows(before: Iterable[Row], after: Iterable[Row]) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Return the rows that belong together, in the order of `before`, and those that only one side has.

    First rows that differ in nothing but the keys in which all that is left differs (none of its values is on both
    sides); then in one key more, of which the sides have not the same values; then in all of those. Among rows that
    would fit several others, none is taken: a guess would be a wrong number.
    """
    left, right = [_Candidate(row) for row in before], [_Candidate(row) for row in after]
    order = {id(one.row): position for position, one in enumerate(left)}
    found = _take(left, right, ())
    both = {one.thing for one in left} & {one.thing for one in right}
    near, far = ([one for one in side if one.thing in both] for side in (left, right))
    forced, free = _separating(near, far)
    for without in (forced, *((*forced, key) for key in free), (*forced, *free)):
        found += _take(near, far, without)
    taken = {id(row) for pair in found for row in pair}
    only_left, only_right = ([one.row for one in side if id(one.row) not in taken] for side in (left, right))
    return sorted(found, key=lambda pair: order[id(pair[0])]), only_left, only_right


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ, sorted; `ABSENT` where one side does not have the key.

    What the machine's toolchain took is no figure of a sweep: it is left out. So are the hashes of configuration
    folders: what was composed of them is compared key by key, and a folder more or less changes no figure.
    """
    keys = [key for key in before.keys() | after.keys() if before.get(key, ABSENT) != after.get(key, ABSENT)]
    keys = [k for k in keys if not ((k.startswith("toolchain.") and k.endswith("_s")) or k.startswith(CONF))]
    return {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in sorted(keys)}


def named_keys(keys: Keys) -> dict[str, tuple[Any, Any]]:
    """Leave out what hangs on another key: with `compiler=x`, its target and options."""
    return {key: pair for key, pair in keys.items() if not any(k != key and hangs_on(key, k) for k in keys)}


def hangs_on(key: str, other: str) -> bool:
    """`compiler=x` brings compiler.target and compiler.options with it; `compiler.options.y` nothing but itself.

    Another model brings what it is built from.
    """
    return (
        key == other
        or (other == "suite.models" and key.startswith("suite.catalog."))
        or ("." not in other and key.startswith(f"{other}.") and key not in SAME_THING)
    )


def by_names(row: Row) -> Row:
    """Return the row with the columns that say what was run for its configuration: all that a table knows of it."""
    config = {
        **{key: row.names.get(key) for key in ("suite", "mode", "dtype", "device", "batch_size", "sequence_length")},
        **{key: row.names.get(key) for key in ("seed", "threads", "build", "compiler", "measure", "variant")},
        **{key: row.names.get(column) for key, column in NAMED_BY.items()},
    }
    told = dict(re.findall(r"\b(\w+)=(\w+)", str(row.names.get("mode"))))
    config |= {key: value for key in RANKS if (value := told.get(key.rpartition(".")[2])) is not None}
    return dataclasses.replace(row, config=config)


def is_complete(row: Row) -> bool:
    """Tell whether a row knows its whole configuration, not only its names."""
    return "compiler.target" in row.config


class _Candidate:
    """A row with its configuration in a form that can be hashed, made once; `thing` is what matched rows share.

    What its model is built from stands under one name for all models: a key for each would have to be tried for itself.
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.config = {key: _hashable(value) for key, value in row.config.items()}
        own = f"suite.catalog.{row.config.get('suite.models')}."
        for key in [key for key in self.config if key.startswith(own)]:
            self.config[f"suite.catalog.*.{key.removeprefix(own)}"] = self.config.pop(key)
        self.thing = tuple(self.config.get(key, ABSENT) for key in (*SAME_THING, *RANKS))


def _hashable(value: Any) -> Any:
    return (
        value
        if isinstance(value, (str, float, type(None))) or type(value) is int
        else json.dumps(value, sort_keys=True)
    )


def _separating(left: Sequence[_Candidate], right: Sequence[_Candidate]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of which the two sides have no value in common, and those of which they have not the same.

    Names of groups (`compiler`) come before what hangs on them.
    """
    if not left or not right:
        return (), ()
    keys = dict.fromkeys(key for one in (*left, *right) for key in one.config if key not in SAME_THING)
    forced: list[str] = []
    free: list[str] = []
    for key in sorted(keys, key=lambda key: key.count(".")):
        sides = [{one.config.get(key, ABSENT) for one in side} for side in (left, right)]
        if sides[0] != sides[1]:
            (free if sides[0] & sides[1] else forced).append(key)
    return tuple(forced), tuple(free)


def _take(left: list[_Candidate], right: list[_Candidate], without: Sequence[str]) -> list[tuple[Row, Row]]:
    """Match rows that are equal but for the keys `without` (and what hangs on them), and take them off both lists."""
    if not left or not right:
        return []
    keys = {key for one in (*left, *right) for key in one.config}
    dropped = {key for key in keys if any(hangs_on(key, other) for other in without)}
    groups: list[dict[frozenset[tuple[str, Any]], list[_Candidate]]] = [defaultdict(list), defaultdict(list)]
    for group, side in zip(groups, (left, right), strict=True):
        for one in side:  # its own keys only: a thousand models have a thousand keys of their catalog
            group[frozenset(item for item in one.config.items() if item[0] not in dropped)].append(one)
    found = [(ones[0], groups[1][key][0]) for key, ones in groups[0].items() if len(ones) == len(groups[1][key]) == 1]
    taken = {id(one) for pair in found for one in pair}
    left[:] = [one for one in left if id(one) not in taken]
    right[:] = [one for one in right if id(one) not in taken]
    return [(old.row, new.row) for old, new in found]
