"""What a plug-in is.

A plug-in is a frozen dataclass whose fields are its options, named in YAML by `target` ("orchestrator.compilers.
dynamo.TorchCompile"). The planner checks options against the fields, the worker builds the object; so a plug-in's
module must not import torch (or anything else that is heavy) at its top, only inside its methods. What else is
wrong with its options, and can be known without torch, it may say when planning: a method `check_when_planned()`, which
raises ValueError. A field that takes some words only says so by its type, `Literal["a", "b"]`.

How its name becomes a class is in `orchestrator.plugin_classes`; those names can be imported from here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from orchestrator.plugin_classes import ALLOWED_PACKAGES as ALLOWED_PACKAGES
from orchestrator.plugin_classes import PACKAGES_VARIABLE as PACKAGES_VARIABLE
from orchestrator.plugin_classes import allowed_packages as allowed_packages
from orchestrator.plugin_classes import check_options as check_options
from orchestrator.plugin_classes import fits as fits
from orchestrator.plugin_classes import instantiate as instantiate
from orchestrator.plugin_classes import resolve as resolve
from orchestrator.plugin_classes import trains as trains
from orchestrator.plugin_classes import words as words
from orchestrator.records import Samples, Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.context import Context


Forward = Callable[..., Any]
"""A model or what a compiler made of it: called as `forward(**inputs)`, returns the model's outputs."""


@dataclass(frozen=True)
class Compiled:
    """What a compiler made, with what else is to be known of it; called like any other `Forward`.

    facts: named figures and texts, kept in the result (bytes of a package, layers that were quantised). They may be
    filled in up to the end of the first call. "notes" among them are texts for the row: what ran elsewhere, ...
    around_backward: the context in which the backward pass of its outputs has to run.
    """

    forward: Forward
    facts: dict[str, Any] = field(default_factory=dict)
    around_backward: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, **inputs: Any) -> Any:
        return self.forward(**inputs)


class Unsupported(Exception):
    """This cannot be done here; the message says why and what to install or change. Gives an `unsupported` row."""


@dataclass
class Program:
    """A model with its inputs, as a suite builds it.

    `model(**inputs)` returns a dict of name -> tensor (or a tensor, or a tuple of them). `inputs` are tensors with
    the batch first. `loss(outputs)` returns the scalar tensor that training differentiates. `decoding` says how the
    model generates token by token; None for one that does not. `batch_size`: samples in the inputs, where the workload
    leaves that to the model (`orchestrator.records.OWN_BATCH`). `fed`: what a sample of the inputs is, in words; ""
    where their names and shapes say it.
    """

    model: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    loss: Callable[[Any], torch.Tensor]
    decoding: Decoding | None = None
    batch_size: int | None = None
    fed: str = ""


