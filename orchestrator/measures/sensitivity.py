"""How sure is the judge? Faults and honest variations are planted into a model, and each is judged by both sets of
rules.

Mutation testing of `orchestrator.measures.accuracy`: everything but the plant is what an accuracy job does, the
reference's series of calls included. A plant that changes nothing to the bit (there is no buffer to lose) is none, and
has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.errors import did_you_mean
from orchestrator.measures.accuracy import Accuracy, Judgement, Stored
from orchestrator.measures.calls import Tensors, Watch, drawn_so_far, fresh_inputs, inputs_of
from orchestrator.measures.compare import DYNAMO, SCALED, Strictness, differing
from orchestrator.measures.context import Context
from orchestrator.measures.reference import make_deterministic
from orchestrator.plugins import Outcome
from orchestrator.records import JUDGED, PASS, PASS_DUE_TO_SKIP

if TYPE_CHECKING:
    from orchestrator.measures.plants import Plant

FAULT, HONEST = "fault", "honest"


@dataclass(frozen=True)
class Sensitivity(Strictness):
    """Leaves the table `sensitivity`, one row per plant. places: of each fault, in different tensors, elements and
    layers.

    faults: names of `orchestrator.measures.plants.FAULTS`; none: all of them. calls: see `calls.series`.
    """

    kind: ClassVar[str] = JUDGED
    PRELOAD: ClassVar[tuple[str, ...]] = Accuracy.PRELOAD

    calls: int | None = None
    places: int = 3
    faults: Sequence[str] = ()

    def run(self, context: Context) -> Outcome:
        from orchestrator.measures.plants import FAULTS, ONCE, VARIATIONS

        for name in self.faults:
            if name not in FAULTS:
                raise ValueError(f"unknown fault '{name}': {did_you_mean(name, FAULTS)}")
        stored = Stored.of(context)
        if isinstance(stored, Outcome):
            return stored
        make_deterministic(strict=stored.found.nondeterministic is None)
        with context.phase("build"):
            fresh = fresh_inputs(context, stored.found.calls)
            inputs = inputs_of(context.build(dropout=False).inputs, stored.found.calls, fresh)
        with context.phase("compile"):
            right = list(self._series(context, stored, inputs, VARIATIONS["as compiled"], 0))
        plants = [
            (FAULT, name, FAULTS[name], place)
            for name in self.faults or FAULTS
            for place in range(1 if name in ONCE else self.places)
        ]
        plants += [(HONEST, name, plant, 0) for name, plant in VARIATIONS.items()]
        count = 0
        with context.phase("plants"):
            for kind, name, plant, place in plants:
                count += self._plant(context, stored, inputs, right, kind, name, plant, place)
        return Outcome(PASS) if count else Outcome(PASS_DUE_TO_SKIP, "nothing that could be planted changes anything")

    def _series(
        self, context: Context, stored: Stored, inputs: dict[str, Tensors], plant: Plant, place: int
    ) -> Iterator[tuple[Tensors, str]]:
        """Build the model, compile it, put the plant in; yield what each call leaves, and the generators' digest."""
        program = context.build(dropout=False)
        context.seed()
        program.model.train(context.mode.training)
        forward = plant(context.compiler.compile(program, context.workload), program, place)
        watch = Watch(context, program, forward)
        for call in stored.found.calls:
            yield watch.call(call, inputs[call.inputs]), drawn_so_far(context.device)

    def _plant(
        self,
        context: Context,
        stored: Stored,
        inputs: dict[str, Tensors],
        right: Sequence[tuple[Tensors, str]],
        kind: str,
        name: str,
        plant: Plant,
        place: int,
    ) -> bool:
        """Judge one plant and leave its row; return whether it is one."""
        try:
            series = list(self._series(context, stored, inputs, plant, place))
        except (RuntimeError, TypeError, NotImplementedError) as error:  # it is no wrong result: it cannot run at all
            context.facts.setdefault("not_planted", {})[name] = f"{type(error).__name__}: {error}"
            return False
        changed = any(differing(one, other) for (one, _), (other, _) in zip(right, series, strict=True))
        if not changed and name != "as compiled":
            return False
        row: dict[str, Any] = {"plant": name, "plant_kind": kind, "plant_place": place}
        for rules in (SCALED, DYNAMO):
            outcome = self._judged(context, stored, series, rules)
            row[f"{rules}_says"], row[f"{rules}_why"] = outcome.status, outcome.reason or None
        context.find("sensitivity", **row)
        return True

    def _judged(self, context: Context, stored: Stored, series: Sequence[tuple[Tensors, str]], rules: str) -> Outcome:
        judgement = Judgement(self.rule(context.workload, rules), stored, context)
        for place, (left, drawn) in enumerate(series):
            judgement.add(place, dict(left), drawn)
        return judgement.outcome()
