"""Is what is timed what its row says? Looked at outside of the clock: results, inputs, threads, and what dynamo made.

What is not as the row says goes into the facts as `measured`: one of `records.MEASURED` -> why.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import is_out_of_memory
from orchestrator.measures.calls import Tensors, unchanged
from orchestrator.measures.context import Context
from orchestrator.measures.eager import eager_step, really_eager
from orchestrator.plugins import Program, Unsupported, through_dynamo
from orchestrator.probes import compilations, counters
from orchestrator.probes.clock import make_ready
from orchestrator.records import (
    EAGER_FAIL_TO_RUN,
    FAIL_TO_RUN,
    INPUTS_SET_BACK,
    NOT_FINITE,
    OTHER_THREADS,
    RAN_EAGER,
    RAN_PARTLY_EAGER,
)

if TYPE_CHECKING:
    import torch

Step = Callable[[], Any]
DRAWS = 8
"""So many are drawn, and taken in turn: each builds the model once, and they stay in memory."""
DRIFT = 2.0
"""Times its first value, or a part of it: a loss that moved so far while it was timed is told."""


class Last:
    """A step that keeps what its last call returned until the next call is made ready."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.value: Any = None

    def prepare(self) -> None:
        self.value = None
        make_ready(self._step)

    def __call__(self) -> None:
        self.value = self._step()


def draws(context: Context) -> Sequence[Tensors]:
    """Return the inputs of `DRAWS` other seeds: of each name a tensor of the shape and dtype that the job's own has.

    For `randomize_input`: they are drawn before the model is in memory, and copied into its inputs outside of the
    clock, so that compiled code sees the same tensors with other values. Token ids stay token ids and masks masks,
    because the builder draws them.

    A floating input that does not depend on the seed, or has another shape then, gets its own values in another order;
    another one stays what it is. The fact `randomized_input` says which are which, and a note names those that stay.
    Raises Unsupported for a mode that makes its inputs itself.
    """
    import torch

    if getattr(context.mode, "other_inputs", False):
        raise Unsupported(f"randomize_input: mode {context.workload.mode.name} makes its inputs of what came before")
    training, seed = context.mode.training, context.workload.seed
    first = context.build(dropout=training).inputs
    drawn = [
        context.build(dropout=training, workload=replace(context.workload, seed=seed + 1 + number)).inputs
        for number in range(DRAWS)
    ]
    order = torch.Generator().manual_seed(seed)
    kinds: dict[str, list[str]] = {"fresh": [], "reordered": [], "same": []}
    made: list[dict[str, torch.Tensor]] = [{} for _ in drawn]
    for name, own in first.items():
        if not isinstance(own, torch.Tensor) or own.layout is not torch.strided or own.is_nested:
            kinds["same"].append(name)
            continue
        others = [draw.get(name) for draw in drawn]
        fit = [one for one in others if one is not None and (one.shape, one.dtype) == (own.shape, own.dtype)]
        if len(fit) == len(drawn) and not all(unchanged(own, one) for one in fit):
            kinds["fresh"].append(name)
        elif own.is_floating_point() and own.numel() > 1:
            kinds["reordered"].append(name)
            places = [torch.randperm(own.numel(), generator=order).to(own.device) for _ in drawn]
            fit = [own.detach().flatten()[place].reshape(own.shape) for place in places]
        else:
            kinds["same"].append(name)
            continue
        for draw, tensor in zip(made, fit, strict=True):
            draw[name] = tensor.detach()
    context.facts["randomized_input"] = {"draws": DRAWS, **kinds}
    if kinds["same"]:
        context.note(f"randomize_input: the same in every repeat, as they do not depend on the seed: {kinds['same']}")
    return made


class Inputs:
    """Copies of a program's inputs, to see whether a step writes into them, and to set them back.

    draws: other values for them (`draws`), of which each call gets the next, or, within a pair, the one that is held:
    so both sides of it get the same.
    """

    def __init__(self, program: Program, draws: Sequence[Tensors] = ()) -> None:
        import torch

        self.draws, self._turn, self._held = draws, 0, False
        drawn = draws[0] if draws else ()
        self._drawn = [(name, program.inputs[name], program.inputs[name].detach().clone()) for name in drawn]
        self._kept = [
            (name, tensor, tensor.detach().clone())
            for name, tensor in program.inputs.items()
            if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and not tensor.is_nested
        ]

    def look(self) -> None:
        """Keep the copies of those inputs that are no longer what they were, and let the others go."""
        self._kept = [(name, now, before) for name, now, before in self._kept if not _same(now, before)]

    def around(self, context: Context, step: Step) -> Step:
        """Return the step; where inputs are written into, one before whose every call they are set back."""
        if not self._kept:
            return SettingBack(step, self) if self.draws else step
        names = ", ".join(name for name, _, _ in self._kept)
        said = f"each call writes into {names}: set back before each, outside of the clock"
        context.measured.setdefault(INPUTS_SET_BACK, said)
        return SettingBack(step, self)

    def set_back(self) -> None:
        """Set those that are kept back to what they were."""
        _fill(self._kept)

    def make_ready(self) -> None:
        """Set the inputs to what the next call gets."""
        self.set_back()
        if self.draws:
            draw = self.draws[self._turn % len(self.draws)]
            _fill((name, now, draw[name]) for name, now, _ in self._drawn)
            self._turn += not self._held

    def hold(self, turn: int) -> None:
        """Let all calls from now on get draw number `turn`."""
        self._turn, self._held = turn, True

    def set_to_first(self) -> None:
        """Set all inputs to what they were built as."""
        _fill(self._drawn)
        self.set_back()


