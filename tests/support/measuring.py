"""Measures on a small network, in this process: the network, a compiler that is wrong, and what a worker would give."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from orchestrator import columns, measures
from orchestrator.columns import TableSpec
from orchestrator.compilers.eager import Eager
from orchestrator.measures.context import Context
from orchestrator.measures.performance import Performance
from orchestrator.measures.reference import Reference
from orchestrator.modes.inference import Inference
from orchestrator.plugins import Program
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import (
    PASS,
    JobSpec,
    PluginSpec,
    Workload,
)

QUICK = Performance(
    iterations=5,
    seconds=0.0,
    pairs=6,
    pair_seconds=0.0,
    block_seconds=0.0,
    warmup_seconds=0.0,
    extra_seconds=0.0,
    quiet_seconds=0.0,
)


class Net(torch.nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first = torch.nn.Linear(16, 32)
        self.drop = torch.nn.Dropout(dropout)
        self.norm = torch.nn.BatchNorm1d(32)
        self.last = torch.nn.Linear(32, 4)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.last(self.norm(self.drop(self.first(x).relu())))
        return {"loss": torch.nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


@dataclass(frozen=True)
class NetBuilder:
    noise: bool = False  # outputs that change from run to run

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(workload.seed)
        model = Net(0.1 if dropout else 0.0)
        if self.noise:
            model.first.register_forward_hook(lambda _module, _inputs, output: output + time.perf_counter() % 1)
        inputs = {"x": torch.randn(workload.batch_size, 16), "labels": torch.arange(workload.batch_size) % 4}
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs["loss"])


@dataclass(frozen=True)
class Broken:
    """A compiler whose code is wrong, slower, or both."""

    change: Callable[[dict[str, torch.Tensor]], Any] = lambda outputs: outputs
    seconds: float = 0.0
    changes_model: bool = False

    def check(self, workload: Workload) -> None: ...

    def compile(self, program: Program, workload: Workload) -> Callable[..., Any]:
        def forward(**inputs: torch.Tensor) -> Any:
            time.sleep(self.seconds)
            return self.change(program.model(**inputs))

        return forward


@functools.cache
def _tables() -> dict[str, TableSpec]:
    """Return the tables of all measures of the package, by name."""
    modules = [
        importlib.import_module(one.name) for one in pkgutil.iter_modules(measures.__path__, "orchestrator.measures.")
    ]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {name: table for one in classes for name, table in getattr(one, "TABLES", {}).items()}


@dataclass
class Strict(Context):
    """Looks at each row as the worker does at the end of a job."""

    def find(self, table: str, **row: Any) -> None:
        super().find(table, **row)
        assert columns.without_a_column(_tables(), {table: [row]}) == []


def spec(name: str) -> PluginSpec:
    return PluginSpec(name=name, target=f"tests.{name}")


def context(tmp_path: Path, compiler: Any, name: str, mode: Any = None, **changes: Any) -> Context:
    workload = Workload(
        suite="tests", builder=spec("net"), mode=spec("inference"), dtype="float32", device="cpu",
        batch_size=8, sequence_length=None, seed=1, threads=1,
    )  # fmt: skip
    job = JobSpec(
        id="job", workload=replace(workload, **changes), compiler=spec(name), measure=spec("measure"), round=0,
        launcher="fork", env={}, needs=(), timeout_s=60, cost_s=1,
    )  # fmt: skip
    device = torch.device("cpu")
    return Strict(
        job=job, device=device, builder=NetBuilder(), mode=mode or Inference(), compiler=compiler, folder=tmp_path,
        reference=tmp_path / "reference", references=[tmp_path / "reference"], memory=MemoryProbe(device),
        entered=lambda phase: None,
    )  # fmt: skip


def samples(seen: Context) -> dict[str, tuple[float, ...]]:
    return {sample.metric: sample.values for sample in seen.samples}


def run_reference(tmp_path: Path, mode: Any, **changes: Any) -> Context:
    seen = context(tmp_path, Eager(), "eager", mode, **changes)
    assert Reference().run(seen).status == PASS
    return seen
