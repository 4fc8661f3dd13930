"""The scheduler over real processes with a torch-free job: order, edges, deaths, interrupts, resuming.

The last tests run the real worker with a test-only compiler.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fakes import sweeps
from fakes.leftovers import left
from fakes.plugins import QUICK
from fakes.sweeps import LAUNCHERS, make_job, results, write_sweep

from orchestrator.errors import UsageError
from orchestrator.execution.agenda import Agenda, gist
from orchestrator.execution.death import Attempt, result_of_death
from orchestrator.execution.devices import Turn
from orchestrator.execution.environment import worker_environment
from orchestrator.execution.lock import locked
from orchestrator.execution.processes import Processes
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import run_shard
from orchestrator.execution.standing import standing_results
from orchestrator.planning.shards import cut
from orchestrator.plugins import PACKAGES_VARIABLE
from orchestrator.records import (
    CRASH,
    EAGER,
    FAIL_TO_RUN,
    INFRASTRUCTURE,
    OUT_OF_MEMORY,
    PASS,
    PASS_DUE_TO_SKIP,
    TIMEOUT,
    UNSUPPORTED,
    JobResult,
    JobSpec,
    PluginSpec,
    Samples,
    Verdict,
)
from orchestrator.store import JobGraph, SweepFolder, Unreadable
from orchestrator.system import COMPILE_THREADS

pytestmark = pytest.mark.usefixtures("mark")


def result(status: str = PASS) -> JobResult:
    return JobResult(job_id="", status=status, started=0.0, ended=1.0)


# -- the agenda: order and edges


def test_jobs_come_in_plan_order_as_edges_allow() -> None:
    first = make_job("a")
    second = make_job("a", round=1, needs=((first, "round"),))
    third = make_job("b")
    agenda = Agenda([first, second, third], {})
    for expected in (first, third):  # the second waits for the first
        assert agenda.first(shareable=False) is expected
        agenda.take(expected)
    assert agenda.first(shareable=False) is None
    agenda.done(first, result())
    assert agenda.first(shareable=False) is second
    assert agenda.first(shareable=True) is None


@pytest.mark.parametrize(
    ("kind", "status", "starts"),
    [
        ("reference", PASS, True),
        ("reference", FAIL_TO_RUN, False),
        ("reference", UNSUPPORTED, False),
        ("gate", PASS_DUE_TO_SKIP, True),
        ("gate", FAIL_TO_RUN, False),
        ("round", CRASH, False),
        ("baseline", CRASH, True),
    ],
)
def test_what_a_failed_need_does(kind: str, status: str, starts: bool) -> None:
    first = make_job("a")
    second = make_job("b", needs=((first, kind),))
    agenda = Agenda([first, second], {first.id: result(status)})
    assert agenda.first(shareable=False) is second
    hopeless = agenda.hopeless(second)
    assert (hopeless is None) == starts
    if hopeless is not None:
        assert hopeless.status == status
        assert hopeless.failure is not None
        assert hopeless.failure.kind == "dependency"
        assert first.title in hopeless.failure.message


# -- whole runs


def test_every_job_gets_one_result_and_shared_folders_go_when_they_are_done(store: SweepFolder) -> None:
    reference = make_job("m", measure="reference")
    accuracy = make_job("m", measure="accuracy", needs=((reference, "reference"),))
    cold = make_job("m", needs=((accuracy, "gate"),))
    warm = make_job("m", round=1, needs=((cold, "round"),))
    gone = make_job("gone", verdict=Verdict(status=UNSUPPORTED, reason="the class is gone"))
    jobs = [reference, accuracy, cold, warm, gone]
    recorder = sweeps.run(store, jobs)
    found = results(store, jobs)
    assert [one.status for one in found] == [PASS] * 4 + [UNSUPPORTED]
    assert found[1].facts["references"] == [True]
    assert [found[2].facts["cache"], found[3].facts["cache"]] == ["cold", "warm"]
    assert not store.caches.exists()
    assert not store.references.exists()
    assert found[4].failure is not None
    assert found[4].failure.message == "the class is gone"
    in_order = [(kind, job.id) for job in jobs[:4] for kind in ("started", "finished")]
    assert [event for event in recorder.events if event[1] != gone.id] == in_order
    assert ("finished", gone.id) in recorder.events
    assert ("started", gone.id) not in recorder.events


def test_shared_folders_stay_when_asked(store: SweepFolder) -> None:
    job = make_job("m", measure="reference")
    sweeps.run(store, [job], keep_caches=True, keep_references=True)
    assert (store.reference(job.id) / "tensors").is_file()
    assert store.cache(job.family).is_dir()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_way_to_die_is_one_row_with_its_own_reason(store: SweepFolder, launcher: str) -> None:
    expected = {
        "segfault": (CRASH, "killed by SIGSEGV"),
        "sigkill": (CRASH, "killed by SIGKILL"),
        "hang": (TIMEOUT, "no result after 2 s"),
        "allocate_in_c": (OUT_OF_MEMORY, "SIGABRT after memory could not be allocated"),
        "exit": (CRASH, "exit code 3"),
        "disk_full": (INFRASTRUCTURE, "No space left on device"),
        "result_then segfault": (PASS, ""),
        "result_then hang": (PASS, ""),
        "pass": (PASS, ""),
    }
    jobs = [make_job("m", does, launcher=launcher, timeout_s=2.0) for does in expected]
    sweeps.run(store, jobs, memory_limit_gib=1.0, retries=0)
    for (status, reason), found in zip(expected.values(), results(store, jobs), strict=True):
        assert found.status == status, found
        message = found.failure.message if found.failure else ""
        assert reason in message
        if found.failure:
            assert found.failure.phase == "compile"
            assert found.failure.kind == status


def test_failures_are_handed_down_with_the_first_reason(store: SweepFolder) -> None:
    reference = make_job("m", "segfault", measure="reference")
    accuracy = make_job("m", "segfault", measure="accuracy", needs=((reference, "reference"),))
    performance = make_job("m", "segfault", needs=((accuracy, "gate"),))
    independent = make_job("n")
    jobs = [reference, accuracy, performance, independent]
    recorder = sweeps.run(store, jobs)
    found = results(store, jobs)
    assert [one.status for one in found] == [CRASH, CRASH, CRASH, PASS]
    messages = [one.failure.message if one.failure else "" for one in found]
    assert messages[1] == messages[2] == f"needs '{reference.title}', which ended with crash: killed by SIGSEGV"
    assert [job for kind, job in recorder.events if kind == "started"] == [reference.id, independent.id]


def test_only_infrastructure_failures_are_tried_again(store: SweepFolder) -> None:
    jobs = [make_job("m", "infrastructure_once"), make_job("m", "segfault"), make_job("m", "disk_full")]
    sweeps.run(store, jobs, retries=2)
    assert [(one.status, one.attempt) for one in results(store, jobs)] == [
        (PASS, 2),
        (CRASH, 1),
        (INFRASTRUCTURE, 3),
    ]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_job_whose_server_is_killed_is_run_again(store: SweepFolder, launcher: str) -> None:
    jobs = [make_job("a", launcher=launcher), make_job("b", "sleep 0.5", launcher=launcher)]
    killed = []

    class Killer(sweeps.Recorder):
        """Kills the server once, shortly after the second job started."""

        def started(self, job: JobSpec) -> None:
            if job is jobs[1] and not killed:
                killed.append(processes.server_pid(launcher))
                threading.Timer(0.2, os.kill, (killed[0], signal.SIGKILL)).start()

    with Processes(worker_environment(), sweeps.ENTRY, preload=()) as processes:
        Scheduler(store, jobs, Settings(), Killer(), processes).run()
        assert processes.server_pid(launcher) != killed[0]
    assert [(one.status, one.attempt) for one in results(store, jobs)] == [(PASS, 1), (PASS, 2)]


def test_jobs_that_time_run_alone_and_others_side_by_side(store: SweepFolder) -> None:
    jobs = [make_job(str(i), "sleep 0.5", measure="accuracy" if i % 2 else "performance") for i in range(6)]
    sweeps.run(store, jobs, parallel=3)
    found = results(store, jobs)
    spans = [(one.started, one.ended) for one in found]
    together = {
        (i, j)
        for i, a in enumerate(spans)
        for j, b in enumerate(spans)
        if i < j and a[0] < b[1] and b[0] < a[1]
    }  # fmt: skip
    assert together == {(1, 3), (1, 5), (3, 5)}


@pytest.mark.slow
def test_two_in_turns_run_at_the_same_time_and_never_at_once(store: SweepFolder) -> None:
    """Each to its end, whatever becomes of the other. What hangs is tried again alone; what follows waits for both."""
    jobs: list[JobSpec] = []
    for seconds, does in ((0.5, "pass"), (0.3, "segfault"), (0.1, "hang")):
        most = 2.0 if does == "hang" else 60.0
        first = make_job(f"first {does}", "turns 0.5 pass", timeout_s=most)
        second = make_job(f"second {does}", f"turns {seconds} {does}", needs=((first, "in_turns"),), timeout_s=most)
        jobs += [first, second]
    sweeps.run(store, jobs)
    found = results(store, jobs)
    assert [one.status for one in found] == [PASS, PASS, PASS, CRASH, PASS, TIMEOUT]
    assert [one.attempt for one in found[:4]] == [1] * 4
    assert found[5].attempt == 2  # beside another, time may have been short because of that
    one, other = (result.facts["steps"] for result in found[:2])
    for (start, end), (begin, last) in itertools.product(one, other):
        assert end <= begin or last <= start
    order = [side for _, side in sorted([(start, 1) for start, _ in one] + [(start, 2) for start, _ in other])]
    assert sum(before != after for before, after in itertools.pairwise(order)) >= 6
    assert found[1].ended < found[2].started


def test_who_takes_turns_starts_alone_where_the_other_cannot_start(store: SweepFolder) -> None:
    verdict = Verdict(status=UNSUPPORTED, reason="not here")
    first, other = make_job("a", "turns 0.2 pass"), make_job("b", "turns 0.2 pass")
    never = make_job("c", "turns 0.2 pass", needs=((first, "in_turns"),), verdict=verdict)
    again = make_job("d", "infrastructure_once", needs=((other, "in_turns"),))
    jobs = [first, never, other, again]
    sweeps.run(store, jobs)
    found = [(one.status, one.attempt) for one in results(store, jobs)]
    assert found == [(PASS, 1), (UNSUPPORTED, 1), (PASS, 1), (PASS, 2)]


def test_what_failed_beside_others_is_run_again_alone(store: SweepFolder) -> None:
    """Memory or time that a neighbour took, a server that died because of another: not the job's own fault."""
    behaviours = ("once out_of_memory", "hang_beside", "once SIGKILL", "sleep 0.5", "out_of_memory", "segfault")
    jobs = [make_job(str(n), does, measure="accuracy", timeout_s=3.0) for n, does in enumerate(behaviours)]
    sweeps.run(store, jobs, parallel=6)
    found = results(store, jobs)
    expected = [(PASS, 2), (PASS, 2), (PASS, 2), (PASS, 1), (OUT_OF_MEMORY, 2), (CRASH, 1)]
    assert [(one.status, one.attempt) for one in found] == expected
    repeated = [(one.started, one.ended) for one in found if one.attempt == 2]
    for (start, end), other in itertools.product(repeated, found):
        assert (start, end) == (other.started, other.ended) or other.ended <= start or end <= other.started


