"""Are these outputs right? The rule of PyTorch's `torch._dynamo.utils.same`, with every number kept.

For each tensor, the first rule that holds decides:

1. same shape and dtype, else wrong;
2. not floating: equal;
3. "allclose": |reference - result| <= tolerance + tolerance * |reference|, everywhere;
4. "cosine", where the suite or the quantisation asks for it or no float64 reference exists: cosine similarity >= the
   limit (0.99), and, with a `norm_tolerance`, norms that differ by at most that fraction (a cosine does not see that
   all values are twice too large, and nothing at all in a tensor of one value);
5. "nan": the reference has NaN, result and float64 have none, and those two are close (tolerance 0.04);
6. "rmse": RMSE(float64, result) <= multiplier * RMSE(float64, reference) + tolerance / 10, that is: the result is not
   much further from the truth than eager in the same dtype is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COSINE_LIMIT = 0.99
NAN_TOLERANCE = 4e-2


@dataclass(frozen=True)
class Rule:
    """How strictly to judge.

    tolerance: absolute = relative. cosine: judge by the cosine what is not close, by `cosine_limit` and, unless it is
    None, `norm_tolerance`. larger_multiplier: small tensors may be further off (`rmse_multiplier`). equal_nan: NaN is
    equal to NaN.
    """

    tolerance: float
    cosine: bool = False
    larger_multiplier: bool = False
    equal_nan: bool = False
    cosine_limit: float = COSINE_LIMIT
    norm_tolerance: float | None = None


def compare(
    reference: Mapping[str, torch.Tensor],
    result: Mapping[str, torch.Tensor],
    fp64: Mapping[str, torch.Tensor] | None,
    rule: Rule,
) -> list[dict[str, Any]]:
    """Return one record per tensor name of either side, in the reference's order, wrong or not.

    Keys: name, shape, dtype, numel, max_abs_error, rmse, reference_rmse, cosine, multiplier, limit, rule, passed.
    Numbers that are not finite are the strings "nan", "inf", "-inf"; what does not apply is None.
    """
    names = list(reference) + [name for name in result if name not in reference]
    return [
        compare_tensor(name, reference.get(name), result.get(name), None if fp64 is None else fp64.get(name), rule)
        for name in names
    ]


def differing(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> list[dict[str, Any]]:
    """Return a record {name, max_abs_error} for each tensor that is not the same to the bit in two runs.

    NaN equals NaN here: both runs are the same computation. Shapes and dtypes must agree.
    """
    import torch

    found: list[dict[str, Any]] = []
    for name in sorted(first.keys() | second.keys()):
        one, two = first.get(name), second.get(name)
        if one is None or two is None or one.shape != two.shape or one.dtype != two.dtype:
            found.append({"name": name, "max_abs_error": None})
        elif not torch.equal(one.nan_to_num(), two.nan_to_num()) or not torch.equal(one.isnan(), two.isnan()):
            error = in_json(float((one.double() - two.double()).abs().max()))
            found.append({"name": name, "max_abs_error": error})
    return found


def compare_tensor(
    name: str,
    reference: torch.Tensor | None,
    result: torch.Tensor | None,
    fp64: torch.Tensor | None,
    rule: Rule,
) -> dict[str, Any]:
    """Judge one tensor; see `compare` for the record."""
    record: dict[str, Any] = dict.fromkeys(
        ("max_abs_error", "rmse", "reference_rmse", "cosine", "multiplier", "limit"),
    )
    shown = result if reference is None else reference
    assert shown is not None
    record = {"name": name, "shape": list(shown.shape), "dtype": str(shown.dtype).removeprefix("torch."),
              "numel": shown.numel(), **record}  # fmt: skip
    if reference is None or result is None:
        return record | {
            "rule": "only in the result" if reference is None else "missing in the result",
            "passed": False,
        }
    if reference.shape != result.shape:
        return record | {"rule": f"shape {list(result.shape)} instead of {list(reference.shape)}", "passed": False}
    if reference.dtype != result.dtype:
        return record | {"rule": f"dtype {result.dtype} instead of {reference.dtype}", "passed": False}
    if not reference.is_floating_point():
        return record | {"rule": "equal", "passed": bool((reference == result).all())}
    return record | _judge_floating(reference, result, fp64, rule)


def _judge_floating(
    reference: torch.Tensor, result: torch.Tensor, fp64: torch.Tensor | None, rule: Rule
) -> dict[str, Any]:
    import torch

    ref, res = reference.double(), result.double()
    seen: dict[str, Any] = {
        "max_abs_error": in_json(float((ref - res).abs().max())) if ref.numel() else 0.0,
        "cosine": in_json(cosine_similarity(ref, res)),
    }
    close = torch.allclose(ref, res, atol=rule.tolerance, rtol=rule.tolerance, equal_nan=rule.equal_nan)
    if fp64 is None:
        # without a float64 reference nothing says how wrong eager itself is: the direction has to do
        if close:
            return seen | {"limit": rule.cosine_limit, "rule": "allclose", "passed": True}
        return seen | _by_direction(ref, res, rule, "cosine (no float64 reference)")
    multiplier = rmse_multiplier(result.dtype, reference, rule)
    rmse, own = rms_error(fp64, res), rms_error(fp64, ref)
    limit = multiplier * own + rule.tolerance / 10
    seen |= {"rmse": in_json(rmse), "reference_rmse": in_json(own), "multiplier": multiplier, "limit": in_json(limit)}
    if close:
        return seen | {"rule": "allclose", "passed": True}
    if rule.cosine:
        return seen | _by_direction(ref, res, rule, "cosine")
    if ref.isnan().any() and not res.isnan().any() and not fp64.isnan().any():
        near = torch.allclose(fp64, res, atol=NAN_TOLERANCE, rtol=NAN_TOLERANCE)
        return seen | {"rule": "nan", "limit": NAN_TOLERANCE, "passed": near}
    both_nan = rule.equal_nan and math.isnan(rmse) and math.isnan(own)
    return seen | {"rule": "rmse", "passed": bool(rmse <= limit) or both_nan}


def rmse_multiplier(dtype: torch.dtype, reference: torch.Tensor, rule: Rule) -> float:
    """Return how many times eager's own error is allowed (`torch._dynamo.utils.same`, torch 2.13)."""
    import torch

    if rule.larger_multiplier and reference.numel() <= 10:
        return 10.0
    if rule.larger_multiplier and reference.numel() <= 500:
        return 8.0
    pointwise = reference.ndim == 4 and reference.shape[-2:] == (1, 1)
    if reference.numel() < 1000 or pointwise or rule.tolerance >= 2e-2:
        return 3.0
    return 3.0 if dtype in (torch.float16, torch.bfloat16) else 2.0


