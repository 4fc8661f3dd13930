"""Does compiled training converge as eager's does? Both train the same model on the same data, from several seeds.

From each seed three trainings start: eager; eager again, each weight a unit in the last place away; and the compiler's.
The second is the control: it says how far rounding alone leads eager from itself.

What differs is seen over several seeds: its mean, and Student's interval. A word is certain only where the whole
interval is on one side of a margin: no training in other arithmetic is the same to the bit, so "no difference" cannot
be shown, "a smaller one than this" can (the confidence-interval inclusion rule of equivalence tests: Westlake,
Biometrics 32, 1976; Schuirmann 1987).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.context import Context
from orchestrator.measures.trainings import Seeds
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported, through_dynamo
from orchestrator.probes import compilations, counters
from orchestrator.records import COMPARISON_ERROR, FAIL_ACCURACY, OBSERVED, PASS

LIKE, UNLIKE, OPEN = "like eager", "not like eager", "cannot tell"
RISK = 0.05
"""Of a wrong word, at most: one half for the loss, one for all parameters together (Bonferroni)."""


@dataclass(frozen=True)
class TrainingLoss:
    """seeds: initial weights and data, one after the other from the workload's; at least 3, for an interval.

    steps: of each training; batches: how many different ones there are, seen in turn. margin_percent: how much more or
    less the loss may fall than eager's; parameter_margin_percent: how much farther or less far a parameter may move,
    over the first step and the first round of batches, where rounding has not grown yet, and over all steps.
    Dropout is off: what is drawn at random differs between compilers, and is no fault.
    """

    kind: ClassVar[str] = OBSERVED
    shareable: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "training_loss": TableSpec(
            (
                columns.text("convergence", "like eager, not like eager, or cannot tell: of the loss and its interval"),
                columns.percent(
                    "progress_difference_percent",
                    "how much more the loss fell than eager's, summed over the steps; mean over seeds",
                    "none",
                ),
                columns.percent("progress_low_percent", "lower end of its 97.5 % interval over seeds", "none"),
                columns.percent("progress_high_percent", "upper end of the same", "none"),
                columns.percent(
                    "eager_difference_percent",
                    "the same of eager with weights a unit in the last place away: what rounding alone does",
                    "none",
                ),
                columns.percent("eager_low_percent", "lower end of its 97.5 % interval over seeds", "none"),
                columns.percent("eager_high_percent", "upper end of the same", "none"),
                columns.number("loss_first", "eager's loss over the first round of batches, mean over seeds"),
                columns.number("eager_loss_last", "eager's loss over the last round of batches, mean over seeds"),
                columns.number("loss_last", "the compiler's loss over the last round, mean over seeds"),
                columns.text("moved_parameter", "the parameter whose way differs first, and most, from eager's"),
                columns.count("moved_steps", "after so many steps: one, one round of batches, or all"),
                columns.number("moved_ratio", "how far it moved along eager's way, in eager's: 1 is as far"),
                columns.number("moved_low", "lower end of its interval over seeds, for all parameters together 97.5 %"),
                columns.number("moved_high", "upper end of the same"),
                columns.count("parameters_judged", "parameters whose way rounding alone does not change"),
                columns.count("parameters_seen", "parameters that are trained"),
                columns.count("training_seeds", "seeds: initial weights and data"),
                columns.count("training_steps", "optimizer steps of each training"),
                columns.text("training_data", "what there is to learn"),
            )
        ),
        "loss_curves": TableSpec(
            (
                columns.count("training_seed", "seed of the initial weights and the data"),
                columns.count("training_step", "optimizer steps before"),
                columns.number("eager_loss", "loss of eager"),
                columns.number("eager_again_loss", "loss of eager with weights a unit in the last place away"),
                columns.number("loss", "loss of the compiler"),
            )
        ),
    }

    seeds: int = 5
    steps: int = 64
    batches: int = 8
    margin_percent: float = 2.0
    parameter_margin_percent: float = 2.0

    def __post_init__(self) -> None:
        at_least_1(self, "batches")
        if self.seeds < 3:
            raise ValueError(f"seeds={self.seeds}: an interval over seeds needs 3 of them or more")
        if self.steps < 2 * self.batches:
            raise ValueError(
                f"steps={self.steps}: each of {self.batches} batches is seen twice or more, batches={self.batches}"
            )
        for name in ("margin_percent", "parameter_margin_percent"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: it must be above 0")

    @property
    def cost_factor(self) -> float:
        return max(1.0, 3 * self.seeds * self.steps / 50)

    def run(self, context: Context) -> Outcome:
        """Train from each seed; `comparison_error` where it cannot be told, `fail_accuracy` where it is another way."""
        import torch

        if not context.mode.training:
            raise Unsupported("nothing is trained in this mode: mode=training, training_adam or training_adamw")
        context.refuse_quantized("the model's parameters are looked at while they are trained")
        if context.compiler.changes_model:
            raise Unsupported("this compiler changes the model, whose parameters are looked at while they are trained")
        with context.phase("build"):
            eager, program = (context.build(dropout=False) for _ in range(2))  # what a compiler hooks, eager has not
        for one in (eager, program):
            one.inputs = {name: tensor.detach().clone() for name, tensor in one.inputs.items()}
        compilations.forget()
        context.seed()
        with context.phase("compile", children=True):
            forward = context.compiler.compile(program, context.workload)
        seeds = Seeds(context, eager, program, forward, self.steps, self.batches)
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            for number in range(self.seeds):
                if (outcome := seeds.train(context.workload.seed + number)) is not None:
                    return outcome
        if through_dynamo(context.compiler) and not counters.read()["counters"]["graphs"]:
            context.note("dynamo captured no graph: what was trained is eager's code")
        return self._judged(context, seeds)

    def _judged(self, context: Context, seeds: Seeds) -> Outcome:
        margin, within = self.margin_percent / 100, self.parameter_margin_percent / 100
        own, control = (
            difference([progress(runs[0], runs[side], self.batches) for runs in seeds.losses], RISK / 2)
            for side in (2, 1)
        )
        falls = all(fall(eager, self.batches) > 0 for eager, _, _ in seeds.losses)
        word = own.word(margin) if falls and control.word(margin) == LIKE else OPEN
        each = RISK / 2 / max(len(seeds.ratios), 1)
        ours, again = (
            {key: difference([seen[side] - 1 for seen in pairs], each) for key, pairs in seeds.ratios.items()}
            for side in (0, 1)
        )
        sound = [key for key, way in again.items() if way.word(within) == LIKE]
        far = [key for key in sound if ours[key].word(within) == UNLIKE]
        worst = min(far or sound, key=lambda key: (key[0] if far else 0, -abs(ours[key].mean)), default=None)
        way = ours[worst].around(1.0) if worst is not None else None
        context.find(
            "training_loss",
            convergence=word,
            **_percent("progress", own),
            **_percent("eager", control),
            loss_first=_mean(eager[: self.batches] for eager, _, _ in seeds.losses),
            eager_loss_last=_mean(eager[-self.batches :] for eager, _, _ in seeds.losses),
            loss_last=_mean(compiled[-self.batches :] for _, _, compiled in seeds.losses),
            moved_parameter=worst and worst[1],
            moved_steps=worst and worst[0],
            moved_ratio=way and way.mean,
            moved_low=way and way.low,
            moved_high=way and way.high,
            parameters_judged=len({name for _, name in sound}),
            parameters_seen=len({name for _, name in ours}),
            training_seeds=self.seeds,
            training_steps=self.steps,
            training_data=seeds.data,
        )
        said = []
        if word == UNLIKE:
            said.append(f"the loss falls {own} more than eager's (margin {self.margin_percent:g} %)")
        if worst is not None and way is not None and far:
            ratio = f"{way.mean:.3f} times [{way.low:.3f}, {way.high:.3f}] as far as eager moves it in {worst[0]} steps"
            those = f"{len({name for _, name in far})} of {len({name for _, name in sound})} parameters go another way"
            said.append(f"{those}, furthest {worst[1]}: it moves {ratio}")
        if said:
            return Outcome(FAIL_ACCURACY, "; ".join(said))
        if word == LIKE:
            return Outcome(PASS)
        why = f"the loss falls {own} more than eager's: more measure.options.seeds"
        if not falls:
            why = "eager's loss does not fall: more measure.options.steps, or another mode.options.learning_rate"
        elif control.word(margin) != LIKE:
            why = f"rounding alone changes how eager's loss falls by {control}: more measure.options.seeds, fewer steps"
        return Outcome(COMPARISON_ERROR, f"cannot tell (margin {self.margin_percent:g} %): {why}")


def _mean(parts: Iterable[Sequence[float]]) -> float:
    return statistics.fmean(value for part in parts for value in part)


def _percent(name: str, found: Difference) -> dict[str, float | None]:
    """Return the columns of a difference and its interval; None where there is no number."""
    values = {"difference": found.mean, "low": found.low, "high": found.high}
    return {f"{name}_{end}_percent": 100 * value if math.isfinite(value) else None for end, value in values.items()}


@dataclass(frozen=True)
class Difference:
    """The mean of differences over seeds, and its interval."""

    mean: float
    low: float
    high: float

    def word(self, margin: float) -> str:
        """Return LIKE where the interval lies within +- `margin`, UNLIKE where wholly beyond it, OPEN else."""
        if -margin <= self.low and self.high <= margin:
            return LIKE
        return UNLIKE if self.low > margin or self.high < -margin else OPEN

    def around(self, middle: float) -> Difference:
        """Return the same of what was compared, not of its difference from `middle`."""
        return Difference(self.mean + middle, self.low + middle, self.high + middle)

    def __str__(self) -> str:
        return f"{100 * self.mean:+.2f} % [{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


def difference(values: Sequence[float], risk: float) -> Difference:
    """Return the mean of two or more values, with the two-sided interval that misses the truth with the chance `risk`.

    Values that are all the same are known, infinity too; else what is not finite makes an interval that says nothing.
    """
    if len(set(values)) == 1:
        return Difference(values[0], values[0], values[0])
    if not all(map(math.isfinite, values)):
        return Difference(math.nan, -math.inf, math.inf)
    mean = statistics.fmean(values)
    half = student(len(values) - 1, 1 - risk) * statistics.stdev(values) / math.sqrt(len(values))
    return Difference(mean, mean - half, mean + half)


def student(freedom: int, confidence: float) -> float:
    """Return the two-sided quantile of Student's t with a whole number of degrees of freedom; scipy is no worker's.

    The distribution is a finite sum of an angle's powers (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.3 and 26.7.4); the angle is found by halving.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _inside(angle: float, freedom: int) -> float:
    """Return P(|t| < tan(angle) * sqrt(freedom))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def fall(losses: Sequence[float], batches: int) -> float:
    """Return by how much the loss fell: the mean over all later visits of a batch, below that of its first visit."""
    return statistics.fmean(losses[step % batches] - losses[step] for step in range(batches, len(losses)))


def progress(eager: Sequence[float], other: Sequence[float], batches: int) -> float:
    """Return how much more another training's loss fell than eager's, as a share of eager's fall; NaN of none."""
    fell = fall(eager, batches)
    more = statistics.fmean(one - two for one, two in zip(eager[batches:], other[batches:], strict=True))
    return more / fell if fell > 0 else math.nan
