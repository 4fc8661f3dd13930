"""Inputs of transformers' models that nobody wrote: found from `forward`, the config and the configs inside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.example_records import built_by
from support.plans import planned

from orchestrator.plugins import Program, Unsupported
from orchestrator.suites.transformers_model import TransformersModel

LAYERS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXT = {**LAYERS, "vocab_size": 96, "num_key_value_heads": 2}
TOWER = {**LAYERS, "image_size": 32, "patch_size": 8}
CLIP = {**TOWER, "projection_dim": 32}
LLAVA = {"text_config": TEXT, "vision_config": {**CLIP, "num_hidden_layers": 2}}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
MEL = {"num_mel_bins": 8, "max_source_positions": 20}
ENCODER = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
DECODER = {"vocab_size": 96, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64}
WAVES = {**LAYERS, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
SERIES = {**ENCODER, **DECODER, "d_model": 16, "prediction_length": 6, "context_length": 12, "lags_sequence": [1, 2]}
SERIES = {key: value for key, value in SERIES.items() if key != "vocab_size"} | {"num_time_features": 2}
DETECTOR = {**ENCODER, **{key: value for key, value in DECODER.items() if key != "vocab_size"}, "num_queries": 8}
QWEN_TOWER = {"depth": 1, "hidden_size": 32, "num_heads": 2, "patch_size": 4}

TOWERS = ("vision", "visual", "audio", "projector")  # Gemma 3 begins with a projection of zeros

Case = tuple[dict[str, Any], dict[str, Any], int | None, dict[str, list[int]], str]
"""Config, sizes, length; some of the inputs' shapes, and what a sample is said to be."""

