"""The acceptance run of a GPU machine: what was found of each figure that is known beforehand.

Pure: outcomes and performance rows in, checks out, numbered as in docs/gpu.md. What is known stands in the jobs
themselves (`orchestrator.suites.known`, `orchestrator.compilers.planted`, `orchestrator.measures.gpu_checks`). Only
what was planned is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.records import EAGER, FAIL_ACCURACY, HARMLESS, OUT_OF_MEMORY, PASS, UNSUPPORTED
from orchestrator.results.acceptance.checks import (
    ANOTHER,
    HIDDEN,
    SUITE,
    Seen,
    about,
    in_range,
    of_hopper,
    own_families,
)
from orchestrator.results.acceptance.self_test import (
    BROKEN,
    QUIET,
    Check,
    Row,
    ended,
    families,
    other_jobs,
    risen,
    same,
    slower,
)
from orchestrator.results.load import JobOutcome, fact, figure, items
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import measure_kind
from orchestrator.statistics import UNPAIRED

NO_DEVICE = "sees no CUDA device"
"""What `orchestrator.precision.check` says where there is none."""
FORKED = "orchestrator.worker.server"
"""The program whose fork a worker is; a new interpreter runs another."""
FAILING = ("too_large", "full")
USUAL = ("inference", "float32")
GRAPH_SPEEDUP = 2.0
RECORDED = ("cudagraphs", "recorded")
"""Where a result says how many CUDA graphs were recorded."""
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
EXACT_MIB = 1.0
DEVICE_MIB = 4.0
LARGEST = (18.0, 19.0)  # samples of 1 GiB in 20 GiB: a library's workspace takes a part of the last one or two
DEVICE_BYTES = ("process", "device")
"""Keys of a phase's CUDA memory for what is not torch's allocator's alone, the better one first."""


def checks(outcomes: Iterable[JobOutcome], performance: Iterable[Row]) -> list[Check]:
    """Return the checks of a sweep's acceptance run, the conclusion last; none when the suite is not in the sweep.

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
    found = sorted((check for judge in JUDGES for check in judge(seen)), key=_number)
    return [*found, _conclusion(found, seen)]


def _number(check: Check) -> int:
    """Return the number that a check's name begins with; what has none comes last."""
    first = check.name.partition(" ")[0]
    return int(first) if first.isdecimal() else 1000


def _conclusion(found: Sequence[Check], seen: Seen) -> Check:
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


def _process(seen: Seen) -> list[Check]:
    """1: a job's process has the device, whatever its parent has imported."""
    look = seen.look("process")
    if look is None:
        return []
    figures, trouble = look
    how = "a fork" if fact(figures, "started_by") == FORKED else "a new interpreter"
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
    of_all = f"of {reserved * MIB:.0f} MiB that torch reserved"
    text = f"none {of_all}" if held is None else f"{held * MIB:.0f} MiB {of_all}"
    right = held is not None and held >= reserved
    if not fact(figures, "listed"):
        text, right = f"{'not told' if held is None else text} ({HIDDEN})", right or held is None
    uuid, other = str(fact(figures, "torch_uuid")), str(fact(figures, "uuid_of_another"))
    return [
        Check("2 own memory", "at least what torch reserved", text, right, ANOTHER),
        Check("2 UUID", "NVML has torch's", uuid, uuid in items(figures, "nvml_uuids"), ANOTHER),
        Check("2 by UUID", "the same device", other, other.removeprefix("GPU-") == uuid.removeprefix("GPU-"), ANOTHER),
    ]


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
            in_range("3 latency over events", over, 0, OVERHEAD_US, "{} µs", trouble),
            about("3 twice the cycles", ratio, 2, 2 * EVENTS, "{} times the event time", trouble),
            in_range("3 clock rate", rate, 0, round(most * 1.01), "{} MHz", trouble),
        ]
    return found + _ratio(seen, "3 twice the cycles, in a sweep", "spin_20ms", "spin_10ms", 2)


