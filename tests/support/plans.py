"""Plans of command lines: Hydra over our conf/, without a command."""

from __future__ import annotations

from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime, setup_globals
from omegaconf import OmegaConf

from orchestrator.execution.hydra_plugin import register, search_path
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import FEW, Composer, Repository
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
    found = ConfigLoaderImpl(config_search_path=search_path(user))
    found.repository = Repository(found.config_search_path)  # as `hydra_plugin.started` has it
    return found


MACHINE = Machine(cores=2, cuda_devices=0)
LOADER = loader()


def composed(*overrides: str, user: str | None = None) -> dict[str, Any]:
    source = LOADER if user is None else loader(user)
    normal = [normalise(override) for override in overrides]
    return Composer(source, compose(source, "config", normal), in_pieces=False).point(normal)


def points(*overrides: str) -> list[dict[str, Any]]:
    """Return the points that the command would have: with the axes that configuration and experiments set."""
    master = compose(LOADER, "config", list(overrides))
    shape = [OmegaConf.to_container(master[key]) for key in ("grids", "zip")]
    grid = expand(overrides, dict(master.hydra.sweeper.params), *shape, LOADER)
    composer = Composer(LOADER, master, in_pieces=len(grid) > FEW)
    return [composer.point(point) for point in grid]


def planned(*overrides: str) -> JobGraph:
    return graph_of(points(*overrides))


def graph_of(confs: list[dict[str, Any]]) -> JobGraph:
    reader = PointReader()
    return plan([reader.read(conf) for conf in confs], MACHINE)
