"""Many shapes through one compiled callable: what each costs the first time, how fast it is then, how many graphs
that takes, and whether its results are right.

Eager and compiled calls of a shape alternate, each first in turn, so that a drift of the machine hits both. Then both
get inputs of that shape that neither has seen, and their results are compared (`SideBySide`).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.errors import in_one_line
from orchestrator.measures.calls import FIRST, Call, Tensors, Watch
from orchestrator.measures.compare import Rule, Strictness, compare, differing
from orchestrator.measures.context import Context
from orchestrator.measures.distances import severity
from orchestrator.measures.shapes import Shape, build_inputs
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Forward, Outcome, Program, Unsupported
from orchestrator.probes import compilations, counters
from orchestrator.probes.clock import stopwatch
from orchestrator.records import FAIL_ACCURACY, FAIL_TO_RUN, OBSERVED, PASS, Workload

if TYPE_CHECKING:
    import torch

Step = Callable[[], Any]
Observed = dict[str, "torch.Tensor"]
OVER_LIMIT = "none: recompile limit"
NOT_COMPARED = "not compared"
FAILED = (RuntimeError, MemoryError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True)
class DynamicShapes(Strictness):
    """Every batch size with every length, in this order; none of one kind: the workload's own.

    calls: timed calls of each shape, eager and compiled, after one that is not timed.
    mark_dynamic: true marks the dimensions that differ between the shapes as dynamic, false as static, before the
    first call (`torch._dynamo.mark_dynamic`, `mark_static`; a size of 1 is never marked: dynamo always specialises on
    it); null leaves it to dynamo, which makes a dimension dynamic when it sees it change.

    Where a shape would need more compilations than `torch._dynamo.config.recompile_limit` (8) allows, dynamo goes
    on in eager without a word. Here that shape's row says so, and has no compiled latency.

    The other options say how strictly results are judged (`orchestrator.measures.compare.Rule`); None takes the
    suite's. Without a tolerance from either, nothing is compared. Dropout is off, in training too: where eager draws
    random numbers a result cannot be compared.
    """

    kind: ClassVar[str] = OBSERVED
    cost_factor: ClassVar[float] = 3.0  # it times many calls, too
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "dynamic_shapes": TableSpec(
            (
                columns.count("shape_batch_size", "batch size of this shape"),
                columns.count("shape_sequence_length", "tokens per sample of this shape"),
                columns.text(
                    "compilation", "new; reused from an earlier shape; or none: dynamo's recompile limit was reached"
                ),
                "first_call_s",
                "eager_latency_ms",
                columns.percent("eager_latency_spread_percent", "IQR of the eager calls in % of their median", "lower"),
                "latency_ms",
                "latency_spread_percent",
                "calls",
                "speedup",
                "recompiles",
                "graphs",
                "accuracy",
                "fp64",
            )
        ),
    }

    batch_sizes: Sequence[int] = ()
    sequence_lengths: Sequence[int] = ()
    mark_dynamic: bool | None = None
    calls: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_1(self, "batch_sizes", "sequence_lengths", "calls")
        if max(len(self.batch_sizes), len(self.sequence_lengths)) < 2:
            raise ValueError("nothing varies: give batch_sizes=[1,2,4], or sequence_lengths, or both")

    def run(self, context: Context) -> Outcome:
        import torch

        if context.is_eager:
            raise Unsupported("eager takes any shape: ask this of a compiler, which is timed beside eager")
        shapes = self._shapes(context)
        with context.phase("build"):
            program = context.build(dropout=False)
            twin = context.build(dropout=False) if context.compiler.changes_model else program
            inputs = [build_inputs(context, shape, like=program.inputs) for shape in shapes]
            unseen = [build_inputs(context, shape, context.workload.seed + 1, like=program.inputs) for shape in shapes]
        if self.mark_dynamic is not None:
            mark(inputs, dynamic=self.mark_dynamic)
            mark(unseen, dynamic=self.mark_dynamic)
        compilations.forget()
        context.seed()
        with context.phase("compile", children=True):
            forward = context.compiler.compile(program, context.workload)
        judge = self._judge(context, twin, program, forward)
        timed, wrong = 0, []
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            for shape, given, fresh in zip(shapes, inputs, unseen, strict=True):
                workload = shape.of(context.workload)
                eager = context.mode.step(replace(twin, inputs=dict(given)), twin.model, workload)
                step = context.mode.step(replace(program, inputs=dict(given)), forward, workload)
                with context.phase(f"shape_{shape}", children=True):
                    row = self._shape(context, shape, eager, step)
                if "latency_s" in row:
                    timed += 1
                    with context.phase(f"compare_{shape}", children=True):
                        row |= judge(fresh, workload)
                    if row["accuracy"].startswith(FAIL_ACCURACY):
                        wrong.append(f"shape {shape}: {row['accuracy']}")
                context.find("dynamic_shapes", **row)
        if wrong:
            return Outcome(FAIL_ACCURACY, "; ".join(wrong))
        return Outcome(PASS) if timed else Outcome(FAIL_TO_RUN, "dynamo's recompile limit is below one compilation")

    def _judge(
        self, context: Context, eager: Program, compiled: Program, forward: Forward
    ) -> Callable[[Tensors, Workload], dict[str, str]]:
        """Return what gives the columns on the results of one shape's inputs."""
        if self.tolerance is None:
            why = "no tolerance from the suite, nor measure.options.tolerance"
        elif eager is not compiled and context.mode.training:
            why = "the compiled model is trained by itself: its parameters are no longer eager's"
        else:
            return SideBySide(context, eager, compiled, forward, self.rule(context.workload)).columns
        return lambda inputs, workload: {"accuracy": f"{NOT_COMPARED}: {why}"}

    def _shapes(self, context: Context) -> list[Shape]:
        workload = context.workload
        if self.sequence_lengths and workload.sequence_length is None:
            raise Unsupported(f"{workload.model} has no sequence: give measure.options.batch_sizes only")
        batches = self.batch_sizes or (workload.batch_size,)
        lengths = self.sequence_lengths or (workload.sequence_length,)
        return [Shape(batch, length) for batch, length in itertools.product(batches, lengths)]

    def _shape(self, context: Context, shape: Shape, eager: Step, compiled: Step) -> dict[str, Any]:
        """Return the row of one shape; it has latencies where that was compiled."""
        from torch._dynamo.exc import FailOnRecompileLimitHit

        clock = stopwatch(context.device)
        before = len(compilations.compilations())
        row: dict[str, Any] = {"shape_batch_size": shape.batch_size, "shape_sequence_length": shape.sequence_length}
        try:
            row["first_call_s"] = clock(compiled)
        except FailOnRecompileLimitHit:
            return {**row, "compilation": OVER_LIMIT, **_so_far()}
        again = len(compilations.compilations()) > before
        eager()
        pairs = [_pair(clock, eager, compiled, eager_first=number % 2 == 0) for number in range(self.calls)]
        eager_s, compiled_s = ([pair[side] for pair in pairs] for side in (0, 1))
        context.add(f"eager_latency {shape}", "s", "lower", eager_s)
        context.add(f"latency {shape}", "s", "lower", compiled_s)
        return {
            **row,
            "compilation": "new" if again else "reused",
            "eager_latency_s": statistics.median(eager_s),
            "eager_latency_spread_percent": spread_percent(eager_s),
            "latency_s": statistics.median(compiled_s),
            "latency_spread_percent": spread_percent(compiled_s),
            "calls": len(pairs),
            "speedup": math.exp(statistics.median(math.log(one / other) for one, other in pairs)),
            **_so_far(),
        }


