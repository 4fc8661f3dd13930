"""Does compiled training converge as eager's does? Both train the same model on the same data, from several seeds.

From each seed three trainings start: eager; eager again, each weight a unit in the last place away; and the compiler's.
The second is the control: it says how far rounding alone leads eager from itself.
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
from orchestrator.measures.convergence import LIKE, OPEN, UNLIKE, Difference, difference, fall, progress
from orchestrator.measures.trainings import Seeds
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported, through_dynamo
from orchestrator.probes import compilations, counters
from orchestrator.records import COMPARISON_ERROR, FAIL_ACCURACY, OBSERVED, PASS

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
        ours, again = (seeds.ways(side, RISK / 2) for side in (0, 1))
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
