"""The reference of a workload: what eager computes in the dtype asked for (twice), and in float64.

Computed once per workload, for a series of calls (`orchestrator.measures.calls`); the accuracy jobs of all compilers
read its tensors. Two eager runs that differ leave no stable reference; a float64 run that fails (memory, an operator
without float64) leaves the reference without it, and the record says why. A model that draws random numbers is run once
more from another seed: what differs then is random, and float64, which draws others, says nothing about it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import precision
from orchestrator.errors import in_one_line, is_out_of_memory
from orchestrator.measures.calls import (
    FIRST,
    Call,
    Tensors,
    Watch,
    drawn_so_far,
    fresh_inputs,
    inputs_of,
    series,
    unchanged,
)
from orchestrator.measures.compare import differing, roundoff
from orchestrator.measures.context import Context, seed_all
from orchestrator.measures.eager import really_eager
from orchestrator.measures.scaled import FLOAT32_ROUNDOFF
from orchestrator.measures.tensorfiles import Tensorfiles
from orchestrator.plugins import Observing, Outcome, Program, Unsupported
from orchestrator.precision import computed_in
from orchestrator.probes.observed import left_out
from orchestrator.records import EAGER_TWO_RUNS_DIFFER, PASS, REFERENCE_KIND

if TYPE_CHECKING:
    import torch

EAGER, FLOAT64 = "eager", "fp64"
RECORD = "reference.json"
OTHER_SEED = 1_000_003
IN_FLOAT32 = "float32: "
"""Begins `Found.fp64` where an operator has no float64, and float32 arbitrates on results of lower precision."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the reference job found out; `reference.json`, beside its tensors.

    fp64: "ok", or why there is none; "float32: " before the reason where float32 stands in. random: names of tensors
    that another seed changes. drawn: after each call a digest of the generators' states. nondeterministic: the operator
    because of which torch was not held to deterministic algorithms. not_compared: outputs that hold no numbers.
    compiles_itself: the model calls torch.compile (not here: all ran in eager). calls_left_out: other inputs that eager
    cannot do, and why. same_inputs: no others than the first could be found. names: of the tensors of each call.
    """

    calls: list[Call]
    fp64: str = "ok"
    random: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    nondeterministic: str | None = None
    not_compared: list[str] = field(default_factory=list)
    compiles_itself: bool = False
    calls_left_out: str | None = None
    same_inputs: bool = False
    names: list[list[str]] = field(default_factory=list)

    @property
    def has_arbiter(self) -> bool:
        return self.fp64 == "ok" or self.fp64.startswith(IN_FLOAT32)


@dataclass(frozen=True)
class Reference:
    """Writes its tensors and `reference.json` into the job's reference folder. calls: see `calls.series`."""

    kind: ClassVar[str] = REFERENCE_KIND
    PRELOAD: ClassVar[tuple[str, ...]] = (
        "torch._dynamo",  # what really_eager and make_deterministic make torch import: 1.5 s
        "torch._inductor.config",
    )

    calls: int | None = None

    def run(self, context: Context) -> Outcome:
        """Two runs of the series in eager, one in float64, and where the model draws numbers one from another seed."""
        context.reference.mkdir(parents=True, exist_ok=True)
        try:
            return self._run(context, None)
        except RuntimeError as error:
            if (operator := not_deterministic(error)) is None:
                raise
        return self._run(context, operator)

    def _run(self, context: Context, nondeterministic: str | None) -> Outcome:
        make_deterministic(strict=nondeterministic is None)
        precision.use(context.workload, judged=True)
        with really_eager() as noticed:
            with context.phase("eager_1st_run"):
                found, inputs = self._first(context)
            found = replace(found, nondeterministic=nondeterministic)
            with context.phase("fp64_run"):
                found = replace(found, fp64=_arbiter(context, found.calls))
            with context.phase("eager_2nd_run"):
                unstable = _differing(context, found, inputs)
            if found.random:
                with context.phase("eager_other_seed"):
                    found = replace(found, random=_random(context, found, inputs))
        found = replace(found, compiles_itself=noticed.compiled)
        context.facts |= {key: value for key, value in asdict(found).items() if value and key not in ("names", "drawn")}
        if unstable:
            context.facts["differing"] = unstable
            names = ", ".join(record["name"] for record in unstable[:3])
            return Outcome(EAGER_TWO_RUNS_DIFFER, f"{len(unstable)} of {len(found.names[0])} tensors differ: {names}")
        (context.reference / RECORD).write_text(json.dumps(asdict(found)))
        return Outcome(PASS)

    def _first(self, context: Context) -> tuple[Found, Mapping[str, Tensors]]:
        """Run and store the series. A call with other inputs than the first that eager cannot do is left out of it."""
        program = context.build(dropout=False)
        calls, why = self._calls(context, program)
        first = program.inputs
        del program  # used up: one model in memory at a time
        inputs = inputs_of(first, calls, fresh_inputs(context, calls))
        program = context.build(dropout=False)
        while True:
            try:
                found = _stored(context, program, calls, inputs, why)
                same = all(unchanged(one, given[name]) for given in inputs.values() for name, one in first.items())
                return replace(found, same_inputs=same and len(calls) > 1), inputs
            except _CallFailed as failed:
                lasting = is_out_of_memory(failed.error) or not_deterministic(failed.error) is not None
                if failed.call.inputs == FIRST or lasting:
                    raise failed.error from None
                why = f"{failed.call.inputs}: {in_one_line(failed.error)}"
                calls = [call for call in calls if call.inputs != failed.call.inputs]
                program = context.build(dropout=False)

    def _calls(self, context: Context, program: Program) -> tuple[list[Call], str | None]:
        """Return the series: the usual one, and, where a branch depends on the data, a call that takes another one; and
        why no such call could be looked for."""
        from orchestrator.measures.paths import other_path

        calls = series(program.inputs, self.calls, context.workload.seed)
        calls = context.group.agreed(calls)
        if self.calls is not None or isinstance(context.mode, Observing) or context.group.wraps:
            return calls, None
        try:
            other = other_path(context, program, calls)
        except Exception as error:  # noqa: BLE001 - it cannot be watched so, or run with other inputs: told
            return calls, f"those that take another path: {in_one_line(error)}"
        return (calls if other is None else [*calls[:-1], other, calls[-1]]), None


