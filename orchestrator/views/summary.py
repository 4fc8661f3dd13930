"""What a person sees after a sweep: the answer, the table by section and what each of its cells says, and its notes.

Colour is an addition: every mark is a character too, so that a pipe, a log file and a colour-blind reader see the
same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.records import EAGER, FAIL_ACCURACY, NOT_RUN, PASS, SUCCESSES
from orchestrator.results.answer import RowAnswer, of_row
from orchestrator.results.flags import marks_of
from orchestrator.results.metrics import is_missing
from orchestrator.results.naming import grouped, is_eager
from orchestrator.results.overview import OF_A_SECTION, SECTION, workload_of
from orchestrator.results.performance import MEASURED_EAGER
from orchestrator.samples import IN_PROCESS, Estimate
from orchestrator.statistics import FASTER, SLOWER, verdict
from orchestrator.views import answer, diff, findings, notes
from orchestrator.views.answer import change, interval, latencies, memory, pays_off, seconds, text
from orchestrator.views.document import Document, Heading, Item, Paragraph, Piece
from orchestrator.views.grid import Cell, Grid, Spanning
from orchestrator.words import more, plural, some

if TYPE_CHECKING:
    from orchestrator.comparison.compare import Comparison
    from orchestrator.results.tables import Tables

Row = Mapping[str, Any]

FLAG = "!"
DISTURBED = "*"
MAYBE = "?"
"""Behind a verdict that one process alone gives, beside other work."""
TITLES = ("compiler", "speed-up [95 %]", "latency", "memory", "accuracy")
GENERATION_WORDS = {
    "time_to_first_token_ms": ("first token after ", " ms"),
    "inter_token_latency_ms": ("then ", " ms a token"),
    "tokens_per_second": ("", " tokens/s"),
}
MOST_WORKLOADS = 200
"""So many of a section are shown: a person reads no ten thousand rows, and a terminal does not keep them."""
WAITING = 4
"""So many rows that were not run are named."""
MOST_SPREAD = 100.0
"""Percent: a spread that is larger says nothing of the latency, and is not shown."""
PASS_RATE = ("pass_rate_percent", "pass_rate_low_percent", "pass_rate_high_percent")
COLOURS = {FASTER: "green", SLOWER: "red"}
REDUCED = ("bfloat16", "float16", "amp_bfloat16", "amp_float16")


def document(
    tables: Tables, folder: str, imported: bool = False, tag: str = "", builds: Sequence[Comparison] = ()
) -> Document:
    """Return the answer, the table by section, its notes, and the failures with their logs.

    builds: of a sweep with several, each against the first.
    """
    summary, overview = tables.summary.rows, tables.overview.rows
    several_seeds = len({row["seed"] for row in summary}) > 1
    pieces: list[Piece] = [*answer.pieces(tables, folder, imported)]
    for section in sections(summary, overview):
        pieces.append(Heading(section.title(several_seeds), style="bold reverse"))
        pieces.append(Grid(TITLES, section.table(), most=None, stacked=True))
        pieces.append(Paragraph(section.waiting(), "dim"))
    for comparison in builds:
        pieces += diff.builds(comparison)
    for name, found in tables.findings.items():
        pieces += findings.pieces(name, found)
    if not summary and not tables.findings:
        pieces.append(Paragraph("Nothing was planned that is measured or judged.", above=True))
    pieces.append(Paragraph("", above=True))
    told = (*notes.notes(summary, overview), *notes.rounds_left_out(summary, tables.jobs.rows), *tables.environments)
    pieces += [Paragraph(note) for note in told]
    pieces += [*notes.failures(summary, tables.jobs.rows), *notes.self_test(tables.self_test.rows)]
    return Document("Summary", [*pieces, *([Item("tag", tag)] if tag else [])])


def whereabouts(folder: str, written: Sequence[str], next_command: str) -> Document:
    """Return where a sweep's results are (`written`: what there is in the folder), and what to run next."""
    place = Item("results", f"{folder}  ({', '.join(written)})", wrap=False)
    return Document("Results", [place, Item("next", next_command, command=True)])


