"""Sweeps of 100,000 jobs: results are read one by one and dropped, and what people look at has an end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support import large, synthetic

from orchestrator.page import data
from orchestrator.records import JobResult
from orchestrator.results import exports, load, tables
from orchestrator.results.table import Shape, Table
from orchestrator.store import SweepFolder, Unreadable
from orchestrator.views import summary


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    sweep = synthetic.quick_sweep(tmp_path / "2026-01-01" / "00-00-00")
    sweep.jobs.append(synthetic.job("NeverRun", "eager"))
    return sweep.write()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each result is read."""
    counts: Counter[str] = Counter()
    read = SweepFolder.read_result

    def counted(self: SweepFolder, job_id: str) -> JobResult | Unreadable | None:
        counts[job_id] += 1
        return read(self, job_id)

    monkeypatch.setattr(SweepFolder, "read_result", counted)
    return counts


def as_json(made: tables.Tables) -> str:
    return exports.to_json(made.named())


def test_tables_of_results_that_are_dropped_are_those_of_results_that_are_kept(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tables.build(load.load(folder))
    monkeypatch.setattr(load, "KEPT", 1)  # each is dropped at once, and read again when it is asked for
    made = tables.build(load.streamed(folder))
    assert as_json(made) == as_json(whole)
    assert made.environments == whole.environments


def test_tables_read_each_result_once_though_few_are_kept(
    folder: SweepFolder, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = load.streamed(folder)
    assert not reads
    workloads = Counter(outcome.job.workload.model for outcome in results.outcomes)
    monkeypatch.setattr(load, "KEPT", max(workloads.values()))
    tables.build(results)
    assert set(reads.values()) == {1}
    assert len(reads) == len(results.outcomes)


def test_what_was_seen_first_stands_while_the_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "sweep")
    first = sweep.performance("Bert", "eager")
    second = sweep.add(synthetic.job("Gpt", "eager"))
    folder = sweep.write()
    monkeypatch.setattr(load, "KEPT", 1)
    one, other = load.streamed(folder).outcomes
    assert (one.status, other.status) == ("pass", "not_run")
    folder.write_result(synthetic.performance_result(second))
    folder.write_result(synthetic.failed_result(first, "crash", "killed"))
    assert (one.status, other.status, other.result) == ("pass", "not_run", None)


def test_a_row_is_small_and_equal_to_a_dict() -> None:
    shape = Shape(("model", "latency_ms", "pairs"), hidden=("estimate",))
    row = shape.row({"model": "Bert", "latency_ms": 1, "pairs": None, "estimate": "e", "other": 2})
    assert row == {"model": "Bert", "latency_ms": 1.0, "pairs": None, "estimate": "e"}
    changed = shape.changed(row, {"pairs": 3, "latency_ms": float("nan")})
    assert (changed["pairs"], changed["latency_ms"], row["pairs"]) == (3, None, None)
    (shown,) = shape.table([row]).rows
    assert shown == {"model": "Bert", "latency_ms": 1.0, "pairs": None} == dict(shown)
    assert {"sweep": 1} | shown == {"sweep": 1, **shown}
    assert shown | {"pairs": 2} == {"model": "Bert", "latency_ms": 1.0, "pairs": 2}
    assert shown.cells() == ("Bert", 1.0, None)
    assert not hasattr(shown, "__dict__")


# -- what is looked at


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[load.SweepResults, tables.Tables]:
    results = large.results(tmp_path_factory.mktemp("large"), models=3)
    return results, tables.build(results)


def test_a_page_has_the_worst_rows_of_a_large_sweep_and_says_how_many_there_are(
    many: tuple[load.SweepResults, tables.Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, made = many
    bad = [number for number, row in enumerate(made.summary.rows) if row["flags"]]
    most = len(bad) + 5
    assert 0 < most < len(made.summary.rows)
    whole = data.document([(results, made)], results.folder.root)
    monkeypatch.setattr(data, "MOST_ROWS", most)
    page = data.document([(results, made)], results.folder.root)
    assert page["summary"]["length"] == most
    assert page["sweeps"][0]["rows"] == len(made.summary.rows) == whole["sweeps"][0]["rows"]
    assert len(page["flags"]) == len(whole["flags"])
    shown = data.selected(results, made, 1)
    assert set(bad) < set(shown.numbers)
    assert page["jobs"]["length"] == len(shown.results.outcomes) < len(results.outcomes)
    for key in ("said", "facts", "caution"):
        assert page["answers"][0][key] == whole["answers"][0][key]
    names = [made.summary.rows[row]["model"] for row in shown.numbers]
    (best, _), *_ = page["answers"][0]["sections"][0]["best"]
    assert 0 <= best < most
    assert [row["model"] for row in shown.tables.summary.rows] == names
    json.dumps(page, allow_nan=False)


def test_a_page_has_as_many_jobs_as_it_bears(
    many: tuple[load.SweepResults, tables.Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, made = many
    monkeypatch.setattr(data, "MOST_JOBS", 40)
    shown = data.selected(results, made, 2)
    assert 0 < len(shown.results.outcomes) <= 20
    assert [row["job"] for row in shown.tables.jobs.rows] == [one.job.id for one in shown.results.outcomes]


def test_a_section_shows_so_many_workloads_and_counts_the_others(
    many: tuple[load.SweepResults, tables.Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = many
    monkeypatch.setattr(summary, "MOST_WORKLOADS", 2)
    for section in summary.sections(made.summary.rows, made.overview.rows):
        said = [line.text for line in section.table() if isinstance(line, summary.Spanning)]
        assert "and 1 more workloads: tables/summary.csv" in said
        assert any(text.startswith("geometric mean over") for text in said)


def test_tables_are_written_piece_by_piece(tmp_path: Path, many: tuple[load.SweepResults, tables.Tables]) -> None:
    _, made = many
    folder = SweepFolder(tmp_path)
    exports.write(folder, made)
    for name, table in made.named().items():
        assert (folder.tables / f"{name}.csv").read_text() == exports.to_csv(table)
        assert (folder.tables / f"{name}.md").read_text() == exports.to_markdown(name, table)
        assert json.loads((folder.tables / f"{name}.json").read_text())["tables"][name] == [
            dict(row) for row in table.rows
        ]
    assert json.loads(exports.to_json({}))["tables"] == {}
    empty = replace(Table.of(("model",), ()))
    assert json.loads(exports.to_json({"none": empty}))["tables"] == {"none": []}
