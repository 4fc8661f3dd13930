"""Servers and workers with real processes: what a worker finds, how it ends, and that nothing stays behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from fakes.leftovers import left, marked
from fakes.sweeps import ENTRY, LAUNCHERS, make_job

from orchestrator.execution import orphans
from orchestrator.execution.environment import NOTHING, job_environment, worker_environment
from orchestrator.execution.orphans import MARK
from orchestrator.execution.processes import Event, Launch, Processes
from orchestrator.exits import exit_words
from orchestrator.records import JobResult, JobSpec, PluginSpec
from orchestrator.store import SweepFolder
from orchestrator.worker import server
from orchestrator.worker.process import BY_EXEC

pytestmark = pytest.mark.usefixtures("mark")


@pytest.fixture
def processes(mark: str) -> Iterator[Processes]:
    with Processes(worker_environment(), ENTRY, preload=()) as processes:
        yield processes


def temporary(store: SweepFolder, job: JobSpec) -> Path:
    return store.job(job.id) / "temporary"


def start(
    processes: Processes,
    store: SweepFolder,
    job: JobSpec,
    memory_limit: int | None = None,
    own: Mapping[str, str] = NOTHING,
    one_layout: bool = False,
) -> None:
    store.write_job(job)
    temporary(store, job).mkdir(exist_ok=True)
    env = job_environment(store.cache(job.family), temporary(store, job), job)
    log = str(store.log_file(job.id))
    launch = Launch(job=job.id, folder=str(store), env=env, log=log, memory_limit=memory_limit)
    processes.start(job.launcher, launch, own, one_layout)


def wait_for(processes: Processes, job: JobSpec, *kinds: str, within: float = 20.0) -> Event:
    end = time.monotonic() + within
    while time.monotonic() < end:
        for event in processes.wait(end - time.monotonic()):
            if event.job == job.id and event.kind in kinds:
                return event
    raise AssertionError(f"no event {kinds} within {within} s")


def outcome(processes: Processes, store: SweepFolder, job: JobSpec) -> JobResult:
    start(processes, store, job)
    assert wait_for(processes, job, "exited").code == 0, store.log_file(job.id).read_text()
    result = store.read_result(job.id)
    assert isinstance(result, JobResult)
    return result


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_worker_is_alone_and_finds_exactly_its_environment(
    launcher: str, processes: Processes, store: SweepFolder, mark: str
) -> None:
    first = outcome(processes, store, make_job("a", launcher=launcher, env={"ONLY_FIRST": "1"}))
    job = make_job("b", launcher=launcher, env={"HF_HUB_OFFLINE": "0"})
    second = outcome(processes, store, job)

    expected = worker_environment() | job_environment(store.cache(job.family), temporary(store, job), job)
    found = dict(second.facts["environment"])
    for name in (MARK, "LC_CTYPE", "PYTEST_CURRENT_TEST"):  # set by us, by Python (PEP 538) and by pytest meanwhile
        expected.pop(name, None)
        found.pop(name, None)
    assert found == expected
    assert first.facts["environment"]["ONLY_FIRST"] == "1"
    assert found["HF_HUB_OFFLINE"] == "0"
    pid, group, session = second.facts["group"]
    assert pid == group == session != os.getpid()
    assert second.facts["threads"] == 1
    log = str(store.log_file(job.id))
    assert [name for name in second.facts["descriptors"] if name != log] == [os.devnull]


def test_servers_of_one_layout_have_the_c_library_at_one_address(
    processes: Processes, store: SweepFolder, tmp_path: Path
) -> None:
    """What takes turns is compared: code at other addresses would be faster or slower in all rounds alike."""
    if subprocess.run(["setarch", "--addr-no-randomize", "true"], capture_output=True).returncode:
        pytest.skip("this system does not let addresses be the same")

    def addresses(number: int, one_layout: bool) -> str:
        own = {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path / str(number))])}
        job = make_job(f"of_{number}", env=own)
        before = {child.pid for child in psutil.Process().children()}
        start(processes, store, job, own=own, one_layout=one_layout)
        assert wait_for(processes, job, "exited").code == 0, store.log_file(job.id).read_text()
        (server,) = {child.pid for child in psutil.Process().children()} - before
        maps = Path(f"/proc/{server}/maps").read_text().splitlines()
        return next(line.split()[0] for line in maps if "/libc" in line)

    assert addresses(0, True) == addresses(1, True)
    assert addresses(2, False) != addresses(3, False)  # nor is this process's own start changed


def test_where_addresses_cannot_be_the_same_each_process_has_its_own(
    processes: Processes, store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a container's seccomp profile refuses the call: no fork, whose server all rounds would share."""
    monkeypatch.setattr("orchestrator.execution.processes._allows_one_layout", lambda: False)
    start(processes, store, job := make_job("a", launcher="fork"), one_layout=True)
    assert wait_for(processes, job, "exited").code == 0, store.log_file(job.id).read_text()
    assert processes.server_pid("subprocess")
    assert processes.server_pid("fork") is None