class _CallFailed(Exception):
    def __init__(self, call: Call, error: Exception) -> None:
        super().__init__(str(error))
        self.call, self.error = call, error


def _stored(
    context: Context, program: Program, calls: list[Call], inputs: Mapping[str, Tensors], why: str | None
) -> Found:
    """Make the calls, store what they leave, and return what is known of them; `random` says only whether numbers were
    drawn. Raises _CallFailed."""
    ignored: dict[str, None] = {}
    hook = program.model.register_forward_hook(
        lambda _model, _inputs, outputs: ignored.update(dict.fromkeys(left_out(outputs)))
    )
    store = Tensorfiles(context.reference, EAGER, calls)
    drawn, names, random = [], [], False
    watch = Watch(context, program, program.model)
    for place, call in enumerate(calls):
        seed_all(call.seed)
        before = drawn_so_far(context.device)
        try:
            left = _left(context, watch, program, call, inputs)
        except Exception as error:
            raise _CallFailed(call, error) from error
        drawn.append(drawn_so_far(context.device))
        random = random or drawn[-1] != before
        if place == len(calls) - 1:
            hook.remove()
            left |= watch.last()
        store.write(place, left)
        names.append(list(left))
        del left  # before the next call makes its own
    return Found(
        calls=calls,
        drawn=drawn,
        names=names,
        not_compared=list(ignored),
        calls_left_out=why,
        random=["?"] if random else [],
    )


