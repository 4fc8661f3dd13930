"""What a sweep comes to: figures that are known beforehand, whom to take, the one caution, and how it is said."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import synthetic
from support.synthetic import SyntheticSweep

from orchestrator.results import answer, load, tables
from orchestrator.results.answer import Answer, CompilerAnswer, Payoff, RowAnswer
from orchestrator.results.caution import CAUTIONS, Caution
from orchestrator.results.recommendation import Candidate, Recommendation, recommend
from orchestrator.results.tables import Tables
from orchestrator.samples import Estimate
from orchestrator.statistics import FASTER, NOISE, SLOWER, verdict
from orchestrator.views import answer as view
from orchestrator.views import summary
from orchestrator.views.answer import advice
from orchestrator.views.document import Document, show, to_markdown
from orchestrator.views.summary import compiler_cells, geomean_cells

MIB = 2**20
BUSY = "other processes used 0.62 cores (over 0.1)"


def timed(
    sweep: SyntheticSweep,
    model: str,
    compiler: str,
    eager_s: float,
    speedup: float,
    *,
    rounds: int = 3,
    wobble: float = 0.001,
    first_call: float = 20.0,
    **figures: Any,
) -> None:
    """Add rounds of a compiler and their baselines. The steady phase is 1.5 times as slow as the pairs."""
    for round in range(rounds):
        compiled_s = eager_s / speedup * (1 + wobble * (round - (rounds - 1) / 2))
        base = synthetic.job(model, "eager", round=round)
        if base.id not in {spec.id for spec in sweep.jobs}:
            sweep.performance(model, "eager", round, latency=eager_s * 1.5)
        sweep.performance(
            model,
            compiler,
            round,
            baseline=base,
            latency=compiled_s * 1.5,
            first_call=first_call + compiled_s * 1.5 if round == 0 else 1.0,
            pairs=[(eager_s, compiled_s * (1 + i * 1e-5)) for i in range(20)],
            **figures,
        )


def built(sweep: SyntheticSweep) -> Tables:
    return tables.build(load.load(sweep.write()))


def found(sweep: SyntheticSweep) -> Answer:
    return answer.of(built(sweep))


def only(made: Answer) -> CompilerAnswer:
    ((one,),) = [section.compilers for section in made.sections]
    return one


def said(made: Tables, *, imported: bool = False) -> str:
    """Return the answer on one line, as a page has it."""
    text = to_markdown(Document("", view.pieces(made, "latest", imported)))
    return " ".join(text.removeprefix("## —").split())


# the figures


def test_a_row_has_the_latencies_of_its_pairs_and_what_it_costs(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Bert", "inductor", 0.100, 1.25, peak_mib=675.0)  # 300 MiB of which are there before the model
    sweep.accuracy("Bert", "inductor")
    whole = only(found(sweep))
    (row,) = whole.rows
    assert row.speedup is not None
    assert row.speedup.value == pytest.approx(1.25, rel=1e-3)
    assert row.latency_s == pytest.approx(0.080, rel=1e-3)  # not the 0.120 of the steady phase
    assert row.eager_latency_s == pytest.approx(row.speedup.value * row.latency_s, rel=1e-12)
    assert (row.eager_memory_bytes, row.memory_bytes) == (300 * MIB, 375 * MIB)
    assert row.memory_change == pytest.approx(0.25)
    assert row.compile_cold_s == pytest.approx(20.0, rel=1e-3)
    assert (row.right, row.verdict, row.disturbed, row.doubtful) == (True, FASTER, False, False)
    assert row.error_share == pytest.approx(0.5)
    assert row.payoff is not None
    assert row.payoff.calls == pytest.approx(20.0 / 0.020, rel=0.01)
    assert row.payoff.seconds == pytest.approx(row.payoff.calls * row.eager_latency_s)
    assert row.payoff.low is not None
    assert row.payoff.high is not None
    assert row.payoff.low < row.payoff.calls < row.payoff.high
    assert whole.payoff == row.payoff  # of one model the sentence and the row say the same


def test_means_and_intervals_are_those_of_the_overview(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Bert", "inductor", 0.100, 1.25)
    timed(sweep, "T5", "inductor", 0.400, 1.60, first_call=60.0)
    made = built(sweep)
    one = only(answer.of(made))
    (mean,) = [row for row in made.overview.rows if row["compiler"] == "inductor"]
    assert one.speedup is not None
    assert one.speedup.value == pytest.approx(math.sqrt(1.25 * 1.60), rel=1e-3)
    assert (one.speedup.value, one.speedup.low, one.speedup.high) == tuple(
        mean[f"geomean_speedup{end}"] for end in ("", "_low", "_high")
    )
    assert (one.timed, one.faster, one.slower, one.undecided) == (2, 2, 0, 0)
    assert one.compile_cold_s == pytest.approx(40.0, rel=1e-3)
    assert one.payoff is not None  # 80 s of compiling, over 20 + 150 ms that a call of each gains
    assert one.payoff.calls == pytest.approx(80.0 / 0.170, rel=0.01)
    assert one.payoff.seconds == pytest.approx(one.payoff.calls * 0.250, rel=0.01)  # of each model, 250 ms on average


def test_what_pays_on_average_but_not_in_seconds_has_no_payoff(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Small", "inductor", 0.001, 3.0)
    timed(sweep, "Large", "inductor", 1.000, 0.9)
    one = only(found(sweep))
    assert (one.verdict, one.faster, one.slower, one.payoff) == (FASTER, 1, 1, None)


@pytest.mark.parametrize(("speedup", "word"), [(0.8, SLOWER), (1.0, NOISE)])
def test_what_is_not_faster_has_no_payoff(tmp_path: Path, speedup: float, word: str) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Bert", "inductor", 0.100, speedup)
    one = only(found(sweep))
    assert (one.verdict, one.payoff, one.rows[0].payoff) == (word, None, None)
    assert "faster" not in said(built(sweep))


def test_wrong_failed_and_unjudged_are_counted_apart(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    for model in ("A", "B", "C"):
        timed(sweep, model, "inductor", 0.100, 1.25)
    sweep.accuracy("A", "inductor")
    sweep.accuracy("B", "inductor", status="fail_accuracy", reason="x", error=0.5)
    sweep.accuracy("C", "inductor", status="random", reason="draws numbers")
    crashed = synthetic.job("D", "inductor")
    sweep.add(crashed, synthetic.failed_result(crashed, "crash", "killed"))
    no_eager = synthetic.job("E", "inductor")
    sweep.add(no_eager, synthetic.failed_result(no_eager, "eager_fail_to_run", "raises"))
    made = found(sweep)
    one = only(made)
    assert (one.planned_accuracy, one.right, one.wrong, one.failed, one.timed) == (3, 1, 1, 1, 3)
    assert one.speedup is not None
    assert one.speedup.count == 2
    assert made.sections[0].recommendation.left_out == ("inductor",)
    assert made.sections[0].recommendation.fastest is None


def test_that_eager_fails_is_no_fault_of_a_compilers(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "A", "inductor", 0.100, 1.25)
    sweep.accuracy("A", "inductor")
    no_eager = synthetic.job("E", "inductor")
    sweep.add(no_eager, synthetic.failed_result(no_eager, "eager_fail_to_run", "raises"))
    assert found(sweep).sections[0].recommendation.fastest == "inductor"


def test_eager_alone_and_nothing_at_all(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path / "eager")
    sweep.performance("Bert", "eager")
    made = built(sweep)
    assert answer.of(made) == Answer((), None)
    assert said(made) == "Eager alone was timed: there is nothing that it is compared with."
    assert said(built(SyntheticSweep(tmp_path / "nothing"))) == ""


def test_sections_are_apart_and_none_merges(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    for dtype, speedup in (("float32", 1.25), ("bfloat16", 0.8)):
        load_ = synthetic.workload("Bert", dtype=dtype)
        eager = sweep.performance(load_, "eager")
        sweep.performance(load_, "inductor", baseline=eager, pairs=[(0.1, 0.1 / speedup)] * 20)
    made = built(sweep)
    values = {s.key["dtype"]: s.compilers[0].speedup for s in answer.of(made).sections}
    assert {dtype: round(one.value, 3) for dtype, one in values.items() if one} == {"float32": 1.25, "bfloat16": 0.8}
    assert "**bfloat16: inductor is slower than eager: 0.80x [0.80, 0.80], not judged**" in said(made)
    assert "float32: inductor is 1.25x faster than eager" in said(made)


# whom to take


def candidate(
    name: str,
    speedup: float | None,
    half: float | None = 0.02,
    memory: float | None = 1.2,
    compile_s: Any = 10.0,
    **more: Any,
) -> Candidate:
    """Return one with an interval of +- `half`, relative; None: without."""
    one = None
    if speedup is not None:
        ends = (None, None) if half is None else (speedup * math.exp(-half), speedup * math.exp(half))
        one = Estimate(speedup, *ends, "rounds", 3)
    words = None if one is None or half is None else verdict(one)
    return Candidate(name, one, words, memory, compile_s, **{"right": True, **more})


def test_the_fastest_that_is_right_and_what_cannot_be_told_from_it() -> None:
    chosen = recommend(
        [
            candidate("wrong", 3.0, right=False),
            candidate("best", 1.50),
            candidate("near", 1.48),
            candidate("slow", 1.20),
            candidate("unjudged", 2.0, right=None),
            candidate("same", 1.005),
        ]
    )
    assert (chosen.fastest, chosen.like_fastest) == ("best", ("near",))
    assert (chosen.undecided, chosen.left_out, chosen.judged) == (("same",), ("wrong", "unjudged"), True)


def test_where_nothing_was_judged_all_stand_for_election() -> None:
    chosen = recommend([candidate("a", 1.5, right=None), candidate("b", 1.2, right=None)])
    assert (chosen.fastest, chosen.left_out, chosen.judged) == ("a", (), False)


def test_none_is_faster_and_eager_is_the_smallest() -> None:
    chosen = recommend([candidate("a", 1.0), candidate("b", 0.8)])
    assert (chosen.fastest, chosen.smallest, chosen.front) == (None, "eager", ())
    assert chosen.beaten == (("a", "eager"), ("b", "eager"))
    assert recommend([candidate("a", 1.0, memory=0.99)]).smallest == "eager"  # by under 2 %
    assert recommend([candidate("a", 1.0, memory=0.9)]).smallest == "a"
    assert recommend([]) == Recommendation(None, (), None, (), (), (), (), False)


def test_the_front_holds_what_no_other_beats_in_everything() -> None:
    chosen = recommend(
        [
            candidate("fast", 1.5, memory=1.5, compile_s=30.0),
            candidate("small", 1.1, memory=0.7, compile_s=30.0),
            candidate("quick", 1.2, memory=1.2, compile_s=2.0),
            candidate("worse than fast", 1.4, memory=1.6, compile_s=40.0),
            candidate("worse than quick", 1.1, memory=1.2, compile_s=2.0),
        ]
    )
    assert chosen.front == ("fast", "small", "quick")
    assert dict(chosen.beaten) == {"worse than fast": "fast", "worse than quick": "quick"}


def test_equals_are_both_on_the_front() -> None:
    assert recommend([candidate("a", 1.5), candidate("b", 1.5)]).front == ("a", "b")
    # told apart by nothing that is shown: the smaller one beats it
    assert recommend([candidate("a", 1.50, memory=1.3), candidate("b", 1.49, memory=1.2)]).front == ("b",)


@pytest.mark.parametrize("missing", ["memory", "compile_s"])
def test_what_is_not_known_may_be_better(missing: str) -> None:
    good, unknown = candidate("good", 1.5, memory=0.8, compile_s=1.0), candidate("unknown", 1.2, **{missing: None})
    assert recommend([good, unknown]).front == ("good", "unknown")
    # where it is known of none it does not count
    alike = [candidate(name, value, **{missing: None}) for name, value in (("good", 1.5), ("unknown", 1.2))]
    assert recommend(alike).front == ("good",)


def test_without_intervals_the_figures_as_such_decide() -> None:
    chosen = recommend([candidate("a", 2.0, None, memory=1.1), candidate("b", 1.2, None, memory=1.0)])
    assert (chosen.fastest, chosen.front) == (None, ("a", "b"))


def test_a_sweep_of_several_compilers_recommends(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    for model, best in (("A", 1.5), ("B", 1.0)):
        timed(sweep, model, "inductor", 0.100, best, peak_mib=690.0)
        timed(sweep, model, "aot_eager", 0.100, 1.2, peak_mib=570.0, first_call=3.0)
        timed(sweep, model, "dynamo_eager", 0.100, 1.0, peak_mib=690.0, first_call=3.0)
        for compiler in ("inductor", "aot_eager", "dynamo_eager"):
            sweep.accuracy(model, compiler)
    made = built(sweep)
    text = said(made)
    assert text.startswith(
        "**inductor is the fastest of 3 compilers that are right: it is 1.22x faster than eager [1.22, 1.23], "
        "right on 2 of 2 models** +30 % memory · compiles in 20.0 s"
    )
    assert "- smallest: aot\\_eager (-10 % memory)" in text.replace("aot_eager", "aot\\_eager")
    assert "- per model: inductor: A; aot" in text
    assert re.search(r"- undecided: dynamo\S*eager 1\.00x \[", text)
    rows = {(row["model"], row["compiler"]): row for row in made.answer.rows}
    assert rows[None, "inductor"]["choice"] == "fastest, front"
    assert rows[None, "aot_eager"]["choice"] == "smallest, front"
    assert (rows[None, "dynamo_eager"]["choice"], rows[None, "dynamo_eager"]["beaten_by"]) == (None, "eager")
    assert rows["B", "aot_eager"]["choice"] == "fastest, smallest, front"
    assert rows[None, "inductor"]["memory_change_percent"] == pytest.approx(30.0)
    assert rows[None, "inductor"]["rows_right"] == 2


# the caution


def test_the_most_important_is_said(tmp_path: Path) -> None:
    """Each is mended in turn, and the next one is said."""

    def caution(name: str, **changes: Any) -> Caution | None:
        sweep = SyntheticSweep(tmp_path / name)
        told = {
            "waiting": False,
            "elsewhere": False,
            "wrong": False,
            "failed": False,
            "measured": None,
            "disturbed": (),
            "rounds": 3,
        }
        told |= {"judged": True, "speedup": 1.5} | changes
        marks = {"measured": {"partly eager": "x"}} if told["measured"] else {}
        timed(sweep, "A", "inductor", 0.1, told["speedup"], rounds=told["rounds"], disturbed=told["disturbed"], **marks)
        if told["judged"]:
            sweep.accuracy("A", "inductor")
        if told["wrong"]:
            sweep.accuracy("W", "inductor", status="fail_accuracy", reason="x")
        if told["failed"]:
            spec = synthetic.job("F", "inductor")
            sweep.add(spec, synthetic.failed_result(spec, "crash", "killed"))
        if told["elsewhere"]:
            sweep.elsewhere.add(sweep.add(synthetic.job("E", "inductor")).id)
        if told["waiting"]:
            sweep.add(synthetic.job("N", "inductor"))
        return found(sweep).caution

    changes: dict[str, dict[str, Any]] = {
        "undecided": {"speedup": 1.0},
        "unjudged": {"judged": False},
        "one_round": {"rounds": 1},
        "disturbed": {"disturbed": (BUSY,)},
        "measured": {"measured": True},
        "shards": {"elsewhere": True},
        "failed": {"failed": True},
        "wrong": {"wrong": True},
        "not_run": {"waiting": True},
    }
    assert tuple(changes) == CAUTIONS[::-1]
    assert caution("quiet") is None
    together: dict[str, Any] = {}
    for kind, change in changes.items():
        together |= change
        made = caution(kind, **together)
        assert made is not None
        assert made.kind == kind


@pytest.mark.parametrize(
    ("kind", "words", "imported"),
    [
        ("not_run", ["resume=latest"], []),
        ("wrong", ["show", "latest:abc"], ["show", "latest:abc"]),
        ("failed", ["show", "latest:abc"], ["show", "latest:abc"]),
        ("shards", ["merge", "latest", "FOLDER", "..."], ["merge", "latest", "FOLDER", "..."]),
        ("measured", ["show", "latest:abc"], ["show", "latest:abc"]),
        ("disturbed", ["rerun", "latest", "--rounds", "5"], []),
        ("one_round", ["rerun", "latest", "--rounds", "5"], []),
        ("unjudged", [], []),
        ("undecided", ["rerun", "latest", "--rounds", "5"], []),
    ],
)
def test_the_command_that_mends_it(kind: str, words: list[str], imported: list[str]) -> None:
    caution = Caution(kind, 1, 2, job="abc", rounds=5)
    assert caution.words("latest") == words
    assert caution.words("latest", imported=True) == imported


# how it is said


@pytest.mark.parametrize(
    ("cores", "text"),
    [
        (1.56, "* 2 rows were measured beside other work (at most 1.6 cores); when it is quiet"),
        (0.02, "* 2 rows were disturbed, though nothing else ran here; when it is quiet"),
        (None, "* 2 rows were measured beside other work; when it is quiet"),
    ],
)
def test_what_disturbed_is_no_other_work_where_there_was_none(cores: float | None, text: str) -> None:
    assert advice(Caution("disturbed", 2, 3, cores=cores, rounds=5), "latest", imported=False).text == text


@pytest.mark.parametrize(
    ("rounds", "claim", "word", "colour"),
    [(1, "looks 1.25x faster", "faster?", ""), (3, "is 1.25x faster", "faster", "green")],
)
def test_one_process_beside_other_work_only_looks_faster(
    tmp_path: Path, rounds: int, claim: str, word: str, colour: str
) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Bert", "inductor", 0.100, 1.25, rounds=rounds, disturbed=(BUSY,))
    made = built(sweep)
    assert claim in said(made)
    (row,) = [row for row in made.summary.rows if row["compiler"] == "inductor"]
    cell = compiler_cells(row)[1]
    assert (cell.first[-1], cell.second, cell.style) == ("*", word, colour)
    (mean,) = [row for row in made.overview.rows if row["compiler"] == "inductor"]
    assert geomean_cells(mean, 0)[1].style == colour


def test_a_latency_that_was_disturbed_has_no_spread(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    sweep.performance("Quiet", "eager", latency=[0.1, 0.1, 0.11, 0.12])
    sweep.performance("Busy", "eager", latency=[0.1, 0.1, 0.11, 0.12], disturbed=(BUSY,))
    sweep.performance("Absurd", "eager", latency=[0.1, 0.1, 2.0, 3.0])
    cells = {row["model"]: compiler_cells(row)[2] for row in built(sweep).summary.rows}
    assert (cells["Quiet"].first, cells["Quiet"].second[:2]) == ("105 ms", "± ")
    assert (cells["Busy"].first, cells["Busy"].second) == ("105 ms*", "")
    assert cells["Absurd"].second == ""


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("pass", "right on 1 of 1 model"),
        ("fail_accuracy", "inductor is WRONG on 1 of 1 model; it was timed on no model"),
        ("random", "right on 0 of 1 model (1 not judged)"),
        (None, "not judged"),
    ],
)
def test_correctness_is_said_with_it(tmp_path: Path, status: str | None, text: str) -> None:
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "Bert", "inductor", 0.100, 1.25)
    if status is not None:
        sweep.accuracy("Bert", "inductor", status=status, reason="x")
    assert text in said(built(sweep))


def test_a_sweep_of_accuracy_leads_with_the_error_against_what_is_allowed(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path / "right")
    sweep.accuracy("A", "inductor", error=2e-5)
    sweep.accuracy("B", "inductor", error=1e-4)
    assert said(built(sweep)) == "**inductor is right on 2 of 2 models: largest error 50 % of what is allowed (B)**"
    sweep = SyntheticSweep(tmp_path / "wrong")
    sweep.accuracy("A", "inductor")
    sweep.accuracy("B", "inductor", status="fail_accuracy", reason="x", error=8e-4)
    assert "**inductor is WRONG on 1 of 2 models: largest error 4.00 times what is allowed (B)**" in said(built(sweep))


def test_what_waits_has_one_line_and_no_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sweep = SyntheticSweep(tmp_path)
    timed(sweep, "A", "inductor", 0.100, 1.25)
    for i in range(6):
        sweep.add(synthetic.job(f"M{i}", "inductor"))
    sweep.add(synthetic.job(synthetic.workload("T", dtype="float32"), "inductor"))
    show(summary.document(built(sweep), "outputs/1/2"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("inductor is 1.25x faster than eager")
    assert [line for line in lines if line.startswith("not run") or "no result" in line] == [
        "not run: M0 inductor, M1 inductor, M2 inductor, M3 inductor and 2 more",
        "not run: T inductor",
    ]
    assert not any("not_run" in line for line in lines)
    assert "7 of 13 jobs have not run: python -m orchestrator resume=outputs/1/2" in lines


def test_nothing_could_be_timed(tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    spec = synthetic.job("F", "inductor")
    sweep.add(spec, synthetic.failed_result(spec, "crash", "killed"))
    assert said(built(sweep)).startswith("**inductor has no speed-up: crash 1** > 1 of 1 row failed: `python -m")


@pytest.mark.parametrize(
    ("payoff", "text"),
    [
        (Payoff(8514, 118.0, 8000, 9100), "pays off after about 8,500 calls (2 min)"),
        (Payoff(581, 59.0, 300, 1250), "pays off after 300 to 1,200 calls"),
        (Payoff(581, 59.0, 300, None), "pays off after 300 calls or more"),
        (Payoff(7, 0.8, None, None), "pays off after about 7 calls (0.8 s)"),
        (Payoff(0, 0.0, 0, 0), "pays off after the first call"),
        (Payoff(1, 0.02, 1, 1), "pays off after the first call"),
        (Payoff(0, 0.0, 0, None), "pays off after the first call or more"),
        (Payoff(2, 0.02, 0, 4), "pays off after 1 to 4 calls"),
        (Payoff(9_999_999, 2e6, 9_999_000, 9_999_999), "pays off after about 10,000,000 calls (23 d)"),
    ],
)
def test_a_payoff_has_no_more_digits_than_are_known(payoff: Payoff, text: str) -> None:
    assert view.pays_off(payoff) == text


def test_memory_is_said_as_what_it_was_and_is(tmp_path: Path) -> None:
    row = RowAnswer(
        *(0, "A", 1, None, "inductor", "pass", None, None, 0.0128, 0.0115, 36.0 * MIB, 64.4 * MIB, 0.789),
        *(None, None, None, None, None, False, False),
    )
    assert (view.memory(row), view.latencies(row)) == (("36 -> 64 MiB", "(+79 %)"), "12.8 -> 11.5 ms")


def command(folder: Path, *words: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LC_CTYPE", "LANG")}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=folder,
        env=clean | {"COLUMNS": "80", **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def faster(folder: Path, models: Sequence[str] = ("bert", "llama")) -> None:
    sweep = SyntheticSweep(folder / "outputs" / "1" / "2")
    for model in models:
        timed(sweep, model, "inductor", 0.100, 1.25, peak_mib=690.0)
        sweep.accuracy(model, "inductor")
    sweep.write()


def test_a_user_sees_the_answer_first(tmp_path: Path) -> None:
    faster(tmp_path)
    lines = command(tmp_path, "report").splitlines()
    assert lines[:3] == [
        "inductor is 1.25x faster than eager [1.25, 1.25], right on 2 of 2 models",
        "  +30 % memory · compiles in 20.0 s · pays off after about 1,000 calls each",
        "    (2 min)",
    ]
    said_of_a_row = "inductor 1.25x [1.25, 1.25] 100 -> 80.0 ms 300 -> 390 MiB pass"
    assert said_of_a_row in [" ".join(line.split()) for line in lines]
    page = command(tmp_path, "report", "--md")
    assert page.startswith(
        "## Summary\n\n**inductor is 1.25x faster than eager [1.25, 1.25], right on 2 of 2 models**\n"
    )
    csv = command(tmp_path, "report", "--table", "answer", "--csv").splitlines()
    assert len(csv) == 1 + 1 + 2
    assert ',inductor,"fastest, front",' in csv[1]


@pytest.mark.parametrize("environment", [{"LANG": "C"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_plain_terminal_gets_characters_that_it_has(tmp_path: Path, environment: dict[str, str]) -> None:
    faster(tmp_path, ["bert"])
    text = command(tmp_path, "report", **environment)
    assert text.isascii()
    assert "?" not in text
    assert "+30 % memory | compiles in 20.0 s" in text
    assert "·" in command(tmp_path, "report", LANG="C.UTF-8")


def test_a_row_whose_later_rounds_wait_has_passed_so_far(tmp_path: Path) -> None:
    """As the sentence says of it; a row without any result has not."""
    sweep = SyntheticSweep(tmp_path / "s")
    timed(sweep, "A", "inductor", 0.1, 1.5, rounds=2)
    sweep.add(synthetic.job("A", "inductor", round=2))
    rows = {row["compiler"]: row for row in built(sweep).overview.rows}
    assert (rows["inductor"]["passed"], rows["inductor"]["planned"]) == (1, 1)
    sweep.add(synthetic.job("B", "inductor"))
    rows = {row["compiler"]: row for row in built(sweep).overview.rows}
    assert (rows["inductor"]["passed"], rows["inductor"]["planned"]) == (1, 2)
