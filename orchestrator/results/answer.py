"""What a sweep comes to: per section and compiler, per row, whom to take, and what to be careful about.

Computed from the tables of one sweep, nothing formatted: terminal, Markdown and page say the same figures.
A section is what the overview has: the rows of one suite, mode, dtype, device, seed and number of threads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from orchestrator.records import COMPARISON_ERROR, CRASH, FAIL_ACCURACY, FAIL_TO_RUN, OUT_OF_MEMORY, PASS, TIMEOUT
from orchestrator.results.caution import Caution, caution, of_one_process
from orchestrator.results.metrics import MIB, MS
from orchestrator.results.naming import is_eager, key_of
from orchestrator.results.overview import OF_A_SECTION, SECTION, common
from orchestrator.results.recommendation import Candidate, Recommendation, recommend
from orchestrator.samples import Estimate
from orchestrator.statistics import FASTER, SLOWER, break_even, verdict

if TYPE_CHECKING:
    from orchestrator.results.tables import Tables

Row = Mapping[str, Any]
NAME = "answer"
TABLE = (
    *(*SECTION, "model", "batch_size", "sequence_length", "compiler", "choice", "beaten_by"),
    *("speedup", "speedup_low", "speedup_high", "verdict", "memory_change_percent", "compile_latency_cold_s"),
    *("break_even_iterations", "break_even_low", "break_even_high", "break_even_s"),
    *("rows_timed", "rows_faster", "rows_slower", "rows_undecided"),
    *("rows_judged", "rows_right", "rows_wrong", "rows_broken"),
)
"""Columns of the table `answer`: `table_rows`."""
ITS_FAULT = frozenset({CRASH, FAIL_TO_RUN, TIMEOUT, OUT_OF_MEMORY, COMPARISON_ERROR})
"""Statuses that are a compiler's own doing; of those that are missing eager, the model or the machine failed."""


@dataclass(frozen=True)
class Payoff:
    """After how many calls compiling from an empty cache has paid for itself, and how long these take, in seconds.

    Of several models: calls of each of them. low and high: at the ends of the speed-up's interval; high is None where
    its lower end gains nothing.
    """

    calls: int
    seconds: float
    low: int | None
    high: int | None


@dataclass(frozen=True)
class RowAnswer:
    """One compiler on one workload. `row` is its number in the summary. What is not known is None.

    eager_latency_s and latency_s: of the pairs, whose ratio the speed-up is. Memory is the steady-state peak over the
    level before the model existed, in bytes: of what the memory ratio is of. memory_change: compiled / eager - 1.
    right: accuracy passed; False: wrong results; None: not judged, or not to its end. error_share: RMSE over what was
    allowed. doubtful: one process alone, and other work beside it: its verdict is worth a question mark.
    """

    row: int
    model: str
    batch_size: int | None
    sequence_length: int | None
    compiler: str
    status: str | None
    speedup: Estimate | None
    verdict: str | None
    eager_latency_s: float | None
    latency_s: float | None
    eager_memory_bytes: float | None
    memory_bytes: float | None
    memory_change: float | None
    compile_cold_s: float | None
    payoff: Payoff | None
    accuracy: str | None
    right: bool | None
    error_share: float | None
    disturbed: bool
    doubtful: bool

    @property
    def workload(self) -> tuple[str, int | None, int | None]:
        """What tells its workload from others of the section (`overview.OF_A_SECTION`)."""
        return (self.model, self.batch_size, self.sequence_length)

    @property
    def broken(self) -> bool:
        """Whether the compiler failed."""
        return bool({self.status, self.accuracy} & ITS_FAULT)


@dataclass(frozen=True)
class CompilerAnswer:
    """One compiler in a section. Means are those of the overview: of what all compilers ran, with right results.

    verdict: of the mean, by its interval. timed: rows that have a speed-up, each faster, slower or undecided.
    planned_accuracy: rows whose accuracy was planned, 0: none; right, wrong: how many of these; the others failed, or
    cannot be judged. failed: rows that the compiler broke (`ITS_FAULT`), right or wrong. memory_change: compiled /
    eager - 1. payoff: None where no gain is shown, or not all that it is made of is known.
    """

    compiler: str
    speedup: Estimate | None
    verdict: str | None
    doubtful: bool
    timed: int
    faster: int
    slower: int
    undecided: int
    planned_accuracy: int
    right: int
    wrong: int
    failed: int
    compile_cold_s: float | None
    memory_change: float | None
    payoff: Payoff | None
    rows: tuple[RowAnswer, ...]


@dataclass(frozen=True)
class WorkloadAnswer:
    """Whom to take on one workload."""

    model: str
    batch_size: int | None
    sequence_length: int | None
    recommendation: Recommendation


@dataclass(frozen=True)
class SectionAnswer:
    """The compilers of a section, the best mean first (those without one last), and whom to take, over all and each."""

    key: Mapping[str, Any]
    compilers: tuple[CompilerAnswer, ...]
    recommendation: Recommendation
    workloads: tuple[WorkloadAnswer, ...]


