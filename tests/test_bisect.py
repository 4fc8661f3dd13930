"""Which step made a row slower: the search, the judgement with known noise, real builds; at last the whole command."""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import command, synthetic
from support.command import FAKES, answer
from support.synthetic import of_folder

from orchestrator.cli import bisect as cli
from orchestrator.comparison.bisection import (
    BAD,
    CANNOT_TELL,
    GOOD,
    Answer,
    Found,
    Question,
    question,
    rounds_for,
    search,
)
from orchestrator.comparison.bisection import answer as judged
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.snapshot import Row
from orchestrator.errors import UsageError
from orchestrator.execution.builds import CannotBuild, interpreter
from orchestrator.execution.steps import Code, Commits, Step, Versions, builds_of
from orchestrator.planning.replay import in_turns, with_code_of
from orchestrator.records import IN_TURNS, MODEL_FAIL_TO_LOAD, PASS, TIMED
from orchestrator.store import JobGraph
from orchestrator.validity import check_order
from orchestrator.views.bisect import document
from orchestrator.views.document import to_text

COMMITS = 32


def row(latencies: Sequence[float] = (), status: str = PASS, metric: str = "latency_ms") -> Row:
    figures = {metric: Figure(values=tuple(latencies))} if latencies else {}
    names = dict.fromkeys(("model", "mode", "dtype", "device", "compiler", "measure"), "m")
    return Row(
        names=names,
        config={},
        kind="performance",
        status=status,
        reason="",
        figures=figures,
        counts={},
        disturbed="",
        jobs=("a",),
    )


class Machine:
    """Measures with known noise: `noise` of each round of its own, `drift` that both builds of a round share.

    outlying: the share of processes that something slows from start to end, by some 40 %.
    """

    def __init__(self, seed: int, noise: float, drift: float = 0.2, outlying: float = 0.0) -> None:
        self.random, self.noise, self.drift, self.outlying = random.Random(seed), noise, drift, outlying
        self.count = 0

    def own(self) -> float:
        """Return by how much one process is slower."""
        slowed = abs(self.random.gauss(0, 0.4)) if self.random.random() < self.outlying else 0.0
        return math.exp(slowed + self.random.gauss(0, self.noise))

    def measure(self, slower: float, rounds: int = 5) -> tuple[Row, Row]:
        """Return the good end, and what takes `slower` times as long."""
        self.count += 1
        good, step = [], []
        for _ in range(rounds):
            common = math.exp(self.random.gauss(0, self.drift))
            good.append(common * self.own())
            step.append(common * slower * self.own())
        return row(good), row(step)


# -- the search


@pytest.mark.parametrize("culprit", range(1, COMMITS))
def test_every_culprit_is_found_in_at_most_five_answers(culprit: int) -> None:
    asked: list[int] = []

    def judge(step: int) -> str:
        asked.append(step)
        return BAD if step >= culprit else GOOD

    found = search(COMMITS, judge)
    assert (found.bad, found.is_one) == (culprit, True)
    assert len(asked) == len(set(asked)) <= 5


def test_what_cannot_be_told_is_left_out_and_what_is_left_is_said() -> None:
    untold = {14, 15, 16, 17}
    for culprit in (12, 15, 18, 25):
        found = search(COMMITS, lambda s, c=culprit: CANNOT_TELL if s in untold else BAD if s >= c else GOOD)  # type: ignore[misc]
        assert found.good < culprit <= found.bad
        assert found.is_one == (culprit not in (15, 18))
    assert search(COMMITS, lambda _: CANNOT_TELL) == Found(0, COMMITS - 1)
    assert search(2, lambda _: GOOD) == Found(0, 1)


class OnMachine(cli._Bench):
    """Measures on a machine with known noise; steps from `culprit` on take `slower` times as long."""

    def __init__(self, machine: Machine, culprit: int, slower: float) -> None:
        super().__init__(*[None] * 3, Path(), ())  # type: ignore[arg-type]
        self.machine, self.culprit, self.slower = machine, culprit, slower

    def run(self, good: Code, step: Code, rounds: int) -> tuple[Row, Row]:
        return self.machine.measure(self.slower if int(step.step.name) >= self.culprit else 1.0, rounds)


