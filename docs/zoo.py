"""Write docs/zoo.md from sweeps of experiments/zoo.yaml: what compiles and is right, and the reason where it is not.

    python docs/zoo.py [SWEEP ...]        (default: latest)

One table for each suite, one row for each model, one column for each mode and compiler. Of several sweeps the last one
that ran a cell says what it is. Run by `make zoo`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support import FOLDER, cell

from orchestrator.markdown import code, table
from orchestrator.records import EAGER, NOT_RUN, PASS, UNSUPPORTED
from orchestrator.results import load, tables
from orchestrator.store import find_sweep

PAGE = Path(__file__).parent / "zoo.md"
INTRODUCTION = """\
# The zoo

Made by `make zoo` from [experiments/zoo.yaml](../experiments/zoo.yaml), not typed: {models} models, {cells} accuracy
jobs in float32 on a CPU, with {versions}.
`pass`: right, by the suite's tolerance. `—`: not asked. A number is a reason below. The architectures of transformers
are made small by `suite.common.build.shrunk=true` ([how](suites.md#a-small-one-of-any-architecture)); weights are
random. Export and ONNX get those models without labels, as they are served (`mode.options.labels=false`).
"""

ARGUMENTS = re.compile(r"\(args = .*?, kwargs = \{.*?\}\)")
"""Of a node of a graph: what failed alike is one reason."""

Row = Mapping[str, Any]
Key = tuple[str, str, str, str]


def main() -> int:
    rows: dict[Key, Row] = {}
    packages: Mapping[str, str] = {}
    for name in sys.argv[1:] or ["latest"]:
        results = load.load(find_sweep(name, Path("outputs")))
        found = {key(row): row for row in tables.build(results).accuracy.rows}
        rows |= {at: row for at, row in found.items() if at not in rows or row["status"] != NOT_RUN}
        environments = [outcome.result.environment for outcome in results.outcomes if outcome.result]
        packages = next((own["packages"] for own in environments if "packages" in own), packages)
    versions = [f"{name} {packages[name]}" for name in ("torch", "transformers", "timm") if name in packages]
    PAGE.write_text(page(list(rows.values()), ", ".join(versions)))
    print(f"{PAGE}: {len(rows)} cells")
    return 0


def key(row: Row) -> Key:
    """Return suite, model, mode and compiler: a column has one way of each, which the page's introduction says."""
    return row["suite"], row["model"], row["mode"].partition("(")[0], row["compiler"].partition("(tolerance")[0]


def page(rows: Sequence[Row], versions: str) -> str:
    """Return the page: counts, a table for each suite, and the reasons."""
    cells = {key(row): row for row in rows}
    columns = sorted({at[2:] for at in cells}, key=lambda one: (one[0], one[1] != EAGER, one[1]))
    names = [f"{compiler}, {mode}" for mode, compiler in columns]
    reasons: dict[tuple[str, str], int] = {}
    parts = []
    for suite in dict.fromkeys(at[0] for at in cells):
        models = sorted({at[1] for at in cells if at[0] == suite}, key=str.lower)
        lines = [
            [code(model), *(_cell(cells.get((suite, model, *column)), reasons) for column in columns)]
            for model in models
        ]
        parts.append("\n".join([f"## {suite}: {len(models)} models", "", *table(["model", *names], lines), ""]))
    listed = [f"{at}. {code(status)}: {code(FOLDER.sub('…/', why))}" for (status, why), at in reasons.items()]
    parts.append("\n".join(["## Reasons", "", *listed, ""]))
    models = len({at[:2] for at in cells})
    ran = sum(row["status"] != NOT_RUN for row in rows)
    first = [INTRODUCTION.format(models=models, cells=ran, versions=versions), _counts(cells, columns, names)]
    if ran < len(rows):
        first.insert(1, f"{len(rows) - ran} jobs that were asked for have not been run: `not run`.\n")
    return "\n".join([*first, *parts])


def _cell(row: Row | None, reasons: dict[tuple[str, str], int]) -> str:
    if row is None or row["status"] == NOT_RUN:
        return "—" if row is None else "not run"
    return cell({**row, "reason": ARGUMENTS.sub("(…)", row["reason"] or "")}, reasons)


def _counts(cells: Mapping[Key, Row], columns: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """Return the table of how many models came to which end, column by column."""
    lines = []
    for column, name in zip(columns, names, strict=True):
        found = Counter(row["status"] for at, row in cells.items() if at[2:] == column)
        other = {status: count for status, count in found.items() if status not in (PASS, UNSUPPORTED)}
        told = ", ".join(f"{status} {count}" for status, count in sorted(other.items())) or "—"
        lines.append([name, str(sum(found.values())), str(found[PASS]), str(found[UNSUPPORTED]), told])
    return "\n".join([*table(["compiler, mode", "asked", "pass", "unsupported", "other"], lines), ""])


if __name__ == "__main__":
    sys.exit(main())