def _clock(seen: Seen) -> list[Check]:
    """4: what nobody waits for is waited for, and is in no other step; what an empty step costs."""
    found = _ratio(seen, "4 another stream", "spin_aside", "spin_10ms", 1)
    look = seen.look("clock")
    if look is not None:
        empty = figure(look[0], "empty_s")
        empty_us = None if empty is None else 1e6 * empty
        found.append(in_range("4 empty step", empty_us, 0, EMPTY_US, "{} µs", look[1]))
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
        check = in_range(f"5 enqueue {model}", share, low, high, "{} of the latency", family.trouble)
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
        found.append(of_hopper(in_range(name, rate, low, high, "{} TFLOP/s", family.trouble), seen))
        if load.dtype == "bfloat16":
            clock = figure(family.rounds[0].facts, "noise", "gpu", "sm_clock_mhz")
            power = family.row.get("mean_power_w")
            found += [
                in_range("19 SM clock", clock, CLOCK_MHZ, float("inf"), "{} MHz", family.trouble),
                of_hopper(in_range("21 mean power", power, *POWER_W, "{} W", family.trouble), seen),
            ]
    for outcome in seen.jobs("gemm_8192", "flops"):
        used = _left(outcome, "flops", "of_peak_percent")
        found.append(of_hopper(in_range("7 MFU", used, 50, 100, "{} %", ended(outcome)), seen))
    copy = seen.family("copy_4gib")
    if copy is not None:
        latency = copy.row.get("latency_ms")
        moved = 2 * (figure(copy.model.options, "bytes") or 0)
        rate = moved / latency * MS / 1e12 if latency else None
        found.append(of_hopper(in_range("8 copy", rate, *COPY_TB_PER_S, "{} TB/s", copy.trouble), seen))
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
        return [Check(name, form.format("kernels"), ended(outcome), True, "", word=UNSUPPORTED)]
    seconds, steps = (_left(outcome, "profile_totals", column) for column in ("self_cuda_s", "steps"))
    if known is None:
        return [Check(name, form.format("kernels"), look[1], False, BROKEN)]
    step_ms = seconds / steps * MS if seconds is not None and steps else None
    known_ms = round(known * MS, 3)
    return [about(name, step_ms, known_ms, round(known_ms * LATENCIES, 3), form, ended(outcome))]


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


def _memory(seen: Seen) -> list[Check]:
    """9 to 12: memory of a moment, of a model, of a CUDA graph, and outside torch's allocator."""
    found = []
    held = seen.family("held_800mb")
    if held is not None:
        rise, known = risen(held.rounds[0]), (figure(held.model.options, "bytes") or 0) * MIB
        rise_mib = None if rise is None else rise * MIB
        found.append(about("9 held", rise_mib, round(known, 2), EXACT_MIB, "{} MiB", held.trouble))
    model = seen.family("weights_64mib")
    if model is not None:
        own = model.row.get("own_memory_mib")
        found.append(about("10 own memory", own, 64, EXACT_MIB, "{} MiB", model.trouble))
    graph = seen.family("temp_1gib", "inductor_reduce_overhead")
    if graph is not None:
        peak, ratio = graph.row.get("peak_memory_mib"), graph.row.get("compression_ratio")
        found += [
            in_range("11 peak of a CUDA graph", peak, 1024, float("inf"), "{} MiB", graph.trouble),
            in_range("11 eager's over it", ratio, 0.5, 1.1, "{} times", graph.trouble),
        ]
    outside = seen.family("weights_64mib", "planted_outside_allocator")
    if outside is not None and model is not None:
        more = _more_on_device(outside.rounds[0], model.rounds[0])
        known = (figure(outside.compiler.options, "bytes") or 0) * MIB
        trouble = outside.trouble if outside.row["status"] != PASS else "the device's memory was not told"
        found.append(about("12 outside the allocator", more, known, DEVICE_MIB, "{} MiB more", trouble))
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
    sizes = [_left(outcome, "largest_batch", "largest_batch_size") for outcome in tries]
    if tries:
        right = len({*sizes}) == 1 and sizes[0] in LARGEST
        text = " and ".join(f"{size:g}" if size is not None else ended(o) for size, o in zip(sizes, tries, strict=True))
        found.append(Check("13 largest batch", "18 or 19, the same each time", text, right, ANOTHER))
    return found + [
        Check("22 no memory at all", "a failure", ended(outcome), outcome.status not in HARMLESS, ANOTHER)
        for outcome in seen.jobs("full", "performance")
    ]


def _left(outcome: JobOutcome, table: str, column: str) -> float | None:
    """Return a figure of the first row that a job left of a table."""
    rows = items(outcome.facts, "findings", table)
    return figure(rows[0], column) if rows else None


