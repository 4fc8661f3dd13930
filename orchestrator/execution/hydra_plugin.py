"""What Hydra has to know of us: the sweeper, where configuration is found, and flat `experiments/` folders."""

from __future__ import annotations

import os
import warnings
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import HydraContext
from omegaconf import OmegaConf

from orchestrator.errors import UsageError
from orchestrator.execution.launching import run_shard
from orchestrator.execution.ownership import is_own
from orchestrator.execution.planned import PlannedSweep
from orchestrator.execution.sweeper import GraphSweeper, as_written
from orchestrator.planning import provenance, schema
from orchestrator.planning.compose import compose, explained
from orchestrator.planning.composer import Repository
from orchestrator.planning.experiments import natural
from orchestrator.planning.grid import as_axes, normalise
from orchestrator.planning.keys import Keys
from orchestrator.planning.options import packaged
from orchestrator.store import Sweep, SweepFolder

FILE = "experiment"
"""The provider of a file that is named by its path."""
MODULE = "hydra_plugins.orchestrator"


class ExperimentsSource(FileConfigSource):
    """`experiments:///folder`: the files of a flat folder are the options of the group `experiment`.

    `experiments:///folder/file.yaml` is that file alone. They need no "@package _global_" line, their first comment is
    the command that runs them; and they are natural YAML (`orchestrator.planning.experiments`). `keys`: what they can
    say, set with the search path.
    """

    keys: ClassVar[Keys] = Keys([])

    @staticmethod
    def scheme() -> str:
        return "experiments"

    def load_config(self, config_path: str) -> ConfigResult:
        file = self._file(config_path)
        with file.open(encoding="utf-8") as opened:
            header = ConfigSource._get_header_dict(opened.read(512))
            opened.seek(0)
            content = OmegaConf.load(opened)
        header["package"] = header["package"] or "_global_"
        if header["package"] == "_global_":
            content = OmegaConf.create(natural(OmegaConf.to_container(content), file, self.keys))
        return ConfigResult(
            config=content, path=f"{self.scheme()}://{self.path}", provider=self.provider, header=header
        )

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "experiment") and Path(self.path).exists()

    def is_config(self, config_path: str) -> bool:
        return config_path.startswith("experiment/") and self._file(config_path).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return ["experiment"] if results_filter != ObjectType.CONFIG else []
        if results_filter == ObjectType.GROUP:
            return []
        path = Path(self.path)
        return [path.stem] if path.is_file() else sorted(file.stem for file in path.glob("*.yaml"))

    def _file(self, config_path: str) -> Path:
        """Return the file of an option; of one that is another's, a file that there is not."""
        path, name = Path(self.path), config_path.removeprefix("experiment/").removesuffix(".yaml")
        return path if path.is_file() and path.stem == name else path / f"{name}.yaml"


def register() -> None:
    """Register schema, sweeper and source with Hydra; again is harmless.

    Hydra 1.3 takes only sweepers whose module is below `hydra_plugins`. It looks at the name when registering, so the
    class bears that name for just that moment: afterwards it is pickled (by launchers that start other processes)
    under the name of a module that can be imported there.
    """
    schema.register()
    warnings.filterwarnings("ignore", r"provider=.* is not available", UserWarning)  # the sweeper says it
    plugins = Plugins.instance()
    plugins.register(ExperimentsSource)
    home = GraphSweeper.__module__
    GraphSweeper.__module__ = MODULE
    try:
        plugins.register(GraphSweeper)
    finally:
        GraphSweeper.__module__ = home


def parser() -> ArgumentParser:
    """Return the parser of Hydra's command line.

    argparse of Python 3.14 formats the help of an option that is added, and one of Hydra 1.3 is no text until it is
    shown: that is not checked.
    """
    check = getattr(ArgumentParser, "_check_help", None)
    if check is None:
        return get_args_parser()
    ArgumentParser._check_help = lambda *_: None  # type: ignore[attr-defined]
    try:
        return get_args_parser()
    finally:
        ArgumentParser._check_help = check  # type: ignore[attr-defined]


def search_path(user: str | None, files: Sequence[Path] = ()) -> ConfigSearchPath:
    """Return where configuration is looked for, first match first.

    The user's folder (--config-dir), ours, those of Hydra plug-ins, experiments that are named by their `files`,
    ./experiments, our experiments. Raises UsageError when the user's folder is not there.
    """
    path = create_config_search_path(f"file://{packaged('conf')}")
    if user is not None:
        if not os.path.isdir(user):
            raise UsageError(f"--config-dir {user}: there is no such folder")
        path.prepend("command-line", f"file://{Path(user).absolute()}", anchor=SearchPathQuery(provider="main"))
    for place in dict.fromkeys([*files, Path("experiments").absolute(), packaged("experiments")]):
        provider = FILE if place in files else "experiments"
        path.prepend(provider, f"experiments://{place}", anchor=SearchPathQuery(provider="schema"))
    ExperimentsSource.keys = Keys([*([Path(user)] if user else []), packaged("conf")])
    return path


def stored_search_path(folder: SweepFolder, header: Sweep) -> ConfigSearchPath:
    """Return where the configuration of a sweep is found that this user made: in the folder's copy of it.

    Raises ValueError where the copy is not as it was made, or the sweep is somebody else's: composing runs what
    `hydra.callbacks` names.
    """
    if not is_own(folder):
        raise ValueError("somebody else made it")
    path = create_config_search_path(None)
    copies = provenance.stored_conf(folder.conf, header.environment.get("conf") or {})
    for provider, copy in sorted(copies, key=lambda one: one[0] != FILE):  # what was named by its path comes first
        scheme = ExperimentsSource.scheme() if provider in ("experiments", FILE) else "file"
        path.prepend(provider, f"{scheme}://{copy}", anchor=SearchPathQuery(provider="schema"))
    ExperimentsSource.keys = Keys([copy for provider, copy in copies if provider not in ("experiments", FILE)])
    return path


def started(path: ConfigSearchPath) -> Hydra:
    """Return Hydra with its configuration in `path`, of which it reads each file once."""
    hydra = Hydra.create_main_hydra2(task_name="orchestrator", config_search_path=path)
    loader = hydra.config_loader
    assert isinstance(loader, ConfigLoaderImpl)  # Hydra declares less than it makes
    loader.repository = Repository(path)
    return hydra


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
    hydra = started(path)
    try:
        words = as_axes([normalise(override) for override in overrides], hydra.config_loader)
        found = sweeper(hydra, "config", words)
        assert found.config is not None
        return found.plan(as_written(found.config.hydra.overrides.task))
    finally:
        GlobalHydra.instance().clear()
