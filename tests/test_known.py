"""The models and compilers that the harness measures itself with do what they say."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from support.example_records import KNOWN

from orchestrator.compilers.planted import DeviceSlowdown, NeedsTwin, OutsideAllocator, Slowdown, StaleGraph
from orchestrator.errors import UsageError
from orchestrator.measures.gpu_checks import GpuChecks
from orchestrator.plugins import Program, Unsupported, instantiate
from orchestrator.records import PluginSpec
from orchestrator.suites.known import KnownModel


def build(**options: Any) -> Program:
    return KnownModel(**options).build(KNOWN, dropout=False)


def call(program: Program) -> Any:
    return program.model(**program.inputs)


def seconds(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def test_matmul_is_the_product_it_says() -> None:
    program = build(kind="matmul", width=32, layers=3)
    x = program.inputs["x"]
    assert x.shape == (2, 32)
    for layer in program.model.layers:
        x = x @ layer.weight.T
    torch.testing.assert_close(call(program)["y"], x)
    program.loss(call(program)).backward()
    assert all(parameter.grad is not None for parameter in program.model.parameters())


def test_same_seed_same_weights() -> None:
    one, two = build(kind="matmul", width=8), build(kind="matmul", width=8)
    assert torch.equal(call(one)["y"], call(two)["y"])


def test_sleep_lasts_as_long_as_it_says() -> None:
    program = build(kind="sleep", seconds=0.05)
    assert 0.05 <= min(seconds(lambda: call(program)) for _ in range(5)) < 0.1  # a busy machine makes some longer


def test_fail_fails() -> None:
    with pytest.raises(RuntimeError, match="planted failure"):
        call(build(kind="fail"))


def test_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError, match=r"kind='alocate' of .*: did you mean 'allocate'"):
        instantiate(PluginSpec(name="x", target="orchestrator.suites.known.KnownModel", options={"kind": "alocate"}))


@pytest.mark.alone
def test_planted_slowdown_is_as_long_as_it_says() -> None:
    program = build(kind="sleep", seconds=0.05)
    forward = Slowdown(fraction=0.5).compile(program, KNOWN)
    ratios = []
    for _ in range(5):
        eager = seconds(lambda: call(program))
        ratios.append(seconds(lambda: forward(**program.inputs)) / eager)
    assert sorted(ratios)[2] == pytest.approx(1.5, rel=0.1)


def test_temp_is_two_products_with_something_large_between() -> None:
    program = build(kind="temp", width=4, hidden=32)
    first, second = (layer.weight for layer in program.model.layers)
    assert first.shape == (32, 4)
    torch.testing.assert_close(call(program)["y"], program.inputs["x"] @ first.T @ second.T)


def test_mutate_writes_into_its_input() -> None:
    program = build(kind="mutate")
    before = program.inputs["x"].clone()
    call(program)
    torch.testing.assert_close(program.inputs["x"], before + 1)


def test_copy_keeps_what_it_copies() -> None:
    program = build(kind="copy", bytes=1000)
    call(program)
    kept = program.model.kept
    call(program)
    assert program.model.kept is kept
    assert [block.nbytes for block in kept] == [1000, 1000]


def test_memory_per_sample_grows_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    full = torch.full

    def remembered(size: Any, *arguments: Any, **settings: Any) -> torch.Tensor:
        asked.append(size[0])
        return full(size, *arguments, **settings)

    program = build(kind="allocate", bytes=1000, per_sample=True)
    monkeypatch.setattr(torch, "full", remembered)
    call(program)
    assert asked == [2000]


@pytest.mark.parametrize("kind", ["cuda_sleep", "hold", "full"])
def test_what_is_of_cuda_says_so_elsewhere(kind: str) -> None:
    known = KnownModel(kind=kind)
    known.load(KNOWN)
    with pytest.raises(ValueError, match=f"kind={kind} is of CUDA devices, not of cpu"):
        known.build(KNOWN, dropout=False)


@pytest.mark.parametrize("planted", [DeviceSlowdown(), OutsideAllocator(), StaleGraph()])
def test_what_is_planted_on_cuda_is_unsupported_elsewhere(planted: Any) -> None:
    with pytest.raises(Unsupported, match="not on cpu"):
        planted.check(KNOWN)


def test_a_twin_is_asked_for_and_the_model_left_as_it_is() -> None:
    program = build(kind="matmul", width=8)
    assert NeedsTwin.changes_model
    assert NeedsTwin().compile(program, KNOWN) is program.model


def test_an_unknown_check_of_the_gpu_is_named() -> None:
    with pytest.raises(ValueError, match="unknown check 'clok': did you mean 'clock'"):
        GpuChecks(checks=("clok",))
