"""Eager and compiled blocks timed next to each other in one process, and how long timing goes on.

What a process gets (memory layout, clock, machine drift) then hits both sides and cancels. docs/measuring.md has the
figures behind this.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.measures.context import Context
from orchestrator.measures.eager import Inside, really_eager
from orchestrator.measures.group import Group, Timed
from orchestrator.measures.timed import Inputs, Step, beside_eager, setting_back, threads_as_asked
from orchestrator.plugins import Program
from orchestrator.probes.clock import make_ready, no_garbage_collection
from orchestrator.probes.noise import NoiseProbe
from orchestrator.records import COMPILES_ITSELF
from orchestrator.samples import calm_pair_logs, one_round

Sample = TypeVar("Sample")
LARGE = 0.1
"""Logarithm of a ratio from which on its interval may be wider, in proportion."""


@dataclass(frozen=True)
class Enough:
    """When samples are enough: of `count`, after `seconds`, where the half-width of their interval is within `rel_ci`.

    For the sake of the interval they go on for `extra_s` more; in no case beyond `most_s`, but to three.
    """

    count: int
    seconds: float
    rel_ci: float
    extra_s: float
    most_s: float


def repeat(
    group: Group,
    enough: Enough,
    sample: Callable[[], Sample],
    half_width: Callable[[Sequence[Sample]], float],
) -> list[Sample]:
    """Call `sample` until there is enough, and it is certain enough, or the time for that is spent."""
    values: list[Sample] = []
    start = time.perf_counter()
    checked_at = 0
    counted: float | None = None  # when count and time were reached
    spent = 0.0
    while True:
        before = spent
        values.append(sample())
        spent = group.elapsed(start)
        if len(values) >= 3 and spent >= enough.most_s:
            return values
        if spent < enough.seconds:
            continue
        if len(values) >= enough.count:
            counted = spent if counted is None else counted
            if 2 * spent - before >= counted + enough.extra_s:  # another one would end after that
                return values
        if len(values) >= 1.1 * checked_at:  # an interval costs a sort: not after every sample
            checked_at = len(values)
            if half_width(values) <= enough.rel_ci:
                return values


def relative_half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % interval of the median, relative to the median; infinity for too few values.

    The interval is the one between order statistics that the sign test gives (Conover, Practical Nonparametric
    Statistics, 3.2), in the normal approximation: ranks n/2 +- 1.96 sqrt(n)/2. It only decides when to stop; what is
    reported is computed from the samples (`orchestrator.statistics`).
    """
    ordered = sorted(values)
    count = len(ordered)
    rank = math.floor(count / 2 - 0.98 * math.sqrt(count))
    if rank < 1:
        return math.inf
    return (ordered[count - rank] - ordered[rank - 1]) / 2 / statistics.median(ordered)


