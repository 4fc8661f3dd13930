"""Jobs of several ranks: how they are planned, what is refused, what becomes of one that dies; for real, with gloo."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import psutil
import pytest
from fakes.leftovers import MARK, marked
from fakes.plugins import Stack
from support import synthetic
from support.command import ENVIRONMENT, FAKES, answer, latest, run, start, table
from support.plans import planned

from orchestrator.errors import UsageError
from orchestrator.execution.death import Attempt, result_of_death
from orchestrator.execution.devices import Turn
from orchestrator.measures.parallelism import _plan as expanded
from orchestrator.measures.parallelism import layers
from orchestrator.modes.training import Training
from orchestrator.planning.machine import Machine
from orchestrator.planning.points import EAGER_COMPILER
from orchestrator.planning.quantized import combined
from orchestrator.planning.ranks import check_devices, check_ranks
from orchestrator.plugins import Unsupported
from orchestrator.records import (
    CRASH,
    FAIL_ACCURACY,
    FAIL_TO_RUN,
    PASS,
    TIMEOUT,
    UNSUPPORTED,
    Failure,
    JobResult,
    JobSpec,
    PluginSpec,
)
from orchestrator.results.load import load
from orchestrator.store import SweepFolder
from orchestrator.typed_json import from_json, to_json
from orchestrator.worker.ranks import Crew, of_rank

DDP = ("mode=training", "parallel=ddp")
ONE = (*FAKES, "suite=perceptrons", "suite.models=[one]", "device=cpu", "threads=1", "rounds=1")
QUICK = ("measure.options.seconds=0.2", "measure.options.pair_seconds=0.2", "measure.options.quiet_seconds=0")


def job_of(ranks: int, device: str = "cpu") -> JobSpec:
    options = {"parallel": "ddp", "ranks": ranks}
    mode = PluginSpec(name="training", target="orchestrator.modes.training.Training", options=options)
    return synthetic.job(synthetic.workload("Bert", mode=mode, device=device, threads=1), "eager")


def test_ranks_are_a_part_of_the_workload() -> None:
    words = ("suite=tiny", "suite.models=[bert_tiny]", "mode=training", "compiler=eager", "measure=performance")
    before = {job.id for job in planned(*words).jobs}
    several = planned(*words, "parallel=ddp,ddp_outside", "ranks=1,3").jobs
    found = {(job.workload.parallel, job.workload.ranks) for job in several}
    assert found == {("ddp", 1), ("ddp", 3), ("ddp_outside", 1), ("ddp_outside", 3)}
    assert not before & {job.id for job in several}


def test_ranks_share_the_threads_of_a_job_and_the_row_names_them() -> None:
    assert [Machine(cores=9, cuda_devices=0).threads_of(ranks) for ranks in (1, 2, 3, 16)] == [8, 4, 2, 1]
    machine = Machine(cores=2, cuda_devices=0)
    assert machine.cautions([job_of(2)]) == []
    assert "threads=1 in each of 4 ranks, and jobs may use 2 cores here" in machine.cautions([job_of(4)])[0]
    assert "ddpx4" in job_of(4).title


MODE = PluginSpec(
    name="training", target="orchestrator.modes.training.Training", options={"parallel": "ddp", "ranks": 2}
)
EXPORT = PluginSpec(name="export", target="orchestrator.compilers.export.Export")
TIMED = PluginSpec(name="performance", target="orchestrator.measures.performance.Performance")
FREEZING = PluginSpec(
    name="freezing", target="orchestrator.compilers.dynamo.TorchCompile", options={"options": {"freezing": True}}
)
FSDP2 = replace(MODE, options={"parallel": "fsdp2", "ranks": 2})
EXPLAIN = PluginSpec(name="explain", target="orchestrator.measures.explain.Explain")
ALONE = {"devices": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measure": EXPLAIN}, "parallel=ddp with measure=explain: it looks at one process"),
        ({"compiler": EXPORT}, "parallel=ddp with compiler=export: it traces the model ahead of time"),
        (
            {"compiler": combined(EAGER_COMPILER, PluginSpec(name="int8", target="x"))},
            "parallel=ddp with quantization=int8",
        ),
        (
            {"execution": {"devices": [0, 1]}},
            "parallel=ddp with execution.devices=[0, 1]: each of its jobs has one GPU",
        ),
        ({"mode": replace(MODE, options={"parallel": "ddp", "ranks": 0})}, "ranks=0: it must be at least 1"),
        ({"mode": FSDP2, "compiler": FREEZING}, "parallel=fsdp2 with compiler=freezing: it changes the parameters"),
    ],
)
def test_what_cannot_be_done_in_ranks_is_refused_when_planning(changes: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {"mode": MODE, "compiler": EAGER_COMPILER, "measure": TIMED, "execution": ALONE}
    check_ranks(**asked)
    with pytest.raises(UsageError, match=re.escape(said)):
        check_ranks(**(asked | changes))
    check_ranks(**(asked | changes | {"mode": replace(MODE, options={})}))


def test_what_no_mode_can_do_is_refused_when_planning() -> None:
    with pytest.raises(UsageError, match="parallel=ddp with mode=generate: this mode runs in one process"):
        planned("suite=tiny", "parallel=ddp", "mode=generate")
    with pytest.raises(UsageError, match="ranks=2: say how they work together: parallel=ddp"):
        planned("suite=tiny", "ranks=2")
    with pytest.raises(ValueError, match="the optimizer's step is eager there"):
        Training(parallel="ddp", optimizer_backend="inductor")


def test_more_ranks_than_devices_are_refused_where_there_are_devices() -> None:
    job = job_of(3, "cuda:1")
    check_devices([job], Machine(cores=8, cuda_devices=4))
    check_devices([job], Machine(cores=8, cuda_devices=0))  # planned where there is none: told by `cautions`
    with pytest.raises(UsageError, match="ranks=3 on cuda:1: this machine has 3 CUDA devices"):
        check_devices([job], Machine(cores=8, cuda_devices=3))


def test_each_rank_has_its_device_and_rank_0_keeps_the_outputs() -> None:
    job = replace(job_of(3, "cuda:1"), keep_outputs=True, compare_outputs="x")
    own = of_rank(job, 2)
    assert (own.workload.device, own.keep_outputs, own.compare_outputs) == ("cuda:3", False, None)
    assert of_rank(job_of(2), 1).workload.device == "cpu"


def test_words_that_people_know_from_elsewhere_lead_to_ranks(tmp_path: Path) -> None:
    for word, said in (
        ("parallel=4", "execution.parallel=4 for jobs side by side, parallel=ddp ranks=4"),
        ("parallel=fsdp", "did you mean 'fsdp2'?"),
        ("parallel=tp", "did you mean 'tensor'?"),
        ("parallel=distributed", "did you mean 'ddp'?"),
        ("world_size=2", "did you mean 'ranks'?"),
    ):
        code, out, err = answer(tmp_path, "dry_run=true", word)
        assert code == 2
        assert said in out + err


def test_layers_are_what_stands_in_the_outermost_lists_of_modules_and_shares_no_parameter() -> None:
    torch = pytest.importorskip("torch")

    def listed(*modules: Any) -> Any:
        return torch.nn.ModuleList(modules)

    inner, shared = torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2)
    inner.experts = listed(torch.nn.Linear(2, 2))
    stages = torch.nn.ModuleDict({"one": listed(inner, torch.nn.ReLU())})
    nested = listed(listed(torch.nn.Linear(2, 2)))
    model = torch.nn.Module()
    model.stages, model.nested = stages, nested
    assert layers(model) == [inner, nested[0][0]]
    twice = listed(shared, shared, torch.nn.Linear(2, 2))
    assert layers(twice) == [shared, twice[2]]
    twice[2].weight = shared.weight
    assert layers(twice) == []
    tied = torch.nn.Module()
    tied.layers, tied.head = listed(torch.nn.Linear(2, 2)), torch.nn.Linear(2, 2)
    tied.head.weight = tied.layers[0].weight
    assert layers(tied) == []
    assert layers(shared) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tp_plan": {}}, "the model has no plan for tensor parallelism"),
        ({"tp_plan": {"layers.*.up": "packed_colwise"}}, "cuts model.layers.0.up (Linear) by 'packed_colwise'"),
        ({"tp_plan": {"layers.*.norm": "colwise"}}, "cuts model.layers.0.norm (LayerNorm) by 'colwise'"),
        ({"tp_plan": {"layers.*.up.weight": "colwise"}}, "cuts a parameter, model.layers.0.up.weight"),
        (
            {"config": SimpleNamespace(num_key_value_heads=3)},
            "num_key_value_heads=3 of model.last cannot be divided",
        ),
    ],
)
def test_what_tensor_parallelism_cannot_cut_is_unsupported_and_told(change: dict[str, Any], said: str) -> None:
    torch = pytest.importorskip("torch")

    def planned_for(width: int, **change: Any) -> dict[str, str]:
        around = torch.nn.Module()
        around.model = Stack(width).build(synthetic.workload("A"), dropout=False).model
        for name, value in change.items():
            setattr(around.model, name, value)
        return expanded(around, dict(around.named_modules()), 2)

    assert planned_for(8) == {
        "model.last": "colwise_rep",
        **{
            f"model.layers.{n}.{one}": style
            for n in range(10)
            for one, style in (("up", "colwise"), ("down", "rowwise"))
        },
    }
    with pytest.raises(Unsupported, match=re.escape(said)):
        planned_for(8, **change)
    with pytest.raises(Unsupported, match=r"33 columns of model\.last cannot be divided among 2 ranks"):
        planned_for(33)


def crew_result(store: SweepFolder, ranks: int, play: Callable[[Crew], None]) -> JobResult:
    """Let each rank of a job `play`, in processes of their own without torch; return the job's result."""
    job = job_of(ranks)
    store.job(job.id).mkdir(parents=True)

    def write(status: str, failure: Failure | None) -> None:
        store.write_result(JobResult(job_id=job.id, status=status, failure=failure, started=0.0, ended=1.0))

    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            crew = Crew(job, store, write)
            crew.start()
            crew.phase_file.write_text("steady")
            play(crew)
            crew.end()
            write(PASS, None)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    until = time.monotonic() + 30
    while any(one.status() != psutil.STATUS_ZOMBIE for one in group_of(pid)):
        assert time.monotonic() < until
    result = store.read_result(job.id)
    assert isinstance(result, JobResult)
    return result


