"""In what two sweeps were configured differently, as overrides that a command line takes.

What the whole sweep sets (`rounds`, `execution.*`), which values its axes have (`dtype`, `compiler`, `suite.models`),
and the options of plug-ins that both sweeps name. One side's overrides, appended to the other's command, give its
configuration.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.comparison.compare import Comparison
from orchestrator.comparison.matching import SAME_THING, named_keys
from orchestrator.planning.quantized import NONE
from orchestrator.records import BASE, EAGER
from orchestrator.results.configuration import ABSENT, Flat, literal, override

AXES = (
    *("suite", "suite.models", "compiler", "quantization", "mode", "dtype", "device", "measure"),
    *("batch_size", "sequence_length", "seed", "threads", "build", "execution.launcher", "variant"),
)
"""Keys of rows that a sweep has one or several values of. `variant` is in tables only: variables as one text."""
PLUGINS = ("suite", "compiler", "quantization", "mode", "measure")
"""Groups whose options belong to one of their names."""

Values = tuple[Any, ...]
Overrides = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class KeyChange:
    """A key that the sweeps have other values of; `ABSENT` is one.

    of: the option of a group that it belongs to ("compiler=inductor"), "" where there is no other, or it has none;
    rows: how many matched rows differ in it; paste_before, paste_after: the overrides that give each side's values,
    None where none can.
    """

    key: str
    before: Values
    after: Values
    of: str
    rows: int
    paste_before: Overrides | None
    paste_after: Overrides | None


def configuration_changes(comparison: Comparison) -> list[KeyChange]:
    """Return the keys in which the sweeps differ: settings, axes, then options of plug-ins."""
    sides = [
        [*(pair.before.config for pair in comparison.matched), *(row.config for row in comparison.missing)],
        [*(pair.after.config for pair in comparison.matched), *(row.config for row in comparison.new)],
    ]
    rows = _rows(comparison)
    found = {key: pair for key, pair in comparison.settings.items() if not _is_shell(pair)}
    settings = [_change(rows, key, _listed(old), _listed(new)) for key, (old, new) in found.items()]
    open_axes = [key for key in AXES if key not in found and not _is_set(key, comparison)]
    axes = [(key, _values(key, sides[0]), _values(key, sides[1])) for key in open_axes]
    changed = [_change(rows, key, old, new) for key, old, new in axes if _differ(old, new)]
    return [*settings, *changed, *_options(rows, *sides)]


def paste_lines(changes: Sequence[KeyChange], *, after: bool) -> list[str]:
    """Return what to append to the other side's command, quoted for a shell: a line for each option concerned.

    One line where one option is concerned: then nothing else can be meant by it.
    """
    lines: dict[str, list[str]] = {}
    for change in changes:
        words = change.paste_after if after else change.paste_before
        if words is not None:
            lines.setdefault(change.of, []).extend(words)
    general, others = lines.pop("", []), [[of, *words] for of, words in lines.items()]
    named = {word.partition("=")[0] for word in general}
    if len(others) == 1 and others[0][0].partition("=")[0] not in named:
        general, others = [*general, *others[0]], []
    return [shlex.join(words) for words in (general, *others) if words]


def _rows(comparison: Comparison) -> Counter[tuple[str, str]]:
    """Return (key, the option that has it or "") -> how many matched rows differ in it."""
    counts: Counter[tuple[str, str]] = Counter()
    for pair in comparison.matched:
        for key in named_keys(pair.keys):
            counts[key, ""] += 1
            group = _group(key)
            if group:
                counts[key, override(group, pair.before.config[group])] += 1
    return counts


def _options(rows: Counter[tuple[str, str]], before: Sequence[Flat], after: Sequence[Flat]) -> list[KeyChange]:
    """Return what changed in the options of the plug-ins, and in the models, that both sides name."""
    models = {config.get("suite.models") for config in before} & {config.get("suite.models") for config in after}
    old, new = (_seen(side, models) for side in (before, after))
    several = Counter(group for group, _ in {*old, *new})
    found = []
    for group, name in (of for of in old if of in new):
        of = override(group, name) if several[group] > 1 or group == "compiler" else ""  # eager is always with it
        for key in dict.fromkeys((*old[group, name], *new[group, name])):
            first, then = (tuple(side[group, name].get(key, {"": ABSENT}).values()) for side in (old, new))
            if _differ(first, then):
                found.append(_change(rows, key, first, then, of))
    return sorted(found, key=lambda change: PLUGINS.index(_group(change.key)))


def _seen(configs: Iterable[Flat], models: Collection[Any]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return (group, name) -> key that belongs to it -> its distinct values, `ABSENT` where a row lacks the key.

    Keys of a suite's catalog belong to one model: other rows do not lack them. Only those of `models` are looked at.
    """
    seen: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    having: Counter[tuple[str, str, str]] = Counter()
    size: Counter[tuple[str, str]] = Counter()
    groups: dict[str, str] = {}  # key -> its group, "" for none
    for config in configs:
        names = {group: (group, str(config.get(group))) for group in PLUGINS}
        size.update(names.values())
        for key, value in config.items():
            group = groups.setdefault(key, _group(key))
            if group and (not key.startswith("suite.catalog.") or config.get("suite.models") in models):
                seen[names[group]][key][_text(value)] = value
                having[(*names[group], key)] += 1
    for of, keys in seen.items():
        for key, values in keys.items():
            if having[(*of, key)] < size[of] and not key.startswith("suite.catalog."):
                values[_text(ABSENT)] = ABSENT
    return seen


