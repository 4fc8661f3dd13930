"""What did dynamo make of the model: how many graphs, why no fewer, and in which lines of the model?

It looks at the compilation itself, with the compiler as it is configured; `torch._dynamo.explain` would compile once
more, forward only, with options of its own. Frames that dynamo gave up altogether are listed with the breaks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator import columns
from orchestrator.columns import Derived, Rows, TableSpec
from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes import compilations, counters, graphs
from orchestrator.probes.clock import stopwatch
from orchestrator.records import OBSERVED, PASS

FOLDER = "artifacts/graphs"
BREAK, LEFT = "graph break", "left to eager"
Broken = tuple[str, str, str]
"""What became of it, why, where."""

BREAK_REASON = columns.text("break_reason", "why dynamo ended a graph, without addresses and advice")
EFFECT = columns.text("effect", "graph break, or left to eager: the frame is not compiled at all")
USER_STACK = columns.text("user_stack", "lines of the model's code, innermost first")


def by_reason(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield one row per reason of graph breaks, those of most models first, with one place as an example."""
    groups: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("break_reason") is not None:
            groups[row["break_reason"], row["effect"]].append(row)
    reasons = [
        {
            "break_reason": reason,
            "effect": effect,
            "models": len({(row["suite"], row["model"]) for row in found}),
            "count": sum(row["count"] or 0 for row in found),
            "user_stack": found[0]["user_stack"],
        }
        for (reason, effect), found in groups.items()
    ]
    yield from sorted(reasons, key=lambda row: (-row["models"], -row["count"], row["break_reason"]))


@dataclass(frozen=True)
class Explain:
    """Leaves tables `explain`, one row, and `graph_breaks`, one row per reason and place in the model's code.

    graphs: also leave every graph of dynamo, AOTAutograd and inductor, and inductor's code, as files in a folder that
    the row names. To print them takes time, which is in the times of this job then.
    """

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "explain": TableSpec(
            (
                "graphs",
                "graph_breaks",
                "unique_graph_breaks",
                "captured_calls",
                "fallbacks",
                "recompiles",
                columns.count("total_aot_graphs", "graphs that AOTAutograd was given", "none"),
                columns.count("ok_aot_graphs", "those of them that it has compiled", "higher"),
                columns.count("guards", "guards of all compilations", "lower"),
                columns.duration("dynamo_time_s", "time in all compilations, what the back-end takes included"),
                "first_call_s",
                "file",
            )
        ),
        "graph_breaks": TableSpec(
            (BREAK_REASON, EFFECT, USER_STACK, "count"),
            over_the_sweep={
                "graph_break_reasons": Derived((BREAK_REASON, EFFECT, "models", "count", USER_STACK), by_reason)
            },
        ),
    }

    graphs: bool = False

    def run(self, context: Context) -> Outcome:
        if context.is_eager:
            raise Unsupported("eager captures no graphs: there is nothing to explain; compiler=inductor")
        compilations.forget()
        _, step = compiled_step(context)
        listening: AbstractContextManager[list[graphs.Graph]] = graphs.heard() if self.graphs else nullcontext([])
        with listening as heard:
            try:
                with context.phase("first_call", children=True):
                    seconds = stopwatch(context.device)(step)
            finally:
                found = compilations.compilations()
                _leave_breaks(context)
                if self.graphs:
                    graphs.write(heard, context.folder / FOLDER)
        if not found:
            raise Unsupported(f"{context.job.compiler.name} does not go through dynamo, whose graphs these are")
        context.facts.update(seen := counters.read())
        names = ("graphs", "graph_breaks", "unique_graph_breaks", "captured_calls", "fallbacks", "recompiles")
        context.find(
            "explain",
            **{name: seen["counters"][name] for name in names},
            **{f"{name}_aot_graphs": count for name, count in counters.aot_graphs().items()},
            guards=sum(one.guard_count or 0 for one in found),
            dynamo_time_s=sum(one.duration_us or 0 for one in found) / 1e6,
            first_call_s=seconds,
            file=FOLDER if self.graphs else None,
        )
        return Outcome(PASS)


def _leave_breaks(context: Context) -> None:
    """Leave a row for each reason and place, the most frequent first. Also what a failed compilation has seen."""
    for (effect, reason, stack), count in _folded(_seen()).most_common():
        context.find("graph_breaks", break_reason=reason, effect=effect, user_stack=stack, count=count)


def _seen() -> Counter[Broken]:
    seen: Counter[Broken] = Counter()
    for broken in compilations.graph_breaks():
        stack = compilations.short_stack(broken.user_stack)
        seen[BREAK, compilations.short_reason(broken.reason), stack] += 1
    found = compilations.compilations()
    for one in found:
        if one.fail_type is not None:
            place = compilations.short_place(one, found)
            seen[LEFT, compilations.short_reason(one.fail_reason or one.fail_type), place] += 1
    return seen


def _folded(seen: Counter[Broken]) -> Counter[Broken]:
    """Count a break in a function that was inlined into others at the longest of its stacks only.

    dynamo breaks the outermost frame first, then compiles what it called on its own, and breaks that at the same line.
    """
    folded: Counter[Broken] = Counter()
    for (effect, reason, stack), count in sorted(seen.items(), key=lambda item: -len(item[0][2])):
        above = (one for one in folded if one[:2] == (effect, reason) and f"{one[2]} < ".startswith(f"{stack} < "))
        folded[next(above, (effect, reason, stack))] += count
    return folded
