"""Models in the styles that people ship, each with other inputs: what `suite=user` has to take. No test, but its data.

Every class takes no arguments, gives its inputs and has a loss, so that it runs in inference and training.
"""

from __future__ import annotations

import dataclasses
import io
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Scored(nn.Module):
    """The loss of those whose outputs have none of their own: the mean square of all floating tensors."""

    def loss(self, outputs: object) -> torch.Tensor:
        leaves, _ = torch.utils._pytree.tree_flatten(outputs)
        floating = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        return torch.stack([leaf.square().mean() for leaf in floating]).sum()


class UNetBlock(Scored):
    """A block of a diffusion UNet: a latent, a timestep, and a tuple of skips as the block before it hands them on."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.channels = channels
        self.time = nn.Sequential(nn.Linear(16, channels), nn.SiLU())
        self.first, self.second = (nn.Conv2d(2 * channels, channels, 3, padding=1) for _ in range(2))
        self.norm = nn.GroupNorm(2, 2 * channels)

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, skips: tuple[torch.Tensor, ...], upsample: bool = False
    ) -> torch.Tensor:
        frequencies = torch.exp(-torch.arange(8, device=sample.device, dtype=sample.dtype))
        angles = timestep.to(sample.dtype)[:, None] * frequencies
        shift = self.time(torch.cat([angles.sin(), angles.cos()], -1))[:, :, None, None]
        for layer, skip in zip((self.first, self.second), reversed(skips), strict=True):
            sample = layer(F.silu(self.norm(torch.cat([sample, skip], 1)))) + shift
        return F.interpolate(sample, scale_factor=2.0) if upsample else sample

    def get_example_inputs(self, batch_size: int = 2) -> dict[str, object]:
        shape = (batch_size, self.channels, 8, 8)
        skips = (torch.randn(shape), torch.randn(shape))
        timestep = torch.randint(1000, (batch_size,))
        return {"sample": torch.randn(shape), "timestep": timestep, "skips": skips, "upsample": True}


class Detector(Scored):
    """Boxes and scores of a list of images, and the best of them by non-maximum suppression: a list of dicts."""

    def __init__(self, keep: int = 5) -> None:
        super().__init__()
        self.keep = keep
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 5, 3, 2, 1))

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        found = self.body(torch.stack(images)).flatten(2).transpose(1, 2)
        results = []
        for one in found:
            corner, size = one[:, :2], one[:, 2:4].exp()
            boxes, scores = torch.cat([corner, corner + size], 1), one[:, 4].sigmoid()
            kept = self.suppressed(boxes, scores)
            results.append({"boxes": boxes[kept], "scores": scores[kept]})
        return results

    def suppressed(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the places of `keep` boxes, each the best of what overlaps less than half with those before."""
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        low, high = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
        inner = (high - low).clamp(min=0).prod(2)
        overlap = inner / (area[:, None] + area - inner)
        alive, kept = torch.ones_like(scores, dtype=torch.bool), []
        for _ in range(self.keep):
            best = torch.where(alive, scores, -1.0).argmax()
            kept.append(best)
            alive = alive & (overlap[best] < 0.5)
        return torch.stack(kept)

    def get_example_inputs(self, batch_size: int = 2) -> tuple[list[torch.Tensor]]:
        return ([torch.randn(3, 32, 32) for _ in range(batch_size)],)


