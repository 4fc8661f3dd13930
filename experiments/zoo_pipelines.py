"""Small models of whole fields for experiments/zoo.yaml: vision, text, diffusion, detection, recommendation, graphs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from zoo_models import Inputs, Squared


class ConvNet(nn.Module):
    """Convolutions and batch normalisation with a shortcut; labels in, a dict with the loss out."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 5)

    def forward(self, images: Tensor, labels: Tensor) -> Inputs:
        hidden = F.relu(self.norm(self.stem(images)))
        hidden = F.adaptive_avg_pool2d(hidden + self.block(hidden), 1).flatten(1)
        scores = self.head(hidden)
        return {"loss": F.cross_entropy(scores, labels), "scores": scores}

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"images": torch.randn(batch_size, 3, 16, 16), "labels": torch.randint(5, (batch_size,))}


class LstmTagger(Squared):
    """Padded sequences of several lengths, packed for a bidirectional LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 7)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=tokens.shape[1])
        return self.head(hidden)

    def get_example_inputs(self, batch_size: int = 2, sequence_length: int = 12) -> Inputs:
        lengths = torch.arange(batch_size) % (sequence_length - 1) + 2
        return {"tokens": torch.randint(1, 50, (batch_size, sequence_length)), "lengths": lengths}


class GruDecoder(Squared):
    """A GRU cell in a Python loop that feeds its own output back."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(8, 32), nn.Linear(32, 8)

    def forward(self, start: Tensor) -> Tensor:
        state, step, steps = start.new_zeros(len(start), 32), start, []
        for _ in range(6):
            state = self.cell(step, state)
            step = torch.tanh(self.out(state))
            steps.append(step)
        return torch.stack(steps, 1)

    def get_example_inputs(self, batch_size: int = 1) -> tuple[Tensor]:
        return (torch.randn(batch_size, 8),)


class TorchEncoder(Squared):
    """`nn.TransformerEncoder` with a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        return self.encoder(x, src_key_padding_mask=padding)

    def get_example_inputs(self, batch_size: int = 1, sequence_length: int = 10) -> Inputs:
        padding = (torch.arange(sequence_length) >= sequence_length - 2).expand(batch_size, -1).clone()
        return {"x": torch.randn(batch_size, sequence_length, 32), "padding": padding}


class UNet(Squared):
    """A denoiser as diffusion models have it: skip connections, group normalisation, time steps as sines."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.first, self.down = nn.Conv2d(4, width, 3, 1, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.norm = nn.GroupNorm(4, width)
        self.up, self.last = nn.ConvTranspose2d(width, width, 2, 2), nn.Conv2d(2 * width, 4, 3, 1, 1)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(10000) * torch.arange(8, device=sample.device) / 8)
        angles = timestep[:, None].to(sample.dtype) * frequencies.to(sample.dtype)
        time = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        skip = self.first(sample)
        hidden = F.silu(self.norm(self.down(skip))) + time[:, :, None, None]
        return self.last(torch.cat([self.up(hidden), skip], 1))

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"sample": torch.randn(batch_size, 4, 16, 16), "timestep": torch.randint(1000, (batch_size,))}


@dataclass
class Decoded:
    image: Tensor
    kl: Tensor


class Vae(nn.Module):
    """An autoencoder whose outputs are a dataclass; the noise is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv2d(3, 8, 4, 4), nn.ConvTranspose2d(4, 3, 4, 4)

    def forward(self, image: Tensor, noise: Tensor) -> Decoded:
        mean, log_variance = self.encode(image).chunk(2, 1)
        sample = mean + noise * torch.exp(0.5 * log_variance)
        return Decoded(self.decode(sample), (mean.square() + log_variance.exp() - log_variance - 1).mean())

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"image": torch.randn(batch_size, 3, 16, 16), "noise": torch.randn(batch_size, 4, 4, 4)}

    def loss(self, outputs: Decoded) -> Tensor:
        return outputs.image.square().mean() + outputs.kl


class Detector(nn.Module):
    """Boxes and scores, and suppression of what overlaps: how many remain depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 5, 1)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        cells = self.head(F.relu(self.backbone(images))).flatten(2).transpose(1, 2)
        corner, size = 32 * cells[..., :2].sigmoid(), 8 * cells[..., 2:4].sigmoid() + 1
        boxes = torch.cat([corner, corner + size], -1)
        return [own[_kept(own, score)] for own, score in zip(boxes, cells[..., 4], strict=True)], cells

    def get_example_inputs(self, batch_size: int = 1) -> Tensor:
        return torch.randn(batch_size, 3, 32, 32)

    def loss(self, outputs: tuple[list[Tensor], Tensor]) -> Tensor:
        return outputs[1].square().mean()


def _kept(boxes: Tensor, scores: Tensor) -> Tensor:
    order = scores.argsort(descending=True)
    boxes = boxes[order]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    low, high = torch.maximum(boxes[:, None, :2], boxes[:, :2]), torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    overlap = shared / (area[:, None] + area - shared)
    return order[(overlap.tril(-1) < 0.5).all(1)]


class Recommender(nn.Module):
    """Bags of categories beside dense features, and the products of all pairs (DLRM)."""

    def __init__(self, tables: int = 3) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(100, 8, mode="sum") for _ in range(tables))
        self.dense = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.top = nn.Linear(8 + tables * (tables + 1) // 2, 1)

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        bottom = self.dense(dense)
        vectors = torch.stack([bottom, *(bag(categories[:, at]) for at, bag in enumerate(self.bags))], 1)
        row, column = torch.tril_indices(vectors.shape[1], vectors.shape[1], -1)
        pairs = torch.bmm(vectors, vectors.transpose(1, 2))[:, row, column]
        return torch.sigmoid(self.top(torch.cat([bottom, pairs], 1)))

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"dense": torch.randn(batch_size, 6), "categories": torch.randint(100, (batch_size, 3, 4))}

    def loss(self, outputs: Tensor) -> Tensor:
        return F.binary_cross_entropy(outputs, torch.ones_like(outputs))


class GraphNet(Squared):
    """Messages along the edges of a graph, summed where they arrive (`index_add`, `scatter_reduce`)."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(16, 8), nn.Linear(24, 8)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges.unbind(1)
        messages = F.relu(self.message(torch.cat([nodes[source], nodes[target]], 1)))
        total = torch.zeros_like(nodes).index_add(0, target, messages)
        index = target[:, None].expand_as(messages)
        most = torch.zeros_like(nodes).scatter_reduce(0, index, messages, "amax")
        return nodes + self.update(torch.cat([nodes, total, most], 1))

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"nodes": torch.randn(batch_size, 8), "edges": torch.randint(batch_size, (4 * batch_size, 2))}
