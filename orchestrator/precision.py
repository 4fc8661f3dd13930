"""dtypes: what "float16" or "amp_bfloat16" means for a model, its inputs and its step; and how exact a product is."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.errors import DEVICE_WORDS, DeviceFailure, is_out_of_memory
from orchestrator.plugins import Program, Unsupported
from orchestrator.records import DEFAULT_PRECISION, Workload

if TYPE_CHECKING:
    import torch

CAST_TO: Mapping[str, str] = {
    "float64": "float64",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "amp_bfloat16": "float32",
    "amp_float16": "float32",
}
"""dtype of the workload -> dtype of its parameters and floating inputs; `cast` says which stay as they are."""

AUTOCAST_TO: Mapping[str, str] = {"amp_bfloat16": "bfloat16", "amp_float16": "float16"}


Precision = Literal["default", "ieee", "tf32", "fp16_accumulation", "cudnn_benchmark"]
SETTINGS: Mapping[str, Mapping[str, bool]] = {
    DEFAULT_PRECISION: {},
    "ieee": {"cuda.matmul.allow_tf32": False, "cudnn.allow_tf32": False},
    "tf32": {"cuda.matmul.allow_tf32": True, "cudnn.allow_tf32": True},
    "fp16_accumulation": {"cuda.matmul.allow_fp16_accumulation": True},
    "cudnn_benchmark": {"cudnn.benchmark": True},
}
"""Precision of a mode -> what is set in `torch.backends`, for eager and every compiler alike."""
OF_TIMES = frozenset({"cudnn_benchmark"})
"""Those that only choose among algorithms: not where results are judged, which must be the same twice."""


def use(workload: Workload, *, judged: bool = False) -> None:
    """Set in torch what the workload's mode asks for (`SETTINGS`). `judged`: where results are compared.

    Raises Unsupported on a CPU, where none of it changes anything that a row could say.
    """
    precision = str(workload.mode.options.get("precision", DEFAULT_PRECISION))
    if precision == DEFAULT_PRECISION or (judged and precision in OF_TIMES):
        return
    if not workload.device.startswith("cuda"):
        raise Unsupported(f"precision={precision} is of CUDA's libraries, not of {workload.device}: leave it default")
    import torch

    for path, value in SETTINGS[precision].items():
        place, _, name = path.rpartition(".")
        setattr(operator.attrgetter(place)(torch.backends), name, value)


LACKS_DTYPE = ("not implemented", "not supported for", "unsupported", "status_not_supported", "status_arch_mismatch")
"""What torch and cuBLAS say where a device has no operator in a dtype, in small letters."""


def computed_in(workload: Workload) -> str:
    """Return the dtype in which most of a step is computed: of autocast the one that it casts to."""
    return AUTOCAST_TO.get(workload.dtype, CAST_TO[workload.dtype])


def cast(program: Program, dtype: str, device: torch.device) -> Program:
    """Move the program to `device` with its parameters, buffers and floating inputs in `dtype`, in place; return it.

    Parameters and buffers in float64 stay so in every dtype: a model that has some beside others means them so. Its
    float64 inputs stay too; those of a model without any are cast. Complex tensors stay complex (`model.to(dtype)`
    would throw their imaginary parts away): complex128 for float64 and where they were that, by the same rule, else
    complex64.
    """
    import torch

    kind = getattr(torch, CAST_TO[dtype])
    of_complex = torch.complex128 if kind is torch.float64 else torch.complex64
    doubles = (torch.float64, torch.complex128)
    held = {tensor.dtype for tensor in (*program.model.parameters(), *program.model.buffers())}

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        wanted = kind if tensor.is_floating_point() else of_complex if tensor.is_complex() else None
        return tensor.to(device=device, dtype=None if tensor.dtype in doubles and tensor.dtype in held else wanted)

    program.model._apply(converted)
    program.inputs = {name: converted(tensor) for name, tensor in program.inputs.items()}
    return program


def autocast(workload: Workload, cached_casts: bool = True) -> AbstractContextManager[None]:
    """Return the context in which the forward pass and the loss run; `cached_casts`: a weight is cast once in it."""
    if workload.dtype not in AUTOCAST_TO:
        return nullcontext()
    import torch

    dtype = getattr(torch, AUTOCAST_TO[workload.dtype])
    return torch.autocast(workload.device.partition(":")[0], dtype=dtype, cache_enabled=cached_casts)


def check(workload: Workload) -> None:
    """Make the workload's device the current one, and try its dtype: one matrix product, forward and backward, in it.

    Raises Unsupported when this machine lacks the device, or the device lacks the dtype; DeviceFailure when it has both
    and cannot: it is broken, or somebody else has it. What its memory has no room for stays out of memory.
    """
    import torch

    device = torch.device(workload.device)
    module = torch.get_device_module(device)
    if device.type != "cpu":
        _check_there(device, module)
    kind = getattr(torch, computed_in(workload))
    try:
        if device.type != "cpu":
            module.set_device(device)  # what says only "cuda" means this one: libraries, kernels, model builders
        tensor = torch.ones(8, 8, dtype=kind, device=device, requires_grad=True)
        (tensor @ tensor).sum().backward()
        if device.type != "cpu":
            module.synchronize(device)
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, (TypeError, NotImplementedError)) or _lacks_dtype(str(error).lower()):
            raise Unsupported(f"dtype {workload.dtype} on {workload.device}: {error}") from error
        raise DeviceFailure(
            f"device {workload.device} could not multiply two small matrices in {workload.dtype}: {error}"
        ) from error


def _check_there(device: torch.device, module: Any) -> None:
    """Raise Unsupported where this machine, or this torch, has no such GPU. module: torch's of its kind."""
    import torch

    kind = device.type.upper()
    if not module.is_available():
        raise Unsupported(
            f"device {device}: torch {torch.__version__} sees no {kind} device here; "
            f"install {'a' if kind == 'CUDA' else 'an'} {kind} build of torch and its driver, or use device=cpu"
        )
    count = module.device_count()
    if (device.index or 0) >= count:
        raise Unsupported(f"device {device}: this machine has {device.type}:0 to {device.type}:{count - 1}")


def _lacks_dtype(message: str) -> bool:
    return not any(word in message for word in DEVICE_WORDS) and any(word in message for word in LACKS_DTYPE)
