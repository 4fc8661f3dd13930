"""Which job starts next: what times something alone, what times nothing side by side, as cores and memory allow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.sweeps import make_job

from orchestrator import capacity
from orchestrator.errors import UsageError
from orchestrator.execution.agenda import Agenda, gist, is_shareable
from orchestrator.execution.policy import BATCH_S, COMPILER_BYTES, Policy, Room
from orchestrator.execution.settings import Settings
from orchestrator.planning.points import check_execution
from orchestrator.records import OBSERVED, PASS, JobResult, JobSpec, PluginSpec

GIB = 2**30


def room(
    parallel: int | str = "auto",
    *,
    cores: int = 4,
    available: float = 1000.0,
    held: float = 0.0,
) -> Room:
    return Room(parallel, lambda job: int(held * GIB), lambda: int(available * GIB), cores)


def judged(name: str = "m", *, threads: int = 1, device: str = "cpu", gib: float = 1.0) -> JobSpec:
    job = make_job(name, measure="accuracy")
    workload = replace(job.workload, threads=threads, device=device)
    return replace(job, id=f"{name}-{threads}-{device}", workload=workload, memory_bytes=gib * GIB)


def result(peak: float | None = None) -> JobResult:
    memory = {"phases": {"build": {"peak": 5}, "compile": {"peak": peak}}, "children": {"compile": None}}
    facts = {} if peak is None else {"memory": memory}
    return JobResult(job_id="", status=PASS, started=0.0, ended=1.0, facts=facts)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(jobs: Sequence[JobSpec], parallel: int | str, lasts: float = 0.0) -> list[list[str]]:
    """Run jobs, of which one ends every `lasts` seconds; return which ran at a time: measure's letter and model."""
    clock = Clock()
    policy, agenda, rounds = Policy(room(parallel), clock), Agenda(jobs, {}), []
    running: list[JobSpec] = []
    while True:
        while (job := policy.choose(agenda, running)) is not None:
            agenda.take(job)
            running.append(job)
        if not running:
            return rounds
        rounds.append([f"{job.measure.name[0]}{job.workload.model}" for job in running])
        clock.now += lasts
        agenda.done(running.pop(0), result())


def models(count: int) -> list[JobSpec]:
    """In plan order: reference, two accuracy jobs, two performance jobs of each model."""
    jobs = []
    for name in "abcdefgh"[:count]:
        reference = make_job(name, measure="reference")
        needs = ((reference, "reference"),)
        jobs += [reference, *(make_job(name, does, measure="accuracy", needs=needs) for does in ("pass", "exit"))]
        jobs += [make_job(name, does) for does in ("pass", "exit")]
    return jobs


