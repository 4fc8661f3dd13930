"""Latency, compile latency, peak memory by phase, and the speed-up from pairs inside one process.

Memory first, alone: build, compile (the first call), warm-up and steady state run with nothing else in the process,
each with a high-water mark of its own. Then, for a compiler, eager and compiled blocks are timed next to each other
in this same process (ABBA), because what a process gets (memory layout, clock, machine drift) then hits both sides
and cancels. What was timed then makes the calls by which it is judged. docs/measuring.md has the figures behind this.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator.errors import is_out_of_memory
from orchestrator.measures.context import Context
from orchestrator.measures.eager import Inside, really_eager
from orchestrator.measures.flops import work_of
from orchestrator.measures.group import OWN_LATENCY, Timed
from orchestrator.measures.pairs import Enough, note_inside, relative_half_width, repeat, time_pairs
from orchestrator.measures.timed import (
    Dynamo,
    Inputs,
    Last,
    NotFinite,
    Step,
    draws,
    finite,
    tell_drift,
    threads_as_asked,
)
from orchestrator.measures.timed_series import keep_first_call, make_series
from orchestrator.plugins import Forward, Outcome, Preparing, Program, Recording, facts_of, wants_cuda_graphs
from orchestrator.probes import compile_phases, counters
from orchestrator.probes.clock import no_garbage_collection, overhead, synchroniser
from orchestrator.probes.energy import EnergyProbe
from orchestrator.probes.noise import NoiseProbe, wait_for_quiet
from orchestrator.records import FAIL_ACCURACY, LAUNCH_BOUND, PASS, TIMED

QUEUED_STEPS, QUEUED_S, QUEUED_TIMES = 100, 0.1, 5
"""Steps that are enqueued before the device is waited for, at most; for how long, about; how often."""


@dataclass(frozen=True)
class Performance:
    """All times in seconds.

    Warm-up ends when at least `warmup_calls` calls and `warmup_seconds` have passed and the last three calls lie
    within `warmup_spread` of each other, or after `max_seconds`. The steady state lasts `seconds` and `iterations`, so
    few because a speed-up comes from pairs: it is for memory, and a median. Pairs go on until their time has passed
    *and* the 95 % interval of their median is within +- `target_rel_ci` (relative, and of a large effect in proportion
    to it: `half_width_of_pairs`; 0 never is). For the sake of the interval they go on, once their count is reached too,
    no longer than `extra_seconds`. Where an interval is that narrow before, fewer do. Nothing goes on beyond
    `max_seconds`, but to three samples. A block of a pair lasts about `block_seconds`; its first iteration is
    dropped when it has more than one. Before the warm-up it waits for a quiet machine, at most `quiet_seconds`. With
    `randomize_input` each repeat has other inputs (`orchestrator.measures.timed.draws`), both sides of a pair the same.
    """

    kind: ClassVar[str] = TIMED
    makes_series: ClassVar[bool] = True
    several_ranks: ClassVar[bool] = True
    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo",)  # which `really_eager` asks: not in the memory of a model

    iterations: int = 5
    seconds: float = 1.0
    pairs: int = 6
    pair_seconds: float = 1.5
    block_seconds: float = 0.025
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
        note_inside(context, inside)
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
        waits = not context.group.rank and not context.group.in_turns  # ranks wait for rank 0; turns share the noise
        quiet_seconds = self.quiet_seconds if waits else 0.0
        waited = wait_for_quiet(quiet_seconds, context.device, context.group.children)
        context.facts["waited_for_quiet_s"] = waited
        with context.phase("warmup"):
            last = self._warm_up(context, timed, step)
        finite(context, "the warm-up", last, _calls(context))
        del last
        dynamo.after("warmup")
        threads_as_asked(context)
        context.group.warmed_up()
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
        elif context.job.round == 0 and context.group.replicas and not context.group.in_turns:
            context.facts["work"] = work_of(context, program, step)  # of a part of a model torch has no count
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
            # in turns, the first call after the other's turn finds other caches: it is never alike
            alike = context.group.in_turns or max(recent) <= min(recent) * (1 + self.warmup_spread)
            steady = enough and alike
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
            enough = Enough(self.iterations, self.seconds, self.target_rel_ci, 0.0, self.max_seconds)
            latencies = repeat(context.group, enough, lambda: clock(step), relative_half_width)
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
        count = math.ceil(self.pairs / 2)
        enough = Enough(count, self.pair_seconds, self.target_rel_ci, self.extra_seconds, self.max_seconds)
        try:
            time_pairs(context, timed, program, bare, inputs, enough, self.block_seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or context.group.size > 1:  # the others are in the midst of them
                raise
            context.facts["pair"] = {"method": "none", "reason": f"eager does not fit beside it: {error}"}


def _calls(context: Context) -> int:
    """Return how often a step has been called so far; in the pairs by both sides, since parameters were set back."""
    samples = {sample.metric: len(sample.values) for sample in context.samples}
    single = sum(samples.get(metric, 0) for metric in ("first_call", "warmup_latency", "latency"))
    pair: Mapping[str, Any] = context.facts.get("pair", {})
    block: int = pair.get("block", 0)
    return single + (1 if pair.get("set_back") else 2 * samples.get("pair_latency", 0)) * (block + (block > 1))


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
