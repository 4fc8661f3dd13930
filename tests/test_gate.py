"""The gate fails on what is gone or worse, says so row by row, and lets everything else pass."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import fcntl
import io
import json
import math
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support import synthetic
from support.command import answer
from support.synthetic import of_folder

from orchestrator.__main__ import main
from orchestrator.comparison import rules as written
from orchestrator.comparison import snapshot_files
from orchestrator.comparison.changes import Figure, changes, holm
from orchestrator.comparison.gate import FAIL, FLAKY, KNOWN, NEW, WARNING, Case, GateResult, gate
from orchestrator.comparison.rules import Rules
from orchestrator.comparison.snapshot import Row, Snapshot
from orchestrator.errors import UsageError
from orchestrator.records import Need
from orchestrator.views import gate as views
from orchestrator.views.document import Remark, Remarks
from orchestrator.views.gate import to_junit

ROOT = Path(__file__).parent.parent
MODELS = ("Bert", "T5Small", "GPT2")
TODAY = datetime.date(2026, 11, 21)
FLAKY_T5 = "{model: T5Small, compiler: inductor, metric: speedup, reason: see 12, expires: 2026-12-01}"
ESCAPE = "\x1b[31m"


def write(
    root: Path,
    *,
    slow: Mapping[str, float] | None = None,
    without: Sequence[str] = (),
    status: Mapping[str, str] | None = None,
    disturbed: Sequence[str] = (),
    models: Sequence[str] = MODELS,
    wobble: float = 0.002,
    not_run: Sequence[str] = (),
    **fields: Any,
) -> Path:
    """Write a sweep: models x (eager, inductor of twice its speed) x 3 rounds, and their accuracy.

    slow: model -> factor on the compiled latency; without: models that inductor lacks; status: model -> its status.
    """
    sweep = synthetic.SyntheticSweep(root)
    for model in models:
        load = synthetic.workload(model, **fields)
        for round in range(3):
            jitter = 1 + wobble * (round - 1)
            eager = sweep.performance(load, "eager", round, latency=0.1 * jitter, first_call=0.4)
            if model in without:
                continue
            needs = [Need(job=eager.id, kind="baseline")]
            if model in not_run and round == 2:
                sweep.add(synthetic.job(load, "inductor", round=round, needs=needs))
            elif model in (status or {}):
                spec = synthetic.job(load, "inductor", round=round, needs=needs)
                sweep.add(spec, synthetic.failed_result(spec, status[model], f"{ESCAPE}signal 11 | \x00 <b>@all</b>"))
            else:
                seconds = 0.05 * (slow or {}).get(model, 1.0) * jitter
                sweep.performance(
                    load,
                    "inductor",
                    round,
                    baseline=eager,
                    latency=seconds,
                    first_call=20.0 if round == 0 else 6.0,
                    pairs=[(0.1, seconds)] * 20,
                    disturbed=["steal 0.3 cores"] if model in disturbed and round == 1 else [],
                )
        sweep.accuracy(load, "inductor")
    return sweep.write().root


def command(cwd: Path, *arguments: str, code: int, columns: int = 80) -> str:
    """Run the command; return what it says on stdout, or where it is refused on stderr."""
    found, out, err = answer(cwd, "gate", *arguments, columns=columns)
    assert found == code, out + err
    return err if code == 2 else out


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a sweep of nine rows, and its baseline: base.json."""
    folder = write(tmp_path / "outputs" / "2026-01-01" / "00-00-00")
    snapshot_files.write(tmp_path / "base.json", of_folder(synthetic.SweepFolder(folder)))
    return tmp_path


