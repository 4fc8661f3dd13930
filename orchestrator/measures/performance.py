"""Latency, compile latency, peak memory by phase, and the speed-up from pairs inside one process.

Memory first, alone: build, compile (the first call), warm-up and steady state run with nothing else in the process,
each with a high-water mark of its own. Then, for a compiler, eager and compiled blocks are timed next to each other
in this same process (ABBA), because what a process gets (memory layout, clock, machine drift) then hits both sides
and cancels. What was timed then makes the calls by which it is judged. docs/measuring.md has the figures behind this.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from orchestrator.errors import is_out_of_memory
from orchestrator.measures.context import Context
from orchestrator.measures.eager import Inside, really_eager
from orchestrator.measures.flops import work_of
from orchestrator.measures.fresh import draws
from orchestrator.measures.group import OWN_LATENCY, Group
from orchestrator.measures.timed import (
    Dynamo,
    Inputs,
    Last,
    NotFinite,
    beside_eager,
    finite,
    parameters,
    tell_drift,
    threads_as_asked,
)
from orchestrator.measures.timed_series import keep_first_call, make_series
from orchestrator.plugins import Forward, Outcome, Preparing, Program, Recording, facts_of, wants_cuda_graphs
from orchestrator.probes import compile_phases, counters
from orchestrator.probes.clock import make_ready, no_garbage_collection, overhead, synchroniser
from orchestrator.probes.energy import EnergyProbe
from orchestrator.probes.noise import NoiseProbe, wait_for_quiet
from orchestrator.records import COMPILES_ITSELF, FAIL_ACCURACY, LAUNCH_BOUND, PASS, TIMED

Timed = Callable[[Callable[[], Any]], float]
Step = Callable[[], Any]
Sample = TypeVar("Sample")
QUEUED_STEPS, QUEUED_S, QUEUED_TIMES = 100, 0.1, 5
"""Steps that are enqueued before the device is waited for, at most; for how long, about; how often."""
FEW = 5
"""Calls of a compiled row's steady state: what its memory needs, and a median."""


