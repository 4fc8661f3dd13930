"""Generation beyond decoders with keys and values: other caches, sound and images, beams; the dashboard's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from omegaconf import OmegaConf
from support.command import run, table
from support.points import MACHINE, point

from orchestrator.measures.compare import Rule, compare
from orchestrator.modes.generate import Decode, Generate, Prefill
from orchestrator.planning.plan import plan
from orchestrator.plugins import Program, Unsupported
from orchestrator.precision import cast
from orchestrator.records import PluginSpec, Workload
from orchestrator.suites.configured import configure
from orchestrator.suites.huggingface import HuggingFaceModel, find_class

CONF = Path(__file__).parents[1] / "conf"
BATCH, PROMPT, NEW = 2, 16, 6
SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64}
SOUND = {
    "vocab_size": 300, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
REFORMER = {
    "vocab_size": 300, "is_decoder": True, "hidden_size": 32, "attention_head_size": 16, "num_attention_heads": 2,
    "feed_forward_size": 64, "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16], "hash_seed": 0,
    "num_buckets": 4, "attn_layers": ["local", "lsh"], "max_position_embeddings": 128,
}  # fmt: skip
MODELS: Mapping[str, Mapping[str, Any]] = {
    "MambaForCausalLM": {**SMALL, "state_size": 4},
    "Mamba2ForCausalLM": {**SMALL, "state_size": 4, "num_heads": 4, "head_dim": 16, "n_groups": 1},
    "Qwen3_5ForCausalLM": {
        **SMALL, **HEADS, "num_hidden_layers": 4, "head_dim": 32, "linear_num_value_heads": 4,
        "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    },
    "RecurrentGemmaForCausalLM": {**SMALL, **HEADS, "num_hidden_layers": 3, "lru_width": 32},
    "RwkvForCausalLM": {**SMALL, "attention_hidden_size": 32},
    "xLSTMForCausalLM": {
        **SMALL, "hidden_size": 128, "embedding_dim": 128, "num_heads": 2, "qk_dim_factor": 1.0, "v_dim_factor": 1.0,
    },
    "XLNetLMHeadModel": {"vocab_size": 300, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
    "ReformerModelWithLMHead": REFORMER,
    "WhisperForConditionalGeneration": {
        **SOUND, "num_mel_bins": 16, "max_source_positions": 30, "max_target_positions": 64,
    },
    "Speech2TextForConditionalGeneration": {**SOUND, "input_feat_per_channel": 16, "conv_channels": 32},
}  # fmt: skip
WITH_SOUND = {
    "WhisperForConditionalGeneration": ["batch", "num_mel_bins", 60],
    "Speech2TextForConditionalGeneration": ["batch", 60, "input_feat_per_channel"],
}
OWN_CACHE = ("RwkvForCausalLM", "xLSTMForCausalLM", "XLNetLMHeadModel", "ReformerModelWithLMHead")
GROWS = ("XLNetLMHeadModel", "ReformerModelWithLMHead")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    torch._dynamo.reset()


def workload(model: str, **changes: Any) -> Workload:
    named = PluginSpec(name=model, target="tests.model", options={})
    mode = PluginSpec(name="generate", target="tests.generate", options={})
    length = None if model in WITH_SOUND else PROMPT
    made = Workload(
        suite="tests", builder=named, mode=mode, dtype="float32", device="cpu", batch_size=BATCH,
        sequence_length=length, seed=1, threads=1,
    )  # fmt: skip
    return replace(made, **changes)


def program(model: str) -> Program:
    """Return a model whose logits depend on all that it has seen: random weights are too small for that."""
    options: dict[str, Any] = {"class_name": model, "config": MODELS[model]}
    if model in WITH_SOUND:
        options |= {"labels": {}, "inputs": {"input_features": {"shape": WITH_SOUND[model]}, "decoder_input_ids": None}}
    made = HuggingFaceModel(**options).build(workload(model), dropout=False)
    return with_a_head(made)


def with_a_head(made: Program) -> Program:
    own: Any = made.model.model
    generator = torch.Generator().manual_seed(0)
    head = own.get_output_embeddings().weight
    with torch.no_grad():
        head.copy_(torch.randn(head.shape, generator=generator))
    return made


def theirs(made: Program, beams: int) -> torch.Tensor:
    """Return the tokens of transformers' own generate(), int64, [batch, new tokens]."""
    own: Any = made.model.model
    config = own.generation_config
    for name in ("eos_token_id", "forced_bos_token_id", "forced_eos_token_id"):
        setattr(config, name, None)
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        setattr(config, name, None)
    config.pad_token_id = 0
    decoding: Any = made.decoding
    given = {name: tensor for name, tensor in made.inputs.items() if name not in decoding.labels}
    if own.config.is_encoder_decoder:
        given = {name: tensor for name, tensor in given.items() if not name.startswith("decoder_")}
        given["decoder_start_token_id"] = decoding.start_token
    else:
        given["attention_mask"] = torch.ones_like(made.inputs["input_ids"])
    found = transformers.GenerationMixin.generate(
        own, **given, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, num_beams=beams, use_cache=True
    )
    return found[:, -NEW:]


