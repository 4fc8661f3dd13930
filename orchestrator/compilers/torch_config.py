"""Keys of torch's configuration modules (`torch._inductor.config`, `torch._dynamo.config`) as YAML writes them."""

from __future__ import annotations

from collections.abc import Mapping
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
        if isinstance(kind, type) and kind is float and type(value) is int:
            found[key] = float(value)
        elif isinstance(kind, type) and kind is not type(None) and not isinstance(value, kind):
            raise ValueError(f"{config.__name__}.{key} is a {kind.__name__}, not {value!r}")
    return found


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
