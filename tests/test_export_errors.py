"""The causes for which models cannot be exported, by kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import synthetic
from support.command import orchestrator, table

from orchestrator.records import CRASH, FAIL_TO_RUN, PluginSpec
from orchestrator.results.flags import parted
from orchestrator.results.load import load
from orchestrator.results.tables import build

ONNX = PluginSpec(name="onnx_dynamo", target="orchestrator.compilers.onnx_runtime.OnnxRuntime")
MODEL = """
import torch


class Branches(torch.nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


class Also(Branches):
    pass


class Fine(torch.nn.Module):
    def forward(self, x):
        return x + 1


def get_example_inputs(batch_size):
    return {"x": torch.randn(batch_size, 8)}
"""


@pytest.mark.parametrize(
    ("reason", "kind", "cause"),
    [
        ("RuntimeError: torch.onnx.export: ConversionError: no decomposition", "ConversionError", "no decomposition"),
        ("torch._dynamo.exc.UserError: Could not guard", "UserError", "Could not guard"),
        ("RuntimeError: torch.onnx.export: GuardOnDataDependentSymNode: u0", "GuardOnDataDependentSymNode", "u0"),
        ("Unsupported: call to a builtin", "Unsupported", "call to a builtin"),
        ("the ONNX model has 2 outputs", "", "the ONNX model has 2 outputs"),
        ("RuntimeError: aten::foo: not there", "RuntimeError", "aten::foo: not there"),
    ],
)
def test_a_reason_is_parted_into_kind_and_cause(reason: str, kind: str, cause: str) -> None:
    assert parted(reason) == (kind, cause)


def test_causes_are_counted_by_models(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "1" / "2")
    for model, reason in (("A", "ValueError: x"), ("B", "ValueError: x"), ("C", "KeyError: y")):
        for round in range(2):
            spec = synthetic.job(model, ONNX, round=round)
            sweep.add(spec, synthetic.failed_result(spec, FAIL_TO_RUN, reason))
    for model, compiler, status in (("D", ONNX, CRASH), ("E", "inductor", FAIL_TO_RUN)):  # neither is an export's
        spec = synthetic.job(model, compiler)
        sweep.add(spec, synthetic.failed_result(spec, status, "ValueError: x"))
    made = build(load(sweep.write())).findings["export_errors"]
    assert [(row["error_kind"], row["error_cause"], row["models"], row["such_as"]) for row in made.rows] == [
        ("ValueError", "x", 2, "A, B"),
        ("KeyError", "y", 1, "C"),
    ]


@pytest.mark.slow
def test_models_that_onnx_cannot_export(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    (tmp_path / "model.py").write_text(MODEL)
    models = "suite.models=[model.py:Branches,model.py:Also,model.py:Fine]"
    output = orchestrator(tmp_path, "suite=user", models, "compiler=onnx_dynamo", "measure=accuracy", code=1)
    (row,) = table(tmp_path, "export_errors").to_dict("records")
    assert row["models"] == 2
    assert row["such_as"] == "Branches, Also"
    assert row["error_kind"] in ("GuardOnDataDependentSymNode", "UserError")  # as the version of torch says
    assert "export errors" in output
    assert "export errors" in orchestrator(tmp_path, "report", "latest", "--md", code=1)
