"""Plans of command lines: Hydra over our conf/, without a command."""

from __future__ import annotations

from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime, setup_globals
from omegaconf import OmegaConf

from orchestrator.execution.hydra_plugin import register, search_path
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.grid import expand, normalise
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader
from orchestrator.store import JobGraph


def loader(user: str | None = None) -> ConfigLoaderImpl:
    """Return a loader that looks where the command does; `user` as --config-dir."""
    version.setbase("1.3")
    setup_globals()
    JobRuntime().set("name", "test")
    register()
    return ConfigLoaderImpl(config_search_path=search_path(user))


MACHINE = Machine(cores=2, cuda_devices=0)
LOADER = loader()


def composed(*overrides: str, user: str | None = None) -> dict[str, Any]:
    source = LOADER if user is None else loader(user)
    normal = [normalise(override) for override in overrides]
    return Composer(source, compose(source, "config", normal)).point(normal)


def planned(*overrides: str) -> JobGraph:
    """Plan what the command would: with the axes that configuration and experiments set."""
    master = compose(LOADER, "config", list(overrides))
    shape = [OmegaConf.to_container(master[key]) for key in ("grids", "zip")]
    points = expand(overrides, dict(master.hydra.sweeper.params), *shape, LOADER)
    composer, reader = Composer(LOADER, master), PointReader()
    return plan([reader.read(composer.point(point)) for point in points], MACHINE)
