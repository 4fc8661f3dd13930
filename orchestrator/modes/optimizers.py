"""Optimizers: built from a name, their step compiled where that is asked for, and what a step does looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Unsupported

if TYPE_CHECKING:
    import torch

OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
WITH_CAPTURABLE = ("adam", "adamw")
STEPS = 2
"""Steps that are looked at: Adam's first is the sign of the gradient, whatever its decay rates are."""


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


def optimizer_of(
    model: torch.nn.Module, name: str, learning_rate: float, *, backend: str | None, compiled: bool
) -> Any:
    """Return a new optimizer of the model's parameters, with torch's defaults but the learning rate.

    backend: a dynamo back-end that compiles the step, on the side that is `compiled`. Where there is one, Adam and
    AdamW on CUDA are capturable (they count their steps there, as CUDA graphs need it) on both sides. Raises
    Unsupported for a back-end that dynamo does not know.
    """
    import torch

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_cuda = any(parameter.is_cuda for parameter in parameters)
    capturable = {"capturable": True} if backend and on_cuda and name in WITH_CAPTURABLE else {}
    optimizer = getattr(torch.optim, OPTIMIZERS[name])(parameters, lr=learning_rate, **capturable)
    return CompiledOptimizer(optimizer, backend) if backend and compiled else optimizer


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
