"""Where compile time goes: torch's events folded into phases, their tables, and what of a difference each phase is."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import latest, orchestrator, run, table
from support.synthetic import SyntheticSweep, of_folder

from orchestrator.comparison.compare import compare
from orchestrator.comparison.differences import phase_changes
from orchestrator.probes.compile_phases import folded, recorded
from orchestrator.records import COMPILE_PHASES, FIRST_RUN
from orchestrator.results import tables
from orchestrator.results.load import load

COLD = {"dynamo": 2.0, "lowering": 1.0, "kernel_compilation": 3.0, FIRST_RUN: 0.5}
WARM = {"dynamo": 1.0, "compile_cache": 0.25}
SLOWER = {"dynamo": 4.0, "lowering": 0.5, "kernel_compilation": 5.5, FIRST_RUN: 0.5}


def test_at_each_moment_the_innermost_event_counts() -> None:
    events = [
        (1.0, 7, True, "dynamo"),
        (2.0, 7, True, "compile_attempt_0"),  # no name of a phase: part of what is around it
        (3.0, 7, True, "backend_compile"),
        (3.5, 7, True, "mm_template_autotuning"),
        (4.5, 7, False, "mm_template_autotuning"),
        (5.0, 7, False, "backend_compile"),
        (6.0, 7, False, "compile_attempt_0"),
        (8.0, 7, False, "dynamo"),
    ]
    assert folded(events, 10.0, 7) == {"dynamo": 5.0, "backend": 1.0, "autotuning": 1.0, FIRST_RUN: 3.0}


def test_other_threads_count_only_while_the_calling_one_has_no_event() -> None:
    """Kernels are compiled in several threads while the caller waits; autograd compiles in a thread of the device."""
    events = [
        (0.0, 1, True, "code_gen"),
        (1.0, 2, True, "compile_file"),
        (1.5, 3, True, "compile_file"),
        (2.0, 1, True, "async_compile.wait"),
        (4.0, 2, False, "compile_file"),
        (5.0, 3, False, "compile_file"),
        (5.0, 1, False, "async_compile.wait"),
        (6.0, 1, False, "code_gen"),
        (7.0, 9, True, "entire_backward_compile"),
        (9.0, 9, False, "entire_backward_compile"),
    ]
    found = folded(events, 9.5, 1)
    assert found == {"code_generation": 3.0, "kernel_compilation": 3.0, "aot_autograd": 2.0, FIRST_RUN: 1.5}


def test_what_an_exception_left_open_ends_with_what_is_around_it() -> None:
    events = [
        (0.0, 1, True, "dynamo"),
        (1.0, 1, True, "code_gen"),
        (3.0, 1, False, "dynamo"),
        (4.0, 1, False, "code_gen"),
    ]
    assert folded(events, 4.0, 1) == {"dynamo": 1.0, "code_generation": 2.0, FIRST_RUN: 1.0}
    assert folded([], 4.0) == {}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_torch_says_adds_up_to_a_real_first_call(elsewhere: bool) -> None:
    """Forward and backward of a real graph, also where another thread makes the backward pass."""
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    compiled = torch.compile(model, backend="aot_eager")
    inputs = torch.randn(4, 8)
    before = torch._dynamo.utils.get_chromium_event_logger()
    with recorded() as events:
        start = time.perf_counter()
        loss = compiled(inputs).sum()
        if elsewhere:
            thread = threading.Thread(target=loss.backward)
            thread.start()
            thread.join()
        else:
            loss.backward()
        seconds = time.perf_counter() - start
    assert torch._dynamo.utils.get_chromium_event_logger() is before
    assert model[0].weight.grad is not None
    found = folded(events, seconds)
    assert {"dynamo", "backend", "aot_autograd", FIRST_RUN} <= found.keys() <= set(COMPILE_PHASES)
    assert sum(found.values()) == pytest.approx(seconds)
    assert all(value > 0 for value in found.values())
    assert found[FIRST_RUN] < 0.5 * seconds


def sweep(root: Path, cold: Any, warm: Any = None, total: float | None = None) -> SyntheticSweep:
    """Two models, of which one is compiled from an empty cache and twice from a filled one."""
    made = SyntheticSweep(root)
    for model, rounds in (("Bert", 3), ("T5", 1)):
        for number in range(rounds):
            eager = made.performance(model, "eager", number, latency=0.1)
            phases = cold if number == 0 else warm
            first_call = total or sum(phases.values())
            figures: dict[str, Any] = {"latency": 0.05, "first_call": first_call, "compile_phases": phases}
            made.performance(model, "inductor", number, baseline=eager, pairs=[(0.1, 0.05)] * 20, **figures)
    return made


def test_the_table_has_means_that_add_up_and_sums_over_the_sweep(tmp_path: Path) -> None:
    made = tables.build(load(sweep(tmp_path, COLD, WARM).write()))
    rows = made.phases["compile_phases"].rows
    assert [(row["model"], row["cache"], row["rounds"]) for row in rows] == [
        ("Bert", "cold", 1),
        ("Bert", "warm", 2),
        ("T5", "cold", 1),
    ]
    for row in rows:
        assert sum(row[f"{phase}_s"] for phase in COMPILE_PHASES) == pytest.approx(row["first_call_s"])
    sums = {(row["cache"], row["compile_phase"]): row for row in made.phases["compile_phase_sums"].rows}
    assert sums["cold", "kernel_compilation"]["compile_phase_s"] == 6.0
    assert sums["cold", "kernel_compilation"]["count"] == 2
    assert sums["cold", "kernel_compilation"]["share_percent"] == pytest.approx(100 * 3 / 6.5)
    assert sums["warm", "compile_cache"]["share_percent"] == pytest.approx(20.0)
    for cache in ("cold", "warm"):
        assert sum(row["share_percent"] for (of, _), row in sums.items() if of == cache) == pytest.approx(100)
    assert not made.findings


@pytest.mark.parametrize("told", ["x", [1.0], {}, {"dynamo": "x"}, {"dynamo": 1e300}])
def test_what_is_no_phase_makes_no_row(tmp_path: Path, told: Any) -> None:
    made = tables.build(load(sweep(tmp_path, told, told, total=6.0).write()))
    assert not made.phases
    assert "compile_phases" not in made.named()


def test_a_difference_of_compile_time_is_parted_into_phases(tmp_path: Path) -> None:
    before, after = (
        of_folder(sweep(tmp_path / name, cold, WARM).write()) for name, cold in (("a", COLD), ("b", SLOWER))
    )
    found = {(one.cache, one.phase): one for one in phase_changes(compare(before, after).matched)}
    cold = {phase: one for (cache, phase), one in found.items() if cache == "cold"}
    assert {phase: one.change for phase, one in cold.items()} == {
        "dynamo": 4.0,
        "lowering": -1.0,
        "kernel_compilation": 5.0,
        FIRST_RUN: 0.0,
    }
    assert all(one.rows == 2 for one in cold.values())
    assert [cold[phase].share_percent for phase in ("dynamo", "lowering", "kernel_compilation")] == [50.0, -12.5, 62.5]
    assert found["warm", "dynamo"].share_percent is None  # nothing differs
    assert found["warm", "dynamo"].rows == 1


def test_diff_tells_the_phases_where_compile_latency_has_changed(tmp_path: Path) -> None:
    places = [
        str(sweep(tmp_path / name, cold, WARM).write().root) for name, cold in (("a", COLD), ("b", SLOWER), ("c", COLD))
    ]
    said = " ".join(orchestrator(tmp_path, "diff", *places[:2], code=1).split())
    assert "Where compile time changed" in said
    assert "cold, 2 rows" in said
    assert "kernel compilation 6.00 s 11.0 s +5 s 62 %" in said
    assert "warm" not in said.partition("Where compile time changed")[2]
    assert "Where compile time" not in orchestrator(tmp_path, "diff", places[0], places[2])
    rows = json.loads(orchestrator(tmp_path, "diff", *places[:2], "--json", code=1))["tables"]["compile_phases"]
    assert {row["compile_phase"]: row["share_percent"] for row in rows if row["cache"] == "cold"}["dynamo"] == 50.0


@pytest.mark.slow
def test_the_phases_of_a_real_model_add_up_to_its_first_call_cold_and_warm(tmp_path: Path) -> None:
    """Within 10 % without what no event says: the first run and the rest."""
    run(tmp_path, "suite=quick", "suite.models=[bert_small]", "compiler=eager,inductor", "rounds=2", "rounds_min=2",
        "measure=performance", "measure.options.max_seconds=2")  # fmt: skip
    rows = table(tmp_path, "compile_phases").set_index("cache")
    assert sorted(rows.index) == ["cold", "warm"]
    for _, row in rows.iterrows():
        named = sum(row[f"{phase}_s"] for phase in COMPILE_PHASES if phase != FIRST_RUN)
        assert 0.9 < named / row["first_call_s"] <= 1
        assert named + row["first_run_s"] == pytest.approx(row["first_call_s"])
    work = ["dynamo_s", "aot_autograd_s", "joint_graph_s", "lowering_s", "scheduling_s", "code_generation_s"]
    assert (rows.loc["cold", [*work, "kernel_compilation_s"]] > 0).all()
    assert rows.loc["warm", "lowering_s"] == rows.loc["warm", "code_generation_s"] == 0
    assert rows.loc["warm", "dynamo_s"] > 0.1
    facts = [json.loads(file.read_text())["facts"] for file in latest(tmp_path).root.glob("jobs/*/result.json")]
    assert sum("compile_phases" in one for one in facts) == 2  # none of eager


def test_a_torch_that_tells_its_events_otherwise_has_no_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("torch._dynamo.utils.ChromiumEventLogger")
    with recorded() as events:
        pass
    assert folded(events, 1.0) == {}
