"""Measures on a small real model, in this process: what they see, and what they say of what is wrong."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.measuring import QUICK, Broken, NetBuilder, context, run_reference, samples

from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.compilers.eager import Eager
from orchestrator.measures import performance
from orchestrator.measures.accuracy import Accuracy
from orchestrator.measures.group import Group
from orchestrator.measures.pairs import Enough, _block, half_width_of_pairs, relative_half_width, repeat
from orchestrator.measures.reference import Reference
from orchestrator.measures.sensitivity import Sensitivity
from orchestrator.modes.inference import Inference
from orchestrator.modes.training import Training
from orchestrator.plugins import Program
from orchestrator.probes.clock import stopwatch
from orchestrator.records import (
    EAGER_TWO_RUNS_DIFFER,
    FAIL_ACCURACY,
    INFRASTRUCTURE,
    PASS,
    Workload,
)
from orchestrator.samples import calm_pair_logs, one_round


@pytest.fixture(autouse=True)
def _one_thread_and_little_garbage() -> None:
    """Each phase collects garbage first; what pytest and torch hold need not be looked at every time."""
    torch.set_num_threads(1)
    gc.freeze()


@pytest.mark.parametrize("mode", [Inference(), Training(), Training(optimizer="adamw")])
def test_eager_performance_has_latencies_and_memory_and_no_pairs(tmp_path: Path, mode: Any) -> None:
    seen = context(tmp_path, Eager(), "eager", mode)
    assert QUICK.run(seen).status == PASS
    found = samples(seen)
    assert len(found["latency"]) == 5
    assert len(found["first_call"]) == 1
    assert all(value > 0 for values in found.values() for value in values)
    assert "pair_latency" not in found
    assert seen.facts["cache"] == "none"
    assert seen.facts["parameters"] == 16 * 32 + 32 + 64 + 32 * 4 + 4
    assert seen.facts["parameter_bytes"] == 4 * seen.facts["parameters"]
    memory = seen.facts["memory"]
    assert list(memory["phases"]) == ["build", "compile", "warmup", "steady", "work"]
    assert all(phase["peak"] >= phase["start"] > 0 for phase in memory["phases"].values())
    assert list(seen.facts["phases_s"]) == list(memory["phases"])
    assert seen.facts["phases_s"]["steady"] >= sum(found["latency"])


def test_a_compiler_is_timed_in_pairs_and_a_planted_slowdown_is_seen(tmp_path: Path) -> None:
    seen = context(tmp_path, Broken(seconds=0.01), "slow")
    assert QUICK.run(seen).status == PASS
    found = samples(seen)
    assert len(found["pair_latency"]) == len(found["pair_eager_latency"]) == 6
    eager, compiled = (statistics.median(found[name]) for name in ("pair_eager_latency", "pair_latency"))
    assert compiled - eager == pytest.approx(0.01, rel=0.5)
    assert seen.facts["pair"] == {"block": 1, "pairs": 6, "method": "interleaved"}


def test_a_block_is_the_lower_quartile_of_its_calls_but_the_first() -> None:
    """Half of the calls are disturbed: 9 and 7 s instead of 1 and 2; the first, of 100 s, is no sample."""
    seconds = iter([1.0, 9.0, 2.0, 7.0])
    calls: list[int] = []
    assert _block(lambda step: [step(), next(seconds)][1], lambda: calls.append(1), 4) == pytest.approx(1.75)
    assert len(calls) == 5
    assert _block(lambda _: 3.0, lambda: None, 1) == 3.0


def test_blocks_are_long_enough_and_drop_their_first_call(tmp_path: Path) -> None:
    calls = []
    compiler = Broken(change=lambda outputs: calls.append(1) or outputs, seconds=0.002)
    seen = context(tmp_path, compiler, "counted")
    replace(QUICK, block_seconds=0.005, pairs=5).run(seen)
    block = seen.facts["pair"]["block"]
    assert block > 1
    looks = 3  # one for the inputs, and one after the steady state and after the pairs
    assert len(calls) == 1 + len(samples(seen)["warmup_latency"]) + 5 + 3 + 6 * (block + 1) + looks


def test_first_call_contains_the_compilation(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Slow(Broken):
        def compile(self, program: Program, workload: Workload) -> Callable[..., Any]:
            time.sleep(0.05)
            return super().compile(program, workload)

    seen = context(tmp_path, Slow(), "slow")
    QUICK.run(seen)
    assert samples(seen)["first_call"][0] > 0.05
    assert statistics.median(samples(seen)["latency"]) < 0.05


@pytest.mark.parametrize("mode", [Inference(), Training()])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "amp_bfloat16", "amp_float16"])
def test_eager_is_accurate(tmp_path: Path, mode: Any, dtype: str) -> None:
    assert run_reference(tmp_path, mode, dtype=dtype).facts["fp64"] == "ok"
    seen = context(tmp_path, Eager(), "eager", mode, dtype=dtype)
    outcome = Accuracy(tolerance=1e-3).run(seen)
    assert outcome.status == PASS, outcome.reason
    names = {record["name"] for record in seen.facts["accuracy"]["tensors"]}
    assert {"output.loss", "output.logits"} <= names
    assert ("grad.first.weight" in names) == mode.training
    assert ("buffer.norm.running_mean" in names) == mode.training


def test_a_wrong_output_fails_and_names_the_tensor(tmp_path: Path) -> None:
    run_reference(tmp_path, Inference())
    wrong = Broken(change=lambda outputs: outputs | {"logits": outputs["logits"] + 1})
    seen = context(tmp_path, wrong, "wrong")
    outcome = Accuracy(tolerance=1e-3).run(seen)
    assert outcome.status == FAIL_ACCURACY
    assert "output.logits" in outcome.reason
    record = next(r for r in seen.facts["accuracy"]["tensors"] if r["name"] == "output.logits")
    assert record["max_abs_error"] == pytest.approx(1.0, rel=1e-5)


def test_wrong_gradients_fail_although_the_outputs_are_right(tmp_path: Path) -> None:
    run_reference(tmp_path, Training())
    wrong = Broken(change=lambda outputs: outputs | {"loss": outputs["loss"] * 2 - outputs["loss"].detach()})
    outcome = Accuracy(tolerance=1e-3).run(context(tmp_path, wrong, "wrong", Training()))
    assert outcome.status == FAIL_ACCURACY
    assert "grad." in outcome.reason


def test_a_missing_reference_is_not_the_compilers_fault(tmp_path: Path) -> None:
    outcome = Accuracy(tolerance=1e-3).run(context(tmp_path, Eager(), "eager"))
    assert outcome.status == INFRASTRUCTURE
    assert "reference.json" in outcome.reason


def test_neither_is_a_damaged_one(tmp_path: Path) -> None:
    run_reference(tmp_path, Inference())
    (tmp_path / "reference" / "eager.0.safetensors").write_bytes(b"cut short")
    assert Accuracy(tolerance=1e-3).run(context(tmp_path, Eager(), "eager")).status == INFRASTRUCTURE


def test_running_out_of_memory_while_comparing_is_not_called_a_comparison_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    run_reference(tmp_path, Inference())
    monkeypatch.setattr("orchestrator.measures.accuracy.compare", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Accuracy(tolerance=1e-3).run(context(tmp_path, Eager(), "eager"))


def test_eager_that_changes_from_run_to_run_is_no_reference(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager")
    seen.builder = NetBuilder(noise=True)
    outcome = Reference().run(seen)
    assert outcome.status == EAGER_TWO_RUNS_DIFFER
    assert "output.logits" in outcome.reason


def test_training_step_updates_the_parameters_and_observing_does_not(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager", Training())
    program = seen.build(dropout=False)
    before = program.model.last.weight.detach().clone()
    seen.mode.observe(program, program.model, seen.workload)
    assert torch.equal(before, program.model.last.weight)
    seen.mode.step(program, program.model, seen.workload)()
    assert not torch.equal(before, program.model.last.weight)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager", Training(optimizer="adamw"))
    step = seen.mode.step(program := seen.build(dropout=False), program.model, seen.workload)
    losses = [float(step()) for _ in range(30)]
    assert losses[-1] < losses[0] / 2


def test_half_width_of_known_values() -> None:
    assert relative_half_width([1.0, 2.0, 3.0]) == math.inf
    values = [float(number) for number in range(1, 101)]  # ranks 40 and 61 of 100
    assert relative_half_width(values) == pytest.approx((61 - 40) / 2 / 50.5)


@pytest.mark.parametrize(("target", "least"), [(1.0, 8), (0.0, 20)])
def test_sampling_goes_on_until_the_interval_is_narrow_enough(target: float, least: int) -> None:
    noise = iter(range(1_000_000))
    enough = Enough(20, 0.0, target, extra_s=0.05, most_s=60.0)
    values = repeat(Group(), enough, lambda: 1.0 + next(noise) % 7 / 10, relative_half_width)
    assert len(values) >= least
    assert (len(values) == least) == (target == 1.0)


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 1.0), (1.09, 1.0), (1.5, 0.247), (1 / 1.5, 0.247)])
def test_timing_goes_on_by_the_interval_that_a_report_gives(ratio: float, share: float) -> None:
    """ln 1.5 = 0.405: the interval may be 4.05 times as wide."""
    ratios = [ratio * (1 + (number % 7 - 3) / 1000) for number in range(100)]
    twos = [[(one, 1.0), (other, 1.0)] for one, other in zip(ratios[::2], ratios[1::2], strict=True)]
    reported = one_round(calm_pair_logs(ratios, [1.0] * 100)).half
    assert reported is not None
    assert half_width_of_pairs(twos) == pytest.approx(share * reported, rel=0.01)
    assert half_width_of_pairs(twos[:2]) == math.inf


def test_sampling_never_goes_beyond_the_budget() -> None:
    enough = Enough(20, 60.0, 0.01, extra_s=0.0, most_s=0.0)
    assert repeat(Group(), enough, lambda: 1.0, relative_half_width) == [1.0, 1.0, 1.0]


def test_where_eager_does_not_fit_beside_it_the_row_says_so_and_keeps_the_rest(tmp_path: Path) -> None:
    class Full(NetBuilder):
        def build(self, workload: Workload, *, dropout: bool) -> Program:
            if built:
                raise MemoryError("planted")
            built.append(1)
            return super().build(workload, dropout=dropout)

    built: list[int] = []
    seen = context(tmp_path, Broken(changes_model=True), "freezing")
    seen.builder = Full()
    assert QUICK.run(seen).status == PASS
    assert seen.facts["pair"]["method"] == "none"
    assert "planted" in seen.facts["pair"]["reason"]
    assert "pair_latency" not in samples(seen)
    assert len(samples(seen)["latency"]) == 5


def test_steps_back_to_back_are_waited_for_once(tmp_path: Path) -> None:
    seen = context(tmp_path, Eager(), "eager")
    calls: list[int] = []
    QUICK._back_to_back(seen, lambda: (calls.append(1), time.sleep(0.001)), 0.02)
    count = seen.facts["back_to_back"]["steps"]
    assert count == 5  # a tenth of a second's
    values = samples(seen)["back_to_back"]
    assert len(calls) == count * len(values)
    assert all(0.001 <= value < 0.1 for value in values)
    QUICK._back_to_back(seen, lambda: None, 1e-6)
    assert seen.facts["back_to_back"]["steps"] == 100
    QUICK._back_to_back(seen, lambda: None, 30.0)
    assert seen.facts["back_to_back"]["steps"] == 2


def test_a_step_that_must_be_made_ready_is_not_called_back_to_back(tmp_path: Path) -> None:
    class Ready:
        def prepare(self) -> None: ...

        def __call__(self) -> None:
            raise AssertionError("it was not made ready")

    seen = context(tmp_path, Eager(), "eager")
    QUICK._back_to_back(seen, Ready(), 0.02)
    assert "back_to_back" not in samples(seen)


class Queue:
    """A device that works on while the host goes on: each step takes it so many seconds, one after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.free_at, self.now = seconds, 0.0, 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def step(self) -> None:
        self.free_at = max(self.free_at, self.now) + self.seconds

    def synchronize(self, *_: object) -> None:
        self.now = max(self.now, self.free_at)


