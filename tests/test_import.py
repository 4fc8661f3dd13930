"""Files of PyTorch's benchmarks/dynamo, good and damaged, as sweeps that every verb reads."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import orchestrator
from support.dynamobench import GOLDEN, load_of, timed
from support.synthetic import of_folder

from orchestrator.comparison.compare import compare
from orchestrator.exchange.dynamobench import TO_OURS, status_of
from orchestrator.exchange.dynamobench_files import Given, read
from orchestrator.records import STATUSES
from orchestrator.results.load import load
from orchestrator.results.tables import Tables, build
from orchestrator.store import SweepFolder, find_sweep

PERFORMANCE = "inductor_huggingface_float32_inference_cuda_performance.csv"
ACCURACY = "inductor_huggingface_float32_inference_cuda_accuracy.csv"
FULL = "dev,name,batch_size,speedup,abs_latency,compilation_latency,compression_ratio,eager_peak_mem,dynamo_peak_mem\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for CSV files, beside which sweeps are imported."""
    made = tmp_path / "csv"
    made.mkdir()
    return made


def tables(place: Path) -> Tables:
    return build(load(SweepFolder(place)))


def import_(folder: Path, *arguments: str) -> tuple[Tables, str]:
    """Import the folder; return the tables of the sweep and what was printed."""
    printed = orchestrator(folder.parent, "import", "dynamobench", str(folder), "--into", "outputs/1/2", *arguments)
    return tables(folder.parent / "outputs" / "1" / "2"), printed


def rejected(folder: Path, *arguments: str) -> str:
    """Import what cannot be imported: one message, exit code 2, and nothing is left behind."""
    printed = orchestrator(folder.parent, "import", "dynamobench", *(arguments or (str(folder),)), code=2)
    assert len(printed.splitlines()) == 1
    assert not (folder.parent / "outputs").exists()
    return printed


# -- what comes in


def test_imported_and_exported_again_the_files_are_the_same(tmp_path: Path) -> None:
    orchestrator(tmp_path, "import", "dynamobench", str(GOLDEN), "--into", "outputs/1/2")
    orchestrator(tmp_path, "export", "dynamobench", "-o", "again", "outputs/1/2")
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(
        path.name for path in (tmp_path / "again").iterdir()
    )
    for path in GOLDEN.iterdir():
        assert (tmp_path / "again" / path.name).read_text() == path.read_text()


def test_figures_are_those_of_the_file(tmp_path: Path) -> None:
    """Not only the cells that were kept: what the tables derive says the same."""
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "1")
    timed(sweep, load_of("Bert"), "inductor", 0.1, 1.25, first_call=40.0)
    timed(sweep, load_of("Gpt"), "inductor", 0.25, 0.8, first_call=30.0)
    before = build(load(sweep.write())).summary.rows
    orchestrator(tmp_path, "export", "dynamobench", "-o", "csv", "outputs/1/1")
    after = import_(tmp_path / "csv")[0].summary.rows
    assert [(r["model"], r["compiler"]) for r in before] == [(r["model"], r["compiler"]) for r in after]
    names = ("speedup", "latency_ms", "compile_latency_cold_s", "compression_ratio", "eager_latency_ms", "graph_breaks")
    for old, new in zip(before, after, strict=True):
        for name in names:
            assert new[name] == (old[name] if old[name] is None else pytest.approx(old[name], rel=2e-6)), name
        assert new["own_memory_mib"] == pytest.approx(old["own_memory_mib"], rel=1e-6)
        assert (new["batch_size"], new["device"], new["mode"]) == (old["batch_size"], old["device"], "training")
        assert (new["speedup_low"], new["verdict"], new["pairs"]) == (None, None, None if new["speedup"] is None else 0)


def test_a_median_is_one_sample_and_eager_is_derived(folder: Path) -> None:
    (folder / PERFORMANCE).write_text(FULL + "cuda,Bert,8,1.500000,10.000000,20.5,1.25,5.0,4.0\n")
    made, _ = import_(folder)
    eager, row = made.summary.rows
    assert (row["speedup"], row["latency_ms"], row["samples"], row["rounds"]) == (1.5, 10.0, 1, 1)
    assert (eager["latency_spread_percent"], row["latency_spread_percent"]) == (None, None)  # of one sample: none
    assert (eager["compiler"], eager["latency_ms"]) == ("eager", pytest.approx(15.0))
    assert eager["own_memory_mib"] == pytest.approx(5e9 / 2**20)
    assert (row["compile_latency_cold_s"], row["compression_ratio"]) == (20.5, 1.25)
    assert (row["seed"], row["threads"], row["device"], row["dtype"]) == (1337, 0, "cuda:0", "float32")


