"""`history`: a metric over many sweeps. Sweeps with known numbers; other machines are never in one series."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import time
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import command, said
from support.synthetic import of_folder

from orchestrator.comparison import history, snapshot_files
from orchestrator.comparison.changes import Figure
from orchestrator.comparison.history import Series, Wanted
from orchestrator.records import JobResult, JobSpec, PluginSpec
from orchestrator.results import tables
from orchestrator.results.load import load
from orchestrator.store import SweepFolder
from orchestrator.views.history import causes

DAY = 86400.0
SPREAD = (-0.01, 0.0, 0.01)
"""Logarithms of the rounds' speed-ups around the row's."""
HALF = 4.302652729911275 * 0.01 * math.sqrt(0.44867)  # the variance of a median of three
"""Half-width of the 95 % interval of three rounds with that spread: Student's t with 2 degrees of freedom."""


def environment(host: str = "box", torch: str = "2.12.0", commit: str = "a1" * 20, **more: Any) -> dict[str, Any]:
    return {
        "host": host,
        "cpu": "Test CPU",
        "cores": 8,
        "gpus": [],
        "packages": {"torch": torch, "numpy": "2.4"},
        "git": {"commit": commit, "changed": []},
        **more,
    }


NEW = environment(torch="2.13.0", commit="c3" * 20)


