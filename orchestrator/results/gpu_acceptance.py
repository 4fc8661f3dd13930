"""The acceptance run of a GPU machine: what was found of each figure that is known beforehand.

Pure: outcomes and performance rows in, checks out, numbered as in docs/gpu.md. What is known stands in the jobs
themselves (`orchestrator.suites.known`, `orchestrator.compilers.planted`, `orchestrator.measures.gpu_checks`). Only
what was planned is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.records import EAGER, FAIL_ACCURACY, HARMLESS, OUT_OF_MEMORY, PASS, UNSUPPORTED
from orchestrator.results.load import Outcome, fact, figure, items
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import measure_kind
from orchestrator.results.self_test import BROKEN, QUIET, Check, Family, Row, families, risen, same, slower
from orchestrator.results.statistics import UNPAIRED

SUITE = "gpu_acceptance"
NO_DEVICE = "sees no CUDA device"
"""What `orchestrator.precision.check` says where there is none."""
FORKED = "orchestrator.worker.server"
"""The program whose fork a worker is; a new interpreter runs another."""
ANOTHER = "this figure would mislead on this machine: please report it with report.html"
HOPPER = ("H100 80GB HBM3", "H100 SXM", "H200")
"""Devices, by parts of their names, that the known ranges below are of (an H200 NVL too)."""

FAILING = ("too_large", "full")
STALE = "StaleGraph"

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
EXACT_MIB = 1.0
DEVICE_MIB = 4.0
GRAPH_SPEEDUP = 2.0
WARM_SHARE = 0.6
LARGEST = (18.0, 19.0)  # samples of 1 GiB in 20 GiB: a library's workspace takes a part of the last one or two

RECORDED = ("counters", "cudagraphs_recorded")
"""Where a result says how many CUDA graphs were recorded."""
DEVICE_BYTES = ("device", "process")
"""Keys of a phase's CUDA memory for what is not torch's allocator's alone, the better one first."""


@dataclass(frozen=True)
class Seen:
    """All outcomes of the sweep, and the families of its performance jobs."""

    outcomes: Sequence[Outcome]
    families: Sequence[Family]

    def family(self, model: str, compiler: str = EAGER, **workload: str) -> Family | None:
        for family in self.families:
            load = family.rounds[0].job.workload
            wanted = all(getattr(load, key) == value for key, value in workload.items())
            if family.model.name == model and family.compiler.name.rpartition("/")[2] == compiler and wanted:
                return family
        return None

    def jobs(self, model: str, kind: str) -> list[Outcome]:
        """Return the jobs of a model and a kind of measure (`measure_kind`), in plan order."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.job.workload.model == model and measure_kind(outcome.job.measure) == kind
        ]

    def look(self, name: str) -> tuple[Any, str] | None:
        """Return (figures, why there are none) of a check of measure=gpu_checks; None where it was not planned."""
        for outcome in self.outcomes:
            names = outcome.job.measure.options.get("checks", ("process", "nvml", "sleep", "clock"))
            if measure_kind(outcome.job.measure) == "gpuchecks" and name in names:
                figures = fact(outcome.facts, "gpu_checks", name) or {}
                error = fact(figures, "error")
                return figures, str(error or f"{outcome.status}: {outcome.reason}")
        return None

    @property
    def device(self) -> str:
        """The name of the GPU, as torch has it; "" where no job could tell."""
        look = self.look("process")
        return str(fact(look[0], "versions", "device") or "") if look else ""

    @property
    def known_device(self) -> bool:
        return any(name in self.device for name in HOPPER)


def checks(outcomes: Iterable[Outcome], performance: Iterable[Row]) -> list[Check]:
    """Return the checks of a sweep's acceptance run, the verdict last; none when the suite is not in the sweep.

    `performance`: the rows of the performance table. Jobs of other suites in such a sweep are a part of it.
    """
    outcomes = list(outcomes)
    own = [outcome for outcome in outcomes if outcome.job.workload.suite == SUITE]
    if not own:
        return []
    absent = [outcome for outcome in own if outcome.status == UNSUPPORTED and NO_DEVICE in outcome.reason]
    if len(absent) == len(own):
        text = f"0 checks: there is no CUDA device to check here ({absent[0].reason})."
        return [Check("this GPU machine", "a CUDA device", text, False, "")]
    seen = Seen(outcomes, families(outcomes, performance))
    found = [check for judge in JUDGES for check in judge(seen)]
    return [*found, _verdict(found, seen)]


def _verdict(found: Sequence[Check], seen: Seen) -> Check:
    failed = [check.name for check in found if not check.passed]
    passed = sum(check.passed and not check.word for check in found)
    counts = f"{passed} of {len(found)} checks passed"
    skipped = [check.name for check in found if check.word]
    if skipped:
        counts += f", {len(skipped)} could not be made here ({', '.join(skipped)})"
    name = seen.device or "this GPU"
    text = f"{name}: {counts}. "
    text += f"Not as it should be: {', '.join(failed)}." if failed else "What is measured here can be believed."
    return Check("this GPU machine", "every check passed", text, not failed, "")


def _range(name: str, value: float | None, low: float, high: float, form: str, trouble: str, advice: str) -> Check:
    """Return the check of one figure; `form` is what is printed, with `{}` where the number stands."""
    span = f"{low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"
    expected = form.format(f"up to {high:g}" if low == 0 else span)
    if value is None:
        return Check(name, expected, trouble, False, BROKEN)
    return Check(name, expected, form.format(f"{value:.4g}"), low <= value <= high, advice)


def _about(name: str, value: float | None, known: float, within: float, form: str, trouble: str, advice: str) -> Check:
    """Return the check of one figure that is known to within an absolute difference."""
    expected = form.format(f"{known:g} ± {within:g}")
    if value is None:
        return Check(name, expected, trouble, False, BROKEN)
    return Check(name, expected, form.format(f"{value:.5g}"), abs(value - known) <= within, advice)


def _of_hopper(check: Check, seen: Seen) -> Check:
    """Return a check whose range is of H100 and H200, or elsewhere that it was not made, with what was found."""
    if seen.known_device:
        return check
    return replace(check, expected=f"{check.expected} (H100, H200)", passed=True, word=UNSUPPORTED)


def _process(seen: Seen) -> list[Check]:
    """1: a job's process has the device, whatever its parent has imported."""
    look = seen.look("process")
    if look is None:
        return []
    figures, trouble = look
    started = fact(figures, "started_by")
    how = "a fork" if started == FORKED else "a new interpreter"
    text = f"{how} (torchao {'is' if fact(figures, 'torchao') else 'not'} installed)"
    works = figure(figures, "computed") == 8
    return [Check("1 process", "a job has the device", text if works else trouble, works, BROKEN)]