def test_eager_of_every_compiler_is_a_round(folder: Path) -> None:
    """Each file's runs had an eager of their own; ratios stay those of the files."""
    for compiler, speedup, ratio in (("inductor", 2.0, 1.25), ("aot_eager", 1.0, 0.5)):
        name = PERFORMANCE.replace("inductor", compiler)
        (folder / name).write_text(FULL + f"cuda,Bert,8,{speedup},10.0,20.5,{ratio},5.0,{5 / ratio}\n")
    made, _ = import_(folder)
    rows = {row["compiler"]: row for row in made.summary.rows}
    assert (rows["eager"]["rounds"], rows["eager"]["latency_ms"]) == (2, pytest.approx(15.0))  # of 20 and 10 ms
    assert rows["inductor"]["eager_latency_ms"] == pytest.approx(20.0)
    assert (rows["inductor"]["compression_ratio"], rows["aot_eager"]["compression_ratio"]) == (1.25, 0.5)
    assert {row["geomean_count"] for row in made.overview.rows if row["geomean_speedup"]} == {1}


def test_statuses_come_back(folder: Path) -> None:
    words = [*TO_OURS, "fail_to_run_at_batch_4", "fail_batch_invariance_at_2"]
    lines = "".join(f"cuda,Model{i},1,{word}\n" for i, word in enumerate(words))
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\n" + lines)
    made, printed = import_(folder)
    found = {row["model"]: row["status"] for row in made.accuracy.rows}
    assert found == {f"Model{i}": status_of(word) for i, word in enumerate(words)}
    assert set(found.values()) <= set(STATUSES)
    assert "note" not in printed


