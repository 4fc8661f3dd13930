"""The self-test: each known figure that is not found is reported, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import synthetic
from support.command import latest, start
from support.synthetic import MIB, SyntheticSweep

from orchestrator.cli import report
from orchestrator.errors import UsageError
from orchestrator.probes import noise
from orchestrator.records import JobResult, JobSpec, Need, PluginSpec, Workload
from orchestrator.results.acceptance import self_test
from orchestrator.results.acceptance.self_test import PLANTED
from orchestrator.results.load import load
from orchestrator.results.tables import build
from orchestrator.store import SweepFolder

Change = Callable[[JobSpec, JobResult], JobResult | None]
KNOWN: Mapping[str, dict[str, Any]] = {
    "matmul": {"kind": "matmul"},
    "allocate_5ms": {"kind": "allocate", "bytes": 800_000_000, "seconds": 0.005},
    "sleep_50ms": {"kind": "sleep", "seconds": 0.05},
    "fail": {"kind": "fail"},
}
IDENTITY = PluginSpec(name="identity", target="orchestrator.compilers.eager.Eager")
SLOWDOWN = PluginSpec(name="slow", target="orchestrator.compilers.planted.Slowdown", options={"fraction": 0.03})
ALL = ["A/A matmul", "slow-down 3 % matmul", "peak allocate_5ms", "timer sleep_50ms", "planted failure", "other jobs"]
ALL += ["noise: spread", "noise: neighbours", "noise: disturbed", "this machine"]


def known(model: str, **changes: Any) -> Workload:
    builder = PluginSpec(name=model, target="orchestrator.suites.known.KnownModel", options=KNOWN[model])
    return synthetic.workload(model, suite="self_test", builder=builder, **changes)


def timed(spec: JobSpec, **figures: Any) -> JobResult:
    """Return a result as a quiet machine gives it: 800 MB come and go in the steady state of what allocates."""
    result = synthetic.performance_result(spec, **figures)
    facts = json.loads(json.dumps(result.facts))
    risen = spec.workload.builder.options.get("bytes", 0)
    facts["memory"]["phases"]["steady"] = {"start": 300 * MIB, "peak": 300 * MIB + risen + 250_000, "end": 300 * MIB}
    facts["noise"] = {"relative_iqr": 0.01, "foreign_cores": 0.02}
    return dataclasses.replace(result, facts=facts)


def sweep(folder: Path, change: Change = lambda spec, result: result, **changes: Any) -> SweepFolder:
    """Write a self-test in which all is well but for what `change` makes of each result (None: there is none)."""
    made = SyntheticSweep(folder, overrides=["experiment=self_test"])

    def add(spec: JobSpec, result: JobResult) -> JobSpec:
        return made.add(spec, change(spec, result))

    for round in range(5):
        jitter = 1 + 0.001 * (round - 2)
        eager = synthetic.job(known("matmul", **changes), "eager", round=round)
        add(eager, timed(eager))
        for compiler, ratio in ((IDENTITY, 1.0), (SLOWDOWN, 1.03)):
            needs = [Need(job=eager.id, kind="baseline")]
            spec = synthetic.job(known("matmul", **changes), compiler, round=round, needs=needs)
            add(spec, timed(spec, pairs=[(0.1 * jitter, 0.1 * ratio)] * 20))
    for model, latency in (("allocate_5ms", 0.33), ("sleep_50ms", 0.0501)):
        spec = synthetic.job(known(model, **changes), "eager")
        add(spec, timed(spec, latency=latency))
    spec = synthetic.job(known("fail", **changes), "eager")
    add(spec, synthetic.failed_result(spec, "eager_fail_to_run", f"RuntimeError: {PLANTED}"))
    return made.write()


def checks(folder: SweepFolder) -> dict[str, dict[str, Any]]:
    rows: list[dict[str, Any]] = list(build(load(folder)).self_test.rows)
    return {row["check"]: row for row in rows}


def failing(folder: SweepFolder) -> set[str]:
    return {name for name, row in checks(folder).items() if row["result"] != "pass"}


def test_all_is_well(tmp_path: Path) -> None:
    found = checks(sweep(tmp_path))
    assert list(found) == ALL
    assert {row["result"] for row in found.values()} == {"pass"}
    assert {row["advice"] for row in found.values()} == {None}
    assert found["A/A matmul"]["found"] == "1.000x [0.998, 1.002]"
    assert found["slow-down 3 % matmul"]["expected"] == "slower, about 0.971x"
    assert found["slow-down 3 % matmul"]["found"] == "0.971x [0.969, 0.973] slower"
    assert found["peak allocate_5ms"]["expected"] == "762.9 MiB ± 1 %"
    assert found["peak allocate_5ms"]["found"] == "763.2 MiB (+0.03 %)"
    assert found["timer sleep_50ms"]["found"] == "50.10 ms, 100 µs over"
    assert found["planted failure"]["found"] == "1 row: eager_fail_to_run"
    assert found["other jobs"]["found"] == "17 of 17"
    assert found["noise: neighbours"]["found"] == "0.02 cores"
    assert found["this machine"]["found"] == "This machine can be trusted today."


def paired(compiler: str, ratio: float) -> Change:
    """The pairs of one compiler have another ratio."""

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        samples = [s for s in result.samples if spec.compiler.name != compiler or s.metric != "pair_latency"]
        if len(samples) < len(result.samples):
            old = result.sample("pair_latency")
            assert old is not None
            samples.append(dataclasses.replace(old, values=tuple(value * ratio for value in old.values)))
        return dataclasses.replace(result, samples=tuple(samples))

    return change


def of(model: str, make: Callable[[JobSpec, JobResult], JobResult | None]) -> Change:
    """Only the result of one model is another."""
    return lambda spec, result: make(spec, result) if spec.workload.model == model else result


def peak(factor: float) -> Callable[[JobSpec, JobResult], JobResult]:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        facts = json.loads(json.dumps(result.facts))
        facts["memory"]["phases"]["steady"]["peak"] = int(300 * MIB + 800_000_000 * factor)
        return dataclasses.replace(result, facts=facts)

    return change


def noisy(**figures: float) -> Change:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        return dataclasses.replace(
            result, facts={**result.facts, "noise": {**result.facts.get("noise", {}), **figures}}
        )

    return change


def disturbed(rounds: int) -> Change:
    """So many rounds of the three matmul jobs are disturbed."""

    def change(spec: JobSpec, result: JobResult) -> JobResult:
        if spec.workload.model != "matmul" or spec.round >= rounds:
            return result
        return dataclasses.replace(result, facts={**result.facts, "disturbed": ["other processes used 1 core"]})

    return change


def slept(seconds: float) -> Change:
    return of("sleep_50ms", lambda spec, _: timed(spec, latency=seconds))


def ended(status: str, reason: str) -> Callable[[JobSpec, JobResult], JobResult]:
    return lambda spec, _: synthetic.failed_result(spec, status, reason)


BAD: Mapping[str, tuple[Change, set[str]]] = {
    "A/A is biased": (paired("identity", 1.02), {"A/A matmul"}),
    "A/A is biased by less than a verdict takes": (paired("identity", 1.005), {"A/A matmul"}),
    "the slow-down is not found": (paired("slow", 1 / 1.03), {"slow-down 3 % matmul"}),
    "the slow-down is found as a speed-up": (paired("slow", 0.9), {"slow-down 3 % matmul"}),
    "a peak is 2 % too high": (of("allocate_5ms", peak(1.02)), {"peak allocate_5ms"}),
    "a peak is 2 % too low": (of("allocate_5ms", peak(0.98)), {"peak allocate_5ms"}),
    "a peak is not there": (
        of("allocate_5ms", lambda _, result: dataclasses.replace(result, facts={})),
        {"peak allocate_5ms"},
    ),
    "it sleeps too long": (slept(0.0506), {"timer sleep_50ms"}),
    "it sleeps too short": (slept(0.0499), {"timer sleep_50ms"}),
    "the failure passes": (of("fail", lambda spec, _: timed(spec)), {"planted failure"}),
    "the failure is another": (of("fail", ended("crash", "killed by SIGSEGV")), {"planted failure"}),
    "the failure has no row": (of("fail", lambda *_: None), {"planted failure"}),
    "an allocation crashes": (of("allocate_5ms", ended("crash", "SIGSEGV")), {"peak allocate_5ms", "other jobs"}),
    "the sleep has no row": (of("sleep_50ms", lambda *_: None), {"timer sleep_50ms", "other jobs"}),
    "a round of A/A is lost": (
        lambda spec, result: None if spec.compiler.name == "identity" and spec.round == 4 else result,
        {"other jobs"},
    ),
    "A/A was never run": (
        lambda spec, result: None if spec.compiler.name == "identity" else result,
        {"A/A matmul", "other jobs"},
    ),
    "samples are spread": (noisy(relative_iqr=0.11), {"noise: spread"}),
    "there are neighbours": (noisy(foreign_cores=0.2), {"noise: neighbours"}),
    "noise was not measured": (
        lambda _, result: dataclasses.replace(result, facts={**result.facts, "noise": {}}),
        {"noise: spread", "noise: neighbours"},
    ),
    "jobs were disturbed": (disturbed(2), {"noise: disturbed"}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_as_it_should_be_is_reported_with_advice(case: str, tmp_path: Path) -> None:
    change, expected = BAD[case]
    folder = sweep(tmp_path, change)
    assert failing(folder) == expected | {"this machine"}
    found = checks(folder)
    last = found["this machine"]["found"]
    assert last.startswith("This machine cannot be trusted today: ")
    for name in expected:
        assert name in last
        assert found[name]["advice"] in last
    assert report.finish(folder) == 1


def test_a_few_disturbed_jobs_are_no_reason_for_distrust(tmp_path: Path) -> None:
    folder = sweep(tmp_path, disturbed(1))
    assert checks(folder)["noise: disturbed"]["found"] == "3 of 17"
    assert failing(folder) == set()


def test_a_peak_that_the_kernel_does_not_give_says_so(tmp_path: Path) -> None:
    def change(spec: JobSpec, result: JobResult) -> JobResult:
        wrong = peak(2.0)(spec, result)
        return dataclasses.replace(wrong, facts={"memory": {**wrong.facts["memory"], "source": "ru_maxrss"}})

    assert "clear_refs" in checks(sweep(tmp_path, of("allocate_5ms", change)))["peak allocate_5ms"]["advice"]


def test_on_cuda_the_allocators_peak_counts(tmp_path: Path) -> None:
    def change(factor: float) -> Change:
        def of_cuda(spec: JobSpec, result: JobResult) -> JobResult:
            steady = {"start": 33_000_000, "allocated": int(33_000_000 + 800_000_000 * factor), "reserved": 10**9}
            memory = {**peak(3.0)(spec, result).facts["memory"], "cuda": {"steady": steady}}
            return dataclasses.replace(result, facts={**result.facts, "memory": memory})

        return of("allocate_5ms", of_cuda)

    assert failing(sweep(tmp_path / "exact", change(1.0), device="cuda:0")) == set()
    assert "peak allocate_5ms" in failing(sweep(tmp_path / "wrong", change(1.02), device="cuda:0"))


def test_two_precisions_are_told_apart(tmp_path: Path) -> None:
    both = SyntheticSweep(tmp_path)
    for dtype, latency in (("float32", 0.0501), ("float16", 0.06)):
        spec = synthetic.job(known("sleep_50ms", dtype=dtype), "eager")
        both.add(spec, timed(spec, latency=latency))
    found = checks(both.write())
    assert found["timer sleep_50ms (float32)"]["result"] == "pass"
    assert found["timer sleep_50ms (float16)"]["result"] == "fail"


def test_what_was_not_asked_for_is_named_and_gives_no_trust(tmp_path: Path) -> None:
    part = SyntheticSweep(tmp_path)
    spec = synthetic.job(known("sleep_50ms"), "eager")
    part.add(spec, timed(spec, latency=0.0501))
    last = checks(part.write())["this machine"]
    assert last["result"] == "pass"
    assert "not checked: A/A, slow-down, peak, planted failure" in last["found"]
    assert "trusted" not in last["found"]


def test_exit_code_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path)
    assert report.finish(folder) == 0  # though one job failed: it had to
    stored = json.loads((folder.tables / "self_test.json").read_text())["tables"]["self_test"]
    assert [row["check"] for row in stored] == ALL
    assert list(pd.read_csv(folder.tables / "self_test.csv")["check"]) == ALL
    assert (folder.tables / "self_test.md").read_text().startswith("## Self test\n\n| check | result | expected |")
    capsys.readouterr()
    assert report.main([str(folder.root), "--md"]) == 0
    assert "This machine can be trusted today." in capsys.readouterr().out
    assert report.main([str(folder.root), "--csv", "--table", "self_test"]) == 0
    assert capsys.readouterr().out.startswith("check,result,expected,found,advice\nA/A matmul,pass,")


def test_other_sweeps_have_no_self_test_and_keep_their_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = synthetic.quick_sweep(tmp_path).write()
    assert report.finish(folder) == 1
    assert "trusted" not in capsys.readouterr().out
    assert not (folder.tables / "self_test.csv").exists()
    with pytest.raises(UsageError, match="--table self_test: this sweep has none"):
        report.main([str(folder.root), "--json", "--table", "self_test"])


def test_a_failure_of_another_suite_still_counts(tmp_path: Path) -> None:
    folder = sweep(tmp_path)
    mixed = SyntheticSweep(tmp_path)
    for spec in folder.read_graph().jobs:
        result = folder.read_result(spec.id)
        assert isinstance(result, JobResult)
        mixed.add(spec, result)
    other = synthetic.job("Bert", "eager")
    mixed.add(other, synthetic.failed_result(other, "crash", "killed"))
    assert report.finish(mixed.write()) == 1
    assert failing(mixed.folder) == set()


@pytest.mark.parametrize("change", [None, paired("identity", 1.02)], ids=["trusted", "not trusted"])
def test_terminal_at_80_columns(
    change: Change | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    report.finish(sweep(tmp_path / "s", change) if change else sweep(tmp_path / "s"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    block = lines[lines.index("self-test") :]
    assert block[1].split() == ["check", "expected", "found"]
    assert "slow-down 3 % matmul  pass  slower, about 0.971x  0.971x [0.969, 0.973] slower" in block
    if change is None:
        assert "A/A matmul            pass  1 in the interval     1.000x [0.998, 1.002]" in block
        assert block[len(ALL) + 1] == "This machine can be trusted today."
    else:
        assert "A/A matmul            fail  1 in the interval     0.980x [0.978, 0.983] slower" in block
        assert block[len(ALL) + 1].startswith("This machine cannot be trusted today: A/A matmul (one run in twenty")


def test_limits_are_those_of_the_marks() -> None:
    """What the tables call disturbed and what the self-test calls noisy is the same."""
    assert (self_test.RELATIVE_IQR, self_test.FOREIGN_CORES) == (noise.RELATIVE_IQR, noise.FOREIGN_CORES)


@pytest.mark.alone
@pytest.mark.slow
def test_shrunk_through_the_real_command(tmp_path: Path) -> None:
    """Peak and failure as known, whatever the machine does; the exit code is that of the checks."""
    left_out = "exclude=[{model:[matmul,allocate_50ms,allocate_500ms]}]"
    process = start(tmp_path, "+experiment=self_test", left_out)
    output, _ = process.communicate(timeout=300)
    found = pd.read_csv(latest(tmp_path).tables / "self_test.csv").set_index("check")
    assert "not checked: A/A, slow-down" in output or "cannot be trusted today: " in output
    assert process.returncode == int((found["result"] == "fail").any()), output
    for name in ("peak allocate_5ms", "planted failure", "other jobs"):
        assert found.loc[name, "result"] == "pass", output
    slept = float(found.loc["timer sleep_50ms", "found"].split()[0])
    assert 50.0 <= slept < 75.0
    assert re.search(r"^planted failure +pass +1 row", output, re.MULTILINE)
