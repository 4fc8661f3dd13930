"""As much of JSON Schema (draft 7) as our schemas use; a keyword that is not here is an error of the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}
NOTES = {"$schema", "title", "description"}
KNOWN = {*NOTES, "type", "enum", "anyOf", "properties", "patternProperties", "additionalProperties", "items"}
KNOWN |= {"minItems", "pattern"}


def errors(schema: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yield what a value has that its schema does not allow."""
    if schema is True or schema is False:
        yield from () if schema else (f"{path}: not allowed",)
        return
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "type" in schema and not any(_is(value, name) for name in _listed(schema["type"])):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in {schema['enum']}"
    if "anyOf" in schema and all(any(True for _ in errors(one, value, path)) for one in schema["anyOf"]):
        yield f"{path}: {value!r} is none of {len(schema['anyOf'])}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} is not like {schema['pattern']}"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{path}: too short"
        for index, item in enumerate(value):
            yield from errors(schema.get("items", True), item, f"{path}[{index}]")
    if isinstance(value, dict):
        for key, item in value.items():
            yield from errors(_below(schema, key), item, f"{path}.{key}")


def _below(schema: dict[str, Any], key: str) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, below in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return below
    return schema.get("additionalProperties", True)


def _listed(kind: Any) -> list[str]:
    return kind if isinstance(kind, list) else [kind]


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return type(value) is int or (name == "number" and type(value) is float)
    return isinstance(value, TYPES[name])
