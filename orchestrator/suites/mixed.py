"""Text with images or sound in it: as many of the model's placeholder tokens as its own towers make features.

No formula of a processor is copied: the model's `get_image_features` (or video, audio) is asked what it makes of the
very inputs, once, and each row of features gets one placeholder.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import first_line
from orchestrator.plugins import Unsupported
from orchestrator.suites.facts import Facts
from orchestrator.suites.rules import KEY

if TYPE_CHECKING:
    import torch

MASKS = {"image": "image_embeds_position_mask"}
"""Modality -> the input that says where its features go, of models that have no placeholder in their vocabulary."""
TYPES = {"image": 1, "video": 2, "audio": 3}
"""Modality -> what `mm_token_type_ids` has at its placeholders; 0 of text."""
PHRASE = 3
"""Tokens of a phrase, the full stop behind it among them."""
IGNORED = -100
"""A label that no loss counts."""


@dataclass(frozen=True)
class Placeholders:
    """Of one modality: the token (None: a mask says where), how many a sample has, and what stands around them."""

    modality: str
    token: int | None
    count: int
    around: tuple[int | None, int | None]

    @property
    def length(self) -> int:
        return len(self.tokens())

    def tokens(self) -> list[int]:
        before, after = self.around
        return [one for one in (before, *[self.token or 0] * self.count, after) if one is not None]


def placeholders(facts: Facts, inputs: Mapping[str, Any], batch: int) -> list[Placeholders]:
    """Return those that the text needs for these inputs; none for a model that does not mix them into its text.

    Raises Unsupported where the model's own code fails on the inputs, or its features are not the same for all samples.
    """
    found = []
    for modality in TYPES:
        token = _token(facts, modality)
        if token is None and MASKS.get(modality) not in facts.takes:
            continue
        features = features_of(facts, modality, inputs)
        rows = _rows(features) if features is not None else _heard(facts, inputs) if modality == "audio" else 0
        if rows == 0:
            continue
        if rows % batch:
            raise Unsupported(
                f"{type(facts.model).__name__} makes {rows} rows of {modality} features of {batch} samples: "
                f"write its input_ids as {KEY}.input_ids"
            )
        around = _edge(facts, modality, "start"), _edge(facts, modality, "end")
        found.append(Placeholders(modality, token, rows // batch, around))
    return found


def features_of(facts: Facts, modality: str, inputs: Mapping[str, Any]) -> Any:
    """Return what the model's `get_<modality>_features` makes of the inputs; None where it has none.

    Raises Unsupported, with what the model said, for inputs that it does not take.
    """
    owner = _owner(facts.model, f"get_{modality}_features")
    if owner is None:
        return None
    method = getattr(owner, f"get_{modality}_features")
    given = {name: inputs[name] for name in inspect.signature(method).parameters if name in inputs}
    if next(iter(inspect.signature(method).parameters)) not in given:
        return None
    try:
        with evaluating(facts.model):
            return method(**given)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        shapes = ", ".join(f"{name} {list(getattr(value, 'shape', ()))}" for name, value in given.items())
        raise Unsupported(
            f"{type(facts.model).__name__} makes no {modality} features of {shapes}: "
            f"{first_line(error):.150}; "
            f"write them as {KEY}.{next(iter(given))}={{shape:[batch,...]}}, or sizes as suite.common.build.sizes"
        ) from error


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """No gradients, and eval(): statistics of batches, and what a tower caches, stay as they were."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def mix(inputs: dict[str, Any], found: Sequence[Placeholders], facts: Facts, vocabulary: int) -> None:
    """Write the placeholders into `input_ids`, after the first token, in place; no other token is one.

    Where there are labels of that shape, the placeholders' are left out of the loss.
    """
    import torch

    tokens = inputs["input_ids"]
    special = sorted({token for one in found for token in (one.token, *one.around) if token is not None})
    special += sorted(one for one in (_token(facts, modality) for modality in TYPES) if one is not None)
    for token in special:
        tokens[tokens == token] = next(one for one in range(vocabulary) if one not in special)
    kinds = torch.zeros_like(tokens)
    place = 1
    for one in found:
        tokens[..., place : place + one.length] = torch.tensor(one.tokens())
        first = place + (one.around[0] is not None)
        kinds[..., first : first + one.count] = TYPES[one.modality]
        place += one.length
        if one.token is None:
            inputs[MASKS[one.modality]] = (kinds == TYPES[one.modality]).long()
    labels = inputs.get("labels")
    if labels is not None and labels.shape == tokens.shape:
        labels[kinds > 0] = IGNORED
    for name, values in (
        ("mm_token_type_ids", kinds),
        ("token_type_ids", (kinds > 0).long()),
        ("moe_mm_token_type_ids", kinds),
    ):
        if name in facts.takes and name not in inputs:
            inputs[name] = values


def phrase(tokens: torch.Tensor, facts: Facts) -> None:
    """Cut a text into phrases of two words, in place, where the model tells them apart itself: a detector's classes.

    Such a model has a buffer with the tokens of beginning, end and full stop.
    """
    found = [buffer for name, buffer in facts.model.named_buffers() if name.rpartition(".")[2] == "special_tokens"]
    if not found or tokens.shape[-1] < 2 * PHRASE:
        return
    begin, end, stop, *_ = special = found[0].tolist()
    for token in special:
        tokens[tokens == token] = next(one for one in range(1, len(special) + 2) if one not in special)
    tokens[..., ::PHRASE] = stop
    tokens[..., 0], tokens[..., -1] = begin, end


def _owner(model: Any, method: str) -> Any:
    """Return the innermost module that has the method: those around it only hand their arguments on."""
    return next((one for one in reversed([*model.modules()]) if callable(getattr(one, method, None))), None)


def _rows(features: Any) -> int:
    pooled = getattr(features, "pooler_output", None)
    pooled = features if pooled is None else pooled
    if isinstance(pooled, (list, tuple)):
        maps = all(getattr(one, "ndim", 0) == 3 and len(one) > 1 for one in pooled)  # channels, height, width
        return sum(one[0].numel() if maps else _rows(one) for one in pooled)
    return int(pooled.numel() // pooled.shape[-1])


def _heard(facts: Facts, inputs: Mapping[str, Any]) -> int:
    """Return the positions that an encoder makes of the frames, where no method makes the features (Qwen2-Audio)."""
    owner = _owner(facts.model, "_get_feat_extract_output_lengths")
    mask = inputs.get("feature_attention_mask")
    if owner is None or mask is None:
        return 0
    lengths = owner._get_feat_extract_output_lengths(mask.sum(-1))
    return int((lengths[-1] if isinstance(lengths, tuple) else lengths).sum())


def _token(facts: Facts, modality: str) -> int | None:
    return _id(facts, [f"{modality}_token_id", f"{modality}_token_index"])


def _edge(facts: Facts, modality: str, end: str) -> int | None:
    """Return the token that stands before ("start") or after ("end") a modality's placeholders."""
    return _id(facts, [f"{word}_{end}_token_{kind}" for word in ("vision", modality) for kind in ("id", "index")])


def _id(facts: Facts, words: Sequence[str]) -> int | None:
    found = facts.first(words)
    return int(found) if isinstance(found, int) and not isinstance(found, bool) else None
