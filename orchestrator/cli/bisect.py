"""The verb `bisect`: which commit, or which version of a package, made a row of a sweep slower, or fail?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, printable

if TYPE_CHECKING:
    from orchestrator.comparison.bisection import Answer, Found, Question
    from orchestrator.comparison.snapshot import Row
    from orchestrator.execution.steps import Builds, Code, Step
    from orchestrator.records import JobSpec
    from orchestrator.results.load import SweepResults
    from orchestrator.store import JobGraph

OK, CANNOT_TELL = 0, 4
ROUNDS, MOST_ROUNDS = 5, 1000
TRIES = 3
"""How often a step is measured, at most, until it can be told: all its rounds count together."""


class Interrupted(Exception):
    """Somebody has stopped a measurement."""


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator bisect`. Returns 0 where one step is to blame, else 4. Raises UsageError."""
    asked = _parser().parse_args(argv)
    if not 2 <= asked.rounds <= MOST_ROUNDS:
        raise UsageError(f"--rounds {asked.rounds}: it must be at least 2, and at most {MOST_ROUNDS}")
    from orchestrator.cli.running import INTERRUPTED
    from orchestrator.execution.steps import builds_of
    from orchestrator.views import bisect as view

    with output.aside(asked.form):
        bench = _bench(asked, argv)
        builds = builds_of(asked.over, asked.setup)
        steps = builds.between(asked.good, asked.bad)
        try:
            question, found = _search(asked, bench, builds, steps)
        except Interrupted:
            return INTERRUPTED
    output.present(
        asked.form,
        lambda: view.document(steps, bench.said, question, found),
        lambda: view.tables(steps, bench.said),
    )
    return OK if found is not None and found.is_one else CANNOT_TELL


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "bisect",
        "Find the commit, or the version of a package, that made a row of a sweep slower, or fail.",
        "Exit code: 0 found, 4 cannot tell which, 2 usage, 130 after Ctrl-C or SIGTERM. More: docs/bisect.md",
        usage="SWEEP:JOB --good X --bad Y --over STEPS",
    )
    parser.add_argument("row", metavar="SWEEP:JOB", help="a job of the row that is measured, as in latest:8ce16cfc")
    add = parser.add_argument
    add("--good", required=True, metavar="X", help="a commit or version where all was well")
    add("--bad", required=True, metavar="Y", help="a later one where it is not")
    add("--over", required=True, metavar="STEPS", help="where they are: git:DIR, or pip:PACKAGE")
    add("--setup", metavar="CMD", help="shell command that builds a step, run in its folder")
    add("--metric", metavar="NAME", help="the figure it is about (the first that differs)")
    add("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each measurement ({ROUNDS})")
    output.add_trust(parser)
    return parser


@dataclass
class _Bench:
    """Measures two builds beside each other.

    graph: the row's rounds; said: step -> what it was judged to be; noise: the log-ratios of each step's rounds.
    """

    old: SweepResults
    graph: JobGraph
    row: JobSpec
    rounds: int
    root: Path
    argv: Sequence[str]
    said: dict[int, Answer] = field(default_factory=dict)
    noise: list[Sequence[float]] = field(default_factory=list)

    def measure(self, good: Code, step: Code) -> tuple[Row, Row]:
        """Run the row's rounds of both, each job in turns with that of the other; return both rows."""
        from orchestrator.cli.running import again, run_stored
        from orchestrator.execution.settings import Settings
        from orchestrator.planning import replay
        from orchestrator.results.load import load
        from orchestrator.store import JobGraph

        sides = [
            replay.with_code_of(self.graph, list(map(str, one.paths)), one.moved, one.build) for one in (good, step)
        ]
        graph = JobGraph(tuple(replay.in_turns(*sides)))
        points = tuple({**point, "rounds_min": self.rounds, "budget": None} for point in self.old.sweep.points)
        folder = again(self.old, graph, self.root, ("bisect", *self.argv), points)
        if run_stored(folder, graph, Settings.of(points)):
            raise Interrupted
        results = load(folder)
        first, second = (self._row(results, side) for side in sides)
        return first, second

    def _row(self, results: SweepResults, side: dict[str, JobSpec]) -> Row:
        from orchestrator.comparison import snapshot

        ids = {job.id for job in side.values()}
        mine = replace(results, outcomes=tuple(one for one in results.outcomes if one.job.id in ids))
        target = side[self.row.id].id
        return next(row for row in snapshot.of_results(mine).rows if target in row.jobs)


