"""A snapshot holds what a sweep found, row by row and round by round, and survives its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support import synthetic
from support.synthetic import of_folder

from orchestrator import system
from orchestrator.comparison import sides, snapshot, snapshot_files
from orchestrator.comparison.changes import Figure
from orchestrator.errors import UsageError
from orchestrator.records import Need
from orchestrator.results import configuration
from orchestrator.results.load import load
from orchestrator.store import Sweep


def two_rounds(root: Path, **changes: object) -> snapshot.Snapshot:
    """Eager at 0.1 s, inductor at 0.05 and 0.04 s: speed-ups of 2 and 2.5."""
    sweep = synthetic.SyntheticSweep(root)
    for round, seconds in enumerate((0.05, 0.04)):
        eager = sweep.performance("Bert", "eager", round, latency=0.1)
        sweep.performance(
            "Bert",
            synthetic.compiler("inductor", dynamic=True),
            round,
            baseline=eager,
            latency=seconds,
            first_call=seconds + 5,
            pairs=[(0.1, seconds)] * 20,
            counters={"graphs": 2, "graph_breaks": 0},
            **changes,
        )
    return of_folder(sweep.write())


def test_figures_are_per_round_in_the_units_of_the_tables(tmp_path: Path) -> None:
    eager, row = two_rounds(tmp_path / "2026-01-01" / "00-00-00").rows
    assert row.title == "Bert inference float16 cpu inductor performance"
    assert row.figures["latency_ms"].values == pytest.approx((50, 40))
    assert row.figures["speedup"].values == pytest.approx((2, 2.5))
    assert row.figures["speedup"].halves == (0, 0)
    assert row.figures["compile_latency_cold_s"].values == pytest.approx((5,))
    assert row.figures["compile_latency_warm_s"].values == pytest.approx((5,))
    assert row.figures["own_memory_mib"].values == pytest.approx((300, 300))
    assert row.counts["graphs"] == 2
    assert row.counts["graph_breaks"] == 0
    assert "speedup" not in eager.figures
    assert len(row.jobs) == 2


def test_a_disturbed_row_with_a_latency_has_its_fastest_steps(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    for round, fastest in enumerate((0.011, 0.010, 0.013)):
        steps = [fastest] * 4 + [0.024] * 16
        sweep.performance("Bert", "eager", round, latency=steps, disturbed=["busy"] * (round == 1))
        sweep.performance("Quiet", "eager", round, latency=steps)
    disturbed, quiet = of_folder(sweep.write()).rows
    assert (disturbed.fastest_ms, quiet.fastest_ms) == (pytest.approx(11), None)
    assert disturbed.figures["latency_ms"].values == pytest.approx((24, 24, 24))


def test_the_mean_of_a_figure_is_geometric() -> None:
    assert Figure(values=(1, 4)).middle == pytest.approx(2)


def test_a_row_with_a_failed_round_has_no_figures(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    eager = sweep.performance("Bert", "eager")
    sweep.performance("Bert", "inductor", baseline=eager, pairs=[(0.1, 0.05)] * 20)
    spec = synthetic.job("Bert", "inductor", round=1, needs=[Need(job=eager.id, kind="baseline")])
    sweep.add(spec, synthetic.failed_result(spec, "crash", "killed by SIGSEGV"))
    _, row = of_folder(sweep.write()).rows
    assert (row.status, row.reason, dict(row.figures), dict(row.counts)) == ("crash", "killed by SIGSEGV", {}, {})


def test_references_are_no_rows(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.accuracy("Bert", "inductor")
    sweep.add(synthetic.job("Bert", "eager", "reference"))
    assert [row.kind for row in of_folder(sweep.write()).rows] == ["accuracy"]


def test_a_file_gives_the_same_snapshot(tmp_path: Path) -> None:
    made = two_rounds(tmp_path / "s", disturbed=["steal 0.3 cores"])
    snapshot_files.write(tmp_path / "base.json", made)
    assert snapshot_files.read(tmp_path / "base.json") == made


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "is no snapshot"),
        ('{"kind": "orchestrator snapshot", "schema": 99}', "schema version 99"),
        ('{"kind": "orchestrator snapshot", "schema": 1, "name": 3}', "is damaged"),
    ],
)
def test_what_is_no_snapshot_is_refused_by_name(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        snapshot_files.read(tmp_path / "base.json")
    assert "base.json" in str(caught.value)


def test_the_configuration_is_that_of_the_command_line(tmp_path: Path) -> None:
    _, row = two_rounds(tmp_path / "s").rows
    assert row.config["compiler"] == "inductor"
    assert row.config["compiler.options.dynamic"] is True
    assert row.config["suite.models"] == "Bert"
    assert row.config["suite.catalog.Bert.build.class_name"] == "Bert"
    assert row.config["execution.launcher"] == "fork"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("compiler.options.dynamic", True, "++compiler.options.dynamic=true"),
        ("suite.models", "T5-Small", "suite.models=[T5-Small]"),
        ("device", "cuda:1", "device=cuda device.index=1"),
        ("dtype", "float16", "dtype=float16"),
        ("sequence_length", None, "sequence_length=null"),
        ("measure.options.names", ["a b", 2, {"c": False}], "++measure.options.names=['a b',2,{c:false}]"),
        ("compiler.options.gone", configuration.ABSENT, "~compiler.options.gone"),
    ],
)
def test_keys_are_written_as_overrides(key: str, value: object, text: str) -> None:
    assert configuration.override(key, value) == text


def test_settings_are_the_values_over_the_points() -> None:
    points = [{"rounds": 3, "compiler": {"name": "x"}, "execution": {"retries": n, "env": {}}} for n in (1, 2, 1)]
    assert configuration.settings(points) == {
        "rounds": (3,),
        "execution.retries": (1, 2),
        "execution.env": ({},),
    }


def test_the_environment_is_flat_and_without_what_jobs_make_of_it() -> None:
    header = {
        "packages": {"torch": "2.13.0"},
        "git": {"commit": "abc", "changed": ["a.py", "b.py"]},
        "gpus": [{"name": "H200", "memory_bytes": 7}],
        "driver": None,
        "conf": {"0-main": {"path": "/x", "sha256": "f00"}},
    }
    sweep = Sweep(argv=(), overrides=(), points=(), created=1.0, environment=header)
    assert snapshot.environment(sweep) == {
        "packages.torch": "2.13.0",
        "git.commit": "abc",
        "git.changed": "a.py, b.py",
        "gpus": "H200 7",
        "conf.0-main": "f00",
    }
    seen = system.variables({"OMP_NUM_THREADS": "2", "HOME": "/root", "TRITON_CACHE_DIR": "/c"})
    assert seen == {"OMP_NUM_THREADS": "2"}


def test_the_build_of_torch_is_what_torch_says() -> None:
    torch = pytest.importorskip("torch")
    assert system.torch_build() == {"git": torch.version.git_version, "cuda": torch.version.cuda}


def test_sources_are_sweeps_jobs_and_files(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    folder = root / "2026-01-01" / "00-00-00"
    made = two_rounds(folder)
    job = made.rows[1].jobs[0]
    assert sides.read("latest", root) == made
    snapshot_files.write(tmp_path / "base.json", made)
    assert sides.read(str(tmp_path / "base.json"), root) == made
    for reference in (f"latest:{job[:9]}", str(folder / "jobs" / job)):
        (row,) = sides.read(reference, root).rows
        assert row.jobs == (job,)
        assert row.figures["speedup"].values == pytest.approx((2,))
    with pytest.raises(UsageError, match="no job has an id that begins with 'zz'"):
        sides.read("latest:zz", root)
    with pytest.raises(UsageError, match="no job has an id that begins with ''"):
        sides.read("latest:", root)


def test_only_keeps_the_sweep(tmp_path: Path) -> None:
    two_rounds(tmp_path / "s")
    results = load(sides.find(str(tmp_path / "s"), tmp_path)[0])
    one = sides.only(results, results.outcomes[1].job.id)
    assert dataclasses.replace(one, outcomes=()) == dataclasses.replace(results, outcomes=())
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["created"] == results.sweep.created
