"""Locks of devices: who may run, who waits, in which turn, and that nobody's files come to harm."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes.leftovers import left
from fakes.sweeps import make_job, results, write_sweep

from orchestrator.errors import UsageError
from orchestrator.execution.devices import VARIABLE, Devices, Turn, gpu_names, lock_folder
from orchestrator.records import PASS, JobSpec
from orchestrator.store import SweepFolder

TIMED, JUDGED = make_job("timed"), make_job("judged", measure="accuracy")


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def turn(job: JobSpec, sweep: str = "/sweeps/one") -> Turn:
    return Devices(SweepFolder(sweep), enabled=True).turn(job)


def test_who_times_is_alone_and_who_waits_knows_why(locks: Path) -> None:
    first, second = turn(TIMED), turn(TIMED, "/sweeps/two")
    assert first.come()
    assert not second.come()
    assert second.reason.startswith(f"cpu: process {os.getpid()} of ")
    assert f"runs '{TIMED.title}' of /sweeps/one since " in second.reason
    first.leave()
    assert second.come()
    second.leave()


def test_jobs_that_time_nothing_run_beside_each_other_and_not_beside_one_that_does(locks: Path) -> None:
    shared = [turn(JUDGED), turn(JUDGED)]
    assert all(one.come() for one in shared)
    timed = turn(TIMED)
    assert not timed.come()
    shared[0].leave()
    assert not timed.come()
    shared[1].leave()
    assert timed.come()
    assert not turn(JUDGED).come()
    timed.leave()


def test_a_stream_of_jobs_that_share_does_not_keep_out_one_that_times(locks: Path) -> None:
    running, timed, late = turn(JUDGED), turn(TIMED), turn(JUDGED)
    assert running.come()
    assert not timed.come()
    assert not late.come()  # it could share, and waits behind the one that came before it
    assert "is the next to run" in late.reason
    running.leave()
    assert timed.come()
    assert not late.come()
    timed.leave()
    assert late.come()
    late.leave()


def test_one_that_gives_up_lets_the_others_on(locks: Path) -> None:
    running, tired, next_one = turn(TIMED), turn(TIMED), turn(TIMED)
    assert running.come()
    assert not tired.come()
    tired.leave()
    running.leave()
    assert next_one.come()
    next_one.leave()


def test_a_killed_holder_holds_nothing(locks: Path) -> None:
    code = (
        "import time; from test_devices import TIMED, turn; one = turn(TIMED); print(one.come(), flush=True);"
        "time.sleep(1000)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        mine = turn(TIMED)
        assert not mine.come()
        assert f"process {process.pid} of " in mine.reason
        process.kill()
        process.wait()
        assert mine.come()
        mine.leave()


def test_two_gpus_do_not_wait_for_each_other_and_the_cpu_waits_for_both(
    locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.execution.devices.gpu_names", lambda device, _: [device.replace(":", "-")])
    on = {device: with_device(TIMED, device) for device in ("cuda:0", "cuda:1")}
    first, second, cpu = turn(on["cuda:0"]), turn(on["cuda:1"]), turn(TIMED)
    assert first.come()
    assert second.come()
    assert not turn(on["cuda:0"]).come()
    assert not cpu.come()
    first.leave()
    second.leave()
    assert cpu.come()
    cpu.leave()


def test_ranks_hold_a_gpu_each(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr("orchestrator.execution.devices.gpu_names", lambda device, _: [device.replace(":", "-")])
    one, two = with_device(TIMED, "cuda:1"), with_device(TIMED, "cuda:2")
    mode = replace(one.workload.mode, options={"parallel": "ddp", "ranks": 2})
    both = turn(replace(one, workload=replace(one.workload, mode=mode)))
    assert both.come()
    assert not turn(one).come()
    assert not turn(two).come()
    assert turn(with_device(TIMED, "cuda:3")).come()
    both.leave()


def with_device(job: JobSpec, device: str) -> JobSpec:
    from dataclasses import replace

    return replace(job, workload=replace(job.workload, device=device))


class FakeNvml:
    """A driver with known GPUs: name and UUID each."""

    def __init__(self, *gpus: tuple[str, str]) -> None:
        self.gpus = gpus

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pynvml

        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: self.gpus[handle][0],
            "nvmlDeviceGetUUID": lambda handle: self.gpus[handle][1],
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)


@pytest.mark.parametrize(
    ("kinds", "variables", "device", "expected"),
    [
        ("AA", {}, "cuda:1", ["GPU-b"]),
        ("AA", {"CUDA_VISIBLE_DEVICES": "1"}, "cuda:0", ["GPU-b"]),
        ("AA", {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a"}, "cuda:0", ["GPU-b"]),
        ("AB", {}, "cuda:0", ["GPU-a", "GPU-b"]),  # the fastest comes first: it may be either
        ("AA", {"CUDA_VISIBLE_DEVICES": "MIG-c"}, "cuda:0", ["MIG-c"]),  # a slice is a device of its own
        ("AB", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "cuda:0", ["GPU-a"]),
    ],
)
def test_a_gpu_has_one_name_whoever_asks(
    kinds: str, variables: dict[str, str], device: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeNvml((kinds[0], "GPU-a"), (kinds[1], "GPU-b")).install(monkeypatch)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gpu_names(device) == expected


def test_a_job_waits_for_the_gpu_that_its_own_environment_names(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`execution.env`: what the scheduler's environment says is of no importance to the job."""
    FakeNvml(("A", "GPU-a"), ("A", "GPU-b")).install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    second = dataclasses.replace(with_device(TIMED, "cuda:0"), env={"CUDA_VISIBLE_DEVICES": "1"})
    one, other = turn(second), turn(second)
    assert one.come()
    assert not other.come()
    assert other.reason.startswith("GPU-b:")
    for each in (one, other):
        each.leave()


