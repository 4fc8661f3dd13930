"""Wrong inputs of every kind: one message that names value and remedy, exit code 2, nothing written.

A message never leads to another meaning (device=gpu to cpu).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.command import command, said
from support.wrong_inputs import FILES, WRONG, here

__all__ = ["here"]  # a fixture


@pytest.mark.parametrize(("line", "message"), WRONG, ids=lambda text: text)
def test_a_wrong_input_is_one_message_with_its_remedy(
    line: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *line.split(), *(["dry_run=true"] if "=" in line and "dry_run" not in line else []))
    assert (code, out) == (2, ""), err
    assert message in err
    assert err.startswith("orchestrator: ")
    assert len(err.splitlines()) == 1
    assert sorted(os.listdir(here)) == sorted(FILES)


@pytest.mark.parametrize(
    ("line", "never"),
    [
        ("device=gpu", "mean 'cpu'"),
        ("dtype=float64", "did you mean"),
        ("dtype=float128", "did you mean"),
        ("dtype=float4", "did you mean"),
        ("dry_run", "rerun"),
        ("run", "mean 'rerun'"),
        ("model=a", "mean 'mode'"),
        ("models=a", "mean 'mode'"),
        ("precision=fp16", "mean 'fp16_accumulation'"),
        ("quantization=int2", "did you mean"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("here")
def test_no_message_leads_to_another_meaning(line: str, never: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, line)
    assert code == 2
    assert never not in err


@pytest.mark.parametrize("index", range(0, len(WRONG), len(WRONG) // 5))
def test_a_process_of_its_own_says_the_same(index: int, here: Path) -> None:
    line, message = WRONG[index]
    done = command(*line.split(), cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.usefixtures("here")
def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("Which compiler is faster")


@pytest.mark.parametrize(
    ("line", "caution"),
    [
        ("device=cuda device.index=99", "jobs on cuda:99"),
        ("threads=999", "threads=999, and jobs may use"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_plan_says_what_this_machine_lacks(line: str, caution: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, *line.split(), "suite=tiny", "dry_run=true")
    assert code == 0
    assert caution in " ".join(out.split())