@dataclass
class SideBySide:
    """Two callables of one model: eager's, and a compiler's, which may share their parameters and buffers.

    `eager` is the program whose model eager calls, `compiled` the one that was compiled. Both have the same parameters:
    those of the float64 model, the arbiter, are copied from eager's at each call. Without the memory for it, or without
    an operator in float64, it is judged without, and `float64` says why.
    """

    context: Context
    eager: Program
    compiled: Program
    forward: Forward
    rule: Rule
    float64: str = "ok"

    def columns(self, inputs: Tensors, workload: Workload) -> dict[str, str]:
        """Return what the row of these inputs says of the results."""
        from torch._dynamo.exc import FailOnRecompileLimitHit

        try:
            return {"accuracy": self._judge(inputs, workload), "fp64": self.float64}
        except FailOnRecompileLimitHit:  # these inputs would have been compiled for themselves
            return {"accuracy": f"{NOT_COMPARED}: recompile limit"}

    def _judge(self, inputs: Tensors, workload: Workload) -> str:
        """Return "pass", "fail_accuracy: ..." with the worst tensor, or "not compared: ..." with the reason.

        What one call leaves (`calls.Watch`): outputs, in training the loss and gradients, and what it changes. Buffers
        and inputs are what they were afterwards. Raises what the compiled callable raises.
        """
        import torch

        def observed(program: Program, forward: Forward, seed: int) -> Observed:
            kept = [(buffer, buffer.detach().clone()) for buffer in program.model.buffers()]
            try:
                return Watch(self.context, program, forward, workload).call(Call(FIRST, seed), inputs)
            finally:
                with torch.no_grad():
                    for buffer, before in kept:
                        buffer.copy_(before)

        try:
            reference = observed(self.eager, self.eager.model, workload.seed)
            other = observed(self.eager, self.eager.model, workload.seed + 1)
        except FAILED as error:
            return f"{NOT_COMPARED}: eager: {in_one_line(error)}"
        if random := differing(reference, other):
            return f"{NOT_COMPARED}: {random[0]['name']} is random in eager (two seeds give two results)"
        float64 = self._float64(inputs, workload)
        result = observed(self.compiled, self.forward, workload.seed)
        try:
            records = compare(reference, result, float64, self.rule)
        except FAILED as error:
            return f"{NOT_COMPARED}: {in_one_line(error)}"
        if not records:
            return f"{NOT_COMPARED}: the model returned no tensor"
        wrong = [record for record in records if not record["passed"]]
        if not wrong:
            return PASS
        worst = max(wrong, key=lambda record: severity(record["max_abs_error"]))
        how = f"worst {worst['name']} by {worst['max_abs_error']} (rule {worst['rule']}: {worst['why']})"
        return f"{FAIL_ACCURACY}: {len(wrong)} of {len(records)} tensors, {how}"

    def _float64(self, inputs: Tensors, workload: Workload) -> Observed | None:
        """Return what the model makes of the same inputs with the same parameters in float64."""
        import torch

        try:
            program = self.context.build(dropout=False, dtype="float64")
            model = program.model
            with torch.no_grad():
                own = dict(self.eager.model.named_parameters()) | dict(self.eager.model.named_buffers())
                for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                    tensor.copy_(own[name])
            exact = {name: _exact(tensor) for name, tensor in inputs.items()}
            watch = Watch(self.context, program, model, replace(workload, dtype="float64"))
            return watch.call(Call(FIRST, workload.seed), exact)
        except FAILED as error:
            self.float64 = in_one_line(error)
            return None


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def mark(inputs: Sequence[Tensors], *, dynamic: bool) -> None:
    """Mark the dimensions of each input that differ between the shapes; of size 1 none."""
    import torch

    for name in inputs[0]:
        shapes = {given[name].shape for given in inputs}
        varying = [axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len(set(sizes)) > 1]
        for given in inputs:
            for axis in varying:
                if not dynamic:
                    torch._dynamo.mark_static(given[name], axis)
                elif given[name].shape[axis] > 1:
                    torch._dynamo.mark_dynamic(given[name], axis)


def spread_percent(values: Sequence[float]) -> float | None:
    """Return the interquartile range in % of the median; None of fewer than two values."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return 100 * (high - low) / middle


def _pair(clock: Callable[[Step], float], eager: Step, compiled: Step, *, eager_first: bool) -> tuple[float, float]:
    """Return the seconds of one eager and one compiled call."""
    if eager_first:
        return clock(eager), clock(compiled)
    seconds = clock(compiled)
    return clock(eager), seconds


def _so_far() -> dict[str, int]:
    seen = counters.read()["counters"]
    return {"graphs": seen["graphs"], "recompiles": seen["recompiles"]}