def time_pairs(
    context: Context, timed: Timed, program: Program, bare: Step, inputs: Inputs, enough: Enough, block_s: float
) -> None:
    """Time eager and compiled blocks next to each other, in the order E C C E E C C E ..., and keep what was seen.

    program, bare, inputs: the model, its compiled step, and what that is called with. enough: of two pairs each.
    block_s: seconds that a block lasts, about: two calls at least where one is no longer than that, and one before
    them, which is dropped; else a single call.
    """
    with context.phase("pairs"):
        own_model = context.compiler.changes_model or context.group.wraps
        twin = context.build(dropout=context.mode.training) if own_model else program
        threads_as_asked(context, mark=False)
        inside = Inside()

        def as_eager(work: Callable[[], Sample]) -> Sample:
            with really_eager() as seen:
                done = work()
            inside.compiled |= seen.compiled
            return done

        eager = as_eager(lambda: context.mode.step(twin, context.group.eager(twin), context.workload))
        inputs.set_to_first()
        # anew: compiled code may have lost that the model writes into its inputs, or do so alone
        eagers = Inputs(twin, inputs.draws)
        as_eager(lambda: timed(eager))
        if twin is program:
            inputs = eagers
            timed(bare)
        eagers.look()
        eager, step = eagers.around(context, eager), inputs.around(context, bare)
        fastest = min(_fastest(lambda: as_eager(lambda: timed(eager)), block_s), _fastest(lambda: timed(step), block_s))
        block = max(round(block_s / fastest), 2 if fastest <= block_s else 1)
        trained = setting_back(context, [program] if twin is program else [program, twin])
        noise = NoiseProbe(context.device, context.group.children)

        def own_block(step: Step) -> float:
            for set_back in trained:
                set_back()
            return _block(timed, step, block)

        def eager_block() -> float:
            return as_eager(lambda: own_block(eager))

        turns = itertools.count()

        def same_inputs() -> None:
            turn = next(turns)
            for side in (eagers, inputs):
                side.hold(turn)

        def two_pairs() -> list[tuple[float, float]]:
            """One pair with eager first, one with the compiler first: whatever the order costs cancels."""
            same_inputs()
            eager_first = (eager_block(), own_block(step))
            same_inputs()
            compiled = own_block(step)
            return [eager_first, (eager_block(), compiled)]

        with no_garbage_collection():
            twos = repeat(context.group, enough, two_pairs, half_width_of_pairs)
        if not context.mode.training:
            make_ready(eager)
            beside_eager(context, as_eager(eager))
    note_inside(context, inside)
    pairs = [pair for two in twos for pair in two]
    context.add("pair_eager_latency", "s", "lower", [eager_s for eager_s, _ in pairs])
    context.add("pair_latency", "s", "lower", [compiled_s for _, compiled_s in pairs])
    context.facts["pair"] = {"block": block, "pairs": len(pairs), "method": "interleaved"}
    if trained:
        context.facts["pair"]["set_back"] = True
    calls = 2 * len(pairs) * (block + (block > 1))
    seen = noise.facts(calls, [compiled_s for _, compiled_s in pairs])
    context.facts["pair_noise"] = seen["noise"]
    context.facts["disturbed"] += [f"pairs: {reason}" for reason in seen["disturbed"]]


def _fastest(sample: Callable[[], float], block_s: float) -> float:
    """Return the seconds of the fastest of three calls; of one, where it is far from several to a block."""
    seconds = sample()
    return seconds if seconds > 2 * block_s else min(seconds, sample(), sample())


def half_width_of_pairs(twos: Sequence[list[tuple[float, float]]]) -> float:
    """Return the half-width, in logarithms, of the interval that a report gives; over `LARGE`, in proportion to it.

    With a target of 1 % it is enough to know 1.02 within 1 %, and 1.5 within 4 %: that is far enough from 1 for a
    verdict, and how far another process would be from it no pairs tell. Infinity for too few pairs.
    """
    eager, compiled = zip(*itertools.chain.from_iterable(twos), strict=True)
    found = one_round(calm_pair_logs(eager, compiled))
    return math.inf if found.half is None else found.half / max(1.0, abs(math.log(found.value)) / LARGE)


def _block(timed: Timed, step: Step, length: int) -> float:
    """Return the lower quartile of the seconds of `length` calls; of several, one call before them is not counted.

    What disturbs a call only ever makes it longer, and a model that needs more memory longer than another: a mean or
    a median of the calls carries that into the ratio. A low quantile does not, as long as a quarter of the block was
    quiet (Chen and Revels, Robust benchmarking in noisy environments, 2016, who take the minimum). Beside a neighbour
    the standard deviation of the speed-up over 12 processes was 1.9 % with means, 1.5 % with medians, 0.6 % so.
    """
    if length == 1:
        return timed(step)
    make_ready(step)
    step()
    return statistics.quantiles([timed(step) for _ in range(length)], n=4, method="inclusive")[0]


def note_inside(context: Context, inside: Inside) -> None:
    if inside.compiled:
        context.measured[COMPILES_ITSELF] = "the model calls torch.compile itself: eager ran that as plain Python"
