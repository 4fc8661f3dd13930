"""A gate's findings as JUnit XML, as Jenkins, GitLab and others read it.

There is no standard; this keeps to what their schemas have in common: one test suite, whose attributes `name`, `tests`,
`failures`, `errors`, `skipped`, `time`, `timestamp` and `hostname` are given, and cases that have `classname`, `name`
and `time` and hold a `failure` or a `skipped` with a message, or nothing. Names of cases are unique: GitLab ignores a
second one.
"""

from __future__ import annotations

import datetime
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

from orchestrator.comparison.gate import FAIL, FLAKY, KNOWN, Case, Judgement

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold (https://www.w3.org/TR/xml/#charsets), not even escaped."""
NO_TIME = "0"
"""Seconds of a case: it is judged, not run."""


def to_junit(judgement: Judgement) -> str:
    """Return the document: a case per expected row, and one for whatever else fails."""
    cases = [case for case in judgement.cases if case.expected or case.result in (FAIL, FLAKY)]
    results = Counter(case.result for case in cases)
    when = datetime.datetime.fromtimestamp(judgement.after.created, datetime.UTC)
    counts = {
        "name": "orchestrator gate",
        "tests": str(len(cases)),
        "failures": str(results[FAIL]),
        "errors": "0",
        "skipped": str(results[FLAKY] + results[KNOWN]),
        "time": NO_TIME,
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S"),  # UTC: schemas allow no zone
        "hostname": _clean(str(judgement.after.environment.get("host") or "localhost")),
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
