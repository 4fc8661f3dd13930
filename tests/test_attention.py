"""What deserves a look comes first; the geometric mean that hides slow-downs stands beside the one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import synthetic

from orchestrator.results import load, tables
from orchestrator.results.flags import Flag, failures, flagged
from orchestrator.results.metrics import COLUMNS
from orchestrator.store import SweepFolder


def build(folder: SweepFolder) -> tables.Tables:
    return tables.build(load.load(folder))


def sweep_of(tmp_path: Path, speedups: dict[str, float], **figures: float) -> synthetic.SyntheticSweep:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model, speedup in speedups.items():
        eager = sweep.performance(model, "eager", latency=0.1)
        pairs = [(0.1, 0.1 / speedup)] * 20
        sweep.performance(model, "inductor", baseline=eager, latency=0.1 / speedup, pairs=pairs, **figures)
    return sweep


def test_flags_are_ordered_by_how_far_beyond_the_limit_they_are(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"A": 0.76, "B": 0.5, "C": 0.96, "D": 2.0}, first_call=300.0)
    sweep.accuracy("D", "inductor", status="fail_accuracy", reason="wrong")
    found = flagged(build(sweep.write()).summary.rows)
    assert [(flag.mark, flag.row) for flag in found[:2]] == [("accuracy", 7), ("compile_latency", 7)]
    speedups = [flag for flag in found if flag.mark == "speedup"]
    assert speedups == [Flag("speedup", 3, pytest.approx(1.9)), Flag("speedup", 1, pytest.approx(1.25))]
    assert [flag.times for flag in found[1:]] == sorted((flag.times for flag in found[1:]), reverse=True)


def test_accuracy_that_could_not_be_judged_is_no_worse_than_a_slow_down(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"A": 0.5})
    spec = synthetic.job("A", "inductor", "accuracy")
    sweep.add(spec, synthetic.failed_result(spec, "unsupported", "no such device"))
    assert [flag.mark for flag in flagged(build(sweep.write()).summary.rows)] == ["speedup", "accuracy"]


def test_failures_with_one_reason_are_one_group(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    endings = {"A": "timeout", "B": "crash", "C": "timeout", "D": "crash", "E": "timeout"}
    for model, status in endings.items():
        spec = synthetic.job(model, "inductor")
        sweep.add(spec, synthetic.failed_result(spec, status, f"{status}: {'other' if model == 'D' else 'same'}"))
    sweep.performance("F", "inductor")
    groups = failures(build(sweep.write()).summary.rows)
    assert [(group.status, group.rows) for group in groups] == [
        ("crash", (1,)),
        ("crash", (3,)),
        ("timeout", (0, 2, 4)),
    ]
    assert {group.measure for group in groups} == {"performance"}


def test_the_clipped_mean_counts_a_slow_down_as_no_change(tmp_path: Path) -> None:
    overview = build(sweep_of(tmp_path, {"A": 0.5, "B": 2.0, "C": 4.0}).write()).overview.rows
    row = next(row for row in overview if row["compiler"] == "inductor")
    assert row["geomean_speedup"] == pytest.approx(4 ** (1 / 3))
    assert row["geomean_speedup_clipped"] == pytest.approx(8 ** (1 / 3))
    assert "1" in COLUMNS["geomean_speedup_clipped"].doc