class Days:
    """Sweeps one day after the other below `root`: speed-ups by model, None where inductor crashes."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def add(
        self,
        speedups: dict[str, float | None],
        where: dict[str, Any] | None = None,
        *,
        origin: str | None = None,
        points: Sequence[Any] = (),
        disturbed: Sequence[str] = (),
        compiler: str | PluginSpec = "inductor",
        counters: dict[str, int] | None = None,
        threads: int = 2,
    ) -> SweepFolder:
        self.count += 1
        sweep = synthetic.SyntheticSweep(self.root / f"2026-01-{self.count:02d}" / "10-00-00")
        for model, speedup in speedups.items():
            load = synthetic.workload(model, threads=threads)
            for round, log in enumerate(SPREAD):
                eager = sweep.performance(load, "eager", round, latency=0.1)
                if speedup is None:
                    spec = synthetic.job(load, compiler, round=round)
                    sweep.add(spec, synthetic.failed_result(spec, "crash", "killed by SIGSEGV"))
                    continue
                pair = (0.1, 0.1 / (speedup * math.exp(log)))
                sweep.performance(load, compiler, round, baseline=eager, latency=pair[1], pairs=[pair] * 8,
                                  disturbed=disturbed, counters=counters)  # fmt: skip
        folder = sweep.write()
        header = dataclasses.replace(
            folder.read_sweep(),
            created=1.76e9 + self.count * DAY,
            environment=where or environment(),
            origin=origin,
            points=tuple(points),
        )
        folder.write_plan(header, folder.read_graph())
        return folder


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Days:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Days(tmp_path / "outputs")


def series(days: Days, metric: str = "speedup", model: str = "*", compiler: str = "*") -> list[Series]:
    from orchestrator.results.listing import folders

    found = history.read(folders([days.root]), (), Wanted(metric, model, compiler))
    assert found.unreadable == []
    return history.build(found.snapshots, metric)


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, err = said(capsys, "history", *arguments, "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)["tables"]["history"]
    return found


# -- the numbers


def test_values_and_intervals_are_exact_and_those_of_the_report(days: Days) -> None:
    folder = days.add({"Bert": 1.2})
    (one,) = series(days)
    (point,) = one.points
    assert point.value == pytest.approx(1.2, rel=1e-12)
    assert point.low == pytest.approx(1.2 * math.exp(-HALF), rel=1e-9)
    assert point.high == pytest.approx(1.2 * math.exp(HALF), rel=1e-9)
    assert (point.word, point.causes, point.change) == (None, None, None)
    row = next(row for row in tables.build(load(folder)).performance.rows if row["compiler"] == "inductor")
    assert [point.value, point.low, point.high] == pytest.approx(
        [row["speedup"], row["speedup_low"], row["speedup_high"]], rel=1e-12
    )


@pytest.mark.parametrize("model", ["*", "GPT"])
def test_beside_other_rows_the_interval_is_still_that_of_the_report(days: Days, model: str) -> None:
    """Whichever of them are asked for: three rounds alone know little of their own spread."""
    folder = days.add({"Bert": 1.2, "T5": 1.3, "GPT": 1.4, "Llama": 0.9})
    report = {
        row["model"]: [row["speedup"], row["speedup_low"], row["speedup_high"]]
        for row in tables.build(load(folder)).performance.rows
        if row["compiler"] == "inductor"
    }
    found = {one.label.split()[0]: one.points[0] for one in series(days, model=model)}
    assert set(found) == (set(report) if model == "*" else {"GPT"})
    for name, point in found.items():
        assert [point.value, point.low, point.high] == pytest.approx(report[name], rel=1e-12)
    assert report["GPT"][2] < 1.4 * math.exp(0.99 * HALF)  # narrower than the row's own


def test_one_point_has_no_axis(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({"Bert": 1.2})
    code, text, _ = said(capsys, "history")
    assert code == 0
    drawn = [line for line in text.splitlines() if line.startswith("  ")]
    assert [" ".join(line.split()) for line in drawn] == [
        "sweep speedup change",
        "2026-01-01/10-00-00 1.20x [1.17, 1.24]",
    ]


def test_one_round_has_the_interval_of_its_pairs_or_none() -> None:
    assert history.interval(Figure(values=(2.0,), halves=(0.1,))) == pytest.approx(
        (2 * math.exp(-0.1), 2 * math.exp(0.1))
    )
    assert history.interval(Figure(values=(2.0,))) == (None, None)
    assert history.interval(Figure(values=(2.0, 2.0, 2.0), halves=(0.3, 0.3, 0.3))) == pytest.approx(
        (2 * math.exp(-0.3 * math.sqrt(0.44867)), 2 * math.exp(0.3 * math.sqrt(0.44867)))
    )


def test_a_change_beyond_noise_names_what_else_changed(days: Days) -> None:
    days.add({"Bert": 1.2, "T5": 1.3}, points=[{"rounds": 3}])
    days.add({"Bert": 1.205, "T5": 1.3}, points=[{"rounds": 3}])
    days.add({"Bert": 1.0, "T5": 1.302}, NEW, points=[{"rounds": 5}])
    days.add({"Bert": 1.5, "T5": 1.299}, NEW, points=[{"rounds": 5}])
    bert, t5 = series(days)
    assert [point.word for point in bert.points] == [None, "within noise", "worse", "better"]
    assert [point.word for point in t5.points] == [None, "within noise", "within noise", "within noise"]
    moved = bert.points[2]
    assert moved.change is not None
    assert moved.change.ratio == pytest.approx(1 / 1.205)
    assert moved.causes == {
        "git.commit": ("a1" * 20, "c3" * 20),
        "packages.torch": ("2.12.0", "2.13.0"),
        "rounds": ([3], [5]),
    }
    assert bert.points[3].causes == {}
    assert [point.causes for point in t5.points] == [None] * 4


def test_verdicts_stay_when_sweeps_are_added_and_do_not_depend_on_the_root(days: Days) -> None:
    def words() -> list[list[str | None]]:
        return [[point.word for point in one.points] for one in series(days)]

    for number in range(3):
        days.add({f"Model{model}": 1.2 * (1 + 0.03 * number * (model % 2)) for model in range(4)})
    before = words()
    assert "better" in before[1]
    for _ in range(3):
        days.add({f"Model{model}": 1.2 for model in range(4)})
    assert [one[:3] for one in words()] == before


def test_a_failure_is_a_point_and_so_is_its_repair(days: Days) -> None:
    days.add({"Bert": 1.2})
    days.add({"Bert": None}, NEW)
    days.add({"Bert": 1.2}, NEW)
    (one,) = series(days)
    crash, repaired = one.points[1:]
    assert (crash.value, crash.row.status, crash.word) == (None, "crash", "worse")
    assert crash.causes is not None
    assert crash.causes["packages.torch"] == ("2.12.0", "2.13.0")
    assert (repaired.value, repaired.word, repaired.causes) == (pytest.approx(1.2), "better", {})
    assert repaired.change is not None
    assert (repaired.change.word, repaired.change.ratio) == ("within noise", pytest.approx(1.0))  # to the last value


def test_an_unfinished_sweep_is_no_change(days: Days) -> None:
    days.add({"Bert": 1.2, "T5": 1.2})
    partly = days.add({"Bert": 1.2, "T5": 1.2})
    for job in partly.read_graph().jobs:
        if job.workload.model == "T5" or job.round == 2:
            partly.result_file(job.id).unlink()
    bert, t5 = series(days)
    assert [(len(point.row.jobs), point.word) for point in bert.points] == [(3, None), (3, "within noise")]
    assert bert.points[1].value == pytest.approx(1.2 * math.exp(-0.005))  # two of the three rounds
    assert len(t5.points) == 1


def test_counts_are_compared_exactly(days: Days) -> None:
    for breaks in (2, 2, 3):
        days.add({"Bert": 1.2}, counters={"graphs": 1, "graph_breaks": breaks})
    (one,) = series(days, "graph_breaks")
    assert [(point.value, point.word) for point in one.points] == [(2, None), (2, "within noise"), (3, "worse")]


def test_eager_is_a_series_of_what_it_has(days: Days) -> None:
    days.add({"Bert": 1.25})
    assert [one.config["compiler"] for one in series(days)] == ["inductor"]
    latency = series(days, "latency_ms")
    assert [(one.config["compiler"], one.points[0].value) for one in latency] == [
        ("eager", pytest.approx(100.0)),
        ("inductor", pytest.approx(80.0)),
    ]
    assert [one.config["compiler"] for one in series(days, "compile_latency_cold_s")] == ["inductor"]


# -- what is one series


def test_other_machines_are_other_series_and_other_packages_are_not(days: Days) -> None:
    days.add({"Bert": 1.2})
    days.add({"Bert": 0.6}, environment(host="other"))
    days.add({"Bert": 0.6}, environment(cpu="Other CPU"))
    days.add({"Bert": 0.6}, environment(cores=4))
    days.add({"Bert": 0.6}, environment(gpus=[{"name": "H200", "memory_bytes": 1}]))
    days.add({"Bert": 1.2}, environment(torch="3.0", driver="560", python="3.14", variables={"OMP_NUM_THREADS": "1"}))
    found = series(days)
    assert sorted(len(one.points) for one in found) == [1, 1, 1, 1, 2]
    assert {history.title(one.machine) for one in found} == {
        "box · Test CPU · 8 cores",
        "other · Test CPU · 8 cores",
        "box · Other CPU · 8 cores",
        "box · Test CPU · 4 cores",
        "box · Test CPU · 8 cores · H200 1",
    }
    assert not any(point.moved for one in found for point in one.points)


def test_the_machine_is_that_of_the_workers_not_of_who_planned(days: Days) -> None:
    for host in ("node7", "node8"):
        folder = days.add({"Bert": 1.2 if host == "node7" else 0.6}, environment(host="login"))
        for job in folder.read_graph().jobs:
            result = folder.read_result(job.id)
            assert isinstance(result, JobResult)
            folder.write_result(dataclasses.replace(result, environment={"host": host, "cpu": "Node CPU"}))
    found = series(days)
    assert [(one.machine["host"], one.machine["cpu"], len(one.points)) for one in found] == [
        ("node7", "Node CPU", 1),
        ("node8", "Node CPU", 1),
    ]


def test_another_gpu_is_another_machine_for_what_runs_on_it(days: Days) -> None:
    folder = days.add({"Bert": 1.2})
    read = of_folder(folder)
    row = next(row for row in read.rows if row.names["compiler"] == "inductor")
    read = dataclasses.replace(read, environment={**read.environment, "gpu.name": "H200"})
    on_gpu = dataclasses.replace(row, config={**row.config, "device": "cuda:0"})
    assert "gpu.name" not in history.machine(read, row)
    assert history.machine(read, on_gpu)["gpu.name"] == "H200"


def test_other_configurations_are_other_series_with_names_of_their_own(days: Days) -> None:
    days.add({"Bert": 1.2})
    days.add({"Bert": 0.6}, threads=1)
    days.add({"Bert": 0.7}, compiler=synthetic.compiler("inductor", dynamic=True))
    found = series(days)
    assert [(one.label, len(one.points)) for one in found] == [
        ('Bert inference float16 cpu inductor(compiler.options.dynamic="(absent)", threads=1)'.replace('"', ""), 1),
        ('Bert inference float16 cpu inductor(compiler.options.dynamic="(absent)", threads=2)'.replace('"', ""), 1),
        ("Bert inference float16 cpu inductor(compiler.options.dynamic=true, threads=2)", 1),
    ]


# -- the command


def test_the_picture_at_80_columns(days: Days) -> None:
    days.add({"Bert": 1.2, "T5": 1.3})
    days.add({"Bert": 1.2, "T5": 1.3})
    days.add({"Bert": 1.0, "T5": 1.3}, NEW, disturbed=["other processes used 0.50 cores"])
    days.add({"Bert": 1.0, "T5": 1.3}, NEW, origin="/x/outputs/2026-01-03/10-00-00")
    days.add({"Bert": 2.0, "T5": 1.3}, environment(host="other"))
    (days.root / "2026-01-09" / "x").mkdir(parents=True)
    (days.root / "2026-01-09" / "x" / "sweep.json").write_text("{")
    done = command("history", cwd=Path.cwd(), COLUMNS="80", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[:9] == [
        " box · Test CPU · 8 cores",
        "Bert inference float16 cpu inductor",
        "  sweep                  speedup              0.97x         1.24x  change",
        "  2026-01-01/10-00-00    1.20x [1.17, 1.24]                ├──●─┤",
        "  2026-01-02/10-00-00    1.20x [1.17, 1.24]                ├──●─┤  +0.0 %",
        "  2026-01-03/10-00-00    1.00x [0.97, 1.03]*  ├─●─┤                -16.7 % worse",
        "    worse: packages.torch 2.12.0 -> 2.13.0; git.commit a1a1a1a1 -> c3c3c3c3;",
        "      measured under disturbance (round 0: other processes used 0.50 cores;",
        "      round 1: other pr…)",
    ]
    assert lines[9] == "  2026-01-04/10-00-00 r  1.00x [0.97, 1.03]   ├─●─┤                +0.0 %"
    assert " other · Test CPU · 8 cores" in lines
    ends = " ".join(done.stdout.split())
    assert "● value, ├──┤ its 95 % interval" in ends
    assert "* measured under disturbance; r a rerun" in ends
    assert "5 sweeps below outputs: speedup of 4 series, 1 moved. 1 cannot be read: 2026-01-09/x: " in ends
    plain = command("history", cwd=Path.cwd(), COLUMNS="80", PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert "  2026-01-01/10-00-00    1.20x [1.17, 1.24]                |--o-|" in plain.stdout.splitlines()


def test_json_csv_and_markdown_have_the_same_points(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({"Bert": 1.2})
    days.add({"Bert": 1.0}, NEW, origin="/x/outputs/a/b")
    first, second = rows(capsys)
    assert first["series"] == "Bert inference float16 cpu inductor"
    assert (first["sweep"], first["created_s"], first["machine"]) == (
        "2026-01-01/10-00-00",
        1.76e9 + DAY,
        "box · Test CPU · 8 cores",
    )
    assert (first["model"], first["compiler"], first["threads"], first["rounds"]) == ("Bert", "inductor", 2, 3)
    assert (first["change"], first["causes"], first["ratio"]) == (None, None, None)
    assert second["value"] == pytest.approx(1.0)
    assert (second["before"], second["ratio"]) == (pytest.approx(1.2), pytest.approx(1 / 1.2))
    assert second["ratio_low"] < 1 / 1.2 < second["ratio_high"] < 1
    assert 0 < second["p"] < 0.001
    assert second["change"] == "worse"
    assert second["causes"] == f"packages.torch 2.12.0 -> 2.13.0; git.commit {'a1' * 20} -> {'c3' * 20}"
    assert second["origin"] == "/x/outputs/a/b"
    table = list(csv.DictReader(io.StringIO(said(capsys, "history", "--csv")[1])))
    assert [(row["sweep"], float(row["value"]), row["change"]) for row in table] == [
        (row["sweep"], row["value"], row["change"] or "") for row in (first, second)
    ]
    markdown = said(capsys, "history", "--md")[1]
    assert "| 1.00x [0.97, 1.03] | -16.7 % worse | worse: packages.torch 2.12.0 -> 2.13.0;" in markdown


def test_filters_metrics_and_the_newest(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        days.add({"Bert": 1.2, "T5": 1.3})
    assert {row["model"] for row in rows(capsys, "--model", "T*")} == {"T5"}
    assert {row["compiler"] for row in rows(capsys, "--compiler", "in*")} == {"inductor"}
    assert {row["compiler"] for row in rows(capsys, "--metric", "own_memory_mib")} == {"eager", "inductor"}
    assert [row["sweep"][:10] for row in rows(capsys, "--model", "T5", "--last", "2")] == ["2026-01-02", "2026-01-03"]
    assert [row["value"] for row in rows(capsys, "--metric", "graphs", "--model", "T5")] == [1.0, 1.0, 1.0]


def test_only_the_results_that_are_needed_are_read(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        days.add({"Bert": 1.2, "T5": 1.3, "GPT": 1.4})
    opened: list[str] = []
    real = SweepFolder.read_result

    def counted(self: SweepFolder, job_id: str) -> Any:
        opened.append(job_id)
        return real(self, job_id)

    monkeypatch.setattr(SweepFolder, "read_result", counted)
    (one,) = series(days, "latency_ms", model="T5", compiler="inductor")
    wanted = {job for point in one.points for job in point.row.jobs}
    assert set(opened) == wanted
    assert len(opened) == 2 * 3
    opened.clear()
    series(days, model="T5", compiler="inductor")
    assert len(opened) == 2 * 3 * 3  # all that compiled: how sure a row is depends on the others


def test_further_roots_and_baseline_files_are_points_too(
    days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = days.add({"Bert": 1.2, "T5": 1.2})
    snapshot_files.write(tmp_path / "main.json", of_folder(first))
    elsewhere = Days(tmp_path / "elsewhere")
    elsewhere.count = 1
    elsewhere.add({"Bert": 1.0})
    found = rows(capsys, "--root", "elsewhere", "main.json", "--model", "Bert")
    assert [(row["sweep"], row["value"]) for row in found] == [
        ("main.json: 2026-01-01/10-00-00", pytest.approx(1.2)),
        ("2026-01-02/10-00-00", pytest.approx(1.0)),
    ]
    assert found[1]["change"] == "worse"
    both = rows(capsys, "--root", "elsewhere", "--root", "outputs", "--root", str(days.root), "--model", "Bert")
    assert [row["sweep"] for row in both] == ["2026-01-01/10-00-00", "2026-01-02/10-00-00"]  # each folder once


def test_many_series_are_counted_and_those_that_moved_are_shown(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({f"Model{number:02d}": 1.2 for number in range(30)})
    days.add({f"Model{number:02d}": 1.2 if number != 27 else 2.4 for number in range(30)})
    text = said(capsys, "history")[1]
    assert text.count(" inference float16 cpu inductor\n") == verb_listed()
    assert "Model27 inference" in text
    assert "Model20 inference" not in text
    assert "and 10 series more" in text
    assert "speedup of 30 series, 1 moved." in text
    assert len(text.splitlines()) < 110


def verb_listed() -> int:
    from orchestrator.views.history import LISTED

    return LISTED


def test_long_series_show_their_newest_points_and_those_that_moved(
    days: Days, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.views import history as history_view

    monkeypatch.setattr(history_view, "POINTS", 3)
    for speedup in (1.2, 1.2, 1.8, 1.8, 1.8, 1.8, 1.8, 1.8):
        days.add({"Bert": speedup})
    text = said(capsys, "history")[1]
    assert [line.split()[0] for line in text.splitlines() if line.startswith("  2026")] == [
        f"2026-01-0{day}/10-00-00" for day in (3, 6, 7, 8)
    ]
    assert "4 other points are in --json and --csv" in text
    assert len(rows(capsys)) == 8


def test_the_plot_as_svg(days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({"Bert": 1.2, "T<5>&": 1.2})
    days.add({"Bert": 0.6, "T<5>&": None})
    code, _, err = said(capsys, "history", "--svg", str(tmp_path / "plot.svg"))
    assert (code, err) == (0, "")
    drawn = xml.etree.ElementTree.parse(tmp_path / "plot.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    circles = drawn.findall(f".//{name}circle")
    assert [circle.get("fill") for circle in circles] == ["#57606a", "#cf222e", "#57606a"]
    assert float(circles[0].get("cy", "")) < float(circles[1].get("cy", ""))  # up is more
    titles = [node.text for node in drawn.findall(f".//{name}title")]
    assert titles[1] == "2026-01-02/10-00-00: 0.60; worse"
    assert titles[3] == "2026-01-02/10-00-00: crash; worse"
    assert "T<5>& inference float16 cpu inductor: speedup" in [node.text for node in drawn.findall(f".//{name}text")]
    code, _, err = said(capsys, "history", "--svg", str(tmp_path / "no" / "plot.svg"))
    assert code == 2
    assert "plot.svg cannot be written" in err


def test_nothing_to_show(days: Days, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "history") == (0, "0 sweeps below outputs: speedup of 0 series, 0 moved.\n", "")
    days.root.mkdir()
    assert rows(capsys) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "Brt"], "--model Brt: no sweep has such a model: did you mean 'Bert'"),
        (["--compiler", "inducter"], "--compiler inducter: no sweep has such a compiler: did you mean 'inductor'"),
        (["latest"], "latest is no file: sweeps are found below --root"),
        (["--root", "nowhere"], "--root nowhere: there is no such folder"),
    ],
    ids=str,
)
def test_what_is_refused(days: Days, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({"Bert": 1.2})
    code, out, err = said(capsys, "history", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_damaged_baseline_file_is_named(days: Days, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days.add({"Bert": 1.2})
    (tmp_path / "bad.json").write_text("{}")
    out = said(capsys, "history", "bad.json", "--json")[1]
    assert [row["sweep"] for row in json.loads(out)["tables"]["unreadable"]] == ["bad.json"]
    assert "1 sweep below outputs" in said(capsys, "history", "bad.json")[1]


@pytest.mark.parametrize("arguments", [["--last", "0"], ["--last", "x"]], ids=str)
@pytest.mark.usefixtures("days")
def test_wrong_options_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        said(capsys, "history", *arguments)
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.usefixtures("days")
def test_a_metric_that_no_sweep_has_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = said(capsys, "history", "--metric", "speed")
    assert code == 2
    assert "did you mean 'speedup'" in told


# -- the parts


def test_the_likeliest_causes_come_first_and_the_others_are_counted() -> None:
    found = {
        "conf.0-main": ("b" * 64, "c" * 64),
        "git.commit": ("a" * 40, "(absent)"),
        "packages.torch": ("2.12", "2.13"),
        "rounds": ([3], [3, 5]),
        "variables.X": ("1", "x" * 50),
    }
    assert causes(found, 9) == [
        "packages.torch 2.12 -> 2.13",
        "git.commit aaaaaaaa -> (absent)",
        "conf.0-main bbbbbbbb -> cccccccc",
        "rounds 3 -> 3, 5",
        f"variables.X 1 -> {'x' * 31}…",
    ]
    assert causes(found, 1) == ["packages.torch 2.12 -> 2.13", "and 4 more"]
    assert causes(None, 3) == []


def test_jobs_of_other_measures_are_no_points(days: Days) -> None:
    sweep = synthetic.SyntheticSweep(days.root / "2026-01-01" / "10-00-00")
    sweep.accuracy("Bert", "inductor")
    spec: JobSpec = synthetic.job("Bert", "inductor", "reference")
    sweep.add(spec)
    sweep.write()
    assert series(days) == []


def told(tmp_path: Path, *arguments: str) -> list[dict[str, str]]:
    done = command("history", "--root", str(tmp_path), "--csv", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_means_of_a_suite_over_time(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.add({"Bert": 1.2, "GPT2": 1.5}, environment())
    days.add({"Bert": 1.2, "GPT2": 1.2}, NEW)
    days.add({"Bert": 1.2, "GPT2": None, "T5": 2.0}, NEW)

    rows = told(tmp_path, "--metric", "geomean_speedup")
    assert [float(row["value"]) for row in rows] == pytest.approx([math.sqrt(1.8), 1.2, math.sqrt(2.4)], rel=1e-6)
    assert [row["sweep"][:10] for row in rows] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert all(float(row["value_low"]) < float(row["value"]) < float(row["value_high"]) for row in rows)
    assert float(rows[1]["ratio"]) == pytest.approx(1.2 / math.sqrt(1.8))
    # a mean has no verdict of its own, but other workloads are said, and so is what else changed
    assert [row["change"] for row in rows] == ["", "", "other workloads"]
    assert "packages.torch 2.12.0 -> 2.13.0" in rows[1]["causes"]
    assert "workloads added 2 -> 3 (T5" in rows[2]["causes"]

    every = told(tmp_path, "--metric", "means", "--svg", str(tmp_path / "means.svg"))
    values = {(row["sweep"][:10], row["metric"]): float(row["value"]) for row in every}
    assert values["2026-01-03", "pass_rate_percent"] == pytest.approx(200 / 3)
    assert {metric for _, metric in values} >= {"geomean_speedup", "pass_rate_percent", "geomean_compression_ratio"}
    drawn = (tmp_path / "means.svg").read_text()
    xml.etree.ElementTree.fromstring(drawn)
    assert "geomean_speedup" in drawn
    assert "pass_rate_percent" in drawn
    assert time.strftime("%F", time.gmtime(float(rows[0]["created_s"]))) in drawn

    text = command("history", "--root", str(tmp_path), "--metric", "means", cwd=tmp_path).stdout
    assert "other workloads: workloads added 2 -> 3 (T5" in text
    assert "-10.6 %" in text


def test_means_are_of_all_models(tmp_path: Path) -> None:
    Days(tmp_path).add({"Bert": 1.2})
    done = command("history", "--root", str(tmp_path), "--metric", "means", "--model", "Bert", cwd=tmp_path)
    assert done.returncode == 2
    assert "a mean is over all models" in done.stderr
    done = command("history", "--root", str(tmp_path), "--metric", "means", "--compiler", "x*", cwd=tmp_path)
    assert done.returncode == 2
    assert "no sweep has such a compiler" in done.stderr