@dataclass(frozen=True)
class Answer:
    """What a sweep comes to. No sections: nothing was timed or judged but eager."""

    sections: tuple[SectionAnswer, ...]
    caution: Caution | None


def of(tables: Tables) -> Answer:
    """Return what the tables of a sweep come to."""
    if NAME not in tables.derived:
        tables.derived[NAME] = _of(tables)
    return cast(Answer, tables.derived[NAME])


def _of(tables: Tables) -> Answer:
    sections: dict[tuple[Any, ...], list[tuple[int, Row]]] = defaultdict(list)
    for number, row in enumerate(tables.summary.rows):
        sections[key_of(row, SECTION)].append((number, row))
    means: dict[tuple[Any, ...], dict[str, Row]] = defaultdict(dict)
    for row in tables.overview.rows:
        means[key_of(row, SECTION)][row["compiler"]] = row
    made = [_section(dict(zip(SECTION, key, strict=True)), rows, means[key]) for key, rows in sections.items()]
    return Answer(tuple(one for one in made if one.compilers), caution(tables))


def _section(key: Mapping[str, Any], rows: Sequence[tuple[int, Row]], means: Mapping[str, Row]) -> SectionAnswer:
    by_compiler: dict[str, list[Row]] = defaultdict(list)
    answers: dict[str, list[RowAnswer]] = defaultdict(list)
    workloads: dict[tuple[str, int | None, int | None], list[RowAnswer]] = defaultdict(list)
    for number, row in rows:
        by_compiler[row["compiler"]].append(row)
        if not is_eager(row["compiler"]):
            answer = of_row(number, row)
            answers[row["compiler"]].append(answer)
            workloads[answer.workload].append(answer)
    shared = common(by_compiler)
    compilers = [_compiler(name, own, means[name], shared) for name, own in answers.items()]
    compilers.sort(key=lambda one: -one.speedup.value if one.speedup is not None else 0.0)
    # wrong or failed on one is not right; nothing judged is not known
    overall = [_candidate(one, False if one.wrong or one.failed else True if one.right else None) for one in compilers]
    on_each = {
        workload: [_candidate(one, False if one.broken else one.right) for one in own]
        for workload, own in workloads.items()
    }
    return SectionAnswer(
        key,
        tuple(compilers),
        recommend(overall),
        tuple(WorkloadAnswer(*workload, recommend(candidates)) for workload, candidates in on_each.items()),
    )


def _candidate(one: CompilerAnswer | RowAnswer, right: bool | None) -> Candidate:
    memory = None if one.memory_change is None else one.memory_change + 1
    return Candidate(one.compiler, one.speedup, one.verdict, memory, one.compile_cold_s, right)


def of_row(number: int, row: Row) -> RowAnswer:
    """Return what a row of the summary, of a compiler, comes to."""
    speedup = _estimate(row, "speedup", row["interval"], row["rounds"])
    eager_latency, latency = (_scaled(row[f"paired_{side}latency_ms"], 1 / MS) for side in ("eager_", ""))
    payoff = None
    if row["break_even_iterations"] is not None and row["break_even_s"] is not None and latency and speedup is not None:
        ends = [_calls(row["compile_latency_cold_s"], latency, ratio) for ratio in (speedup.high, speedup.low)]
        payoff = Payoff(row["break_even_iterations"], row["break_even_s"], *ends)
    eager_memory, memory = _compared_memory(row)
    limit, error = row["limit"], row["rmse"]
    return RowAnswer(
        row=number,
        model=row["model"],
        batch_size=row["batch_size"],
        sequence_length=row["sequence_length"],
        compiler=row["compiler"],
        status=row["performance"],
        speedup=speedup,
        verdict=row["verdict"],
        eager_latency_s=eager_latency,
        latency_s=latency,
        eager_memory_bytes=eager_memory,
        memory_bytes=memory,
        memory_change=None if row["compression_ratio"] is None else 1 / row["compression_ratio"] - 1,
        compile_cold_s=row["compile_latency_cold_s"],
        payoff=payoff,
        accuracy=row["accuracy"],
        right={PASS: True, FAIL_ACCURACY: False}.get(row["accuracy"]),
        error_share=error / limit if isinstance(error, float) and isinstance(limit, float) and limit else None,
        disturbed=bool(row["disturbed"]),
        doubtful=bool(row["disturbed"]) and speedup is not None and of_one_process(row),
    )


def _estimate(row: Row, name: str, kind: str | None, count: int | None) -> Estimate | None:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return None if value is None else Estimate(value, low, high, kind or "", count or 0)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _calls(compile_s: float | None, latency_s: float, speedup: float | None) -> int | None:
    if compile_s is None or speedup is None:
        return None
    return break_even(compile_s, speedup * latency_s, latency_s)


def _compared_memory(row: Row) -> tuple[float | None, float | None]:
    """Return eager's and the compiler's bytes of which the memory ratio is: of their own memory, or the device's.

    Without a ratio, or with one that was given, there may be the compiler's alone.
    """
    for name in ("own_memory_mib", "device_memory_mib"):
        eager, compiled, ratio = row[f"eager_{name}"], row[name], row["compression_ratio"]
        if eager and compiled and ratio is not None and math.isclose(eager / compiled, ratio, rel_tol=1e-9):
            return eager / MIB, compiled / MIB
    return None, _scaled(row["own_memory_mib"], 1 / MIB)


