"""What Hydra has to know of us: the sweeper, where configuration is found, and flat `experiments/` folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.types import HydraContext

import orchestrator
from orchestrator.errors import UsageError
from orchestrator.execution.ownership import is_own
from orchestrator.execution.sweeper import GraphSweeper, PlannedSweep, as_written, run_shard
from orchestrator.planning import provenance, schema
from orchestrator.planning.compose import compose, explained
from orchestrator.planning.grid import normalise
from orchestrator.store import Sweep, SweepFolder

MODULE = "hydra_plugins.orchestrator"


class ExperimentsSource(FileConfigSource):
    """`experiments:///folder`: the files of a flat folder are the options of the group `experiment`.

    They need no "@package _global_" line: their first comment is the command that runs them.
    """

    @staticmethod
    def scheme() -> str:
        return "experiments"

    def load_config(self, config_path: str) -> ConfigResult:
        result = super().load_config(_inside(config_path))
        result.header["package"] = result.header["package"] or "_global_"
        return result

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "experiment") and Path(self.path).is_dir()

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith("experiment/") and super().is_config(_inside(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return ["experiment"] if results_filter != ObjectType.CONFIG else []
        files = Path(self.path).glob("*.yaml") if results_filter != ObjectType.GROUP else ()
        return sorted(file.stem for file in files)


def register() -> None:
    """Register schema, sweeper and source with Hydra; again is harmless.

    Hydra 1.3 takes only sweepers whose module is below `hydra_plugins`. It looks at the name when registering, so the
    class bears that name for just that moment: afterwards it is pickled (by launchers that start other processes)
    under the name of a module that can be imported there.
    """
    schema.register()
    plugins = Plugins.instance()
    plugins.register(ExperimentsSource)
    home = GraphSweeper.__module__
    GraphSweeper.__module__ = MODULE
    try:
        plugins.register(GraphSweeper)
    finally:
        GraphSweeper.__module__ = home


def search_path(user: str | None, experiments: Sequence[Path] = ()) -> ConfigSearchPath:
    """Return where configuration is looked for, first match first.

    The user's folder (--config-dir), ours, those of Hydra plug-ins, the folders `experiments`, ./experiments, our
    experiments. Raises UsageError when the user's folder is not there.
    """
    path = create_config_search_path(f"file://{packaged('conf')}")
    if user is not None:
        if not os.path.isdir(user):
            raise UsageError(f"--config-dir {user}: there is no such folder")
        path.prepend("command-line", f"file://{Path(user).absolute()}", anchor=SearchPathQuery(provider="main"))
    for folder in dict.fromkeys([*experiments, Path("experiments").absolute(), packaged("experiments")]):
        path.prepend("experiments", f"experiments://{folder}", anchor=SearchPathQuery(provider="schema"))
    return path


def stored_search_path(folder: SweepFolder, header: Sweep) -> ConfigSearchPath:
    """Return where the configuration of a sweep is found that this user made: in the folder's copy of it.

    Raises ValueError where the copy is not as it was made, or the sweep is somebody else's: composing runs what
    `hydra.callbacks` names.
    """
    if not is_own(folder):
        raise ValueError("somebody else made it")
    path = create_config_search_path(None)
    for provider, copy in provenance.stored_conf(folder.conf, header.environment.get("conf") or {}):
        scheme = ExperimentsSource.scheme() if provider == "experiments" else "file"
        path.prepend(provider, f"{scheme}://{copy}", anchor=SearchPathQuery(provider="schema"))
    return path


def sweeper(hydra: Hydra, config_name: str, overrides: Sequence[str]) -> GraphSweeper:
    """Compose the configuration of a sweep, and build the sweeper that it names, as Hydra's multirun does."""
    config = compose(hydra.config_loader, config_name, overrides)
    with explained():
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        found = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=run_shard)
    if not isinstance(found, GraphSweeper):
        raise UsageError("hydra/sweeper: only 'graph' can plan a sweep of this kind; leave it out")
    return found


def planned(overrides: Sequence[str], path: ConfigSearchPath) -> PlannedSweep:
    """Return what overrides plan with the configuration in `path`; nothing is written. Raises UsageError."""
    version.setbase("1.3")
    register()
    hydra = Hydra.create_main_hydra2(task_name="orchestrator", config_search_path=path)
    try:
        found = sweeper(hydra, "config", [normalise(override) for override in overrides])
        assert found.config is not None
        return found.plan(as_written(found.config.hydra.overrides.task))
    finally:
        GlobalHydra.instance().clear()


def packaged(name: str) -> Path:
    """Return our folder `name`: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(orchestrator.__file__).absolute().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def _inside(config_path: str) -> str:
    return config_path.removeprefix("experiment/")