def _nvml(seen: Seen) -> list[Check]:
    """2: NVML knows this process and this device."""
    look = seen.look("nvml")
    if look is None:
        return []
    figures, trouble = look
    held, reserved = figure(figures, "process_bytes"), figure(figures, "reserved_bytes")
    if reserved is None:
        return [Check("2 NVML", "this process and device", trouble, False, BROKEN)]
    if fact(figures, "listed"):
        text = f"{'none' if held is None else f'{held * MIB:.0f} MiB'} of {reserved * MIB:.0f} MiB that torch reserved"
        own = Check(
            "2 own memory", "at least what torch reserved", text, held is not None and held >= reserved, ANOTHER
        )
    else:  # NVML gives the ids of the host, and a container has others
        text = "not told here (a container)" if held is None else f"{held * MIB:.0f} MiB of another process"
        own = Check("2 own memory", "at least what torch reserved", text, held is None, ANOTHER)
    uuid, other = str(fact(figures, "torch_uuid")), str(fact(figures, "uuid_of_another"))
    named = [
        Check("2 UUID", "NVML has torch's", uuid, uuid in items(figures, "nvml_uuids"), ANOTHER),
        Check("2 by UUID", "the same device", other, other.removeprefix("GPU-") == uuid.removeprefix("GPU-"), ANOTHER),
    ]
    return [own, *named]


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
            _range("3 latency over events", over, 0, OVERHEAD_US, "{} µs", trouble, ANOTHER),
            _about("3 twice the cycles", ratio, 2, 2 * EVENTS, "{} times the event time", trouble, ANOTHER),
            _range("3 clock rate", rate, 0, round(most * 1.01), "{} MHz", trouble, ANOTHER),
        ]
    return found + _ratio(seen, "3 twice the cycles, in a sweep", "spin_20ms", "spin_10ms", 2)


def _clock(seen: Seen) -> list[Check]:
    """4: what nobody waits for is waited for, and is in no other step; what an empty step costs."""
    found = _ratio(seen, "4 another stream", "spin_aside", "spin_10ms", 1)
    look = seen.look("clock")
    if look is not None:
        empty = figure(look[0], "empty_s")
        empty_us = None if empty is None else 1e6 * empty
        found.append(_range("4 empty step", empty_us, 0, EMPTY_US, "{} µs", look[1], ANOTHER))
    return found


