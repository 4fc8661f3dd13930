"""Every option of every group, and every experiment, composes, is checked, and plans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf
from support.plans import LOADER, composed, graph_of, planned, points

from orchestrator.errors import UsageError
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.points import PointReader
from orchestrator.plugins import PACKAGES_VARIABLE
from orchestrator.records import OBSERVED

REPOSITORY = Path(__file__).parent.parent
FILES = [file.relative_to(REPOSITORY / "conf") for file in sorted((REPOSITORY / "conf").glob("*/**/*.yaml"))]
OPTIONS = [f"{file.parts[0]}={'/'.join(file.with_suffix('').parts[1:])}" for file in FILES]
EXPERIMENTS = sorted((REPOSITORY / "experiments").glob("*.yaml"))
MODEL = REPOSITORY / "experiments" / "classifier.py"
NAMED = {"suite=transformers": "suite.models=[BertForMaskedLM]", "suite=user": f"suite.models=[{MODEL}:Classifier]"}
"""Suites that have no models of their own -> one that they take."""


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_plans_under_its_own_name(option: str) -> None:
    group, _, name = option.partition("=")
    words = [option, *filter(None, [NAMED.get(option)])]
    conf, *others = points(*words)
    graph = graph_of([conf, *others])
    assert graph.jobs
    if group == "device":
        assert conf["device"]["type"] == name
    elif group == "precision":  # in the mode's options, and not there at all where it is the default
        wanted = {} if name == "default" else {"precision": name}
        assert conf["mode"]["options"] == wanted
        assert all(job.workload.mode.options == wanted for job in graph.jobs)
    elif group == "parallel":  # so is this
        assert conf["mode"]["options"] == ({} if name == "none" else {"parallel": name, "ranks": 2})
    else:
        assert conf[group]["name"] == name


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=[pytest.mark.slow] if file.stem == "support" else []) for file in EXPERIMENTS],
    ids=lambda file: file.stem,
)
def test_every_experiment_plans_and_says_the_command_that_runs_it(file: Path) -> None:
    assert file.read_text().startswith(f"# python -m orchestrator experiment={file.stem}\n")
    assert planned(f"experiment={file.stem}").jobs


@pytest.mark.parametrize("file", sorted((REPOSITORY / "conf").rglob("*.yaml")), ids=lambda file: str(file.name))
def test_every_file_begins_with_a_comment_that_says_what_it_is(file: Path) -> None:
    assert file.read_text().startswith("# ")


def test_the_main_command() -> None:
    graph = planned("compiler=eager,inductor", "dtype=float16", "rounds=1")
    models = {job.workload.model for job in graph.jobs}
    asked = {(job.workload.model, job.compiler.name, job.measure.name) for job in graph.jobs}
    assert 3 <= len(models) <= 4
    assert asked >= {(m, c, q) for m in models for c in ("eager", "inductor") for q in ("performance", "accuracy")}
    assert len(graph.jobs) == 5 * len(models)  # and one reference each


def test_a_point_is_what_hydra_composes() -> None:
    """The composer takes a short cut: catalogs are composed apart. Nobody may see that."""
    for overrides in (
        ["suite=huggingface", "compiler=inductor_freezing"],
        ["suite=tiny", "++suite.catalog.bert_tiny.batch_size.cpu=3", "++suite.common.divisor=2"],
        ["experiment=quick", "+suite.catalog.new.params_m=3"],
    ):
        master = compose(LOADER, "config", overrides)
        config = LOADER.load_sweep_config(master, overrides)
        whole = OmegaConf.to_container(config, resolve=True)
        assert isinstance(whole, dict)
        whole.pop("hydra")
        composer = Composer(LOADER, master)
        assert composer.point(overrides) == whole
        assert composer.point([*overrides, "seed=4"]) == {**whole, "seed": 4}


def test_a_catalog_override_reaches_the_job() -> None:
    graph = planned("suite=tiny", "measure=performance", "++suite.catalog.bert_tiny.batch_size.cpu=7")
    assert {job.workload.batch_size for job in graph.jobs if job.workload.model == "bert_tiny"} == {7}
    assert {job.workload.batch_size for job in graph.jobs if job.workload.model != "bert_tiny"} == {2}


def test_a_catalog_override_of_an_unknown_model_is_not_a_new_model() -> None:
    with pytest.raises(UsageError, match=r"suite\.catalog\.bert_tin\.divisor=2: .*did you mean 'bert_tiny'"):
        composed("suite=tiny", "suite.catalog.bert_tin.divisor=2")


def test_a_users_folder_goes_before_ours_and_extends_it(tmp_path: Path) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "compiler").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text("defaults: [tiny]\nname: mine\ncatalog:\n  bert_tiny: {divisor: 2}\n")
    (tmp_path / "compiler" / "inductor.yaml").write_text(
        "name: inductor\ntarget: orchestrator.compilers.dynamo.TorchCompile\noptions: {dynamic: true}\n"
    )
    conf = composed("suite=mine", "compiler=inductor", user=str(tmp_path))
    assert conf["compiler"]["options"] == {"dynamic": True}
    assert conf["suite"]["catalog"]["bert_tiny"]["divisor"] == 2
    assert "class_name" in conf["suite"]["catalog"]["bert_tiny"]["build"]
    assert set(conf["suite"]["catalog"]) == {"bert_tiny", "gpt2_tiny", "t5_tiny"}


@pytest.mark.parametrize(
    ("file", "text", "override", "message"),
    [
        ("compiler/x.yaml", "name: [", "compiler=x", r"compiler/x\.yaml, line 1, column 8: not YAML"),
        ("compiler/x.yaml", "name: x\ntarget: ???\n", "compiler=x", r"missing value: compiler\.target"),
        (
            "compiler/x.yaml",
            "name: x\ntargt: y\n",
            "compiler=x",
            r"compiler/x: unknown key 'compiler\.targt'.*'target'",
        ),
        ("dtype/x.yaml", "name: [a]\n", "dtype=x", r"dtype/x: .*dtype\.name"),
        ("suite/x.yaml", "name: x\ndefaults: {divisor: 2}\n", "suite=x", "go under 'common'"),
        ("suite/x.yaml", "name: x\ncatalog: [a]\n", "suite=x", "suite/x: "),
        ("experiment/x.yaml", "# @package _global_\nrounds: many\n", "experiment=x", r"experiment/x: .*'many'"),
        ("experiment/x.yaml", "rounds: 2\n", "experiment=x", r"unknown key 'experiment'"),
        ("compiler/x.yaml", "name: ${nothing.here}\n", "compiler=x", "nothing"),
        ("compiler/x.yaml", "defaults: [nothing]\nname: x\n", "compiler=x", "nothing"),
    ],
    ids=str,
)
def test_a_users_broken_file_is_one_message(file: str, text: str, override: str, message: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        composed(override, user=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["compiler.target=os.system"], "'os.system' is not a plug-in"),
        (["compiler.target=orchestrator.compilers.dynamo.TorchCompil"], "did you mean 'TorchCompile'"),
        (["compiler.options.dynamik=true"], r"compiler\.options: unknown option 'dynamik'.*did you mean 'dynamic'"),
        (
            ["mode=training", "mode.options.optimizer=sdg"],
            r"optimizer='sdg' of .*Training: did you mean 'sgd'\?",
        ),
        (["measure=performance", "measure.options.pairs=x"], "pairs='x' of .*: it must be a whole number"),
        (["measure=performance", "measure.options.max_seconds=-1"], "max_seconds=-1: it must be at least 0"),
        (["measure=performance", "measure.options.max_seconds=null"], "max_seconds=None of .*: it must be a number"),
        (["measure=accuracy", "measure.options.tolerance=-1"], "tolerance=-1: it must be at least 0"),
        (["measure=accuracy", "measure.options.tolerance={a:1}"], "tolerance=.*: it must be a number, or null"),
        (["compiler=aot_inductor", "compiler.options.options=3"], "options=3 of .*: it must be a map"),
        (["mode=training", "mode.options.learning_rate=x"], "learning_rate='x' of .*: it must be a number"),
        (["seed=-1"], "seed=-1: it must be at least 0"),
        (["measure.options.pair=3"], r"measure\.options: unknown option 'pair'.*did you mean 'pairs'"),
        (["dtype.name=flaot32"], r"dtype\.name=flaot32: did you mean 'float32'"),
        (["device.type=gpu"], r"device\.type=gpu"),
        (["device=cuda", "device.index=-1"], r"device\.index=-1"),
        (["device=cpu", "device.index=1"], "only device=cuda and device=xpu have an index"),
        (["effect_threshold=-1"], r"effect_threshold=-1.0: it must be at least 0"),
        (["rounds=0"], "rounds=0: it must be at least 1"),
        (["batch_size=-2"], "batch_size=-2"),
        (["gate=acuracy"], "gate=acuracy: did you mean 'accuracy'"),
        (["execution.launcher=frok"], r"execution\.launcher=frok: did you mean 'fork'"),
        (["execution.timeout_s=0"], "timeout_s=0"),
        (["+compiler.foo=1"], "unknown key 'compiler.foo'"),
        (["+foo=1"], "unknown key 'foo'"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_what_is_legal(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PointReader().read(composed(*overrides))


def test_a_measure_may_have_a_batch_size_of_its_own() -> None:
    def sizes(*overrides: str) -> set[int]:
        return {job.workload.batch_size for job in planned("suite=tiny", "measure=batch_invariance", *overrides).jobs}

    assert sizes() == {8}
    assert sizes("batch_size=4") == {4}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["measure=dynamic_shapes", "measure.options.batch_sizes=[4]"], "nothing varies"),
        (
            ["measure=dynamic_shapes", "measure.options.batch_sizes=[4,0]"],
            r"batch_sizes=\[4, 0\]: it must be at",
        ),
        (
            ["measure=recompilations", "measure.options.batch_sizes=[two]"],
            r"batch_sizes=\['two'\] of .*: it must be a list, each of it a whole number",
        ),
        (["measure=cache_lookup", "measure.options.calls=0"], "calls=0: it must be at least 1"),
    ],
    ids=str,
)
def test_a_shape_that_makes_no_sense_is_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PointReader().read(composed(*overrides))


def test_an_observed_measure_that_judges_gets_the_suites_tolerance_and_is_no_gate() -> None:
    model = ("suite=tiny", "suite.models=[bert_tiny]", "rounds=1", "compiler=inductor")

    def options(measure: str, *overrides: str) -> dict[str, Any]:
        graph = planned(*model, f"measure={measure}", *overrides)
        (job,) = [job for job in graph.jobs if job.measure.name == measure]
        return dict(job.measure.options)

    found = options("dynamic_shapes")
    assert found["tolerance"] == options("accuracy")["tolerance"] > 0
    assert options("dynamic_shapes", "+measure.options.tolerance=0.5")["tolerance"] == 0.5
    assert options("dynamic_shapes", "quantization=int8_dynamic")["cosine_limit"] == 0.99
    gated = planned(*model, "measure=dynamic_shapes,performance", "gate=accuracy")
    assert "accuracy" in {job.measure.name for job in gated.jobs}


@dataclass(frozen=True)
class Near:
    """An observed measure of somebody's with a tolerance that means something else."""

    kind: ClassVar[str] = OBSERVED

    tolerance: float = 1.0


def test_a_tolerance_of_an_observed_measures_own_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, "test_conf")
    measure = ("measure.target=test_conf.Near", "measure.name=near")
    (job,) = planned("suite=tiny", "suite.models=[bert_tiny]", "compiler=inductor", "measure=operators", *measure).jobs
    assert dict(job.measure.options) == {}
