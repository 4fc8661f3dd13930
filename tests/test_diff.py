"""diff: what differs is shown, what does not is counted, and what is shown can be pasted back."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.command import FAKES, orchestrator
from support.synthetic import of_folder

from orchestrator.__main__ import main
from orchestrator.comparison import configuration_changes, matrix, sides, snapshot
from orchestrator.comparison.compare import compare
from orchestrator.comparison.differences import Labels, differences
from orchestrator.errors import UsageError
from orchestrator.records import Need
from orchestrator.results import configuration, exports, tables
from orchestrator.results.load import JobOutcome, load
from orchestrator.store import SweepFolder

ENVIRONMENT = {"host": "vm", "packages": {"torch": "2.12.0", "numpy": "2.4"}}
SETTINGS = {"rounds": 3, "batch_size": None, "execution": {"timeout_s": 600.0, "env": {}}}
Said = Callable[..., tuple[int, str, str]]


def write(
    root: Path,
    *,
    seed: int = 0,
    models: Sequence[str] = ("Bert", "Gpt", "T5"),
    compilers: Mapping[str, Mapping[str, Any]] | None = None,
    slow: Mapping[str, float] | None = None,
    crash: Sequence[str] = (),
    disturbed: Sequence[str] = (),
    breaks: Mapping[str, int] | None = None,
    dtype: str = "float16",
    environment: Mapping[str, Any] = ENVIRONMENT,
    settings: Mapping[str, Any] = SETTINGS,
    argv: Sequence[str] = ("compiler=inductor",),
) -> SweepFolder:
    """Write a sweep: eager at 100 ms, compilers 1.25 times faster, in three rounds with 0.5 % between rounds.

    compilers: name -> options; slow: model -> by how much its compilers (not eager) are slower.
    """
    chance = random.Random(seed)
    sweep = synthetic.SyntheticSweep(root)
    for model in models:
        load_ = synthetic.workload(model, dtype=dtype)
        for n in range(3):
            eager = sweep.performance(load_, "eager", n, latency=0.1)
            for name, options in (compilers or {"inductor": {}}).items():
                spec = synthetic.compiler(name, **options)
                if model in crash:
                    failed = synthetic.job(load_, spec, round=n, needs=[Need(job=eager.id, kind="baseline")])
                    sweep.add(failed, synthetic.failed_result(failed, "crash", "killed by SIGSEGV (signal 11)"))
                    continue
                seconds = 0.08 * (slow or {}).get(model, 1.0) * chance.gauss(1, 0.005)
                noise = [chance.gauss(1, 0.002) for _ in range(30)]
                sweep.performance(
                    load_,
                    spec,
                    n,
                    baseline=eager,
                    latency=seconds,
                    pairs=[(0.1, seconds * one) for one in noise],
                    disturbed=["steal 0.3 cores"] if model in disturbed else [],
                    counters={"graphs": 1, "graph_breaks": (breaks or {}).get(model, 0), "recompiles": 0},
                )
    folder = sweep.write()
    stored = folder.read_sweep()
    folder.write_plan(
        dataclasses.replace(stored, argv=tuple(argv), environment=environment, points=(settings,)), folder.read_graph()
    )
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def said(here: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that runs diff in this process: (exit code, stdout, stderr)."""

    def diff(*arguments: str) -> tuple[int, str, str]:
        code = main(["diff", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return diff


def at(here: Path, number: int) -> Path:
    return here / "outputs" / "2026-01-01" / f"00-00-0{number}"


def flat(text: str) -> str:
    return " ".join(text.split())


# -- the text


def test_a_key_explains_what_changed(here: Path, said: Said) -> None:
    """Done when: a configuration changed by one key is explained by that key."""
    write(at(here, 0), compilers={"inductor": {"dynamic": False}})
    write(at(here, 1), seed=1, compilers={"inductor": {"dynamic": True}}, slow={"Gpt": 2.0})
    code, out, _ = said("latest~1", "latest")
    assert code == 1
    assert "compiler.options.dynamic: false -> true (inductor, 3 rows)" in flat(out)
    assert "  A to B  compiler=inductor ++compiler.options.dynamic=true\n" in out
    assert "  B to A  compiler=inductor ++compiler.options.dynamic=false\n" in out
    assert "Environment  (3 keys the same)\n  no key differs\n" in out
    assert "6 rows in both: 1 worse, 5 within noise" in out
    assert (
        "compiler.options.dynamic=false -> true (3 rows): speed-up 1 slower, 2 within noise; latency 1 worse"
        in flat(out)
    )
    assert "no key differs (3 rows): all within noise" in out
    assert re.search(r"speed-up +1\.25x +0\.6\dx +0\.(49|50)\d \[0\.\d+, 0\.\d+\] +slower", out)
    assert "  Gpt inductor\n" in out
    assert "T5 inductor" not in out  # what does not differ is counted, not shown


def test_everything_that_can_differ_is_said(here: Path, said: Said) -> None:
    write(at(here, 0), models=("Bert", "Gpt", "T5", "Gone"))
    write(
        at(here, 1),
        seed=1,
        models=("Bert", "Gpt", "T5", "Fresh"),
        crash=("Gpt",),
        slow={"Bert": 2.0},
        disturbed=("Bert",),
        breaks={"T5": 3},
        environment={"host": "vm", "packages": {"torch": "2.13.0", "numpy": "2.4"}},
        settings={"rounds": 5, "batch_size": None, "execution": {"timeout_s": 600.0, "env": {"OMP": "1"}}},
        argv=("compiler=inductor", "rounds=5"),
    )
    code, out, _ = said("latest~1", "latest")
    assert code == 1
    assert max(len(line) for line in out.splitlines() if " to " not in line) <= 80
    text = flat(out)
    assert "only here: rounds=5" in text
    assert "rounds: 3 -> 5" in text
    assert "execution.env.OMP: (absent) -> 1" in text
    assert "execution.env: " not in text  # its key is said, the map around it is not
    assert "packages.torch: 2.12.0 -> 2.13.0" in text
    assert "suite.models: Bert,Gpt,T5,Gone -> Bert,Gpt,T5,Fresh" in text
    assert "class_name" not in text
    assert "6 rows in both: 3 worse, 3 within noise; 2 missing in B, 2 new in B" in text
    assert "status pass crash worse" in text
    assert "crash: Gpt inductor: killed by SIGSEGV (signal 11)" in text
    assert "Bert inductor *" in text
    assert "* was disturbed while it was measured" in text
    assert "graph breaks 0 3 worse" in text
    assert "missing in B: Gone eager Gone inductor new in B: Fresh eager Fresh inductor" in text
    assert "geometric mean of the speed-up inductor, 2 rows 1.25x 0.88x" in text
    assert "The rows have the same configuration. The environment differs: packages.torch." in text
    assert out.index("Gpt inductor") < out.index("Bert inductor") < out.index("missing in B:")  # the worst first


def test_two_sweeps_of_the_same(here: Path, said: Said) -> None:
    write(at(here, 0))
    write(at(here, 1), seed=1)
    code, out, _ = said("00-00-00", "00-00-01")
    assert code == 0
    assert out.count("no key differs") == 2
    assert "6 rows in both: 6 within noise" in out
    assert "Bert" not in out
    assert "Which key" not in out
    assert "Bert inductor" in said("00-00-00", "00-00-01", "--all")[1]


def test_better_and_new_is_no_failure(here: Path, said: Said) -> None:
    write(at(here, 0), slow={"Bert": 2.0}, crash=("Gpt",))
    write(at(here, 1), seed=1, models=("Bert", "Gpt", "T5", "Fresh"))
    code, out, _ = said("latest~1", "latest")
    assert code == 0
    assert "6 rows in both: 2 better, 4 within noise; 2 new in B" in out
    assert "faster" in out
    assert said("latest", "latest~1")[0] == 1


def test_axes_are_pasted_as_axes(here: Path, said: Said) -> None:
    write(at(here, 0), compilers={"inductor": {}})
    write(at(here, 1), compilers={"inductor": {}, "aot_eager": {}}, dtype="float32")
    out = said("latest~1", "latest", "--config-only")[1]
    assert "compiler: eager,inductor -> eager,inductor,aot_eager" in out
    assert "dtype: float16 -> float32  (6 rows)" in out
    assert "  A to B  compiler=eager,inductor,aot_eager dtype=float32\n" in out
    assert "Results" not in out
    assert "Environment" not in out
    whole = said("latest~1", "latest")[1]
    assert "dtype=float16 -> float32 (6 rows): all within noise" in whole
    assert "Bert float32 aot_eager" in whole


def test_keys_that_change_together_cannot_be_told_apart(here: Path, said: Said) -> None:
    write(at(here, 0), compilers={"inductor": {"dynamic": False}})
    write(at(here, 1), compilers={"inductor": {"dynamic": True}}, dtype="float32", slow={"Bert": 2.0})
    text = flat(said("latest~1", "latest")[1])
    assert (
        "compiler.options.dynamic=false -> true and dtype=float16 -> float32 (3 rows, which cannot be told apart): "
        "speed-up 1 slower" in text
    )
    assert "dtype=float16 -> float32 (3 rows): all within noise" in text


def test_what_changed_rows_share_is_named(here: Path, said: Said) -> None:
    write(at(here, 0), compilers={"inductor": {}, "aot_eager": {}})
    write(at(here, 1), seed=1, compilers={"inductor": {}, "aot_eager": {}}, slow={"T5": 2.0})
    text = flat(said("latest~1", "latest")[1])
    assert "Neither configuration nor environment differs" in text
    assert "speed-up slower: all 2 rows with suite.models=T5, none of the 4 others" in text


def test_long_lists_are_cut_and_counted(here: Path, said: Said) -> None:
    models = [f"Model{n}" for n in range(30)]
    write(at(here, 0), models=models)
    write(at(here, 1), models=models, slow=dict.fromkeys(models, 2.0))
    out = said("latest~1", "latest")[1]
    assert len(re.findall(r"^  Model\d+ inductor$", out, re.MULTILINE)) == 20
    assert "and 10 more rows (--json has all)" in out
    rows = json.loads(said("latest~1", "latest", "--json")[1])["tables"]["results"]
    assert len({row["model"] for row in rows}) == 30
    write(at(here, 2), models=models[:2])
    assert "and 36 more (--json has all)" in said("00-00-00", "00-00-02")[1]


# -- two jobs


def jobs(folder: SweepFolder, model: str, compiler: str) -> list[str]:
    graph = folder.read_graph()
    return [job.id for job in graph.jobs if (job.workload.model, job.compiler.name) == (model, compiler)]


def test_two_jobs(here: Path, said: Said) -> None:
    before = write(at(here, 0), compilers={"inductor": {"dynamic": False}})
    after = write(at(here, 1), compilers={"inductor": {"dynamic": True}}, slow={"Bert": 2.0}, breaks={"Bert": 2})
    one, other = (jobs(folder, "Bert", "inductor")[0] for folder in (before, after))
    code, out, _ = said(f"latest~1:{one[:6]}", str(after.job(other)))
    text = flat(out)
    assert code == 1
    assert f"A 2026-01-01/00-00-00:{one[:6]} 1 row, 1 job" in text
    assert "compiler.options.dynamic: false -> true (inductor, 1 row)" in text
    assert "status pass pass the same" in text
    assert "compiler.options.dynamic=false -> true (1 row): speed-up 1 slower" in text
    assert "Intervals are from the pairs of one process only" in text
    assert "counters.graph_breaks: 0 -> 2" in text
    assert "pair.method" not in text
    assert said(str(before.job_file(one)), str(before.result_file(one)))[0] == 0  # files of a job name the job


def test_two_jobs_of_different_models_are_compared_all_the_same(here: Path, said: Said) -> None:
    folder = write(at(here, 0))
    crashed = write(at(here, 1), crash=("Gpt",), compilers={"inductor": {"dynamic": True}})
    one, other = jobs(folder, "Bert", "inductor")[0], jobs(crashed, "Gpt", "inductor")[0]
    code, out, _ = said(f"latest~1:{one}", f"latest:{other}")
    assert code == 1
    assert "compiler.options.dynamic: (absent) -> true  (inductor, 1 row)" in out
    assert "suite.models: Bert -> Gpt  (1 row)" in out
    assert "status pass crash worse" in flat(out)
    assert "Bert -> Gpt inductor" in out
    assert "crash: Bert -> Gpt inductor: killed by SIGSEGV (signal 11)" in out


def test_a_job_and_a_sweep_compare_that_row(here: Path, said: Said) -> None:
    folder = write(at(here, 0))
    write(at(here, 1), slow={"Bert": 2.0})
    (job, *_) = jobs(folder, "Bert", "inductor")
    for arguments, word in ((("latest~1:" + job, "latest"), "worse"), (("latest", "latest~1:" + job), "better")):
        code, out, _ = said(*arguments)
        assert f"1 row in both: 1 {word}\n" in out
        assert code == (word == "worse")


def test_facts_of_jobs() -> None:
    spec = synthetic.job("Bert", "inductor")
    result = synthetic.performance_result(spec, latency=0.1)
    facts = dict(result.facts)
    facts |= {"accuracy": {"tensors": [{"name": "loss.x", "rmse": 1.0}, {"name": "logits", "rmse": 2.0}]}}
    facts |= {"graph_break_reasons": ["print", "item"], "noise": {"wall_s": 1.004}}
    old = dataclasses.replace(result, facts=facts)
    changed = {"accuracy": {"tensors": [{"name": "logits", "rmse": 3.0}, {"name": "loss.x", "rmse": 1.0}]}}
    changed |= {"graph_break_reasons": ["print"], "noise": {"wall_s": 1.0}, "cache": "warm"}
    new = dataclasses.replace(result, facts=facts | changed, environment={"gpu": {"name": "H200"}}, ended=2000.0)
    before, after = (JobOutcome(spec, "pass", "", one) for one in (old, new))
    differ, same = sides.differing_facts(before, after)
    assert differ == {
        "accuracy.tensors.logits.rmse": (2.0, 3.0),
        "cache": ("cold", "warm"),
        "duration_s": (12.0, 1000.0),
        "graph_break_reasons": ("print; item", "print"),
    }
    assert same == 21  # 3 of the job, 10 of memory, 4 counters, pair, disturbed, wall_s within 1 %, a tensor's rmse
    assert sides.job_environment(after) == {"gpu.name": "H200"}


# -- files


def test_the_tables_of_a_sweep_are_a_source(here: Path, said: Said) -> None:
    folder = write(at(here, 0))
    write(at(here, 1), seed=1, slow={"Gpt": 2.0}, crash=("T5",), dtype="float16")
    main(["report", "00-00-00"])
    main(["gate", "00-00-00", "--against", "base.json", "--accept"])
    for file in (
        "base.json",
        *(str(folder.tables / f"{n}.{e}") for n in ("summary", "performance") for e in ("csv", "json")),
    ):
        code, out, _ = said(file, "00-00-01")
        assert code == 1, file
        assert re.search(r"6 rows in both: 2 worse, 4 within noise", out), file
        assert re.search(r"Gpt inductor\n +speed-up +1\.25x +0\.6\dx +0\.(49|50)\d \[[\d., ]+\] +slower", out), file
        assert said(file, "00-00-00")[0] == 0, file
        assert ("known of one side only" in out) == (file != "base.json")


def test_a_table_has_the_statistics_of_its_rounds(here: Path) -> None:
    """The mean, the deviation and the number of rounds are all that a comparison takes from them."""
    folder = write(at(here, 0))
    exports.write(folder, tables.build(load(folder)))
    known = {
        row.title: row.figures["speedup"]
        for row in sides.read("latest", Path("outputs")).rows
        if "speedup" in row.figures
    }
    read = sides.read(str(folder.tables / "summary.csv"), here)
    assert len(known) == 3
    for row in read.rows:
        if row.names["compiler"] != "eager":
            expected, found = known[row.title], row.figures["speedup"]
            assert len(found.values) == 3
            assert found.middle == pytest.approx(expected.middle)
            deviation = [abs(max(one.values) / one.middle - 1) for one in (found, expected)]
            assert deviation[0] == pytest.approx(deviation[1], rel=0.5)
    for row in read.rows:
        assert row.figures["latency_ms"].middle == pytest.approx(
            100 if row.names["compiler"] == "eager" else 80, rel=0.02
        )


def test_accuracy_rows_of_a_summary(here: Path) -> None:
    sweep = synthetic.quick_sweep(at(here, 0))
    folder = sweep.write()
    exports.write(folder, tables.build(load(folder)))
    for file in ("summary.csv", "summary.json"):
        found = compare(sides.read(str(folder.tables / file), here), sides.read("latest", Path("outputs")))
        assert (found.missing, found.new) == ((), ())
        assert len(found.matched) == 12
        assert all(pair.status_change is None for pair in found.matched)
        reasons = [pair.before.reason for pair in found.matched if pair.before.status == "fail_accuracy"]
        assert reasons == ["1 of 2 tensors are wrong, first logits: max error 0.5, RMSE 0.31 over the limit 0.0002"]
        disturbed = [pair.before.disturbed for pair in found.matched if pair.before.disturbed]
        assert disturbed == ["round 3: other processes used 0.62 cores (over 0.1)"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "holds neither the tables of a sweep"),
        ("a.json", '{"rows": []}', "holds neither the tables of a sweep"),
        ("a.json", '{"tables": {"jobs": []}}', "holds none of the tables summary, performance, accuracy"),
        ("a.json", '{"tables": {"summary": {}}}', "the table 'summary' is no list of rows"),
        ("a.csv", "a,b\n1,2\n", "has no column 'model'"),
        ("a.csv", "model,compiler,measure,round,status\n", None),
        ("a.csv", "model,compiler,measure,round,status\nA,b,c,0,pass\n", "has a row for each job"),
        ("a.csv", "model,compiler,measure,status\nA,b,c,great\n", "unknown status 'great'"),
        ("a.csv", "model,compiler,measure,status,speedup\nA,b,c,pass,fast\n", "could not convert"),
        ("a.csv", "model,compiler,measure,status\nA,b\n", "another number of cells"),
        ("a.csv", "\xff\xfe", "cannot be read|has no column"),
        ("a.txt", "hello", "holds neither the tables of a sweep"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(name: str, content: str, message: str | None, here: Path) -> None:
    (here / name).write_text(content, encoding="latin-1")
    if message is None:
        assert sides.read(name, here).rows == ()
        return
    with pytest.raises(UsageError, match=message) as caught:
        sides.read(name, here)
    assert name in str(caught.value)


# -- configuration, and what can be pasted


def changes_of(before: Mapping[str, Any], after: Mapping[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return (key) -> (paste A to B, paste B to A) of two sweeps that are written with these arguments."""
    sides = [of_folder(write(tmp_path / str(i) / "s", **one)) for i, one in enumerate((before, after))]
    found = configuration_changes.configuration_changes(compare(*sides))
    return {change.key: (change.paste_after, change.paste_before) for change in found}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"dtype": "float32"}, {"dtype": (("dtype=float32",), ("dtype=float16",))}),
        (
            {"models": ["Bert", "T5"]},
            {"models": ["Bert"]},
            {"suite.models": (("suite.models=[Bert]",), ("suite.models=[Bert,T5]",))},
        ),
        (
            {"compilers": {"inductor": {}}},
            {"compilers": {"inductor": {"mode": "max-autotune"}}},
            {"compiler.options.mode": (("++compiler.options.mode=max-autotune",), ("~compiler.options.mode",))},
        ),
        (
            {"compilers": {"inductor": {"options": {"triton.cudagraphs": True, "freezing": True}}}},
            {"compilers": {"inductor": {"options": {"triton.cudagraphs": True}}}},
            {
                "compiler.options.options": (
                    ("~compiler.options.options", "++compiler.options.options={triton.cudagraphs:true}"),
                    ("++compiler.options.options={triton.cudagraphs:true,freezing:true}",),
                )
            },
        ),
        (
            {"settings": {"rounds": 3, "execution": {"env": {}}}},
            {"settings": {"rounds": 5, "execution": {"env": {"X": "1"}}}},
            {
                "rounds": (("rounds=5",), ("rounds=3",)),
                "execution.env.X": (('++execution.env.X="1"',), ("~execution.env.X",)),
            },
        ),
        (
            {"compilers": {"inductor": {}}},
            {"compilers": {"tvm": {"x": 1}}},
            {"compiler": (("compiler=eager,tvm",), ("compiler=eager,inductor",))},
        ),
    ],
    ids=["axis", "models", "new option", "map", "settings", "compiler"],
)  # fmt: skip
def test_overrides(before: Any, after: Any, expected: Mapping[str, Any], tmp_path: Path) -> None:
    assert changes_of(before, after, tmp_path) == expected


def test_options_that_two_plugins_have_are_pasted_on_lines_of_their_own(tmp_path: Path) -> None:
    before = {"compilers": {"inductor": {"dynamic": False}, "aot_eager": {"dynamic": False}}}
    after = {"compilers": {"inductor": {"dynamic": True}, "aot_eager": {"dynamic": True}}, "dtype": "float32"}
    sides = [of_folder(write(tmp_path / str(i) / "s", **one)) for i, one in enumerate((before, after))]  # type: ignore[arg-type]
    found = configuration_changes.configuration_changes(compare(*sides))
    assert configuration_changes.paste_lines(found, after=True) == [
        "dtype=float32",
        "compiler=inductor ++compiler.options.dynamic=true",
        "compiler=aot_eager ++compiler.options.dynamic=true",
    ]


@pytest.mark.parametrize(
    "value", ["true", "null", "1", "1e3", "", "-.5", "NaN", "a b", "it's", "x,y", "[a", "a:b", "$x", "a=b"]
)
def test_a_text_stays_a_text(value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through Hydra's grammar and back."""
    pasted = configuration.override("compiler.options.mode", value)
    assert main(["--cfg", "job", "--package", "compiler.options", "compiler=inductor", pasted]) == 0
    import yaml

    assert yaml.safe_load(capsys.readouterr().out)["mode"] == value


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.5, 1e-9, {"list": [1, "a b", None]}, {"triton.cudagraphs": False, "x": {"y": "1"}}],
    ids=str,
)
def test_a_value_stays_that_value(value: Any, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pasted = configuration.override("compiler.options.options", value)
    assert main(["--cfg", "job", "--package", "compiler.options", "compiler=inductor", pasted]) == 0
    import yaml

    assert yaml.safe_load(capsys.readouterr().out)["options"] == value


def test_a_key_that_the_command_added_can_be_deleted_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["suite=tiny", "compiler=inductor", "measure=performance", "rounds=1", "dry_run=true"]
    added = [*plan, "compiler.options.dynamic=true"]
    assert main(added) == 0
    assert main([*added, "~compiler.options.dynamic"]) == 0
    assert main([*plan, "~compiler.options.backend"]) == 0
    capsys.readouterr()
    assert main([*plan, "~compiler.options.dynamic"]) == 2


@pytest.mark.slow
def test_pasted_overrides_give_that_configuration(tmp_path: Path) -> None:
    """Sweeps of the command: what diff prints is appended to the one line, and gives what the other gave.

    All their jobs are skipped: what was asked for is compared, not what came of it.
    """
    base = [*FAKES, "suite=perceptrons", "suite.models=[one]", "measure=glance", "rounds=1", "compiler=does_raise",
            "++suite.catalog.one.skip=[{reason:known}]"]  # fmt: skip
    orchestrator(tmp_path, *base)
    changed = ["compiler.options.does=pass", "seed=7", "suite.catalog.one.build.width=48", "execution.env.SOME=1 2"]
    orchestrator(tmp_path, *base, *changed)
    first, second = sorted((tmp_path / "outputs").glob("*/*"))
    out = orchestrator(tmp_path, "diff", str(first), str(second), "--config-only", "--json")
    keys = {row["key"]: row for row in json.loads(out)["tables"]["configuration"]}
    assert set(keys) == {
        "compiler.options.does",
        "seed",
        "suite.catalog.one.build.width",
        "execution.env.SOME",
    }
    text = orchestrator(tmp_path, "diff", str(first), str(second), "--config-only")
    for line, command in (("A to B", base), ("B to A", [*base, *changed])):
        (pasted,) = re.findall(rf"^  {line}  (.*)$", text, re.MULTILINE)
        orchestrator(tmp_path, *command, *shlex.split(pasted))
        other = second if command is base else first
        assert "Configuration\n  no key differs\n" in orchestrator(
            tmp_path, "diff", str(other), "latest", "--config-only"
        )


# -- many


def test_a_matrix(here: Path, said: Said) -> None:
    write(at(here, 0))
    write(at(here, 1), seed=1, slow={"Gpt": 2.0}, crash=("T5",), compilers={"inductor": {"dynamic": True}})
    write(at(here, 2), seed=2, models=("Bert", "Gpt", "Fresh"), environment={"host": "vm", "packages": {"torch": "3"}})
    code, out, _ = said("00-00-00", "00-00-01", "00-00-02")
    assert code == 1
    assert max(map(len, out.splitlines())) <= 80
    assert "compiler.options.dynamic (inductor): (absent) (A C), true (B)" in out
    assert "packages.torch: 2.12.0 (A B), 3 (C)" in out
    assert "packages.numpy: 2.4 (A B), (absent) (C)" in out
    assert "speed-up  (1 row the same in all)" in out
    lines = {
        line.split("  ")[1].strip(): line.split()[2:]
        for line in out.splitlines()
        if line.startswith("  ") and "inductor  " in line
    }
    assert lines["Gpt inductor"][0] == "1.25x"
    assert re.fullmatch(r"0\.6\dx", lines["Gpt inductor"][1])
    assert lines["Gpt inductor"][2:] == ["!", "1.25x"] or lines["Gpt inductor"][2] == "!"
    assert lines["T5 inductor"][1:] == ["crash", "!", "—"]
    assert lines["Fresh inductor"][:2] == ["—", "—"]
    assert "Bert inductor" not in lines
    assert "! worse" in out
    assert "Bert inductor" in said("00-00-00", "00-00-01", "00-00-02", "--all")[1]
    assert said("00-00-00", "00-00-00", "00-00-00")[0] == 0


def test_a_matrix_as_table_and_of_other_metrics(here: Path, said: Said) -> None:
    for number, breaks in enumerate((0, 2, 0)):
        write(at(here, number), breaks={"Bert": breaks})
    names = [f"00-00-0{number}" for number in range(3)]
    code, out, _ = said(*names, "--metric", "graph_breaks", "--csv")
    assert code == 1
    found = [(row["model"], row["side"], row["value"], row["change"]) for row in csv.DictReader(io.StringIO(out))]
    assert found == [("Bert", "A", "0", ""), ("Bert", "B", "2", "worse"), ("Bert", "C", "0", "within noise")]
    assert said(*names)[0] == 0  # the speed-up is the same, and nothing else was asked
    markdown = said(*names, "--metric", "graph_breaks", "--md")[1]
    assert "| Bert inductor | 0 | 2 ! | 0 |" in markdown
    assert said(*names, "--metric", "status")[0] == 0
    document = json.loads(said(*names, "--metric", "graph_breaks", "--json")[1])
    assert [row["side"] for row in document["tables"]["sides"]] == ["A", "B", "C"]
    assert [row["rows_worse"] for row in document["tables"]["totals"]] == [1, 0]


def test_a_matrix_of_many_sweeps_is_folded_into_blocks(here: Path, said: Said) -> None:
    write(at(here, 0))
    write(at(here, 1), seed=1, slow={"Gpt": 2.0})
    out = said("00-00-00", *["00-00-01"] * 30)[1]
    assert max(map(len, out.splitlines())) <= 80
    heads = [line.split() for line in out.splitlines() if re.match(r" {10,}A ", line)]
    assert len(heads) > 2
    assert [name for head in heads for name in head if name != "A"] == [
        *"BCDEFGHIJKLMNOPQRSTUVWXYZ",
        *(f"S{n}" for n in range(27, 32)),
    ]


# -- forms, options, limits


def test_forms(here: Path, said: Said) -> None:
    write(at(here, 0))
    write(at(here, 1), seed=1, slow={"Gpt": 2.0})
    document = json.loads(said("latest~1", "latest", "--json")[1])
    (row,) = [row for row in document["tables"]["results"] if row["metric"] == "speedup"]
    assert (row["model"], row["change"]) == ("Gpt", "worse")
    assert row["ratio_low"] < 0.5 < row["ratio_high"] or row["ratio"] == pytest.approx(0.5, rel=0.02)
    assert row["p"] < 0.05
    assert document["columns"]["ratio"]["doc"]
    assert document["tables"]["totals"] == [
        {"side": "B", "rows_compared": 6, "rows_worse": 1, "rows_better": 0, "rows_changed": 0,
         "rows_within_noise": 5, "rows_failing": 0, "rows_run_in_neither": 0, "rows_missing": 0, "rows_new": 0}
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(said("latest~1", "latest", "--csv")[1])))
    assert [(row["model"], row["metric"], row["change"]) for row in rows] == [
        ("Gpt", "speedup", "worse"),
        ("Gpt", "latency_ms", "worse"),
    ]
    everything = list(csv.DictReader(io.StringIO(said("latest~1", "latest", "--csv", "--all")[1])))
    assert {row["model"] for row in everything} == {"Bert", "Gpt", "T5"}
    markdown = said("latest~1", "latest", "--md")[1]
    assert "| Gpt inductor | speed-up | 1.25x |" in markdown
    assert "**6 rows in both: 1 worse, 5 within noise**" in markdown
    keys = said("latest~1", "latest", "--config-only", "--json")[1]
    assert json.loads(keys)["tables"] == {"configuration": [], "pasted": []}


def test_markdown_of_a_sweep_that_someone_sent_is_text(here: Path, said: Said) -> None:
    """What an option or the environment says ends no block of code, calls nobody and no issue, moves no cursor."""
    nasty = "\x1b[31mx\n```\n@someone <b> pytorch/pytorch#12 \u202e"
    write(at(here, 0), compilers={"inductor": {"dynamic": "a"}})
    write(at(here, 1), compilers={"inductor": {"dynamic": nasty}}, environment={"\x1b[2Jhost": nasty})
    markdown = said("latest~1", "latest", "--md")[1]
    assert {character for character in markdown if not character.isprintable()} == {"\n", "\u200b"}
    assert markdown.count("\n```") == 4
    assert not re.search(r"@\w|#\d|[^\\]<", markdown)
    assert "(with characters that cannot be printed: --config-only --json has them)" in markdown


def test_limits_and_metrics(here: Path, said: Said) -> None:
    write(at(here, 0))
    write(at(here, 1), slow={"Gpt": 1.2}, breaks={"T5": 1})
    assert said("latest~1", "latest", "--metric", "speedup")[0] == 1
    assert said("latest~1", "latest", "--metric", "own_memory_mib")[0] == 0
    assert said("latest~1", "latest", "--metric", "speedup", "--threshold", "speedup=0.25")[0] == 0
    limits = ["--threshold", "speedup=off", "--threshold", "latency_ms=0.5", "--threshold", "graph_breaks=off"]
    assert said("latest~1", "latest", *limits)[0] == 0
    assert said("latest~1", "latest", *limits[:4])[0] == 1
    assert said("latest~1", "latest", "--config-only")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latest"], "name two sweeps"),
        (["latest", "latest", "--metric", "speed"], "--metric speed: did you mean 'speedup'"),
        (["latest", "latest", "--threshold", "speedup"], "write METRIC=SIZE"),
        (["latest", "latest", "--threshold", "speedup=1 %"], "write METRIC=SIZE"),
        (["latest", "latest", "--threshold", "speedup=3"], "relative, between 0 and 1"),
        (["latest", "latest", "--threshold", "speeding=0.1"], "unknown metric 'speeding'"),
        (["latest", "latest", "--config-only", "--metric", "speedup"], "--config-only shows no figures"),
        (["latest", "latest", "latest", "--metric", "speedup", "--metric", "status"], "one --metric"),
        (["latest", "nothing"], "'nothing' names no sweep"),
        (["latest:zz", "latest"], "no job has an id that begins with 'zz'"),
        (["latest", "outputs/2026-01-01/00-00-00/plan.json"], "plan.json holds neither"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_exit_2_and_one_message(
    arguments: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(at(here, 0))
    try:
        code = main(["diff", *arguments])
    except SystemExit as stopped:  # argparse
        code = int(str(stopped.code))
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert message in captured.err


def test_what_a_reason_says_is_no_markup(here: Path, said: Said) -> None:
    write(at(here, 0))
    sweep = synthetic.SyntheticSweep(at(here, 1))
    load_ = synthetic.workload("Bert")
    bad = synthetic.job(load_, "inductor")
    sweep.performance(load_, "eager")
    sweep.add(bad, synthetic.failed_result(bad, "fail_to_run", "[red]x[/] \x1b[31m | <b> @all"))
    sweep.write()
    out = said("00-00-00", "00-00-01")[1]
    assert "[red]x[/]" in out
    assert "\x1b" not in out
    markdown = said("00-00-00", "00-00-01", "--md")[1]
    assert "\\<b>" in markdown
    assert "\x1b" not in markdown


def test_labels_tell_rows_apart() -> None:
    def names(**changes: Any) -> dict[str, Any]:
        base = {"suite": "q", "model": "A", "mode": "inference", "dtype": "float16", "device": "cpu", "batch_size": 4}
        return base | {"compiler": "inductor", "measure": "performance", "threads": 1} | changes

    rows = [
        names(),
        names(batch_size=8),
        names(model="B"),
        names(measure="accuracy"),
        names(model="C", dtype="float32"),
    ]
    labels = Labels([(one, one) for one in rows])
    assert [labels.of(one, one) for one in rows] == [
        "A float16 inductor batch_size=4",
        "A float16 inductor batch_size=8",
        "B float16 inductor",
        "A float16 inductor accuracy",
        "C float32 inductor",
    ]
    assert labels.common == ["q", "inference", "cpu"]


def test_ten_thousand_jobs_are_compared_in_time(tmp_path: Path) -> None:
    """Two snapshots of 5,000 rows: matching, judging, naming keys and lines in a part of the 5 s that diff has."""
    made = of_folder(write(tmp_path / "s"))
    eager, inductor = made.rows[:2]

    def many(factor: float) -> snapshot.Snapshot:
        rows = []
        for number in range(2500):
            for one in (eager, inductor):
                config = one.config | {
                    "suite.models": f"M{number}",
                    f"suite.catalog.M{number}.build.x": factor,
                    "dtype": f"d{factor}",
                }
                names = one.names | {"model": f"M{number}", "dtype": f"d{factor}"}
                figures = {
                    metric: dataclasses.replace(figure, values=tuple(v * factor for v in figure.values))
                    for metric, figure in one.figures.items()
                }
                rows.append(dataclasses.replace(one, config=config, names=names, figures=figures))
        return dataclasses.replace(made, rows=tuple(rows))

    before, after = many(1.0), many(1.5)
    start = time.process_time()
    comparison = compare(before, after)
    found = differences(comparison, Labels.of_comparison(comparison))
    keys = configuration_changes.configuration_changes(comparison)
    built = matrix.matrix([before, after, before], "speedup")
    seconds = time.process_time() - start
    assert len(comparison.matched) == 5000
    assert keys[0].key == "dtype"
    assert len(keys) == 2501  # and a key of each model
    assert {line.metric for line in found} >= {"speedup", "latency_ms"}
    assert len(built.changed) == 2500
    assert seconds < 20  # some 3 s on a quiet machine; minutes when it is quadratic
