"""How much arithmetic a step is, and how fast it is done: FLOPs of the eager step, seconds of it and the compiled one.

FLOPs are torch's count (`torch.utils.flop_counter`): matrix products, convolutions and attention, two for each multiply
and add, causal attention in full. Elementwise operators count as none. A compiler does the same arithmetic in other
operators, so its speed is its latency against eager's FLOPs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.errors import in_one_line
from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.measures.eager import eager_step
from orchestrator.measures.timed import tensors
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Program
from orchestrator.precision import autocast
from orchestrator.probes.clock import make_ready, stopwatch
from orchestrator.probes.noise import NoiseProbe, relative_iqr, wait_for_quiet
from orchestrator.probes.peaks import bandwidth, peak
from orchestrator.records import OBSERVED, PASS

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

GIGA = 1e9


@dataclass(frozen=True)
class Flops:
    """calls: timed calls of each step, after `warmup` calls; the row has their median. depth: of the modules listed.

    This is a figure beside the FLOPs, not a benchmark: rounds, pairs and intervals are the measure performance's.
    """

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "flops": TableSpec(
            (
                "step_gflop",
                columns.count("parameters", "parameters of the model"),
                columns.duration("step_ms", "median of one step"),
                columns.percent("step_iqr_percent", "interquartile range of the step in % of its median", "lower"),
                "achieved_gflop_per_s",
                columns.duration("eager_step_ms", "median of one eager step"),
                columns.percent(
                    "eager_step_iqr_percent", "interquartile range of the eager step in % of its median", "lower"
                ),
                columns.number(
                    "eager_achieved_gflop_per_s",
                    "floating-point operations of the eager step / eager step",
                    "GFLOP/s",
                    "higher",
                ),
                columns.count("step_samples", "timed steps of each kind"),
                columns.number(
                    "intensity_flop_per_byte",
                    "floating-point operations / bytes that eager operators read and write, each tensor once for each "
                    "operator",
                    "FLOP/byte",
                ),
                columns.number(
                    "peak_gflop_per_s",
                    "what the device does at best with dense matrices in this dtype: see peak_source",
                    "GFLOP/s",
                    "higher",
                ),
                columns.percent("of_peak_percent", "achieved / peak", "higher"),
                "peak_source",
                "disturbed",
            )
        ),
        "flops_by_module": TableSpec(
            (
                columns.text("module", "path of the module in the model"),
                columns.text("operator_names", "operators with counted floating-point operations"),
                columns.number("forward_gflop", "those of a module's forward pass alone", "GFLOP"),
                "share_percent",
            )
        ),
    }

    calls: int = 10
    warmup: int = 3
    depth: int = 3

    def __post_init__(self) -> None:
        at_least_1(self, "calls", "warmup", "depth")

    def run(self, context: Context) -> Outcome:
        """Leave one row of figures, and a row for each module down to `depth` that does arithmetic."""
        program, eager = eager_step(context)
        with context.phase("eager_1st_run"):
            eager()
            counter, moved = count(eager)
            parts = self._forward(context, program) if context.mode.training else counter
        flops = counter.get_total_flops()
        marks: list[str] = []
        seconds = {"eager_": self._time(context, "eager_2nd_run", eager, marks)}
        if not context.is_eager:
            _, step = compiled_step(context, None if context.compiler.changes_model else program, calls=1)
            seconds[""] = self._time(context, "steady", step, marks)
        else:
            seconds = {"": seconds["eager_"]}
        context.find(
            "flops",
            step_gflop=flops / GIGA,
            parameters=sum(parameter.numel() for parameter in program.model.parameters()),
            intensity_flop_per_byte=flops / moved if moved else None,
            step_samples=self.calls,
            disturbed="; ".join(marks) or None,
            **{key: value for side, values in seconds.items() for key, value in _speed(side, flops, values).items()},
            **_of_peak(context, flops, convolutions(counter), seconds[""]),
        )
        self._by_module(context, parts)
        return Outcome(PASS)

    def _time(self, context: Context, phase: str, step: Callable[[], Any], marks: list[str]) -> list[float]:
        """Return the seconds of the calls. `marks` gets what disturbed them: them alone, for a compilation is at work
        in processes that would be taken for a neighbour's.
        """
        timed = stopwatch(context.device)
        with context.phase(phase):
            waited = context.facts.get("waited_for_quiet_s", 0.0)
            context.facts["waited_for_quiet_s"] = waited + wait_for_quiet(5.0, context.device)
            for _ in range(self.warmup):
                timed(step)
            noise = NoiseProbe(context.device)
            values = [timed(step) for _ in range(self.calls)]
            who = "eager: " if phase != "steady" and not context.is_eager else ""
            marks += [f"{who}{reason}" for reason in noise.facts(self.calls, values)["disturbed"]]
        context.add("latency" if phase == "steady" else "eager_latency", "s", "lower", values)
        return values

    def _forward(self, context: Context, program: Program) -> FlopCounterMode:
        """Count the forward pass of a training step. Of backward torch knows only the sum: its module tracker leaves a
        module when its inputs have their gradients, and tokens have none.
        """
        import torch

        with torch.no_grad(), autocast(context.workload), (counter := counter_of_flops()):
            program.model(**program.inputs)
        return counter

    def _by_module(self, context: Context, counter: FlopCounterMode) -> None:
        """The first name of a module's path is that of the model's class, which every path begins with."""
        total = counter.get_total_flops()
        for path, operators in sorted(counter.get_flop_counts().items(), key=lambda item: -sum(item[1].values())):
            module = path.partition(".")[2]
            if path == "Global" or not module or module.count(".") >= self.depth:
                continue
            flops = sum(operators.values())
            context.find(
                "flops_by_module",
                module=module,
                operator_names=", ".join(sorted(map(str, operators))),
                forward_gflop=flops / GIGA,
                share_percent=100 * flops / total if total else None,
            )


def count(step: Callable[[], Any]) -> tuple[FlopCounterMode, int]:
    """Return torch's count of one call of `step`, and the bytes that the operators of another one move."""
    from orchestrator.probes.dispatch import TrafficCounter

    make_ready(step)
    with (counter := counter_of_flops()):
        step()
    traffic = TrafficCounter()
    make_ready(step)
    with traffic:
        step()
    return counter, traffic.bytes


