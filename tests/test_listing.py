"""`ls`: which sweeps there are and how far each has come, whatever state its folder is in."""

from __future__ import annotations

import csv
import dataclasses
import gc
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import answer, said

from orchestrator.errors import UsageError
from orchestrator.errors import printable as lines
from orchestrator.execution import lock
from orchestrator.files import write_json
from orchestrator.records import JobResult, Verdict
from orchestrator.results import listing
from orchestrator.results.load import one_line, uncollected
from orchestrator.store import SweepFolder
from orchestrator.views.layout import age, cut, paragraph

HOUR = 3600.0


def make(root: Path, name: str, *, hours_ago: float = 1.0, origin: str | None = None) -> SweepFolder:
    """A finished sweep of three jobs, one of them failed."""
    sweep = synthetic.SyntheticSweep(root / name)
    eager = sweep.performance("Bert", "eager")
    sweep.performance("Bert", "inductor", baseline=eager, pairs=[(0.1, 0.05)] * 8)
    spec = synthetic.job("T5", "inductor")
    sweep.add(spec, synthetic.failed_result(spec, "crash", "killed"))
    folder = sweep.write()
    header(folder, created=time.time() - hours_ago * HOUR - 1, argv=("compiler=eager,inductor",), origin=origin)
    return folder


def header(folder: SweepFolder, **changes: Any) -> None:
    folder.write_plan(dataclasses.replace(folder.read_sweep(), **changes), folder.read_graph())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


def test_every_state_in_one_list_newest_first_and_nothing_is_touched(here: Path) -> None:
    outputs = here / "outputs"
    make(outputs, "2026-01-01/10-00-00", hours_ago=72.5)
    unfinished = make(outputs, "2026-01-02/10-00-00", hours_ago=3.5)
    missing = unfinished.read_graph().jobs[1].id
    unfinished.result_file(missing).unlink()
    running = make(outputs, "2026-01-03/10-00-00", hours_ago=0.5, origin=str(outputs / "2026-01-01/10-00-00"))
    damaged = make(outputs, "2026-01-04/10-00-00")
    damaged.plan_file.write_text('{"schema": 1, "records": [], "jobs": []}')
    halved = make(outputs, "2026-01-04/11-00-00")
    halved.sweep_file.write_text(halved.sweep_file.read_text()[:100])
    headless = make(outputs, "2026-01-04/12-00-00")
    headless.sweep_file.unlink()
    newer = make(outputs, "2026-01-04/13-00-00")
    newer.sweep_file.write_text('{"schema": 99}')
    (outputs / "2026-01-04" / "notes").mkdir()
    with lock.locked(running, 0, 1):
        before = tree(here)
        code, out, err = answer(here, "ls", columns=80)
        assert tree(here) == before
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:8]] == [
        ["sweep", "state"],
        ["2026-01-04/13-00-00", "damaged"],
        ["2026-01-04/12-00-00", "damaged"],
        ["2026-01-04/11-00-00", "damaged"],
        ["2026-01-04/10-00-00", "damaged"],
        ["2026-01-03/10-00-00", "running"],
        ["2026-01-02/10-00-00", "incomplete"],
        ["2026-01-01/10-00-00", "finished"],
    ]
    assert lines[5].split()[2:] == ["3", "1", "30", "min", "of", "2026-01-01/10-00-00,", "…"]
    assert lines[6].split()[2:] == ["2/3", "1", "3", "h", "quick:", "eager,", "inductor"]
    assert lines[7].split()[2:] == ["3", "1", "3", "d", "quick:", "eager,", "inductor"]
    assert all(len(line) <= 80 for line in lines)
    notes = " ".join(" ".join(lines[8:]).split())
    assert "2026-01-04/13-00-00 is damaged: " in notes
    assert "schema version 99" in notes
    assert "it has no sweep.json" in notes
    assert "cannot be read: Unterminated string" in notes or "cannot be read: Expecting" in notes
    assert "plan.json is damaged" in notes
    assert "Traceback" not in out


