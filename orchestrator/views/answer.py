"""The answer first: a sentence for each section, what it costs, whom to take, and the one caution that matters most.

It never says "faster" of an interval that includes 1, and "looks faster" where one process alone says so, beside other
work.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from orchestrator import markdown
from orchestrator.records import EAGER, NOT_RUN, PASS
from orchestrator.results.answer import CompilerAnswer, Payoff, RowAnswer, SectionAnswer, of
from orchestrator.results.caution import Caution
from orchestrator.results.metrics import COLUMNS, MIB, MS
from orchestrator.results.naming import telling
from orchestrator.results.overview import SECTION
from orchestrator.statistics import FASTER, SLOWER
from orchestrator.views.document import Item, Paragraph, Piece
from orchestrator.views.layout import cut, duration, plain
from orchestrator.words import more, plural, some

if TYPE_CHECKING:
    from orchestrator.results.tables import Tables

MOST_SECTIONS, MOST_DETAILED = 8, 3
"""So many sections have a sentence, and what follows it."""
NAMED = 4
"""So many compilers or models are named in a list."""
LONGEST_NAME = 60
"""Characters of a name in a sentence."""
LEAST_S = 0.01
"""What a compile latency is shown as, at least."""
VAGUE = 2.0
"""A pay-off whose interval's ends differ by more than this factor is said as the interval."""


def pieces(tables: Tables, sweep: str, imported: bool) -> list[Piece]:
    """Return the answer; `sweep`: how it is called in commands; `imported`: nothing of it can be run again.

    Of a suite of known figures it is the verdict on the machine, whatever its compilers are.
    """
    if tables.self_test.rows:
        verdict = tables.self_test.rows[-1]
        return [Paragraph(str(verdict["found"]), "bold" if verdict["result"] == PASS else "bold red", strong=True)]
    found = of(tables)
    if not found.sections:
        alone = any(row["performance"] is not None for row in tables.summary.rows)
        return [Paragraph("Eager alone was timed: there is nothing that it is compared with.", "bold")] * alone
    sections = [section for section in found.sections if _is_begun(section)]
    told = telling([section.key for section in sections], SECTION)
    made: list[Piece] = []
    for section in sections[:MOST_SECTIONS]:
        title = ", ".join(_key_words(name, section.key[name]) for name in told)
        made += _section(section, f"{title}: " if title else "", detailed=len(sections) <= MOST_DETAILED)
    made += [Paragraph(line) for line in more(len(sections), MOST_SECTIONS, " such parts, below")]
    if found.caution is not None:
        made.append(advice(found.caution, sweep, imported))
    return made


def _is_begun(section: SectionAnswer) -> bool:
    """Return whether anything of it has been run: of the rest the caution says how much it is."""
    return any({row.status, row.accuracy} - {None, NOT_RUN} for one in section.compilers for row in one.rows)


def _key_words(name: str, value: object) -> str:
    word = f"{name} " if name in ("seed", "build") else ""
    return plural(int(str(value)), "thread") if name == "threads" else f"{word}{_name(value)}"


def _name(value: object) -> str:
    return cut(plain(str(value)), LONGEST_NAME)


def _section(section: SectionAnswer, title: str, detailed: bool) -> Iterator[Piece]:
    compilers = section.compilers
    if not any(one.timed for one in compilers):
        for one in compilers[:NAMED]:
            yield Paragraph(f"{title}{_name(one.compiler)} {_untimed(one)}", "bold", strong=True)
        yield from (Paragraph(line) for line in more(len(compilers), NAMED, " compilers, below"))
        return
    first = best(section)
    if len(compilers) == 1:
        yield Paragraph(f"{title}{sentence(first)}", "bold", strong=True)
    else:
        yield Paragraph(f"{title}{_of_several(section, first)}", "bold", strong=True)
    if (len(compilers) == 1 or section.recommendation.fastest) and (facts := cost(first)):
        yield Paragraph(facts, indent="  ")
    if len(compilers) > 1 and detailed:
        yield from _choices(section)


def best(section: SectionAnswer) -> CompilerAnswer:
    """Return the compiler that is recommended, else the one with the best mean."""
    return next(
        (one for one in section.compilers if one.compiler == section.recommendation.fastest), section.compilers[0]
    )


