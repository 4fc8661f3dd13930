"""A grid point put together from what other points of the sweep were composed to.

Where there are no interpolations, what stands below a root key (`compiler`, `batch_size`, ...) depends on nothing but
the files that are merged there and the overrides of that key. So a sweep over 28 compilers, 5 dtypes and 7 modes needs
38 compositions, and not 980. What is not provably of this kind has no pieces (`NotPlain`), and is composed whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict

ABSENT = object()
"""What stands below a root key that a point does not have."""
HYDRA = "hydra"

Overrides = tuple[str, ...]
Choices = Mapping[str, str]
"""Group -> its option."""


class NotPlain(Exception):
    """Of a point that has to be composed whole."""


class Source(Protocol):
    """Hydra, as far as pieces need it. Every method may raise what Hydra raises."""

    def is_group(self, key: str) -> bool: ...

    def file(self, config_path: str) -> ConfigResult | None: ...

    def defaults(self, overrides: Sequence[str]) -> Sequence[ResultDefault]:
        """Return the files that are merged, and where."""

    def compose(self, overrides: Sequence[str]) -> tuple[DictConfig, Choices]:
        """Return what is composed, and the options of all groups."""

    def changed(self, config: DictConfig, overrides: Sequence[Override]) -> DictConfig:
        """Return a copy in which overrides of values are applied."""


@dataclass(frozen=True)
class _Kind:
    """What an override changes: what stands below `root`; or the `option` of `group`; or else which files there are."""

    root: str | None = None
    group: str | None = None
    option: str = ""


class Pieces:
    """The pieces of one sweep."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._kinds: dict[str, _Kind] = {}
        self._files = _Files(source)
        self._frames: dict[tuple[Overrides, Overrides], _Frame] = {}

    def point(self, overrides: Sequence[str]) -> tuple[dict[str, Any], Choices]:
        """Return a point as plain values, and the options of its groups. Other points share its dicts and lists.

        Raises NotPlain, or what Hydra raises: then the point is to be composed whole, also for the sake of its message.
        """
        choices: dict[str, str] = {}
        values: dict[str, Overrides] = {}
        framing: list[str] = []
        for override in overrides:
            kind = self._kind(override)
            if kind.root is not None:
                values[kind.root] = (*values.get(kind.root, ()), override)
            elif kind.group is not None:
                choices[kind.group] = kind.option
            else:
                framing.append(override)
        key = (tuple(framing), tuple(choices))
        if key not in self._frames:
            self._frames[key] = _Frame(self._source, self._files, key[0])
        frame = self._frames[key]
        frame.expect(choices)
        return frame.point(choices, values, self._parsed), {**frame.choices, **choices}

    def _kind(self, text: str) -> _Kind:
        if text not in self._kinds:
            if "${" in text:
                raise NotPlain
            self._parsed[text] = self._parser.parse_overrides([text])[0]
            self._kinds[text] = self._classified(self._parsed[text])
        return self._kinds[text]

    def _classified(self, override: Override) -> _Kind:
        key, value = override.key_or_group, override.value()
        root, is_group = key.partition(".")[0], self._source.is_group(key)
        if override.is_sweep_override() or "[" in key or root == HYDRA:
            raise NotPlain
        if isinstance(value, dict) or not is_group:
            if override.package is not None:
                raise NotPlain
            return _Kind(root=root)
        if override.type != OverrideType.CHANGE:  # `~group=x`, `+group=x`: legal or not by what else is chosen
            raise NotPlain
        if isinstance(value, str) and override.package is None and self._files.is_leaf(f"{key}/{value}"):
            return _Kind(group=key, option=value)
        return _Kind()


