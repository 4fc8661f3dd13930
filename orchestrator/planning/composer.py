"""Composes many grid points without composing the same thing a hundred times.

Hydra needs 50 ms for a point, and a quarter of a second where its suite has a hundred models: nearly all of that goes
into parsing and merging what is the same in other points. So a point is put together from pieces of points where that
is provably the same (`orchestrator.planning.pieces`); and suites are composed without their catalogs, each distinct
one of which is composed once. A few points (`FEW`) are sooner composed whole.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.compose import explained
from orchestrator.planning.pieces import HYDRA, Choices, NotPlain, Pieces
from orchestrator.records import fingerprint
from orchestrator.typed_json import Json

LARGE = ("catalog", "common")
"""Keys of a suite that are composed apart."""

CHANGED_MODEL = re.compile(r"\+\+suite\.catalog\.(?P<model>[^.=]+)")
FEW = 4
"""So many points, or fewer, are sooner composed whole than in pieces."""


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
        self._pieces = Pieces(self._light) if self._light is not None and not master.hydra.searchpath else None

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
        except (NotPlain, UsageError):
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
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


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