def sentence(one: CompilerAnswer) -> str:
    """Return what is known of one compiler: "inductor is 1.23x faster than eager [1.11, 1.36], right on 3 of 3"."""
    if one.wrong:
        right = f" (right on {one.right})" if one.right else ""
        return f"{_name(one.compiler)} is WRONG on {_of(one, one.wrong, one.planned_accuracy)}{right}; it {_speed(one)}"
    open_ = one.undecided if one.verdict in (FASTER, SLOWER) and one.undecided < one.timed else 0
    undecided = f", undecided on {_of(one, open_, one.timed)}" if open_ else ""
    return f"{_name(one.compiler)} {_speed(one)}, {correct(one)}{undecided}"


def _speed(one: CompilerAnswer) -> str:
    found = one.speedup
    if found is None:
        if any(row.speedup is not None for row in one.rows):
            return "was timed on no model that all compilers ran with right results: see its rows"
        return "has no speed-up"
    ratio = f"{text('speedup', found.value)}x"
    where = "" if len(one.rows) == 1 or found.count == len(one.rows) else f" on {_of(one, found.count, len(one.rows))}"
    ends, sure = interval(found.low, found.high), "looks" if one.doubtful else "is"
    if one.verdict == FASTER:
        return f"{sure} {ratio} faster than eager {ends}{where}"
    if one.verdict == SLOWER:
        return f"{sure} slower than eager: {ratio} {ends}{where}"
    if found.low is None:
        return f"is {ratio} as fast as eager, of which no interval is known{where}"
    return f"is within noise of eager: {ratio} {ends}{where}"


def interval(low: float | None, high: float | None) -> str:
    """Return "[1.11, 1.36]", or "" where there is none."""
    if low is None or high is None:
        return ""
    ends = ("<0.01" if low < 0.01 else text("speedup", low), ">100" if high > 100 else text("speedup", high))
    return f"[{', '.join(ends)}]"


def correct(one: CompilerAnswer) -> str:
    """Return on how many it is right, and what became of the others."""
    planned = one.planned_accuracy
    if not planned:
        return "not judged"
    others = not_right(planned, one.right, one.wrong)
    return f"right on {_of(one, one.right, planned)}" + (f" ({others})" if others else "")


def not_right(planned: int, right: int, wrong: int) -> str:
    """Return what became of those that are not right, or ""."""
    left = planned - right - wrong
    return ", ".join([f"{wrong} WRONG"] * bool(wrong) + [f"{left} not judged"] * bool(left))


def _of(one: CompilerAnswer, count: int, of: int) -> str:
    models = len({row.model for row in one.rows})
    return f"{count} of {plural(of, 'model' if models == len(one.rows) else 'workload')}"


def _untimed(one: CompilerAnswer) -> str:
    """Return what is known of a compiler that has no speed-up: its accuracy with the error, or that it failed."""
    if any(row.status is not None for row in one.rows):
        judged = f"; {correct(one)}" if one.right or one.wrong else ""
        return f"has no speed-up: {_ended(one)}{judged}"
    shares = [row for row in one.rows if row.error_share is not None and (row.right is False or not one.wrong)]
    worst = max(shares, key=lambda row: row.error_share or 0.0, default=None)
    error = ""
    if worst is not None and worst.error_share is not None:
        where = f" ({_name(worst.model)})" if len(one.rows) > 1 else ""
        error = f": {'error' if len(one.rows) == 1 else 'largest error'} {_share(worst.error_share)}{where}"
    if one.wrong:
        return f"is WRONG on {_of(one, one.wrong, one.planned_accuracy)}{error}"
    return f"is {correct(one)}{error}"


def _share(share: float) -> str:
    if share > 1:
        return f"{COLUMNS['multiplier'].text(share)} times what is allowed"
    return f"{100 * share:.2g} % of what is allowed" if share >= 1e-4 else "under 0.01 % of what is allowed"


def _ended(one: CompilerAnswer) -> str:
    counts = Counter(row.verdict or row.status or "not timed" for row in one.rows)
    return some([f"{word} {count}" for word, count in counts.items()], NAMED)


def cost(one: CompilerAnswer) -> str:
    """Return "+74 % memory · compiles in 22.7 s · pays off after about 8,500 calls (2 min)", of what is known."""
    parts = []
    if one.memory_change is not None:
        parts.append(f"{change(one.memory_change)} memory")
    if one.compile_cold_s is not None:
        parts += filter(None, (f"compiles in {seconds(one.compile_cold_s)}", gain(one)))
    return " · ".join(parts)