def _fill(inputs: Iterable[tuple[str, torch.Tensor, torch.Tensor]]) -> None:
    import torch

    with torch.no_grad():
        for _, now, value in inputs:
            if now.shape != value.shape:
                now.resize_(value.shape)
            now.copy_(value)


class SettingBack:
    """A step whose inputs are set before each call, outside of the clock: each call is then the same work.

    Inputs that are halved by each call are denormal numbers after some hundred, and those are slow.
    """

    def __init__(self, step: Step, inputs: Inputs) -> None:
        self._step, self._inputs = step, inputs

    def prepare(self) -> None:
        self._inputs.make_ready()
        make_ready(self._step)

    def __call__(self) -> Any:
        return self._step()


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors have the same values, NaN being the same as NaN."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def state_of(program: Program) -> dict[str, torch.Tensor]:
    """Return copies of a model's parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in _named(program)}


def set_state(program: Program, state: Tensors) -> None:
    """Give parameters and buffers their values; what the model has made since, a cache, keeps its own."""
    import torch

    with torch.no_grad():
        for name, tensor in _named(program):
            if name in state and tensor.shape == state[name].shape:
                tensor.copy_(state[name])


def _named(program: Program) -> Iterator[tuple[str, torch.Tensor]]:
    yield from program.model.named_parameters()
    yield from program.model.named_buffers()


def setting_back(context: Context, programs: Sequence[Program]) -> list[Callable[[], None]]:
    """Return what sets each model's state back, so that each block of a training begins with the same; nothing, and a
    note, where there is no memory for a copy of it."""
    if not context.mode.training:
        return []
    try:
        return [functools.partial(set_state, program, state_of(program)) for program in programs]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        context.note("no memory for a copy of the parameters: they drift from block to block of the pairs")
        return []


class NotFinite(Exception):
    """Training whose loss is NaN or infinite is no training: the job has `status`."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def finite(context: Context, when: str, result: Any, calls: int) -> None:
    """Look at what a step returned `when`, after so many `calls`: the loss in training, the outputs else.

    Outputs that are not finite are a mark: a model may have them by design. A loss raises `NotFinite`: whose fault it
    is, eager tells, which takes as many steps. A loss of one element is kept by `when`: it falls while it is timed.
    """
    found = context.group.first(not_finite(result))
    if not context.mode.training:
        if found:
            context.measured.setdefault(NOT_FINITE, f"after {when} {found}")
        return
    if getattr(result, "numel", lambda: 0)() == 1:
        context.facts.setdefault("loss", {})[when] = float(result)
    if not found:
        return
    said = f"the loss is not finite after {when} ({calls} steps)"
    if context.is_eager:
        raise NotFinite(EAGER_FAIL_TO_RUN, f"{said}: {remedy(context)}")
    steps = _finite_steps_of_eager(context, calls)
    if steps < calls:
        raise NotFinite(EAGER_FAIL_TO_RUN, f"{said}, eager's after {steps + 1} too: {remedy(context)}")
    raise NotFinite(FAIL_TO_RUN, f"{said}, and eager's is after as many")


def tell_drift(context: Context) -> None:
    """Say in the row of a training how far its loss moved while it was timed, where that is far."""
    losses = list(context.facts.get("loss", {}).values())
    if losses and not losses[0] / DRIFT <= losses[-1] <= losses[0] * DRIFT:
        context.note(f"it was trained while it was timed: its loss went from {losses[0]:.3g} to {losses[-1]:.3g}")


def beside_eager(context: Context, result: Any) -> None:
    """Say of outputs that are not finite whether eager's `result` is."""
    own, eager = context.measured.get(NOT_FINITE), not_finite(result)
    if own is not None:
        context.measured[NOT_FINITE] = f"{own} (eager's {'are not either' if eager else 'are finite'})"
    elif eager:
        context.measured[NOT_FINITE] = f"eager's {eager} (the compiler's are finite)"


def _finite_steps_of_eager(context: Context, calls: int) -> int:
    """Return how many of `calls` training steps without a compiler have a finite loss before one has not."""
    with really_eager():
        _, step = eager_step(context)
        return next((number for number in range(calls) if context.group.first(not_finite(step()))), calls)