@pytest.mark.parametrize(
    ("parallel", "cores", "threads", "slots"),
    [("auto", 8, 2, 4), ("auto", 8, 7, 1), ("auto", 2, 1, 2), ("auto", 2, 3, 1), (3, 8, 8, 3), (1, 8, 1, 1)],
)
def test_as_many_as_have_cores_for_their_threads(parallel: int | str, cores: int, threads: int, slots: int) -> None:
    jobs = [judged(str(number), threads=threads) for number in range(9)]
    policy, agenda = Policy(room(parallel, cores=cores)), Agenda(jobs, {})
    running: list[JobSpec] = []
    while (job := policy.choose(agenda, running)) is not None:
        agenda.take(job)
        running.append(job)
    assert running == jobs[:slots]
    assert policy.room.slots(jobs[0]) == slots
    assert policy.room.compile_threads(jobs[0]) == (None if slots == 1 else max(1, cores // slots))


def test_a_job_with_more_threads_waits_for_their_cores() -> None:
    small, large = judged("a", threads=1), judged("b", threads=3)
    assert room().has(large, [small])
    assert not room().has(large, [small, small])
    assert room().has(large, [])


def test_auto_is_one_on_a_gpu_and_the_user_may_say_more() -> None:
    one, same, other = judged("a", device="cuda:0"), judged("b", device="cuda:0"), judged("c", device="cuda:1")
    assert not room().has(same, [one])
    assert room().has(other, [one])
    assert room().has(judged("d"), [one])
    assert room().slots(one) == 1
    assert room(2).has(same, [one])


def test_what_times_something_compiles_with_all_cores() -> None:
    assert room().compile_threads(make_job("a")) is None


@pytest.mark.parametrize(("held", "available", "fits"), [(0.0, 3.9, False), (0.0, 4.1, True), (2.0, 2.1, True)])
def test_beside_others_only_what_fits_into_memory(held: float, available: float, fits: bool) -> None:
    """What runs has not taken all that it will."""
    running, job = judged("a", gib=2 - COMPILER_BYTES / GIB), judged("b", gib=2 - COMPILER_BYTES / GIB)
    for parallel in ("auto", 2):
        assert room(parallel, cores=2, held=held, available=available).has(job, [running]) == fits
    assert room(available=0.0).has(job, [])


def test_what_was_seen_goes_before_what_was_planned() -> None:
    reference, job = (
        make_job("m", measure="reference"),
        replace(make_job("m", measure="accuracy"), memory_bytes=9 * GIB),
    )
    small = room(available=3.0)
    assert not small.has(job, [make_job("n", measure="reference")])
    small.saw(reference, gist(result(0.1 * GIB)))
    small.saw(make_job("n"), gist(result(0.1 * GIB)))
    assert small.has(job, [make_job("n", measure="reference")])
    small.saw(reference, gist(result(9 * GIB)))
    small.saw(reference, gist(result(0.1 * GIB)))
    assert not small.has(job, [make_job("n", measure="reference")])


def test_what_times_nothing_runs_first_side_by_side_then_each_that_times_alone() -> None:
    at_a_time = run(models(2), 2)
    assert all(len(names) == 1 or all(name[0] in "ra" for name in names) for names in at_a_time)
    assert [names for names in at_a_time if names[0][0] == "p"] == [["pa"], ["pa"], ["pb"], ["pb"]]
    assert at_a_time[0] == ["ra", "rb"]
    assert at_a_time[-4:] == [["pa"], ["pa"], ["pb"], ["pb"]]


def test_one_at_a_time_is_plan_order() -> None:
    jobs = models(2)
    assert run(jobs, 1) == [[f"{job.measure.name[0]}{job.workload.model}"] for job in jobs]


def test_a_job_that_times_is_not_put_off_for_ever_and_changes_are_few() -> None:
    at_a_time = run(models(8), 2, lasts=BATCH_S / 8)
    kinds = "".join("p" if names[0][0] == "p" else "-" for names in at_a_time)
    assert kinds.index("p") == 9  # eight have ended, the ninth is waited for
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    assert changes == 5  # of 24 jobs that time nothing there are three batches
    assert sorted(kinds) == sorted("-" * 24 + "p" * 16)
    assert max(map(len, at_a_time)) == 2


def test_when_its_time_is_over_nothing_more_starts_beside_and_the_first_that_times_comes() -> None:
    clock = Clock()
    jobs = [judged("a"), make_job("b"), judged("c"), judged("d")]
    policy, agenda = Policy(room(2), clock), Agenda(jobs, {})
    agenda.take(jobs[0])
    policy.choose(Agenda(jobs, {}), [])  # the batch begins
    clock.now = BATCH_S - 1
    assert policy.choose(agenda, jobs[:1]) is jobs[2]
    clock.now = BATCH_S
    assert policy.choose(agenda, jobs[:1]) is None
    assert policy.choose(agenda, []) is jobs[1]
    agenda.take(jobs[1])
    assert policy.choose(agenda, [jobs[1]]) is None  # beside one that times nothing comes


def test_a_single_one_that_would_run_alone_waits_for_others_while_there_is_something_to_time() -> None:
    """No change between both kinds after every job."""
    timed = [make_job(name) for name in "ab"]
    twins = [make_job(job.workload.model, measure="accuracy", needs=((job, "round"),)) for job in timed]
    jobs = [twins[0], twins[1], *timed]  # a judged job stands before the timed one that it waits for
    agenda, policy = Agenda(jobs, {}), Policy(room(2))
    agenda.take(timed[0])
    agenda.done(timed[0], result())
    assert policy.choose(agenda, []) is timed[1]
    agenda.take(timed[1])
    agenda.done(timed[1], result())
    assert policy.choose(agenda, []) is twins[0]
    agenda.take(twins[0])
    assert policy.choose(agenda, [twins[0]]) is twins[1]


def test_one_that_is_run_again_has_no_other_beside_it() -> None:
    jobs = [judged("a"), judged("b")]
    agenda, policy = Agenda(jobs, {}), Policy(room(2))
    agenda.take(jobs[0])
    agenda.again(jobs[0])
    assert policy.choose(agenda, [jobs[1]]) is not jobs[0]
    assert policy.choose(agenda, []) is jobs[0]
    agenda.take(jobs[0])
    assert policy.choose(agenda, [jobs[0]]) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("orchestrator.measures.operators.Operators", True),
        ("orchestrator.measures.flops.Flops", False),  # it times
        ("orchestrator.measures.largest_batch.LargestBatch", False),  # it asks how much memory there is
        ("not.allowed.Measure", False),
    ],
)
def test_an_observed_one_says_whether_it_may(target: str, expected: bool) -> None:
    job = replace(make_job("m"), kind=OBSERVED, measure=PluginSpec(name="m", target=target))
    assert is_shareable(job) == expected
    assert is_shareable(make_job("m", measure="accuracy"))
    assert not is_shareable(make_job("m"))


