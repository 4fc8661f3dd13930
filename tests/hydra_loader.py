"""Hydra's configuration loader over our conf/, without a command line."""

from __future__ import annotations

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime, setup_globals

from orchestrator.execution.hydra_plugin import register, search_path


def loader(user: str | None = None) -> ConfigLoaderImpl:
    """Return a loader that looks where the command does; `user` as --config-dir."""
    version.setbase("1.3")
    setup_globals()
    JobRuntime().set("name", "test")
    register()
    return ConfigLoaderImpl(config_search_path=search_path(user))
