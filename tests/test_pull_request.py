"""The Markdown summary: what it says, that it is Markdown to GitHub, and short enough for a comment."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support import synthetic
from support.command import orchestrator

from orchestrator.markdown import code
from orchestrator.results.load import SweepResults, load
from orchestrator.results.tables import Tables, build
from orchestrator.store import SweepFolder
from orchestrator.views import pull_request
from orchestrator.views.pull_request import LIMIT

HERE = Path(__file__).parent
EVIL = "<script>alert(1)</script>|*bold*|@someone #12 `tick` \\|"


def collected(folder: SweepFolder) -> tuple[SweepResults, Tables]:
    results = load(folder)
    return results, build(results)


def html_of(markdown: str) -> str:
    """Render as GitHub does: CommonMark with tables, HTML let through."""
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def cells(markdown: str) -> list[list[str]]:
    """Return the cells of all tables' rows, as they are rendered."""
    rows = re.findall(r"<tr>(.*?)</tr>", html_of(markdown), re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_the_command_prints_it(tmp_path: Path) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    printed = orchestrator(tmp_path, "report", "--md", code=1)
    expected = (HERE / "golden" / "pull_request.md").read_text()
    assert printed == expected


def test_means_have_their_counts_and_both_kinds_of_speedup(tmp_path: Path) -> None:
    rows = cells(pull_request.text(collected(synthetic.quick_sweep(tmp_path / "1" / "2").write())))
    clipped = (1.11 * 1.0 * 2.31) ** (1 / 3)
    plain = (1.11 * 0.93 * 2.31) ** (1 / 3)
    passed, speedup = "75%, 3/4 [30, 95]", f"{plain:.2f}x [1.33, 1.34] (3)"
    mean = ["inductor", passed, speedup, "[0.40, 4.43]", f"{clipped:.2f}x (3)", "24.1 (3)"]
    assert [row[:6] for row in rows if row[:2] == mean[:2]] == [mean]


def test_the_four_rules_are_the_dashboards(tmp_path: Path) -> None:
    text = pull_request.text(collected(synthetic.quick_sweep(tmp_path / "1" / "2").write()))
    found = {tuple(row[:2] + row[-1:]) for row in cells(text) if len(row) == 5 and row[2] == "inductor"}
    assert found == {
        ("accuracy not passed", "ElectraForCausalLM", "fail_accuracy"),
        ("speed-up &lt; 0.95x", "GPT2ForSequenceClassification", "0.93x"),
        ("memory over +11 %", "GPT2ForSequenceClassification", "+33 %"),
        ("memory over +11 %", "DistilBertForMaskedLM", "+24 %"),
    }


def test_nothing_that_is_shown_is_taken_for_markup(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "1" / "2")
    sweep.performance(EVIL, "inductor", pairs=[(0.2, 0.1)] * 20)
    spec = synthetic.job(EVIL, "a|b")
    sweep.add(spec, synthetic.failed_result(spec, "crash", f"{EVIL}\n</details>\n| a | b |\x1b[31m"))
    sweep.accuracy(synthetic.workload(EVIL, suite="<b>|x"), "inductor", status="fail_accuracy", reason=EVIL)
    text = pull_request.text(collected(sweep.write()))
    rendered = html_of(text)
    assert "<script" not in rendered
    assert "<em>" not in rendered
    assert "<b>" not in rendered
    assert "@someone" not in rendered  # that would call somebody
    widths = {len(row) for row in cells(text)}
    assert widths == {2, 5, 7, 8}, widths  # of the tables that there are
    assert rendered.count("<details>") == rendered.count("</details>")


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "`", "``x", " x ", "\\", "|", "a\nb", "x" * 1000])
def test_code_stays_one_cell(text: str) -> None:
    (row,) = [row for row in cells(f"| a | b |\n| --- | --- |\n| {code(text)} | end |") if row[-1] == "end"]
    assert len(row) == 2
    assert row[0].startswith("<code>")
    assert len(row[0]) < 320
    assert code("") == code(None) == "—"