def rms_error(truth: torch.Tensor, values: torch.Tensor) -> float:
    """Return the root of the mean squared difference of two float64 tensors; 0 for empty ones."""
    if truth.shape != values.shape:
        raise ValueError(f"the float64 reference has shape {list(truth.shape)}, the result {list(values.shape)}")
    return float((truth - values).square().mean().sqrt()) if truth.numel() else 0.0


def cosine_similarity(reference: torch.Tensor, result: torch.Tensor) -> float:
    """Return the cosine of the angle between two float64 tensors, flattened; 1 for two that are all zero."""
    import torch

    if not reference.any() and not result.any():
        return 1.0
    return float(torch.nn.functional.cosine_similarity(reference.flatten(), result.flatten(), dim=0, eps=1e-30))


def _by_direction(reference: torch.Tensor, result: torch.Tensor, rule: Rule, name: str) -> dict[str, Any]:
    """Judge whether two float64 tensors point the same way and, where the rule asks, are about as long."""
    near = cosine_similarity(reference, result) >= rule.cosine_limit
    verdict = {"rule": name, "limit": rule.cosine_limit, "passed": near}
    if rule.norm_tolerance is None or not verdict["passed"]:
        return verdict
    length, own = float(reference.norm()), float(result.norm())
    if abs(own - length) <= rule.norm_tolerance * length:
        return verdict
    return {"rule": f"norm {own:.4g} instead of {length:.4g}", "limit": rule.norm_tolerance, "passed": False}


def in_json(value: float) -> float | str:
    """Return a number that JSON can hold."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
