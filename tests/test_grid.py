"""Overrides to grid points: Hydra's sweeps, defaults, grids, zip, duplicates, and what is not legal."""

from __future__ import annotations

from typing import Any

import pytest
from support.plans import loader

from orchestrator.errors import UsageError
from orchestrator.planning.grid import expand, normalise, parse, swept_values
from orchestrator.planning.overrides import quoted

LOADER = loader()


def points(*arguments: str, defaults: dict[str, str] | None = None, grids: Any = (), pairs: Any = ()) -> list[str]:
    return [" ".join(point) for point in expand(arguments, defaults or {}, grids, pairs, LOADER)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a=1"], ["a=1"]),
        (["a=1,2", "b=x,y"], ["a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"]),
        (["a=1,1,2"], ["a=1", "a=2"]),
        (["a=range(1,4)"], ["a=1", "a=2", "a=3"]),
        (["a=choice(3,4)"], ["a=3", "a=4"]),
        (["device=glob(c*)"], ["device=cpu", "device=cuda"]),
        (["device=glob(*,exclude=[c*,x*])"], ["device=auto"]),
        (["a=1,2", "a=3"], ["a=3"]),
        (["+a=1,2"], ["+a=1", "+a=2"]),
        (["a=[1,2]"], ["a=[1,2]"]),
        (["a='x,y'"], ["a='x,y'"]),
        (["a=[A],[B]"], ["a=[A]", "a=[B]"]),
        (["~a"], ["~a"]),
        (["batch_size=[1,4]"], ["batch_size=1", "batch_size=4"]),
        (["device=[cpu]"], ["device=cpu"]),
        (["++budget=['1 h']"], ["++budget='1 h'"]),
        (["exclude=[{device:cpu}]"], ["exclude=[{device:cpu}]"]),
        (["zip=[[dtype,mode],[device,seed]]"], ["zip=[[dtype,mode],[device,seed]]"]),
        ([], [""]),
    ],
    ids=str,
)
def test_hydras_sweeps(arguments: list[str], expected: list[str]) -> None:
    assert points(*arguments) == expected


def test_the_command_line_replaces_the_default_axes() -> None:
    defaults = {"measure": "performance,accuracy", "compiler": "eager"}
    assert points(defaults=defaults) == ["measure=performance compiler=eager", "measure=accuracy compiler=eager"]
    assert points("measure=accuracy", "compiler=a,b", defaults=defaults) == [
        "measure=accuracy compiler=a",
        "measure=accuracy compiler=b",
    ]


def test_grids_are_several_sweeps_and_shared_points_count_once() -> None:
    grids = [{"a": "1,2", "b": "x"}, {"b": ["x", "y"], "a": 1}]
    assert points("c=0", grids=grids) == ["a=1 b=x c=0", "a=2 b=x c=0", "b=y a=1 c=0"]
    assert points("a=9", grids=grids) == ["b=x a=9", "b=y a=9"]


def test_zip_pairs_axes() -> None:
    assert points("a=1,2", "c=0,9", "b=x,y", pairs=["a", "b"]) == [
        "a=1 b=x c=0",
        "a=1 b=x c=9",
        "a=2 b=y c=0",
        "a=2 b=y c=9",
    ]
    assert points("a=1,2", "b=x,y", "c=3,4", "d=5,6", pairs=[["a", "b"], ["c", "d"]]) == [
        "a=1 b=x c=3 d=5",
        "a=1 b=x c=4 d=6",
        "a=2 b=y c=3 d=5",
        "a=2 b=y c=4 d=6",
    ]


@pytest.mark.parametrize(
    ("arguments", "pairs", "message"),
    [
        (["a=1,2", "b=1,2,3"], ["a", "b"], "a has 2, b has 3 values"),
        (["abc=1,2", "b=1,2"], ["abd", "b"], "zip: 'abd' is not an axis of this sweep: did you mean 'abc'"),
        (["a=1,2"], ["a"], "at least two axes"),
        (["a=1,2", "b=1,2", "c=1,2"], [["a", "b"], ["b", "c"]], "'b' is paired twice"),
        (["a=1,2"], [{"a": "b"}], "at least two axes"),
        (["a=interval(0,1)"], [], "an interval has no values"),
        (["a=range(1,1)"], [], r"a=range\(1,1\): the sweep over 'a' is empty"),
        (["device=glob(y*)"], [], "the sweep over 'device' is empty. Available: auto, cpu, cuda, xpu"),
        (["shard=1/2,2/2"], [], "'shard' belongs to the whole sweep"),
        (["zip=a,b"], [], "'zip' belongs to the whole sweep"),
        (["a=(1"], [], "cannot read the override"),
        (["a={b"], [], "cannot read the override"),
    ],
    ids=str,
)
def test_what_is_not_a_sweep(arguments: list[str], pairs: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        points(*arguments, pairs=pairs)


def test_a_grid_is_a_map() -> None:
    with pytest.raises(UsageError, match=r"grids\[1\] is 'a=1,2': write a map"):
        points(grids=[{"a": 1}, "a=1,2"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("compiler=eager", "compiler=eager"),
        ("+experiment=quick", "experiment=quick"),
        ("++experiment=quick", "experiment=quick"),
        ("compiler.options.dynamic=true", "++compiler.options.dynamic=true"),
        ("suite.catalog.X.batch_size.cpu=2", "++suite.catalog.X.batch_size.cpu=2"),
        ("+suite.catalog.X.build={a:1}", "+suite.catalog.X.build={a:1}"),
        ("execution.env.A=1", "++execution.env.A=1"),
        ("suite.filter=^(Bert|T5)", "suite.filter='^(Bert|T5)'"),
        ("suite.filter=null", "suite.filter=null"),
        ("suite.filter='a'", "suite.filter='a'"),
        ("resume=latest~1", "resume='latest~1'"),
        ("~compiler", "~compiler"),
    ],
)
def test_normalise(written: str, meant: str) -> None:
    assert normalise(written) == meant
    assert normalise(meant) == meant


@pytest.mark.parametrize("text", ["a b", "it's", 'say "x"', "a\\", "a\\'b", "/tmp/x=y,z", "${oc.env:HOME}", "(|)", "ä"])
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    (override,) = parse([f"key={quoted(text)}"], LOADER)
    assert override.value() == text
    assert not override.is_sweep_override()


def test_swept_values() -> None:
    assert swept_values(["experiment=a,b"], "experiment", LOADER) == ["a", "b"]
    assert swept_values(["experiment=a"], "experiment", LOADER) == []
    assert swept_values([], "experiment", LOADER) == []
