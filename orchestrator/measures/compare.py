"""Are these tensors right? Relative to the tensor's own scale and to eager's own error, with every number kept.

Floating tensors are judged by `orchestrator.measures.scaled`, or, for comparison with PyTorch's dashboard, by the rules
of `torch._dynamo.utils.same` (`orchestrator.measures.same`). What must be equal is looked at here: names, shapes,
dtypes, and integers and booleans: they are equal, or differ where the scores that they are the order of tie within
eager's error, or are no further from float64's than eager's are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.measures import same, scaled
from orchestrator.measures.calls import Tensors, unchanged
from orchestrator.measures.distances import Seen, in_json
from orchestrator.measures.scaled import FLOAT32_ROUNDOFF
from orchestrator.precision import computed_in
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch

Record = dict[str, Any]

Rules = Literal["scaled", "dynamo"]
SCALED: Rules = "scaled"
DYNAMO: Rules = "dynamo"
COSINE_LIMIT = 0.99


@dataclass(frozen=True)
class Rule:
    """How strictly to judge.

    tolerance: relative to a tensor's scale (rules=dynamo: absolute and relative). cosine: judge direction and length of
    each sample, as of a quantised model: cosine >= `cosine_limit`, lengths within `norm_tolerance` (None: what that
    cosine allows). rules: "scaled" or "dynamo". roundoff: unit roundoff of the dtype that is computed in.
    larger_multiplier, equal_nan: of rules=dynamo only.
    """

    tolerance: float
    cosine: bool = False
    larger_multiplier: bool = False
    equal_nan: bool = False
    cosine_limit: float = COSINE_LIMIT
    norm_tolerance: float | None = None
    rules: str = SCALED
    roundoff: float = FLOAT32_ROUNDOFF


@dataclass(frozen=True)
class Strictness:
    """The options of a measure that say how strictly to judge: see `Rule`. None takes the suite's, or Rule's own.

    Raises ValueError for a negative one.
    """

    tolerance: float | None = None
    cosine: bool | None = None
    larger_multiplier: bool | None = None
    cosine_limit: float | None = None
    norm_tolerance: float | None = None

    def __post_init__(self) -> None:
        for name in ("tolerance", "cosine_limit", "norm_tolerance"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name}={value}: it must be at least 0")

    def rule(self, workload: Workload, rules: str = SCALED) -> Rule:
        """Return the rule for what is computed for this workload. Raises ValueError without a tolerance."""
        if self.tolerance is None:
            raise ValueError("accuracy needs a tolerance: set it in the suite or as measure.options.tolerance")
        return Rule(
            tolerance=self.tolerance,
            cosine=bool(self.cosine),
            larger_multiplier=bool(self.larger_multiplier),
            equal_nan=workload.dtype != "float32",
            cosine_limit=COSINE_LIMIT if self.cosine_limit is None else self.cosine_limit,
            norm_tolerance=self.norm_tolerance,
            rules=rules,
            roundoff=roundoff(computed_in(workload)),
        )


def compare(
    reference: Tensors, result: Tensors, fp64: Tensors | None, rule: Rule, random: Collection[str] = ()
) -> list[Record]:
    """Return one record per tensor name of either side, in the reference's order, wrong or not.

    `random`: names of tensors of which float64 draws other numbers. Keys: name, shape, dtype, numel, scale,
    max_abs_error, rmse, reference_rmse, cosine, multiplier, limit, rule, arbiter, passed, why. `passed` is None for
    what cannot be judged. `why` says what is wrong in words. Numbers that are not finite are the strings "nan", "inf",
    "-inf"; what does not apply is None.
    """
    names = list(reference) + [name for name in result if name not in reference]
    records: dict[str, Record] = {}
    seen: dict[str, Seen] = {}
    for name in names:
        ref, res = reference.get(name), result.get(name)
        record = _described(name, ref, res)
        wrong = _structure(name, ref, res)
        if wrong is not None:
            records[name] = record | wrong
            continue
        assert ref is not None
        assert res is not None
        truth, why = _truth(name, ref, fp64, random)
        if not ref.is_floating_point():
            scores = _Scores(reference, result, fp64, rule)
            records[name] = record | _judge_integers(ref, res, truth, scores)
        elif rule.rules == DYNAMO:
            records[name] = record | same.judge(ref, res, truth, rule)
        else:
            records[name] = record
            seen[name] = Seen.of(ref, res, truth, why)
    for name, verdict in scaled.judge(seen, rule).items():
        records[name] |= verdict
    return [records[name] for name in names]


def roundoff(dtype: str) -> float:
    """Return the unit roundoff, half the machine epsilon, of a dtype of torch by its name."""
    import torch

    return float(torch.finfo(getattr(torch, dtype)).eps) / 2


def _described(name: str, reference: torch.Tensor | None, result: torch.Tensor | None) -> Record:
    shown = result if reference is None else reference
    assert shown is not None
    about: Record = {"name": name, "shape": list(shown.shape), "dtype": str(shown.dtype).removeprefix("torch.")}
    figures = ("scale", "max_abs_error", "rmse", "reference_rmse", "cosine", "multiplier", "limit", "arbiter", "why")
    return about | {"numel": shown.numel()} | dict.fromkeys(figures)


def _structure(name: str, reference: torch.Tensor | None, result: torch.Tensor | None) -> Record | None:
    """Return the verdict on what only one side has, and on other shapes and dtypes; None where there are two alike."""
    if reference is None or result is None:
        mine, theirs = ("eager", "the compiled model") if result is None else ("the compiled model", "eager")
        present = reference if result is None else result
        assert present is not None
        if name.startswith("grad.") and not present.any():
            return {"rule": "no gradient", "passed": True}  # None and zero are the same to an optimizer
        if name.startswith(("input.", "buffer.", "parameter.")):
            why = f"{mine} changes it, and {theirs} leaves it as it was"
        else:
            why = f"{mine} has it, and {theirs} has not"
        return {"rule": "missing" if result is None else "only in the result", "passed": False, "why": why}
    if reference.shape != result.shape:
        why = f"shape {list(result.shape)} instead of {list(reference.shape)}"
        return {"rule": "shape", "passed": False, "why": why}
    if reference.dtype != result.dtype:
        why = f"dtype {result.dtype} instead of {reference.dtype}"
        return {"rule": "dtype", "passed": False, "why": why}
    return None


def _truth(
    name: str, reference: torch.Tensor, fp64: Tensors | None, random: Collection[str]
) -> tuple[torch.Tensor | None, str | None]:
    """Return the float64 twin of a tensor, or None and why there is none that could arbitrate."""
    if fp64 is None:
        return None, "there is no float64 reference"
    twin = fp64.get(name)
    if name in random:
        return None, "random: float64 draws other numbers"
    if twin is None:
        return None, "float64 has no such tensor"
    if twin.shape != reference.shape:
        return None, f"its shape in float64 is {list(twin.shape)}"
    if twin.is_floating_point() != reference.is_floating_point():
        return None, f"its dtype in float64 is {twin.dtype}"
    return twin, None


@dataclass(frozen=True)
class _Scores:
    """The floating tensors beside which integers stand: what they may be the order of."""

    reference: Tensors
    result: Tensors
    fp64: Tensors | None
    rule: Rule

    def tied(self, e: torch.Tensor, r: torch.Tensor) -> bool | None:
        """Return whether all places where two integer tensors differ are ties of scores; None where none fit.

        Scores fit that have the integers' shape but for the last dimension, which the integers index, and of which the
        integers of eager are the largest, the smallest, or an order (argmax, argmin, topk, sort).
        """
        import torch

        for name, scores in self.reference.items():
            if not scores.is_floating_point() or scores.ndim == 0:
                continue
            for index, other in ((e.unsqueeze(-1), r.unsqueeze(-1)), (e, r)):
                if index.dtype is not torch.int64 or index.ndim != scores.ndim or index.shape[:-1] != scores.shape[:-1]:
                    continue
                classes = scores.shape[-1]
                if not index.numel() or index.shape[-1] > classes or not bool(((index >= 0) & (index < classes)).all()):
                    continue
                if not _is_order(scores, index):
                    continue
                if not bool(((other >= 0) & (other < classes)).all()):
                    return False
                twin = None if self.fp64 is None else self.fp64.get(name)
                truth = scores.double() if twin is None or twin.shape != scores.shape else twin.double()
                gap = (truth.gather(-1, index) - truth.gather(-1, other)).abs()
                return bool((gap[index != other] <= 2 * self._error(name, scores, truth)).all())
        return None

    def _error(self, name: str, scores: torch.Tensor, truth: torch.Tensor) -> float:
        """Return how far a score may be off: as eager's are at worst; of a quantised model, as its own are."""
        other = self.result.get(name)
        if self.rule.cosine and other is not None and other.shape == scores.shape:
            return float((other.double() - scores.double()).abs().max())
        size = float(truth.abs().max())
        return max(float((scores.double() - truth).abs().max()), 4 * self.rule.roundoff * size)


