"""Test-only plug-ins for the real worker: a small model, and a compiler that misbehaves."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from fakes.behaviour import behave
from orchestrator.plugins import Compiled, Forward, Program
from orchestrator.records import Workload


@dataclass(frozen=True)
class Perceptron:
    """Two layers of `width` features."""

    width: int = 64

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        torch.manual_seed(workload.seed)
        layers = [torch.nn.Linear(self.width, self.width), torch.nn.ReLU(), torch.nn.Linear(self.width, self.width)]
        model = torch.nn.Sequential(*layers)
        inputs = {"input": torch.randn(workload.batch_size, self.width)}
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs.square().mean())


@dataclass(frozen=True)
class Stack:
    """`depth` layers of two products of `width` features and a norm, between two more; with a plan for tensor
    parallelism, as transformers' models have one. scalar: with a parameter that has no dimension."""

    width: int = 32
    depth: int = 10
    scalar: bool = False

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        width, depth, scalar = self.width, self.depth, self.scalar

        class Layer(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm = torch.nn.LayerNorm(width)
                self.up, self.down = torch.nn.Linear(width, width), torch.nn.Linear(width, width)

            def forward(self, x: torch.Tensor, *, scale: float) -> torch.Tensor:
                changed: torch.Tensor = self.down(torch.relu(self.up(self.norm(x))))
                return x + scale * changed

        class Model(torch.nn.Module):
            tp_plan: ClassVar[dict[str, str]] = {
                "layers.*.up": "colwise",
                "layers.*.down": "rowwise",
                "last": "colwise_rep",
            }

            def __init__(self) -> None:
                super().__init__()
                self.first, self.last = torch.nn.Linear(width, width), torch.nn.Linear(width, width)
                self.layers = torch.nn.ModuleList(Layer() for _ in range(depth))
                self.scale = torch.nn.Parameter(torch.tensor(1.0)) if scalar else 1.0

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                x = self.first(x)
                for layer in self.layers:
                    x = layer(x, scale=0.5)
                outputs: torch.Tensor = self.last(x) * self.scale
                return outputs

        torch.manual_seed(workload.seed)
        inputs = {"x": torch.randn(workload.batch_size, width)}
        return Program(model=Model(), inputs=inputs, loss=lambda outputs: outputs.square().mean())


SLOW = "FAKES_SLOW"
"""Environment variable: the names of the models (separated by commas) of `Paced` that take twice as long."""


@dataclass(frozen=True)
class Paced:
    """A step of known length, in seconds, spent asleep: a busy machine does not make it longer."""

    seconds: float = 0.02

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        slow = workload.model in os.environ.get(SLOW, "").split(",")
        length = self.seconds * (2 if slow else 1)

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                time.sleep(length)
                return x * self.weight

        inputs = {"x": torch.ones(workload.batch_size, 1)}
        return Program(model=Model(), inputs=inputs, loss=lambda outputs: outputs.square().mean())


@dataclass(frozen=True)
class Growing:
    """A step that holds `mib_per_sample` MiB for each sample; batches of `breaks_at` or more raise another error."""

    mib_per_sample: int = 32
    breaks_at: int | None = None

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        size = self.mib_per_sample * 2**18
        breaks_at = self.breaks_at

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if breaks_at is not None and len(x) >= breaks_at:
                    raise ValueError(f"a batch of {len(x)} is too long for this code")
                held = torch.ones(len(x), size)
                return x * self.weight + held[:, :1]

        inputs = {"x": torch.ones(workload.batch_size, 1)}
        return Program(model=Model(), inputs=inputs, loss=lambda outputs: outputs.square().mean())


@dataclass(frozen=True)
class Misbehaving:
    """Does what `does` says (`fakes.behaviour`), then returns the model itself."""

    does: str = "pass"

    @property
    def changes_model(self) -> bool:
        return False

    def check(self, workload: Workload) -> None:
        """It runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        behave(self.does)
        return program.model


@dataclass(frozen=True)
class OnOneRank(Misbehaving):
    """Does what it says in one rank of a job, in call number `call` of the model. "wrong gradient": all gradients are a
    hundredth larger there, after the ranks have averaged them."""

    rank: int = 1
    call: int = 2

    def compile(self, program: Program, workload: Workload) -> Forward:
        from torch import distributed

        here = distributed.get_rank() == self.rank
        calls = itertools.count(1)

        def forward(**inputs: Any) -> Any:
            if next(calls) == self.call and here and self.does != "wrong gradient":
                behave(self.does)
            return program.model(**inputs)

        @contextmanager
        def scaled() -> Iterator[None]:
            yield
            for parameter in program.model.parameters() if here and self.does == "wrong gradient" else ():
                parameter.grad *= 1.01  # of one that is cut, in its part

        return Compiled(forward, {}, scaled)


@dataclass(frozen=True)
class Unaveraged(Misbehaving):
    """With parallel=ddp: calls the model that DDP wraps, past DDP."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        module: Any = program.model
        inner: Forward = module.module
        return inner


@dataclass(frozen=True)
class TracedOnly(Misbehaving):
    """As compilers whose code takes only inputs like those that it was made with."""

    fixed_inputs: ClassVar[bool] = True


@dataclass(frozen=True)
class RightAtFirst(Misbehaving):
    """Right in its first `calls` calls; then it returns what it returned last, or twice what it should."""

    calls: int = 2
    stale: bool = False

    def compile(self, program: Program, workload: Workload) -> Forward:
        made: list[Any] = []

        def forward(**inputs: Any) -> Any:
            outputs = program.model(**inputs)
            made.append(outputs)
            if len(made) <= self.calls:
                return outputs
            return made[-2] if self.stale else outputs * 2

        return forward


@dataclass(frozen=True)
class WrongAtFirst(Misbehaving):
    """Twice what it should be in its first call, the one that compiles; right ever after."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        made: list[int] = []

        def forward(**inputs: Any) -> Any:
            made.append(1)
            return program.model(**inputs) * (2 if len(made) == 1 else 1)

        return forward


QUICK: Mapping[str, Any] = {
    "iterations": 5,
    "seconds": 0.0,
    "pairs": 4,
    "pair_seconds": 0.0,
    "block_seconds": 0.0,
    "warmup_seconds": 0.0,
    "quiet_seconds": 0.0,
}
"""Options of the performance measure that end it within a moment."""