def group_of(pid: int) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            found += [one] if os.getpgid(one.pid) == pid and one.is_running() else []
    return found


def failure(message: str) -> Failure:
    return Failure(kind="error", phase="steady", message=message)


def waits_for_ever(crew: Crew) -> None:
    time.sleep(1000)


def test_ranks_that_end_well_leave_nothing(store: SweepFolder) -> None:
    assert crew_result(store, 3, lambda crew: None).status == PASS
    assert not store.stacks(job_of(3).id).exists()


def test_a_rank_that_dies_ends_the_others_at_once_and_is_named_with_its_phase(store: SweepFolder) -> None:
    def play(crew: Crew) -> None:
        if crew.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        waits_for_ever(crew)

    result = crew_result(store, 3, play)
    assert (result.status, result.failure) == (
        CRASH,
        Failure(kind=CRASH, phase="steady", message="rank 2: killed by SIGKILL"),
    )


def test_a_lost_connection_is_a_consequence_and_not_the_cause(store: SweepFolder) -> None:
    def play(crew: Crew) -> None:
        if crew.rank == 2:
            while not crew._report(1).exists():  # the consequence is told before its cause
                time.sleep(0.01)
            crew.fail(FAIL_TO_RUN, failure("ValueError: wrong shape"))
        crew.fail(FAIL_TO_RUN, failure("RuntimeError: [pair.cc:547] Connection closed by peer [127.0.0.1]:1234"))

    result = crew_result(store, 3, play)
    assert result.failure is not None
    assert result.failure.message == "rank 2: ValueError: wrong shape"


