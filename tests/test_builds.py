"""Builds as an axis: what is asked for, how jobs of several take turns, environments made once, and the comparison."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import command, synthetic
from support.command import FAKES, TESTS
from support.points import MACHINE, point, suite

from orchestrator.cli.finish import document
from orchestrator.comparison import builds as compared
from orchestrator.errors import UsageError
from orchestrator.execution import builds
from orchestrator.execution.evidence import Evidence
from orchestrator.packing import pack, unpack
from orchestrator.planning.builds import build_of
from orchestrator.planning.grid import normalise
from orchestrator.planning.plan import plan
from orchestrator.planning.replay import with_rounds
from orchestrator.planning.shards import cut
from orchestrator.planning.trust import would_run
from orchestrator.probes.environment import installed
from orchestrator.records import Build, fingerprint
from orchestrator.results import load
from orchestrator.results.environments import mixed
from orchestrator.store import JobGraph
from orchestrator.typed_json import to_json
from orchestrator.views.document import to_markdown

NEW = Build(name="new", requirements=("toy-pack==2.0",))


def wheel(folder: Path, version: str, code: str = "", name: str = "toy-pack") -> Path:
    """Write a wheel of the package toy-pack, or of another."""
    module = name.replace("-", "_")
    file = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as made:
        place = f"{module}-{version}.dist-info"
        made.writestr(f"{module}.py", code or f"version = '{version}'\n")
        made.writestr(f"{place}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(f"{place}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{place}/RECORD", "")
    return file


# -- what is asked for


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("build=base,toy==2.0", "build=base,'toy==2.0'"),
        ("build=[base,toy[a,b]>=1,<2,other]", "build=[base,'toy[a,b]>=1,<2',other]"),
        ("build=base,new", "build=base,new"),
        ("builds.new.requirements=[a==1,b>=2,<3]", "++builds.new.requirements=['a==1','b>=2,<3']"),
        ("builds.new.requirements=['a==1']", "++builds.new.requirements=['a==1']"),
        ("builds.new.python=/env/bin/python", "++builds.new.python=/env/bin/python"),
        ("builds.new.setup=pip install a==1, b", "++builds.new.setup='pip install a==1, b'"),
        ("builds.new.setup=null", "++builds.new.setup=null"),
        ("builds.new.requirments=[a==1]", "++builds.new.requirments=['a==1']"),
    ],
)
def test_requirements_need_no_quotes_on_the_command_line(written: str, taken: str) -> None:
    assert normalise(written) == normalise(taken) == taken


def test_a_name_is_described_or_is_a_requirement(tmp_path: Path) -> None:
    described = {"new": {"python": None, "requirements": ["toy==2.0"], "setup": "true"}}
    assert build_of("base", {}) is None
    assert build_of("new", described) == Build(name="new", requirements=("toy==2.0",), setup="true")
    assert build_of("toy==2.0", {}) == Build(name="toy==2.0", requirements=("toy==2.0",))
    own = build_of("env", {"env": {"python": "bin/../python"}})
    assert own == Build(name="env", python=str(Path("python").absolute()))
    file = wheel(tmp_path, "1.0")
    made = build_of(str(file), {})
    assert made is not None
    assert made.requirements == (f"{file.as_uri()}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}",)


@pytest.mark.parametrize(
    ("name", "conf", "why"),
    [
        ("candiate", {"candidate": {"requirements": ["a"]}}, "did you mean 'candidate'"),
        ("base,new", {"new": {"requirements": ["a"]}}, "in a file several are a list: build: .base, new."),
        ("torch", {}, "write one requirement of pip's, as in build=base,transformers==5.20.0"),
        ("new", {"new": {"python": None, "requirements": []}}, "give it python, requirements or setup"),
        ("new", {"new": {"requirement": ["a"]}}, "unknown key 'builds.new.requirement': did you mean 'requirements'"),
        ("new", {"new": {"requirements": "a"}}, "builds.new.requirements is 'a': it must be a list of texts"),
        ("new", {"new": ["a"]}, "builds.new is .'a'.: write a map"),
        ("new", {"new": {"requirements": ["--index-url x"]}}, "without options"),
        ("new", {"new": {"requirements": ["./no/such.whl"]}}, "there is no file ./no/such.whl"),
        ("new", {"new": {"requirements": [str(TESTS)]}}, "a folder, whose content changes under its name"),
        ("new", {"new": {"requirements": ["git+file:///no/such/repository@main"]}}, "git ls-remote file:///no/such"),
    ],
)
def test_what_is_none_is_refused_with_the_remedy(name: str, conf: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        build_of(name, conf)


def test_a_branch_is_the_commit_that_it_has_now(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "--quiet", "--initial-branch", "main"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
    subprocess.run([*git, "tag", "--annotate", "v1", "--message", "one"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for revision in ("@main", "@v1", "", f"@{commit}"):
        made = build_of("new", {"new": {"requirements": [f"pack @ git+file://{tmp_path}{revision}#egg=pack"]}})
        assert made is not None
        assert made.requirements == (f"pack @ git+file://{tmp_path}@{commit}#egg=pack",)
    with pytest.raises(UsageError, match="has no branch or tag v2"):
        build_of("new", {"new": {"requirements": [f"git+file://{tmp_path}@v2"]}})


# -- the plan


def both(*compilers: str, rounds: int = 3, measures: tuple[str, ...] = ("performance",)) -> JobGraph:
    conf = {"new": {"requirements": ["toy-pack==2.0"]}}
    points = [
        point(
            compiler,
            measure,
            rounds=rounds,
            batch_size=2,
            suite=suite({"Bert": {}, "T5": {}}),
            build=build,
            builds=conf,
        )
        for build in ("base", "new")
        for compiler in compilers
        for measure in measures
    ]
    return plan(points, MACHINE)


def test_without_builds_ids_are_what_they_were() -> None:
    graph = both("inductor")
    base = [job for job in graph.jobs if job.workload.build is None]
    assert [job.id for job in base] == [job.id for job in plan([point("inductor", batch_size=2)], MACHINE).jobs]
    assert len(graph.jobs) == 2 * len(base)
    assert all("build" not in to_json(job.workload) for job in base)
    assert fingerprint(replace(base[0].workload, build=NEW)) != fingerprint(base[0].workload)
    assert unpack(json.loads(json.dumps(pack(graph.jobs)))) == graph.jobs


def test_builds_take_turns_in_each_round_and_who_goes_first_changes() -> None:
    graph = both("inductor")
    for planned in (graph, with_rounds(both("inductor", rounds=2), 3)):
        bert = [job for job in planned.jobs if job.workload.model == "Bert"]
        turns = [(job.round, job.workload.build is not None, job.compiler.name) for job in bert]
        order = [(0, False), (0, True), (1, True), (1, False), (2, False), (2, True)]
        assert turns == [(*turn, compiler) for turn in order for compiler in ("eager", "inductor")]
        assert {job.id for job in planned.jobs} == {job.id for job in graph.jobs}


def test_a_baseline_and_a_reference_are_of_the_same_build_and_all_of_a_model_is_on_one_shard() -> None:
    graph = both("inductor", measures=("performance", "accuracy"))
    jobs = {job.id: job for job in graph.jobs}
    assert all(jobs[need.job].workload.build == job.workload.build for job in jobs.values() for need in job.needs)
    kinds = {need.kind for job in jobs.values() for need in job.needs}
    assert {"baseline", "reference", "round", "series", "timed"} <= kinds
    for shard in cut(graph, 2):
        assert len({job.workload.model for job in shard}) == 1
        assert len({job.workload.build for job in shard}) == 2
    assert any(job.title == "Bert inference float32 cpu new inductor performance #2" for job in graph.jobs)


def test_no_round_is_left_out_where_builds_are_compared() -> None:
    one, two = (Evidence(graph.jobs, 1, 0.01) for graph in (plan([point("inductor")], MACHINE), both("inductor")))
    assert one._rounds_min == 1
    assert two._rounds_min > 3


def test_a_sweep_that_someone_else_made_says_what_it_would_install() -> None:
    build = Build(name="new", python="/theirs/python", requirements=("a==1", "b"), setup="x" * 500)
    jobs = [replace(job, workload=replace(job.workload, build=build)) for job in both("inductor").jobs]
    wanted = ["interpreter '/theirs/python'", "shell command 'xxx", "pip installs for 'a==1'", "pip installs for 'b'"]
    assert all(part in told for part, told in zip(wanted, would_run(jobs, online=False), strict=False))


# -- environments


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in which alone pip looks, and a cache of its own."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(builds, "STILL_S", 600.0)
    wheel(tmp_path, "2.0")
    return tmp_path


@pytest.mark.slow
def test_an_environment_is_made_once_over_that_of_the_command(shelf: Path) -> None:
    said: list[str] = []
    build = replace(NEW, setup="echo made >> setup.txt")
    first = builds.interpreter(build, said.append)
    code = "import importlib.util as u, toy_pack as t, orchestrator as o\n"
    code += "print(t.version, u.find_spec('torch').origin, o.__file__)"
    answer = subprocess.run([first.python, "-c", code], capture_output=True, text=True, check=True, cwd=shelf).stdout
    version, torch, ours = answer.split()
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert (version, torch) == ("2.0", found.origin)
    assert Path(ours).resolve() == Path(builds.orchestrator.__file__).resolve()
    assert first.packages["toy-pack"] == "2.0"
    assert builds.interpreter(build, said.append) == first
    assert said == ["making the build new: toy-pack==2.0"]
    folder = Path(first.python).parent.parent
    assert (folder / "setup.txt").read_text() == "made\n"
    assert f"made, in {folder}" in builds.in_words(build)


def test_one_that_takes_long_and_does_not_fit_what_lies_below_is_heard_of(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "STILL_S", 0.1)
    wheel(shelf, "0.1", name="sympy")
    said: list[str] = []
    builds.interpreter(Build(name="sympy==0.1", requirements=("sympy==0.1",)), said.append)
    assert said[0] == "making the build sympy==0.1"
    assert said[1].startswith("still making sympy==0.1, ")
    assert re.search(r"^torch \S+ requires sympy.*, but you have sympy 0.1", "\n".join(said), re.MULTILINE)


def test_one_that_was_not_made_to_its_end_is_made_anew(shelf: Path) -> None:
    said: list[str] = []
    build = Build(name="set up", setup="echo made >> setup.txt")
    first = builds.interpreter(build, said.append)
    folder = Path(first.python).parent.parent
    (folder / builds.MADE).unlink()  # as if whoever made it had been killed
    (folder / "half").touch()
    assert "made when the sweep starts" in builds.in_words(build)
    assert builds.interpreter(build, said.append) == first
    assert len(said) == 2
    assert not (folder / "half").exists()
    assert (folder / "setup.txt").read_text() == "made\n"


def test_one_whose_interpreter_was_removed_is_made_anew(shelf: Path) -> None:
    said: list[str] = []
    build = Build(name="set up", setup="true")
    first = builds.interpreter(build, said.append)
    Path(first.python).unlink()
    assert "made when the sweep starts" in builds.in_words(build)
    assert builds.interpreter(build, said.append) == first
    assert len(said) == 2


def test_what_cannot_be_made_is_said_with_its_last_words_and_never_used(shelf: Path) -> None:
    failing = Build(name="failing", setup="touch half; echo so >&2; exit 3")
    job = synthetic.job(synthetic.workload(build=failing), "inductor")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"the build failing cannot be made: sh -c touch half; .*exit 3: so"):
            builds.interpreters([job])


def test_an_interpreter_that_jobs_cannot_run_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(builds.CannotBuild, match="is no interpreter: there is no such program"):
        builds.interpreter(Build(name="gone", python=str(tmp_path / "python")))
    with pytest.raises(builds.CannotBuild, match="is no interpreter of Python"):
        builds.interpreter(Build(name="true", python="/bin/true"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    python = str(tmp_path / "empty" / "bin" / "python")
    with pytest.raises(builds.CannotBuild, match=r"lacks .*torch.* -m pip install .*nvidia-ml-py"):
        builds.interpreter(Build(name="empty", python=python))


# -- the comparison


def sweep(folder: Path, *, factor: float = 1.2, host: str = "") -> load.SweepResults:
    """A sweep of two builds; the jobs of the second take `factor` times as long."""
    made = synthetic.SyntheticSweep(folder)
    for model in ("Bert", "T5"):
        for round in range(4):
            for build, factor_ in ((None, 1.0), (NEW, factor)):
                seconds = 0.1 * (1 + 0.002 * round) * factor_
                load_ = synthetic.workload(model, build=build)
                eager = made.performance(load_, "eager", round, latency=0.1)
                made.performance(
                    load_, "inductor", round, baseline=eager, latency=seconds, pairs=[(0.1, seconds / 2)] * 20
                )
    environment = {"host": "a", "packages": {"toy-pack": "1.0", "torch": "2.13.0"}}
    of_new = {"host": host or "a", "packages": {"toy-pack": "2.0", "torch": "2.13.0"}}
    known = {job.id: of_new if job.workload.build else environment for job in made.jobs}
    made.results = [replace(result, environment=known[result.job_id]) for result in made.results]
    return load.load(made.write())


def test_a_build_is_compared_row_by_row_with_the_first(tmp_path: Path) -> None:
    results = sweep(tmp_path)
    tables = compared.build(results)
    assert tables.builds is not None
    assert {row["build"] for row in tables.summary.rows} == {"base", "new"}
    found = {
        (row["model"], row["compiler"], row["metric"]): row for row in tables.builds.rows if row["metric"] != "status"
    }
    latency = found["Bert", "inductor", "latency_ms"]
    assert (latency["build"], latency["build_before"], latency["change"]) == ("new", "base", "worse")
    assert latency["ratio"] == pytest.approx(1.2)
    assert latency["ratio_low"] < 1.2 < latency["ratio_high"]
    assert found["T5", "eager", "latency_ms"]["change"] == "within noise"
    assert [row["compiler"] for row in tables.overview.rows if row["build"] == "new"] == ["eager", "inductor"]
    said = to_markdown(document(results, tables))
    assert "build new (B) against base (A)" in said
    assert "The build new beside base: toy-pack 1.0 -> 2.0." in said
    alone = [one for one in results.outcomes if one.job.workload.build is None]
    assert compared.build(replace(results, outcomes=tuple(alone))).builds is None


def test_builds_that_did_not_run_in_one_place_or_are_the_same_are_marked(tmp_path: Path) -> None:
    (told,) = mixed(sweep(tmp_path / "a", host="b").outcomes)
    assert told.startswith("! The builds base and new were not run in the same place: ")
    results = sweep(tmp_path / "b")
    first = results.outcomes[0].result
    assert first is not None
    same = [replace(one, result=replace(first, job_id=one.job.id)) for one in results.outcomes]
    assert list(mixed(same)) == ["! The builds base and new have the same Python, torch and other packages."]


def test_a_build_of_which_nothing_has_been_run_is_named_where_another_has_run(tmp_path: Path) -> None:
    outcomes = sweep(tmp_path).outcomes
    left = [replace(one, result=one.result if one.job.workload.build else None) for one in outcomes]
    assert list(mixed(left)) == ["Of the build base nothing has been run."]
    assert not list(mixed([replace(one, result=None) for one in outcomes]))


def test_builds_that_differ_in_any_installed_package_are_not_the_same(tmp_path: Path) -> None:
    """Not only in those that compilers are made of, nor in versions alone: a wheel made anew has another hash."""
    results = sweep(tmp_path)
    known = "kernels==2.0@0123456789ab torch==2.13.0 tqdm==4.66"
    new = known.replace("@0123456789ab", "@ba9876543210").replace(" tqdm==4.66", "") + " zstd==1.5"

    def told(one: load.JobOutcome) -> load.JobOutcome:
        assert one.result is not None
        installed = new if one.job.workload.build else known
        environment = {"host": "a", "packages": {"torch": "2.13.0"}, "installed": installed}
        return replace(one, result=replace(one.result, environment=environment))

    outcomes = tuple(map(told, results.outcomes))
    (said,) = mixed(outcomes)
    assert said == (
        "The build new beside base: kernels 2.0@0123456789ab -> 2.0@ba9876543210, tqdm 4.66 -> none, zstd none -> 1.5."
    )
    (found,) = compared.comparisons(replace(results, outcomes=outcomes))
    assert set(found.environment) == {"packages.kernels", "packages.tqdm", "packages.zstd"}


def test_two_builds_of_torch_are_told_as_torch_says_it_once(tmp_path: Path) -> None:
    """pip knows a wheel's version without the CUDA that it was made with."""
    results = sweep(tmp_path)
    base = {"packages": {"torch": "2.13.0+cpu"}, "installed": "torch==2.13.0+cpu", "torch": "2.13.0+cpu"}
    new = {"packages": {"torch": "2.14.1"}, "installed": "torch==2.14.1", "torch": "2.14.1+cu130"}

    def told(one: load.JobOutcome) -> load.JobOutcome:
        assert one.result is not None
        own = {**new, "torch_cuda": "13.0"} if one.job.workload.build else {**base, "torch_cuda": None}
        return replace(one, result=replace(one.result, environment=own))

    (said,) = mixed(tuple(map(told, results.outcomes)))
    assert said == "The build new beside base: torch 2.13.0+cpu -> 2.14.1+cu130, torch_cuda none -> 13.0."


