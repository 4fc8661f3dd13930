"""A grid point: one composed configuration, checked and typed. What a plan is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestrator import columns, limits
from orchestrator.errors import UsageError, did_you_mean
from orchestrator.files import checked
from orchestrator.planning import schema
from orchestrator.planning.builds import build_of
from orchestrator.planning.quantized import NONE, combined
from orchestrator.planning.ranks import check_mode, check_ranks, with_ranks
from orchestrator.planning.selection import check_exclude
from orchestrator.planning.suites import Suite, read_suite
from orchestrator.plugin_classes import field_types, instantiate
from orchestrator.records import BASE, DTYPES, EAGER, Build, PluginSpec, fingerprint, once_a_record
from orchestrator.typed_json import Json
from orchestrator.validity import LAUNCHERS, check_name
from orchestrator.words import seconds_of

DEVICES = ("auto", "cpu", "cuda", "xpu")
"""The last, Intel's GPUs, was written without one (docs/gpu.md). Apple's are none: sweeps run on Linux."""
GATES = ("accuracy",)
MOST_ROUNDS = 1000
LONGEST_TAG = 60
EAGER_COMPILER = PluginSpec(name=EAGER, target="orchestrator.compilers.eager.Eager")
RANDOMIZE = "randomize_input"
"""Key of the configuration, and option of the measures that can do it."""

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Point:
    """What one composed configuration asks for; see `orchestrator.planning.schema.Config` for the meaning.

    compiler: with the quantisation before it, if there is one (`orchestrator.planning.quantized`); judged_by: options
    of judged measures that the quantisation brings; device: "auto", "cpu", "cuda:<index>" or "xpu:<index>"; timeout_s:
    of the measure where it has one, else of execution.
    """

    suite: Suite
    compiler: PluginSpec
    mode: PluginSpec
    training: bool
    measure: PluginSpec
    dtype: str
    device: str
    batch_size: int | None
    sequence_length: int | None
    rounds: int
    seed: int
    threads: int | None
    exclude: tuple[Json, ...]
    gate: str | None
    launcher: str
    env: Mapping[str, str]
    timeout_s: float
    judged_by: Json = field(default_factory=dict)
    build: Build | None = None


class PointReader:
    """Reads composed configurations; checks each distinct suite and plug-in once.

    Points share much of what they are made of (`orchestrator.planning.composer`): it is known again by identity.
    """

    def __init__(self) -> None:
        self._print = once_a_record(fingerprint)
        # with the objects themselves: else another could get the identity
        self._checked: dict[tuple[str, int], Any] = {}
        self._made: dict[Any, Any] = {}

    def read(self, conf: Json) -> Point:
        """Return the point of a composed configuration (plain dicts and lists).

        Raises UsageError for a key, name or number that is not legal, with its path and what is.
        """
        _check_keys(conf)
        self._check_values(conf)
        execution = conf["execution"]
        check_execution(execution)
        _at_least(0, "effect_threshold", conf["effect_threshold"])
        check_rounds(conf["rounds_min"], conf["budget"])
        tag = conf.get("tag")
        if tag is not None and not (tag.isprintable() and 0 < len(tag) <= LONGEST_TAG):
            raise UsageError(f"tag={tag!r:.80}: write 1 to {LONGEST_TAG} printable characters")
        check_mode(conf["mode"]["options"], conf["mode"]["target"], conf["mode"]["name"])
        ranks, (of_one, mode_plugin) = conf.get("ranks"), self._plugin(conf, "mode")
        mode = self._once(("ranks", id(of_one), ranks), lambda: with_ranks(of_one, ranks))
        compiler, measure = self._compiler(conf), self._measure(conf)
        check_ranks(mode, compiler, measure, execution)
        return Point(
            suite=self._suite(conf["suite"]),
            compiler=compiler,
            mode=mode,
            training=bool(mode_plugin.training),
            measure=measure,
            dtype=_one_of("dtype.name", conf["dtype"]["name"], DTYPES),
            device=_device(conf["device"]),
            batch_size=_at_least_1("batch_size", conf["batch_size"]),
            sequence_length=_at_least_1("sequence_length", conf["sequence_length"]),
            rounds=_rounds(conf["rounds"]),
            seed=_at_least(0, "seed", conf["seed"]),
            threads=_at_least_1("threads", conf["threads"]),
            exclude=check_exclude(conf["exclude"]),
            gate=None if conf["gate"] is None else _one_of("gate", conf["gate"], GATES),
            launcher=_launcher(execution),
            env=execution["env"],
            timeout_s=_positive("timeout_s", conf["measure"]["timeout_s"] or execution["timeout_s"]),
            judged_by=_judged_by(conf.get("quantization")),
            build=self._build(conf.get("build", BASE), conf.get("builds", {})),
        )

    def _check_values(self, conf: Json) -> None:
        """Refuse what no sweep folder can hold: it would be found out when the folder is read."""
        for key, value in conf.items():
            if (key, id(value)) not in self._checked:
                _check_value(key, value)
                self._checked[key, id(value)] = value

    def _once(self, key: Any, make: Callable[[], Made]) -> Made:
        """Return what `make` returned when this key was first asked for. Identities are those of records kept here."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def _build(self, name: str, builds: Mapping[str, Json]) -> Build | None:
        return self._once(("build", name, self._print(builds)), lambda: build_of(name, builds))

    def _suite(self, conf: Json) -> Suite:
        return self._once(("suite", self._print(conf)), lambda: _checked_suite(conf))

    def _compiler(self, conf: Json) -> PluginSpec:
        """Return the compiler, with the quantisation before it where one was chosen."""
        compiler, _ = self._plugin(conf, "compiler")
        if compiler.name == EAGER and compiler.target != EAGER_COMPILER.target:
            raise UsageError(
                f"compiler.name={EAGER} with target={compiler.target}: '{EAGER}' is the baseline: give it another name"
            )
        if not _quantizes(conf.get("quantization")):
            return compiler
        quantization, _ = self._plugin(conf, "quantization")
        key = ("quantized", id(compiler), id(quantization))
        return self._once(key, lambda: combined(compiler, quantization))

    def _measure(self, conf: Json) -> PluginSpec:
        """Return the measure. Raises UsageError, too, where its class declares tables that are none."""
        spec, plugin = self._plugin(conf, "measure")
        try:
            columns.to_json(getattr(plugin, "TABLES", {}))
        except ValueError as error:
            raise UsageError(f"{spec.target}: {error}") from error
        if not conf.get(RANDOMIZE) or not hasattr(plugin, RANDOMIZE):
            return spec
        options = {**spec.options, RANDOMIZE: True}
        return self._once((RANDOMIZE, id(spec)), lambda: dataclasses.replace(spec, options=options))

    def _plugin(self, conf: Json, group: str) -> tuple[PluginSpec, Any]:
        return self._once((group, self._print(conf[group])), lambda: _plugin(conf[group], f"{group}.options"))


