"""How sure is the judge? Faults and honest variations are planted into a model, and each is judged by both sets of
rules.

Mutation testing of `orchestrator.measures.accuracy`: everything but the plant is what an accuracy job does, the
reference's series of calls included. A plant that changes nothing to the bit (there is no buffer to lose) is none, and
has no row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import Derived, Rows, TableSpec
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

PLANT = columns.text("plant", "what was planted: a fault, or an honest variation")
PLANT_KIND = columns.text("plant_kind", "fault (must be found) or honest (must pass)")
PLANTS = columns.count("plants", "faults that were planted")


def by_rules(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield per dtype and mode which share of planted faults each set of rules finds, and of variations it accuses."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("plant") is not None:
            groups[_precision(row), row["mode"]].append(row)
    for (dtype, mode), found in sorted(groups.items()):
        faults, honest = ([row for row in found if row["plant_kind"] == kind] for kind in ("fault", "honest"))
        yield {
            "dtype": dtype,
            "mode": mode,
            "models": len({(row["suite"], row["model"]) for row in found}),
            "plants": len(faults),
            "found_scaled_percent": _share(faults, "scaled_says"),
            "found_dynamo_percent": _share(faults, "dynamo_says"),
            "honest": len(honest),
            "accused_scaled_percent": _share(honest, "scaled_says"),
            "accused_dynamo_percent": _share(honest, "dynamo_says"),
        }


def misjudged(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield, per plant, in how many models our rules say the wrong thing, and in which; the most frequent first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("plant") is not None:
            groups[row["plant"], row["plant_kind"]].append(row)
    found: list[dict[str, Any]] = []
    for (plant, kind), planted in groups.items():
        wrong = [row for row in planted if (row["scaled_says"] == PASS) != (kind == "honest")]
        places: dict[str, int] = defaultdict(int)
        for row in wrong:
            places[f"{row['model']} {_precision(row)} {row['mode']}"] += 1
        where = ", ".join(f"{place} ({count})" if count > 1 else place for place, count in places.items())
        found.append(
            {"plant": plant, "plant_kind": kind, "plants": len(planted), "misjudged": len(wrong), "where": where}
        )
    yield from sorted((row for row in found if row["misjudged"]), key=lambda row: (-row["misjudged"], row["plant"]))


def _precision(row: dict[str, Any]) -> str:
    """Return the dtype, and the quantisation where there is one."""
    quantization = row["compiler"].partition("+")[2]
    return f"{row['dtype']} {quantization}" if quantization else str(row["dtype"])


def _share(rows: Rows, column: str) -> float | None:
    """Return how many of the rows, in %, a set of rules does not let pass."""
    return 100 * sum(row[column] != PASS for row in rows) / len(rows) if rows else None


@dataclass(frozen=True)
class Sensitivity(Strictness):
    """Leaves the table `sensitivity`, one row per plant. places: of each fault, in different tensors, elements and
    layers.

    faults: names of `orchestrator.measures.plants.FAULTS`; none: all of them. calls: see `calls.series`.
    """

    kind: ClassVar[str] = JUDGED
    PRELOAD: ClassVar[tuple[str, ...]] = Accuracy.PRELOAD
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "sensitivity": TableSpec(
            (
                PLANT,
                PLANT_KIND,
                columns.count("plant_place", "which tensor, element or layer: the number that they are drawn from"),
                columns.text("scaled_says", "status of the plant by our rules"),
                columns.text("dynamo_says", "status of the plant by the rules of torch._dynamo.utils.same"),
                columns.text("scaled_why", "what our rules say of it"),
            ),
            over_the_sweep={
                "sensitivity_shares": Derived(
                    (
                        "dtype",
                        "mode",
                        "models",
                        PLANTS,
                        columns.percent("found_scaled_percent", "faults that our rules find", "higher"),
                        columns.percent("found_dynamo_percent", "faults that dynamo's rules find", "higher"),
                        columns.count("honest", "honest variations that were planted"),
                        columns.percent(
                            "accused_scaled_percent", "honest variations that our rules do not let pass", "lower"
                        ),
                        columns.percent(
                            "accused_dynamo_percent", "honest variations that dynamo's rules do not let pass", "lower"
                        ),
                    ),
                    by_rules,
                ),
                "sensitivity_misses": Derived(
                    (
                        PLANT,
                        PLANT_KIND,
                        PLANTS,
                        columns.count(
                            "misjudged",
                            "faults that our rules let pass, or honest variations that they do not",
                            "lower",
                        ),
                        columns.text("where", "model, dtype and mode of those"),
                    ),
                    misjudged,
                ),
            },
        ),
    }

    calls: int | None = None
    places: int = 3
    faults: Sequence[str] = ()

    def run(self, context: Context) -> Outcome:
        from orchestrator.measures.plants import FAULTS, ONCE
        from orchestrator.measures.variations import VARIATIONS

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
                try:
                    series = list(self._series(context, stored, inputs, plant, place))
                except (RuntimeError, TypeError, NotImplementedError) as error:  # no wrong result: it cannot run at all
                    context.facts.setdefault("not_planted", {})[name] = f"{type(error).__name__}: {error}"
                    continue
                changed = any(differing(one, other) for (one, _), (other, _) in zip(right, series, strict=True))
                if changed or name == "as compiled":
                    count += 1
                    ours, dynamos = (self._judged(context, stored, series, rules) for rules in (SCALED, DYNAMO))
                    context.find(
                        "sensitivity",
                        plant=name,
                        plant_kind=kind,
                        plant_place=place,
                        scaled_says=ours.status,
                        dynamo_says=dynamos.status,
                        scaled_why=ours.reason or None,
                    )
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

    def _judged(self, context: Context, stored: Stored, series: Sequence[tuple[Tensors, str]], rules: str) -> Outcome:
        judgement = Judgement(self.rule(context.workload, rules), stored, context)
        for place, (left, drawn) in enumerate(series):
            judgement.add(place, dict(left), drawn)
        return judgement.outcome()