def work_of(context: Context, program: Program, step: Callable[[], Any]) -> dict[str, Any]:
    """Return what one eager step has to do at least, and what the device can: a fact of the baseline's, "work".

    flops: torch's count. bytes: parameters, buffers and inputs that operators work on, and the results, once in each
    call of the model. peak_flop_per_s, peak_source, peak_bytes_per_s: of the GPU's data sheet, or measured here on a
    CPU (`orchestrator.probes.peaks`); None where there is none. Where the step cannot be counted there is nothing, and
    where the CPU cannot be measured no peak; a note says why. It calls `step` once more, and takes memory: nothing may
    be timed, and no memory measured, after it.
    """
    with context.phase("work"):
        make_ready(step)
        try:
            counter, moved = _counted(program, step)
        except Exception as error:  # noqa: BLE001 - formulas refuse shapes and operators: the times that were taken stand
            context.note(f"the step's FLOPs and bytes could not be counted: {type(error).__name__}: {error}")
            return {}
        flops = counter.get_total_flops()
        best = moves = None
        try:
            best = peak(context.device, context.workload.dtype, convolutions(counter) / flops) if flops else None
            moves = bandwidth(context.device)
        except (RuntimeError, MemoryError) as error:  # a limit of memory: what was measured before stands
            context.note(f"what the CPU does at best could not be measured: {in_one_line(error)}")
    return {
        "flops": flops,
        "bytes": moved,
        "peak_flop_per_s": None if best is None else best.flop_per_s,
        "peak_source": None if best is None else best.source,
        "peak_bytes_per_s": moves,
    }


def _counted(program: Program, step: Callable[[], Any]) -> tuple[FlopCounterMode, int]:
    from orchestrator.probes.dispatch import TouchedBytes

    read = [*program.model.parameters(), *program.model.buffers(), *(found for _, found in tensors(program.inputs))]
    touched = TouchedBytes(read)
    hook = program.model.register_forward_pre_hook(lambda *_: touched.again())
    try:
        with (counter := counter_of_flops()), touched:
            result = step()
    finally:
        hook.remove()
    written = sum(found.nbytes for _, found in tensors(result) if not touched.knows(found))
    return counter, touched.bytes + written


def counter_of_flops() -> FlopCounterMode:
    """Return a context in which floating-point operations are counted."""
    from torch.utils.flop_counter import FlopCounterMode

    return FlopCounterMode(display=False, custom_mapping=dict(missing_formulas()))


def missing_formulas() -> Mapping[Any, Callable[..., int]]:
    """Return formulas for what torch 2.13 counts on CUDA and forgets on the CPU: attention, forward and backward."""
    import torch
    from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_backward_flop_count(gradient, query, key, value))

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    ours: dict[Any, Callable[..., int]] = {
        attention: forward,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
    return {operator: formula for operator, formula in ours.items() if operator not in flop_registry}


def _speed(side: str, flops: int, values: Sequence[float]) -> dict[str, float | None]:
    """Return median latency, its spread and the FLOP/s that it makes; no speed of a step without counted FLOPs."""
    median, spread = statistics.median(values), relative_iqr(values)
    return {
        f"{side}step_s": median,
        f"{side}step_iqr_percent": None if spread is None else 100 * spread,
        f"{side}achieved_gflop_per_s": flops / median / GIGA if flops else None,
    }


def convolutions(counter: FlopCounterMode) -> int:
    """Return the FLOPs of a count that are convolutions', forward and backward."""
    return int(sum(n for op, n in counter.get_flop_counts().get("Global", {}).items() if "conv" in str(op)))


def _of_peak(context: Context, flops: int, of_convolutions: int, values: Sequence[float]) -> dict[str, Any]:
    best = peak(context.device, context.workload.dtype, of_convolutions / flops) if flops else None
    if best is None:
        return {}
    return {
        "peak_gflop_per_s": best.flop_per_s / GIGA,
        "of_peak_percent": 100 * flops / statistics.median(values) / best.flop_per_s,
        "peak_source": best.source,
    }
