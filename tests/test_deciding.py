"""When a row is decided: what other rows say of its spread, early verdicts, rounds that are left out, budgets."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.sweeps import make_job, run
from scipy import special
from support.command import FAKES, latest, orchestrator, start
from support.command import run as command

from orchestrator.deciding import EARLY, MOST_FREEDOM, openness, others_of, verdict_so_far
from orchestrator.execution.budget import RESERVE_S, Budget, covered
from orchestrator.records import NOT_NEEDED, PASS, JobResult, JobSpec
from orchestrator.samples import IN_PROCESS, Estimate
from orchestrator.statistics import FASTER, NOISE, SLOWER, Others, over_rounds, verdict
from orchestrator.store import SweepFolder
from orchestrator.words import seconds_of


def rounds(*logs: float) -> list[Estimate]:
    return [Estimate(math.exp(log), None, None, IN_PROCESS, 20) for log in logs]


def test_rows_that_are_alike_count_for_four_and_very_unlike_ones_for_next_to_nothing() -> None:
    generator = np.random.default_rng(3)
    alike = others_of([list(row) for row in generator.normal(0, 0.01, (30, 3))])
    assert all(others is not None and others.freedom == MOST_FREEDOM for others in alike)
    assert all(0.007 < math.sqrt(others.variance) < 0.014 for others in alike if others is not None)
    unlike = others_of([[0.0, scale] for scale in (1e-4, 1e-3, 0.01, 0.1, 1.0)])
    assert all(others is not None and others.freedom < 1 for others in unlike)


def test_the_prior_is_smyths() -> None:
    """Of rows with the variances 1, 2, 4 and 8 e-4, three rounds each, from the point of view of another row."""
    variances = [1e-4, 2e-4, 4e-4, 8e-4]
    rows = [[0.0, math.sqrt(3 * v) / 2 + math.sqrt(v) / 2, math.sqrt(3 * v) / 2 - math.sqrt(v) / 2] for v in variances]
    rows = [list(np.array(row) * math.sqrt(v / np.var(row, ddof=1))) for row, v in zip(rows, variances, strict=True)]
    found = others_of([*rows, [0.5]])[-1]
    assert found is not None
    logs = np.log(variances) - special.digamma(1) + np.log(1)
    excess = np.var(logs, ddof=1) - special.polygamma(1, 1)
    assert excess < 0  # no more than chance: alike
    assert found == Others(pytest.approx(math.exp(np.mean(logs))), 4.0)


def test_two_rows_or_fewer_say_nothing_of_a_third() -> None:
    assert others_of([[0.1, 0.2], [0.1, 0.2]]) == [None, None]
    assert others_of([[0.1], [0.1], [0.1]]) == [None, None, None]
    assert others_of([]) == []


def test_the_interval_is_moderated_unless_the_row_is_unlike_the_others() -> None:
    others = Others(1e-4, 4.0)
    calm = rounds(0.10, 0.11, 0.12)
    moderated = over_rounds(calm, others=others)
    assert moderated.freedom == 6
    assert moderated.error == pytest.approx(math.sqrt((4 * 1e-4 + 2 * 1e-4) / 6 * 0.44867))
    wild = rounds(0.0, 0.2, 0.4)
    assert over_rounds(wild, others=others) == over_rounds(wild)


def test_a_verdict_before_the_last_round_needs_999_of_1000_beyond_the_threshold() -> None:
    others = Others(0.005**2, 4.0)
    words = {}
    for log in (0.2, 0.03, 0.012, 0.0, -0.2):
        found = verdict_so_far(rounds(log, log + 0.001), others, 0.01)
        words[log] = None if found is None else found[0]
    assert words == {0.2: FASTER, 0.03: None, 0.012: None, 0.0: None, -0.2: SLOWER}
    assert verdict_so_far(rounds(0.0, 1e-5), Others(1e-8, 4.0), 0.01) is not None
    assert verdict_so_far(rounds(0.0, 1e-5), Others(1e-8, 4.0), 0.01)[0] == NOISE  # type: ignore[index]
    assert verdict_so_far(rounds(0.7), others, 0.01) is None  # one process says nothing of another
    assert verdict_so_far(rounds(0.7, 0.71), None, 0.01) is None  # two, and no other row: t has one degree of freedom
    assert over_rounds(rounds(0.2, 0.21), EARLY, others).half > over_rounds(rounds(0.2, 0.21), others=others).half  # type: ignore[operator]


def test_what_is_wide_and_across_the_threshold_matters_most() -> None:
    decided, narrow, wide = rounds(0.5, 0.501, 0.502), rounds(0.009, 0.010, 0.011), rounds(0.0, 0.02, 0.04)
    assert openness(wide, None, 0.01) > openness(narrow, None, 0.01) > openness(decided, None, 0.01)
    assert openness(rounds(0.1), None, 0.01) == math.inf


@pytest.mark.parametrize(
    ("spread", "effect", "called"),
    [("alike", 0.0, (0.0, 0.05)), ("unlike", 0.0, (0.0, 0.05)), ("alike", -0.03, (0.9, 1.0))],
)
def test_by_simulation_false_alarms_are_rare_effects_found_and_intervals_honest(
    spread: str, effect: float, called: tuple[float, float]
) -> None:
    """200 sweeps of 8 rows, three rounds at most, each looked at after two; sd 0.7 %, or 0.5 % and every fifth 3 %."""
    generator = np.random.default_rng(11)
    calls = held = total = 0
    for _ in range(200):
        deviations = np.full(8, 0.007) if spread == "alike" else np.where(generator.random(8) < 0.2, 0.03, 0.005)
        logs = effect + generator.normal(size=(8, 3)) * deviations[:, None]
        before, after = (others_of([list(row[:count]) for row in logs]) for count in (2, 3))
        for row, early, late in zip(logs, before, after, strict=True):
            made = rounds(*row)
            stopped = verdict_so_far(made[:2], early, 0.01) is not None
            found = over_rounds(made[:2] if stopped else made, others=late)
            assert found.low is not None
            assert found.high is not None
            calls += verdict(found) != NOISE
            held += math.log(found.low) <= effect <= math.log(found.high)
            total += 1
    assert called[0] <= calls / total <= called[1]
    assert held / total >= 0.94


pytestmark = pytest.mark.usefixtures("mark")


def family(name: str, speedup: str, count: int, **options: str) -> list[JobSpec]:
    """Return eager and compiled rounds of a row."""
    made: list[JobSpec] = []
    before: dict[str, JobSpec] = {}
    for round in range(count):
        for compiler in ("eager", "compiled"):
            needs = [(before[compiler], "round")] if compiler in before else []
            needs += [(before["eager"], "baseline")] if compiler == "compiled" else []
            spec: dict[str, Any] = {"speedup": speedup, **options} if compiler == "compiled" else {}
            job = make_job(name, needs=tuple(needs), round=round, compiler=plugin(compiler, **spec))
            before[compiler] = job
            made.append(job)
    return made


def plugin(name: str, **options: str) -> Any:
    from orchestrator.records import PluginSpec

    return PluginSpec(name=name, target="fakes.plugins.Misbehaving", options=options)


def statuses(store: SweepFolder, jobs: list[JobSpec]) -> list[str]:
    found = [store.read_result(job.id) for job in jobs]
    return [result.status if isinstance(result, JobResult) else "none" for result in found]


def test_rows_that_are_decided_get_no_third_round_nor_does_their_baseline(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    rows = {
        name: family(name, speedup, 3) for name, speedup in (("a", "2.0"), ("b", "1.5"), ("c", "1.8"), ("d", "1.008"))
    }
    jobs = [job for place in range(6) for row in rows.values() for job in [row[place]]]
    seen = run(store, jobs)
    for name in "abc":
        assert statuses(store, rows[name]) == [PASS] * 4 + [NOT_NEEDED] * 2, name
    assert statuses(store, rows["d"]) == [PASS] * 6
    result = store.read_result(rows["a"][5].id)
    assert isinstance(result, JobResult)
    assert result.failure is not None
    assert result.failure.message.startswith("decided after 2 rounds: faster, 1.99")
    assert seen.open[0] == 4
    assert seen.open[-1] == 0


def test_rounds_min_and_a_resumed_sweep_are_asked_anew(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    rows = [family(name, speedup, 3) for name, speedup in (("a", "2.0"), ("b", "1.5"), ("c", "1.8"))]
    jobs = [job for place in range(6) for row in rows for job in [row[place]]]
    run(store, jobs)
    assert NOT_NEEDED in statuses(store, jobs)
    again = run(store, jobs)  # as resume does
    assert [event for event in again.events if event[0] == "started"] == []
    run(store, jobs, rounds_min=3)
    assert statuses(store, jobs) == [PASS] * 18


def test_a_budget_takes_round_0_of_everything_first_and_then_what_is_open(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    rows = [family(name, speedup, 9) for name, speedup in (("a", "2.0"), ("b", "1.5"), ("c", "1.008"), ("d", "1.7"))]
    jobs = [job for row in rows for job in row]  # row by row in the plan
    seen = run(store, jobs, budget="10min")
    started = [name for event, name in seen.events if event == "started"]
    first = {row[place].id for row in rows for place in (0, 1)}
    assert set(started[:8]) == first
    counts = [statuses(store, row).count(PASS) // 2 for row in rows]
    assert counts[2] == 9  # never decided
    assert all(2 <= count <= 4 for place, count in enumerate(counts) if place != 2)


def test_what_does_not_fit_into_a_budget_is_not_run_and_is_run_later(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    jobs = family("a", "1.008", 6, lasts="0.5")
    seconds = RESERVE_S + 3
    start = time.monotonic()
    seen = run(store, jobs, budget=f"{seconds:.0f}s")
    assert time.monotonic() - start < seconds
    left = statuses(store, jobs)
    assert left[:2] == [PASS, PASS]
    assert left[-1] == "none"
    assert seen.too_late
    run(store, jobs, budget="10min")
    assert statuses(store, jobs) == [PASS] * 12


def test_a_job_that_runs_when_the_budget_is_over_is_ended_without_a_result(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    hanging = make_job("a", "hang", timeout_s=600.0)
    start = time.monotonic()
    seen = run(store, [hanging], budget=f"{RESERVE_S + 2:.0f}s")
    assert time.monotonic() - start < 60
    assert seen.too_late == [hanging.id]
    assert statuses(store, [hanging]) == ["none"]


def test_the_time_of_earlier_runs_counts_and_jobs_side_by_side_count_once() -> None:
    assert covered([(0, 10), (5, 12), (20, 21)]) == 13
    earlier = [JobResult(job_id="", status=PASS, started=start, ended=start + 20.0) for start in (0.0, 10.0, 100.0)]
    budget = Budget(60.0, earlier, clock=lambda: 1000.0)
    assert budget.end == 1000.0 + 60.0 - 50.0 - RESERVE_S
    assert Budget(None, earlier).end is None


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20min", 1200), ("1h30min", 5400), ("1.5 h", 5400)])
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "min", "-5min", "0s", "3 days", "5min later"])
def test_what_is_no_time_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="write a time as 20min"):
        seconds_of(text)
    printed = orchestrator(tmp_path, f"budget='{text}'", code=2)
    assert "write a time as 20min, 90s or 1h30min" in printed


@pytest.mark.slow
def test_a_budget_on_the_command_line_says_what_stays_open_and_goes_on_when_resumed(tmp_path: Path) -> None:
    """Killed in the middle and resumed: what was measured stays, the budget is that of the sweep.

    800 jobs: no machine runs them in 40 s.
    """
    words = [*FAKES, "suite=perceptrons", "compiler=identity", "measure=glance", "rounds=200", "rounds_min=200"]
    process = start(tmp_path, *words, "budget=40s")
    _wait_for_results(tmp_path, 4)
    process.kill()
    process.wait()
    before = _done(tmp_path)
    began = time.monotonic()
    printed = command(tmp_path, "resume=latest")
    assert time.monotonic() - began < 40
    assert len(_done(tmp_path)) > len(before)
    assert "verdicts stand; open, for want of rounds" in printed.replace("\n", " ")
    assert latest(tmp_path).read_sweep().points[0]["budget"] == "40s"


def _done(tmp_path: Path) -> set[Path]:
    return set(latest(tmp_path).root.glob("jobs/*/result.json"))


def _wait_for_results(tmp_path: Path, count: int) -> None:
    """Wait until a sweep has so many results; the kernel tells nobody of files."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if len(list(tmp_path.glob("outputs/*/*/jobs/*/result.json"))) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("no results")
