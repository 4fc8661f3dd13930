"""The command as a person types it: what it plans, what it says, how it ends. Workers run in the slow tests only."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import synthetic
from support.command import FAKES, MOMENT, answer, command, orchestrator, run, said, start, table
from support.dynamobench import GOLDEN

from orchestrator.__main__ import VERBS, main
from orchestrator.errors import UsageError
from orchestrator.records import UNSUPPORTED
from orchestrator.store import SweepFolder, find_sweep

REPOSITORY = Path(__file__).parent.parent
MAIN = ["compiler=eager,inductor", "dtype=float16"]
HEAVY = {"torch", "transformers", "hydra", "pandas", "numpy", "scipy", "rich", "mlflow", "pyarrow", "yaml"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, far from the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def jobs(text: str) -> int:
    found = re.search(r"Plan: ([\d,]+) jobs?", text)
    assert found, text
    return int(found[1].replace(",", ""))


# -- one process each: how the command is started


def test_the_main_command_plans_wherever_the_flag_stands(tmp_path: Path) -> None:
    done = command("-m", *MAIN, "dry_run=true", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert jobs(done.stdout) % 9 == 0  # a reference, 2 x accuracy and 2 x 3 rounds per model
    assert "Dry run: nothing was started." in done.stdout
    for arguments in ([*MAIN], [MAIN[0], "-m", MAIN[1]], [*MAIN, "--multirun"]):
        assert answer(tmp_path, "dry_run=true", *arguments, columns=200) == (0, done.stdout, "")
    assert list(tmp_path.iterdir()) == []


def test_no_process_that_plans_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from orchestrator.__main__ import main; main(['dry_run=true', 'compiler=glob(*)']);"
        "print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Verb -> the lines of its --help at 80 columns; "imported": what is heavy and in the process after all of them."""
    code = (
        "import contextlib, io, json, sys; from orchestrator.__main__ import VERBS, main\n"
        "told = {}\n"
        "for verb in VERBS:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "        main([verb, '--help'])\n"
        "    told[verb] = out.getvalue().splitlines()\n"
        f"told['imported'] = sorted({HEAVY!r} & set(sys.modules))\n"
        "print(json.dumps(told))"
    )
    environment = {**os.environ, "COLUMNS": "80"}
    cwd = tmp_path_factory.mktemp("helps")
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, check=True)
    told: dict[str, list[str]] = json.loads(done.stdout)
    return told


def test_help_of_verbs_imports_nothing_heavy(helps: dict[str, list[str]]) -> None:
    assert helps["imported"] == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_one_screen(verb: str, helps: dict[str, list[str]]) -> None:
    assert 5 < len(helps[verb]) <= 25
    assert max(map(len, helps[verb])) <= 80


