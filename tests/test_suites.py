"""The Hugging Face suite: its data, its rules of inputs and labels, and what the builder promises."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import transformers
from omegaconf import OmegaConf

from orchestrator.plugins import Program, Unsupported, check_options
from orchestrator.records import STATUSES, PluginSpec, Workload
from orchestrator.suites.drawn import draw
from orchestrator.suites.dropout import silence
from orchestrator.suites.huggingface import HuggingFaceModel

CONF = Path(__file__).parents[1] / "conf" / "suite"
TARGET = "orchestrator.suites.huggingface.HuggingFaceModel"

# Whatever a config calls its sizes, made small. Only the keys that a config has are used.
SMALL: dict[str, Any] = {}
for sizes, value in [
    ("num_hidden_layers num_layers num_decoder_layers n_layer n_layers encoder_layers decoder_layers", 2),
    ("l_layers x_layers r_layers", 2),
    ("num_attention_heads num_heads n_head n_heads attention_heads", 2),
    ("encoder_attention_heads decoder_attention_heads", 2),
    ("hidden_size embedding_size d_model n_embd dim true_hidden_size intra_bottleneck_size word_embed_proj_dim", 32),
    ("intermediate_size d_ff d_inner hidden_dim encoder_ffn_dim decoder_ffn_dim ffn_dim feed_forward_size", 64),
]:
    SMALL |= dict.fromkeys(sizes.split(), value)
SMALL |= {"vocab_size": 96, "d_kv": 16, "attention_head_size": 16, "rotary_dim": 8, "conv_kernel_size": 3}
SMALL |= {"window_size": 8, "attention_window": [8, 8], "attention_types": [[["global", "local"], 1]], "block_size": 4}
SMALL |= {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16]}
SMALL |= {"num_buckets": 4, "lsh_attn_chunk_length": 8, "local_attn_chunk_length": 8}
SMALL |= {"attn_layers": ["local", "lsh"], "conv_dim": [32] * 7, "image_size": 32, "patch_size": 8}
SMALL |= {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
SMALL |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}


@cache
def suite(name: str) -> dict[str, Any]:
    data = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(data, dict)
    return data


def entry(suite_name: str, model: str) -> dict[str, Any]:
    return {**suite(suite_name)["common"], **suite(suite_name)["catalog"][model]}


def workload(model: str, *, batch: int = 4, sequence: int | None = 64, seed: int = 0, labels: bool = True) -> Workload:
    mode = PluginSpec(name="inference", target="orchestrator.modes.inference.Inference", options={"labels": labels})
    return Workload(
        suite="huggingface",
        builder=PluginSpec(name=model, target=TARGET),
        mode=mode,
        dtype="float32",
        device="cpu",
        batch_size=batch,
        sequence_length=sequence,
        seed=seed,
        threads=1,
    )


def small(class_name: str, *, dropout: bool = False, build: Any = None, **asked: Any) -> Program:
    """Build a class at toy size, with what `build` says laid over it."""
    build = dict(build or {})
    known = vars(getattr(transformers, class_name).config_class())
    build["config"] = {key: value for key, value in SMALL.items() if key in known} | build.get("config", {})
    build["config"].update({key: SMALL[key] for key in ("vocab_size", "num_buckets", "n_layer") if key in known})
    build["class_name"] = class_name
    if "Image" in class_name:
        asked["sequence"] = None
    return HuggingFaceModel(**build).build(workload(class_name, **asked), dropout=dropout)


def present(suite_name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return model -> (class name, build options) of all models that are not gone."""
    catalog = suite(suite_name)["catalog"]
    builds = {name: catalog[name].get("build", {}) for name in catalog if "gone" not in catalog[name]}
    return {name: (build.get("class_name", name), build) for name, build in builds.items()}


HUGGINGFACE = present("huggingface")
# Rules by name that the suite itself does not use.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {})
    for name in [
        "AlbertForPreTraining",
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForTokenClassification",
        "ElectraForPreTraining",
        "LxmertForPreTraining",
        "LxmertForQuestionAnswering",
        "ViTForImageClassification",
        "Wav2Vec2ForCTC",
    ]
}


