"""Pictures for papers: drawn from the charts of the page, with the figures in them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support import synthetic
from support.command import orchestrator

from orchestrator.records import OBSERVED, PASS, JobResult

vl_convert = pytest.importorskip("vl_convert", reason="vl-convert-python (extra plots) is not installed")

NAMES = ("compilation", "heat_map", "memory", "speedup", "tradeoff")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_every_chart_is_drawn_with_its_models(tmp_path: Path) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    printed = orchestrator(tmp_path, "export", "plots", "-o", "pictures")
    found = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert found == {f"{name}_quick_inference_float16_cpu.svg" for name in NAMES}
    assert len(printed.splitlines()) == len(NAMES)
    for name in ("speedup", "heat_map", "compilation", "memory"):
        svg = (tmp_path / "pictures" / f"{name}_quick_inference_float16_cpu.svg").read_text()
        assert svg.startswith("<svg")
        assert "GPT2ForSequenceClassification" in texts(svg), name
        assert "quick · inference · float16 · cpu" in texts(svg)
    speedup = (tmp_path / "pictures" / "speedup_quick_inference_float16_cpu.svg").read_text()
    assert texts(speedup).index("GPT2ForSequenceClassification") < texts(speedup).index("T5Small")  # slowest first
    assert "eager" not in texts(speedup)
    assert "!" in texts(speedup)  # 0.93x is flagged
    heat = (tmp_path / "pictures" / "heat_map_quick_inference_float16_cpu.svg").read_text()
    assert {"1.11", "0.93", "2.31", "crash"} <= set(texts(heat))


def test_png_is_a_picture_of_200_dots_per_inch(tmp_path: Path) -> None:
    synthetic.quick_sweep(tmp_path / "outputs" / "1" / "2").write()
    orchestrator(tmp_path, "export", "plots", "-o", "pictures", "--format", "png")
    for name in NAMES:
        content = (tmp_path / "pictures" / f"{name}_quick_inference_float16_cpu.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(content[16:20], "big") > 480 * 200 / 72


def test_markup_in_a_name_is_text(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    sweep.performance("<script>alert(1)</script>", "inductor", pairs=[(0.2, 0.1)] * 20)
    sweep.write()
    orchestrator(tmp_path, "export", "plots", "-o", "pictures")
    svg = (tmp_path / "pictures" / "speedup_quick_inference_float16_cpu.svg").read_text()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_of_too_many_models_some_are_drawn_and_the_rest_is_said(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for i in range(103):
        sweep.performance(f"Model{i}", "inductor", pairs=[(1.0 + i / 100, 1.0)] * 20)
    sweep.write()
    printed = orchestrator(tmp_path, "export", "plots", "-o", "pictures")
    assert "speedup_quick_inference_float16_cpu.svg  the first 100 of 103 workloads" in printed
    svg = (tmp_path / "pictures" / "speedup_quick_inference_float16_cpu.svg").read_text()
    drawn = {text for text in texts(svg) if text.startswith("Model")}
    assert drawn == {f"Model{i}" for i in range(100)}  # the slowest


def test_batch_sizes_tell_workloads_apart_and_sections_have_files(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for size in (4, 8):
        sweep.performance(synthetic.workload("Bert", batch_size=size), "inductor", pairs=[(0.2, 0.1)] * 20)
    sweep.performance(synthetic.workload("Bert", mode="training", seed=7), "inductor", pairs=[(0.2, 0.1)] * 20)
    sweep.write()
    orchestrator(tmp_path, "export", "plots", "-o", "pictures")
    names = {path.stem for path in (tmp_path / "pictures").glob("speedup_*")}
    assert names == {"speedup_quick_inference_float16_cpu_seed-0", "speedup_quick_training_float16_cpu_seed-7"}
    svg = (tmp_path / "pictures" / "speedup_quick_inference_float16_cpu_seed-0.svg").read_text()
    assert {"Bert · batch 4", "Bert · batch 8"} <= set(texts(svg))


def test_means_over_time_are_those_of_this_machine_and_of_the_sweeps_until_now(tmp_path: Path) -> None:
    for second, speed in enumerate((0.1, 0.08, 0.05, 0.02)):
        sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / f"10-00-0{second}")
        for model in ("A", "B"):
            sweep.performance(model, "inductor", pairs=[(0.2, speed)] * 20)
        sweep.write()
    printed = orchestrator(tmp_path, "export", "plots", "2026-11-21/10-00-02", "-o", "pictures", "--over-time", "2")
    name = "over_time_geomean_speedup_quick_inference_float16_cpu.svg"
    assert name in printed
    drawn = texts((tmp_path / "pictures" / name).read_text())
    assert {"10-00-01", "10-00-02", "inductor", "2"} <= set(drawn)
    assert not {"10-00-00", "10-00-03"} & set(drawn)
    assert any("geometric-mean speed-up" in text for text in drawn)
    (tmp_path / "pictures" / name).unlink()
    printed = orchestrator(tmp_path, "export", "plots", "2026-11-21/10-00-00", "-o", "pictures", "--over-time", "2")
    assert "over time: no other sweep" in printed
    assert not (tmp_path / "pictures" / name).exists()


def test_the_losses_of_a_training_are_drawn(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    curves = [{"training_seed": 1, "training_step": i, "eager_loss": 4.0 - i, "loss": 4.25 - i} for i in range(3)]
    spec = replace(synthetic.job("Bert", "inductor", "training_loss"), kind=OBSERVED)
    spec = replace(spec, measure=replace(spec.measure, target="orchestrator.measures.training_loss.TrainingLoss"))
    facts = {"findings": {"loss_curves": curves}}
    sweep.add(spec, JobResult(job_id=spec.id, status=PASS, facts=facts, started=0.0, ended=1.0))
    sweep.write()
    orchestrator(tmp_path, "export", "plots", "-o", "pictures")
    drawn = texts((tmp_path / "pictures" / "loss_curves_Bert_inductor.svg").read_text())
    assert {"Training loss", "Bert · inductor", "optimizer steps", "compiled"} <= set(drawn)


def test_nothing_to_draw(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    sweep.add(synthetic.job("Bert", "eager"))
    sweep.write()
    assert "there is nothing to draw" in orchestrator(tmp_path, "export", "plots", "-o", "pictures", code=2)