@pytest.mark.parametrize("cache", ["static", "dynamic"])
@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_those_of_generate_whatever_the_cache(model: str, cache: str) -> None:
    made = program(model)
    step = Generate(NEW, cache).step
    if cache == "static" and model in GROWS:
        with pytest.raises(Unsupported, match=r"which grows with each token: .*mode\.options\.cache=dynamic"):
            step(made, made.model, workload(model))
        return
    tokens = step(made, made.model, workload(model))()
    assert tokens.shape == (BATCH, NEW)
    assert torch.equal(tokens, theirs(made, beams=1))


@pytest.mark.parametrize("cache", ["static", "dynamic"])
@pytest.mark.parametrize("model", ["MambaForCausalLM", "Qwen3_5ForCausalLM", "WhisperForConditionalGeneration"])
def test_beams_are_those_of_generate(model: str, cache: str) -> None:
    made = program(model)
    tokens = Generate(NEW, cache, beams=3).step(made, made.model, workload(model))()
    assert torch.equal(tokens, theirs(made, beams=3))
    greedy = Generate(NEW, cache).step(made, made.model, workload(model))()
    assert tokens.shape == greedy.shape


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("model", ["LlavaForConditionalGeneration", "Qwen2VLForConditionalGeneration"])
def test_a_prompt_with_an_image_goes_on_as_in_generate(model: str, beams: int) -> None:
    """Images in rows of their own, and the patches of all images in one list."""
    made = with_a_head(HuggingFaceModel(model, shrunk=True).build(workload(model), dropout=False))
    assert made.inputs["input_ids"].shape[1] > PROMPT
    tokens = Generate(NEW, "static", beams=beams).step(made, made.model, workload(model))()
    assert torch.equal(tokens, theirs(made, beams))


@pytest.mark.parametrize("model", [*OWN_CACHE, "RecurrentGemmaForCausalLM"])
def test_beams_of_what_cannot_be_reordered_are_unsupported(model: str) -> None:
    made = program(model)
    with pytest.raises(Unsupported, match="reorder"):
        Generate(NEW, "dynamic", beams=3).step(made, made.model, workload(model))()