@pytest.fixture
def refused(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the command in this process, and returns why it is refused."""
    monkeypatch.chdir(place)

    def run(*arguments: str) -> str:
        try:
            code: int | str | None = main(["gate", *arguments])
        except SystemExit as error:  # argparse
            code = error.code
        assert code == 2
        return capsys.readouterr().err

    return run


def second(place: Path, **changes: Any) -> Path:
    return write(place / "outputs" / "2026-01-02" / "00-00-00", **{"wobble": -0.002, **changes})


# -- with git bisect


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        ({}, 0, ""),
        ({"slow": {"Bert": 1.3}}, 1, ""),
        ({"status": {"Bert": "fail_accuracy"}}, 1, ""),
        ({"status": {"Bert": "infrastructure"}}, 125, "infrastructure"),
        ({"not_run": ["Bert"]}, 125, "not_run"),
        ({"without": ["Bert"]}, 125, "missing: no such row"),
        ({"slow": {"Bert": 1.3}, "disturbed": ["Bert"]}, 125, "disturbed"),
        ({"slow": {"Bert": 1.3}, "not_run": ["GPT2"]}, 1, ""),
        ({"slow": {"Bert": 1.06}, "wobble": 0.2}, 125, "within noise"),
        ({"slow": {"Bert": 0.94}, "wobble": 0.2}, 0, ""),
    ],
)
def test_with_bisect_what_nobody_can_tell_is_an_answer_of_its_own(
    place: Path, changes: dict[str, Any], code: int, why: str
) -> None:
    second(place, **changes)
    found, _, said = answer(place, "gate", "latest", "--against", "base.json", "--bisect")
    assert found == code, said
    assert why in said
    assert said.startswith("Cannot tell: ") == (code == 125)
    without, _, _ = answer(place, "gate", "latest", "--against", "base.json")
    assert without == (code if code != 125 else int("within noise" not in why))


def test_bisect_does_not_go_with_accept(refused: Callable[..., str]) -> None:
    assert "use one of them" in refused("latest", "--against", "base.json", "--accept", "--bisect")


# -- what the issue asks to be seen, by the real command


def test_a_sweep_that_is_as_the_baseline_passes(place: Path) -> None:
    by_hand = (place / "base.json").read_bytes()
    (place / "base.json").unlink()
    accepted = command(place, "latest", "--against", "base.json", "--accept", code=0)
    assert accepted == "Accepted 2026-01-01/00-00-00 as base.json: 9 rows (a new baseline)\n"
    assert (place / "base.json").read_bytes() == by_hand
    second(place)
    lines = command(place, "latest", "--against", "base.json", code=0).splitlines()
    assert lines == [
        "gate: 2026-01-02/00-00-00 against base.json (2026-01-01/00-00-00)",
        "PASS: 9 expected rows",
    ]


def test_a_removed_row_fails(place: Path) -> None:
    second(place, without=["T5Small"])
    text = command(place, "latest", "--against", "base.json", code=1)
    assert "  T5Small inference float16 cpu inductor performance\n    missing: no such row\n" in text
    assert text.endswith("FAIL: 1 of 9 expected rows\n")
    assert "Bert" not in text
    assert "GPT2" not in text


def test_a_planted_regression_fails_and_is_named_alone(place: Path) -> None:
    second(place, slow={"Bert": 1.25})
    text = command(place, "latest", "--against", "base.json", code=1)
    assert "  Bert inference float16 cpu inductor performance\n" in text
    assert re.search(r"    speedup 2\.00 -> 1\.60: worse, 0\.800x \[0\.79\d, 0\.80\d\], allowed 2 %\n", text)
    assert re.search(r"    latency_ms 50\.0 -> 62\.5: worse, 1\.25x \[1\.2\d, 1\.2\d\], allowed 10 %\n", text)
    assert text.endswith("FAIL: 1 of 9 expected rows\n")
    assert "T5Small" not in text


def test_an_expired_flaky_entry_fails_whether_its_row_does_or_not(place: Path) -> None:
    second(place)
    (place / "gate.yaml").write_text(f"flaky:\n  - {FLAKY_T5}\n")
    arguments = ("latest", "--against", "base.json", "--rules", "gate.yaml")
    command(place, *arguments, "--today", "2026-12-01", code=0)
    text = command(place, *arguments, "--today", "2026-12-02", code=1)
    assert "  gate.yaml: flaky[0]: model T5Small, compiler inductor, metric speedup\n" in text
    said = " ".join(text.split())
    assert "expired on 2026-12-01: fix it, or extend it with a reason (was: see 12)" in said
    assert text.endswith("FAIL: 1 other failure\n")


def test_a_sweep_is_a_baseline_too(place: Path) -> None:
    second(place, slow={"Bert": 1.25})
    command(place, "latest", "--against", "latest~1", code=1)
    command(place, "latest~1", "--against", "2026-01-02", code=0)
    assert "warning" in command(place, "latest", "--against", "latest", code=0)  # nothing was compared


# -- judgement, on known figures


def snapshot_of(path: Path, **changes: Any) -> Snapshot:
    return of_folder(synthetic.SweepFolder(write(path, **changes)))


@pytest.fixture
def base(tmp_path: Path) -> Snapshot:
    return snapshot_of(tmp_path / "base" / "a")


def with_rows(sweep: Snapshot, change: Any) -> Snapshot:
    """Return the sweep with each row as `change(row)` gives it, without those for which it gives None."""
    rows = tuple(new for row in sweep.rows if (new := change(row)) is not None)
    return dataclasses.replace(sweep, rows=rows, created=sweep.created + 1)


def compiled(row: Row, model: str = "Bert") -> bool:
    return (row.names["model"], row.names["compiler"], row.kind) == (model, "inductor", "performance")


def changed(sweep: Snapshot, model: str = "Bert", **fields: Any) -> Snapshot:
    """Return the sweep with other fields of the compiled row of one model."""
    return with_rows(sweep, lambda row: dataclasses.replace(row, **fields) if compiled(row, model) else row)


def judged(before: Snapshot, after: Snapshot, rules: str = "", today: datetime.date = TODAY) -> GateResult:
    import yaml

    return gate(before, after, written.parse(yaml.safe_load(rules) or {}, "gate.yaml"), today, "outputs/a/b")


def only(judgement: GateResult, *results: str) -> Case:
    """Return the one case that has one of the results."""
    (case,) = [case for case in judgement.cases if case.result in results]
    return case


def texts(case: Case) -> list[str]:
    return [finding.text for finding in case.findings]


@pytest.mark.parametrize(
    ("before", "after", "result", "text"),
    [
        ("pass", "crash", FAIL, "status pass -> crash: why"),
        ("pass", "unsupported", FAIL, "status pass -> unsupported: why"),
        ("pass", "not_run", FAIL, "not_run: why"),
        ("pass", "infrastructure", FAIL, "infrastructure: why"),
        ("pass", "pass_due_to_skip", FAIL, "no longer judged: pass -> pass_due_to_skip: why"),
        ("timeout", "crash", FAIL, "status timeout -> crash: why"),
        ("not_run", "crash", FAIL, "status not_run -> crash: why"),
        ("not_run", "not_run", FAIL, "not_run: why"),
        ("crash", "crash", KNOWN, "accepted failure: crash: why"),
        ("unsupported", "unsupported", KNOWN, "accepted failure: unsupported: why"),
        ("crash", "timeout", KNOWN, "accepted failure: crash, now timeout: why"),
        ("crash", "pass", "pass", "fixed: crash -> pass"),
        ("not_run", "pass", "pass", "fixed: not_run -> pass"),
        ("pass_due_to_skip", "pass", "pass", "fixed: pass_due_to_skip -> pass"),
    ],
)
def test_status(before: str, after: str, result: str, text: str, base: Snapshot) -> None:
    old = changed(base, status=before, reason="", figures={}, counts={})
    new = changed(base, status=after, reason="" if after == "pass" else "why", figures={}, counts={})
    judgement = judged(old, new)
    (case,) = [case for case in judgement.cases if case.findings]
    assert (case.result, texts(case), case.expected) == (result, [text], True)
    assert judgement.passed == (result != FAIL)
    assert [other.result for other in judgement.cases if other is not case] == ["pass"] * 8


def test_passing_in_both_is_no_news(base: Snapshot) -> None:
    judgement = judged(base, with_rows(base, lambda row: row))
    assert [(case.result, case.findings) for case in judgement.cases] == [("pass", ())] * 9
    assert views.headline(judgement) == "PASS: 9 expected rows"


def test_another_configuration_is_no_match(base: Snapshot) -> None:
    after = with_rows(base, lambda row: dataclasses.replace(row, config={**row.config, "threads": 3}))
    judgement = judged(base, after)
    assert [case.result for case in judgement.cases] == [FAIL] * 9
    text = "configuration differs: threads 2 -> 3. Sweep with threads=2, or make this the baseline with --accept"
    assert {text for case in judgement.cases for text in texts(case)} == {text}
    assert not any(finding.change for case in judgement.cases for finding in case.findings)  # nothing was compared


def test_sweeps_that_have_no_model_in_common_are_judged_at_once(base: Snapshot) -> None:
    """Every model has keys of its own: to try each of them on every row took minutes for a few hundred models."""

    def models(prefix: str) -> Snapshot:
        rows = [
            dataclasses.replace(
                row, config={**row.config, "suite.models": f"{prefix}{n}", f"suite.catalog.{prefix}{n}.build.x": 1}
            )
            for n in range(250)
            for row in base.rows[:3]
        ]
        return dataclasses.replace(base, rows=tuple(rows))

    before, after = models("A"), models("B")
    start = time.process_time()
    judgement = judged(before, after)
    assert time.process_time() - start < 5
    assert [case.result for case in judgement.expected] == [FAIL] * 750


def test_new_rows_are_notices_unless_they_failed(tmp_path: Path, base: Snapshot) -> None:
    models = (*MODELS, "Opt")
    fine = judged(base, snapshot_of(tmp_path / "b" / "b", models=models))
    assert [case.result for case in fine.cases[9:]] == [NEW] * 3
    assert fine.passed
    assert not any(case.expected for case in fine.cases[9:])
    failed = snapshot_of(tmp_path / "b" / "c", models=models, status={"Opt": "crash"})
    case = only(judged(base, failed), FAIL)
    assert texts(case) == ["new row that failed: crash: signal 11 | <b>@all</b>"]
    assert views.headline(judged(base, failed)) == "FAIL: 1 other failure"
    assert judged(base, failed, "new_rows: ignore").passed
    assert judged(base, failed, "flaky: [{model: Opt, reason: r, expires: 2026-11-21}]").passed


def test_better_is_a_notice(base: Snapshot) -> None:
    judgement = judged(base, changed(base, figures={**figures(base), "speedup": Figure(values=(3, 3, 3))}))
    assert judgement.passed
    assert dict(judgement.kinds("notice")) == {"better": 1}
    assert views.notices(judgement) == "1 better"


def figures(sweep: Snapshot, model: str = "Bert") -> Mapping[str, Figure]:
    return next(row.figures for row in sweep.rows if compiled(row, model))


@pytest.mark.parametrize(
    ("rules", "ratio", "fails"),
    [
        ("", 1 / 1.019, False),  # 2 %
        ("", 1 / 1.021, True),
        ("thresholds: {speedup: 0.03}", 1 / 1.029, False),
        ("thresholds: {speedup: 0.03}", 1 / 1.031, True),
        ("thresholds: {speedup: {threshold: 0.03}}", 1 / 1.031, True),
        ("thresholds: {speedup: off}", 0.1, False),
        ("thresholds: {speedup: 'off'}", 0.1, False),
        ("models: {'Be*': {speedup: 0.10}}", 1 / 1.09, False),
        ("models: {'Be*': {speedup: 0.10}}", 1 / 1.11, True),
        ("models: {'be*': {speedup: 0.10}}", 1 / 1.09, True),  # names have a case
        ("compilers: {inductor: {speedup: 0.10}}", 1 / 1.09, False),
        ("compilers: {eager: {speedup: 0.10}}", 1 / 1.09, True),
        ("models: {Bert: {speedup: 0.10}}\ncompilers: {inductor: {speedup: 0.05}}", 1 / 1.06, True),  # the later wins
        ("models: {'*': {speedup: off}, Bert: {speedup: 0.05}}", 1 / 1.06, True),
        ("thresholds: {speedup: {floor: 0.5}}", 1.6 / 2, False),  # 2.0 -> 1.6 is 0.4
        ("thresholds: {speedup: {floor: 0.5}}", 1.4 / 2, True),
    ],
)
def test_limits_of_a_row(rules: str, ratio: float, fails: bool, base: Snapshot) -> None:
    """Speed-ups of 2.0 in every round of every row, 2.0 * ratio in Bert's: nothing but the limit decides."""
    flat = with_rows(base, lambda row: flat_speedup(row, 2.0))
    judgement = judged(
        flat, with_rows(flat, lambda row: flat_speedup(row, 2.0 * ratio) if compiled(row) else row), rules
    )
    assert judgement.passed is not fails
    if fails:
        (finding,) = only(judgement, FAIL).findings
        assert finding.kind == "speedup"
        assert finding.change is not None
        assert finding.change.ratio == pytest.approx(ratio)


def flat_speedup(row: Row, value: float) -> Row:
    found = {"speedup": Figure(values=(value, value, value))} if row.figures.get("speedup") else {}
    return dataclasses.replace(row, figures=found)


def test_alone_is_the_limit_without_rounds_and_never_the_tighter_one(base: Snapshot) -> None:
    def one(value: float) -> Any:
        return lambda row: dataclasses.replace(
            row, figures={"latency_ms": Figure(values=(value if compiled(row) else 50.0,))}, counts={}
        )

    before, after = with_rows(base, one(50.0)), with_rows(base, one(66.0))  # 1.32
    (finding,) = only(judged(before, after), FAIL).findings
    assert finding.allowed == 0.30
    assert finding.text == "latency_ms 50.0 -> 66.0: worse, 1.32x, no interval, allowed 30 %"
    assert judged(before, after, "thresholds: {latency_ms: 0.5}").passed
    assert not judged(before, after, "thresholds: {latency_ms: {threshold: 0.5, alone: 0.3}}").passed
    assert judged(before, after, "thresholds: {latency_ms: {alone: 0.4}}").passed


def test_a_metric_that_is_off_is_no_test_among_the_others(base: Snapshot) -> None:
    """Holm's correction counts what is judged: the p-values are those of the rows whose limit is on."""
    noisy = {"Bert": (2.0, 2.1, 1.9), "T5Small": (2.0, 2.2, 1.8), "GPT2": (2.0, 2.05, 1.95)}
    sides = []
    for factor in (1.0, 0.9):
        sides.append(
            with_rows(
                base,
                lambda row, factor=factor: dataclasses.replace(
                    row,
                    figures={"speedup": Figure(values=tuple(v * factor for v in noisy[row.names["model"]]))}
                    if row.names["compiler"] == "inductor" and row.kind == "performance"
                    else {},
                    counts={},
                ),
            )
        )
    for rules, kept in (("", MODELS), ("models: {T5Small: {speedup: off}}", ("Bert", "GPT2"))):
        pairs = [(Figure(values=noisy[m]), Figure(values=tuple(v * 0.9 for v in noisy[m]))) for m in kept]
        expected = holm([change.p for change in changes(pairs)])
        found = [
            finding.change.p
            for case in judged(*sides, f"thresholds: {{speedup: 0.0}}\n{rules}").cases
            for finding in case.findings
            if finding.change
        ]
        assert all(p is not None for p in expected)
        assert found == pytest.approx([p for p in expected if p is not None and p <= 0.05])
    assert found  # with two tests there is one at least


def test_flaky_rows_do_not_widen_the_intervals_of_others(base: Snapshot) -> None:
    """T5Small's rounds differ threefold: pooled with them, Bert's loss of 10 % would be noise."""
    wild = {"T5Small": (1.0, 2.0, 3.0)}

    def of(factor: float) -> Any:
        def change(row: Row) -> Row:
            values = wild.get(row.names["model"], (2.0, 2.01, 1.99))
            scale = factor if compiled(row) else 1.0
            has = row.names["compiler"] == "inductor" and row.kind == "performance"
            seen = {"speedup": Figure(values=tuple(v * scale for v in values))} if has else {}
            return dataclasses.replace(row, figures=seen, counts={})

        return change

    before, after = with_rows(base, of(1.0)), with_rows(base, of(0.9))
    assert judged(before, after).passed
    assert only(judged(before, after, f"flaky: [{FLAKY_T5}]"), FAIL).name.startswith("Bert")


def test_counts_are_exact_and_can_be_off(base: Snapshot) -> None:
    after = changed(base, counts={"graphs": 2, "graph_breaks": 1})
    case = only(judged(base, after), FAIL)
    assert texts(case) == ["graphs 1 -> 2: changed", "graph_breaks 0 -> 1: worse"]
    assert judged(base, after, "thresholds: {graph_breaks: off}").passed
    assert judged(base, after, "compilers: {inductor: {graph_breaks: off}}").passed


def test_a_figure_that_is_gone_fails(base: Snapshot) -> None:
    """Also a gate on speed-ups must not pass because there are none any more."""
    left = {name: figure for name, figure in figures(base).items() if name != "speedup"}
    case = only(judged(base, changed(base, figures=left)), FAIL)
    assert texts(case) == ["speedup 2.00 -> no figure"]
    assert judged(base, changed(base, figures=left), "thresholds: {speedup: off}").passed
    assert not judged(base, changed(base, counts={})).passed
    small = changed(base, figures={**left, "own_memory_mib": Figure(values=(7.9,))})  # below the floor of 8 MiB
    assert judged(small, changed(base, figures={k: v for k, v in left.items() if k != "own_memory_mib"})).passed


def test_flaky_excuses_what_it_names_and_no_more(base: Snapshot) -> None:
    slow = {**figures(base), "speedup": Figure(values=(1.5,) * 3), "latency_ms": Figure(values=(80.0,) * 3)}
    after = changed(base, model="T5Small", figures=slow)
    entry = "flaky: [{model: T5*, compiler: [inductor, x], %s reason: see 12, expires: 2026-11-21}]"
    case = only(judged(base, after, entry % ""), FLAKY)
    assert [finding.level for finding in case.findings] == [FLAKY, FLAKY]
    assert texts(case)[0].startswith("flaky (see 12, until 2026-11-21): speedup 2.00 -> 1.50: worse, 0.750x [")
    half = only(judged(base, after, entry % "metric: latency_ms,"), FAIL)
    assert {finding.kind: finding.level for finding in half.findings} == {"speedup": FAIL, "latency_ms": FLAKY}
    assert judged(base, after, entry % "metric: [latency_*, speedup],").passed
    assert not judged(base, after, entry % "metric: status,").passed
    assert not judged(base, after, entry % "dtype: float32,").passed
    late = judged(base, after, entry % "", today=datetime.date(2026, 11, 22))
    assert [case.result for case in late.cases if case.result != "pass"] == [FAIL, FAIL]  # the row, and the entry
    crash = changed(base, model="T5Small", status="crash", reason="why", figures={}, counts={})
    assert judged(base, crash, entry % "").passed
    assert judged(base, crash, entry % "metric: status,").passed
    assert not judged(base, crash, entry % "metric: speedup,").passed


def test_flaky_is_no_excuse_for_what_was_not_measured(base: Snapshot) -> None:
    entry = "flaky: [{model: Bert, reason: see 12, expires: 2026-12-01}]"
    assert not judged(base, with_rows(base, lambda row: None if compiled(row) else row), entry).passed
    assert not judged(base, changed(base, status="not_run"), entry).passed
    assert not judged(base, changed(base, config={"threads": 7}), entry).passed


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("model: Bert", True),
        ("model: bert", False),
        ("suite: quick", True),
        ("mode: inference", True),
        ("mode: training", False),
        ("device: cpu", True),
        ("measure: performance", True),
        ("measure: accuracy", False),
        ("batch_size: 4", True),
        ("batch_size: [1, 4]", True),
        ("sequence_length: 64", False),
    ],
)
def test_a_flaky_entry_matches_as_other_rules_do(rule: str, matches: bool, base: Snapshot) -> None:
    after = changed(base, status="crash", reason="why", figures={}, counts={})
    assert judged(base, after, f"flaky: [{{{rule}, reason: r, expires: 2026-12-01}}]").passed is matches