def test_alone_such_a_failure_stands(store: SweepFolder) -> None:
    job = make_job("a", "out_of_memory", measure="accuracy")
    sweeps.run(store, [job], parallel=2)
    assert [(one.status, one.attempt) for one in results(store, [job])] == [(OUT_OF_MEMORY, 1)]


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_several_at_once_are_killed_at_once(store: SweepFolder, mark: str, numbers: tuple[signal.Signals, ...]) -> None:
    jobs = [make_job(name, "hang", measure="accuracy") for name in "abc"]
    process = orchestrator(store, jobs, parallel=2)
    for job in jobs[:2]:
        wait_until_started(store, job)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)
    process.communicate(timeout=LATEST_S)
    assert process.returncode == 0
    assert [store.read_result(job.id) for job in jobs] == [None] * 3
    assert left(mark) == []


def test_of_several_at_once_all_are_finished_after_one_ctrl_c(store: SweepFolder, mark: str) -> None:
    end = store.root / "end"
    jobs = [make_job(name, f"until {end}", measure="accuracy") for name in "abc"]
    process = orchestrator(store, jobs, parallel=2)
    for job in jobs[:2]:
        wait_until_started(store, job)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any(b"Ctrl-C again" in line for line in process.stderr)
    end.touch()
    process.communicate(timeout=LATEST_S)
    assert [one.status for one in results(store, jobs[:2])] == [PASS, PASS]
    assert store.read_result(jobs[2].id) is None
    assert left(mark) == []


