"""Models whose outputs, or parts, compilers that capture ahead of time do not know: given back, or refused with why."""

from __future__ import annotations

import dataclasses
import enum
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.judging import workload
from torch import nn

from orchestrator.compilers.export import Export
from orchestrator.compilers.flat_outputs import FlatOutputs, flattened
from orchestrator.compilers.onnx_runtime import OnnxRuntime
from orchestrator.compilers.openvino import OpenVINOConvert
from orchestrator.compilers.torchscript import JitTrace
from orchestrator.plugins import Program, Unsupported
from orchestrator.probes.observed import named_outputs
from orchestrator.suites.example_inputs import by_name

CAPTURING = [
    *(JitTrace(), OnnxRuntime(), OnnxRuntime(exporter="torchscript")),
    *(OpenVINOConvert(), OpenVINOConvert(capture="trace")),
]


class Task(enum.Enum):
    TAGGING = 1


@dataclasses.dataclass(frozen=True)
class Prediction:
    logits: torch.Tensor
    parts: tuple[dict[str, torch.Tensor], ...]
    task: str
    nothing: None = None


class Net(nn.Module):
    def __init__(self, kind: str = "dataclass") -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(4, 3), kind

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer(x)
        if self.kind == "dataclass":
            return Prediction(y, ({"relu": y.relu()},), "tagging")
        if self.kind == "namespace":
            return types.SimpleNamespace(logits=y, inner=types.SimpleNamespace(relu=[y.relu()]), task=Task.TAGGING)
        if self.kind == "texts":
            return {"logits": y, "task": "tagging", "count": 3, "none": None}
        return {"logits": y, "empty": y[:, :0]}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def program(model: nn.Module, *inputs: torch.Tensor) -> Program:
    called, tensors = by_name(model.eval(), inputs or (torch.randn(2, 4),), "inputs")
    return Program(called, tensors, lambda outputs: torch.zeros(()))


@pytest.mark.parametrize("kind", ["dataclass", "namespace", "texts", "empty"])
@pytest.mark.parametrize("compiler", CAPTURING, ids=str)
def test_outputs_are_built_as_the_models_own(compiler: Any, kind: str) -> None:
    asked = program(Net(kind))
    forward = compiler.compile(asked, workload())
    x = torch.randn(2, 4)
    with torch.no_grad():
        ours, theirs = forward(x=x), asked.model(x=x)
    assert type(ours) is type(theirs)
    ours, theirs = named_outputs(ours), named_outputs(theirs)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, msg=name)


def test_what_is_no_tensor_stays_and_the_capture_keeps_none() -> None:
    outputs = Net("namespace")(torch.randn(2, 4))
    structure, tensors = flattened(outputs)
    again = structure.restored([tensor + 1 for tensor in tensors])
    assert again.task is Task.TAGGING
    assert torch.equal(again.inner.relu[0], outputs.inner.relu[0] + 1)
    assert torch.equal(again.logits, outputs.logits + 1)
    with pytest.raises(ValueError, match="3 tensors for outputs of 2"):
        structure.restored([*tensors, tensors[0]])


def test_an_exporter_that_does_not_show_how_outputs_are_built_has_not_failed() -> None:
    x = torch.randn(2, 4)
    assert FlatOutputs(Net(), ("x",)).structure(x).shapes == [(2, 3), (2, 3)]


def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))


def test_a_scripted_model_is_called_and_watched_like_any_other() -> None:
    asked = program(scripted())
    seen = []
    asked.model.register_forward_hook(lambda _model, _inputs, outputs: seen.append(outputs))
    assert asked.model(**asked.inputs).shape == (2, 3)
    assert len(seen) == 1


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("compiler", [Export(), Export(strict=True), *CAPTURING[1:4]], ids=str)
def test_what_captures_python_refuses_torchscript(compiler: Any, whole: bool) -> None:
    model = scripted() if whole else nn.Sequential(nn.Linear(4, 4), scripted())
    with pytest.raises(Unsupported, match=r"is a TorchScript module \(Sequential\), and torch\.\w+ captures Python"):
        compiler.compile(program(model), workload())
