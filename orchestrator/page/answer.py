"""The answer of one sweep as its page has it: sentences, facts, the compilers' figures, one caution.

The words are those of the terminal (`orchestrator.views.answer`). The rows are not repeated: they are in the summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.page.columnar import rounded
from orchestrator.results.answer import CompilerAnswer, SectionAnswer, of
from orchestrator.results.load import SweepResults
from orchestrator.results.metrics import COLUMNS
from orchestrator.results.tables import Tables
from orchestrator.views.answer import Advice, best, change, gain, interval, not_right, pays_off_after, pieces, seconds
from orchestrator.views.document import Item, Paragraph

Part = dict[str, Any]
Fact = tuple[str, str, str]
"""Value, its interval or "", and what it is or what follows from it."""


def of_sweep(results: SweepResults, tables: Tables, numbers: Mapping[int, int]) -> Part:
    """Return {"said": sentences with their choices, "facts", "caution": [text, command] or None, "sections"}.

    numbers: of the rows of the summary that are on the page -> where.
    """
    sections = of(tables).sections
    made: Part = {"said": [], "facts": [], "caution": None}
    for piece in pieces(tables, results.folder.name, results.sweep.imported):
        if isinstance(piece, Paragraph) and not piece.indent:
            made["said"].append({"sentence": piece.text, "choices": []})
        elif isinstance(piece, Item):
            made["said"][-1]["choices"].append([piece.name, piece.text])
        elif isinstance(piece, Advice):
            made["caution"] = [piece.text, piece.command]
    if sections and not tables.self_test.rows:
        made["facts"] = _facts(sections[0]) or _facts_of_errors(sections[0])
    return made | {"sections": [_section(section, numbers) for section in sections]}


def _section(section: SectionAnswer, numbers: Mapping[int, int]) -> Part:
    """Return one section; "best": row and what its compiler is on its workload."""
    rows = {
        _place(row, row.compiler): numbers[row.row]
        for one in section.compilers
        for row in one.rows
        if row.row in numbers
    }
    best: dict[int, list[str]] = {}
    for workload in section.workloads:
        found = workload.recommendation
        for word, name in (("fastest", found.fastest), ("smallest", found.smallest)):
            if name is not None and _place(workload, name) in rows:
                best.setdefault(rows[_place(workload, name)], []).append(word)
    return {
        "key": dict(section.key),
        "front": list(section.recommendation.front),
        "best": [[row, ", ".join(words)] for row, words in best.items()],
        "compilers": [_compiler(one) for one in section.compilers],
    }


def _place(one: Any, compiler: str) -> tuple[Any, ...]:
    return (one.model, one.batch_size, one.sequence_length, compiler)


def _compiler(one: CompilerAnswer) -> Part:
    payoff = None if one.payoff is None else pays_off_after(one.payoff, each=one.timed > 1)
    return {
        "compiler": one.compiler,
        "verdict": one.verdict,
        "doubtful": one.doubtful,
        "planned_accuracy": one.planned_accuracy,
        "right": one.right,
        "wrong": one.wrong,
        "compile_s": rounded(one.compile_cold_s),
        "memory_change": rounded(one.memory_change),
        "payoff": payoff,
    }


def _facts(section: SectionAnswer) -> list[Fact]:
    """Return the facts of the compiler that the first sentence is about; none where it was not timed."""
    one, found = best(section), best(section).speedup
    if found is None:
        return []
    counts = [f"faster on {one.faster} of {one.timed}", *([f"slower on {one.slower}"] if one.slower else [])]
    whose = f"{one.compiler}'s geometric mean · " if len(section.compilers) > 1 else "geometric mean · "
    note = (whose if one.timed > 1 else "") + ", ".join(counts)
    facts = [(f"{COLUMNS['speedup'].text(found.value)}x", interval(found.low, found.high), note), _correct([one])]
    if one.compile_cold_s is not None:
        note = gain(one) or "to compile, from an empty cache"
        facts.append((f"{seconds(one.compile_cold_s)} cold", "", note))
    if one.memory_change is not None:
        facts.append((f"{change(one.memory_change)} memory", "", "steady peak over eager's"))
    return facts


def _correct(compilers: list[CompilerAnswer]) -> Fact:
    planned, right = (sum(getattr(one, name) for one in compilers) for name in ("planned_accuracy", "right"))
    if not planned:
        return ("not judged", "", "nothing says that its results are right")
    wrong = sum(one.wrong for one in compilers)
    return (f"{right}/{planned} correct", "", not_right(planned, right, wrong) or "outputs compared with eager's")


def _facts_of_errors(section: SectionAnswer) -> list[Fact]:
    """Return what was judged, of all compilers, and the largest error, where nothing was timed."""
    judged = [(row.error_share, row) for one in section.compilers for row in one.rows if row.error_share is not None]
    known = any(one.right or one.wrong for one in section.compilers)
    facts = [_correct(list(section.compilers))] if known else []
    if judged:
        share, worst = max(judged, key=lambda pair: pair[0])
        of_limit = f"{COLUMNS['multiplier'].text(share)}x" if share > 1 else f"{share:.2%}"
        facts.append((of_limit, "", f"of what is allowed: the largest error, {worst.model} under {worst.compiler}"))
    return facts
