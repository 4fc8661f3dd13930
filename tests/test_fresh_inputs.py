"""`randomize_input`: each repeat of a timing has other inputs, of every dtype, and both sides of a pair the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import FAKES, answer, latest, orchestrator
from support.judging import context, workload
from support.measuring import QUICK

from orchestrator.measures.timed import DRAWS
from orchestrator.plugins import Program
from orchestrator.records import PASS, Workload
from orchestrator.store import SweepFolder

SIZE = 6


class Sums(torch.nn.Module):
    """Adds up inputs of all kinds; writes into one of them."""

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        assert torch.equal(inputs["positions"], torch.arange(SIZE))
        found = sum(value.double().sum() for value in inputs.values())
        inputs["scratch"].mul_(0.5)
        return torch.as_tensor(found)


class SumsBuilder:
    def build(self, workload: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(workload.seed)
        inputs = {
            "float32": torch.randn(SIZE),
            "float16": torch.randn(SIZE).half(),
            "bfloat16": torch.randn(SIZE).bfloat16(),
            "float64": torch.randn(SIZE).double(),
            "ids": torch.randint(100, 30_000, (SIZE,)),
            "bytes": torch.randint(0, 255, (SIZE,), dtype=torch.uint8),
            "mask": torch.randn(SIZE) > 0,
            "scratch": torch.randn(SIZE),
            "fixed": torch.linspace(1.0, 2.0, SIZE),
            "positions": torch.arange(SIZE),
        }
        return Program(model=Sums(), inputs=inputs, loss=lambda outputs: outputs.sum())


class Spy:
    """A compiler whose code is eager's; it sees what inputs each side gets."""

    changes_model = False

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, tuple[float, ...]]]] = []

    def check(self, workload: Workload) -> None: ...

    def compile(self, program: Program, workload: Workload) -> Callable[..., Any]:
        own = program.model.forward
        side = ["eager"]

        def forward(**inputs: torch.Tensor) -> Any:
            self.seen.append((side[0], {name: tuple(value.double().tolist()) for name, value in inputs.items()}))
            return own(**inputs)

        program.model.forward = forward

        def compiled(**inputs: torch.Tensor) -> Any:
            side[0] = "compiled"
            try:
                return program.model(**inputs)
            finally:
                side[0] = "eager"

        return compiled


def test_both_sides_of_a_pair_get_the_same_and_each_repeat_another(tmp_path: Path) -> None:
    spy = Spy()
    seen = replace(context(tmp_path, spy, workload()), builder=SumsBuilder(), references=[])
    assert replace(QUICK, randomize_input=True).run(seen).status == PASS

    first = spy.seen[0][1]
    own = SumsBuilder().build(workload(), dropout=False).inputs
    assert first == {name: tuple(value.double().tolist()) for name, value in own.items()}
    assert seen.facts["randomized_input"] == {
        "draws": DRAWS,
        "fresh": [name for name in first if name not in ("fixed", "positions")],
        "reordered": ["fixed"],
        "same": ["positions"],
    }
    assert "the same in every repeat" in " ".join(seen.facts["notes"])

    changing = [name for name in first if name != "positions"]
    for name in changing:
        assert len({inputs[name] for _, inputs in spy.seen}) >= DRAWS, name
    assert all(sorted(inputs["fixed"]) == sorted(first["fixed"]) for _, inputs in spy.seen)
    steady = [inputs for _, inputs in spy.seen[1:]][:DRAWS]
    assert all(one["ids"] != other["ids"] for one, other in itertools.pairwise(steady))

    pairs = seen.facts["pair"]["pairs"]
    assert seen.facts["pair"]["block"] == 1
    start = next(i for i in range(len(spy.seen)) if _is_pairs(spy.seen[i : i + 2 * pairs]))
    paired = spy.seen[start : start + 2 * pairs]
    for one, other in zip(paired[::2], paired[1::2], strict=True):
        assert {one[0], other[0]} == {"eager", "compiled"}
        assert one[1] == other[1]
    assert all(one[1]["ids"] != other[1]["ids"] for one, other in zip(paired[::2], paired[2::2], strict=False))


def _is_pairs(calls: list[Any]) -> bool:
    order = ["eager", "compiled", "compiled", "eager"]
    return [side for side, _ in calls] == [order[number % 4] for number in range(len(calls))]


@pytest.mark.slow
def test_through_the_command(tmp_path: Path) -> None:
    orchestrator(tmp_path, *FAKES, "suite=tiny", "suite.models=[bert_tiny]", "compiler=aot_eager", "rounds=1",
        "measure=glance,accuracy", "randomize_input=true")  # fmt: skip
    folder: SweepFolder = latest(tmp_path)
    for job in folder.read_graph().jobs:
        result = folder.read_result(job.id)
        assert result.status == PASS  # type: ignore[union-attr]
        assert ("randomized_input" in result.facts) == (job.measure.name == "glance")  # type: ignore[union-attr]


def test_where_nothing_is_timed_it_is_refused(tmp_path: Path) -> None:
    code, _, error = answer(tmp_path, "suite=tiny", "measure=accuracy", "randomize_input=true", "dry_run=true")
    assert code == 2
    assert "no job of this sweep times a step" in error