class Made:
    def build(self, step: Step, tell: Any) -> Code:
        return Code(step)


@pytest.mark.parametrize(("noise", "outlying", "soon"), [(0.005, 0.0, 99), (0.03, 0.0, 95), (0.02, 0.05, 95)])
def test_a_planted_slowdown_among_32_is_found_in_seven_measurements(noise: float, outlying: float, soon: int) -> None:
    """Drift is ten times the noise and more. Measurements: the two ends once, then one a step, seldom a second."""
    found, few, wrong = 0, 0, 0
    steps = [Step(str(number)) for number in range(COMMITS)]
    for seed in range(100):
        bench = OnMachine(Machine(seed, noise, outlying=outlying), 1 + seed % (COMMITS - 1), 1.05)
        _, place = cli._search(argparse.Namespace(rounds=cli.ROUNDS, metric=None), bench, Made(), steps)  # type: ignore[arg-type]
        if place is not None and place.is_one:
            found += place.bad == bench.culprit
            wrong += place.bad != bench.culprit
            few += bench.machine.count <= 7
    assert found == 100
    assert few >= soon
    assert wrong == 0


def test_a_step_has_as_many_rounds_as_the_noise_asks_for() -> None:
    asked = Question("latency_ms", 1.05)
    ten = [0.01, -0.01] * 5  # a standard deviation of 1.05 %
    # pi / 2 * 0.0105**2 * ((1.645 + 2.326) / 0.0244)**2 = 4.6
    assert rounds_for(asked, [ten], 2) == 5
    assert rounds_for(asked, [ten], 7) == 7
    assert rounds_for(asked, [[3 * log for log in ten]], 5) == 42
    assert rounds_for(asked, [[9 * log for log in ten]], 5) == 60
    assert rounds_for(asked, [], 5) == rounds_for(Question("status", status="crash"), [ten], 5) == 5


# -- the judgement


def test_the_ends_say_what_the_search_is_about() -> None:
    slower = question([row([1.0, 1.01, 1.0])], [row([1.1, 1.11, 1.1])])
    assert isinstance(slower, Question)
    assert (slower.metric, round(slower.ratio, 2)) == ("latency_ms", 1.1)
    less = question([row([2.0, 2.01, 2.0], metric="speedup")], [row([1.5, 1.51, 1.5], metric="speedup")])
    assert isinstance(less, Question)
    assert less.metric == "speedup"
    failing = question([row([1.0, 1.0])], [row(status="fail_accuracy")])
    assert failing == Question("status", status="fail_accuracy")


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        (row(status="crash"), row([1.0, 1.0]), "the good end itself is crash"),
        (row([1.0, 1.01, 0.99]), row([1.01, 1.0, 1.0]), "do not differ for certain"),
        (row([1.1, 1.1, 1.1]), row([1.0, 1.0, 1.0]), "do not differ for certain"),  # it became faster
        (row([1.0, 1.5, 0.8]), row([1.2, 1.0, 1.4]), "do not differ for certain"),
        (row([1.000, 1.001, 1.002]), row([1.005, 1.006, 1.007]), "do not differ for certain"),  # too small
        (row([1.0]), row([1.2]), "they have no figures"),
    ],
)
def test_ends_that_do_not_differ_are_no_search(good: Row, bad: Row, why: str) -> None:
    found = question([good], [bad])
    assert isinstance(found, Answer)
    assert why in found.why


@pytest.mark.parametrize(
    ("step", "word"),
    [
        ([1.001, 1.0, 0.999], GOOD),
        ([1.102, 1.1, 1.099], BAD),
        ([0.9, 0.901, 0.9], GOOD),
        ([1.049, 1.05, 1.0], CANNOT_TELL),
        ([1.0, 1.2, 1.1], CANNOT_TELL),
    ],
)
def test_a_step_is_judged_by_half_of_the_change_of_the_ends(step: list[float], word: str) -> None:
    assert judged(Question("latency_ms", 1.1), [row([1.0, 1.0, 1.0])], [row(step)]).word == word
    inverse = [1 / value for value in step]
    better = Question("speedup", 1 / 1.1)
    assert judged(better, [row([1.0] * 3, metric="speedup")], [row(inverse, metric="speedup")]).word == word


