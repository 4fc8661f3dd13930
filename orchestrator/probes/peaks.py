"""What a device can do at best: dense floating-point operations, and bytes moved, a second.

Of a GPU, as its maker says: NVIDIA's data sheets, in TFLOP/s. `float32` is the CUDA cores' figure, the others are the
tensor cores', with sums in float32. Where a sheet gives tensor-core figures with 2:4 sparsity only (Hopper, L4, B200)
they are halved here. Memory is in GB/s, of the same sheets (T4: of its product brief). What is in no sheet is not here.

Of a CPU no sheet says it for this number of threads, these clocks and this dtype: it is measured, by `peak` and
`bandwidth`, when they are called, with the threads that torch has then. It takes half a second and an array of twice
the last-level cache, so a job calls them once all else is measured. Nothing is kept between sweeps: a ceiling that
was measured on another day, under other clocks or beside other neighbours, is not the one under which a job ran.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.capacity import available_memory, last_level_cache

if TYPE_CHECKING:
    import torch

T, G = 1e12, 1e9
PRODUCTS = ((64, 64, 4096), *((side, side, side) for side in (256, 512, 1024, 2048, 4096)))
"""Rows, columns and depth of the products that are tried on a CPU. Float16 without instructions of its own is fastest
in the first."""
LONG_S, ENOUGH_S = 0.05, 0.06
"""A product that would take longer, at the best speed so far, is not tried; each product and each way to move bytes is
repeated for so long."""
CACHES, PIECES, UNTOLD = 2, 16, 2**26
"""The memory that is moved has the size of so many last-level caches, and is moved in so many pieces; bytes of a cache
that is not told. Virtual machines tell their host's: 480 MiB for two cores, which STREAM's arrays, four times as large
(McCalpin), would take four seconds and 4 GB to go through."""
SHARE_OF_MEMORY = 0.25
AMPERE = {"float32": 19.5 * T, "tf32": 156 * T, "half": 312 * T}
HOPPER = {"float32": 67 * T, "tf32": 989 / 2 * T, "half": 1979 / 2 * T}
HOPPER_PCIE = {"float32": 51 * T, "tf32": 756 / 2 * T, "half": 1513 / 2 * T}
HOPPER_NVL = {"float32": 60 * T, "tf32": 835 / 2 * T, "half": 1671 / 2 * T}
VOLTA = {"float32": 15.7 * T, "float16": 125 * T}
VOLTA_PCIE = {"float32": 14 * T, "float16": 112 * T}
ADA = {"float32": 82.6 * T, "tf32": 82.6 * T, "half": 165.2 * T}
BLACKWELL = {"float32": 75 * T, "tf32": 2250 / 2 * T, "half": 4500 / 2 * T}
BLACKWELL_RTX = {"float32": 104.8 * T, "tf32": 104.8 * T, "half": 209.5 * T}


@dataclass(frozen=True)
class Peak:
    """`flop_per_s` of a device, and where that stands."""

    flop_per_s: float
    source: str


SHEETS: Mapping[str, tuple[str, float, Mapping[str, float]]] = {
    "NVIDIA A100-SXM4-40GB": ("A100 data sheet", 1555 * G, AMPERE),
    "NVIDIA A100-SXM4-80GB": ("A100 data sheet", 2039 * G, AMPERE),
    "NVIDIA A100-PCIE-40GB": ("A100 data sheet", 1555 * G, AMPERE),
    "NVIDIA A100 80GB PCIe": ("A100 data sheet", 1935 * G, AMPERE),
    "NVIDIA A10": ("A10 data sheet", 600 * G, {"float32": 31.2 * T, "tf32": 62.5 * T, "half": 125 * T}),
    "NVIDIA L4": ("L4 data sheet", 300 * G, {"float32": 30.3 * T, "tf32": 120 / 2 * T, "half": 242 / 2 * T}),
    "NVIDIA L40S": ("L40S data sheet", 864 * G, {"float32": 91.6 * T, "tf32": 183 * T, "half": 362.05 * T}),
    "NVIDIA H100 80GB HBM3": ("H100 data sheet, SXM", 3350 * G, HOPPER),
    "NVIDIA H100 PCIe": ("H100 data sheet, PCIe", 2000 * G, HOPPER_PCIE),
    "NVIDIA H100 NVL": ("H100 data sheet, NVL", 3900 * G, HOPPER_NVL),
    "NVIDIA H200": ("H200 data sheet, SXM", 4800 * G, HOPPER),
    "NVIDIA H200 NVL": ("H200 data sheet, NVL", 4800 * G, HOPPER_NVL),
    "NVIDIA GH200 480GB": ("GH200 data sheet, HBM3", 4000 * G, HOPPER),  # the 480 GB are the CPU's; its own 96 are HBM3
    "NVIDIA GH200 144G HBM3e": ("GH200 data sheet, HBM3e", 4900 * G, HOPPER),
    "NVIDIA B200": ("HGX B200 data sheet, one of 8", 7700 * G, BLACKWELL),
    "Tesla V100-SXM2-16GB": ("V100 data sheet, SXM2", 900 * G, VOLTA),
    "Tesla V100-SXM2-32GB": ("V100 data sheet, SXM2", 900 * G, VOLTA),
    "Tesla V100-PCIE-16GB": ("V100 data sheet, PCIe", 900 * G, VOLTA_PCIE),
    "Tesla V100-PCIE-32GB": ("V100 data sheet, PCIe", 900 * G, VOLTA_PCIE),
    "NVIDIA GeForce RTX 4090": ("Ada architecture white paper, RTX 4090", 1008 * G, ADA),
    "NVIDIA GeForce RTX 5090": ("RTX Blackwell architecture white paper, RTX 5090", 1792 * G, BLACKWELL_RTX),
    "Tesla T4": ("T4 data sheet", 320 * G, {"float32": 8.1 * T, "float16": 65 * T}),
}
"""A device's whole name, as torch has it -> (source, memory's bytes a second, kind of arithmetic -> FLOP/s), where half
is float16 and bfloat16.

