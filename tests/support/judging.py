"""Compilers of conf/ judged by eager, in this process, on the network of `measuring`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from orchestrator.compilers.eager import Eager
from orchestrator.measures.accuracy import Accuracy
from orchestrator.measures.compare import Record, Rule, compare
from orchestrator.measures.context import Context
from orchestrator.measures.reference import Reference
from orchestrator.plugins import Outcome, instantiate
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import PASS, JobSpec, PluginSpec, Workload
from support.measuring import NetBuilder

CONF = Path(__file__).parent.parent.parent / "conf"


def option(group: str, name: str) -> PluginSpec:
    """Read an option of a group as the planner would, without Hydra."""
    conf = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    return PluginSpec(name=conf["name"], target=conf["target"], options=conf["options"])


def workload(mode: str = "inference", dtype: str = "float32", device: str = "cpu") -> Workload:
    return Workload(
        suite="tests", builder=PluginSpec(name="net", target="tests.net"), mode=option("mode", mode), dtype=dtype,
        device=device, batch_size=8, sequence_length=None, seed=1, threads=1,
    )  # fmt: skip


def context(tmp_path: Path, compiler: Any, load: Workload) -> Context:
    """Return what a measure gets in a worker, for the network of the measures' own tests."""
    job = JobSpec(
        id="job", workload=load, compiler=PluginSpec(name="tested", target="tests.tested"),
        measure=PluginSpec(name="accuracy", target="tests.accuracy"), round=0, launcher="fork", env={}, needs=(),
        timeout_s=60, cost_s=1,
    )  # fmt: skip
    device = torch.device("cpu")
    return Context(
        job=job, device=device, builder=NetBuilder(), mode=instantiate(load.mode), compiler=compiler, folder=tmp_path,
        reference=tmp_path / "reference", references=[tmp_path / "reference"], memory=MemoryProbe(device),
        entered=lambda phase: None,
    )  # fmt: skip


def judged(tmp_path: Path, compiler: Any, load: Workload, **rule: Any) -> tuple[Outcome, Context]:
    """Check the compiler, and judge it by eager's outputs, loss, gradients and buffers."""
    compiler.check(load)
    assert Reference().run(context(tmp_path, Eager(), load)).status == PASS
    seen = context(tmp_path, compiler, load)
    return Accuracy(tolerance=1e-3, **rule).run(seen), seen


def compare_tensor(
    name: str, reference: torch.Tensor | None, result: torch.Tensor | None, fp64: torch.Tensor | None, rule: Rule
) -> Record:
    """Judge one tensor by itself; see `compare` for the record."""
    one, other = ({name: tensor} if tensor is not None else {} for tensor in (reference, result))
    (record,) = compare(one, other, None if fp64 is None else {name: fp64}, rule)
    return record
