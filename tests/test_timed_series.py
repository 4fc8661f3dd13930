"""What was timed is what is judged: through the real command, and on the plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import FAKES, latest, orchestrator, table
from support.plans import planned

from orchestrator.planning.replay import closed, with_rounds
from orchestrator.records import JobResult, JobSpec
from orchestrator.store import JobGraph

BOTH = (*FAKES, "suite=perceptrons", "suite.models=[one]", "measure=glance,accuracy")
TIMED_CODE, TWIN = "the timed code", "a twin"


@pytest.mark.slow
def test_code_that_is_wrong_in_one_of_its_calls_fails_be_it_the_first_or_a_later_one(tmp_path: Path) -> None:
    wrong = "wrong_in_its_first_call,wrong_in_its_third_call,returns_the_last_output"
    orchestrator(tmp_path, *BOTH, f"compiler=identity,{wrong}", "rounds=1", code=1)
    judged = table(tmp_path, "accuracy").set_index("compiler")
    assert judged["judged"].to_dict() == dict.fromkeys(("identity", *wrong.split(",")), TIMED_CODE)
    assert judged["status"].to_dict() == {"identity": "pass", **dict.fromkeys(wrong.split(","), "fail_accuracy")}
    timed = [job for job in _jobs(tmp_path) if job.measure.name == "glance"]
    assert all(_result(tmp_path, job).facts["series"]["calls"] >= 3 for job in timed if job.compiler.name != "eager")
    assert not list((latest(tmp_path).root / "references").glob("*"))


@pytest.mark.slow
def test_a_twin_that_is_wrong_later_fails_too(tmp_path: Path) -> None:
    wrong = "compiler=wrong_in_its_third_call,returns_the_last_output"
    orchestrator(tmp_path, *FAKES, "suite=perceptrons", "suite.models=[one]", "measure=accuracy", wrong, code=1)
    judged = table(tmp_path, "accuracy")
    assert set(judged["judged"]) == {TWIN}
    assert set(judged["status"]) == {"fail_accuracy"}


@pytest.mark.slow
def test_what_is_trained_has_a_twin_and_the_gate_comes_before_the_timing(tmp_path: Path) -> None:
    orchestrator(tmp_path, *BOTH, "compiler=identity", "mode=training,inference", "rounds=2")
    judged = table(tmp_path, "accuracy").set_index("mode")
    assert judged["judged"].to_dict() == {"training": TWIN, "inference": TIMED_CODE}
    assert set(judged["status"]) == {"pass"}
    orchestrator(tmp_path, *BOTH, "compiler=identity", "gate=accuracy", "rounds=1")
    assert set(table(tmp_path, "accuracy")["judged"]) == {TWIN}
    ended = {job.measure.name: _result(tmp_path, job).ended for job in _jobs(tmp_path) if job.compiler.name != "eager"}
    assert ended["accuracy"] < ended["glance"]


@pytest.mark.slow
def test_code_that_cannot_be_timed_is_judged_all_the_same(tmp_path: Path) -> None:
    """The timed job dies; the accuracy job compiles for itself, and says what it finds."""
    orchestrator(tmp_path, *BOTH, "compiler=does_raise", "rounds=1", code=1)
    by_measure = table(tmp_path, "jobs").set_index("measure")["status"].to_dict()
    assert by_measure["accuracy"] == "fail_to_run"
    assert set(table(tmp_path, "accuracy")["judged"]) == {TWIN}


def test_a_part_of_a_plan_keeps_what_joins_its_jobs() -> None:
    words = ("suite=tiny", "suite.models=[bert_tiny]", "batch_size=1", "rounds=2")
    graph = planned(*words, "compiler=identity", "measure=performance,accuracy")
    timed = next(job for job in graph.jobs if job.measure.name == "performance" and job.compiler.name == "identity")
    judged = next(job for job in graph.jobs if job.measure.name == "accuracy")
    assert _kinds(graph, timed.id) == {"baseline", "series"}
    assert _kinds(graph, judged.id) == {"reference", "timed"}

    alone = closed(graph, [judged.id])
    assert {job.measure.name for job in alone.jobs} == {"accuracy", "reference"}
    assert _kinds(alone, judged.id) == {"reference"}
    assert _kinds(closed(graph, [timed.id]), timed.id) == {"baseline"}
    both = closed(graph, [judged.id, timed.id])
    assert _kinds(both, timed.id) == {"baseline", "series"}

    more = with_rounds(graph, 4)
    places = {job.id: place for place, job in enumerate(more.jobs)}
    assert all(places[need.job] < places[job.id] for job in more.jobs for need in job.needs)
    assert sum(need.kind == "series" for job in more.jobs for need in job.needs) == 1


def _jobs(tmp_path: Path) -> tuple[JobSpec, ...]:
    return latest(tmp_path).read_graph().jobs


def _result(tmp_path: Path, job: JobSpec) -> JobResult:
    result = latest(tmp_path).read_result(job.id)
    assert isinstance(result, JobResult)
    return result


def _kinds(graph: JobGraph, job_id: str) -> set[str]:
    return {need.kind for job in graph.jobs if job.id == job_id for need in job.needs}