FAST: dict[str, Case] = {
    "LlavaForConditionalGeneration": (
        LLAVA, {}, 16,
        {"input_ids": [2, 32], "labels": [2, 32], "pixel_values": [2, 3, 32, 32]},
        "1 image of 32 x 32, 16 image tokens, 16 tokens of text",
    ),
    "Qwen2VLForConditionalGeneration": (
        {"text_config": {**TEXT, "rope_parameters": ROPE}, "vision_config": {**QWEN_TOWER, "embed_dim": 32}},
        {"image_size": 32}, 16,
        # 2 tokens that stand around the image's 16, each of 2 x 2 patches
        {"input_ids": [2, 34], "pixel_values": [128, 96], "image_grid_thw": [2, 3], "mm_token_type_ids": [2, 34]},
        "1 image of 8 x 8 patches, 16 image tokens, 16 tokens of text",
    ),
    "Idefics3ForConditionalGeneration": (
        {"text_config": TEXT, "vision_config": TOWER, "scale_factor": 2}, {}, 16,
        {"input_ids": [2, 20], "pixel_values": [2, 1, 3, 32, 32]},
        "1 image of 32 x 32, 4 image tokens, 16 tokens of text",
    ),
    "Qwen2AudioForConditionalGeneration": (
        {"text_config": TEXT, "audio_config": {**ENCODER, **MEL}}, {}, 16,
        {"input_ids": [2, 26], "input_features": [2, 8, 40], "feature_attention_mask": [2, 40]},
        "40 frames of sound, 10 audio tokens, 16 tokens of text",
    ),
    "CLIPModel": (
        {"text_config": {**TEXT, "max_position_embeddings": 24}, "vision_config": CLIP}, {}, 16,
        {"input_ids": [2, 16], "pixel_values": [2, 3, 32, 32]},
        "1 image of 32 x 32, 16 tokens of text",
    ),
    "WhisperForConditionalGeneration": (
        {**ENCODER, **DECODER, **MEL}, {}, 16,
        {"input_features": [2, 8, 40], "decoder_input_ids": [2, 16], "labels": [2, 16]},
        "40 frames of sound, 16 tokens of text",
    ),
    "Wav2Vec2ForCTC": (
        {**WAVES, "vocab_size": 40}, {}, 8000,
        {"input_values": [2, 8000], "labels": [2, 16]},
        "8000 samples of sound (0.5 s)",
    ),
    "YolosForObjectDetection": (
        {**LAYERS, "image_size": [32, 48], "patch_size": 8, "num_detection_tokens": 6}, {}, None,
        {"pixel_values": [2, 3, 32, 48], "labels_0_class_labels": [3], "labels_1_boxes": [3, 4]},
        "1 image of 32 x 48",
    ),
    "SegformerForSemanticSegmentation": (
        {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1] * 4, "decoder_hidden_size": 16},
        {"image_size": 64}, None,
        {"pixel_values": [2, 3, 64, 64], "labels": [2, 64, 64]},
        "1 image of 64 x 64",
    ),
    "VideoMAEForVideoClassification": (
        {**TOWER, "patch_size": 16, "num_frames": 4}, {}, None,
        {"pixel_values": [2, 4, 3, 32, 32], "labels": [2]},
        "1 video of 4 frames of 32 x 32",
    ),
    "TimeSeriesTransformerForPrediction": (
        SERIES, {}, None,
        {"past_values": [2, 14], "past_time_features": [2, 14, 2], "future_values": [2, 6]},
        "a series of 14 steps",
    ),
    "LayoutLMForTokenClassification": (
        {**LAYERS, "vocab_size": 96}, {}, 16,
        {"input_ids": [2, 16], "bbox": [2, 16, 4], "labels": [2, 16]},
        "",
    ),
}  # fmt: skip
SLOW: dict[str, Case] = {
    "LlavaNextForConditionalGeneration": (
        {**LLAVA, "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]]}, {}, 16,
        {"input_ids": [2, 52], "pixel_values": [2, 3, 3, 32, 32], "image_sizes": [2, 2]},
        "1 image of 32 x 32 in 3 tiles, 36 image tokens, 16 tokens of text",
    ),
    "PaliGemmaForConditionalGeneration": (
        {"text_config": TEXT, "vision_config": TOWER, "projection_dim": 32}, {}, 16,
        {"input_ids": [2, 32], "token_type_ids": [2, 32]},
        "1 image of 32 x 32, 16 image tokens, 16 tokens of text",
    ),
    "Gemma3ForConditionalGeneration": (
        {"text_config": {**TEXT, "head_dim": 16}, "vision_config": TOWER, "mm_tokens_per_image": 4}, {}, 16,
        {"input_ids": [2, 20]},
        "1 image of 32 x 32, 4 image tokens, 16 tokens of text",
    ),
    "Qwen2_5_VLForConditionalGeneration": (
        {
            "text_config": {**TEXT, "rope_parameters": ROPE},
            "vision_config": {**QWEN_TOWER, "out_hidden_size": 32, "window_size": 16, "fullatt_block_indexes": [0]},
        },
        {"image_size": 32}, 16,
        {"input_ids": [2, 34]},
        "1 image of 8 x 8 patches, 16 image tokens, 16 tokens of text",
    ),
    "InternVLForConditionalGeneration": (
        {"text_config": TEXT, "vision_config": {**LAYERS, "image_size": [32, 32], "patch_size": [8, 8]}}, {}, 16,
        {"input_ids": [2, 20]},
        "1 image of 32 x 32, 4 image tokens, 16 tokens of text",
    ),
    "Mistral3ForConditionalGeneration": (
        {"text_config": {**TEXT, "head_dim": 16}, "vision_config": {**TOWER, "head_dim": 16}, "spatial_merge_size": 2},
        {}, 16,
        {"image_sizes": [2, 2]},
        "1 image of 32 x 32, 4 image tokens, 16 tokens of text",
    ),
    "Blip2ForConditionalGeneration": (
        {
            "text_config": {**LAYERS, "vocab_size": 96, "ffn_dim": 64, "word_embed_proj_dim": 32},
            "vision_config": TOWER, "qformer_config": {**LAYERS, "encoder_hidden_size": 32}, "num_query_tokens": 4,
        },
        {}, 16,
        {"input_ids": [2, 20]},
        "1 image of 32 x 32, 4 image tokens, 16 tokens of text",
    ),
    "Speech2TextForConditionalGeneration": (
        {**ENCODER, **DECODER, "conv_channels": 32}, {"frames": 64}, 16,
        {"input_features": [2, 64, 80]},
        "64 frames of sound, 16 tokens of text",
    ),
    "Wav2Vec2BertForCTC": (
        {**LAYERS, "vocab_size": 40, "feature_projection_input_dim": 16}, {}, 64,
        {"input_features": [2, 64, 16], "attention_mask": [2, 64]},
        "64 frames of sound",
    ),
    "ASTForAudioClassification": (
        {**LAYERS, "max_length": 64, "num_mel_bins": 32}, {}, None, {"input_values": [2, 64, 32]}, "64 frames of sound"
    ),
    "VideoMAEForPreTraining": (
        {
            **TOWER, "patch_size": 16, "num_frames": 4, "decoder_hidden_size": 32, "decoder_num_attention_heads": 2,
            "decoder_num_hidden_layers": 1, "decoder_intermediate_size": 64,
        },
        {}, None,
        {"bool_masked_pos": [2, 8]},
        "1 video of 4 frames of 32 x 32",
    ),
    "PatchTSTForPrediction": (
        {"d_model": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32, "num_input_channels": 3},
        {}, None,
        {"past_values": [2, 32, 3], "future_values": [2, 24, 3]},
        "a series of 32 steps in 3 channels",
    ),
    "DetrForObjectDetection": (DETECTOR, {"image_size": 64}, None, {"labels_1_boxes": [3, 4]}, "1 image of 64 x 64"),
    "Mask2FormerForUniversalSegmentation": (
        {"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32, "decoder_layers": 2, "num_queries": 8},
        {"image_size": 64}, None,
        {"mask_labels_1": [3, 64, 64], "class_labels_0": [3]},
        "1 image of 64 x 64",
    ),
}  # fmt: skip


SMALL: dict[str, Case] = {  # made small by the suite's own rule
    "Kosmos2ForConditionalGeneration": (
        {}, {}, 16,
        {"input_ids": [2, 80], "image_embeds_position_mask": [2, 80], "pixel_values": [2, 3, 56, 56]},
        "1 image of 56 x 56, 64 image tokens, 16 tokens of text",
    ),
    "MiniCPMV4_6ForConditionalGeneration": (
        {}, {}, 16,
        {"pixel_values": [1, 3, 16, 512], "target_sizes": [2, 2]},
        "1 image of 4 x 4 patches, 1 image tokens, 16 tokens of text",
    ),
    "MusicgenForConditionalGeneration": (
        {}, {}, 16,
        {"input_ids": [2, 16], "decoder_input_ids": [8, 16], "labels": [2, 16, 4]},
        "sound as tokens of 4 codebooks, 16 tokens of text",
    ),
    "GlmImageForConditionalGeneration": (  # the last grid of a sample is of the image that is to be made
        {}, {}, 16,
        {"pixel_values": [32, 768], "image_grid_thw": [4, 3], "images_per_sample": [2]},
        "1 image of 4 x 4 patches, 16 image tokens, 16 tokens of text",
    ),
}  # fmt: skip
SMALL_AND_SLOW: dict[str, Case] = {
    "OneFormerForUniversalSegmentation": (
        {}, {"image_size": 64}, None,
        {"pixel_values": [2, 3, 64, 64], "task_inputs": [2, 77]},
        "1 image of 64 x 64, task_inputs [2, 77]",
    ),
    "MMGroundingDinoForObjectDetection": (
        {}, {}, 16,
        {"input_ids": [2, 16], "labels_0_boxes": [3, 4]},
        "1 image of 64 x 64, 16 tokens of text",
    ),
}  # fmt: skip
DISCRETE = ("GlmImageForConditionalGeneration",)
"""The image becomes tokens of a codebook: no gradient goes through."""


def built(name: str, length: int | None, mode: str = "training", **options: Any) -> Program:
    builder = "transformers_model.TransformersModel"
    workload = built_by(builder, name, suite="transformers", mode=mode, sequence_length=length)
    return TransformersModel(**options).build(workload, dropout=False)


@pytest.mark.parametrize(
    "name", [*FAST, *SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in (*SLOW, *SMALL_AND_SLOW))]
)  # fmt: skip
def test_found_inputs_run_and_train(name: str) -> None:
    config, sizes, length, shapes, words = {**FAST, **SLOW, **SMALL, **SMALL_AND_SLOW}[name]
    shrunk = name in (*SMALL, *SMALL_AND_SLOW)
    program = built(name, length, config=config, sizes=sizes, shrunk=shrunk)
    assert {key: list(program.inputs[key].shape) for key in shapes} == shapes
    assert program.fed == words
    loss = program.loss(program.model(**program.inputs))
    assert loss.isfinite()
    loss.backward()  # type: ignore[no-untyped-call]
    assert any(parameter.grad is not None for parameter in program.model.parameters())
    if ("image tokens" in words or "audio tokens" in words) and name not in DISCRETE:
        towers = [one for key, one in program.model.named_parameters() if any(word in key for word in TOWERS)]
        tower = [one.grad for one in towers]
        assert any(gradient is not None and gradient.any() for gradient in tower), "no feature reaches the loss"


def test_the_placeholders_are_where_they_belong_and_cost_no_loss() -> None:
    inputs = built("LlavaForConditionalGeneration", 16, config=LLAVA).inputs
    token = 95  # image_token_index=32000 has no row in 96: the last one is its
    assert (inputs["input_ids"] == token).nonzero()[:, 1].tolist() == [*range(1, 17)] * 2
    assert (inputs["labels"] == -100).equal(inputs["input_ids"] == token)


def test_a_sound_has_as_many_labels_as_frames_allow() -> None:
    config, *_ = FAST["Wav2Vec2ForCTC"]
    program = built("Wav2Vec2ForCTC", 4000, config=config)  # 12 frames
    assert program.inputs["labels"].shape == (2, 8)
    assert program.loss(program.model(**program.inputs)).isfinite()


def test_what_segments_at_a_point_gets_one_of_its_image() -> None:
    program = built("SamModel", None, "inference", shrunk=True)
    points = program.inputs["input_points"]
    assert points.shape == (2, 1, 1, 2)
    assert bool(((points >= 0) & (points < 64)).all())
    masks = program.model(**program.inputs)["pred_masks"]
    other = program.model(**{**program.inputs, "input_points": points.flip(0)})["pred_masks"]
    assert program.fed == "1 image of 64 x 64 and a point of it"
    assert not torch.equal(masks, other), "the point changes nothing"


def test_a_detectors_phrases_are_what_its_own_text_holds() -> None:
    tokens = built("MMGroundingDinoForObjectDetection", 16, "inference", shrunk=True).inputs["input_ids"]
    assert tokens[0, 0] == 101
    assert tokens[0, -1] == 102
    assert (tokens == 1012).nonzero()[:, 1].tolist() == [3, 6, 9, 12] * 2


def test_other_seeds_give_other_images() -> None:
    config, _, length, *_ = FAST["YolosForObjectDetection"]
    first = built("YolosForObjectDetection", length, config=config).inputs
    again = built("YolosForObjectDetection", length, config=config).inputs
    assert all(torch.equal(first[name], again[name]) for name in first)
    boxes = first["labels_0_boxes"]
    assert (boxes[:, :2] - boxes[:, 2:] / 2).min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:] / 2).max() <= 1


