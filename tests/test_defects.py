"""docs/defects.md has every number, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "defects.md"
NUMBERS = range(1, 85)


def rows() -> Iterator[tuple[int, list[str]]]:
    """The number of each row, and its other cells."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].isdigit():
            yield int(cells[0]), cells[1:]


def lacking(spans: list[str]) -> list[str]:
    """Return those of `file.py::test_name` that are no test functions."""
    found: dict[str, set[str]] = {}
    for file in {span.partition("::")[0] for span in spans}:
        source = (TESTS / file).read_text() if (TESTS / file).is_file() else ""
        found[file] = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    return [span for span in spans if span.partition("::")[2] not in found[span.partition("::")[0]]]


def test_each_number_has_one_row_with_what_is_done_and_a_test() -> None:
    assert [number for number, _ in rows()] == list(NUMBERS)
    for number, (there, here, by) in rows():
        assert there, number
        assert here, number
        assert re.fullmatch(r"`test_\w+\.py::test_\w+`(, `test_\w+\.py::test_\w+`)*", by), (number, by)


def test_every_test_that_is_named_exists() -> None:
    assert lacking(["test_defects.py::test_no_such", "test_no_such.py::test_a"]) != []
    assert lacking([span for _, cells in rows() for span in re.findall(r"`([^`]+)`", cells[-1])]) == []
