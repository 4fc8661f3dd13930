"""A suite's YAML: checked, and its models chosen.

What a suite says about a model is data (`Model`); what it means for a job is in `orchestrator.planning.plan`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.planning.model_lists import Listed, expand
from orchestrator.planning.selection import Names, check_keys, matches
from orchestrator.plugins import resolve
from orchestrator.records import OWN_BATCH, STATUSES, UNSUPPORTED, PluginSpec, Verdict
from orchestrator.typed_json import Json, from_json

TOLERANCE_KEYS = tuple(f"{mode}{device}" for mode in ("inference", "training") for device in ("", "_cpu", "_cuda"))
SKIP_KEYS = ("reason", "status", "measure", "mode", "device", "dtype", "compiler")
MODEL_NAME = re.compile(r"[\w.+-]+")
"""What a row may be called: names go into paths, tables and commands."""


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """cpu, cuda: of performance jobs there, before the divisor; accuracy: of accuracy jobs and their reference."""

    cpu: int | None = None
    cuda: int | None = None
    accuracy: int | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """One entry of a catalog.

    build: options of the suite's builder. optional_length: has a sequence length only where the command line asks for
    one. own_batch: where the command line asks for no batch size it is the model's own. new_tokens: how many a
    generation makes where its mode does not say. divisor: divides performance batch sizes. tolerance: absolute =
    relative, by mode ("inference"), or by mode and device ("inference_cpu"), which goes first. skip: rules with a
    reason. gone: why the model cannot be had any more. params_m: millions of parameters. source: where an unusual value
    is from.
    """

    name: str
    build: Mapping[str, Any] = field(default_factory=dict)
    sequence_length: int | None = None
    optional_length: bool = False
    own_batch: bool = False
    new_tokens: int | None = None
    batch_size: BatchSize = field(default_factory=BatchSize)
    divisor: int = 1
    tolerance: Mapping[str, float] = field(default_factory=dict)
    larger_multiplier: bool = False
    cosine: bool = False
    skip: tuple[Mapping[str, Any], ...] = ()
    gone: str | None = None
    params_m: float | None = None
    source: str | None = None

    def batch(self, device: str, judged: bool) -> int:
        """Return the batch size on `device`, a kind; `judged` for accuracy jobs. Other GPUs have CUDA's sizes.

        Raises UsageError.
        """
        if self.own_batch and self.batch_size == BatchSize():
            return OWN_BATCH
        if judged and self.batch_size.accuracy is not None:
            return self.batch_size.accuracy
        size = self.batch_size.cpu if device == "cpu" else self.batch_size.cuda
        if size is None and self.batch_size != BatchSize():
            raise UsageError(f"suite.catalog.{self.name}.batch_size has no value for {device}: set it, or batch_size=1")
        return max((size or 1) // self.divisor, 1)

    def length(self, asked: int | None) -> int | None:
        """Return the sequence length of its jobs where `asked` is asked for (None: nothing is)."""
        if self.sequence_length is None and not self.optional_length:
            return None
        return asked or self.sequence_length

    def without_length(self, asked: int | None) -> Verdict | None:
        """Return the verdict on a job of a model that has no length where one is asked for: it would not be of it."""
        if asked is None or self.sequence_length is not None or self.optional_length:
            return None
        reason = f"{self.name} has no sequence length, and sequence_length={asked} is asked for: run it without"
        return Verdict(status=UNSUPPORTED, reason=reason)

    def tolerance_for(self, device: str, training: bool) -> float | None:
        """Return absolute = relative tolerance, None where the suite has none."""
        mode = "training" if training else "inference"
        return self.tolerance.get(f"{mode}_{device}", self.tolerance.get(mode))

    def verdict(self, job: Names) -> Verdict | None:
        """Return the result that is known beforehand: of a model that is gone, or of the first skip that matches."""
        if self.gone is not None:
            return Verdict(status=UNSUPPORTED, reason=self.gone)
        for rule in self.skip:
            criteria = {key: value for key, value in rule.items() if key not in ("reason", "status")}
            if matches(criteria, job):
                return Verdict(status=rule.get("status", UNSUPPORTED), reason=rule["reason"])
        return None


MODEL_KEYS = {field.name for field in dataclasses.fields(Model)} - {"name"}
BATCH_KEYS = {field.name for field in dataclasses.fields(BatchSize)}


@dataclass(frozen=True)
class Suite:
    """A suite with the models that were asked for, in the catalog's order or that of `suite.models`."""

    name: str
    target: str
    models: tuple[Model, ...]

    def builder(self, model: Model) -> PluginSpec:
        return PluginSpec(name=model.name, target=self.target, options=model.build)


