"""Trainings of one model from several seeds: eager's, eager's again a bit off, and a compiler's, on the same data.

A builder draws inputs at random, from which nothing can be learnt but by heart. Here they keep their shapes, dtypes and
ranges, and get structure that a model can learn within some dozens of steps: tokens and the labels of tokens are bytes
of the same windows of Python's language reference (`pydoc_data.topics`, 79 topics, some 460 kB of English, a module of
the standard library), labels of samples say the topic, and floating inputs (images, sound) get a fixed pattern of their
class. So a token tells its label, a text or an image its class. What else there is (masks, types, inputs of unknown
names) stays as drawn.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.measures.compare import roundoff
from orchestrator.measures.context import Context, seed_all
from orchestrator.measures.eager import really_eager
from orchestrator.measures.timed import remedy, set_state, state_of
from orchestrator.plugins import Forward, Outcome, Program, Unsupported
from orchestrator.precision import computed_in
from orchestrator.probes.clock import make_ready
from orchestrator.records import COMPARISON_ERROR, EAGER_FAIL_TO_RUN, FAIL_ACCURACY

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
TOKENS_OR_LABELS = re.compile(r"(.*_)?(input_ids|labels?|positions)")


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
    """Trains eager, eager again and the compiler's callable from one seed after the other.

    `eager` is a model of its own: what was compiled, `program`, may have been changed, by a hook for instance.
    """

    def __init__(
        self, context: Context, eager: Program, program: Program, forward: Forward, steps: int, batches: int
    ) -> None:
        self._context, self._eager, self._program, self._forward = context, eager, program, forward
        self._steps, self._batches = steps, batches
        self.losses: list[tuple[list[float], list[float], list[float]]] = []
        self.ratios: dict[tuple[int, str], list[tuple[float, float]]] = {}
        self.data = ""

    def train(self, seed: int) -> Outcome | None:
        """Train from one seed; the outcome where a loss is not finite."""
        context, own = self._context, self._eager
        with context.phase("data"):
            born, data, self.data = training_set(context, seed, self._batches)
        start = state_of(born)
        del born
        with context.phase("eager"), really_eager():
            eager = self._trained(own, own.model, start, data, seed)
            again = self._trained(own, own.model, _a_bit_off(start, context, seed), data, seed, eager)
        with context.phase("compiled", children=True):
            ours = self._trained(self._program, self._forward, start, data, seed, eager)
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
        self,
        program: Program,
        forward: Forward,
        start: Tensors,
        data: Sequence[Tensors],
        seed: int,
        eager: Trained | None = None,
    ) -> Trained:
        """Train the model from `start`. Every training of a seed has the same random state at each step."""
        import torch

        set_state(program, start)
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


def _a_bit_off(state: Tensors, context: Context, seed: int) -> Tensors:
    """Return the state with each floating number a unit in the last place, of the dtype computed in, up or down."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    unit = 2 * roundoff(computed_in(context.workload))

    def near(tensor: torch.Tensor) -> torch.Tensor:
        signs = 2 * torch.randint(2, tensor.shape, generator=generator) - 1
        return tensor * (1 + unit * signs.to(tensor.device)).to(tensor.dtype)

    return {name: near(tensor) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def training_set(context: Context, seed: int, batches: int) -> tuple[Program, list[Tensors], str]:
    """Return a model born from `seed`, so many batches as the workload's, and what is in them, in words.

    An input whose first dimension does not grow with the batch is the same in every batch.
    """
    one = context.workload
    program = context.build(dropout=False, workload=replace(one, seed=seed, batch_size=one.batch_size * batches))
    inputs, what = structured(program.inputs, one.batch_size, seed)
    parted = []
    for number in range(batches):
        rows = slice(number * one.batch_size, (number + 1) * one.batch_size)
        all_rows = one.batch_size * batches
        parted.append({name: x[rows] if x.ndim and len(x) == all_rows else x for name, x in inputs.items()})
    return program, parted, what


def structured(inputs: Mapping[str, torch.Tensor], batch_size: int, seed: int) -> tuple[Tensors, str]:
    """Return inputs of the same shapes and dtypes, with structure, and what was done, in words.

    Where nothing among them says a class, a sample's is its place in its batch: a loss with labels of its own has them
    by place. What all samples have alike in a place (a last token) they keep.
    """
    import torch

    rows = max((len(x) for x in inputs.values() if x.ndim), default=0)
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randint(len(_topics()), (rows,), generator=generator).tolist()
    offsets = torch.randint(2**20, (rows,), generator=generator).tolist()
    worded = {
        name
        for name, x in inputs.items()
        if x.dtype in (torch.int64, torch.int32) and x.ndim and len(x) == rows and TOKENS_OR_LABELS.fullmatch(name)
    }
    classes = topics if worded else [row % batch_size for row in range(rows)]
    made, done = dict(inputs), []
    for name, drawn in inputs.items():
        if name in worded:
            width = drawn[0].numel()
            values = [_window(topic, start, width) for topic, start in zip(topics, offsets, strict=True)]
            wanted = torch.tensor(topics if drawn.ndim == 1 else values).reshape(drawn.shape).to(drawn)
            low, high = int(drawn.min()), int(drawn.max())
            within = (low <= wanted) & (wanted <= high)
            new = torch.where(within, wanted, low + wanted % (high - low + 1))
            made[name] = torch.where((drawn == drawn[:1]).all(dim=0), drawn, new) if rows > 1 else new
            done.append("text" if drawn.ndim > 1 else "topics")
        elif drawn.is_floating_point() and drawn.ndim > 1 and len(drawn) == rows:
            pattern = torch.stack([_pattern(one, drawn.shape[1:]) for one in classes])
            made[name] = drawn + pattern.to(drawn)
            done.append("patterns")
    return made, " and ".join(dict.fromkeys(done)) or "as drawn"


def _window(topic: int, start: int, width: int) -> list[int]:
    """Return `width` bytes of a topic's text from `start` on, around its end."""
    text = _topics()[topic]
    first = start % len(text)
    return list((text[first:] + text * (width // len(text) + 1))[:width])


@functools.cache
def _topics() -> Sequence[bytes]:
    """Return the topics' texts. Raises Unsupported for a Python that was installed without them."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise Unsupported("the text to learn is Python's own pydoc_data, which this Python lacks") from error
    return [text.encode() for _, text in sorted(topics.items())]


def _pattern(number: int, shape: Sequence[int]) -> torch.Tensor:
    """Return the pattern of a class, standard normal, the same in every run."""
    import torch

    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(number))