def test_what_is_installed_is_seen_by_the_folders_of_distributions(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in ("My_Kernels-2.0.dist-info", "plain-1.0.dist-info", "old-0.1-py3.11.egg-info", "no_distribution"):
        (first / folder).mkdir(parents=True)
    (first / "My_Kernels-2.0.dist-info" / "direct_url.json").write_text(
        '{"url": "file:///k.whl", "archive_info": {"hash": "sha256=0123456789abcdef"}}'
    )
    (second / "my.kernels-1.0.dist-info").mkdir(parents=True)
    (second / "branch-3.dist-info").mkdir()
    (second / "branch-3.dist-info" / "direct_url.json").write_text('{"vcs_info": {"commit_id": "fedcba98765432100"}}')
    places = [str(tmp_path / "is_not_there"), str(first), str(second)]
    assert installed(places) == ("branch==3@fedcba987654 my-kernels==2.0@0123456789ab old==0.1 plain==1.0")
    ours = dict(one.split("==") for one in installed().split())
    assert {"torch", "numpy", "hydra-core"} <= set(ours)
    assert ours["numpy"].partition("@")[0] == importlib.metadata.version("numpy")


MODEL = """import time
import toy_pack
import torch

class Paced(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        time.sleep(toy_pack.seconds)
        return x * self.weight

    def get_example_inputs(self, batch_size=2):
        return (torch.ones(batch_size, 4),)
"""


@pytest.mark.long
def test_two_builds_of_a_package_run_side_by_side(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "XDG_CACHE_HOME"):
        monkeypatch.setitem(command.ENVIRONMENT, name, os.environ[name])
    for version, seconds in (("1.0", 0.02), ("1.1", 0.05)):
        wheel(shelf, version, f"seconds = {seconds}\n")
    (shelf / "model.py").write_text(MODEL)
    model = ["suite=user", f"suite.models=[{shelf}/model.py:Paced]", "compiler=eager", "measure=glance", "batch_size=2"]
    words = [*FAKES, *model, "rounds=3", "build=old,toy-pack==1.1", "builds.old.requirements=[toy-pack==1.0]"]
    assert "made when the sweep starts" in command.run(shelf, *words, "dry_run=true")
    said = command.run(shelf, *words)
    assert "build toy-pack==1.1 (B) against old (A)" in said
    rows = command.table(shelf, "builds")
    (ratio,) = rows[rows["metric"] == "latency_ms"]["ratio"]
    assert ratio > 1.5
    assert set(command.table(shelf, "jobs")["status"]) == {"pass"}
    again = command.start(shelf, "rerun", "latest", "--only", "build=old", "--rounds", "2")
    told, _ = again.communicate(timeout=900)
    assert again.returncode in (0, 4), told  # 4: on a busy machine it cannot be told whether it is reproduced
    assert set(command.table(shelf, "jobs")["build"]) == {"old"}
    wrong = command.run(shelf, *FAKES, *model, "build=base,toy-pack==9", code=2)
    assert "the build toy-pack==9 cannot be made" in wrong
    assert "No matching distribution found for toy-pack==9" in wrong
