"""For notebooks and scripts: what `import orchestrator` offers (docs/python.md)."""

from orchestrator.api.models import compare
from orchestrator.api.result import Difference, Result, Results, diff, load
from orchestrator.api.running import JobsFailed, SweepError, sweep
from orchestrator.errors import UsageError

__all__ = [
    "Difference",
    "JobsFailed",
    "Result",
    "Results",
    "SweepError",
    "UsageError",
    "compare",
    "diff",
    "load",
    "sweep",
]
