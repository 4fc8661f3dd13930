"""Are the compiled model's outputs, loss, gradients and buffers right?

One step, dropout off, from the same seed as the reference; compared before any optimizer step, tensor by tensor
(`orchestrator.measures.compare`). Every tensor's numbers are kept, whether it passed or not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import precision
from orchestrator.errors import is_out_of_memory
from orchestrator.measures.compare import COSINE_LIMIT, Rule, compare
from orchestrator.measures.context import Context
from orchestrator.measures.reference import EAGER_FILE, FP64_FILE, Reference, load, make_deterministic
from orchestrator.plugins import Outcome, facts_of
from orchestrator.probes import counters
from orchestrator.records import COMPARISON_ERROR, FAIL_ACCURACY, INFRASTRUCTURE, JUDGED, PASS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Accuracy:
    """tolerance: absolute and relative; None takes the suite's. All others: see `Rule`.

    NaN where eager has NaN counts as equal in every dtype but float32, as in PyTorch's benchmarks.
    """

    kind: ClassVar[str] = JUDGED
    PRELOAD: ClassVar[tuple[str, ...]] = Reference.PRELOAD

    tolerance: float | None = None
    cosine: bool | None = None
    larger_multiplier: bool | None = None
    cosine_limit: float | None = None
    norm_tolerance: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value >= 0:
                raise ValueError(f"{name}={value}: it must be at least 0")

    def run(self, context: Context) -> Outcome:
        rule = self._rule(context)
        result = observe_compiled(context)
        with context.phase("compare"):
            return self._judge(context, result, rule)

    def _rule(self, context: Context) -> Rule:
        if self.tolerance is None:
            raise ValueError("accuracy needs a tolerance: set it in the suite or as measure.options.tolerance")
        return Rule(
            tolerance=self.tolerance,
            cosine=bool(self.cosine),
            larger_multiplier=bool(self.larger_multiplier),
            equal_nan=context.workload.dtype != "float32",
            cosine_limit=COSINE_LIMIT if self.cosine_limit is None else self.cosine_limit,
            norm_tolerance=self.norm_tolerance,
        )

    def _judge(self, context: Context, result: dict[str, torch.Tensor], rule: Rule) -> Outcome:
        """Compare with the reference's tensors; what prevents the comparison is reported as such, never as wrong."""
        from safetensors import SafetensorError

        facts: dict[str, Any] = {**asdict(rule), "fp64": "ok", "tensors": []}
        context.facts["accuracy"] = facts
        try:
            (folder,) = context.references
            reference = load(folder / EAGER_FILE)
            fp64 = load(folder / FP64_FILE) if (folder / FP64_FILE).exists() else None
        except (OSError, SafetensorError) as error:  # removed, or cut short: the next run makes the reference anew
            message = f"the tensors of the reference cannot be read: {type(error).__name__}: {error}"
            return Outcome(INFRASTRUCTURE, message)
        facts["fp64"] = "ok" if fp64 is not None else "none: see the reference job"
        try:
            facts["tensors"] = compare(reference, result, fp64, rule)
        except (RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            return Outcome(COMPARISON_ERROR, f"{type(error).__name__}: {error}")
        wrong = [record for record in facts["tensors"] if not record["passed"]]
        if not facts["tensors"]:
            return Outcome(COMPARISON_ERROR, "there is nothing to compare: the model returned no tensor")
        if wrong:
            return Outcome(FAIL_ACCURACY, _reason(wrong, len(facts["tensors"])))
        return Outcome(PASS)


def observe_compiled(context: Context) -> dict[str, torch.Tensor]:
    """Build and compile the model without dropout, observe one step, and return what it left, on the CPU."""
    make_deterministic()
    precision.use(context.workload, judged=True)
    if not context.is_eager:
        counters.reset()
    with context.phase("build"):
        program = context.build(dropout=False)
    context.seed()
    with context.phase("compile", children=not context.is_eager):
        forward = context.compiler.compile(program, context.workload)
        result = context.mode.observe(program, forward, context.workload)
    if facts_of(forward):
        context.facts["compiled"] = dict(facts_of(forward))
    if not context.is_eager:
        context.facts.update(counters.read())
    return {name: tensor.cpu() for name, tensor in result.items()}


def _reason(wrong: list[dict[str, Any]], total: int) -> str:
    first = wrong[0]
    numbers = f"max error {first['max_abs_error']}, RMSE {first['rmse']} over the limit {first['limit']}"
    detail = numbers if first["rule"] in ("rmse", "nan") else f"rule {first['rule']}, cosine {first['cosine']}"
    return f"{len(wrong)} of {total} tensors are wrong, first {first['name']}: {detail}"
