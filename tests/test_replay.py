"""Which jobs of a stored plan are run again: what is chosen, what it needs, and other numbers of rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.points import MACHINE, execution, needs, point, short, suite

from orchestrator.errors import UsageError
from orchestrator.planning import replay
from orchestrator.planning.plan import plan
from orchestrator.planning.points import Point
from orchestrator.planning.selection import parse_only
from orchestrator.records import JobSpec, PluginSpec
from orchestrator.results import details
from orchestrator.store import JobGraph, SweepFolder


def graph_of(rounds: int = 3, models: tuple[str, ...] = ("Bert", "T5"), **keys: object) -> JobGraph:
    return plan(points(rounds, models, **keys), MACHINE)


def points(rounds: int, models: tuple[str, ...] = ("Bert", "T5"), **keys: object) -> list[Point]:
    return [
        point(compiler, measure, mode, rounds=rounds, suite=suite({name: {} for name in models}), **keys)
        for compiler in ("inductor", "aot_eager")
        for measure in ("performance", "accuracy")
        for mode in ("inference", "training")
    ]


def ids(graph: JobGraph, *titles: str) -> list[str]:
    """Return the ids of jobs by what `short` calls them, in inference."""
    return [job.id for job in graph.jobs if short(job) in titles and job.workload.mode.name == "inference"]


# -- what a job needs


def test_a_warm_round_needs_the_first_round_and_its_own_baseline() -> None:
    graph = graph_of(rounds=5, models=("Bert",))
    (chosen,) = ids(graph, "Bert inductor performance 3")
    assert needs(replay.closed(graph, [chosen])) == {
        "Bert eager performance 0": [],
        "Bert inductor performance 0": ["baseline: Bert eager performance 0"],
        "Bert eager performance 3": ["round: Bert eager performance 0"],
        "Bert inductor performance 3": ["round: Bert inductor performance 0", "baseline: Bert eager performance 3"],
    }


def test_eager_has_no_cache_and_needs_no_other_round() -> None:
    graph = graph_of(models=("Bert",))
    assert needs(replay.closed(graph, ids(graph, "Bert eager performance 2"))) == {"Bert eager performance 2": []}


def test_a_round_that_is_run_anyway_is_still_waited_for() -> None:
    graph = graph_of(rounds=4, models=("Bert",))
    chosen = ids(graph, "Bert inductor performance 1", "Bert inductor performance 3")
    found = needs(replay.closed(graph, chosen))
    assert found["Bert inductor performance 3"][0] == "round: Bert inductor performance 1"
    assert found["Bert inductor performance 1"][0] == "round: Bert inductor performance 0"


def test_accuracy_needs_its_reference_and_a_gate_stays() -> None:
    graph = graph_of(rounds=1, models=("Bert",), gate="accuracy")
    assert needs(replay.closed(graph, ids(graph, "Bert inductor accuracy 0"))) == {
        "Bert eager reference 0": [],
        "Bert inductor accuracy 0": ["reference: Bert eager reference 0"],
    }
    assert len(replay.closed(graph, ids(graph, "Bert inductor performance 0")).jobs) == 4


def test_all_jobs_are_the_plan_itself() -> None:
    graph = graph_of(gate="accuracy")
    assert replay.closed(graph, [job.id for job in graph.jobs]) == graph
    assert replay.closed(graph, []) == JobGraph(())


# -- choosing


def titles(graph: JobGraph, chosen: Iterable[str]) -> set[str]:
    jobs = {job.id: job for job in graph.jobs}
    return {f"{short(jobs[name])} {jobs[name].workload.mode.name}" for name in chosen}


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        (["model=T5,compiler=inductor,measure=accuracy"], {"T5 inductor accuracy 0 inference",
                                                           "T5 inductor accuracy 0 training"}),
        (["model=B*,compiler=*duct*,measure=acc*,mode=training"], {"Bert inductor accuracy 0 training"}),
        (["compiler=eager,mode=inference,model=T5"], {"T5 eager performance 0 inference"}),
        (["measure=accuracy,compiler=aot_eager,mode=training,model=T5", "model=Bert,compiler=eager,mode=training"],
         {"T5 aot_eager accuracy 0 training", "Bert eager performance 0 training"}),
        (["model=T5,model=Bert,measure=accuracy,compiler=inductor,mode=training"],
         {"T5 inductor accuracy 0 training", "Bert inductor accuracy 0 training"}),
        (["batch_size=1,device=cpu,dtype=float32,sequence_length=64,suite=models,mode=training,compiler=inductor,model=T5"],
         {"T5 inductor accuracy 0 training"}),
    ],
)  # fmt: skip
def test_only(expressions: list[str], expected: set[str]) -> None:
    graph = graph_of(rounds=1)
    assert titles(graph, replay.matching(graph, expressions)) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("compilr=x", "--only compilr=x: unknown key 'compilr': did you mean 'compiler'"),
        ("model=Brt", "--only model=Brt: no model is named 'Brt': did you mean 'Bert'"),
        ("compiler=inducter,model=T5", "no compiler is named 'inducter': did you mean 'inductor'"),
        ("measure=accuracy,compiler=eager", "no row has all of that"),
        ("measure=reference", "no measure is named 'reference': Available: accuracy, performance"),
        ("T5", "write key=value,key=value, as in model=T5"),
        ("model=", "write key=value"),
    ],
)
def test_only_that_matches_nothing(expression: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        replay.matching(graph_of(rounds=1), ["model=T5", expression])
    assert message in str(error.value)


def test_a_job_is_named_by_the_beginning_of_its_id() -> None:
    graph = graph_of()
    job = graph.jobs[7]
    assert replay.named(graph.jobs, job.id[:12]) == job
    with pytest.raises(UsageError, match="no job has an id that begins with 'xyz'"):
        replay.named(graph.jobs, "xyz")
    twins = [dataclasses.replace(job, id=f"{number}{job.id[1:]}") for number in (7, 7)]
    twins[1] = dataclasses.replace(twins[1], id=twins[1].id[:-1] + "x")
    with pytest.raises(UsageError, match="names 2 jobs"):
        replay.named(twins, "7")


def test_a_mode_that_trains_is_training_whatever_its_name(tmp_path: Path) -> None:
    """`rerun --only` and `show --only` choose the same jobs."""
    mode = PluginSpec(name="finetune", target="elsewhere.Finetune")
    named = [
        dataclasses.replace(job, workload=dataclasses.replace(job.workload, mode=mode), training=True)
        for job in graph_of().jobs
    ]
    graph = JobGraph(tuple(job for job in named if job.measure.name != "reference"))
    shown = details.select(SweepFolder(tmp_path), graph.jobs, parse_only("mode=training"))
    assert {job.id for job in shown} == replay.matching(graph, ["mode=training"]) == {job.id for job in graph.jobs}
    assert details.select(SweepFolder(tmp_path), graph.jobs, parse_only("mode=inference")) == []


@pytest.mark.parametrize(("name", "answer"), [("training_adamw", True), ("finetune", False), ("inference", False)])
def test_a_mode_of_which_the_plan_does_not_say_whether_it_trains_is_known_by_its_name(name: str, answer: bool) -> None:
    mode = PluginSpec(name=name, target="orchestrator.modes.training.Training")
    (job, *_) = graph_of().jobs
    workload = dataclasses.replace(job.workload, mode=mode)
    assert dataclasses.replace(job, workload=workload, training=None).is_training is answer


# -- rounds


def plain(graph: JobGraph) -> list[JobSpec]:
    """Return the jobs without what a planner only estimates."""
    return [dataclasses.replace(job, cost_s=0.0) for job in graph.jobs]


@pytest.mark.parametrize("gate", [None, "accuracy"])
@pytest.mark.parametrize(("planned", "asked"), [(1, 3), (3, 5), (3, 1), (5, 2), (2, 2)])
def test_other_rounds_are_what_the_planner_would_plan(planned: int, asked: int, gate: str | None) -> None:
    assert plain(replay.with_rounds(graph_of(planned, gate=gate), asked)) == plain(graph_of(asked, gate=gate))


def test_rounds_by_compiler_become_equal() -> None:
    catalog = suite({"Bert": {"skip": [{"reason": "no", "compiler": "eager_else"}]}})
    mixed = plan([point("inductor", rounds=1, suite=catalog), point("aot_eager", rounds=3, suite=catalog)], MACHINE)
    even = plan([point(name, rounds=4, suite=catalog) for name in ("inductor", "aot_eager")], MACHINE)
    found = replay.with_rounds(mixed, 4)
    assert [job.id for job in found.jobs] == [job.id for job in even.jobs]
    assert {job.id: set(job.needs) for job in found.jobs} == {job.id: set(job.needs) for job in even.jobs}


def test_what_is_known_beforehand_gets_no_rounds() -> None:
    catalog = suite({"Bert": {"skip": [{"reason": "too large", "compiler": "inductor"}]}})
    graph = plan([point(name, rounds=2, suite=catalog) for name in ("inductor", "aot_eager")], MACHINE)
    more = replay.with_rounds(graph, 3)
    assert plain(more) == plain(
        plan([point(name, rounds=3, suite=catalog) for name in ("inductor", "aot_eager")], MACHINE)
    )
    assert sum(job.verdict is not None for job in more.jobs) == 1


def test_launcher_and_environment_are_part_of_the_new_ids() -> None:
    def planned(rounds: int) -> JobGraph:
        runs = [execution("fork"), execution("subprocess"), execution("fork", {"A": "1"})]
        return plan([point("inductor", rounds=rounds, execution=run) for run in runs], MACHINE)

    assert plain(replay.with_rounds(planned(1), 3)) == plain(planned(3))


def test_one_round_of_a_row_can_be_repeated_further() -> None:
    """After a choice of round 2, whose need is round 0: the next one needs the round before it or the first."""
    graph = graph_of(models=("Bert",))
    some = replay.closed(graph, ids(graph, "Bert inductor performance 2"))
    found = needs(replay.with_rounds(some, 4))
    assert found["Bert inductor performance 3"] == [
        "round: Bert inductor performance 0",
        "baseline: Bert eager performance 3",
    ]