def _arbiter(context: Context, calls: list[Call]) -> str:
    """Run the series in float64, or where that fails and is worth it in float32, and store it; return `Found.fp64`."""
    why = _in(context, calls, "float64")
    if why == "ok" or roundoff(computed_in(context.workload)) <= FLOAT32_ROUNDOFF:
        return why
    return f"{IN_FLOAT32}{why}" if _in(context, calls, "float32") == "ok" else why


def _in(context: Context, calls: list[Call], dtype: str) -> str:
    """Run the series in a dtype and store it; return "ok", or why that could not be done."""
    import torch

    store = Tensorfiles(context.reference, FLOAT64, calls)
    try:
        fresh = fresh_inputs(context, calls, dtype)
        program = context.build(dropout=False, dtype=dtype)
        inputs = inputs_of(program.inputs, calls, fresh)
        watch = Watch(context, program, program.model, replace(context.workload, dtype=dtype))
        for place, call in enumerate(calls):
            left = _left(context, watch, program, call, inputs)
            store.write(place, left | (watch.last() if call is calls[-1] else {}))
    except (RuntimeError, MemoryError, NotImplementedError, TypeError, ValueError, Unsupported) as error:
        if not_deterministic(error) is not None:
            raise
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        store.remove()
        return in_one_line(error)
    return "ok"


def _differing(context: Context, found: Found, inputs: Mapping[str, Tensors]) -> list[dict[str, Any]]:
    """Run the series once more; return a record of each tensor that is not the same to the bit."""
    unstable: dict[str, dict[str, Any]] = {}
    program = context.build(dropout=False)
    watch, store = Watch(context, program, program.model), Tensorfiles(context.reference, EAGER, found.calls)
    for place, call in enumerate(found.calls):
        left = _left(context, watch, program, call, inputs)
        if place == len(found.calls) - 1:
            left |= watch.last()
        for record in differing(store.read(place, found.names[place]), left):
            unstable.setdefault(record["name"], record | {"call": place})
        del left
    return list(unstable.values())


def _random(context: Context, found: Found, inputs: Mapping[str, Tensors]) -> list[str]:
    """Return the names of the tensors that another seed changes, in the first call."""
    program = context.build(dropout=False)
    call = replace(found.calls[0], seed=found.calls[0].seed + OTHER_SEED)
    left = _left(context, Watch(context, program, program.model), program, call, inputs)
    known = Tensorfiles(context.reference, EAGER, found.calls).read(
        0, [name for name in found.names[0] if name in left]
    )
    return [record["name"] for record in differing(known, {name: left[name] for name in known})]


def _left(
    context: Context, watch: Watch, program: Program, call: Call, inputs: Mapping[str, Tensors]
) -> dict[str, torch.Tensor]:
    """Return what a call leaves; of several ranks, what it has to leave where they work together."""
    training = context.mode.training
    return dict(context.group.averaged(program.model, training, lambda: watch.call(call, inputs[call.inputs])))


def make_deterministic(*, strict: bool = False) -> None:
    """Ask torch for deterministic algorithms and exact matrix products.

    strict: an operator that has no deterministic algorithm raises; else it warns. Not being strict costs more than
    that: fused attention then keeps its backward pass, which is not deterministic. What cuBLAS needs is in the job's
    environment (`execution/environment.py`): it reads it only once.
    """
    import torch

    torch.use_deterministic_algorithms(True, warn_only=not strict)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def not_deterministic(error: Exception) -> str | None:
    """Return the operator that torch refuses under `use_deterministic_algorithms(True)`; None of another error."""
    operator, said, _ = str(error).partition("does not have a deterministic implementation")
    return operator.strip() if said else None


def load(folder: Path) -> Found:
    """Read `reference.json`. Raises OSError, or ValueError for a file that was cut short."""
    found = json.loads((folder / RECORD).read_text())
    return Found(**(found | {"calls": [Call(**call) for call in found["calls"]]}))
