"""What is swept: from `a=x,y`, `hydra.sweeper.params`, `grids` and `zip` to one list of overrides per grid point."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.builds import quoted_requirements
from orchestrator.planning.compose import explained
from orchestrator.planning.keys import Keys
from orchestrator.planning.overrides import literal, quoted
from orchestrator.planning.overrides import override as written
from orchestrator.planning.overrides import value as as_value

OPEN_MAPS = re.compile(
    r"(suite\.(catalog|common)|(compiler|quantization|mode|measure)\.options|execution\.env|builds)(\.|$)"
)
REQUIREMENTS = re.compile(r"\+*(build|builds\.[^.]+\.(?!python$|setup$)\w+)")
"""Keys whose values are requirements of pip; a misspelt one's are taken so, too, until the key is refused."""
TEXT_OF_A_BUILD = re.compile(r"\+*builds\.[^.]+\.(python|setup)")
FREE_TEXT = ("resume", "compare_outputs", "suite.filter", "suite.exclude")
OF_THE_SWEEP = (
    *("zip", "grids", "shard", "dry_run", "resume", "online", "tag", "shard_job", "execution.shards", "builds"),
    *("keep_outputs", "compare_outputs"),
)
"""Keys that say something about the whole sweep: they cannot have several values in it."""
MOST_POINTS = 100_000
"""A point takes a millisecond, and 50 where it has to be composed whole (`orchestrator.planning.composer`)."""

Grid = Sequence[tuple[str, ...]]
"""One tuple of overrides per grid point."""


def normalise(override: str) -> str:
    """Return an override as Hydra's grammar and struct mode want it; what is written otherwise stays as it is.

    Keys of open maps may be new (`compiler.options.dynamic=true`), regular expressions and sweep names need no quotes
    (`suite.filter=^(Bert|T5)`), and `+experiment=x` is `experiment=x`.
    """
    key, equals, value = override.partition("=")
    if not equals:
        return override
    if key.lstrip("+") == "experiment":
        return f"experiment={value}"
    if REQUIREMENTS.fullmatch(key):
        override = f"{key}={quoted_requirements(value)}"
    is_text = value and value != "null" and value[0] not in "'\""
    if is_text and TEXT_OF_A_BUILD.fullmatch(key):
        override = f"{key}={as_value(value)}"
    if OPEN_MAPS.match(key):
        return f"++{override}"
    if key == "parallel" and value.isdecimal():  # an option's name: what was meant is said of one that is not there
        return f"{key}='{value}'"
    if is_text and key in FREE_TEXT:
        return f"{key}={quoted(value)}"
    return override


def as_axes(overrides: Iterable[str], loader: ConfigLoader) -> list[str]:
    """Return overrides in which a list is an axis where its key takes one value: `dtype=[a,b]` becomes `dtype=a,b`.

    A list of lists is one where the key takes a list. Raises UsageError for an empty one.
    """
    return [_as_axis(override, loader) if "=[" in override else override for override in overrides]


def _as_axis(text: str, loader: ConfigLoader) -> str:
    (override,) = parse([text], loader)
    if override.is_sweep_override() or not isinstance(given := override.value(), list):
        return text
    if Keys.of(loader).takes_list(override.key_or_group, given):
        return text
    names = loader.get_group_options(override.key_or_group, results_filter=ObjectType.CONFIG)
    values = [value for item in given for value in (item.filter(names) if isinstance(item, Glob) else [item])]
    if not values:
        raise UsageError(f"{text}: the list is empty: name at least one value, or leave the key out")
    return f"{override.get_key_element()}={','.join(map(literal, values))}"


def swept_values(overrides: Sequence[str], key: str, loader: ConfigLoader) -> list[str]:
    """Return the values that `key` is swept over, [] when it is not swept."""
    found = [override for override in parse(overrides, loader) if override.key_or_group == key]
    return _values(found[-1], loader) if found and found[-1].is_sweep_override() else []


def expand(
    arguments: Sequence[str],
    defaults: Mapping[str, Any],
    grids: Sequence[Any],
    pairs: Sequence[Any],
    loader: ConfigLoader,
) -> Grid:
    """Return the distinct points of all grids, in order.

    arguments: the command line, which replaces `defaults` (hydra.sweeper.params) and the axes of `grids` alike;
    pairs: `zip`. Raises UsageError for an axis without values, and for pairs that do not fit.
    """
    fixed = [written(key, value) for key, value in defaults.items()]
    points: dict[tuple[str, ...], tuple[str, ...]] = {}  # by sorted overrides: order of axes makes no new point
    for index, grid in enumerate(grids or [{}]):
        axes = _axes([*fixed, *_grid_overrides(grid, index, loader), *arguments], loader)
        dimensions = _paired(axes, pairs)
        if math.prod(map(len, dimensions)) > MOST_POINTS:
            sizes = " x ".join(str(len(dimension)) for dimension in dimensions if len(dimension) > 1)
            raise UsageError(f"{sizes} grid points are over {MOST_POINTS:,}: sweep less at a time")
        for combination in itertools.product(*dimensions):
            point = tuple(itertools.chain.from_iterable(combination))
            points.setdefault(tuple(sorted(point)), point)
    return list(points.values())


