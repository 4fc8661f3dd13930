"""A config of transformers made ready: values laid over it, its tokens inside the vocabulary, gaps filled in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import did_you_mean, in_one_line

CHARACTERS = 256
"""The vocabulary of a model of characters, which has no number of its own for it."""
LAYERS, PINPOINTS = "num_hidden_layers", "image_grid_pinpoints"
LEFT_OPEN = {"prediction_length": 24, "num_experts_per_tok": 2}
"""Values that a config's class leaves to its user, and a model cannot do without."""
PLACEHOLDERS = ("image_token", "video_token", "audio_token")


def configure(model_class: Any, values: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> Any:
    """Return the class's config: `values` over its defaults, or over `stored`, what a config.json says.

    A key/value cache is never kept. Raises ValueError for a key that the config does not have.
    """
    config_class = model_class.config_class
    default = config_class() if stored is None else config_class.from_dict(copy.deepcopy(stored))
    values = {key: one for key, one in LEFT_OPEN.items() if getattr(default, key, one) is None} | dict(values)
    for key in values:
        if not hasattr(default, key) and key != "attn_implementation":
            known = did_you_mean(key, default.to_dict())
            raise ValueError(f"{config_class.__name__} has no '{key}' (build.config): {known}")
    if stored is None:
        whole = default.to_dict()  # only its inner configs: the class itself makes what depends on `values`
        inner = {key: value for key, value in whole.items() if isinstance(value, Mapping)}
        config = config_class(**_over(inner, values))
    else:
        config = config_class.from_dict(copy.deepcopy({**stored, **_over(stored, values)}))
    for part in parts_of(config):
        if hasattr(part, "use_cache"):
            part.use_cache = False
    _make_room(config, model_class)
    before, now = (_part_size(one) for one in (default, config))
    if before and now and before != now and PINPOINTS not in values and hasattr(config, PINPOINTS):
        tiles = [[edge * now // before for edge in pair] for pair in getattr(config, PINPOINTS) or ()]
        setattr(config, PINPOINTS, tiles)  # as many tiles, of the size that the tower has now
    return config


def constructed(model_class: Any, config: Any) -> Any:
    """Return the model. Where its class cannot do without what its config's class leaves open, the usual is filled in.

    Raises ValueError, with the names of what is open, where that is not enough.
    """
    try:
        return model_class(config)
    except (TypeError, AttributeError) as error:
        first = error
    for part in parts_of(config):
        _fill(part)
    try:
        return model_class(config)
    except (TypeError, AttributeError) as error:
        names = dict.fromkeys(key for part in parts_of(config) for key in _open(part))
        raise ValueError(
            f"{model_class.__name__} cannot be built from this config ({in_one_line(first)}), which leaves "
            f"{', '.join(names) or 'nothing'} open: set what is missing as suite.common.build.config.<name>=..."
        ) from error


def _fill(part: Any) -> None:
    """Fill in what follows from the rest of a config."""
    heads, layers = getattr(part, "num_attention_heads", None), getattr(part, "num_hidden_layers", None)
    hidden = getattr(part, "hidden_size", None)
    usual: dict[str, Any] = {"vocab_size": CHARACTERS}
    if isinstance(heads, int) and isinstance(hidden, int):
        usual |= {"head_dim": hidden // heads, "num_key_value_heads": heads, "dropout_rate": 0.0}
    if isinstance(layers, int):
        usual |= {"layer_types": ["full_attention"] * layers, "mlp_layer_types": ["dense"] * layers}
    for key in {*_open(part), "num_key_value_heads"} & usual.keys():
        if getattr(part, key, None) is None:
            setattr(part, key, usual[key])


def _open(part: Any) -> list[str]:
    """Return the arguments of a config's own class that are None."""
    from transformers import PretrainedConfig

    own = {field.name for field in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()
    return sorted(key for key in own if key not in vars(PretrainedConfig()) and vars(part).get(key, 0) is None)


def _part_size(config: Any) -> int | None:
    size = getattr(getattr(config, "vision_config", None), "image_size", None)
    return size if isinstance(size, int) else None


def _make_room(config: Any, model_class: Any) -> None:
    """Give special tokens places in the vocabulary where they have none: its last ones. None of a text model moves.

    A config has them where the whole vocabulary would (image_token_id=151655), and a smaller one no row there; or it
    has no placeholder for its images at all, until a checkpoint of it says one (BLIP-2). Batches of more than one
    sample are classified by their last token that is not padding, so there must be one that is.
    """
    text = text_of(config)
    moved: dict[int, int] = {}
    for part in (config, *parts_of(config)):
        own = part if part is not config and isinstance(getattr(part, "vocab_size", None), int) else text
        size: Any = getattr(own, "vocab_size", None)
        for key, token in list(vars(part).items()) if isinstance(size, int) else ():
            special = key.endswith(("_token_id", "_token_index"))
            missing = token is None and key.removesuffix("_id").removesuffix("_index") in PLACEHOLDERS
            if special and (missing or (isinstance(token, int) and token >= size)):
                setattr(part, key, moved.setdefault(-1 if token is None else token, size - 1 - len(moved)))
    if model_class.__name__.endswith("ForSequenceClassification") and getattr(text, "pad_token_id", 0) is None:
        text.pad_token_id = 0


def text_of(config: Any) -> Any:
    """Return the config of the text part; of the decoder, where a model has several."""
    try:
        return config.get_text_config()
    except ValueError:
        return config.get_text_config(decoder=True)


def _over(stored: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values`, each map of them laid over the stored one: text_config.num_hidden_layers alone can be set.

    Where there are fewer layers than stored, what is said of each one is said of the first ones; where there are more,
    the class says of which type each is.
    """
    over: dict[str, Any] = {}
    before, now = stored.get(LAYERS), values.get(LAYERS)
    for key, value in stored.items() if isinstance(before, int) and isinstance(now, int) else ():
        if isinstance(value, list) and len(value) == before and key not in values:
            if now < before:
                over[key] = value[:now]
            elif now > before and key.endswith("layer_types"):
                over[key] = None
    for key, value in values.items():
        inner = stored.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = {**inner, **_over(inner, value)}
        over[key] = value
    return over


def parts_of(config: Any) -> list[Any]:
    """Return the config and the configs inside it (text_config, vision_config, ...)."""
    from transformers import PretrainedConfig

    inner = [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
    return [config] + [part for value in inner for part in parts_of(value)]