def read_suite(conf: Json) -> Suite:
    """Check a composed `suite` and choose its models.

    Raises UsageError that names the key's path, and the nearest legal key, for anything that is not right.
    """
    name, target = str(conf["name"]), str(conf["target"])
    for asked in conf["models"] or ():
        if isinstance(asked, (Mapping, list)):
            raise UsageError(f"suite.models of {name}: {asked!r} is no name of a model")
    asked, listed = expand(conf["models"] or (), conf["catalog"])
    common = _map(conf["common"], f"suite {name}: common")
    _read_model("common", common, f"suite {name}: common")
    catalog: dict[str, Model] = {}
    for model, entry in conf["catalog"].items():
        where = f"suite {name}: catalog.{model}"
        entry = _merge(common, _map(entry, where))
        catalog[model] = _read_model(model, listed[model].over(entry) if model in listed else entry, where)
    if conf.get("open"):
        for model in [one for one in asked if one not in catalog]:
            called, build = _named(name, target, model)
            entry = _merge(common, {"build": build})
            entry = listed[model].over(entry) if model in listed else entry
            catalog[model] = _with_length(target, _read_model(called, entry, f"suite {name}: {model}"))
    return Suite(name, target, tuple(_choose(conf, name, catalog, asked, listed)))


def _named(suite: str, target: str, asked: str) -> tuple[str, Json]:
    """Return row name and builder's options of a model of an open suite that is in no catalog. Raises UsageError.

    What a name means besides itself (a file, a module) is known to the builder: its class method `named`.
    """
    named = getattr(resolve(target), "named", None)
    name, build = (asked, {}) if named is None else named(asked)
    if not MODEL_NAME.fullmatch(name):
        raise UsageError(
            f"suite {suite}: '{asked}' names no model: a name has letters, digits and the signs _ . + - only"
        )
    return name, build


def _with_length(target: str, model: Model) -> Model:
    """Return a model of an open suite with the length that its inputs have where none is asked for.

    Only the builder knows whether it has one: its class method `default_length`, asked where the suite sets none.
    """
    of = getattr(resolve(target), "default_length", None)
    if of is None or model.sequence_length is not None or not model.optional_length:
        return model
    return dataclasses.replace(model, sequence_length=of(model.name, model.build))


def _choose(
    conf: Json, name: str, catalog: Mapping[str, Model], asked: Sequence[str], listed: Mapping[str, Listed]
) -> Iterator[Model]:
    if not catalog and conf.get("open"):
        raise UsageError(
            f"suite {name} has no models of its own: name yours, as in suite.models=[...] (docs/suites.md)"
        )
    if not catalog:
        raise UsageError(f"suite {name} has no models: its catalog is empty")
    for model in asked:
        if model not in catalog:
            where = f" ({listed[model].where})" if model in listed else ""
            raise UsageError(f"suite {name} has no model '{model}'{where}: {did_you_mean(model, catalog)}")
    keep, drop = _pattern(conf["filter"], "suite.filter"), _pattern(conf["exclude"], "suite.exclude")
    by_name = conf["models"] is not None
    candidates = [catalog[model] for model in (dict.fromkeys(asked) if by_name else catalog)]
    chosen = [
        model
        for model in candidates
        if (keep is None or keep.search(model.name)) and not (drop is not None and drop.search(model.name))
    ]
    if not chosen:
        rules = ", ".join(
            f"suite.{key}={conf[key]}" for key in ("models", "filter", "exclude") if conf[key] is not None
        )
        raise UsageError(f"{rules} leaves no model of suite {name}. Available: {', '.join(catalog)}")
    # a model that is gone gives rows only when it was asked for by name
    yield from (model for model in chosen if by_name or model.gone is None)


def _pattern(text: str | None, where: str) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UsageError(f"{where}={text} is not a regular expression: {error}") from error


def _read_model(name: str, entry: Json, where: str) -> Model:
    check_keys(entry, where, MODEL_KEYS)
    for key, known in (("batch_size", BATCH_KEYS), ("tolerance", TOLERANCE_KEYS)):
        check_keys(_map(entry.get(key), f"{where}.{key}"), f"{where}.{key}", known)
    try:
        model = from_json(Model, {"name": name, **entry})
    except ValueError as error:
        raise UsageError(f"{where}{str(error).removeprefix('Model')}") from error
    for index, rule in enumerate(model.skip):
        _check_skip(rule, f"{where}.skip[{index}]")
    sizes = (*dataclasses.astuple(model.batch_size), model.divisor, model.sequence_length, model.new_tokens)
    if min(size for size in sizes if size is not None) < 1:
        raise UsageError(f"{where}: batch_size, divisor, sequence_length and new_tokens must be at least 1")
    for key, tolerance in model.tolerance.items():
        if not 0 <= tolerance < math.inf:
            raise UsageError(f"{where}.tolerance.{key}={tolerance}: it must be a number, and at least 0")
    return model


def _check_skip(rule: Json, where: str) -> None:
    check_keys(rule, where, SKIP_KEYS)
    if not rule.get("reason"):
        raise UsageError(f"{where} needs a reason: it becomes the reason of the row")
    if rule.get("status", UNSUPPORTED) not in STATUSES:
        raise UsageError(f"{where}: unknown status '{rule['status']}': {did_you_mean(str(rule['status']), STATUSES)}")


def _map(value: Any, where: str) -> Json:
    """Return a map of the YAML; an entry without a value is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected a map, found {value!r}")
    return value


def _merge(common: Json, entry: Json) -> dict[str, Any]:
    """Return `entry` laid over `common`, map by map."""
    maps = [key for key in entry if isinstance(entry[key], Mapping) and isinstance(common.get(key), Mapping)]
    return {**common, **entry, **{key: _merge(common[key], entry[key]) for key in maps}}
