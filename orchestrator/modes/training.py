"""Training: forward, loss, backward and a real optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.modes.adaptations import channels_last, checkpoint_activations
from orchestrator.modes.optimizers import OPTIMIZERS, optimizer_of, updates
from orchestrator.plugins import Forward, Program, around_backward
from orchestrator.precision import autocast, check_name
from orchestrator.probes.observed import copied, named_outputs
from orchestrator.records import DEFAULT_PRECISION, Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Training:
    """`model.train()`; one step is zero_grad, forward, loss, backward, optimizer step, on every device.

    optimizer: sgd, adam or adamw, with torch's defaults but the learning rate. The gradients of amp_float16 are
    scaled (`torch.amp.GradScaler`), as mixed-precision training is done.

    optimizer_backend: a dynamo back-end ("inductor", "aot_eager", ...) that compiles the optimizer's step too, beside a
    compiler's forward; eager's step stays eager. activation_checkpointing: layers compute their activations again in
    the backward pass instead of keeping them. channels_last: the memory format of images and convolutions.
    precision: of products (`orchestrator.precision.SETTINGS`). The latter three are part of the workload: eager has
    them too.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.01
    labels: bool = True
    optimizer_backend: str | None = None
    activation_checkpointing: bool = False
    channels_last: bool = False
    precision: str = DEFAULT_PRECISION
    training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_name(self.precision)
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer '{self.optimizer}'; available: {', '.join(OPTIMIZERS)}")
        if not self.labels:
            raise ValueError("training needs a loss, and so labels: leave mode.options.labels true")

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        """Return what compiling an optimizer imports."""
        return ("torch._dynamo", "torch._inductor.compile_fx") if self.optimizer_backend else ()

    def adapt(self, program: Program) -> None:
        """Change the memory format, switch checkpointing on. Raises Unsupported where the model has neither."""
        if self.channels_last:
            channels_last(program)
        if self.activation_checkpointing:
            checkpoint_activations(program.model)

    def step(self, program: Program, forward: Forward, workload: Workload) -> Callable[[], Any]:
        import torch

        program.model.train()
        optimizer = self._optimizer(program, forward)
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
        """Return outputs, loss and gradients, copied before any optimizer step.

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
        found = named_outputs(outputs) | copied("loss", loss)
        for name, parameter in program.model.named_parameters():
            if parameter.grad is not None:
                found |= copied(f"grad.{name}", parameter.grad)
        program.model.zero_grad(set_to_none=True)
        return found

    def observe_last(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Return what a compiled optimizer does with gradients that are the same for all (`optimizers.updates`)."""
        if self.optimizer_backend is None:
            return {}
        optimizer = self._optimizer(program, forward)
        return updates(program.model, optimizer, self.learning_rate, workload.seed)

    def _optimizer(self, program: Program, forward: Forward) -> Any:
        compiled = forward is not program.model
        return optimizer_of(
            program.model, self.optimizer, self.learning_rate, backend=self.optimizer_backend, compiled=compiled
        )