def test_a_step_that_fails_otherwise_cannot_be_told() -> None:
    failed = [row(status=MODEL_FAIL_TO_LOAD)]
    good = [row([1.0, 1.0])]
    assert judged(Question("latency_ms", 1.1), good, failed).word == CANNOT_TELL
    assert judged(Question("latency_ms", 1.1), failed, good).word == CANNOT_TELL
    assert judged(Question("status", status="fail_accuracy"), good, failed).word == CANNOT_TELL
    assert judged(Question("status", status=MODEL_FAIL_TO_LOAD), good, failed).word == BAD
    assert judged(Question("status", status=MODEL_FAIL_TO_LOAD), good, good).word == GOOD


# -- builds


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, texts: Sequence[str]) -> Path:
    """A repository with a commit for each text of model.py, tagged c0, c1, ..."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number, text in enumerate(texts):
        (folder / "model.py").write_text(text)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"step {number}")
        git(folder, "tag", f"c{number}")
    return folder


def test_a_commit_is_made_once_beside_the_repository(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repository", ["a = 0\n", "a = 1\n", "a = 2\n"])
    before = git(folder, "status", "--porcelain", "--branch"), git(folder, "worktree", "list")
    commits = Commits(str(folder), "echo made >> made.txt")
    steps = commits.between("c0", "c2")
    assert [(step.name, step.title) for step in steps] == [
        (git(folder, "rev-parse", f"c{number}"), f"step {number}") for number in range(3)
    ]
    for _ in range(2):
        build = commits.build(steps[1])
        (place,) = build.paths
        assert (place / "model.py").read_text() == "a = 1\n"
        assert (place / "made.txt").read_text() == "made\n"
        assert build.moved == (str(folder), str(place))
    assert (git(folder, "status", "--porcelain", "--branch"), git(folder, "worktree", "list")) == before
    with pytest.raises(CannotBuild, match="sh -c exit 7: it ended with 7"):
        Commits(str(folder), "exit 7").build(steps[1])


@pytest.mark.parametrize(
    ("over", "good", "bad", "why"),
    [
        ("git:{}", "c2", "c0", "is no ancestor"),
        ("git:{}", "c1", "c1", "is no ancestor"),
        ("git:{}", "nothing", "c1", "--good nothing: no commit of"),
        ("git:{}", "c0", "--all", "--bad --all: no commit of"),
        ("git:{}/..", "c0", "c1", "not a git repository"),
        ("hg:{}", "c0", "c1", "write git:DIR, a repository, or pip:PACKAGE"),
        ("git:", "c0", "c1", "write git:DIR"),
        ("pip:a b", "1", "2", "write the name of one package"),
        ("pip:--index-url", "1", "2", "write the name of one package"),
    ],
)
def test_steps_that_are_none_are_refused(tmp_path: Path, over: str, good: str, bad: str, why: str) -> None:
    folder = repository(tmp_path / "repository", ["a = 0\n", "a = 1\n", "a = 2\n"])
    with pytest.raises(UsageError, match=why):
        builds_of(over.format(folder)).between(good, bad)


@pytest.mark.slow
def test_versions_of_a_package_as_pip_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    for version in ("1.0", "1.2", "1.10", "2.0"):
        with zipfile.ZipFile(tmp_path / f"toy_pack-{version}-py3-none-any.whl", "w") as wheel:
            place = f"toy_pack-{version}.dist-info"
            wheel.writestr("toy_pack.py", f"version = '{version}'\n")
            wheel.writestr(f"{place}/METADATA", f"Metadata-Version: 2.1\nName: toy-pack\nVersion: {version}\n")
            wheel.writestr(
                f"{place}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{place}/RECORD", "")
    versions = Versions("toy-pack")
    steps = versions.between("1.0", "1.10")
    assert [step.name for step in steps] == ["1.0", "1.2", "1.10"]
    build = versions.build(steps[1]).build
    assert build is not None
    ask = [interpreter(build).python, "-c", "import toy_pack; print(toy_pack.version)"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "1.2\n"
    with pytest.raises(UsageError, match=r"--good 1\.1: pip finds no such toy-pack"):
        versions.between("1.1", "2.0")
    with pytest.raises(UsageError, match="must be the older version"):
        versions.between("2.0", "1.0")
    with pytest.raises(CannotBuild, match=r"pip(?s:.*)No matching distribution found for toy-pack==3\.0"):
        versions.build(Step("3.0"))


def test_jobs_of_a_build_find_its_code_and_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    sweep = synthetic.quick_sweep(tmp_path / "sweep")
    graph = JobGraph(tuple(sweep.jobs))
    one, other = (with_code_of(graph, [path], None) for path in ("/one", "/other"))
    assert {job.env["PYTHONPATH"] for job in one.values()} == {"/one:/theirs"}
    ids = [{job.id for job in side.values()} for side in (one, other)]
    assert not ids[0] & ids[1]
    for side, known in zip((one, other), ids, strict=True):
        assert {need.job for job in side.values() for need in job.needs} <= known


def test_what_is_timed_takes_turns_with_the_same_of_the_other_side_and_who_begins_changes(tmp_path: Path) -> None:
    graph = JobGraph(tuple(synthetic.quick_sweep(tmp_path / "sweep").jobs))
    one, other = (with_code_of(graph, [path], None) for path in ("/one", "/other"))
    jobs = list(in_turns(one, other))
    check_order(jobs)
    assert {job.id for job in jobs} == {job.id for side in (one, other) for job in side.values()}
    pairs = [(need.job, job.id) for job in jobs for need in job.needs if need.kind == IN_TURNS]
    timed = [(key, job.round) for key, job in one.items() if job.kind == TIMED]
    assert sorted(pairs) == sorted((one[k].id, other[k].id)[:: 1 if n % 2 == 0 else -1] for k, n in timed)
    assert {n for _, n in timed} == {0, 1, 2, 3, 4}


# -- the command


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["latest", "--good", "c0", "--bad", "c1", "--over", "git:."], "names a sweep: name a job of the row"),
        (["latest:zzzz", "--good", "c0", "--bad", "c1", "--over", "git:."], "no job has an id that begins with"),
        (["latest:", "--good", "c0", "--bad", "c1", "--over", "git:."], "no job has an id"),
        (["none:1", "--good", "c0", "--bad", "c1", "--over", "git:."], "none"),
        (["latest:{}", "--good", "c0", "--bad", "c1", "--over", "x"], "write git:DIR"),
        (["latest:{}", "--good", "c0", "--bad", "c1", "--over", "git:/nowhere"], "/nowhere"),
        (["latest:{}", "--good", "c0", "--bad", "c1", "--over", "git:.", "--rounds", "1"], "it must be at least 2"),
        (["latest:{}", "--bad", "c1", "--over", "git:."], "--good"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path: Path, arguments: list[str], why: str) -> None:
    job = made(tmp_path)
    code, _, said = answer(tmp_path, "bisect", *(word.format(job) for word in arguments), "--trust")
    assert code == 2
    assert why in said
    assert "Traceback" not in said


def made(place: Path) -> str:
    """Write a sweep; return the id of a compiled performance job of it."""
    sweep = synthetic.quick_sweep(place / "outputs" / "2026-11-21" / "10-00-00")
    sweep.write()
    return next(job.id for job in sweep.jobs if job.compiler.name != "eager" and job.measure.name == "performance")


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine, int, float], list[str]]:
    """Return a function that puts a machine with known noise in place of measurements; it returns what is measured."""

    def put(machine: Machine, culprit: int, slower: float) -> list[str]:
        seen: list[str] = []

        def measured(bench: Any, good: Code, step: Code, rounds: int) -> tuple[Row, Row]:
            seen.append(step.step.title)
            return machine.measure(slower if int(step.step.title.split()[1]) >= culprit else 1.0, rounds)

        monkeypatch.setattr(cli._Bench, "run", measured)
        return seen

    return put


def test_the_command_says_each_step_and_the_first_bad_one(
    tmp_path: Path, on: Callable[[Machine, int, float], list[str]]
) -> None:
    folder = repository(tmp_path / "repository", [f"a = {number}\n" for number in range(9)])
    job = made(tmp_path)
    seen = on(Machine(1, 0.001), 6, 1.05)
    words = ["bisect", f"latest:{job}", "--good", "c0", "--bad", "c8", "--over", f"git:{folder}", "--trust"]
    code, said, _ = answer(tmp_path, *words)
    assert code == 0
    assert said.splitlines()[-1] == f"The first bad one is {git(folder, 'rev-parse', 'c6')} step 6"
    assert seen == ["step 8", "step 4", "step 6", "step 5"]
    code, said, told = answer(tmp_path, *words, "--json")
    rows = json.loads(said)["tables"]["bisect"]
    assert [(one["title"], one["answer"]) for one in rows] == [
        ("step 4", GOOD),
        ("step 5", GOOD),
        ("step 6", BAD),
        ("step 8", BAD),
    ]
    assert "first, do these differ?" in told


def test_steps_that_cannot_be_built_are_skipped_and_ends_that_are_alike_end_it(
    tmp_path: Path, on: Callable[[Machine, int, float], list[str]]
) -> None:
    folder = repository(tmp_path / "repository", [f"a = {number}\n" for number in range(5)])
    job = made(tmp_path)
    on(Machine(1, 0.001), 3, 1.05)
    words = ["bisect", f"latest:{job}", "--good", "c0", "--bad", "c4", "--over", f"git:{folder}", "--trust"]
    code, said, _ = answer(tmp_path, *words, "--setup", "! grep -q 'a = [23]' model.py")
    assert code == 4
    assert "it cannot be built" in said
    assert "It is one of the 3 steps after" in said
    seen = on(Machine(1, 0.001), 9, 1.05)
    code, said, _ = answer(tmp_path, *words)
    assert code == 4
    assert said.splitlines()[-1].startswith("Cannot tell: the ends do not differ for certain: latency_ms")
    assert len(seen) == cli.TRIES


MODEL = """import time
import torch