def _bench(asked: argparse.Namespace, argv: Sequence[str]) -> _Bench:
    """Return what measures the row that was named. Raises UsageError."""
    from orchestrator.cli.running import allow, stored
    from orchestrator.execution.settings import Settings
    from orchestrator.planning import replay
    from orchestrator.planning.trust import would_run
    from orchestrator.records import REFERENCE_MEASURE
    from orchestrator.store import JobGraph

    results, name = stored(asked.row, Path(asked.root))
    if name is None:
        raise UsageError(f"{asked.row} names a sweep: name a job of the row, as in {asked.row}:8ce16cfc (see `show`)")
    whole = JobGraph(tuple(outcome.job for outcome in results.outcomes))
    job = replay.named(whole.jobs, name)
    if job.verdict is not None or job.measure.name == REFERENCE_MEASURE:
        raise UsageError(f"'{job.title}' is no row that can be measured: name another job")
    graph = replay.with_rounds(replay.row_of(whole, job), asked.rounds)
    first = next(one for one in graph.jobs if one.family == job.family)
    allow(results.folder, would_run(graph.jobs, Settings.of(results.sweep.points).online), asked.trust)
    rounds = max(one.round for one in graph.jobs) + 1
    return _Bench(results, graph, first, rounds, Path(asked.root), argv)


def _search(
    asked: argparse.Namespace, bench: _Bench, builds: Builds, steps: Sequence[Step]
) -> tuple[Question | Answer, Found | None]:
    """Return what the search was about, and between which steps the change is; None where the ends are alike."""
    from orchestrator.comparison import bisection
    from orchestrator.execution.builds import CannotBuild

    try:
        good, last = builds.build(steps[0], _tell), builds.build(steps[-1], _tell)
    except CannotBuild as error:
        raise UsageError(f"an end cannot be built: {error}") from error
    _tell(f"{len(steps)} steps from {steps[0].short} to {steps[-1].short}; first, do these differ?")
    goods: list[Row] = []
    bads: list[Row] = []
    question: Question | Answer = bisection.Answer(bisection.CANNOT_TELL)
    while isinstance(question, bisection.Answer) and len(goods) < TRIES:
        _tell_again(len(goods))
        both = bench.measure(good, last)
        goods.append(both[0])
        bads.append(both[1])
        question = bisection.question(goods, bads, asked.metric)
    if isinstance(question, bisection.Answer):
        return question, None
    asks = question
    bench.said[len(steps) - 1] = bisection.answer(asks, goods, bads)
    bench.noise += [logs for logs in [bisection.logs_of(goods, bads, asks.metric)] if logs]

    def judge(number: int) -> str:
        bench.said[number] = answer = _judged(bench, builds, good, steps[number], asks)
        _tell(f"{steps[number].short} {steps[number].title}: {bisection.in_words(asks, answer)}")
        return answer.word

    return asks, bisection.search(len(steps), judge)


def _judged(bench: _Bench, builds: Builds, good: Code, step: Step, asks: Question) -> Answer:
    """Measure a step beside the good end, more often where its interval holds both answers."""
    from orchestrator.comparison import bisection
    from orchestrator.execution.builds import CannotBuild

    try:
        build = builds.build(step, _tell)
    except CannotBuild as error:
        return bisection.Answer(bisection.CANNOT_TELL, why=f"it cannot be built: {error}")
    goods: list[Row] = []
    rows: list[Row] = []
    answer = bisection.Answer(bisection.CANNOT_TELL)
    while answer.word == bisection.CANNOT_TELL and len(goods) < TRIES:
        _tell_again(len(goods))
        both = bench.measure(good, build)
        goods.append(both[0])
        rows.append(both[1])
        answer = bisection.answer(asks, goods, rows, bench.noise)
        if answer.ratio is None:  # no noise in it: again it would be the same
            break
    bench.noise += [logs for logs in [bisection.logs_of(goods, rows, asks.metric)] if logs and len(logs) > 1]
    return answer


def _tell_again(measured: int) -> None:
    if measured:
        _tell(f"cannot tell yet: measured again, {measured + 1} of at most {TRIES} times")


def _tell(text: str) -> None:
    print(" ".join(printable(text)), flush=True)
