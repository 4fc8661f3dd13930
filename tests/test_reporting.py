"""What people see: legible at 80 and 120 columns and in a pipe, complete, and with the right exit code."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.sweeps import make_job
from rich.console import Console
from support import synthetic
from support.command import command

from orchestrator.cli import report
from orchestrator.errors import UsageError
from orchestrator.records import PASS, Failure, JobResult, Verdict
from orchestrator.store import JobGraph, SweepFolder
from orchestrator.views import document, plan
from orchestrator.views.grid import Cell, Spanning, fold, grid
from orchestrator.views.layout import duration, span
from orchestrator.views.progress import Progress

Show = Callable[[SweepFolder, int], list[str]]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Show:
    """Return a function that reports a folder at a width and returns the lines."""
    monkeypatch.chdir(tmp_path)

    def finish(folder: SweepFolder, width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        report.finish(folder)
        return capsys.readouterr().out.splitlines()

    return finish


def test_summary_at_80_columns(show: Show, tmp_path: Path) -> None:
    lines = show(synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write(), 80)
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line or "…" in line for line in lines)
    text = "\n".join(lines)
    assert "quick · inference · float16 · cpu · 2 threads" in lines
    judged = synthetic.job(synthetic.workload("ElectraForCausalLM", batch_size=1), "inductor", "accuracy")
    answer = """\
inductor is WRONG on 1 of 4 models (right on 3); it is 1.34x faster than eager
  [1.33, 1.34] on 3 of 4 models
  +16 % memory · compiles in 24.1 s · pays off after about 560 calls each (83 s)
1 row has wrong results:
    python -m orchestrator show outputs/1/2:JOB
"""
    assert text.startswith(answer.replace("JOB", judged.id))
    expected = """\
