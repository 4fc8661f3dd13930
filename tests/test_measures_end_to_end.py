"""Measures of what dynamo does, and of how far its results are off: real models, inductor, the command's own tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import ENVIRONMENT, latest, run, table

TINY = ("suite=tiny", "rounds=1")


@pytest.mark.slow
def test_each_measure_of_a_real_model_has_its_table(tmp_path: Path) -> None:
    measures = "tolerance,coverage,explain,recompilations,cache_lookup"
    output = run(tmp_path, *TINY, "suite.models=[bert_tiny]", "compiler=eager,inductor", f"measure={measures}")
    tolerance = table(tmp_path, "tolerance").set_index("compiler")
    assert tolerance.loc["eager", "relative_max"] == 0
    assert 0 < tolerance.loc["inductor", "relative_max"] < 1e-3
    assert 0.1 < tolerance.loc["inductor", "rmse_ratio"] < 10
    assert set(table(tmp_path, "tolerance_tensors")["tensor"]) == {"output.loss", "output.logits"}

    for name in ("coverage", "explain", "graph_breaks", "recompilations", "cache_lookup"):
        rows = table(tmp_path, name).set_index("compiler")
        assert rows.loc["eager", "status"] == "unsupported", name
        assert rows.loc["inductor", "status"] == "pass", name
        assert name.replace("_", " ") in output
    coverage = table(tmp_path, "coverage").set_index("compiler").loc["inductor"]
    assert coverage["captured_operators_percent"] > 90
    assert coverage["operators"] > 40
    explain = table(tmp_path, "explain").set_index("compiler").loc["inductor"]
    assert (explain["graphs"], explain["graph_breaks"]) == (1, 0)
    assert explain["first_call_s"] > explain["dynamo_time_s"] > 0.5
    assert table(tmp_path, "recompilations").set_index("compiler").loc["inductor", "recompiles"] == 0
    assert 0.5 < table(tmp_path, "cache_lookup").set_index("compiler").loc["inductor", "cache_lookup_us"] < 1e5


@pytest.mark.slow
def test_shapes_and_batches_of_a_real_model(tmp_path: Path) -> None:
    measures = "dynamic_shapes,batch_invariance"
    run(tmp_path, *TINY, "suite.models=[gpt2_tiny]", "compiler=aot_eager", f"measure={measures}")
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
    own = ("suite=user", "suite.models=[my.py:Counter]", "rounds=1", "measure=performance")
    output = run(tmp_path, *own, "compiler=eager,dynamo_eager")
    assert "measured: eager!" in output
    assert "was measured: eager: dynamo's recompile_limit was hit in forward" in " ".join(output.split())
    row = table(tmp_path, "performance").set_index("compiler").loc["dynamo_eager"]
    assert row["verdict"] == "measured: eager"
    assert row["speedup"] != row["speedup"]
    assert (row["graphs"], row["recompiles"], row["later_compilations"]) == (8, 7, 7)
    assert row["later_compile_s"] > 0
    assert "measured" in row["flags"]
    assert "measured: eager" in run(tmp_path, "report", "latest", "--md")


@pytest.mark.slow
def test_a_planted_bug_of_inductor_becomes_a_short_script_that_shows_it(tmp_path: Path) -> None:
    """T5 is the one of `tiny` with a ReLU, which is computed as x + 1."""
    bug = "compiler.options.options={cpp.inject_relu_bug_TESTING_ONLY: accuracy}"
    run(tmp_path, *TINY, "suite.models=[t5_tiny]", "compiler=inductor", f"+{bug}", "measure=minify", code=1)
    (row,) = json.loads((latest(tmp_path).tables / "minify.json").read_text())["tables"]["minify"]
    assert row["status"] == "fail_accuracy"
    assert row["reproduces"] == "yes"
    assert row["operators_after"] < 10 < row["operators_before"]
    assert row["minify_s"] > 1
    folder = latest(tmp_path).job(row["job"])
    assert sorted(file.name for file in (folder / "artifacts").iterdir()) == ["repro"]
    assert str(tmp_path) not in (folder / "artifacts" / "repro" / "repro.py").read_text()
    moved = (folder / "artifacts" / "repro").rename(tmp_path / "elsewhere")
    done = subprocess.run(
        [sys.executable, "repro.py"], cwd=moved, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "AccuracyError" in done.stderr


BEFORE_THE_GRAPHS = """
import torch

class Wrong(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 16)

    def forward(self, x):
        rows = torch.zeros(1, 16).expand(4, 16)
        return self.layer(torch.index_add(rows, 0, torch.tensor([0, 2]), x[:2]))

    def get_example_inputs(self, batch_size=4):
        return torch.randn(batch_size, 16)

class Right(Wrong):
    def forward(self, x):
        return self.layer(x).relu()
"""


@pytest.mark.slow
def test_what_goes_wrong_before_inductors_graphs_is_shown_too(tmp_path: Path) -> None:
    """index_add into an expanded tensor: each graph that inductor gets is compiled right, and the result is wrong."""
    (tmp_path / "net.py").write_text(BEFORE_THE_GRAPHS)
    models = "suite.models=[net.py:Wrong,net.py:Right]"
    run(tmp_path, "suite=user", models, "batch_size=4", "compiler=inductor", "measure=minify", code=1)
    rows = {row["model"]: row for row in table(tmp_path, "jobs").to_dict("records")}
    assert rows["Right"]["status"] == "pass"
    assert "every graph of inductor's is right, and so are the results" in rows["Right"]["reason"]
    assert rows["Wrong"]["status"] == "fail_accuracy"
    assert "the results are wrong although every graph of inductor's is right" in rows["Wrong"]["reason"]
    folder = latest(tmp_path).job(rows["Wrong"]["job"]) / "artifacts" / "repro"
    assert not (latest(tmp_path).job(rows["Right"]["job"]) / "artifacts" / "repro").exists()
    assert str(tmp_path) not in (folder / "repro.py").read_text()
    assert "orchestrator" not in (folder / "repro.py").read_text()
    moved = folder.rename(tmp_path / "elsewhere")
    for script in ("repro.py", "model.py"):
        done = subprocess.run(
            [sys.executable, script], cwd=moved, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "AccuracyError" in done.stderr, done.stderr