def test_an_error_of_rank_0_needs_no_other_rank(store: SweepFolder) -> None:
    def play(crew: Crew) -> None:
        if crew.rank == 0:
            crew.fail(FAIL_TO_RUN, failure("ValueError: wrong shape"))
        waits_for_ever(crew)

    result = crew_result(store, 2, play)
    assert result.failure is not None
    assert result.failure.message == "rank 0: ValueError: wrong shape"


def test_a_job_whose_time_is_up_says_where_each_rank_was(store: SweepFolder) -> None:
    job = job_of(2)
    store.stacks(job.id).mkdir(parents=True)
    for rank, line in enumerate(
        ('File "/torch/autograd/graph.py", line 7 in _run', 'File "/net.py", line 17 in forward')
    ):
        (store.stacks(job.id) / f"rank{rank}.txt").write_text(f"Stack (most recent call first):\n  {line}\n")
    attempt = Attempt(job, 1, Turn(Path(), (), ""), 0.0, 0.0, 0.0, 0, 0, killed="timeout")
    result = result_of_death(store, attempt, -9)
    assert result.status == TIMEOUT
    assert result.failure is not None
    assert "rank 0 in _run (graph.py:7); rank 1 in forward (net.py:17)" in result.failure.message
    assert "/net.py" in result.failure.detail