@pytest.mark.parametrize(("host", "share"), [(0.0, 0.0), (0.015, 0.75)])
def test_a_device_of_its_own_has_enqueue_times_and_steps_back_to_back(
    host: float, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(0.02)

    def step() -> None:
        queue.step()
        queue.sleep(host)

    monkeypatch.setattr(torch.accelerator, "synchronize", queue.synchronize)
    monkeypatch.setattr(time, "perf_counter", queue.clock)
    seen = context(tmp_path, Eager(), "eager")
    seen.device = torch.device("xpu")
    QUICK._steady(seen, stopwatch(seen.device), step, step)
    found = {name: statistics.median(values) for name, values in samples(seen).items()}
    assert (found["latency"], found["back_to_back"]) == pytest.approx((0.02, 0.02))
    assert found["enqueue"] / found["latency"] == pytest.approx(share)
    assert seen.facts["clock_overhead_s"] == 0.0


@pytest.mark.parametrize(
    ("recorded", "asked", "why", "note"),
    [
        (2, True, [], None),
        (0, True, ["a mutated input"], "no CUDA graph was recorded: a mutated input"),
        (0, True, [], "no CUDA graph was recorded: the log may say why"),
        (0, False, ["a mutated input"], None),
    ],
)
def test_a_compiler_without_the_cuda_graphs_that_it_is_asked_for_says_so(
    recorded: int, asked: bool, why: list[str], note: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance.counters, "recorded_graphs", lambda: recorded)
    monkeypatch.setattr(performance.counters, "cudagraph_skips", lambda: why)
    compiler = TorchCompile(mode="reduce-overhead") if asked else TorchCompile()
    seen = context(tmp_path, compiler, "inductor", device="cuda:0")
    performance._tell_graphs(seen)
    assert seen.facts["cudagraphs"] == {"recorded": recorded, "skipped_because": why}
    assert seen.facts.get("notes") == (None if note is None else [note])


def test_a_plant_has_one_row_with_what_both_rules_say(tmp_path: Path) -> None:
    """The table takes each key of it: one that no column takes would fail the job."""
    run_reference(tmp_path, Inference())
    seen = context(tmp_path, Eager(), "eager")
    measure = Sensitivity(tolerance=1e-4, places=2, faults=("NaN in one place", "lost mutation"))
    assert measure.run(seen).status == PASS
    rows = {(row["plant"], row["plant_place"]): row for row in seen.facts["findings"]["sensitivity"]}
    assert ("lost mutation", 0) not in rows  # the model writes into none of its inputs
    for place in (0, 1):
        found = rows["NaN in one place", place]
        assert (found["plant_kind"], found["scaled_says"], found["dynamo_says"]) == ("fault", *2 * (FAIL_ACCURACY,))
        assert "nan instead of" in found["scaled_why"]
    right = rows["as compiled", 0]
    assert (right["plant_kind"], right["scaled_says"], right["scaled_why"]) == ("honest", PASS, None)
