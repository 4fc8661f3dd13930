"""The rules of a gate, as a YAML file: what changes it allows, and which rows are known to be flaky, until when.

    thresholds: {speedup: 0.03, latency_ms: off, own_memory_mib: {threshold: 0.05, alone: 0.1, floor: 16}}
    models: {"Bert*": {speedup: 0.10}}
    compilers: {inductor_max_autotune: {compile_latency_cold_s: 0.5}}
    flaky:
      - {model: T5Small, compiler: inductor, dtype: float16, metric: latency_ms, reason: see 12, expires: 2026-12-01}
    new_rows: judge       # or ignore: a new row that failed is no failure
    environment: warn     # or fail, ignore: what to do about figures of another machine, or of other packages

Limits are those of `orchestrator.comparison.thresholds`, of the built-in figures and of those that measures declare,
changed by `thresholds`, then by the models and then by the compilers that match, each in the order of the file.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator import limits
from orchestrator.comparison.snapshot import Row
from orchestrator.comparison.thresholds import DEFAULTS, EXACT, STATUS, Limit
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.files import read_bytes
from orchestrator.planning.selection import KEYS, Names, matches
from orchestrator.results.configuration import compiler_name

WARN, FAIL, IGNORE, JUDGE = "warn", "fail", "ignore", "judge"
CHOICES = {"new_rows": (JUDGE, IGNORE), "environment": (WARN, FAIL, IGNORE)}
SECTIONS = ("thresholds", "models", "compilers", "flaky", *CHOICES)
SIZES = ("threshold", "alone", "floor")
SHOWN = 80
"""So many characters of a wrong value are shown."""

Sizes = Mapping[str, float]
"""Those of `SIZES` that the file gives."""
Changes = Mapping[str, Sizes | None]
"""Metric -> what the file gives for it, None for off."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One flaky thing: `rule` as in `orchestrator.planning.selection`, `metrics` (globs; empty: all), why, how long.

    `where` is its place in the file; `expires` the last day (UTC) on which it excuses a failure.
    """

    where: str
    rule: Mapping[str, Any]
    metrics: tuple[str, ...]
    reason: str
    expires: datetime.date

    @property
    def title(self) -> str:
        parts = {**self.rule, **({"metric": list(self.metrics)} if self.metrics else {})}
        return ", ".join(f"{key} {_listed(value)}" for key, value in parts.items())

    def expired(self, today: datetime.date) -> bool:
        return today > self.expires

    def covers(self, row: Names, metric: str) -> bool:
        """Tell whether it excuses a failure of `metric` ("status": of the status) in a row that is called so."""
        wanted = not self.metrics or matches({"metric": self.metrics}, {"metric": (metric,)})
        return wanted and matches(self.rule, row)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`defaults`: metric -> its limit; `models` and `compilers`: glob -> changes of it in the rows that match."""

    thresholds: Changes = field(default_factory=dict)
    models: Mapping[str, Changes] = field(default_factory=dict)
    compilers: Mapping[str, Changes] = field(default_factory=dict)
    flaky: tuple[Entry, ...] = ()
    new_rows: str = JUDGE
    environment: str = WARN
    defaults: Mapping[str, Limit] = field(default_factory=lambda: DEFAULTS)

    def limits(self, row: Names) -> dict[str, Limit]:
        """Return metric -> limit of a row that is called so, without the metrics that are off."""
        limits: dict[str, Limit | None] = dict(self.defaults)
        for changes in self._changes(row):
            for metric, sizes in changes.items():
                limits[metric] = None if sizes is None else changed(limits[metric] or self.defaults[metric], sizes)
        return {metric: limit for metric, limit in limits.items() if limit is not None}

    def _changes(self, row: Names) -> list[Changes]:
        sections = (("model", self.models), ("compiler", self.compilers))
        named = [changes for key, own in sections for glob, changes in own.items() if matches({key: glob}, row)]
        return [self.thresholds, *named]


def changed(limit: Limit, sizes: Sizes) -> Limit:
    """Return the limit with other sizes. What is known less well is never held to a tighter limit."""
    written: dict[str, Any] = dict(sizes)
    new = replace(limit, **written)
    if "alone" in sizes:
        return new
    return replace(new, alone=new.threshold if new.exact else max(new.alone, new.threshold))


def called(row: Row) -> Names:
    """Return what a row is called, by the keys of rules: names as they are configured and as tables show them."""
    config, names = row.config, row.names
    kind = str(config.get("mode.target")).rpartition(".")[2].lower()
    device = str(config.get("device"))
    return {
        "suite": (config.get("suite"),),
        "model": (config.get("suite.models"), names.get("model")),
        "compiler": (compiler_name(config), names.get("compiler")),
        "measure": (config.get("measure"), names.get("measure"), row.kind),
        "mode": (config.get("mode"), names.get("mode"), kind),
        "dtype": (config.get("dtype"),),
        "device": (device, device.partition(":")[0]),
        "batch_size": (config.get("batch_size"),),
        "sequence_length": (config.get("sequence_length"),),
    }


