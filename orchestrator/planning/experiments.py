"""Experiment files as people write them, and as Hydra takes them.

In a file any value may be one or several: `compiler: [eager, inductor]`, `suite: tiny`, `batch_size: [1, 4]`. Hydra
wants options of groups in a defaults list, and what is swept under `hydra.sweeper.params`: `natural` moves them there.
What is wrong in a file is said with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning import meant
from orchestrator.planning.keys import Keys
from orchestrator.planning.overrides import SUFFIXES, experiments_in, is_path
from orchestrator.planning.overrides import value as written
from orchestrator.plugins import fits, words

HYDRAS = ("hydra", "defaults")
MISSING = "???"
SWEPT = re.compile(r"[,(]")
"""In a text where a name, number or truth value is expected: it is read as on the command line, "1,4", "glob(*)"."""


def by_path(overrides: Sequence[str]) -> tuple[list[str], tuple[Path, ...]]:
    """Return overrides that name experiments, and the files that they named by path.

    Raises UsageError for a path that leads to no file, and for two files of one name.
    """
    files: dict[str, Path] = {}
    named = []
    for override in overrides:
        items = experiments_in(override)
        if not any(map(is_path, items)):
            named.append(override)
            continue
        for item in filter(is_path, items):
            file = _file(item)
            if files.setdefault(file.stem, file) != file:
                raise UsageError(f"{override}: two files are called {file.stem}: name one of them otherwise")
        names = [Path(item).expanduser().stem if is_path(item) else item for item in items]
        named.append(f"experiment={','.join(map(written, names))}")
    return named, tuple(files.values())


def _file(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        raise UsageError(f"experiment={name}: it is a folder: name a file in it")
    if not path.is_file():
        beside = [str(Path(name).parent / file.name) for end in SUFFIXES for file in path.parent.glob(f"*{end}")]
        raise UsageError(f"experiment={name}: there is no such file: {did_you_mean(name, beside)}")
    return path


def natural(content: Any, file: Path, keys: Keys) -> dict[str, Any]:
    """Return the content of an experiment file with all that is chosen or swept under `hydra.sweeper.params`.

    content: plain, as YAML has it. Raises UsageError, with file and line, for a key that there is not, an option that
    a group does not have, and a value of another type.
    """
    if not isinstance(content or {}, Mapping):
        raise UsageError(f"{shown(file)}: write keys and values, as in compiler: [eager, inductor]")
    return _Reader(file, keys).read(content or {})


def shown(file: Path) -> str:
    """Return a path as it is seen from here."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


