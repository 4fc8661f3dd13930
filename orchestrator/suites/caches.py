"""The caches of Hugging Face's models: how they are made, kept, put back and reordered.

Most models take a `transformers.Cache`: layers of keys and values, of a convolution's and a recurrence's states, or of
both. What others take is in `orchestrator.suites.decoding`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ARGUMENTS = ("cache", "past_key_values", "cache_params")
"""What `forward` calls its cache: since transformers 5.2x, before, and before for state-space models."""


def argument_of(model: Any, names: tuple[str, ...] = ARGUMENTS) -> str | None:
    """Return the first of these names that the model's forward takes, None if it takes none."""
    return next((name for name in names if name in taken(model)), None)


def taken(model: Any) -> Collection[str]:
    """Return the names of what the model's forward takes."""
    return inspect.signature(model.forward).parameters


def new_cache(config: Any, kind: str, length: int) -> Any:
    """Return an empty cache with the layers of a decoder's config: growing ("dynamic"), or of `length` tokens."""
    from transformers import DynamicCache, StaticCache

    return DynamicCache(config=config) if kind == "dynamic" else StaticCache(config=config, max_cache_len=length)


def whole(config: Any) -> Any:
    """Return the config of cross-attention: it goes over the whole input, whatever windows the decoder has."""
    if getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None) is None:
        return config
    config = copy.deepcopy(config)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = ["full_attention"] * len(config.layer_types)
    if getattr(config, "sliding_window", None) is not None:
        config.sliding_window = None
    return config


def length_of(cache: Any) -> int | None:
    """Return how many tokens a `transformers.Cache` holds; None of one that is all states, which do not grow."""
    from transformers import EncoderDecoderCache
    from transformers.cache_utils import CacheLayerMixin

    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    if cache.layers and not any(isinstance(layer, CacheLayerMixin) for layer in cache.layers):
        return None
    return int(cache.get_seq_length())


def mark(cache: Any) -> Callable[[], None]:
    """Return the function that sets a cache back to what it holds now.

    Only what a later call changes is copied: of a static layer of keys and values its length (what stands behind it is
    masked, and overwritten), of a dynamic one nothing, since it never writes in place, of any other everything.
    """
    from transformers import DynamicCache, EncoderDecoderCache, StaticCache

    if type(cache) not in (DynamicCache, EncoderDecoderCache, StaticCache):
        return snapshot(cache)
    restore = [_marked(layer) for layer in _layers(cache)]

    def set_back() -> None:
        for one in restore:
            one()

    return set_back


def of_modules(model: torch.nn.Module) -> list[tuple[dict[str, Any], str]]:
    """Return where modules keep tensors that are neither parameters nor buffers: states outside of a cache, perhaps.

    Each as the module's attributes and the name there: RecurrentGemma's states, the shift of Qwen2-VL's positions.
    """
    import torch

    return [
        (vars(module), name)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    ]


def snapshot(value: Any) -> Callable[[], Any]:
    """Return the function that gives `value` back as it is now, tensors where they are in memory.

    Lists, maps, tuples and objects with attributes are walked; models and configs are left alone.
    """
    import torch
    from transformers import PretrainedConfig

    if isinstance(value, torch.Tensor):
        kept = value.clone()
        return lambda: value.copy_(kept)
    if isinstance(value, (list, tuple)):
        parts = [snapshot(item) for item in value]

        def list_back() -> Any:
            items = [part() for part in parts]
            if isinstance(value, list):
                value[:] = items
            return value

        return list_back
    own = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if own is None or callable(value) or isinstance(value, (torch.nn.Module, PretrainedConfig)):
        return lambda: value
    inner = {name: snapshot(item) for name, item in own.items()}

    def map_back() -> Any:
        items = {name: part() for name, part in inner.items()}
        own.clear()
        own.update(items)
        return value

    return map_back


def reorder(cache: Any, index: torch.Tensor) -> None:
    """Let each sequence of a cache go on from that of `index`, int64, [sequences]. What is static stays in its place.

    The keys and values of an encoder's outputs are the same for all beams of a prompt, and stay.
    """
    from transformers import EncoderDecoderCache
    from transformers.cache_utils import StaticLayer

    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
    for layer in cache.layers:
        if isinstance(layer, StaticLayer) or not hasattr(layer, "keys"):
            _reorder_in_place(vars(layer), index)
        elif layer.is_initialized:
            layer.reorder_cache(index)


def _reorder_in_place(own: dict[Any, Any], index: torch.Tensor) -> None:
    import torch

    for value in own.values():
        if isinstance(value, dict):
            _reorder_in_place(value, index)
        elif isinstance(value, torch.Tensor) and value.ndim > 1:
            value.copy_(value.index_select(0, index))


def _layers(cache: Any) -> Iterator[Any]:
    from transformers import EncoderDecoderCache

    parts = [cache]
    if isinstance(cache, EncoderDecoderCache):
        parts = [cache.self_attention_cache, cache.cross_attention_cache]
    return (layer for part in parts for layer in part.layers)


def _marked(layer: Any) -> Callable[[], Any]:
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, StaticLayer

    if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):
        state = dict(vars(layer))
        return lambda: vars(layer).update(state)
    if type(layer) is StaticLayer:
        filled = layer.cumulative_length.clone()
        return lambda: layer.cumulative_length.copy_(filled)
    return snapshot(layer)
