"""Measures of what dynamo does, and of how far its results are off: real models, inductor, the command's own tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import ENVIRONMENT, MOMENT, latest, orchestrator, table

TINY = ("suite=tiny", "rounds=1")
COMPILER = "aot_eager_decomp_partition"
"""All of these look at dynamo, or at the results: what makes code of its graphs matters to none."""


@pytest.mark.slow
def test_each_measure_of_a_real_model_has_its_table(tmp_path: Path) -> None:
    measures = "tolerance,coverage,explain,recompilations,cache_lookup"
    output = orchestrator(
        tmp_path, *TINY, "suite.models=[bert_tiny]", f"compiler=eager,{COMPILER}", f"measure={measures}"
    )
    tolerance = table(tmp_path, "tolerance").set_index("compiler")
    assert tolerance.loc["eager", "relative_max"] == 0
    assert 0 < tolerance.loc[COMPILER, "relative_max"] < 1e-3
    assert 0.1 < tolerance.loc[COMPILER, "rmse_ratio"] < 10
    assert set(table(tmp_path, "tolerance_tensors")["tensor"]) == {"output.loss", "output.logits"}

    for name in ("coverage", "explain", "graph_breaks", "recompilations", "cache_lookup"):
        rows = table(tmp_path, name).set_index("compiler")
        assert rows.loc["eager", "status"] == "unsupported", name
        assert rows.loc[COMPILER, "status"] == "pass", name
        assert name.replace("_", " ") in output
    coverage = table(tmp_path, "coverage").set_index("compiler").loc[COMPILER]
    assert coverage["captured_operators_percent"] > 90
    assert coverage["operators"] > 40
    explain = table(tmp_path, "explain").set_index("compiler").loc[COMPILER]
    assert (explain["graphs"], explain["graph_breaks"]) == (1, 0)
    assert explain["first_call_s"] > explain["dynamo_time_s"] > 0.5
    assert table(tmp_path, "recompilations").set_index("compiler").loc[COMPILER, "recompiles"] == 0
    assert 0.5 < table(tmp_path, "cache_lookup").set_index("compiler").loc[COMPILER, "cache_lookup_us"] < 1e5


@pytest.mark.slow
def test_shapes_and_batches_of_a_real_model(tmp_path: Path) -> None:
    measures = "dynamic_shapes,batch_invariance"
    orchestrator(tmp_path, *TINY, "suite.models=[gpt2_tiny]", "compiler=aot_eager", f"measure={measures}")
    shapes = table(tmp_path, "dynamic_shapes")
    assert list(shapes["shape_batch_size"]) == [1, 2, 4, 8]
    assert (shapes["eager_latency_ms"] > 0).all()
    slices = table(tmp_path, "batch_invariance")
    assert list(slices["slice_batch_size"]) == [4, 2, 1]
    assert set(slices["batch_size"]) == {8}


COUNTER = """
import torch

class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = torch.nn.Linear(8, 8), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * self.calls

    def get_example_inputs(self, batch_size=4):
        return {"x": torch.randn(batch_size, 8)}
"""


@pytest.mark.slow
def test_a_model_over_the_recompile_limit_is_no_speed_up_of_its_compiler(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(COUNTER)
    own = ("suite=user", "suite.models=[my.py:Counter]", "rounds=1", *MOMENT)
    output = orchestrator(tmp_path, *own, "compiler=eager,dynamo_eager")
    assert "measured: eager!" in output
    assert "was measured: eager: dynamo's recompile_limit was hit in forward" in " ".join(output.split())
    row = table(tmp_path, "performance").set_index("compiler").loc["dynamo_eager"]
    assert row["verdict"] == "measured: eager"
    assert row["speedup"] != row["speedup"]
    assert (row["graphs"], row["recompiles"], row["later_compilations"]) == (8, 7, 7)
    assert row["later_compile_s"] > 0
    assert "measured" in row["flags"]
    assert "measured: eager" in orchestrator(tmp_path, "report", "latest", "--md")


WRONG = """
import torch

class Planted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x.sin() + x.cos()).tanh()
            x = x.relu() if number == 1 else x
        return x

    def get_example_inputs(self, batch_size=4):
        return torch.randn(batch_size, 16)

class BeforeTheGraphs(Planted):
    def forward(self, x):
        rows = torch.zeros(1, 16).expand(4, 16)
        return self.layers[0](torch.index_add(rows, 0, torch.tensor([0, 2]), x[:2]))

class Right(Planted):
    def forward(self, x):
        return self.layers[0](x).tanh()
"""


@pytest.mark.slow
def test_what_inductor_does_wrong_becomes_a_short_script_that_shows_it(tmp_path: Path) -> None:
    """A planted bug: a ReLU is computed as x + 1. And index_add into an expanded tensor: each graph that inductor gets
    is compiled right, and the result is wrong."""
    (tmp_path / "net.py").write_text(WRONG)
    models = "suite.models=[net.py:Planted,net.py:BeforeTheGraphs,net.py:Right]"
    bug = "+compiler.options.options={cpp.inject_relu_bug_TESTING_ONLY: accuracy}"
    orchestrator(tmp_path, "suite=user", models, "batch_size=4", "compiler=inductor", bug, "measure=minify", code=1)
    rows = {row["model"]: row for row in table(tmp_path, "jobs").to_dict("records")}
    folders = {model: latest(tmp_path).job(row["job"]) / "artifacts" for model, row in rows.items()}
    assert rows["Right"]["status"] == "pass"
    assert "every graph of inductor's is right, and so are the results" in rows["Right"]["reason"]
    assert not (folders["Right"] / "repro").exists()
    assert rows["Planted"]["status"] == rows["BeforeTheGraphs"]["status"] == "fail_accuracy"
    (row,) = (
        row
        for row in json.loads((latest(tmp_path).tables / "minify.json").read_text())["tables"]["minify"]
        if row["model"] == "Planted"
    )
    assert row["reproduces"] == "yes"
    assert row["operators_after"] < 10 < row["operators_before"]
    assert row["minify_s"] > 1
    assert "the results are wrong although every graph of inductor's is right" in rows["BeforeTheGraphs"]["reason"]
    for model, scripts in (("Planted", ["repro.py"]), ("BeforeTheGraphs", ["repro.py", "model.py"])):
        assert [file.name for file in folders[model].iterdir()] == ["repro"]
        assert str(tmp_path) not in (folders[model] / "repro" / "repro.py").read_text()
        moved = (folders[model] / "repro").rename(tmp_path / model)
        for script in scripts:
            done = subprocess.run(
                [sys.executable, script], cwd=moved, env=ENVIRONMENT, capture_output=True, text=True, check=False
            )
            assert done.returncode != 0
            assert "AccuracyError" in done.stderr, done.stderr
    assert "orchestrator" not in (tmp_path / "BeforeTheGraphs" / "repro.py").read_text()
