"""The calls that a judgement looks at: what they are made with, and what each of them leaves behind.

One call with the inputs that were compiled shows neither a branch that was frozen, nor a state that was lost, nor a
buffer that is read again instead of the input. So there are several, on one and the same model: the first inputs, fresh
ones of the same shapes and dtypes, and the first again. What a call leaves is its outputs (in training also the loss
and the gradients) and all that it changed: inputs, buffers, parameters.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.measures.context import Context, seed_all
from orchestrator.plugins import Forward, Observing, Program
from orchestrator.probes.observed import copied
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

FIRST, MIRRORED = "first", "mirrored"
Tensors = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class Call:
    """One call of a series. `inputs`: "first", "fresh 1", "fresh 2", ..., or "mirrored" (`inputs_of`)."""

    inputs: str
    seed: int

    @property
    def fresh(self) -> int:
        """Which of the draws these inputs are; 0 for those that are none."""
        return int(self.inputs.removeprefix("fresh ")) if self.inputs.startswith("fresh ") else 0


def series(first: Tensors, calls: int | None, seed: int) -> list[Call]:
    """Return the calls for a program with these inputs. `calls`: how many; None: three, four where one can be mirrored.

    A branch on the sign of something that depends on the inputs is taken the other way for mirrored ones, whatever the
    draw.
    """
    mirrored = any(_is_signed(tensor) for tensor in first.values())
    count = calls if calls is not None else 3 + mirrored
    between = [f"fresh {number}" for number in range(1, count)]
    if mirrored:
        between.insert(1, MIRRORED)
    kinds = [FIRST, *between[: max(count - 2, 1)], FIRST][:count]
    return [Call(kind, seed + (0 if kind == FIRST else place)) for place, kind in enumerate(kinds)]


def fresh_inputs(context: Context, calls: Iterable[Call], dtype: str | None = None) -> dict[str, Tensors]:
    """Return what the builder draws for the fresh inputs among `calls`, by their kind.

    It builds a model with each, which is dropped: call it before the model that is judged is in memory.
    """
    seeds = {call.inputs: context.workload.seed + call.fresh for call in calls if call.fresh}
    return {
        kind: context.build(dropout=False, dtype=dtype, workload=replace(context.workload, seed=seed)).inputs
        for kind, seed in seeds.items()
    }


def inputs_of(first: Tensors, calls: Iterable[Call], fresh: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Return the inputs of each kind among `calls`: name -> tensor of the shapes and dtypes of `first`.

    `fresh`: what `fresh_inputs` gave. An input that does not depend on the seed, or has another shape then, is the
    first one; if that is so of all, floating ones are turned around (`_other`). Mirrored are floating inputs of both
    signs, negated; the others of the first call.
    """
    made: dict[str, Tensors] = {FIRST: first}
    for call in calls:
        if call.inputs in made:
            continue
        if call.inputs == MIRRORED:
            others = {name: -tensor if _is_signed(tensor) else tensor for name, tensor in first.items()}
        else:
            draws = fresh[call.inputs]
            others = {name: draws[name] if _fits(one, draws.get(name)) else one for name, one in first.items()}
            if all(unchanged(tensor, others[name]) for name, tensor in first.items()):
                others = {name: _other(tensor, call.fresh) for name, tensor in first.items()}
        made[call.inputs] = others
    return made


