"""Training: forward, loss, backward and a real optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.modes.adaptations import channels_last, checkpoint_activations
from orchestrator.plugins import Forward, Program, Unsupported, around_backward
from orchestrator.precision import Precision, autocast
from orchestrator.probes.observed import copied, named_outputs
from orchestrator.records import DEFAULT_PRECISION, Parallel, Workload

if TYPE_CHECKING:
    import torch

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
ADAMS = ("adam", "adamw")
EPS_IS_ZERO = (
    "Adam's eps of 1e-8 is 0 in float16, in which it keeps the state of float16 weights, and it divides by that: no "
    "loss is finite for long. Mixed precision has float32 weights and state, and scaled gradients: dtype=amp_float16; "
    "or dtype=bfloat16, or mode=training (SGD)"
)
STEPS = 2
"""Steps that are looked at: Adam's first is the sign of the gradient, whatever its decay rates are."""


@dataclass(frozen=True)
class Training:
    """`model.train()`; one step is zero_grad, forward, loss, backward, optimizer step, on every device.

    optimizer: sgd, adam or adamw, with torch's defaults but the learning rate. The gradients of amp_float16 are
    scaled (`torch.amp.GradScaler`), as mixed-precision training is done: weights and optimizer state are float32. A
    step of Adam or AdamW in float16 itself is Unsupported (`EPS_IS_ZERO`); its gradients can be judged.

    optimizer_backend: a dynamo back-end ("inductor", "aot_eager", ...) that compiles the optimizer's step too, beside a
    compiler's forward; eager's step stays eager. activation_checkpointing: layers compute their activations again in
    the backward pass instead of keeping them. channels_last: the memory format of images and convolutions.
    precision: of products (`orchestrator.precision.SETTINGS`). The latter three are part of the workload: eager has
    them too. So are parallel and ranks (`orchestrator.measures.group`), and what DDP is told of parameters without a
    gradient (find_unused_parameters).
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.01
    labels: bool = True
    optimizer_backend: str | None = None
    activation_checkpointing: bool = False
    channels_last: bool = False
    precision: Precision = DEFAULT_PRECISION
    parallel: Parallel | None = None
    ranks: int = 1
    find_unused_parameters: bool = False
    training: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError("training needs a loss, and so labels: leave mode.options.labels true")
        if self.parallel and self.optimizer_backend:
            raise ValueError("parallel: the optimizer's step is eager there: leave mode.options.optimizer_backend null")

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

        if workload.dtype == "float16" and self.optimizer in ADAMS:
            raise Unsupported(EPS_IS_ZERO)
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
        """Return what a compiled optimizer does with gradients that are the same for all (`updates`)."""
        if self.optimizer_backend is None:
            return {}
        optimizer = self._optimizer(program, forward)
        return updates(program.model, optimizer, self.learning_rate, workload.seed)

    def _optimizer(self, program: Program, forward: Forward) -> Any:
        """Return a new optimizer of the model's parameters, its step compiled beside a compiler's forward.

        Where a back-end compiles it, Adam and AdamW on CUDA are capturable (they count their steps there, as CUDA
        graphs need it) for eager, too. Raises Unsupported for a back-end that dynamo does not know.
        """
        import torch

        backend = self.optimizer_backend
        parameters = [parameter for parameter in program.model.parameters() if parameter.requires_grad]
        on_cuda = any(parameter.is_cuda for parameter in parameters)
        capturable = {"capturable": True} if backend and on_cuda and self.optimizer in ADAMS else {}
        kind = getattr(torch.optim, OPTIMIZERS[self.optimizer])
        optimizer = kind(parameters, lr=self.learning_rate, **capturable)
        return CompiledOptimizer(optimizer, backend) if backend and forward is not program.model else optimizer


class CompiledOptimizer:
    """An optimizer whose `step` is compiled by a dynamo back-end; everything else is the optimizer's own."""

    def __init__(self, optimizer: torch.optim.Optimizer, backend: str) -> None:
        import torch

        known = torch._dynamo.list_backends(exclude_tags=())
        if backend not in known:
            raise Unsupported(
                f"mode.options.optimizer_backend={backend}: dynamo has no such back-end here; "
                f"registered: {', '.join(known)}"
            )
        self._optimizer = optimizer

        def step() -> None:
            optimizer.step()

        self.step = torch.compile(step, backend=backend)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


def updates(model: torch.nn.Module, optimizer: Any, learning_rate: float, seed: int) -> dict[str, torch.Tensor]:
    """Take `STEPS` steps with gradients drawn from `seed`, and return what they changed: "updated.<parameter>".

    A change is in units of the learning rate, in the parameter's dtype: a tolerance that is larger than the whole
    change would find nothing. The gradients are the same for every compiler, standard normal, so that what is wrong
    here is the optimizer's fault: gradients of a backward pass differ by rounding, which Adam, dividing by their size,
    makes a full step of (pytorch#184423). The model is left changed, its gradients gone.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for _ in range(STEPS):
        for parameter in parameters.values():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = drawn.to(parameter)
        optimizer.step()
    model.zero_grad(set_to_none=True)
    return {
        f"updated.{name}": (parameter.detach() - before[name]) / learning_rate for name, parameter in parameters.items()
    }