# -- in a folder that others write into


def test_a_link_under_our_name_is_refused_and_its_target_untouched(locks: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for make in (os.symlink, os.link):
        path = locks / "orchestrator-cpu.next.lock"
        make(precious, path)
        with pytest.raises(UsageError, match=r"execution.device_lock=false"):
            turn(TIMED).come()
        path.unlink()
    os.mkfifo(locks / "orchestrator-cpu.next.lock")
    with pytest.raises(UsageError, match="not a plain file"):
        turn(TIMED).come()
    assert precious.read_text() == "precious"


def test_what_others_wrote_into_a_lock_file_does_nothing_to_a_terminal(locks: Path) -> None:
    holder = turn(TIMED)
    assert holder.come()
    (locks / "orchestrator-cpu.lock").write_text(f"process {os.getpid()} \x1b[2Jof\nmallory " + "x" * 5000)
    waits = turn(TIMED)
    assert not waits.come()
    assert waits.reason.isprintable()
    assert len(waits.reason) < 500
    holder.leave()


def test_a_lock_file_that_somebody_removed_is_made_again(locks: Path) -> None:
    first = turn(TIMED)
    assert first.come()
    first.leave()
    for path in locks.iterdir():
        path.unlink()
    second = turn(TIMED)
    assert second.come()
    assert not turn(TIMED).come()
    second.leave()


def test_lock_files_are_everybodys_whatever_the_umask(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        one = turn(TIMED)
        assert one.come()
        one.leave()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in locks.iterdir()} == {0o666}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_waits_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import getpass, os, pwd; from test_devices import TIMED, turn; os.setuid(65534); one = turn(TIMED);"
        "print(one.come(), one.reason, flush=True)"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o1777)
        monkeypatch.setenv(VARIABLE, folder)
        one = turn(TIMED)
        assert one.come()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd="/"
        )
        one.leave()
    assert done.stdout.startswith("False cpu: process "), done.stderr


def test_a_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/no/such/folder")
    with pytest.raises(UsageError, match="/no/such/folder: there is no such folder"):
        lock_folder()


def test_switched_off_nothing_is_made_or_waited_for(locks: Path) -> None:
    turns = [Devices(SweepFolder("/sweep"), enabled=False).turn(TIMED) for _ in range(2)]
    assert all(one.come() for one in turns)
    assert list(locks.iterdir()) == []


# -- two sweeps on one machine


def sweep(folder: Path, jobs: list[JobSpec], **settings: object) -> tuple[SweepFolder, subprocess.Popen[str]]:
    store = SweepFolder(folder)
    write_sweep(store, jobs)
    command = [sys.executable, "-m", "fakes.sweeps", str(store), json.dumps(settings)]
    return store, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_two_sweeps_time_one_after_the_other_and_neither_is_kept_out(locks: Path, tmp_path: Path, mark: str) -> None:
    jobs = [make_job(name, "sleep 0.3") for name in "abcd"]
    running = [sweep(tmp_path / name, jobs) for name in ("one", "two")]
    said = [process.communicate(timeout=60)[1] for _, process in running]
    spans = sorted(
        (result.started, result.ended, number)
        for number, (store, _) in enumerate(running)
        for result in results(store, jobs)
    )
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans
    order = "".join(str(number) for *_, number in spans)
    both = order.lstrip(order[0]).rstrip(order[-1])  # while both want it, nobody has it twice in a row
    assert len(both) >= 2, order
    assert "00" not in both, order
    assert "11" not in both, order
    assert any("waiting for cpu: process " in text and "' of " in text for text in said)


def test_ctrl_c_ends_a_sweep_that_waits(locks: Path, tmp_path: Path, mark: str) -> None:
    holder = turn(TIMED)
    assert holder.come()
    job = make_job("a")
    store, process = sweep(tmp_path / "one", [job])
    assert process.stderr is not None
    assert "waiting for cpu" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)  # while the device is still held
    assert store.read_result(job.id) is None
    holder.leave()
    assert left(mark) == []
    again, process = sweep(tmp_path / "one", [job])
    process.communicate(timeout=60)
    assert [one.status for one in results(again, [job])] == [PASS]