def test_each_environment_has_a_server_and_few_that_idle_stay(
    processes: Processes, store: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.execution.processes.KEPT", 3)

    def served(number: int) -> set[int]:
        """Run a job in an environment of that number; return the servers that there are then."""
        own = {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path / str(number))])}
        job = make_job(f"of_{number}", env=own)
        start(processes, store, job, own=own)
        assert wait_for(processes, job, "exited").code == 0, store.log_file(job.id).read_text()
        children = psutil.Process().children()
        return {child.pid for child in children if "orchestrator.worker.server" in child.cmdline()}

    several = [served(number) for number in range(3)]
    assert [len(pids) for pids in several] == [1, 2, 3]
    assert served(0) == several[-1]
    (first,) = several[0]
    (second,) = several[1] - several[0]
    more = served(3)
    assert len(more) == 3
    assert first in more  # used again since
    assert second not in more


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("does", "code", "in_log"),
    [
        ("raise", os.EX_TEMPFAIL, "this compiler always raises"),
        ("segfault", -signal.SIGSEGV, "in behave"),
        ("sigkill", -signal.SIGKILL, ""),
        ("exit", 3, ""),
        ("sys.exit", 4, ""),
        ("allocate_in_c", -signal.SIGABRT, "std::bad_alloc"),
    ],
)
def test_every_end_is_reported(
    launcher: str, does: str, code: int, in_log: str, processes: Processes, store: SweepFolder
) -> None:
    job = make_job("a", does, launcher=launcher)
    start(processes, store, job, memory_limit=1 << 30)
    assert wait_for(processes, job, "exited").code == code
    assert in_log in store.log_file(job.id).read_text()


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("does", ["leave_children", "result_then segfault"])
def test_what_a_worker_leaves_behind_is_gone_when_its_end_is_reported(
    launcher: str, does: str, processes: Processes, store: SweepFolder, mark: str
) -> None:
    job = make_job("a", does, launcher=launcher)
    start(processes, store, job)
    wait_for(processes, job, "exited")
    assert left(mark, "sleep") == []  # those that left the group are ended right after the report
    assert isinstance(store.read_result(job.id), JobResult)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_hanging_worker_is_killed_with_its_group_and_shows_its_stack(
    launcher: str, processes: Processes, store: SweepFolder, mark: str
) -> None:
    job = make_job("a", "hang", launcher=launcher)
    start(processes, store, job)
    wait_for(processes, job, "running")
    while not any("sleep 1000" in line for line in marked(mark)):
        time.sleep(0.02)
    processes.dump(job.id)
    time.sleep(0.2)
    processes.kill(job.id)
    assert wait_for(processes, job, "exited").code == -signal.SIGKILL
    assert [line for line in marked(mark) if "sleep" in line] == []
    assert "in behave" in store.log_file(job.id).read_text()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_lost_server_takes_its_workers_along_and_is_replaced(
    launcher: str, processes: Processes, store: SweepFolder, mark: str
) -> None:
    job = make_job("a", "hang", launcher=launcher)
    start(processes, store, job)
    wait_for(processes, job, "running")
    server = processes.server_pid(launcher)
    assert server is not None
    os.kill(server, signal.SIGKILL)
    assert wait_for(processes, job, "lost").message == f"the worker server ended with {exit_words(-signal.SIGKILL)}"
    assert left(mark) == []
    assert outcome(processes, store, make_job("b", launcher=launcher)).status == "pass"


