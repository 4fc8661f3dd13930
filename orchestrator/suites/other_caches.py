"""How each model generates (`decoding_of`), and models whose cache is no `transformers.DynamicCache`.

`RwkvForCausalLM` (a list of states), xLSTM (an object with states), Reformer (buckets and hidden states that grow),
MiniMax (a cache of its own class), XLNet (hidden states, which the call returns).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.plugins import Program, Unsupported
from orchestrator.suites import caches
from orchestrator.suites.decoding import HuggingFaceDecoding, NoDecoding

if TYPE_CHECKING:
    import torch


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
class Memory(Held):
    """XLNet's: hidden states of all layers, [tokens, batch, width], and the last token, int64, [batch, 1]."""

    empty: Callable[[], Any] = field(default=lambda: None)
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
        return Memory(None)

    def prompt(self, program: Program, cache: Memory) -> dict[str, Any]:
        tokens = program.inputs["input_ids"]
        cache.last = tokens[:, -1:]
        return self._inputs(tokens, None)

    def token(self, token: torch.Tensor, cache: Memory, carried: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        assert cache.last is not None
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


def decoding_of(
    model: Any, check_length: Callable[[int], None], labels: frozenset[str] = frozenset()
) -> HuggingFaceDecoding | None:
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
