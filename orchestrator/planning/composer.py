"""Composes many grid points without composing the same thing a hundred times.

Hydra needs 50 ms for a point, and a quarter of a second where its suite has a hundred models: nearly all of that goes
into parsing and merging what is the same in other points. So a point is put together from pieces of points where that
is provably the same; and suites are composed without their catalogs, each distinct one of which is composed once. A few
points (`FEW`) are sooner composed whole.

Where there are no interpolations, what stands below a root key (`compiler`, `batch_size`, ...) depends on nothing but
the files that are merged there and the overrides of that key. So a sweep over 28 compilers, 5 dtypes and 7 modes needs
38 compositions, and not 980. What is not provably of this kind has no pieces (`_NotPlain`), and is composed whole.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.compose import explained
from orchestrator.records import fingerprint
from orchestrator.typed_json import Json

HYDRA = "hydra"
LARGE = ("catalog", "common")
"""Keys of a suite that are composed apart."""

CHANGED_MODEL = re.compile(r"\+\+suite\.catalog\.(?P<model>[^.=]+)")
FEW = 4
"""So many points, or fewer, are sooner composed whole than in pieces."""

Overrides = tuple[str, ...]
Choices = Mapping[str, str]
"""Group -> its option."""


class Composer:
    """Composes the points of one sweep; `master` is its configuration as a whole.

    in_pieces: False composes every point by itself and whole. What comes out is the same.
    """

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig, *, in_pieces: bool = True) -> None:
        self._full = _Hydra(loader, master, loader.repository)
        self._light = _Hydra(loader, master, _LightRepository(loader.config_search_path)) if in_pieces else None
        self._catalogs: dict[str, Json] = {}
        self._suites: dict[tuple[str, str], Json] = {}
        # hydra.searchpath: a point may find other files than the master did
        self._pieces = _Pieces(self._light) if self._light is not None and not master.hydra.searchpath else None

    def point(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return a composed point without Hydra's own part, as plain dicts and lists. Raises UsageError.

        Dicts and lists are shared with other points: nobody changes them.
        """
        if self._light is None:
            point, _ = self._whole(self._full, overrides)
            self._check_models(overrides)
            return point
        point, choices = self._in_pieces(overrides) or self._whole(self._light, overrides)
        if isinstance(point.get("suite"), dict):  # what else a user's files make of it is for the schema to refuse
            point["suite"] = self._with_catalog(point["suite"], choices.get("suite"), overrides)
        return point

    def _with_catalog(self, suite: Json, name: str | None, overrides: Sequence[str]) -> Json:
        """Return a suite that was composed without its large keys with them: the same object for the same suite."""
        # a catalog is that of the suite's file and of what experiments and overrides lay over it
        catalog = fingerprint({"suite": name, "over": {key: suite.get(key) for key in LARGE}})
        if catalog not in self._catalogs:
            self._catalogs[catalog] = self._catalog(overrides)
        return self._suites.setdefault((catalog, fingerprint(suite)), {**suite, **self._catalogs[catalog]})

    def _in_pieces(self, overrides: Sequence[str]) -> tuple[dict[str, Any], Choices] | None:
        if self._pieces is None:
            return None
        try:
            with explained():
                return self._pieces.point(overrides)
        except (_NotPlain, UsageError):
            return None  # the whole composition has the better message, or none

    def _catalog(self, overrides: Sequence[str]) -> Json:
        """Return the large keys of the point's suite."""
        self._check_models(overrides)
        suite = self._whole(self._full, overrides)[0]["suite"]
        return {key: suite[key] for key in LARGE}

    def _check_models(self, overrides: Sequence[str]) -> None:
        """Raise UsageError when an override changes a model that the suite does not have.

        The catalog is an open map: the model would quietly be added. `+suite.catalog.new...` says that on purpose.
        """
        changes = [match for override in overrides if (match := CHANGED_MODEL.match(override))]
        if changes:
            others = [override for override in overrides if not CHANGED_MODEL.match(override)]
            catalog = self._whole(self._full, others)[0]["suite"]["catalog"]
            for change in changes:
                if change["model"] not in catalog:
                    known = did_you_mean(change["model"], catalog)
                    raise UsageError(f"{change.string[2:]}: the suite has no model '{change['model']}': {known}")

    @staticmethod
    def _whole(hydra: _Hydra, overrides: Sequence[str]) -> tuple[dict[str, Any], Choices]:
        """Return the point, and which option of each group it has."""
        with explained():
            config, choices = hydra.compose(overrides)
            missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith(f"{HYDRA}."))
            if missing:
                raise UsageError(f"missing value: {', '.join(missing)} (on the command line: {missing[0]}=...)")
            return {str(key): _plain(config[key]) for key in config if key != HYDRA}, choices


