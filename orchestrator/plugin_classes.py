"""How the name of a plug-in in a YAML file becomes a class, and whether its options fit.

Names are resolved only inside the allowed packages: reading a sweep that someone sent must not run their code. To use
plug-ins of your own, name their packages in the environment variable ORCHESTRATOR_PLUGIN_PACKAGES (separated by
commas); a sweep cannot set it.

Options may make a plug-in run code that is not in those packages: a file of the user's, a program. So before a sweep
that someone sent is run again a person is asked, and shown all of them (`orchestrator.planning.trust`).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import UsageError, did_you_mean, near, suggestion
from orchestrator.records import PluginSpec
from orchestrator.typed_json import arms

ALLOWED_PACKAGES = (
    "orchestrator.compilers",
    "orchestrator.measures",
    "orchestrator.modes",
    "orchestrator.suites",
)
PACKAGES_VARIABLE = "ORCHESTRATOR_PLUGIN_PACKAGES"


def allowed_packages() -> tuple[str, ...]:
    """Return the packages in which plug-ins are looked up: ours, and those that the user's environment names."""
    named = os.environ.get(PACKAGES_VARIABLE, "").split(",")
    return ALLOWED_PACKAGES + tuple(name.strip() for name in named if name.strip())


def resolve(target: str) -> type:
    """Return the class that `target` names. Raises UsageError when it is not a plug-in of an allowed package."""
    module_name, _, class_name = target.rpartition(".")
    packages = allowed_packages()
    inside = any(module_name == package or module_name.startswith(f"{package}.") for package in packages)
    if not inside or not all(part.isidentifier() for part in target.split(".")):
        raise UsageError(
            f"'{target}' is not a plug-in: it must be inside one of {', '.join(packages)} "
            f"(the environment variable {PACKAGES_VARIABLE} can name more)"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"'{target}' is not a plug-in: {error}") from error
    plugin = getattr(module, class_name, None)
    if not (isinstance(plugin, type) and dataclasses.is_dataclass(plugin)):
        classes = [
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module_name
        ]
        raise UsageError(f"'{class_name}' is not a plug-in of {module_name}: {did_you_mean(class_name, classes)}")
    return plugin


def trains(mode: PluginSpec) -> bool:
    """Return whether a mode's steps differentiate the model, by its class. Who reads a sweep asks the job instead.

    Raises UsageError when the class is not to be had (`resolve`).
    """
    return bool(resolve(mode.target).training)  # type: ignore[attr-defined]


def check_options(spec: PluginSpec, where: str) -> None:
    """Raise UsageError when `spec.options` lacks a key that the plug-in needs, or has one that it does not know.

    Also when a value is not of the type of its field, as far as the field's annotation says.
    """
    plugin = resolve(spec.target)
    fields = {f.name: f for f in dataclasses.fields(plugin)}
    kinds = field_types(plugin)
    for key, value in spec.options.items():
        if key not in fields:
            raise UsageError(f"{where}: unknown option '{key}' of {spec.target}: {did_you_mean(key, fields)}")
        if not fits(value, kinds[key]):
            meant = suggestion(near(str(value), _legal(kinds[key])))
            raise UsageError(f"{where}: {key}={value!r} of {spec.target}: {meant}it must be {words(kinds[key])}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in spec.options:
            raise UsageError(f"{where}: {spec.target} needs the option '{name}'")


@functools.cache
def option_names(target: str) -> frozenset[str]:
    """Return the names of a plug-in's options. Raises UsageError as `resolve` does."""
    return frozenset(field.name for field in dataclasses.fields(resolve(target)))


@functools.cache
def field_types(owner: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields; of anything where one is known to type checkers only."""
    try:
        return typing.get_type_hints(owner)
    except NameError:
        return {field.name: Any for field in dataclasses.fields(owner)}


def fits(value: Any, kind: Any) -> bool:
    """Return whether a JSON value is of the kind that an annotation names; of any that is no kind of JSON, it is."""
    if len(arms(kind)) > 1:
        return any(fits(value, arm) for arm in arms(kind))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(fits(item, arguments[1]) for item in value.values())
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and all(fits(item, arguments[0]) for item in value)
    if origin is typing.Literal:
        return value in arguments
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind if kind in WORDS else True


def at_least_1(plugin: object, *names: str) -> None:
    """Raise ValueError for an option of a plug-in that is less than 1, or has an item that is; None is no number."""
    for name in names:
        value = getattr(plugin, name)
        if any(item < 1 for item in (value if isinstance(value, (list, tuple)) else [value]) if item is not None):
            raise ValueError(f"{name}={value}: it must be at least 1")


WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}


def words(kind: Any) -> str:
    if len(arms(kind)) > 1:
        return ", or ".join(map(words, arms(kind)))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is Mapping:
        return "a map" if arguments[1] is Any else f"a map of names, each to {words(arguments[1])}"
    return f"a list, each of it {words(arguments[0])}" if origin is Sequence else WORDS.get(kind, str(kind))


def _legal(kind: Any) -> list[str]:
    """Return the words that a value may be, where an annotation names them."""
    return [
        str(word) for arm in arms(kind) if typing.get_origin(arm) is typing.Literal for word in typing.get_args(arm)
    ]


def instantiate(spec: PluginSpec, where: str = "") -> Any:
    """Build the plug-in object from its spec. Raises UsageError as `resolve` and `check_options` do."""
    check_options(spec, where or spec.name)
    return resolve(spec.target)(**spec.options)