def _checked_suite(conf: Json) -> Suite:
    suite = read_suite(conf)
    for model in suite.models:
        check_plugin(suite.builder(model), f"suite.catalog.{model.name}.build")
    return suite


def _plugin(chosen: Json, where: str) -> tuple[PluginSpec, Any]:
    spec = PluginSpec(name=chosen["name"], target=chosen["target"], options=chosen["options"])
    return spec, check_plugin(spec, where)


def _quantizes(conf: Json | None) -> bool:
    """Return whether a composed `quantization` names one; a point may have none.

    Raises UsageError when its name and its target do not go together: rows would be called what they are not.
    """
    if conf is None:
        return False
    if (conf["name"] == NONE) != (conf["target"] is None):
        raise UsageError(
            f"quantization.name={conf['name']} with target={conf['target']}: '{NONE}' is the one without a target"
        )
    return conf["target"] is not None


def _judged_by(conf: Json | None) -> Json:
    """Return the options that make a judged measure judge a quantised model by its cosine."""
    if conf is None or not _quantizes(conf):
        return {}
    limits = {key: conf[key] for key in ("cosine_limit", "norm_tolerance") if conf[key] is not None}
    for key, limit in limits.items():
        if not 0 <= limit <= 1:
            raise UsageError(f"quantization.{key}={limit}: it must be from 0 to 1")
    return {"cosine": True, **limits} if limits else {}


