"""What Hydra has to know of us: the sweeper, where configuration is found, and flat `experiments/` folders."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from orchestrator.errors import UsageError
from orchestrator.execution.sweeper import GraphSweeper
from orchestrator.planning import schema
from orchestrator.planning.options import packaged

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


def search_path(user: str | None) -> ConfigSearchPath:
    """Return where configuration is looked for, first match first.

    The user's folder (--config-dir), ours, those of Hydra plug-ins, ./experiments, our experiments. Raises UsageError
    when the user's folder is not there.
    """
    path = create_config_search_path(f"file://{packaged('conf')}")
    if user is not None:
        if not os.path.isdir(user):
            raise UsageError(f"--config-dir {user}: there is no such folder")
        path.prepend("command-line", f"file://{Path(user).absolute()}", anchor=SearchPathQuery(provider="main"))
    for folder in dict.fromkeys([Path("experiments").absolute(), packaged("experiments")]):
        path.prepend("experiments", f"experiments://{folder}", anchor=SearchPathQuery(provider="schema"))
    return path


def _inside(config_path: str) -> str:
    return config_path.removeprefix("experiment/")
