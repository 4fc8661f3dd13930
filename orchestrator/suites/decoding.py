"""Hugging Face's generative models, token by token: what `forward` is called with, and its cache (`plugins.Decoding`).

Those whose cache is no `transformers.DynamicCache` are `RwkvForCausalLM` (a list of states), xLSTM (an object with
states), Reformer (buckets and hidden states that grow), MiniMax (a cache of its own class), XLNet (hidden states, which
the call returns).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

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
    argument: str
    labels: frozenset[str]

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


@dataclass
class Held:
    """What one argument of forward gets: `value`, which the calls change in place. `empty()` makes it what it was."""

    value: Any
    empty: Callable[[], Any]


@dataclass(frozen=True)
class OwnCache(HuggingFaceDecoding):
    """Of a model that makes the cache itself, in a call without one, and writes into it afterwards."""

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("state", "past_buckets_states")

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Held:
        """Return an empty cache. Raises Unsupported for a static one of a model whose own grows."""
        from transformers import Cache

        self._check(program, new_tokens)
        inputs = {name: value for name, value in self.prompt(program, None).items() if name != self.argument}
        made = self.model(**inputs, return_dict=True)[self.argument]
        if kind == "static" and (isinstance(made, Cache) or self.argument == "past_buckets_states"):
            raise Unsupported(grows(self.model))
        value = _emptied(made)
        return Held(value, caches.snapshot(value))

    def length(self, cache: Held) -> int | None:
        """Return None: states do not grow, and these classes count differently or not at all."""
        return None

    def reset(self, cache: Held) -> None:
        cache.empty()

    def mark(self, cache: Held) -> Callable[[], None]:
        return caches.snapshot(cache.value)

    def reorder(self, cache: Held, index: torch.Tensor) -> None:
        raise Unsupported(f"{type(self.model).__name__} has a cache of its own, whose beams cannot be reordered")

    def _with(self, cache: Held | None) -> dict[str, Any]:
        return {self.argument: cache.value if cache is not None else None, "use_cache": True}


@dataclass
class Memory:
    """XLNet's: hidden states of all layers, [tokens, batch, width] each, and the last token, int64, [batch, 1]."""

    value: list[torch.Tensor] | None = None
    last: torch.Tensor | None = None


@dataclass(frozen=True)
class XLNetMemory(HuggingFaceDecoding):
    """Of XLNet: each call gets the last two tokens and a dummy in whose place the next is predicted, and returns the
    hidden states that a later one may look at. Source: `XLNetLMHeadModel.prepare_inputs_for_generation`.
    """

    AGAIN: ClassVar[int] = 2

    def new_cache(self, program: Program, kind: str, new_tokens: int) -> Memory:
        """Return an empty memory. Raises Unsupported for a static one, and for one that would forget tokens."""
        self._check(program, new_tokens)
        if kind == "static":
            raise Unsupported(grows(self.model))
        config = self.model.config
        needed = self.expected_length(program, new_tokens) + 1  # and the dummy
        if config.reuse_len or (config.mem_len and config.mem_len < needed):
            raise Unsupported(
                f"mem_len={config.mem_len}, reuse_len={config.reuse_len}: of {needed} tokens this XLNet forgets some; "
                "take fewer, or suite.common.build.config.mem_len=null and suite.common.build.config.reuse_len=null"
            )
        wrapped: Any = program.model
        wrapped.kept = ("mems",)
        return Memory()

    def prompt(self, program: Program, cache: Memory) -> dict[str, Any]:
        tokens = program.inputs["input_ids"]
        cache.last = tokens[:, -1:]
        return self._inputs(tokens, None)

    def token(self, token: torch.Tensor, cache: Memory, carried: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        assert cache.last is not None
        assert cache.value is not None
        tokens, cache.last = torch.cat([cache.last, token], dim=1), token
        return self._inputs(tokens, [state[: -self.AGAIN] for state in cache.value])

    def kept(self, cache: Memory, outputs: Any) -> None:
        """Keep what a call returned, in memory of its own."""
        cache.value = [state.clone() for state in outputs["mems"]]

    def length(self, cache: Memory) -> int:
        """Return the tokens in the memory: all but the dummy."""
        return int(cache.value[0].shape[0]) - 1 if cache.value else 0

    def reset(self, cache: Memory) -> None:
        cache.value = None

    def mark(self, cache: Memory) -> Callable[[], None]:
        value, last = cache.value, cache.last

        def set_back() -> None:
            cache.value, cache.last = value, last

        return set_back

    def reorder(self, cache: Memory, index: torch.Tensor) -> None:
        raise Unsupported("XLNet's memory cannot be reordered for beams")

    def _inputs(self, tokens: torch.Tensor, mems: list[torch.Tensor] | None) -> dict[str, Any]:
        import torch

        tokens = torch.nn.functional.pad(tokens, (0, 1))
        batch, length = tokens.shape
        unseen = torch.zeros(batch, length, length, device=tokens.device, dtype=self.model.dtype)
        unseen[:, :, -1] = 1.0
        inputs = {"input_ids": tokens, "perm_mask": unseen, "target_mapping": unseen[:, :1].clone(), "use_mems": True}
        return inputs if mems is None else inputs | {"mems": mems}


def decoding_of(model: Any, check_length: Callable[[int], None], labels: frozenset[str]) -> HuggingFaceDecoding | None:
    """Return how a Hugging Face model generates; None for one that does not generate."""
    if not model.can_generate():
        return None
    argument = caches.argument_of(model)
    own = argument or caches.argument_of(model, OwnCache.ARGUMENTS)
    if "mems" in caches.taken(model):
        return XLNetMemory(model, check_length, "mems", labels)
    if own is None:
        return NoDecoding(model, check_length, "", labels)
    kind = HuggingFaceDecoding if argument and model._supports_default_dynamic_cache() else OwnCache
    return kind(model, check_length, own, labels)


def grows(model: Any) -> str:
    return (
        f"{type(model).__name__} has a cache of its own, which grows with each token: take mode.options.cache=dynamic"
    )


def _emptied(made: Any) -> Any:
    """Return a cache as it is before the first token: a new one, or the same with its states set back."""
    import torch

    if isinstance(made, list):  # RWKV: numerators, denominators and, last, the largest exponents
        states = [torch.zeros_like(state) for state in made]
        states[-1] -= 1e30
        return states
    parameters = inspect.signature(type(made)).parameters.values()
    if all(one.default is not inspect.Parameter.empty for one in parameters):
        return type(made)()
    made.reset()
    return made
