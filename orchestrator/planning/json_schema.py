"""JSON schemas of our YAML, for editors: completion and marks while one writes. Made from the types in `keys`.

`experiment` is for experiment files and conf/config.yaml, the others are for the files of the group of that name.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.files import write_text
from orchestrator.planning import schema
from orchestrator.planning.keys import INTERNAL, Keys
from orchestrator.typed_json import Json, arms

DIALECT = "http://json-schema.org/draft-07/schema#"
EXPERIMENT = "experiment"
SWEPT = {"type": "string", "pattern": "[,(]"}
"""Several values in a text, as on the command line."""
SCALAR = {"type": ["string", "number", "boolean"]}
TYPES: Mapping[Any, Json] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}
COMMENT = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)


def write(keys: Keys, folder: Path) -> list[Path]:
    """Write all schemas into a folder; return the files. Raises OSError."""
    files = []
    for name, content in schemas(keys).items():
        files.append(folder / f"{name}.schema.json")
        write_text(files[-1], json.dumps(content, indent=1) + "\n")
    return files


def schemas(keys: Keys) -> dict[str, Json]:
    """Return the schema of experiment files, and that of the files of each group, by name."""
    found = {EXPERIMENT: _experiment(keys)}
    for group in keys.groups:
        kinds = keys.kinds(group)
        content = _Writer(keys).of(kinds[0], group) if kinds else {"type": "object"}
        found[group] = {"$schema": DIALECT, "title": f"a file of conf/{group}", **content}
    return found


def _experiment(keys: Keys) -> Json:
    writer = _Writer(keys, swept=True)
    root = writer.of(schema.Config, "")
    properties = {name: one for name, one in root["properties"].items() if name not in INTERNAL}
    properties |= {group: _choice(keys, group) for group in keys.groups if group not in properties}
    roots = "|".join(properties)
    return {
        "$schema": DIALECT,
        "title": "an experiment: python -m orchestrator FILE",
        "type": "object",
        "properties": {**properties, "defaults": {"type": "array"}, "hydra": {"type": "object"}},
        "patternProperties": {rf"^({roots})\.": {}, "^hydra/": {"type": "string"}},
        "additionalProperties": False,
    }


def _choice(keys: Keys, group: str, *others: Json) -> Json:
    one = {"enum": list(keys.groups[group])}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}, SWEPT, *others]}


class _Writer:
    """Writes the schema of a type; `swept`: of what may have several values where it takes one."""

    def __init__(self, keys: Keys, *, swept: bool = False) -> None:
        self._keys = keys
        self._swept = swept

    def of(self, kind: Any, path: str) -> Json:
        """Return the schema of what stands at `path`, of the type `kind`."""
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return self._object(kind, path)
        return _any_of(self._arm(arm, path) for arm in arms(kind))

    def _object(self, kind: type, path: str) -> Json:
        comments = dict(COMMENT.findall(inspect.getsource(kind)))
        properties = {}
        for name in (one.name for one in dataclasses.fields(kind)):
            below = f"{path}.{name}" if path else name
            told = {"description": comments[name]} if name in comments else {}
            properties[name] = {**self._key(below), **told}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def _key(self, path: str) -> Json:
        """Return the schema of a key: that of the types of all classes that have it, of one value or of several."""
        kinds = self._keys.kinds(path)
        one = _any_of(self.of(kind, path) for kind in kinds)
        if path in self._keys.groups:
            return _choice(self._keys, path, one)
        if not self._swept or self._keys.takes_list(path) or any(map(_is_map, kinds)):
            return one
        return _any_of([one, {"type": "array", "items": one, "minItems": 1}, *([] if str in kinds else [SWEPT])])

    def _arm(self, kind: Any, path: str) -> Json:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (dict, Mapping):
            below = self._keys.kinds(f"{path}.*") or (arguments[1],)  # the latter in a list, whose items have no key
            own = SCALAR if arguments[1] is str else _any_of(self.of(one, f"{path}.*") for one in below)
            swept = {"type": "array", "items": own} if self._swept and arguments[1] is str else None
            return {"type": "object", "additionalProperties": _any_of([own, *([swept] if swept else [])])}
        if origin in (list, tuple, Sequence):
            return {"type": "array", "items": self.of(arguments[0], path)}
        if origin is typing.Literal:
            return {"enum": list(arguments)}
        return dict(TYPES.get(kind, {}))


def _is_map(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or typing.get_origin(kind) in (dict, Mapping)


def _any_of(found: Iterable[Json]) -> Json:
    """Return what is one of several schemas; of maps of known keys, one with the keys of all."""
    distinct: list[Json] = []
    for one in found:
        for part in one["anyOf"] if set(one) == {"anyOf"} else [one]:
            distinct += [part] if part not in distinct else []
    if {} in distinct:
        return {}
    objects = [one for one in distinct if "properties" in one]
    if len(objects) > 1:
        names = dict.fromkeys(name for one in objects for name in one["properties"])
        both = {n: _any_of(one["properties"][n] for one in objects if n in one["properties"]) for n in names}
        merged = {"type": "object", "properties": both, "additionalProperties": False}
        distinct = [*(one for one in distinct if one not in objects), merged]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