@dataclass(frozen=True)
class Section:
    """The rows of one suite, mode, dtype and device: those that may be compared."""

    key: Mapping[str, Any]
    rows: Sequence[Row]
    overview: Sequence[Row]
    float32: Mapping[tuple[Any, ...], Row]  # model, batch, length -> eager's row in float32, for reduced precisions

    def title(self, several_seeds: bool) -> str:
        words = [str(self.key[name]) for name in ("suite", "mode", "dtype", "device")]
        if self.key["threads"]:  # 0: an imported sweep, nobody knows
            words.append(f"{self.key['threads']} thread" + "s" * (self.key["threads"] != 1))
        words += [f"seed {self.key['seed']}"] if several_seeds else []
        words += [f"build {self.key['build']}"] if self.key["build"] is not None else []
        return " · ".join(words)

    def waiting(self) -> str:
        """Return which rows nothing is known of yet, on one line; "" where there are none."""
        names = dict.fromkeys(f"{row['model']} {row['compiler']}" for row in self.rows if _waits(row))
        return f"not run: {some(names, WAITING)}" if names else ""

    def table(self) -> list[list[Cell] | Spanning]:
        """Return the table's rows: a heading and the compilers for each model, then the geometric means."""
        lines: list[list[Cell] | Spanning] = []
        blocks = grouped((row for row in self.rows if not _waits(row)), OF_A_SECTION)
        for workload, rows in islice(blocks.items(), MOST_WORKLOADS):
            lines.append(Spanning(_model_line(rows[0])))
            for row in rows:
                if not _is_in_the_others(row, rows):
                    lines += [compiler_cells(row), *generation_lines(row), *cost_lines(row)]
            if workload in self.float32:
                lines.append(compiler_cells(self.float32[workload], name="eager float32"))
        lines += [Spanning(text, "") for text in more(len(blocks), MOST_WORKLOADS, " workloads: tables/summary.csv")]
        means = [row for row in self.overview if row["geomean_speedup"] is not None]
        if means and len(blocks) > 1:
            wrong = any(row["accuracy"] == FAIL_ACCURACY and row["speedup"] is not None for row in self.rows)
            lines.append(Spanning(geomean_line(means[0]) + ", wrong results left out" * wrong))
            for row in means:
                right = sum(r["accuracy"] == PASS for r in self.rows if r["compiler"] == row["compiler"])
                lines += [geomean_cells(row, right), *([beyond_line(row)] if row["planned"] > 1 else [])]
        return lines


def sections(summary: Sequence[Row], overview: Sequence[Row]) -> Iterator[Section]:
    """Yield the sections in the order of the summary."""
    groups = grouped(summary, SECTION)
    for key, rows in groups.items():
        head = dict(zip(SECTION, key, strict=True))
        full = groups.get(tuple({**head, "dtype": "float32"}.values()), []) if head["dtype"] in REDUCED else []
        float32 = {workload_of(row): row for row in full if row["compiler"] == EAGER and row["latency_ms"] is not None}
        means = [row for row in overview if all(row[name] == head[name] for name in SECTION)]
        yield Section(head, rows, means, float32)


def compiler_cells(row: Row, name: str | None = None) -> list[Cell]:
    """Return the cells of one compiler on one model."""
    flags = marks_of(row)
    found = of_row(0, row)
    return [
        Cell(" " + (name or str(row["compiler"]))),
        _speedup(row, found, flags) if name is None else Cell("for comparison", style="dim"),
        _latency(row, found),
        _memory(found, "compression_ratio" in flags),
        _accuracy(row),
    ]


def _waits(row: Row) -> bool:
    """Return whether nothing that was planned for a row has been run."""
    planned = {row["performance"], row["accuracy"]} - {None}
    return planned == {NOT_RUN} and not row["rounds"]