def test_references_stay_until_the_last_of_several_at_once_has_ended(store: SweepFolder) -> None:
    reference = make_job("m", measure="reference")
    needs = ((reference, "reference"),)
    accuracy = [make_job("m", f"sleep 0.{n}", measure="accuracy", needs=needs) for n in (1, 3, 5, 7)]
    sweeps.run(store, [reference, *accuracy], parallel=4)
    assert all(one.facts["references"] == [True] for one in results(store, accuracy))
    assert not store.references.exists()
    assert not store.caches.exists()


def test_side_by_side_each_compiles_with_its_share_of_the_cores(store: SweepFolder) -> None:
    jobs = [make_job("a", measure="accuracy"), make_job("a")]
    sweeps.run(store, jobs, parallel=1000)
    shared, alone = (one.facts["environment"] for one in results(store, jobs))
    assert shared[COMPILE_THREADS] == "1"
    assert COMPILE_THREADS not in alone
    own = make_job("b", measure="accuracy", env={COMPILE_THREADS: "7"})
    sweeps.run(SweepFolder(store.root / "own"), [own], parallel=1000)
    assert results(SweepFolder(store.root / "own"), [own])[0].facts["environment"][COMPILE_THREADS] == "7"


def test_finished_jobs_are_not_run_again_but_damaged_ones_are(store: SweepFolder) -> None:
    jobs = [make_job("a"), make_job("b", "segfault"), make_job("c", "disk_full"), make_job("d")]
    sweeps.run(store, jobs, retries=0)
    store.result_file(jobs[3].id).write_text('{"schema": 1, "job_id"')  # cut short
    recorder = sweeps.run(store, jobs, retries=0)
    assert [job for kind, job in recorder.events if kind == "started"] == [jobs[2].id, jobs[3].id]
    assert [one.status for one in results(store, jobs)] == [PASS, CRASH, INFRASTRUCTURE, PASS]