def _graphs(seen: Seen) -> list[Check]:
    """14 and 15: CUDA graphs are recorded, pay, and are found out where they are wrong or not used."""
    found = []
    graph = seen.family("launches", "inductor_reduce_overhead")
    if graph is not None:
        speedup, skips = graph.row.get("speedup"), graph.row.get("cudagraph_skips")
        recorded = figure(graph.rounds[0].facts, *RECORDED)
        found.append(in_range("14 CUDA graph", speedup, GRAPH_SPEEDUP, float("inf"), "{} times as fast", graph.trouble))
        text = f"{_recorded(recorded)}, {skips} skipped"
        passed = skips == 0 and (recorded is None or recorded >= 1)
        found.append(Check("14 recorded", "at least 1, 0 skipped", text, passed, ANOTHER))
    for outcome in seen.jobs("launches", "accuracy"):
        if _is_stale(outcome):
            wrong = outcome.status == FAIL_ACCURACY
            found.append(Check("15 stale CUDA graph", FAIL_ACCURACY, ended(outcome), wrong, ANOTHER))
    skipped = seen.family("mutate", "inductor_reduce_overhead")
    if skipped is not None:
        skips, recorded = skipped.row.get("cudagraph_skips"), figure(skipped.rounds[0].facts, *RECORDED)
        text = skipped.trouble if skips is None else f"{skips} skipped, {_recorded(recorded)}"
        right = skips is not None and (skips >= 1 or recorded == 0)
        found.append(Check("15 input written into", "no CUDA graph, and said so", text, right, ANOTHER))
    return found


def _recorded(count: float | None) -> str:
    return "recorded ones were not counted" if count is None else f"{count:g} recorded"


def _attention(seen: Seen) -> list[Check]:
    """16: training with attention is the same twice, and right."""
    found = []
    for outcome in seen.outcomes:
        kind, load = measure_kind(outcome.job.measure), outcome.job.workload
        if load.suite == SUITE or load.mode.name != "training" or load.dtype != "bfloat16":
            continue
        if kind == "reference":
            found.append(Check("16 eager twice", "the same to the bit", ended(outcome), outcome.status == PASS, BROKEN))
        if kind == "accuracy":
            name = f"16 training {outcome.job.compiler.name}"
            found.append(Check(name, PASS, ended(outcome), outcome.status == PASS, BROKEN))
    return found


def _smoke(seen: Seen) -> list[Check]:
    """17: each way to compile a real model is right, or says precisely why it cannot be had here."""
    found = []
    for outcome in seen.outcomes:
        job, load = outcome.job, outcome.job.workload
        if load.suite == SUITE or measure_kind(job.measure) != "accuracy" or load.dtype == "bfloat16":
            continue
        words = [job.compiler.name, *(word for word in (load.mode.name, load.dtype) if word not in USUAL)]
        check = Check(f"17 {' '.join(words)}", PASS, ended(outcome), outcome.status in HARMLESS, BROKEN)
        found.append(replace(check, word=UNSUPPORTED) if outcome.status == UNSUPPORTED else check)
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
    nvml = seen.look("nvml")
    hidden = nvml is not None and fact(nvml[0], "listed") is False
    for name, wanted in (("busy", True), ("idle", False)):
        reasons = [str(reason) for reason in items(figures, name, "disturbed")]
        named = [reason for reason in reasons if f"{pid:.0f}" in reason]
        text = "; ".join(named or reasons) or "no mark"
        expected = f"{'marked' if wanted else 'not marked'} with its id {pid:.0f}"
        check = Check(f"19 {name} neighbour", expected, text, bool(named) == wanted, ANOTHER)
        found.append(replace(check, found=f"{text} ({HIDDEN})", passed=True, word=UNSUPPORTED) if hidden else check)
    return found


def _others(seen: Seen) -> list[Check]:
    """Nothing fails but what has to."""
    own = [outcome for outcome in seen.outcomes if outcome.job.workload.suite == SUITE]
    return other_jobs([one for one in own if one.job.workload.model not in FAILING and not _is_stale(one)])


def _is_stale(outcome: JobOutcome) -> bool:
    return outcome.job.compiler.target.endswith(".StaleGraph")


JUDGES: Sequence[Callable[[Seen], list[Check]]] = (
    *(_process, _nvml, _sleep, _clock, _enqueue, _comparisons, _arithmetic, _profile, _caches, _memory, _shortage),
    *(_graphs, _attention, _neighbours, _smoke, _others),
)
