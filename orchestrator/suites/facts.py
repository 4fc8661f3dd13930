"""What a Hugging Face model says about its inputs: its config, the configs inside it, `forward`, and its processors."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

VISION = ("vision", "visual", "image", "video", "encoder", "backbone")
AUDIO = ("audio", "speech", "sound", "encoder")
TEXT = ("text", "llm", "language", "thinker", "decoder", "generator")
"""Words in the keys of nested configs, by what the config is of."""
LENGTHS = ("max_position_embeddings", "n_positions", "max_target_positions")
"""Config attributes that bound the length of a text."""
TOKEN_INPUTS = ("input_ids", "decoder_input_ids")
Inputs = dict[str, Any]


def configs_in(config: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the config and those inside it, each with its key ("vision_config"; "" of the whole)."""
    from transformers import PretrainedConfig

    yield where, config
    for key, value in vars(config).items():
        for place, one in enumerate(value if isinstance(value, (list, tuple)) else [value]):
            if isinstance(one, PretrainedConfig):
                inner = key if one is value else f"{key}.{place}"
                yield from configs_in(one, f"{where}.{inner}" if where else inner)


class Facts:
    """Of one model, with the sizes of its input.

    sizes: what words stand for, over all that the config says ("image_size": 64).
    """

    def __init__(self, model: Any, sizes: Mapping[str, Any]) -> None:
        self.model = model
        self.sizes = sizes
        self.takes = inspect.signature(model.forward).parameters
        self.parts = [*configs_in(model.config)]

    def first(self, words: Sequence[str], near: Sequence[str] = (), default: Any = None) -> Any:
        """Return the value of the first of `words` that a config has: one whose key has a word of `near`, else any.

        A config inside a near one is near; the whole comes before those that are not.
        """
        for word in words:
            if word in self.sizes:
                return self.sizes[word]

        def rank(part: tuple[str, Any]) -> int:
            return 0 if any(word in part[0] for word in near) else 1 if part[0] == "" else 2

        for _, config in sorted(self.parts, key=rank):
            for word in words:
                value = getattr(config, word, None)
                if value is not None and value != []:
                    return value
        return default

    def number(self, words: Sequence[str], near: Sequence[str] = (), default: int | None = None) -> int:
        """Return the integer that `first` finds; the first of a list. Raises ValueError where there is none."""
        value = self.first(words, near, default)
        value = value[0] if isinstance(value, (list, tuple)) else value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(
                f"no config of {type(self.model).__name__} has a number '{words[0]}': set it, as in "
                f"suite.common.build.sizes.{words[0]}=..."
            )
        return int(value)

    @functools.cached_property
    def described(self) -> Mapping[str, str]:
        """Parameter -> its type and shape in words, as the docstring of `forward` has them.

        "torch.LongTensor of shape (batch_size, sequence_length, 4), *optional*"
        """
        text = inspect.getdoc(self.model.forward) or ""
        found = re.findall(r"^\s*(\w+) \((`.*?|[^\n]*?)\)\s*:\s*$", text, re.MULTILINE | re.DOTALL)
        return {name: " ".join(words.replace("`", "").split()) for name, words in found}

    def needs(self, name: str) -> bool:
        """Return whether `forward`, or a `get_<modality>_features`, has a parameter that it cannot do without."""
        return any(one.default is one.empty and one.name == name for one in self._parameters)

    def knows(self, name: str) -> bool:
        """Return whether `forward`, or a `get_<modality>_features`, has a parameter of this name."""
        return any(one.name == name for one in self._parameters)

    @functools.cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        methods = [self.model.forward]
        for module in self.model.modules():
            names = (f"get_{modality}_features" for modality in ("image", "video", "audio"))
            methods += [getattr(module, name) for name in names if callable(getattr(module, name, None))]
        every = [one for method in methods for one in inspect.signature(method).parameters.values()]
        return [one for one in every if one.kind is one.POSITIONAL_OR_KEYWORD]

    def modalities(self) -> frozenset[str]:
        """Return what the class says that it takes: image, video, audio, text, ..."""
        said = getattr(self.model, "input_modalities", ()) or ()
        return frozenset([said] if isinstance(said, str) else said)

    def lacks(self, words: Sequence[str]) -> bool:
        """Return whether the config has a place for a part with one of these words in its key, and there is none."""
        keys = {
            key
            for _, config in self.parts
            for key, value in vars(config).items()
            if key.endswith("_config") and value is None
        }
        return any(word in key for word in words for key in keys) and not any(
            word in where for word in words for where, _ in self.parts
        )

    def image_size(self) -> tuple[int, int]:
        """Return height and width: of the config, else what the model's image processor makes, else 224 x 224."""
        ratios = self.first(("scaled_images_ratios",))
        if ratios and "image_size" not in self.sizes:  # the smallest copy of an image has a patch's size
            return (round(self.number(("patch_size",)) / min(ratios)),) * 2
        found = _pair(self.first(("image_size", "img_size", "force_image_size", "resolution", "input_size"), VISION))
        return found or _processed([getattr(config, "model_type", "") for _, config in self.parts]) or (224, 224)


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, Mapping):
        one = value.get("shortest_edge") or value.get("longest_edge")
        value = [value.get("height", one), value.get("width", one)]
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, (int, float)) for one in value[-2:]):
        return int(value[-2] if len(value) > 1 else value[0]), int(value[-1])
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else None


def _processed(types: Sequence[str]) -> tuple[int, int] | None:
    """Return the size that the image processor of the first of these model types gives its images; class values."""
    import transformers
    from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES

    for names in (IMAGE_PROCESSOR_MAPPING_NAMES.get(one) for one in types):
        for name in names.values() if isinstance(names, Mapping) else ():
            processor = getattr(transformers, name, None)
            for key in ("crop_size", "size"):
                size = _pair(_said(processor, key))
                if size is not None and max(size) < LARGEST_IMAGE:
                    return size
    return None


LARGEST_IMAGE = 1500
"""Pixels of an edge: what is more is an area (Qwen2-VL's shortest_edge is a number of pixels)."""


def _said(processor: Any, key: str) -> Any:
    """Return a class's value; None where the class is one that needs a package that is not here."""
    try:
        return getattr(processor, key, None)
    except ImportError:
        return None


class Draws:
    """Tensors by name, each from the seed and its name alone: what else is drawn changes none."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def _generator(self, name: str) -> torch.Generator:
        import torch

        return torch.Generator().manual_seed(
            self._seed * 1_000_003 + sum(place * b for place, b in enumerate(name.encode(), 1))
        )

    def normal(self, name: str, *shape: int) -> torch.Tensor:
        """Return standard normal float32."""
        import torch

        return torch.randn(shape, generator=self._generator(name))

    def uniform(self, name: str, *shape: int) -> torch.Tensor:
        """Return float32 of [0, 1)."""
        import torch

        return torch.rand(shape, generator=self._generator(name))

    def integers(self, name: str, low: int, high: int, *shape: int) -> torch.Tensor:
        """Return int64 of [low, high)."""
        import torch

        return torch.randint(low, max(high, low + 1), shape, generator=self._generator(name))
