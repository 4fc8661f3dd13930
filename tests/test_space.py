"""Room on the disk: what a sweep needs, and what is said before and while there is too little."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import sweeps
from fakes.sweeps import make_job, results

from orchestrator.errors import UsageError
from orchestrator.execution.environment import worker_environment
from orchestrator.execution.processes import Event, Processes
from orchestrator.execution.scheduler import Scheduler
from orchestrator.execution.settings import Settings
from orchestrator.execution.space import FILES_BYTES, check, needed, shortage
from orchestrator.planning.cost import reference_bytes
from orchestrator.records import INFRASTRUCTURE, PASS, JobSpec
from orchestrator.store import SweepFolder

pytestmark = pytest.mark.usefixtures("mark")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def with_references() -> list[JobSpec]:
    """Two models, 1 GiB of tensors each, used by two jobs each."""
    jobs = []
    for model in "ab":
        reference = replace(make_job(model, measure="reference"), disk_bytes=2.0**30)
        needs = ((reference, "reference"),)
        jobs += [reference, *(make_job(model, f"pass {n}", measure="accuracy", needs=needs) for n in range(2))]
    return jobs


def test_tensors_count_while_a_job_needs_them() -> None:
    jobs = with_references()
    assert needed(jobs, keep_references=False) == pytest.approx(2**30 + 5 * FILES_BYTES, abs=2 * FILES_BYTES)
    assert needed(jobs, keep_references=True) == 2 * 2**30 + 6 * FILES_BYTES
    side_by_side = [jobs[i] for i in (0, 3, 1, 4, 2, 5)]
    assert needed(side_by_side, keep_references=False) == pytest.approx(2 * 2**30, rel=0.001)
    assert needed(jobs[1:3], keep_references=False) == 2 * FILES_BYTES  # the reference is there already


def test_a_reference_in_training_is_all_gradients_of_two_inputs_twice() -> None:
    workload = make_job("m").workload
    assert reference_bytes(workload, 110.0, training=True) == 2 * 110e6 * (8 + 4)
    assert reference_bytes(replace(workload, dtype="float16"), 110.0, training=True) == 2 * 110e6 * (8 + 2)
    assert reference_bytes(workload, 110.0, training=False) == 0.0
    assert reference_bytes(workload, None, training=True) == 0.0


def test_a_sweep_that_cannot_fit_is_refused_before_anything_runs(disk: Path) -> None:
    store = SweepFolder(disk / "not" / "there" / "yet")
    with pytest.raises(UsageError, match=r"has 16 MiB left, and 6 jobs need at least 1024 MiB .*free some"):
        check(store, with_references(), 1.0, keep_references=False)
    check(store, [make_job("a")], 1.0, keep_references=False)


def test_a_disk_that_fills_up_stops_the_sweep_and_room_lets_it_go_on(disk: Path) -> None:
    store = SweepFolder(disk)
    jobs = [make_job(name) for name in "abcd"]
    filler = disk / "filler"

    class Fills(sweeps.Recorder):
        def finished(self, job: JobSpec, result: object) -> None:
            if job is jobs[1]:
                filler.write_bytes(bytes(13 << 20))

    settings = Settings(disk_reserve_mib=4.0)
    with (
        Processes(worker_environment(), sweeps.ENTRY, preload=()) as processes,
        pytest.raises(UsageError, match=r"only [0-3] MiB left .*resume"),
    ):
        Scheduler(store, jobs, settings, Fills(), processes).run()
    assert [one.status for one in results(store, jobs[:2])] == [PASS, PASS]
    assert [store.read_result(job.id) for job in jobs[2:]] == [None, None]
    assert shortage(store, 4.0) is not None
    filler.unlink()
    assert shortage(store, 4.0) is None
    sweeps.run(store, jobs, disk_reserve_mib=4.0)
    assert [one.status for one in results(store, jobs)] == [PASS] * 4


def test_a_disk_that_is_full_at_once_costs_no_result(disk: Path) -> None:
    """No warning was possible: the reserve is zero, and another program takes all that is left while a job runs."""
    store = SweepFolder(disk)
    jobs = [make_job("a"), make_job("b", "sleep 0.5"), make_job("c")]

    class Fills(sweeps.Recorder):
        def started(self, job: JobSpec) -> None:
            if job is jobs[1]:
                with (disk / "filler").open("wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(bytes(4096))
                    except OSError:
                        return

    with (
        Processes(worker_environment(), sweeps.ENTRY, preload=()) as processes,
        pytest.raises(UsageError, match="No space left on device"),
    ):
        Scheduler(store, jobs, Settings(disk_reserve_mib=0.0), Fills(), processes).run()
    assert [one.status for one in results(store, jobs[:1])] == [PASS]
    (disk / "filler").unlink()
    sweeps.run(store, jobs, disk_reserve_mib=1.0)
    assert [one.status for one in results(store, jobs)] == [PASS] * 3


@pytest.mark.parametrize("launcher", sweeps.LAUNCHERS)
def test_a_traceback_that_finds_no_room_is_no_crash(launcher: str, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the job raises: what it raised cannot even be printed into its log."""
    monkeypatch.setenv("FAKES_DISK", str(disk / "filler"))
    store, job = SweepFolder(disk), make_job("a", "fill_disk", launcher=launcher)
    ended = []

    class Frees(Processes):
        """Makes room again when the worker has ended."""

        def wait(self, timeout: float | None) -> list[Event]:
            events = super().wait(timeout)
            for event in events:
                if event.kind == "exited":
                    ended.append((event.code, store.log_file(job.id).read_text()))
                    (disk / "filler").unlink()
            return events

    with Frees(worker_environment(), sweeps.ENTRY, preload=()) as processes:
        Scheduler(store, [job], Settings(disk_reserve_mib=0.0, retries=0), sweeps.Recorder(), processes).run()
    assert ended == [(os.EX_TEMPFAIL, "")]
    assert [one.status for one in results(store, [job])] == [INFRASTRUCTURE]