def test_names_that_nothing_bears_are_warnings(base: Snapshot) -> None:
    rules = "flaky: [{model: Brt, reason: r, expires: 2026-12-01}]\nmodels: {'Brt*': {speedup: 0.1}}"
    judgement = judged(base, with_rows(base, lambda row: row), rules)
    assert judgement.passed
    assert [case.name for case in judgement.cases if case.result == WARNING] == [
        "gate.yaml: flaky[0]: model Brt",
        "models: Brt*",
    ]


def test_another_environment_is_said_loudly_or_fails(base: Snapshot) -> None:
    before = dataclasses.replace(
        base, environment={"cpu": "A", "packages.torch": "2.12", "host": "x", "git.commit": "1"}
    )
    after = dataclasses.replace(
        base, environment={"cpu": "A", "packages.torch": "2.13", "host": "y", "git.commit": "2"}, created=2.0
    )
    case = only(judged(before, after), WARNING)
    assert case.name == "environment"
    assert texts(case)[0].startswith(
        "measured elsewhere: packages.torch 2.12 -> 2.13. Figures are compared all the same"
    )
    assert judged(before, after).passed
    assert not judged(before, after, "environment: fail").passed
    assert len(judged(before, after, "environment: ignore").cases) == 9


# -- rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thresholds: {speedups: 0.1}", "thresholds: unknown metric 'speedups': did you mean 'speedup'"),
        ("threshold: {}", "unknown key 'threshold': did you mean 'thresholds'"),
        ("[]", "write a map"),
        ("thresholds: off", "thresholds: write a map"),
        ("thresholds: {speedup: fast}", "thresholds: speedup: 'fast' is no threshold"),
        ("thresholds: {speedup: 3}", "0.03 is 3 %"),
        ("thresholds: {speedup: -0.1}", "thresholds: speedup: -0.1 is no threshold"),
        ("thresholds: {speedup: true}", "True is no threshold"),
        ("thresholds: {speedup: .nan}", "nan is no threshold"),
        ("thresholds: {speedup: {treshold: 0.1}}", "speedup: unknown key 'treshold': did you mean 'threshold'"),
        ("thresholds: {own_memory_mib: {floor: x}}", "'x' is no floor: it is in the metric's unit"),
        ("thresholds: {graph_breaks: 0.1}", "graph_breaks: counts are compared exactly"),
        ("models: {Bert: 0.1}", "models: Bert: write a map"),
        ("models: {Bert: {latency: 0.1}}", "models: Bert: unknown metric 'latency': did you mean 'latency_ms'"),
        ("models: {Bert: {speedup: 0.1}, Bert: {latency_ms: 0.1}}", "line 1: not YAML: 'Bert' stands twice"),
        ("flaky: {model: x}", "flaky: write a list"),
        ("flaky: [{compilre: x}]", r"flaky\[0\]: unknown key 'compilre': did you mean 'compiler'"),
        ("flaky: [{reason: x, expires: 2026-12-01}]", r"flaky\[0\]: name a row"),
        ("flaky: [{model: x, expires: 2026-12-01}]", r"flaky\[0\]: reason"),
        ("flaky: [{model: x, reason: ' ', expires: 2026-12-01}]", r"flaky\[0\]: reason"),
        ("flaky: [{model: x, reason: y}]", r"flaky\[0\]: expires: write the last day"),
        ("flaky: [{model: x, reason: y, expires: soon}]", "'soon' is no day"),
        ("flaky: [{model: x, reason: y, expires: 2026-13-01}]", "cannot be read: month must be in 1..12"),
        ("flaky: [{model: x, reason: y, expires: 2026-12-01 10:00:00}]", "expires: write the last day"),
        ("flaky: [{model: [], reason: y, expires: 2026-12-01}]", r"flaky\[0\]: model: \[\] is no name"),
        ("flaky: [{model: {a: b}, reason: y, expires: 2026-12-01}]", r"flaky\[0\]: model: .* is no name"),
        ("flaky: [{model: x, metric: speed, reason: y, expires: 2026-12-01}]", "unknown metric 'speed': did you mean"),
        ("new_rows: fail", "new_rows: 'fail' is none of judge, ignore"),
        ("environment: [warn]", "environment: .'warn'. is none of warn, fail, ignore"),
        ("thresholds: {", "line 1: not YAML"),
        ("[" * 3000, "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_bad_rules_are_named_with_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=message) as caught:
        written.read(path)
    assert str(caught.value).startswith(str(path))


def test_an_empty_rules_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("# none yet\nflaky:\n" + "thresholds:\n")
    assert written.read(tmp_path / "gate.yaml") == Rules()
    (tmp_path / "gate.yaml").write_text("")
    assert written.read(tmp_path / "gate.yaml") == Rules()


# -- what is shown


def test_a_disturbed_regression_fails_and_names_the_command_that_repeats_it(place: Path) -> None:
    folder = second(place, slow={"Bert": 1.4}, disturbed=["Bert"])
    text = command(place, "latest", "--against", "base.json", code=1)
    assert "allowed 30 %; disturbed:" in text
    (job,) = re.findall(r"^    python -m orchestrator rerun outputs/2026-01-02/00-00-00:(\w{16})$", text, re.MULTILINE)
    assert (folder / "jobs" / job).is_dir()
    second_text = command(place, "latest~1", "--against", "latest", code=0)
    assert "rerun" not in second_text


def test_text_is_80_columns_wide_and_says_the_same_once(tmp_path: Path) -> None:
    models = [f"Model{n}" for n in range(30)]
    write(tmp_path / "outputs" / "2026-01-01" / "00-00-00", models=models)
    write(
        tmp_path / "outputs" / "2026-01-02" / "00-00-00",
        models=models,
        without=models[:25],
        status={"Model29": "crash"},
    )
    text = command(tmp_path, "latest", "--against", "latest~1", code=1)
    assert max(len(line) for line in text.splitlines() if "python -m" not in line) <= 80
    assert text.count("missing: no such row") == 1
    assert "  and 21 more rows\n" in text
    assert "status pass -> crash: signal 11 | <b>@all</b>" in text
    assert ESCAPE not in text
    assert text.endswith("FAIL: 26 of 90 expected rows\n")


def test_markdown_is_a_table_that_github_shows_as_it_is_meant(place: Path) -> None:
    second(place, slow={"Bert": 1.25}, status={"GPT2": "crash"}, models=(*MODELS, "Opt"))
    (place / "gate.yaml").write_text("flaky: [{model: Bert, reason: a|b, expires: 2026-12-01}]\n")
    text = command(
        place, "latest", "--against", "base.json", "--rules", "gate.yaml", "--today", "2026-11-21", "--md", code=1
    )
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.startswith("<h2>Gate: failed</h2>")
    assert html.count("<table>") == html.count("</table>") == 3  # failures, flaky, notices
    assert "<strong>FAIL: 1 of 9 expected rows (1 flaky row)</strong>" in html
    rows = re.findall(r"<tr>\s*(.*?)</tr>", html, re.DOTALL)
    assert {row.count("<td>") for row in rows} == {0, 2}
    assert "status pass -&gt; crash: signal 11 | &lt;b&gt;@\u200ball&lt;/b&gt;" in html
    assert "flaky (a|b, until 2026-12-01)" in html
    assert "<summary>Notices: 3 new rows</summary>" in html


def test_a_command_in_a_table_stays_one_piece_of_code() -> None:
    lines = Remarks("", [Remark(["Bert"], ["slower"], "python -m orchestrator rerun 'a`b|<i>c</i>'")]).markdown()
    html = MarkdownIt("commonmark").enable("table").render("\n".join(lines))
    assert "<code>python -m orchestrator rerun 'a'b|&lt;i&gt;c&lt;/i&gt;'</code>" in html


def test_junit_has_a_case_for_every_expected_row_and_expired_entry(place: Path) -> None:
    second(place, slow={"Bert": 1.25, "T5Small": 1.25}, status={"GPT2": "crash"}, models=(*MODELS, "Opt"))
    entries = ["{model: T5Small, reason: r, expires: 2026-12-01}", "{model: Bert, reason: r, expires: 2026-01-01}"]
    (place / "gate.yaml").write_text(f"flaky: [{', '.join(entries)}]\n")
    arguments = ("--rules", "gate.yaml", "--today", "2026-11-21", "--junit", "gate.xml")
    command(place, "latest", "--against", "base.json", *arguments, code=1)
    suite = check_junit((place / "gate.xml").read_text())
    assert len(suite) == 10
    assert (suite.get("failures"), suite.get("skipped")) == ("3", "1")
    by_name = {case.get("name", ""): case for case in suite}
    crash = by_name["GPT2 inference float16 cpu inductor performance"].find("failure")
    assert crash is not None
    assert crash.get("type") == "status"
    assert crash.get("message") == "status pass -> crash: signal 11 | <b>@all</b>"
    skipped = by_name["T5Small inference float16 cpu inductor performance"].find("skipped")
    assert skipped is not None
    assert (skipped.get("message") or "").startswith("flaky (r, until 2026-12-01): speedup")
    assert by_name["gate.yaml: flaky[1]: model Bert"].find("failure") is not None
    assert not any("Opt" in name for name in by_name)


def check_junit(text: str) -> ElementTree.Element:
    """Check what the schemas of Jenkins and GitLab have in common; return the one suite."""
    root = ElementTree.fromstring(text)
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert set(suite.keys()) == {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"}
    assert int(suite.get("tests", "")) == len(suite)
    for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        assert int(suite.get(name, "")) == len(suite.findall(f"testcase/{tag}"))
    assert float(suite.get("time", "")) >= 0
    datetime.datetime.strptime(suite.get("timestamp", ""), "%Y-%m-%dT%H:%M:%S")
    for case in suite:
        assert (case.tag, set(case.keys())) == ("testcase", {"classname", "name", "time"})
        assert len(case) <= 1
        for element in case:
            assert set(element.keys()) == ({"message", "type"} if element.tag == "failure" else {"message"})
    assert len({(case.get("classname"), case.get("name")) for case in suite}) == len(suite)
    return suite


def test_junit_holds_no_character_that_xml_forbids(base: Snapshot) -> None:
    strange = "".join(map(chr, (*range(32), 0x7F, 0xD800, 0xFFFE, 0x1F600))) + "<&\"'>]]>"
    after = changed(base, status="crash", reason=strange, figures={}, counts={})
    after = dataclasses.replace(after, environment={"host": strange})
    suite = check_junit(to_junit(judged(base, after)).encode("utf-8").decode())
    (failure,) = suite.findall("testcase/failure")
    assert (failure.get("message") or "").endswith("<&\"'>]]>")


def test_rows_that_share_a_title_are_told_apart(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "a" / "b")
    for batch in (1, 8):
        sweep.performance(synthetic.workload("Bert", batch_size=batch), "eager")
    found = of_folder(sweep.write())
    judgement = judged(found, dataclasses.replace(found, rows=(), created=2.0))
    title = "Bert inference float16 cpu eager performance"
    assert [case.name for case in judgement.cases] == [f"{title} batch_size=1", f"{title} batch_size=8"]
    check_junit(to_junit(judgement))


def test_json_and_csv_have_every_row_and_every_finding(place: Path) -> None:
    second(place, slow={"Bert": 1.25}, without=["GPT2"])
    data = json.loads(command(place, "latest", "--against", "base.json", "--json", code=1))
    assert data["tables"]["verdict"] == [
        {"result": "fail", "rows_expected": 9, "rows_passed": 7, "rows_failed": 2, "rows_flaky": 0, "rows_known": 0}
        | {"rows_new": 0, "others_failed": 0, "warnings": 0}
    ]
    rows = data["tables"]["gate"]
    assert len(rows) == 10  # two findings of Bert's
    (speedup,) = [row for row in rows if row["metric"] == "speedup"]
    assert speedup["ratio"] == pytest.approx(0.8, rel=1e-3)
    assert (speedup["before"], speedup["allowed"]) == (pytest.approx(2.0, rel=1e-3), 0.02)
    assert [row["case"] for row in rows if row["finding"] == "missing"] == [
        "GPT2 inference float16 cpu inductor performance"
    ]
    table = list(csv.DictReader(io.StringIO(command(place, "latest", "--against", "base.json", "--csv", code=1))))
    assert [row["result"] for row in table] == [row["result"] for row in rows]


# -- baselines


def test_accept_says_what_it_changes_and_keeps_failures_as_known(place: Path) -> None:
    second(place, slow={"Bert": 1.25}, without=["T5Small"], status={"GPT2": "crash"}, models=(*MODELS, "Opt"))
    text = command(place, "latest", "--against", "base.json", "--accept", code=0)
    said = " ".join(text.split())
    assert "changed: Bert inference float16 cpu inductor performance speedup 2.00 -> 1.60: worse" in said
    assert "T5Small inference float16 cpu inductor performance missing: no such row" in said
    assert "accepted failures: GPT2 inference float16 cpu inductor performance crash: signal 11" in said
    assert said.endswith("Accepted 2026-01-02/00-00-00 as base.json: 11 rows (3 added, 1 removed, 2 changed)")
    assert "Opt" not in said  # added rows are counted
    content = (place / "base.json").read_bytes()
    text = command(place, "latest", "--against", "base.json", code=0)
    assert "notices: 1 accepted failure (--md lists them)\n" in text
    assert text.endswith("PASS: 11 expected rows (1 accepted failure, 1 warning)\n")
    again = command(place, "latest", "--against", "base.json", "--accept", "--json", code=0)
    assert json.loads(again)["tables"]["verdict"][0]["result"] == "accepted"
    assert (place / "base.json").read_bytes() == content
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(command(place, "latest~1", "--against", "base.json", "--accept", "--md", code=0))
    )
    assert "(1 added, 3 removed, 2 changed)" in html
    command(place, "latest", "--against", "base.json", code=1)  # it is the old sweep now


def test_accept_refuses_a_sweep_that_has_not_run_to_its_end(place: Path) -> None:
    second(place, not_run=["Bert"])
    before = (place / "base.json").read_bytes()
    text = command(place, "latest", "--against", "base.json", "--accept", code=2)
    assert "2026-01-02/00-00-00 has 1 job that has not run: resume=2026-01-02/00-00-00 runs it" in text
    assert (place / "base.json").read_bytes() == before
    assert "not_run: no result yet" in command(place, "latest", "--against", "base.json", code=1)
    command(place, "latest", "--against", "base.json", "--accept", "--force", code=0)
    assert (place / "base.json").read_bytes() != before
    assert not list(place.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("baseline.txt", "--against must end in .json, and baseline.txt does not"),
        ("latest", "--against must end in .json, and latest does not"),
        ("nowhere/base.json", "nowhere is no folder: mkdir -p nowhere"),
        ("package.json", "package.json is no snapshot of a sweep"),
    ],
)
def test_accept_writes_baseline_files_only(base: str, message: str, place: Path, refused: Callable[..., str]) -> None:
    (place / "package.json").write_text("{}")
    assert message in refused("latest", "--against", base, "--accept")
    assert (place / "package.json").read_text() == "{}"
    assert not (place / "nowhere").exists()


