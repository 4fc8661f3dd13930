"""What a mode may change in a program before anything sees it, for eager and every compiler alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Program, Unsupported

if TYPE_CHECKING:
    import torch


def channels_last(program: Program) -> None:
    """Lay images, and the weights of convolutions, out with the channels innermost (`torch.channels_last`), in place.

    Raises Unsupported for a program none of whose inputs has four dimensions.
    """
    import torch

    images = [name for name, tensor in program.inputs.items() if tensor.ndim == 4]
    if not images:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in program.inputs.items())
        raise Unsupported(
            f"channels_last is a layout of images, and no input has four dimensions ({shapes}): leave "
            "mode.options.channels_last false"
        )
    model: Any = program.model  # torch's stubs know no `memory_format` of Module.to
    model.to(memory_format=torch.channels_last)
    for name in images:
        program.inputs[name] = program.inputs[name].contiguous(memory_format=torch.channels_last)


def checkpoint_activations(model: torch.nn.Module) -> None:
    """Make each layer's activations be computed again in the backward pass instead of kept, in place.

    That is `gradient_checkpointing_enable()` of Hugging Face models, not re-entrant. Raises Unsupported for a model
    that has no such method, or whose class does not support it.
    """
    able = next((part for part in model.modules() if hasattr(part, "gradient_checkpointing_enable")), None)
    if able is None:
        raise Unsupported(
            "activation checkpointing is switched on by gradient_checkpointing_enable(), which this model has not: "
            "leave mode.options.activation_checkpointing false"
        )
    # the method's newer name (transformers 5.23), where there is one: the older one warns
    enable: Any = getattr(able, "activation_checkpointing_enable", able.gradient_checkpointing_enable)
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise Unsupported(f"{error} Leave mode.options.activation_checkpointing false") from error
