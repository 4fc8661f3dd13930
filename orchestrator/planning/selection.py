"""Rules that match jobs by name: the `exclude` of a sweep and the `skip` of a suite's model.

A rule is a map; it matches when all its keys do. A value is a literal, a glob ("inductor_*") or a list of those.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.records import PluginSpec, Workload, build_name
from orchestrator.typed_json import Json

KEYS = ("suite", "model", "compiler", "measure", "mode", "dtype", "device", "batch_size", "sequence_length", "build")

Names = Mapping[str, tuple[Any, ...]]
"""What a job is called, by key: cuda:1 is also cuda, training_adamw is also training."""


def names(workload: Workload, compiler: PluginSpec, measure: PluginSpec, training: bool) -> Names:
    """Return what a job of these is called. training: whether its mode trains."""
    kind = "training" if training else "inference"
    return {
        "suite": (workload.suite,),
        "model": (workload.model,),
        "compiler": (compiler.name,),
        "measure": (measure.name,),
        "mode": (workload.mode.name, kind),
        "dtype": (workload.dtype,),
        "device": (workload.device, workload.device.partition(":")[0]),
        "batch_size": (workload.batch_size,),
        "sequence_length": (workload.sequence_length,),
        "build": (build_name(workload.build),),
    }


def matches(rule: Json, job: Names) -> bool:
    """Return True when every key of the rule matches the job."""
    return all(_matches_one(wanted, job[key]) for key, wanted in rule.items())


def check_exclude(exclude: Sequence[Any]) -> tuple[Json, ...]:
    """Return the rules of a sweep's `exclude`. Raises UsageError for what is not a rule."""
    for index, rule in enumerate(exclude):
        if not isinstance(rule, Mapping) or not rule:
            raise UsageError(f"exclude[{index}] is {rule!r}: write a map, as in exclude=[{{compiler:inductor}}]")
        check_keys(rule, f"exclude[{index}]")
        for key, wanted in rule.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            if any(isinstance(value, (Mapping, list)) for value in values):
                raise UsageError(f"exclude[{index}].{key} is {wanted!r}: write a name, a pattern or a list of those")
    return tuple(exclude)


def check_values(exclude: Sequence[Json], known: Mapping[str, Collection[str]]) -> None:
    """Raise UsageError for a plain name that nothing bears: a typo would exclude nothing, silently.

    `known`: legal names by key; keys without an entry, and globs, are not looked at.
    """
    for index, rule in enumerate(exclude):
        for key, wanted in rule.items():
            for name in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
                is_glob = isinstance(name, str) and any(mark in name for mark in "*?[")
                if key in known and not is_glob and name not in known[key]:
                    raise UsageError(
                        f"exclude[{index}]: no {key} is named '{name}': {did_you_mean(str(name), known[key])}"
                    )


def check_keys(rule: Json, where: str, known: Collection[str] = KEYS) -> None:
    """Raise UsageError for a key that no job has."""
    for key in rule:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}': {did_you_mean(str(key), known)}")


def parse_only(text: str, known: Collection[str] = KEYS) -> dict[str, list[str]]:
    """Read what `--only` has, "model=Bert*,compiler=inductor"; a key that is given twice matches either value.

    Raises UsageError for what is no such list, or a key that is not `known`.
    """
    rule: dict[str, list[str]] = defaultdict(list)
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or not value:
            raise UsageError(f"--only {text}: write key=value,key=value, as in model=T5*,compiler=inductor")
        rule[key].append(value)
    check_keys(rule, f"--only {text}", known)
    return dict(rule)


def _matches_one(wanted: Any, found: tuple[Any, ...]) -> bool:
    if isinstance(wanted, (list, tuple)):
        return any(_matches_one(item, found) for item in wanted)
    if isinstance(wanted, str):
        return any(fnmatch.fnmatchcase(str(name), wanted) for name in found if name is not None)
    return wanted in found
