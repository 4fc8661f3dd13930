"""What a device can do at best, where its maker says so: dense floating-point operations a second.

NVIDIA's data sheets, in TFLOP/s: `float32` is the CUDA cores' figure, the others are the tensor cores'. Sheets from
Hopper on give tensor-core figures with 2:4 sparsity only; they are halved here. What is in no sheet is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

T = 1e12
HOPPER = {"float32": 67 * T, "tf32": 989 / 2 * T, "half": 1979 / 2 * T}


@dataclass(frozen=True)
class Peak:
    """`flop_per_s` of a device, and where that stands."""

    flop_per_s: float
    source: str


PEAKS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "NVIDIA A100": ("A100 data sheet", {"float32": 19.5 * T, "tf32": 156 * T, "half": 312 * T}),
    "NVIDIA H100 80GB HBM3": ("H100 data sheet, SXM", HOPPER),
    "NVIDIA H100 PCIe": ("H100 data sheet, PCIe", {"float32": 51 * T, "tf32": 756 / 2 * T, "half": 1513 / 2 * T}),
    "NVIDIA H200": ("H200 data sheet, SXM", HOPPER),
    "Tesla V100-SXM2": ("V100 data sheet, SXM2", {"float32": 15.7 * T, "float16": 125 * T}),
    "Tesla T4": ("T4 data sheet", {"float32": 8.1 * T, "float16": 65 * T}),
}
"""Beginning of a device's name, as torch has it -> (source, kind of arithmetic -> FLOP/s). half: float16, bfloat16."""


def peak(device: torch.device, dtype: str) -> Peak | None:
    """Return the peak of `device` in a dtype of `orchestrator.records.DTYPES`; None where it is not documented.

    Under autocast it is that of the half precision, though some operators run in float32; in float32 it is that of TF32
    where torch may use it. A CPU's depends on clocks and vector units that no sheet has together.
    """
    if device.type != "cuda":
        return None
    import torch

    found = [name for name in PEAKS if torch.cuda.get_device_name(device).startswith(name)]
    if not found:
        return None
    source, figures = PEAKS[max(found, key=len)]
    kind = dtype.removeprefix("amp_")
    if kind == "float32" and torch.backends.cuda.matmul.allow_tf32:
        kind = "tf32"
    value = figures.get(kind, figures.get("half") if kind in ("float16", "bfloat16") else None)
    return None if value is None else Peak(value, f"{source}, {kind}")