class Recommender(Scored):
    """DLRM: dense features, and for each table the ids of all samples in one row, with offsets."""

    def __init__(self, tables: int = 3, rows: int = 100, width: int = 8) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, width, mode="sum") for _ in range(tables))
        self.bottom, self.top = nn.Linear(13, width), nn.Linear(width + tables * (tables + 1) // 2, 1)

    def forward(self, dense: torch.Tensor, ids: list[torch.Tensor], offsets: list[torch.Tensor]) -> torch.Tensor:
        rows = [self.bottom(dense).relu()]
        rows += [table(one, start) for table, one, start in zip(self.tables, ids, offsets, strict=True)]
        features = torch.stack(rows, 1)
        pairs = features @ features.transpose(1, 2)
        first, second = torch.tril_indices(pairs.shape[1], pairs.shape[2], -1)
        return self.top(torch.cat([rows[0], pairs[:, first, second]], 1)).sigmoid()

    def get_example_inputs(self, batch_size: int = 4) -> dict[str, object]:
        ids = [torch.randint(100, (3 * batch_size,)) for _ in self.tables]
        offsets = [torch.arange(batch_size) * 3 for _ in self.tables]
        return {"dense": torch.randn(batch_size, 13), "ids": ids, "offsets": offsets}


class GraphNet(Scored):
    """Two layers of message passing over one graph, whose nodes are no batch."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_weight: torch.Tensor | None = None) -> object:
        source, target = edge_index
        weight = torch.ones_like(source, dtype=x.dtype) if edge_weight is None else edge_weight
        for layer in (self.first, self.second):
            x = layer(x)
            messages = x[source] * weight[:, None]
            gathered = torch.zeros_like(x).scatter_add(0, target[:, None].expand_as(messages), messages)
            x = (x + gathered).relu()
        return {"nodes": x}

    def get_example_inputs(self) -> dict[str, object]:
        return {"x": torch.randn(12, 4), "edge_index": torch.randint(12, (2, 40)), "edge_weight": None}


class Tagger(Scored):
    """A bidirectional LSTM over packed sequences, time first: the batch is dimension 1."""

    def __init__(self, tags: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.lstm, self.head = nn.LSTM(8, 6, bidirectional=True), nn.Linear(12, tags)

    def forward(self, tokens: torch.Tensor, lengths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = torch.tensor(lengths)
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(tokens), sizes, enforce_sorted=False)
        states, (last, _) = self.lstm(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(states)
        return self.head(padded), last

    def get_example_inputs(self, batch_size: int = 3, sequence_length: int = 7) -> tuple[object, ...]:
        lengths = tuple(max(sequence_length - place, 1) for place in range(batch_size))
        return torch.randint(50, (sequence_length, batch_size)), lengths


class Restored(Scored):
    """Loaded from a checkpoint in its constructor."""

    def __init__(self) -> None:
        super().__init__()
        trained, file = nn.Linear(4, 3), io.BytesIO()
        torch.save({"model": trained.state_dict(), "epoch": 3}, file)
        file.seek(0)
        self.layer = nn.Linear(4, 3)
        self.layer.load_state_dict(torch.load(file, weights_only=True)["model"])

    def forward(self, x: torch.Tensor, /, *, scale: float = 1.0) -> torch.Tensor:
        return self.layer(x) * scale

    def get_example_inputs(self, batch_size: int = 2) -> dict[str, object]:
        return {"x": torch.randn(batch_size, 4), "scale": 0.5}


@dataclasses.dataclass
class Batch:
    """What many pipelines hand to their model."""

    features: torch.Tensor
    mask: torch.Tensor
    names: list[str]


@dataclasses.dataclass
class Prediction:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor
    task: str = "tagging"


class Dataclassed(nn.Module):
    """A dataclass with texts in it, in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, batch: Batch) -> Prediction:
        hidden = self.layer(batch.features) * batch.mask[..., None]
        logits = self.head(hidden.relu())
        return Prediction(logits, (hidden,), logits.square().mean())

    def get_example_inputs(self, batch_size: int = 2) -> dict[str, object]:
        return {"batch": Batch(torch.randn(batch_size, 5, 4), torch.ones(batch_size, 5), ["a"] * batch_size)}


class DictToDict(nn.Module):
    """One dict in, one dict out; the targets are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, batch: dict[str, object]) -> dict[str, object]:
        scores = self.layer(batch["inputs"]["features"])
        loss = F.cross_entropy(scores, batch["targets"]) * batch["weight"]
        return {"scores": scores, "loss": loss, "label": batch["name"], "count": len(scores)}

    def get_example_inputs(self, batch_size: int = 2) -> dict[str, object]:
        features, targets = torch.randn(batch_size, 4), torch.randint(3, (batch_size,))
        batch = {"inputs": {"features": features}, "targets": targets, "weight": 0.5, "name": "train"}
        return {"batch": batch}


class Starred(Scored):
    """As many modalities as are given, each a tensor, and how they are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, *modalities: torch.Tensor, reduce: str = "sum", **masks: torch.Tensor | None) -> torch.Tensor:
        total = torch.stack([self.layer(one) for one in modalities])
        joined = total.sum(0) if reduce == "sum" else total.mean(0)
        for mask in masks.values():
            joined = joined if mask is None else joined * mask[:, None]
        return joined

    def get_example_inputs(self, batch_size: int = 2) -> dict[str, object]:
        modalities = [torch.randn(batch_size, 4) for _ in range(3)]
        return {"modalities": modalities, "reduce": "mean", "valid": torch.ones(batch_size), "other": None}


class State(NamedTuple):
    hidden: torch.Tensor
    cell: torch.Tensor


class Recurrent(Scored):
    """A cell that takes and returns its state as a named tuple, for a list of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 5)

    def forward(self, steps: list[torch.Tensor], state: State) -> tuple[list[torch.Tensor], State]:
        outputs = []
        for step in steps:
            state = State(*self.cell(step, (state.hidden, state.cell)))
            outputs.append(state.hidden)
        return outputs, state

    def get_example_inputs(self, batch_size: int = 2) -> tuple[object, ...]:
        state = State(torch.zeros(batch_size, 5), torch.zeros(batch_size, 5))
        return [torch.randn(batch_size, 4) for _ in range(3)], state