OF_VERBS = {
    "options": ("options", "compiler"),
    "report": ("report", "latest", "--csv"),
    "rerun": ("rerun", "latest", "--dry-run"),
    "diff": ("diff", "latest~1", "latest"),
    "gate": ("gate", "latest", "--against", "latest~1"),
    "bisect": ("bisect", "--help"),
    "ls": ("ls",),
    "show": ("show", "latest"),
    "history": ("history",),
    "export": ("export", "dynamobench", "-o", "csv"),
    "merge": ("merge", "latest", "latest~1", "--into", "outputs/1/{}"),
    "import": ("import", "dynamobench", str(GOLDEN), "--into", "outputs/1/{}"),
    "completion": ("completion", "zsh"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_in_a_process_of_its_own_what_it_says_in_this_one(verb: str, tmp_path: Path) -> None:
    """So other tests of what it says need no process."""
    assert verb in OF_VERBS, f"a call of `{verb}` for OF_VERBS"
    for second in ("00", "01"):
        synthetic.quick_sweep(tmp_path / "outputs" / "2026-11-21" / f"10-00-{second}").write()
    alone, here = ([word.format(place) for word in OF_VERBS[verb]] for place in "12")
    done = command(*alone, cwd=tmp_path, ORCHESTRATOR_PLUGIN_PACKAGES="fakes")
    shutil.rmtree(tmp_path / "csv", ignore_errors=True)
    code, out, err = answer(tmp_path, *here, columns=200)
    assert out
    assert (code, out.replace("outputs/1/2", "outputs/1/1"), err) == (done.returncode, done.stdout, done.stderr)


def test_the_console_script_does_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("orchestrator")
    done = subprocess.run([script, "dry_run=true"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert jobs(done.stdout) > 0


def test_a_usage_error_ends_with_2_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = command("compilr=eager", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"orchestrator: unknown key 'compilr': did you mean 'compiler'\? .*\n", done.stderr)
    assert "Traceback" in command("compilr=eager", cwd=tmp_path, ORCHESTRATOR_TRACEBACK="1").stderr
    assert list(tmp_path.iterdir()) == []


# -- in this process: what is planned


@pytest.mark.slow
def test_everything_at_once_plans_and_leaves_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["suite=huggingface", "compiler=glob(*)", "dtype=glob(*)", "mode=inference,training", "dry_run=true"]
    code, out, _ = said(capsys, *arguments)
    compilers = len(list((REPOSITORY / "conf" / "compiler").glob("*.yaml")))
    assert code == 0
    assert f"{compilers} compilers" in out
    assert "5 dtypes" in out
    assert jobs(out) > 10_000
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        # suite=tiny has 3 models; measure=performance rounds=1 is one job per compiler and workload
        (["compiler=eager"], 3),
        (["compiler=inductor"], 6),
        (["compiler=eager,inductor"], 6),
        (["compiler=eager,eager"], 3),
        (["compiler=eager", "dtype=float32,float16"], 6),
        (["compiler=eager", "dtype=glob(*float16)"], 12),
        (["compiler=eager", "batch_size=range(1,5)"], 12),
        (["compiler=eager", "dtype=float32,float16", "batch_size=1,2"], 12),
        (["compiler=eager", "dtype=float32,float16", "batch_size=1,2", "zip=[dtype,batch_size]"], 6),
        (["compiler=eager,inductor", "exclude=[{compiler:inductor,model:[bert_*,gpt2_*]}]"], 4),
        (["compiler=eager", "suite.models=[bert_tiny]"], 1),
        (["compiler=eager", "suite.filter=^(bert|t5)"], 2),
        (["compiler=eager", "suite.exclude=5"], 2),
        (["compiler=eager", "suite.models=[bert_tiny],[t5_tiny]"], 2),
        (["compiler=eager", "rounds=1,3"], 9),
        (["compiler=eager", "shard=2/3"], 1),
        (["compiler=inductor", "gate=accuracy"], 12),
        (["compiler=inductor", "compiler.options.dynamic=true,false"], 9),
        (["compiler=eager", "measure=accuracy,performance"], 9),
        # a list is an axis where its key takes one value
        (["compiler=[eager,inductor]"], 6),
        (["compiler=[inductor]"], 6),
        (["compiler=[glob(inductor_cpp*), eager]"], 6),
        (["compiler=[eager]", "dtype=[float32, float16]", "batch_size=[1,4]"], 12),
        (["compiler=eager", "measure=[accuracy,performance]"], 9),
        (["compiler=eager", "measure.options.pairs=[5,10]"], 6),
        (["compiler=inductor", "compiler.options.dynamic=[true,false]"], 9),
        (["compiler=inductor", "compiler.options.options={freezing:true},{cpp_wrapper:true}"], 9),
        (["compiler=eager", "execution.env.A=[1,2]"], 6),
        (["compiler=eager", "suite.models=[[bert_tiny],[t5_tiny,bert_tiny]]"], 2),
    ],
    ids=str,
)
@pytest.mark.usefixtures("here")
def test_sweep_syntax(arguments: list[str], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "suite=tiny", "measure=performance", "rounds=1", *arguments, "dry_run=true")
    assert (code, err, jobs(out)) == (0, "", count)


def test_experiments_of_ours_of_the_working_directory_and_of_a_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "experiments").mkdir()
    (here / "experiments" / "mine.yaml").write_text(
        "# python -m orchestrator experiment=mine\n"
        "rounds: 1\nsuite: {models: [bert_tiny]}\ndefaults: [{override /suite: tiny}]\n"
        "grids:\n"
        "  - {compiler: 'eager,inductor', measure: performance}\n"
        "  - {compiler: aot_eager, measure: accuracy, mode: training}\n"
    )
    (here / "other" / "experiment").mkdir(parents=True)
    (here / "other" / "experiment" / "theirs.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {compiler: eager, measure: performance}}}\n"
    )
    assert jobs(said(capsys, "experiment=mine", "dry_run=true")[1]) == 4
    assert jobs(said(capsys, "+experiment=mine", "dry_run=true", "measure=performance")[1]) == 4
    theirs = jobs(said(capsys, "--config-dir", "other", "experiment=theirs", "dry_run=true")[1])
    quick = jobs(said(capsys, "experiment=quick", "dry_run=true")[1])
    assert jobs(said(capsys, "+experiment=quick", "dry_run=true")[1]) == quick
    code, out, _ = said(capsys, "--config-dir", "other", "experiment=mine,theirs", "dry_run=true")
    assert (code, jobs(out)) == (0, 4 + theirs)
    (here / "sub dir").mkdir()
    (here / "experiments" / "mine.yaml").rename(here / "sub dir" / "by_path.yaml")
    line = said(capsys, "sub dir/by_path.yaml", "dry_run=true")[1].splitlines()[-2].strip()
    code, out, _ = said(capsys, *shlex.split(line)[3:], "dry_run=true")  # a row of a file that was named by its path
    assert (code, jobs(out)) == (0, 2)


@pytest.mark.usefixtures("here")
def test_flags_of_hydra(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--cfg", "job", "compiler=aot_eager", "compiler.options.dynamic=true")
    assert code == 0
    assert "backend: aot_eager\n    dynamic: true" in out
    assert "rounds: 3" in out
    assert "experiments:///" in said(capsys, "--info", "searchpath")[1]
    assert "Hydra (1.3" in said(capsys, "--hydra-help")[1]
    code, _, err = said(capsys, "--cfg", "job", "compiler=a,b")
    assert (code, "has several: choose one" in err) == (2, True)


@pytest.mark.usefixtures("here")
def test_help_is_one_screen_with_verbs_groups_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--help")
    assert code == 0
    assert len(out.splitlines()) <= 48
    for word in ("report ", "compiler ", "inductor_compiled_autograd", "dry_run=true", "resume=latest", "Exit code"):
        assert word in out


# -- what nobody foresaw


def test_a_defect_ends_with_3_and_one_message_that_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(argv: object) -> int:
        raise ZeroDivisionError("one \x1b[2Jby nought")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("ORCHESTRATOR_TRACEBACK", raising=False)
    monkeypatch.setattr("orchestrator.cli.ls.main", fails)
    assert main(["ls"]) == 3
    error = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert error.startswith("orchestrator: ZeroDivisionError: one by nought\n")
    assert str(file) in error
    assert "report it" in error
    assert "Traceback" not in error
    assert "in fails" in file.read_text()
    monkeypatch.setenv("ORCHESTRATOR_TRACEBACK", "1")
    assert main(["ls"]) == 3
    assert "in fails" in capsys.readouterr().err
    monkeypatch.setattr("orchestrator.cli.rerun.main", fails)
    with pytest.raises(ZeroDivisionError):  # a job's own, for a debugger
        main(["rerun", "--in-process"])


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (MemoryError(), "ulimit -v"),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_no_defect_of_ours(
    error: Exception, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(argv: object) -> int:
        raise error

    monkeypatch.setattr("orchestrator.cli.ls.main", refuse)
    assert main(["ls"]) == 2
    said = capsys.readouterr().err
    assert remedy in said
    assert "What is there stays valid" in said
    assert "defect" not in said


def _stopped(argv: object) -> int:
    raise KeyboardInterrupt


def _stopped_in_an_import(argv: object) -> int:
    try:
        raise KeyboardInterrupt
    finally:
        file.close()  # type: ignore[name-defined]  # noqa: F821 - as a library does that was stopped before it opened it


def _stopped_in_what_explains(argv: object) -> int:
    try:
        return _stopped_in_an_import(argv)
    except NameError as error:
        raise UsageError("a target that cannot be imported") from error


@pytest.mark.parametrize("stopped", [_stopped, _stopped_in_an_import, _stopped_in_what_explains])
def test_ctrl_c_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stopped: Callable[[object], int]
) -> None:
    monkeypatch.setattr("orchestrator.cli.ls.main", stopped)
    assert main(["ls"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize(
    "interrupted",
    [
        "exec('raise KeyboardInterrupt')",  # as dataclasses do: CPython remembers it, caught or not, where `-m` began
        "type('Folded', (), {'key': type('Key', (), {'__set_name__': lambda *_: exec('raise KeyboardInterrupt')})()})",
    ],
)
def test_ctrl_c_within_an_import_ends_with_130(tmp_path: Path, interrupted: str) -> None:
    (tmp_path / "imports.py").write_text(f"main = lambda _: {interrupted}")
    (tmp_path / "begins.py").write_text(
        "import sys; import orchestrator.__main__ as it; import imports\n"
        "it.VERBS['ls'] = ('imports', '')\n"
        "sys.exit(it.command())"
    )
    done = subprocess.run(
        [sys.executable, "-m", "begins", "ls"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compiler=inducter"], "unknown compiler 'inducter': did you mean 'inductor'"),
        (["compiler=eager,inducter"], "unknown compiler 'inducter': did you mean 'inductor'"),
        (["suite=quik"], "unknown suite 'quik': did you mean 'quick'"),
        (
            ["experiment=nope"],
            "unknown experiment 'nope': Available: gpu_acceptance, huggingface_llm, huggingface_small",
        ),
        (["roundz=2"], "unknown key 'roundz': did you mean 'rounds'"),
        (["roundz=1,2"], "unknown key 'roundz': did you mean 'rounds'"),
        (["execution.timeouts=2"], "unknown key 'execution.timeouts': did you mean 'timeout_s'"),
        (["rounds=abc"], "rounds=abc: Value 'abc' of type 'str' could not be converted to Integer"),
        (["batch_size=1,abc"], "batch_size=abc: Value 'abc'"),
        (["suite.models=bert_small"], "suite.models is a list: write suite.models=[bert_small]"),
        (["suite.models=[bert_smal]"], "no model 'bert_smal': did you mean 'bert_small'"),
        (["exclude=[{compiler:'*'}]"], "nothing to run"),
        (["exclude=[{compiler:inducter}]"], "exclude[0]: no compiler is named 'inducter': did you mean 'inductor'"),
        (["exclude=[{model:[bert_*,bert_smal]}]"], "no model is named 'bert_smal': did you mean 'bert_small'"),
        (["execution.parallel=0"], "execution.parallel=0: it must be at least 1"),
        (["exclude=[{compilr:eager}]"], "exclude[0]: unknown key 'compilr': did you mean 'compiler'"),
        (
            ["zip=[dtype,mode]", "dtype=float32,float16", "mode=inference,training,training_adamw"],
            "2, mode has 3 values",
        ),
        (["compiler=glob(zz*)"], "the sweep over 'compiler' is empty"),
        (["compiler=eager,[a"], "cannot read the override"),
        ([f"suite.models={'[' * 5000}"], "characters …"),
        (["execution.timeout_s=1e300"], "execution.timeout_s=1e+300: it must be more than 0 seconds, and at most"),
        (["measure.timeout_s=1e308"], "timeout_s=1e+308: it must be more than 0 seconds, and at most"),
        (["execution.memory_limit_gib=1e300"], "memory_limit_gib=1e+300: it must be more than 0, and at most"),
        (["suite.common.tolerance.inference=-1"], "common.tolerance.inference=-1.0: it must be a number, and at least"),
        (["hydra.mode=RUN"], "hydra.mode=RUN: it has no effect here"),
        (["hydra.run.dir=/x"], "hydra.run.dir=/x: it has no effect here"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: it has no effect here"),
        (["hydra.output_subdir=x"], "hydra.output_subdir=x: it has no effect here"),
        (["hydra.sweeper._target_=os.getcwd"], "hydra.sweeper._target_=os.getcwd: it has no effect here"),
        (["hydra.searchpath=[file:///nope]"], "hydra.searchpath: there is no folder /nope"),
        (["hydra.sweep.dir="], "hydra.sweep.dir=: name the folder"),
        (["suite.catalog={}"], "suite.catalog={}: an empty map is merged with what is there and changes nothing"),
        (["seed=010"], "seed=010: a number with a leading zero is octal in a YAML file: write seed=10"),
        (
            ["compiler.name=eager"],
            "compiler.name=eager: it chooses nothing and gives the rows another name: write compiler=eager",
        ),
        (["+mode.name=training"], "write mode=training"),
        (["measure.name=accuracy,flops"], "write measure=accuracy,flops"),
        (["suite.name=tiny"], "write suite=tiny"),
        (["compiler.name=eager", "compiler.target=orchestrator.compilers.dynamo.TorchCompile"], "give it another name"),
        (["--package", "x"], "--package goes with --cfg job"),
        (["--trust"], "--trust goes with resume=SWEEP"),
        (["report", "latest~²"], "'latest~²' does not name a sweep"),
        (["shard=6/5"], "shard=6/5"),
        (["shard=1/999999999"], "shard=1/999999999: there are 10,000 shards at most"),
        (["shard=1/99999999999999999999"], "shard=1/99999999999999999999: write <which>/<of how many>"),
        (["suite.models=[1,[1]]"], "suite.models of quick: [1] is no name of a model"),
        (["suite.models=[{a:1}]"], "suite.models of quick: {'a': 1} is no name"),
        (["suite=user", "suite.models=[a,[1]]"], "suite.models of user: [1] is no name"),
        (["zip=[[compiler,{a:1}]]", "compiler=eager,inductor"], "zip: '{'a': 1}' is not an axis of this sweep"),
        (
            ["compiler=jit_trace", "compiler.options.optimization=[1]"],
            "JitTrace: it must be one of none, freeze, optimize_for_inference",
        ),
        (["resume=latest"], "there are 0 sweeps under outputs"),
        (["resume=/nowhere"], "'/nowhere' names no sweep"),
        (["resume="], "'' names no sweep"),
        (["device.type=???"], "missing value: device.type"),
        (["hydra/launcher=joblibb"], "unknown hydra/launcher 'joblibb'"),
        (["execution.shards=2"], "needs a launcher that runs shards elsewhere"),
        (["hydra/sweeper=basic"], "hydra/sweeper"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
        (["--config-path", "x"], "--config-path is not used here"),
        (["reprot", "latest"], "unknown verb 'reprot': did you mean 'report'"),
        (["compiler=eager", "report"], "'report' is neither key=value nor, in first place, a verb"),
        (["report", "nothing"], "names no sweep"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_message_code_2_and_nothing_written(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("orchestrator: ")
    assert len(err.splitlines()) <= 3
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_message(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "outputs").write_text("a file is in the way")
    code, _, err = said(capsys, "suite=tiny", "compiler=eager")
    assert code == 2
    assert "cannot be written" in err


def test_a_suite_file_with_a_wrong_key(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "suite").mkdir()
    (here / "suite" / "mine.yaml").write_text(
        "name: mine\ntarget: orchestrator.suites.huggingface.HuggingFaceModel\ncatalog: {Bert: {batchsize: {cpu: 1}}}\n"
    )
    code, _, err = said(capsys, "--config-dir", ".", "suite=mine")
    assert code == 2
    assert "suite mine: catalog.Bert: unknown key 'batchsize': did you mean 'batch_size'" in err


# -- whole sweeps


@pytest.mark.slow
def test_a_sweep_writes_its_folder_and_resume_runs_only_what_is_missing(tmp_path: Path) -> None:
    words = ["suite=tiny", "suite.models=[bert_tiny,gpt2_tiny]", "compiler=eager", "rounds=1", *MOMENT]
    run(tmp_path, *words)
    folder = find_sweep("latest", tmp_path / "outputs")
    sweep, graph = folder.read_sweep(), folder.read_graph()
    assert [override.removeprefix("++") for override in sweep.overrides] == words
    assert sweep.points[0]["execution"]["launcher"] == "fork"
    assert sweep.environment["conf"]["0-main"]["sha256"]
    assert (folder.conf / "0-main" / "config.yaml").is_file()
    assert {"performance.csv", "summary.md"} <= {file.name for file in folder.tables.iterdir()}

    lost, *kept = [job.id for job in graph.jobs]
    folder.result_file(lost).write_text('{"cut')
    before = {job: folder.result_file(job).read_bytes() for job in kept}
    done = command("resume=latest", "execution.timeout_s=77", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of these; the others have a result" in done.stdout
    assert {job: folder.result_file(job).read_bytes() for job in kept} == before
    assert json.loads(folder.result_file(lost).read_text())["status"] == "pass"
    assert {job.timeout_s for job in folder.read_graph().jobs} == {77.0}
    assert len(list((tmp_path / "outputs").glob("*/*"))) == 1

    refused = orchestrator(tmp_path, "resume=latest", "suite=tiny", "compiler=aot_eager", code=2)
    assert "this command is not the sweep that" in refused


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_told_to_end_shows_its_table_and_ends_with_130(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, *FAKES, "suite=paced", "compiler=eager", "measure=glance", "rounds=5") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.match(r" *1/\d+ · ", line):
                process.send_signal(number)
        code = process.wait(timeout=300)
    assert code == 130, "".join(lines)
    folder = find_sweep("latest", tmp_path / "outputs")
    results = [folder.read_result(job.id) for job in folder.read_graph().jobs]
    assert 1 <= sum(result is not None for result in results) < len(results)
    assert Counter(table(tmp_path, "jobs")["status"]) == Counter(
        "not_run" if result is None else "pass" for result in results
    )
    assert any("resume=" in line for line in lines)


def test_two_sweeps_of_the_same_second_have_two_folders(tmp_path: Path) -> None:
    taken = SweepFolder(tmp_path / "fixed" / "name")
    taken.root.mkdir(parents=True)
    orchestrator(
        tmp_path, *FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=1",
        "++suite.catalog.one.skip=[{reason:known,compiler:eager}]", f"hydra.sweep.dir={taken.root}"
    )  # fmt: skip
    assert list(taken.root.iterdir()) == []
    made = SweepFolder(taken.root.with_name("name-1"))
    (job,) = made.read_graph().jobs
    assert made.read_status(job.id) == UNSUPPORTED
    assert not (tmp_path / "outputs").exists()


def test_a_dry_run_prints_a_command_for_each_row_that_plans_it_alone(tmp_path: Path) -> None:
    sweep = ("suite=tiny", "suite.models=[bert_tiny,gpt2_tiny]", "compiler=inductor,aot_eager", "batch_size=1,2")
    printed = orchestrator(tmp_path, *sweep, "compiler.options.dynamic=true", "dry_run=true")
    lines = [line.strip() for line in printed.splitlines() if line.strip().startswith("python -m orchestrator ")]
    assert len(lines) == len(set(lines)) == 2 * 2 * (2 * 2 + 1)  # models, sizes; measures of the compilers, and eager
    for line in lines[:: len(lines) // 3]:
        alone = orchestrator(tmp_path, *shlex.split(line)[3:], "dry_run=true")
        assert line in alone
        assert jobs(alone) <= 8  # its rounds, eager's, a reference


@pytest.mark.parametrize(
    ("fraction", "message"),
    [("1.5", "it must be more than 0, and at most 1"), ("0.5", "no job of this sweep runs on CUDA")],
)
def test_a_memory_fraction_is_a_gpus(fraction: str, message: str, tmp_path: Path) -> None:
    asked = ("suite=tiny", "device=cpu", f"execution.memory_fraction={fraction}", "dry_run=true")
    code, _, error = answer(tmp_path, *asked)
    assert code == 2
    assert message in " ".join(error.split())
