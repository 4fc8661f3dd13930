"""How much of a step does dynamo capture? Graphs, calls of them, operators, and operators' time.

The compiler's back-end is replaced by one that runs each captured graph as it is, inside a region that the profiler
sees; an operator counts as captured when it runs in such a region. Counted are top-level `aten::` operators: those
that no other `aten::` operator called. So the figures are dynamo's, whatever would be made of the graphs later.
(torch's own `torch._dynamo.profiler` finds 0 of -2 operators in 2.13, and a dispatch mode disables compiled code.)

In training the graphs go through AOTAutograd, so that their backward graphs are captured too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.compiled import dynamo_compiler
from orchestrator.measures.context import Context
from orchestrator.plugins import Outcome
from orchestrator.probes import compilations
from orchestrator.probes.clock import make_ready
from orchestrator.records import OBSERVED, PASS

if TYPE_CHECKING:
    import torch

CAPTURED = "CAPTURED"
OPERATOR = "aten::"

Function = Callable[..., Any]


@dataclass(frozen=True)
class Coverage:
    """warm_up: steps before the one that is looked at, in which everything is captured."""

    kind: ClassVar[str] = OBSERVED
    compile_factor: ClassVar[float] = 0.12  # dynamo alone: what it captures is run as it is
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "coverage": TableSpec(
            (
                "graphs",
                columns.count("graph_calls", "calls of captured graphs in one step, forward and backward", "lower"),
                columns.count(
                    "captured_operators", "top-level aten operators of one step that ran in captured graphs", "higher"
                ),
                columns.count("operators", "top-level aten operators of one step"),
                columns.percent("captured_operators_percent", "captured operators / all", "higher"),
                columns.duration("captured_time_ms", "time of the captured operators, on the host, under the profiler"),
                columns.duration("operator_time_ms", "time of all operators, on the host, under the profiler"),
                columns.percent("captured_time_percent", "time of captured operators / of all", "higher"),
            )
        ),
    }

    warm_up: int = 2

    def run(self, context: Context) -> Outcome:
        from torch.profiler import ProfilerActivity, profile

        compiler = dynamo_compiler(context, "coverage counts what dynamo captures")
        with context.phase("build"):
            program = context.build(dropout=context.mode.training)
        graphs: list[int] = []
        context.seed()
        with context.phase("compile"):
            forward = compiler.capture(program, _backend(graphs, training=context.mode.training))
            step = context.mode.step(program, forward, context.workload)
            for _ in range(self.warm_up):
                step()
        captured_before = len(graphs)
        make_ready(step)
        with context.phase("profile"), profile(activities=[ProfilerActivity.CPU]) as profiler:
            step()
        seen = count(profiler.events())
        context.find("coverage", graphs=captured_before, **seen)
        if len(graphs) > captured_before:
            return Outcome(PASS, f"a step after the warm-up captured more: measure.options.warm_up={self.warm_up + 2}")
        return Outcome(PASS)


def count(events: Sequence[Any]) -> dict[str, Any]:
    """Return the row of a profile: operators, their seconds on the host, and how much of them was captured."""
    calls = operators = captured = 0
    seconds = captured_s = 0.0
    for event in events:
        above = [one.name for one in compilations.callers(event)]
        if event.name == CAPTURED:
            calls += CAPTURED not in above
        elif event.name.startswith(OPERATOR) and not any(name.startswith(OPERATOR) for name in above):
            own_s = event.time_range.elapsed_us() / 1e6
            operators += 1
            seconds += own_s
            if CAPTURED in above:
                captured += 1
                captured_s += own_s
    return {
        "graph_calls": calls,
        "captured_operators": captured,
        "operators": operators,
        "captured_operators_percent": 100 * captured / operators if operators else None,
        "captured_time_s": captured_s,
        "operator_time_s": seconds,
        "captured_time_percent": 100 * (captured_s / seconds) if seconds else None,  # all of it is 100, to the bit
    }


def _backend(graphs: list[int], *, training: bool) -> Function:
    """Return a back-end for dynamo that runs graphs as they are, marked. `graphs` gets the size of each."""

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Function:
        graphs.append(len(graph.graph.nodes))
        if not training:
            return _marked(graph.forward)
        from torch._dynamo.backends.common import aot_autograd
        from torch._functorch._aot_autograd.utils import make_boxed_func

        by_aot = aot_autograd(
            fw_compiler=lambda forward, _: make_boxed_func(forward.forward),
            bw_compiler=lambda backward, _: make_boxed_func(_marked(backward.forward)),
        )
        return _marked(by_aot(graph, inputs))

    return backend


def _marked(function: Function) -> Function:
    from torch.profiler import record_function

    def marked(*inputs: Any) -> Any:
        with record_function(CAPTURED):
            return function(*inputs)

    return marked
