"""`import orchestrator as o`: sweeps as DataFrames, HTML and text, and what differs between two. Nothing runs here."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from support import golden_sweeps, synthetic
from support.command import answer

import orchestrator as o
from orchestrator.api.tabled import COLUMNS, MOST_ROWS, to_html
from orchestrator.records import HARMLESS, Failure
from orchestrator.results import load
from orchestrator.store import SweepFolder
from orchestrator.views.document import Document, Heading, Item, Listing, Paragraph, Verbatim
from orchestrator.views.grid import Cell, Grid


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the sweeps of the golden views, in outputs/."""
    place = tmp_path_factory.mktemp("written")
    with contextlib.chdir(place):
        golden_sweeps.write_all(place / "outputs")
    return place


@pytest.fixture
def here(written: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(written)
    monkeypatch.setenv("COLUMNS", "100")
    return written


def imported_by(code: str) -> list[str]:
    told = "import sys; before = set(sys.modules); " + code
    told += "; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_imports_nothing_of_it() -> None:
    """Every worker imports it: what it brought along would be in the memory that is measured."""
    assert [name for name in imported_by("import orchestrator") if "." in name or name in sys.stdlib_module_names] == []


def test_the_names_of_the_interface_are_there_and_no_others() -> None:
    assert set(o.__all__) <= set(dir(o))
    assert [name for name in o.__all__ if getattr(o, name) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        o.lod  # type: ignore[attr-defined]  # noqa: B018


def test_reading_imports_no_torch(here: Path) -> None:
    found = imported_by(
        "import orchestrator as o; o.load('synthetic/before').summary; o.load('synthetic/before').samples()"
    )
    assert "pandas" in found
    assert "torch" not in found


def test_a_sweep_is_found_by_path_and_by_name(here: Path) -> None:
    by_name = o.load("synthetic/before")
    assert by_name.name == "synthetic/before"
    assert by_name.folder == here / "outputs" / "synthetic" / "before"
    assert o.load(by_name.folder).name == by_name.name
    assert o.load("synthetic/before", root=here / "outputs").name == by_name.name
    assert o.load().name == o.load("latest").name


@pytest.mark.parametrize("name", ["nothing", "latest~99", "outputs", "broken/damaged"])
def test_what_is_no_sweep_is_a_usage_error(here: Path, name: str) -> None:
    with pytest.raises(o.UsageError):
        o.load(name)


@pytest.mark.parametrize("sweep", ["synthetic/before", "synthetic/findings", "imported/dynamobench"])
def test_every_table_is_a_frame_with_the_rows_of_its_csv_and_the_meaning_of_its_columns(
    here: Path, sweep: str, tmp_path: Path
) -> None:
    result = o.load(sweep)
    code, _, _ = answer(here, "report", sweep)  # writes tables/
    assert code in (0, 1)
    assert {"summary", "overview", "performance", "accuracy", "jobs"} <= set(result.tables)
    for name in result.tables:
        frame = result.table(name)
        stored = pd.read_csv(result.folder / "tables" / f"{name}.csv")
        assert list(frame.columns) == list(stored.columns)
        assert len(frame) == len(stored)
        assert set(frame.attrs["columns"]) == set(frame.columns)
        for about in frame.attrs["columns"].values():
            assert about["doc"]
        described = result.columns_help(name)
        assert list(described.index) == list(frame.columns)
        assert list(described.columns) == ["unit", "better", "doc"]
    assert set(result.columns_help().index) == {name for table in result.tables for name in result.table(table)}


def test_numbers_are_numbers_and_what_is_missing_is_missing(here: Path) -> None:
    summary = o.load("synthetic/before").summary
    assert summary["speedup"].dtype == "float64"
    assert str(summary["batch_size"].dtype) == "Int64"
    assert summary["speedup"].isna().any()  # eager has none
    assert not (summary["speedup"] == 0).any()
    bert = summary[
        (summary["model"] == "Bert") & (summary["compiler"] == "inductor") & (summary["mode"] == "inference")
    ]
    assert bert["speedup"].iloc[0] == pytest.approx(2.0, rel=0.01)


def test_what_is_done_to_a_frame_stays_in_it(here: Path) -> None:
    result = o.load("synthetic/before")
    frame = result.summary
    frame["speedup"] = 99.0
    frame.attrs["columns"]["speedup"]["doc"] = ""
    assert result.summary["speedup"].max() < 99
    assert result.columns_help("summary").loc["speedup", "doc"]


def test_an_unknown_table_is_a_usage_error_that_names_those_there_are(here: Path) -> None:
    with pytest.raises(o.UsageError, match="no table 'sumary' here: did you mean 'summary'"):
        o.load("synthetic/before").table("sumary")


def test_samples_are_all_samples_as_they_were_taken(here: Path) -> None:
    result = o.load("synthetic/before")
    samples = result.samples()
    stored = load.load(SweepFolder(result.folder)).outcomes
    expected = [
        (outcome.job.id, one.metric, one.unit, value)
        for outcome in stored
        for one in (outcome.result.samples if outcome.result is not None else ())
        for value in one.values
    ]
    assert len(expected) > 100
    assert list(zip(samples["job"], samples["metric"], samples["unit"], samples["value"], strict=True)) == expected
    first = samples[(samples["job"] == expected[0][0]) & (samples["metric"] == expected[0][1])]
    assert list(first["position"]) == list(range(len(first)))
    assert set(samples.attrs["columns"]) == set(samples.columns)
    only = result.samples("first_call")
    assert set(only["metric"]) == {"first_call"}
    assert len(only) == (samples["metric"] == "first_call").sum()


def test_where_there_are_no_samples_the_frame_is_empty_and_has_the_same_columns(here: Path) -> None:
    none = o.load("synthetic/before").samples("no_such_metric")
    assert len(none) == 0
    assert list(none.columns) == list(o.load("synthetic/before").samples().columns)


def test_failures_are_the_jobs_that_did_not_end_well(here: Path) -> None:
    result = o.load("synthetic/before")
    jobs, failures = result.jobs, result.failures
    assert set(failures["job"]) == set(jobs[~jobs["status"].isin(HARMLESS)]["job"])
    assert {"fail_accuracy", "timeout", "not_run"} <= set(failures["status"])
    assert "unsupported" not in set(failures["status"])
    assert failures["reason"].notna().any()


def test_a_failure_has_its_traceback(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "a" / "b")
    spec = synthetic.job("Bert", "inductor")
    failure = Failure(kind="error", phase="compile", message="why", detail="Traceback (most recent call last):\n  E")
    failed = synthetic.failed_result(spec, "fail_to_run", "why")
    sweep.add(spec, dataclasses.replace(failed, failure=failure))
    result = o.Result(sweep.write())
    (row,) = result.failures.to_dict("records")
    assert (row["job"], row["reason"]) == (spec.id, "why")
    assert row["detail"] == "Traceback (most recent call last):\n  E"


def test_the_environment_is_that_of_the_header_and_a_copy(here: Path) -> None:
    result = o.load("synthetic/before")
    assert result.environment["packages"]["torch"] == "2.12.0"
    assert isinstance(result.command, tuple)


@pytest.mark.parametrize("sweep", ["synthetic/before", "synthetic/findings"])
def test_its_text_is_what_the_command_shows(here: Path, sweep: str) -> None:
    _, shown, _ = answer(here, "report", sweep, columns=COLUMNS)
    *said, results, following = [line.rstrip() for line in shown.strip("\n").split("\n")]
    assert "\n".join(line.rstrip() for line in repr(o.load(sweep)).split("\n")).rstrip() == "\n".join(said).rstrip()
    assert (results.split()[0], following.split()[0]) == ("results", "next")


def test_the_first_example_of_the_page_runs(here: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
    first = text.partition("```python\n")[2].partition("```")[0]
    assert "o.load" in first
    found = subprocess.run([sys.executable, "-c", first], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


# -- HTML


class Tags(HTMLParser):
    """Every tag that is opened, and whether each is closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style", "colspan"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


OURS = {"div", "p", "span", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li", "pre"}


@pytest.mark.parametrize("sweep", ["synthetic/before", "synthetic/findings", "imported/dynamobench"])
def test_its_html_says_the_same_and_has_no_markup_but_ours(here: Path, sweep: str) -> None:
    result = o.load(sweep)
    html = result._repr_html_()
    page = Tags(html)
    assert page.open == []
    assert page.seen <= OURS
    for model in result.summary["model"].unique():
        assert str(model) in page.text or str(model)[:40] in page.text
    assert "<script" not in html


def test_names_that_are_markup_are_text(here: Path) -> None:
    assert golden_sweeps.EVIL in set(o.load("synthetic/before").summary["model"])
    page = Tags(o.load("synthetic/before")._repr_html_())
    assert "<script>alert(1)</script>" in page.text
    assert "script" not in page.seen


def test_each_piece_has_its_form() -> None:
    evil = "<b>&amp;\x1b[31m"
    document = Document(
        "title",
        [
            Heading(evil, aside=evil),
            Paragraph(evil, style="bold red"),
            Listing([evil] * 50, title=evil),
            Item(evil, evil),
            Item("next", "python <b>", command=True),
            Grid(
                ("a", evil, "empty"),
                [[Cell(evil, evil, "green"), Cell("x"), Cell()]],
                last=[[Cell("last"), Cell(), Cell()]],
            ),
            Verbatim([evil]),
        ],
        [Paragraph("the end")],
    )
    html = to_html(document)
    page = Tags(html)
    assert page.seen <= OURS
    assert page.text.count("<b>&amp;") >= 30  # as text, every time
    assert "\x1b" not in html
    assert "empty" not in page.text  # a column with nothing in it
    assert "and 30 more" in page.text
    assert "the end" in page.text
    assert page.text.index("last") > page.text.index("x")


def test_a_table_of_thousands_of_rows_is_cut_and_says_so() -> None:
    page = Tags(to_html(Document("t", [Grid(("a",), [[Cell(f"row{i}")] for i in range(MOST_ROWS + 7)], most=None)])))
    assert f"row{MOST_ROWS - 1}" in page.text
    assert f"row{MOST_ROWS}" not in page.text
    assert "and 7 more rows" in page.text


def test_the_page_is_written_where_it_is_asked_for(here: Path, tmp_path: Path) -> None:
    result = o.load("synthetic/before")
    file = result.to_html(tmp_path / "page.html")
    assert "Content-Security-Policy" in file.read_text()
    assert result.report == result.folder / "report.html"
    with pytest.raises(o.UsageError, match="is a folder"):
        result.to_html(tmp_path)
    assert "synthetic/before" in result.to_markdown()


# -- several


def test_several_sweeps_are_one_table_with_a_column_for_the_sweep(here: Path, tmp_path: Path) -> None:
    both = o.load("synthetic/before", "synthetic/after")
    assert isinstance(both, o.Results)
    assert [one.name for one in both] == ["synthetic/before", "synthetic/after"]
    for name in ("summary", "jobs", "performance"):
        frame = both.table(name)
        assert frame.columns[0] == "sweep"
        parts = [one.table(name) for one in both]
        assert len(frame) == sum(map(len, parts))
        assert list(frame["speedup"].dropna()) == [value for part in parts for value in part["speedup"].dropna()]
        assert frame.attrs["columns"]["sweep"]["doc"]
    assert len(both.failures) == sum(len(one.failures) for one in both)
    assert len(both.samples()) == sum(len(one.samples()) for one in both)
    assert both.samples().columns[0] == "sweep"
    assert isinstance(both[:1], o.Results)
    assert "synthetic/after" in Tags(both._repr_html_()).text
    assert "synthetic/after" in both.to_html(tmp_path / "both.html").read_text()


def test_a_table_that_only_one_has_is_there(here: Path) -> None:
    both = o.load("synthetic/before", "synthetic/findings")
    (extra, *_) = set(both[1].tables) - set(both[0].tables)
    assert set(both.table(extra)["sweep"]) == {"synthetic/findings"}


# -- diff


def test_a_diff_is_that_of_the_command(here: Path) -> None:
    found = o.diff("synthetic/before", "synthetic/after")
    code, shown, _ = answer(here, "diff", "synthetic/before", "synthetic/after", columns=COLUMNS)
    assert repr(found).rstrip() == shown.strip("\n").rstrip()
    assert found.worse == bool(code)
    assert {"worse", "better"} <= set(found.results["change"])
    assert set(found.tables) >= {"results", "configuration", "environment"}
    assert Tags(found._repr_html_()).seen <= OURS


def test_a_result_is_one_side_of_a_diff(here: Path) -> None:
    before = o.load("synthetic/before")
    assert len(o.diff(before, before).results) == 0
    assert not o.diff(before, before).worse
    assert len(o.diff(before, "synthetic/after").results) == len(o.diff("synthetic/before", "synthetic/after").results)
    with pytest.raises(o.UsageError):
        o.diff(before, "nothing")


# -- reading runs nothing


def test_reading_loads_no_model_that_lies_in_the_folder(tmp_path: Path) -> None:
    """`compare` leaves files of Python's in models/: only a job runs them."""
    sweep = synthetic.SyntheticSweep(tmp_path / "a" / "b")
    sweep.performance("Bert", "eager", latency=0.1)
    folder = sweep.write()
    witness = tmp_path / "witness"
    (folder.root / "models").mkdir()
    for name in ("Net.py", "__init__.py"):
        (folder.root / "models" / name).write_text(f"open({str(witness)!r}, 'w')")
    (folder.root / "models" / "Net.model").write_bytes(b"cposix\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR.")
    result = o.load(folder.root)
    result._repr_html_()
    result.to_html(tmp_path / "page.html")
    result.samples()
    o.diff(result, result)
    assert not witness.exists()
