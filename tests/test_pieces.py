"""A point put together from pieces is what Hydra composes: the same values, and the same words for what is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from support.plans import loader

from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.grid import expand
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader

LOADER = loader()
MASTER = compose(LOADER, "config", [])
PIECES = Composer(LOADER, MASTER)  # one for all examples: a point may have pieces of any other
WHOLE = Composer(LOADER, MASTER, in_pieces=False)

GROUPS = {
    "suite": ["tiny", "quick", "nonsense"],
    "compiler": ["eager", "inductor", "inductor_dynamic", "self_test/planted_slowdown", "inducter", "[eager,inductor]"],
    "dtype": ["float32", "amp_float16", "float12", "null", "3"],
    "mode": ["inference", "training", "decode"],
    "precision": ["default", "tf32"],
    "parallel": ["none", "ddp"],
    "quantization": ["none", "int8_dynamic"],
    "device": ["cpu", "cuda"],
    "measure": ["performance", "accuracy", "tolerance"],
    "experiment": ["null", "quick", "self_test", "judge_test"],
    "hydra/launcher": ["basic", "nonsense"],
}
VALUES = {
    "batch_size": ["1", "8", "null", "-1", "many", "1.5", "[1]", "{a:1}", "${seed}", "???"],
    "seed": ["4", "true", "null", "'5'"],
    "rounds": ["2", "${oc.env:NO_SUCH_VARIABLE}", "${hydra:job.name}"],
    "suite.models": ["[bert_tiny]", "[]", "null", "bert_tiny"],
    "++suite.common.divisor": ["2"],
    "++suite.catalog.bert_tiny.batch_size.cpu": ["3"],
    "++suite.catalog.no_such_model.divisor": ["3"],
    "++compiler.options.dynamic": ["true", "null", "[a,{b:1}]"],
    "++compiler.options": ["{backend:x}", "3"],
    "compiler.options.backend": ["eager", "null"],
    "compiler.name": ["other", "7", "???"],
    "compiler": ["{name:inline}"],
    "++mode.options.precision": ["ieee"],
    "++measure.options.pairs": ["5", "'${rounds}'"],
    "measure.timeout_s": ["60", "1e3", "soon"],
    "execution.timeout_s": ["60", "inf"],
    "execution": ["{retries:2}"],
    "++execution.env.LD_DEBUG": ["all", "1"],
    "+execution.nice": ["3"],
    "exclude": ["[{compiler:eager}]", "[]"],
    "exclude.0": ["1"],
    "gate": ["accuracy", "null"],
    "batch_sise": ["3"],
    "+new": ["1", "{a:1}"],
    "+batch_size": ["3"],
    "+dtype": ["float16"],
    "dtype@other": ["float16"],
    "+dtype@other": ["float16"],
    "seed@other": ["1"],
    "hydra.job.name": ["x"],
    "hydra.searchpath": ["[]"],
}
DELETED = [
    "~gate",
    "~measure.timeout_s",
    "~compiler.options.backend",
    "~quantization",
    "~dtype=float32",
    "~nothing.at.all",
]


def one_of_each(of: dict[str, list[str]], most: int) -> st.SearchStrategy[list[str]]:
    keys = st.lists(st.sampled_from(sorted(of)), unique=True, max_size=most)
    return keys.flatmap(
        lambda chosen: st.tuples(*(st.sampled_from(of[key]) for key in chosen)).map(
            lambda values: [f"{key}={value}" for key, value in zip(chosen, values, strict=True)]
        )
    )


POINTS = st.tuples(
    one_of_each(GROUPS, 6), one_of_each(VALUES, 3), st.lists(st.sampled_from(DELETED), unique=True, max_size=1)
).flatmap(lambda parts: st.permutations([override for part in parts for override in part]))


def outcome(composer: Composer, overrides: list[str]) -> Any:
    try:
        return composer.point(overrides)
    except UsageError as error:
        return str(error)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(POINTS)
def test_a_point_in_pieces_is_the_whole_point(overrides: list[str]) -> None:
    assert outcome(PIECES, overrides) == outcome(WHOLE, overrides)


LEGAL = {
    "compiler": ["inductor_dynamic", "inductor", "aot_eager", "inductor_freezing"],
    "dtype": ["float32", "float16", "amp_bfloat16"],
    "mode": ["inference", "training"],
    "precision": ["default", "tf32", "ieee"],
    "quantization": ["none", "int8_dynamic"],
    "batch_size": ["1", "8", "null"],
    "compiler.options.dynamic": ["true", "false"],
    "measure.options.pairs": ["3", "4"],
    "suite.models": ["[bert_tiny]", "null"],
    "experiment": ["quick", "judge_test"],
}


@st.composite
def grids(draw: st.DrawFn) -> list[str]:
    keys = draw(st.lists(st.sampled_from(sorted(LEGAL)), unique=True, min_size=2, max_size=5))
    axes = [f"{key}={','.join(LEGAL[key][: draw(st.integers(1, 3))])}" for key in keys]
    return ["suite=tiny", "measure=performance", *axes]


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(grids(), st.randoms())
def test_random_grids_are_what_hydra_itself_composes_and_plan_the_same_jobs(arguments: list[str], chance: Any) -> None:
    points = chance.sample(all_ := expand(arguments, {}, [], [], LOADER), min(8, len(all_)))
    composer = Composer(LOADER, MASTER)
    confs = [composer.point(point) for point in points]
    whole = [by_hydra(point) for point in points]
    assert confs == whole
    assert [list(conf) for conf in confs] == [list(conf) for conf in whole]
    assert ids(confs) == ids(whole)


def by_hydra(overrides: tuple[str, ...]) -> dict[str, Any]:
    config = OmegaConf.to_container(LOADER.load_sweep_config(MASTER, list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items() if key != "hydra"}


def ids(confs: list[dict[str, Any]]) -> list[str]:
    reader = PointReader()
    return [job.id for job in plan([reader.read(conf) for conf in confs], Machine(cores=2, cuda_devices=0)).jobs]


def test_a_grid_is_composed_once_for_each_option_and_not_for_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "suite=tiny",
        "compiler=eager,inductor,aot_eager",
        "dtype=float32,float16,bfloat16",
        "batch_size=1,2,3",
    ]
    points = expand([*arguments, "measure=performance,accuracy"], {}, [], [], LOADER)
    composed: list[list[str]] = []
    compose_one = LOADER.load_sweep_config

    def counted(master: DictConfig, own: list[str]) -> DictConfig:
        composed.append(own)
        return compose_one(master, own)

    monkeypatch.setattr(LOADER, "load_sweep_config", counted)
    composer = Composer(LOADER, MASTER)
    assert len([composer.point(point) for point in points]) == 54
    assert len(composed) == 1 + 2 + 2 + 1 + 1  # the first point, other compilers, dtypes and measure; a catalog


INTERPOLATING = """\
name: referring
target: orchestrator.compilers.dynamo.TorchCompile
options: {backend: "${dtype.name}"}
"""
BRINGING = """\
defaults: [/dtype: float16, inductor, _self_]
name: bringing
"""


def test_what_refers_to_other_keys_or_brings_other_files_is_composed_whole(tmp_path: Path) -> None:
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "referring.yaml").write_text(INTERPOLATING)
    (tmp_path / "compiler" / "bringing.yaml").write_text(BRINGING)
    source = loader(str(tmp_path))
    master = compose(source, "config", [])
    pieces, whole = Composer(source, master), Composer(source, master, in_pieces=False)
    for overrides in itertools.product(
        ["compiler=inductor", "compiler=referring", "compiler=bringing"],
        ["dtype=float32", "dtype=float16"],
        ["batch_size=2", "rounds=${seed}"],
    ):
        assert outcome(pieces, list(overrides)) == outcome(whole, list(overrides))
    assert pieces.point(["compiler=referring", "dtype=float16"])["compiler"]["options"]["backend"] == "float16"
    assert pieces.point(["compiler=referring", "dtype=float32"])["compiler"]["options"]["backend"] == "float32"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("batch_size=1,many", "batch_size=many: Value 'many' of type 'str' could not be converted to Integer"),
        ("batch_sise=1,2", "unknown key 'batch_sise'"),
        ("dtype=float32,float12", "unknown dtype 'float12'"),
        ("compiler.nam=a,b", "unknown key 'compiler.nam'"),
    ],
)
def test_wrong_values_of_a_grid_end_with_2(wrong: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite=tiny", "dry_run=true", wrong]) == 2
    assert said in capsys.readouterr().err
