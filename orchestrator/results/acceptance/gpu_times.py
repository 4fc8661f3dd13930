"""The GPU acceptance run: times, rates and power (checks 3 to 8, 18, 20, 21, and the clock of 19)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.records import EAGER, UNSUPPORTED
from orchestrator.results.acceptance.checks import ANOTHER, Seen, about, in_range, of_hopper, own_families
from orchestrator.results.acceptance.self_test import BROKEN, QUIET, Check, TimedFamily, ended, same, slower
from orchestrator.results.load import figure, items
from orchestrator.results.metrics import MS

OVERHEAD_US = 60.0  # of a latency over the time between events around the same kernel
EMPTY_US = 100.0  # of an empty step
EVENTS = 0.01  # relative: ratio of event times in one process
LATENCIES = 0.02  # relative: ratio of latencies, or of times in a profile, between processes
SHARES = (0.1, 0.8)  # of the enqueue time: at most, of one long kernel; at least, of many short ones
TFLOP_PER_S: Mapping[str, tuple[float, float]] = {"bfloat16": (600, 990), "float32": (30, 67), "tf32": (250, 495)}
"""Lowest: what cuBLAS reaches with random data under the power limit. Highest: H100 SXM's data sheet, no sparsity."""
COPY_TB_PER_S = (2.4, 4.8)
POWER_W = (300.0, 720.0)
CLOCK_MHZ = 1000.0
WARM_SHARE = 0.6


def _sleep(seen: Seen) -> list[Check]:
    """3: latencies are what CUDA's own events say, and as long as the cycles take."""
    found = []
    look = seen.look("sleep")
    if look is not None:
        figures, trouble = look
        event, twice, latency = (figure(figures, name) for name in ("event_s", "event_2_s", "latency_s"))
        over = None if event is None or latency is None else 1e6 * (latency - event)
        ratio = None if event is None or twice is None else twice / event
        rate = None if latency is None else (figure(figures, "cycles") or 0) / latency / 1e6
        most = (figure(figures, "max_sm_clock_hz") or 0) / 1e6
        found = [
            in_range("3 latency over events", over, 0, OVERHEAD_US, "{} µs", trouble, ANOTHER),
            about("3 twice the cycles", ratio, 2, 2 * EVENTS, "{} times the event time", trouble, ANOTHER),
            in_range("3 clock rate", rate, 0, round(most * 1.01), "{} MHz", trouble, ANOTHER),
        ]
    return found + _ratio(seen, "3 twice the cycles, in a sweep", "spin_20ms", "spin_10ms", 2)


def _clock(seen: Seen) -> list[Check]:
    """4: what nobody waits for is waited for, and is in no other step; what an empty step costs."""
    found = _ratio(seen, "4 another stream", "spin_aside", "spin_10ms", 1)
    look = seen.look("clock")
    if look is not None:
        empty = figure(look[0], "empty_s")
        empty_us = None if empty is None else 1e6 * empty
        found.append(in_range("4 empty step", empty_us, 0, EMPTY_US, "{} µs", look[1], ANOTHER))
    return found


def _ratio(seen: Seen, name: str, one: str, other: str, known: float) -> list[Check]:
    above, below = seen.family(one), seen.family(other, dtype="float32")
    if above is None or below is None:
        return []
    latencies = [family.row.get("latency_ms") for family in (above, below)]
    ratio = latencies[0] / latencies[1] if latencies[0] and latencies[1] else None
    trouble = above.trouble if latencies[0] is None else below.trouble
    return [about(name, ratio, known, known * LATENCIES, "{} times the latency", trouble, QUIET)]


def _enqueue(seen: Seen) -> list[Check]:
    """5: a step that waits for its launches is told from one that waits for the device."""
    found = []
    for model, low, high in (("spin_10ms", 0.0, SHARES[0]), ("launches", SHARES[1], 1.0)):
        family = seen.family(model, dtype="float32")
        if family is None:
            continue
        enqueue, latency = family.row.get("enqueue_ms"), family.row.get("latency_ms")
        share = enqueue / latency if enqueue is not None and latency else None
        check = in_range(f"5 enqueue {model}", share, low, high, "{} of the latency", family.trouble, ANOTHER)
        marked = bool(family.row.get("launch_bound"))
        text = f"{check.found}, {'marked' if marked else 'not marked'}"
        found.append(replace(check, found=text, passed=check.passed and marked == (low > 0)))
    return found


