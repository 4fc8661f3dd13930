"""What a device can do at best, where its maker says so: dense floating-point operations, and bytes moved, a second.

NVIDIA's data sheets, in TFLOP/s: `float32` is the CUDA cores' figure, the others are the tensor cores', with sums in
float32. Sheets from Hopper on give tensor-core figures with 2:4 sparsity only; they are halved here. Memory is in GB/s,
of the same sheets (T4: of its product brief). What is in no sheet is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

T, G = 1e12, 1e9
AMPERE = {"float32": 19.5 * T, "tf32": 156 * T, "half": 312 * T}
HOPPER = {"float32": 67 * T, "tf32": 989 / 2 * T, "half": 1979 / 2 * T}
HOPPER_NVL = {"float32": 60 * T, "tf32": 835 / 2 * T, "half": 1671 / 2 * T}
VOLTA = {"float32": 15.7 * T, "float16": 125 * T}
VOLTA_PCIE = {"float32": 14 * T, "float16": 112 * T}
ADA = {"float32": 82.6 * T, "tf32": 82.6 * T, "half": 165.2 * T}


@dataclass(frozen=True)
class Peak:
    """`flop_per_s` of a device, and where that stands."""

    flop_per_s: float
    source: str


PEAKS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "NVIDIA A100-SXM4-40GB": ("A100 data sheet", AMPERE),
    "NVIDIA A100-SXM4-80GB": ("A100 data sheet", AMPERE),
    "NVIDIA A100-PCIE-40GB": ("A100 data sheet", AMPERE),
    "NVIDIA A100 80GB PCIe": ("A100 data sheet", AMPERE),
    "NVIDIA A10": ("A10 data sheet", {"float32": 31.2 * T, "tf32": 62.5 * T, "half": 125 * T}),
    "NVIDIA L4": ("L4 data sheet", {"float32": 30.3 * T, "tf32": 120 / 2 * T, "half": 242 / 2 * T}),
    "NVIDIA L40S": ("L40S data sheet", {"float32": 91.6 * T, "tf32": 366 / 2 * T, "half": 733 / 2 * T}),
    "NVIDIA H100 80GB HBM3": ("H100 data sheet, SXM", HOPPER),
    "NVIDIA H100 PCIe": ("H100 data sheet, PCIe", {"float32": 51 * T, "tf32": 756 / 2 * T, "half": 1513 / 2 * T}),
    "NVIDIA H100 NVL": ("H100 data sheet, NVL", HOPPER_NVL),
    "NVIDIA H200": ("H200 data sheet, SXM", HOPPER),
    "NVIDIA H200 NVL": ("H200 data sheet, NVL", HOPPER_NVL),
    "NVIDIA B200": ("HGX B200 data sheet, one of 8", {"float32": 75 * T, "tf32": 2250 / 2 * T, "half": 4500 / 2 * T}),
    "Tesla V100-SXM2-16GB": ("V100 data sheet, SXM2", VOLTA),
    "Tesla V100-SXM2-32GB": ("V100 data sheet, SXM2", VOLTA),
    "Tesla V100-PCIE-16GB": ("V100 data sheet, PCIe", VOLTA_PCIE),
    "Tesla V100-PCIE-32GB": ("V100 data sheet, PCIe", VOLTA_PCIE),
    "NVIDIA GeForce RTX 4090": ("Ada architecture white paper, RTX 4090", ADA),
    "Tesla T4": ("T4 data sheet", {"float32": 8.1 * T, "float16": 65 * T}),
}
"""A device's whole name, as torch has it -> (source, kind of arithmetic -> FLOP/s). half: float16, bfloat16.

Not its beginning: an "H200 NVL" is slower than an "H200", and a "... MIG 1g.10gb" is a seventh of its GPU.
"""

BANDWIDTH: Mapping[str, float] = {
    "NVIDIA A100-SXM4-40GB": 1555 * G,
    "NVIDIA A100-SXM4-80GB": 2039 * G,
    "NVIDIA A100-PCIE-40GB": 1555 * G,
    "NVIDIA A100 80GB PCIe": 1935 * G,
    "NVIDIA A10": 600 * G,
    "NVIDIA L4": 300 * G,
    "NVIDIA L40S": 864 * G,
    "NVIDIA H100 80GB HBM3": 3350 * G,
    "NVIDIA H100 PCIe": 2000 * G,
    "NVIDIA H100 NVL": 3900 * G,
    "NVIDIA H200": 4800 * G,
    "NVIDIA H200 NVL": 4800 * G,
    "NVIDIA B200": 8000 * G,
    "Tesla V100-SXM2-16GB": 900 * G,
    "Tesla V100-SXM2-32GB": 900 * G,
    "Tesla V100-PCIE-16GB": 900 * G,
    "Tesla V100-PCIE-32GB": 900 * G,
    "NVIDIA GeForce RTX 4090": 1008 * G,
    "Tesla T4": 320 * G,
}
"""A device's whole name -> bytes a second of its memory; of the same devices as `PEAKS`."""


def bandwidth(device: torch.device) -> float | None:
    """Return the bytes a second that `device`'s memory moves at best; None where it is not documented (a CPU's)."""
    if device.type != "cuda":
        return None
    import torch

    return BANDWIDTH.get(torch.cuda.get_device_name(device))


def peak(device: torch.device, dtype: str, convolutions: float = 0.0) -> Peak | None:
    """Return the peak of `device` in a dtype of `orchestrator.records.DTYPES`; None where it is not documented.

    `convolutions` is their share of the step's FLOPs. Under autocast the peak is that of the half precision, though
    some operators run in float32. In float32 torch may use TF32 in convolutions (its default) and not in products of
    matrices (its default too): then it is the harmonic mean of both peaks, weighted with the FLOPs; what takes the
    shortest time that the device allows has 100 %. A CPU's depends on clocks and vector units that no sheet names.
    """
    if device.type != "cuda":
        return None
    import torch

    source, figures = PEAKS.get(torch.cuda.get_device_name(device), ("", {}))
    kind = dtype.removeprefix("amp_")
    if kind != "float32" or "tf32" not in figures:
        value = figures.get(kind, figures.get("half") if kind in ("float16", "bfloat16") else None)
        return None if value is None else Peak(value, f"{source}, {kind}")
    shares: dict[str, float] = {}
    for what, share in (("matmul", 1.0 - convolutions), ("conv", convolutions)):
        if share:
            used = "tf32" if uses_tf32(what) else kind
            shares[used] = shares.get(used, 0.0) + share
    named = " and ".join(used if len(shares) == 1 else f"{share:.0%} {used}" for used, share in shares.items())
    return Peak(1.0 / sum(share / figures[used] for used, share in shares.items()), f"{source}, {named}")


def uses_tf32(what: str) -> bool:
    """Return whether torch may compute float32 products in TF32 on CUDA: of matrices ("matmul"), in "conv"olutions."""
    import torch

    cudnn: Any = torch.backends.cudnn
    backend = torch.backends.cuda.matmul if what == "matmul" else cudnn.conv
    return bool(backend.fp32_precision == "tf32")