class _Reader:
    """Reads one file."""

    def __init__(self, file: Path, keys: Keys) -> None:
        self._file = file
        self._keys = keys
        self._params: dict[str, Any] = {}
        self._defaults: list[Any] = []

    def read(self, content: Mapping[Any, Any]) -> dict[Any, Any]:
        kept: dict[Any, Any] = {key: content[key] for key in HYDRAS if key in content}
        given = self._given(kept)
        leaves = [(path, value) for path, value in _leaves(content) if path[0] not in HYDRAS]
        own = {path[0] for path, _ in leaves if path[1:] == ("target",)}  # a plug-in that no file of conf/ has
        for path, value in [*leaves, *((tuple(key.split(".")), value) for key, value in given.items())]:
            key = ".".join(map(str, path))
            group = path[0] if path[1:] == ("name",) and path[0] not in own else ""
            if value in self._keys.groups.get(group, ()):  # {compiler: {name: eager}} means the option, not a new name
                self._sweep(group, value)
            elif key.startswith("hydra/"):
                self._defaults.append({f"override /{key}": value})
            elif path[0] not in own and self._is_axis(key, value):
                self._sweep(key, value)
            elif key not in given:
                if path[0] not in own:
                    self._check(key, value)
                _put(kept, path, value)
        return self._with_params(kept, given) if self._params or self._defaults else kept

    def _given(self, kept: Mapping[Any, Any]) -> dict[str, Any]:
        """Return what stands under `hydra.sweeper.params`."""
        node: Any = kept
        for name in ("hydra", "sweeper", "params"):
            node = (node.get(name) if isinstance(node, Mapping) else None) or {}
        return {str(key): value for key, value in node.items()} if isinstance(node, Mapping) else {}

    def _sweep(self, key: str, value: Any) -> None:
        if key in self._params:
            raise self._error(key, f"'{key}' is set twice, also under hydra.sweeper.params: keep one of them")
        self._check_axis(key, value)
        self._params[key] = value

    def _with_params(self, kept: dict[Any, Any], given: Mapping[str, Any]) -> dict[Any, Any]:
        hydra = dict(kept.get("hydra") or {})
        hydra["sweeper"] = {**(hydra.get("sweeper") or {}), "params": {**self._params, **given}}
        defaults = [*(kept.get("defaults") or ()), *self._defaults]
        return {**kept, "hydra": hydra, **({"defaults": defaults} if defaults else {})}

    def _is_axis(self, key: str, value: Any) -> bool:
        """Return whether a value is an option of a group, or several values of a key that takes one.

        Raises UsageError for a key that there is not.
        """
        if key in self._keys.groups:
            return not isinstance(value, Mapping)
        if not self._keys.kinds(key):
            known = self._keys.below(key.rpartition(".")[0]) if "." in key else []
            raise self._error(key, f"unknown key '{key}': {meant.key(key, self._keys, known)}")
        if isinstance(value, list):
            return not self._keys.takes_list(key, value)
        return isinstance(value, str) and bool(SWEPT.search(value)) and not self._takes(key, "")

    def _takes(self, key: str, value: Any) -> bool:
        """Return whether a key takes a value as it is; one that takes a text takes any scalar."""
        scalar = not isinstance(value, (list, Mapping))
        kinds = self._keys.kinds(key)
        return Any in kinds or any(fits(value, kind) or (scalar and fits("", kind)) for kind in kinds)

    def _check(self, key: str, value: Any) -> None:
        """Raise UsageError for a value of a type that its key does not take."""
        if value == MISSING or (isinstance(value, str) and "${" in value):
            return
        if not self._takes(key, value) and not (isinstance(value, str) and self._takes(key, yaml.safe_load(value))):
            kind = " or ".join(dict.fromkeys(words(kind) for kind in self._keys.kinds(key)))
            raise self._error(key, f"{key}: {value!r}: it must be {kind}")

    def _check_axis(self, key: str, value: Any) -> None:
        """Raise UsageError for an option that a group does not have, or a value that its key does not take."""
        if isinstance(value, str) and ("(" in value or "${" in value):
            return
        items = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else [value]
        if not items:
            raise self._error(key, f"{key}: the list is empty: name at least one value, or leave the key out")
        for item in items:
            if key not in self._keys.groups:
                self._check(key, item.strip() if isinstance(item, str) else item)
            elif not isinstance(item, str):
                raise self._error(key, f"{key}: {item!r} is no name: write {key}: [A, B], options beside it")
            elif (name := item.strip().strip("'\"")) not in (known := self._keys.groups[key]) and "(" not in name:
                raise self._error(key, f"unknown {key} '{name}': {meant.option(key, name, self._keys, known)}")

    def _error(self, key: str, message: str) -> UsageError:
        line = line_of(self._file, key)
        return UsageError(f"{shown(self._file)}{f', line {line}' if line else ''}: {message}")


def _leaves(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield path and value of all that is no map, and of empty maps. At top level a key may be dotted."""

    def below(path: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                yield from below((*path, name), item)
        else:
            yield path, value

    for key, value in content.items():
        yield from below(tuple(str(key).split(".")), value)


def _put(tree: dict[Any, Any], path: Sequence[Any], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def line_of(file: Path, path: str) -> int | None:
    """Return the line of a dotted key in a YAML file, from 1, at top level or under `hydra.sweeper.params`."""
    root = yaml.compose(file.read_text(encoding="utf-8"))
    return _line(root, path) or _line(root, f"hydra.sweeper.params.{path}")


def _line(node: Any, path: str) -> int | None:
    line = None
    while path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [(key, below) for key, below in pairs if path == key.value or path.startswith(f"{key.value}.")]
        if not found:
            return None
        key, node = found[0]
        line = key.start_mark.line + 1
        path = path[len(key.value) + 1 :]
    return line
