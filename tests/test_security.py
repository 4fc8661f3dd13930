"""Reading a sweep that someone sent runs nothing of it, and writes nothing outside of it: the list is docs/security.md.

What is claimed of the whole command is asked of the operating system: `audit` sees every import, file, process and
connection of the real command.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import hostile, synthetic
from support.audit import Audit
from support.command import ENVIRONMENT, FAKES, answer, latest
from support.command import orchestrator as told
from support.hostile import PAYLOAD, rewrite
from support.once import once

import orchestrator
from orchestrator import limits
from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.execution.ownership import claim, is_own
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import run_shard
from orchestrator.planning.trust import would_run
from orchestrator.records import JobResult, PluginSpec, Verdict
from orchestrator.store import SweepFolder

ROOT = Path(orchestrator.__file__).parent
READERS = ("report", "diff", "history", "ls", "show", "gate", "export")


def verbs(folder: SweepFolder, away: Path) -> list[list[str]]:
    """Return a command line of every verb that reads, in every form that it has, on one folder."""
    place, job = str(folder), folder.read_graph().jobs[3].id
    baseline = str(away / "baseline.json")
    forms = ("--json", "--md", "--csv")
    lines = [["report", place], ["report", place, "--html", str(away / "page.html")]]
    lines += [["report", place, form] for form in forms]
    lines += [["show", place], ["show", f"{place}:{job}", "--log"], ["show", f"{place}:{job}", "--json"]]
    lines += [
        ["show", place, "--only", "model=B*"],
        ["show", place, "--csv"],
        ["ls", "--root", str(folder.root.parents[1])],
    ]
    lines += [["gate", place, "--against", baseline, "--accept", "--force"], ["gate", place, "--against", baseline]]
    lines += [["gate", place, "--against", place, "--junit", str(away / "junit.xml")], ["diff", place, place, "--all"]]
    lines += [
        ["diff", place, baseline],
        ["diff", place, place, place, "--md"],
        ["diff", f"{place}:{job}", f"{place}:{job}"],
    ]
    lines += [
        ["history", "--root", str(folder.root.parents[1]), "--svg", str(away / "history.svg")],
        ["history", baseline],
    ]
    for name in ("dynamobench", "parquet", "plots"):
        lines.append(["export", name, "-o", str(away / name), place])
    lines.append(["export", "hud", "-o", str(away / "hud.json"), place])
    lines.append(["export", "mlflow", "-o", f"sqlite:///{away}/mlflow.db", place])
    lines.append(["import", "dynamobench", str(away / "dynamobench"), "--into", str(away / "imported")])
    return lines


# -- reading runs nothing


def test_reading_a_sweep_runs_and_imports_nothing_of_it(tmp_path: Path) -> None:
    """Every verb that reads, on a folder whose classes are in a module that lies in it, is allowed, and on the path."""
    folder = hostile.sweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    away = tmp_path / "away"
    away.mkdir()
    audit = Audit(tmp_path / "audit.log")
    environment = audit.environment(
        ORCHESTRATOR_PLUGIN_PACKAGES=PAYLOAD, PYTHONPATH=str(folder), EVIL_WITNESS=str(tmp_path / "witness")
    )
    for name in hostile.SHADOWS:  # those are for the next test: here the folder itself is on the path
        (folder.root / f"{name}.py").unlink()
    lines = verbs(folder, away)
    done = subprocess.run(
        [sys.executable, "-m", "fakes.verbs", json.dumps(lines)],
        cwd=away,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    codes = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("exit code ")]
    assert done.returncode == 0, done.stderr
    assert {line[0] for line in lines} >= set(READERS)
    assert len(codes) == len(lines)
    assert set(codes) <= {"0", "1"}, done.stdout + done.stderr
    assert not (tmp_path / "witness").exists()
    assert audit.imported(PAYLOAD) == []
    assert audit.imported("torch") == []
    assert audit.code_run_from(folder.root) == []
    assert audit.events("os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.getaddrinfo") == []
    assert [found for found in audit.events("pickle.find_class") if not _of_a_package(found)] == []
    written = audit.written()
    temporary = (str(tmp_path), "/dev/null", tempfile.gettempdir())
    assert [path for path in written if os.path.isabs(path) and not path.startswith(temporary)] == []
    in_sweep = {os.path.relpath(path, folder.root).split(os.sep)[0] for path in written if str(folder.root) in path}
    assert {name for name in in_sweep if not name.startswith(".report.html.")} <= {"tables", "report.html"}


def _of_a_package(found: tuple[str, tuple[Any, ...]]) -> bool:
    """Libraries unpickle data of their own, which is installed with them."""
    return str(found[1][0]).partition(".")[0] in {"numpy", "collections", "datetime", "copyreg", "builtins"}


def test_the_audit_sees_what_it_is_there_to_see(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.log")
    (tmp_path / f"{PAYLOAD}.py").write_text(hostile.BODY)
    code = f"import os, pickle, {PAYLOAD}; os.system('true'); pickle.loads(pickle.dumps(os.getcwd)); open('new', 'w')"
    environment = audit.environment(PYTHONPATH=str(tmp_path), EVIL_WITNESS=str(tmp_path / "witness"))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert audit.imported(PAYLOAD) == [PAYLOAD]
    assert audit.code_run_from(tmp_path)
    assert len(audit.events("os.system")) == 1
    assert audit.events("pickle.find_class") == [("pickle.find_class", ("posix", "getcwd"))]
    assert {"new", str(tmp_path / "witness")} <= set(audit.written())


@pytest.mark.parametrize("started", ["module", "script"])
def test_modules_in_the_working_directory_are_not_imported(tmp_path: Path, started: str) -> None:
    """`cd` into a folder that someone sent, and look at it."""
    folder = hostile.sweep(tmp_path / "sweep")
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent), "EVIL_WITNESS": str(tmp_path / "witness")}
    script = Path(sys.executable).with_name("orchestrator")
    if started == "script" and not script.exists():
        pytest.skip("orchestrator is not installed in this environment")
    command = [sys.executable, "-m", "orchestrator"] if started == "module" else [str(script)]
    for arguments in (["report", "."], ["show", "."], ["rerun", "."]):
        done = subprocess.run(
            [*command, *arguments], cwd=folder.root, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "witness").exists()


def test_no_module_of_ours_unpickles_evaluates_or_starts_a_shell() -> None:
    """Of the tree itself: what a linter's rule can be told to ignore, a test finds."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            elif isinstance(node, ast.Call):
                names = [f"{ast.unparse(node.func)}()"]
                names += ["shell"] * any(word.arg == "shell" for word in node.keywords)
            found += [f"{file.relative_to(ROOT)}: {name}" for name in names if name in FORBIDDEN]
    assert found == [
        "api/models.py: cloudpickle",  # writes what a notebook gives to `compare`; only a job reads it
        *("suites/saved.py: pickle", "suites/saved.py: torch.load()"),  # what a file of the user's names, in a job
        *("suites/user.py: exec()", "suites/user.py: compile()"),  # the file that a user names
    ]


