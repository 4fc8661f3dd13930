"""The command in a row: pasted into a shell it plans the jobs of that row, with the same ids, and no others."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from orchestrator.cli import sweep as command_line
from orchestrator.execution.hydra_plugin import register, search_path, started
from orchestrator.execution.planned import PlannedSweep
from orchestrator.planning.replay import closed, with_rounds
from orchestrator.records import REFERENCE_MEASURE, JobSpec
from orchestrator.results.load import SweepResults, outcome
from orchestrator.results.row_commands import Commands
from orchestrator.results.tables import build
from orchestrator.store import JobGraph, Sweep

FAKES = str(Path(__file__).parent / "fakes" / "conf")
EXPERIMENTS = {
    # two grids with other axes, rounds and options; a default that is no axis; rules for the whole sweep
    "grids": """
        defaults: [{override /suite: tiny}, {override /compiler: aot_eager}]
        suite: {models: [bert_tiny, t5_tiny]}
        exclude: [{model: t5_tiny}]
        zip: [dtype, batch_size]
        grids:
          - {measure: performance, rounds: 2, dtype: 'float32,bfloat16', batch_size: '1,3'}
          - {measure: accuracy, dtype: 'float32,float16', batch_size: '1,2', compiler: inductor}
        hydra: {sweeper: {params: {mode: 'training'}}}
    """,
    # a quantisation that eager does not have, chosen by the file
    "quantized": """
        defaults: [{override /suite: tiny}, {override /quantization: int8_dynamic}]
        suite: {models: [bert_tiny]}
        quantization: {cosine_limit: 0.9}
        rounds: 1
        hydra: {sweeper: {params: {compiler: 'aot_eager,eager'}}}
    """,
    # options of a compiler that eager does not have
    "options": """
        defaults: [{override /suite: tiny}]
        compiler: {options: {dynamic: true}}
        measure: {options: {}}
        rounds: 1
        gate: accuracy
        hydra: {sweeper: {params: {measure: performance, batch_size: '1,2'}}}
    """,
}
TINY = ("suite=tiny", "suite.models=[bert_tiny]")
SWEEPS = {
    "plain": ("-m", "suite=tiny", "suite.models=[bert_tiny,t5_tiny]", "compiler=eager,inductor", "dtype=float16"),
    "options of a compiler": (*TINY, "compiler=inductor", "compiler.options.dynamic=true,false"),
    "an option of some": (*TINY, "compiler=inductor,aot_eager", "compiler.options.dynamic=null,true", "rounds=1",
                          "measure=performance"),
    "a map": (*TINY, "compiler=inductor", "compiler.options.options={cpp_wrapper:true},{}", "measure=performance"),
    "an option taken away": (*TINY, "compiler=inductor_dynamic", "~compiler.options.dynamic", "measure=accuracy"),
    "options of a measure": (*TINY, "measure=performance", "measure.options.pairs=10,20", "rounds=1,2"),
    "a tolerance": (*TINY, "measure=accuracy", "measure.options.tolerance=0.1,0.01", "compiler=eager,inductor"),
    "options of a mode": (*TINY, "mode=training", "mode.options.learning_rate=0.1,0.01", "measure=accuracy"),
    "launchers": (*TINY, "execution.launcher=fork,subprocess", "measure=performance", "compiler=eager,aot_eager"),
    "environments": (*TINY, "execution.env.OMP_SCHEDULE='static,1','dynamic'", "execution.env.B=1", "rounds=1"),
    "batches of both measures": (*TINY, "batch_size=1,3", "compiler=aot_eager", "sequence_length=16"),
    "the suite's batches": ("suite=huggingface", "suite.filter=^T5Small", "rounds=1", "compiler=inductor"),
    "batches of a file": ("suite=huggingface", "suite.models=[sizes.txt,BertForMaskedLM]", "gate=accuracy", "rounds=1",
                          "compiler=inductor"),
    "another model": (*TINY, "++suite.catalog.bert_tiny.build.config.hidden_size=64,128", "measure=accuracy"),
    "a model of one's own": ("suite=tiny", "+suite.catalog.new.build.class_name=BertForMaskedLM", "rounds=1",
                             "suite.models=[new]", "measure=performance", "compiler=aot_eager"),
    "an open suite": ("suite=transformers", "suite.models=[BertForMaskedLM,gpt2,configs/bert]", "batch_size=1,2",
                      "sequence_length=8,16", "rounds=1", "compiler=aot_eager"),
    "files of models": ("suite=user", "suite.models=[nets/net.py:Net,nets/../net.py:Net,package.models:Net]",
                        "measure=accuracy", "sequence_length=8", "compiler=aot_eager"),
    "rounds by compiler": (*TINY, "compiler=inductor,aot_eager", "rounds=1,3", "zip=[compiler,rounds]",
                           "measure=performance"),
    "gate": (*TINY, "compiler=eager,inductor", "gate=accuracy", "measure=performance", "measure.options.pairs=10",
             "rounds=2"),
    "excluded and sharded": ("suite=tiny", "compiler=eager,inductor", "dtype=float32,float16", "shard=1/2",
                             "exclude=[{compiler:inductor,dtype:float16,model:bert_*}]", "rounds=1"),
    "a name that is a path": (*TINY, "compiler=eager,self_test/planted_slowdown", "rounds=1", "measure=performance"),
    "skips": ("suite=huggingface", "suite.models=[BertForMaskedLM,BlenderbotForConditionalGeneration]", "rounds=2",
              "compiler=eager,inductor", "mode=training", "measure=performance"),
    "seeds and threads": (*TINY, "seed=1,2", "threads=1,2", "measure=performance", "rounds=1", "compiler=eager"),
    "quantised": (*TINY, "compiler=eager,inductor", "quantization=none,int8_weight_only", "rounds=2"),
    "options of a quantisation": (*TINY, "compiler=aot_eager", "quantization=int4_weight_only,none", "gate=accuracy",
                                  "quantization.options.group_size=16,32", "rounds=1", "measure=performance"),
    "the rule of a quantisation": (*TINY, "compiler=aot_eager", "quantization=int8_dynamic", "measure=accuracy",
                                   "quantization.cosine_limit=0.9,0.99"),
    "quantised and options of the compiler": (*TINY, "compiler=inductor", "quantization=qint8_dynamic", "rounds=1",
                                              "compiler.options.dynamic=true,false"),
    "experiment": ("experiment=grids",),
    "experiment and options": ("experiment=options", "suite.models=[bert_tiny]", "compiler.options.mode=default"),
    "experiment and quantisation": ("experiment=quantized",),
    "two experiments": ("experiment=options,quick", "suite.models=[bert_tiny]", "suite=tiny", "compiler=aot_eager"),
    "the self-test": ("+experiment=self_test",),
    "fakes": ("--config-dir", FAKES, "suite=perceptrons", "compiler=eager,does_raise", "measure=glance",
              "++suite.catalog.one.build.width=16,32"),
    "fakes by a search path": (f"hydra.searchpath=[file://{FAKES}]", "suite=perceptrons", "measure=glance",
                               "rounds=1"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").mkdir()
    for name, text in EXPERIMENTS.items():
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text.replace("\n        ", "\n"))
    for file in ("nets/net.py", "net.py", "package/models.py", "configs/bert/config.json"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        source = f"# {file}\nclass Net:\n    def get_example_inputs(self): ...\n"
        (tmp_path / file).write_text(source if file.endswith(".py") else file)
    (tmp_path / "sizes.txt").write_text("T5Small,6\nAlbertForMaskedLM 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", "fakes")


def planned(arguments: Sequence[str]) -> PlannedSweep:
    """Return what the command line plans, by its own parts."""
    parser = get_args_parser()
    asked = command_line._parse(parser, arguments)
    register()
    hydra = started(search_path(asked.config_dir))
    try:
        sweeper = command_line._sweeper(hydra, asked)
        sweeper.argv = arguments
        assert sweeper.config is not None
        return sweeper.plan(list(sweeper.config.hydra.overrides.task))
    finally:
        GlobalHydra.instance().clear()


def rows(sweep: Sweep, graph: JobGraph, folder: PlannedSweep) -> list[tuple[str, list[JobSpec]]]:
    """Return (command, the jobs of all its rounds) of every row of the tables by measure."""
    results = SweepResults(folder.folder, sweep, tuple(outcome(job, None) for job in graph.jobs))
    tables = build(results)
    jobs = {job.id: job for job in graph.jobs}
    found = []
    for row in (*tables.performance.rows, *tables.accuracy.rows):
        first = jobs[row["job"]]
        family = [job for job in graph.jobs if job.family == first.family]
        found.append((row["command"], family))
    return found


def ids(graph: JobGraph) -> set[str]:
    return {job.id for job in graph.jobs}


def pasted(command: str) -> JobGraph:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "orchestrator"]
    return planned(words[3:]).graph


def whole(graph: JobGraph, family: Sequence[JobSpec]) -> set[str]:
    """Return the ids of the rounds and of what they need."""
    return ids(closed(graph, [job.id for job in family]))


LONG = {"an open suite", "excluded and sharded"}


@pytest.mark.parametrize(
    "arguments",
    [pytest.param(SWEEPS[name], id=name, marks=pytest.mark.slow if name in LONG else ()) for name in SWEEPS],
)
def test_every_command_plans_the_jobs_of_its_row(arguments: tuple[str, ...]) -> None:
    plan = planned(arguments)
    found = rows(plan.header, plan.graph, plan)
    assert {job.id for _, family in found for job in family} == {
        job.id for job in plan.graph.jobs if job.measure.name != REFERENCE_MEASURE
    }
    for command, family in found:
        again = ids(pasted(command))
        needed = whole(plan.graph, family)
        conf = plan.header.points[max(family, key=lambda job: job.round).point or 0]
        own = (family[0].compiler.name, family[0].measure.name) == (conf["compiler"]["name"], conf["measure"]["name"])
        if "experiment=" in command and not own:
            # a baseline, or what a gate asked for: the file may set options of the other's compiler, so both are run
            assert needed <= again <= ids(plan.graph), command
        else:
            assert again == needed, command


def test_a_reference_is_had_with_what_needs_it() -> None:
    plan = planned((*TINY, "compiler=aot_eager", "rounds=1", "batch_size=1,2"))
    for job in plan.graph.jobs:
        if job.measure.name == REFERENCE_MEASURE:
            again = ids(pasted(Commands(plan.header).of([[job]])))
            assert len(again) == 2
            assert job.id in again < ids(plan.graph)


def test_a_summary_row_has_one_command_for_both_measures() -> None:
    plan = planned((*TINY, "compiler=inductor", "compiler.options.dynamic=true,false", "rounds=1"))
    results = SweepResults(plan.folder, plan.header, tuple(outcome(job, None) for job in plan.graph.jobs))
    for row in build(results).summary.rows:
        assert ";" not in row["command"]
        measures = {job.measure.name for job in pasted(row["command"]).jobs}
        assert measures == {"performance"} if row["accuracy"] is None else {"performance", "accuracy", "reference"}
        assert ids(pasted(row["command"])) < ids(plan.graph)


def test_measures_that_were_swept_otherwise_have_two_commands() -> None:
    plan = planned(("experiment=grids",))
    results = SweepResults(plan.folder, plan.header, tuple(outcome(job, None) for job in plan.graph.jobs))
    for row in build(results).summary.rows:
        for command in row["command"].split("; "):
            assert ids(pasted(command)) < ids(plan.graph)


def test_a_rerun_with_other_rounds_says_so() -> None:
    plan = planned((*TINY, "compiler=aot_eager", "rounds=3", "measure=performance"))
    more = with_rounds(plan.graph, 4)
    for command, family in rows(plan.header, more, plan):
        assert "rounds=4" in shlex.split(command)
        assert ids(pasted(command)) == whole(more, family)


def test_a_sweep_of_an_older_version_keeps_what_it_fixed() -> None:
    plan = planned((*TINY, "compiler=aot_eager", "rounds=2", "measure=performance", "compiler.options.dynamic=true"))
    old = JobGraph(tuple(dataclasses.replace(job, point=None) for job in plan.graph.jobs))
    command = next(
        command for command, family in rows(plan.header, old, plan) if family[0].compiler.name == "aot_eager"
    )
    assert {"rounds=2", "++compiler.options.dynamic=true"} <= set(shlex.split(command))


def test_reading_a_sweep_imports_nothing_that_it_names() -> None:
    """Its plug-ins may be someone else's, and not be here at all: the tables have their commands all the same."""
    plan = planned((*TINY, "compiler=aot_eager", "rounds=2", "measure=performance,accuracy"))
    jobs = []
    for job in plan.graph.jobs:
        measure, compiler = (
            dataclasses.replace(spec, target=f"nowhere.{spec.target.rpartition('.')[2]}")
            for spec in (job.measure, job.compiler)
        )
        jobs.append(dataclasses.replace(job, measure=measure, compiler=compiler))
    found = rows(plan.header, JobGraph(tuple(jobs)), plan)
    assert [command for command, _ in found] == [command for command, _ in rows(plan.header, plan.graph, plan)]


def test_the_folder_of_a_user_is_named_from_the_stored_header(tmp_path: Path) -> None:
    """A rerun has another command line; its header still knows the folder."""
    plan = planned(("--config-dir", FAKES, "suite=perceptrons", "measure=glance", "rounds=1"))
    environment = {"conf": {"1-main": {"path": "/elsewhere"}, "0-command-line": {"path": FAKES}}}
    header = dataclasses.replace(plan.header, argv=("rerun", "latest"), environment=environment)
    for command, family in rows(header, plan.graph, plan):
        assert ids(pasted(command)) == whole(plan.graph, family)
