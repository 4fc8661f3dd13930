"""Which operators a step calls, with which shapes and dtypes, and how often.

One eager step under a dispatch mode, after one that is not looked at (an optimizer makes its state in the first). The
file it leaves is the one that PyTorch's `--log-operator-inputs` writes, and that its operator benchmark reads.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from orchestrator import columns
from orchestrator.columns import Derived, Rows, TableSpec
from orchestrator.files import write_text
from orchestrator.measures.context import Context
from orchestrator.measures.eager import artifact, eager_only, eager_step
from orchestrator.plugins import Outcome
from orchestrator.probes.clock import make_ready
from orchestrator.records import OBSERVED, PASS

DISTINCT_INPUTS = columns.count("distinct_inputs", "different operators and inputs")


def by_operator(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield one row per operator over all jobs, most calls first: models that call it, kinds of inputs, calls."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("operator") is not None:
            groups[row["operator"]].append(row)
    found: list[dict[str, Any]] = [
        {
            "operator": operator,
            "models": len({(row["suite"], row["model"]) for row in calls}),
            "distinct_inputs": len({row["inputs"] for row in calls}),
            "count": sum(row["count"] or 0 for row in calls),
        }
        for operator, calls in groups.items()
    ]
    yield from sorted(found, key=lambda row: (-row["count"], row["operator"]))


@dataclass(frozen=True)
class Operators:
    """everything: views and constructors too, which do no work; PyTorch's own log leaves them out."""

    kind: ClassVar[str] = OBSERVED
    compile_factor: ClassVar[float] = 0.0  # of eager only
    shareable: ClassVar[bool] = True
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "operators": TableSpec(
            (
                "operator",
                columns.text("inputs", "its positional and named inputs: T(shape, dtype, stride) is a tensor"),
                "count",
            ),
            over_the_sweep={
                "operators_over_models": Derived(("operator", "models", DISTINCT_INPUTS, "count"), by_operator)
            },
        ),
        "operator_totals": TableSpec(("distinct_operators", DISTINCT_INPUTS, "count", "file")),
    }

    everything: bool = False

    def run(self, context: Context) -> Outcome:
        """Leave a row for every operator and kind of inputs, most calls first, and one row of totals with the file.

        Raises Unsupported for compiled code, which a dispatch mode disables.
        """
        eager_only(context, "the inputs of operators are seen by a dispatch mode, which disables compiled code")
        from orchestrator.probes.dispatch import OperatorCounter, log_text

        _, step = eager_step(context)
        counter = OperatorCounter(everything=self.everything)
        with context.phase("eager"):
            step()
            make_ready(step)
            with counter:
                step()
        found = [(operator, seen, count) for operator, by in counter.counts.items() for seen, count in by.items()]
        for operator, seen, count in sorted(found, key=lambda row: (-row[2], row[0], row[1])):
            context.find("operators", operator=operator, inputs=seen, count=count)
        path, name = artifact(context, self._file_name(context))
        write_text(Path(path), log_text(counter.counts))
        context.find(
            "operator_totals",
            distinct_operators=len(counter.counts),
            distinct_inputs=len(found),
            count=sum(count for _, _, count in found),
            file=name,
        )
        return Outcome(PASS)

    @staticmethod
    def _file_name(context: Context) -> str:
        """Return `<model>_<training|eval>.txt`, as PyTorch's benchmarks name it."""
        model = re.sub(r"[^\w.-]+", "_", context.workload.model)
        return f"{model}_{'training' if context.mode.training else 'eval'}.txt"