def check_execution(execution: Json) -> None:
    """Raise UsageError for a number that is not legal. Names, and whatever is a job's own, are checked elsewhere."""
    _parallel(execution["parallel"])
    _positive("execution.timeout_s", execution["timeout_s"])
    for key, most in (("memory_limit_gib", limits.GIB), ("memory_fraction", 1)):
        value = execution.get(key)
        if value is not None and not 0 < value <= most:
            raise UsageError(f"execution.{key}={value}: it must be more than 0, and at most {most}")
    for key in ("disk_reserve_mib", "retries"):
        _at_least(0, f"execution.{key}", execution[key])


def _parallel(value: Any) -> None:
    if type(value) is not int and value != "auto":
        raise UsageError(f"execution.parallel={value}: write auto, or how many jobs that time nothing run at a time")
    if value != "auto":
        _at_least_1("execution.parallel", value)


def check_rounds(rounds_min: int, budget: str | None) -> None:
    """Raise UsageError for fewer than one round, or a budget that is no time."""
    _at_least(1, "rounds_min", rounds_min)
    try:
        if budget is not None:
            seconds_of(budget)
    except ValueError as error:
        raise UsageError(f"budget={budget}: {error}") from error


def check_plugin(spec: PluginSpec, where: str) -> Any:
    """Build the plug-in, which checks its options, and ask it what is wrong with them; return it. Raises UsageError."""
    try:
        plugin = instantiate(spec, where)
        if hasattr(plugin, "check_when_planned"):
            plugin.check_when_planned()
        return plugin
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where} of '{spec.name}': {error}") from error


def _check_keys(conf: Json) -> None:
    """OmegaConf lets `+group.key=1` add keys to a typed node: refuse what the schema does not have."""
    kinds = field_types(schema.Config)
    _expect_keys(conf, kinds, "")
    for group, kind in kinds.items():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            _expect_keys(conf.get(group, {}), field_types(kind), f"{group}.")


def _expect_keys(node: Json, known: Collection[str], prefix: str) -> None:
    for key in node:
        if key not in known:
            raise UsageError(f"unknown key '{prefix}{key}': {did_you_mean(key, known)}")


def _check_value(key: str, value: Any) -> None:
    try:
        checked(value)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from error
    named = [(str(value["name"]), key)] if key in ("suite", "compiler", "mode", "measure") else []
    named += [(str(model), "model") for model in value.get("catalog", ())] if key == "suite" else []
    variables = value["env"] if key == "execution" else {}
    try:
        for text, what in (*named, *((f"{name}={text}", "variable") for name, text in variables.items())):
            check_name(text, what)
    except ValueError as error:
        raise UsageError(str(error)) from error
    for name in variables:
        if not name or "=" in name:
            raise UsageError(f"execution.env: {name!r} is no name of an environment variable")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise UsageError(f"{key}={value}: {did_you_mean(value, known)}")
    return value


def _at_least_1(key: str, value: int | None) -> int | None:
    return None if value is None else _at_least(1, key, value)


def _at_least(smallest: int, key: str, value: int) -> int:
    if value < smallest:
        raise UsageError(f"{key}={value}: it must be at least {smallest}")
    return value


def _rounds(value: int) -> int:
    if not 1 <= value <= MOST_ROUNDS:
        raise UsageError(f"rounds={value}: it must be at least 1, and at most {MOST_ROUNDS}")
    return value


def _positive(key: str, value: float) -> float:
    if not 0 < value <= limits.SECONDS:
        raise UsageError(f"{key}={value}: it must be more than 0 seconds, and at most {limits.SECONDS:.0f}, a year")
    return float(value)


def _device(conf: Json) -> str:
    kind = _one_of("device.type", conf["type"], DEVICES)
    if kind in ("auto", "cpu"):
        if conf["index"] is not None:
            raise UsageError(f"device.index={conf['index']}: only device=cuda and device=xpu have an index")
        return kind
    return f"{kind}:{_at_least(0, 'device.index', conf['index'] or 0)}"


def _launcher(execution: Json) -> str:
    """Return how a job's process is started: an environment of its own takes an interpreter of its own."""
    launcher = _one_of("execution.launcher", execution["launcher"], LAUNCHERS)
    return "subprocess" if execution["env"] else launcher
