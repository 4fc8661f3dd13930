"""From an accuracy job to its row: the status, and the numbers of the tensor that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from orchestrator.results.load import JobOutcome, fact, figure, items, worst

Row = dict[str, Any]
JUDGEMENT = (
    *("worst_tensor", "max_abs_error", "rmse", "reference_rmse", "cosine", "rule", "limit", "tolerance", "multiplier"),
    *("tensors", "tensors_failed", "fp64", "weaker", "judged", "judged_call", "rules", "outputs"),
)


def accuracy_row(outcomes: Sequence[JobOutcome]) -> Row:
    """Return the figures of one workload and compiler: the worst outcome's (there is one round)."""
    outcome = worst(outcomes)
    tensors = [tensor for tensor in items(outcome.facts, "accuracy", "tensors") if isinstance(tensor, dict)]
    row: Row = {
        "status": outcome.status,
        "reason": outcome.reason,
        "job": outcome.job.id,
        "tolerance": figure(outcome.facts, "accuracy", "tolerance"),
        "fp64": fact(outcome.facts, "accuracy", "fp64"),
        "rules": fact(outcome.facts, "accuracy", "rules"),
        "judged": fact(outcome.facts, "accuracy", "judged"),
        "outputs": fact(outcome.facts, "accuracy", "outputs"),
        "weaker": "; ".join(map(str, items(outcome.facts, "accuracy", "weaker"))),
    }
    if not tensors:
        return row
    deciding = max(tensors, key=badness)
    return row | {
        "tensors": len(tensors),
        "tensors_failed": sum(tensor.get("passed") is False for tensor in tensors),
        "worst_tensor": deciding.get("name"),
        "rule": deciding.get("rule"),
        "judged_call": _call(outcome, deciding),
        **{key: deciding.get(key) for key in ("max_abs_error", "rmse", "reference_rmse", "cosine", "limit")},
        "multiplier": deciding.get("multiplier", figure(outcome.facts, "accuracy", "multiplier")),
    }


def badness(tensor: Row) -> tuple[bool, float, float]:
    """Order tensors: those that failed, then by RMSE / limit, then by largest error. Not a number is the worst."""
    error, rmse, limit = (_number(tensor.get(key)) for key in ("max_abs_error", "rmse", "limit"))
    relative = rmse / limit if rmse is not None and limit else 0.0
    return (tensor.get("passed") is False, _or_infinity(relative), _or_infinity(error or 0.0))


def _call(outcome: JobOutcome, deciding: Row) -> str | None:
    """Return which call of the series decides, and with which inputs, as "2 of 3 (fresh 1)"."""
    calls, place = items(outcome.facts, "accuracy", "calls"), deciding.get("call")
    if type(place) is not int or not 0 <= place < len(calls):
        return None
    return f"{place + 1} of {len(calls)} ({calls[place]})"


def _number(value: Any) -> float | None:
    """Numbers that JSON has no word for are the strings "nan", "inf" and "-inf"."""
    return float(value) if isinstance(value, (int, float)) or value in ("nan", "inf", "-inf") else None


def _or_infinity(value: float) -> float:
    return math.inf if math.isnan(value) else value