def _ratio(seen: Seen, name: str, one: str, other: str, known: float) -> list[Check]:
    above, below = seen.family(one), seen.family(other, dtype="float32")
    if above is None or below is None:
        return []
    latencies = [family.row.get("latency_ms") for family in (above, below)]
    ratio = latencies[0] / latencies[1] if latencies[0] and latencies[1] else None
    trouble = above.trouble if latencies[0] is None else below.trouble
    return [_about(name, ratio, known, known * LATENCIES, "{} times the latency", trouble, QUIET)]


def _enqueue(seen: Seen) -> list[Check]:
    """5: a step that waits for its launches is told from one that waits for the device."""
    found = []
    for model, low, high in (("spin_10ms", 0.0, SHARES[0]), ("launches", SHARES[1], 1.0)):
        family = seen.family(model, dtype="float32")
        if family is None:
            continue
        enqueue, latency = family.row.get("enqueue_ms"), family.row.get("latency_ms")
        share = enqueue / latency if enqueue is not None and latency else None
        check = _range(f"5 enqueue {model}", share, low, high, "{} of the latency", family.trouble, ANOTHER)
        marked = bool(family.row.get("launch_bound"))
        text = f"{check.found}, {'marked' if marked else 'not marked'}"
        found.append(replace(check, found=text, passed=check.passed and marked == (low > 0)))
    return found


def _comparisons(seen: Seen) -> list[Check]:
    """6: eager is as fast as eager, and slower with 3 % more work."""
    plain = [replace(family, name=family.model.name) for family in _own(seen)]
    found = [check for family in plain for judge in (same, slower) if (check := judge(family)) is not None]
    return [replace(check, name=f"6 {check.name}") for check in found]


def _own(seen: Seen) -> list[Family]:
    return [family for family in seen.families if family.rounds[0].job.workload.suite == SUITE]


def _arithmetic(seen: Seen) -> list[Check]:
    """7, 8, 21 and the clock of 19: a large matrix product, a large copy."""
    found = []
    for family in _own(seen):
        if family.compiler.name != EAGER or family.model.name != "gemm_8192":
            continue
        load = family.rounds[0].job.workload
        options, latency = family.model.options, family.row.get("latency_ms")
        flop = 2 * load.batch_size * (figure(options, "width") or 0) ** 2 * (figure(options, "layers") or 0)
        rate = flop / latency * MS / 1e12 if latency else None
        kind = "tf32" if "tf32" in str(family.row.get("precision")) else load.dtype
        low, high = TFLOP_PER_S[kind]
        name = f"7 gemm {kind}"
        found.append(_of_hopper(_range(name, rate, low, high, "{} TFLOP/s", family.trouble, ANOTHER), seen))
        if load.dtype == "bfloat16":
            found += _under_load(seen, family)
    for outcome in seen.jobs("gemm_8192", "flops"):
        rows = items(outcome.facts, "findings", "flops")
        used = figure(rows[0], "of_peak_percent") if rows else None
        found.append(_of_hopper(_range("7 MFU", used, 50, 100, "{} %", _ended(outcome), ANOTHER), seen))
    copy = seen.family("copy_4gib")
    if copy is not None:
        latency = copy.row.get("latency_ms")
        moved = 2 * (figure(copy.model.options, "bytes") or 0)
        rate = moved / latency * MS / 1e12 if latency else None
        found.append(_of_hopper(_range("8 copy", rate, *COPY_TB_PER_S, "{} TB/s", copy.trouble, ANOTHER), seen))
    return found


def _under_load(seen: Seen, family: Family) -> list[Check]:
    power, clock = family.row.get("mean_power_w"), figure(family.rounds[0].facts, "noise", "gpu", "sm_clock_mhz")
    return [
        _range("19 SM clock", clock, CLOCK_MHZ, float("inf"), "{} MHz", family.trouble, ANOTHER),
        _of_hopper(_range("21 mean power", power, *POWER_W, "{} W", family.trouble, ANOTHER), seen),
    ]