# -- the data


@pytest.mark.parametrize("name", ["huggingface", "quick", "tiny"])
def test_entries_name_known_options_and_existing_classes(name: str) -> None:
    for model, data in suite(name)["catalog"].items():
        class_name = data.get("build", {}).get("class_name", model)
        check_options(PluginSpec(name=model, target=TARGET, options=data.get("build", {})), model)
        assert hasattr(transformers, class_name) is not ("gone" in data), f"{model}: {class_name}"


def test_the_suite_has_every_name_of_its_predecessors() -> None:
    """The dashboard's names and those of its older list, in benchmarks/dynamo/huggingface.py and its lists."""
    names = [
        "AlbertForMaskedLM",
        "AlbertForQuestionAnswering",
        "AllenaiLongformerBase",
        "BartForCausalLM",
        "BartForConditionalGeneration",
        "BertForMaskedLM",
        "BertForQuestionAnswering",
        "BigBird",
        "BlenderbotForCausalLM",
        "BlenderbotForConditionalGeneration",
        "BlenderbotSmallForCausalLM",
        "BlenderbotSmallForConditionalGeneration",
        "CamemBert",
        "DebertaForMaskedLM",
        "DebertaForQuestionAnswering",
        "DebertaV2ForMaskedLM",
        "DebertaV2ForQuestionAnswering",
        "DistilBertForMaskedLM",
        "DistilBertForQuestionAnswering",
        "DistillGPT2",
        "ElectraForCausalLM",
        "ElectraForQuestionAnswering",
        "GoogleFnet",
        "GPT2ForSequenceClassification",
        "GPTJForCausalLM",
        "GPTJForQuestionAnswering",
        "GPTNeoForCausalLM",
        "GPTNeoForSequenceClassification",
        "LayoutLMForMaskedLM",
        "LayoutLMForSequenceClassification",
        "M2M100ForConditionalGeneration",
        "MBartForCausalLM",
        "MBartForConditionalGeneration",
        "MegatronBertForCausalLM",
        "MegatronBertForQuestionAnswering",
        "MobileBertForMaskedLM",
        "MobileBertForQuestionAnswering",
        "MT5ForConditionalGeneration",
        "OPTForCausalLM",
        "PegasusForCausalLM",
        "PegasusForConditionalGeneration",
        "PLBartForCausalLM",
        "PLBartForConditionalGeneration",
        "Reformer",
        "RobertaForCausalLM",
        "RobertaForQuestionAnswering",
        "Speech2Text2ForCausalLM",
        "T5ForConditionalGeneration",
        "T5Small",
        "TrOCRForCausalLM",
        "XGLMForCausalLM",
        "XLNetLMHeadModel",
        "YituTechConvBert",
    ]
    assert list(suite("huggingface")["catalog"]) == names
    assert [name for name, data in suite("huggingface")["catalog"].items() if "gone" in data] == [
        "Speech2Text2ForCausalLM"
    ]


def test_every_skip_has_a_reason_and_known_keys() -> None:
    for model, data in suite("huggingface")["catalog"].items():
        for skip in data.get("skip", []):
            assert len(skip["reason"]) > 20, model
            assert skip.get("status", "unsupported") in STATUSES, model
            assert set(skip) - {"reason", "status"} <= {"measure", "mode", "device", "dtype", "compiler"}, model
            assert set(skip) & {"measure", "mode", "device", "dtype", "compiler"}, f"{model} is skipped as a whole"


@pytest.mark.parametrize("model", HUGGINGFACE)
def test_batch_sizes_and_tolerances_are_complete(model: str) -> None:
    data = entry("huggingface", model)
    assert data["batch_size"]["accuracy"] == 1
    for device in ("cpu", "cuda"):
        assert data["batch_size"][device] % data["divisor"] == 0, "the divisor leaves no remainder"
    assert {"inference", "training"} <= set(data["tolerance"])
    assert 0 < data["tolerance"]["inference"] <= data["tolerance"]["training"] < 0.1


