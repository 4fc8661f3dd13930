"""Tables as pandas DataFrames that know their columns, and a document as text and as HTML."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, to_text
from orchestrator.views.html import to_html

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 100
"""Of a text where no terminal says how wide it is."""


class Tabled:
    """What was found: tables by name, and a document that says it."""

    @property
    def _named(self) -> Mapping[str, Table]:
        """The tables as records."""
        raise NotImplementedError

    def _document(self) -> Document:
        """Return what the command line shows of it."""
        raise NotImplementedError

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that there are."""
        return tuple(self._named)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table: texts are objects, numbers float64, counts Int64; what is missing is missing, never 0.

        `attrs["columns"]` of the frame says what each column is. Raises UsageError where there is no such table.
        """
        if name not in self._named:
            raise UsageError(f"there is no table '{name}' here: {did_you_mean(name, self.tables)}")
        return frame(self._named[name])

    def columns_help(self, table: str | None = None) -> pd.DataFrame:
        """Return what columns are, those of one table or of all: name (the index), unit, better, doc.

        better: "lower", "higher", or "none". Raises UsageError where there is no such table.
        """
        import pandas as pd

        frames = [self.table(name) for name in (self.tables if table is None else [table])]
        described = {name: about for one in frames for name, about in one.attrs["columns"].items()}
        made = pd.DataFrame.from_dict(described, orient="index", columns=["unit", "better", "doc"])
        return made.rename_axis("column")

    def to_text(self, width: int | None = None) -> str:
        """Return what the command line shows. width: columns, those of the terminal by default."""
        return to_text(self._document(), width or shutil.get_terminal_size((COLUMNS, 24)).columns)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return to_html(self._document())


def frame(table: Table) -> pd.DataFrame:
    """Return a table as a DataFrame with the documentation of its columns in `attrs["columns"]`."""
    made = table.frame()
    columns = map(table.column, table.columns)
    made.attrs["columns"] = {one.name: {"unit": one.unit, "better": one.better, "doc": one.doc} for one in columns}
    return made
