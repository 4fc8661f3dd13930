"""Experiment files as people write them: what they plan, how they are named, and what is said of a wrong one."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from support.command import answer, said

from orchestrator.planning.experiments import natural
from orchestrator.planning.keys import Keys
from orchestrator.planning.options import packaged

KEYS = Keys([packaged("conf")])

NATURAL = """\
suite: tiny
compiler: [eager, inductor]
dtype: float32,bfloat16
batch_size: [1, 4]
rounds: 1
measure: performance
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "params", "kept"),
    [
        ({"suite": "tiny"}, {"suite": "tiny"}, {}),
        ({"compiler": ["eager", "inductor"], "rounds": 2}, {"compiler": ["eager", "inductor"]}, {"rounds": 2}),
        ({"batch_size": "1,4", "seed": 3}, {"batch_size": "1,4"}, {"seed": 3}),
        ({"batch_size": 4}, {}, {"batch_size": 4}),
        ({"suite": {"models": ["a", "b"], "filter": "x,y"}}, {}, {"suite": {"models": ["a", "b"], "filter": "x,y"}}),
        ({"suite": {"models": [["a"], ["b"]]}}, {"suite.models": [["a"], ["b"]]}, {}),
        ({"compiler": {"options": {"dynamic": [True, False]}}}, {"compiler.options.dynamic": [True, False]}, {}),
        ({"compiler.options.dynamic": True}, {}, {"compiler": {"options": {"dynamic": True}}}),
        ({"compiler": {"name": "eager"}}, {"compiler": "eager"}, {}),
        ({"compiler": {"name": "mine", "target": "a.B"}}, {}, {"compiler": {"name": "mine", "target": "a.B"}}),
        ({"exclude": [{"dtype": ["float16"]}]}, {}, {"exclude": [{"dtype": ["float16"]}]}),
        ({"zip": ["a", "b"]}, {}, {"zip": ["a", "b"]}),
        ({"execution": {"env": {"A": [1]}, "retries": 5}}, {"execution.env.A": [1]}, {"execution": {"retries": 5}}),
        ({"hydra": {"sweeper": {"params": {"dtype": "float16"}}}, "seed": [1]}, {"dtype": "float16", "seed": [1]}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_chosen_or_swept_becomes_an_axis(content: object, params: object, kept: object, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(content))
    found = natural(content, file, KEYS)
    assert found.pop("hydra", {"sweeper": {"params": {}}})["sweeper"]["params"] == params
    assert found == kept


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["mine.yaml"], 24),
        (["dry_run=true", "./mine.yaml", "dtype=float32"], 12),  # the command line has the last word
        (["experiment={here}/mine.yaml", "batch_size=[2]", "compiler=eager"], 6),
        (["mine.yaml", "other/mine2.yml"], 24 + 3),
        (["experiment=mine.yaml,other/mine2.yml"], 24 + 3),
    ],
    ids=str,
)
def test_a_file_is_named_by_its_path(
    arguments: list[str], count: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.yaml").write_text(NATURAL)
    (here / "other").mkdir()
    (here / "other" / "mine2.yml").write_text("suite: tiny\ncompiler: eager\nrounds: 1\nmeasure: performance\n")
    code, out, err = said(capsys, *(word.format(here=here) for word in arguments), "dry_run=true")
    assert (code, err) == (0, "")
    assert f"Plan: {count} jobs" in out


def test_a_file_named_by_its_path_goes_before_ours_of_that_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "quick.yaml").write_text(NATURAL)
    assert "Plan: 24 jobs" in said(capsys, "quick.yaml", "dry_run=true")[1]
    assert "Plan: 42 jobs" in said(capsys, "experiment=quick", "dry_run=true")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\ncompilers: [eager]\n", "wrong.yaml, line 2: unknown key 'compilers': did you mean 'compiler'?"),
        ("\n\ncompiler:\n  - eager\n  - inductr\n", "line 3: unknown compiler 'inductr': did you mean 'inductor'?"),
        ("rounds: many\n", "line 1: rounds: 'many': it must be a whole number"),
        ("batch_size: [1, two]\n", "line 1: batch_size: 'two': it must be a whole number, or null"),
        ("dtype: []\n", "line 1: dtype: the list is empty"),
        ("execution:\n  timeout: 5\n", "line 2: unknown key 'execution.timeout': did you mean 'timeout_s'?"),
        ("compiler: [{name: eager}]\n", "line 1: compiler: {'name': 'eager'} is no name"),
        ("- a\n- b\n", "wrong.yaml: write keys and values"),
        ("a: [\n", "wrong.yaml, line 2, column 1: not YAML"),
        ("dtype: half\n", "line 1: unknown dtype 'half': did you mean 'float16'?"),
        ("mode: training\nhydra: {sweeper: {params: {mode: inference}}}\n", "line 1: 'mode' is set twice"),
        ("compiler:\n  options:\n    dynamicc: true\n", "line 3: unknown key 'compiler.options.dynamicc': did you"),
        ("hydra: {sweeper: {params: {compiler: egaer}}}\n", "line 1: unknown compiler 'egaer': did you mean 'eager'?"),
    ],
    ids=lambda text: text.splitlines()[0],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    text: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "wrong.yaml").write_text(textwrap.dedent(text))
    code, out, err = said(capsys, "wrong.yaml", "dry_run=true")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_defaults_that_come_back_to_their_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.yaml").write_text("defaults: [own]\n")
    code, _, told = answer(tmp_path, "experiment=own", "dry_run=true")
    assert (code, told) == (
        2,
        "orchestrator: experiment/own: it is nested too deeply, or its defaults come back to it\n",
    )
