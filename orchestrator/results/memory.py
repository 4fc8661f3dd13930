"""Memory of the rounds of one workload and compiler: of torch's tensors or of the process, and of the whole device."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.results import metrics
from orchestrator.results.load import GIVEN, JobOutcome, fact, figure, is_figure, once
from orchestrator.results.rounds import figures_of, median, present

Row = dict[str, Any]
DYNAMOBENCH = "dynamobench"
"""Where an imported result has its memory from. What benchmarks/dynamo writes for CPUs is 100 times too large."""
REPEATED = ("warmup", "steady")
"""Phases in which the compiled step is called, after its first call."""
HIDDEN_BYTES, HIDDEN_SHARE = 64 * 2.0**20, 0.05
"""What a compiler may hold outside of torch's allocator more than eager does (kernels' code is there): bytes, and share
of what the job has of the device. Beyond both it is memory of its own."""


@dataclass(frozen=True)
class Memory:
    """Steady-state memory of one process, in bytes: the peak, and the share of it that the model and compiler have.

    Shares may be compared when `source` is the same. Peaks of processes may not, across launchers: a fork shares its
    server's pages. known_wrong: only the ratio of two means something, so that it is never judged between sweeps.
    """

    peak: float | None
    own: float | None
    source: str
    known_wrong: bool = False


@once
def memory_of(outcome: JobOutcome) -> Memory:
    """Read the peak of the device: the CUDA allocator's where there is one, the process's elsewhere.

    The allocator's is over warm-up and steady phase together: CUDA graphs are recorded in the one, and only replayed in
    the other, which allocates nothing.
    """
    memory = fact(outcome.facts, "memory")
    peaks = [peak for phase in REPEATED if (peak := cuda_peak(memory, phase)) is not None]
    if peaks:
        base = figure(memory, "cuda_base", "allocated")
        return Memory(max(peaks), max(peaks) - (base or 0), "CUDA allocator" + (", no base" if base is None else ""))
    peak, base = figure(memory, "phases", "steady", "peak"), figure(memory, "base")
    source = str(fact(memory, "source") or "")
    own = peak - base if peak is not None and base is not None else None
    return Memory(peak, own, source, known_wrong=source == DYNAMOBENCH)


def cuda_peak(memory: Any, phase: str) -> float | None:
    """Return the peak of a phase in bytes, as the allocator and its graph pools have it, or the allocator alone."""
    found = figure(memory, "cuda", phase, "peak")
    return figure(memory, "cuda", phase, "allocated") if found is None else found


@dataclass(frozen=True)
class DeviceMemory:
    """By how many bytes the device was fuller at the end of the steady phase than before the model existed.

    `hidden` are those of them that torch's allocator does not have. `source` is "NVML" (this process) or "mem_get_info"
    (all processes together): only figures of one source may be compared.
    """

    own: float
    hidden: float
    source: str


@once
def device_memory_of(outcome: JobOutcome) -> DeviceMemory | None:
    """Read what the driver says of the device; None on the CPU and where it says nothing."""
    memory = fact(outcome.facts, "memory")
    for key, source in (("process", "NVML"), ("device", "mem_get_info")):
        base, steady = figure(memory, "cuda_base", key), figure(memory, "cuda", "steady", key)
        before, after = figure(memory, "cuda_base", "reserved"), figure(memory, "cuda", "steady", "reserved")
        if base is not None and steady is not None and before is not None and after is not None:
            return DeviceMemory(steady - base, steady - base - (after - before), source)
    return None


def memory_row(passed: Sequence[JobOutcome], eager: Sequence[JobOutcome]) -> Row:
    """Return the columns of memory of a row from its rounds that passed, and the eager jobs of those."""
    sides = [[memory_of(outcome) for outcome in side] for side in (passed, eager)]
    peak, eager_peak = (median([m.peak for m in side if m.peak is not None]) for side in sides)
    own, eager_own = (median([m.own for m in side if m.own is not None]) for side in sides)
    on_device = [[d for outcome in side if (d := device_memory_of(outcome)) is not None] for side in (passed, eager)]
    device, eager_device = (median([d.own for d in side]) for side in on_device)
    given = median(figures_of(passed, GIVEN, "compression_ratio"))
    if given is not None:
        ratio: float | None = given
    elif hidden_bytes(passed, eager):
        ratio = _ratio(eager_device, device, [d.source for side in on_device for d in side])
    else:
        ratio = _ratio(eager_own, own, [m.source for side in sides for m in side])
    children = figures_of(passed, "memory", "children", "compile")
    host = _mib(max(figures_of(passed, "memory", "phases", "compile", "peak"), default=None))
    on_gpu = present(lambda outcome: cuda_peak(fact(outcome.facts, "memory"), "compile"), passed)
    pools = figures_of(passed, "memory", "cuda", "steady", "graph_pools")
    return {
        "peak_memory_mib": _mib(peak),
        "eager_peak_memory_mib": _mib(eager_peak),
        "compression_ratio": ratio if ratio is not None and is_figure(ratio) else None,
        "own_memory_mib": _mib(own),
        "eager_own_memory_mib": _mib(eager_own),
        "device_memory_mib": _mib(device),
        "eager_device_memory_mib": _mib(eager_device),
        "device_memory_source": ", ".join(sorted({d.source for d in on_device[0]})) or None,
        "graph_pool_memory_mib": _mib(median(pools)),
        "compile_peak_memory_mib": _mib(max(on_gpu)) if on_gpu else host,
        "compile_peak_host_memory_mib": host if on_gpu else None,
        "children_peak_memory_mib": _mib(max(children, default=None)),
        "memory_source": ", ".join(sorted({m.source for m in sides[0] if m.source})) or None,
    }


def hidden_bytes(passed: Sequence[JobOutcome], eager: Sequence[JobOutcome]) -> float | None:
    """Return how many bytes more than eager's lie outside of torch's allocator; None where that is little, or unknown.

    Then a ratio of what the allocator has would compare a part of one side with all of the other.
    """
    mine, theirs = ([d for o in side if (d := device_memory_of(o)) is not None] for side in (passed, eager))
    if not mine or not theirs or len({memory.source for memory in (*mine, *theirs)}) > 1:
        return None
    more = statistics.median(d.hidden for d in mine) - statistics.median(d.hidden for d in theirs)
    return more if more > max(HIDDEN_BYTES, HIDDEN_SHARE * statistics.median(d.own for d in mine)) else None


def grown_note(passed: Sequence[JobOutcome]) -> list[str]:
    """Return what a row has to say where the steady phase did not give back what it allocated: nothing, or one note.

    Python's collector is off meanwhile: what only it frees stays.
    """
    steady = [fact(outcome.facts, "memory", "cuda", "steady") for outcome in passed]
    ends = [(figure(levels, "start"), figure(levels, "end")) for levels in steady]
    rise = median([end - start for start, end in ends if start is not None and end is not None])
    if rise is None or rise <= HIDDEN_BYTES:
        return []
    return [f"{rise * metrics.MIB:.0f} MiB were not given back in the steady phase, in which Python's collector is off"]


def hidden_note(passed: Sequence[JobOutcome], eager: Sequence[JobOutcome]) -> list[str]:
    """Return what a row has to say of memory that torch's allocator does not know: nothing, or one note."""
    more = hidden_bytes(passed, eager)
    if more is None:
        return []
    return [f"{more * metrics.MIB:.0f} MiB lie outside of torch's allocator: the memory ratio is of device_memory_mib"]


def _ratio(eager: float | None, compiled: float | None, sources: Sequence[str]) -> float | None:
    """Return eager / compiled; None of nothing, and of figures that were not taken in the same way."""
    return eager / compiled if eager and compiled and len(set(sources)) == 1 else None


def _mib(value: float | None) -> float | None:
    return None if value is None else value * metrics.MIB