def damaged(place: Path, content: str) -> str:
    made = json.loads((place / "base.json").read_text())
    if content == "empty":
        made["rows"] = []
    elif content == "schema":
        made["schema"] = 99
    elif content == "negative":
        made["rows"][1]["figures"]["latency_ms"]["values"][0] = -1.0
    elif content == "nan":
        made["rows"][1]["figures"]["latency_ms"]["values"][0] = math.nan
    elif content == "no values":
        made["rows"][1]["figures"]["latency_ms"]["values"] = []
    elif content == "status":
        made["rows"][0]["status"] = "fine"
    elif content == "names":
        made["rows"][0]["names"] = {}
    else:
        return content
    return json.dumps(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("empty", "has no rows"),
        ("schema", "schema version 99"),
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ("[]", "is no snapshot of a sweep"),
        ("negative", "rows[1].figures.latency_ms: expected positive numbers"),
        ("nan", "cannot be read: NaN is no number"),
        ("no values", "rows[1].figures.latency_ms: expected positive numbers"),
        ("status", "rows[0].status: unknown status 'fine'"),
        ("names", "rows[0].names: expected suite, model"),
    ],
)
def test_a_bad_baseline_is_refused_by_name(
    content: str, message: str, place: Path, refused: Callable[..., str]
) -> None:
    (place / "bad.json").write_text(damaged(place, content))
    text = refused("latest", "--against", "bad.json")
    assert text.startswith("orchestrator: bad.json ")
    assert message in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("latest", "--against", "none.json"), "there is no baseline none.json"),
        (("2025-01-01", "--against", "base.json"), "names no sweep under outputs"),
        (("latest", "--against", "base.json", "--rules", "none.yaml"), "none.yaml cannot be read"),
        (("latest", "--against", "base.json", "--today", "tomorrow"), "--today: 'tomorrow' is no day"),
        (("latest", "--against", "base.json", "--junit", "no/x.xml"), "--junit: no/x.xml cannot be written"),
        (("latest", "--against", "base.json", "--accept", "--junit", "x.xml"), "use one of them"),
        (("latest", "--against", "base.json", "--force"), "--force goes with --accept"),
        (("latest",), "required: --against"),
    ],
)
def test_bad_arguments(arguments: Sequence[str], message: str, refused: Callable[..., str]) -> None:
    assert message in refused(*arguments)


def test_a_sweep_that_still_runs_is_not_judged(place: Path) -> None:
    folder = second(place)
    with (folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 17 on here")
        lock.flush()
        for arguments in (("latest", "--against", "base.json"), ("latest~1", "--against", "latest")):
            text = command(place, *arguments, code=2)
            assert "outputs/2026-01-02/00-00-00 still runs (process 17 on here): wait for its end" in text
    command(place, "latest", "--against", "base.json", code=0)


def test_the_example_for_github_is_yaml() -> None:
    import yaml

    (text,) = re.findall(r"^```yaml\n(# .github.*?)^```", (ROOT / "docs" / "gate.md").read_text(), re.M | re.S)
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    assert sum("python -m orchestrator gate latest" in step.get("run", "") for step in steps) == 2
