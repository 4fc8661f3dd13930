"""What a plug-in is, and how its name in a YAML file becomes a class.

A plug-in is a frozen dataclass whose fields are its options, named in YAML by `target` ("orchestrator.compilers.
dynamo.TorchCompile"). The planner checks options against the fields, the worker builds the object; so a plug-in's
module must not import torch (or anything else that is heavy) at its top, only inside its methods.

Names are resolved only inside the allowed packages: reading a sweep that someone sent must not run their code. To use
plug-ins of your own, name their packages in the environment variable ORCHESTRATOR_PLUGIN_PACKAGES (separated by
commas); a sweep cannot set it.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.records import PluginSpec, Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.context import Context

ALLOWED_PACKAGES = (
    "orchestrator.compilers",
    "orchestrator.measures",
    "orchestrator.modes",
    "orchestrator.suites",
)

PACKAGES_VARIABLE = "ORCHESTRATOR_PLUGIN_PACKAGES"

Forward = Callable[..., Any]
"""A model or what a compiler made of it: called as `forward(**inputs)`, returns the model's outputs."""


@dataclass(frozen=True)
class Compiled:
    """What a compiler made, with what else is to be known of it; called like any other `Forward`.

    facts: named figures and texts, kept in the result (bytes of a package, layers that were quantised).
    around_backward: the context in which the backward pass of its outputs has to run.
    """

    forward: Forward
    facts: Mapping[str, Any] = field(default_factory=dict)
    around_backward: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, **inputs: Any) -> Any:
        return self.forward(**inputs)


class Unsupported(Exception):
    """This cannot be done here; the message says why and what to install or change. Gives an `unsupported` row."""


@dataclass
class Program:
    """A model with its inputs, as a suite builds it.

    `model(**inputs)` returns a dict of name -> tensor (or a tensor, or a tuple of them). `inputs` are tensors with
    the batch first. `loss(outputs)` returns the scalar tensor that training differentiates.
    """

    model: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    loss: Callable[[Any], torch.Tensor]


class Builder(Protocol):
    """Builds one model of a suite. Options are the entry's `build` keys in the suite's YAML.

    It may have `load(workload)`, called in the job's process alone before anything is measured, for imports that other
    jobs must not share; and, for an open suite, the class method `named(asked) -> (name, options)`: what a name that is
    in no catalog means, as a row's name and options of the builder (`model`: what a command can ask for again).
    """

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program in float32 on the CPU, random weights and inputs from `workload.seed` alone.

        `dropout=False` builds the model with every dropout probability 0. Raises Unsupported for a model that
        this machine's packages do not have.
        """


class Mode(Protocol):
    """What one step is: inference, training, ..."""

    training: ClassVar[bool]

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        """Return the function that is timed: one whole step, through `forward` instead of `program.model`."""

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Run one step up to, not including, the optimizer's; return copies of all that must be right, by name."""


class Compiler(Protocol):
    """Makes a callable of a model. Options are the `options` of conf/compiler/*.yaml.

    Any plug-in may name modules that are imported before anything is measured (by the fork server once for all jobs):
    `PRELOAD: ClassVar[tuple[str, ...]]`, or a method `preload_modules(workload) -> Sequence[str]`.
    """

    @property
    def changes_model(self) -> bool:
        """True when compiling changes the model in place, so that eager needs a model of its own."""

    def check(self, workload: Workload) -> None:
        """Raise Unsupported when this compiler cannot do this workload on this machine."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        """Return the callable; the compilation itself may happen at its first call. `Compiled` says more of it."""


@runtime_checkable
class DynamoCompiler(Protocol):
    """What a compiler offers besides when it goes through dynamo: measures of what dynamo does ask it."""

    @property
    def backend(self) -> str:
        """The name of its back-end."""

    def capture(self, program: Program, backend: Callable[..., Any]) -> Forward:
        """Return the callable that dynamo makes with another back-end, everything else being as configured."""

    def inductor_options(self) -> Mapping[str, Any]:
        """Return the keys of `torch._inductor.config` that it sets while it compiles, with their values."""


class Measure(Protocol):
    """What is asked of (workload, compiler). Options are the `options` of conf/measure/*.yaml.

    `kind` says what a job of it is planned with: one of `orchestrator.records.KINDS`. An observed one may have a
    `default_batch_size: ClassVar[int]`, which stands for the suite's where none is asked for.
    """

    kind: ClassVar[str]

    def run(self, context: Context) -> Outcome:
        """Run in the worker: put what is seen into `context.samples` and `context.facts`, return the verdict.

        What an exception leaves there is kept beside the failure.
        """


@dataclass(frozen=True)
class Outcome:
    """A measure's verdict: one of `records.STATUSES`, with its reason when it is not a pass."""

    status: str
    reason: str = ""


def facts_of(forward: Forward) -> Mapping[str, Any]:
    """Return what a compiler tells of what it made; nothing for a bare callable."""
    return forward.facts if isinstance(forward, Compiled) else {}


def around_backward(forward: Forward) -> AbstractContextManager[None]:
    """Return the context in which a mode has to run the backward pass of what `forward` returned."""
    return forward.around_backward() if isinstance(forward, Compiled) else nullcontext()


def preloads(plugin: Any, workload: Workload) -> tuple[str, ...]:
    """Return the modules that a plug-in names: `PRELOAD`, and `preload_modules(workload)` where it has that."""
    modules = tuple(getattr(plugin, "PRELOAD", ()))
    return modules + (tuple(plugin.preload_modules(workload)) if hasattr(plugin, "preload_modules") else ())


def allowed_packages() -> tuple[str, ...]:
    """Return the packages in which plug-ins are looked up: ours, and those that the user's environment names."""
    named = os.environ.get(PACKAGES_VARIABLE, "").split(",")
    return ALLOWED_PACKAGES + tuple(name.strip() for name in named if name.strip())


def resolve(target: str) -> type:
    """Return the class that `target` names. Raises UsageError when it is not a plug-in of an allowed package."""
    module_name, _, class_name = target.rpartition(".")
    packages = allowed_packages()
    if not any(module_name == package or module_name.startswith(f"{package}.") for package in packages):
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
            name for name, value in vars(module).items() if isinstance(value, type) and dataclasses.is_dataclass(value)
        ]
        raise UsageError(f"'{class_name}' is not a plug-in of {module_name}: {did_you_mean(class_name, classes)}")
    return plugin


def check_options(spec: PluginSpec, where: str) -> None:
    """Raise UsageError when `spec.options` has a key that the plug-in does not know, or lacks one that it needs."""
    fields = {f.name: f for f in dataclasses.fields(resolve(spec.target))}
    for key in spec.options:
        if key not in fields:
            raise UsageError(f"{where}: unknown option '{key}' of {spec.target}: {did_you_mean(key, fields)}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in spec.options:
            raise UsageError(f"{where}: {spec.target} needs the option '{name}'")


def instantiate(spec: PluginSpec) -> Any:
    """Build the plug-in object from its spec. Raises UsageError as `resolve` and `check_options` do."""
    check_options(spec, spec.name)
    return resolve(spec.target)(**spec.options)
