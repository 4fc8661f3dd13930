"""Reruns: the verdict on each row, what differs from then, and the real command on models of known speed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import ENVIRONMENT, FAKES, answer, latest, orchestrator, start
from support.once import once
from support.synthetic import of_folder

from orchestrator.__main__ import main
from orchestrator.comparison import reproduction as reproduced
from orchestrator.comparison.reproduction import (
    CANNOT_TELL,
    CHANGED,
    FAILS_AGAIN,
    FIRST,
    REPAIRED,
    REPRODUCED,
    UNFINISHED,
    Reproduction,
    conditions,
    reproductions,
    verdict,
)
from orchestrator.comparison.snapshot import Snapshot
from orchestrator.execution.hydra_plugin import planned, search_path
from orchestrator.execution.ownership import claim
from orchestrator.execution.settings import Settings
from orchestrator.planning.resume import with_execution
from orchestrator.records import HARMLESS, NOT_NEEDED, PASS, JobResult, JobSpec
from orchestrator.results.load import load
from orchestrator.store import JobGraph, SweepFolder, find_sweep, find_sweeps
from orchestrator.views.rerun import conclusion

CORES = os.cpu_count() or 1
PACED = (*FAKES, "suite=paced", "measure=glance")

# -- verdicts, on sweeps with known numbers


Outcome = float | str | None
"""Of a job: its latency in seconds, the status that it failed with, None where it has no result."""


def sweep(root: Path, rows: dict[str, Sequence[Outcome]], compiler: str = "eager") -> SweepFolder:
    """Write a sweep: model -> what each of its rounds was."""
    made = synthetic.SyntheticSweep(root)
    for model, rounds in rows.items():
        for number, outcome in enumerate(rounds):
            job = synthetic.job(model, compiler, round=number)
            made.add(job, _result(job, outcome))
    return made.write()


def _result(job: JobSpec, outcome: Outcome) -> JobResult | None:
    if outcome is None:
        return None
    if isinstance(outcome, str):
        return synthetic.failed_result(job, outcome, "why")
    return synthetic.performance_result(job, latency=outcome)


def judged(
    tmp_path: Path, before: dict[str, Sequence[Outcome]], after: dict[str, Sequence[Outcome]]
) -> list[Reproduction]:
    sides = [of_folder(sweep(tmp_path / name, rows)) for name, rows in (("before", before), ("after", after))]
    return reproductions(sides[0], sides[1])


ROUNDS = ((0.1,), (0.1, 0.101, 0.0995), (0.1, 0.101, 0.0995, 0.1002, 0.0998))


@pytest.mark.parametrize("rounds", ROUNDS, ids=len)
def test_twice_as_slow_is_found_and_nothing_else(tmp_path: Path, rounds: tuple[float, ...]) -> None:
    before: dict[str, Sequence[Outcome]] = {name: [x * k for x in rounds] for k, name in enumerate("abcdef", start=1)}
    after = {name: [x * (2 if name == "d" else 1.01) for x in values] for name, values in before.items()}  # type: ignore[operator]
    found = judged(tmp_path, before, after)
    assert [verdict.word for verdict in found] == [*[REPRODUCED] * 3, CHANGED, *[REPRODUCED] * 2]
    assert found[3].difference.startswith("latency 2.00x")
    assert ("[" in found[3].difference) == (len(rounds) > 1)
    line = conclusion(found)
    assert line.startswith("not reproduced: 1 of 6 rows: d inference float16 cpu eager performance latency 2.00x")
    assert conclusion(found[:3]) == "reproduced: 3 of 3 rows"


@pytest.mark.parametrize(
    ("before", "after", "word", "difference"),
    [
        ("crash", 0.1, REPAIRED, "crash -> pass"),
        ("crash", "crash", FAILS_AGAIN, ""),
        ("crash", "timeout", CHANGED, "crash -> timeout"),
        (0.1, "crash", CHANGED, "pass -> crash"),
        (None, 0.1, FIRST, "not_run -> pass"),
        (None, "crash", CHANGED, "not_run -> crash"),
        (0.1, None, UNFINISHED, "pass -> not_run"),
        (None, None, UNFINISHED, ""),
        ("unsupported", "unsupported", REPRODUCED, ""),
        ("unsupported", 0.1, CHANGED, "unsupported -> pass"),
        (0.1, "unsupported", CHANGED, "pass -> unsupported"),
        (0.1, 0.1, REPRODUCED, ""),
        (0.1, 0.2, CHANGED, "latency 2.00x (100 -> 200 ms)"),
        (0.1, "infrastructure", CANNOT_TELL, "pass -> infrastructure"),
    ],
)
def test_the_word_for_a_row(tmp_path: Path, before: Outcome, after: Outcome, word: str, difference: str) -> None:
    (found,) = judged(tmp_path, {"a": [before]}, {"a": [after]})
    assert (found.word, found.difference) == (word, difference)


def test_only_what_was_run_again_is_judged_and_rows_keep_their_names(tmp_path: Path) -> None:
    before = {"a": [0.1, 0.1, 0.1], "b": [0.1], "c": [0.3]}
    found = judged(tmp_path, before, {"c": [0.3], "a": [0.1]})
    assert [verdict.before.names["model"] for verdict in found] == ["c", "a"]
    assert conclusion(found) == "reproduced: 2 of 2 rows"


def test_the_last_line_counts_each_kind(tmp_path: Path) -> None:
    before: dict[str, Sequence[Outcome]] = {"a": [0.1], "b": ["crash"], "c": [None], "d": ["crash"], "e": [0.1]}
    after: dict[str, Sequence[Outcome]] = {"a": [0.1], "b": [0.1], "c": [0.1], "d": ["crash"], "e": [None]}
    assert conclusion(judged(tmp_path, before, after)) == (
        "reproduced: 1 of 5 rows; 1 fails as before; 1 failed before, passes now; 1 not run before; 1 not run now"
    )
    slow: dict[str, Sequence[Outcome]] = {name: [0.3] for name in "abcdefg"}
    line = conclusion(judged(tmp_path / "slow", {name: [0.1] for name in "abcdefg"}, slow))
    assert line.startswith("not reproduced: 7 of 7 rows: a ")
    assert line.endswith(" and 4 more")
    assert "\n" not in line
    assert "nothing to compare" in conclusion([])


def noisy(root: Path, latency: float, disturbed: Sequence[str] = (), **environment: str) -> Snapshot:
    """A sweep of the rows quick, whose figures never change, and slow."""
    made = synthetic.SyntheticSweep(root)
    made.performance("quick", "eager", latency=0.01)
    made.performance("slow", "eager", latency=latency, disturbed=disturbed)
    return dataclasses.replace(of_folder(made.write()), environment={"host": "vm", **environment})


@pytest.mark.parametrize(
    ("before", "after", "word", "evidence"),
    [
        ((0.1, []), (0.25, ["a neighbour"]), CANNOT_TELL, "now: a neighbour"),
        ((0.25, ["a neighbour"]), (0.1, []), CANNOT_TELL, "then: a neighbour"),
        ((0.1, ["a neighbour"]), (0.25, []), CHANGED, ""),  # what disturbs makes slower, and then it was fast
        ((0.25, []), (0.1, ["a neighbour"]), CHANGED, ""),
        ((0.1, ["a neighbour"]), (0.1, ["a neighbour"]), REPRODUCED, ""),
    ],
)
def test_a_figure_that_a_disturbance_may_have_changed_tells_nothing(
    tmp_path: Path, before: tuple[float, list[str]], after: tuple[float, list[str]], word: str, evidence: str
) -> None:
    sides = [noisy(tmp_path / name, *one) for name, one in (("before", before), ("after", after))]
    quick, slow = reproductions(*sides)
    assert (quick.word, slow.word, slow.row()["evidence"]) == (REPRODUCED, word, evidence)
    assert verdict([quick, slow]) == word
    if word == CANNOT_TELL:
        line = conclusion([quick, slow])
        assert line.startswith("cannot tell: 1 of 2 rows: slow inference float16 cpu eager performance latency ")
        assert f"({before[0] * 1e3:.0f} -> {after[0] * 1e3:.0f} ms) ({evidence})" in line


def test_other_packages_may_have_changed_a_figure_and_never_a_status_or_a_count(tmp_path: Path) -> None:
    before = noisy(tmp_path / "before", 0.1, **{"packages.torch": "2.12.0", "git.commit": "a"})
    after = noisy(tmp_path / "after", 0.25, **{"packages.torch": "2.13.0", "git.commit": "b"})
    _, slow = reproductions(before, after)
    assert (slow.word, slow.evidence) == (CANNOT_TELL, ["packages.torch: 2.12.0 -> 2.13.0"])
    same = dataclasses.replace(after, environment={**before.environment, "git.commit": "b"})
    assert reproductions(before, same)[1].word == CHANGED
    sides = [of_folder(sweep(tmp_path / name, {"a": [end]})) for name, end in (("x", 0.1), ("y", "fail_to_run"))]
    there, here = (dataclasses.replace(one, environment={"host": name}) for one, name in zip(sides, "ab", strict=True))
    assert reproductions(there, here)[0].word == CHANGED
    counted = [dataclasses.replace(row, counts={"graph_breaks": n}) for n, row in enumerate((there.rows[0],) * 2)]
    found = reproductions(
        *(dataclasses.replace(one, rows=(row,)) for one, row in zip((there, here), counted, strict=True))
    )
    assert (found[0].word, found[0].difference) == (CHANGED, "graph breaks 0 -> 1")


def test_a_job_that_had_too_little_of_a_busy_machine_tells_nothing(tmp_path: Path) -> None:
    before = of_folder(sweep(tmp_path / "before", {"a": [0.1], "b": [0.1]}))
    after = of_folder(sweep(tmp_path / "after", {"a": ["timeout"], "b": [0.1]}))
    assert reproductions(before, after)[0].word == CHANGED
    beside = dataclasses.replace(after.rows[1], disturbed="a neighbour")
    busy = reproductions(before, dataclasses.replace(after, rows=(after.rows[0], beside)))
    assert [one.word for one in busy] == [CANNOT_TELL, REPRODUCED]
    assert busy[0].evidence == ["now: 1 row of the sweep was disturbed"]


def test_a_figure_that_is_within_noise_only_because_it_is_so_noisy_tells_nothing(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, {"a": [0.1, 0.1, 0.3]}, {"a": [0.15, 0.3, 0.2]})
    assert found.word == CANNOT_TELL
    assert "the rounds differ too much among themselves: latency 2.00x [" in found.row()["evidence"]
    assert "(100 -> 200 ms)" in conclusion([found])


def test_a_latency_that_only_a_disturbance_made_another_tells_nothing(tmp_path: Path) -> None:
    """Most steps shared their CPU with a neighbour; those that did not took as long as before."""
    sides = []
    for name, shared, why in (("before", 2, []), ("after", 16, ["a neighbour"])):
        made = synthetic.SyntheticSweep(tmp_path / name)
        for round in range(3):
            steps = [0.1] * (20 - shared) + [0.2] * shared
            made.performance("a", "eager", round, latency=steps, disturbed=why)
        sides.append(of_folder(made.write()))
    (found,) = reproductions(sides[0], sides[1])
    assert found.word == CANNOT_TELL
    assert found.evidence[0] == "now: round 0: a neighbour; round 1: a neighbour; round 2: a neighbour"
    assert found.evidence[1].startswith("the fastest steps do not show it: latency 2.00x [")


def test_a_row_that_lost_its_figure_is_not_reproduced(tmp_path: Path) -> None:
    sides = []
    for name, measured in (("before", None), ("after", {"eager": "no graph was captured"})):
        made = synthetic.SyntheticSweep(tmp_path / name)
        made.performance("a", "inductor", latency=0.1, pairs=[(0.2, 0.1)] * 10, measured=measured)
        sides.append(of_folder(made.write()))
    (found,) = reproductions(sides[0], sides[1])
    assert found.word == CHANGED
    assert found.difference == "measured as the row says -> eager: no graph was captured"
    row = dataclasses.replace(sides[0].rows[0], figures={})
    (found,) = reproductions(sides[0], dataclasses.replace(sides[0], rows=(row,)))
    assert (found.word, found.evidence) == (CANNOT_TELL, ["now without latency and speed-up"])


@pytest.mark.parametrize("status", ["crash", "unsupported"])
def test_a_sweep_without_any_success_is_never_reproduced(tmp_path: Path, status: str) -> None:
    rows: dict[str, Sequence[Outcome]] = {"a": [status], "b": [status]}
    found = judged(tmp_path, rows, rows)
    assert verdict(found) == CANNOT_TELL
    assert conclusion(found).startswith("cannot tell: nothing succeeded then and now")
    assert verdict([]) == CANNOT_TELL


@pytest.mark.slow
def test_a_real_neighbour_makes_a_rerun_that_cannot_tell(tmp_path: Path) -> None:
    """Others have all cores until the rerun has ended: what that costs is not put down to the code."""
    orchestrator(
        tmp_path,
        *FAKES,
        "suite=perceptrons",
        "suite.models=[one]",
        "compiler=eager",
        "measure=glance",
        "rounds=1",
        "suite.catalog.one.build.width=1024",
        "batch_size=256",
        "measure.options.iterations=40",
    )
    busy = "import sys; print(flush=True)\nwhile True: pass"
    neighbours = [subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) for _ in range(3 * CORES)]
    try:
        for one in neighbours:
            assert one.stdout is not None
            one.stdout.readline()
        done = said("rerun", "latest", "--json", cwd=tmp_path)
    finally:
        for one in neighbours:
            one.kill()
            one.communicate()
    (row,) = document(done)["rerun"]
    assert row["disturbed"]
    assert (row["reproduced"], done.returncode) in ((CANNOT_TELL, 4), (REPRODUCED, 0))
    if row["reproduced"] == CANNOT_TELL:
        assert "other processes used" in row["evidence"]
        assert " -> " in row["difference"] + row["evidence"]  # both values


def test_rows_of_options_are_called_as_in_the_first_sweep(tmp_path: Path) -> None:
    both = synthetic.SyntheticSweep(tmp_path / "both")
    for dynamic in (True, False):
        both.performance("a", synthetic.compiler("inductor", dynamic=dynamic))
    one = synthetic.SyntheticSweep(tmp_path / "one")
    one.performance("a", synthetic.compiler("inductor", dynamic=True))
    (found,) = reproductions(of_folder(both.write()), of_folder(one.write()))
    assert found.row()["compiler"] == "inductor(dynamic=true)"


# -- then and now


def test_what_differs_from_then_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    folder = synthetic.SyntheticSweep(tmp_path).write()
    old = folder.read_sweep()
    stored = {
        "host": "h",
        "packages": {"torch": "2.12.0", "numpy": "2.0"},
        "gpus": [{"name": "H200", "memory_bytes": 1}, {"name": "H200", "memory_bytes": 1}],
        "git": {"commit": "abc", "changed": ["a.py", "b.py"]},
        "conf": {"0-main": {"path": "x", "sha256": "y"}},
        "variables": {"OMP_NUM_THREADS": "2"},
    }
    folder.sweep_file.write_text(json.dumps({**json.loads(folder.sweep_file.read_text()), "environment": stored}))
    now = {
        "host": "h",
        "packages": {"torch": "2.13.0", "numpy": "2.0", "triton": "3.1"},
        "gpus": [{"name": "H200", "memory_bytes": 1}],
        "git": {"commit": "abc", "changed": ["b.py", "c.py"]},
        "variables": {},
    }
    found = conditions(load(folder), now)
    assert found.lines() == [
        "git.changed: only then a.py; only now c.py",
        "gpus: only then H200 1",
        "packages.torch: 2.12.0 -> 2.13.0",
        "packages.triton: (absent) -> 3.1",
        "variables.OMP_NUM_THREADS: 2 -> (absent)",
    ]
    assert found.same == 3  # host, numpy, commit
    assert old.environment == {}


# -- the command


def said(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process; stdout and stderr apart."""
    return subprocess.CompletedProcess(arguments, *answer(cwd, *arguments, columns=80, **environment))


