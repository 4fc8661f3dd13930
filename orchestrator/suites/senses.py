"""The parts of a Hugging Face model that see or hear: found from `forward`'s signature and the nested configs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.plugins import Unsupported
from orchestrator.suites.heard import FEATURES, SAMPLES
from orchestrator.suites.rules import KEY
from orchestrator.suites.seen import NAMES


@dataclass(frozen=True)
class Sense:
    """Words in the names of its configs and modules, and the inputs that feed it."""

    name: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]


DEPTH = 3
"""Of module names that are looked at: model.encoder.vision_tower."""
SENSES = (
    Sense(
        "images",
        ("vision", "visual", "image", "video", "vit"),
        NAMES,
    ),
    Sense(
        "sound",
        ("audio", "speech"),
        (*FEATURES, *SAMPLES, "audio_values", "input_audio_embeds"),
    ),
)


def refuse_unfed(model: Any, given: Mapping[str, Any]) -> None:
    """Raise Unsupported for a part that sees or hears and gets nothing: its figures would be of the text part alone.

    An input that is written as null counts: that is asked for.
    """
    taken = inspect.signature(model.forward).parameters
    for sense in SENSES:
        if any(name in given for name in sense.inputs) or not has_part(model, sense):
            continue
        name = next((name for name in sense.inputs if name in taken), sense.inputs[0])
        raise Unsupported(
            f"{type(model).__name__} has a part for {sense.name} ({name}), and nothing gives it any: measured without "
            f"them it would be another model; write it as {KEY}.{name}={{shape:[batch,...]}}, or "
            f"{KEY}.{name}=null, which leaves that part out on purpose"
        )


def has_part(model: Any, sense: Sense) -> bool:
    """Return whether a module of this sense was built: one whose name says so, or whose main input is of it."""
    if model.main_input_name in sense.inputs:
        return True
    names = [
        name
        for name, module in model.named_modules()
        if name.count(".") < DEPTH and any(True for _ in module.parameters())
    ]
    return any(word in name.rpartition(".")[2] for name in names for word in sense.words)