def _memory(seen: Seen) -> list[Check]:
    """9 to 12: memory of a moment, of a model, of a CUDA graph, and outside torch's allocator."""
    found = []
    held = seen.family("held_800mb")
    if held is not None:
        rise, known = risen(held.rounds[0]), (figure(held.model.options, "bytes") or 0) * MIB
        rise_mib = None if rise is None else rise * MIB
        found.append(_about("9 held", rise_mib, round(known, 2), EXACT_MIB, "{} MiB", held.trouble, ANOTHER))
    model = seen.family("weights_64mib")
    if model is not None:
        own = model.row.get("own_memory_mib")
        found.append(_about("10 own memory", own, 64, EXACT_MIB, "{} MiB", model.trouble, ANOTHER))
    graph = seen.family("temp_1gib", "inductor_reduce_overhead")
    if graph is not None:
        peak, ratio = graph.row.get("peak_memory_mib"), graph.row.get("compression_ratio")
        found += [
            _range("11 peak of a CUDA graph", peak, 1024, float("inf"), "{} MiB", graph.trouble, ANOTHER),
            _range("11 eager's over it", ratio, 0.5, 1.1, "{} times", graph.trouble, ANOTHER),
        ]
    outside = seen.family("weights_64mib", "planted_outside_allocator")
    if outside is not None and model is not None:
        sides = [_device_bytes(family.rounds[0]) for family in (outside, model)]
        more = None if sides[0] is None or sides[1] is None else (sides[0] - sides[1]) * MIB
        known = (figure(outside.compiler.options, "bytes") or 0) * MIB
        trouble = outside.trouble if outside.row["status"] != PASS else "the device's memory was not told"
        found.append(_about("12 outside the allocator", more, known, DEVICE_MIB, "{} MiB more", trouble, ANOTHER))
    return found


def _device_bytes(outcome: Outcome) -> float | None:
    steady = fact(outcome.facts, "memory", "cuda", "steady")
    return next((value for key in DEVICE_BYTES if (value := figure(steady, key)) is not None), None)


