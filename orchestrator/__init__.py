"""orchestrator: which compiler is faster, smaller and still correct for my models?

In notebooks and scripts: `import orchestrator as o; o.load("latest")`, `o.sweep(...)`, `o.compare(...)`, `o.diff(...)`
(docs/python.md). They are imported when they are asked for: every worker imports this package, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

DISTRIBUTION = "compiler-verdict"
"""What the package index calls this package: `pip install compiler-verdict`."""

if TYPE_CHECKING:
    from orchestrator.api import Difference as Difference
    from orchestrator.api import JobsFailed as JobsFailed
    from orchestrator.api import Result as Result
    from orchestrator.api import Results as Results
    from orchestrator.api import SweepError as SweepError
    from orchestrator.api import UsageError as UsageError
    from orchestrator.api import compare as compare
    from orchestrator.api import diff as diff
    from orchestrator.api import load as load
    from orchestrator.api import sweep as sweep

__all__ = [
    *("Difference", "JobsFailed", "Result", "Results", "SweepError", "UsageError"),
    *("compare", "diff", "load", "sweep"),
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module("orchestrator.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
