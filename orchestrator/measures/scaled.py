"""The verdict on floating tensors, relative to their own scale and to eager's own error
(`measure.options.rules=scaled`).

A tensor is right when none of these limits is exceeded. `t` is the float64 reference, `e` eager, `r` the result; RMS is
the root of the mean square, `scale` the RMS of t, u the unit roundoff of the workload's dtype, m `multiplier`:

- "places": where e has NaN or infinity r has the same, in the same place; a finite r is right there where t is finite
  and near it (eager overflowed). Where e fills places with one huge value (a mask), r has it there.
- "rmse": RMS(r - t) <= m * RMS(e - t) + tolerance * scale: not much further from the truth than eager is.
- "sample": the same of each sample (first dimension with more than one entry; of a weight's gradient, each row).
- "element": the worst |r - t| / (scale + |t|) against that of e.
- "class": where another element of the last dimension is the largest one (a class, the next token), the two are as near
  to each other in t as e's largest errors.
- "scale": the regression of r on t is 1, against that of e: a factor of 1.01 is far below what bfloat16 does to a
  single element, and is the same for all of them.

What small tensors have by luck (an eager loss that is exact) is no yardstick: their e counts as no nearer to t than the
median tensor of the call is. Where there is no float64 twin, or it is another computation (of another shape, random, or
too far from eager), e stands in for t with the error that the dtype allows; the record says so in `arbiter`.

A quantised model (`cosine`) has other values by design: its tensors, and their samples, must have eager's direction and
length.

`torch._dynamo.utils.same` (`rules=dynamo`, `orchestrator.measures.same`) has one absolute tolerance (all zeros pass as
a softmax over 30,000 classes), one RMSE or cosine over the whole tensor (a wrong sample among 64, or a wrong element,
passes), none where there is no float64 (twice the result passes), and lets NaN and infinity in the reference decide for
all. docs/measuring.md has what both find.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.measures.distances import Distance, Seen, in_json, place

if TYPE_CHECKING:
    from orchestrator.measures.compare import Rule

FLOAT32_ROUNDOFF = 2.0**-24
NEAR, NEAR_ROUNDOFFS, NEAR_MOST = 0.02, 256, 0.5
"""Relative distance up to which float64 is the same computation as eager: 2 %, 256 u (12.5 % in float16), at most 50 %.
"""
NOISE_ROUNDOFFS = 64
"""Errors below 64 u of the largest tensor's scale are rounding, whatever the tensor's own scale: sums that cancel."""
SMALLEST_NORMAL = 2.0**-126
"""Of float32 and bfloat16. Compilers and libraries may take what is smaller for zero, and eager as well."""
UNSEEN = 2.0**-24  # of the largest scale: a tensor of this scale in float64 is zero, and in any dtype noise
EAGER_ROUNDOFFS = 8
"""Relative error that eager is taken to have where no float64 says it: 8 u."""
ROUNDED_TOLERANCES = 3
"""Three times the tolerance of a tensor's scale: TF32 rounding of all products, which is no fault, was seen to cost up
to 1.8e-3 in inference and over 1e-2 in gradients (`experiment=judge_test`). In a lower precision eager's own error says
what is usual: a tenth of the tolerance, as in torch's rule."""
MANY = 10_000  # elements whose RMS is no luck in any dtype
CLASS_TIMES = 3.0  # times eager's largest error: what the scores of two classes may be apart that change places
SAMPLE_TIMES = 2.0  # a sample's error varies more than that of all
KINK_TOLERANCES = 2.0
"""Of a row or an element of a gradient: where rounding moves one value over the kink of a ReLU, the unit's row has one
token's share more or less (T5Small under inductor: 4 % of the gradient's scale)."""
KINK_ROWS, KINK_MOST, KINK_ELEMENT = 1 / 64, 0.25, 0.3
"""Where a row sums few tokens up, one token's share is more (19 % of the scale of 128 tokens' sum, in float16): one row
in 64 may be off by a quarter of the scale, if no element has 30 % of that (in squares): a token's share is spread over
the row, a wrong element is not."""
ELEMENT_TIMES, ELEMENT_TOLERANCES = 4.0, 4.0
SCALE_LIMIT, SCALE_TOLERANCES = 2.5e-3, 2.5
SCALE_CORRELATED = 0.2  # share of eager's error that may be common to all elements


