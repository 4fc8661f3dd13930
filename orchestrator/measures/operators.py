"""Which operators a step calls, with which shapes and dtypes, and how often.

One eager step under a dispatch mode, after one that is not looked at (an optimizer makes its state in the first). The
file it leaves is the one that PyTorch's `--log-operator-inputs` writes, and that its operator benchmark reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from orchestrator.files import write_text
from orchestrator.measures.context import Context
from orchestrator.measures.eager import artifact, eager_only, eager_step
from orchestrator.plugins import Outcome
from orchestrator.probes.clock import make_ready
from orchestrator.records import OBSERVED, PASS


@dataclass(frozen=True)
class Operators:
    """everything: views and constructors too, which do no work; PyTorch's own log leaves them out."""

    kind: ClassVar[str] = OBSERVED

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
