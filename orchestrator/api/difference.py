"""What differs between two sweeps, as DataFrames: the verb `diff` for notebooks and scripts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.api.result import OUTPUTS, Result
from orchestrator.api.tabled import Tabled
from orchestrator.comparison import difference_tables, differences
from orchestrator.comparison.compare import Comparison
from orchestrator.comparison.configuration_changes import configuration_changes
from orchestrator.comparison.pasting import both_ways
from orchestrator.comparison.sides import compare_named, differing_facts, read_with_job
from orchestrator.comparison.thresholds import limits_of
from orchestrator.results.tables import Table
from orchestrator.views.document import Document

if TYPE_CHECKING:
    import pandas as pd

Named = Result | str | os.PathLike[str]


class Difference(Tabled):
    """What became of the rows of one sweep in another, and which key goes with which change."""

    def __init__(self, references: Sequence[str], root: Path) -> None:
        before, after = sides = [read_with_job(reference, root) for reference in references]
        columns = {**after[0].columns, **before[0].columns}
        limits = limits_of(columns)
        self._comparison: Comparison = compare_named(before, after, limits, list(limits))
        self._changes = configuration_changes(self._comparison)
        both = before[1] is not None and after[1] is not None
        self._facts = differing_facts(before[1], after[1]) if both else None  # type: ignore[arg-type]
        self._pasted = both_ways(references, sides, root, self._changes)

    @property
    def results(self) -> pd.DataFrame:
        """A row for each figure that changed beyond its limit and its noise, for each row that is new or missing."""
        return self.table("results")

    @property
    def configuration(self) -> pd.DataFrame:
        """The keys of the command line that differ."""
        return self.table("configuration")

    @property
    def worse(self) -> bool:
        """Whether a row is worse, or missing: what the command `diff` ends with 1 for."""
        return differences.regressed(self._comparison)

    @cached_property
    def _named(self) -> Mapping[str, Table]:
        return difference_tables.tables(self._comparison, self._changes, False)

    def _document(self) -> Document:
        from orchestrator.views import diff as view

        shown = {"everything": False, "config_only": False}
        return view.document(self._comparison, self._changes, self._facts, **shown, pasted=self._pasted)


def diff(before: Named, after: Named, *, root: str | os.PathLike[str] = OUTPUTS) -> Difference:
    """Compare two sweeps: each a `Result`, or what the verb `diff` takes.

    That is a path, "latest", "latest~1", SWEEP:JOB, a baseline file, a table. Raises UsageError when there is none.
    """
    return Difference([_reference(side) for side in (before, after)], Path(root))


def _reference(side: Named) -> str:
    return str(side.folder) if isinstance(side, Result) else os.fspath(side)
