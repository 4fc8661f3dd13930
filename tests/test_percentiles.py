"""Percentiles of latency and of the time between tokens: right where there are enough samples, empty where not."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import synthetic

from orchestrator.records import Samples
from orchestrator.results import exports, tables
from orchestrator.results.load import load
from orchestrator.results.performance import PERCENTILES, least, percentiles


def test_a_percentile_needs_so_many_samples_that_one_lies_beyond_it() -> None:
    """By simulation too: of `least` samples of a known distribution the largest is beyond it 95 times of 100."""
    assert [least(percent) for percent in (50, 90, 95, 99)] == [5, 29, 59, 299]
    draw = random.Random(0)
    for percent in (50, 90, 99):
        beyond = sum(max(draw.random() for _ in range(least(percent))) > percent / 100 for _ in range(1000))
        assert 930 <= beyond <= 980


@pytest.mark.parametrize(("count", "known"), [(4, []), (5, [50]), (58, [50, 90]), (299, [50, 90, 95, 99])])
def test_what_too_few_samples_do_not_tell_is_empty(count: int, known: list[int]) -> None:
    found = percentiles([0.001 * number for number in range(1, count + 1)], [])
    assert [percent for percent in (50, 90, 95, 99) if found[f"latency_p{percent}_ms"] is not None] == known
    for percent in known:
        assert found[f"latency_p{percent}_ms"] == pytest.approx(1 + (count - 1) * percent / 100)
    assert found["inter_token_count"] is None
    assert all(found[f"inter_token_p{percent}_ms"] is None for percent in (50, 90, 95, 99))


def test_rounds_are_taken_together_and_the_files_have_the_columns(tmp_path: Path) -> None:
    made = synthetic.SyntheticSweep(tmp_path / "s")
    for number in range(3):
        spec = synthetic.job("Llama", "inductor", round=number)
        slow: dict[str, Any] = {"latency": [0.1] * 99 + [0.5 + number]}
        result = synthetic.performance_result(spec, pairs=[(0.2, 0.1)] * 20, **slow)
        tokens = Samples(metric="inter_token_interval", unit="s", better="lower", values=(0.01, 0.02, 0.03))
        made.add(spec, replace(result, samples=(*result.samples, tokens)))
    built = tables.build(load(made.write()))
    (row,) = built.performance.rows
    assert row["samples"] == 300
    assert row["latency_p50_ms"] == pytest.approx(100)
    assert 100 < row["latency_p99_ms"] < 2500
    assert (row["inter_token_count"], row["inter_token_p50_ms"], row["inter_token_p90_ms"]) == (
        9,
        pytest.approx(20),
        None,
    )
    (line,) = csv.DictReader(io.StringIO(exports.to_csv(built.summary)))
    assert {name: line[name] for name in PERCENTILES if name.endswith("p99_ms")}["inter_token_p99_ms"] == ""
    assert float(line["latency_p99_ms"]) == row["latency_p99_ms"]
    known = json.loads(exports.to_json({"performance": built.performance}))["columns"]
    assert {name: known[name]["unit"] for name in PERCENTILES if name.endswith("_ms")} == dict.fromkeys(
        (name for name in PERCENTILES if name.endswith("_ms")), "ms"
    )
