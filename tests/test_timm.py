"""The timm suite: its list, what the builder promises, and what is said where something is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.command import run, table
from support.example_records import built_by

from orchestrator.plugins import Program, Unsupported
from orchestrator.suites import timm as suite
from orchestrator.suites.timm import TimmModel

CONF = Path(__file__).parents[1] / "conf" / "suite"
UPSTREAM = """
adv_inception_v3 beit_base_patch16_224 convnextv2_nano.fcmae_ft_in22k_in1k deit_base_distilled_patch16_224
deit_tiny_patch16_224.fb_in1k dm_nfnet_f0 ghostnet_100 inception_v3 mobilenetv2_100 mobilenetv3_large_100
mobilevit_s nfnet_l0 repvgg_a2 swin_base_patch4_window7_224 tf_efficientnet_b0 visformer_small
vit_base_patch14_dinov2.lvd142m vit_base_patch16_siglip_256
"""

present = pytest.mark.skipif(bool(suite._missing()), reason="pip install --no-deps pillow timm torchvision")


def catalog(name: str) -> dict[str, Any]:
    data = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(data, dict)
    return {model: {**data["common"], **entry} for model, entry in data["catalog"].items()}


def built(model: str, *, training: bool = False, dropout: bool = False, seed: int = 0, **options: Any) -> Program:
    mode = "training" if training else "inference"
    workload = built_by("timm.TimmModel", model, suite="timm", mode=mode, seed=seed)
    return TimmModel(**options).build(workload, dropout=dropout)


# -- the data


def test_the_list_is_upstreams() -> None:
    assert list(catalog("timm")) == UPSTREAM.split()


@pytest.mark.parametrize("model", UPSTREAM.split())
def test_batch_sizes_and_tolerances_are_complete(model: str) -> None:
    entry = catalog("timm")[model]
    assert entry["batch_size"]["accuracy"] == 8
    for device in ("cpu", "cuda"):
        assert entry["batch_size"][device] % entry.get("divisor", 1) == 0
    assert entry["tolerance"]["inference"] == 1e-3
    assert 1e-2 <= entry["tolerance"]["training"] <= 16e-2


@present
@pytest.mark.parametrize("model", UPSTREAM.split() + ["test_vit", "resnet18", "vit_tiny_patch16_224"])
def test_timm_has_it_and_its_parameter_count_is_true(model: str) -> None:
    timm = suite._timm(model)
    with torch.device("meta"):
        built = timm.create_model(model, pretrained=False)
    entry = {**catalog("timm"), **catalog("timm_small")}[model]
    count = sum(parameter.numel() for parameter in built.parameters()) / 1e6
    assert entry["params_m"] == (round(count) if count > 1 else round(count, 1))


# -- the builder


@present
@pytest.mark.parametrize("model", ["test_vit", "test_efficientnet", "resnet18"])
def test_forward_backward_and_what_is_drawn(model: str) -> None:
    program = built(model, training=True)
    (images,) = program.inputs.values()
    assert images.dim() == 4
    assert images.shape[:2] == (2, 3)
    assert images.dtype == torch.float32
    assert abs(images.mean()) < 1e-4
    assert images.std() == pytest.approx(1, abs=1e-4)
    assert images.unique().numel() <= 256
    loss = program.loss(program.model.train()(**program.inputs))
    loss.backward()
    assert loss.item() == pytest.approx(6.9, abs=2)  # log(1000): random weights, 1,000 classes
    assert any(parameter.grad.abs().sum() > 0 for parameter in program.model.parameters())


@present
@pytest.mark.parametrize("model", ["inception_v3", "repvgg_a2"])
def test_batch_normalisation_has_statistics_in_evaluation(model: str) -> None:
    program = built(model)
    with torch.no_grad():
        assert program.model.eval()(**program.inputs).abs().max() < 100  # without them: 1e12, and infinite in float16
    assert {module.momentum for module in program.model.modules() if hasattr(module, "momentum")} == {0.1}


@present
def test_all_comes_from_the_seed() -> None:
    first, same, other = built("test_vit"), built("test_vit"), built("test_vit", seed=1)
    weight = "head.weight"
    assert torch.equal(first.model.get_parameter(weight), same.model.get_parameter(weight))
    assert not torch.equal(first.model.get_parameter(weight), other.model.get_parameter(weight))
    assert torch.equal(first.inputs["x"], same.inputs["x"])
    assert not torch.equal(first.inputs["x"], other.inputs["x"])


@present
def test_dropout_of_ones_own_is_off_where_results_are_compared() -> None:
    arguments = {"drop_rate": 0.3, "drop_path_rate": 0.3}
    off = built("test_vit", arguments=arguments, training=True)
    off.model.train()
    assert torch.equal(off.model(**off.inputs), off.model(**off.inputs))
    on = built("test_vit", arguments=arguments, training=True, dropout=True)
    on.model.train()
    assert not torch.equal(on.model(**on.inputs), on.model(**on.inputs))


@present
def test_a_scaled_loss_and_a_model_without_a_head() -> None:
    outputs = torch.randn(2, 1000)
    assert built("test_vit", loss_divisor=1000).loss(outputs) * 1000 == pytest.approx(built("test_vit").loss(outputs))
    program = built("test_vit", arguments={"num_classes": 0})
    assert program.loss(program.model(**program.inputs)).isfinite()


@present
def test_other_batch_sizes_have_labels_of_their_own_the_same_at_every_call() -> None:
    """dynamic_shapes and recompilations train one model with several."""
    loss = built("test_vit").loss
    for batch in (1, 5):
        outputs = torch.randn(batch, 1000)
        assert loss(outputs) == loss(outputs)
    outputs = torch.randn(2, 1000)
    assert loss(outputs) == built("test_vit").loss(outputs)


# -- what is missing


@present
def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(Unsupported, match=r"timm \S+ has no model 'resnte18': did you mean 'resnet18'"):
        built("resnte18")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "torchvision" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(Unsupported, match=r"torchvision.* not installed: pip install --no-deps pillow timm"):
        built("test_vit")


# -- through the command: the workers have the remedy for torchvision, and so has the environment that `make` makes


@present
def test_what_imports_torchvision_works_in_the_environment_that_make_makes() -> None:
    code = "import sys; assert 'torch' not in sys.modules; from transformers import AlbertForPreTraining as a; print(a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AlbertForPreTraining" in done.stdout, done.stderr


@pytest.mark.slow
@present
def test_timm_and_transformers_run_beside_each_other(tmp_path: Path) -> None:
    run(tmp_path, "suite=timm_small", "suite.models=[test_vit]", "compiler=aot_eager", "measure=accuracy",
        "mode=training")  # fmt: skip
    assert set(table(tmp_path, "accuracy")["status"]) == {"pass"}
    run(tmp_path, "suite=tiny", "suite.models=[bert_tiny]", "compiler=eager", "measure=accuracy",
        "execution.launcher=subprocess")  # fmt: skip
    assert set(table(tmp_path, "accuracy")["status"]) == {"pass"}
