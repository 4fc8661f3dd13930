"""Which keys of configuration, environment and facts differ between two sides of a diff, for a person."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.comparison.compare import Comparison
from orchestrator.comparison.configuration_changes import KeyChange
from orchestrator.comparison.difference_tables import value_text, values_text
from orchestrator.comparison.matching import is_complete
from orchestrator.comparison.snapshot import CONF
from orchestrator.results.configuration import ABSENT
from orchestrator.results.metrics import MIB, is_number
from orchestrator.views.document import Heading, Listing, Piece
from orchestrator.words import plural, some

LONGEST = 100
"""Values of keys are cut to so many characters."""
MANY = 8
"""Of an axis with more values before and after only those are named that come or go."""
SINGLE = 3
"""So many keys of one model are listed singly."""
CATALOG = re.compile(r"suite\.catalog\.(?P<model>[^.]+)\.")


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def configuration_pieces(comparison: Comparison, changes: Sequence[KeyChange]) -> list[Piece]:
    """Say which keys of the configuration differ."""
    sides = (("A", comparison.before), ("B", comparison.after))
    unknown = [side for side, one in sides if not one.settings or not all(map(is_complete, one.rows))]
    said = [f"Of {' and '.join(unknown)} not all settings are known: what both know is compared."] if unknown else []
    models: dict[str, list[KeyChange]] = defaultdict(list)
    for change in changes:
        found = CATALOG.match(change.key)
        models[found["model"] if found else change.key].append(change)
    lines = [
        text
        for name, group in models.items()
        for text in ([_model_change(name, group)] if len(group) > SINGLE else map(_key_change, group))
    ]
    return [Listing(said), Listing(lines or ["no key differs"])]


def _model_change(model: str, changes: Sequence[KeyChange]) -> str:
    """Say that a model is built in another way: of many keys the first ones."""
    told = [
        f"{change.key.rpartition('.')[2]} {cut(values_text(change.before))} -> {cut(values_text(change.after))}"
        for change in changes
    ]
    return f"model {model}: {some(told, SINGLE)}  ({plural(len(changes), 'key')}: --config-only --json has all)"


def _key_change(change: KeyChange) -> str:
    about = [change.of.partition("=")[2]] if change.of else []
    about += [plural(change.rows, "row")] if change.rows else []
    suffix = f"  ({', '.join(about)})" if about else ""
    if len(change.before) + len(change.after) <= MANY:
        return f"{change.key}: {cut(values_text(change.before))} -> {cut(values_text(change.after))}{suffix}"
    gone = tuple(one for one in change.before if one not in change.after)
    come = tuple(one for one in change.after if one not in change.before)
    said = [f"{sign} {cut(values_text(side))}" for sign, side in (("-", gone), ("+", come)) if side]
    return f"{change.key}: {'  '.join(said)}{suffix}"


def environment_pieces(comparison: Comparison) -> list[Piece]:
    """Say which keys of the environment differ, and how many do not."""
    keys = comparison.before.environment.keys() | comparison.after.environment.keys()
    known = {key for key in keys if not key.startswith(CONF)}
    same = f"{plural(len(known - comparison.environment.keys()), 'key')} the same" * bool(known)
    return [Heading("Environment", same), Listing(_environment(comparison))]


def _environment(comparison: Comparison) -> list[str]:
    """Say which keys of the environment differ."""
    both = comparison.before.environment, comparison.after.environment
    if not all(both):
        return ["known of one side only" if any(both) else "not known of either side"]
    return _keys(comparison.environment) or ["no key differs"]


def _keys(differing: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Say which values keys have before and after."""
    return [f"{key}: {cut(value_text(old))} -> {cut(value_text(new))}" for key, (old, new) in differing.items()]


def facts_pieces(differing: Mapping[str, tuple[Any, Any]]) -> list[Piece]:
    """Say in which facts two jobs differ; those that only one of them has (the other failed) are counted."""
    both = {key: pair for key, pair in differing.items() if ABSENT not in pair}
    said = _keys({key: (_fact(key, old), _fact(key, new)) for key, (old, new) in both.items()})
    only = [sum(pair[1 - side] is ABSENT for pair in differing.values()) for side in (0, 1)]
    counted = [f"{plural(count, 'fact')} of {side} only" for count, side in zip(only, "AB", strict=True) if count]
    return [Listing(said), Listing([f"{', '.join(counted)} (--json has all)"] if counted else [])]


def _fact(key: str, value: Any) -> Any:
    if key.startswith("memory.") and is_number(value):
        return f"{value * MIB:.1f} MiB"
    return f"{value:.6g}" if isinstance(value, float) else value
