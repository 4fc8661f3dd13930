"""Random cases of one seed, what fuzzing found before, and that fuzzing finds what it looks for (`make fuzz`)."""

from __future__ import annotations

import importlib
import random
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import running
from fuzz.making import Maker
from fuzz.running import AFTER, BEFORE, Case, Runner

CORPUS = sorted((Path(__file__).parent / "fuzz" / "corpus").glob("*.json"))
FRESH = 24


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: str(file.stem))
def test_what_was_found_stays_mended(runner: Runner, file: Path) -> None:
    ended = runner.run(Case.read(file))
    assert not ended.wrong(), ended.said


@pytest.mark.slow
def test_random_cases(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CPU_S", 3 * running.CPU_S)  # a slow machine, both of whose cores are busy
    maker = Maker(random.Random(20261127), runner.begin)
    cases = [maker.case() for _ in range(FRESH)]
    ended = [runner.run(case) for case in cases]
    assert not [(case, one.said) for case, one in zip(cases, ended, strict=True) if one.wrong()]
    assert {one.code for one in ended} >= {0, 2}, "some cases are sound, some are not"


def test_a_sound_case_is_what_the_command_does(runner: Runner) -> None:
    ended = runner.run(Case("sound", ["diff", BEFORE, AFTER, "--json"]))
    assert (ended.code, ended.wrong()) == (0, "")
    assert '"speedup"' in ended.said


def _hang() -> None:
    while True:
        pass


def _print_a_traceback() -> None:
    try:
        raise KeyError("planted")
    except KeyError:
        traceback.print_exc()


def _fail() -> None:
    raise KeyError("planted")


def _grow() -> None:
    assert len(bytearray(80 * 2**20).replace(b"\0", b"\1")) > 0


@pytest.mark.parametrize(
    ("defect", "found"),
    [(_fail, "exit code 3"), (_print_a_traceback, "a traceback"), (_hang, "it hung"), (_grow, "MiB")],
)
def test_a_planted_defect_is_found(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, defect: Callable[[], None], found: str
) -> None:
    monkeypatch.setattr(running, "CPU_S", 2)
    usual = runner.run(Case("planted", ["ls"]))
    monkeypatch.setattr(running, "MEMORY_MIB", usual.memory_mib + 60)

    def planted(argv: list[str]) -> int:
        defect()
        return 0

    monkeypatch.setattr(importlib.import_module("orchestrator.cli.ls"), "main", planted)
    assert not usual.wrong()
    assert found in runner.run(Case("planted", ["ls"])).wrong()