def large(root: Path, models: int) -> synthetic.SyntheticSweep:
    sweep = synthetic.SyntheticSweep(root)
    for i in range(models):
        for compiler in ("inductor", "aot_eager"):
            spec = synthetic.job(f"Model{i:04}", compiler)
            if i % 3:
                result = synthetic.performance_result(spec, pairs=[(0.09, 0.1)] * 20)
            else:
                result = synthetic.failed_result(spec, "crash", f"number {i} " * 100)
            sweep.add(spec, result)
    return sweep


def in_memory(sweep: synthetic.SyntheticSweep) -> tuple[SweepResults, Tables]:
    """Return what `collected` would, without a folder of thousands of files."""
    from orchestrator.results.load import outcome
    from orchestrator.store import Sweep

    by_id = {result.job_id: result for result in sweep.results}
    header = Sweep(argv=(), overrides=(), points=(), created=0.0)
    results = SweepResults(sweep.folder, header, tuple(outcome(job, by_id.get(job.id)) for job in sweep.jobs))
    return results, build(results)


@pytest.mark.parametrize("models", [60, 1500])
def test_a_comment_is_never_longer_than_github_takes(tmp_path: Path, models: int) -> None:
    sweep = in_memory(large(tmp_path / "1" / "2", models))
    text = pull_request.text(sweep)
    assert 10_000 < len(text) <= LIMIT
    rendered = html_of(text)
    assert rendered.count("<details>") == rendered.count("</details>") == 5
    shown = len([row for row in cells(text) if len(row) == 8 and row[0].startswith("Model")])
    told = re.findall(r"and ([\d,]+) more rows", text)[-1:]  # of the section, behind those of the failures
    left_out = sum(int(count.replace(",", "")) for count in told)
    assert shown + left_out == 2 * models
    assert (left_out > 0) == (models > 60)


def test_even_a_thousand_suites_fit(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "1" / "2")
    for i in range(1000):
        spec = synthetic.job(synthetic.workload("Bert", suite=f"suite{i}" * 20), "inductor")
        sweep.add(spec, synthetic.failed_result(spec, "crash", f"{i}" * 200))
    text = pull_request.text(in_memory(sweep))
    assert len(text) <= LIMIT
    assert "more sections" in text


def test_long_names_and_a_long_environment_fit(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "1" / "2")
    sweep.performance(synthetic.workload("M" * 50_000, suite="S" * 50_000), "C" * 50_000, pairs=[(0.2, 0.1)] * 20)
    results, tables = in_memory(sweep)
    environment = {"variables": {f"TORCH_{i}": "v" * 1000 for i in range(1000)}}
    results = replace(results, sweep=replace(results.sweep, environment=environment))
    text = pull_request.text((results, tables))
    assert len(text) <= LIMIT
    assert "\nand 896 more rows\n" in text  # of 1,000 variables, and when it was started


def test_what_cannot_be_made_short_enough_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_request, "LIMIT", 700)
    text = pull_request.text(collected(synthetic.quick_sweep(tmp_path / "1" / "2").write()))
    assert len(text) <= 700
    assert text.startswith("## Summary")
    assert text.endswith("characters are more than a comment can have.\n")


def test_a_seed_of_zero_is_shown(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "1" / "2")
    for seed in (0, 1):
        sweep.performance(synthetic.workload("Bert", seed=seed), "inductor", pairs=[(0.2, 0.1)] * 20)
    rows = cells(pull_request.text(in_memory(sweep)))
    assert [row[:2] for row in rows if row[1:2] == ["inductor"]] == [["0", "inductor"], ["1", "inductor"]]


def test_a_sweep_of_nothing(tmp_path: Path) -> None:
    text = pull_request.text(in_memory(synthetic.SyntheticSweep(tmp_path / "1" / "2")))
    assert text.startswith("## Summary\n\nSweep 1/2, 0 rows: 0 of 0 results passed.")