def _plain(value: Any) -> Any:
    """Return what stands below a key as dicts, lists and scalars. Raises MissingMandatoryValue."""
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


class _NotPlain(Exception):
    """Of a point that has to be composed whole."""


@dataclass(frozen=True)
class _Kind:
    """What an override changes: what stands below `root`; or the `option` of `group`; or else which files there are."""

    root: str | None = None
    group: str | None = None
    option: str = ""


class _Pieces:
    """The pieces of one sweep."""

    def __init__(self, source: _Hydra) -> None:
        self._source = source
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._kinds: dict[str, _Kind] = {}
        self._files = _Files(source)
        self._frames: dict[tuple[Overrides, Overrides], _Frame] = {}

    def point(self, overrides: Sequence[str]) -> tuple[dict[str, Any], Choices]:
        """Return a point as plain values, and the options of its groups. Other points share its dicts and lists.

        Raises _NotPlain, or what Hydra raises: then the point is composed whole, for the sake of its message, too.
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
                raise _NotPlain
            self._parsed[text] = self._parser.parse_overrides([text])[0]
            self._kinds[text] = self._classified(self._parsed[text])
        return self._kinds[text]

    def _classified(self, override: Override) -> _Kind:
        key, value = override.key_or_group, override.value()
        root, is_group = key.partition(".")[0], self._source.is_group(key)
        if override.is_sweep_override() or "[" in key or root == HYDRA:
            raise _NotPlain
        if isinstance(value, dict) or not is_group:
            if override.package is not None:
                raise _NotPlain
            return _Kind(root=root)
        if override.type != OverrideType.CHANGE:  # `~group=x`, `+group=x`: legal or not by what else is chosen
            raise _NotPlain
        if isinstance(value, str) and override.package is None and self._files.is_leaf(f"{key}/{value}"):
            return _Kind(group=key, option=value)
        return _Kind()


class _Files:
    """What is known of configuration files."""

    def __init__(self, source: _Hydra) -> None:
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

    def __init__(self, source: _Hydra, files: _Files, framing: Overrides) -> None:
        self.choices: Choices = {}
        self._source = source
        self._files = files
        self._framing = framing
        self._is_plain = True
        self._roots: dict[tuple[str, str], frozenset[str]] = {}  # (group, option) -> the keys below which it is merged
        self._keys: dict[str, None] = {}  # all root keys
        self._bases: dict[tuple[str, Overrides], DictConfig] = {}  # (root key, options that are merged below it)
        self._values: dict[tuple[str, Overrides, Overrides], dict[str, Any]] = {}  # {} where the key is absent

    def expect(self, choices: Choices) -> None:
        """Make sure that there is a piece for every root key of these options."""
        known = self._keys and all(choice in self._roots for choice in choices.items())
        if not known or not all((key, self._below(key, choices)) in self._bases for key in self._keys):
            self._compose(choices)

    def point(
        self, choices: Choices, values: Mapping[str, Overrides], parsed: Mapping[str, Override]
    ) -> dict[str, Any]:
        if not values.keys() <= self._keys.keys():
            raise _NotPlain
        point: dict[str, Any] = {}
        for key in self._keys:
            options, overrides = self._below(key, choices), values.get(key, ())
            piece = (key, options, overrides)
            if piece not in self._values:
                config = self._bases[key, options]
                if overrides:
                    config = self._source.changed(config, [parsed[override] for override in overrides])
                there = key in config.keys()  # noqa: SIM118  (`in config` is False for a missing value, too)
                self._values[piece] = {key: _plain(config[key])} if there else {}
            point |= self._values[piece]
        return point

    def _below(self, key: str, choices: Choices) -> Overrides:
        """Return the options that are merged below a root key, "" for each that is not."""
        return tuple([option if key in self._roots[group, option] else "" for group, option in choices.items()])

    def _compose(self, choices: Choices) -> None:
        overrides = [*self._framing, *(f"{group}={option}" for group, option in choices.items())]
        defaults = self._source.defaults(overrides) if self._is_plain else ()
        self._is_plain = bool(defaults) and all(map(self._files.is_plain, defaults))
        if not self._is_plain:
            raise _NotPlain
        for group, option in choices.items():
            packages = [str(file.package) for file in defaults if file.config_path == f"{group}/{option}"]
            self._roots[group, option] = frozenset(package.partition(".")[0] for package in packages)
            if not packages or self._roots[group, option] & {"", HYDRA}:
                self._is_plain = False
                raise _NotPlain
        config, self.choices = self._source.compose(overrides)
        with open_dict(config):
            config.pop(HYDRA)
        self._keys |= dict.fromkeys(map(str, config.keys()))
        for key in self._keys:
            self._bases.setdefault((key, self._below(key, choices)), config)


class _Hydra:
    """Hydra's loader over a repository: the source of points and of their pieces."""

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig, repository: ConfigRepository) -> None:
        self._loader = loader
        self._master = master
        self._repository = repository

    def is_group(self, key: str) -> bool:
        return self._repository.group_exists(key)

    def file(self, config_path: str) -> ConfigResult | None:
        return self._repository.load_config(config_path)

    def defaults(self, overrides: Sequence[str]) -> Sequence[ResultDefault]:
        name, own = self._master.hydra.job.config_name, list(self._master.hydra.overrides.hydra)
        with self._own_repository():
            return self._loader.compute_defaults_list(name, [*own, *overrides], RunMode.RUN).defaults

    def compose(self, overrides: Sequence[str]) -> tuple[DictConfig, Choices]:
        with self._own_repository():
            config = self._loader.load_sweep_config(self._master, list(overrides))
        return config, dict(config.hydra.runtime.choices)

    @staticmethod
    def changed(config: DictConfig, overrides: Sequence[Override]) -> DictConfig:
        config = copy.deepcopy(config)
        ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)
        return config

    @contextmanager
    def _own_repository(self) -> Iterator[None]:
        before, self._loader.repository = self._loader.repository, self._repository
        try:
            yield
        finally:
            self._loader.repository = before