def _fits(tensor: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and other.shape == tensor.shape and other.dtype == tensor.dtype


def _is_signed(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is floating and has values of both signs, so that its negative is an input as likely."""
    return bool(tensor.is_floating_point() and tensor.numel() and tensor.min() < 0 < tensor.max())


def _other(tensor: torch.Tensor, number: int) -> torch.Tensor:
    """Return floating values as good as these where none can be drawn: in the other order, then halved.

    Those that are all the same have no other order, and are halved at once.
    """
    if not tensor.is_floating_point() or tensor.ndim == 0:
        return tensor
    turned = tensor.flip(-1)
    orders = 0 if unchanged(tensor, turned) else 1
    return turned if number <= orders else tensor * 0.5 ** (number - orders)


class Watch:
    """Makes the calls of a series on one model, and sees what each leaves.

    `program` is the model as it was built, `forward` what the compiler made of it; `workload` is what both are of where
    that is not the job's: another dtype, other shapes. Calls are made in their order.
    """

    def __init__(self, context: Context, program: Program, forward: Forward, workload: Workload | None = None) -> None:
        self._mode, self._program, self._forward = context.mode, program, forward
        self._workload = workload = workload or context.workload
        mode = self._mode
        if isinstance(mode, Observing):
            self._look = mode.observer(program, forward, workload)
        else:
            self._look = lambda given, load: mode.observe(given, forward, load)
        self.own_state = bool(getattr(context.compiler, "owns_state", False))

    def call(self, call: Call, given: Tensors) -> dict[str, torch.Tensor]:
        """Return what one call leaves, on the CPU: "output.*", "loss", "grad.*", and of what it changed "input.*",
        "buffer.*" and "parameter.*".

        The call gets copies of `given`, which stay what they are; views of one tensor are so among the copies too. All
        generators are seeded before it.
        """
        model = self._program.model
        inputs = copy.deepcopy({name: tensor if tensor.is_leaf else tensor.detach() for name, tensor in given.items()})
        buffers = {} if self.own_state else {name: buffer.clone() for name, buffer in model.named_buffers()}
        versions = dict(_versions(model))
        workload = replace(self._workload, seed=call.seed)
        seed_all(call.seed)
        found = dict(self._look(replace(self._program, inputs=inputs), workload))
        for name, tensor in inputs.items():
            if not unchanged(tensor, given[name]):
                found |= copied(f"input.{name}", tensor)
        for name, buffer in () if self.own_state else model.named_buffers():
            if name in buffers and not unchanged(buffer, buffers[name]):  # one that is new is a cache, not a state
                found |= copied(f"buffer.{name}", buffer)
        now = _versions(model)
        changed = {name for name, version in now if name in versions and versions[name] != version}
        for name, parameter in model.named_parameters():
            if name in changed:
                found |= copied(f"parameter.{name}", parameter)
        return found

    def last(self) -> dict[str, torch.Tensor]:
        """Return what the mode looks at once, after all calls: it may leave the model changed."""
        look = getattr(self._mode, "observe_last", None)
        return dict(look(self._program, self._forward, self._workload)) if look is not None else {}


def _versions(model: torch.nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield what changes when a parameter is written to or replaced; costs no copy."""
    from torch.nn.parameter import is_lazy

    for name, parameter in model.named_parameters():
        if not is_lazy(parameter) and not parameter.is_inference():
            yield name, (id(parameter), parameter._version)


def unchanged(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are the same to the bit; NaN is the same as NaN."""
    import torch

    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.layout is not torch.strided or one.is_nested or one.is_quantized:
        pairs = zip(copied("", one).values(), copied("", other).values(), strict=False)
        return all(unchanged(mine, theirs) for mine, theirs in pairs)
    if torch.equal(one, other):
        return True
    return bool(one.is_floating_point() or one.is_complex()) and bool(
        ((one == other) | (one.isnan() & other.isnan())).all()
    )


def drawn_so_far(device: torch.device) -> str:
    """Return a digest of all generators' states: the same after two calls that drew the same amount of numbers."""
    import numpy
    import torch

    numpys: Any = numpy.random.get_state(legacy=False)
    states = [torch.get_rng_state().numpy().tobytes(), numpys["state"]["key"].tobytes()]
    states.append(repr((numpys["state"]["pos"], numpys["has_gauss"], random.getstate())).encode())
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device).numpy().tobytes())
    return hashlib.sha256(b"".join(states)).hexdigest()[:16]