class Paced(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        time.sleep({seconds})
        return x * self.weight  # step {number}

    def get_example_inputs(self, batch_size=2):
        return (torch.ones(batch_size, 4),)
"""


@pytest.mark.long
def test_a_planted_slowdown_is_found_in_a_real_repository(tmp_path: Path) -> None:
    texts = [MODEL.format(number=number, seconds=0.02 if number < 3 else 0.05) for number in range(5)]
    folder = repository(tmp_path / "repository", texts)
    command.run(tmp_path, *FAKES, "suite=user", f"suite.models=[{folder}/model.py:Paced]", "compiler=eager",
                "measure=glance", "batch_size=2", "rounds=1")  # fmt: skip
    results = of_folder(command.latest(tmp_path))
    job = results.rows[0].jobs[0]
    said = command.run(tmp_path, "bisect", f"latest:{job}", "--good", "c0", "--bad", "c4", "--over", f"git:{folder}",
                       "--rounds", "2")  # fmt: skip
    assert said.splitlines()[-1] == f"The first bad one is {git(folder, 'rev-parse', 'c3')} step 3"


def test_a_long_reason_leaves_steps_and_titles_whole() -> None:
    steps = [Step("2.13.0+cpu", "torch"), Step("2.14.0", "torch")]
    why = "eager_fail_to_run: needs 'Planted inference float32 cpu 2.14.0 eager reference #0', which ended with that"
    said = {0: Answer(GOOD), 1: Answer(BAD, why=why)}
    text = to_text(document(steps, said, Question("status", status="eager_fail_to_run"), Found(0, 1)), 80)
    good, bad = (line for line in text.splitlines() if line.endswith(" torch") and "first" not in line)
    assert good.startswith("2.13.0+cpu  good ")
    assert bad.startswith("2.14.0      bad: eager_fail_to_run: needs ")
