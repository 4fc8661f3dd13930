"""How far is what the compiler computes from eager, and from float64? Figures for every tensor, and no verdict.

The difference is PyTorch's: |reference - result| / (1 + |reference|), relative where the reference is large, absolute
where it is small (`--tolerance` of benchmarks/dynamo/common.py); where both are the same infinity, or both NaN, it
is 0. Asked of eager it says how far eager itself is from float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.errors import is_out_of_memory
from orchestrator.measures.accuracy import Stored, observe_compiled
from orchestrator.measures.context import Context
from orchestrator.measures.distances import cosine_similarity, in_json, rms_error
from orchestrator.plugins import Outcome
from orchestrator.records import COMPARISON_ERROR, JUDGED, PASS

if TYPE_CHECKING:
    import torch

DIFFERENCES = (
    columns.count("elements", "numbers compared"),
    columns.number("relative_max", "largest |reference - result| / (1 + |reference|)", "1", "lower"),
    columns.number("relative_mean", "mean of it over all elements", "1", "lower"),
    columns.number("relative_std", "standard deviation of it over all elements", "1", "lower"),
)
RMSE_RATIO = columns.number("rmse_ratio", "RMSE to fp64 / that of eager: 1 is as far from it as eager is", "x")
ERRORS = ("max_abs_error", "rmse", "reference_rmse", RMSE_RATIO, "cosine")


@dataclass(frozen=True)
class Tolerance:
    """Leaves tables `tolerance`, one row, and `tolerance_tensors`, one row per tensor: of the first call, as it was
    compiled."""

    kind: ClassVar[str] = JUDGED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "tolerance": TableSpec(("tensors", *DIFFERENCES, "worst_tensor", *ERRORS, "fp64")),
        "tolerance_tensors": TableSpec(
            (
                "tensor",
                columns.text("tensor_dtype", "dtype of the compiled tensor, and of eager's where it is another"),
                *DIFFERENCES,
                *ERRORS,
            )
        ),
    }

    def run(self, context: Context) -> Outcome:
        stored = Stored.of(context)
        if isinstance(stored, Outcome):
            return stored
        _, result = next(iter(observe_compiled(context, stored.found)))
        with context.phase("compare"):
            return _compare(context, stored, result)


@dataclass(frozen=True)
class Distance:
    """How far one tensor is off. `deviations`: sum of (difference - mean)^2; fp64 figures are None without float64."""

    name: str
    dtype: str
    elements: int
    max: float
    mean: float
    deviations: float
    max_abs_error: float
    rmse: float | None
    reference_rmse: float | None
    cosine: float

    def row(self) -> dict[str, Any]:
        return {
            "elements": self.elements,
            "relative_max": in_json(self.max),
            "relative_mean": in_json(self.mean),
            "relative_std": _std(self.deviations, self.elements),
            **self.errors(),
        }

    def errors(self) -> dict[str, Any]:
        """Return what says how wrong the tensor is, as columns."""
        times = self.rmse / self.reference_rmse if self.rmse is not None and self.reference_rmse else None
        return {
            "max_abs_error": in_json(self.max_abs_error),
            "rmse": None if self.rmse is None else in_json(self.rmse),
            "reference_rmse": None if self.reference_rmse is None else in_json(self.reference_rmse),
            "rmse_ratio": None if times is None else in_json(times),
            "cosine": in_json(self.cosine),
        }

    def badness(self) -> tuple[float, float]:
        """Order tensors by their largest difference; not a number is the worst."""
        return tuple(math.inf if math.isnan(value) else value for value in (self.max, self.rmse or 0.0))  # type: ignore[return-value]


def distance(name: str, reference: torch.Tensor, result: torch.Tensor, fp64: torch.Tensor | None) -> Distance:
    """Compare two tensors of one shape, of any dtypes. Raises ValueError when the shapes differ."""
    import torch

    if reference.shape != result.shape:
        raise ValueError(f"{name} has shape {list(result.shape)} instead of {list(reference.shape)}")
    ref, res = reference.double(), result.double()
    same = (ref == res) | (ref.isnan() & res.isnan())
    error = torch.where(same, 0.0, (ref - res).abs())
    relative = torch.where(same, 0.0, error / (1 + ref.abs()))
    count = relative.numel()
    mean = float(relative.mean()) if count else 0.0
    kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (result, reference)]
    return Distance(
        name=name,
        dtype=kinds[0] if kinds[0] == kinds[1] else f"{kinds[0]} instead of {kinds[1]}",
        elements=count,
        max=float(relative.max()) if count else 0.0,
        mean=mean,
        deviations=float((relative - mean).square().sum()),
        max_abs_error=float(error.max()) if count else 0.0,
        rmse=None if fp64 is None else rms_error(fp64, res),
        reference_rmse=None if fp64 is None else rms_error(fp64, ref),
        cosine=cosine_similarity(ref, res),
    )


def over_all(distances: Sequence[Distance]) -> dict[str, Any]:
    """Return the row of all tensors: the difference over all elements, and the errors of the worst tensor.

    Means and sums of squared deviations are merged as by Chan, Golub and LeVeque (1979).
    """
    worst = max(distances, key=Distance.badness)
    count = sum(one.elements for one in distances)
    mean = sum(one.elements * one.mean for one in distances) / count if count else 0.0
    deviations = sum(one.deviations + one.elements * (one.mean - mean) * (one.mean - mean) for one in distances)
    return {
        "tensors": len(distances),
        "elements": count,
        "relative_max": in_json(worst.max),
        "relative_mean": in_json(mean),
        "relative_std": _std(deviations, count),
        "worst_tensor": worst.name,
        **worst.errors(),
    }


def _std(deviations: float, count: int) -> float | str | None:
    """Return the sample standard deviation, as torch.std gives it; None of fewer than two."""
    return in_json(math.sqrt(deviations / (count - 1))) if count > 1 else None


def _compare(context: Context, stored: Stored, result: Mapping[str, torch.Tensor]) -> Outcome:
    """Leave the rows; what prevents the comparison is reported as such."""
    from safetensors import SafetensorError

    names = stored.found.names[0]
    try:
        reference = stored.eager.read(0, names)
        truth = {} if stored.float64 is None else stored.float64.read(0, names)
        distances = [distance(name, reference[name], result[name], truth.get(name)) for name in names if name in result]
    except (OSError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        return Outcome(COMPARISON_ERROR, f"{type(error).__name__}: {error}")
    if distances:
        context.find("tolerance", **over_all(distances), fp64=stored.found.fp64)
    for one in sorted(distances, key=Distance.badness, reverse=True):
        context.find("tolerance_tensors", tensor=one.name, tensor_dtype=one.dtype, **one.row())
    only = sorted(set(names) ^ result.keys())
    if only or not distances:
        return Outcome(COMPARISON_ERROR, f"only one side has {', '.join(only[:3])}" if only else "there is no tensor")
    return Outcome(PASS)