# -- beside earlier sweeps


def test_means_over_time_and_flags_that_are_new(tmp_path: Path) -> None:
    speedups = {"1": (2.0, 1.5), "2": (1.8, 0.8), "3": (1.6, 0.5)}
    for day, (bert, gpt) in speedups.items():
        sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / day / "x")
        for model, speedup in (("Bert", bert), ("Gpt", gpt)):
            workload = synthetic.workload(model, threads=int(day))  # on another machine each time
            eager = sweep.performance(workload, "eager", latency=0.1)
            sweep.performance(
                workload, "inductor", baseline=eager, pairs=[(0.1, 0.1 / speedup)] * 20, base_mib=300.0, peak_mib=600.0
            )
        folder = sweep.write()
        made = folder.read_sweep()
        folder.write_plan(replace(made, created=float(day)), folder.read_graph())
    printed = orchestrator(tmp_path, "report", "3/x", "--md", "--against", "2/x", "--against", "1/x")
    rows = cells(printed)
    assert ["compiler", "", "1/x", "2/x", "3/x"] in rows
    figures = [f"{(bert * gpt) ** 0.5:.2f}" for bert, gpt in speedups.values()]
    means = [f"{mean}x [{mean}, {mean}] (2)" for mean in figures]  # all pairs are the same
    assert ["inductor", "speed-up", *means] in rows
    assert "0 new flags since 2/x, 0 of its flags no longer; 4 rows in both." in printed  # slow already then
    second = orchestrator(tmp_path, "report", "2/x", "--md", "--against", "1/x")
    assert "1 new flag since 1/x, 0 of its flags no longer; 4 rows in both" in second
    assert ["speed-up &lt; 0.95x", "Gpt", "inductor", "1.50x", "0.80x"] in cells(second)


@pytest.mark.parametrize("arguments", [["--against", "1/2"], ["--csv", "--against", "1/2"]])
def test_against_goes_with_markdown(tmp_path: Path, arguments: list[str]) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    assert "--against goes with --md" in orchestrator(tmp_path, "report", *arguments, code=2)


def test_the_build_summary_says_with_what(tmp_path: Path) -> None:
    sweep = synthetic.quick_sweep(tmp_path / "1" / "2")
    folder = sweep.write()
    environment: dict[str, Any] = {
        "cpu": "Xeon | 8",
        "packages": {"torch": "2.13.0"},
        "git": {"commit": "abc123", "changed": []},
    }
    folder.write_plan(replace(folder.read_sweep(), environment=environment, created=1.8e9), sweep.graph())
    rows = cells(pull_request.text(collected(folder)))
    assert ["packages.torch", "2.13.0"] in rows
    assert ["git.commit", "abc123"] in rows
    assert ["cpu", "Xeon | 8"] in rows
    assert ["started", "2027-01-15 08:00 UTC"] in rows


def test_rows_of_several_lengths_are_told_apart(tmp_path: Path) -> None:
    """They were no rows of both sweeps, and looked alike among the warnings."""
    for day, speedup in (("1", 1.5), ("2", 0.8)):
        sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / day / "x")
        for length in (32, 128):
            workload = replace(synthetic.workload("Bert", threads=int(day)), sequence_length=length)
            eager = sweep.performance(workload, "eager", latency=0.1)
            pairs = [(0.1, 0.1 / (speedup if length == 128 else 1.5))] * 20
            sweep.performance(workload, "inductor", baseline=eager, pairs=pairs)
        folder = sweep.write()
        folder.write_plan(replace(folder.read_sweep(), created=float(day)), folder.read_graph())
    printed = orchestrator(tmp_path, "report", "2/x", "--md", "--against", "1/x")
    assert "1 new flag since 1/x, 0 of its flags no longer; 4 rows in both" in printed
    assert ["speed-up &lt; 0.95x", "Bert", "128", "inductor", "1.50x", "0.80x"] in cells(printed)
    assert any("sequence length 128" in text for row in cells(printed) for text in row)