def test_leaving_the_context_ends_everything(store: SweepFolder, mark: str) -> None:
    with Processes(worker_environment(), ENTRY, preload=()) as processes:
        for launcher in LAUNCHERS:
            job = make_job("a", "hang", launcher=launcher)
            start(processes, store, job)
            wait_for(processes, job, "running")
        assert marked(mark) != []
    assert marked(mark) == []


def test_a_module_that_cannot_be_preloaded_is_told_in_the_log(processes: Processes, store: SweepFolder) -> None:
    job = make_job("a", preload="no_such_module")
    assert outcome(processes, store, job).status == "pass"
    assert "No module named 'no_such_module'" in store.log_file(job.id).read_text()


@pytest.mark.parametrize(
    ("preload", "why"),
    [
        ("fakes.initialises_cuda", "importing fakes.initialises_cuda initialised CUDA"),
        ("fakes.counts_gpus", "something that was imported has touched CUDA"),
    ],
)
def test_what_initialises_cuda_when_it_is_imported_costs_cuda_jobs_the_fork_and_they_say_so(
    preload: str, why: str, processes: Processes, store: SweepFolder
) -> None:
    def on(device: str, job: JobSpec) -> JobSpec:
        return dataclasses.replace(job, workload=dataclasses.replace(job.workload, device=device))

    gpu, cpu = on("cuda:0", make_job("a", preload=preload)), make_job("b", preload=preload)
    plain = on("cuda:0", make_job("c"))
    assert outcome(processes, store, plain).facts["environment"].get(BY_EXEC) is None  # before: a fork
    for job in (gpu, on("cuda:1", make_job("d"))):  # it, and every later one
        assert outcome(processes, store, job).facts["environment"][BY_EXEC].startswith(why)
        assert f"{why}" in store.log_file(job.id).read_text()
        assert "started by exec" in store.log_file(job.id).read_text()
    assert BY_EXEC not in outcome(processes, store, cpu).facts["environment"]


