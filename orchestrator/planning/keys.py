"""Every key of the configuration, and what kind of value it takes: by the types of `schema`, suites and plug-ins.

Whether a list is one value or an axis, what a JSON schema says, and which key somebody may have meant: all of it is
read off the same dataclasses. Options of plug-ins count as keys; a class is found by the `target` of its file in conf/.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.planning import schema
from orchestrator.planning.options import options
from orchestrator.planning.suites import Model
from orchestrator.plugin_classes import field_types, resolve
from orchestrator.typed_json import arms

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

SETTINGS = ("execution", "shard_job")
"""Root keys that are maps and no groups."""
INTERNAL = {"hydra", "shard_job"}
"""Root keys that no one is meant to write."""
TARGET = re.compile(r"^target:\s*(\S+)", re.MULTILINE)
CATALOG = re.compile(r"^catalog:\n((?:[ #].*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^  ([\w.+-]+):", re.MULTILINE)
OPTIONS_OF = {f"{group}.options": group for group in ("compiler", "quantization", "mode", "measure")}
BUILD = re.compile(r"suite\.(common|catalog\.[^.]+)\.build")
SUITE_MODEL = re.compile(r"suite\.(common|catalog\.[^.]+)")
JOBS_BUILD = re.compile(r"builds\.[^.]+")


class Keys:
    """The keys of the configuration in `folders`: those of conf/, the first of two options of a name counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    @classmethod
    def of(cls, loader: ConfigLoader) -> Keys:
        """Return the keys of the configuration that a loader of Hydra's finds."""
        sources = loader.get_search_path().get_path()
        return cls([Path(one.path.removeprefix("file://")) for one in sources if one.path.startswith("file://")])

    @functools.cached_property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group -> the names of its options."""
        found: dict[str, list[str]] = {}
        for option in options(self._folders, ()):
            found.setdefault(option.group, []).append(option.name)
        return found

    @functools.cached_property
    def catalogs(self) -> Mapping[str, Sequence[str]]:
        """Suite -> the models of its catalog. A file that cannot be read has none."""
        found: dict[str, Sequence[str]] = {}
        for folder, name in itertools.product(self._folders, self.groups.get("suite", ())):
            file = folder / "suite" / f"{name}.yaml"
            if file.is_file() and name not in found:
                found[name] = [one for block in CATALOG.findall(file.read_text()) for one in ENTRY.findall(block)]
        return found

    def below(self, key: str) -> list[str]:
        """Return the names that can stand below a key."""
        if JOBS_BUILD.fullmatch(key):
            return [field.name for field in dataclasses.fields(schema.BuildConf)]
        return [one.removeprefix(f"{key}.") for one in self.all() if one.startswith(f"{key}.")]

    @functools.cache  # noqa: B019  (there is one object of this class in a process)
    def named(self, group: str) -> Mapping[str, type]:
        """Return option -> the plug-in that it names; one that cannot be had is left out."""
        found = {}
        for option in self.groups.get(group, ()):
            file = next(path for folder in self._folders if (path := folder / group / f"{option}.yaml").is_file())
            for target in TARGET.findall(file.read_text(errors="replace")):
                with contextlib.suppress(UsageError):  # it is refused where it is chosen
                    found[option] = resolve(target)
        return found

    def classes(self, group: str) -> tuple[type, ...]:
        """Return the plug-ins that the options of a group name, each once."""
        return tuple(dict.fromkeys(self.named(group).values()))

    def having(self, key: str) -> list[str]:
        """Return the options of a group whose plug-in has the option `key`, as "measure.options.pairs"."""
        where, _, name = key.rpartition(".")
        plugins = self.named(OPTIONS_OF[where]) if where in OPTIONS_OF else {}
        return [one for one, plugin in plugins.items() if name in (field.name for field in dataclasses.fields(plugin))]

    def kinds(self, key: str) -> tuple[Any, ...]:
        """Return the types that the value of `key` may have, one for each class that has it; none of an unknown key."""
        found: tuple[Any, ...] = (schema.Config,)
        path = ""
        for name in key.split("."):
            path = f"{path}.{name}" if path else name
            found = tuple(dict.fromkeys(kind for owner in found for kind in self._of(owner, name, path)))
        return found

    def takes_list(self, key: str, given: Sequence[Any] = (), *, open_key: bool = True) -> bool:
        """Return whether the list `given` may be one value of `key`; `open_key` of one that nobody declares a type of.

        A list of lists is none where the items of the key's own list are names or numbers.
        """
        if key in self.groups:
            return False
        kinds = self.kinds(key)
        if not kinds or Any in kinds:
            return open_key
        return any(_holds(arm, given) for kind in kinds for arm in arms(kind))

    def all(self) -> Iterator[str]:
        """Yield every key that can be written, dotted: groups first, options of plug-ins last."""
        yield from self.groups
        later: list[str] = []
        for name, kind in field_types(schema.Config).items():
            if name in INTERNAL:
                continue
            if not dataclasses.is_dataclass(kind):
                yield name
            elif name in SETTINGS:
                yield from (f"{name}.{field.name}" for field in dataclasses.fields(kind))
            else:
                later += [f"{name}.{field.name}" for field in dataclasses.fields(kind)]
        yield from later
        for where, group in OPTIONS_OF.items():
            names = dict.fromkeys(field.name for one in self.classes(group) for field in dataclasses.fields(one))
            yield from (f"{where}.{name}" for name in names)

    def _of(self, owner: Any, name: str, path: str) -> Iterator[Any]:
        """Yield the types of what stands at `path`, below a value of the type `owner`."""
        for arm in arms(owner):
            if isinstance(arm, type) and dataclasses.is_dataclass(arm):
                kind = field_types(arm).get(name)
                if kind is None:
                    continue
                plugins = self.classes(OPTIONS_OF[path]) if path in OPTIONS_OF else ()
                plugins = self.classes("suite") if BUILD.fullmatch(path) else plugins
                yield from plugins or ((Model,) if SUITE_MODEL.fullmatch(path) else (kind,))
            elif typing.get_origin(arm) in (dict, Mapping):
                own = schema.BuildConf if JOBS_BUILD.fullmatch(path) else typing.get_args(arm)[1]
                yield Model if SUITE_MODEL.fullmatch(path) else own
            elif arm is Any:
                yield Any


def _holds(kind: Any, given: Sequence[Any]) -> bool:
    if typing.get_origin(kind) not in (list, tuple, Sequence):
        return False
    return typing.get_args(kind)[0] is Any or not given or not all(isinstance(item, list) for item in given)
