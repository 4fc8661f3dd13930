"""Composes many grid points without composing the same thing a hundred times.

Hydra needs a quarter of a second for a point whose suite has a hundred models: nearly all of it goes into parsing and
merging a catalog that is the same in every point. So points are composed without it, and each distinct catalog once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.compose import explained
from orchestrator.records import Json, fingerprint

LARGE = ("catalog", "common")
"""Keys of a suite that are composed apart."""

CHANGED_MODEL = re.compile(r"\+\+suite\.catalog\.(?P<model>[^.=]+)")


class Composer:
    """Composes the points of one sweep; `master` is its configuration as a whole."""

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._light = _Repository(loader.config_search_path, light=True)
        self._full = _Repository(loader.config_search_path, light=False)
        self._catalogs: dict[str, Json] = {}

    def point(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return a composed point without Hydra's own part, as plain dicts and lists. Raises UsageError."""
        point, choices = self._compose(self._light, overrides)
        if isinstance(point.get("suite"), dict):  # what else a user's files make of it is for the schema to refuse
            # a catalog is that of the suite's file and of what experiments and overrides lay over it
            over = {key: point["suite"].get(key) for key in LARGE}
            key = fingerprint({"suite": choices.get("suite"), "over": over})
            if key not in self._catalogs:
                self._catalogs[key] = self._whole_suite(overrides)
            point["suite"] |= self._catalogs[key]
        return point

    def _whole_suite(self, overrides: Sequence[str]) -> Json:
        """Return the large keys of the point's suite.

        Raises UsageError when an override changes a model that the suite does not have: the catalog is an open map,
        so that the model would quietly be added. `+suite.catalog.new...` says that on purpose.
        """
        changes = [match for override in overrides if (match := CHANGED_MODEL.match(override))]
        if changes:
            others = [override for override in overrides if not CHANGED_MODEL.match(override)]
            catalog = self._compose(self._full, others)[0]["suite"]["catalog"]
            for change in changes:
                if change["model"] not in catalog:
                    known = did_you_mean(change["model"], catalog)
                    raise UsageError(f"{change.string[2:]}: the suite has no model '{change['model']}': {known}")
        suite = self._compose(self._full, overrides)[0]["suite"]
        return {key: suite[key] for key in LARGE}

    def _compose(self, repository: _Repository, overrides: Sequence[str]) -> tuple[dict[str, Any], Json]:
        """Return the point, and which option of each group it has."""
        with explained():
            before, self._loader.repository = self._loader.repository, repository
            try:
                config = self._loader.load_sweep_config(self._master, list(overrides))
            finally:
                self._loader.repository = before
            missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra."))
            if missing:
                raise UsageError(f"missing value: {', '.join(missing)} (on the command line: {missing[0]}=...)")
            choices = dict(config.hydra.runtime.choices)
            return {str(key): _plain(config[key]) for key in config if key != "hydra"}, choices


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


class _Repository(ConfigRepository):
    """Hydra's repository, with what it has read kept; `light`: suites come without their large keys."""

    def __init__(self, path: ConfigSearchPath, *, light: bool) -> None:
        self._light = light
        super().__init__(path)

    def __deepcopy__(self, memo: Any) -> _Repository:
        """Hydra copies its repository for every point, because `hydra.searchpath` may give it other sources."""
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
        result = super().load_config(config_path)
        if self._light and result is not None and config_path.startswith("suite/"):
            suite = result.config
            if isinstance(suite, DictConfig) and "${" not in OmegaConf.to_yaml(suite):  # else it depends on the point
                for key in LARGE:
                    suite.pop(key, None)
        return result

    def _find_object_source(self, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
        key = (config_path, object_type)
        if key not in self._found:
            self._found[key] = super()._find_object_source(config_path, object_type)
        return self._found[key]
