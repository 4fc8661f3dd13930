"""The models and compilers that the harness measures itself with do what they say."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from orchestrator.compilers.planted import Slowdown
from orchestrator.plugins import Program
from orchestrator.records import PluginSpec, Workload
from orchestrator.suites.known import KnownModel

WORKLOAD = Workload(
    suite="self_test",
    builder=PluginSpec(name="m", target="orchestrator.suites.known.KnownModel"),
    mode=PluginSpec(name="inference", target="x"),
    dtype="float32",
    device="cpu",
    batch_size=2,
    sequence_length=None,
    seed=1,
    threads=1,
)


def build(**options: Any) -> Program:
    return KnownModel(**options).build(WORKLOAD, dropout=False)


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
    assert 0.05 <= seconds(lambda: call(program)) < 0.5


def test_fail_fails() -> None:
    with pytest.raises(RuntimeError, match="planted failure"):
        call(build(kind="fail"))


def test_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="unknown kind 'alocate'"):
        build(kind="alocate")


def test_planted_slowdown_is_as_long_as_it_says() -> None:
    program = build(kind="sleep", seconds=0.05)
    forward = Slowdown(fraction=0.5).compile(program, WORKLOAD)
    ratios = []
    for _ in range(5):
        eager = seconds(lambda: call(program))
        ratios.append(seconds(lambda: forward(**program.inputs)) / eager)
    assert sorted(ratios)[2] == pytest.approx(1.5, rel=0.1)