FORBIDDEN = (
    {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch.load()", "numpy.load()"}
    | {"np.load()", "eval()", "exec()", "compile()", "os.system()", "os.popen()", "subprocess.getoutput()", "shell"}
    | {"yaml.unsafe_load()", "yaml.full_load()"}
)


# -- what stays inside


BAD_IDS = ("../../outside", "/tmp/outside", "", ".", "a/b", "A" * 16, "0" * 16 + "\n", "0" * 65, "..", "%2e%2e")


def test_exported_batch_sizes_stay_in_their_folder_and_are_no_other_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A suite that is called as a path, and a text in the file's header that goes on in lines of its own."""
    made = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    for suite in ("../../outside/evil", str(tmp_path / "absolute")):
        spec = synthetic.job(synthetic.workload("Bert", suite=suite), "eager", "largest_batch")
        spec = dataclasses.replace(
            spec, measure=PluginSpec(name="largest_batch", target="orchestrator.measures.largest_batch.LargestBatch")
        )
        source = "x\n# @package _global_\nhydra: {callbacks: {x: {_target_: os.system, command: 'false'}}}\n#\x1b[2J"
        row = {"largest_batch_size": 8, "bounded_by": source, "memory_budget_bytes": 1, "memory_budget_source": source}
        facts = {"findings": {"largest_batch": [row]}}
        made.add(spec, JobResult(job_id=spec.id, status="pass", facts=facts, started=1000.0, ended=1001.0))
    (tmp_path / "outside").mkdir()
    place = tmp_path / "my_conf"
    assert main(["export", "batch_sizes", "-o", str(place), str(made.write())]) == 0
    assert list((tmp_path / "outside").iterdir()) == []
    assert list(tmp_path.glob("*.yaml")) == []
    files = sorted((place / "suite").iterdir())
    assert len(files) == 2
    for file in files:
        document = yaml.safe_load(file.read_text())
        assert sorted(document) == ["catalog", "defaults", "name"]
        assert "\n# @package" not in file.read_text()
    assert [one for one in capsys.readouterr().out if not one.isprintable() and one != "\n"] == []


@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_cannot_leave_the_folder(tmp_path: Path, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hostile.sweep(tmp_path / "sweep")

    def change(plan: Any) -> None:
        plan["jobs"][0]["id"] = bad

    rewrite(folder.plan_file, change)
    before = sorted(tmp_path.iterdir())
    for arguments in (
        ["report", str(folder)],
        ["show", str(folder)],
        ["rerun", str(folder)],
        ["gate", str(folder), "--against", str(folder)],
    ):
        assert main(arguments) == 2
    assert "no id of a job" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    for path in (folder.job, folder.log_file, folder.reference, folder.cache, folder.result_file):
        with pytest.raises(ValueError, match="no id of a job"):
            path(bad)


def test_needs_cannot_leave_the_folder_either(tmp_path: Path) -> None:
    folder = hostile.sweep(tmp_path / "sweep")
    rewrite(folder.plan_file, lambda plan: plan["jobs"][1].update(needs=[["../../outside", "reference"]]))
    with pytest.raises(UsageError, match="no id of a job"):
        folder.read_graph()


SECRET = "the content of a private file"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return file


def link(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


PLACES_READ: dict[str, Callable[[SweepFolder], Path]] = {
    "a log": lambda folder: folder.log_file(folder.read_graph().jobs[3].id),
    "a result": lambda folder: folder.result_file(folder.read_graph().jobs[0].id),
    "a job": lambda folder: folder.job(folder.read_graph().jobs[0].id),
    "jobs": lambda folder: folder.jobs,
    "conf": lambda folder: folder.conf / "secret.yaml",
    "plan": lambda folder: folder.plan_file,
    "header": lambda folder: folder.sweep_file,
    "tables": lambda folder: folder.tables,
    "the page": lambda folder: folder.page,
}


@pytest.mark.parametrize("place", PLACES_READ)
def test_nothing_is_read_or_written_through_a_link(
    tmp_path: Path, secret: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that is a link to a private file would stand in the report, and the report is sent back."""
    folder = hostile.sweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    job = folder.read_graph().jobs[3].id
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = PLACES_READ[place](folder)
    link(target, elsewhere if target.is_dir() or place == "tables" else secret)
    name = str(folder)
    for arguments in (
        ["report", name],
        ["show", f"{name}:{job}", "--log"],
        ["diff", name, name],
        ["gate", name, "--against", name],
        ["rerun", name, "--trust"],
        ["export", "mlflow", "-o", str(tmp_path / "runs"), name],
        [f"resume={name}", "--trust"],
    ):
        assert main(arguments) == 2, arguments
    assert main(["ls", "--root", str(tmp_path / "outputs")]) == 0
    assert main(["history", "--root", str(tmp_path / "outputs")]) in (0, 1, 2)
    said = capsys.readouterr()
    assert "is a symbolic link" in said.err
    assert SECRET not in said.out + said.err
    assert secret.read_text() == SECRET
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "runs").exists()


def _in_job(name: str) -> Callable[[SweepFolder], Path]:
    return lambda folder: folder.job(folder.read_graph().jobs[4].id) / name


PLACES: dict[str, Callable[[SweepFolder], Path]] = {
    "lock": lambda folder: folder.lock,
    "jobs": lambda folder: folder.jobs,
    "references": lambda folder: folder.references,
    "caches": lambda folder: folder.caches,
    "a job": lambda folder: folder.job(folder.read_graph().jobs[4].id),
    "a log": _in_job("log.txt"),
    "artifacts": _in_job("artifacts"),
    "a reference": lambda folder: folder.reference(folder.read_graph().jobs[4].id),
    "a cache": lambda folder: folder.cache(folder.read_graph().jobs[4].family),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_sweep_with_a_link_is_not_resumed(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = hostile.sweep(tmp_path / "sweep")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "0123456789abcdef.removed").mkdir()
    (mine / "file").write_text("mine")
    target = PLACES[place](folder)
    target.parent.mkdir(exist_ok=True)
    link(target, mine / "file" if place in ("lock", "a log") else mine)
    assert main([f"resume={folder}", "--trust"]) == 2
    assert "symbolic link" in capsys.readouterr().err
    assert sorted(file.name for file in mine.iterdir()) == ["0123456789abcdef.removed", "file"]
    assert (mine / "file").read_text() == "mine"


def test_a_pipe_does_not_make_a_reader_wait(tmp_path: Path) -> None:
    lines = [["ls", "--root", str(tmp_path / "outputs")]]
    for folder, job, file in of_each(tmp_path, ["result.json", "log.txt", "lock", "plan.json", "sweep.json"]).values():
        file.unlink(missing_ok=True)
        os.mkfifo(file)
        place = str(folder)
        lines += [["report", place], ["show", f"{place}:{job}", "--log"]]
        lines += [["gate", place, "--against", place], ["rerun", place, "--trust"], [f"resume={place}", "--trust"]]
    done = subprocess.run(
        [sys.executable, "-m", "fakes.verbs", json.dumps(lines)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_rerun_copies_configuration_and_nothing_else(tmp_path: Path) -> None:
    from orchestrator.planning.provenance import copy_stored_conf

    folder = hostile.sweep(tmp_path / "sweep")
    (folder.conf / "large.yaml").write_bytes(b"#" * (2 << 20))
    (folder.conf / "program.py").write_text("")
    copy_stored_conf(folder.conf, tmp_path / "copy")
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["config.yaml"]


# -- sizes


def limited(bytes_: int) -> Callable[[], None]:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))

    return limit


def sparse(path: Path, size: int = 4 << 30) -> None:
    """Make a file that has no blocks on the disk, and as many bytes as it likes."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def of_each(root: Path, names: Sequence[str]) -> dict[str, tuple[SweepFolder, str, Path]]:
    """Write a sweep for each name of a file; return name -> the sweep, a job that failed, the path of such a file."""
    found = {}
    for number, name in enumerate(names):
        folder = hostile.sweep(root / "outputs" / "2026-01-01" / f"10-00-0{number}")
        job = folder.read_graph().jobs[3].id
        whole = name in ("lock", "plan.json", "sweep.json")
        found[name] = (folder, job, folder.root / name if whole else folder.job(job) / name)
    return found


def test_large_files_are_not_read_whole(tmp_path: Path) -> None:
    """Four gigabytes each, in a process that may have two."""
    found = of_each(tmp_path, ["result.json", "job.json", "log.txt", "plan.json", "sweep.json"])
    lines = [["ls", "--root", str(tmp_path / "outputs")]]
    for folder, job, file in found.values():
        sparse(file)
        lines += [["report", str(folder)], ["show", f"{folder}:{job}"], ["show", f"{folder}:{job}", "--json"]]
        lines += [["export", "mlflow", "-o", str(tmp_path / "runs"), str(folder)]]
    done = subprocess.run(
        [sys.executable, "-m", "fakes.verbs", json.dumps(lines)],
        cwd=tmp_path,
        env={**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limited(2 << 30),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told = found["result.json"][0].tables.joinpath("jobs.csv").read_text()
    assert f"it has more than {limits.RESULT:,} bytes" in told
    for most in (limits.PLAN, limits.HEADER):
        assert f"it has more than {most:,} bytes" in done.stderr


def test_a_small_plan_cannot_become_large_tables(tmp_path: Path) -> None:
    """A model's name of a megabyte, or options, and a thousand jobs that refer to them."""
    folder = hostile.sweep(tmp_path / "sweep")
    plan = json.loads(folder.plan_file.read_text())
    key = next(key for key, record in plan["records"].items() if "builder" in record)
    for change, message in (({"suite": "x" * 1_000_000}, "characters"), ({"dtype": "y" * 2000}, "name of a dtype")):
        records = {**plan["records"], key: {**plan["records"][key], **change}}
        folder.plan_file.write_text(json.dumps({**plan, "records": records}))
        with pytest.raises(UsageError, match=message):
            folder.read_graph()
    options = {"name": "c", "target": "a.b", "options": {"x": "y" * 200_000}}
    jobs = [{**plan["jobs"][0], "id": f"{number:016x}", "compiler": "large", "needs": []} for number in range(12_000)]
    folder.plan_file.write_text(json.dumps({**plan, "records": {**plan["records"], "large": options}, "jobs": jobs}))
    with pytest.raises(UsageError, match="in a table, over"):
        folder.read_graph()


def test_a_result_is_cut_to_what_a_table_can_hold_or_refused(tmp_path: Path) -> None:
    """A message of 7 MB, which took half a minute to wrap; samples of two thousand metrics."""
    folder = hostile.sweep(tmp_path / "sweep")
    job = folder.read_graph().jobs[3].id
    long = "x" * (7 << 20)
    rewrite(folder.result_file(job), lambda result: result["failure"].update(message=long))
    begun = time.process_time()
    assert main(["report", str(folder)]) == 1
    assert main(["show", f"{folder}:{job}"]) == 0
    assert main(["diff", str(folder), str(folder), "--all"]) == 0
    assert time.process_time() - begun < 20.0
    result = folder.read_result(job)
    assert isinstance(result, JobResult)
    assert result.failure is not None
    assert len(result.failure.message) == limits.MESSAGE + 1
    one = {"metric": "m", "unit": "s", "better": "lower", "values": [1.0]}
    rewrite(folder.result_file(job), lambda result: result.update(samples=[one] * 2000))
    assert "metrics" in str(folder.read_result(job))


# -- whose sweep is it


def test_a_folder_is_ones_own_wherever_it_is_until_plan_or_header_change(tmp_path: Path) -> None:
    folder = hostile.sweep(tmp_path / "sweep")
    assert not is_own(folder)
    claim(folder)
    assert is_own(folder)
    assert is_own(SweepFolder(folder.root / ".." / "sweep"))
    moved = SweepFolder(tmp_path / "moved")
    folder.root.rename(moved.root)
    assert is_own(moved)
    for file in (moved.plan_file, moved.sweep_file):
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert not is_own(moved)
        file.write_bytes(content)
        assert is_own(moved)
    moved.owner.write_text("0" * 64)
    assert not is_own(moved)


def test_another_users_folder_is_not_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made it has signed it, with another key."""
    folder = hostile.sweep(tmp_path / "sweep")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    claim(folder)
    assert is_own(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    assert not is_own(folder)
    claim(hostile.sweep(tmp_path / "another"))
    assert not is_own(folder)
    (tmp_path / "theirs" / "orchestrator" / "key").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    assert not is_own(folder)


def test_where_no_key_can_be_written_every_sweep_is_someone_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("")
    folder = hostile.sweep(tmp_path / "sweep")
    claim(folder)
    assert not is_own(folder)


def test_the_key_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    claim(hostile.sweep(tmp_path / "sweep"))
    key = tmp_path / "state" / "orchestrator" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert [file.name for file in key.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("own", [False, True])
def test_compile_caches_that_lie_in_a_folder_are_removed_before_anything_runs(tmp_path: Path, own: bool) -> None:
    """They hold pickles and shared libraries; one's own folder may have been away and come back with others in it."""
    made = synthetic.SyntheticSweep(tmp_path)
    job = made.add(synthetic.job("Bert", "inductor", verdict=Verdict(status="unsupported", reason="gone")))
    folder = made.write()
    poison = folder.cache(job.family) / "inductor" / "poison"
    poison.parent.mkdir(parents=True)
    poison.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    if own:
        claim(folder)
    run_shard(str(folder), 0, 1, Settings(keep_caches=True))
    assert not poison.exists()


def test_what_a_job_left_besides_its_log_is_gone_when_it_runs_again(tmp_path: Path) -> None:
    from fakes.sweeps import make_job, write_sweep
    from fakes.sweeps import run as run_fakes

    store, job = SweepFolder(tmp_path), make_job("a")
    write_sweep(store, [job])
    (store.artifacts(job.id)).mkdir(parents=True)
    (store.artifacts(job.id) / "model.so").write_text("theirs")
    run_fakes(store, [job])
    assert not store.artifacts(job.id).exists()


# -- what a stored sweep would run


def _with(options: dict[str, Any], target: str = "orchestrator.compilers.dynamo.TorchCompile") -> Any:
    return synthetic.job("Bert", PluginSpec(name="c", target=target, options=options))


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "PYTHONPATH", "ORCHESTRATOR_PLUGIN_PACKAGES", "OMP_NUM_THREADS"])
def test_every_variable_is_shown(variable: str) -> None:
    (first, *_) = would_run([synthetic.job("Bert", "inductor", env={variable: "/tmp/x"})], False)
    assert first == f"the environment variable {variable}='/tmp/x'"


@pytest.mark.parametrize(
    "options",
    [
        {"options": {"cpp.cxx": [None, "/tmp/evil"]}},
        {"options": {"trace.enabled": True}},
        {"options": {"fx_graph_remote_cache": True}},
        {"backend": "../evil.py:compile"},
        {"backend": "package.module:compile"},
    ],
    ids=str,
)
def test_every_class_is_shown_with_its_options(options: dict[str, Any]) -> None:
    shown = would_run([_with(options)], False)
    assert f"compiler 'c': orchestrator.compilers.dynamo.TorchCompile {json.dumps(options)}" in shown


def test_what_is_unusual_stands_above_a_hundred_models_of_a_kind() -> None:
    jobs = [synthetic.job(f"M{number}", "inductor") for number in range(100)]
    shown = would_run([*jobs, _with({"model": "evil.py:Net"}, "orchestrator.suites.user.UserModel")], True)
    assert shown[0] == "the network (online=true)"
    assert any("evil.py:Net" in phrase for phrase in shown[:6])


def test_the_network_is_shown() -> None:
    job = synthetic.job("Bert", "inductor")
    assert set(would_run([job], True)) - set(would_run([job], False)) == {"the network (online=true)"}


def test_nothing_is_imported_to_show_what_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hostile.sweep(tmp_path / "sweep")
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", PAYLOAD)
    monkeypatch.syspath_prepend(str(folder))
    assert any(PAYLOAD in phrase for phrase in would_run(folder.read_graph().jobs, False))
    assert PAYLOAD not in sys.modules


# -- asking


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a small sweep whose jobs have a variable of their own."""
    words = (*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=1")
    return once(tmp_path_factory, "swept", lambda place: told(place, *words, "execution.env.ANYTHING=x"))


def said(cwd: Path, *arguments: str) -> str:
    """Run a rerun; return what it says. Whether a figure of a moment is reproduced is not asked here."""
    code, out, err = answer(cwd, *arguments)
    assert code in (0, 1, 4), out + err
    return out


def _copy(swept: Path, there: Path) -> SweepFolder:
    """Return the sweep as if someone else had made it: signed with their key. It lacks its result."""
    folder = SweepFolder(there / "received")
    shutil.copytree(latest(swept).root, folder.root)
    folder.owner.write_text("0" * 64)
    (job,) = folder.read_graph().jobs
    folder.result_file(job.id).unlink()
    return folder


@pytest.mark.slow
def test_a_sweep_that_someone_sent_is_not_run_without_trust(swept: Path, tmp_path: Path) -> None:
    folder = _copy(swept, tmp_path)
    for arguments in ([f"resume={folder}"], ["rerun", str(folder)], ["rerun", str(folder), "--json"]):
        refused = told(tmp_path, *arguments, code=2)
        assert "was not made by you" in refused
        assert "the environment variable ANYTHING='x'" in refused
        assert "--trust" in refused
        assert not (tmp_path / "outputs").exists()
    assert "needs --trust" in told(tmp_path, "rerun", str(folder), "--dry-run")
    assert "needs --trust" in told(tmp_path, f"resume={folder}", "dry_run=true")
    told(tmp_path, f"resume={folder}", "--trust")
    assert "1 of its 1 jobs" in said(tmp_path, "rerun", str(folder), "--trust")
    assert "1 of its 1 jobs" in said(tmp_path, "rerun", "latest")  # that folder was made here


def test_switches_that_make_torch_write_beside_the_job_are_asked_about_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They name no folder: a list of what is dangerous did not have them, and torch_compile_debug/ was written here."""
    options = {"options": {"trace.enabled": True, "save_args": True}, "dynamo": {"replay_record_enabled": True}}
    sent = synthetic.SyntheticSweep(tmp_path / "received")
    sent.add(_with(options))
    folder = sent.write()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for arguments in (["rerun", str(folder.root)], [f"resume={folder.root}"]):
        assert main(arguments) == 2
        asked = capsys.readouterr().err
        assert "was not made by you" in asked
        assert "trace.enabled" in asked
        assert "replay_record_enabled" in asked
    assert list((tmp_path / "here").iterdir()) == []
    assert not folder.jobs.exists() or list(folder.jobs.rglob("log.txt")) == []


@pytest.mark.slow
def test_ones_own_sweep_is_resumed_and_rerun_without_a_question(swept: Path, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "own")
    shutil.copytree(latest(swept).root, folder.root)
    (job,) = folder.read_graph().jobs
    folder.result_file(job.id).unlink()
    told(tmp_path, f"resume={folder}")
    told(tmp_path, f"resume={folder}", "execution.retries=2")
    told(tmp_path, f"resume={folder}")
    moved = tmp_path / "moved"
    shutil.copytree(folder.root, moved)
    assert "1 of its 1 jobs" in said(tmp_path, "rerun", str(moved))


@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\n", 2), ("y\n", 0)])
def test_a_person_at_a_terminal_is_asked(swept: Path, tmp_path: Path, answer: str, code: int) -> None:
    import pty

    folder = _copy(swept, tmp_path)
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", f"resume={folder}"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    assert process.wait(timeout=300) == code
    assert b"Run it with all that your account may do? [y/N]" in said
    assert b"ANYTHING='x'" in said
    (job,) = folder.read_graph().jobs
    assert folder.result_file(job.id).exists() is (code == 0)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end was closed
        return b""


def test_a_stored_command_line_is_composed_again_only_with_trust(tmp_path: Path) -> None:
    """A Hydra callback is a class that its configuration names: whoever writes the configuration runs code."""
    witness = tmp_path / "witness"
    folder = hostile.sweep(tmp_path / "sweep")
    evil = f"+hydra.callbacks.x={{_target_:pathlib.Path.touch,self:{witness}}}"

    def change(header: Any) -> None:
        header["argv"] = [evil, "hydra/launcher=joblib"]
        header["points"] = [{"execution": {"shards": 2}}]

    rewrite(folder.sweep_file, change)
    for more in ([], ["dry_run=true"]):
        said = told(tmp_path, f"resume={folder}", *more, code=2)
        assert "the configuration that its command line names" in said
    assert not witness.exists()


# -- the network


def test_workers_are_offline_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from fakes.sweeps import make_job

    for value in ("0", "1", ""):
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert worker_environment()["HF_HUB_OFFLINE"] == "1"
        assert worker_environment(online=True)["HF_HUB_OFFLINE"] == "0"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert worker_environment()["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in job_environment(Path("x"), Path("y"), make_job("a"))


@pytest.mark.slow
def test_online_is_a_setting_of_the_sweep_and_no_part_of_a_job(tmp_path: Path) -> None:
    common = [*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=1"]
    ids = set()
    for online, expected in (("false", "1"), ("true", "0")):
        place = tmp_path / online
        place.mkdir()
        told(place, *common, f"online={online}")
        folder = latest(place)
        (job,) = folder.read_graph().jobs
        result = folder.read_result(job.id)
        assert result.environment["variables"]["HF_HUB_OFFLINE"] == expected  # type: ignore[union-attr]
        ids.add(job.id)
    assert len(ids) == 1
    assert "cannot be swept" in told(tmp_path, *common, "online=true,false", code=2)


@pytest.mark.slow
def test_a_real_accuracy_job_makes_no_connection_and_unpickles_only_its_own_cache(tmp_path: Path) -> None:
    """Reference and accuracy with inductor, in watched workers."""
    audit = Audit(tmp_path / "audit.log")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "orchestrator",
            *FAKES,
            "suite=perceptrons",
            "suite.models=[one]",
            "compiler=inductor",
            "measure=accuracy",
        ],
        cwd=tmp_path,
        env=audit.environment(ORCHESTRATOR_PLUGIN_PACKAGES="fakes"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert audit.imported("torch._inductor")
    assert audit.events("socket.connect", "socket.getaddrinfo", "socket.sendto") == []
    classes = {f"{arguments[0]}.{arguments[1]}" for _, arguments in audit.events("pickle.find_class")}
    assert {
        name
        for name in classes
        if not name.startswith(("torch", "collections", "builtins", "sympy", "_codecs", "copyreg"))
    } == set()
    opened = [str(arguments[0]) for _, arguments in audit.events("open")]
    in_references = [path for path in opened if "/references/" in path]
    folders = [path for path in in_references if Path(path).suffix in ("", ".removed")]  # opened to be emptied
    # safetensors reads and writes tensors itself: nothing of Python's, and so no pickle, opens a file there
    of_tensors = [path for path in in_references if path not in folders and Path(path).name != "reference.json"]
    assert of_tensors == []


# -- what goes out

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eX"


def with_escapes(value: Any) -> Any:
    """Return a JSON value with an escape sequence in every text of it that is not compared with others."""
    if isinstance(value, dict):
        return {key: item if key in KEPT else with_escapes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_escapes(item) for item in value]
    return value + ESCAPE if isinstance(value, str) else value


KEPT = ("id", "job_id", "status", "schema", "device", "kind", "launcher", "needs", "workload", "compiler", "measure")


def test_no_text_of_a_sweep_reaches_the_terminal_as_an_escape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In results, plan, header, log and lock, and in names of files and folders."""
    folder = hostile.sweep(tmp_path / "outputs" / "2026-01-01" / f"10{ESCAPE}")
    jobs = folder.read_graph().jobs
    baseline = tmp_path / "away"
    baseline.mkdir()
    lines = verbs(folder, baseline)[:-1]  # its `import` has nothing to read
    rewrite(folder.sweep_file, with_escapes)
    rewrite(folder.plan_file, lambda plan: {**plan, "records": with_escapes(plan["records"])})
    for job in jobs:
        if folder.result_file(job.id).exists():
            rewrite(folder.result_file(job.id), with_escapes)
        folder.job(job.id).mkdir(exist_ok=True)
        folder.log_file(job.id).write_text(f"before {ESCAPE} after\n")
        (folder.job(job.id) / f"file{ESCAPE}").write_text("")
    folder.lock.write_text(ESCAPE)
    for arguments in lines:
        assert main(arguments) in ((0, 2) if arguments[0] == "export" else (0, 1)), arguments
        quiet(capsys, arguments)
    for arguments in (["rerun", str(folder), "--dry-run"], ["rerun", str(folder)], [f"resume={folder}"]):
        assert main(arguments) in (0, 2), arguments
        quiet(capsys, arguments)


def quiet(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    said = capsys.readouterr()
    strange = [character for character in said.out + said.err if not character.isprintable() and character != "\n"]
    assert strange == [], arguments
