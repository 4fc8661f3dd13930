"""What diff says before anything is run: overrides that plan the other sweep's jobs, what a file would change."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser
from support.command import FAKES, answer, command, orchestrator

from orchestrator.cli import sweep as command_line
from orchestrator.execution.hydra_plugin import planned, search_path
from orchestrator.execution.ownership import claim
from orchestrator.execution.planned import PlannedSweep
from orchestrator.store import JobGraph, SweepFolder

TINY = ("suite=tiny", "suite.models=[bert_tiny]", "rounds=1")
QUICK = ("suite=quick", "suite.models=[bert_small,llama_small]", "rounds=1")
PAIRS = {
    "axes": ((*TINY, "compiler=eager,inductor"), (*TINY, "compiler=inductor", "dtype=float32,bfloat16")),
    "options": ((*TINY, "compiler=inductor"), (*TINY, "compiler=inductor", "compiler.options.dynamic=true,false")),
    "another suite": ((*TINY, "batch_size=2"), (*QUICK, "measure=performance", "sequence_length=128,512")),
    "models and rounds": (TINY, ("suite=tiny", "suite.models=[bert_tiny,t5_tiny]", "rounds=3", "measure=accuracy")),
    "zip": ((*TINY, "dtype=float32,bfloat16"),
            (*TINY, "dtype=float32,bfloat16", "batch_size=1,2", "zip=[dtype,batch_size]")),
    "exclude": (QUICK, (*QUICK, "compiler=eager,aot_eager", "exclude=[{model:llama_*,compiler:aot_eager}]")),
    "file": ((*TINY, "compiler=aot_eager"), ("experiment=mine", "seed=7")),
    "folder": (TINY, (*FAKES, "suite=perceptrons", "measure=glance", "rounds=1", "compiler=eager,does_raise")),
    "model": (TINY, (*TINY, "suite.catalog.bert_tiny.build.config.hidden_size=64,128")),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(
        "defaults: [{override /suite: tiny}]\nsuite: {models: [bert_tiny]}\nrounds: 2\n"
        "hydra: {sweeper: {params: {compiler: 'aot_eager,eager', dtype: 'float32,bfloat16'}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", "fakes")
    return tmp_path


def plan(arguments: Sequence[str]) -> PlannedSweep:
    asked = command_line._parse(get_args_parser(), arguments)
    return planned(asked.overrides, search_path(asked.config_dir))


def write(folder: str, arguments: Sequence[str]) -> SweepFolder:
    """Plan a command and write its folder, as a sweep does before it runs."""
    made = plan(arguments)
    store = SweepFolder(Path("outputs") / "2026-01-01" / folder)
    header = PlannedSweep(store, made.graph, _said(made, arguments), made.conf, dry_run=False, resumed=False)
    header.write()
    return store


def _said(made: PlannedSweep, arguments: Sequence[str]) -> Any:
    return dataclasses.replace(made.header, argv=tuple(arguments), created=time.time())


def ids(graph: JobGraph) -> set[str]:
    return {job.id for job in graph.jobs}


def lines(cwd: Path) -> dict[str, dict[str, Any]]:
    """Return side -> its row of the table `pasted`, of the two sweeps in `cwd`."""
    out = orchestrator(cwd, "diff", "latest~1", "latest", "--config-only", "--json")
    return {row["side"]: row for row in json.loads(out)["tables"]["pasted"]}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_is_pasted_plans_exactly_the_jobs_of_the_other_sweep(here: Path, pair: tuple[Any, Any]) -> None:
    sweeps = [write(f"00-00-0{n}", arguments) for n, arguments in enumerate(pair)]
    found = lines(here)
    assert found.keys() == {"A", "B"}
    for side, base, wanted in (("B", pair[0], sweeps[1]), ("A", pair[1], sweeps[0])):
        row = found[side]
        words = shlex.split(row["paste"])
        whole = words[:3] == ["python", "-m", "orchestrator"]
        assert whole == bool(row["paste_note"])
        assert row["paste_planned"] == "yes"
        assert ids(plan(words[3:] if whole else [*base, *words]).graph) == ids(wanted.read_graph()), row


def test_a_line_to_append_is_shown_where_there_is_one(here: Path) -> None:
    for n, arguments in enumerate(PAIRS["axes"]):
        write(f"00-00-0{n}", arguments)
    text = orchestrator(here, "diff", "latest~1", "latest", "--config-only")
    assert "  A to B  compiler=inductor dtype=float32,bfloat16\n" in text
    assert "  B to A  compiler=eager,inductor dtype=" in text
    assert "no line" not in text


def test_what_no_command_brings_about_is_said(here: Path) -> None:
    """A rerun of some jobs has the overrides of all."""
    write("00-00-00", TINY)
    some = write("00-00-01", (*QUICK, "compiler=eager,inductor"))
    graph = some.read_graph()
    some.write_plan(some.read_sweep(), JobGraph((*graph.jobs[:1], *graph.jobs[-1:])))
    claim(some)
    row = lines(here)["B"]
    assert f"plan {len(graph.jobs)} jobs instead of " in row["paste_note"]
    assert row["paste_note"].startswith("no line plans these jobs")


def test_what_somebody_else_made_is_not_composed(here: Path) -> None:
    """Composing runs what hydra.callbacks names."""
    write("00-00-00", TINY)
    other = write("00-00-01", (*TINY, "dtype=bfloat16"))
    other.owner.unlink()
    assert lines(here)["B"]["paste_note"] == "not planned: somebody else made it"
    assert lines(here)["A"]["paste_planned"] == "yes"
    changed = write("00-00-02", (*TINY, "dtype=float32"))
    (changed.conf / "0-main" / "config.yaml").write_text("hydra: {callbacks: {x: {_target_: os.abort}}}")
    assert "is not as it was copied" in lines(here)["B"]["paste_note"]


# -- a configuration that was not run


def rows(cwd: Path, *arguments: str) -> dict[str, list[str]]:
    out = orchestrator(cwd, "diff", "latest", *arguments, "--all", "--json")
    found: dict[str, list[str]] = {}
    for row in json.loads(out)["tables"]["rows_ahead"]:
        found.setdefault(row["ahead"], []).append(f"{row['dtype']} {row['compiler']} {row['measure']}")
    return found


def test_overrides_are_compared_with_a_sweep_before_they_are_run(here: Path) -> None:
    write("00-00-00", (*TINY, "compiler=eager,aot_eager", "dtype=float32", "measure=performance"))
    same = (*TINY, "compiler=eager,aot_eager", "dtype=float32", "measure=performance")
    assert rows(here, *same) == {"same": ["float32 eager performance", "float32 aot_eager performance"]}
    more = rows(here, *TINY, "compiler=eager,inductor", "dtype=float32,bfloat16", "measure=performance")
    assert more == {
        "changed": ["float32 inductor performance"],  # of aot_eager
        "same": ["float32 eager performance"],
        "new": ["bfloat16 eager performance", "bfloat16 inductor performance"],
    }
    code, out, err = answer(here, "diff", "latest", *same, "seed=7")
    assert (code, err) == (0, "")
    assert "B  the configuration  2 rows, 2 jobs: nothing was run" in out
    assert "seed: 1337 -> 7" in out
    assert "0 rows the same; 2 jobs new, 2 jobs gone" in out
    assert len(list(Path("outputs").glob("*/*"))) == 1


def test_a_file_is_compared_with_a_sweep_before_it_is_run(here: Path) -> None:
    write("00-00-00", ("experiment=mine",))
    file = here / "elsewhere" / "theirs.yaml"
    file.parent.mkdir()
    file.write_text((here / "experiments" / "mine.yaml").read_text().replace("rounds: 2", "rounds: 3"))
    assert set(rows(here, "experiments/mine.yaml")) == {"same"}
    assert set(rows(here, "experiment=mine")) == {"same"}
    out = command("diff", "latest", str(file), "dtype=float32", cwd=here).stdout
    assert "rounds: 2 -> 3" in out
    assert "dtype: float32,bfloat16 -> float32" in out
    assert "2 -> 3 rounds" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dtype=float32"], "is compared with one sweep"),
        (["latest", "latest", "dtype=float32"], "is compared with one sweep"),
        (["latest", "nothing.yaml"], "nothing.yaml: there is no such file"),
        (["latest", "dtype=float31"], "float31"),
        (["latest", "dtype=float32", "--metric", "speedup"], "without figures"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_message(here: Path, arguments: list[str], message: str) -> None:
    write("00-00-00", TINY)
    code, out, err = answer(here, "diff", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