Not its beginning: an "H200 NVL" is slower than an "H200", and a "... MIG 1g.10gb" is a seventh of its GPU.
"""


def bandwidth(device: torch.device) -> float | None:
    """Return the bytes a second that `device`'s memory moves at best: of a GPU by its sheet, of a CPU as measured.

    None where no sheet says it. Raises MemoryError where the arrays that measure a CPU's would take over
    `SHARE_OF_MEMORY` of what memory is left.
    """
    if device.type == "cpu":
        return _moved_at_best()
    if device.type != "cuda":
        return None
    import torch

    sheet = SHEETS.get(torch.cuda.get_device_name(device))
    return None if sheet is None else sheet[1]


def peak(device: torch.device, dtype: str, convolutions: float = 0.0) -> Peak | None:
    """Return the peak of `device` in a dtype of `orchestrator.records.DTYPES`; None where it is not documented.

    `convolutions` is their share of the step's FLOPs. Under autocast the peak is that of the half precision, though
    some operators run in float32. In float32 torch may use TF32 in convolutions (its default) and not in products of
    matrices (its default too): then it is the harmonic mean of both peaks, weighted with the FLOPs; what takes the
    shortest time that the device allows has 100 %. A CPU's is the fastest of torch's products (`PRODUCTS`) in this
    dtype: where the CPU has no instructions for it, that is slow too, and what computes in another dtype goes beyond.
    """
    kind = dtype.removeprefix("amp_")
    if device.type == "cpu":
        return Peak(_multiplied_at_best(kind), f"measured on this CPU, {kind}")
    if device.type != "cuda":
        return None
    import torch

    source, _, figures = SHEETS.get(torch.cuda.get_device_name(device), ("", 0.0, {}))
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


def _multiplied_at_best(kind: str) -> float:
    """Return the FLOP/s of torch's fastest product of matrices of a dtype, laid out as in a linear layer."""
    import torch

    best = 0.0
    with torch.no_grad():
        for rows, columns, depth in PRODUCTS:
            flops = 2 * rows * columns * depth
            if flops > LONG_S * best > 0:
                break
            left, right = (
                torch.ones(side, depth, dtype=getattr(torch, kind), device="cpu") for side in (rows, columns)
            )
            seconds = _fastest(lambda left=left, right=right: torch.nn.functional.linear(left, right))  # type: ignore[misc]
            best = max(best, flops / seconds)
    return best


def _moved_at_best() -> float:
    """Return the bytes a second of the fastest of three ways: memory summed, copied, or scaled where it stands.

    They take one piece of it after the other, round and round: when a piece's turn comes again, all others have been
    through the caches since. What is counted is read once, or read and written once, as in STREAM: of a copy, not that
    the caches read what is overwritten. Which is the fastest depends on the CPU.
    """
    import torch

    size = CACHES * (last_level_cache(torch.get_num_threads()) or UNTOLD)
    if size > SHARE_OF_MEMORY * (left := available_memory()):
        raise MemoryError(f"an array of {size >> 20} MiB, larger than its caches, of {left >> 20} MiB that are left")
    pieces = itertools.cycle(torch.ones(size // 4, dtype=torch.float32, device="cpu").chunk(PIECES))
    ways = (
        (1, lambda: next(pieces).sum()),
        (2, lambda: next(pieces).copy_(next(pieces))),
        (2, lambda: next(pieces).mul_(1.0)),
    )
    return max(moved * (size // PIECES) / _fastest(way) for moved, way in ways)


def _fastest(call: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of the calls that fit into `ENOUGH_S`, at least three: others only disturb."""
    found: list[float] = []
    first = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - first < ENOUGH_S:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)