def said_apart(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; stdout and stderr apart."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.rstrip().splitlines()[-1]


def document(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of a --json document; stdout must be nothing else."""
    tables: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["tables"]
    return tables


def files(folder: SweepFolder) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.root.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def one_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of one round: three models that sleep, with eager and a compiler that does nothing."""
    return once(
        tmp_path_factory, "one_round", lambda cwd: orchestrator(cwd, *PACED, "compiler=eager,identity", "rounds=1")
    )


@pytest.fixture
def paced(one_round: Path, tmp_path: Path) -> Path:
    """A folder of a test's own with that sweep."""
    shutil.copytree(one_round / "outputs", tmp_path / "outputs")
    return tmp_path


@pytest.mark.slow
def test_a_rerun_reproduces_all_rows_in_a_new_folder_that_names_its_origin(paced: Path) -> None:
    old = latest(paced)
    pretend_same(old, paced)
    before = files(old)
    done = said("rerun", "latest", "--strict", cwd=paced)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert last_line(done) == "reproduced: 6 of 6 rows"
    assert "Environment: as it was then" in done.stdout
    assert f"Rerun of {old.root.relative_to(paced)}: 6 of its 6 jobs" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    new = latest(paced)
    assert new.root != old.root
    assert new.root.parent.parent == paced / "outputs"
    assert files(old) == before
    header, origin = new.read_sweep(), old.read_sweep()
    assert header.origin == str(old.root)
    assert header.argv == ("rerun", "latest", "--strict")
    assert (header.overrides, header.points, header.grid) == (origin.overrides, origin.points, origin.grid)
    assert header.created > origin.created
    assert header.environment["packages"]["torch"]
    assert header.environment["conf"] == origin.environment["conf"]
    assert new.read_graph() == old.read_graph()
    assert (new.conf / "0-command-line" / "suite" / "paced.yaml").is_file()
    assert not (new.root / "caches").exists()
    assert (new.tables / "summary.csv").is_file()


@pytest.mark.slow
def test_a_model_that_is_twice_as_slow_is_named_and_no_other(paced: Path) -> None:
    done = said("rerun", "latest", cwd=paced, FAKES_SLOW="two")
    slow = [row for row in of_folder(latest(paced)).rows if row.names["model"] == "two"]
    quiet = sum(not row.disturbed for row in slow)
    line = last_line(done)
    if quiet:
        assert line.startswith(f"not reproduced: {quiet} of 6 rows: two inference float32 cpu "), line
        assert done.returncode == 1
    else:  # something else ran meanwhile: only time can tell
        assert line.startswith("cannot tell: 2 of 6 rows: two inference float32 cpu "), line
        assert done.returncode == 4
    assert line.count(" glance latency ") == (quiet or 2)
    assert "one" not in line
    assert "three" not in line


@pytest.mark.slow
def test_a_planted_slowdown_is_found_with_several_rounds(tmp_path: Path) -> None:
    orchestrator(tmp_path, *PACED, "compiler=eager", "rounds=3")
    done = said("rerun", "latest", "--json", cwd=tmp_path, FAKES_SLOW="two")
    tables = document(done)
    words = {row["model"]: row["reproduced"] for row in tables["rerun"]}
    (disturbed,) = [row.disturbed for row in of_folder(latest(tmp_path)).rows if row.names["model"] == "two"]
    expected, code = (CANNOT_TELL, 4) if disturbed else (CHANGED, 1)
    assert words == {"one": REPRODUCED, "two": expected, "three": REPRODUCED}
    assert done.returncode == code, done.stderr
    (ratio,) = [row for row in tables["metrics"] if row["model"] == "two" and row["metric"] == "latency_ms"]
    assert ratio["ratio"] == pytest.approx(2.0, rel=0.15)
    assert ratio["ratio_low"] is not None
    assert "Plan:" in done.stderr
    assert f"{expected}: 1 of 3 rows: two inference float32 cpu eager glance latency" in done.stderr


@pytest.mark.slow
def test_the_table_as_csv_and_markdown(paced: Path) -> None:
    done = said("rerun", "latest", "--only", "model=one,compiler=eager", "--csv", cwd=paced)
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split(",")[: len(reproduced.ROWS)] == list(reproduced.ROWS)
    assert ",reproduced,pass,pass," in row
    done = said("rerun", "latest", "--only", "model=one,compiler=eager", "--md", cwd=paced)
    assert done.returncode == 0, done.stderr
    assert "## Rerun" in done.stdout
    assert "| one |" in done.stdout
    assert "Plan:" not in done.stdout


@pytest.mark.slow
def test_only_some_rows_and_what_they_need(paced: Path) -> None:
    done = said(
        "rerun", "latest", "--only", "model=t*,compiler=identity", "--only", "model=one,compiler=eager", cwd=paced
    )
    assert done.returncode == 0, done.stdout
    assert last_line(done) == "reproduced: 5 of 5 rows"
    titles = {job.title for job in latest(paced).read_graph().jobs}
    assert not any("one" in title and "identity" in title for title in titles)
    assert len(titles) == 5


@pytest.mark.slow
def test_so_many_rounds_as_are_asked_for_are_run_though_the_row_is_decided(tmp_path: Path) -> None:
    orchestrator(tmp_path, *PACED, "suite.models=[one]", "compiler=eager,identity", "rounds=4", "effect_threshold=100")
    outcomes = load(latest(tmp_path)).outcomes
    assert {outcome.job.round for outcome in outcomes if outcome.status == NOT_NEEDED} == {2, 3}
    said("rerun", "latest", "--rounds", "4", cwd=tmp_path)  # its exit code is what this busy machine makes of it
    again = latest(tmp_path)
    assert [outcome.status for outcome in load(again).outcomes] == [PASS] * 8
    assert Settings.of(again.read_sweep().points).rounds_min == 4  # for resume, too


@pytest.mark.slow
def test_one_job_with_what_it_needs_and_more_rounds(paced: Path) -> None:
    old = latest(paced)
    job = next(job for job in old.read_graph().jobs if job.compiler.name == "identity")
    done = said("rerun", f"latest:{job.id[:8]}", cwd=paced)
    assert done.returncode == 0, done.stdout
    assert {one.id for one in latest(paced).read_graph().jobs} == {job.id, job.needs[0].job}
    done = said("rerun", "latest", "--rounds", "3", cwd=paced)
    assert done.returncode == 0, done.stdout
    assert "2 of its 2 jobs, and 4 of more rounds" in done.stdout
    assert {one.round for one in latest(paced).read_graph().jobs} == {0, 1, 2}
    assert find_sweep("latest", paced / "outputs").read_sweep().origin != str(old.root)


@pytest.mark.slow
def test_what_failed_is_run_again_and_passes_or_fails_as_before(tmp_path: Path) -> None:
    orchestrator(tmp_path, *PACED, "suite.models=[one,two]", "compiler=eager,does_environment", "rounds=1", code=0)
    nothing = said("rerun", "latest", "--failed", "--json", cwd=tmp_path)
    assert nothing.returncode == 0
    assert document(nothing)["rerun"] == []
    assert "Nothing to rerun" in nothing.stderr
    assert len(list(find_sweeps(tmp_path / "outputs"))) == 1
    done = said("rerun", "latest", cwd=tmp_path, FAKES_DOES="raise")
    assert done.returncode == 1
    assert "not reproduced: 2 of 4 rows: one inference float32 cpu does_environment glance pass -> fail_to_run" in (
        last_line(done)
    )
    broken = str(latest(tmp_path))
    done = said("rerun", broken, "--failed", cwd=tmp_path, FAKES_DOES="raise")
    assert done.returncode == 1
    assert last_line(done) == "still failing: 2 of 4 rows"
    done = said("rerun", broken, cwd=tmp_path, FAKES_DOES="raise")
    assert done.returncode == 0, "without --failed the question is whether all is as it was"
    done = said("rerun", broken, "--failed", "--only", "model=two", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == "reproduced: 1 of 2 rows; 1 failed before, passes now"


def test_a_dry_run_shows_plan_and_differences_and_writes_nothing(paced: Path) -> None:
    code, out, err = answer(paced, "rerun", "latest", "--dry-run", OMP_SCHEDULE="dynamic")
    assert (code, err) == (0, "")
    assert "variables.OMP_SCHEDULE: (absent) -> dynamic" in out
    assert "Plan: 6 jobs" in out
    assert len(list(find_sweeps(paced / "outputs"))) == 1
    _, out, _ = answer(paced, "rerun", "latest", "--dry-run", "--json", OMP_SCHEDULE="dynamic")
    tables = json.loads(out)["tables"]
    assert len(tables["plan"]) == 6
    assert {row["status_before"] for row in tables["plan"]} == {"pass"}
    assert {"key": "variables.OMP_SCHEDULE", "before": None, "after": "dynamic"} in tables["environment"]


def test_strict_refuses_when_something_differs(paced: Path) -> None:
    code, out, err = answer(paced, "rerun", "latest", "--strict", OMP_SCHEDULE="dynamic")
    assert (code, out) == (2, "")
    assert "--strict: the environment is not what it was" in err
    assert "variables.OMP_SCHEDULE: (absent) -> dynamic" in err
    assert len(list(find_sweeps(paced / "outputs"))) == 1


def pretend_same(folder: SweepFolder, cwd: Path) -> None:
    """Put the environment of this moment into a header: the checkout may have changed since it was written."""
    _, out, _ = answer(cwd, "rerun", str(folder), "--dry-run", "--json")
    data = json.loads(folder.sweep_file.read_text())
    for row in json.loads(out)["tables"]["environment"]:
        assert row["key"].startswith("git."), row  # nothing else may differ here
    from orchestrator.planning import machine, provenance

    data["environment"] |= {"git": provenance.environment(machine.detect())["git"]}
    folder.sweep_file.write_text(json.dumps(data))
    claim(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' names no sweep"),
        (["latest", "--only", "compilr=x"], "unknown key 'compilr': did you mean 'compiler'"),
        (["latest", "--only", "model=ones"], "no model is named 'ones': did you mean 'one'"),
        (["latest", "--job", "zz"], "no job has an id that begins with 'zz'"),
        (["latest:zz"], "no job has an id that begins with 'zz'"),
        (["latest", "--in-process"], "--in-process runs one job"),
        (["latest", "--rounds", "0"], "--rounds 0: it must be at least 1"),
        (["JOB", "--failed"], "choose among rows"),
        (["JOB", "--job", "1"], "name the job once"),
        (["JOB", "--in-process", "--json"], "--in-process is for a terminal: leave out --json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_message_and_nothing_is_written(
    one_round: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(one_round)
    job = latest(one_round).read_graph().jobs[0].id
    code = main(["rerun", *(word.replace("JOB", f"latest:{job}") for word in arguments)])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert message in captured.err
    assert len(captured.err.splitlines()) <= 2
    assert len(list(find_sweeps(one_round / "outputs"))) == 1


# -- one job in this process


@pytest.mark.slow
def test_a_job_in_process_has_the_terminal_and_its_error_reaches_a_debugger(tmp_path: Path) -> None:
    arguments = [*PACED, "suite.models=[one]", "compiler=does_environment,identity", "rounds=1", "measure=accuracy"]
    orchestrator(tmp_path, *arguments)
    jobs = latest(tmp_path).read_graph().jobs
    job = next(job for job in jobs if job.compiler.name == "does_environment")
    debugger = subprocess.run(
        [sys.executable, "-m", "pdb", "-m", "orchestrator", "rerun", f"latest:{job.id}", "--in-process"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "FAKES_DOES": "raise"},
        input="continue\nprint('does is', does)\nquit\nquit\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "always raises" in debugger.stdout + debugger.stderr
    assert "does is raise" in debugger.stdout
    folder = latest(tmp_path)
    result = folder.read_result(job.id)
    assert isinstance(result, JobResult)
    assert (result.status, result.failure and result.failure.kind) == ("fail_to_run", "error")
    assert not folder.references.exists()
    done = said_apart("rerun", str(folder), "--job", job.id, "--in-process", cwd=tmp_path, FAKES_DOES="raise")
    assert done.returncode == 1
    assert "ValueError: this compiler always raises" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_breakpoint_in_a_job_in_process(tmp_path: Path) -> None:
    orchestrator(
        tmp_path, *PACED, "suite.models=[one]", "compiler=does_environment", "rounds=1", "execution.env.GREETING=hello"
    )
    job = next(job for job in latest(tmp_path).read_graph().jobs if job.compiler.name != "eager")
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "rerun", f"latest:{job.id}", "--in-process"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "FAKES_DOES": "breakpoint"},
        input="import os\nprint('said', os.environ['GREETING'], os.environ['TORCHINDUCTOR_CACHE_DIR'])\ncontinue\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = latest(tmp_path)
    assert f"said hello {folder.caches}" in done.stdout
    assert not folder.caches.exists()
    results = [folder.read_result(one.id) for one in folder.read_graph().jobs]
    assert [isinstance(result, JobResult) and result.status for result in results] == ["pass", "pass"]


def test_a_job_whose_reference_failed_is_not_run_in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", "fakes")
    asked = ("suite=perceptrons", "suite.models=[one]", "compiler=identity", "measure=accuracy")
    planned(asked, search_path(FAKES[1])).write()
    folder = latest(tmp_path)
    job = next(job for job in folder.read_graph().jobs if job.measure.name == "accuracy")
    plan = folder.plan_file.read_text()
    assert '"width":32' in plan
    folder.plan_file.write_text(plan.replace('"width":32', '"width":-1'))
    claim(folder)
    done = said_apart("rerun", f"latest:{job.id}", "--in-process", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "In this process" not in done.stdout
    result = latest(tmp_path).read_result(job.id)
    assert isinstance(result, JobResult)
    assert result.failure is not None
    assert result.failure.kind == "dependency"


# -- going on with what was interrupted, also without the configuration that it was planned from


def own_conf(cwd: Path) -> list[str]:
    """Return flags for a copy of the test configuration, which a test may change or remove."""
    shutil.copytree(FAKES[1], cwd / "conf")
    return ["--config-dir", "conf", "suite=paced", "measure=glance"]


@pytest.mark.slow
def test_a_rerun_that_is_interrupted_is_resumed_from_its_plan(tmp_path: Path) -> None:
    orchestrator(tmp_path, *own_conf(tmp_path), "compiler=eager", "rounds=6")
    shutil.rmtree(tmp_path / "conf")
    process = start(tmp_path, "rerun", "latest")
    while len(list(tmp_path.glob("outputs/*/*/jobs/*/result.json"))) < 20:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "not run now" in output.rstrip().splitlines()[-1]
    folder = latest(tmp_path)
    kept = {file: file.read_bytes() for file in folder.jobs.glob("*/result.json")}
    assert 2 <= len(kept) < 18
    done = said("resume=latest", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{18 - len(kept)} of these; the others have a result" in done.stdout
    assert {file: file.read_bytes() for file in kept} == kept
    assert len(list(folder.jobs.glob("*/result.json"))) == 18
    assert len(list(find_sweeps(tmp_path / "outputs"))) == 2


def lose_one(folder: SweepFolder) -> str:
    """Remove the result of one job; return the job's id."""
    job = folder.read_graph().jobs[0].id
    folder.result_file(job).unlink()
    return job


@pytest.mark.slow
def test_resume_needs_no_configuration_and_takes_execution(paced: Path) -> None:
    (paced / "experiments").mkdir()
    folder = latest(paced)
    lost = lose_one(folder)
    data = json.loads(folder.sweep_file.read_text())
    data["argv"] = ["experiment=gone", "suite=gone"]
    data["environment"]["packages"]["torch"] = "1.0"
    folder.sweep_file.write_text(json.dumps(data))
    claim(folder)
    dry = orchestrator(paced, "resume=latest", "dry_run=true")
    assert not folder.result_file(lost).exists()
    done = said("resume=latest", "execution.timeout_s=77", "execution.keep_caches=true", cwd=paced)
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (dry, done.stdout):
        assert "1 of these; the others have a result" in shown
        assert "Warning: what is there was measured in the first of these" in shown
        assert "packages.torch: 1.0 -> 2" in shown
    result = folder.read_result(lost)
    assert isinstance(result, JobResult)
    assert result.status in HARMLESS
    assert {job.timeout_s for job in folder.read_graph().jobs} == {77.0}
    stored = folder.read_sweep().points
    assert {
        (p["execution"]["timeout_s"], p["execution"]["keep_caches"], p["execution"]["retries"]) for p in stored
    } == {(77.0, True, 1)}
    assert folder.caches.is_dir()


@pytest.mark.slow
def test_what_a_launcher_ran_is_launched_again_unless_it_is_said_to_run_here(paced: Path) -> None:
    folder = latest(paced)
    lost = lose_one(folder)
    data = json.loads(folder.sweep_file.read_text())
    data["argv"] = [*PACED, "hydra/launcher=absent", "execution.shards=5"]
    folder.sweep_file.write_text(json.dumps(data))
    claim(folder)
    assert "unknown hydra/launcher 'absent'" in orchestrator(paced, "resume=latest", "--trust", code=2)
    done = said("resume=latest", "execution.shards=1", cwd=paced)
    assert done.returncode == 0, done.stderr
    assert folder.result_file(lost).exists()


def test_a_measures_own_time_out_stays_on_resume(one_round: Path) -> None:
    folder = latest(one_round)
    first, second, *rest = folder.read_graph().jobs
    graph = JobGraph((first, dataclasses.replace(second, timeout_s=50.0), *rest))
    sweep, made = with_execution(folder.read_sweep(), graph, {"timeout_s": 77.0})
    assert [job.timeout_s for job in made.jobs][:3] == [77.0, 50.0, 77.0]
    assert {point["execution"]["timeout_s"] for point in sweep.points} == {77.0}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["execution.timeouts=3"], "unknown key 'execution.timeouts': did you mean 'timeout_s'"),
        (["execution.retries=many"], "Value 'many' of type 'str' could not be converted to Integer"),
        (["execution.retries=-1"], "execution.retries=-1: it must be at least 0"),
        (["execution.memory_limit_gib=-1"], "execution.memory_limit_gib=-1.0: it must be more than 0"),
        (["execution.timeout_s=0"], "execution.timeout_s=0"),
        (["execution.retries=1,2"], "execution.retries=1,2: a sweep that is resumed has one value of each key"),
        (["execution.launcher=subprocess"], "execution.launcher belongs to the jobs of a sweep"),
        (["execution.env.A=1"], "execution.env belongs to the jobs of a sweep"),
        (["execution.shards=3"], "execution.shards=3"),
        (["dry_run=maybe"], "dry_run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_resume_refuses(
    one_round: Path,
    overrides: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(one_round)
    before = files(latest(one_round))
    code = main(["resume=latest", *overrides])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert files(latest(one_round)) == before


def test_a_sweep_that_someone_runs_is_not_resumed_twice(paced: Path) -> None:
    folder = latest(paced)
    lose_one(folder)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, fcntl\nf = open(sys.argv[1], 'a+')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
                               "print('has it', flush=True)\nsys.stdin.read()", str(folder.lock)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "has it\n"
        assert "is in use by" in orchestrator(paced, "resume=latest", code=2)
    finally:
        holder.communicate()