def _shortage(seen: Seen) -> list[Check]:
    """13 and 22: too little memory is called so, and never `unsupported`."""
    found = [
        Check("13 too large", OUT_OF_MEMORY, _ended(outcome), outcome.status == OUT_OF_MEMORY, ANOTHER)
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
        text = " and ".join(
            f"{size:g}" if size is not None else _ended(o) for size, o in zip(sizes, tries, strict=True)
        )
        found.append(Check("13 largest batch", "18 or 19, the same each time", text, right, ANOTHER))
    return found + [
        Check("22 no memory at all", "a failure", _ended(outcome), outcome.status not in HARMLESS, ANOTHER)
        for outcome in seen.jobs("full", "performance")
    ]


def _largest(outcome: Outcome) -> float | None:
    rows = items(outcome.facts, "findings", "largest_batch")
    return figure(rows[0], "largest_batch_size") if rows else None


def _ended(outcome: Outcome) -> str:
    return f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status


def _graphs(seen: Seen) -> list[Check]:
    """14 and 15: CUDA graphs are recorded, pay, and are found out where they are wrong or not used."""
    found = []
    graph = seen.family("launches", "inductor_reduce_overhead")
    if graph is not None:
        speedup, skips = graph.row.get("speedup"), graph.row.get("cudagraph_skips")
        recorded = figure(graph.rounds[0].facts, *RECORDED)
        found.append(
            _range("14 CUDA graph", speedup, GRAPH_SPEEDUP, float("inf"), "{} times as fast", graph.trouble, ANOTHER)
        )
        text = f"{'not counted' if recorded is None else f'{recorded:g}'}, {skips} skipped"
        passed = skips == 0 and (recorded is None or recorded >= 1)
        found.append(Check("14 recorded", "at least 1, 0 skipped", text, passed, ANOTHER))
    for outcome in seen.jobs("launches", "accuracy"):
        if outcome.job.compiler.target.endswith(f".{STALE}"):
            wrong = outcome.status == FAIL_ACCURACY
            found.append(Check("15 stale CUDA graph", FAIL_ACCURACY, _ended(outcome), wrong, ANOTHER))
    skipped = seen.family("mutate", "inductor_reduce_overhead")
    if skipped is not None:
        skips = skipped.row.get("cudagraph_skips")
        found.append(_range("15 input written into", skips, 1, float("inf"), "{} skipped", skipped.trouble, ANOTHER))
    return found


def _attention(seen: Seen) -> list[Check]:
    """16: training with attention is the same twice, and right."""
    found = []
    for outcome in seen.outcomes:
        kind, load = measure_kind(outcome.job.measure), outcome.job.workload
        if load.suite == SUITE or load.mode.name != "training" or load.dtype != "bfloat16":
            continue
        if kind == "reference":
            found.append(
                Check("16 eager twice", "the same to the bit", _ended(outcome), outcome.status == PASS, BROKEN)
            )
        if kind == "accuracy":
            name = f"16 training {outcome.job.compiler.name}"
            found.append(Check(name, PASS, _ended(outcome), outcome.status == PASS, BROKEN))
    return found


def _smoke(seen: Seen) -> list[Check]:
    """17: each way to compile a real model is right, or says precisely why it cannot be had here."""
    found = []
    for outcome in seen.outcomes:
        job, load = outcome.job, outcome.job.workload
        if load.suite == SUITE or measure_kind(job.measure) != "accuracy" or load.dtype == "bfloat16":
            continue
        words = [job.compiler.name, *(word for word in (load.mode.name, load.dtype) if word not in USUAL)]
        check = Check(f"17 {' '.join(words)}", PASS, _ended(outcome), outcome.status in HARMLESS, BROKEN)
        found.append(replace(check, word=UNSUPPORTED) if outcome.status == UNSUPPORTED else check)
    return found


USUAL = ("inference", "float32")


def _caches(seen: Seen) -> list[Check]:
    """18: the compile cache is a job's own; nothing is left in the home folder."""
    found = []
    family = seen.family("bert_tiny", "inductor")
    if family is not None:
        cold, warm = family.row.get("compile_latency_cold_s"), family.row.get("compile_latency_warm_s")
        share = warm / cold if cold and warm is not None else None
        found.append(_range("18 warm over cold", share, 0, WARM_SHARE, "{} times", family.trouble, QUIET))
    look = seen.look("home")
    if look is not None:
        count = figure(look[0], "count")
        text = look[1] if count is None else ", ".join(map(str, items(look[0], "files"))) or "nothing"
        found.append(Check("18 home folder", "nothing", text, count == 0, ANOTHER))
    return found


def _neighbours(seen: Seen) -> list[Check]:
    """19: another process that computes is marked, one that only holds memory is not."""
    look = seen.look("neighbour")
    if look is None:
        return []
    figures, trouble = look
    pid = figure(figures, "pid")
    if pid is None:
        return [Check("19 neighbour", "marked", trouble, False, BROKEN)]
    found = []
    for name, wanted in (("busy", True), ("idle", False)):
        reasons = [str(reason) for reason in items(figures, name, "disturbed")]
        named = [reason for reason in reasons if f"{pid:.0f}" in reason]
        text = "; ".join(named or reasons) or "no mark"
        expected = f"{'marked' if wanted else 'not marked'} with its id {pid:.0f}"
        found.append(Check(f"19 {name} neighbour", expected, text, bool(named) == wanted, ANOTHER))
    return found


def _profile(seen: Seen) -> list[Check]:
    """20: a profile's kernels last as long as CUDA's events say."""
    look = seen.look("sleep")
    profiles = seen.jobs("spin_10ms", "profile")
    if look is None or not profiles:
        return []
    outcome, known = profiles[0], figure(look[0], "event_s")
    name, form = "20 profile", "{} ms a step"
    if outcome.status == UNSUPPORTED:
        return [Check(name, form.format("kernels"), _ended(outcome), True, "", word=UNSUPPORTED)]
    totals = items(outcome.facts, "findings", "profile_totals")
    seconds, steps = (figure(totals[0], key) if totals else None for key in ("self_cuda_s", "steps"))
    if known is None:
        return [Check(name, form.format("kernels"), look[1], False, BROKEN)]
    step_ms = seconds / steps * MS if seconds is not None and steps else None
    known_ms = round(known * MS, 3)
    return [_about(name, step_ms, known_ms, round(known_ms * LATENCIES, 3), form, _ended(outcome), ANOTHER)]


def _others(seen: Seen) -> list[Check]:
    """Nothing fails but what has to."""
    own = [outcome for outcome in seen.outcomes if not _has_to_fail(outcome) and outcome.job.workload.suite == SUITE]
    bad = [outcome for outcome in own if outcome.status not in HARMLESS]
    text = f"{len(own) - len(bad)} of {len(own)}"
    if bad:
        text += f": {bad[0].job.title} {_ended(bad[0])}"
    return [Check("other jobs", "all pass", text, not bad, BROKEN)] if own else []


def _has_to_fail(outcome: Outcome) -> bool:
    return outcome.job.workload.model in FAILING or outcome.job.compiler.target.endswith(f".{STALE}")


JUDGES: Sequence[Callable[[Seen], list[Check]]] = (
    *(_process, _nvml, _sleep, _clock, _enqueue, _memory, _graphs, _attention, _comparisons, _arithmetic),
    *(_shortage, _neighbours, _profile, _caches, _smoke, _others),
)