@pytest.mark.parametrize("model", HUGGINGFACE)
def test_parameter_counts_are_true(model: str) -> None:
    class_name, build = HUGGINGFACE[model]
    model_class = getattr(transformers, class_name)
    with torch.device("meta"):
        built = model_class(model_class.config_class(**build.get("config", {})))
    count = sum(parameter.numel() for parameter in built.parameters()) / 1e6
    assert entry("huggingface", model)["params_m"] == round(count)


# -- every class, small: forward, backward, dropout


@pytest.mark.parametrize("model", {**HUGGINGFACE, **OTHERS})
def test_forward_backward_and_dropout_off(model: str) -> None:
    class_name, build = {**HUGGINGFACE, **OTHERS}[model]
    program = small(class_name, build=build, sequence=16000 if class_name == "Wav2Vec2ForCTC" else 64)
    program.model.train()
    torch.manual_seed(1)
    numpy.random.seed(1)
    first = program.model(**program.inputs)
    program.loss(first).backward()
    torch.manual_seed(2)
    numpy.random.seed(2)
    second = program.model(**program.inputs)

    assert all(isinstance(value, torch.Tensor) for value in first.values())
    assert math.isfinite(first["loss"].item())
    gradients = [parameter.grad for parameter in program.model.parameters() if parameter.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"{name} depends on random numbers although dropout is off"
    for module in program.model.modules():
        assert not isinstance(module, torch.nn.Dropout) or module.p == 0


def test_dropout_is_on_when_it_is_asked_for() -> None:
    program = small("BertForMaskedLM", dropout=True)
    assert {module.p for module in program.model.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}
    program.model.train()
    assert not torch.equal(program.model(**program.inputs)["loss"], program.model(**program.inputs)["loss"])


def test_layer_drop_counts_as_dropout() -> None:
    build = {"config": {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5}}
    decoder = small("M2M100ForConditionalGeneration", build=build).model.get_submodule("model.model.decoder")
    assert decoder.layerdrop == 0


def test_probabilities_that_a_class_does_not_read_from_its_config_are_silenced() -> None:
    layer = torch.nn.Sequential(torch.nn.Dropout(0.1), torch.nn.Linear(2, 2))
    layer[1].attention_dropout = 0.2
    layer[1].dropless = True
    silence(layer)
    assert (layer[0].p, layer[1].attention_dropout, layer[1].dropless) == (0.0, 0.0, True)


# -- the skips are still true


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fnet_does_not_run_in_the_skipped_dtypes(dtype: torch.dtype) -> None:
    program = small("FNetForMaskedLM", build=HUGGINGFACE["GoogleFnet"][1])
    with pytest.raises(RuntimeError, match="Unsupported dtype"):
        program.model.to(dtype)(**program.inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_deberta_does_not_run_under_autocast(dtype: torch.dtype) -> None:
    program = small("DebertaForMaskedLM")
    with torch.autocast("cpu", dtype), pytest.raises(RuntimeError, match="without overflow"):
        program.model(**program.inputs)


# -- the small suites, as they are


@pytest.mark.parametrize("name", ["quick", "tiny"])
def test_small_suites_build_and_run(name: str) -> None:
    kinds = set()
    for model, (class_name, build) in present(name).items():
        data = entry(name, model)
        asked = workload(model, batch=data["batch_size"]["cpu"], sequence=data["sequence_length"])
        program = HuggingFaceModel(**build).build(asked, dropout=True)
        program.model.eval()
        with torch.no_grad():
            assert program.loss(program.model(**program.inputs)).isfinite()
        count = sum(parameter.numel() for parameter in program.model.parameters()) / 1e6
        assert count == pytest.approx(data["params_m"], rel=0.5 if name == "tiny" else 0.1)
        kinds.add(class_name)
    assert len(kinds) == len(present(name)) >= 3


# -- seeds


def test_the_seed_alone_decides_weights_and_inputs() -> None:
    torch.manual_seed(7)
    first = small("T5ForConditionalGeneration", seed=3)
    torch.manual_seed(8)
    again, other = small("T5ForConditionalGeneration", seed=3), small("T5ForConditionalGeneration", seed=4)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    for name, value in first.inputs.items():
        assert torch.equal(value, again.inputs[name]), name
    assert not torch.equal(first.inputs["input_ids"], other.inputs["input_ids"])
    assert not torch.equal(
        first.model.state_dict()["model.shared.weight"], other.model.state_dict()["model.shared.weight"]
    )


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    small("BertForMaskedLM")
    assert torch.equal(before, torch.random.get_rng_state())


# -- inputs and labels


@pytest.mark.parametrize(
    ("class_name", "shapes"),
    [
        ("BertForMaskedLM", {"input_ids": (4, 64), "labels": (4, 64)}),
        ("GPT2LMHeadModel", {"input_ids": (4, 64), "labels": (4, 64)}),
        ("T5ForConditionalGeneration", {"input_ids": (4, 64), "decoder_input_ids": (4, 64), "labels": (4, 64)}),
        ("RobertaForQuestionAnswering", {"input_ids": (4, 64), "start_positions": (4,), "end_positions": (4,)}),
        ("GPT2ForSequenceClassification", {"input_ids": (4, 64), "labels": (4,)}),
        ("BertForTokenClassification", {"input_ids": (4, 64), "labels": (4, 64)}),
        ("BertForMultipleChoice", {"input_ids": (4, 3, 64), "labels": (4,)}),
        ("BertForNextSentencePrediction", {"input_ids": (4, 64), "labels": (4,)}),
        ("BertForPreTraining", {"input_ids": (4, 64), "labels": (4, 64), "next_sentence_label": (4,)}),
        ("AlbertForPreTraining", {"input_ids": (4, 64), "labels": (4, 64), "sentence_order_label": (4,)}),
        ("ElectraForPreTraining", {"input_ids": (4, 64), "labels": (4, 64)}),
        (
            "LxmertForQuestionAnswering",
            {"input_ids": (4, 64), "visual_feats": (4, 42, 2048), "visual_pos": (4, 42, 4), "labels": (4,)},
        ),
        ("ViTForImageClassification", {"pixel_values": (4, 3, 32, 32), "labels": (4,)}),
    ],
)
def test_rules_by_name(class_name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    inputs = small(class_name).inputs
    assert {name: tuple(tensor.shape) for name, tensor in inputs.items()} == shapes
    for name, tensor in inputs.items():
        assert tensor.unique().numel() > 1, f"all of {name} is one value"
        assert tensor.dtype == (torch.float32 if name.startswith(("visual", "pixel")) else torch.int64)


def test_integers_cover_their_range_where_there_is_room() -> None:
    sizes = {"batch": 5, "num_labels": 3}
    for seed in range(20):
        drawn = draw({"labels": {"shape": ["batch"], "high": "num_labels"}}, sizes.__getitem__, seed)["labels"]
        assert set(drawn.tolist()) == {0, 1, 2}
    drawn = draw({"ids": {"shape": [1000], "low": 10, "high": 10_000}}, sizes.__getitem__, 0)["ids"]
    assert 10 <= drawn.min() < 300
    assert 9_700 < drawn.max() < 10_000


def test_rules_in_a_suite_file_replace_those_by_name() -> None:
    build = {
        "inputs": {"decoder_input_ids": None, "attention_mask": {"shape": ["batch", "sequence"], "low": 1, "high": 2}},
        "labels": {"labels": {"shape": ["batch", 7], "high": 5}},
        "last_token": "eos_token_id",
    }
    inputs = small("T5ForConditionalGeneration", build=build).inputs
    assert list(inputs) == ["input_ids", "attention_mask", "labels"]
    assert inputs["labels"].shape == (4, 7)
    assert inputs["labels"].max() == 4
    assert inputs["attention_mask"].eq(1).all()
    assert inputs["input_ids"][:, -1].eq(2).all()


def test_without_labels_there_is_no_loss_and_the_message_says_what_to_set() -> None:
    program = small("BertForMaskedLM", labels=False)
    assert list(program.inputs) == ["input_ids"]
    outputs = program.model(**program.inputs)
    assert list(outputs) == ["logits"]
    with pytest.raises(Unsupported, match=r"returned no loss, only logits: .*labels=true"):
        program.loss(outputs)


def test_caches_and_hidden_states_are_no_outputs() -> None:
    build = {"config": {"output_hidden_states": True}}
    program = small("T5ForConditionalGeneration", build=build)
    assert list(program.model(**program.inputs)) == ["loss", "logits", "encoder_last_hidden_state"]


# -- compilers see one graph


@pytest.mark.parametrize("class_name", ["BertForMaskedLM", "GPT2LMHeadModel", "GPT2ForSequenceClassification"])
def test_no_graph_break_no_recompilation_and_exportable(class_name: str) -> None:
    torch.compiler.reset()
    program = small(class_name, build={"config": {"pad_token_id": 0}})
    program.model.eval()
    compiled = torch.compile(program.model, backend="eager", fullgraph=True)
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        losses = [compiled(**program.inputs)["loss"] for _ in range(3)]
        eager = program.model(**program.inputs)
        exported = torch.export.export(program.model, (), program.inputs).module()(**program.inputs)
    assert all(torch.equal(loss, eager["loss"]) for loss in losses)
    assert list(exported) == list(eager)
    torch.compiler.reset()


# -- what cannot be built says why


@pytest.mark.parametrize(
    ("class_name", "config", "length", "limit"),
    [
        ("BertForMaskedLM", {}, 513, 512),
        ("GPT2LMHeadModel", {"n_positions": 100}, 101, 100),
        ("RobertaForCausalLM", {}, 511, 510),  # counts positions from 2
        ("LongformerForMaskedLM", {"max_position_embeddings": 66}, 65, 64),
        ("LlamaForCausalLM", {"max_position_embeddings": 128}, 129, 128),
        ("ReformerForMaskedLM", {}, 65, 64),
    ],
)
def test_too_long_a_sequence_names_value_limit_and_remedy(
    class_name: str, config: dict[str, Any], length: int, limit: int
) -> None:
    build = {"config": config}
    with pytest.raises(ValueError, match=rf"sequence_length {length} is over the {limit} positions .*build\.config\."):
        small(class_name, build=build, sequence=length, batch=1)
    program = small(class_name, build=build, sequence=limit, batch=1)
    program.model.eval()
    assert program.model(**program.inputs)["loss"].isfinite()


def test_relative_positions_have_no_limit() -> None:
    program = small("T5ForConditionalGeneration", sequence=700, batch=1)
    assert program.model(**program.inputs)["loss"].isfinite()


def build_error(error: type[Exception], match: str, **options: Any) -> None:
    with pytest.raises(error, match=match):
        HuggingFaceModel(**options).build(workload("model"), dropout=False)


def test_errors_say_what_to_do() -> None:
    gone, typo = (
        "has no class 'Speech2Text2ForCausalLM'",
        r"has no class 'BertForMaskLM'.*did you mean 'BertForMaskedLM'",
    )
    build_error(Unsupported, gone, class_name="Speech2Text2ForCausalLM")
    build_error(Unsupported, typo, class_name="BertForMaskLM")
    build_error(Unsupported, "'BertConfig' is no model class", class_name="BertConfig")
    build_error(Unsupported, "'AutoModelForCausalLM' is no model class", class_name="AutoModelForCausalLM")
    build_error(ValueError, r"no rule for the labels of 'BertModel'.*build\.labels", class_name="BertModel")
    build_error(
        ValueError,
        r"BertConfig has no 'hidden_sise' .*did you mean 'hidden_size'",
        class_name="BertForMaskedLM",
        config={"hidden_sise": 8},
    )
    build_error(ValueError, r"has no number 'pad_token_id'", class_name="GPT2LMHeadModel", last_token="pad_token_id")


def test_a_length_that_no_input_has_is_refused() -> None:
    build_error(
        Unsupported,
        r"ViTForImageClassification takes no length, and sequence_length=64 .*suite\.common\.sequence_length=null",
        class_name="ViTForImageClassification",
        config={key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "image_size", "patch_size")},
    )


def test_a_model_without_a_rule_is_built_with_labels_given() -> None:
    program = small("BertModel", build={"labels": {}})
    assert list(program.inputs) == ["input_ids"]
    assert list(program.model(**program.inputs)) == ["last_hidden_state", "pooler_output"]