def _is_order(scores: torch.Tensor, index: torch.Tensor) -> bool:
    """Return whether integers index the largest (or the smallest) scores, in their order."""
    picked, count = scores.gather(-1, index), index.shape[-1]
    return any(bool((picked == scores.topk(count, dim=-1, largest=largest).values).all()) for largest in (True, False))


def _judge_integers(e: torch.Tensor, r: torch.Tensor, t: torch.Tensor | None, scores: _Scores) -> Record:
    """Judge integers and booleans of one shape and dtype."""
    different = int((e != r).sum())
    verdict: Record = {"rule": "equal", "passed": different == 0}
    if not different or scores.rule.rules == DYNAMO:
        return verdict
    why = f"{different} of {e.numel()} values differ"
    tied = scores.tied(e, r)
    if tied:
        return {"rule": "tie", "passed": True, "why": f"{why}, all where the scores tie within eager's error"}
    if tied is None and t is not None:
        own, theirs = int((t != r).sum()), int((t != e).sum())
        verdict = {"rule": "as often as eager", "passed": own <= theirs, "arbiter": "float64"}
        why += f"; {own} differ from float64's, of eager's {theirs}"
    return verdict | {"why": why}


def differing(first: Tensors, second: Tensors) -> list[dict[str, Any]]:
    """Return a record {name, max_abs_error} for each tensor that is not the same to the bit in two runs.

    NaN equals NaN here: both runs are the same computation. Shapes and dtypes must agree.
    """
    found: list[dict[str, Any]] = []
    for name in sorted(first.keys() | second.keys()):
        one, two = first.get(name), second.get(name)
        if one is None or two is None or one.shape != two.shape or one.dtype != two.dtype:
            found.append({"name": name, "max_abs_error": None})
        elif not unchanged(one, two):
            found.append({"name": name, "max_abs_error": in_json(float((one.double() - two.double()).abs().max()))})
    return found
