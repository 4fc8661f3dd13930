"""Frozen dataclasses as JSON, and back: by the types of their fields, which are checked on the way in."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Json = Mapping[str, Any]
"""A JSON object: string keys, values of None, bool, int, float, str, list or dict."""

OMITTED = "omitted"
"""Metadata of a field that is in a record's JSON only where it is not None."""

Record = TypeVar("Record")


_SCALARS = (str, int, float, type(None))


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if OMITTED not in field.metadata)


@functools.cache
def _omitted(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind) if OMITTED in field.metadata)


def arms(kind: Any) -> tuple[Any, ...]:
    """Return the types of which a union is one; of what is no union, itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)


def to_json(record: Any) -> Any:
    """Return the JSON value (dicts, lists, scalars) of a record; order of keys is the order of fields.

    What is `OMITTED` where it is None comes last.
    """
    if isinstance(record, _SCALARS):
        return record
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        there = [name for name in _omitted(type(record)) if getattr(record, name) is not None]
        return {name: to_json(getattr(record, name)) for name in (*_names(type(record)), *there)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    return record


def from_json(kind: type[Record], value: Any) -> Record:
    """Build a record of `kind` from its JSON value. What is in it a record already stays what it is.

    Raises ValueError that names the field when a key is missing, unknown or of another type.
    """
    return typing.cast(Record, _parser(typing.cast(Any, kind))(value, kind.__name__))


Parser = Callable[[Any, str], Any]
"""(JSON value, where it stands) -> value of the kind; raises ValueError."""


@functools.cache  # a sweep has thousands of records of six kinds: what a kind asks for is found out once
def _parser(kind: Any) -> Parser:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value, where: value
    if kind == int | float:
        return _number
    if len(arms(kind)) > 1:
        return _optional(_parser(next(arm for arm in arguments if arm is not type(None))))
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind))
    if origin in (tuple, Sequence):
        return _floats if arguments[0] is float else _list(_parser(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _object(_parser(arguments[1]), anything=arguments[1] is Any)
    return _float if kind is float else _scalar(kind)


def _optional(parse: Parser) -> Parser:
    return lambda value, where: None if value is None else parse(value, where)


def _list(parse: Parser) -> Parser:
    def parsed(value: Any, where: str) -> tuple[Any, ...]:
        _expect(type(value) is list, where, "a list", value)
        return tuple([parse(item, f"{where}[{i}]") for i, item in enumerate(value)])

    return parsed


def _floats(value: Any, where: str) -> tuple[float, ...]:
    """Samples are most of what a result holds: one test for all of them."""
    _expect(type(value) is list, where, "a list", value)
    if not {type(item) for item in value} <= {float, int}:
        number, wrong = next((i, item) for i, item in enumerate(value) if type(item) not in (float, int))
        _expect(False, f"{where}[{number}]", "a number", wrong)
    return tuple(map(float, value))


def _object(parse: Parser, *, anything: bool) -> Parser:
    def parsed(value: Any, where: str) -> dict[str, Any]:
        _expect(type(value) is dict, where, "an object", value)
        return dict(value) if anything else {key: parse(item, f"{where}.{key}") for key, item in value.items()}

    return parsed


def _number(value: Any, where: str) -> int | float:
    _expect(type(value) in (float, int), where, "a number", value)
    return typing.cast(float, value)


def _float(value: Any, where: str) -> float:
    return float(_number(value, where))


def _scalar(kind: type) -> Parser:
    def parsed(value: Any, where: str) -> Any:
        _expect(type(value) is kind, where, kind.__name__, value)
        return value

    return parsed


def _record(kind: type) -> Parser:
    hints = typing.get_type_hints(kind)
    parsers = {name: _parser(hint) for name, hint in hints.items()}
    missing = dataclasses.MISSING
    needed = {f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing}

    def parsed(value: Any, where: str) -> Any:
        if isinstance(value, kind):
            return value
        _expect(type(value) is dict, where, "an object", value)
        if not (needed <= value.keys() <= parsers.keys()):
            unknown = value.keys() - parsers.keys()
            _expect(not unknown, where, f"only the keys {sorted(parsers)}", sorted(unknown))
            _expect(False, where, f"the keys {sorted(needed - value.keys())}", sorted(value))
        return kind(**{name: parsers[name](item, f"{where}.{name}") for name, item in value.items()})

    return parsed


def _expect(true: bool, where: str, expected: str, value: Any) -> None:
    if not true:
        raise ValueError(f"{where}: expected {expected}, found {str(value)[:80]!r}")
