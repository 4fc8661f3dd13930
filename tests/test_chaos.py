"""The campaign of faults (`make chaos`) in its short form, and whether it would see what it looks for."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chaos import disk, invariants, moments
from chaos.schedule import FAULTS_A_SWEEP, KINDS, SHORT, schedule, short
from chaos.sweeps import ChaosSweep
from fakes import sweeps
from fakes.leftovers import MARK
from fakes.sweeps import make_job, write_sweep
from support.synthetic import SyntheticSweep

TESTS = Path(__file__).parent
NAMES = [kind.name for kind in KINDS]


@pytest.mark.long  # what it finds depends on chance: nothing that decides whether others may go on
def test_a_dozen_faults_cost_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--short"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 violations, " in done.stdout
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    counts = {name: count for name, count, *_ in cells}
    possible = [name for name, _, *outcome in cells if name in SHORT and outcome != ["cannot be done on this machine"]]
    assert {name: counts[name] for name in possible} == dict.fromkeys(possible, "1")


@pytest.mark.long
def test_commands_that_are_told_to_end_at_any_moment_leave_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "chaos.moments", "--tries", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "51 signals, 0 wrong" in done.stdout


def test_how_a_command_ended_that_was_told_to_is_looked_at() -> None:
    def wrong(code: int, said: str = "", left: tuple[str, ...] = (), late: float = 0.1) -> str:
        return moments.Ended(code, late, said, left).wrong(signal.SIGINT, 1)

    assert [wrong(130), wrong(1), wrong(-2)] == [""] * 3
    assert wrong(0) == "exit code 0"
    assert wrong(-2, late=3.0) == "ended by the signal, 3.00 s later"
    assert wrong(-2, "Interrupted.") == "ended by the signal, 0.10 s later"
    assert wrong(130, left=("a.tmp",)) == "left: a.tmp"
    assert wrong(130, "Traceback (most recent call last)\n/x/orchestrator/store.py") == "a traceback"


def test_a_schedule_is_what_its_seed_says() -> None:
    plans = schedule(7, 300, NAMES)
    assert plans == schedule(7, 300, NAMES)
    assert plans != schedule(8, 300, NAMES)
    faults = [fault for plan in plans for fault in plan.faults]
    assert len(faults) == 300
    counts = Counter(fault.kind.name for fault in faults)
    assert set(counts) == set(NAMES)
    assert min(counts.values()) >= 2
    for plan in plans:
        assert len(plan.faults) <= FAULTS_A_SWEEP
        assert all(plan.sweep in fault.kind.sweeps for fault in plan.faults)
    assert [fault.kind.name for plan in short(NAMES) for fault in plan.faults] == list(SHORT)
    left_out = schedule(7, 50, [name for name in NAMES if name != "disk full"])
    assert "disk full" not in {fault.kind.name for plan in left_out for fault in plan.faults}


@pytest.fixture
def finished(tmp_path: Path, mark: str) -> ChaosSweep:
    """A sweep that has come to its end."""
    sweep = ChaosSweep("small", tmp_path, tmp_path, mark=mark)
    reference = make_job("a", measure="reference")
    jobs = [reference, make_job("a", measure="accuracy", needs=((reference, "reference"),)), make_job("b")]
    write_sweep(sweep.folder, jobs)
    sweeps.run(sweep.folder, jobs)
    return sweep


def test_a_sweep_to_which_nothing_was_done_is_as_it_should_be(finished: ChaosSweep) -> None:
    ledger = invariants.Ledger(finished)
    ledger.look()
    ledger.look()
    assert ledger.broken == []
    assert len(ledger.seen) == 3
    assert list(invariants.rows(finished, {})) == []
    assert list(invariants.leftovers(finished)) == []
    assert list(invariants.differences(invariants.tables(finished), invariants.tables(finished))) == []


def test_what_was_done_to_a_sweep_is_seen(finished: ChaosSweep) -> None:
    quiet = invariants.tables(finished)
    ledger = invariants.Ledger(finished)
    ledger.look()
    _, changed, lost = (job.id for job in finished.folder.read_graph().jobs)
    path = finished.folder.result_file(changed)
    path.write_text(path.read_text().replace('"status": "pass"', '"status": "crash"'))
    finished.folder.result_file(lost).unlink()
    ledger.look()
    assert sorted(ledger.broken) == sorted(
        [f"the finished result of {changed} has changed", f"the finished result of {lost} is lost"]
    )
    wrong = list(invariants.rows(finished, {}))
    assert len(wrong) == 2
    assert "ended with crash" in wrong[0]
    assert "ended with not_run" in wrong[1]
    assert len(list(invariants.rows(finished, {changed: {"crash"}}))) == 1
    seen = list(invariants.differences(quiet, invariants.tables(finished)))
    assert any("status is 'crash', not 'pass'" in one for one in seen)
    assert not any("status is" in one for one in invariants.differences(quiet, invariants.tables(finished), ["status"]))


def test_notes_are_compared_but_for_those_that_are_measured(tmp_path: Path) -> None:
    def noted(name: str, *notes: str) -> dict[str, Any]:
        sweep = ChaosSweep("small", tmp_path / name, tmp_path)
        made = SyntheticSweep(sweep.folder.root)
        made.performance("Bert", "eager")
        made.results = [replace(one, facts={**one.facts, "notes": list(notes)}) for one in made.results]
        made.write()
        return invariants.tables(sweep)

    quiet = noted("quiet", "a fallback")
    clock = "the clock's own 20 us are 7% of a step: ratios are nearer to 1"
    assert list(invariants.differences(quiet, noted("busy", clock, "a fallback"))) == []
    assert any("notes is []" in one for one in invariants.differences(quiet, noted("other", clock)))


def test_what_a_damaged_result_had_handed_down_may_change_and_nothing_else(tmp_path: Path, mark: str) -> None:
    sweep = ChaosSweep("small", tmp_path, tmp_path, mark=mark)
    reference, other = make_job("a", "segfault", measure="reference"), make_job("b")
    accuracy = make_job("a", measure="accuracy", needs=((reference, "reference"),))
    jobs = [reference, accuracy, other]
    write_sweep(sweep.folder, jobs)
    sweeps.run(sweep.folder, jobs)
    ledger = invariants.Ledger(sweep)
    ledger.look()
    for job in jobs:
        path = sweep.folder.result_file(job.id)
        path.write_text(path.read_text().replace('"started": 1', '"started": 2'))
    ledger.forget((reference.id,))
    ledger.look()
    assert ledger.broken == [f"the finished result of {other.id} has changed"]
    assert ledger.damaged == {reference.id}


def test_the_number_of_the_attempt_is_added_to_what_a_worker_wrote(finished: ChaosSweep) -> None:
    ledger = invariants.Ledger(finished)
    ledger.look()
    path = finished.folder.result_file(finished.folder.read_graph().jobs[2].id)
    path.write_text(path.read_text().replace('"attempt": 1', '"attempt": 2'))
    ledger.look()
    assert ledger.broken == []


def test_what_is_left_is_seen(finished: ChaosSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "ENDED_S", 0.2)
    (finished.folder.caches / "x").mkdir(parents=True)
    (finished.folder.jobs / "not planned").mkdir()
    environment = {**os.environ, MARK: finished.mark}
    with subprocess.Popen(["sleep", "1000"], env=environment) as sleeper:
        found = list(invariants.leftovers(finished))
        sleeper.kill()
    assert len(found) == 2
    assert "sleep 1000" in found[0]
    assert "caches/ is left" in found[1]
    assert "not planned" in next(invariants.rows(finished, {}))


# -- the flaky disk


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = disk.built(tmp_path_factory.mktemp("library"))
    if found is None:
        pytest.skip("there is no C compiler")
    return found


TRY = """
import errno, fcntl, os, sys
said = []
for number in range(4):
    try:
        with open(sys.argv[1], "a") as file:
            file.write("x")
            file.flush()
            os.fsync(file.fileno())
        os.rename(sys.argv[1], sys.argv[1])
        said.append("well")
    except OSError as error:
        said.append(errno.errorcode[error.errno])