def _compiler(name: str, answers: Sequence[RowAnswer], mean: Row, shared: set[tuple[Any, ...]]) -> CompilerAnswer:
    speedup = _estimate(mean, "geomean_speedup", mean["geomean_interval"], mean["geomean_count"])
    in_mean = [one for one in answers if one.speedup is not None and one.workload in shared]
    words = None  # of figures without intervals nobody can say
    if len(in_mean) == 1:
        words = in_mean[0].verdict
    elif speedup is not None and speedup.low is not None:
        words = verdict(speedup)
    verdicts = [one.verdict for one in answers if one.speedup is not None]
    ratio = mean["geomean_compression_ratio"]
    return CompilerAnswer(
        compiler=name,
        speedup=speedup,
        verdict=words,
        doubtful=any(one.doubtful for one in in_mean),
        timed=len(verdicts),
        faster=verdicts.count(FASTER),
        slower=verdicts.count(SLOWER),
        undecided=len(verdicts) - verdicts.count(FASTER) - verdicts.count(SLOWER),
        planned_accuracy=sum(one.accuracy is not None for one in answers),
        right=sum(one.right is True for one in answers),
        wrong=sum(one.right is False for one in answers),
        failed=sum(one.broken for one in answers),
        compile_cold_s=mean["mean_compile_latency_cold_s"],
        memory_change=None if ratio is None else 1 / ratio - 1,
        payoff=_payoff(in_mean) if words == FASTER else None,
        rows=tuple(answers),
    )


def _payoff(rows: Sequence[RowAnswer]) -> Payoff | None:
    """Return after how many calls of each workload compiling all of them has paid: sum of compile / sum of gains.

    Its ends lie as far from the sum of gains as the ends of the speed-ups do, in quadrature: each workload has
    processes of its own. Those of one workload are its row's.
    """
    known = [
        (one.compile_cold_s, one.eager_latency_s, one.latency_s, one.speedup)
        for one in rows
        if one.compile_cold_s is not None and one.latency_s is not None and one.eager_latency_s is not None
    ]
    if len(known) < len(rows) or not known:
        return None
    compile_s = sum(max(cost, 0.0) for cost, *_ in known)
    gain, eager_s = sum(e - c for _, e, c, _ in known), sum(e for _, e, _, _ in known)
    if gain <= 0:
        return None
    calls = math.ceil(compile_s / gain)
    low = high = None
    ends = [(c, s.value, s.low, s.high) for _, _, c, s in known if s is not None and s.low and s.high]
    if len(ends) == len(known):
        middle = sum(c * (value - 1) for c, value, _, _ in ends)
        most = middle + math.hypot(*(c * (upper - value) for c, value, _, upper in ends))
        least = middle - math.hypot(*(c * (value - lower) for c, value, lower, _ in ends))
        low, high = (math.ceil(compile_s / end) if end > 0 else None for end in (most, least))
    return Payoff(calls, calls * eager_s / len(known), low, high)


def table_rows(answer: Answer) -> list[dict[str, Any]]:
    """Return the answer as rows: of each section its compilers over all workloads (no model), then on each."""
    made = []
    for section in answer.sections:
        for whole in section.compilers:
            counts = {
                "rows_timed": whole.timed,
                "rows_faster": whole.faster,
                "rows_slower": whole.slower,
                "rows_undecided": whole.undecided,
                "rows_judged": whole.right + whole.wrong,
                "rows_right": whole.right,
                "rows_wrong": whole.wrong,
                "rows_broken": whole.failed,
            }
            made.append({**section.key, **_table_row(whole, section.recommendation), **counts})
        chosen = {(one.model, one.batch_size, one.sequence_length): one.recommendation for one in section.workloads}
        for row in sorted((row for whole in section.compilers for row in whole.rows), key=lambda row: row.row):
            where = dict(zip(OF_A_SECTION, row.workload, strict=True))
            made.append({**section.key, **where, **_table_row(row, chosen[row.workload])})
    return made


def _table_row(one: CompilerAnswer | RowAnswer, chosen: Recommendation) -> dict[str, Any]:
    speedup, pays = one.speedup, one.payoff
    return {
        "compiler": one.compiler,
        "choice": ", ".join(chosen.words(one.compiler)),
        "beaten_by": dict(chosen.beaten).get(one.compiler),
        "verdict": one.verdict,
        "memory_change_percent": None if one.memory_change is None else 100 * one.memory_change,
        "compile_latency_cold_s": one.compile_cold_s,
        **({} if speedup is None else {"speedup": speedup.value}),
        **({} if speedup is None else {"speedup_low": speedup.low, "speedup_high": speedup.high}),
        **({} if pays is None else {"break_even_iterations": pays.calls, "break_even_s": pays.seconds}),
        **({} if pays is None else {"break_even_low": pays.low, "break_even_high": pays.high}),
    }
