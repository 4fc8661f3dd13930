"""What `load`, `sweep`, `compare` and `diff` return: a sweep, several, or how two differ, as pandas DataFrames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from orchestrator.api.tabled import Tabled, frame
from orchestrator.cli.finish import document
from orchestrator.columns import count, number, text
from orchestrator.comparison import builds as tables_of
from orchestrator.comparison import difference_tables, differences
from orchestrator.comparison.compare import Comparison
from orchestrator.comparison.configuration_changes import configuration_changes
from orchestrator.comparison.pasting import both_ways
from orchestrator.comparison.sides import compare_named, differing_facts, read_with_job
from orchestrator.comparison.thresholds import limits_of
from orchestrator.records import HARMLESS
from orchestrator.results import load as reading
from orchestrator.results.load import JobOutcome, SweepResults
from orchestrator.results.naming import IDENTITY, named
from orchestrator.results.tables import JOBS, Table, Tables
from orchestrator.store import SweepFolder, find_sweep
from orchestrator.views.document import Document, Heading

if TYPE_CHECKING:
    import pandas as pd

OUTPUTS = "outputs"
SWEEP = text("sweep", "the sweep that the row is from: <date>/<time>")
DETAIL = text("detail", "what the job raised, with its traceback")
SAMPLES = (
    *("job", *IDENTITY, "round"),
    text("metric", "what was measured"),
    count("position", "the sample's place in the order of time, from 0"),
    number("value", "the sample as it was taken, in `unit`: nothing is averaged or left out"),
    text("unit", "the unit of value: s, bytes, ..."),
)


class _Summaries(Tabled):
    """The tables that every sweep has."""

    @property
    def summary(self) -> pd.DataFrame:
        """One row per workload and compiler: speed, memory and accuracy side by side."""
        return self.table("summary")

    @property
    def overview(self) -> pd.DataFrame:
        """Geometric means and pass rates, one row per suite, mode, dtype, device and compiler."""
        return self.table("overview")

    @property
    def performance(self) -> pd.DataFrame:
        """One row per workload and compiler, over the rounds."""
        return self.table("performance")

    @property
    def accuracy(self) -> pd.DataFrame:
        """One row per workload and compiler: was it right, by which rule, and how far off."""
        return self.table("accuracy")

    @property
    def jobs(self) -> pd.DataFrame:
        """One row per planned job: what was seen in that one process."""
        return self.table("jobs")

    @property
    def failures(self) -> pd.DataFrame:
        """The jobs that did not end well, or were not run, with `reason`, and `detail`: the traceback.

        What cannot be done here (`unsupported`) is none.
        """
        return frame(self._failures)

    def samples(self, metric: str | None = None) -> pd.DataFrame:
        """Return all raw samples, a row for each, in the units of records: seconds and bytes.

        metric: only these: "latency", "eager_latency", "first_call", ... (`samples()["metric"].unique()`).
        """
        raise NotImplementedError

    @property
    def _failures(self) -> Table:
        raise NotImplementedError


class Result(_Summaries):
    """One sweep, as it was when it was read. Everything is from its folder; nothing that it names is run."""

    def __init__(self, folder: SweepFolder) -> None:
        with reading.uncollected():
            self._results: SweepResults = reading.load(folder)
            self._tables: Tables = tables_of.build(self._results)

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return self._results.folder.root

    @property
    def name(self) -> str:
        """What the sweep is called: <date>/<time>."""
        return self._results.folder.name

    @property
    def environment(self) -> Mapping[str, Any]:
        """Where it ran: host, CPU, GPUs, packages, variables, git state. A new dict, as it stands in sweep.json."""
        return dict(self._results.sweep.environment)

    @property
    def command(self) -> tuple[str, ...]:
        """The words of its command line, after `python -m orchestrator`."""
        return self._results.sweep.argv

    @cached_property
    def _named(self) -> Mapping[str, Table]:
        return self._tables.named()

    def _document(self) -> Document:
        return document(self._results, self._tables)

    @property
    def report(self) -> Path:
        """Where the sweep's own page is: `report.html`. It is there when the sweep was run or reported."""
        return self._results.folder.page

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page: one file, with all it needs, for any browser. Raises UsageError where that cannot be."""
        from orchestrator.page import html

        html.write_file(Path(path), [(self._results, self._tables)])
        return Path(path)

    def to_markdown(self) -> str:
        """Return the comment for a pull request, as `report --md` writes it."""
        from orchestrator.views import pull_request

        return pull_request.text((self._results, self._tables), [])

    @property
    def _failures(self) -> Table:
        details = {one.job.id: _detail(one) for one in self._results.outcomes}
        rows = [
            {**row, "detail": details.get(row["job"])}
            for row in self._tables.jobs.rows
            if row["status"] not in HARMLESS
        ]
        columns = [name for name in JOBS if name in ("job", *IDENTITY, "round", "status", "phase", "reason", "log")]
        return Table.of((*columns, DETAIL), rows)

    def samples(self, metric: str | None = None) -> pd.DataFrame:
        import numpy
        import pandas as pd

        naming = named(self._results)
        found = [
            ({**naming.identity(outcome.job), "job": outcome.job.id, "round": outcome.job.round}, one)
            for outcome in self._results.outcomes
            for one in (outcome.result.samples if outcome.result is not None else ())
            if metric in (None, one.metric)
        ]
        heads = [{**row, "metric": one.metric, "unit": one.unit} for row, one in found]
        counts = [len(one.values) for _, one in found]
        made = frame(Table.of(SAMPLES, heads))
        made = made.loc[made.index.repeat(counts)].reset_index(drop=True)  # a head for each of its samples
        none = numpy.empty(0)
        made["position"] = pd.Series(numpy.concatenate([none, *map(numpy.arange, counts)]), dtype="Int64")
        made["value"] = numpy.concatenate([none, *(one.values for _, one in found)])
        return made


class Results(_Summaries, Sequence[Result]):
    """Several sweeps: a sequence of `Result`. Its tables have the rows of all, below a first column `sweep`."""

    def __init__(self, sweeps: Sequence[Result]) -> None:
        self._sweeps = tuple(sweeps)

    @overload
    def __getitem__(self, index: int) -> Result: ...

    @overload
    def __getitem__(self, index: slice) -> Results: ...

    def __getitem__(self, index: int | slice) -> Result | Results:
        return self._sweeps[index] if isinstance(index, int) else Results(self._sweeps[index])

    def __len__(self) -> int:
        return len(self._sweeps)

    @cached_property
    def _named(self) -> Mapping[str, Table]:
        names = dict.fromkeys(name for sweep in self._sweeps for name in sweep._named)
        return {name: self._together({one: one._named[name] for one in self if name in one._named}) for name in names}

    def _document(self) -> Document:
        parts = [
            (Heading(sweep.name), *sweep._document().body, *sweep._document().conclusion) for sweep in self._sweeps
        ]
        return Document("Summaries", [piece for part in parts for piece in part])

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one page of all. Raises UsageError where that cannot be."""
        from orchestrator.page import html

        html.write_file(Path(path), [(one._results, one._tables) for one in self._sweeps])
        return Path(path)

    @property
    def _failures(self) -> Table:
        return self._together({one: one._failures for one in self._sweeps})

    def samples(self, metric: str | None = None) -> pd.DataFrame:
        import pandas as pd

        frames = {one: one.samples(metric) for one in self._sweeps}
        for one, made in frames.items():
            made.insert(0, SWEEP.name, pd.Series(one.name, index=made.index, dtype=object))
        together = pd.concat(frames.values(), ignore_index=True)
        together.attrs["columns"] = frame(Table.of((SWEEP, *SAMPLES), ())).attrs["columns"]
        return together

    @staticmethod
    def _together(tables: Mapping[Result, Table]) -> Table:
        """Return the rows of all; a column that one of them lacks is missing there."""
        columns = {name: table.column(name) for table in tables.values() for name in table.columns}
        rows = [{"sweep": sweep.name, **row} for sweep, table in tables.items() for row in table.rows]
        return Table.of((SWEEP, *columns.values()), rows)


def _detail(outcome: JobOutcome) -> str | None:
    failure = outcome.result.failure if outcome.result is not None else None
    return None if failure is None else failure.detail


@overload
def load(sweep: str | os.PathLike[str] = ..., /, *, root: str | os.PathLike[str] = ...) -> Result: ...


@overload
def load(
    sweep: str | os.PathLike[str],
    other: str | os.PathLike[str],
    /,
    *more: str | os.PathLike[str],
    root: str | os.PathLike[str] = ...,
) -> Results: ...


def load(*sweeps: str | os.PathLike[str], root: str | os.PathLike[str] = OUTPUTS) -> Result | Results:
    """Read a sweep, or several, from their folders; also while they run. Nothing is written or run.

    sweeps: each a path, "latest" (as without any), "latest~1", or the beginning of "<date>/<time>". root: where they
    lie. Raises UsageError when there is no such sweep, or it cannot be read.
    """
    found = [Result(find_sweep(os.fspath(sweep), Path(root))) for sweep in sweeps or ("latest",)]
    return found[0] if len(found) == 1 else Results(found)


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
