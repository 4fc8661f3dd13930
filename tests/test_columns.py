"""What measures declare: columns that agree with each other, and tables that are told apart by the jobs' records."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.points import point
from support.synthetic import of_folder

from orchestrator import columns
from orchestrator.columns import Column, TableSpec
from orchestrator.comparison import rules, snapshot_files
from orchestrator.comparison.compare import NOISE, compare
from orchestrator.comparison.gate import gate
from orchestrator.comparison.thresholds import limits_of
from orchestrator.errors import UsageError
from orchestrator.measures.coverage import Coverage
from orchestrator.records import PASS, JobResult, PluginSpec
from orchestrator.results import tables
from orchestrator.results.load import load
from orchestrator.results.metrics import COLUMNS

MEASURES = Path(__file__).parents[1] / "orchestrator" / "measures"
JOULES = Column("energy_j", "energy of a step", "J", "lower")


def declared() -> Iterator[tuple[str, TableSpec]]:
    for file in sorted(MEASURES.glob("*.py")):
        for value in vars(importlib.import_module(f"orchestrator.measures.{file.stem}")).values():
            if isinstance(value, type) and value.__module__.endswith(file.stem):
                yield from getattr(value, "TABLES", {}).items()


def sweep(folder: Path, *found: tuple[str, dict[str, Any]]) -> synthetic.SyntheticSweep:
    """Write a sweep with a job for each (target, facts)."""
    made = synthetic.SyntheticSweep(folder / "2026-11-21" / "10-00-00")
    for number, (target, facts) in enumerate(found):
        spec = synthetic.job(f"m{number}", "eager", "energy")
        spec = replace(spec, measure=PluginSpec(name="energy", target=target))
        made.add(spec, JobResult(job_id=spec.id, status=PASS, facts=facts, started=0.0, ended=1.0))
    made.write()
    return made


def energy(column: Column = JOULES, table: str = "energy", **row: Any) -> dict[str, Any]:
    """Return the facts of a job that left a row."""
    spec = TableSpec((column,), (column.name,))
    return {"findings": {table: [row or {column.name: 2.0}]}, "tables": columns.to_json({table: spec})}


def test_the_columns_of_all_measures_agree() -> None:
    known = dict(COLUMNS)
    names = [name for name, _ in declared()]
    assert len(names) == len(set(names)) > 15
    for name, spec in declared():
        every = (*spec.columns, *(one for derived in spec.over_the_sweep.values() for one in derived.columns))
        for column in every:
            if isinstance(column, str):
                assert column in COLUMNS, name
            else:
                assert known.setdefault(column.name, column) == column, name
                assert column.doc


def test_memory_takes_a_direction() -> None:
    assert columns.memory("buffers_mib", "of buffers") == Column("buffers_mib", "of buffers", "MiB")
    lower = columns.memory("buffers_mib", "of buffers", "lower", exact=True)
    assert lower == Column("buffers_mib", "of buffers", "MiB", "lower", exact=True)


def test_a_declaration_comes_back_from_json() -> None:
    for name, spec in declared():
        stored = columns.to_json({name: spec})[name]
        assert columns.from_json(name, stored) == TableSpec(spec.columns, spec.compared)


def test_a_key_that_no_column_takes_is_told_with_the_one_that_was_meant() -> None:
    table = TableSpec((columns.memory("buffers_mib", "of buffers"), columns.duration("read_ms", "of a read"), "count"))
    rows = [{"buffers_bytes": 1, "count": 2}, {"buffers_mib": 1.0, "read_s": 1.0}, {"read_ms": 2.0}]
    assert columns.without_a_column({"parameter_memory": table}, {"parameter_memory": rows, "other": [{"x": 1}]}) == []
    (told,) = columns.without_a_column({"parameter_memory": table}, {"parameter_memory": [*rows, {"buffer_bytes": 1}]})
    assert told.startswith("parameter_memory: no column takes 'buffer_bytes': did you mean 'buffers_bytes'?")


def test_a_table_is_that_of_the_measure_that_declares_it_not_of_a_class_of_that_name(tmp_path: Path) -> None:
    made = tables.build(load(sweep(tmp_path, ("elsewhere.Coverage", energy())).folder))
    assert list(made.findings) == ["energy"]
    assert made.findings["energy"].column("energy_j") == JOULES


def test_a_job_without_rows_has_a_line_in_the_tables_of_its_measure(tmp_path: Path) -> None:
    folder = sweep(tmp_path, ("elsewhere.Energy", {}), ("elsewhere.Energy", energy())).folder
    rows = tables.build(load(folder)).findings["energy"].rows
    assert [row["energy_j"] for row in rows] == [None, 2.0]


@pytest.mark.parametrize("other", [replace(JOULES, unit="mJ"), replace(JOULES, better="higher")], ids=str)
def test_a_column_means_one_thing_in_a_sweep(tmp_path: Path, other: Column) -> None:
    folder = sweep(tmp_path, ("a.Energy", energy()), ("b.Energy", energy(other, "more"))).folder
    made = tables.build(load(folder))
    assert list(made.findings) == ["energy"]
    assert "column energy_j has another unit or direction" in made.refused[0]


def test_two_measures_with_other_columns_do_not_share_a_table(tmp_path: Path) -> None:
    folder = sweep(tmp_path, ("a.Energy", energy()), ("b.Energy", energy(replace(JOULES, name="heat_j")))).folder
    made = tables.build(load(folder))
    assert made.findings["energy"].columns.count("energy_j") == 1
    assert "another measure has a table of that name" in made.refused[0]


def test_figures_of_another_unit_are_not_compared(tmp_path: Path) -> None:
    other = replace(JOULES, unit="mJ")
    sides = [
        of_folder(sweep(tmp_path / name, ("a.Energy", energy(column, **{"energy_j": value}))).folder)
        for name, column, value in (("a", JOULES, 2.0), ("b", JOULES, 9.0), ("c", other, 9.0))
    ]
    assert [change.word for change in compare(sides[0], sides[1]).matched[0].metrics] == ["worse"]
    assert compare(sides[0], sides[2]).matched[0].metrics == ()


@pytest.mark.parametrize(
    ("exact", "limit", "word"),
    [(False, None, ""), (False, 0.001, ""), (True, None, "worse"), (True, 0.001, "worse"), (True, 0.05, "")],
)
def test_a_limit_holds_for_single_values_of_what_is_exact(
    tmp_path: Path, exact: bool, limit: float | None, word: str
) -> None:
    """Without rounds: a time of one process is held to 30 % whatever is written, bytes of parameters to what is."""
    column = replace(JOULES, exact=exact)
    sides = [
        of_folder(sweep(tmp_path / name, ("a.Energy", energy(column, **{"energy_j": value}))).folder)
        for name, value in (("a", 2.0), ("b", 2.01))
    ]
    known = limits_of(sides[0].columns)
    thresholds = {} if limit is None else {"energy_j": limit}
    limits = rules.parse({"thresholds": thresholds}, "--threshold", known).limits({})
    assert [change.word for change in compare(*sides, limits).matched[0].metrics] == [word or NOISE]
    assert limits["energy_j"].alone == (0.3 if not exact else limit or 0.0)


@pytest.mark.parametrize(("values", "exact", "words"), [
    ((0.0, 1.0), True, ["worse"]), ((1.0, 0.0), True, ["better"]), ((0.0, 0.0), True, []), ((0.0, 1.0), False, []),
    ((-0.5, -0.25), True, ["worse"]), ((-0.25, 0.25), True, ["worse"]), ((0.25, -0.5), True, ["better"]),
    ((-0.5, -0.5), True, []), ((-0.5, -0.25), False, []),
])  # fmt: skip
def test_what_is_exact_is_compared_where_it_is_not_positive_too(
    tmp_path: Path, values: tuple[float, float], exact: bool, words: list[str]
) -> None:
    column = replace(JOULES, exact=exact)
    made = [sweep(tmp_path / name, ("a.Energy", energy(column, **{"energy_j": value}))).folder
            for name, value in zip("ab", values, strict=True)]  # fmt: skip
    file = tmp_path / "base.json"
    snapshot_files.write(file, of_folder(made[0]))
    before, after = snapshot_files.read(file), of_folder(made[1])
    assert [change.word for change in compare(before, after).matched[0].metrics] == words
    known = rules.parse({}, "rules", limits_of(before.columns))
    (case,) = (case for case in gate(before, after, known, date(2026, 1, 1)).cases if case.row)
    assert [finding.kind for finding in case.findings if finding.level == "fail"] == ["energy_j"] * ("worse" in words)


def test_a_baseline_has_columns_only_of_what_is_not_built_in(tmp_path: Path) -> None:
    made = of_folder(sweep(tmp_path, ("a.Energy", energy()), ("a.Energy", {})).folder)
    file = tmp_path / "base.json"
    snapshot_files.write(file, made)
    assert snapshot_files.read(file) == made
    assert file.read_text().count('"columns"') == 1


def test_tables_that_are_none_are_refused_when_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Coverage, "TABLES", {"coverage": ("graphs",)})
    measure = {"name": "coverage", "target": "orchestrator.measures.coverage.Coverage", "options": {}}
    with pytest.raises(UsageError, match="coverage is no TableSpec"):
        point("inductor", measure={**measure, "timeout_s": None})