def parse(overrides: Iterable[str], loader: ConfigLoader | None) -> list[Override]:
    """Parse overrides; globs need the loader. Raises UsageError for what Hydra's grammar does not have."""
    parser = OverridesParser.create(config_loader=loader)
    with explained():
        return parser.parse_overrides([normalise(override) for override in overrides])


def _grid_overrides(grid: Any, index: int, loader: ConfigLoader) -> list[str]:
    if not isinstance(grid, Mapping):
        raise UsageError(f"grids[{index}] is {grid!r}: write a map of axes, as in {{compiler: 'eager,inductor'}}")
    overrides = []
    for key, value in grid.items():
        is_axis = isinstance(value, (list, tuple)) and not Keys.of(loader).takes_list(key, value, open_key=False)
        overrides.append(f"{key}={','.join(map(literal, value))}" if is_axis else written(key, value))
    return overrides


def _axes(overrides: Sequence[str], loader: ConfigLoader) -> dict[str, list[str]]:
    """Return key -> its overrides, one per value; the last mention of a key counts."""
    axes: dict[str, list[str]] = {}
    for override in parse(as_axes(overrides, loader), loader):
        key = override.key_or_group + (f"@{override.package}" if override.package else "")
        if override.is_delete() and "." in key:
            key = f"~{key}"  # after what has set it: a key that only the command line has could not be deleted else
        axes.pop(key, None)
        if not override.is_sweep_override():
            axes[key] = [str(override.input_line)]
            continue
        if any(key == name or key.startswith(f"{name}.") for name in OF_THE_SWEEP):
            raise UsageError(f"{override.input_line}: '{key}' belongs to the whole sweep and cannot be swept itself")
        values = _values(override, loader)
        if not values:
            options = loader.get_group_options(override.key_or_group, results_filter=ObjectType.CONFIG)
            available = f". Available: {', '.join(options)}" if options else ""
            raise UsageError(f"{override.input_line}: the sweep over '{key}' is empty{available}")
        axes[key] = [f"{override.get_key_element()}={value}" for value in dict.fromkeys(values)]
    return axes


def _values(override: Override, loader: ConfigLoader) -> list[str]:
    if not override.is_discrete_sweep():
        raise UsageError(f"{override.input_line}: an interval has no values to sweep; write range(...) or choice(...)")
    try:
        values = list(itertools.islice(override.sweep_string_iterator(), MOST_POINTS + 1))
    except (HydraException, ValueError, ArithmeticError) as error:  # the last: range(0,nan)
        raise UsageError(f"{override.input_line}: {error or type(error).__name__}") from error
    if len(values) > MOST_POINTS:
        raise UsageError(f"{override.input_line}: it has over {MOST_POINTS:,} values")
    return values


def _paired(axes: Mapping[str, list[str]], pairs: Sequence[Any]) -> list[list[tuple[str, ...]]]:
    """Return the dimensions of the product: zipped axes are one dimension, at the place of the first of them."""
    groups = _pair_groups(pairs)
    for group in groups:
        for name in group:
            if not isinstance(name, str) or name not in axes:
                swept = [axis for axis, values in axes.items() if len(values) > 1]
                raise UsageError(f"zip: '{name}' is not an axis of this sweep: {did_you_mean(str(name), swept)}")
        lengths = {name: len(axes[name]) for name in group}
        if len(set(lengths.values())) > 1:
            counted = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise UsageError(f"zip pairs axes of equal length, but {counted} values")
    dimensions: list[list[tuple[str, ...]]] = []
    for name in axes:
        group = next((group for group in groups if name in group), [name])
        first = next(axis for axis in axes if axis in group)
        if name == first:
            dimensions.append(list(zip(*(axes[axis] for axis in axes if axis in group), strict=True)))
    return dimensions


def _pair_groups(pairs: Sequence[Any]) -> list[list[str]]:
    groups = [list(pairs)] if pairs and all(isinstance(name, str) for name in pairs) else list(pairs)
    names: list[str] = []
    for group in groups:
        if not isinstance(group, (list, tuple)) or len(group) < 2:
            raise UsageError(f"zip={group!r}: write at least two axes, as in zip=[dtype,batch_size]")
        names += group
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"zip: '{name}' is paired twice")
    return groups
