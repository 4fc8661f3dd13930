"""The sweep folder: what is written is read back, what is damaged is named, and names find their sweep."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.example_records import JOB, RESULT, WORKLOAD

from orchestrator import limits
from orchestrator.errors import UsageError
from orchestrator.files import write_json, write_text
from orchestrator.records import JobSpec, Need, PluginSpec, Verdict
from orchestrator.results.load import load
from orchestrator.store import JobGraph, Sweep, SweepFolder, Unreadable, check_size, find_sweep, read_job

SWEEP = Sweep(
    argv=("a=1",), overrides=("a=1",), points=({"dtype": "float16"},), created=12.5, environment={"host": "x"}
)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def test_plan_and_sweep_are_read_back(folder: SweepFolder) -> None:
    graph = JobGraph((JOB, dataclasses.replace(JOB, id="b" * 16, needs=(), verdict=None)))
    folder.write_plan(SWEEP, graph)
    assert folder.read_graph() == graph
    assert folder.read_sweep() == SWEEP


def test_a_header_that_could_not_be_read_again_is_refused() -> None:
    check_size(dataclasses.replace(SWEEP, points=({"x": "y" * 8000},) * 1000), JobGraph((JOB,)))
    with pytest.raises(UsageError, match=r"1,100 grid points are too many .* some 1,0\d\d of them"):
        check_size(dataclasses.replace(SWEEP, points=({"x": "y" * 8000},) * 1100), JobGraph((JOB,)))


def test_a_plan_that_could_not_be_read_again_is_refused() -> None:
    jobs = [dataclasses.replace(JOB, id=f"{number:016x}", env={"NAME": "x" * 100_000}) for number in range(600)]
    check_size(SWEEP, JobGraph(tuple(jobs[:400])))
    with pytest.raises(UsageError, match=r"600 jobs are too many .* some 50\d of them"):
        check_size(SWEEP, JobGraph(tuple(jobs)))


@pytest.mark.slow
def test_a_plan_of_a_hundred_thousand_jobs_is_read_back(folder: SweepFolder) -> None:
    needs = (Need(job="a" * 16, kind="baseline"), Need(job="b" * 16, kind="series"))
    jobs = tuple(
        dataclasses.replace(
            JOB, id=f"{number:016x}", needs=needs, cost_s=number / 7, memory_bytes=number * 1e5, verdict=None
        )
        for number in range(limits.JOBS - 2)
    )
    first = tuple(dataclasses.replace(JOB, id=name * 16, needs=(), verdict=None) for name in "ab")
    graph = JobGraph((*first, *jobs))
    check_size(SWEEP, graph)
    folder.write_plan(SWEEP, graph)
    assert len(folder.read_graph().jobs) == limits.JOBS
    with pytest.raises(UsageError, match=r"100,001 jobs are too many .* some 100,000 of them"):
        check_size(SWEEP, JobGraph((*graph.jobs, dataclasses.replace(JOB, id="c" * 16))))


def test_a_file_of_lists_in_lists_is_refused_before_it_is_parsed(folder: SweepFolder) -> None:
    folder.write_plan(SWEEP, JobGraph((JOB,)))
    folder.plan_file.write_text('{"schema": 1, "records": {}, "jobs": [' + "[]," * 2_000_000 + "[]]}")
    with pytest.raises(UsageError, match=r"2,000,00\d lists and objects, over 1,572,864"):
        folder.read_graph()


def test_results_that_are_too_large_together_are_refused(folder: SweepFolder) -> None:
    folder.write_plan(SWEEP, JobGraph((JOB,)))
    for number in range(20):
        file = folder.result_file(f"{number:016x}")
        file.parent.mkdir(parents=True)
        with open(file, "wb") as sparse:
            sparse.truncate(7 << 20)
    with pytest.raises(
        UsageError, match=r"the results have 146,800,640 bytes, over the 134,250,496 that are read of 1 jobs"
    ):
        load(folder)


def test_equal_records_are_stored_once(folder: SweepFolder) -> None:
    jobs = tuple(dataclasses.replace(JOB, id=f"{number:016x}", round=number) for number in range(50))
    folder.write_plan(SWEEP, JobGraph(jobs))
    assert len(json.loads(folder.plan_file.read_text())["records"]) == 3


def test_job_and_result_are_read_back(folder: SweepFolder) -> None:
    folder.write_job(JOB)
    folder.write_result(RESULT)
    assert folder.read_job(JOB.id) == JOB
    assert folder.read_result(JOB.id) == RESULT
    assert folder.read_result("0" * 16) is None


@pytest.mark.parametrize("length", [0, 1, 40, -3])
def test_a_result_cut_short_is_unreadable_not_lost(folder: SweepFolder, length: int) -> None:
    folder.write_result(RESULT)
    file = folder.result_file(RESULT.job_id)
    file.write_bytes(file.read_bytes()[:length])
    result = folder.read_result(RESULT.job_id)
    assert isinstance(result, Unreadable)
    assert result.path == file


@pytest.mark.parametrize(
    "text", ["[]", "3", '"text"', "null", "[" * 100_000, '{"schema": 99}', "\udc80".encode("utf-8", "surrogateescape")]
)
def test_other_content_is_unreadable(folder: SweepFolder, text: str | bytes) -> None:
    folder.write_result(RESULT)
    folder.result_file(RESULT.job_id).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert isinstance(folder.read_result(RESULT.job_id), Unreadable)


def test_a_result_of_another_job_is_unreadable(folder: SweepFolder) -> None:
    folder.write_result(RESULT)
    other = "0" * 16
    folder.job(other).mkdir()
    folder.result_file(other).write_bytes(folder.result_file(RESULT.job_id).read_bytes())
    result = folder.read_result(other)
    assert isinstance(result, Unreadable)
    assert RESULT.job_id in result.reason


def test_writing_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    write_text(file, "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, float("nan"))
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\udc80")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_has_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    names = (".a[1].csv.00ff.tmp", ".a[1].csv.11ff.tmp", ".b.csv.00ff.tmp")
    old, new, other = (tmp_path / name for name in names)
    for left in (old, new, other):
        left.touch()
    for left in (old, other):
        os.utime(left, (1, 1))
    write_text(tmp_path / "a[1].csv", "text")
    assert sorted(tmp_path.iterdir()) == [new, other, tmp_path / "a[1].csv"]


def test_a_folder_that_is_no_sweep_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a sweep folder: it has no sweep\.json"):
        SweepFolder(tmp_path).read_sweep()


@pytest.mark.parametrize(
    "content", ["{", '{"schema": 1}', '{"schema": 1, "records": {}, "jobs": [{}]}', '{"schema": 2}', "[]"]
)
def test_a_damaged_plan_is_a_usage_error(folder: SweepFolder, content: str) -> None:
    folder.write_plan(SWEEP, JobGraph((JOB,)))
    folder.plan_file.write_text(content)
    with pytest.raises(UsageError, match=r"plan\.json"):
        folder.read_graph()


def test_a_damaged_job_is_a_usage_error(folder: SweepFolder) -> None:
    folder.write_job(JOB)
    folder.job_file(JOB.id).write_text('{"schema": 1, "id": 3}')
    with pytest.raises(UsageError, match="damaged"):
        read_job(folder.job_file(JOB.id))


def test_names_of_sweeps(tmp_path: Path) -> None:
    names = ["2026-11-20/09-00-00", "2026-11-21/10-31-07", "2026-11-21/11-00-00"]
    for name in names:
        SweepFolder(tmp_path / name).write_plan(SWEEP, JobGraph(()))

    def found(reference: str) -> str:
        return str(find_sweep(reference, tmp_path).root.relative_to(tmp_path))

    assert found("latest") == names[2]
    assert found("latest~2") == names[0]
    assert found("2026-11-20") == names[0]
    assert found("10-31-07") == names[1]
    assert str(find_sweep(str(tmp_path / names[1]), tmp_path)) == str(tmp_path / names[1])


@pytest.mark.parametrize(
    ("reference", "message"),
    [("latest", "0 sweeps"), ("latest~x", "does not name a sweep"), ("2026", "no sweep"), ("/", "no sweep.json")],
)
def test_names_that_find_nothing(tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_sweep(reference, tmp_path)


def test_an_ambiguous_name_lists_the_sweeps(tmp_path: Path) -> None:
    for name in ("2026-11-21/10-00-00", "2026-11-21/11-00-00"):
        SweepFolder(tmp_path / name).write_plan(SWEEP, JobGraph(()))
    with pytest.raises(UsageError, match=r"2 sweeps.*11-00-00"):
        find_sweep("2026-11", tmp_path)


# -- what a folder of someone else's may say


def _plan(folder: SweepFolder, *jobs: JobSpec) -> None:
    folder.write_plan(SWEEP, JobGraph(jobs))


FREE = dataclasses.replace(JOB, needs=(), verdict=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"launcher": "ssh"}, "launcher 'ssh'"),
        ({"round": -1}, "round -1"),
        ({"round": 10**9}, "round 1000000000"),
        ({"timeout_s": 0.0}, "timeout_s is more than 0"),
        ({"kind": "other"}, "of the kind 'other'"),
        ({"point": -1}, "grid point -1"),
        ({"verdict": Verdict(status="fine", reason="")}, "unknown status 'fine'"),
        ({"needs": (Need(job="0" * 16, kind="other"),)}, "unknown kind 'other'"),
        ({"env": {"A=B": "1"}}, "no name of an environment variable"),
        ({"env": {"A": "two\nlines"}}, "cannot be printed"),
        ({"compiler": PluginSpec(name="a\nb", target="x")}, "cannot be printed"),
        ({"workload": dataclasses.replace(WORKLOAD, suite="\u200bquick")}, "cannot be printed"),
        ({"workload": dataclasses.replace(WORKLOAD, builder=PluginSpec(name="", target="x"))}, "a model is empty"),
        ({"workload": dataclasses.replace(WORKLOAD, device="../x")}, "no device"),
        ({"workload": dataclasses.replace(WORKLOAD, batch_size=-1)}, "not negative"),
    ],
    ids=str,
)
def test_a_plan_is_refused_for_what_its_types_do_not_say(folder: SweepFolder, change: Any, message: str) -> None:
    _plan(folder, dataclasses.replace(FREE, **change))
    with pytest.raises(UsageError, match=re.escape(message)):
        folder.read_graph()
    folder.write_job(dataclasses.replace(FREE, **change))
    with pytest.raises(UsageError, match=re.escape(message)):
        read_job(folder.job_file(FREE.id))


def test_a_circle_of_jobs_is_refused(folder: SweepFolder) -> None:
    """`rerun` would follow it for ever."""
    one, two = "1" * 16, "2" * 16
    jobs = [
        dataclasses.replace(FREE, id=own, needs=(Need(job=other, kind="round"),))
        for own, other in ((one, two), (two, one))
    ]
    _plan(folder, *jobs)
    with pytest.raises(UsageError, match=f"job {one} stands before {two}, which it needs"):
        folder.read_graph()
    _plan(folder, FREE, FREE)
    with pytest.raises(UsageError, match="two jobs have the same id"):
        folder.read_graph()


@pytest.mark.parametrize("seconds", [-1.0, 1e300])
def test_times_that_are_no_dates_are_refused(folder: SweepFolder, seconds: float) -> None:
    _plan(folder, FREE)
    folder.write_result(dataclasses.replace(RESULT, started=seconds))
    assert isinstance(folder.read_result(RESULT.job_id), Unreadable)
    folder.write_plan(dataclasses.replace(SWEEP, created=seconds), JobGraph((FREE,)))
    with pytest.raises(UsageError, match="no time"):
        folder.read_sweep()


@pytest.mark.parametrize("part", [{"points": [1]}, {"points": [{"execution": 3}]}, {"environment": []}])
def test_a_header_of_other_shapes_is_refused(folder: SweepFolder, part: Any) -> None:
    _plan(folder, FREE)
    folder.sweep_file.write_text(json.dumps(json.loads(folder.sweep_file.read_text()) | part))
    with pytest.raises(UsageError, match="is no object"):
        folder.read_sweep()


@pytest.mark.parametrize(
    "environment",
    [{"packages": ["torch"]}, {"conf": "orchestrator"}, {"gpus": {"name": "H200"}}, {"gpus": ["H200"]}],
    ids=str,
)
def test_an_environment_of_other_shapes_is_refused(folder: SweepFolder, environment: Any) -> None:
    """Exports look into its packages and its GPUs, and whatever shows commands into what its configuration was."""
    _plan(folder, FREE)
    folder.write_plan(dataclasses.replace(SWEEP, environment=environment), JobGraph((FREE,)))
    with pytest.raises(UsageError, match="of its environment"):
        folder.read_sweep()
