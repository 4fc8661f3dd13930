"""Are the compiled model's outputs, loss, gradients, and all that it changes, right?

The code that was timed, where it made the calls (`orchestrator.measures.timed_series`), else a twin of it.
The series of calls that the reference made (`orchestrator.measures.calls`), dropout off, from the same seeds; compared
before any optimizer step, call by call and tensor by tensor (`orchestrator.measures.compare`). Of every tensor the
numbers of its worst call are kept, whether it passed or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import precision
from orchestrator.errors import is_out_of_memory
from orchestrator.measures import outputs
from orchestrator.measures.calls import Watch, drawn_so_far, fresh_inputs, inputs_of
from orchestrator.measures.compare import DYNAMO, SCALED, Record, Rule, Rules, Strictness, compare
from orchestrator.measures.context import Context
from orchestrator.measures.eager import really_eager
from orchestrator.measures.reference import (
    EAGER,
    FLOAT64,
    IN_FLOAT32,
    Found,
    Reference,
    load,
    make_deterministic,
    not_deterministic,
)
from orchestrator.measures.tensorfiles import Tensorfiles
from orchestrator.measures.timed_series import timed_series
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, facts_of
from orchestrator.probes import counters
from orchestrator.records import COMPARISON_ERROR, FAIL_ACCURACY, INFRASTRUCTURE, JUDGED, PASS, RANDOM, TIMED_CODE, TWIN
from orchestrator.store import OUTPUTS
from orchestrator.words import some

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Accuracy(Strictness):
    """calls: see `calls.series`.

    rules: "scaled", or "dynamo": those of PyTorch's dashboard, on outputs, loss, gradients and, in training, buffers of
    the first call. There NaN where eager has NaN counts as equal in every dtype but float32, as in PyTorch's
    benchmarks.
    """

    kind: ClassVar[str] = JUDGED
    keeps_outputs: ClassVar[bool] = True
    several_ranks: ClassVar[bool] = True
    PRELOAD: ClassVar[tuple[str, ...]] = Reference.PRELOAD

    rules: Rules = SCALED
    calls: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_1(self, "calls")

    def run(self, context: Context) -> Outcome:
        rule = self.rule(context.workload, self.rules)
        stored = Stored.of(context)
        if isinstance(stored, Outcome):
            return stored
        judgement = Judgement(rule, stored, context)
        job = context.job
        kept = outputs.of_job(context.folder / OUTPUTS, job.keep_outputs, job.compare_outputs, stored.found.calls)
        context.facts["accuracy"] = judgement.facts
        calls = timed_series(context.timed, stored.found)
        judgement.facts["judged"] = TWIN if calls is None else TIMED_CODE
        if calls is None:
            twin = observe_compiled(context, stored.found)
            calls = ((place, left, drawn_so_far(context.device)) for place, left in twin)
            if context.group.wraps:  # one that cannot be compared must not keep the others waiting for its next call
                calls = iter(list(calls))
        try:
            for place, left, drawn in calls:
                with context.phase("compare"):
                    judgement.add(place, left, drawn)
                    if kept is not None:
                        kept.add(place, left, stored.eager.read(place, stored.found.names[place]))
        except NotComparable as error:
            return Outcome(COMPARISON_ERROR, str(error))
        except Unreadable as error:
            return Outcome(INFRASTRUCTURE, str(error))
        if kept is not None:
            _tell_outputs(context, kept, judgement.facts["judged"])
        return judgement.outcome()


def _tell_outputs(context: Context, kept: outputs.Outputs, judged: str) -> None:
    """Finish what was kept; what was compared is a row of a table of its own, and in short a fact."""
    import torch

    if (row := kept.finish(judged, torch.__version__)) is not None:
        context.facts["accuracy"]["outputs"] = row["outputs"]
        context.find_asked(outputs.TABLE, outputs.SPEC, **row)


class NotComparable(Exception):
    """What prevents a comparison; it is reported as such, never as wrong."""


class Unreadable(Exception):
    """The reference's tensors were removed, or cut short: the next run makes them anew."""


