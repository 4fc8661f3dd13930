"""`show`: everything about a sweep or one job of it, and nothing that a log says can control the terminal."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import FAKES, answer, orchestrator, said

from orchestrator.execution import lock
from orchestrator.records import Failure, JobResult, JobSpec, Need, PluginSpec, Samples
from orchestrator.results import details
from orchestrator.store import JobGraph, SweepFolder
from orchestrator.views.job import LEVELS, sparkline

ENVIRONMENT = {
    "host": "box",
    "cpu": "Test CPU",
    "cores": 8,
    "packages": {"torch": "2.13.0"},
    "git": {"commit": "ab" * 20, "changed": ["a.py"]},
}
POINT = {"rounds": 3, "compiler": {"name": "inductor"}, "execution": {"launcher": "fork", "timeout_s": 60.0}}


@dataclasses.dataclass
class Made:
    """A sweep below outputs/ in the working directory, and its jobs by what they are for."""

    folder: SweepFolder
    eager: JobSpec
    fast: JobSpec
    crashed: JobSpec
    victim: JobSpec
    wrong: JobSpec
    waiting: JobSpec


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    eager = sweep.performance("Bert", "eager", latency=0.1)
    fast = sweep.performance(
        "Bert",
        synthetic.compiler("inductor", backend="inductor", dynamic=True),
        baseline=eager,
        latency=[0.05, 0.06, 0.07, 0.08],
        pairs=[(0.1, 0.05)] * 8,
        disturbed=["other processes used 0.62 cores (over 0.1)"],
        counters={"graphs": 3, "graph_breaks": 2},
    )
    crashed = synthetic.job("T5", "inductor")
    sweep.add(crashed, synthetic.failed_result(crashed, "crash", "killed by SIGSEGV"))
    victim = synthetic.job("T5", "inductor", round=1, needs=[Need(job=crashed.id, kind="round")])
    failure = Failure(kind="dependency", phase="", message="needs 'T5', which ended with crash")
    sweep.add(victim, JobResult(job_id=victim.id, status="crash", failure=failure, started=1000.0, ended=1000.0))
    wrong = sweep.accuracy("Bert", "inductor", status="fail_accuracy", reason="1 of 2 tensors are wrong", error=0.5)
    waiting = sweep.add(synthetic.job("GPT", "inductor"))
    folder = sweep.write()
    stored = dataclasses.replace(
        folder.read_sweep(),
        argv=("compiler=eager,inductor", "suite.models=[Bert, T5]"),
        points=(POINT, {**POINT, "rounds": 5}),
        environment=ENVIRONMENT,
        created=1_700_000_000.0,
        origin="/elsewhere/outputs/2025-12-31/09-00-00",
    )
    folder.write_plan(stored, folder.read_graph())
    return Made(folder, eager, fast, crashed, victim, wrong, waiting)


def change(made: Made, job: JobSpec, **changes: Any) -> None:
    """Write a job's result with other fields."""
    result = made.folder.read_result(job.id)
    assert isinstance(result, JobResult)
    made.folder.write_result(dataclasses.replace(result, **changes))


def tables(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[dict[str, Any]]]:
    code, out, err = said(capsys, "show", *arguments, "--json")
    assert (code, err) == (0, "")
    found: dict[str, list[dict[str, Any]]] = json.loads(out)["tables"]
    return found


def values(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in rows}


def words(text: str) -> str:
    return " ".join(text.split())


# -- a sweep