def gain(one: CompilerAnswer) -> str:
    """Return after how many calls compiling pays off, or that no gain is shown; "" where nothing was timed."""
    if one.payoff is not None:
        return pays_off(one.payoff, each=one.speedup is not None and one.timed > 1)
    return "no gain shown that pays for it" if one.speedup is not None and one.verdict != FASTER else ""


def change(relative: float) -> str:
    """Return "+74 %" of 0.74."""
    return f"{100 * relative + 0.0:+.0f} %".replace("-0 %", "+0 %")


def seconds(value: float) -> str:
    """Return "22.7 s". Of less than 10 ms, or below 0, only noise is known: the difference of two first calls."""
    if value < LEAST_S:
        return f"under {LEAST_S} s"
    return duration(value) if value >= 100 else f"{text('first_call_s', value)} s"


def pays_off(found: Payoff, each: bool = False) -> str:
    """Return "pays off after about 8,500 calls (2 min)"; where that is vague, between how many calls."""
    return f"pays off after {pays_off_after(found, each)}"


def pays_off_after(found: Payoff, each: bool = False) -> str:
    """Return "about 8,500 calls (2 min)", "300 to 1,200 calls", or "the first call": before it nothing is gained."""
    calls, first = ("calls each", "the first call of each") if each else ("calls", "the first call")
    low = None if found.low is None else max(found.low, 1)
    if low is not None and found.high is None:
        return f"{first if low == 1 else f'{_about(low)} {calls}'} or more"
    if low is not None and found.high is not None and found.high > VAGUE * low:
        return f"{_about(low)} to {_about(found.high)} {calls}"
    return first if found.calls <= 1 else f"about {_about(found.calls)} {calls} ({_time(found.seconds)})"


def _about(count: int) -> str:
    """Return a count with two significant digits: more is not known of it."""
    digits = max(len(str(count)) - 2, 0)
    return f"{round(count, -digits):,}"