@dataclass(frozen=True)
class Stored:
    """What the reference job left for a judged one."""

    found: Found
    eager: Tensorfiles
    float64: Tensorfiles | None

    @classmethod
    def of(cls, context: Context) -> Stored | Outcome:
        """Read it; what was removed, or cut short, the next run makes anew: the outcome then."""
        (folder,) = context.references
        try:
            found = load(folder)
            eager, float64 = (Tensorfiles(folder, kind, found.calls) for kind in (EAGER, FLOAT64))
            if not eager.exists():
                raise FileNotFoundError(f"{folder} has no tensors of {EAGER}")
        except (OSError, ValueError, TypeError, KeyError) as error:
            return Outcome(INFRASTRUCTURE, f"the reference cannot be read: {type(error).__name__}: {error}")
        return cls(found, eager, float64 if found.has_arbiter else None)


class Judgement:
    """The comparison of a series, as it grows. `facts` go into the result."""

    def __init__(self, rule: Rule, stored: Stored, context: Context) -> None:
        self._rule, self._stored, self._training = rule, stored, context.mode.training
        self._owns_state = bool(getattr(context.compiler, "owns_state", False))
        self._not_judged: str = getattr(context.mode, "not_judged", "")
        self._worst: dict[str, Record] = {}
        self._same_stream = True
        found = stored.found
        self.facts: dict[str, Any] = {
            **asdict(rule),
            "fp64": found.fp64,
            "calls": [call.inputs for call in found.calls][: 1 if rule.rules == DYNAMO else None],
            "tensors": [],
            "weaker": [],
        }

    def add(self, place: int, left: dict[str, torch.Tensor], drawn: str) -> None:
        """Compare what one call left; `drawn`: the digest of the generators after it. Raises NotComparable."""
        from safetensors import SafetensorError

        stored, found = self._stored, self._stored.found
        if self._rule.rules == DYNAMO and place:
            return
        names = [name for name in found.names[place] if not (self._owns_state and name.startswith("buffer."))]
        if self._rule.rules == DYNAMO:
            names = [name for name in names if self._of_dashboard(name)]
            left = {name: tensor for name, tensor in left.items() if self._of_dashboard(name)}
        reference = stored.eager.read(place, names)
        fp64 = None if stored.float64 is None else stored.float64.read(place, list({**dict.fromkeys(names), **left}))
        try:
            records = compare(reference, left, fp64, self._rule, found.random)
        except (OSError, SafetensorError) as error:
            raise Unreadable(f"the tensors of the reference cannot be read: {error}") from error
        except (RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise NotComparable(f"{type(error).__name__}: {error}") from error
        self._same_stream &= drawn == found.drawn[place]
        for record in records:
            record["call"] = place
            known = self._worst.get(record["name"])
            if known is None or _badness(record) > _badness(known):
                self._worst[record["name"]] = record
        self.facts["tensors"] = list(self._worst.values())
        self.facts["weaker"] = self._weaker()

    def _of_dashboard(self, name: str) -> bool:
        return name.startswith(("output", "loss", "grad.", "updated.")) or (
            name.startswith("buffer.") and self._training
        )

    def _weaker(self) -> list[str]:
        """Return what was judged by weaker rules than the others, or not at all, each with the reason."""
        found = self._stored.found
        stored_why = None if found.has_arbiter else found.fp64
        reasons: dict[str, list[str]] = {}
        for record in self._worst.values():
            arbiter = record.get("arbiter")
            if isinstance(arbiter, str) and arbiter.startswith("eager: "):
                reasons.setdefault(arbiter.removeprefix("eager: "), []).append(record["name"])
        without = "" if stored_why is None else f" ({stored_why})"
        words = [f"{some(names, 3)}: {reason}{without}" for reason, names in reasons.items()]
        if found.fp64.startswith(IN_FLOAT32):
            words.append(f"float32 stands in for float64 ({found.fp64.removeprefix(IN_FLOAT32)})")
        if found.same_inputs:
            words.append(
                "every call had the same inputs: they do not depend on the seed, and no floating one can be changed"
            )
        words += [f"not compared: {some(found.not_compared, 3)}"] if found.not_compared else []
        if self._owns_state and any(name.startswith("buffer.") for names in found.names for name in names):
            words.append("buffers: the compiled code keeps its own, which cannot be read")
        words += [f"not judged: {self._not_judged}"] if self._not_judged else []
        words += [f"calls left out, which eager cannot do: {found.calls_left_out}"] if found.calls_left_out else []
        return words

    def outcome(self) -> Outcome:
        """Return the verdict on the whole series."""
        tensors = list(self._worst.values())
        wrong = [record for record in tensors if record["passed"] is False]
        unsure = [record for record in tensors if record["passed"] is None]
        if not any(record["name"].startswith(("output", "loss", "grad.")) for record in tensors):
            return Outcome(COMPARISON_ERROR, "there is nothing to compare: the model returned no tensor")
        random = set(self._stored.found.random)
        if wrong and not self._same_stream and all(record["name"] in random for record in wrong):
            names = some((record["name"] for record in wrong), 3)
            return Outcome(
                RANDOM, f"cannot be judged: {names}: random, and this compiler draws other numbers than eager"
            )
        if wrong:
            return Outcome(FAIL_ACCURACY, self._reason(wrong))
        if unsure:
            return Outcome(COMPARISON_ERROR, f"{unsure[0]['name']} {unsure[0]['why']}")
        return Outcome(PASS)

    def _reason(self, wrong: Sequence[Record]) -> str:
        first = wrong[0]
        calls = self.facts["calls"]
        where = f" in call {first['call'] + 1} of {len(calls)} ({calls[first['call']]} inputs)" if first["call"] else ""
        if first.get("why"):
            detail = first["why"]
        else:
            detail = f"max error {first['max_abs_error']}, RMSE {first['rmse']} over the limit {first['limit']}"
            detail += (
                f" (rule {first['rule']}, cosine {first['cosine']})" if first["rule"] not in ("rmse", "nan") else ""
            )
        return f"{len(wrong)} of {len(self._worst)} tensors are wrong, first {first['name']}{where}: {detail}"


def observe_compiled(context: Context, found: Found) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    """Build and compile the model without dropout; make the calls of the reference, and yield what each left, on the
    CPU.

    Where the model draws random numbers inductor draws them as eager does (`fallback_random`). An operator without a
    deterministic algorithm, which only the compiled model has, lets it begin anew without asking for such.
    """
    made = False
    strict = found.nondeterministic is None
    try:
        for place, left in _observe(context, found, strict=strict):
            yield place, left
            made = True
        return
    except RuntimeError as error:
        if not strict or made or (operator := not_deterministic(error)) is None:
            raise
        context.facts["nondeterministic"] = operator
    import torch

    torch.compiler.reset()
    yield from _observe(context, found, strict=False)


def _observe(context: Context, found: Found, *, strict: bool) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
    if context.timed is None or context.device.type != "cpu":  # a twin of timed code is compiled as that was
        make_deterministic(strict=strict)
    precision.use(context.workload, judged=True)
    if not context.is_eager:
        counters.reset()
    if found.random:
        from torch._inductor import config as inductor

        inductor.fallback_random = True
        context.facts["fallback_random"] = True
    with context.phase("build"):
        fresh = fresh_inputs(context, found.calls)
        program = context.build(dropout=False)
        inputs = inputs_of(program.inputs, found.calls, fresh)
    context.seed()
    for place, call in enumerate(found.calls):
        phase = context.phase("compile", children=not context.is_eager) if place == 0 else context.phase("calls")
        with phase, really_eager() if context.is_eager else nullcontext():
            if place == 0:
                forward = context.compile(program)
                watch = Watch(context, program, forward)
            left = watch.call(call, inputs[call.inputs])
            if place == len(found.calls) - 1:
                left |= watch.last()
        if facts_of(forward):
            context.facts["compiled"] = dict(facts_of(forward))
        if not context.is_eager:
            context.facts.update(counters.read())
        yield place, left


def _badness(record: Record) -> tuple[int, float]:
    """Order the records of one tensor in several calls: wrong, not judged, passed; those by how near to the limit."""
    verdict = {False: 2, None: 1, True: 0}[record["passed"]]
    rmse, limit = record.get("rmse"), record.get("limit")
    if verdict == 0 and isinstance(rmse, float) and isinstance(limit, float) and limit > 0:
        return verdict, rmse / limit
    return verdict, 0.0
