"""Hugging Face's language models, token by token: caches, and what `forward` is called with (`plugins.Decoding`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Program, Unsupported

if TYPE_CHECKING:
    import torch

START_TOKENS = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
"""Config attributes, the first that is set decides: as generate() does, and T5, which begins with padding."""


@dataclass(frozen=True)
class HuggingFaceDecoding:
    """Of one model. `check_length(n)` raises ValueError when the model has fewer than n positions."""

    model: Any
    check_length: Callable[[int], None]

    @property
    def vocabulary(self) -> int:
        return int(self._text.vocab_size)

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Any:
        """Return an empty cache; of an encoder-decoder one for self-attention and one for cross-attention."""
        from transformers import DynamicCache, EncoderDecoderCache, StaticCache

        prompt = program.inputs["input_ids"].shape[1]
        length = self.expected_length(program, new_tokens)
        try:
            self.check_length(length)
        except ValueError as error:
            raise ValueError(f"{new_tokens} new tokens after a prompt of {prompt}: {error}") from error

        def cache(length: int) -> Any:
            if kind == "dynamic":
                return DynamicCache(config=self._text)
            return StaticCache(config=self._text, max_cache_len=length)

        return EncoderDecoderCache(cache(length), cache(prompt)) if self._encoder_decoder else cache(length)

    def prompt(self, program: Program, cache: Any) -> dict[str, Any]:
        import torch

        tokens = program.inputs["input_ids"]
        inputs = {"input_ids": tokens, "past_key_values": cache, "use_cache": True}
        if self._encoder_decoder:
            inputs["decoder_input_ids"] = torch.full_like(tokens[:, :1], self.start_token)
        elif self.model._supports_logits_to_keep():
            inputs["logits_to_keep"] = 1  # as generate() does: logits of a whole prompt are gigabytes
        return inputs

    def carried(self, outputs: Any) -> dict[str, Any]:
        """Return the encoder's outputs; a causal model needs nothing but the cache."""
        if not self._encoder_decoder:
            return {}
        from transformers.modeling_outputs import BaseModelOutput

        return {"encoder_outputs": BaseModelOutput(last_hidden_state=outputs["encoder_last_hidden_state"].clone())}

    def token(self, token: torch.Tensor, cache: Any, carried: Mapping[str, Any]) -> dict[str, Any]:
        name = "decoder_input_ids" if self._encoder_decoder else "input_ids"
        return {name: token, "past_key_values": cache, "use_cache": True, **carried}

    def length(self, cache: Any) -> int:
        return int(cache.get_seq_length())

    def expected_length(self, program: Program, new_tokens: int) -> int:
        before = 1 if self._encoder_decoder else program.inputs["input_ids"].shape[1]
        return int(before + new_tokens)

    def reset(self, cache: Any) -> None:
        cache.reset()

    def mark(self, cache: Any) -> Callable[[], None]:
        """Return the function that sets the cache back; of static layers what they hold is kept where it is in memory.

        Only what a later call changes is copied: of a static layer its length (what stands behind it is masked, and
        overwritten), of one with a sliding window all, of a dynamic layer nothing, since it never writes in place.
        """
        restore = [_marked(layer) for layer in _layers(cache)]

        def set_back() -> None:
            for one in restore:
                one()

        return set_back

    @property
    def _text(self) -> Any:
        return self.model.config.get_text_config(decoder=True)

    @property
    def _encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def start_token(self) -> int:
        """The first token of a decoder. Raises ValueError when the config has none of `START_TOKENS`."""
        for name in START_TOKENS:
            token = getattr(self._text, name, None)
            if isinstance(token, int):
                return token
        raise ValueError(
            f"{type(self.model.config).__name__} has none of {', '.join(START_TOKENS)}, and generation no first token: "
            "set one of them in build.config"
        )


def decoding_of(model: Any, check_length: Callable[[int], None]) -> HuggingFaceDecoding | None:
    """Return how a Hugging Face model generates; None for one that does not generate from tokens."""
    if not (model.can_generate() and model.main_input_name == "input_ids"):
        return None
    return HuggingFaceDecoding(model, check_length)


def _layers(cache: Any) -> Iterator[Any]:
    from transformers import EncoderDecoderCache

    parts = [cache]
    if isinstance(cache, EncoderDecoderCache):
        parts = [cache.self_attention_cache, cache.cross_attention_cache]
    return (layer for part in parts for layer in part.layers)


def _marked(layer: Any) -> Callable[[], None]:
    import torch
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer, StaticSlidingWindowLayer

    state = dict(vars(layer))
    if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):
        return lambda: vars(layer).update(state)
    if type(layer) not in (StaticLayer, StaticSlidingWindowLayer):
        raise Unsupported(
            f"a cache layer of type {type(layer).__name__} cannot be set back to the end of the prompt: measure this "
            "model with mode=prefill and mode=generate"
        )
    written = ["cumulative_length"] if type(layer) is StaticLayer else list(state)
    kept = {name: state[name].clone() for name in written if isinstance(state[name], torch.Tensor)}
    plain = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}

    def set_back() -> None:
        for name, tensor in kept.items():
            getattr(layer, name).copy_(tensor)
        vars(layer).update(plain)

    return set_back
