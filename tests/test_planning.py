"""From points to a job graph: edges, order, ids, verdicts, batch sizes, tolerances, shards, costs."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from support.points import MACHINE, execution, needs, point, short, suite

from orchestrator import system
from orchestrator.errors import UsageError
from orchestrator.planning import cost, machine, provenance
from orchestrator.planning import selection as matching
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.resume import expect_same
from orchestrator.planning.shards import by_hand, comparison, cut
from orchestrator.planning.shards import cost as cost_of
from orchestrator.planning.suites import read_suite
from orchestrator.records import JobSpec, PluginSpec, Workload
from orchestrator.store import JobGraph, Sweep, SweepFolder

# -- edges and order


def test_accuracy_needs_a_reference_that_all_compilers_share() -> None:
    graph = plan(
        [point(compiler, "accuracy", suite=suite({"Bert": {}})) for compiler in ("inductor", "aot_eager")], MACHINE
    )
    assert needs(graph) == {
        "Bert eager reference 0": [],
        "Bert inductor accuracy 0": ["reference: Bert eager reference 0"],
        "Bert aot_eager accuracy 0": ["reference: Bert eager reference 0"],
    }


def test_performance_needs_the_baseline_of_its_round_and_the_round_before() -> None:
    graph = plan([point("inductor", rounds=2, suite=suite({"Bert": {}}))], MACHINE)
    assert needs(graph) == {
        "Bert eager performance 0": [],
        "Bert inductor performance 0": ["baseline: Bert eager performance 0"],
        "Bert eager performance 1": ["round: Bert eager performance 0"],
        "Bert inductor performance 1": ["round: Bert inductor performance 0", "baseline: Bert eager performance 1"],
    }


def test_an_eager_point_is_the_baseline_of_the_others() -> None:
    alone = plan([point("inductor")], MACHINE)
    both = plan([point("eager"), point("inductor")], MACHINE)
    assert {job.id for job in both.jobs} == {job.id for job in alone.jobs}
    assert len(both.jobs) == 2 * 2 * 3  # models x compilers x rounds


def test_accuracy_alone_has_no_baseline_and_no_rounds() -> None:
    graph = plan([point("inductor", "accuracy")], MACHINE)
    assert Counter(job.measure.name for job in graph.jobs) == {"reference": 2, "accuracy": 2}
    assert {job.round for job in graph.jobs} == {0}


def test_gate_puts_accuracy_before_performance_asked_for_or_not() -> None:
    graph = plan([point("inductor", rounds=1, gate="accuracy", suite=suite({"Bert": {}}))], MACHINE)
    assert needs(graph)["Bert inductor performance 0"] == [
        "baseline: Bert eager performance 0",
        "gate: Bert inductor accuracy 0",
    ]
    asked = [
        point("inductor", m, rounds=1, gate="accuracy", suite=suite({"Bert": {}})) for m in ("performance", "accuracy")
    ]
    assert {job.id for job in plan(asked, MACHINE).jobs} == {job.id for job in graph.jobs}


def test_every_job_stands_behind_those_it_needs_and_no_id_is_twice() -> None:
    points = [
        point(compiler, measure, mode, gate="accuracy", batch_size=batch)
        for compiler in ("inductor", "aot_eager", "eager")
        for measure in ("performance", "accuracy")
        for mode in ("training", "inference")
        for batch in (1, 4)
    ]
    graph = plan([*points, *points], MACHINE)
    seen: set[str] = set()
    for job in graph.jobs:
        assert job.id not in seen
        assert all(need.job in seen for need in job.needs)
        seen.add(job.id)
    # per model and mode: the accuracy batch is overridden too, so 2 batches x (1 reference + 3 accuracy + 3 x 3 rounds)
    assert len(graph.jobs) == 2 * 2 * 2 * (1 + 3 + 9)


def test_jobs_of_a_workload_and_round_are_neighbours_eager_first() -> None:
    graph = plan([point(c) for c in ("inductor", "aot_eager", "a", "b", "c", "eager")], MACHINE)
    runs = [(job.workload.model, job.round) for job in graph.jobs]
    assert runs == [(model, round) for model in ("Bert", "T5") for round in range(3) for _ in range(6)]
    blocks = [graph.jobs[start : start + 6] for start in range(0, len(graph.jobs), 6)]
    assert all(block[0].compiler.name == "eager" for block in blocks)
    orders = {tuple(job.compiler.name for job in block) for block in blocks}
    assert len(orders) > 1  # a new random order in every round


def test_the_order_of_compilers_hangs_on_the_seed_not_on_the_order_asked() -> None:
    names = ["inductor", "aot_eager", "a", "b", "c"]
    order = [short(job) for job in plan([point(name) for name in names], MACHINE).jobs]
    assert order == [short(job) for job in plan([point(name) for name in reversed(names)], MACHINE).jobs]
    assert order != [short(job) for job in plan([point(name, seed=7) for name in names], MACHINE).jobs]


def test_ids_are_the_same_in_every_process_and_version() -> None:
    """A changed id makes every stored sweep impossible to resume: change SCHEMA_VERSION with it, or do not."""
    graph = plan([point("inductor", rounds=1, suite=suite({"Bert": {}}))], MACHINE)
    assert {short(job): job.id for job in graph.jobs} == {
        "Bert eager performance 0": "fab6ef8933c38136",
        "Bert inductor performance 0": "5959e074dbacab4c",
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"threads": 1},
        {"batch_size": 3},
        {"sequence_length": 3},
        {"dtype": {"name": "float16"}},
        {"device": {"type": "cuda", "index": 1}},
        {"seed": 2, "mode": "training"},
        {"suite": suite({"Bert": {"build": {"class_name": "X"}}, "T5": {"build": {"class_name": "X"}}})},
        {"execution": execution("subprocess", {}, 1.0)},
        {"execution": execution("fork", {"A": "1"}, 1.0)},
    ],
    ids=str,
)
def test_whatever_can_change_a_figure_changes_the_id(changed: dict[str, Any]) -> None:
    before, after = plan([point()], MACHINE), plan([point(**changed)], MACHINE)
    assert not {job.id for job in before.jobs} & {job.id for job in after.jobs}


def test_a_time_out_changes_no_id() -> None:
    other = point(execution=execution("fork", {}, 5.0))
    assert [job.id for job in plan([point()], MACHINE).jobs] == [job.id for job in plan([other], MACHINE).jobs]
    assert {job.timeout_s for job in plan([other], MACHINE).jobs} == {5.0}


def test_an_environment_of_its_own_takes_an_interpreter_of_its_own() -> None:
    graph = plan([point(execution=execution("fork", {"OMP_NUM_THREADS": "1"}, 5.0))], MACHINE)
    assert {(job.launcher, job.env["OMP_NUM_THREADS"]) for job in graph.jobs} == {("subprocess", "1")}


# -- what a workload is


def test_batch_sizes_by_device_measure_divisor_and_override() -> None:
    catalog = {"Bert": {"divisor": 4}, "T5": {"batch_size": {"cpu": 3}, "divisor": 8}}

    def batches(*keys: Any, **more: Any) -> dict[tuple[str, str], int]:
        graph = plan(
            [
                point("inductor", measure, *keys, suite=suite(catalog), **more)
                for measure in ("performance", "accuracy")
            ],
            MACHINE,
        )
        return {(job.workload.model, job.measure.name): job.workload.batch_size for job in graph.jobs}

    assert batches() == {
        ("Bert", "performance"): 2,
        ("Bert", "accuracy"): 1,
        ("Bert", "reference"): 1,
        ("T5", "performance"): 1,
        ("T5", "accuracy"): 1,
        ("T5", "reference"): 1,
    }
    assert batches(device={"type": "cuda", "index": 0})["Bert", "performance"] == 8
    assert set(batches(batch_size=5).values()) == {5}


def test_accuracy_without_a_batch_size_of_its_own_takes_that_of_performance() -> None:
    own = suite({"Bert": {"batch_size": {"cpu": 8}, "divisor": 2}}, common={"tolerance": {"inference": 1}})
    assert {job.workload.batch_size for job in plan([point("inductor", "accuracy", suite=own)], MACHINE).jobs} == {4}


def test_sequence_length_is_overridden_only_where_there_is_one() -> None:
    models = suite({"Bert": {"sequence_length": 64}, "ResNet": {}}, common={"tolerance": {"inference": 1}})
    graph = plan([point(sequence_length=16, suite=models)], MACHINE)
    assert {job.workload.model: job.workload.sequence_length for job in graph.jobs} == {"Bert": 16, "ResNet": None}


def test_device_and_threads_come_from_the_machine_unless_they_are_said() -> None:
    gpu = Machine(cores=8, cuda_devices=2)
    assert {(job.workload.device, job.workload.threads) for job in plan([point()], gpu).jobs} == {("cuda:0", 7)}
    assert {job.workload.device for job in plan([point(device={"type": "cuda", "index": 1})], MACHINE).jobs} == {
        "cuda:1"
    }
    assert {job.workload.threads for job in plan([point(threads=3)], gpu).jobs} == {3}
    other = plan([point(device={"type": "xpu", "index": 1})], gpu).jobs
    assert {(job.workload.device, job.workload.batch_size) for job in other} == {("xpu:1", 32)}  # CUDA's sizes
    assert "not built for Intel's GPUs" in gpu.cautions(other)[0]
    assert Machine(cores=8, cuda_devices=2, xpu_build=True).cautions(other) == []
    assert Machine(cores=1, cuda_devices=0).threads == 1


def test_tolerance_is_the_suites_unless_the_measure_has_one() -> None:
    tolerance = {"inference": 1e-3, "training": 1e-2, "inference_cpu": 5e-3}
    models = suite({"Bert": {"tolerance": tolerance, "larger_multiplier": True}})

    def options(mode: str = "inference", **keys: Any) -> Any:
        graph = plan([point("inductor", **{"measure": "accuracy", "mode": mode, "suite": models, **keys})], MACHINE)
        return next(job.measure.options for job in graph.jobs if job.measure.name == "accuracy")

    assert options() == {"tolerance": 5e-3, "cosine": False, "larger_multiplier": True}
    assert options("training")["tolerance"] == 1e-2
    assert options(device={"type": "cuda", "index": 0})["tolerance"] == 1e-3
    target = "orchestrator.measures.accuracy.Accuracy"
    own = {"name": "accuracy", "target": target, "options": {"tolerance": 0.5, "cosine": None}, "timeout_s": None}
    assert options(measure=own) == {"tolerance": 0.5, "cosine": False, "larger_multiplier": True}


def test_a_model_without_a_tolerance_is_told_where_to_put_one() -> None:
    with pytest.raises(UsageError, match=r"suite\.catalog\.Bert has no tolerance for inference.*measure\.options"):
        plan([point("inductor", "accuracy", suite=suite({"Bert": {}}, common={}))], MACHINE)


# -- what is not run


def test_a_skip_becomes_one_row_with_its_reason_and_starts_nothing_else() -> None:
    skip = [
        {"reason": "too large", "status": "pass_due_to_skip", "measure": "accuracy"},
        {"reason": "no", "mode": "training"},
    ]
    models = suite({"Bert": {"skip": skip}})
    both = suite({"Bert": {"skip": skip}, "BertLarge": {}})  # whose name holds the other's
    found = {job.workload.model: job.verdict for job in plan([point(mode="training", suite=both)], MACHINE).jobs}
    assert (found["Bert"] is None, found["BertLarge"]) == (False, None)
    (job,) = plan([point("inductor", "accuracy", suite=models)], MACHINE).jobs
    assert job.verdict is not None
    assert (job.verdict.status, job.verdict.reason, job.needs, job.cost_s) == ("pass_due_to_skip", "too large", (), 0.0)
    (job,) = plan([point("inductor", mode="training", suite=models)], MACHINE).jobs
    assert job.verdict is not None
    assert (job.verdict.status, job.round) == ("unsupported", 0)
    assert all(job.verdict is None for job in plan([point("inductor", suite=models)], MACHINE).jobs)


def test_a_gone_model_is_a_row_only_when_it_is_asked_for_by_name() -> None:
    catalog = {"Bert": {}, "Old": {"gone": "removed in 5"}}
    assert {job.workload.model for job in plan([point(suite=suite(catalog))], MACHINE).jobs} == {"Bert"}
    asked = [point("inductor", m, suite=suite(catalog, models=["Old"])) for m in ("performance", "accuracy")]
    jobs = plan(asked, MACHINE).jobs
    assert [(job.measure.name, job.verdict and job.verdict.reason) for job in jobs] == [
        ("accuracy", "removed in 5"),
        ("performance", "removed in 5"),
    ]


def test_exclude_takes_away_what_was_asked_for_not_what_is_needed() -> None:
    rules = [{"compiler": "eager"}, {"model": "T*", "compiler": ["inductor", "x"]}]
    graph = plan([point(compiler, exclude=rules, rounds=1) for compiler in ("eager", "inductor", "aot_eager")], MACHINE)
    assert Counter(short(job) for job in graph.jobs) == Counter(
        [
            "Bert eager performance 0",
            "Bert inductor performance 0",
            "Bert aot_eager performance 0",
            "T5 eager performance 0",
            "T5 aot_eager performance 0",
        ]
    )


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"batch_size": 8}, 0),
        ({"batch_size": [1, 2]}, 6),
        ({"device": "cpu", "dtype": "float32"}, 0),
        ({"device": "cuda"}, 6),
        ({"mode": "infer*"}, 0),
        ({"sequence_length": 64, "model": "Bert"}, 3),
        ({"suite": "other"}, 6),
    ],
)
def test_exclude_matches_literals_lists_and_globs(rule: dict[str, Any], kept: int) -> None:
    if kept:
        assert len(plan([point(exclude=[rule])], MACHINE).jobs) == kept
    else:
        with pytest.raises(UsageError, match="nothing to run: exclude leaves none"):
            plan([point(exclude=[rule])], MACHINE)


def test_exclude_with_an_unknown_key_says_which_is_meant() -> None:
    with pytest.raises(UsageError, match=r"exclude\[0\]: unknown key 'compilers': did you mean 'compiler'"):
        matching.check_exclude([{"compilers": "eager"}])


@pytest.mark.parametrize("wanted", [{"a": 1}, [{"a": 1}], [["Bert"]]], ids=str)
def test_exclude_with_a_value_that_is_no_name_is_refused(wanted: Any) -> None:
    with pytest.raises(UsageError, match=r"exclude\[0\]\.model is .*: write a name, a pattern or a list of those"):
        matching.check_exclude([{"model": wanted}])


# -- suites


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"batchsize": 1}, r"suite models: catalog\.A: unknown key 'batchsize': did you mean 'batch_size'"),
        ({"batch_size": {"gpu": 1}}, r"catalog\.A\.batch_size: unknown key 'gpu'"),
        ({"batch_size": {"cpu": "x"}}, r"catalog\.A\.batch_size\.cpu: expected int"),
        ({"batch_size": {"cpu": 0}}, r"catalog\.A: .*at least 1"),
        ({"batch_size": 4}, r"catalog\.A\.batch_size: expected a map, found 4"),
        ({"tolerance": {"infer": 1}}, r"catalog\.A\.tolerance: unknown key 'infer': did you mean 'inference'"),
        ({"skip": [{"mode": "training"}]}, r"catalog\.A\.skip\[0\] needs a reason"),
        ({"skip": [{"reason": "r", "modes": "x"}]}, r"catalog\.A\.skip\[0\]: unknown key 'modes': did you mean 'mode'"),
        ({"skip": [{"reason": "r", "status": "skipped"}]}, r"skip\[0\]: unknown status 'skipped'"),
        ({"divisor": 1.5}, r"catalog\.A\.divisor: expected int"),
        (7, r"catalog\.A: expected a map, found 7"),
    ],
)
def test_a_wrong_entry_names_the_path_and_the_nearest_key(entry: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_suite(suite({"A": entry}))


def test_a_wrong_key_of_all_models_is_not_blamed_on_one() -> None:
    with pytest.raises(UsageError, match=r"suite models: common: unknown key 'divsor': did you mean 'divisor'"):
        read_suite(suite(common={"divsor": 2}))


def test_options_of_a_model_are_checked_against_its_builder() -> None:
    with pytest.raises(
        UsageError, match=r"suite\.catalog\.A\.build: unknown option 'class'.*did you mean 'class_name'"
    ):
        point(suite=suite({"A": {"build": {"class": "BertModel"}}}))


def test_models_filter_and_exclude_choose() -> None:
    catalog: dict[str, Any] = {"BertA": {}, "BertB": {}, "T5": {}}

    def chosen(**keys: Any) -> list[str]:
        return [model.name for model in read_suite(suite(catalog, **keys)).models]

    assert chosen() == ["BertA", "BertB", "T5"]
    assert chosen(models=["T5", "BertA", "T5"]) == ["T5", "BertA"]
    assert chosen(filter="^bert") == ["BertA", "BertB"]
    assert chosen(filter="^bert", exclude="a$") == ["BertB"]
    with pytest.raises(UsageError, match=r"no model 'BertC': did you mean 'BertB'"):
        chosen(models=["BertC"])
    with pytest.raises(UsageError, match=r"suite\.filter=x leaves no model"):
        chosen(filter="x")
    with pytest.raises(UsageError, match="is not a regular expression"):
        chosen(filter="(")


LISTED = "# name, batch\nT5,6\n\nBert 12\nGpt\n"


def test_a_file_of_models_stands_among_them_with_its_batch_sizes(tmp_path: Path) -> None:
    file = tmp_path / "models_list.txt"
    file.write_text(LISTED)
    catalog = {name: {"divisor": 2} for name in ("Bert", "Other", "Gpt", "T5")}
    read = read_suite(suite(catalog, models=["Other", str(file)]))
    assert [
        (one.name, one.batch("cpu", False), one.batch("cuda", False), one.batch("cpu", True)) for one in read.models
    ] == [
        ("Other", 4, 16, 1),
        ("T5", 6, 6, 1),
        ("Bert", 12, 12, 1),
        ("Gpt", 4, 16, 1),
    ]
    graph = plan([point(suite=suite(catalog, models=[str(file)], filter="^T5$"))], MACHINE)
    assert {job.workload.batch_size for job in graph.jobs} == {6}
    opened = read_suite(suite({}, models=[str(file)], open=True))
    assert [(one.name, one.batch("cpu", False)) for one in opened.models] == [("T5", 6), ("Bert", 12), ("Gpt", 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("T5,6\nBert;12\n", r"line 2 of .*list\.csv is 'Bert;12': write NAME,BATCH"),
        ("T5,0\n", r"line 1 of .*'T5,0': .* at least 1"),
        ("T5,-1", r"line 1 of .*'T5,-1': .* at least 1"),
        ("T5,6,7", r"line 1 of"),
        ("T5,6\nT5 8", r"line 1 of .* and line 2 give T5 different batch sizes"),
        ("T5,6\nT6,8", r"suite models has no model 'T6' \(line 2 of .*list\.csv\)"),
        ("# nothing\n", r"list\.csv names no model"),
        (None, r"list\.csv cannot be read as a list of models: No such file"),
        (b"\xff\xfe", r"list\.csv cannot be read as a list of models: it is no text"),
    ],
)
def test_a_wrong_file_of_models_is_one_message(tmp_path: Path, text: str | bytes | None, message: str) -> None:
    file = tmp_path / "list.csv"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError, match=message):
        read_suite(suite(models=[str(file)]))


def test_common_is_what_an_entry_does_not_say() -> None:
    (model,) = read_suite(suite({"A": {"batch_size": {"cpu": 2}, "sequence_length": 7}})).models
    assert dataclasses.asdict(model.batch_size) == {"cpu": 2, "cuda": 32, "accuracy": 1}
    assert model.sequence_length == 7
    assert model.tolerance == {"inference": 1e-3, "training": 1e-2}


# -- shards


def job(model: str, seconds: float) -> JobSpec:
    plugin = PluginSpec(name="x", target="x")
    builder = PluginSpec(name=model, target="orchestrator.suites.huggingface.HuggingFaceModel")
    workload = Workload(
        suite="s", builder=builder, mode=plugin, dtype="float32", device="cpu",
        batch_size=1, sequence_length=1, seed=0, threads=1,
    )  # fmt: skip
    return JobSpec(
        id=model, workload=workload, compiler=plugin, measure=plugin, round=0, launcher="fork", env={}, needs=(),
        timeout_s=1.0, cost_s=seconds,
    )  # fmt: skip


def test_shards_are_even_in_cost_not_in_count() -> None:
    graph = JobGraph(tuple(job(name, seconds) for name, seconds in zip("abcdef", (1, 1, 1, 1, 5, 6), strict=True)))
    shards = cut(graph, 2)
    assert [[job.id for job in shard] for shard in shards] == [["b", "d", "f"], ["a", "c", "e"]]
    assert [cost_of(shard) for shard in shards] == [8, 7]


def test_shards_hold_every_job_once_and_no_edge_leaves_one() -> None:
    catalog = {f"model{index}": {"params_m": 10 * (index + 1)} for index in range(20)}
    points = [
        point(compiler, measure, mode, suite=suite(catalog), gate="accuracy")
        for compiler in ("eager", "inductor", "aot_eager")
        for measure in ("performance", "accuracy")
        for mode in ("inference", "training")
    ]
    graph = plan(points, MACHINE)
    position = {job.id: index for index, job in enumerate(graph.jobs)}
    shards = cut(graph, 5)
    assert sorted(job.id for shard in shards for job in shard) == sorted(position)
    for shard in shards:
        ids = [job.id for job in shard]
        assert ids == sorted(ids, key=position.__getitem__)
        assert {need.job for job in shard for need in job.needs} <= set(ids)
    costs = [cost_of(shard) for shard in shards]
    # 40 units: LPT is within 4/3 of the best, and here much nearer
    assert max(costs) < 1.1 * sum(costs) / 5
    units = [{comparison(job.workload) for job in shard} for shard in shards]
    assert sum(len(unit) for unit in units) == len(set().union(*units)) == 40


@pytest.mark.parametrize("text", ["6/5", "0/5", "2", "a/b", "2/0", "-1/2"])
def test_a_shard_that_is_not_one(text: str) -> None:
    with pytest.raises(UsageError, match=f"shard={text}"):
        by_hand(graph := plan([point()], MACHINE), text, graph)


def test_shard_by_hand() -> None:
    graph = plan([point()], MACHINE)
    (first, parts), (second, same) = (by_hand(graph, shard, graph) for shard in ("1/2", "2/2"))
    assert (first, second, parts) == ((1, 2), (2, 2), same)
    assert {(job.workload.model, part) for job, part in zip(graph.jobs, parts, strict=True)} in (
        {("Bert", 1), ("T5", 2)},
        {("Bert", 2), ("T5", 1)},
    )
    with pytest.raises(UsageError, match="shard=3/3 is empty: this sweep has 2 workloads"):
        by_hand(graph, "3/3", graph)


@given(machines=st.lists(st.tuples(st.integers(1, 65), st.integers(0, 2)), min_size=2, max_size=5), seed=st.integers())
@settings(max_examples=20, deadline=None)
def test_of_any_machines_the_parts_are_a_partition(machines: list[tuple[int, int]], seed: int) -> None:
    """Each machine plans for itself, with its own threads and devices, and runs one part."""
    draw = random.Random(seed)
    catalog = {f"model{index}": {"params_m": draw.uniform(1, 900)} for index in range(12)}
    points = [point(compiler, suite=suite(catalog)) for compiler in ("eager", "inductor")]
    nobodys = plan([replace(one, device="cpu", threads=1) for one in points], MACHINE)
    found: list[str] = []
    for number, (cores, gpus) in enumerate(machines, 1):
        graph = plan(points, Machine(cores=cores, cuda_devices=gpus))
        (which, _), parts = by_hand(graph, f"{number}/{len(machines)}", nobodys)
        found += {job.workload.model for job, part in zip(graph.jobs, parts, strict=True) if part == which}
    assert sorted(found) == sorted(catalog)


# -- cost, machine, provenance, resume


def test_costs_rank_as_measured() -> None:
    def seconds(compiler: str, mode: str = "inference", **keys: Any) -> float:
        graph = plan([point(compiler, mode=mode, **keys)], MACHINE)
        return max(job.cost_s for job in graph.jobs if job.compiler.name == compiler and job.round == 0)

    assert seconds("eager") < seconds("aot_eager") < seconds("inductor")
    assert seconds("inductor", "training") > 2 * seconds("inductor")
    half = {"name": "float16"}
    assert seconds("eager", dtype=half, batch_size=64) > 3 * seconds("eager", batch_size=64)
    rounds = [job.cost_s for job in plan([point("inductor")], MACHINE).jobs if job.compiler.name == "inductor"][:2]
    assert rounds[0] > rounds[1]


def test_cost_of_a_step_is_that_of_its_matrix_products() -> None:
    mode = PluginSpec(name="inference", target="orchestrator.modes.inference.Inference")
    workload = dataclasses.replace(job("Bert", 0).workload, mode=mode, batch_size=1, sequence_length=128)
    assert cost.step_s(workload, 110, training=False) == pytest.approx(2 * 110e6 * 128 / 6e10)
    assert cost.step_s(workload, 110, training=True) == pytest.approx(3 * 2 * 110e6 * 128 / 6e10)


def test_cost_of_an_image_models_step_counts_positions() -> None:
    mode = PluginSpec(name="inference", target="orchestrator.modes.inference.Inference")
    builder = PluginSpec(name="resnet18", target="orchestrator.suites.timm.TimmModel")
    workload = dataclasses.replace(job("x", 0).workload, mode=mode, builder=builder, batch_size=2, sequence_length=None)
    assert 0.05 < cost.step_s(workload, 12, training=False) < 0.5  # 1.8 GFLOP an image, twice that in operations


def test_what_judges_the_timed_code_costs_no_compilation() -> None:
    def seconds(*measures: str) -> float:
        graph = plan([point("inductor", measure=measure, batch_size=2) for measure in measures], MACHINE)
        return max(job.cost_s for job in graph.jobs if job.measure.name == "accuracy")

    assert seconds("accuracy", "performance") < 0.3 * seconds("accuracy")


def test_a_measure_that_does_not_let_the_compiler_finish_costs_no_compilation() -> None:
    def seconds(compiler: str, measure: str) -> float:
        graph = plan([point(compiler, measure=measure, batch_size=2)], MACHINE)
        return max(job.cost_s for job in graph.jobs if job.measure.name == measure)

    assert seconds("inductor", "coverage") < 0.3 * seconds("inductor", "explain")
    assert seconds("inductor", "coverage") == pytest.approx(seconds("dynamo_eager", "coverage"), rel=0.2)
    assert seconds("inductor", "operators") == seconds("eager", "operators")


def test_cost_of_a_generation_is_that_of_its_tokens_and_calls() -> None:
    prompt = dataclasses.replace(job("Bert", 0).workload, batch_size=2, sequence_length=128)

    def seconds(phase: str) -> float:
        mode = PluginSpec(name=phase, target=f"orchestrator.modes.generate.{phase}", options={"new_tokens": 32})
        return cost.step_s(dataclasses.replace(prompt, mode=mode), 110, training=False)

    token = 2 * 110e6 * 2 / 6e10
    assert seconds("Prefill") == pytest.approx(128 * token)
    assert seconds("Decode") == pytest.approx(token)
    assert seconds("Generate") == pytest.approx((128 + 32) * token + 32 * 5e-3)


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("cuda: Optional[str] = None\n", False),
        ("cuda: Optional[str] = '13.0'\n", True),
        ("cuda = '11.8'\nhip = None\n", True),
        ("debug = False\n", False),
    ],
)
def test_a_cuda_build_is_seen_in_torchs_version_file(
    text: str, cuda: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('the planner must not import torch')\n")
    (tmp_path / "torch" / "version.py").write_text(text)
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert (system.torch_build()["cuda"] is not None) is cuda


def test_this_machine_has_a_core() -> None:
    assert machine.detect().cores >= 1


def test_conf_is_copied_with_a_hash_of_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a" / "compiler").mkdir(parents=True)
    file = tmp_path / "a" / "compiler" / "x.yaml"
    file.write_text("name: x\n")
    first = provenance.copy_conf([("main", tmp_path / "a"), ("user", tmp_path / "none")], tmp_path / "copy")
    assert (tmp_path / "copy" / "0-main" / "compiler" / "x.yaml").read_text() == "name: x\n"
    assert set(first) == {"0-main"}
    file.write_text("name: y\n")
    second = provenance.copy_conf([("main", tmp_path / "a")], tmp_path / "copy2")
    assert first["0-main"]["sha256"] != second["0-main"]["sha256"]


def test_resume_says_what_changed(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "2026-01-01" / "10-00-00")
    graph = plan([point()], MACHINE)
    folder.write_plan(Sweep(argv=(), overrides=(), points=(), created=0.0), graph)
    expect_same(folder, plan([point(execution=execution("fork", {}, 1.0))], MACHINE))
    with pytest.raises(UsageError, match=r"6 jobs only in its stored plan.*workload\.threads 3 -> 1"):
        expect_same(folder, plan([point(threads=1)], MACHINE))
    with pytest.raises(UsageError, match=r"3 jobs only in this command, such as 'GPT"):
        expect_same(folder, plan([point(suite=suite({"Bert": {}, "T5": {}, "GPT": {}}))], MACHINE))
