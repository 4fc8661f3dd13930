"""What was timed, where it is not what the row says: seen in every table, and no speed-up where eager was timed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from support import synthetic

from orchestrator.comparison import rules, snapshot
from orchestrator.comparison.compare import compare
from orchestrator.comparison.gate import gate
from orchestrator.page import data as page_data
from orchestrator.records import EAGER, INPUTS_SET_BACK, NOT_FINITE, PASS, RAN_EAGER, RAN_PARTLY_EAGER
from orchestrator.results import load, tables
from orchestrator.results.flags import flagged
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.performance import MEASURED_EAGER
from orchestrator.views.summary import compiler_cells, cost_lines

LIMIT = "dynamo's recompile_limit was hit in forward (net.py:3)"


def sweep(root: Path, measured: dict[str, str] | None = None, *, rounds: int = 1, **figures: Any) -> Any:
    """Two models, of which B is 2 times as fast as eager and has the mark in its last round; A is 1.5 times as fast."""
    made = synthetic.SyntheticSweep(root)
    for model, speedup in (("A", 1.5), ("B", 2.0)):
        for round in range(rounds):
            eager = made.performance(model, EAGER, round, latency=0.1)
            marks = measured if model == "B" and round == rounds - 1 else None
            pairs = [(0.1, 0.1 / speedup)] * 20
            made.performance(
                model, "inductor", round, baseline=eager, latency=0.1 / speedup, pairs=pairs, measured=marks, **figures
            )
    return load.load(made.write())


def row_of(results: Any, model: str = "B") -> Any:
    found = tables.build(results)
    return next(r for r in found.summary.rows if (r["model"], r["compiler"]) == (model, "inductor"))


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_ran_in_eager_has_no_speed_up_and_is_in_no_mean(tmp_path: Path, rounds: int) -> None:
    results = sweep(tmp_path, {RAN_EAGER: LIMIT}, rounds=rounds)
    row = row_of(results)
    assert row["performance"] == PASS
    names = ("speedup", "speedup_low", "speedup_high", "interval", "break_even_iterations")
    assert [row[name] for name in names] == [None] * 5
    assert row["verdict"] == MEASURED_EAGER
    assert row["measured"] == f"eager: {LIMIT}"
    assert "measured" in row["flags"].split(", ")
    assert row["latency_ms"] == 50.0, "what was timed stays in the table, with its mark"
    means = {r["compiler"]: r for r in tables.build(results).overview.rows}
    assert means["inductor"]["geomean_speedup"] == pytest.approx(1.5)
    assert means["inductor"]["geomean_models"] == "A"


@pytest.mark.parametrize("rounds", [1, 3])
def test_comparisons_and_gates_have_no_figure_of_it_and_say_why(tmp_path: Path, rounds: int) -> None:
    good = snapshot.of_results(sweep(tmp_path / "good", rounds=rounds))
    bad = snapshot.of_results(sweep(tmp_path / "bad", {RAN_EAGER: LIMIT}, rounds=rounds))
    (row,) = [r for r in bad.rows if r.measured]
    assert not {"speedup", "latency_ms"} & row.figures.keys()
    matched = [pair for pair in compare(good, bad).matched if pair.after is row]
    assert not {"speedup", "latency_ms"} & {change.metric for pair in matched for change in pair.metrics}
    judged = gate(good, bad, rules.Rules(), datetime.date(2026, 1, 1))
    said = [finding.text for case in judged.cases for finding in case.findings if finding.level == "fail"]
    assert f"speedup 2.00 -> no figure (measured: eager: {LIMIT})" in said


@pytest.mark.parametrize("kind", [RAN_PARTLY_EAGER, NOT_FINITE])
def test_other_marks_keep_the_speed_up_and_are_flags(tmp_path: Path, kind: str) -> None:
    row = row_of(sweep(tmp_path, {kind: "why"}))
    assert row["speedup"] == pytest.approx(2.0)
    assert row["measured"] == f"{kind}: why"
    assert row["flags"] == "measured"
    assert "!" in compiler_cells(row)[1].first


def test_a_note_is_no_flag(tmp_path: Path) -> None:
    row = row_of(sweep(tmp_path, {INPUTS_SET_BACK: "x"}))
    assert (row["measured"], row["flags"]) == ("inputs set back: x", None)


@pytest.mark.parametrize("facts", [3, "eager", ["eager"], {"eager": None, "unknown": 1}])
def test_results_may_say_anything(tmp_path: Path, facts: Any) -> None:
    results = sweep(tmp_path)
    for outcome in results.outcomes:
        outcome.result.facts["measured"] = facts
        outcome.result.facts["later_compilations"] = facts
    assert row_of(results)["performance"] == PASS


def test_it_is_seen_in_every_view(tmp_path: Path) -> None:
    results = sweep(tmp_path, {RAN_EAGER: LIMIT}, later=(7, 1.25))
    found = tables.build(results)
    row = row_of(results)
    assert [cell.first for cell in compiler_cells(row)][1] == f"{MEASURED_EAGER}!"
    assert "+ 1.25 s later (7)" in cost_lines(row)[0].text
    assert (row["later_compilations"], row["later_compile_s"]) == (7, 1.25)
    number = found.summary.rows.index(row)
    assert [(flag.mark, flag.times) for flag in flagged(found.summary.rows) if flag.row == number] == [
        ("measured", None)
    ]
    page = page_data.document([(results, found)], tmp_path)
    assert ["measured", number, None] in page["flags"]
    assert "measured" in page["summary"]["columns"]
    assert [job["measured"] for job in found.jobs.rows if job["measured"]] == [f"eager: {LIMIT}"]
    for name in ("measured", "later_compilations", "later_compile_s"):
        assert COLUMNS[name].doc
