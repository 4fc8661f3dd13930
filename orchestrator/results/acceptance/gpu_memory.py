"""The GPU acceptance run: memory (checks 9 to 13, and 22)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.records import HARMLESS, OUT_OF_MEMORY, PASS
from orchestrator.results.acceptance.checks import ANOTHER, Seen, about, in_range
from orchestrator.results.acceptance.self_test import Check, ended, risen
from orchestrator.results.load import JobOutcome, figure, items
from orchestrator.results.metrics import MIB
from orchestrator.statistics import UNPAIRED

EXACT_MIB = 1.0
DEVICE_MIB = 4.0
LARGEST = (18.0, 19.0)  # samples of 1 GiB in 20 GiB: a library's workspace takes a part of the last one or two
DEVICE_BYTES = ("process", "device")
"""Keys of a phase's CUDA memory for what is not torch's allocator's alone, the better one first."""


def _memory(seen: Seen) -> list[Check]:
    """9 to 12: memory of a moment, of a model, of a CUDA graph, and outside torch's allocator."""
    found = []
    held = seen.family("held_800mb")
    if held is not None:
        rise, known = risen(held.rounds[0]), (figure(held.model.options, "bytes") or 0) * MIB
        rise_mib = None if rise is None else rise * MIB
        found.append(about("9 held", rise_mib, round(known, 2), EXACT_MIB, "{} MiB", held.trouble, ANOTHER))
    model = seen.family("weights_64mib")
    if model is not None:
        own = model.row.get("own_memory_mib")
        found.append(about("10 own memory", own, 64, EXACT_MIB, "{} MiB", model.trouble, ANOTHER))
    graph = seen.family("temp_1gib", "inductor_reduce_overhead")
    if graph is not None:
        peak, ratio = graph.row.get("peak_memory_mib"), graph.row.get("compression_ratio")
        found += [
            in_range("11 peak of a CUDA graph", peak, 1024, float("inf"), "{} MiB", graph.trouble, ANOTHER),
            in_range("11 eager's over it", ratio, 0.5, 1.1, "{} times", graph.trouble, ANOTHER),
        ]
    outside = seen.family("weights_64mib", "planted_outside_allocator")
    if outside is not None and model is not None:
        more = _more_on_device(outside.rounds[0], model.rounds[0])
        known = (figure(outside.compiler.options, "bytes") or 0) * MIB
        trouble = outside.trouble if outside.row["status"] != PASS else "the device's memory was not told"
        found.append(about("12 outside the allocator", more, known, DEVICE_MIB, "{} MiB more", trouble, ANOTHER))
    return found


def _more_on_device(one: JobOutcome, other: JobOutcome) -> float | None:
    """Return by how many MiB the device was fuller in one job, by the best figure that both have."""
    for key in DEVICE_BYTES:
        sides = [figure(outcome.facts, "memory", "cuda", "steady", key) for outcome in (one, other)]
        if sides[0] is not None and sides[1] is not None:
            return (sides[0] - sides[1]) * MIB
    return None


def _shortage(seen: Seen) -> list[Check]:
    """13 and 22: too little memory is called so, and never `unsupported`."""
    found = [
        Check("13 too large", OUT_OF_MEMORY, ended(outcome), outcome.status == OUT_OF_MEMORY, ANOTHER)
        for outcome in seen.jobs("too_large", "performance")
    ]
    twin = seen.family("over_half", "planted_twin")
    if twin is not None:
        kind = twin.row.get("interval")
        found.append(Check("13 no room for a twin", UNPAIRED, str(kind or twin.trouble), kind == UNPAIRED, ANOTHER))
    tries = seen.jobs("gib_a_sample", "largestbatch")
    sizes = [_largest(outcome) for outcome in tries]
    if tries:
        right = len({*sizes}) == 1 and sizes[0] in LARGEST
        text = " and ".join(f"{size:g}" if size is not None else ended(o) for size, o in zip(sizes, tries, strict=True))
        found.append(Check("13 largest batch", "18 or 19, the same each time", text, right, ANOTHER))
    return found + [
        Check("22 no memory at all", "a failure", ended(outcome), outcome.status not in HARMLESS, ANOTHER)
        for outcome in seen.jobs("full", "performance")
    ]


def _largest(outcome: JobOutcome) -> float | None:
    rows = items(outcome.facts, "findings", "largest_batch")
    return figure(rows[0], "largest_batch_size") if rows else None


JUDGES: Sequence[Callable[[Seen], list[Check]]] = (_memory, _shortage)