def _group(key: str) -> str:
    group, point, _ = key.partition(".")
    return group if point and group in PLUGINS and key not in SAME_THING else ""


def _values(key: str, rows: Iterable[Flat]) -> Values:
    """Return the distinct values, in order of appearance."""
    if key == "quantization":  # what is not quantised lacks the key; eager itself is always with it and says nothing
        compiled = [config for config in rows if key in config or config.get("compiler") != EAGER]
        return tuple(dict.fromkeys(config.get(key, NONE) for config in compiled)) or (NONE,)
    if key == "build":  # the command's own environment has no such key
        return tuple(dict.fromkeys(config.get(key, BASE) for config in rows)) or (BASE,)
    seen = {_text(value): value for value in (config[key] for config in rows if key in config)}
    return tuple(seen.values()) or (ABSENT,)


def _differ(old: Values, new: Values) -> bool:
    return set(map(_text, old)) != set(map(_text, new))


def _change(rows: Counter[tuple[str, str]], key: str, before: Values, after: Values, of: str = "") -> KeyChange:
    return KeyChange(
        key=key,
        before=before,
        after=after,
        of=of,
        rows=rows[key, of],
        paste_before=_paste(key, before, after),
        paste_after=_paste(key, after, before),
    )


def _paste(key: str, values: Values, others: Values) -> Overrides | None:
    """Return the overrides that turn `others` into `values`, None where the grammar has none."""
    if values == (ABSENT,):  # of a swept key Hydra cannot tell what to delete
        return (f"~{key}",) if "." in key and len(others) == 1 else None
    if ABSENT in values or key == "variant" or (key in PLUGINS and any("(" in str(value) for value in values)):
        return None  # a name like inductor(dynamic=true) is a table's, no option is called so
    if key == "suite.models":
        return (f"{key}={literal(values)}",)
    if len(values) > 1:
        many = override(key, values[0]) + "".join(f",{literal(value)}" for value in values[1:])
        return None if key == "device" and ":" in many else (many,)
    only = values[0]
    if key == "device":
        return tuple(override(key, only).split())
    lost = isinstance(only, Mapping) and any(isinstance(other, Mapping) and other.keys() - only for other in others)
    return (*([f"~{key}"] if lost else []), override(key, only))  # Hydra lays a map over the one that is there


def _is_set(key: str, comparison: Comparison) -> bool:
    """Tell whether both sweeps set the key alike: rows that differ in it then follow from something else.

    So does the launcher from execution.env. What is null is not set: it comes from the machine, or from the suite.
    """
    return all(None not in one.settings.get(key, [None]) for one in (comparison.before, comparison.after))


def _is_shell(pair: tuple[Any, Any]) -> bool:
    """Tell whether only the map itself differs, that is empty on one side: its keys are listed."""
    return all(side is ABSENT or list(side) == [{}] for side in pair)


def _listed(side: Any) -> Values:
    return (ABSENT,) if side is ABSENT else tuple(side)


def _text(value: Any) -> str:
    """Return a text that tells values apart, and 1 from true."""
    return repr(value) if isinstance(value, (str, int, float)) else json.dumps(value, sort_keys=True)