def test_json_and_csv_have_all_and_the_same_figures(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = here / "outputs"
    first = make(outputs, "2026-02-01/10-00-00")
    for number in range(1, 23):
        shutil.copytree(first.root, outputs / f"2026-02-{number + 1:02d}" / "10-00-00")
    (outputs / "2026-02-05" / "10-00-00" / "sweep.json").write_text("[]")
    rows = json.loads(said(capsys, "ls", "--json")[1])["tables"]["sweeps"]
    assert len(rows) == 23
    assert rows[0] | {"created_s": 0.0} == {
        "sweep": "2026-02-23/10-00-00",
        "tag": None,
        "state": "finished",
        "jobs_planned": 3,
        "jobs_passed": 2,
        "jobs_failed": 1,
        "jobs_not_run": 0,
        "created_s": 0.0,
        "suites": "quick",
        "compilers": "eager, inductor",
        "origin": None,
        "holder": None,
        "reason": None,
        "command": "python -m orchestrator compiler=eager,inductor",
        "folder": str(outputs / "2026-02-23" / "10-00-00"),
    }
    assert [row["sweep"] for row in rows if row["state"] == "damaged"] == ["2026-02-05/10-00-00"]
    table = list(csv.DictReader(io.StringIO(said(capsys, "ls", "--csv")[1])))
    assert [row["sweep"] for row in table] == [row["sweep"] for row in rows]
    assert table[0]["jobs_failed"] == "1"
    code, text, _ = said(capsys, "ls")
    assert code == 0
    assert "and 3 older: --all shows them" in text
    assert text.count("finished") == 19
    everything = said(capsys, "ls", "--all")[1]
    assert everything.count("finished") == 22
    assert "older" not in everything
    markdown = said(capsys, "ls", "--md")[1]
    assert markdown.count("| finished |") == 19


def test_several_roots_are_one_list(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(here / "one", "2026-01-01/10-00-00")
    make(here / "one", "2026-01-03/10-00-00")
    make(here / "two", "2026-01-02/10-00-00")
    lines = said(capsys, "ls", "--root", "one", "--root", "two", "--root", str(here / "one"))[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "one/2026-01-03/10-00-00",
        "two/2026-01-02/10-00-00",
        "one/2026-01-01/10-00-00",
    ]


@pytest.mark.usefixtures("here")
def test_nothing_and_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "ls") == (0, "There are no sweeps below outputs.\n", "")
    assert said(capsys, "ls", "--root", "nowhere") == (
        2,
        "",
        "orchestrator: --root nowhere: there is no such folder\n",
    )


def test_a_folder_that_cannot_be_looked_into_is_a_row(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(here, "2026-01-01/10-00-00")
    make(here, "2026-01-02/10-00-00")
    locked_up = here / "2026-01-01" / "10-00-00"
    real = os.listdir

    def refusing(path: Any) -> list[str]:
        if Path(path) == locked_up:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", refusing)
    rows = [listing.look(path).row() for path in listing.folders([here])]
    assert [(row["sweep"], row["state"], row["reason"]) for row in rows] == [
        ("2026-01-02/10-00-00", "finished", ""),
        ("2026-01-01/10-00-00", "damaged", "it cannot be read: Permission denied"),
    ]


def test_a_verdict_counts_before_its_result_is_written(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "d" / "t")
    sweep.add(synthetic.job("Bert", "eager", verdict=Verdict(status="pass_due_to_skip", reason="known")))
    sweep.add(synthetic.job("T5", "eager", verdict=Verdict(status="model_fail_to_load", reason="gone")))
    sweep.add(synthetic.job("GPT", "eager"))
    found = listing.look(sweep.write().root)
    assert (found.planned, found.passed, found.failed, found.not_run, found.state) == (3, 1, 1, 1, "incomplete")


# -- what the list is made of


def test_read_status_is_that_of_the_result_and_nothing_else_is_believed(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path)
    spec = sweep.performance("Bert", "eager")
    folder = sweep.write()
    path = folder.result_file(spec.id)
    good = path.read_bytes()
    assert folder.read_status(spec.id) == "pass"
    for damaged in (b"", b"{", good[:150], good[:-3], good.replace(spec.id.encode(), b"0" * 16), b"x" * 500):
        path.write_bytes(damaged)
        assert folder.read_status(spec.id) is None
        assert not isinstance(folder.read_result(spec.id), JobResult)
    write_json(path, json.loads(good), indent=None)  # not as we write it: read in full
    assert folder.read_status(spec.id) == "pass"
    path.unlink()
    assert folder.read_status(spec.id) is None
    assert listing.status(folder, spec) == "not_run"


def test_holder_tells_who_runs_it_alone_or_in_shards(store: SweepFolder) -> None:
    assert lock.holder(store) is None
    assert list(store.root.iterdir()) == []
    with lock.locked(store, 0, 1):
        assert lock.holder(store) == store.lock.read_text()
    with lock.locked(store, 1, 2), lock.locked(store, 0, 2):
        assert f"process {os.getpid()} on " in str(lock.holder(store))
        with pytest.raises(UsageError, match=f"is in use by process {os.getpid()}"), lock.locked(store, 1, 2):
            pass
    assert lock.holder(store) is None


def test_readers_do_not_hinder_a_scheduler_that_starts(store: SweepFolder) -> None:
    with lock.locked(store, 0, 1):
        pass
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            lock.holder(store)

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(200):
            with lock.locked(store, 0, 1):
                pass
    finally:
        stop.set()
        for reader in readers:
            reader.join()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (47 * HOUR, "47 h"),
        (72 * HOUR, "3 d"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_cut() -> None:
    assert [cut("abcdef", width) for width in (0, 1, 3, 6, 9)] == ["…", "…", "ab…", "abcdef", "abcdef"]


# -- what ls, show and history have in common


def test_looking_imports_neither_torch_nor_pandas_nor_hydra(here: Path) -> None:
    make(here / "outputs", "2026-01-01/10-00-00")
    looks = [["ls"], ["show"], ["show", "--json"], ["history"], ["history", "--csv"]]
    code = (
        f"import sys; from orchestrator.__main__ import main; print([main(words) for words in {looks!r}])\n"
        "print(sorted({'torch', 'transformers', 'hydra', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [str([0] * len(looks)), "[]"]


def test_output_for_machines_is_utf8_on_any_terminal(here: Path) -> None:
    header(make(here / "outputs", "2026-01-01/10-00-00"), environment={"host": "box", "cpu": "CPU"})
    written = subprocess.run(
        [sys.executable, "-m", "orchestrator", "history", "--metric", "latency_ms", "--md"],
        cwd=here,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    ).stdout
    assert "box · CPU" in written.decode("utf-8")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain\n  indented\n", ["plain", "  indented"]),
        ("a\tb", ["a   b"]),
        ("\x1b[1;31mred\x1b[0m", ["red"]),
        ("\x1b]0;a title\x07after", ["after"]),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("\x9b2Jcleared", ["cleared"]),
        ("half \x1b of one", ["half  of one"]),
        ("bell\x07 back\x08 null\x00 del\x7f", ["bell back null del"]),
        ("right to left \u202egpj.exe", ["right to left gpj.exe"]),
        ("carriage\rreturn", ["carriage", "return"]),
        ("", []),
    ],
    ids=repr,
)
def test_lines_can_do_nothing_to_a_terminal(text: str, found: list[str]) -> None:
    assert lines(text) == found
    assert one_line(text) == " ".join(" ".join(found).split())


def test_reading_leaves_the_collector_as_it_was() -> None:
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_words_to_be_copied_are_not_broken() -> None:
    word = "x" * 30
    assert paragraph(f"a {word} b", 20, "", whole=True).splitlines() == ["a", word, "b"]
    assert max(map(len, paragraph(f"a {word} b", 20, "").splitlines())) == 20