def _time(seconds: float) -> str:
    """Return a duration to one unit."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600)):
        if seconds < limit:
            return f"{max(seconds / size, 0.1):.2g} {unit}" if seconds < 10 else f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86400):,} d"


def _of_several(section: SectionAnswer, one: CompilerAnswer) -> str:
    """Return the recommendation, beginning with the compiler."""
    found, count = section.recommendation, len(section.compilers)
    if found.fastest is None:
        right = "both right and " if any(each.wrong or each.failed for each in section.compilers) else ""
        return f"None of {count} compilers is {right}shown to be faster than eager"
    kind = " that are right" if found.judged else ", none of them judged"
    told = f"{_name(one.compiler)} is the fastest of {count} compilers{kind}: it {_speed(one)}"
    return f"{told}, {correct(one)}" if found.judged else told


def _choices(section: SectionAnswer) -> Iterator[Piece]:
    """Yield what else there is to choose by, and what is not known, a line each."""
    found, by_name = section.recommendation, {one.compiler: one for one in section.compilers}
    if found.like_fastest:
        yield Item("as fast", f"{_named(found.like_fastest)}: cannot be told apart from {_name(found.fastest)}")
    if found.smallest is not None:
        memory = by_name[found.smallest].memory_change if found.smallest in by_name else None
        yield Item(
            "smallest",
            f"{EAGER}: no compiler takes less memory"
            if memory is None
            else f"{_name(found.smallest)} ({change(memory)} memory)",
        )
    if found.front:
        front = some([f"{_name(name)} ({_in_short(by_name[name])})" for name in found.front], NAMED, "; ")
        yield Item("worth a look", f"{front}: no other is better in latency, memory or compile time")
    if found.undecided:
        yield Item(
            "undecided", some([f"{_name(name)} {_ratio(by_name[name], True)}" for name in found.undecided], NAMED)
        )
    if found.left_out:
        yield Item(
            "left out", some([f"{_name(name)}: {_why_left_out(by_name[name])}" for name in found.left_out], NAMED, "; ")
        )
    if len(section.workloads) > 1:
        fastest: dict[str, list[str]] = defaultdict(list)
        for one in section.workloads:
            fastest[one.recommendation.fastest or EAGER].append(one.model)
        if set(fastest) != {found.fastest or EAGER}:
            yield Item("per model", "; ".join(f"{_name(name)}: {_named(models)}" for name, models in fastest.items()))


def _named(names: Sequence[str]) -> str:
    return some(map(_name, names), NAMED)


def _in_short(one: CompilerAnswer) -> str:
    parts = [_ratio(one)]
    parts += [change(one.memory_change)] if one.memory_change is not None else []
    parts += [seconds(one.compile_cold_s)] if one.compile_cold_s is not None else []
    return ", ".join(parts)


def _ratio(one: CompilerAnswer, with_interval: bool = False) -> str:
    if one.speedup is None:
        return ""
    ends = interval(one.speedup.low, one.speedup.high) if with_interval else ""
    return f"{text('speedup', one.speedup.value)}x {ends}".rstrip()


def _why_left_out(one: CompilerAnswer) -> str:
    if one.wrong:
        return f"WRONG on {_of(one, one.wrong, one.planned_accuracy)}"
    if one.failed:
        return f"failed on {_of(one, one.failed, len(one.rows))}"
    return "no speed-up" if one.speedup is None else "not judged"


def memory(one: RowAnswer) -> tuple[str, str]:
    """Return "36 -> 64 MiB" and "(+79 %)"; the compiler's alone where eager's is not known."""
    both = f"{_mib(one.memory_bytes)} MiB" if one.memory_bytes is not None else ""
    if one.eager_memory_bytes is not None:
        both = f"{_mib(one.eager_memory_bytes)} -> {both}"
    relative = change(one.memory_change) if one.memory_change is not None else ""
    return (both, f"({relative})" if relative else "") if both else (relative, "")


def _mib(value: float) -> str:
    return text("own_memory_mib", value * MIB)


def latencies(one: RowAnswer) -> str:
    """Return "12.8 -> 11.5 ms", both of the pairs."""
    if one.latency_s is None or one.eager_latency_s is None:
        return ""
    return f"{text('latency_ms', one.eager_latency_s * MS)} -> {text('latency_ms', one.latency_s * MS)} ms"


def text(column: str, value: Any) -> str:
    """Return a value as its column prints it."""
    return COLUMNS[column].text(value)


def advice(caution: Caution, sweep: str, imported: bool) -> Advice:
    """Return the caution, and the command that mends it; `sweep` and `imported`: see `Caution.words`."""
    rows = plural(caution.rows, "row")
    have, were = ("has", "was") if caution.rows == 1 else ("have", "were")
    beside = "measured beside other work"
    if caution.cores is not None:
        most = f"{caution.cores:.1f}"
        beside = "disturbed, though nothing else ran here" if most == "0.0" else f"{beside} (at most {most} cores)"
    text = {
        "not_run": f"{caution.rows:,} of {plural(caution.of, 'job')} {have} not run",
        "shards": f"{caution.rows:,} of {plural(caution.of, 'job')} belong to other shards",
        "wrong": f"{rows} {have} wrong results",
        "failed": f"{caution.rows:,} of {plural(caution.of, 'row')} failed",
        "measured": f"{rows} {were} not timed as {'it says' if caution.rows == 1 else 'they say'}",
        "disturbed": f"* {rows} {were} {beside}; when it is quiet",
        "one_round": "no interval is known" if imported else "one process a row: another may differ by more",
        "unjudged": f"{rows} {were} not judged: add measure=performance,accuracy",
        "undecided": f"{caution.rows:,} of {plural(caution.of, 'row')} within noise: more rounds tell more",
    }[caution.kind]
    words = caution.words(sweep, imported)
    command = shlex.join(["python", "-m", "orchestrator", *words]) if words else ""
    return Advice(text[:1].upper() + text[1:], command)


@dataclass(frozen=True)
class Advice:
    """A warning, and the command that mends it, on one line where there is room."""

    text: str
    command: str

    def lines(self, width: int) -> Iterator[Text]:
        if self.command and len(f"{self.text}: {self.command}") > width:
            yield Text(f"{plain(self.text)}:", "yellow")
            yield Text(f"    {plain(self.command)}", "dim")
        else:
            yield Text.assemble(
                (plain(self.text), "yellow"), (f": {plain(self.command)}" if self.command else "", "dim")
            )

    def markdown(self) -> list[str]:
        command = f": {markdown.code(self.command, None)}" if self.command else ""
        return [f"> {markdown.text(self.text)}{command}"]