class Decoding(Protocol):
    """What a language model is called with, token by token. All calls of a generation share a cache.

    The model writes keys and values of what it was called with into the cache, and returns a map with "logits",
    floating, [batch, tokens, vocabulary]: of the last token at least.

    It may have besides `kept(cache, outputs)`, called after every call, where the model returns what the cache has to
    hold; and, for beam search, `reorder(cache, index)`: let each sequence go on from that of `index`, int64, [batch].
    """

    @property
    def vocabulary(self) -> int:
        """Tokens are the integers from 0 to this, exclusive."""

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Any:
        """Return an empty cache for the prompt among the program's inputs and `new_tokens` more.

        kind: "static" (tensors of the final length, written in place) or "dynamic" (it grows). Raises ValueError where
        the model has fewer positions, Unsupported where it has no such cache.
        """

    def prompt(self, program: Program, cache: Any) -> dict[str, Any]:
        """Return the keyword inputs of the first call. A prompt of tokens is `input_ids`, int64, [batch, sequence]."""

    def carried(self, outputs: Any) -> dict[str, Any]:
        """Return what all later calls need of the first call's outputs, in memory of its own."""

    def token(self, token: torch.Tensor, cache: Any, carried: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword inputs of a later call; `token` is int64, [batch, 1]."""

    def length(self, cache: Any) -> int | None:
        """Return how many tokens the cache holds, those of an encoder not counted; None of a state without a length."""

    def expected_length(self, program: Program, new_tokens: int) -> int:
        """Return how many it must hold after the prompt and `new_tokens` more calls."""

    def reset(self, cache: Any) -> None:
        """Empty the cache. A static one stays where it is in memory."""

    def mark(self, cache: Any) -> Callable[[], None]:
        """Return the function that sets the cache back to what it holds now.

        Raises Unsupported where a layer's state cannot be set back.
        """


class Costed(Protocol):
    """A plug-in that says what it costs, for the estimate before a sweep, and for even shards. No plug-in has to.

    cost_factor: of a compiler its compile time in that of inductor (0: it does not compile); of a mode the compile
    time in that of inference; of an observed measure its time in that of one compilation and ten steps. It may be a
    property. An observed measure that does not let the compiler finish may have besides `compile_factor`: what it
    compiles at most, in the compile time of inductor. A mode may have besides `step_size(workload) -> (tokens, calls)`:
    with so many tokens is the model called in one step, the whole batch, and so many calls of one token each are among
    them. Without it: the input, one call.
    A model's builder may have a class method `tokens(workload)`: those of one sample, where a length is none
    or counts others; or `positions`: of one input without a length, those at which a parameter is used (1).
    """

    @property
    def cost_factor(self) -> float:
        """Seconds, as a share of what is usual."""


class Builder(Protocol):
    """Builds one model of a suite. Options are the entry's `build` keys in the suite's YAML.

    It may have `load(workload)`, called in the job's process alone before anything is measured, for imports that other
    jobs must not share; and, for an open suite, the class method `named(asked) -> (name, options)`: what a name that is
    in no catalog means, as a row's name and options of the builder (`model`: what a command can ask for again).
    """

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program on the CPU, random weights and inputs from `workload.seed` alone.

        In float32; parameters and buffers in float64 stay so (`orchestrator.precision.cast`).

        `dropout=False` builds the model with every dropout probability 0. Raises Unsupported for a model that
        this machine's packages do not have.
        """


class Mode(Protocol):
    """What one step is: inference, training, ...

    A mode that calls `forward` with anything but `program.inputs` (other shapes, a cache) says so:
    `other_inputs: ClassVar[bool] = True`; one whose step returns the outputs that `observe` copies (`named_outputs`):
    `observes_step: ClassVar[bool] = True`; one whose `observe` leaves out a part of what a step makes says which, in a
    str `not_judged`. One that changes the program before anything sees it is `Adapting`.
    """

    training: ClassVar[bool]

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        """Return the function that is timed: one whole step, through `forward` instead of `program.model`.

        It may be `Preparing`, `Recording`, or both.
        """

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Run one step up to, not including, the optimizer's; return copies of all that must be right, by name.

        Called several times on one model. Inputs, buffers and parameters that the call changes are looked at by others.
        """


@runtime_checkable
class Adapting(Protocol):
    """A mode that changes a program as soon as it is built and cast, for eager and for every compiler alike."""

    def adapt(self, program: Program) -> None:
        """Change the program in place. Raises Unsupported for a program that cannot be changed so."""


@runtime_checkable
class Observing(Protocol):
    """A mode that keeps something (a cache) between the calls that are judged. One that does not has `observe` alone.

    It may also have `observe_last(program, forward, workload)`, which returns, as `observe` does, what is to be looked
    at once, after all calls; the model may be left changed.
    """

    def observer(
        self, program: Program, forward: Forward, workload: Workload
    ) -> Callable[[Program, Workload], dict[str, torch.Tensor]]:
        """Return what is called instead of `observe`, once for each call, in one process.

        It gets `program` with other inputs of the same shapes and dtypes, and the workload with another seed.
        """


@runtime_checkable
class Preparing(Protocol):
    """A step that must be made ready before each call, outside of the clock: a cache that is emptied.

    Who calls the step without it gets the same, timed.
    """

    def prepare(self) -> None:
        """Make the step ready for its next call."""


@runtime_checkable
class Recording(Protocol):
    """A step that takes figures of its own while it runs."""

    facts: Mapping[str, Any]
    """Named figures of the step that are no samples; go into the job's facts."""

    def restart(self) -> None:
        """Forget the calls so far."""

    def samples(self) -> Sequence[Samples]:
        """Return what was seen in the calls since `restart`, in time order."""


class Compiler(Protocol):
    """Makes a callable of a model. Options are the `options` of conf/compiler/*.yaml.

    One whose callable takes inputs like `program.inputs` only (their names and shapes, tensors and nothing else),
    because it is made by tracing them, says so: `fixed_inputs: ClassVar[bool] = True`. It is not asked to do a mode
    that has `other_inputs`. One whose code keeps buffers of its own, not those of `program.model`, says
    `owns_state: ClassVar[bool] = True`: that they change is then seen in the outputs of later calls only. One whose
    code is made by dynamo, without being a `DynamoCompiler`, may say so: `through_dynamo: ClassVar[bool] = True`; a row
    for which dynamo captured nothing is then marked.

    One that lets inductor compile may name the parts of its toolchain that it uses (`orchestrator.worker.toolchain`),
    each behind those that it needs: a method `toolchain(workload) -> Sequence[str]`. Their cost is no model's.

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


def through_dynamo(compiler: Any) -> bool:
    """Return whether a compiler says that dynamo makes its code."""
    return isinstance(compiler, DynamoCompiler) or bool(getattr(compiler, "through_dynamo", False))


class Measure(Protocol):
    """What is asked of (workload, compiler). Options are the `options` of conf/measure/*.yaml.

    `kind` says what a job of it is planned with: one of `orchestrator.records.KINDS`. An observed one may have a
    `default_batch_size: ClassVar[int]`, which stands for the suite's where none is asked for, and, where it compares
    results, `deterministic: ClassVar[bool] = True`: on CUDA its process is made deterministic as that of a judged one.
    `shareable: ClassVar[bool]`: whether its jobs run beside others that time nothing. A judged one's do, unless it says
    no; an observed one's do if it says yes: it times nothing, and does not ask how much memory there is.
    One with the options `tolerance`, `cosine` and `larger_multiplier` gets the suite's.

    One that finds more than samples declares its tables, `TABLES: ClassVar[Mapping[str, TableSpec]]`
    (`orchestrator.columns`), and leaves their rows with `context.find`. Every output has them.
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


def wants_cuda_graphs(compiler: Any, workload: Workload) -> bool:
    """Return whether a compiler is asked for CUDA graphs: its `cuda_graphs(workload)`, False of one that has none."""
    asked = getattr(compiler, "cuda_graphs", None)
    return bool(asked(workload)) if asked is not None else False


def around_backward(forward: Forward) -> AbstractContextManager[None]:
    """Return the context in which a mode has to run the backward pass of what `forward` returned."""
    return forward.around_backward() if isinstance(forward, Compiled) else nullcontext()


def preloads(plugin: Any, workload: Workload) -> tuple[str, ...]:
    """Return the modules that a plug-in names: `PRELOAD`, and `preload_modules(workload)` where it has that."""
    modules = tuple(getattr(plugin, "PRELOAD", ()))
    return modules + (tuple(plugin.preload_modules(workload)) if hasattr(plugin, "preload_modules") else ())


def toolchain_of(compiler: Any, workload: Workload) -> tuple[str, ...]:
    """Return the parts of the machine's toolchain that a compiler uses: its `toolchain(workload)`, if it has one."""
    asked = getattr(compiler, "toolchain", None)
    return tuple(asked(workload)) if asked is not None else ()


def check_inputs(mode: Any, compiler: Any, workload: Workload) -> None:
    """Raise Unsupported when the mode calls the model with what the compiler's callable does not take."""
    if getattr(mode, "other_inputs", False) and getattr(compiler, "fixed_inputs", False):
        raise Unsupported(
            f"mode {workload.mode.name} calls the model with other inputs than it is compiled with (shorter ones, a "
            "cache), and this compiler's code takes only those: compilers that go through torch.compile take both"
        )
