"""Plug-ins as docs/plugins.md says to write them. The figures are known: a counter that this package makes up."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.columns import Column, TableSpec, count, text
from orchestrator.measures.context import Context
from orchestrator.plugins import Forward, Outcome, Program
from orchestrator.records import OBSERVED, PASS, Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Energy:
    """What `steps` steps take from a counter."""

    kind: ClassVar[str] = OBSERVED
    cost_factor: ClassVar[float] = 0.5
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "energy": TableSpec(
            (
                Column("energy_j", "energy of one step, by the counter", "J", "lower"),
                text("counter", "the counter that was read"),
                count("wraps", "how often the counter began again"),
            ),
            compared=("energy_j",),
        )
    }

    steps: int = 2

    def run(self, context: Context) -> Outcome:
        with context.phase("build"):
            program = context.build(dropout=context.mode.training)
        with context.phase("steady"):
            forward = context.compiler.compile(program, context.workload)
            step = context.mode.step(program, forward, context.workload)
            for _ in range(self.steps):
                step()
        joules = float(os.environ.get("WATT_JOULES", "2.5"))
        context.find("energy", energy_j=joules * (2 if context.mode.training else 1), counter="made up", wraps=0)
        return Outcome(PASS)


@dataclass(frozen=True)
class Plain:
    """Returns the model as it is."""

    changes_model: ClassVar[bool] = False
    cost_factor: ClassVar[float] = 0.01

    def check(self, workload: Workload) -> None:
        """It runs everywhere."""

    def compile(self, program: Program, workload: Workload) -> Forward:
        return program.model


@dataclass(frozen=True)
class Finetune:
    """One step is the gradient of the loss: it trains, whatever it is called."""

    training: ClassVar[bool] = True

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        program.model.train()

        def step() -> Any:
            loss = program.loss(forward(**program.inputs))
            loss.backward()
            return loss

        return step

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        loss = self.step(program, forward, workload)()
        gradients = {name: p.grad.clone() for name, p in program.model.named_parameters() if p.grad is not None}
        return {"loss": loss.detach().clone(), **gradients}


@dataclass(frozen=True)
class Spark:
    """One layer of `width` features."""

    width: int = 8

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        import torch

        inputs = {"input": torch.randn(workload.batch_size, self.width)}
        model = torch.nn.Linear(self.width, self.width)
        return Program(model=model, inputs=inputs, loss=lambda outputs: outputs.square().mean())