class _Files:
    """What is known of configuration files."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._plain: dict[str, bool] = {}

    def is_leaf(self, config_path: str) -> bool:
        """True for the file of an option that brings no other file, and is merged below a key of its own."""
        file = self._source.file(config_path)
        if file is None or file.header.get("package") == "_global_" or config_path.startswith(HYDRA):
            return False
        return not file.defaults_list

    def is_plain(self, default: ResultDefault) -> bool:
        """True for a file that refers to nothing: no interpolation in its content, nor in its defaults list."""
        path = str(default.config_path)
        if path not in self._plain:
            self._plain[path] = self._refers_to_nothing(path, str(default.package))
        return self._plain[path]

    def _refers_to_nothing(self, path: str, package: str) -> bool:
        file = self._source.file(path)
        if file is None or "${" in str(file.defaults_list):
            return False
        if package.partition(".")[0] == HYDRA:  # what is Hydra's is not a part of a point
            return True
        if not isinstance(file.config, DictConfig):
            return False
        content = OmegaConf.to_container(file.config, resolve=False)
        return isinstance(content, dict) and "${" not in str({k: v for k, v in content.items() if k != HYDRA})


class _Frame:
    """Points whose files are the same, at the same places, but for options that are leaves.

    framing: the overrides that say which files.
    """

    def __init__(self, source: Source, files: _Files, framing: Overrides) -> None:
        self.choices: Choices = {}
        self._source = source
        self._files = files
        self._framing = framing
        self._is_plain = True
        self._roots: dict[tuple[str, str], frozenset[str]] = {}  # (group, option) -> the keys below which it is merged
        self._keys: dict[str, None] = {}  # all root keys
        self._bases: dict[tuple[str, Overrides], DictConfig] = {}  # (root key, options that are merged below it)
        self._values: dict[tuple[str, Overrides, Overrides], Any] = {}

    def expect(self, choices: Choices) -> None:
        """Make sure that there is a piece for every root key of these options."""
        known = self._keys and all(choice in self._roots for choice in choices.items())
        if not known or not all((key, self._below(key, choices)) in self._bases for key in self._keys):
            self._compose(choices)

    def point(
        self, choices: Choices, values: Mapping[str, Overrides], parsed: Mapping[str, Override]
    ) -> dict[str, Any]:
        if not values.keys() <= self._keys.keys():
            raise NotPlain
        point: dict[str, Any] = {}
        for key in self._keys:
            options, overrides = self._below(key, choices), values.get(key, ())
            piece = (key, options, overrides)
            if piece not in self._values:
                config = self._bases[key, options]
                if overrides:
                    config = self._source.changed(config, [parsed[override] for override in overrides])
                self._values[piece] = _value(config, key)
            if self._values[piece] is not ABSENT:
                point[key] = self._values[piece]
        return point

    def _below(self, key: str, choices: Choices) -> Overrides:
        """Return the options that are merged below a root key, "" for each that is not."""
        return tuple([option if key in self._roots[group, option] else "" for group, option in choices.items()])

    def _compose(self, choices: Choices) -> None:
        overrides = [*self._framing, *(f"{group}={option}" for group, option in choices.items())]
        defaults = self._source.defaults(overrides) if self._is_plain else ()
        self._is_plain = bool(defaults) and all(map(self._files.is_plain, defaults))
        if not self._is_plain:
            raise NotPlain
        for group, option in choices.items():
            packages = [str(file.package) for file in defaults if file.config_path == f"{group}/{option}"]
            self._roots[group, option] = frozenset(package.partition(".")[0] for package in packages)
            if not packages or self._roots[group, option] & {"", HYDRA}:
                self._is_plain = False
                raise NotPlain
        config, self.choices = self._source.compose(overrides)
        with open_dict(config):
            config.pop(HYDRA)
        self._keys |= dict.fromkeys(map(str, config.keys()))
        for key in self._keys:
            self._bases.setdefault((key, self._below(key, choices)), config)


def _value(config: DictConfig, key: str) -> Any:
    """Return the plain value below a key. Raises MissingMandatoryValue."""
    if key not in config.keys():  # noqa: SIM118  (`in config` is False for a missing value, too)
        return ABSENT
    value = config[key]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value