DistilBertForMaskedLM  batch 4, length 128
 inductor  1.11x [1.10, 1.12]   154 -> 139 ms    300 -> 372 MiB  pass
           faster                                (+24 %)!
   compiles in 24.1 s, warm 5.87 s · pays off after about 1,600 calls (4 min)"""
    assert expected in text
    assert "geometric mean over 3 models that all compilers ran\n inductor  1.34x " in text
    assert [line.split() for line in lines if line.startswith(" inductor  crash")] == [
        ["inductor", "crash", "fail_accuracy!"]
    ]
    assert " inductor  0.93x [0.92, 0.94]!  80.1 -> 86.1 ms  300 -> 400 MiB  pass" in lines
    assert "[see the end of the log]" in " ".join(text.split())  # brackets are text, not markup
    assert "* disturbed: by what, is in the column 'disturbed', and in show." in lines
    assert "  next          python -m orchestrator report outputs/1/2 --md" in lines


def test_summary_at_120_columns_has_one_line_per_compiler(show: Show, tmp_path: Path) -> None:
    lines = show(synthetic.quick_sweep(tmp_path / "s").write(), 120)
    assert max(map(len, lines)) <= 120
    (line,) = [line for line in lines if "1.11x" in line]
    assert line == (" inductor  1.11x [1.10, 1.12] faster   154 -> 139 ms    300 -> 372 MiB (+24 %)!  pass")


def test_long_names_and_reasons_stay_inside_and_whole(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    name, reason = "inductor_max_autotune_no_cudagraphs_freezing", "word " * 60 + "end\x1b[31m\nred"
    sweep.performance("Bert", name, pairs=[(12.3, 10.0)] * 20, latency=12.3, peak_mib=12345)
    bad = synthetic.job("Gpt", name)
    sweep.add(bad, synthetic.failed_result(bad, "eager_two_runs_differ", reason))
    sweep.accuracy("Bert", name, status="fail_accuracy", reason="x")
    lines = show(sweep.write(), 80)
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line or "…" in line for line in lines)
    joined = " ".join(" ".join(lines).split())
    assert joined.count("word") == 60
    assert "end red (jobs/" in joined
    pieces = [line.split()[0] for line in lines if line.startswith((" ", "i"))]
    assert name in "".join(pieces)


def test_failures_unsupported_skipped_and_missing_are_all_mentioned(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model in ("A", "B", "C", "D"):
        spec = synthetic.job(model, "openvino", verdict=Verdict(status="unsupported", reason="pip install openvino"))
        sweep.add(spec)
    skipped = synthetic.job("A", "inductor", "accuracy")
    sweep.add(skipped, synthetic.failed_result(skipped, "pass_due_to_skip", "random by design"))
    sweep.add(synthetic.job("A", "inductor"))
    text = " ".join(" ".join(show(sweep.write(), 100)).split())
    assert "openvino performance and 1 more: pip install openvino" in text
    assert "pass_due_to_skip: A inference float16 cpu inductor accuracy: random by design" in text
    assert "1 of 6 jobs has not run: python -m orchestrator resume=s" in text
    assert "not run: A inductor" not in text  # of its two measures one was judged
    assert "next python -m orchestrator resume=s" in text
    assert "failure" not in text


def test_one_cause_is_told_once_with_how_many_rows_and_their_names(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for model in ("A", "B", "C"):
        spec = synthetic.job(model, "inductor")
        sweep.add(spec, synthetic.failed_result(spec, "fail_to_run", "no C++ compiler was found"))
    other = synthetic.job("D", "inductor")
    sweep.add(other, synthetic.failed_result(other, "fail_to_run", "another reason"))
    folder = sweep.write()
    names = [f"{model} inference float16 cpu inductor performance" for model in "ABC"]
    reported = " ".join(" ".join(show(folder, 100)).split())
    for text in (reported, said_by_show(folder.root, "--md"), said_by_show(folder.root)):
        assert text.count("no C++ compiler was found") == 1
        assert "fail_to_run, 3 rows: no C++ compiler was found (" in text
        assert all(name in text for name in names), text
        assert "fail_to_run: D inference float16 cpu inductor performance" in text


def said_by_show(folder: Path, *arguments: str) -> str:
    done = command("show", str(folder), *arguments, cwd=folder.parent)
    return " ".join(done.stdout.split())


def test_float32_eager_stands_beside_a_reduced_precision(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for dtype, latency in (("float32", 0.123), ("float16", 0.456)):
        sweep.performance(synthetic.workload("Bert", dtype=dtype), "eager", latency=latency)
    lines = show(sweep.write(), 120)
    beside = next(line for line in lines if line.startswith(" eager float32"))
    assert "for comparison" in beside
    assert "123 ms" in beside
    assert sum("123 ms" in line for line in lines) == 2  # in its own section too


def test_one_round_is_noted(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20)
    assert "pairs of one process only" in "\n".join(show(sweep.write(), 120))


def test_an_accuracy_only_sweep_has_no_empty_columns(show: Show, tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.accuracy("Bert", "inductor")
    lines = show(sweep.write(), 80)
    assert "compiler   accuracy" in lines
    assert not any("latency" in line for line in lines)


def test_stream_without_unicode_does_not_raise(tmp_path: Path) -> None:
    folder = synthetic.quick_sweep(tmp_path / "s").write()
    code = f"from orchestrator.cli.report import main; raise SystemExit(main([{str(folder)!r}]))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "120"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 1
    assert run.stderr == ""
    assert "1.11x [1.10, 1.12] faster" in " ".join(run.stdout.split())


# -- the verb


def test_exit_code_tells_whether_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    good.performance("Bert", "eager")
    good.add(synthetic.job("Bert", "x", verdict=Verdict(status="unsupported", reason="not here")))
    good.write()
    bad = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "11-00-00")
    bad.add(synthetic.job("Bert", "eager"))
    bad.write()
    root = ["--root", str(tmp_path / "outputs")]
    assert report.main(["latest", *root]) == 1
    assert report.main(["latest~1", *root]) == 0
    assert report.main(["2026-11-21/10", *root]) == 0
    assert (good.folder.tables / "summary.csv").is_file()
    with pytest.raises(UsageError, match="latest~7"):
        report.main(["latest~7", *root])
    capsys.readouterr()


def test_machine_outputs_are_pure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(synthetic.quick_sweep(tmp_path / "s").write())
    report.main([folder, "--json"])
    assert set(json.loads(capsys.readouterr().out)["tables"]) == set(report.TABLES)
    report.main([folder, "--json", "--table", "accuracy"])
    assert set(json.loads(capsys.readouterr().out)["tables"]) == {"accuracy"}
    report.main([folder, "--csv"])
    assert capsys.readouterr().out.splitlines()[0].startswith("suite,model,mode,dtype,device,")
    report.main([folder, "--md"])
    assert capsys.readouterr().out.startswith("## Summary\n")
    with pytest.raises(SystemExit):
        report.main([folder, "--table", "jobs"])


def test_a_folder_that_cannot_be_written_is_still_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = synthetic.quick_sweep(tmp_path / "s").write()
    folder.tables.write_text("a file where the folder should be")
    assert report.finish(folder) == 2
    seen = capsys.readouterr()
    assert "The tables could not be written" in seen.err
    assert "(report.html, jobs/)" in seen.out
    assert "1.11x" in seen.out


# -- the plan


def test_plan_counts_jobs_and_lists_a_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    eager = synthetic.job("Bert", "eager")
    need = synthetic.Need(job=eager.id, kind="baseline")
    jobs = [eager, synthetic.job("Bert", "inductor", needs=[need]), synthetic.job("Bert", "aot_eager", needs=[need])]
    jobs.append(synthetic.job("Gone", "inductor", verdict=Verdict(status="unsupported", reason="gone")))
    document.show(plan.document(JobGraph(tuple(jobs)), "outputs/1/2", dry_run=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Plan: 4 jobs, about 30 s one after the other"
    assert "  3 compilers   inductor 2, aot_eager 1, eager 1" in lines
    assert "  2 models      Bert 3, Gone 1" in lines
    assert "  shared        1 baseline for 2 jobs" in lines
    assert any(line.startswith("  not started   unsupported 1 ") for line in lines)
    assert "    Bert inference float16 cpu eager performance #0" in lines
    assert lines[-1] == "Dry run: nothing was started."
    assert max(map(len, lines)) <= 80


def test_a_huge_plan_is_summarised(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    jobs = [synthetic.job(f"Model{n:04}ForSequenceClassification", "eager") for n in range(1000)]
    document.show(plan.document(JobGraph(tuple(jobs)), "/" + "x" * 100, dry_run=False))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 20
    assert lines[0] == "Plan: 1,000 jobs, about 2 h 47 min one after the other"
    assert any("and 992 more" in line for line in lines)
    assert "/" + "x" * 100 in lines[-1]  # a path is never broken


# -- progress


def watch(sweep: synthetic.SyntheticSweep, out: Console) -> Progress:
    results = {result.job_id: result for result in sweep.results}
    with Progress(sweep.graph(), sweep.folder, out) as progress:
        for spec in sweep.jobs:
            progress.started(spec)
            progress.finished(spec, results[spec.id])
        progress.interrupted(at_once=False)
    return progress


def test_progress_in_a_pipe_is_one_plain_line_per_job(tmp_path: Path) -> None:
    sweep = synthetic.quick_sweep(tmp_path / "s")
    out = io.StringIO()
    progress = watch(sweep, Console(file=out, width=80, highlight=False, markup=False))
    lines = out.getvalue().splitlines()
    assert len(lines) == len(sweep.jobs) + 1
    assert re.fullmatch(r" 1/36 · DistilBertForMaskedLM eager round 1 15\d ms · 12 s · \d+-\d+ min left", lines[0])
    assert re.fullmatch(r" 2/36 · DistilBertForMaskedLM inductor round 1 1\.\d\dx · 12 s · \d+-\d+ min left", lines[1])
    judged = next(line for line in lines if "accuracy" in line)
    assert re.search(r"· DistilBertForMaskedLM inductor accuracy pass · ", judged)
    crash = "35/36 · ElectraForCausalLM inductor round 1 crash · 3 s"
    assert lines[34].startswith(f"{crash} · error: killed by SIGSEGV (signal 11) [see the end of the log] · ")
    assert "left" not in lines[35]  # nothing is
    assert lines[-1] == "Interrupted: stopping. Resume later with resume=latest."
    assert "\x1b" not in out.getvalue()
    assert (progress.done, progress.failed) == (36, 2)


def test_a_failure_is_told_with_its_status_and_kind(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    bad = synthetic.job("Gpt", "inductor", "accuracy")
    failure = Failure(kind="wrong_result", phase="compare", message="logits differ by 0.3")
    result = JobResult(job_id=bad.id, status="fail_accuracy", failure=failure, started=0.0, ended=9.0)
    sweep.add(bad, result)
    out = io.StringIO()
    watch(sweep, Console(file=out, width=80))
    assert out.getvalue().splitlines()[0] == (
        "1/1 · Gpt inductor accuracy fail_accuracy · 9 s · wrong_result: logits differ by 0.3"
    )


def test_a_name_has_what_tells_rows_of_a_model_apart(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for dtype in ("float32", "float16"):
        sweep.performance(synthetic.workload("Bert", dtype=dtype), "inductor", latency=0.1)
    sweep.performance("Gpt", "inductor", latency=0.2)
    out = io.StringIO()
    watch(sweep, Console(file=out, width=80))
    told = [" ".join(line.split(" · ")[1].split()[:3]) for line in out.getvalue().splitlines()[:3]]
    assert told == ["Bert float32 inductor", "Bert float16 inductor", "Gpt float16 inductor"]


def drawn(progress: Progress, width: int) -> list[str]:
    picture = Console(file=io.StringIO(), width=width)
    picture.print(progress.render())
    return picture.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_live_picture_names_the_running_job_its_phase_and_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("orchestrator.views.progress.time.monotonic", lambda: now[0])
    sweep = synthetic.quick_sweep(tmp_path / "s")
    folder = sweep.write()
    progress = Progress(sweep.graph(), folder, Console(file=io.StringIO(), width=60))
    progress.started(sweep.jobs[0])
    now[0] += 13
    progress.finished(sweep.jobs[0], sweep.results[0])
    progress.started(sweep.jobs[1])
    folder.phase_file(sweep.jobs[1].id).write_text("compile")
    now[0] += 40
    lines = drawn(progress, 60)
    assert re.fullmatch(r"1/36 · 53 s so far · \d+-\d+ min left", lines[0])
    assert re.fullmatch(r"now: Distil\w*… inductor round 1 compiling, 40 s \(expected \d+\)", lines[1])
    assert max(map(len, lines)) <= 60


def test_a_good_line_of_a_terminal_is_cut_at_a_part_and_a_failure_is_whole(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.performance("Model" * 12, "inductor", pairs=[(0.2, 0.1)] * 20, latency=0.1)
    bad = synthetic.job("Gpt", "inductor")
    sweep.add(bad, synthetic.failed_result(bad, "crash", "word " * 40 + "end"))
    out = io.StringIO()
    watch(sweep, Console(file=out, width=80, force_terminal=True, color_system=None))
    said = [line for line in re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", out.getvalue()).splitlines() if "/2 · " in line]
    assert any(re.fullmatch(r"1/2 · (Model)+M?o?d?e?… inductor 2\.00x", line.strip()) for line in said)
    assert max(map(len, said)) <= 80
    assert out.getvalue().count("word") == 40


def test_a_stream_without_unicode_gets_other_characters(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, 'tests')\n"
        "from support import synthetic; from test_reporting import watch\n"
        "from orchestrator.views.layout import console\n"
        f"watch(synthetic.quick_sweep(pathlib.Path({str(tmp_path / 's')!r})), console())"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "?" not in run.stdout
    assert run.stdout.splitlines()[1].startswith(" 2/36 | DistilBertForMaskedLM inductor round 1 ")


def test_waiting_for_a_device_is_shown_and_said_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = synthetic.quick_sweep(tmp_path / "s")
    out = io.StringIO()
    now = [1000.0]
    monkeypatch.setattr("orchestrator.views.progress.time.monotonic", lambda: now[0])
    progress = Progress(sweep.graph(), sweep.folder, Console(file=out, width=200))
    for seconds in (0.0, 10.0, 70.0):
        now[0] = 1000.0 + seconds
        progress.waiting(sweep.jobs[0], f"cpu: process 17 of ada runs 'job {seconds}' of /sweep since 10:31:07")
    assert out.getvalue().splitlines() == [
        "waiting for cpu: process 17 of ada runs 'job 0.0' of /sweep since 10:31:07",
        "waiting for cpu: process 17 of ada runs 'job 70.0' of /sweep since 10:31:07",
    ]
    picture = Console(file=io.StringIO(), width=200)
    picture.print(progress.render())
    assert "waiting for cpu: process 17 of ada runs 'job 70.0'" in picture.file.getvalue()  # type: ignore[attr-defined]
    progress.started(sweep.jobs[0])
    picture.print(progress.render())
    assert picture.file.getvalue().count("waiting for") == 1  # type: ignore[attr-defined]


def test_work_that_waits_is_never_zero_and_what_is_late_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("orchestrator.views.progress.time.monotonic", lambda: now[0])
    jobs = [replace(make_job(name), cost_s=10.0) for name in "ab"]
    progress = Progress(JobGraph(tuple(jobs)), SweepFolder(tmp_path), Console(file=io.StringIO()))
    progress.started(jobs[0])
    now[0] = 3600.0
    assert re.search(r" \d\S* (min|h) left$", drawn(progress, 80)[0])
    assert progress.left().high > 10
    progress.finished(jobs[0], JobResult(job_id="a", status=PASS, started=0.0, ended=3600.0))
    progress.started(jobs[1])
    now[0] = 2e5
    assert drawn(progress, 80)[0].endswith("longer than expected")


def test_nothing_is_left_of_what_an_interrupt_will_not_start(tmp_path: Path) -> None:
    jobs = [replace(make_job(name), cost_s=1000.0) for name in "abc"]
    progress = Progress(JobGraph(tuple(jobs)), SweepFolder(tmp_path), Console(file=io.StringIO()))
    progress.started(jobs[0])
    before = progress.left().high
    progress.interrupted(at_once=False)
    assert 0 < progress.left().high < before / 2


# -- layout


def test_grid_folds_the_last_and_then_the_first_column() -> None:
    rows = [Spanning("model"), [Cell("a" * 30), Cell("1"), Cell("eager_two_runs_differ")]]
    lines = [line.plain for line in grid(("name", "x", "status"), rows, 30, stacked=True)]
    assert lines[0].split() == ["name", "x", "status"]
    assert lines[1] == "model"
    assert max(map(len, lines)) <= 30
    assert "".join(line[:16].strip() for line in lines[2:]) == "a" * 30


@pytest.mark.parametrize(
    ("text", "pieces"), [("fail_accuracy", ["fail_", "accuracy"]), ("abcdefghijkl", ["abcdefghi", "jkl"])]
)
def test_fold_prefers_word_ends(text: str, pieces: list[str]) -> None:
    assert fold(text, 9) == pieces


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (270, "4 min 30 s"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1, 3, "under 5 s"),
        (3, 22, "under 25 s"),
        (21, 34, "20-35 s"),
        (40, 100, "under 2 min"),
        (170, 290, "2-5 min"),
        (301, 310, "5-6 min"),
        (300, 300, "about 5 min"),
        (4000, 9000, "1-2.5 h"),
    ],
)
def test_span(low: float, high: float, text: str) -> None:
    assert span(low, high) == text