def test_a_reference_without_tensors_is_made_again_when_it_is_needed(store: SweepFolder) -> None:
    reference = make_job("m", measure="reference")
    accuracy = make_job("m", measure="accuracy", needs=((reference, "reference"),))
    sweeps.run(store, [reference, accuracy])
    assert sweeps.run(store, [reference, accuracy]).events == []
    store.result_file(accuracy.id).unlink()
    recorder = sweeps.run(store, [reference, accuracy])
    assert [job for kind, job in recorder.events if kind == "started"] == [reference.id, accuracy.id]
    assert results(store, [accuracy])[0].facts["references"] == [True]


def test_stop_on_failure_leaves_the_rest_for_later(store: SweepFolder) -> None:
    jobs = [make_job("a"), make_job("b", "segfault"), make_job("c")]
    sweeps.run(store, jobs, stop_on_failure=True)
    assert store.read_result(jobs[2].id) is None
    sweeps.run(store, jobs, stop_on_failure=True)
    assert [one.status for one in results(store, jobs)] == [PASS, CRASH, PASS]


def test_a_worker_that_never_begins_is_an_infrastructure_failure(
    store: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stuck.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(folder)]))
    jobs = [make_job("a", preload="stuck"), make_job("b")]
    sweeps.run(store, jobs, hang_s=1.5, retries=0)
    assert [one.status for one in results(store, jobs)] == [INFRASTRUCTURE, PASS]
    failure = results(store, jobs)[0].failure
    assert failure is not None
    assert "did not begin to run" in failure.message


