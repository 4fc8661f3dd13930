"""Eager is eager, also where a model calls `torch.compile` itself: seen by dynamo's own counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from orchestrator.measures.eager import really_eager


class Own(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cos() + 1


def _function() -> Callable[[torch.Tensor], Any]:
    return torch.compile(lambda x: x.sin() + 1, backend="eager")


def _module() -> Callable[[torch.Tensor], Any]:
    return torch.nn.Sequential(torch.compile(Own(), backend="eager"))


def _in_place() -> Callable[[torch.Tensor], Any]:
    model = torch.nn.Sequential(Own())
    model[0].compile(backend="eager", fullgraph=True)
    return model


def _when_called() -> Callable[[torch.Tensor], Any]:
    return lambda x: torch.compile(torch.sin, backend="eager")(x)


@pytest.mark.parametrize("made", [_function, _module, _in_place, _when_called])
def test_what_a_model_compiles_itself_runs_as_plain_python_and_is_noticed(
    made: Callable[[], Callable[[torch.Tensor], Any]],
) -> None:
    torch._dynamo.reset()
    counters.clear()
    called = made()
    with really_eager() as inside:
        called(torch.ones(2, 4))
    assert inside.compiled
    assert not counters["stats"]["unique_graphs"]
    called(torch.ones(2, 4))
    assert counters["stats"]["unique_graphs"] >= 1, "afterwards it is compiled as ever"


def test_a_model_that_compiles_nothing_is_not_said_to() -> None:
    model = torch.nn.Sequential(torch.compiler.disable(torch.nn.Linear(4, 4)), torch.nn.Linear(4, 4))
    with really_eager() as inside:
        model(torch.ones(2, 4)).sum().backward()
        torch.optim.Adam(model.parameters()).step()
    assert not inside.compiled


def test_an_exception_leaves_no_stance_behind() -> None:
    called = _function()
    with pytest.raises(ValueError, match="on the way"), really_eager():
        raise ValueError("on the way")
    counters.clear()
    called(torch.ones(2, 4))
    assert counters["stats"]["unique_graphs"] == 1