def test_a_sweep_at_80_columns(made: Made) -> None:
    code, text, err = answer(Path.cwd(), "show", columns=80)
    assert (code, err) == (0, "")
    said_all = words(text)
    assert text.startswith("2026-01-01/10-00-00: incomplete\n")
    for expected in (
        "command python -m orchestrator compiler=eager,inductor 'suite.models=[Bert, T5]'",
        "folder outputs/2026-01-01/10-00-00 (",
        "repeats /elsewhere/outputs/2025-12-31/09-00-00",
        "settings rounds=3,5 execution.launcher=fork execution.timeout_s=60.0",
        "machine host box, cpu Test CPU, cores 8",
        "packages torch 2.13.0",
        "git commit abababab, changed a.py",
        "jobs 6: pass 2, crash 2, fail_accuracy 1, not_run 1",
        f"slowest 12 s {made.eager.id[:8]} Bert eager performance #0",
        "2 failures:",
        "crash: T5 inference float16 cpu inductor performance #0: killed by SIGSEGV"
        f" (outputs/2026-01-01/10-00-00/jobs/{made.crashed.id}/log.txt)",
        "fail_accuracy: Bert inference float16 cpu inductor accuracy #0: 1 of 2 tensors are wrong",
        "1 job could not run for a failure of a job that they need",
        "1 job disturbed:",
        "Bert inference float16 cpu inductor performance #0: other processes used 0.62 cores (over 0.1)",
    ):
        assert expected in said_all, expected
    pasteable = [line.removeprefix("  next").strip() for line in text.splitlines() if line.startswith("  next ")]
    assert pasteable == [
        "python -m orchestrator resume=outputs/2026-01-01/10-00-00",
        f"python -m orchestrator show outputs/2026-01-01/10-00-00:{made.crashed.id}",
        "python -m orchestrator rerun outputs/2026-01-01/10-00-00 --failed",
        "python -m orchestrator report outputs/2026-01-01/10-00-00",
    ]
    copied = ("  command", "  folder", "  next", "  repeats")  # one line each, however long
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(copied))