def test_a_job_of_ranks_survives_json() -> None:
    assert from_json(JobSpec, to_json(job_of(4))) == job_of(4)


# -- for real ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ours(mark: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Mark what the command starts: nothing of it may be left in the end."""
    monkeypatch.setitem(ENVIRONMENT, MARK, mark)
    return mark


@pytest.mark.long
@pytest.mark.parametrize("parallel", ["ddp", "ddp_outside"])
def test_two_ranks_train_and_are_judged(tmp_path: Path, ours: str, parallel: str) -> None:
    run(tmp_path, *ONE, "mode=training", f"parallel={parallel}", "compiler=aot_eager")
    for name in ("performance", "accuracy"):
        rows = table(tmp_path, name)
        assert set(rows["status"]) == {PASS}, rows.to_string()
        assert set(rows["mode"]) == {f"training(parallel={parallel}, ranks=2)"}
    ranks = table(tmp_path, "ranks")
    assert {(row["compiler"], row["rank"]) for _, row in ranks[ranks["measure"] == "performance"].iterrows()} == {
        (compiler, rank) for compiler in ("eager", "aot_eager") for rank in (0, 1)
    }
    timed = next(one for one in load(latest(tmp_path)).outcomes if one.job.measure.name == "performance")
    assert timed.result is not None
    latency, own, other = (timed.result.sample(name) for name in ("latency", "own_latency", "own_latency_1"))
    assert latency is not None
    assert own is not None
    assert other is not None
    assert latency.values == tuple(map(max, zip(own.values, other.values, strict=True)))


@pytest.mark.long
def test_two_ranks_infer(tmp_path: Path, ours: str) -> None:
    run(tmp_path, *ONE, "parallel=ddp", "compiler=aot_eager")
    assert set(table(tmp_path, "performance")["status"]) == set(table(tmp_path, "accuracy")["status"]) == {PASS}


STACK = (*FAKES, "suite=stacks", "suite.models=[small]", "device=cpu", "threads=1", "rounds=1")


@pytest.mark.long
@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("parallel", ["fsdp2", "fsdp2_outside", "tensor"])
def test_a_model_that_is_cut_is_judged_as_a_whole_and_each_rank_holds_a_part(
    tmp_path: Path, ours: str, parallel: str, mode: str
) -> None:
    run(tmp_path, *STACK, f"mode={mode}", f"parallel={parallel}", "compiler=aot_eager")
    for name in ("performance", "accuracy"):
        rows = table(tmp_path, name)
        assert set(rows["status"]) == {PASS}, rows.to_string()
        assert not rows.get("measured", pd.Series()).notna().any(), rows.to_string()
    product, norm, depth = 32 * 32 + 32, 2 * 32, 10  # more layers than dynamo compiles one function anew
    whole = (2 + 2 * depth) * product + depth * norm
    # of tensor parallelism norms, the first product and what is added behind a row's product are whole
    part = whole / 2 if parallel != "tensor" else (whole + product + depth * (norm + 32)) / 2
    held = table(tmp_path, "ranks")["own_parameters_mib"] * 2**18
    assert held.tolist() == pytest.approx([part] * 4)
    judged = next(
        one for one in load(latest(tmp_path)).outcomes if one.job.measure.name == "accuracy" and not one.job.is_eager
    )
    assert judged.result is not None
    seen = {record["name"] for record in judged.result.facts["accuracy"]["tensors"]}
    assert ("grad.layers.9.up.weight" in seen, "output" in seen) == (mode == "training", True)


