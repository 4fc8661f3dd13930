"""What a gate found: as a document, as tables, and as JUnit XML.

Failures first, what is flaky next; of the rest the number. Rows of which the same is to be said are said once.
"""

from __future__ import annotations

import datetime
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable

from orchestrator.comparison.baseline import CHANGES, Accepted
from orchestrator.comparison.difference_tables import changed
from orchestrator.comparison.gate import FAIL, FLAKY, KNOWN, NEW, NOTICE, WARNING, Case, GateResult
from orchestrator.comparison.matching import differing
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Table
from orchestrator.views.document import Document, Folded, Paragraph, Remark, Remarks
from orchestrator.words import plural

COUNTS = {"passed": "pass", "failed": "fail", "flaky": "flaky", "known": "known"}
"""Column of the verdict -> result of the expected rows that it counts."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold (https://www.w3.org/TR/xml/#charsets), not even escaped."""
NO_TIME = "0"
"""Seconds of a case: it is judged, not run."""


def document(found: GateResult, names: tuple[str, str]) -> Document:
    """Return failures, flaky rows, warnings, the number of the rest, and the verdict. names: BASE and REF."""
    counted = notices(found)
    told = f"notices: {counted} (--md lists them)" if counted else ""
    rest = Remarks("", remarks(found.cases, KNOWN, NEW, NOTICE))
    return Document(
        f"Gate: {'passed' if found.passed else 'failed'}",
        [
            Paragraph(f"gate: {names[1]} against {names[0]}"),
            Remarks("fail", remarks(found.cases, FAIL), "bold red"),
            Remarks("flaky", remarks(found.cases, FLAKY), "bold yellow"),
            Remarks("warnings", remarks(found.cases, WARNING)),
            Folded(f"Notices: {counted}", [rest], [Paragraph(told)]),
        ],
        [Paragraph(headline(found), "bold green" if found.passed else "bold red", strong=True, wrap=False)],
    )


def accepted_document(accepted: Accepted) -> Document:
    """Return what was accepted, and what it changes."""
    return Document(
        "Baseline accepted",
        [
            Remarks("changed", remarks(accepted.changes, *CHANGES)),
            Remarks("accepted failures", remarks(accepted.failures, FAIL)),
            Remarks("warnings", remarks(accepted.found.cases, WARNING)),
            Paragraph(accepted.disturbed),
        ],
        [Paragraph(accepted.headline, "bold green", strong=True)],
    )


def headline(found: GateResult) -> str:
    """Return the verdict in one line."""
    expected = found.expected
    failed = [case for case in found.cases if case.result == FAIL]
    rows = sum(case.expected for case in failed)
    others = len(failed) - rows
    aside = [
        plural(sum(case.result == FLAKY for case in found.cases), "flaky row"),
        plural(sum(case.result == KNOWN for case in expected), "accepted failure"),
        plural(sum(case.result == WARNING for case in found.cases), "warning"),
    ]
    words = [f"{rows} of {plural(len(expected), 'expected row')}" if rows else ""]
    words += [plural(others, "other failure") if others else ""]
    verdict = (
        f"FAIL: {' and '.join(filter(None, words))}" if failed else f"PASS: {plural(len(expected), 'expected row')}"
    )
    noted = ", ".join(text for text in aside if not text.startswith("0 "))
    return f"{verdict} ({noted})" if noted else verdict


def notices(found: GateResult) -> str:
    """Return what is only counted, "" if there is nothing."""
    kinds = [(kind, n) for level in (KNOWN, NEW, NOTICE) for kind, n in sorted(found.kinds(level).items())]
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


def tables(found: GateResult, result: str | None = None) -> dict[str, Table]:
    """Return the verdict (one row), a row per finding and per case without one, and what differs around it."""
    cases, expected = found.cases, found.expected
    verdict = {
        "result": result or ("pass" if found.passed else "fail"),
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
    environment = differing(found.before.environment, found.after.environment)
    return {
        "verdict": Table.of(tuple(verdict), [verdict]),
        "gate": Table.of(columns, (row for case in cases for row in _rows(case))),
        "environment": changed(environment),
    }


def _rows(case: Case) -> list[dict[str, object]]:
    row = case.row
    base: dict[str, object] = {"case": case.name, "result": case.result}
    if row is not None:
        base |= {**row.names, "status": row.status, "disturbed": row.disturbed, "job": next(iter(row.jobs), None)}
    found = []
    for one in case.findings:
        own = {"level": one.level, "finding": one.kind, "found": one.text, "command": one.command}
        change = {} if one.change is None else one.change.row() | {"allowed": one.allowed}
        found.append(base | own | change)
    return found or [base]


def to_junit(found: GateResult) -> str:
    """Return JUnit XML: a case per expected row, and one for whatever else fails.

    There is no standard; this keeps to what the schemas of Jenkins, GitLab and others have in common: one test suite,
    whose attributes `name`, `tests`, `failures`, `errors`, `skipped`, `time`, `timestamp` and `hostname` are given,
    and cases that have `classname`, `name` and `time` and hold a `failure` or a `skipped` with a message, or nothing.
    Names of cases are unique: GitLab ignores a second one.
    """
    cases = [case for case in found.cases if case.expected or case.result in (FAIL, FLAKY)]
    results = Counter(case.result for case in cases)
    when = datetime.datetime.fromtimestamp(found.after.created, datetime.UTC)
    counts = {
        "name": "orchestrator gate",
        "tests": str(len(cases)),
        "failures": str(results[FAIL]),
        "errors": "0",
        "skipped": str(results[FLAKY] + results[KNOWN]),
        "time": NO_TIME,
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S"),  # UTC: schemas allow no zone
        "hostname": _clean(str(found.after.environment.get("host") or "localhost")),
    }
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", counts)
    seen: Counter[str] = Counter()
    for case in cases:
        seen[case.name] += 1
        number = f" #{seen[case.name]}" if seen[case.name] > 1 else ""
        _add(suite, case, case.name + number)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add(suite: ElementTree.Element, case: Case, name: str) -> None:
    place = f"gate.{case.row.names['suite']}" if case.row is not None else "gate"
    test = ElementTree.SubElement(suite, "testcase", classname=_clean(place), name=_clean(name), time=NO_TIME)
    if case.result not in (FAIL, FLAKY, KNOWN):
        return
    found = [finding for finding in case.findings if finding.level == case.result]
    attributes = {"message": _clean(found[0].text)}
    if case.result == FAIL:
        attributes["type"] = _clean(found[0].kind)
    element = ElementTree.SubElement(test, "failure" if case.result == FAIL else "skipped", attributes)
    if case.result == FAIL:
        element.text = _clean("\n".join(text for one in case.findings for text in (one.text, one.command) if text))


def _clean(text: str) -> str:
    return NOT_XML.sub("", text)
