"""Labels of a Hugging Face model that its class's name does not tell, and what `forward` takes besides for a loss."""

from __future__ import annotations

from typing import Any

from orchestrator.suites.facts import TEXT, VISION, Draws, Facts, Inputs

OBJECTS = 3
"""In each image, with a class, a box, and a mask where there are masks."""


def labels(facts: Facts, draws: Draws, batch: int, inputs: Inputs) -> Inputs:
    """Return what is drawn for the parameters of `forward` that only serve its loss; nothing where none is known."""
    made: Inputs = {}
    name = type(facts.model).__name__
    words = facts.described.get("labels", "")
    objects = "labels" in facts.takes and "list[dict" in str(facts.takes["labels"].annotation).lower()
    if "return_loss" in facts.takes:
        made["return_loss"] = True
    if "class_labels" in facts.takes and "mask_labels" in facts.takes:
        made["class_labels"] = [_classes(facts, draws, f"class{one}") for one in range(batch)]
        made["mask_labels"] = [_masks(facts, draws, f"mask{one}") for one in range(batch)]
    elif objects and "For" in name:
        made["labels"] = [_objects(facts, draws, one, "Segmentation" in name) for one in range(batch)]
    elif "(batch_size, height, width)" in words and "Semantic" in name:
        made["labels"] = draws.integers("labels", 0, facts.number(("num_labels",)), batch, *facts.image_size())
    elif "(batch_size, height, width)" in words and "Long" not in words:
        made["labels"] = draws.uniform("labels", batch, *facts.image_size())
    elif "labels" in facts.takes:
        made |= _plain(facts, draws, batch, inputs, words)
    if "bool_masked_pos" in facts.takes and (
        "MaskedImage" in name or facts.takes["bool_masked_pos"].default is not None
    ):
        made["bool_masked_pos"] = _hidden(facts, batch)
    return made


def shortened(facts: Facts, inputs: Inputs) -> Inputs:
    """Return the labels of CTC cut to what a short sound has frames for, 3 for 2; nothing for other models."""
    sound, own = inputs.get("input_values"), inputs.get("labels")
    count = getattr(facts.model, "_get_feat_extract_output_lengths", None)
    if sound is None or own is None or count is None or not type(facts.model).__name__.endswith("ForCTC"):
        return {}
    return {"labels": own[:, : max(int(count(sound.shape[-1])) * 2 // 3, 1)].clone()}


def _plain(facts: Facts, draws: Draws, batch: int, inputs: Inputs, words: str) -> Inputs:
    """Tokens of the text, or a class a sample, as the documentation of `labels` says."""
    tokens = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    if "sequence_length)" in words and tokens is not None:
        shape = list(tokens.shape)
        shape[-1] += inputs["visual_embeds"].shape[1] if "total_sequence_length" in words else 0
        return {"labels": draws.integers("labels", 0, facts.number(("vocab_size",), TEXT), *shape)}
    if "(batch_size,)" in words and "decoder_input_ids" not in facts.takes:
        return {"labels": draws.integers("labels", 0, facts.number(("num_labels",)), batch)}
    return {"labels": draws.uniform("labels", batch, facts.number(("num_labels",)))} if "num_answers" in words else {}


def _classes(facts: Facts, draws: Draws, name: str) -> Any:
    return draws.integers(name, 0, facts.number(("num_labels",)), OBJECTS)


def _masks(facts: Facts, draws: Draws, name: str) -> Any:
    return draws.integers(name, 0, 2, OBJECTS, *facts.image_size()).float()


def _objects(facts: Facts, draws: Draws, one: int, masks: bool) -> Inputs:
    """Boxes are centre, width and height, in parts of the image: all of them inside it."""
    import torch

    sizes = draws.uniform(f"size{one}", OBJECTS, 2) * 0.4 + 0.1
    centres = sizes / 2 + draws.uniform(f"centre{one}", OBJECTS, 2) * (1 - sizes)
    found: Inputs = {"class_labels": _classes(facts, draws, f"class{one}"), "boxes": torch.cat([centres, sizes], 1)}
    return {**found, "masks": _masks(facts, draws, f"mask{one}")} if masks else found


def _hidden(facts: Facts, batch: int) -> Any:
    """Every second patch of an image or a video is hidden."""
    import torch

    height, width = facts.image_size()
    edge = facts.number(("patch_size", "mask_patch_size"), VISION)
    count = (height // edge) * (width // edge)
    if facts.first(("tubelet_size",)) is not None:
        count *= facts.number(("num_frames",)) // facts.number(("tubelet_size",))
    return (torch.arange(count) % 2).bool().expand(batch, -1).clone()
