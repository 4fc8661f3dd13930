"""Hugging Face's generative models, token by token: caches, and what `forward` is called with (`plugins.Decoding`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Program, Unsupported
from orchestrator.suites import caches

if TYPE_CHECKING:
    import torch

START_TOKENS = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
"""Config attributes, the first that is set decides: as generate() does, and T5, which begins with padding."""

NOT_GIVEN = ("attention_mask", "decoder_", "position_ids")
"""Beginnings of the names of inputs that a prompt has not: nothing is padded, and the decoder's tokens are its own."""


@dataclass(frozen=True)
class HuggingFaceDecoding:
    """Of one model that takes a `transformers.Cache`. argument: what its forward calls it. labels: inputs that are none
    of the prompt's. `check_length(n)` raises ValueError when the model has fewer than n positions.
    """

    model: Any
    check_length: Callable[[int], None]
    argument: str = caches.ARGUMENTS[0]
    labels: frozenset[str] = frozenset()

    @property
    def vocabulary(self) -> int:
        return int(self._text.vocab_size)

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Any:
        """Return an empty cache; of an encoder-decoder one for self-attention and one for cross-attention.

        Raises Unsupported for a decoder that is given no tokens.
        """
        from transformers import DynamicCache, EncoderDecoderCache

        self._check(program, new_tokens)
        own = caches.new_cache(self._text, kind, self.expected_length(program, new_tokens))
        if not self._encoder_decoder:
            return own
        whole = caches.whole(self._text)
        if kind == "dynamic":
            return EncoderDecoderCache(own, caches.new_cache(whole, kind, 0))
        main = program.inputs[self.model.main_input_name]
        encoded = int(main.shape[1])
        if self.model.main_input_name != "input_ids":  # sound, images: how many positions the encoder makes of them
            made = EncoderDecoderCache(DynamicCache(config=self._text), DynamicCache(config=whole))
            encoded = int(program.model(**self.prompt(program, made))["encoder_last_hidden_state"].shape[1])
        return EncoderDecoderCache(own, caches.new_cache(whole, kind, encoded))

    def prompt(self, program: Program, cache: Any) -> dict[str, Any]:
        import torch

        inputs: dict[str, Any] = {
            name: tensor
            for name, tensor in program.inputs.items()
            if name not in self.labels and not name.startswith(NOT_GIVEN)
        }
        if self._encoder_decoder:
            main = inputs[self.model.main_input_name]
            inputs["decoder_input_ids"] = torch.full((main.shape[0], 1), self.start_token, device=main.device)
        elif self.model._supports_logits_to_keep():
            inputs["logits_to_keep"] = 1  # as generate() does: logits of a whole prompt are gigabytes
        return inputs | self._with(cache)

    def carried(self, outputs: Any) -> dict[str, Any]:
        """Return the encoder's outputs; a causal model needs nothing but the cache."""
        if not self._encoder_decoder:
            return {}
        from transformers.modeling_outputs import BaseModelOutput

        return {"encoder_outputs": BaseModelOutput(last_hidden_state=outputs["encoder_last_hidden_state"].clone())}

    def token(self, token: torch.Tensor, cache: Any, carried: Mapping[str, Any]) -> dict[str, Any]:
        name = "decoder_input_ids" if self._encoder_decoder else "input_ids"
        return {name: token, **self._with(cache), **carried}

    def length(self, cache: Any) -> int | None:
        return caches.length_of(cache)

    def expected_length(self, program: Program, new_tokens: int) -> int:
        before = 1 if self._encoder_decoder else program.inputs["input_ids"].shape[1]
        return int(before + new_tokens)

    def reset(self, cache: Any) -> None:
        cache.reset()

    def mark(self, cache: Any) -> Callable[[], None]:
        """Return the function that sets the cache back (`caches.mark`), and states that the modules keep."""
        set_cache_back = caches.mark(cache)
        states = [(own, name, caches.snapshot(own[name])) for own, name in caches.of_modules(self.model)]

        def set_back() -> None:
            set_cache_back()
            for own, name, value in states:
                own[name] = value()

        return set_back

    def reorder(self, cache: Any, index: torch.Tensor) -> None:
        """Let each sequence go on from that of `index`, int64, [sequences] (`caches.reorder`). Raises Unsupported."""
        if any("state" in name for _, name in caches.of_modules(self.model)):
            raise Unsupported(f"{type(self.model).__name__} keeps states in its modules, which no beam search reorders")
        caches.reorder(cache, index)

    def _with(self, cache: Any) -> dict[str, Any]:
        return {self.argument: cache, "use_cache": True}

    def _check(self, program: Program, new_tokens: int) -> None:
        name = type(self.model).__name__
        if not self._encoder_decoder and "input_ids" not in program.inputs:
            raise Unsupported(f"{name} continues tokens, and no input of it is input_ids: {', '.join(program.inputs)}")
        length = self.expected_length(program, new_tokens)
        try:
            self.check_length(length)
        except ValueError as error:
            prompt = length - new_tokens
            raise ValueError(f"{new_tokens} new tokens after a prompt of {prompt}: {error}") from error

    @property
    def _text(self) -> Any:
        return self.model.config.get_text_config(decoder=True)

    @property
    def _encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def start_token(self) -> int:
        """The first token of a decoder. Raises ValueError when the configs have none of `START_TOKENS`."""
        for config in (self.model.config, self._text):
            for name in START_TOKENS:
                token = getattr(config, name, None)
                if isinstance(token, int):
                    return token
        raise ValueError(
            f"{type(self.model.config).__name__} has none of {', '.join(START_TOKENS)}, and generation no first token: "
            "set one of them in build.config"
        )


@dataclass(frozen=True)
class NoDecoding(HuggingFaceDecoding):
    """Of a model that generates, but not by calls of its forward with a cache."""

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Any:
        raise Unsupported(
            f"{type(self.model).__name__} generates with its own generate(), from parts of itself: its forward, which "
            "is what is compiled, takes no cache"
        )
