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
ROUNDS, MOST_ROUNDS = 8, 1000
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
    add("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each step, at least ({ROUNDS})")
    output.add_trust(parser)
    return parser


@dataclass
class _Bench:
    """Measures two builds beside each other.

    graph: the row's jobs; said: step -> what it was judged to be; measured: step -> the rows of the good end, and its
    own, of one measurement after the other.
    """

    old: SweepResults
    graph: JobGraph
    row: JobSpec
    root: Path
    argv: Sequence[str]
    said: dict[int, Answer] = field(default_factory=dict)
    measured: dict[int, tuple[list[Row], list[Row]]] = field(default_factory=dict)

    def times(self, number: int) -> int:
        """Return how often a step was measured."""
        return len(self.measured[number][0]) if number in self.measured else 0

    def measure(self, good: Code, step: Code, number: int, rounds: int) -> None:
        """Measure a step, which is one of a place among the others, in so many rounds."""
        if self.times(number):
            _tell(f"cannot tell yet: measured again, {self.times(number) + 1} of at most {TRIES} times")
        both = self.measured.setdefault(number, ([], []))
        for rows, row in zip(both, self.run(good, step, min(rounds, MOST_ROUNDS)), strict=True):
            rows.append(row)

    def run(self, good: Code, step: Code, rounds: int) -> tuple[Row, Row]:
        """Run so many rounds of the row of both, each job in turns with that of the other; return both rows."""
        from orchestrator.cli.running import again, run_stored
        from orchestrator.execution.settings import Settings
        from orchestrator.planning import replay
        from orchestrator.results.load import load
        from orchestrator.store import JobGraph

        graph = replay.with_rounds(self.graph, rounds)
        sides = [replay.with_code_of(graph, list(map(str, one.paths)), one.moved, one.build) for one in (good, step)]
        graph = JobGraph(tuple(replay.in_turns(*sides)))
        points = tuple({**point, "rounds_min": rounds, "budget": None} for point in self.old.sweep.points)
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
    graph = replay.with_rounds(replay.row_of(whole, job), 1)
    first = next(one for one in graph.jobs if one.family == job.family)
    allow(results.folder, would_run(graph.jobs, Settings.of(results.sweep.points).online), asked.trust)
    return _Bench(results, graph, first, Path(asked.root), argv)


def _search(
    asked: argparse.Namespace, bench: _Bench, builds: Builds, steps: Sequence[Step]
) -> tuple[Question | Answer, Found | None]:
    """Return what the search was about, and between which steps the change is; None where the ends are alike."""
    from orchestrator.comparison import bisection
    from orchestrator.execution.builds import CannotBuild

    try:
        good, bad = builds.build(steps[0], _tell), builds.build(steps[-1], _tell)
    except CannotBuild as error:
        raise UsageError(f"an end cannot be built: {error}") from error
    _tell(f"{len(steps)} steps from {steps[0].short} to {steps[-1].short}; first, do these differ?")
    last = len(steps) - 1
    question: Question | Answer = bisection.Answer(bisection.CANNOT_TELL)
    while isinstance(question, bisection.Answer) and bench.times(last) < TRIES:
        bench.measure(good, bad, last, bisection.OF_THE_ENDS * asked.rounds)
        question = bisection.question(*bench.measured[last], asked.metric)
    if isinstance(question, bisection.Answer):
        return question, None
    asks = question
    bench.said[last] = bisection.answer(asks, *bench.measured[last])

    def judge(number: int) -> str:
        nonlocal asks
        bench.said[number] = answer = _judged(bench, builds, good, steps[number], number, asks, asked.rounds)
        _tell(f"{steps[number].short} {steps[number].title}: {bisection.in_words(asks, answer)}")
        asks = _better_known(bench, asks)
        return answer.word

    found = bisection.search(len(steps), judge)
    return asks, found


def _judged(bench: _Bench, builds: Builds, good: Code, step: Step, number: int, asks: Question, least: int) -> Answer:
    """Measure a step beside the good end, in `least` rounds at least, and again where its interval holds both answers.

    number: its place among the steps.
    """
    from orchestrator.comparison import bisection
    from orchestrator.execution.builds import CannotBuild

    try:
        build = builds.build(step, _tell)
    except CannotBuild as error:
        return bisection.Answer(bisection.CANNOT_TELL, why=f"it cannot be built: {error}")
    noise = [found for rows in bench.measured.values() if (found := bisection.logs_of(*rows, asks.metric))]
    rounds = bisection.rounds_for(asks, noise, least)
    answer = bisection.Answer(bisection.CANNOT_TELL)
    while answer.word == bisection.CANNOT_TELL and bench.times(number) < TRIES:
        bench.measure(good, build, number, rounds)
        answer = bisection.answer(asks, *bench.measured[number], noise)
        if answer.ratio is None:  # no noise in it: again it would be the same
            break
    return answer


def _better_known(bench: _Bench, asks: Question) -> Question:
    """Return the question with the change of all steps that are bad, the end among them: that is one change."""
    from orchestrator.comparison import bisection
    from orchestrator.comparison.thresholds import STATUS

    if asks.metric == STATUS:
        return asks
    bad = [bench.measured[number] for number, answer in bench.said.items() if answer.word == bisection.BAD]
    goods, bads = ([row for both in bad for row in both[side]] for side in (0, 1))
    better = bisection.question(goods, bads, asks.metric)
    return better if isinstance(better, bisection.Question) else asks


def _tell(text: str) -> None:
    print(" ".join(printable(text)), flush=True)
