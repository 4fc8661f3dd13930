"""The suite `transformers`: any class, config or repository, with random weights, over batch sizes and lengths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import orchestrator, table
from support.example_records import built_by
from support.plans import planned
from transformers import PreTrainedModel

from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.plugins import Program, Unsupported
from orchestrator.suites.fed import refuse_unfed
from orchestrator.suites.transformers_model import TransformersModel

BERT = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
T5 = {"vocab_size": 96, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
LAYERS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
VIT = {**LAYERS, "image_size": 32, "patch_size": 8}
ONE_JOB_EACH = ("compiler=eager", "measure=performance", "rounds=1")
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 3, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder: Path, **values: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def built(asked: str, length: int | None = 16, **options: Any) -> Program:
    name, found = TransformersModel.named(asked)
    workload = built_by("transformers_model.TransformersModel", name, suite="transformers", sequence_length=length)
    model = TransformersModel(**{**found, **options})
    model.preload_modules(workload)
    return model.build(workload, dropout=False)


def of(program: Program) -> Any:
    """Return the model of transformers inside its wrappers."""
    model = program.model
    while not isinstance(model, PreTrainedModel):
        model = model.model
    return model


def class_of(program: Program) -> str:
    return type(of(program)).__name__


# -- planning


def test_a_grid_over_batch_sizes_and_lengths(here: Path) -> None:
    config(here / "configs" / "our bert", model_type="bert")
    named = "[BertForMaskedLM,'configs/our bert',gpt2,google-bert/bert-base-uncased]"
    grid = ("batch_size=1,8", "sequence_length=32,128")
    jobs = planned("suite=transformers", f"suite.models={named}", *grid, *ONE_JOB_EACH).jobs
    points = {(job.workload.model, job.workload.batch_size, job.workload.sequence_length) for job in jobs}
    models = ("BertForMaskedLM", "our_bert", "gpt2", "bert-base-uncased")
    assert points == {(model, batch, length) for model in models for batch in (1, 8) for length in (32, 128)}
    options = {job.workload.model: dict(job.workload.builder.options) for job in jobs}
    assert options["BertForMaskedLM"] == {}
    assert options["our_bert"].pop("sha256")
    assert options["our_bert"] == {"model": str(here / "configs" / "our bert")}
    assert options["bert-base-uncased"] == {"model": "google-bert/bert-base-uncased"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"has no models of its own: name yours, as in suite\.models=\[\.\.\.\]"),
        (["suite.models=['a b']"], r"'a b' is no class of transformers, .*write BertForMaskedLM"),
    ],
)
def test_what_names_no_model(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned("suite=transformers", *overrides)


def test_a_named_model_can_be_excluded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("suite=transformers", "suite.models=[gpt2]", "compiler=eager,aot_eager", "dry_run=true")
    assert main([*words, "exclude=[{model:gpt2,compiler:aot_eager}]"]) == 0
    assert "gpt2" in capsys.readouterr().out
    assert main([*words, "exclude=[{model:gpt3}]"]) == 2
    assert "no model is named 'gpt3'" in capsys.readouterr().err


def test_values_of_the_config_reach_the_builder() -> None:
    layers = "++suite.common.build.config.num_hidden_layers=2,3"
    jobs = planned("suite=transformers", "suite.models=[BertForMaskedLM]", layers, *ONE_JOB_EACH).jobs
    assert [job.workload.builder.options for job in jobs] == [{"config": {"num_hidden_layers": n}} for n in (2, 3)]


# -- building


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (
            {"model_type": "bert", "architectures": ["BertForTokenClassification"], **BERT},
            "BertForTokenClassification",
        ),
        ({"model_type": "bert", **BERT}, "BertForMaskedLM"),
        ({"model_type": "gpt2", **GPT2}, "GPT2LMHeadModel"),
        ({"model_type": "t5", **T5}, "T5ForConditionalGeneration"),
        ({"model_type": "vit", **VIT}, "ViTForImageClassification"),
        ({"model_type": "bert", "architectures": ["BertModel"], **BERT}, "BertModel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_class_of_a_config(here: Path, values: dict[str, Any], name: str) -> None:
    config(here / "folder", **values)
    program = built("./folder", length=None if "Image" in name else 16)
    assert class_of(program) == name
    outputs = program.model.eval()(**program.inputs)
    assert ("loss" in outputs) is (name != "BertModel")


@pytest.mark.parametrize(
    ("name", "part", "what"),
    [
        ("LlavaForConditionalGeneration", "vision_config", r"has a part for images \(pixel_values\)"),
        ("PaliGemmaForConditionalGeneration", "vision_config", r"has a part for images \(pixel_values\)"),
        ("Qwen2AudioForConditionalGeneration", "audio_config", r"has a part for sound \(input_features\)"),
    ],
)
def test_a_part_that_gets_nothing_is_refused_unless_it_is_left_out_aloud(name: str, part: str, what: str) -> None:
    small = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    parts = {part: small if part == "audio_config" else LAYERS, "text_config": {**LAYERS, "vocab_size": 96}}
    without = {"pixel_values": None, "input_features": None}
    program = built(name, config=parts, inputs=without)
    assert list(program.inputs) == ["input_ids", "labels"]
    with pytest.raises(Unsupported, match=rf"{name} {what}.*suite\.common\.build\.inputs\."):
        refuse_unfed(of(program), program.inputs)


def test_the_file_may_have_any_name_and_the_overrides_win(here: Path) -> None:
    (config(here / "folder", model_type="gpt2", dtype="float16", **GPT2) / "config.json").rename(here / "small.json")
    assert TransformersModel.named("./small.json")[0] == "small"
    program = built("./small.json", config={"num_hidden_layers": 2}, class_name="GPT2ForSequenceClassification")
    assert class_of(program) == "GPT2ForSequenceClassification"
    assert len(program.model.model.transformer.h) == 2
    assert {parameter.dtype for parameter in program.model.parameters()} == {torch.float32}


def test_one_value_of_a_config_inside_a_config(here: Path) -> None:
    inner = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config(here / "clip", model_type="clip", architectures=["CLIPModel"], text_config={**inner, "vocab_size": 96},
           vision_config={**inner, "image_size": 32, "patch_size": 8})  # fmt: skip
    program = built("./clip", config={"text_config": {"num_hidden_layers": 1}},
                    inputs={"pixel_values": {"shape": ["batch", 3, 32, 32]}})  # fmt: skip
    assert len(of(program).text_model.encoder.layers) == 1
    assert len(of(program).vision_model.encoder.layers) == 3
    assert of(program).config.text_config.hidden_size == 32


def test_a_class_without_a_rule_runs_but_does_not_train() -> None:
    program = built("BertModel", config=BERT)
    with pytest.raises(Unsupported, match=r"returned no loss, only last_hidden_state.*: training needs labels"):
        program.loss(program.model(**program.inputs))


def test_a_config_on_the_hub_is_taken_from_the_cache_and_nothing_else(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    repository = here / "hub" / "models--someone--small"
    config(repository / "snapshots" / commit, model_type="bert", **BERT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert class_of(built("someone/small")) == "BertForMaskedLM"
    with pytest.raises(
        Unsupported, match=r"'someone/else' is not on this machine, and jobs are offline: take online=true"
    ):
        built("someone/else")


# -- what is refused


def test_code_that_comes_with_a_config_is_never_executed(here: Path) -> None:
    folder = config(
        here / "folder", model_type="bert", auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Net"}, **BERT
    )
    (folder / "code.py").write_text("raise RuntimeError('executed')")
    with pytest.raises(
        Unsupported, match=r"auto_map.* is never executed: name a class .*build\.class_name=.*suite=user"
    ):
        built("./folder")
    assert class_of(built("./folder", class_name="BertForMaskedLM")) == "BertForMaskedLM"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"model_type": "bert", "quantization_config": {}}, Unsupported, "quantised .* needs its weights"),
        ({"model_type": "nonsuch"}, Unsupported, "has no model of the type 'nonsuch'"),
        ({"architectures": ["NonsuchForMaskedLM"]}, Unsupported, "has no class 'NonsuchForMaskedLM'"),
        ({}, ValueError, r"neither architectures nor model_type: name the class as suite\.common\.build\.class_name"),
        ({"model_type": "gpt2", "architectures": ["BertForMaskedLM"]}, ValueError,
         "is a config of 'gpt2', but BertForMaskedLM takes one of 'bert'"),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_built(
    here: Path, values: dict[str, Any], error: type[Exception], message: str
) -> None:
    config(here / "folder", **values)
    with pytest.raises(error, match=message):
        built("./folder")


def test_a_folder_without_a_config(here: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere/config\.json cannot be read: No such file"):
        built("./nowhere")
    config(here / "folder").joinpath("config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        built("./folder")
    _, options = TransformersModel.named("./folder")
    config(here / "folder", model_type="bert", **BERT)
    with pytest.raises(ValueError, match="has changed since this job was planned"):
        TransformersModel(**options)._stored(options["model"])


# -- through the command


@pytest.mark.slow
def test_a_grid_through_the_command(tmp_path: Path) -> None:
    config(tmp_path / "bert_small", model_type="bert", **BERT)
    config(tmp_path / "own_code", model_type="bert", auto_map={"AutoModel": "code.Net"})
    orchestrator(
        tmp_path, "suite=transformers", "suite.models=[./bert_small,./own_code,someone/absent]", "batch_size=1,2",
        "sequence_length=8", "compiler=eager", "measure=accuracy"
    )  # fmt: skip
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 6
    assert {model: set(of["status"]) for model, of in rows.groupby("model")} == {
        "bert_small": {"pass"},
        "own_code": {"unsupported"},
        "absent": {"unsupported"},
    }
