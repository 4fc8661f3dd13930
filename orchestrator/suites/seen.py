"""Images and videos for a Hugging Face model: in the layout that its `forward` takes, of sizes that its config says.

A layout is told by what `forward` takes beside the pixels (a grid of patches, the sizes of images, masks of patches),
not by the name of the class. One image, or video, a sample; standard normal pixels, as after normalisation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.suites.facts import VISION, Draws, Facts, Inputs

if TYPE_CHECKING:
    import torch

NAMES = (
    "pixel_values_images",
    "pixel_values",
    "image_pixel_values",
    "flattened_patches",
    "image_patches",
    "image",
    "visual_feats",
    "visual_embeds",
    "pixel_values_videos",
)
"""Inputs that hold an image or a video: the first that `forward` takes is made."""

FRAMES = ("num_frames", "frames_per_clip", "num_image_with_embedding", "num_frames_per_clip")
DEFAULT_FRAMES = 8
FLAT = (14, 14)
"""Patches along height and width where an image of any size is cut into as many as fit (Pix2Struct)."""
SQUARE = ("paddleocr_vl", "kimi_k25")
"""Modules of transformers whose patches keep their shape (channels, height, width) and are not flat."""
REGIONS = 36
"""Regions of an image for models that take a detector's features: those of LXMERT and VisualBERT."""