def _is_in_the_others(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether a row is of eager, and says nothing that those of its compilers do not say."""
    if not is_eager(row["compiler"]) or all(is_eager(other["compiler"]) for other in rows):
        return False
    well = row["performance"] in (None, PASS) and row["accuracy"] in (None, *SUCCESSES) and not row["flags"]
    complete = row["rounds"] == row["rounds_planned"]
    return well and complete and not generation_lines(row)


def cost_lines(row: Row) -> list[Spanning]:
    """Return the line under a compiler's row that says what compiling takes, and when it has paid for itself."""
    cold, warm = row["compile_latency_cold_s"], row["compile_latency_warm_s"]
    flag = FLAG if "compile_latency" in marks_of(row) else ""
    parts = [f"compiles in {seconds(cold)}{flag}"] if cold is not None else []
    parts += [f"{'warm' if parts else 'compiles warm in'} {seconds(warm)}"] if warm is not None else []
    if row["later_compilations"]:
        parts.append(f"+ {text('later_compile_s', row['later_compile_s'])} s later ({row['later_compilations']})")
    payoff = of_row(0, row).payoff
    told = [", ".join(parts)] * bool(parts) + ([pays_off(payoff)] if payoff is not None else [])
    return [Spanning(f"   {' · '.join(told)}", style="yellow" if flag else "dim")] if told else []


def generation_lines(row: Row) -> list[Spanning]:
    """Return the line under a compiler's row that has the figures of generation; none where there are none."""
    parts = [
        f"{words[0]}{text(name, row[name])}{words[1]}"
        for name, words in GENERATION_WORDS.items()
        if not is_missing(row.get(name))
    ]
    return [Spanning(f"   {' · '.join(parts)}", style="dim")] if parts else []


def geomean_line(row: Row) -> str:
    models = len(str(row["geomean_models"]).split(", "))
    what = plural(models, "model")
    if row["geomean_count"] != models:
        what = f"{row['geomean_count']} workloads of {what}"
    return f"geometric mean over {what} that all compilers ran"


def geomean_interval(row: Row, which: str) -> str:
    """Return "[1.08, 1.16]"; which: "speedup" (of these workloads), or "over_models" (of models like these); or ""."""
    low, high = (row[f"geomean_{which}_{end}"] for end in ("low", "high"))
    return interval(low, high)


def geomean_cells(row: Row, right: int) -> list[Cell]:
    """Return the cells of one compiler's means; right: on how many it is."""
    ratio = row["geomean_compression_ratio"]
    passed = f"{right} of {row['accuracy_planned']}" if row["accuracy_planned"] else ""
    mean = f"{text('speedup', row['geomean_speedup'])}x {geomean_interval(row, 'speedup')}".rstrip()
    return [
        Cell(f" {row['compiler']}"),
        Cell(mean + DISTURBED * bool(row["geomean_disturbed"]), style=_colour_of(row)),
        Cell(),
        Cell(change(1 / ratio - 1)) if ratio is not None else Cell(),
        Cell(passed),
    ]


def beyond_line(row: Row) -> Spanning:
    """Return the line under a compiler's means: the interval for models like these, and the pass rate with its own."""
    others = geomean_interval(row, "over_models")
    rate, low, high = (text(name, row[name]) for name in PASS_RATE)
    rates = f"pass rate {row['passed']}/{row['planned']}, {rate} % [{low}, {high}]"
    return Spanning(f"   models like these {others} · {rates}" if others else f"   {rates}", style="dim")


def _speedup(row: Row, found: RowAnswer, flags: Collection[str]) -> Cell:
    status = row["performance"]
    if status is None:
        return Cell()
    partly = f"{row['rounds']} of {row['rounds_planned']} rounds"
    incomplete = row["rounds"] < row["rounds_planned"]
    if row["speedup"] is None:
        if status != PASS and not (status == NOT_RUN and row["rounds"]):
            return Cell(status, style="" if status in SUCCESSES else "red")
        if row["verdict"] == MEASURED_EAGER:
            return Cell(MEASURED_EAGER + FLAG, partly if incomplete else "", style="red")
        word = "baseline" if is_eager(row["compiler"]) else "—"
        return Cell(word, partly if incomplete else "", style="dim")
    ends = interval(row["speedup_low"], row["speedup_high"])
    marks = FLAG * ("speedup" in flags or "measured" in flags) + DISTURBED * found.disturbed
    words = said(found)
    style = COLOURS.get(words, "")  # none where it is not certain
    words = ", ".join(filter(None, (words, partly if incomplete else "")))
    return Cell(f"{text('speedup', row['speedup'])}x {ends}".rstrip() + marks, words, style=style)


def said(found: RowAnswer) -> str:
    """Return the verdict as it may be said: "faster?" where one process alone gives it, beside other work."""
    sure = found.verdict not in (FASTER, SLOWER) or not found.doubtful
    return (found.verdict or "") + ("" if sure else MAYBE)


def _latency(row: Row, found: RowAnswer) -> Cell:
    """Return both latencies of the pairs; of what has none, such as eager alone, its own with its spread."""
    mark = FLAG * ("measured" in marks_of(row))
    if paired := latencies(found):
        return Cell(paired + mark)
    if row["latency_ms"] is None:
        return Cell()
    spread = row["latency_spread_percent"]
    certain = spread is not None and spread <= MOST_SPREAD and not row["disturbed"]
    mark += DISTURBED if row["disturbed"] else ""
    return Cell(f"{text('latency_ms', row['latency_ms'])} ms{mark}", f"± {spread:.1f} %" if certain else "")


def _memory(found: RowAnswer, flagged: bool) -> Cell:
    amount, relative = memory(found)
    return Cell(amount, relative + FLAG * (flagged and bool(relative)), style="yellow" if flagged else "")


def _accuracy(row: Row) -> Cell:
    status = row["accuracy"]
    if status is None:
        return Cell()
    mark = notes.WEAKER if row["weaker"] else ""
    return Cell(status + mark) if status in SUCCESSES else Cell(status + FLAG + mark, style="red")


def _model_line(row: Row) -> str:
    length = "" if is_missing(row["sequence_length"]) else f", length {row['sequence_length']}"
    return f"{row['model']}  batch {row['batch_size']}{length}"


def _colour_of(row: Row) -> str:
    """Return the colour of a geometric mean by the rule of a row; none where it has no interval, or is not certain."""
    mean, low, high = (row[f"geomean_speedup{end}"] for end in ("", "_low", "_high"))
    word = verdict(Estimate(mean, low, high, row["geomean_interval"] or "", row["geomean_count"]))
    doubtful = row["geomean_disturbed"] and row["geomean_interval"] in (None, IN_PROCESS)
    return "" if doubtful else COLOURS.get(word, "")
