"""The series of calls on the code that was timed: what is quoted as fast is what is judged.

A performance job makes the calls that its workload's reference made (`orchestrator.measures.calls`) with the very
callable that it has timed, after all timing, and leaves what they left beside its result. The accuracy job compares
that, and compiles nothing. What breaks only later than in a first call (a CUDA graph that is replayed, an input that is
stale, a guard that is missing) has had hundreds of calls in which to break. What breaks in the first call only, the one
that compiled, is seen too: its outputs are kept, and are those of the series' first call.

Where the callable cannot be asked so, the accuracy job compiles a twin: the same model once more, in its own process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import in_one_line
from orchestrator.files import write_text
from orchestrator.measures.calls import Watch, drawn_so_far, fresh_inputs, inputs_of
from orchestrator.measures.context import Context
from orchestrator.measures.reference import Found, load
from orchestrator.measures.tensorfiles import Tensorfiles
from orchestrator.plugins import Forward, Program
from orchestrator.precision import computed_in
from orchestrator.probes.compilations import compilations
from orchestrator.probes.observed import named_outputs
from orchestrator.store import SERIES

if TYPE_CHECKING:
    import torch

KIND = "timed"
OF_STATE = ("buffer.", "parameter.")


def keep_first_call(context: Context, outputs: Any) -> list[str] | None:
    """Keep the outputs of the very first call, which compiled, as what the series' first call left; return their names.

    None, and nothing kept, where no reference waits for them, where a step returns other things than the mode observes
    (`Mode.observes_step`), and where that call leaves more than outputs: the series then has a first call of its own,
    after all timing, and tells what goes wrong in it.
    """
    for folder in () if context.group.wraps else context.references:
        try:
            found = load(folder)
        except (OSError, ValueError, TypeError):
            continue  # `make_series` tells
        if len(found.calls) < 2 or found.random or not getattr(context.mode, "observes_step", False):
            continue
        if not all(name.startswith("output") for name in found.names[0]):
            continue
        try:
            left = named_outputs(outputs)
            context.reference.mkdir(parents=True, exist_ok=True)
            Tensorfiles(context.reference, KIND, found.calls).write(0, left)
        except Exception as error:  # noqa: BLE001 - told; the timing that follows is no worse for it
            context.facts["first_call_not_kept"] = in_one_line(error)
            continue
        return list(left)
    return None


def make_series(context: Context, program: Program, forward: Forward, first: list[str] | None = None) -> None:
    """Make the reference's series of calls with `forward`, which was timed, and leave what each call left.

    `first`: what `keep_first_call` returned; then the first call has been made.
    Nothing where no reference waits for it. The facts have under `series` how many calls were made, or why there are
    none that count: then the accuracy job compiles a twin. An error is such a reason, and no failure of what was timed:
    in the twin it will be one of its own. So is code that was compiled for these calls: it was not timed.
    """
    for folder in context.references:
        try:
            found = load(folder)
        except (OSError, ValueError, TypeError):
            context.facts["series"] = {"why_not": "the reference has not been made"}
            continue
        why = _why_not(context, program, found)
        if why is None:
            try:
                context.facts["series"] = _made(context, program, forward, found, first)
                continue
            except Exception as error:  # noqa: BLE001 - told, and found again in the twin
                why = in_one_line(error)
        context.facts["series"] = {"why_not": why}


def timed_series(folder: Path | None, found: Found) -> Iterator[tuple[int, dict[str, torch.Tensor], str]] | None:
    """Return what the timed code left: number, tensors by name, and digest of the generators, call by call.

    None where it left nothing, or not for this series: `folder` is that of the performance job, None without one.
    """
    record = _record(folder)
    if folder is None or record is None or record["calls"] != _named(found):
        return None
    files = Tensorfiles(folder, KIND, found.calls)
    if not files.exists():
        return None
    return (
        (place, dict(files.read(place, names)), drawn)
        for place, (names, drawn) in enumerate(zip(record["names"], record["drawn"], strict=True))
    )


def _why_not(context: Context, program: Program, found: Found) -> str | None:
    """Return why the timed callable cannot be compared with what the reference found; None where it can."""
    if context.group.wraps:
        return "it is of several ranks"
    if context.mode.training:
        return "it has been trained, with dropout"
    if found.random:
        return "it draws random numbers, and those of eager only where it is compiled for that"
    if any(name.startswith(OF_STATE) for names in found.names for name in names):
        return "its calls change its state, and it has been called"
    if _rounds_otherwise(context, program):
        return "its convolutions are timed in TF32, and judged in float32 (precision=ieee times them so too)"
    return None


def _rounds_otherwise(context: Context, program: Program) -> bool:
    """Return whether cuDNN rounds the inputs of convolutions where the reference does not."""
    import torch

    if context.device.type != "cuda" or not torch.backends.cudnn.allow_tf32:
        return False
    convolutions = any(isinstance(module, torch.nn.modules.conv._ConvNd) for module in program.model.modules())
    return convolutions and computed_in(context.workload) == "float32"


def _made(
    context: Context, program: Program, forward: Forward, found: Found, first: list[str] | None
) -> dict[str, Any]:
    """Make the calls and store them; return the facts."""
    before = _compilations(context)
    names, drawn = [], []
    with context.phase("series"):
        fresh = fresh_inputs(context, found.calls)
        inputs = inputs_of(program.inputs, found.calls, fresh)
        watch = Watch(context, program, forward)
        context.reference.mkdir(parents=True, exist_ok=True)
        store = Tensorfiles(context.reference, KIND, found.calls)
        if first is not None:
            names, drawn = [first], [found.drawn[0]]
        for place, call in list(enumerate(found.calls))[len(names) :]:
            left = watch.call(call, inputs[call.inputs])
            drawn.append(drawn_so_far(context.device))
            if place == len(found.calls) - 1:
                left |= watch.last()
            store.write(place, left)
            names.append(list(left))
            del left  # before the next call makes its own
    if more := _compilations(context) - before:
        return {"why_not": f"other inputs made it compile {more} graph{'s' * (more > 1)} more"}
    record = {"calls": _named(found), "names": names, "drawn": drawn}
    write_text(context.reference / SERIES, json.dumps(record))  # the last: without it there is no series
    return {"calls": len(names)}


def _compilations(context: Context) -> int:
    return 0 if context.is_eager else len(compilations())


def _named(found: Found) -> list[list[Any]]:
    return [[call.inputs, call.seed] for call in found.calls]


def _record(folder: Path | None) -> dict[str, Any] | None:
    """Return what the timed job says of its series; None where it made none, or it was cut short."""
    if folder is None:
        return None
    try:
        record = json.loads((folder / SERIES).read_text())
        return record if {"calls", "names", "drawn"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None