def test_a_word_that_nobody_knows_is_a_failure_and_said(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,exploded\ncuda,B,1,pass\n")
    made, printed = import_(folder)
    assert "note: 'exploded' is no known status: taken for fail_to_run, 1 times" in printed
    row = made.accuracy.rows[0]
    assert row["status"] == "fail_to_run"
    assert row["reason"] == f"the file says 'exploded' ({ACCURACY}, line 2)"


def test_zeros_and_words_among_figures_are_failures(folder: Path) -> None:
    (folder / PERFORMANCE).write_text(
        "dev,name,batch_size,speedup,abs_latency,compilation_latency,compression_ratio\n"
        "cuda,Padded,8,0.000000,0.000000,0,0\ncuda,Old,8,0.0000,0,0,0\ncuda,Infra,8,infra_error,infra_error,0,0\n"
        "cuda,Good,8,1.5,2.0,3.0,0.9\ncuda,Nan,8,nan,nan,nan,nan\n"
    )
    made, _ = import_(folder)
    found = {row["model"]: row["status"] for row in made.performance.rows if row["compiler"] == "inductor"}
    assert found == {
        "Padded": "fail_to_run",
        "Old": "fail_to_run",
        "Infra": "infrastructure",
        "Good": "pass",
        "Nan": "fail_to_run",
    }
    padded = next(row for row in made.performance.rows if row["model"] == "Padded")
    assert (padded["speedup"], padded["latency_ms"], padded["compression_ratio"]) == (None, None, None)
    assert "does not say how" in padded["reason"]


def test_old_files_lack_columns(folder: Path) -> None:
    """Without abs_latency: the speed-up, compile latency and ratio of memory stand, nothing else is made up."""
    (folder / PERFORMANCE).write_text(
        "dev,name,batch_size,speedup,compilation_latency,compression_ratio\ncuda,Bert,8,1.25,-0.5,0.875\n"
    )
    made, _ = import_(folder)
    (row,) = made.summary.rows
    assert (row["speedup"], row["compile_latency_cold_s"], row["compression_ratio"]) == (1.25, -0.5, 0.875)
    assert (row["latency_ms"], row["eager_latency_ms"], row["own_memory_mib"], row["graphs"]) == (None,) * 4
    orchestrator(folder.parent, "export", "dynamobench", "-o", "again", "outputs/1/2")
    assert (folder.parent / "again" / PERFORMANCE).read_text() == (folder / PERFORMANCE).read_text()


@pytest.mark.parametrize(
    ("line", "latency"), [("cuda,Bert,8,1.25,10.0,20.5,0.875", 10.0), ("cuda,Bert,8,1.25,20.5,0.875", None)]
)
def test_files_without_a_header_are_read_as_runner_reads_them(folder: Path, line: str, latency: float | None) -> None:
    (folder / PERFORMANCE).write_text(f"{line}\n")
    row = import_(folder)[0].summary.rows[-1]
    assert (row["speedup"], row["latency_ms"], row["compile_latency_cold_s"]) == (1.25, latency, 20.5)


def test_with_a_tag_the_word_of_a_failure_stands_in_its_column(folder: Path) -> None:
    (folder / ACCURACY).write_text(
        "dev,name,batch_size,tag,accuracy,graph_breaks\ncuda,A,1,main,pass,0\ncuda,A,1,fix,fail_accuracy,0\n"
        "cuda,B,1,timeout,0,0\n"
    )
    made, _ = import_(folder)
    found = {(row["model"], row["compiler"]): row["status"] for row in made.accuracy.rows}
    assert found[("A", "inductor(tag=main)")] == "pass"
    assert found[("A", "inductor(tag=fix)")] == "fail_accuracy"
    assert [status for (model, _), status in found.items() if model == "B"] == ["timeout"]


def test_rows_that_stand_twice_and_a_last_line_that_was_cut(folder: Path) -> None:
    (folder / PERFORMANCE).write_text(
        FULL + "cuda,Bert,8,0.000000,0.000000,0,0,0,0\ncuda,Bert,8,1.5,10.0,20.5,1.25,5.0,4.0\n\ncuda,Gpt,8,1.2"
    )
    made, printed = import_(folder)
    assert f"{PERFORMANCE}: 1 row given twice, the later one counts (line 3)" in printed
    assert f"{PERFORMANCE}, line 5: cut off in the middle, left out" in printed
    assert {row["model"] for row in made.summary.rows} == {"Bert"}
    assert made.summary.rows[-1]["speedup"] == 1.5


@pytest.mark.parametrize("size", ["2.5", "99999999999999999999", "-1", "1e400"])
def test_what_is_no_batch_size_is_refused_and_none_is_made_up(folder: Path, size: str) -> None:
    (folder / ACCURACY).write_text(f"dev,name,batch_size,accuracy\ncuda,A,{size},pass\n")
    assert f"line 2: batch_size '{size}' is no batch size" in rejected(folder)


def test_a_failed_row_without_batch_size_belongs_to_its_model(folder: Path) -> None:
    for compiler, line in (("inductor", "cuda,Bert,8,1.5,10.0"), ("aot_eager", "cuda,Bert,0,0.000000,0.000000")):
        (folder / PERFORMANCE.replace("inductor", compiler)).write_text(
            f"dev,name,batch_size,speedup,abs_latency\n{line}\n"
        )
    assert {row["batch_size"] for row in import_(folder)[0].summary.rows} == {8}


def test_names_of_files_that_say_nothing(folder: Path) -> None:
    (folder / "inductor.csv").write_text("dev,name,batch_size,speedup,abs_latency\ncpu,Bert,8,1.5,10.0\n")
    printed = rejected(folder, str(folder / "inductor.csv"))
    assert "say what it holds: --compiler --suite --dtype --mode --device" in printed
    said = [
        "--compiler=inductor",
        "--suite=huggingface",
        "--dtype=amp",
        "--mode=training",
        "--device=cpu",
        "--threads=8",
    ]
    orchestrator(folder.parent, "import", "dynamobench", str(folder / "inductor.csv"), "--into", "outputs/1/2", *said)
    row = tables(folder.parent / "outputs" / "1" / "2").summary.rows[-1]
    assert (row["compiler"], row["suite"], row["dtype"], row["mode"]) == ("inductor", "huggingface", "amp", "training")
    assert (row["device"], row["threads"]) == ("cpu", 8)


def test_formulas_markup_and_paths_in_names_do_no_harm(folder: Path) -> None:
    names = ["=cmd()", "<script>alert(1)</script>", "../../etc/passwd", "a|b", "über"]
    with open(folder / ACCURACY, "w", encoding="utf-8-sig", newline="") as file:  # with a byte order mark and CRLF
        writer = csv.writer(file)
        writer.writerow(["dev", "name", "batch_size", "accuracy"])
        writer.writerows([["cuda", name, 1, "pass"] for name in names])
    made, _ = import_(folder)
    assert {row["model"] for row in made.accuracy.rows} == set(names)
    orchestrator(folder.parent, "export", "dynamobench", "-o", "again", "outputs/1/2")
    text = (folder.parent / "again" / ACCURACY).read_text()
    assert "cuda,'=cmd(),1,pass" in text
    source, _ = read(folder.parent / "again" / ACCURACY, Given())
    assert {line.text("name") for line in source.lines} == set(names)


# -- where it goes


def test_by_default_a_sweep_takes_its_place_by_age(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\n")
    os.utime(folder / ACCURACY, (1_500_000_000, 1_500_000_000))  # July 2017
    printed = orchestrator(folder.parent, "import", "dynamobench", str(folder))
    found = find_sweep("latest", folder.parent / "outputs")
    assert found.root.name.endswith("-imported")
    assert found.root.parent.name == "2017-07-14"
    assert found.read_sweep().created == 1_500_000_000
    assert found.read_sweep().origin == "imported from 1 file"
    assert f"1 rows of 1 files -> outputs/2017-07-14/{found.root.name}" in printed
    assert sorted(path.name for path in found.root.iterdir()) == ["jobs", "plan.json", "sweep.json", "tables"]


def test_a_folder_that_exists_is_not_touched(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\n")
    (folder / "kept.txt").write_text("mine")
    printed = rejected(folder, str(folder), "--into", str(folder))
    assert "exists: name another folder with --into" in printed
    assert sorted(path.name for path in folder.iterdir()) == [ACCURACY, "kept.txt"]


def test_report_reads_it(folder: Path) -> None:
    for path in GOLDEN.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    import_(folder)
    printed = orchestrator(folder.parent, "report", "outputs/1/2", code=1)  # some of its runs failed
    assert "BertForMaskedLM  batch 16" in printed
    assert "1.25x" in printed
    assert "infra_error" not in printed.split("failures")[0]
    for form in ("--md", "--csv", "--json"):
        assert "BertForMaskedLM" in orchestrator(folder.parent, "report", "outputs/1/2", form, code=1)


def test_old_results_can_be_compared_with_new_ones(folder: Path, tmp_path: Path) -> None:
    """The rows match, though much of what is known of ours is not known of theirs."""
    (folder / PERFORMANCE).write_text(FULL + "cuda,Bert,16,1.0,100.0,20.5,1.25,5.0,4.0\n")
    import_(folder)
    sweep = synthetic.SyntheticSweep(tmp_path / "new")
    workload = load_of("Bert", dtype="float32", mode="inference", device="cuda:0", seed=1337)
    timed(sweep, workload, "inductor", 0.1, 2.0)
    made = compare(of_folder(SweepFolder(tmp_path / "outputs/1/2")), of_folder(sweep.write()))
    assert not made.missing
    assert not made.new
    (compiled,) = [pair for pair in made.matched if pair.before.names["compiler"] == "inductor"]
    change = next(metric for metric in compiled.metrics if metric.metric == "speedup")
    assert (change.before, change.after, change.word) == (1.0, pytest.approx(2.0), "better")


def test_it_cannot_be_resumed(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,infra_error\n")
    import_(folder)
    assert "was imported" in orchestrator(folder.parent, "resume=outputs/1/2", code=2)
    assert "resume" not in orchestrator(folder.parent, "report", "outputs/1/2", code=1)


# -- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: leave it out"),
        ("a,b,c\n1,2,3\n", "line 1: no column 'name'"),
        ("dev,name,batch_size\ncuda,A,1\n", "neither 'speedup' nor 'accuracy' alone is among its columns"),
        ("dev,name,batch_size,accuracy\ncuda,A,1,pass,extra,9\n", "line 2: 6 cells under a header of 4"),
        ("dev,name,batch_size,accuracy\ncuda,,1,pass\n", "line 2: the row names no model"),
        ("dev,name,batch_size,accuracy\ncuda,A\0,1,pass\n", "NUL"),
        ('dev,name,batch_size,accuracy\ncuda,"A"x,1,pass\n', "cannot be read as CSV"),
        ('dev,name,batch_size,accuracy\ncuda,"A,1,pass\n', "cannot be read as CSV"),
        (f"dev,name,batch_size,accuracy\ncuda,{'A' * 200_000},1,pass\n", "field larger than field limit"),
        ("dev,name,batch_size,accuracy\n", "there is no row in"),
    ],
)
def test_damaged_files_are_named_with_line_and_remedy(folder: Path, text: str, message: str) -> None:
    (folder / ACCURACY).write_text(text)
    printed = rejected(folder)
    assert message in printed
    assert ACCURACY in printed


def test_a_file_that_is_no_text(folder: Path) -> None:
    (folder / ACCURACY).write_bytes(b"\xff\xfe\x00\x01" * 100)
    assert "cannot be read as CSV" in rejected(folder)


def test_one_bad_file_of_several_leaves_nothing(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\n")
    (folder / PERFORMANCE).write_text("dev,name,batch_size,speedup\ncuda,A,1,1.5,2,3\n")
    assert f"{PERFORMANCE}, line 2" in rejected(folder)


def test_nothing_half_written_when_the_disk_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.errors import UsageError
    from orchestrator.exchange import dynamobench_import
    from orchestrator.exchange import folder as imported

    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\ncuda,B,1,pass\n")
    source, _ = read(folder / ACCURACY, Given())
    write = Path.write_text

    def full(self: Path, *arguments: Any, **options: Any) -> int:
        if self.name == "result.json" and list(self.parent.parent.glob("*/result.json")):
            raise OSError(28, "No space left on device")
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    into = folder.parent / "outputs" / "1" / "2"
    with pytest.raises(UsageError, match="No space left"):
        imported.write(dynamobench_import.read([source]), into, (), [source.path], 0.0)
    assert list((folder.parent / "outputs" / "1").iterdir()) == []


def test_the_same_results_twice(folder: Path) -> None:
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\n")
    other = folder / "copy"
    other.mkdir()
    (other / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,fail_accuracy\n")
    printed = rejected(folder, str(folder), str(other))
    assert "A with inductor stands in another of these files, too" in printed


def test_places_that_are_not_there_or_hold_nothing(folder: Path) -> None:
    assert "no such file or folder" in rejected(folder, "nowhere")
    (folder / "geomean.csv").write_text("a,b\n")
    assert "no *_performance.csv or *_accuracy.csv" in rejected(folder)


def test_other_files_of_a_folder_are_counted(folder: Path) -> None:
    (folder / "geomean.csv").write_text("a,b\n")
    (folder / ACCURACY).write_text("dev,name,batch_size,accuracy\ncuda,A,1,pass\n")
    assert "1 other CSV files were not read" in import_(folder)[1]


def test_memory_that_is_known_to_be_wrong_is_never_judged(tmp_path: Path) -> None:
    """What benchmarks/dynamo writes for CPUs is no size: half of it is no gain. Of CUDA it is."""
    for device, judged in (("cpu", False), ("cuda", True)):
        for number, size in ((1, 4.0), (2, 2.0)):
            csv = tmp_path / f"{device}{number}" / f"inductor_huggingface_float32_inference_{device}_performance.csv"
            csv.parent.mkdir()
            csv.write_text(
                "dev,name,batch_size,speedup,abs_latency,compilation_latency,compression_ratio,eager_peak_mem,"
                f"dynamo_peak_mem\n{device},BertForMaskedLM,4,1.5,10.0,20.0,0.9,5.0,{size}\n"
            )
            orchestrator(tmp_path, "import", "dynamobench", str(csv.parent), "--into", f"outputs/{device}/{number}")
        sides = [of_folder(SweepFolder(tmp_path / "outputs" / device / str(n))) for n in (1, 2)]
        found = compare(*sides)
        assert any(m.metric == "own_memory_mib" for pair in found.matched for m in pair.changed) is judged
        (row,) = build(load(SweepFolder(tmp_path / "outputs" / device / "2"))).performance.rows[1:]
        assert row["compression_ratio"] == 0.9
