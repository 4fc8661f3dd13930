"""The rules of PyTorch's `torch._dynamo.utils.same`, for comparison with its dashboard
(`measure.options.rules=dynamo`).

For each tensor, the first rule that holds decides:

1. "allclose": |reference - result| <= tolerance + tolerance * |reference|, everywhere;
2. "cosine", where the suite asks for it or no float64 reference exists: cosine similarity >= the limit (0.99), and,
with a
   `norm_tolerance`, norms that differ by at most that fraction;
3. "nan": the reference has NaN, result and float64 have none, and those two are close (tolerance 0.04);
4. "rmse": RMSE(float64, result) <= multiplier * RMSE(float64, reference) + tolerance / 10.

`orchestrator.measures.scaled` says what these rules do not see.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from orchestrator.measures.distances import cosine_similarity, in_json, rms_error

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.compare import Rule

NAN_TOLERANCE = 4e-2


def judge(reference: torch.Tensor, result: torch.Tensor, fp64: torch.Tensor | None, rule: Rule) -> dict[str, Any]:
    """Judge a floating tensor of the reference's shape and dtype; of the record see `compare.compare`."""
    import torch

    ref, res = reference.double(), result.double()
    seen: dict[str, Any] = {
        "max_abs_error": in_json(float((ref - res).abs().max())) if ref.numel() else 0.0,
        "cosine": in_json(cosine_similarity(ref, res)),
    }
    close = torch.allclose(ref, res, atol=rule.tolerance, rtol=rule.tolerance, equal_nan=rule.equal_nan)
    if fp64 is None:
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
