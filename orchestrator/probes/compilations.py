"""What dynamo compiled, one record per compilation, and why it broke graphs: short enough for a table.

`orchestrator.probes.counters` has the sums. Call `forget` before the first compilation, the others after the last.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orchestrator

if TYPE_CHECKING:
    from torch._dynamo.output_graph import GraphCompileReason
    from torch._dynamo.utils import CompilationMetrics

KEPT = 100_000
"""Compilations that are remembered. torch keeps the last 64 otherwise (DEFAULT_COMPILATION_METRICS_LIMIT, 2.13)."""
LONGEST = 200
"""Characters of a reason that are kept: what tells one from another stands at the beginning."""
ENGINE = "tensorrt::execute_engine"
"""The operator by which torch_tensorrt's runtime in C++ runs an engine."""

_ADDRESS = re.compile(r" ?(at )?0x[0-9a-fA-F]{6,}")
_INSTALLED = re.compile(r"[^\s(]*/site-packages/")
_CONTEXT = re.compile(r"Developer debug context: *(.*)")
_COMPILE_ID = re.compile(r"^!?\d+/\d+(_\d+)?: ")
_LIMIT = re.compile(r"Limit type: (\w+)")
_REGION = re.compile(r"Torch-Compiled Region: (\S+)")


@dataclass(frozen=True)
class OverLimit:
    """A frame that dynamo no longer compiles: calls that none of its code fits run in eager from then on.

    frame: its number; place: "function (file.py:12)"; limit: the key of `torch._dynamo.config` that stopped it;
    guard: the one that failed last.
    """

    frame: str
    place: str
    limit: str
    guard: str


def forget() -> None:
    """Forget all compilations, graph breaks and counters so far; remember all that come."""
    import torch._dynamo.utils as dynamo

    dynamo.counters.clear()
    dynamo.graph_break_reasons.clear()
    dynamo.clear_compilation_metrics()
    dynamo.set_compilation_metrics_limit(KEPT)


def compilations() -> list[CompilationMetrics]:
    """Return torch's record of each compilation since `forget`, failed ones and backward graphs included."""
    import torch._dynamo.utils as dynamo

    return dynamo.get_compilation_metrics()


def graph_breaks() -> list[GraphCompileReason]:
    """Return reason and user stack of each graph break since `forget`."""
    import torch._dynamo.utils as dynamo

    return list(dynamo.graph_break_reasons)


def over_limit(found: Sequence[CompilationMetrics]) -> list[OverLimit]:
    """Return the frames of which one compilation more was refused, in the order in which that happened.

    torch records the refusal as a failed compilation without a function: its number tells whose it is.
    """
    frames: dict[str, OverLimit] = {}
    for one in found:
        if (limit := limit_of(one)) is not None:
            frame = frame_number(one.compile_id)
            guard = short_reason(one.recompile_reason or "")
            frames.setdefault(frame, OverLimit(frame, short_frame(one, found), limit, guard))
    return list(frames.values())


def limit_of(one: CompilationMetrics) -> str | None:
    """Return the key of `torch._dynamo.config` that refused a compilation; None for one that was none of that."""
    limit = _LIMIT.search(one.fail_reason or "")
    return limit.group(1) if limit else None


def frame_number(compile_id: str | None) -> str:
    """Return the number of the frame in a compilation's id: that of "1/8", and of its restart "1/8_1", is "1"."""
    return (compile_id or "").rpartition("/")[0].lstrip("!")


def regions(events: Iterable[Any]) -> set[str]:
    """Return the ids of the compilations whose code ran under torch's profiler."""
    return {found.group(1) for event in events if (found := _REGION.match(event.name))}


def engines(events: Iterable[Any]) -> dict[str, int]:
    """Return how many of TensorRT's engines ran under torch's profiler, and how many operators of torch's beside them.

    Operators that others call are not counted. TensorRT's runtime in Python has no operator, and is not seen.
    """
    events = list(events)
    own = [event for event in events if event.name.startswith("aten::")]
    return {
        "engines": sum(event.name == ENGINE for event in events),
        "operators_in_torch": sum(not any(map(_runs_others, callers(event))) for event in own),
    }


def _runs_others(event: Any) -> bool:
    return bool(event.name == ENGINE or event.name.startswith("aten::"))


def callers(event: Any) -> Iterator[Any]:
    """Yield the event of torch's profiler that this one ran in, that in which that ran, and so on."""
    while (event := event.cpu_parent) is not None:
        yield event


def short_reason(reason: str) -> str:
    """Return a reason of dynamo's on one line, the same for the same cause: no addresses, paths of
    this machine, hints, compile ids.

    Its messages have a title, an explanation that says the same at length, hints, and a context that names what it is
    about: title and context are kept.
    """
    text = _COMPILE_ID.sub("", _INSTALLED.sub("", _ADDRESS.sub("", reason.strip())))
    title = text.splitlines()[0].strip() if text else "no reason was given"
    context = _CONTEXT.search(text)
    named = " ".join(context.group(1).split()) if context else ""
    return (f"{title} ({named})" if named else title)[:LONGEST]


def short_stack(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return "file.py:12 < caller.py:34", innermost first, of the frames in the model's code: not torch's, not ours."""
    import torch

    chain = list(frames)
    others = tuple(str(Path(str(module.__file__)).parent) for module in (torch, orchestrator))
    own = [frame for frame in chain if not frame.filename.startswith(others)] or chain[-1:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(own))


def short_frame(compilation: CompilationMetrics, found: Sequence[CompilationMetrics] = ()) -> str:
    """Return "function (file.py:12)" of the frame that was compiled; of a refused one, as others of `found` name it."""
    if compilation.co_name is None:
        frame = frame_number(compilation.compile_id)
        same = (one for one in found if one.co_name and frame_number(one.compile_id) == frame)
        compilation = next(same, compilation)
    return f"{compilation.co_name} ({Path(compilation.co_filename or '?').name}:{compilation.co_firstlineno})"


def short_place(compilation: CompilationMetrics, found: Sequence[CompilationMetrics] = ()) -> str:
    """Return "file.py:12" of the line at which a compilation failed, or the frame where torch names no line."""
    if compilation.fail_user_frame_filename is None:
        return short_frame(compilation, found)
    return f"{Path(compilation.fail_user_frame_filename).name}:{compilation.fail_user_frame_lineno}"