@pytest.mark.long
@pytest.mark.parametrize("parallel", ["fsdp2", "tensor"])
def test_a_gradient_that_is_wrong_in_the_part_of_one_rank_is_found(tmp_path: Path, ours: str, parallel: str) -> None:
    run(tmp_path, *STACK, "mode=training", f"parallel={parallel}", "compiler=on_one_rank",
        "compiler.options.does=wrong gradient", "measure=accuracy", code=1)  # fmt: skip
    row = table(tmp_path, "accuracy").set_index("compiler").loc["on_one_rank"]
    assert row["status"] == FAIL_ACCURACY
    assert re.match(r"rank [01]: \d+ of \d+ tensors are wrong, first grad\.", row["reason"])


@pytest.mark.long
def test_what_cannot_be_cut_is_an_unsupported_row_with_the_reason(tmp_path: Path, ours: str) -> None:
    run(tmp_path, *FAKES, "suite=stacks", "suite.models=[odd,scalar]", "parallel=fsdp2,tensor", "compiler=eager",
        "measure=performance", "rounds=1", "threads=1", *QUICK)  # fmt: skip
    rows = table(tmp_path, "performance").set_index(["model", "mode"])
    assert rows.loc[("odd", "inference(parallel=fsdp2, ranks=2)"), "status"] == PASS
    refused = rows.loc[("scalar", "inference(parallel=fsdp2, ranks=2)")]
    assert refused["status"] == UNSUPPORTED
    assert "no parameter without a dimension, as scale" in refused["reason"]
    refused = rows.loc[("odd", "inference(parallel=tensor, ranks=2)")]
    assert refused["status"] == UNSUPPORTED
    assert "33 columns of last cannot be divided among 2 ranks" in refused["reason"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("compiler", "words"),
    [("on_one_rank", ("compiler.options.does=wrong gradient",)), ("unaveraged", ())],
)
def test_gradients_that_are_wrong_in_one_rank_or_not_averaged_are_found(
    tmp_path: Path, ours: str, compiler: str, words: tuple[str, ...]
) -> None:
    output = run(tmp_path, *ONE, *DDP, f"compiler={compiler}", *words, code=1)
    accuracy, performance = (
        table(tmp_path, name).set_index("compiler").loc[compiler] for name in ("accuracy", "performance")
    )
    assert accuracy["status"] == FAIL_ACCURACY, output
    assert re.match(r"rank [01]: \d+ of \d+ tensors are wrong, first grad\.", accuracy["reason"])
    assert performance["status"] == FAIL_ACCURACY
    assert "rank 1 has another 0.weight than rank 0" in performance["reason"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("does", "status", "said"),
    [("sigkill", CRASH, "rank 1: killed by SIGKILL"), ("raise", FAIL_TO_RUN, "rank 1: ValueError")],
)
@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_a_rank_that_fails_is_named(
    tmp_path: Path, ours: str, parallel: str, does: str, status: str, said: str
) -> None:
    run(tmp_path, *ONE, "mode=training", f"parallel={parallel}", "compiler=on_one_rank",
        f"compiler.options.does={does}", "compiler.options.call=4", "measure=performance", *QUICK, code=1)  # fmt: skip
    row = table(tmp_path, "performance").set_index("compiler").loc["on_one_rank"]
    assert row["status"] == status
    assert said in row["reason"]


@pytest.mark.long
@pytest.mark.parametrize("parallel", ["ddp", "fsdp2"])
def test_a_rank_that_hangs_is_named_when_the_time_is_up(tmp_path: Path, ours: str, parallel: str) -> None:
    run(tmp_path, *ONE, "mode=training", f"parallel={parallel}", "compiler=on_one_rank",
        "compiler.options.does=hang", "compiler.options.call=4", "measure=performance", "measure.timeout_s=30", *QUICK,
        code=1)  # fmt: skip
    row = table(tmp_path, "performance").set_index("compiler").loc["on_one_rank"]
    assert row["status"] == TIMEOUT
    assert "rank 1 in behave (behaviour.py:" in row["reason"]
    assert "rank 0 in " in row["reason"]


@pytest.mark.long
def test_no_rank_outlives_the_command(tmp_path: Path, ours: str) -> None:
    """Killed in the midst of it: the fixture `ours` asks that nothing is left."""
    process = start(tmp_path, *ONE, *DDP, "compiler=on_one_rank", "compiler.options.does=hang", "measure=performance",
                    "measure.timeout_s=600", *QUICK)  # fmt: skip
    try:
        until = time.monotonic() + 120
        while not any("sleep 1000" in line for line in marked(ours)):  # what a rank that hangs has started
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate()
