"""The torchbench suite. The package cannot be installed here, so a stand-in has its interface:

`torchbenchmark.models.<name>.Model(test=, device=, batch_size=, extra_args=).get_module()`, as in pytorch/benchmark.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.example_records import built_by
from support.plans import planned

from orchestrator.plugins import Program, Unsupported
from orchestrator.suites.torchbench import TorchbenchModel

UPSTREAM = """
BERT_pytorch Background_Matting LearningToPaint alexnet dcgan densenet121 mnasnet1_0 mobilenet_v2
mobilenet_v3_large nvidia_deeprecommender pytorch_unet resnet18 resnet50 resnext50_32x4d shufflenet_v2_x1_0
squeezenet1_1 vgg16
"""

SMALL = """
import torch

class Model:
    DEFAULT_TRAIN_BSIZE, DEFAULT_EVAL_BSIZE, ALLOW_CUSTOMIZE_BSIZE = 8, 4, {customize}

    def __init__(self, test, device, batch_size=None, extra_args=[]):
        torch.manual_seed = lambda seed: torch.default_generator.manual_seed(1337)  # as BenchmarkModel does
        self.batch_size = batch_size
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.5)).to(device)
        self.example = ({example},)

    def get_module(self):
        return self.model, self.example
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "torchbenchmark"
    tensor = "torch.randn(batch_size, 4)"
    models = {
        "models/small": SMALL.format(customize=True, example=tensor),
        "canary_models/canary": SMALL.format(customize=True, example=tensor),
        "models/fixed": SMALL.format(customize=False, example=tensor),
        "models/nested": SMALL.format(customize=True, example=f"[{tensor}]"),
        "models/needy": "import nowhere_to_be_found",
    }
    for name, text in models.items():
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(text)
    for folder in (root, root / "models", root / "canary_models"):
        (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    for name in [name for name in sys.modules if name.startswith("torchbenchmark")]:
        del sys.modules[name]


def built(model: str, batch: int = 3, *, dropout: bool = False, training: bool = False) -> Program:
    mode = "training" if training else "inference"
    workload = built_by("torchbench.TorchbenchModel", model, suite="torchbench", mode=mode, batch_size=batch, seed=5)
    return TorchbenchModel().build(workload, dropout=dropout)


def test_it_plans_upstreams_list_and_any_other_name() -> None:
    models = {job.workload.model for job in planned("suite=torchbench", "measure=performance").jobs}
    assert set(UPSTREAM.split()) < models
    jobs = planned("suite=torchbench", "suite.models=[phlippe_resnet]", "device=cpu", "measure=accuracy").jobs
    assert {(job.workload.model, job.workload.batch_size) for job in jobs} == {("phlippe_resnet", 4)}


def test_without_the_package_it_says_how_to_install_it() -> None:
    with pytest.raises(
        Unsupported, match=r"torchbenchmark is not installed: git clone .*install\.py resnet18 .*unrelated"
    ):
        built("resnet18")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("model", ["small", "canary"])
def test_a_model_is_built_with_the_batch_asked_for(model: str) -> None:
    own = torch.manual_seed
    program = built(model)
    assert torch.manual_seed is own
    assert {name: tuple(tensor.shape) for name, tensor in program.inputs.items()} == {"input": (3, 4)}
    outputs = program.model.train()(**program.inputs)
    assert torch.equal(outputs, program.model(**program.inputs))  # no dropout
    torch.testing.assert_close(program.loss(outputs), outputs.mean())
    assert torch.equal(built(model).inputs["input"], program.inputs["input"])
    assert built(model, dropout=True).model[1].p == 0.5


@pytest.mark.usefixtures("package")
def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(Unsupported, match=r"has no model 'nonsuch': looked for torchbenchmark.models.nonsuch and"):
        built("nonsuch")
    with pytest.raises(Unsupported, match=r"needy needs the package 'nowhere_to_be_found': .*install\.py needy"):
        built("needy")
    with pytest.raises(Unsupported, match="fixed has one batch size, 4, not 3: run it with batch_size=4"):
        built("fixed")
    assert built("fixed", 8, training=True).inputs["input"].shape == (8, 4)
    assert list(built("nested").inputs) == ["input_0"]
