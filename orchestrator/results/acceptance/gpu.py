"""The acceptance run of a GPU machine: what was found of each figure that is known beforehand.

Pure: outcomes and performance rows in, checks out, numbered as in docs/gpu.md. What is known stands in the jobs
themselves (`orchestrator.suites.known`, `orchestrator.compilers.planted`, `orchestrator.measures.gpu_checks`). Only
what was planned is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from orchestrator.records import FAIL_ACCURACY, HARMLESS, PASS, UNSUPPORTED
from orchestrator.results.acceptance import gpu_memory, gpu_times
from orchestrator.results.acceptance.checks import ANOTHER, HIDDEN, SUITE, Seen, in_range
from orchestrator.results.acceptance.self_test import BROKEN, Check, Row, ended, families, other_jobs
from orchestrator.results.load import JobOutcome, fact, figure, items
from orchestrator.results.metrics import MIB
from orchestrator.results.naming import measure_kind

NO_DEVICE = "sees no CUDA device"
"""What `orchestrator.precision.check` says where there is none."""
FORKED = "orchestrator.worker.server"
"""The program whose fork a worker is; a new interpreter runs another."""
FAILING = ("too_large", "full")
STALE = "StaleGraph"
GRAPH_SPEEDUP = 2.0
RECORDED = ("cudagraphs", "recorded")
"""Where a result says how many CUDA graphs were recorded."""


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
    else:
        text = "not told" if held is None else f"{held * MIB:.0f} MiB of {reserved * MIB:.0f} MiB that torch reserved"
        right = held is None or held >= reserved
        own = Check("2 own memory", "at least what torch reserved", f"{text} ({HIDDEN})", right, ANOTHER)
    uuid, other = str(fact(figures, "torch_uuid")), str(fact(figures, "uuid_of_another"))
    named = [
        Check("2 UUID", "NVML has torch's", uuid, uuid in items(figures, "nvml_uuids"), ANOTHER),
        Check("2 by UUID", "the same device", other, other.removeprefix("GPU-") == uuid.removeprefix("GPU-"), ANOTHER),
    ]
    return [own, *named]


def _graphs(seen: Seen) -> list[Check]:
    """14 and 15: CUDA graphs are recorded, pay, and are found out where they are wrong or not used."""
    found = []
    graph = seen.family("launches", "inductor_reduce_overhead")
    if graph is not None:
        speedup, skips = graph.row.get("speedup"), graph.row.get("cudagraph_skips")
        recorded = figure(graph.rounds[0].facts, *RECORDED)
        found.append(
            in_range("14 CUDA graph", speedup, GRAPH_SPEEDUP, float("inf"), "{} times as fast", graph.trouble, ANOTHER)
        )
        text = f"{_recorded(recorded)}, {skips} skipped"
        passed = skips == 0 and (recorded is None or recorded >= 1)
        found.append(Check("14 recorded", "at least 1, 0 skipped", text, passed, ANOTHER))
    for outcome in seen.jobs("launches", "accuracy"):
        if outcome.job.compiler.target.endswith(f".{STALE}"):
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


USUAL = ("inference", "float32")


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
    return other_jobs([outcome for outcome in own if not _has_to_fail(outcome)])


def _has_to_fail(outcome: JobOutcome) -> bool:
    return outcome.job.workload.model in FAILING or outcome.job.compiler.target.endswith(f".{STALE}")


JUDGES: Sequence[Callable[[Seen], list[Check]]] = (
    *(_process, _nvml, *gpu_times.JUDGES, *gpu_memory.JUDGES, _graphs, _attention),
    *(_neighbours, _smoke, _others),
)
