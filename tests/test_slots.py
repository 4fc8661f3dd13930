"""Slots: parts of a machine that run jobs at the same time. What is compared stays on one; each has its own locks."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import sweeps
from fakes.sweeps import make_job, results
from support import command

from orchestrator import capacity, system
from orchestrator.errors import UsageError
from orchestrator.execution.agenda import Agenda
from orchestrator.execution.devices import VARIABLE, Devices, Turn
from orchestrator.execution.slots import Slot, cautions, check_jobs, slots_of
from orchestrator.planning.shards import comparison
from orchestrator.probes import noise
from orchestrator.records import OUT_OF_MEMORY, PASS, JobResult, JobSpec
from orchestrator.store import SweepFolder

pytestmark = pytest.mark.usefixtures("mark")

CPUS = sorted(os.sched_getaffinity(0))
needs_two = pytest.mark.skipif(len(CPUS) < 2, reason="two slots need two CPUs")
GPUS = [("GPU-aaaa", "H100"), ("GPU-bbbb", "H100"), ("GPU-cccc", "L4")]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: len(GPUS),
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetUUID": lambda handle: GPUS[handle][0],
        "nvmlDeviceGetName": lambda handle: GPUS[handle][1],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)


# -- what is asked for


def test_without_either_key_the_machine_is_one_slot() -> None:
    (slot,) = slots_of(None, None)
    assert (slot.is_part, slot.environment()) == (False, {})


@needs_two
def test_a_slot_for_each_set_of_cpus() -> None:
    slots = slots_of(None, [str(cpu) for cpu in CPUS[:2]], {})
    assert [slot.cpus for slot in slots] == [(CPUS[0],), (CPUS[1],)]
    assert json.loads(slots[1].environment()[system.SLOT]) == {"number": 1, "cpus": str(CPUS[1]), "gpu": ""}


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (["0", "0"], "CPU 0 in more than one set"),
        (["0-1", "1"], "CPU 1 in more than one set"),
        (["99999"], "there is no CPU 99999 for this process, which may use"),
        (["0-"], "names no CPUs"),
        (["all"], "names no CPUs"),
        (["0,0"], "names a CPU twice"),
        (["1-0"], "names a CPU twice, or none"),
        ([], "write a set for each slot"),
    ],
)
def test_sets_that_cannot_be_are_refused(sets: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        slots_of(None, sets, {})


def test_threads_that_are_bound_elsewhere_are_refused() -> None:
    with pytest.raises(UsageError, match="OMP_PLACES binds threads to CPUs, too"):
        slots_of(None, [str(CPUS[0])], {"OMP_PLACES": "cores"})


@pytest.mark.parametrize(
    ("devices", "environment", "found"),
    [
        ([0, 1], {}, ["GPU-aaaa", "GPU-bbbb"]),
        ([1], {}, ["GPU-bbbb"]),
        ([0], {"CUDA_VISIBLE_DEVICES": "1,0"}, ["GPU-bbbb"]),
        ("all", {"CUDA_VISIBLE_DEVICES": "GPU-bb,0"}, ["GPU-bbbb", "GPU-aaaa"]),
        ("all", {"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ["GPU-aaaa"]),
        ("all", {"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"}, ["MIG-1", "MIG-2"]),
    ],
)
def test_gpus_are_known_by_uuid(gpus: None, devices: Any, environment: dict[str, str], found: list[str]) -> None:
    slots = slots_of(devices, None, environment)
    assert [slot.gpu for slot in slots] == found
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots] == found


@pytest.mark.parametrize(
    ("devices", "environment", "why"),
    [
        ([3], {}, "there is no GPU 3, and 3 GPUs here"),
        ([1], {"CUDA_VISIBLE_DEVICES": "0"}, "there is no GPU 1, and 1 GPU here"),
        ("all", {"CUDA_VISIBLE_DEVICES": ""}, "there is no GPU here"),
        ("all", {}, "several kinds"),
        ([0, 0], {}, "GPU 0 is named twice"),
        ([], {}, "it names none"),
        (["a"], {}, "write all, or a list of numbers"),
        (0, {}, "write all, or a list of numbers"),
        ("0", {}, "write all, or a list of numbers"),
        ([-1], {}, "write all, or a list of numbers"),
        ([True], {}, "write all, or a list of numbers"),
    ],
)
def test_gpus_that_cannot_be_are_refused(gpus: None, devices: Any, environment: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        slots_of(devices, None, environment)


def test_gpus_and_sets_are_pairs(gpus: None) -> None:
    (slot,) = slots_of([1], [str(CPUS[0])], {})
    assert (slot.gpu, slot.cpus) == ("GPU-bbbb", (CPUS[0],))
    with pytest.raises(UsageError, match=r"1 set and execution\.devices 2 GPUs"):
        slots_of([0, 1], [str(CPUS[0])], {})


def test_jobs_do_not_name_gpus_themselves(gpus: None) -> None:
    slots, job = slots_of([0, 1], None, {}), make_job("a")
    check_jobs(slots, [on("cuda:0", job), job])
    with pytest.raises(UsageError, match=r"leave out device\.index"):
        check_jobs(slots, [on("cuda:1", job)])
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES"):
        check_jobs(slots, [make_job("a", env={"CUDA_VISIBLE_DEVICES": "0"})])
    check_jobs(slots_of(None, None), [on("cuda:1", job)])


def test_two_threads_of_a_core_in_two_sets_are_a_caution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "core_of", lambda cpu: str(cpu % 2))
    assert cautions([Slot(0, (0, 2)), Slot(1, (1, 3))]) == []
    (caution,) = cautions([Slot(0, (0, 1)), Slot(1, (2, 3))])
    assert caution.startswith("CPUs 0 and 2 are two threads of one core")


@pytest.mark.parametrize("wrong", ["[0,0]", "[0,99999]", "[0-99999]"])
def test_a_command_with_bad_sets_ends_with_2_and_one_message(tmp_path: Path, wrong: str) -> None:
    code, _, said = command.answer(tmp_path, "suite=tiny", "dry_run=true", f"execution.cpu_sets={wrong}")
    assert code == 2
    assert said.count("execution.cpu_sets=") == 1
    assert "Traceback" not in said


def test_the_plan_says_slots_and_takes_threads_from_them(tmp_path: Path) -> None:
    sets = f"execution.cpu_sets=[{','.join(map(str, CPUS))}]"
    code, said, _ = command.answer(tmp_path, "suite=tiny", "dry_run=true", sets)
    assert code == 0
    assert len(CPUS) == 1 or f"on {len(CPUS)} slots" in said


# -- who gets what


def on(device: str, job: JobSpec) -> JobSpec:
    return replace(job, workload=replace(job.workload, device=device))


def test_a_comparison_stays_with_the_slot_that_opened_it() -> None:
    first = {name: make_job(name) for name in "ab"}
    jobs = [job for name in "ab" for job in (first[name], make_job(name, round=1, needs=((first[name], "round"),)))]
    agenda = Agenda(jobs, {}, slots=2)
    assert agenda.first(shareable=False, slot=1) is first["a"]
    agenda.take(first["a"], 1)
    assert agenda.first(shareable=False, slot=0) is first["b"]
    agenda.done(first["a"], result(first["a"]))
    assert agenda.first(shareable=False, slot=1) is jobs[1]  # before what nobody has
    agenda.take(first["b"], 0)
    agenda.done(first["b"], result(first["b"]))
    assert agenda.first(shareable=False, slot=0) is jobs[3]
    agenda.take(jobs[3], 0)
    assert agenda.first(shareable=False, slot=0) is None  # the other's is ready, and none of its


def test_all_ready_jobs_of_a_comparison_go_with_the_first() -> None:
    jobs = [make_job(name, does) for does in ("pass", "exit") for name in "ab"]
    agenda = Agenda(jobs, {}, slots=2)
    agenda.take(jobs[0], 0)
    assert agenda.first(shareable=False, slot=0) is jobs[2]
    assert agenda.first(shareable=False, slot=1) is jobs[1]


def result(job: JobSpec) -> JobResult:
    return JobResult(job_id=job.id, status=PASS, started=0.0, ended=1.0)


# -- locks


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setattr("orchestrator.execution.devices.own_cpus", lambda: [0, 1, 2, 3])
    return folder


TIMED, JUDGED = make_job("timed"), make_job("judged", measure="accuracy")
WHOLE, LOW, HIGH, MIDDLE = Slot(), Slot(0, (0, 1)), Slot(1, (2, 3)), Slot(0, (1, 2))


def turn(job: JobSpec, slot: Slot) -> Turn:
    return Devices(SweepFolder("/sweeps/one"), enabled=True).turn(job, slot)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ((TIMED, LOW), (TIMED, HIGH), True),
        ((TIMED, LOW), (JUDGED, HIGH), True),
        ((TIMED, LOW), (TIMED, LOW), False),
        ((TIMED, LOW), (TIMED, MIDDLE), False),
        ((TIMED, LOW), (JUDGED, MIDDLE), False),
        ((JUDGED, LOW), (JUDGED, MIDDLE), True),
        ((TIMED, LOW), (TIMED, WHOLE), False),
        ((TIMED, LOW), (JUDGED, WHOLE), False),
        ((JUDGED, LOW), (JUDGED, WHOLE), True),
        ((JUDGED, LOW), (TIMED, WHOLE), False),
    ],
)
def test_which_jobs_run_at_once(
    locks: Path, one: tuple[JobSpec, Slot], other: tuple[JobSpec, Slot], together: bool
) -> None:
    for first, second in ((one, other), (other, one)):
        held, asking = turn(*first), turn(*second)
        assert held.come()
        assert asking.come() == together
        held.leave()
        assert asking.come()
        asking.leave()


def test_gpus_of_two_slots_are_two_and_both_keep_out_what_is_timed_on_the_cpu(locks: Path) -> None:
    a, b = Slot(0, (), "GPU-aaaa"), Slot(1, (), "GPU-bbbb")
    job = on("cuda:0", TIMED)
    first, second, again, cpu = turn(job, a), turn(job, b), turn(job, a), turn(TIMED, a)
    assert first.come()
    assert second.come()
    assert not again.come()
    assert "GPU-aaaa" in again.reason
    assert not cpu.come()
    for one in (first, second):
        one.leave()
    assert cpu.come()


# -- whole runs


@needs_two
def test_two_slots_run_at_once_each_on_its_cpus(store: SweepFolder) -> None:
    jobs = [make_job(name) for name in "abcd"]
    recorder = sweeps.run(store, jobs, cpu_sets=[str(cpu) for cpu in CPUS[:2]])
    found = results(store, jobs)
    assert {tuple(one.facts["affinity"]) for one in found} == {(CPUS[0],), (CPUS[1],)}
    said = [json.loads(one.facts["environment"][system.SLOT]) for one in found]
    assert [[int(one["cpus"])] for one in said] == [one.facts["affinity"] for one in found]
    assert [kind for kind, _ in recorder.events[:2]] == ["started", "started"]


@needs_two
def test_what_is_compared_stays_on_one_slot_also_when_resumed(store: SweepFolder) -> None:
    sets = [str(cpu) for cpu in CPUS[:2]]
    jobs = []
    for name in "abcdef":
        cold = make_job(name)
        jobs += [cold, make_job(name, round=1, needs=((cold, "round"),)), make_job(name, tries="2")]
    sweeps.run(store, jobs, cpu_sets=sets)
    before = placed(store, jobs)
    assert all(len(slots) == 1 for slots in before.values())
    assert len(set.union(*before.values())) == 2
    for job in jobs[1::3]:
        store.result_file(job.id).unlink()
    sweeps.run(store, jobs, cpu_sets=sets)
    assert placed(store, jobs) == before


def placed(store: SweepFolder, jobs: list[JobSpec]) -> dict[Any, set[tuple[int, ...]]]:
    found: dict[Any, set[tuple[int, ...]]] = {}
    for job, one in zip(jobs, results(store, jobs), strict=True):
        found.setdefault(comparison(job.workload), set()).add(tuple(one.facts["affinity"]))
    return found


@needs_two
def test_what_failed_beside_another_slot_is_run_again_with_the_machine_to_itself(store: SweepFolder) -> None:
    jobs = [make_job("a", "once out_of_memory"), *(make_job(name, lasts="0.3") for name in "bcde")]
    recorder = sweeps.run(store, jobs, cpu_sets=[str(cpu) for cpu in CPUS[:2]])
    assert {one.status for one in results(store, jobs)} == {PASS}
    starts = [number for number, event in enumerate(recorder.events) if event == ("started", jobs[0].id)]
    assert len(starts) == 2
    running = {name for kind, name in recorder.events[: starts[1]] if kind == "started"}
    running -= {name for kind, name in recorder.events[: starts[1]] if kind == "finished"}
    assert running <= {jobs[0].id}
    assert recorder.events[starts[1] + 1] == ("finished", jobs[0].id)


@needs_two
def test_an_out_of_memory_that_comes_again_alone_stands(store: SweepFolder) -> None:
    jobs = [make_job("a", "out_of_memory"), make_job("b", lasts="0.5")]
    sweeps.run(store, jobs, cpu_sets=[str(cpu) for cpu in CPUS[:2]])
    assert [one.status for one in results(store, jobs)] == [OUT_OF_MEMORY, PASS]


def test_one_slot_pins(store: SweepFolder) -> None:
    job = make_job("a")
    sweeps.run(store, [job], cpu_sets=[str(CPUS[-1])])
    (found,) = results(store, [job])
    assert found.facts["affinity"] == [CPUS[-1]]
    assert found.facts["environment"][system.COMPILE_THREADS] == "1"


# -- noise


STAT = """cpu  1000 0 200 9000 0 0 0 40 0 0
cpu0 100 0 20 900 0 0 0 4 0 0
cpu1 200 10 40 800 0 1 2 8 0 0
cpu10 300 0 60 700 0 0 0 12 0 0
intr 5
"""


@pytest.mark.parametrize(
    ("cpus", "busy", "stolen"), [(None, 1200, 40), ("", 1200, 40), ("1", 253, 8), ("0-1", 373, 12), ("1,10", 613, 20)]
)
def test_noise_is_that_of_the_slots_own_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: str | None, busy: int, stolen: int
) -> None:
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(noise, "STAT", tmp_path / "stat")
    if cpus is not None:
        monkeypatch.setenv(system.SLOT, json.dumps({"number": 0, "cpus": cpus, "gpu": ""}))
    tick = os.sysconf("SC_CLK_TCK")
    seen = noise._read()
    assert (seen.busy, seen.stolen) == (pytest.approx(busy / tick), pytest.approx(stolen / tick))


# -- the proof: eager against eager, on all slots at once


@needs_two
@pytest.mark.long
def test_eager_against_eager_on_two_slots_at_once_is_neither_faster_nor_slower(tmp_path: Path) -> None:
    sets = f"execution.cpu_sets=[{CPUS[0]},{CPUS[1]}]"
    command.run(tmp_path, "suite=tiny", "suite.models=[bert_tiny,gpt2_tiny]", "compiler=identity",
                "measure=performance", "rounds=2", "rounds_min=2", sets)  # fmt: skip
    folder = command.latest(tmp_path)
    summary = command.table(tmp_path, "performance")
    compiled = summary[summary["compiler"] == "identity"]
    assert len(compiled) == 2
    assert not set(compiled["verdict"]) & {"faster", "slower"}
    outcomes = [folder.read_result(job.id) for job in folder.read_graph().jobs]
    used = {one.facts["slot"]["number"] for one in outcomes if isinstance(one, JobResult)}
    assert used == {0, 1}
    spans = sorted((one.started, one.ended) for one in outcomes if isinstance(one, JobResult))
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))  # at once
    said = command.run(tmp_path, "report")
    assert "environments" not in said
    assert "Compared across slots" not in said