def judge(seen: Mapping[str, Seen], rule: Rule) -> dict[str, dict[str, Any]]:
    """Judge the floating tensors of a call together: the largest says what is noise, the median what is usual."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in seen:
        groups["grad" if name.startswith("grad.") else "output"].append(name)
    verdicts: dict[str, dict[str, Any]] = {}
    for names in groups.values():
        largest = max(seen[name].scale for name in names)
        errors = [
            one.eager.rmse / one.scale for name in names if (one := seen[name]).eager and one.scale > UNSEEN * largest
        ]
        usual = statistics.median(errors) if errors else 0.0
        for name in names:
            verdicts[name] = _Judge(seen[name], rule, largest, usual, name.startswith("grad.")).verdict()
    return verdicts


class _Judge:
    """The verdict on one floating tensor. largest: scale of the group's; usual: its median relative error of eager."""

    def __init__(self, seen: Seen, rule: Rule, largest: float, usual: float, is_gradient: bool) -> None:
        self.seen, self.rule, self.u = seen, rule, rule.roundoff
        self.largest, self.usual, self.is_gradient = largest, usual, is_gradient
        self.why_not = seen.without or self._not_near()
        self.eager = seen.eager if self.why_not is None else None  # its error, where float64 arbitrates
        self.times = multiplier(seen.count, self.u)

    def _not_near(self) -> str | None:
        """Return why float64 is not the same computation as eager, None where it may arbitrate."""
        seen = self.seen
        assert seen.eager is not None
        error = seen.eager.rmse
        near = min(max(NEAR, NEAR_ROUNDOFFS * self.u), NEAR_MOST) * seen.scale
        noise = NOISE_ROUNDOFFS * self.u * self.largest
        if error <= max(near, noise) or seen.scale <= UNSEEN * self.largest:
            return None
        return f"eager is {100 * error / seen.scale:.3g} % of its scale away from float64"

    def verdict(self) -> dict[str, Any]:
        seen, rule = self.seen, self.rule
        result = seen.apart if self.why_not is not None or seen.result is None else seen.result
        limit = self._whole()
        record: dict[str, Any] = {
            "scale": in_json(seen.scale),
            "max_abs_error": in_json(seen.max_abs_error),
            "rmse": in_json(result.rmse),
            "reference_rmse": None if seen.eager is None else in_json(seen.eager.rmse),
            "cosine": in_json(seen.cosine),
            "multiplier": self.times,
            "limit": in_json(limit),
            "arbiter": "float64" if self.why_not is None else f"eager: {self.why_not}",
            "rule": "rmse",
            "passed": True,
        }
        if seen.places is not None:
            return record | {"rule": "places", "passed": False, "why": seen.places}
        if rule.cosine:
            return record | {"arbiter": "eager", "limit": rule.cosine_limit} | self._by_direction()
        found = self._exceeded(result, limit)
        if found is None:
            return record
        if self._ambiguous():
            why = f"not judged: {self.why_not}, and {found[1]}"
            return record | {"rule": found[0], "passed": None, "why": why}
        return record | {"rule": found[0], "passed": False, "why": found[1]}

    def _exceeded(self, result: Distance, limit: float) -> tuple[str, str] | None:
        """Return the first rule whose limit is exceeded, and what it says."""
        seen = self.seen
        if seen.max_abs_error < SMALLEST_NORMAL:
            return None
        if result.rmse > limit:
            return "rmse", f"RMSE {result.rmse:.3g} over {limit:.3g}, of values of {seen.scale:.3g}"
        if seen.scale <= UNSEEN * self.largest:
            return None
        limits = self._samples()
        far = [number for number, error in enumerate(result.rows) if error > limits[number]]
        if far and not self._is_kink(result, far):
            worst = max(far, key=lambda number: result.rows[number] / limits[number])
            more = f" ({len(far)} of {len(limits)} samples)" if len(far) > 1 else ""
            text = f"sample {worst}: RMSE {result.rows[worst]:.3g} over {limits[worst]:.3g}{more}"
            return "sample", text
        most = self._element()
        if result.worst > most and result.place // seen.columns not in far:
            return (
                "element",
                f"at {place(result.place, seen.shape)}: {result.worst:.3g} of its size and scale, over {most:.3g}",
            )
        most = CLASS_TIMES * self._largest() + self._tolerance() * seen.scale
        if result.lead > most:
            return "class", f"another element is the largest one, by {result.lead:.3g}, over {most:.3g}"
        most = self._slope()
        if abs(result.slope - 1) > most and seen.count >= 8:
            return "scale", f"{result.slope:.5g} times the reference, more than {most:.2g} off"
        return None

    def _is_kink(self, result: Distance, far: Sequence[int]) -> bool:
        """Return whether rows of a gradient are as far off as a token on the other side of a ReLU's kink makes them."""
        seen, furthest = self.seen, max(result.rows[number] for number in far)
        few = self.is_gradient and len(far) <= KINK_ROWS * len(result.rows)
        spread = result.largest**2 <= KINK_ELEMENT * seen.columns * furthest**2
        return few and furthest <= KINK_MOST * seen.scale and spread

    def _error(self) -> float:
        """Return eager's error relative to the scale: seen, or what its dtype allows; of a small tensor the usual."""
        seen = self.seen
        if self.eager is None:
            return EAGER_ROUNDOFFS * self.u
        own = self.eager.rmse / seen.scale if seen.scale else 0.0
        return max(own, self.usual, self.u) if seen.count < 1000 else max(own, self.u)

    def _tolerance(self) -> float:
        """Return the relative error of a whole tensor that is allowed whatever eager's is."""
        if self.u > FLOAT32_ROUNDOFF and self.eager is not None:
            return self.rule.tolerance / 10
        return ROUNDED_TOLERANCES * self.rule.tolerance

    def _part_tolerance(self) -> float:
        """Return the same of one sample or element."""
        return KINK_TOLERANCES * max(self._tolerance(), self.rule.tolerance) if self.is_gradient else self._tolerance()

    def _whole(self) -> float:
        scale = self.seen.scale
        noise = 16 * self.u * self.largest if scale <= UNSEEN * self.largest else 0.0
        eager = self.eager.rmse if self.eager is not None else 0.0
        return max(self.times * max(self._error() * scale, eager) + self._tolerance() * scale, noise)

    def _samples(self) -> list[float]:
        seen, times = self.seen, SAMPLE_TIMES * multiplier(self.seen.columns, self.u)
        common = self._error() * seen.scale
        own = self.eager.rows if self.eager is not None else [0.0] * len(seen.scales)
        return [
            times * (error + common) + 2 * self._part_tolerance() * max(scale, seen.scale)
            for error, scale in zip(own, seen.scales, strict=True)
        ]

    def _element(self) -> float:
        own = 3 * self._error()
        if self.eager is not None:
            own = max(self.eager.worst, own if self.seen.count < 1000 else 0.0)
        return ELEMENT_TIMES * own + ELEMENT_TOLERANCES * self._part_tolerance()

    def _largest(self) -> float:
        """Return eager's largest error."""
        seen = self.seen
        usual = 6 * self._error() * seen.scale  # of normal errors, one in a billion
        if self.eager is None:
            return usual
        return max(self.eager.largest, usual if seen.count < 1000 else 0.0)

    def _slope(self) -> float:
        seen = self.seen
        own = abs(self.eager.slope - 1) if self.eager is not None else 0.0
        chance = (SCALE_CORRELATED + 4 / math.sqrt(max(seen.count, 1))) * self._error()
        return min(SCALE_TOLERANCES * self.rule.tolerance, SCALE_LIMIT) + 3 * own + chance

    def _ambiguous(self) -> bool:
        """In low precision a model may be chaotic: what is as far from float64 as eager is not surely wrong."""
        seen = self.seen
        if self.why_not is None or seen.eager is None or seen.result is None or self.u <= FLOAT32_ROUNDOFF:
            return False  # float64 has arbitrated, or there is none
        return seen.result.rmse <= self.times * seen.eager.rmse

    def _by_direction(self) -> dict[str, Any]:
        """Judge whether a quantised tensor, and each of its samples, points where eager's does and is about as long."""
        seen, rule = self.seen, self.rule
        allowed = rule.norm_tolerance
        if allowed is None:
            allowed = math.sqrt(2 * max(1 - rule.cosine_limit, 0.0))
        whole, other = (math.hypot(*lengths) for lengths in seen.lengths)
        verdict = _direction("the tensor", seen.cosine, whole, other, rule.cosine_limit, allowed)
        if verdict is not None:
            return verdict
        loose = 1 - 3 * (1 - rule.cosine_limit)
        smallest = 1e-3 * whole / math.sqrt(max(len(seen.cosines), 1))
        for number, (cosine, length, its) in enumerate(zip(seen.cosines, *seen.lengths, strict=True)):
            if max(length, its) > smallest:
                verdict = _direction(f"sample {number}", cosine, length, its, loose, 3 * allowed)
                if verdict is not None:
                    return verdict
        return {"rule": "cosine", "passed": True}


def _direction(
    what: str, cosine: float, length: float, other: float, limit: float, allowed: float
) -> dict[str, Any] | None:
    if cosine < limit:
        return {"rule": "cosine", "passed": False, "why": f"{what}: cosine {cosine:.4g} under {limit:.4g}"}
    if abs(other - length) > allowed * length:
        why = f"{what}: norm {other:.4g} instead of {length:.4g}"
        return {"rule": "norm", "limit": allowed, "passed": False, "why": why}
    return None


def multiplier(count: int, unit: float) -> float:
    """Return how many times eager's own error is allowed, by the number of elements: the fewer, the more is luck.

    As in `torch._dynamo.utils.same` (torch 2.13) 10 for up to ten, 3, and 2 for many, there in float32 only; there are
    8 for up to 500 elements there. Honest variations had up to 1.8 times eager's error in tensors of over 1000 elements
    (`experiment=judge_test`).
    """
    if count <= 10:
        return 10.0
    if count <= 100:
        return 5.0
    return 3.0 if count < (1000 if unit <= FLOAT32_ROUNDOFF else MANY) else 2.0
