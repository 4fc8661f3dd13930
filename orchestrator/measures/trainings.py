"""Trainings of one model from several seeds: eager's, eager's again a bit off, and a compiler's, on the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.measures.compare import roundoff
from orchestrator.measures.context import Context, seed_all
from orchestrator.measures.convergence import Difference, difference
from orchestrator.measures.eager import really_eager
from orchestrator.measures.timed import remedy
from orchestrator.measures.training_data import Inputs, training_set
from orchestrator.plugins import Forward, Outcome, Program
from orchestrator.precision import computed_in
from orchestrator.probes.clock import make_ready
from orchestrator.records import COMPARISON_ERROR, EAGER_FAIL_TO_RUN, FAIL_ACCURACY

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Trained:
    """One training: the loss of each step, to the first that is not finite, and where each parameter went.

    ways: of eager, how far parameters moved from where they began, after each number of steps that is looked at.
    ratios: of another, these ways along eager's (`along`), by number of steps and parameter.
    """

    losses: list[float]
    ways: dict[int, Tensors]
    ratios: dict[tuple[int, str], float]

    @property
    def finite(self) -> bool:
        return math.isfinite(self.losses[-1])


class Seeds:
    """Trains eager, eager again and the compiler's callable from one seed after the other, on one model."""

    def __init__(self, context: Context, program: Program, forward: Forward, steps: int, batches: int) -> None:
        self._context, self._program, self._forward = context, program, forward
        self._steps, self._batches = steps, batches
        self.losses: list[tuple[list[float], list[float], list[float]]] = []
        self.ratios: dict[tuple[int, str], list[tuple[float, float]]] = {}
        self.data = ""

    def ways(self, side: int, risk: float) -> dict[tuple[int, str], Difference]:
        """Return by how much each parameter's ratio differs from 1, with an interval for all of them together."""
        each = risk / max(len(self.ratios), 1)
        return {key: difference([seen[side] - 1 for seen in pairs], each) for key, pairs in self.ratios.items()}

    def train(self, seed: int) -> Outcome | None:
        """Train from one seed; the outcome where a loss is not finite."""
        context, model = self._context, self._program.model
        with context.phase("data"):
            born, data, self.data = training_set(context, seed, self._batches)
        start = _state(born)
        del born
        with context.phase("eager"), really_eager():
            eager = self._trained(model, start, data, seed)
            again = self._trained(model, _a_bit_off(start, context, seed), data, seed, eager)
        with context.phase("compiled", children=True):
            ours = self._trained(self._forward, start, data, seed, eager)
        self.losses.append((eager.losses, again.losses, ours.losses))
        for step in range(self._steps):
            known = {
                name: run.losses[step]
                for name, run in (("eager_loss", eager), ("eager_again_loss", again), ("loss", ours))
                if step < len(run.losses)
            }
            context.find("loss_curves", training_seed=seed, training_step=step, **known)
        if (outcome := _not_finite(context, seed, eager, again, ours)) is not None:
            return outcome
        for key, ratio in ours.ratios.items():
            self.ratios.setdefault(key, []).append((ratio, again.ratios[key]))
        return None

    def _trained(
        self, forward: Forward, start: Tensors, data: Sequence[Inputs], seed: int, eager: Trained | None = None
    ) -> Trained:
        """Train the model from `start`. Every training of a seed has the same random state at each step."""
        import torch

        program = self._program
        _set(program, start)
        step = self._context.mode.step(program, forward, self._context.workload)
        run = Trained([], {}, {})
        for number in range(self._steps):
            with torch.no_grad():
                for name, tensor in data[number % len(data)].items():
                    program.inputs[name].copy_(tensor)
            seed_all(seed + number)
            make_ready(step)
            run.losses.append(_loss(step()))
            if not run.finite:
                break
            if (steps := number + 1) in (1, self._batches, self._steps):
                moved = _moved(program, start)
                if eager is None:
                    run.ways[steps] = dict(moved)
                else:
                    run.ratios.update({(steps, name): along(way, eager.ways[steps][name]) for name, way in moved})
        return run


def _moved(program: Program, start: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in program.model.named_parameters():
        if parameter.requires_grad:
            yield name, (parameter.detach() - start[name]).float()


def _not_finite(context: Context, seed: int, eager: Trained, again: Trained, ours: Trained) -> Outcome | None:
    """Return whose fault a loss is that is NaN or infinite."""
    said = "the loss is not finite after step {} of seed " + str(seed)
    if not eager.finite:
        return Outcome(EAGER_FAIL_TO_RUN, f"eager: {said.format(len(eager.losses))}: {remedy(context)}")
    if not again.finite:
        why = f"{said.format(len(again.losses))} where rounding alone is another: {remedy(context)}"
        return Outcome(COMPARISON_ERROR, f"cannot tell: eager: {why}")
    if not ours.finite:
        return Outcome(FAIL_ACCURACY, f"{said.format(len(ours.losses))}, and eager's is for all {len(eager.losses)}")
    return None


def along(way: torch.Tensor, of_eager: torch.Tensor) -> float:
    """Return the component of one parameter's way along eager's, in eager's: 1 is as far, 0 across or not at all.

    Infinite where eager's does not move and this one does; 1 where neither does.
    """
    length = float((of_eager.double() ** 2).sum())
    if not length:
        return math.inf if bool(way.any()) else 1.0
    return float((way.double() * of_eager.double()).sum()) / length


def _loss(result: Any) -> float:
    import torch

    if not (isinstance(result, torch.Tensor) and result.numel() == 1):
        raise ValueError("the mode's step returns no loss, a tensor of one element: there is no curve to look at")
    return float(result)


def _named(program: Program) -> Iterator[tuple[str, torch.Tensor]]:
    yield from program.model.named_parameters()
    yield from program.model.named_buffers()


def _state(program: Program) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in _named(program)}


def _set(program: Program, state: Tensors) -> None:
    """Give parameters and buffers their values; a buffer that a call has made, a cache, keeps its own."""
    import torch

    with torch.no_grad():
        for name, tensor in _named(program):
            if name in state and state[name].shape == tensor.shape:
                tensor.copy_(state[name])


def _a_bit_off(state: Tensors, context: Context, seed: int) -> Tensors:
    """Return the state with each floating number a unit in the last place, of the dtype computed in, up or down."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    unit = 2 * roundoff(computed_in(context.workload))

    def near(tensor: torch.Tensor) -> torch.Tensor:
        signs = 2 * torch.randint(2, tensor.shape, generator=generator) - 1
        return tensor * (1 + unit * signs.to(tensor.device)).to(tensor.dtype)

    return {name: near(tensor) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
