"""The measures of a step, through the real command on a real model: their tables, and their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import latest, orchestrator, table


@pytest.mark.slow
def test_the_measures_of_a_step_have_tables_and_files(tmp_path: Path) -> None:
    output = orchestrator(
        tmp_path, "suite=tiny", "suite.models=[bert_tiny]", "compiler=eager",
        "measure=operators,profile,memory_by_line,flops",
    )  # fmt: skip
    for name in ("operators", "operator_totals", "profile", "memory_by_line", "flops", "flops_by_module"):
        assert name.replace("_", " ") in output
    assert (table(tmp_path, "operators_over_models")["count"] > 0).all()
    flops = table(tmp_path, "flops").iloc[0]
    assert flops["step_gflop"] / flops["step_ms"] * 1000 == pytest.approx(flops["achieved_gflop_per_s"])
    folder = latest(tmp_path)
    for name in ("operator_totals", "profile_totals", "memory_by_line_totals"):
        row = table(tmp_path, name).iloc[0]
        assert (folder.job(row["job"]) / row["file"]).stat().st_size > 100
    trace = table(tmp_path, "profile_totals").iloc[0]
    assert json.loads((folder.job(trace["job"]) / trace["file"]).read_text())["traceEvents"]
    assert table(tmp_path, "memory_by_line")["cumulative_mib"].is_monotonic_decreasing


@pytest.mark.slow
def test_largest_batch_makes_a_suite_that_plans(tmp_path: Path) -> None:
    orchestrator(
        tmp_path, "suite=tiny", "suite.models=[bert_tiny,gpt2_tiny]", "compiler=eager", "measure=largest_batch",
        "measure.options.memory_gib=1.5", "measure.options.upper=512", "measure.options.precision=0.2",
    )  # fmt: skip
    sizes = dict(table(tmp_path, "largest_batch")[["model", "largest_batch_size"]].itertuples(index=False))
    assert all(2 <= size <= 512 for size in sizes.values())
    assert "mine/suite/tiny_largest.yaml" in orchestrator(tmp_path, "export", "batch_sizes", "-o", "mine")
    planned = orchestrator(tmp_path, "--config-dir=mine", "suite=tiny_largest", "compiler=eager", "measure=performance",
                  "rounds=1", "dry_run=true")  # fmt: skip
    assert "tiny_largest" in planned
    text = (tmp_path / "mine/suite/tiny_largest.yaml").read_text()
    assert all(f"{model}:\n    batch_size: {{cpu: {size}}}" in text for model, size in sizes.items())


@pytest.mark.slow
def test_what_looks_at_eager_code_is_unsupported_for_a_compiler(tmp_path: Path) -> None:
    output = orchestrator(tmp_path, "suite=tiny", "suite.models=[bert_tiny]", "compiler=dynamo_eager",
                 "measure=operators,memory_by_line")  # fmt: skip
    assert (table(tmp_path, "operators")["status"] == "unsupported").all()
    assert (table(tmp_path, "memory_by_line")["status"] == "unsupported").all()
    assert "compiler=eager" in output