class Repository(ConfigRepository):
    """Hydra's repository, with what it has read kept."""

    def __deepcopy__(self, memo: Any) -> Repository:
        """Hydra copies its repository for every composition, because `hydra.searchpath` may give it other sources."""
        return copy.copy(self)

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        self._results: dict[str, ConfigResult | None] = {}
        self._found: dict[tuple[str, ObjectType | None], ConfigSource | None] = {}
        super().initialize_sources(config_search_path)

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self._results:
            self._results[config_path] = self._load(config_path)
        return copy.deepcopy(self._results[config_path])  # composing changes what it is given

    def _load(self, config_path: str) -> ConfigResult | None:
        return super().load_config(config_path)

    def _find_object_source(self, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
        key = (config_path, object_type)
        if key not in self._found:
            self._found[key] = super()._find_object_source(config_path, object_type)
        return self._found[key]


class _LightRepository(Repository):
    """One whose suites come without their large keys."""

    def _load(self, config_path: str) -> ConfigResult | None:
        result = super()._load(config_path)
        if result is not None and config_path.startswith("suite/"):
            suite = result.config
            if isinstance(suite, DictConfig) and "${" not in OmegaConf.to_yaml(suite):  # else it depends on the point
                for key in LARGE:
                    suite.pop(key, None)
        return result
