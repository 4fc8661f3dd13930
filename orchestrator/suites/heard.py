"""Sound for a Hugging Face model: samples, or features of frames, as long as was asked or as its config says."""

from __future__ import annotations

import inspect
import re

from orchestrator.suites.facts import AUDIO, TOKEN_INPUTS, Draws, Facts, Inputs
from orchestrator.suites.rules import Rule

SAMPLES, FEATURES = ("input_values",), ("input_features", "audio_input_features", "audio_mel")
MELS = (
    *("num_mel_bins", "n_mel_bins", "num_mel_filters", "input_feat_per_channel", "feature_projection_input_dim"),
    *("feature_size", "mel_dim", "input_feat_size", "input_size", "input_dim", "feature_dim", "num_features", "n_mels"),
)
MASKS = (
    "attention_mask",
    "input_features_mask",
    "feature_attention_mask",
    "audio_mel_mask",
    "padding_mask",
    "input_values_mask",
)
RATE = 16_000
"""Samples of a second where no config says another."""
FRAMES = 1000
"""Frames where the config does not fix them: 10 s at the usual 10 ms."""

CODED = re.compile(r"shape \(([^()]*num_codebooks[^()]*)\)")
"""The shape of an input, in the documentation of `forward`, that is sound as tokens: one of each codebook a frame."""
CODEBOOKS = ("num_codebooks", "num_channels")


def codes(facts: Facts, name: str) -> Rule:
    """Return the rule of an input of tokens whose documentation says that they are a codec's; None of any other."""
    found = CODED.search(facts.described.get(name, ""))
    if found is None:
        return None
    books = next((word for word in CODEBOOKS if facts.first((word,)) is not None), CODEBOOKS[0])
    words = found[1].replace("num_codebooks", books).replace("batch_size", "batch").strip(" ,").split(",")
    shape = ["sequence" if "sequence_length" in word else word.strip() for word in words]
    decoder = facts.model.config.is_encoder_decoder and hasattr(facts.model.config, "decoder")
    return {"shape": shape, "high": "decoder.vocab_size" if decoder else "vocab_size"}


def sound(facts: Facts, draws: Draws, batch: int, length: int | None) -> tuple[list[Inputs], str]:
    """Return the inputs that hold one sound a sample, and in words what it is; none where no sound is taken.

    There may be several: mel bins before frames or after them, a place for channels, a mask that the model cannot do
    without are told by no signature, so the first is right that it takes. `length`: samples or frames, where the row's
    length counts them; None where it counts tokens of text.
    """
    for name in SAMPLES:
        if name in facts.takes:
            return _samples(name, facts, draws, batch, length)
    for name in FEATURES:
        if name in facts.takes:
            return _frames(name, facts, draws, batch, length)
    return [], ""


def _samples(name: str, facts: Facts, draws: Draws, batch: int, length: int | None) -> tuple[list[Inputs], str]:
    words = facts.described.get(name, "")
    if "num_mel_bins" in words:
        frames = facts.number(("max_length",))
        return [{name: draws.normal(name, batch, frames, facts.number(MELS))}], f"{frames} frames of sound"
    rate = facts.number(("sampling_rate", "sample_rate"), AUDIO, RATE)
    count = length or facts.number(("samples",), (), rate)
    whole = facts.first(("samples_per_token",), AUDIO, 1)
    count = -(-count // whole) * whole
    flat: tuple[int, ...] = ()
    by_channel = (facts.number(("audio_channels", "in_channels", "channels"), AUDIO, 1),)
    told = "(batch_size, sequence_length)" in words or "audio_length" in words or not _is_codec(words)
    layouts = [flat, by_channel] if told else [by_channel, flat]
    sounds = [{name: draws.normal(name, batch, *between, count)} for between in layouts]
    return [_masked(one, facts, batch, count) for one in sounds], f"{count} samples of sound ({count / rate:.3g} s)"


def _is_codec(words: str) -> bool:
    """The shape of its samples has a place for channels."""
    return any(word in words for word in ("channels,", ", 1,"))


def _frames(name: str, facts: Facts, draws: Draws, batch: int, length: int | None) -> tuple[list[Inputs], str]:
    mels = facts.number(MELS, AUDIO)
    fixed = fixed_frames(facts)
    count = facts.number(("frames",), (), fixed or length or FRAMES)
    candidates = [(mels, count), (count, mels)] if fixed else [(count, mels), (mels, count)]
    sounds: list[Inputs] = [{name: draws.normal(name, batch, *shape)} for shape in candidates]
    inputs = [_masked(one, facts, batch, count, every) for every in (False, True) for one in sounds]
    return inputs, f"{count} frames of sound"


def fixed_frames(facts: Facts) -> int | None:
    """Return the frames of an encoder as Whisper's, which takes no fewer and no more; None where any number is right.

    Two frames make a position, and positions are learned.
    """
    for _, config in facts.parts:
        if isinstance(getattr(config, "max_source_positions", None), int) and hasattr(config, "num_mel_bins"):
            return 2 * int(config.max_source_positions)
    return None


def _masked(inputs: Inputs, facts: Facts, batch: int, count: int, every: bool = False) -> Inputs:
    """Return the inputs with the masks that are needed, or with every one that is known: nothing is padding."""
    import torch

    inputs = dict(inputs)
    for mask in MASKS:
        if facts.knows(mask) and (_wanted(mask, facts) or (every and mask != MASKS[0])):
            kind = torch.int64 if "Long" in facts.described.get(mask, "") else torch.bool
            inputs[mask] = torch.ones(batch, count, dtype=kind)
    if facts.needs("chunk_sample_lengths"):  # of which the frames were made
        inputs["chunk_sample_lengths"] = torch.full((batch,), count * facts.number(("hop_length",), AUDIO))
    return inputs


def _wanted(mask: str, facts: Facts) -> bool:
    """A mask is left out where it may be: not Qwen2-Audio's; that of a text is no mask of sound."""
    if mask == "attention_mask":
        if "attention_mask.sum" in inspect.getsource(inspect.unwrap(type(facts.model).forward)):
            return True  # of what its encoder makes of it
        return any(name in facts.takes for name in FEATURES) and not any(name in facts.takes for name in TOKEN_INPUTS)
    return mask == "feature_attention_mask" or facts.needs(mask)