def test_what_is_written_wins_and_null_leaves_out() -> None:
    rule = {"shape": ["batch", 3, "image_size", "image_size"]}
    found = built("LlavaForConditionalGeneration", 16, config=LLAVA, inputs={"pixel_values": rule})
    assert found.inputs["input_ids"].shape == (2, 32)  # the image that is written has its tokens too
    without = built("LlavaForConditionalGeneration", 16, config=LLAVA, inputs={"pixel_values": None})
    assert list(without.inputs) == ["input_ids", "labels"]


def test_a_length_that_nothing_has_is_refused() -> None:
    config, sizes, _, *_ = FAST["SegformerForSemanticSegmentation"]
    with pytest.raises(Unsupported, match=r"takes no length, and sequence_length=64 would be shown"):
        built("SegformerForSemanticSegmentation", 64, config=config, sizes=sizes)
    with pytest.raises(Unsupported, match="takes no length"):  # the encoder takes 40 frames, no fewer and no more
        built("WhisperForAudioClassification", 64, "inference", config={**ENCODER, **MEL})


def test_a_tower_that_takes_no_such_image_is_a_reason() -> None:
    rule = {"shape": ["batch", 4, 32, 32]}
    with pytest.raises(
        Unsupported, match=r"no image features of pixel_values \[2, 4, 32, 32\]: .*suite\.common\.build"
    ):
        built("LlavaForConditionalGeneration", 16, config=LLAVA, inputs={"pixel_values": rule})


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("BertForMaskedLM", 128),
        ("CLIPModel", 77),
        ("ViTForImageClassification", None),
        ("DetrForObjectDetection", None),
        ("Wav2Vec2ForCTC", 16_000),
        ("ASTForAudioClassification", None),
        ("WhisperForAudioClassification", None),
        ("TimeSeriesTransformerForPrediction", None),
    ],
)
def test_a_row_has_the_length_that_its_model_has(name: str, length: int | None) -> None:
    words = ("suite=transformers", f"suite.models=[{name}]", "compiler=eager", "measure=performance", "rounds=1")
    assert {job.workload.sequence_length for job in planned(*words).jobs} == {length}
    assert {job.workload.sequence_length for job in planned(*words, "sequence_length=32").jobs} == {32}


def test_samples_of_sound_are_not_costed_as_tokens() -> None:
    words = ("suite=transformers", "compiler=eager", "measure=performance", "rounds=1")
    (sound,) = planned(*words, "suite.models=[Wav2Vec2ForCTC]", "sequence_length=64000").jobs
    (text,) = planned(*words, "suite.models=[BertForMaskedLM]", "sequence_length=200").jobs
    assert sound.cost_s == pytest.approx(text.cost_s)


def test_a_length_that_a_suite_says_a_model_does_not_have_is_told() -> None:
    words = ("suite=timm", "suite.models=[resnet50]", "compiler=eager", "measure=performance", "rounds=1")
    (job,) = planned(*words, "sequence_length=32").jobs
    assert job.verdict is not None
    assert job.verdict.reason == "resnet50 has no sequence length, and sequence_length=32 is asked for: run it without"
    (job,) = planned(*words).jobs
    assert job.verdict is None