def test_a_job_that_runs_by_exec_says_so_in_its_facts(store: SweepFolder, mark: str) -> None:
    """The worker itself, on a machine without CUDA: the job is unsupported there, however it was started."""
    job = make_job("a", builder=PluginSpec(name="a", target="fakes.plugins.Perceptron"))
    job = dataclasses.replace(job, workload=dataclasses.replace(job.workload, device="cuda:7"))
    entry = "orchestrator.worker.run:run_job"
    with Processes(worker_environment(), entry, preload=("torch", "fakes.initialises_cuda")) as processes:
        result = outcome(processes, store, job)
    (note,) = result.facts["notes"]
    assert note.startswith("started by exec, not as a fork: what every job needs initialised CUDA")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (0, ""),
        (server.CUDA_ERROR_NOT_INITIALIZED, "something that was imported has touched CUDA, which no fork survives"),
        (None, ""),  # no driver: the job itself says so
    ],
)
def test_a_fork_asks_the_driver_itself_whether_it_can_use_cuda(
    answer: int | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def library(name: str) -> Any:
        assert name == "libcuda.so.1"
        if answer is None:
            raise OSError(name)
        return SimpleNamespace(cuInit=lambda flags: answer)

    monkeypatch.setattr(server.ctypes, "CDLL", library)
    assert server._a_fork_cannot() == bool(answer)
    assert server._why_no_fork_has_cuda() == why


def test_a_fork_that_dies_or_hangs_when_it_initialises_cuda_cannot_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_a_fork_cannot", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert server._why_no_fork_has_cuda() == f"a fork that initialised CUDA ended with {-signal.SIGKILL}"
    monkeypatch.setattr(server, "_a_fork_cannot", lambda: time.sleep(60))
    monkeypatch.setattr(server, "PROBE_S", 0.2)
    assert server._why_no_fork_has_cuda() == "a fork that initialised CUDA did not end within 0 s"
    monkeypatch.setattr(server, "_cuda_is_initialised", lambda: True)
    assert server._why_no_fork_has_cuda().startswith("what every job needs initialised CUDA")


def test_a_server_that_cannot_start_says_why(store: SweepFolder, mark: str) -> None:
    with Processes(worker_environment(), "no.such:entry", preload=()) as processes:
        job = make_job("a")
        start(processes, store, job)
        message = wait_for(processes, job, "lost").message
    assert message.endswith("No module named 'no'")
    assert len(message) < 600


def test_a_memory_limit_is_felt_in_the_worker_only(processes: Processes, store: SweepFolder) -> None:
    job = make_job("a", "allocate")
    start(processes, store, job, memory_limit=512 << 20)
    wait_for(processes, job, "exited")
    assert "MemoryError" in store.log_file(job.id).read_text()
    assert outcome(processes, store, make_job("b")).status == "pass"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_nothing_that_a_job_changes_is_seen_by_the_next(launcher: str, store: SweepFolder, mark: str) -> None:
    """Globals of torch, random state, environment, working directory, umask, temporary files."""
    with Processes(worker_environment(), ENTRY, preload=("torch",)) as processes:
        before = outcome(processes, store, make_job("a", launcher=launcher)).facts["inherited"]
        spoils = make_job("b", "spoil", launcher=launcher)
        outcome(processes, store, spoils)
        after = outcome(processes, store, make_job("c", launcher=launcher)).facts["inherited"]
    assert len(list(temporary(store, spoils).iterdir())) == 1  # it did leave something, in a folder of its own
    assert after == before
    assert after["temporary"] == []
    assert "SPOILED" not in after["environment"]
    if launcher == "fork":
        assert after["torch"][0] == "torch.float32"


def test_a_daemon_of_a_server_that_was_killed_is_found_and_ended(
    processes: Processes, store: SweepFolder, mark: str
) -> None:
    """It has left the worker's group and lost its parent: only its environment still says whose it is."""
    job = make_job("a", "hang_detached")
    start(processes, store, job)
    wait_for(processes, job, "running")
    while not any("sleep 1000" in line for line in marked(mark)):
        time.sleep(0.02)
    server = processes.server_pid("fork")
    assert server is not None
    os.kill(server, signal.SIGKILL)
    wait_for(processes, job, "lost")
    assert left(mark, "sleep") == []


def test_what_a_killed_run_left_is_ended_by_the_next_one_of_the_folder(tmp_path: Path, mark: str) -> None:
    here = orphans.own(orphans.of_run(str(tmp_path / "a"), 0, 1), "fork")
    there = orphans.own(orphans.of_run(str(tmp_path / "b"), 0, 1), "fork")
    sleepers = [subprocess.Popen(["sleep", "1000"], env={**os.environ, orphans.MARK: one}) for one in (here, there)]
    try:
        assert orphans.kill(orphans.of_run(str(tmp_path / "a"), 0, 1)) == ["sleep 1000"]
        assert sleepers[0].poll() is not None
        assert sleepers[1].poll() is None
    finally:
        sleepers[1].kill()
        sleepers[1].wait()


def test_a_stopped_process_is_told_from_one_that_is_slow(processes: Processes, store: SweepFolder, mark: str) -> None:
    job = make_job("a", "hang")
    start(processes, store, job)
    wait_for(processes, job, "running")
    assert not processes.stopped(job.id)
    server = processes.server_pid("fork")
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    while not processes.stopped(job.id):  # a moment later
        time.sleep(0.01)
    processes.kill(job.id)
    assert wait_for(processes, job, "lost").message
    assert left(mark) == []


def test_a_spare_worker_that_is_stopped_dies_with_its_server(
    processes: Processes, store: SweepFolder, mark: str
) -> None:
    """It cannot see that its pipe ends; the kernel ends it."""
    outcome(processes, store, make_job("a"))
    server = processes.server_pid("fork")
    assert server is not None
    (spare,) = psutil.Process(server).children()
    spare.suspend()
    os.kill(server, signal.SIGKILL)
    _, alive = psutil.wait_procs([spare], 5.0)
    assert alive == []