def test_code_of_its_own_that_kills_its_server_is_tried_again_without_one(store: SweepFolder, tmp_path: Path) -> None:
    (tmp_path / "kills.py").write_text("import os; os.kill(os.getpid(), 9)")
    own = {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path)])}
    jobs = [make_job("a", preload="kills", env=own), make_job("b")]
    sweeps.run(store, jobs)
    assert [(one.status, one.attempt) for one in results(store, jobs)] == [(PASS, 2), (PASS, 1)]


def test_a_result_that_cannot_be_written_stops_the_run_with_a_reason(store: SweepFolder) -> None:
    job = make_job("a", verdict=Verdict(status=UNSUPPORTED, reason="gone"))
    store.root.mkdir(exist_ok=True)
    store.jobs.write_text("a file where a folder has to be")
    with pytest.raises(UsageError, match=r"cannot be written into .*resume"):
        sweeps.run(store, [job])


# -- interrupts, in an orchestrator of its own


def orchestrator(store: SweepFolder, jobs: list[JobSpec], **settings: object) -> subprocess.Popen[bytes]:
    write_sweep(store, jobs)
    command = [sys.executable, "-m", "fakes.sweeps", str(store), json.dumps(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def starts(store: SweepFolder) -> list[str]:
    file = store.root / "starts.txt"
    return file.read_text().split() if file.exists() else []


LATEST_S = 120.0
"""For what takes a moment; a busy machine has this long before a test that would hang fails instead."""


def wait_until_started(store: SweepFolder, job: JobSpec) -> None:
    end = time.monotonic() + LATEST_S
    while job.id not in starts(store):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_once_finishes_what_runs_and_starts_nothing_more(store: SweepFolder, mark: str) -> None:
    end = store.root / "end"
    jobs = [make_job("a"), make_job("b", f"until {end}"), make_job("c")]
    process = orchestrator(store, jobs)
    wait_until_started(store, jobs[1])
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any(b"Ctrl-C again" in line for line in process.stderr)  # only now may the job end
    end.touch()
    process.communicate(timeout=LATEST_S)
    assert process.returncode == 0
    assert [one.status for one in results(store, jobs[:2])] == [PASS, PASS]
    assert store.read_result(jobs[2].id) is None
    assert left(mark) == []


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_ctrl_c_twice_and_sigterm_kill(
    store: SweepFolder,
    mark: str,
    numbers: tuple[signal.Signals, ...],
) -> None:
    jobs = [make_job("a"), make_job("b", "hang"), make_job("c")]
    process = orchestrator(store, jobs)
    wait_until_started(store, jobs[1])
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)
    process.communicate(timeout=LATEST_S)
    assert process.returncode == 0
    assert [isinstance(store.read_result(job.id), JobResult) for job in jobs] == [True, False, False]
    assert left(mark) == []


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_after_kill_9_nothing_is_left_running_and_nothing_finished_is_run_again(
    store: SweepFolder,
    mark: str,
    launcher: str,
) -> None:
    jobs = [make_job("a", launcher=launcher), make_job("b", "hang", timeout_s=3.0, launcher=launcher)]
    jobs.append(make_job("c", launcher=launcher))
    process = orchestrator(store, jobs)
    wait_until_started(store, jobs[1])
    process.kill()
    process.communicate(timeout=LATEST_S)
    assert left(mark) == []
    assert store.read_result(jobs[1].id) is None

    again = orchestrator(store, jobs)
    again.communicate(timeout=LATEST_S)
    assert [one.status for one in results(store, jobs)] == [PASS, TIMEOUT, PASS]
    assert [starts(store).count(job.id) for job in jobs] == [1, 2, 1]


def test_two_orchestrators_cannot_run_one_folder(store: SweepFolder) -> None:
    end = store.root / "end"
    jobs = [make_job("a", f"until {end}")]
    process = orchestrator(store, jobs)
    wait_until_started(store, jobs[0])
    with pytest.raises(UsageError, match=f"in use by process {process.pid} on "), locked(store, 0, 1):
        pass
    with pytest.raises(UsageError, match="in use"), locked(store, 0, 2):
        pass
    end.touch()
    process.communicate(timeout=LATEST_S)
    with locked(store, 0, 2), locked(store, 1, 2):  # shards of one sweep may run side by side
        with pytest.raises(UsageError, match="in use"), locked(store, 0, 1):
            pass
        with pytest.raises(UsageError, match="in use"), locked(store, 1, 2):
            pass


def test_nohup_is_respected(store: SweepFolder) -> None:
    end = store.root / "end"
    jobs = [make_job("a", f"until {end}")]
    write_sweep(store, jobs)
    command = ["nohup", sys.executable, "-m", "fakes.sweeps", str(store), "{}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_started(store, jobs[0])
    process.send_signal(signal.SIGHUP)
    end.touch()
    process.wait(LATEST_S)
    assert results(store, jobs)[0].status == PASS


def test_shards_together_run_every_job_once(store: SweepFolder) -> None:
    gone = Verdict(status=UNSUPPORTED, reason="gone")  # no process: this is about who does what
    jobs = [make_job(name, does, verdict=gone) for name in "abc" for does in ("pass", "raise")]
    write_sweep(store, jobs)
    recorders = [sweeps.Recorder(), sweeps.Recorder()]
    for shard, recorder in enumerate(recorders):
        run_shard(str(store), shard, 2, Settings(), recorder)
    done = [[job for _, job in recorder.events] for recorder in recorders]
    assert done == [[job.id for job in part] for part in cut(JobGraph(tuple(jobs)), 2)]
    assert sorted(done[0] + done[1]) == sorted(job.id for job in jobs)
    run_shard(str(store), 0, 1, Settings(), again := sweeps.Recorder())
    assert again.events == []
    with pytest.raises(UsageError, match="no shard 2 of 2"):
        run_shard(str(store), 2, 2, Settings())


@pytest.mark.parametrize(
    ("does", "launcher"),
    [("once SIGTERM", "fork"), ("once SIGTERM", "subprocess"), ("once SIGHUP", "fork"), ("once SIGINT", "fork")]
    + [("once SIGKILL", "fork"), ("once SIGKILL", "subprocess"), ("once SIGSTOP", "fork")],
)
def test_a_job_that_somebody_else_ended_or_stopped_is_run_again(store: SweepFolder, does: str, launcher: str) -> None:
    job = make_job("a", does, launcher=launcher, timeout_s=2.0)
    sweeps.run(store, [job])
    assert [(one.status, one.attempt) for one in results(store, [job])] == [(PASS, 2)]


def test_without_another_attempt_the_row_says_who_it_was(store: SweepFolder) -> None:
    expected = {
        "once SIGTERM": (INFRASTRUCTURE, "ended by SIGTERM, which somebody sent"),
        "once SIGSTOP": (INFRASTRUCTURE, "was stopped (SIGSTOP, or a debugger)"),
        "once SIGKILL": (CRASH, "killed by SIGKILL"),
    }
    jobs = [make_job("a", does, timeout_s=2.0) for does in expected]
    sweeps.run(store, jobs, retries=0)
    for (status, reason), found in zip(expected.values(), results(store, jobs), strict=True):
        assert found.status == status
        assert found.failure is not None
        assert reason in found.failure.message


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_server_that_is_stopped_or_ended_costs_one_attempt(
    store: SweepFolder, launcher: str, number: signal.Signals
) -> None:
    jobs = [make_job(name, "sleep 0.5", launcher=launcher, timeout_s=2.0) for name in "ab"]
    hit = []

    class Hits(sweeps.Recorder):
        def started(self, job: JobSpec) -> None:
            if job is jobs[1] and not hit:
                hit.append(processes.server_pid(launcher))
                threading.Timer(0.3, os.kill, (hit[0], number)).start()

    begin = time.monotonic()
    with Processes(worker_environment(), sweeps.ENTRY, preload=()) as processes:
        Scheduler(store, jobs, Settings(), Hits(), processes).run()
    assert time.monotonic() - begin < 15.0
    assert [one.status for one in results(store, jobs)] == [PASS, PASS]


def test_a_server_that_is_stopped_between_two_jobs_costs_the_time_in_which_one_must_begin(store: SweepFolder) -> None:
    jobs = [make_job(name) for name in "ab"]

    class Stops(sweeps.Recorder):
        def finished(self, job: JobSpec, result: JobResult) -> None:
            server = processes.server_pid("fork")
            if job is jobs[0] and server is not None:
                os.kill(server, signal.SIGSTOP)

    begin = time.monotonic()
    with Processes(worker_environment(), sweeps.ENTRY, preload=()) as processes:
        Scheduler(store, jobs, Settings(hang_s=5.0), Stops(), processes).run()
    assert time.monotonic() - begin < 30.0
    assert [(one.status, one.attempt) for one in results(store, jobs)] == [(PASS, 1), (PASS, 2)]


def test_a_server_that_ignores_its_end_is_waited_for_and_killed(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last resort: a killed job whose end nobody reports. The scheduler then waits without a deadline."""
    monkeypatch.setattr("orchestrator.execution.scheduler.KILL_S", 0.2)
    monkeypatch.setattr("orchestrator.execution.processes.Processes.kill", lambda self, job: None)
    job = make_job("a", "hang", timeout_s=0.5)
    sweeps.run(store, [job], retries=0)
    assert [one.status for one in results(store, [job])] == [TIMEOUT]


def test_an_orchestrator_killed_beside_its_stopped_server_leaves_nothing(store: SweepFolder, mark: str) -> None:
    jobs = [make_job("a", "hang")]
    process = orchestrator(store, jobs)
    wait_until_started(store, jobs[0])
    (server,) = [child for child in psutil.Process(process.pid).children() if "worker.server" in str(child.cmdline())]
    server.send_signal(signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=LATEST_S)
    assert left(mark) == []


def test_how_long_a_job_took_does_not_depend_on_the_clock_of_the_day(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    attempt = Attempt(
        job=make_job("a"),
        number=1,
        turn=Turn(store.root, (), ""),
        began=began,
        clock=time.monotonic() - 5.0,
        deadline=0.0,
        log_start=0,
        oom_kills=0,
    )
    monkeypatch.setattr(time, "time", lambda: began - 3600.0)
    found = result_of_death(store, attempt, -signal.SIGSEGV)
    assert 5.0 <= found.ended - found.started < 6.0


def test_a_result_that_is_damaged_before_it_is_read_is_made_again(tmp_path: Path) -> None:
    class DamagedOnce(SweepFolder):
        damaged = False

        def read_result(self, job_id: str) -> JobResult | Unreadable | None:
            file = self.result_file(job_id)
            if file.exists() and not self.damaged:
                self.damaged = True
                file.write_text('{"schema": 1, "job_')
            return super().read_result(job_id)

    store = DamagedOnce(tmp_path)
    job = make_job("a")
    sweeps.run(store, [job])
    found = store.read_result(job.id)
    assert store.damaged
    assert isinstance(found, JobResult)
    assert (found.status, found.attempt) == (PASS, 2)


def test_what_an_earlier_run_left_damaged_does_not_excuse_a_crash(store: SweepFolder) -> None:
    job = make_job("m", "segfault")
    store.job(job.id).mkdir(parents=True)
    store.result_file(job.id).write_text("{")
    sweeps.run(store, [job])
    found = store.read_result(job.id)
    assert isinstance(found, JobResult)
    assert found.status == CRASH


def test_what_a_killed_run_left_in_the_folder_goes_when_it_is_resumed(store: SweepFolder) -> None:
    """Caches of finished jobs, half-removed folders, half-written files."""
    jobs = [make_job("a"), make_job("b"), make_job("c", measure="reference")]
    sweeps.run(store, jobs)
    left_behind = [
        store.cache(jobs[0].family) / "inductor",
        store.caches / "x.removed",
        store.reference(jobs[2].id),
    ]
    for folder in left_behind:
        folder.mkdir(parents=True)
    half = store.job(jobs[1].id) / ".result.json.abc.tmp"
    half.write_text("{")
    store.result_file(jobs[1].id).unlink()
    sweeps.run(store, jobs)
    assert not store.caches.exists()
    assert not store.references.exists()
    assert not half.exists()


def test_a_folder_that_becomes_read_only_stops_the_run_with_a_reason(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    job = make_job("a")
    monkeypatch.setattr("orchestrator.execution.scratch.os.rename", read_only)
    store.cache(job.family).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"Read-only file system.*resume"):
        sweeps.run(store, [job])


def test_the_agenda_keeps_no_samples(store: SweepFolder) -> None:
    job = make_job("a")
    full = replace(
        result(), samples=(Samples(metric="latency", unit="s", better="lower", values=(1.0,)),), facts={"a": 1}
    )
    assert gist(full) == result()
    store.write_result(replace(full, job_id=job.id))
    assert standing_results(store, [job])[job.id].samples == ()


def test_what_a_failure_handed_down_is_taken_back_with_it(store: SweepFolder) -> None:
    """The result of a job that had failed is damaged; it is run again, passes now, and so must what needs it."""
    first = make_job("m", "once SIGSEGV", measure="reference")
    second = make_job("m", measure="accuracy", needs=((first, "reference"),))
    third = make_job("m", needs=((second, "gate"),))
    jobs = [first, second, third]
    sweeps.run(store, jobs)
    assert [one.status for one in results(store, jobs)] == [CRASH, CRASH, CRASH]
    assert sweeps.run(store, jobs).events == []
    store.result_file(first.id).unlink()
    sweeps.run(store, jobs)
    assert [one.status for one in results(store, jobs)] == [PASS, PASS, PASS]


def test_a_reference_that_a_job_could_not_use_is_made_again(store: SweepFolder) -> None:
    reference = make_job("m", measure="reference")
    accuracy = make_job("m", "disk_full", measure="accuracy", needs=((reference, "reference"),))
    sweeps.run(store, [reference, accuracy], retries=0, keep_references=True)
    assert sorted(standing_results(store, [reference, accuracy])) == []


# -- the real worker


@pytest.mark.slow
def test_in_turns_each_is_timed_for_as_long_as_alone(store: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, "fakes")
    eager = PluginSpec(name=EAGER, target="orchestrator.compilers.eager.Eager")
    options = {**QUICK, "seconds": 0.5}
    first = make_job("m", compiler=eager, measure_options=options)
    second = make_job("m", compiler=eager, measure_options=options, env={"SIDE": "b"}, needs=((first, "in_turns"),))
    with Processes(worker_environment()) as processes:
        Scheduler(store, [first, second], Settings(), sweeps.Recorder(), processes).run()
    found = results(store, [first, second])
    for one, other in (found, found[::-1]):
        assert one.status == PASS, one.failure
        assert one.facts["turns"]["count"] >= 4
        assert one.facts["noise"]["wall_s"] > 0.9  # its own half second, and that of the other
        assert one.facts["turns"]["waited_s"] > 0.4
        assert one.started < other.ended


@pytest.mark.alone
@pytest.mark.slow
def test_a_misbehaving_compiler_in_a_process_of_its_own_costs_one_row_each(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fork it does the same through the command: `test_end_to_end`."""
    launcher = "subprocess"
    monkeypatch.setenv(PACKAGES_VARIABLE, "fakes")
    eager = PluginSpec(name=EAGER, target="orchestrator.compilers.eager.Eager")
    baseline = make_job("m", compiler=eager, launcher=launcher, measure_options=dict(QUICK))
    behaviours = ("segfault", "hang", "allocate", "pass")
    jobs = [baseline] + [
        make_job(
            "m", does, needs=((baseline, "baseline"),), launcher=launcher, timeout_s=15.0, measure_options=dict(QUICK)
        )
        for does in behaviours
    ]
    with Processes(worker_environment()) as processes:
        Scheduler(store, jobs, Settings(memory_limit_gib=2.0), sweeps.Recorder(), processes).run()
    found = results(store, jobs)
    expected = [PASS, CRASH, TIMEOUT, OUT_OF_MEMORY, PASS]
    assert [one.status for one in found] == expected, [one.failure for one in found]
    reasons = [one.failure.message for one in found if one.failure]
    assert len(set(reasons)) == len(reasons) == 3
    assert {one.failure.phase for one in found if one.failure} == {"compile"}