@pytest.mark.parametrize("value", [0, -1, "some", "2", 1.5, True])
def test_what_is_no_number_of_jobs(value: object) -> None:
    execution = {"timeout_s": 1.0, "disk_reserve_mib": 0.0, "retries": 1}
    for good in ("auto", 1, 64):
        check_execution({**execution, "parallel": good})
        assert Settings.of([{"execution": {"parallel": good}}]).parallel == good
    with pytest.raises(UsageError, match=r"execution\.parallel="):
        check_execution({**execution, "parallel": value})
    with pytest.raises(UsageError, match="parallel"):
        Settings.of([{"execution": {"parallel": value}}])


# -- the machine


def machine(root: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str]) -> None:
    for name, text in {"self": own, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, place in {"OWN_GROUPS": "self", "GROUPS": "groups", "CPUS": "cpus"}.items():
        monkeypatch.setattr(capacity, name, root / place)


SIBLINGS = {f"cpus/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)}


@pytest.mark.parametrize(
    ("own", "files", "allowed", "expected"),
    [
        ("0::/\n", {}, range(8), 4),
        ("0::/\n", {}, (0, 4), 1),
        ("0::/\n", {"groups/cpu.max": "max 100000\n"}, range(8), 4),
        ("0::/\n", {"groups/cpu.max": "250000 100000\n"}, range(8), 2),
        ("0::/\n", {"groups/cpu.max": "50000 100000\n"}, range(8), 1),
        ("0::/a/b\n", {"groups/a/cpu.max": "300000 100000\n", "groups/a/b/cpu.max": "max 100000\n"}, range(8), 3),
        ("0::/outside/the/container\n", {"groups/cpu.max": "200000 100000\n"}, range(8), 2),
        (
            "3:cpu,cpuacct:/\n",
            {"groups/cpu/cpu.cfs_quota_us": "200000\n", "groups/cpu/cpu.cfs_period_us": "100000\n"},
            range(8),
            2,
        ),
        (
            "3:cpu,cpuacct:/\n",
            {"groups/cpu/cpu.cfs_quota_us": "-1\n", "groups/cpu/cpu.cfs_period_us": "100000\n"},
            range(8),
            4,
        ),
    ],
)
def test_cores_are_physical_and_those_that_affinity_and_quota_leave(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: str,
    files: dict[str, str],
    allowed: Sequence[int],
    expected: int,
) -> None:
    machine(tmp_path, monkeypatch, own, {**SIBLINGS, **files})
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(allowed))
    assert capacity.cores() == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"groups/cpu.stat": "nr_throttled 3\nthrottled_usec 2500000\n"}, 2.5),
        ("0::/a\n", {"groups/cpu.stat": "throttled_usec 0\n", "groups/a/cpu.stat": "throttled_usec 500000\n"}, 0.5),
        ("1:cpu:/\n", {"groups/cpu/cpu.stat": "nr_throttled 3\nthrottled_time 1500000000\n"}, 1.5),
    ],
)
def test_what_a_quota_took_is_read_from_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], expected: float | None
) -> None:
    machine(tmp_path, monkeypatch, own, files)
    assert capacity.throttled_s() == expected


def test_memory_is_what_the_control_group_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = capacity.available_memory()
    group = {"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 1\ninactive_file 200\n"}
    machine(tmp_path, monkeypatch, "0::/a/b\n", {f"groups/a/{name}": text for name, text in group.items()})
    assert capacity.available_memory() == 500
    (tmp_path / "groups/a/memory.max").write_text("max\n")
    assert capacity.available_memory() > everything / 2
