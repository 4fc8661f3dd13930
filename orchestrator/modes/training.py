"""Training: forward, loss, backward and a real optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.modes.observed import named_outputs
from orchestrator.plugins import Forward, Program, around_backward
from orchestrator.precision import autocast
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


@dataclass(frozen=True)
class Training:
    """`model.train()`; one step is zero_grad, forward, loss, backward, optimizer step, on every device.

    optimizer: sgd, adam or adamw, with torch's defaults but the learning rate. The gradients of amp_float16 are
    scaled (`torch.amp.GradScaler`), as mixed-precision training is done.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.01
    labels: bool = True
    training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer '{self.optimizer}'; available: {', '.join(OPTIMIZERS)}")
        if not self.labels:
            raise ValueError("training needs a loss, and so labels: leave mode.options.labels true")

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        import torch

        program.model.train()
        parameters = [parameter for parameter in program.model.parameters() if parameter.requires_grad]
        optimizer = getattr(torch.optim, OPTIMIZERS[self.optimizer])(parameters, lr=self.learning_rate)
        device = workload.device.partition(":")[0]
        scaler = torch.amp.GradScaler(device, enabled=workload.dtype == "amp_float16")

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            with autocast(workload):
                loss = program.loss(forward(**program.inputs))
            with around_backward(forward):
                scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            return loss.detach()

        return step

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Return outputs, loss, gradients and buffers, copied before any optimizer step.

        Gradients, not updated parameters: Adam divides by the gradient's size, so that noise in a gradient near
        zero becomes a full step (pytorch#184423).
        """
        program.model.train()
        program.model.zero_grad(set_to_none=True)
        with autocast(workload):
            outputs = forward(**program.inputs)
            loss = program.loss(outputs)
        with around_backward(forward):
            loss.backward()
        found = named_outputs(outputs) | {"loss": loss.detach().clone()}
        for name, parameter in program.model.named_parameters():
            if parameter.grad is not None:
                found[f"grad.{name}"] = parameter.grad.detach().clone()
        for name, buffer in program.model.named_buffers():
            found[f"buffer.{name}"] = buffer.detach().clone()
        return found