@pytest.mark.parametrize("model", MODELS)
def test_decode_does_the_same_each_time_and_what_generate_does(model: str) -> None:
    made, load = program(model), workload(model)
    cache = "dynamic" if model in GROWS else "static"
    step = Decode(NEW, cache).step(made, made.model, load)
    first, second = step()["logits"].clone(), step()["logits"].clone()
    assert torch.equal(first, second)
    seen = [
        mode.observe(made, made.model, load) for mode in (Prefill(NEW, cache), Decode(NEW, cache), Generate(NEW, cache))
    ]
    prefilled, decoded, generated = (found["output.logits"] for found in seen)
    torch.testing.assert_close(prefilled, generated[:, 0])
    torch.testing.assert_close(decoded[:, : NEW - 1], generated[:, 1:])
    torch.testing.assert_close(seen[0]["output.logits_after"][:, 0], generated[:, 1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("model", MODELS)
def test_other_dtypes_generate(model: str, dtype: str) -> None:
    """float64 is the arbiter of accuracy."""
    made = cast(program(model), dtype, torch.device("cpu"))
    mode = Generate(2, "dynamic" if model in GROWS else "static")
    if model == "XLNetLMHeadModel":  # transformers 5.24: its positions are float32 in the path that predicts
        with pytest.raises(Unsupported, match="itself, without compiler, cannot go on"):
            mode.observe(made, made.model, workload(model, dtype=dtype))
        return
    logits = mode.observe(made, made.model, workload(model, dtype=dtype))["output.logits"]
    assert logits.shape == (BATCH, 2, 300)
    assert bool(logits.isfinite().all())


def test_a_model_whose_forward_takes_no_cache_is_unsupported() -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = {"text_config": {**small, "vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2}}
    config["vision_config"] = {**small, "image_size": 32}
    options = {"pixel_values": {"shape": ["batch", 3, 32, 32]}, "decoder_input_ids": None}
    builder = HuggingFaceModel("BlipForConditionalGeneration", config=config, inputs=options, labels={})
    load = workload("BlipForConditionalGeneration", sequence_length=8)
    made = builder.build(load, dropout=False)
    with pytest.raises(Unsupported, match="its forward, which is what is compiled, takes no cache"):
        Generate(NEW).step(made, made.model, load)


def test_what_a_model_itself_cannot_do_is_not_blamed_on_it() -> None:
    made, load = program("MambaForCausalLM"), workload("MambaForCausalLM")

    def without_cache(model: torch.nn.Module, args: Any, inputs: dict[str, Any]) -> None:
        if inputs.get("use_cache"):
            raise TypeError("an unexpected cache")

    made.model.register_forward_pre_hook(without_cache, with_kwargs=True)
    with pytest.raises(Unsupported, match=r"itself, without compiler, cannot go on from a static cache: .*unexpected"):
        Generate(NEW).step(made, made.model, load)

    def broken(model: torch.nn.Module, args: Any, inputs: dict[str, Any]) -> None:
        raise TypeError("broken")

    made.model.register_forward_pre_hook(broken, with_kwargs=True, prepend=True)
    with pytest.raises(TypeError, match="broken"):
        Generate(NEW).step(made, made.model, load)


def test_tokens_are_judged_and_ties_are_not_wrong() -> None:
    made, load = program("Qwen3_5ForCausalLM"), workload("Qwen3_5ForCausalLM")
    seen = Generate(NEW).observe(made, made.model, load)
    tokens = seen["output.tokens"]
    assert torch.equal(tokens, seen["output.logits"].argmax(-1))
    rule = Rule(tolerance=1e-3)
    assert all(record["passed"] for record in compare(seen, seen, None, rule))
    wrong = seen | {"output.tokens": (tokens + 1) % 300}
    records = {record["name"]: record for record in compare(seen, wrong, None, rule)}
    assert not records["output.tokens"]["passed"]
    tied = {name: tensor.clone() for name, tensor in seen.items()}
    tied["output.logits"][0, 0, :2] = tied["output.logits"][0, 0].max() + 1
    tied["output.tokens"][0, 0] = 0
    other = tied | {"output.tokens": tied["output.tokens"].clone()}
    other["output.tokens"][0, 0] = 1
    records = {record["name"]: record for record in compare(tied, other, None, rule)}
    assert (records["output.tokens"]["rule"], records["output.tokens"]["passed"]) == ("tie", True)


def test_accuracy_looks_at_as_many_tokens_as_it_is_told() -> None:
    made, load = program("MambaForCausalLM"), workload("MambaForCausalLM")
    seen = Generate(NEW, judged_tokens=2, compare_tokens=True).observe(made, made.model, load)
    assert seen["output.logits"].shape == (BATCH, 2, 300)
    assert seen["output.tokens"].shape == (BATCH, 2)
    assert seen["output.generated"].shape == (BATCH, NEW)
    assert "first 2 of" in Decode(NEW, judged_tokens=2).not_judged
    assert not any(
        mode.not_judged for mode in (Decode(NEW, judged_tokens=NEW), Prefill(NEW, judged_tokens=2), Decode(NEW))
    )
    beams = Generate(NEW, beams=3).observe(made, made.model, load)
    assert beams["output.logits"].shape == (3 * BATCH, NEW, 300)


# the dashboard's models


def suite(name: str) -> dict[str, Any]:
    found = OmegaConf.to_container(OmegaConf.load(CONF / "suite" / f"{name}.yaml"))
    assert isinstance(found, dict)
    return found


LLM, TWINS = suite("huggingface_llm")["catalog"], suite("huggingface_llm_small")["catalog"]


@pytest.mark.parametrize("model", LLM)
def test_the_dashboards_models_have_their_size(model: str) -> None:
    build = LLM[model]["build"]
    kind = find_class(build["class_name"])
    with torch.device("meta"):
        made = kind(configure(kind, build.get("config", {})))
    parameters = sum(parameter.numel() for parameter in made.parameters())
    assert parameters / 1e6 == pytest.approx(LLM[model]["params_m"], rel=0.01)


def test_twins_are_of_the_same_classes() -> None:
    assert [entry["build"]["class_name"] for entry in TWINS.values()] == [
        entry["build"]["class_name"] for entry in LLM.values()
    ]


def workloads(**options: Any) -> dict[str, Workload]:
    """Return the timed workload of each model, as they are planned in mode=generate."""
    asked = point("eager", mode="generate", suite=suite("huggingface_llm"), rounds=1)
    asked = replace(asked, mode=replace(asked.mode, options=options))
    return {job.workload.model: job.workload for job in plan([asked], MACHINE).jobs}


def test_they_are_planned_with_the_dashboards_settings() -> None:
    planned = workloads(new_tokens=None)
    assert list(planned) == list(LLM)
    assert {load.batch_size for load in planned.values()} == {1}
    whisper = planned.pop("whisper-tiny")
    assert (whisper.sequence_length, whisper.mode.options["new_tokens"]) == (None, 444)
    assert {(load.sequence_length, load.mode.options["new_tokens"]) for load in planned.values()} == {(1000, 2000)}
    assert {load.mode.options["new_tokens"] for load in workloads(new_tokens=7).values()} == {7}


@pytest.mark.parametrize("model", TWINS)
def test_twins_generate(model: str) -> None:
    entry = TWINS[model]
    length = None if "sequence_length" in entry else 12
    load = workload(model, sequence_length=length, batch_size=1)
    made = HuggingFaceModel(**entry["build"]).build(load, dropout=False)
    mode = Generate(4)
    tokens = mode.step(made, made.model, load)()
    seen = mode.observe(made, made.model, load)
    assert tokens.shape == (1, 4)
    assert seen["output.logits"].shape[:2] == (1, 4)
    assert bool(seen["output.logits"].isfinite().all())


@pytest.mark.long
def test_a_sweep_of_what_sees_and_hears(tmp_path: Path) -> None:
    """A decoder with images, encoder-decoders of images and text and of sound, and one that cannot be: it says why."""
    models = [f"{name}ForConditionalGeneration" for name in ("Llava", "Florence2", "Whisper", "Blip")]
    output = run(tmp_path, "suite=zoo", f"suite.models=[{','.join(models)}]", "compiler=aot_eager", "mode=generate",
                 "mode.options.new_tokens=4", "measure=accuracy")  # fmt: skip
    rows = table(tmp_path, "accuracy").set_index("model")
    assert dict(rows["status"]) == dict(zip(models, ["pass"] * 3 + ["unsupported"], strict=True)), output
    assert "its forward, which is what is compiled, takes no cache" in rows["reason"][models[-1]]


@pytest.mark.long
def test_a_sweep_of_twins_with_a_real_compiler(tmp_path: Path) -> None:
    """With sound, and with a state beside keys and values: fast and right, tokens judged."""
    output = run(tmp_path, "suite=huggingface_llm_small", "suite.models=[whisper_small,qwen_3_5_small]",
                 "compiler=inductor", "mode=generate", "mode.options.new_tokens=4", "rounds=1")  # fmt: skip
    summary = table(tmp_path, "summary").set_index(["model", "compiler"])
    for model in ("whisper_small", "qwen_3_5_small"):
        row = summary.loc[(model, "inductor")]
        assert (row["performance"], row["accuracy"]) == ("pass", "pass"), output
        assert row["tokens_per_second"] > 0