def test_a_running_sweep_names_its_process_and_is_not_to_be_resumed(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.locked(made.folder, 0, 1):
        text = said(capsys, "show")[1]
    assert text.startswith("2026-01-01/10-00-00: running\n")
    assert "run by        process " in text
    assert "resume=" not in text


def test_a_sweep_as_json_csv_and_markdown(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    found = tables(capsys)
    about = values(found["about"])
    assert (about["sweep"], about["state"], about["created_s"]) == ("2026-01-01/10-00-00", "incomplete", 1.7e9)
    assert [about[f"jobs_{key}"] for key in ("planned", "passed", "failed", "not_run")] == [6, 2, 3, 1]
    assert about["jobs.crash"] == 2
    assert about["bytes"] == sum(path.stat().st_size for path in made.folder.root.rglob("*") if path.is_file())
    assert values(found["settings"])["rounds"] == [3, 5]
    assert values(found["environment"])["git.changed"] == "a.py"
    rows = {row["job"]: row for row in found["jobs"]}
    assert list(rows) == [job.id for job in made.folder.read_graph().jobs]
    assert (rows[made.crashed.id]["status"], rows[made.crashed.id]["duration_s"]) == ("crash", 3.0)
    assert rows[made.waiting.id]["status"] == "not_run"
    assert rows[made.waiting.id]["duration_s"] is None
    table = list(csv.DictReader(io.StringIO(said(capsys, "show", "--csv")[1])))
    assert [row["job"] for row in table] == list(rows)
    markdown = said(capsys, "show", "--md")[1]
    assert "incomplete**" in markdown
    assert "- crash: T5 " in markdown


# -- a job


def test_a_job_at_80_columns(made: Made) -> None:
    made.folder.log_file(made.fast.id).write_text("first line\nlast line\n")
    facts = {
        **made.folder.read_result(made.fast.id).facts,
        "graph_break_reasons": [{"reason": "call of print", "count": 2}],
        "noise": {"foreign_cores": 0.62, "frequency_mhz": None},
    }
    change(made, made.fast, facts=facts, environment={"host": "box", "packages": {"torch": "2.13.0"}})
    code, out, err = answer(Path.cwd(), "show", f"latest:{made.fast.id[:6]}", columns=80)
    assert (code, err) == (0, "")
    text = words(out)
    assert out.startswith("Bert inference float16 cpu inductor performance #0: pass\n")
    for expected in (
        f"job {made.fast.id} of 2026-01-01/10-00-00",
        "; 12 s of at most 10 min 00 s, attempt 1",
        "compiler compiler=inductor compiler.target=orchestrator.compilers.dynamo.TorchCompile"
        " ++compiler.options.backend=inductor ++compiler.options.dynamic=true",
        "dtype=float16 device=cpu batch_size=4 sequence_length=128 seed=0 threads=2",
        "latency 4 65.0 ms 15.0 50.0 80.0 ▁▃▆█",
        "pair_latency 8 50.0 ms 0.00 50.0 50.0 ▁▁▁▁▁▁▁▁",
        "first_call 1 5.00 s 5.00 5.00",
        "speed-up 2.000x [2.000, 2.000] (in-process), over 8 pairs of this round",
        "process steady 0.0 600.0 0.0",
        "children compile 400.0",
        "before model 300.0 MiB (VmHWM)",
        "counters graphs 3, graph_breaks 2",
        "graph break 2 x call of print",
        "noise foreign_cores 0.620",
        "disturbed other processes used 0.62 cores (over 0.1)",
        "packages torch 2.13.0",
        f"needs baseline: pass {made.eager.id[:8]} Bert eager performance #0",
        "log.txt 21 bytes",
        "first line last line",
        f"again, as then python -m orchestrator rerun outputs/2026-01-01/10-00-00:{made.fast.id}",
        "as of today python -m orchestrator suite=quick 'suite.models=[Bert]' compiler=inductor measure=performance",
    ):
        assert expected in text, expected
    copied = ("  again, as then", "  as of today", "  folder")
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith(copied))
    text = words(answer(Path.cwd(), "show", made.eager.id, columns=80)[1])
    assert f"needed by baseline: pass {made.fast.id[:8]} Bert inductor performance #0" in text


def test_a_job_as_json_has_exact_figures(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    found = tables(capsys, f"latest:{made.fast.id}")
    about = values(found["about"])
    assert (about["job"], about["status"], about["duration_s"], about["round"]) == (made.fast.id, "pass", 12.0, 0)
    latency = next(row for row in found["samples"] if row["metric"] == "latency")
    assert latency == {
        "metric": "latency",
        "unit": "s",
        "count": 4,
        "median": 0.065,
        "quartile_low": pytest.approx(0.0575),
        "quartile_high": pytest.approx(0.0725),
        "minimum": 0.05,
        "maximum": 0.08,
    }
    assert values(found["config"])["compiler.options.dynamic"] is True
    facts = values(found["facts"])
    assert facts["memory.phases.steady.peak"] == 600 * 2**20
    assert facts["disturbed"] == ["other processes used 0.62 cores (over 0.1)"]
    assert found["edges"] == [
        {
            "relation": "needs (baseline)",
            "job": made.eager.id,
            "status": "pass",
            "series": "Bert inference float16 cpu eager performance #0",
        }
    ]
    assert {row["file"] for row in found["files"]} == {"job.json", "result.json"}
    flat = {
        row["key"]: row["value"] for row in csv.DictReader(io.StringIO(said(capsys, "show", made.fast.id, "--csv")[1]))
    }
    assert flat["facts.counters.graphs"] == "3"
    assert flat["facts.disturbed"] == '["other processes used 0.62 cores (over 0.1)"]'
    assert "++compiler.options.dynamic=true" in said(capsys, "show", made.fast.id, "--md")[1]


def test_the_commands_that_are_named_are_commands(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show")[1] + said(capsys, "show", made.crashed.id)[1]
    commands = [line.partition("python -m orchestrator ")[2] for line in text.splitlines() if "-m orchestrator" in line]
    reruns = [shlex.split(command) for command in commands if command.startswith("rerun ")]
    place = "outputs/2026-01-01/10-00-00"
    assert reruns == [
        ["rerun", place, "--failed"],
        ["rerun", f"{place}:{made.crashed.id}"],
        ["rerun", f"{place}:{made.crashed.id}", "--in-process"],
    ]
    for arguments in reruns:
        code, out, err = said(capsys, *arguments, "--dry-run")
        assert (code, err) == (0, ""), arguments
        assert "T5 inference float16 cpu inductor performance #0" in out


def test_accuracy_shows_the_tensors_the_worst_first(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    text = words(said(capsys, "show", made.wrong.id)[1])
    assert "reason 1 of 2 tensors are wrong (in phase compare, wrong_result)" in text
    assert text.index("logits FAIL rmse 0.5000 0.5000 2.000e-04 1.000") < text.index("loss pass allclose 0.000")
    assert "tensors 2 compared, 1 failed" in text


def test_a_failed_job_shows_the_end_of_traceback_and_log_and_all_of_them_when_asked(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = "".join(f"frame {number}\n" for number in range(100)) + "RuntimeError: no\n"
    failure = Failure(kind="error", phase="compile", message="RuntimeError: no", detail=detail)
    change(made, made.crashed, status="fail_to_run", failure=failure)
    made.folder.log_file(made.crashed.id).write_text("".join(f"log {number}\n" for number in range(100)))
    text = said(capsys, "show", made.crashed.id)[1]
    assert ": fail_to_run\n" in text
    assert "reason        RuntimeError: no (in phase compile, error)" in text
    assert "61 lines before: --log" in text
    assert "frame 61\n" in text
    assert "frame 60\n" not in text
    assert "log 80\n" in text
    assert "log 79\n" not in text
    whole = said(capsys, "show", made.crashed.id, "--log")[1]
    assert "frame 0\n" in whole
    assert [line.strip() for line in whole.splitlines() if re.fullmatch(r" +log \d+", line)] == [
        f"log {number}" for number in range(100)
    ]
    about = values(tables(capsys, made.crashed.id, "--log")["about"])
    assert about["detail"] == detail.rstrip("\n")
    assert about["log"].splitlines() == [f"log {number}" for number in range(100)]
    made.folder.log_file(made.crashed.id).write_text(detail)
    assert said(capsys, "show", made.crashed.id)[1].count("RuntimeError: no\n") == 1  # not twice the same


def test_a_job_without_a_result_and_one_with_a_damaged_one(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = said(capsys, "show", made.waiting.id)
    assert code == 0
    assert "GPT inference float16 cpu inductor performance #0: not_run" in text
    assert "reason        no result yet" in text
    made.folder.result_file(made.fast.id).write_text("{")
    text = said(capsys, "show", made.fast.id)[1]
    assert "not_run" in text
    assert "result file cannot be read" in text
    assert tables(capsys, made.fast.id)["samples"] == []


def test_plugins_that_are_not_allowed_here_are_no_hindrance(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    """Showing runs nothing: a sweep of someone else's plug-ins can be looked at."""
    measure = PluginSpec(name="theirs", target="elsewhere.measures.Theirs")
    jobs = [dataclasses.replace(job, measure=measure, point=0) for job in made.folder.read_graph().jobs]
    conf = {"compiler": {"name": "inductor"}, "measure": {"name": "theirs"}, "rounds": 3}
    stored = dataclasses.replace(made.folder.read_sweep(), points=(conf,), grid=(("compiler=inductor", "a=b c"),))
    made.folder.write_plan(stored, JobGraph(tuple(jobs)))
    code, text, err = said(capsys, "show", made.fast.id)
    assert (code, err) == (0, "")
    assert "grid point    compiler=inductor 'a=b c'" in text
    assert "as of today" in text  # the command is written without the class that it names
    assert said(capsys, "show", "latest")[0] == 0
    assert said(capsys, "ls")[0] == 0
    assert said(capsys, "history")[0] == 0


EVIL = "a\x1b[31mred\x1b[0m \x1b]0;title\x07b \x9b2J \x08\x08 c\u202ed\r"


def test_nothing_that_a_job_says_controls_the_terminal(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(kind="error", phase=f"ph{EVIL}", message=EVIL, detail=f"x\n{EVIL}\n\x1b[2Jdetail's end")
    samples = (Samples(metric=f"m{EVIL}", unit=EVIL, better="none", values=(1.0, 2.0)),)
    facts = {f"f{EVIL}": {EVIL: EVIL}, "disturbed": [EVIL], "accuracy": {"tensors": [{"name": EVIL, "rule": EVIL}]}}
    facts |= {
        "graph_break_reasons": [{"reason": EVIL, "count": "no number"}],
        "memory": {"phases": {EVIL: 3}, "source": EVIL},
    }
    change(made, made.crashed, failure=failure, samples=samples, facts=facts, environment={EVIL: EVIL})
    made.folder.log_file(made.crashed.id).write_bytes(EVIL.encode() + b"\n\xff\xfe\x1b[5m end\n")
    (made.folder.job(made.crashed.id) / "new\x1b[31mfile").write_text("")
    stored = made.folder.read_sweep()
    made.folder.write_plan(
        dataclasses.replace(stored, argv=(EVIL,), origin=EVIL, environment={EVIL: EVIL}), made.folder.read_graph()
    )
    for arguments in ([], [made.crashed.id], [made.crashed.id, "--log"], ["--only", "status=crash"], [made.victim.id]):
        for form in ([], ["--json"], ["--md"], ["--csv"]):
            if form and arguments == ["--only", "status=crash"]:
                continue
            code, out, err = said(capsys, "show", *arguments, *form)
            assert (code, err) == (0, "")
            strange = {character for character in out if not character.isprintable()} - {"\n"}
            assert strange <= ({"\u200b"} if form == ["--md"] else set()), (arguments, form)
    for arguments in (["ls"], ["history"]):
        assert {character for character in said(capsys, *arguments)[1] if not character.isprintable()} <= {"\n"}


# -- which one


def test_a_job_is_found_by_its_id_in_the_newest_sweep_that_has_it(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    other = synthetic.SyntheticSweep(Path("outputs/2026-01-02/10-00-00").absolute())
    other.performance("Bert", "eager", latency=0.2)
    folder = other.write()
    (Path("outputs/2026-01-03/x")).mkdir(parents=True)
    (Path("outputs/2026-01-03/x/sweep.json")).write_text("{")
    assert values(tables(capsys, made.eager.id[:8])["about"])["sweep"] == "2026-01-02/10-00-00"
    assert values(tables(capsys, made.fast.id[:8])["about"])["sweep"] == "2026-01-01/10-00-00"
    for spelling in (
        f"2026-01-01/10-00-00:{made.fast.id[:5]}",
        f"latest~2:{made.fast.id}",
        str(made.folder.job(made.fast.id)),
    ):
        assert values(tables(capsys, spelling)["about"])["job"] == made.fast.id
    assert values(tables(capsys, str(folder.root))["about"])["jobs_planned"] == 1


def test_only_shows_the_one_job_or_lists_several(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "--only", "model=B*,compiler=eager")[1].startswith("Bert inference float16 cpu eager")
    code, text, _ = said(capsys, "show", "--only", "compiler=inductor,measure=performance")
    assert code == 0
    assert [line.split()[:2] for line in text.splitlines()[:-1]] == [
        [made.fast.id[:8], "pass"],
        [made.crashed.id[:8], "crash"],
        [made.victim.id[:8], "crash"],
        [made.waiting.id[:8], "not_run"],
    ]
    assert text.splitlines()[-1] == f"python -m orchestrator show outputs/2026-01-01/10-00-00:{made.fast.id}"
    rows = tables(capsys, "--only", "status=crash,status=not_run")["jobs"]
    assert [row["job"] for row in rows] == [made.crashed.id, made.victim.id, made.waiting.id]
    assert values(tables(capsys, "--only", "model=T5,round=1")["about"])["job"] == made.victim.id


@pytest.mark.parametrize("name", ["T5", "t5", "t?", "T*"])
def test_a_model_is_named_behind_the_sweep(made: Made, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = name if name.isalnum() else name.upper()
    code, text, _ = said(capsys, "show", f"latest:{asked}")
    assert code == 0
    found = [line.split()[0] for line in text.splitlines()[:-1]]
    assert found == [job["job"][:8] for job in tables(capsys, "--only", "model=T5")["jobs"]]
    assert made.victim.id[:8] in found


def test_a_model_may_have_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / "10-00-00")
    one = sweep.performance("model.py:Net", "eager")
    sweep.performance("other.py:Net", "eager")
    sweep.write()
    code, text, _ = said(capsys, "show", "latest:model.py:Net")
    assert code == 0
    assert text.startswith("model.py:Net ")
    assert one.id in text


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' names no sweep under outputs. Newest: 2026-01-01/10-00-00"),
        (["abcdef01"], "Nor does the id of a job of the newest 50 sweeps begin so"),
        (["latest:zz"], "has no model called 'zz', nor a job whose id begins so: Available: Bert, GPT, T5"),
        (["latest:GTP"], "did you mean 'GPT'"),
        (["latest:"], "has no model called '', nor a job"),
        (["--only", "modell=T5"], "--only modell=T5: unknown key 'modell': did you mean 'model'"),
        (["--only", "T5"], "--only T5: write key=value,key=value"),
        (["--only", "model=GTP"], "--only model=GTP: none of the 6 jobs of"),
        (["--root", "nowhere"], "there are 0 sweeps under nowhere"),
    ],
    ids=str,
)
def test_what_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "show", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.usefixtures("made")
def test_the_log_of_a_whole_sweep_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        said(capsys, "show", "--log")
    assert "--log goes with a job" in capsys.readouterr().err


# -- the parts


@pytest.mark.parametrize(
    ("numbers", "width", "line"),
    [
        ([], 4, ""),
        ([3.0], 4, "▁"),
        ([1.0, 1.0], 4, "▁▁"),
        ([0.0, 7.0, 3.5], 9, "▁█▅"),
        ([0.0] * 4 + [1.0] * 4, 2, "▁█"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8, LEVELS),
        ([1.0, float("nan")], 4, ""),
        ([1.0, float("inf")], 4, ""),
    ],
    ids=str,
)
def test_sparkline(numbers: list[float], width: int, line: str) -> None:
    assert sparkline(numbers, width) == line


def test_the_end_of_a_long_log_is_read_not_all_of_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.folder.log_file(made.fast.id).write_text("x" * 70_000 + "\n" + "last\n")
    found = details.read(made.folder, made.folder.read_sweep(), made.folder.read_graph(), made.fast)
    assert sum(map(len, found.end_of_log())) < details.TAIL_BYTES
    assert found.end_of_log()[-1] == "last"
    assert [len(line) for line in found.log()] == [70_000, 4]


@pytest.mark.slow
def test_the_configuration_of_a_job_can_be_pasted_back(tmp_path: Path) -> None:
    """All its words, in a command: the plan of that command is the plan of the sweep."""
    orchestrator(tmp_path, *FAKES, "suite=perceptrons", "compiler=identity", "measure=glance", "rounds=1",
        "suite.models=[one]", "batch_size=2", "++compiler.options={}")  # fmt: skip
    text = orchestrator(tmp_path, "show", "--only", "compiler=identity")
    keys = ("workload", "mode", "compiler", "measure", "execution")
    wanted, lines = False, []
    for line in text.splitlines():
        name = line[2:16].strip()
        wanted = name in keys if name else wanted
        lines += [line[16:]] * wanted
    overrides = shlex.split(" ".join(lines))
    assert "compiler=identity" in overrides
    assert "++measure.options.iterations=5" in overrides
    same = orchestrator(
        tmp_path, *FAKES, *overrides, "rounds=1", "resume=latest", "dry_run=true"
    )  # refused unless it is
    assert "Dry run: nothing was started." in same
