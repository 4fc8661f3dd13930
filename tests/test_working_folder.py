"""What a job writes where it runs is its own; what a model reads where the command runs is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import FAKES, latest, orchestrator

MODEL = """
from pathlib import Path

import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(int(Path("width.txt").read_text()), 4)  # relative: where the command runs

    def forward(self, x):
        return torch.nn.functional.gelu(self.layer(x))


class Writes(Model):
    def forward(self, x):
        Path("seen.txt").write_text("here")
        return super().forward(x)


def get_example_inputs(batch_size):
    return {"x": torch.randn(batch_size, 8)}
"""


def sweep(folder: Path, *arguments: str) -> list[str]:
    """Run one model; return what its jobs' artifacts hold, by their paths below them."""
    (folder / "model.py").write_text(MODEL)
    (folder / "width.txt").write_text("8")
    orchestrator(folder, *FAKES, "suite=user", "measure=glance", "rounds=1", "batch_size=2", *arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["model.py", "outputs", "width.txt"]
    jobs = latest(folder).jobs
    return sorted(str(path.relative_to(jobs)).partition("/artifacts/")[2] for path in jobs.glob("*/artifacts/**/*"))


@pytest.mark.slow
def test_debug_files_of_torch_are_the_jobs_artifacts(tmp_path: Path) -> None:
    found = sweep(
        tmp_path, "suite.models=[model.py:Model]", "compiler=inductor", "execution.env={TORCH_COMPILE_DEBUG:1}"
    )
    assert any(path.endswith("output_code.py") for path in found), found
    assert all(path.startswith("torch_compile_debug") for path in found)


@pytest.mark.slow
def test_what_a_model_writes_where_it_runs_is_the_jobs(tmp_path: Path) -> None:
    assert sweep(tmp_path, "suite.models=[model.py:Writes]", "compiler=eager") == ["seen.txt"]
    (job,) = latest(tmp_path).read_graph().jobs
    assert latest(tmp_path).artifacts(job.id).is_dir()
    assert sweep(tmp_path, "suite.models=[model.py:Model]", "compiler=eager") == []
    (job,) = latest(tmp_path).read_graph().jobs
    assert not latest(tmp_path).artifacts(job.id).exists()  # an empty folder says nothing
