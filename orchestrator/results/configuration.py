"""What was configured, as the keys that a command line has: `compiler.options.dynamic`, `dtype`, `rounds`.

Flat, so that two configurations can be compared key by key, and every difference can be pasted back into a command.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.planning.overrides import OTHER_TYPE
from orchestrator.planning.overrides import value as quoted
from orchestrator.planning.quantized import parts
from orchestrator.records import Build, JobSpec, PluginSpec, Workload, once_a_record

Flat = Mapping[str, Any]
"""Key of the configuration -> scalar, or list."""

GROUPS = ("suite", "compiler", "quantization", "dtype", "mode", "device", "measure")
NOT_A_SETTING = frozenset(
    (
        *("dry_run", "resume", "shard_job", "zip", "grids", "tag", "keep_outputs", "compare_outputs"),
        *("randomize_input", "build", "builds", "ranks", *GROUPS),
    )
)
"""Top keys of a grid point that rows answer themselves, or that shape a sweep without changing a job of it."""
ABSENT = "(absent)"


class JobConfigs:
    """Flat configurations of jobs."""

    def __init__(self) -> None:
        self._workload, self._compiler = once_a_record(workload_config), once_a_record(compiler_config)
        self._measure = once_a_record(functools.partial(plugin_config, "measure"))

    def of(self, job: JobSpec) -> dict[str, Any]:
        """Return all that can change the job's figures but its round."""
        return {
            **self._workload(job.workload),
            **self._compiler(job.compiler),
            **self._measure(job.measure),
            "execution.launcher": job.launcher,
            **{f"execution.env.{name}": value for name, value in sorted(job.env.items())},
        }


def workload_config(workload: Workload) -> dict[str, Any]:
    w = workload
    return {
        "suite": w.suite,
        "suite.models": w.model,
        "suite.target": w.builder.target,
        **dict(flatten(w.builder.options, f"suite.catalog.{w.model}.build")),
        **plugin_config("mode", w.mode),
        "dtype": w.dtype,
        "device": w.device,
        "batch_size": w.batch_size,
        "sequence_length": w.sequence_length,
        "seed": w.seed,
        "threads": w.threads,
        **build_config(w.build),
    }


def build_config(build: Build | None) -> dict[str, Any]:
    """Return the flat configuration of a build; nothing of the command's own environment."""
    if build is None:
        return {}
    parts = {"python": build.python, "requirements": list(build.requirements) or None, "setup": build.setup}
    own = {f"builds.{build.name}.{key}": value for key, value in parts.items() if value is not None}
    return {"build": build.name, **own}


def plugin_config(group: str, spec: PluginSpec) -> dict[str, Any]:
    """Return the flat configuration of the option of a group."""
    return {group: spec.name, f"{group}.target": spec.target, **dict(flatten(spec.options, f"{group}.options"))}


def compiler_config(spec: PluginSpec) -> dict[str, Any]:
    """Return the flat configuration of a compiler and, where there is one, of the quantisation before it."""
    base, quantization = parts(spec)
    return plugin_config("compiler", base) | (plugin_config("quantization", quantization) if quantization else {})


def compiler_name(config: Flat) -> str:
    """Return what a job's compiler is called, from its flat configuration: with the quantisation before it."""
    names = (config.get("compiler"), config.get("quantization"))
    return "+".join(str(name) for name in names if name is not None)


def settings(points: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return what a sweep sets besides its groups: key -> its distinct values over the grid points, in order."""
    seen: dict[str, dict[str, Any]] = {}
    for point in points:
        own = {key: value for key, value in point.items() if key not in NOT_A_SETTING}
        for key, value in flatten(own):
            seen.setdefault(key, {}).setdefault(json.dumps(value, sort_keys=True, default=str), value)
    return {key: tuple(values.values()) for key, values in seen.items()}


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, scalar, list or map). An empty map is a value of its own: it differs from one that has keys.

    So is a map with a point in a key (`triton.cudagraphs`): a command line cannot write a path to it.
    """
    for key, value in node.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value and not any("." in str(inner) for inner in value):
            yield from flatten(value, path)
        else:
            yield path, value


def override(key: str, value: Any) -> str:
    """Return `key=value` in Hydra's grammar; a key of a plug-in's options may be new: `++key=value` adds or sets it."""
    if key == "suite.models":
        return f"suite.models=[{quoted(str(value))}]"
    if key == "device" and ":" in str(value):
        kind, _, index = str(value).partition(":")
        return f"device={kind} device.index={index}"
    if value is ABSENT:
        return f"~{key}"
    free = ".options." in key or key.startswith(("suite.catalog.", "execution.env."))
    return f"{'++' * free}{key}={literal(value)}"


def literal(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f'"{value}"' if OTHER_TYPE.fullmatch(value) else quoted(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{literal(item)}" for key, item in value.items()) + "}"
    return str(value)