with open(sys.argv[1], "a") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        said.append("locked")
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(*said)
"""


def test_a_flaky_disk_fails_every_nth_call_below_its_root_and_no_other(tmp_path: Path, library: Path) -> None:
    (tmp_path / "root").mkdir()
    flaky = disk.FlakyDisk(library, tmp_path / "control", tmp_path / "root")

    def said(file: str) -> list[str]:
        command = [sys.executable, "-S", "-E", "-c", TRY, str(tmp_path / file)]
        return subprocess.check_output(command, env={**os.environ, **flaky.environment()}, text=True).split()

    assert said("root/a") == ["well"] * 4 + ["locked"]
    flaky.tell(6, errno.ENOSPC)
    assert said("root/a") == [
        "well",
        "ENOSPC",
        "well",
        "ENOSPC",
        "locked",
    ]  # four calls each: open, write, fsync, rename
    assert said("elsewhere") == ["well"] * 4 + ["locked"]
    flaky.without_locks(errno.ENOLCK)
    flaky.tell()
    assert not flaky.has_locks
    assert said("root/a") == ["well"] * 4 + ["ENOLCK"]


def test_how_commands_end_is_looked_at(finished: ChaosSweep) -> None:
    assert list(invariants.endings(finished, ())) == []
    finished.codes += [0, 1, 2, 130, 3, -9]
    (finished.cwd / "run1.log").write_text("well\nTraceback (most recent call last):\n")
    ended = list(invariants.endings(finished, (9,)))
    assert ended == ["a command ended with 3", "run1.log has a traceback"]
    assert "a command ended with -9" in list(invariants.endings(finished, (15,)))