@dataclass(frozen=True)
class Performance:
    """All times in seconds.

    Warm-up ends when at least `warmup_calls` calls and `warmup_seconds` have passed and the last three calls lie
    within `warmup_spread` of each other, or after `max_seconds`. The steady state lasts `seconds`, and for eager
    `iterations`: a compiled row's speed-up comes from its pairs, so it needs `FEW` calls only, which is what its memory
    needs. Pairs go on until their time has passed *and* the 95 % interval of their median is within +- `target_rel_ci`
    (relative; 0 never is). For the sake of the interval they go on, once their count is reached too, no longer than
    `extra_seconds`. Where an interval is that narrow before, fewer do, so a step of seconds that is steady needs no
    ten samples. Nothing goes on beyond `max_seconds`, but to three samples. A block of a pair lasts at least
    `block_seconds`; its first iteration is dropped when it has more than one. Before the warm-up it waits for a quiet
    machine, at most `quiet_seconds`. With `randomize_input` each repeat has other inputs
    (`orchestrator.measures.fresh`), both sides of a pair the same.
    """

    kind: ClassVar[str] = TIMED
    makes_series: ClassVar[bool] = True
    several_ranks: ClassVar[bool] = True
    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo",)  # which `really_eager` asks: not in the memory of a model

    iterations: int = 10
    seconds: float = 1.0
    pairs: int = 12
    pair_seconds: float = 2.0
    block_seconds: float = 0.05
    warmup_calls: int = 3
    warmup_seconds: float = 1.0
    warmup_spread: float = 0.05
    target_rel_ci: float = 0.01
    extra_seconds: float = 3.0
    max_seconds: float = 120.0
    quiet_seconds: float = 5.0
    randomize_input: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name}={value}: it must be at least 0")

    def run(self, context: Context) -> Outcome:
        with really_eager() if context.is_eager else nullcontext(Inside()) as inside:
            try:
                unequal = self._run(context)
            except NotFinite as found:
                return Outcome(found.status, str(found))
        _note_inside(context, inside)
        return Outcome(FAIL_ACCURACY, unequal) if unequal else Outcome(PASS)

    def _run(self, context: Context) -> str:
        """Return what is wrong with what was timed; "" where nothing is known to be."""
        timed = context.group.stopwatch(context.device)
        dynamo = Dynamo(context)
        context.memory.mark_base()
        with context.phase("build"):
            drawn = draws(context) if self.randomize_input else ()
            program = context.build(dropout=context.mode.training)
        threads_as_asked(context, mark=False)
        context.facts.update(_size(program))
        inputs = Inputs(program, drawn)
        forward, bare, result = self._first_call(context, timed, program)
        inputs.look()
        step = inputs.around(context, bare)
        finite(context, "the first call", result, _calls(context))
        first = keep_first_call(context, result)
        del result
        dynamo.after("compile")
        threads_as_asked(context)
        quiet_seconds = 0.0 if context.group.rank else self.quiet_seconds  # the others wait for rank 0
        waited = wait_for_quiet(quiet_seconds, context.device, context.group.children)
        context.facts["waited_for_quiet_s"] = waited
        with context.phase("warmup"):
            last = self._warm_up(context, timed, step)
        finite(context, "the warm-up", last, _calls(context))
        del last
        dynamo.after("warmup")
        threads_as_asked(context)
        self._steady(context, timed, bare, step)
        if context.device.type == "cuda" and not context.is_eager:
            _tell_graphs(context)
        finite(context, "the steady state", dynamo.look(step), _calls(context))
        dynamo.after("steady")
        threads_as_asked(context)
        unequal = context.group.unequal_parameters(program.model) if context.mode.training else ""
        if not context.is_eager:
            self._pairs_if_they_fit(context, timed, program, bare, inputs)
            finite(context, "the pairs", dynamo.look(step), _calls(context))
            dynamo.after("pairs")
            threads_as_asked(context)
        elif context.group.replicas:  # of a part of a model torch has no count
            context.facts["work"] = work_of(context, program, step)
        tell_drift(context)
        inputs.set_to_first()
        make_series(context, program, forward, first)
        return f"after {_calls(context)} steps {unequal}" if unequal else ""

    def _first_call(self, context: Context, timed: Timed, program: Program) -> tuple[Forward, Step, Any]:
        """Compile and call once: the first call's latency contains all that compiling costs, ahead of time or not.

        What the mode does between the two (a cache that is allocated) is not in it. Returns what the compiler made, the
        step, and its result.
        """
        context.facts["cache"] = _cache_state(context)
        context.seed()
        forwards: list[Forward] = []
        with context.phase("compile", children=not context.is_eager), compile_phases.recorded() as events:
            seconds = timed(lambda: forwards.append(context.compile(program)))
            step = context.mode.step(program, forwards[0], context.workload)
            first = Last(step)
            seconds += timed(first)
            context.add("first_call", "s", "lower", [seconds])
        if phases := compile_phases.folded(events, seconds):
            context.facts["compile_phases"] = phases
        if facts_of(forwards[0]):
            context.facts["compiled"] = dict(facts_of(forwards[0]))
            for text in facts_of(forwards[0]).get("notes", ()):
                context.note(text)
        return forwards[0], step, first.value

    def _warm_up(self, context: Context, timed: Timed, step: Step) -> Any:
        """Return the result of the last call."""
        calls: list[float] = []
        last = Last(step)
        start = time.perf_counter()
        steady = False
        spent = 0.0
        while not steady and spent < self.max_seconds:
            calls.append(timed(last))
            spent = context.group.elapsed(start)
            recent = calls[-3:]
            enough = len(calls) >= max(self.warmup_calls, 3) and spent >= self.warmup_seconds
            steady = enough and max(recent) <= min(recent) * (1 + self.warmup_spread)
            if enough and len(calls) >= 100 * self.warmup_calls:
                break  # a step of microseconds on a noisy machine may never be that quiet: the marks will tell
        context.add("warmup_latency", "s", "none", calls)
        context.facts["warmup_steady"] = steady
        return last.value

    def _steady(self, context: Context, timed: Timed, bare: Step, step: Step) -> None:
        """Time steps one by one, and, where the device works on while the host goes on, several behind each other."""
        noise = NoiseProbe(context.device, context.group.children)
        if isinstance(bare, Recording):
            bare.restart()
        enqueued: list[float] = []
        own: list[float] = []
        clock = context.group.stopwatch(context.device, enqueued, own)
        with context.phase("steady", keep_cache=True), no_garbage_collection():
            energy = EnergyProbe()
            count = self.iterations if context.is_eager else min(self.iterations, FEW)
            latencies = self._repeat(
                context.group, count, self.seconds, lambda: clock(step), relative_half_width, extra=0.0
            )
            context.facts |= energy.facts(len(latencies))
        context.add("latency", "s", "lower", latencies)
        if own:
            context.add(OWN_LATENCY, "s", "none", own)
        waits = context.device.type == "cpu"  # as a step does that has a clock of its own: it says nothing of launches
        if isinstance(bare, Recording):
            own = bare.samples()
            waits = waits or bool(own)
            context.samples += own
            context.facts |= bare.facts
        median = statistics.median(latencies)
        launch_bound = None if waits else statistics.median(enqueued) > LAUNCH_BOUND * median
        context.facts |= noise.facts(len(latencies), latencies, launch_bound=launch_bound)
        context.facts["clock_overhead_s"] = overhead(timed)
        if not waits:
            context.add("enqueue", "s", "none", enqueued)
            self._back_to_back(context, step, median)

    def _back_to_back(self, context: Context, step: Step, latency: float) -> None:
        """Time steps that are enqueued one after the other and waited for together: what the device does at best.

        Not of a step that must be made ready: what makes it ready would be in between.
        """
        if isinstance(step, Preparing):
            return
        count = max(2, min(QUEUED_STEPS, round(QUEUED_S / latency)))
        synchronise = synchroniser(context.device)
        values = []
        with context.phase("back_to_back"), no_garbage_collection():
            for _ in range(QUEUED_TIMES):
                synchronise()
                start = time.perf_counter()
                for _ in range(count):
                    step()
                synchronise()
                values.append(context.group.longest(time.perf_counter() - start) / count)
        context.add("back_to_back", "s", "lower", values)
        context.facts["back_to_back"] = {"steps": count}

    def _pairs_if_they_fit(self, context: Context, timed: Timed, program: Program, bare: Step, inputs: Inputs) -> None:
        """Time the pairs; where eager does not fit beside the compiled model, say so and keep the rest."""
        try:
            self._pairs(context, timed, program, bare, inputs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or context.group.size > 1:  # the others are in the midst of them
                raise
            context.facts["pair"] = {"method": "none", "reason": f"eager does not fit beside it: {error}"}

    def _pairs(self, context: Context, timed: Timed, program: Program, bare: Step, inputs: Inputs) -> None:
        """Time eager and compiled blocks next to each other, in the order E C C E E C C E ..."""
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
            fastest = min(self._fastest(lambda: as_eager(lambda: timed(eager))), self._fastest(lambda: timed(step)))
            block = max(1, round(self.block_seconds / fastest))
            trained = parameters(context, [program] if twin is program else [program, twin])
            noise = NoiseProbe(context.device, context.group.children)

            def own_block(step: Step) -> float:
                for kept in trained:
                    kept.set_back()
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
                count = math.ceil(self.pairs / 2)
                twos = self._repeat(
                    context.group, count, self.pair_seconds, two_pairs, _half_width_of_ratios, extra=self.extra_seconds
                )
            if not context.mode.training:
                make_ready(eager)
                beside_eager(context, as_eager(eager))
        _note_inside(context, inside)
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

    def _fastest(self, sample: Callable[[], float]) -> float:
        """Return the seconds of the fastest of three calls; of one, where it is far from several to a block."""
        seconds = sample()
        return seconds if seconds > 2 * self.block_seconds else min(seconds, sample(), sample())

    def _repeat(
        self,
        group: Group,
        count: int,
        seconds: float,
        sample: Callable[[], Sample],
        half_width: Callable[[Sequence[Sample]], float],
        extra: float,
    ) -> list[Sample]:
        """Call `sample` until there is enough, and it is certain enough, or the time for that (`extra`) is spent."""
        values: list[Sample] = []
        start = time.perf_counter()
        checked_at = 0
        counted: float | None = None  # when count and time were reached
        spent = 0.0
        while True:
            before = spent
            values.append(sample())
            spent = group.elapsed(start)
            if len(values) >= 3 and spent >= self.max_seconds:
                return values
            if spent < seconds:
                continue
            if len(values) >= count:
                counted = spent if counted is None else counted
                if 2 * spent - before >= counted + extra:  # another one would end after that
                    return values
            if len(values) >= 1.1 * checked_at:  # an interval costs a sort: not after every sample
                checked_at = len(values)
                if half_width(values) <= self.target_rel_ci:
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


def _half_width_of_ratios(twos: Sequence[list[tuple[float, float]]]) -> float:
    return relative_half_width([eager / compiled for two in twos for eager, compiled in two])


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


def _calls(context: Context) -> int:
    """Return how often a step has been called so far; in the pairs by both sides, since parameters were set back."""
    samples = {sample.metric: len(sample.values) for sample in context.samples}
    single = sum(samples.get(metric, 0) for metric in ("first_call", "warmup_latency", "latency"))
    pair: Mapping[str, Any] = context.facts.get("pair", {})
    block: int = pair.get("block", 0)
    return single + (1 if pair.get("set_back") else 2 * samples.get("pair_latency", 0)) * (block + (block > 1))


def _note_inside(context: Context, inside: Inside) -> None:
    if inside.compiled:
        context.measured[COMPILES_ITSELF] = "the model calls torch.compile itself: eager ran that as plain Python"


def _tell_graphs(context: Context) -> None:
    """Count the CUDA graphs that were recorded; a compiler that is asked for them and has none is another compiler."""
    recorded = counters.recorded_graphs()
    context.facts["cudagraphs"] = {"recorded": recorded, "skipped_because": (why := counters.cudagraph_skips())}
    if recorded or not wants_cuda_graphs(context.compiler, context.workload):
        return
    context.note(f"no CUDA graph was recorded: {'; '.join(why) or 'the log may say why'}")


def _size(program: Program) -> dict[str, int]:
    parameters = list(program.model.parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "parameter_bytes": sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    }


def _cache_state(context: Context) -> str:
    """Return "cold" or "warm": whether the private compile cache has more now than the toolchain that it began with.

    "none" for eager, which has none.
    """
    if context.is_eager:
        return "none"
    cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    files = sum(len(names) for where, _, names in os.walk(cache) if os.path.basename(where) != "locks")
    return "warm" if files > context.seeded else "cold"
