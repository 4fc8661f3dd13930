"""What the files of transformers say of a class, read when planning: nothing of it, or of torch, is imported.

What the source does not show (a base class that is imported) is not known here; the job finds it out.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.suites.facts import LENGTHS, TOKEN_INPUTS

TOKENS, SAMPLES, FRAMES, NOTHING = "tokens", "samples", "frames", "nothing"
"""What a model's sequence length counts."""
DEFAULTS: Mapping[str, int | None] = {TOKENS: 128, SAMPLES: 16_000, FRAMES: 1000, NOTHING: None}
"""Length where none is asked for: one second of sound at 16 kHz, ten seconds of frames."""
TOKENS_PER = {SAMPLES: 1 / 320, FRAMES: 1 / 4}
"""Positions of a model that one sample, or frame, makes: 50 a second in wav2vec 2.0, 25 in what subsamples by 4."""
IMAGE_TOKENS = 256
"""Positions where there is no length: 16 x 16 patches."""
IMAGES = ("pixel_values", "pixel_values_videos")
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def default_length(class_name: str, config: Mapping[str, Any]) -> int | None:
    """Return the length of a class's inputs where none is asked for; None for one that has none.

    config: what is known of its values, nested as they are; without a bound among them the defaults have one. A
    class that is not found, or whose `forward` is inherited from elsewhere, counts as one that takes text.
    """
    length = DEFAULTS[counted(class_name)]
    if length is None or counted(class_name) != TOKENS:
        return length
    limits = [*_limits(config)] or [*_default_limits(class_name)]
    return min([length, *(one for one in limits if one > 0)])


@functools.lru_cache(256)
def counted(class_name: str) -> str:
    """Return what the sequence length of a class counts: TOKENS, SAMPLES, FRAMES or NOTHING."""
    forward = _forward(class_name)
    if forward is None:
        return TOKENS
    arguments = [one.arg for one in (*forward.args.posonlyargs, *forward.args.args, *forward.args.kwonlyargs)]
    if any(name in arguments for name in TOKEN_INPUTS):
        return TOKENS
    if "input_values" in arguments and not any(name in arguments for name in IMAGES):
        return NOTHING if "num_mel_bins" in (ast.get_docstring(forward) or "") else SAMPLES
    if "input_features" in arguments:  # those of an encoder as Whisper's are fixed
        said = _config_source(class_name)
        return NOTHING if "max_source_positions" in said and "num_mel_bins" in said else FRAMES
    return NOTHING


def positions(class_name: str, length: int | None) -> int:
    """Return at how many positions, roughly, a parameter is used for one sample of this length."""
    return IMAGE_TOKENS if length is None else max(int(length * TOKENS_PER.get(counted(class_name), 1)), 1)


def class_of(model_type: str, tables: tuple[str, ...]) -> str | None:
    """Return the class that transformers has for a model type in the first of its tables that has one."""
    source = _read(_root() / "auto" / "modeling_auto.py")
    for table in tables:
        body = re.search(rf"^{table} = OrderedDict\((.*?)^\)", source, re.MULTILINE | re.DOTALL)
        found = re.search(rf'\("{re.escape(model_type)}", \(?"(\w+)"', body[1]) if body else None
        if found:
            return found[1]
    return None


def _forward(class_name: str) -> Any:
    """Return the definition of `forward`, of the class or a base in the same file."""
    file = _file(class_name)
    if file is None:
        return None
    classes = {node.name: node for node in _parsed(file).body if isinstance(node, ast.ClassDef)}
    waiting, seen = [class_name], set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in classes:
            continue
        seen.add(name)
        found = next((one for one in classes[name].body if isinstance(one, Function) and one.name == "forward"), None)
        if found is not None:
            return found
        waiting += [base.id for base in classes[name].bases if isinstance(base, ast.Name)]
    return None


@functools.lru_cache(256)
def _file(class_name: str) -> Path | None:
    """Return the file that defines a class. Its folder is mostly named like the class: that one is looked at first."""
    root, word = _root(), f"\nclass {class_name}("
    if not class_name.isidentifier() or not root.is_dir():
        return None
    near = class_name.lower()
    folders = sorted(root.iterdir(), key=lambda one: (not near.startswith(one.name.replace("_", "")), -len(one.name)))
    return next((file for one in folders for file in sorted(one.glob("modeling_*.py")) if word in _read(file)), None)


def _config_source(class_name: str) -> str:
    file = _file(class_name)
    return "" if file is None else "\n".join(_read(one) for one in sorted(file.parent.glob("configuration_*.py")))


def _default_limits(class_name: str) -> Iterator[int]:
    """Yield the bounds that the defaults of the model's configs have, as class attributes or arguments."""
    for key in LENGTHS:
        for found in re.findall(rf"\b{key}(?:: [\w| ]+)? ?= ?(\d+)", _config_source(class_name)):
            yield int(found)


def _limits(config: Mapping[str, Any]) -> Iterator[int]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _limits(value)
        elif key in LENGTHS and isinstance(value, int):
            yield value


@functools.cache
def _root() -> Path:
    spec = importlib.util.find_spec("transformers")
    return Path(spec.origin).parent / "models" if spec is not None and spec.origin else Path("/nonexistent")


@functools.lru_cache(1024)
def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


@functools.lru_cache(64)
def _parsed(file: Path) -> ast.Module:
    return ast.parse(_read(file))