def pixels(facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """Return the inputs that hold one image or video a sample, and in words what it is. Nothing where none is taken.

    Where a model is asked what is at a point, there is one. Raises ValueError for a size that no config says.
    """
    import torch

    inputs, words = _pixels(facts, draws, batch)
    if not inputs or "input_points" not in facts.takes:
        return inputs, words
    height, width = facts.image_size()
    points = draws.uniform("input_points", batch, 1, 1, 2) * torch.tensor([width, height])
    return {**inputs, "input_points": points, "input_labels": _same([[1]], batch)}, f"{words} and a point of it"


def _pixels(facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    name = next((name for name in NAMES if name in facts.takes), None)
    if name is None and facts.needs("grid_thw"):
        name = "hidden_states"  # so a tower alone calls its patches
    if name is None:
        return {}, ""
    if "high_res_pixel_values" in facts.takes:
        size = facts.number(("image_size",), ("high_res",))
        fine = {"high_res_pixel_values": draws.normal("high_res_pixel_values", batch, _channels(facts), size, size)}
        inputs, words = _image(name, facts, draws, batch)
        return {**inputs, **fine}, f"{words} and of {size} x {size}"
    layout = next((make for beside, make in LAYOUTS.items() if facts.knows(beside)), None)
    if layout is None and type(facts.model).__name__.endswith("KeypointMatching"):
        return _image(name, facts, draws, batch, 2)
    if layout is None:
        layout = _video if name == "pixel_values_videos" or _is_clip(facts) else _image
    return layout(name, facts, draws, batch)


def _channels(facts: Facts) -> int:
    return facts.number(("num_channels", "in_channels", "in_chans", "image_channels", "num_input_channels"), VISION, 3)


def _image(name: str, facts: Facts, draws: Draws, batch: int, *between: int) -> tuple[Inputs, str]:
    height, width = facts.image_size()
    inputs: Inputs = {name: draws.normal(name, batch, *between, _channels(facts), height, width)}
    if facts.needs("pixel_attention_mask"):
        inputs["pixel_attention_mask"] = (
            _same(1, batch).bool()[:, None, None, None].expand(-1, 1, height, width).clone()
        )
    if "image_sizes" in facts.takes and _asks_for_sizes(facts):
        inputs["image_sizes"] = _same([height, width], batch)
    return inputs, f"1 image of {height} x {width}"


def _asks_for_sizes(facts: Facts) -> bool:
    """Pixtral's tower takes images of any size: it is told which."""
    return facts.needs("image_sizes") or any(
        getattr(config, "model_type", "") == "pixtral" for _, config in facts.parts
    )


def _one_of_several(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """The images of a sample have a dimension of their own."""
    return _image(name, facts, draws, batch, 1)


def _is_clip(facts: Facts) -> bool:
    """Of a model whose images are the frames of a video: its own config, or that of its vision, counts them."""
    return (facts.modalities() >= {"video"} and "image" not in facts.modalities()) or any(
        getattr(config, word, None) is not None for _, config in facts.parts for word in FRAMES[:2]
    )


def _video(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    height, width = facts.image_size()
    frames = facts.number(FRAMES, VISION, DEFAULT_FRAMES)
    return (
        {name: draws.normal(name, batch, frames, _channels(facts), height, width)},
        f"1 video of {frames} frames of {height} x {width}",
    )


def _patching(facts: Facts) -> tuple[int, int, int]:
    """Return a patch's edge, the frames it spans, and how many patches along an edge become one token."""
    edge = facts.number(("patch_size", "spatial_patch_size"), VISION)
    merged = facts.number(("spatial_merge_size", "merge_size", "downsample_factor", "merge_kernel_size"), VISION, 0)
    if not merged:
        merged = round(1 / (facts.first(("downsample_ratio",)) or 1))
    windows = facts.number(("window_kernel_size",), VISION, 1)  # merged inside the tower, before the rest is
    return edge, facts.number(("temporal_patch_size", "patch_temporal"), VISION, 1), merged * windows


def _grid(facts: Facts) -> tuple[int, int]:
    """Return patches along height and width: a whole number of tokens."""
    edge, _, merged = _patching(facts)
    height, width = (max(side // (edge * merged), 1) * merged for side in facts.image_size())
    return height, width


def _patches(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """All patches of all images in one list, and the grid of each image."""
    edge, frames, _ = _patching(facts)
    height, width = _grid(facts)
    rows = draws.normal(name, batch * height * width, _channels(facts) * frames * edge * edge)
    if any(module in type(facts.model).__module__ for module in SQUARE):
        rows = rows.unflatten(1, (_channels(facts), edge, edge))
    grid = next(word for word in LAYOUTS if word in facts.takes)
    shape = [height, width] if grid.endswith("_hw") else [1, height, width]
    inputs: Inputs = {name: rows, grid: _same(shape, batch)}
    if "images_per_sample" in facts.takes:  # the last grid of a sample is of the image that is to be made
        inputs |= {grid: _same(shape, 2 * batch), "images_per_sample": _same(2, batch)}
    for merges in ("image_merge_sizes", "merge_sizes"):
        if merges in facts.takes:
            inputs[merges] = _same(1, batch)
    return inputs, f"1 image of {height} x {width} patches"


def _strip(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """The patches of all images in one strip that is a patch high, and how many each has along height and width."""
    import torch

    edge, _, _ = _patching(facts)
    height, width = _grid(facts)
    strip = draws.normal(name, 1, _channels(facts), edge, batch * height * width * edge)
    return {name: strip, "target_sizes": _same([height, width], batch).to(torch.int32)}, (
        f"1 image of {height} x {width} patches"
    )


def _patches_by_sample(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """The patches of each image in a row of their own, their numbers along height and width, and a mask."""
    import torch

    edge, _, _ = _patching(facts)
    height, width = _grid(facts)
    count = facts.first(("num_patches",), VISION) or facts.first(("max_num_patches",), VISION)
    if isinstance(count, int) and count < height * width:
        height = width = max(math.isqrt(count), 1)
    inputs: Inputs = {
        name: draws.normal(name, batch, height * width, _channels(facts) * edge * edge),
        "spatial_shapes": _same([height, width], batch),
        "pixel_attention_mask": torch.ones(batch, height * width, dtype=torch.int64),
    }
    return inputs, f"1 image of {height} x {width} patches"


def _placed_patches(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """The patches of each image in a row of their own, and where each stands."""
    import torch

    edge, _, pooled = _patching(facts)
    pooled = facts.number(("pooling_kernel_size",), VISION, pooled)
    height, width = (max(side // (edge * pooled), 1) * pooled for side in facts.image_size())
    places = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).reshape(-1, 2)
    inputs: Inputs = {name: draws.uniform(name, batch, height * width, _channels(facts) * edge * edge)}
    where = next(word for word in ("image_position_ids", "pixel_position_ids") if word in facts.takes)
    inputs[where] = places.expand(batch, -1, -1).clone()
    return inputs, f"1 image of {height} x {width} patches"


def _flat_patches(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """Each patch with its row and column, from 1, before its pixels."""
    import torch

    width_of_patch = facts.number(("patch_embed_hidden_size",), VISION)
    height, width = FLAT
    places = torch.cartesian_prod(torch.arange(1.0, height + 1), torch.arange(1.0, width + 1)).expand(batch, -1, -1)
    values = draws.normal(name, batch, height * width, width_of_patch)
    inputs: Inputs = {"flattened_patches": torch.cat([places, values], -1)}
    for word, size in (("width", width), ("height", height)):
        if word in facts.takes:
            inputs[word] = _same(size, batch)
    return inputs, f"1 image of {height} x {width} patches"


def _tiles(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """An image as a whole and cut into tiles: as many as the model's own code counts for its size."""
    height, width = facts.image_size()
    count = getattr(sys.modules[type(facts.model).__module__], "image_size_to_num_patches", None)
    pinpoints = facts.first(("image_grid_pinpoints",))
    if count is None or pinpoints is None:
        return _image(name, facts, draws, batch)
    tiles = count([height, width], pinpoints, height)
    inputs: Inputs = {
        name: draws.normal(name, batch, tiles, _channels(facts), height, width),
        "image_sizes": _same([height, width], batch),
    }
    return inputs, f"1 image of {height} x {width} in {tiles} tiles"


def _ratios(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """One tile that holds the image; places for others are empty (Mllama)."""
    import torch

    height, width = facts.image_size()
    tiles = facts.number(("max_num_tiles",), VISION)
    values = draws.normal(name, batch, 1, tiles, _channels(facts), height, width)
    values[:, :, 1:] = 0
    mask = torch.zeros(batch, 1, tiles, dtype=torch.int64)
    mask[:, :, 0] = 1
    inputs: Inputs = {name: values, "aspect_ratio_ids": _same([1], batch), "aspect_ratio_mask": mask}
    return inputs, f"1 image of {height} x {width} in the first of {tiles} tiles"


def _regions(name: str, facts: Facts, draws: Draws, batch: int) -> tuple[Inputs, str]:
    """A detector's features of an image's regions, and their boxes where they are taken."""
    width = facts.number(("visual_feat_dim", "visual_embedding_dim"))
    inputs: Inputs = {name: draws.normal(name, batch, REGIONS, width)}
    if "visual_attention_mask" in facts.takes and name == "visual_embeds":
        inputs["visual_attention_mask"] = _same([1] * REGIONS, batch)
    if "visual_pos" in facts.takes:
        inputs["visual_pos"] = draws.uniform("visual_pos", batch, REGIONS, facts.number(("visual_pos_dim",), (), 4))
    return inputs, f"{REGIONS} regions of an image"


def _same(value: Any, batch: int) -> torch.Tensor:
    """Return int64 [batch, ...]: the value for each sample."""
    import torch

    one = torch.tensor(value, dtype=torch.int64)
    return one.expand(batch, *one.shape).clone()


Layout = Callable[[str, Facts, Draws, int], tuple[Inputs, str]]
LAYOUTS: dict[str, Layout] = {
    "visual_feats": _regions,
    "visual_embeds": _regions,
    "flattened_patches": _flat_patches,
    "spatial_shapes": _patches_by_sample,
    "image_grid_thw": _patches,
    "grid_thw": _patches,
    "image_grid_hw": _patches,
    "target_sizes": _strip,
    "image_position_ids": _placed_patches,
    "pixel_position_ids": _placed_patches,
    "aspect_ratio_ids": _ratios,
    "pixel_attention_mask": _one_of_several,
    "image_encoder_embeddings": _one_of_several,
    "image_sizes": _tiles,
}
"""What `forward` takes beside the pixels -> how they are laid out; the first one decides."""