def remedy(context: Context) -> str:
    """Return what helps where eager's own loss is not finite."""
    if context.workload.dtype == "float16":
        return "float16 ends at 65504: dtype=amp_float16, or bfloat16"
    return "a lower mode.options.learning_rate, where the training diverges"


def not_finite(result: Any) -> str:
    """Return which tensors of a step's result hold NaN or infinities, and in how many elements; "" for none."""
    import torch

    found = []
    for name, tensor in tensors(result):
        seen = tensor.detach()
        if not (seen.is_floating_point() or seen.is_complex()) or seen.element_size() == 1:
            continue  # of 8 bits torch does not say what is finite
        wrong = seen.numel() - int(torch.isfinite(seen).sum())
        if wrong:
            word = "nan" if bool(torch.isnan(seen).any()) else "inf"
            found.append(f"{name} has {word} in {wrong:,} of {seen.numel():,} elements")
    return ", ".join(found)


def tensors(result: Any, name: str = "output") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the dense tensors in what a step returned, with their path; what else there is, is left out."""
    import torch

    if isinstance(result, torch.Tensor):
        if result.layout is torch.strided and not result.is_nested and result.device.type != "meta":
            yield name, result
    elif isinstance(result, Mapping):
        for key, item in result.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(result, (list, tuple)):
        for index, item in enumerate(result):
            yield from tensors(item, f"{name}.{index}")


def threads_as_asked(context: Context, *, mark: bool = True) -> None:
    """Set the number of threads back to the workload's where a model or a compiler has changed it, and note that."""
    import torch

    asked, found = context.workload.threads, torch.get_num_threads()
    if found == asked:
        return
    torch.set_num_threads(asked)
    if mark:
        said = f"{found} intra-op threads were set in phase {context.now}; the row says {asked}"
        context.measured.setdefault(OTHER_THREADS, said)
    else:
        context.facts["threads_set_back"] = found


class Dynamo:
    """What dynamo made, phase by phase; nothing of eager."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._first = 0
        if not context.is_eager:
            counters.reset()

    def after(self, phase: str) -> None:
        """Read the counters: the facts have them by phase, and those of the last phase as the row's own.

        All compilations after those of the first phase are late ones.
        """
        if self._context.is_eager:
            return
        facts, seen, found = self._context.facts, counters.read(), compilations.compilations()
        facts |= seen
        by_phase = facts.setdefault("counters_by_phase", {})
        self._first = self._first if by_phase else len(found)
        by_phase[phase] = seen["counters"]
        later = found[self._first :]
        facts["later_compilations"] = {
            "count": sum(compilations.limit_of(one) is None for one in later),
            "seconds": sum(one.duration_us or 0 for one in later) / 1e6,
        }

    def look(self, step: Step) -> Any:
        """Call the step once more, note whether compiled code ran in it, and return its result."""
        from torch.autograd.profiler import profile

        make_ready(step)
        if self._context.is_eager or not self._asked():
            return step()
        with profile() as profiler:
            result = step()
        self._tell_engines(profiler.function_events or ())
        for kind, why in self._without_compiled_code(compilations.regions(profiler.function_events or ())).items():
            self._context.measured.setdefault(kind, why)
        return result

    def _tell_engines(self, events: Iterable[Any]) -> None:
        """Count what TensorRT runs, where its operator is registered: graphs too small for it stay in torch."""
        import torch

        if not hasattr(torch.ops.tensorrt, "execute_engine"):
            return
        self._context.facts["tensorrt"] = found = compilations.engines(events)
        if not found["engines"]:
            ran = found["operators_in_torch"]
            self._context.note(f"no engine of TensorRT's ran: the step's {ran} operators are torch's")

    def _asked(self) -> bool:
        """Return whether dynamo is at work: by the compiler's word, or because frames went through it."""
        import torch

        return through_dynamo(self._context.compiler) or bool(torch._dynamo.utils.counters["frames"]["total"])

    def _without_compiled_code(self, ran: set[str]) -> dict[str, str]:
        """Return RAN_EAGER or RAN_PARTLY_EAGER, with the reason, for a step in which the code of `ran` ran."""
        found = compilations.compilations()
        refused = compilations.over_limit(found)
        empty = {one.compile_id for one in found if one.compile_id and one.co_name and not one.graph_op_count}
        limits = ", ".join(f"dynamo's {over.limit} was hit in {over.place}" for over in refused)
        if counters.read()["counters"]["graphs"] == 0:
            why = [one.fail_reason for one in found if one.fail_reason]
            why += [broken.reason for broken in compilations.graph_breaks()]
            reason = f": {compilations.short_reason(why[0])}" if why else ""
            return {RAN_EAGER: f"dynamo captured no graph{reason}"}
        if not ran - empty:
            return {RAN_EAGER: limits or "a step after the warm-up ran none of the captured graphs"}
        return {RAN_PARTLY_EAGER: limits} if limits else {}
