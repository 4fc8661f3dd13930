"""The zoo: a config of any architecture made small, the models of experiments/zoo.yaml, and the page that it made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.command import ROOT, orchestrator, table
from support.plans import planned

from orchestrator.plugins import Program
from orchestrator.records import PluginSpec, Workload
from orchestrator.suites.configured import configure, constructed
from orchestrator.suites.shrunk import VOCABULARY, WIDTH, shrunk
from orchestrator.suites.transformers_model import TransformersModel

PAGE = ROOT / "docs" / "zoo.md"


def small(name: str, **values: Any) -> Any:
    """Return the small config of a class."""
    model_class = getattr(transformers, name)
    return configure(model_class, values, shrunk(model_class.config_class()))


def built(name: str, **options: Any) -> Program:
    workload = Workload(
        suite="zoo",
        builder=PluginSpec(name=name, target="orchestrator.suites.transformers_model.TransformersModel"),
        mode=PluginSpec(name="inference", target="orchestrator.modes.inference.Inference"),
        dtype="float32",
        device="cpu",
        batch_size=2,
        sequence_length=16,
        seed=0,
        threads=1,
    )
    return TransformersModel(shrunk=True, **options).build(workload, dropout=False)


# -- a small config


@pytest.mark.parametrize(
    "name",
    [
        "BertForMaskedLM",
        "DeepseekV3ForCausalLM",
        "GPT2LMHeadModel",
        "LlavaForConditionalGeneration",
        "Mamba2ForCausalLM",
    ],
)
def test_a_small_config_is_thin_and_the_default_stays(name: str) -> None:
    default = getattr(transformers, name).config_class()
    before = default.to_dict()
    text = small(name).get_text_config()
    assert default.to_dict() == before
    assert text.hidden_size <= WIDTH
    assert text.num_hidden_layers == 2
    assert text.vocab_size == VOCABULARY


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Gemma3ForCausalLM", ["sliding_attention", "sliding_attention", "full_attention"]),
        ("Qwen3NextForCausalLM", ["linear_attention", "linear_attention", "full_attention"]),
        ("Lfm2ForCausalLM", ["full_attention", "full_attention"]),
        ("SmolLM3ForCausalLM", ["full_attention"] * 3),  # the third has no rotary positions
        ("Llama4ForCausalLM", ["chunked_attention", "chunked_attention", "full_attention"]),
    ],
)
def test_every_kind_of_layer_stays(name: str, kinds: list[str]) -> None:
    default = getattr(transformers, name).config_class()
    config = small(name)
    assert set(config.layer_types) == set(default.layer_types)
    assert config.num_hidden_layers == len(config.layer_types) < default.num_hidden_layers
    assert config.layer_types == kinds


def test_what_is_said_of_one_layer_follows_it() -> None:
    """Gemma 4 has wider heads in its full attention, the sixth layer of thirty."""
    config = small("Gemma4ForCausalLM")
    assert config.layer_types == ["sliding_attention", "sliding_attention", "full_attention"]
    assert [int(number) for number in config.to_dict()["per_layer_config"]] == [2]


def test_parts_fit_together_and_tokens_lie_inside_the_vocabulary() -> None:
    config = small("Qwen3VLForConditionalGeneration")
    default = transformers.Qwen3VLConfig()
    assert default.vision_config.out_hidden_size != default.text_config.hidden_size  # of two models
    assert config.vision_config.out_hidden_size == config.text_config.hidden_size == WIDTH
    assert config.text_config.num_attention_heads % config.text_config.num_key_value_heads == 0
    tokens = [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]
    assert len(set(tokens)) == 4
    assert max(tokens) < config.text_config.vocab_size


def test_layers_that_others_take_stay_as_many_and_those_of_a_kind_stay_of_it() -> None:
    config = small("MllamaForConditionalGeneration")
    default = transformers.MllamaConfig()
    taken = config.vision_config.intermediate_layers_indices
    assert len(taken) == len(default.vision_config.intermediate_layers_indices)
    assert max(taken) < config.vision_config.num_hidden_layers < default.vision_config.num_hidden_layers
    assert config.text_config.cross_attention_layers == [config.text_config.num_hidden_layers - 1] == [2]


def test_a_backbone_gives_as_many_stages_as_before() -> None:
    default = transformers.DepthAnythingConfig().backbone_config
    backbone = small("DepthAnythingForDepthEstimation").backbone_config
    assert len(backbone.out_features) == len(default.out_features) == 4
    assert backbone.num_hidden_layers < default.num_hidden_layers


def test_stages_have_fewer_layers_and_the_same_widths() -> None:
    config = small("SwinForImageClassification")
    assert (config.depths, config.embed_dim, config.num_heads) == ([2, 2, 2, 2], 96, [3, 6, 12, 24])


@pytest.mark.parametrize(
    "name",
    [
        "ZambaForCausalLM",  # weights that two layers of a kind have in common
        "FalconH1ForCausalLM",  # a width of its own for the heads of its states
        "Dots3NoteForCausalLM",  # single layers with heads of their own
        "BrosForTokenClassification",  # numbers that the config's class works out
        "CsmForConditionalGeneration",  # a codec inside, convolutions in as many groups as it is wide
        "Deimv2ForObjectDetection",  # widths in lists, and of stages that stay
        "VipLlavaForConditionalGeneration",  # layers of another part, by their numbers
        "ReformerForMaskedLM",  # widths that add up to that of the hidden state
        "HunYuanDenseV1ForCausalLM",  # what a config leaves open, and its class needs
    ],
)
def test_an_architecture_with_rules_of_its_own_is_built_small(name: str) -> None:
    with torch.device("meta"):
        model = constructed(getattr(transformers, name), small(name))
    assert sum(parameter.numel() for parameter in model.parameters()) < 40e6


def test_what_a_config_leaves_open_is_named() -> None:
    with pytest.raises(ValueError, match=r"HieraForPreTraining cannot be built .* leaves decoder_depth, .* open: set"):
        constructed(transformers.HieraForPreTraining, transformers.HieraConfig())


def test_values_of_the_config_are_laid_over_the_small_one(tmp_path: Path) -> None:
    assert built("BertForMaskedLM", config={"num_hidden_layers": 3}).model.model.config.num_hidden_layers == 3
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 30000, "hidden_size": 1024}))
    found = built("ours", model=str(tmp_path), config={"num_hidden_layers": 1}).model.model.config
    assert (found.hidden_size, found.vocab_size, found.num_hidden_layers) == (WIDTH, VOCABULARY, 1)


# -- the experiment and its page


@pytest.fixture(scope="module")
def cells() -> set[tuple[str, str, str, str]]:
    """Suite, model, mode and compiler of each judged job that the experiment plans."""
    cwd = Path.cwd()
    assert cwd == ROOT, "experiments/zoo.yaml names its files from the project's folder"
    jobs = [job for job in planned("experiment=zoo").jobs if job.measure.name == "accuracy"]
    return {(job.workload.suite, job.workload.model, job.workload.mode.name, job.compiler.name) for job in jobs}


def test_it_has_as_many_models_as_it_says(cells: set[tuple[str, str, str, str]]) -> None:
    models = {suite: {model for own, model, *_ in cells if own == suite} for suite in ("zoo", "timm", "user")}
    counts = {suite: len(own) for suite, own in models.items()}
    said = re.search(r"(\d+) architectures of transformers .*?, (\d+) models of timm, (\d+) as", _comment())
    assert said is not None
    assert counts == dict(zip(("zoo", "timm", "user"), map(int, said.groups()), strict=True))
    assert counts["zoo"] >= 80
    assert min(counts["timm"], counts["user"]) >= 20
    for suite, own in models.items():
        for compiler in ("inductor", "export", "onnx_dynamo"):
            third = {model for at, model, mode, name in cells if (at, mode, name) == (suite, "inference", compiler)}
            assert len(third) * 3 >= len(own), (suite, compiler)


def _comment() -> str:
    lines = (ROOT / "experiments" / "zoo.yaml").read_text().splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def test_the_page_has_each_model_of_the_experiment(cells: set[tuple[str, str, str, str]]) -> None:
    text = PAGE.read_text()
    told: set[tuple[str, str, str, str]] = set()
    for suite, section in re.findall(r"^## (\w+): \d+ models\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL):
        head, _, *lines = [line.strip("| ").split(" | ") for line in section.strip().splitlines()]
        columns = [tuple(name.split(", ")) for name in head[1:]]
        for model, *values in lines:
            asked = zip(columns, values, strict=True)
            told |= {(suite, model.strip("`"), mode, compiler) for (compiler, mode), value in asked if value != "—"}
    assert told == cells
    numbers = {int(number) for number in re.findall(r"\((\d+)\) \|", text)}
    assert numbers == {int(number) for number in re.findall(r"^(\d+)\. `", text, re.MULTILINE)}


@pytest.mark.slow
def test_some_of_it_runs(tmp_path: Path) -> None:
    models = "[LlamaForCausalLM,ViTForImageClassification]"
    orchestrator(
        tmp_path,
        "suite=zoo",
        f"suite.models={models}",
        "compiler=aot_eager",
        "mode=inference,training",
        "measure=accuracy",
    )
    found = table(tmp_path, "accuracy")
    assert set(found["status"]) == {"pass"}
    assert len(found) == 4
