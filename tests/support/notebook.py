"""Notebooks without Jupyter: the code cells of one, executed in their order in a fresh process; and their outputs.

`python -m support.notebook FILE` (in `tests/`) executes a notebook in an empty folder and writes its outputs into it.
nbclient would do the same with a kernel; this needs no package, and the process is as fresh.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.command import ROOT

RUNNER = """
import ast, contextlib, io, json, sys
space = {"__name__": "__main__"}
for number, source in enumerate(json.load(open(sys.argv[1])), 1):
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, outputs = io.StringIO(), []
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), space)
        value = None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), space)
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = {"text/plain": repr(value)}
        html = getattr(value, "_repr_html_", lambda: None)()
        data |= {} if html is None else {"text/html": html}
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
    print(json.dumps(outputs), flush=True)
"""


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def executed(notebook: dict[str, Any], place: Path) -> list[list[dict[str, Any]]]:
    """Return the outputs of each code cell, executed in the folder `place`. Raises AssertionError where one raises."""
    (place / "cells.json").write_text(json.dumps(["".join(cell["source"]) for cell in code_cells(notebook)]))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, "cells.json"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_outputs(notebook: dict[str, Any], outputs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    for number, (cell, found) in enumerate(zip(code_cells(notebook), outputs, strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, [_in_lines(one) for one in found]
    return notebook


def _in_lines(output: dict[str, Any]) -> dict[str, Any]:
    """Texts are lists of lines in a notebook's file."""
    if "text" in output:
        return {**output, "text": output["text"].splitlines(keepends=True)}
    return {**output, "data": {kind: text.splitlines(keepends=True) for kind, text in output["data"].items()}}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        made = with_outputs(read(path), executed(read(path), Path(folder)))
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
