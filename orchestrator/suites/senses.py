"""The parts of a Hugging Face model that see or hear: found from `forward`'s signature and the nested configs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.plugins import Unsupported
from orchestrator.suites.rules import KEY, Rule


@dataclass(frozen=True)
class Sense:
    """Words in the names of its configs and modules, and the inputs that feed it."""

    name: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]


SENSES = (
    Sense(
        "images",
        ("vision", "visual", "image", "video"),
        ("pixel_values", "pixel_values_videos", "image_patches", "visual_feats", "visual_embeds", "flattened_patches"),
    ),
    Sense(
        "sound",
        ("audio", "speech"),
        ("input_features", "input_values", "audio_values", "audio_input_features", "input_audio_embeds"),
    ),
)


def configs_in(config: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the config and those inside it, each with its key ("vision_config"; "" of the whole)."""
    from transformers import PretrainedConfig

    yield where, config
    for key, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            yield from configs_in(value, f"{where}.{key}" if where else key)


def refuse_unfed(model: Any, given: Mapping[str, Rule]) -> None:
    """Raise Unsupported for a part that sees or hears and gets nothing: its figures would be of the text part alone.

    An input that is written as null counts: that is asked for.
    """
    taken = inspect.signature(model.forward).parameters
    keys = [key for key, _ in configs_in(model.config) if key]
    modules = [name for name, module in model.named_children()] + [
        f"{name}.{inner}" for name, module in model.named_children() for inner, _ in module.named_children()
    ]
    for sense in SENSES:
        if any(name in given for name in sense.inputs):
            continue
        takes = [name for name in sense.inputs if name in taken]
        part = next((key for key in keys if any(word in key for word in sense.words)), None)
        built = any(word in name for name in modules for word in sense.words)
        if takes or (part and built):
            what = f"takes {takes[0]}" if takes else f"has a {part}"
            raise Unsupported(
                f"{type(model).__name__} {what}, and nothing gives it {sense.name}: measured without them it would be "
                f"another model; {KEY}.{(takes or sense.inputs)[0]}=null leaves that part out on purpose"
            )
