"""Keys of torch's configuration modules (`torch._inductor.config`, `torch._dynamo.config`) as YAML writes them."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import did_you_mean
from orchestrator.plugins import Unsupported


def checked(config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as flat keys of a configuration module: {triton: {cudagraphs: true}} is "triton.cudagraphs".

    Raises Unsupported for a key that this version of torch does not have, ValueError for a value of another type.
    """
    known = config.get_config_copy()
    found = _flat(options, known)
    for key, value in found.items():
        if key not in known:
            near = did_you_mean(key, known).partition(" Available")[0]
            hint = f"; {near}" if near.startswith("did") else ""
            raise Unsupported(f"{config.__name__} has no key {key} in this version of torch{hint}")
        kind = config.get_type(key)
        if kind is float and type(value) is int:
            found[key] = float(value)
        elif isinstance(kind, type) and kind is not type(None) and not isinstance(value, kind):
            raise ValueError(f"{config.__name__}.{key} is a {kind.__name__}, not {value!r}")
    return found


def expect_keys(module: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError for a key that a configuration module of torch does not have, without importing torch.

    Nothing is said where torch's source cannot be read: `checked` looks again in the job.
    """
    known = dict.fromkeys(_declared(module)) if options else {}
    for key in _flat(options, known) if known else ():
        if key not in known:
            raise ValueError(f"{module} has no key {key} in this version of torch: {did_you_mean(key, known)}")


def expect_mode(mode: str) -> None:
    """Raise ValueError for a mode that inductor does not have, likewise without importing torch."""
    tables = (node for node in ast.walk(_source("torch._inductor")) if isinstance(node, ast.AnnAssign))
    dicts = [node.value for node in tables if isinstance(node.target, ast.Name) and node.target.id == "mode_options"]
    modes = [
        key.value for one in dicts if isinstance(one, ast.Dict) for key in one.keys if isinstance(key, ast.Constant)
    ]
    if modes and mode not in modes:
        raise ValueError(f"inductor has no mode '{mode}': {did_you_mean(mode, map(str, modes))}")


@functools.cache
def _declared(module: str) -> tuple[str, ...]:
    """Return the keys of a configuration module, read in its source: names at its top, and in its classes."""
    return tuple(_names(_source(module).body, "", {}))


@functools.cache
def _source(module: str) -> ast.Module:
    """Return the syntax tree of a module of torch's; an empty one where there is no source."""
    torch = importlib.util.find_spec("torch")
    for folder in (torch.submodule_search_locations or ()) if torch is not None else ():
        path = Path(folder, *module.split(".")[1:])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return ast.parse(file.read_text(encoding="utf-8"))
    return ast.Module([], [])


def _names(body: Sequence[ast.stmt], prefix: str, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    """Yield the names that statements bind, those of a class behind its own name, with what it inherits."""
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"{prefix}{node.target.id}"
        elif isinstance(node, ast.Assign):
            yield from (f"{prefix}{target.id}" for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = node
            parents = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
            for one in (*parents, node):
                yield from _names(one.body, f"{prefix}{node.name}.", classes)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _names([*node.body, *getattr(node, "orelse", [])], prefix, classes)


def _flat(options: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Maps are walked unless the key itself is known: then the value is meant to be a map."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        key = f"{prefix}{name}".replace("-", "_")
        if isinstance(value, Mapping) and key not in known:
            flat |= _flat(value, known, f"{key}.")
        else:
            flat[key] = value
    return flat