def _comparisons(seen: Seen) -> list[Check]:
    """6: eager is as fast as eager, and slower with 3 % more work."""
    plain = [replace(family, name=family.model.name) for family in own_families(seen)]
    found = [check for family in plain for judge in (same, slower) if (check := judge(family)) is not None]
    return [replace(check, name=f"6 {check.name}") for check in found]


def _arithmetic(seen: Seen) -> list[Check]:
    """7, 8, 21 and the clock of 19: a large matrix product, a large copy."""
    found = []
    for family in own_families(seen):
        if family.compiler.name != EAGER or family.model.name != "gemm_8192":
            continue
        load = family.rounds[0].job.workload
        options, latency = family.model.options, family.row.get("latency_ms")
        flop = 2 * load.batch_size * (figure(options, "width") or 0) ** 2 * (figure(options, "layers") or 0)
        rate = flop / latency * MS / 1e12 if latency else None
        kind = str(load.mode.options.get("precision", load.dtype))
        low, high = TFLOP_PER_S[kind]
        name = f"7 gemm {kind}"
        found.append(of_hopper(in_range(name, rate, low, high, "{} TFLOP/s", family.trouble, ANOTHER), seen))
        if load.dtype == "bfloat16":
            found += _under_load(seen, family)
    for outcome in seen.jobs("gemm_8192", "flops"):
        rows = items(outcome.facts, "findings", "flops")
        used = figure(rows[0], "of_peak_percent") if rows else None
        found.append(of_hopper(in_range("7 MFU", used, 50, 100, "{} %", ended(outcome), ANOTHER), seen))
    copy = seen.family("copy_4gib")
    if copy is not None:
        latency = copy.row.get("latency_ms")
        moved = 2 * (figure(copy.model.options, "bytes") or 0)
        rate = moved / latency * MS / 1e12 if latency else None
        found.append(of_hopper(in_range("8 copy", rate, *COPY_TB_PER_S, "{} TB/s", copy.trouble, ANOTHER), seen))
    return found


def _under_load(seen: Seen, family: TimedFamily) -> list[Check]:
    power, clock = family.row.get("mean_power_w"), figure(family.rounds[0].facts, "noise", "gpu", "sm_clock_mhz")
    return [
        in_range("19 SM clock", clock, CLOCK_MHZ, float("inf"), "{} MHz", family.trouble, ANOTHER),
        of_hopper(in_range("21 mean power", power, *POWER_W, "{} W", family.trouble, ANOTHER), seen),
    ]


def _profile(seen: Seen) -> list[Check]:
    """20: a profile's kernels last as long as CUDA's events say."""
    look = seen.look("sleep")
    profiles = seen.jobs("spin_10ms", "profile")
    if look is None or not profiles:
        return []
    outcome, known = profiles[0], figure(look[0], "event_s")
    name, form = "20 profile", "{} ms a step"
    if outcome.status == UNSUPPORTED:
        return [Check(name, form.format("kernels"), ended(outcome), True, "", word=UNSUPPORTED)]
    totals = items(outcome.facts, "findings", "profile_totals")
    seconds, steps = (figure(totals[0], key) if totals else None for key in ("self_cuda_s", "steps"))
    if known is None:
        return [Check(name, form.format("kernels"), look[1], False, BROKEN)]
    step_ms = seconds / steps * MS if seconds is not None and steps else None
    known_ms = round(known * MS, 3)
    return [about(name, step_ms, known_ms, round(known_ms * LATENCIES, 3), form, ended(outcome), ANOTHER)]


def _caches(seen: Seen) -> list[Check]:
    """18: the compile cache is a job's own; nothing is left in the home folder."""
    found = []
    family = seen.family("bert_tiny", "inductor")
    if family is not None:
        cold, warm = family.row.get("compile_latency_cold_s"), family.row.get("compile_latency_warm_s")
        share = warm / cold if cold and warm is not None else None
        found.append(in_range("18 warm over cold", share, 0, WARM_SHARE, "{} times", family.trouble, QUIET))
    look = seen.look("home")
    if look is not None:
        count = figure(look[0], "count")
        text = look[1] if count is None else ", ".join(map(str, items(look[0], "files"))) or "nothing"
        found.append(Check("18 home folder", "nothing", text, count == 0, ANOTHER))
    return found


JUDGES: Sequence[Callable[[Seen], list[Check]]] = (
    *(_sleep, _clock, _enqueue, _comparisons, _arithmetic, _profile, _caches),
)