def read(path: Path, defaults: Mapping[str, Limit] = DEFAULTS) -> Rules:
    """Read a rules file. `defaults`: the metrics that there are, with their limits.

    Raises UsageError, naming file and key, for whatever is not as above.
    """
    try:
        data = yaml.load(read_bytes(path, limits.RULES).decode(), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{path}{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise UsageError(f"{path} cannot be read: {error}") from error
    return parse({} if data is None else data, str(path), defaults)


def parse(data: Any, where: str, defaults: Mapping[str, Limit] = DEFAULTS) -> Rules:
    """Return the rules that a YAML file holds. Raises UsageError."""
    _keys(data, SECTIONS, where)
    data = {key: value for key, value in data.items() if value is not None}  # a section may be empty
    flaky = data.get("flaky", [])
    if not isinstance(flaky, list):
        raise UsageError(f"{where}: flaky: write a list of maps, not {_shown(flaky)}")
    for key, known in CHOICES.items():
        if data.get(key, known[0]) not in known:
            raise UsageError(f"{where}: {key}: {_shown(data[key])} is none of {', '.join(known)}")
    return Rules(
        thresholds=_changes(data.get("thresholds", {}), f"{where}: thresholds", defaults),
        models=_by_name(data.get("models", {}), f"{where}: models", defaults),
        compilers=_by_name(data.get("compilers", {}), f"{where}: compilers", defaults),
        flaky=tuple(_entry(entry, f"{where}: flaky[{i}]", defaults) for i, entry in enumerate(flaky)),
        defaults=defaults,
        **{key: data.get(key, known[0]) for key, known in CHOICES.items()},
    )


def _by_name(data: Any, where: str, defaults: Mapping[str, Limit]) -> dict[str, Changes]:
    _map(data, where)
    return {str(name): _changes(own, f"{where}: {name}", defaults) for name, own in data.items()}


def _changes(data: Any, where: str, defaults: Mapping[str, Limit]) -> Changes:
    _keys(data, defaults, where, "metric")
    return {metric: _sizes(defaults[metric], value, f"{where}: {metric}") for metric, value in data.items()}


def _sizes(limit: Limit, value: Any, where: str) -> Sizes | None:
    if value is False or value == "off":  # YAML 1.1 reads a plain off as false
        return None
    if limit == EXACT:
        raise UsageError(f"{where}: counts are compared exactly: write off, or leave it out, not {_shown(value)}")
    sizes = value if isinstance(value, Mapping) else {"threshold": value}
    _keys(sizes, SIZES, where)
    for key, size in sizes.items():
        number = isinstance(size, (int, float)) and not isinstance(size, bool) and -limits.WORD < size < limits.WORD
        if not number or size < 0 or (key != "floor" and size > 1):
            unit = "in the metric's unit" if key == "floor" else "relative, between 0 and 1 (0.03 is 3 %), or off"
            raise UsageError(f"{where}: {_shown(size)} is no {key}: it is {unit}")
    return {key: float(size) for key, size in sizes.items()}


def _entry(data: Any, where: str, defaults: Mapping[str, Limit]) -> Entry:
    _keys(data, (*KEYS, "metric", "reason", "expires"), where)
    rule = {key: value for key, value in data.items() if key in KEYS}
    if not rule:
        raise UsageError(f"{where}: name a row by at least one of {', '.join(KEYS)}")
    for key, value in data.items():
        items = value if isinstance(value, list) else [value]
        if key in (*KEYS, "metric") and not (items and all(_is_name(item) for item in items)):
            raise UsageError(f"{where}: {key}: {_shown(value)} is no name, glob or list of those")
    metrics = data.get("metric", [])
    metrics = tuple(map(str, metrics if isinstance(metrics, list) else [metrics]))
    for metric in metrics:
        if not any(mark in metric for mark in "*?[") and metric not in (*defaults, STATUS):
            raise UsageError(f"{where}: unknown metric '{metric}': {did_you_mean(metric, (*defaults, STATUS))}")
    reason = data.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise UsageError(f"{where}: reason: say in a text why this is flaky, best with a link")
    return Entry(
        where=where, rule=rule, metrics=metrics, reason=reason.strip(), expires=_date(data.get("expires"), where)
    )


def _date(value: Any, where: str) -> datetime.date:
    if isinstance(value, str):
        value = date(value, f"{where}: expires")
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise UsageError(f"{where}: expires: write the last day on which it counts, as 2026-12-01, not {_shown(value)}")
    return value


def date(text: str, where: str) -> datetime.date:
    """Return a day that is written as 2026-12-01. Raises UsageError."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{where}: '{text}' is no day: write it as 2026-12-01") from None


def _keys(data: Any, known: Sequence[str] | Mapping[str, Any], where: str, what: str = "key") -> None:
    _map(data, where)
    for key in data:
        if key not in known:
            raise UsageError(f"{where}: unknown {what} '{key}': {did_you_mean(str(key), known)}")


def _map(data: Any, where: str) -> None:
    if not isinstance(data, Mapping):
        raise UsageError(f"{where}: write a map of key: value, not {_shown(data)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _is_name(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _listed(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class _Loader(yaml.SafeLoader):
    """A key that stands twice is an error: YAML keeps the last one, and the other limits would be gone silently.

    So is an alias: ten lines of them that name each other are a text of gigabytes, in a message for example. And an
    integer of a million digits, which Python itself will not write.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        value = super().construct_object(node, deep)
        if type(value) is int and not -limits.WORD < value < limits.WORD:
            raise yaml.MarkedYAMLError(problem="a number with over 18 digits", problem_mark=node.start_mark)
        return value

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"an alias (*{event.anchor}): write it out", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = [key.value for key, _ in node.value]
        for position, key in enumerate(seen):
            if key in seen[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"'{key}' stands twice", problem_mark=mark)
        return super().construct_mapping(node, deep)
