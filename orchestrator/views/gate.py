"""What a gate found: as a document, and as tables.

Failures first, what is flaky next; of the rest the number. Rows of which the same is to be said are said once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from orchestrator.comparison.gate import FAIL, FLAKY, KNOWN, NEW, NOTICE, WARNING, Case, Judgement
from orchestrator.comparison.pairing import differing
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, Folded, Paragraph, Remark, Remarks
from orchestrator.words import plural

COUNTS = {"passed": "pass", "failed": "fail", "flaky": "flaky", "known": "known"}
"""Column of the verdict -> result of the expected rows that it counts."""


def document(judgement: Judgement, names: tuple[str, str]) -> Document:
    """Return failures, flaky rows, warnings, the number of the rest, and the verdict. names: BASE and REF."""
    counted = notices(judgement)
    told = f"notices: {counted} (--md lists them)" if counted else ""
    rest = Remarks("", remarks(judgement.cases, KNOWN, NEW, NOTICE))
    return Document(
        f"Gate: {'passed' if judgement.passed else 'failed'}",
        [
            Paragraph(f"gate: {names[1]} against {names[0]}"),
            Remarks("fail", remarks(judgement.cases, FAIL), "bold red"),
            Remarks("flaky", remarks(judgement.cases, FLAKY), "bold yellow"),
            Remarks("warnings", remarks(judgement.cases, WARNING)),
            Folded(f"Notices: {counted}", [rest], [Paragraph(told)]),
        ],
        [Paragraph(headline(judgement), "bold green" if judgement.passed else "bold red", strong=True, wrap=False)],
    )


def headline(judgement: Judgement) -> str:
    """Return the verdict in one line."""
    expected = judgement.expected
    failed = [case for case in judgement.cases if case.result == FAIL]
    rows = sum(case.expected for case in failed)
    others = len(failed) - rows
    aside = [
        plural(sum(case.result == FLAKY for case in judgement.cases), "flaky row"),
        plural(sum(case.result == KNOWN for case in expected), "accepted failure"),
        plural(sum(case.result == WARNING for case in judgement.cases), "warning"),
    ]
    words = [f"{rows} of {plural(len(expected), 'expected row')}" if rows else ""]
    words += [plural(others, "other failure") if others else ""]
    verdict = (
        f"FAIL: {' and '.join(filter(None, words))}" if failed else f"PASS: {plural(len(expected), 'expected row')}"
    )
    noted = ", ".join(text for text in aside if not text.startswith("0 "))
    return f"{verdict} ({noted})" if noted else verdict


def notices(judgement: Judgement) -> str:
    """Return what is only counted, "" if there is nothing."""
    kinds = [(kind, n) for level in (KNOWN, NEW, NOTICE) for kind, n in sorted(judgement.kinds(level).items())]
    return ", ".join(f"{count} {_PLURALS.get(kind, kind) if count > 1 else kind}" for kind, count in kinds)


_PLURALS = {"accepted failure": "accepted failures", "new row": "new rows"}


def remarks(cases: Iterable[Case], *levels: str) -> list[Remark]:
    """Return the findings of these levels by case, cases of which the same is to be said together."""
    same: dict[tuple[str, ...], list[Case]] = defaultdict(list)
    commands: dict[tuple[str, ...], str] = {}
    for case in cases:
        findings = [finding for finding in case.findings if finding.level in levels]
        texts = tuple(finding.text for finding in findings)
        if texts:
            same[texts].append(case)
            commands.setdefault(texts, next((finding.command for finding in findings if finding.command), ""))
    return [Remark([case.name for case in found], texts, commands[texts]) for texts, found in same.items()]


def tables(judgement: Judgement, result: str | None = None) -> dict[str, Table]:
    """Return the verdict (one row), a row per finding and per case without one, and what differs around it."""
    cases, expected = judgement.cases, judgement.expected
    verdict = {
        "result": result or ("pass" if judgement.passed else "fail"),
        "rows_expected": len(expected),
        **{f"rows_{name}": sum(case.result == value for case in expected) for name, value in COUNTS.items()},
        "rows_new": sum(case.result == NEW for case in cases),
        "others_failed": sum(case.result == FAIL and not case.expected for case in cases),
        "warnings": sum(case.result == WARNING for case in cases),
    }
    columns = (
        *("case", "result", "level", "finding", *IDENTITY, "status", "found", "metric", "before", "after"),
        *("ratio", "ratio_low", "ratio_high", "p", "allowed", "disturbed", "job", "command"),
    )
    environment = differing(judgement.before.environment, judgement.after.environment)
    around = [{"key": key, "before": old, "after": new} for key, (old, new) in environment.items()]
    return {
        "verdict": Table.of(tuple(verdict), [verdict]),
        "gate": Table.of(columns, (row for case in cases for row in _rows(case))),
        "environment": Table.of(("key", "before", "after"), around),
    }


def _rows(case: Case) -> list[dict[str, object]]:
    row = case.row
    base: dict[str, object] = {"case": case.name, "result": case.result}
    if row is not None:
        base |= {**row.names, "status": row.status, "disturbed": row.disturbed, "job": next(iter(row.jobs), None)}
    found = []
    for one in case.findings:
        change = one.change
        own: dict[str, object] = {"level": one.level, "finding": one.kind, "found": one.text}
        own["command"] = one.command
        if change is not None:
            own |= {"metric": change.metric, "before": change.before, "after": change.after, "ratio": change.ratio}
            own |= {"ratio_low": change.low, "ratio_high": change.high, "p": change.p, "allowed": one.allowed}
        found.append(base | own)
    return found or [base]
