"""What compilers share that capture a model once, ahead of time: in which state, and for which inputs.

`torch.compile` captures while the step runs, and captures again when something changes. These see the model once: it
must then be in the state in which a step calls it, and what they made must refuse whatever it was not made for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.errors import in_one_line
from orchestrator.plugins import Forward, Program, Unsupported, trains
from orchestrator.precision import autocast
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch


PROMPTS = "input_labels"
"""What models that segment at a point call the kind of it: no label of a loss."""
WITH_LOSS = (
    "(the model has labels, so its loss is captured too, and that of a detector or of CTC looks at values: "
    "mode.options.labels=false leaves it out)"
)


def inference_only(workload: Workload, why: str) -> None:
    """Raise Unsupported for a mode that trains."""
    if trains(workload.mode):
        raise Unsupported(f"{why}: inference only, not mode={workload.mode.name}")


def cpu_or_cuda(workload: Workload, what: str) -> None:
    """Raise Unsupported for another device: `what` would run somewhere else, and the row would not say so."""
    if workload.device.partition(":")[0] not in ("cpu", "cuda"):
        raise Unsupported(f"{what} is wired to cpu and cuda here, not to {workload.device}: compiler=inductor")


def refuse_scripted(program: Program, what: str) -> None:
    """Raise Unsupported for a model of which a part is TorchScript: `what` captures Python, and there is none."""
    import torch

    for name, module in program.model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = "the model" if name in ("", "model") else f"its part '{name}'"
            raise Unsupported(
                f"{where} is a TorchScript module ({module.original_name}), and {what} captures Python code: give the "
                "model as it was before torch.jit, or take compiler=jit_trace"
            )


@contextmanager
def as_in_a_step(program: Program, workload: Workload, *, cached_casts: bool = True) -> Iterator[None]:
    """Put the model into the state in which a step calls it: train() or eval(), gradients or none, autocast.

    Nothing else is left behind: random states, inputs and buffers (running means, counters) are what they were, also
    when the capture ran the model. `cached_casts=False` keeps autocast from reusing casts of weights, which a trace
    would take for constants.
    """
    import torch

    training = trains(workload.mode)
    program.model.train(training)
    written = [*program.model.buffers(), *program.inputs.values()]  # by a model that writes into them
    kept = [(tensor, tensor.detach().clone()) for tensor in written]
    device = torch.device(workload.device)
    gpu, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with (
        torch.random.fork_rng(gpu, device_type=kind),
        torch.set_grad_enabled(training),
        autocast(workload, cached_casts),
    ):
        try:
            yield
        except Exception as error:
            if "data-dependent" in str(error) and any("label" in name for name in program.inputs if name != PROMPTS):
                raise RuntimeError(f"{in_one_line(error)} {WITH_LOSS}") from error
            raise
    with torch.no_grad():
        for tensor, before in kept:
            if not torch.equal(tensor, before):
                tensor.copy_(before)


def for_these_inputs(forward: Forward, inputs: Mapping[str, torch.Tensor], what: str) -> Forward:
    """Return `forward` that raises Unsupported for other names, shapes or dtypes than those of `inputs`.

    What was captured holds them as constants, and would quietly compute something else.
    """
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in inputs.items()}

    def checked(**given: Any) -> Any:
        fits = given.keys() == expected.keys() and all(
            given[name].shape == shape and given[name].dtype == dtype for name, (shape, dtype) in expected.items()
        )
        if not fits:
            raise Unsupported(f"{what} was made for {_described(inputs)}, and is called with {_described(given)}")
        return forward(**given)

    return checked


def _described(inputs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_one(value)}" for name, value in inputs.items())


def _one(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')}{list(shape)}"
