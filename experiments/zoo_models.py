"""Models in the styles that people ship, for experiments/zoo.yaml: one way of writing a model each."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

Inputs = dict[str, Tensor]


class Squared(nn.Module):
    """What is trained without labels: the mean square of what comes out."""

    def loss(self, outputs: Tensor) -> Tensor:
        return outputs.square().mean()


class Perceptron(Squared, nn.Sequential):
    """A Sequential, one tensor in and out, its loss a method."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 64), nn.GELU(), nn.LayerNorm(64), nn.Dropout(0.1), nn.Linear(64, 4))


class CrossAttention(nn.Module):
    """`nn.MultiheadAttention` that returns its weights, too; positions only, by `*tensors`."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        query, memory = tensors
        return self.attention(query, memory, memory)

    def get_example_inputs(self, batch_size: int = 1) -> tuple[Tensor, Tensor]:
        return torch.randn(batch_size, 5, 32), torch.randn(batch_size, 9, 32)

    def loss(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        return outputs[0].square().mean()


class Experts(Squared):
    """A mixture of experts that picks out each expert's tokens, as many as there are."""

    def __init__(self, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(16, experts)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        weights, chosen = self.router(tokens).softmax(-1).topk(2, -1)
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, rank = torch.where(chosen == number)
            out.index_add_(0, token, expert(tokens[token]) * weights[token, rank, None])
        return out.view_as(x)

    def get_example_inputs(self, batch_size: int = 1) -> Inputs:
        return {"x": torch.randn(batch_size, 6, 16)}


class Restored(Perceptron):
    """A model that loads a checkpoint in its constructor."""

    def __init__(self) -> None:
        super().__init__()
        file = io.BytesIO()
        torch.save(Perceptron().state_dict(), file)
        file.seek(0)
        self.load_state_dict(torch.load(file, weights_only=True))


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        return gradient


class Quantised(Squared):
    """Training aware of quantisation: an `autograd.Function` of its own that rounds forward only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        weight = _Straight.apply(self.layer.weight * 32) / 32
        return F.linear(x, weight, self.layer.bias).relu()


class Branches(Squared):
    """A branch that depends on the data, an early exit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if hidden.sum() > 0:
            return hidden
        return self.second(hidden.relu())


class Normalised(Squared):
    """Weights that are computed: weight and spectral normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Conv1d(8, 16, 3, padding=1))
        self.second = parametrizations.spectral_norm(nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.leaky_relu(self.first(x)).mean(-1))

    def get_example_inputs(self, batch_size: int = 1) -> Tensor:
        return torch.randn(batch_size, 8, 12)


class Spectral(Squared):
    """A Fourier neural operator: products of complex weights between two FFTs."""

    def __init__(self, modes: int = 5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, modes, 2) / 4)

    def forward(self, x: Tensor) -> Tensor:
        modes = self.weight.shape[2]
        found = torch.fft.rfft(x.float())[..., :modes]
        mixed = torch.einsum("bim,iom->bom", found, torch.view_as_complex(self.weight.float()))
        return torch.fft.irfft(mixed, n=x.shape[-1]).to(x.dtype)

    def get_example_inputs(self, batch_size: int = 1) -> Tensor:
        return torch.randn(batch_size, 4, 16)


class Remembering(Squared):
    """A buffer that every call changes: an average of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.register_buffer("seen", torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return self.layer(x - self.seen)


class Checkpointed(Perceptron):
    """Layers that are computed again for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=False)


class Ensemble(Squared):
    """Members that run as one, by `torch.func` and `vmap`."""

    def __init__(self, members: int = 3) -> None:
        super().__init__()
        self.member = nn.Linear(16, 4)
        self.weights = nn.Parameter(torch.randn(members, 4, 16) / 4)

    def forward(self, x: Tensor) -> Tensor:
        def one(weight: Tensor) -> Tensor:
            return torch.func.functional_call(self.member, {"weight": weight}, (x,))

        return torch.vmap(one)(self.weights).mean(0)


class NeuralOde(Squared):
    """Runge-Kutta steps through a small network, in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4):
            first = self.slope(x)
            x = x + 0.25 * self.slope(x + 0.125 * first)
        return x

    def get_example_inputs(self, batch_size: int = 1) -> Tensor:
        return torch.randn(batch_size, 8)


class Exact(Squared):
    """A layer in float64 on purpose, inside a model that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.exact = nn.Linear(16, 16), nn.Linear(16, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.exact(self.layer(x).double()).to(x.dtype)


class StateSpace(Squared):
    """A linear recurrence as a scan: cumulative sums of logarithms, and `einsum`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        decay = F.logsigmoid(self.gate(x)).cumsum(1)
        weights = (decay[:, :, None] - decay[:, None]).exp()
        mask = torch.ones(x.shape[1], x.shape[1], device=x.device, dtype=torch.bool).tril()[None, :, :, None]
        return self.out(torch.einsum("btsd,bsd->btd", weights.masked_fill(~mask, 0), self.value(x)))

    def get_example_inputs(self, batch_size: int = 1, sequence_length: int = 10) -> Tensor:
        return torch.randn(batch_size, sequence_length, 8)


class _Stack(Squared, nn.Sequential):
    pass


def lazy() -> nn.Module:
    """A factory of a model with lazy layers, which has seen one input."""
    model = _Stack(nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(4))
    model(torch.zeros(1, 16))
    return model


def get_example_inputs(batch_size: int = 1) -> Tensor:
    """Return the inputs of those that have no method of that name."""
    return torch.randn(batch_size, 16)
