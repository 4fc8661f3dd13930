"""`dynamic=batch` and `dynamic=unbacked`: the batch is a symbol, the other sizes are not, and results are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import run, table
from support.judging import workload

from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.plugins import Program, Unsupported

LOAD = replace(workload(), batch_size=4)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * mask.unsqueeze(-1)


class Branching(Net):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().forward(x, mask) * (2 if x.shape[0] == 4 else 1)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(dynamic: Any, model: torch.nn.Module, load: Any = LOAD) -> tuple[Callable[..., Any], list[int]]:
    """Return the callable, and a list that grows with each graph that is compiled."""
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(len(inputs))
        return graph

    compiler = TorchCompile(backend="eager", dynamic=dynamic)
    program = Program(model=model, inputs=inputs(load.batch_size, 6), loss=torch.Tensor.sum)
    compiler.check(load)
    return compiler._marked(
        torch.compile(model, backend=backend, dynamic=compiler._dynamic), program.inputs, load.batch_size
    ), graphs


def inputs(batch: int, length: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(batch, length, 8), "mask": torch.ones(batch, length)}


@pytest.mark.parametrize(
    ("dynamic", "graphs"),
    [("batch", [1, 1, 2, 3]), ("unbacked", [1, 1, 1, 2]), (False, [1, 2, 3, 4]), ("all", [1, 1, 2, 2])],
)
def test_one_graph_serves_all_batch_sizes(dynamic: Any, graphs: list[int]) -> None:
    """4, then 6, then 1, which only an unbacked size takes in; then another length, which "all" alone takes."""
    model = Net()
    forward, made = compiled(dynamic, model)
    seen = []
    for given in (inputs(4, 6), inputs(6, 6), inputs(1, 6), inputs(4, 7)):
        torch.testing.assert_close(forward(**given), model(**given))
        seen.append(len(made))
    assert seen == graphs


def test_the_batch_is_marked_whatever_its_size_is_when_it_is_first_called() -> None:
    """1 first, as many shapes of measure=dynamic_shapes begin: one graph for all where nothing is known of it."""
    model = Net()
    forward, made = compiled("unbacked", model)
    for size in (1, 2, 4, 8):
        given = inputs(size, 6)
        torch.testing.assert_close(forward(**given), model(**given))
    assert len(made) == 1


def test_a_model_that_needs_a_certain_batch_fails_by_name() -> None:
    forward, _ = compiled("batch", Branching())
    with pytest.raises(Exception, match=r"(?s)Constraints violated.*mark_dynamic|specializ"):
        forward(**inputs(4, 6))


def test_where_there_is_no_batch_to_mark_it_says_so() -> None:
    with pytest.raises(Unsupported, match="dynamic=batch needs batch_size=2"):
        compiled("batch", Net(), replace(LOAD, batch_size=1))
    with pytest.raises(Unsupported, match="no input has a dimension of the batch size, 5"):
        TorchCompile(dynamic="unbacked")._marked(lambda: None, inputs(4, 6), 5)
    with pytest.raises(ValueError, match="dynamic=length: write true, false, null, all, batch or unbacked"):
        TorchCompile(dynamic="length")


@pytest.mark.long
def test_the_dynamic_compilers_are_timed_and_judged_side_by_side(tmp_path: Path) -> None:
    names = ["inductor", "inductor_dynamic", "inductor_dynamic_batch", "inductor_dynamic_unbacked"]
    run(tmp_path, "suite=tiny", "suite.models=[bert_tiny]", f"compiler=eager,{','.join(names)}", "rounds=1")
    rows = table(tmp_path, "summary").set_index("compiler").loc[names]
    assert set(rows["performance"]) == set(rows["accuracy"]) == {"pass"}
    assert set(rows["judged"]) == {"the timed code"}
    assert set(rows["graphs"]) == {1}
    assert (rows["speedup"] > 0).all()
