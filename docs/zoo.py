"""Write docs/zoo.csv and docs/zoo.md from sweeps of models: what compiles and is right, and the reason where it is not.

    python docs/zoo.py [--anew] [SWEEP ...]        (default: latest)

The CSV has a line for each cell: a model with a compiler in a mode, what came of it, and with which versions. What
these sweeps ran replaces what it had; with --anew it has nothing else. The page is made of it: one table for each
suite, one row for each model, one column for each mode and compiler. `make zoo` runs experiments/zoo.yaml and makes
both anew.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from support import FOLDER, cell

from orchestrator.markdown import code, table
from orchestrator.records import EAGER, NOT_RUN, PASS, UNSUPPORTED
from orchestrator.results import load, tables
from orchestrator.store import SweepFolder, find_sweep

PAGE = Path(__file__).parent / "zoo.md"
CELLS = PAGE.with_suffix(".csv")
NAMED = ("suite", "model", "mode", "compiler")
COLUMNS = (*NAMED, "status", "reason", "versions")
PACKAGES = ("torch", "transformers", "timm")
INTRODUCTION = """\
# The zoo

Made by `make zoo` from [experiments/zoo.yaml](../experiments/zoo.yaml), not typed: {models} models, {cells} accuracy
jobs in float32 on a CPU, with {versions}. [As CSV](zoo.csv).
`pass`: right, by the suite's tolerance. `—`: not asked. A number is a reason below. The architectures of transformers
are made small by `suite.common.build.shrunk=true` ([how](suites.md#a-small-one-of-any-architecture)); weights are
random. Export and ONNX get those models without labels, as they are served (`mode.options.labels=false`).
"""

ARGUMENTS = re.compile(r"\(args = .*?, kwargs = \{.*?\}\)")
"""Of a node of a graph: what failed alike is one reason."""

Row = Mapping[str, str]
Key = tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anew", action="store_true", help="forget what docs/zoo.csv has")
    parser.add_argument("sweeps", nargs="*", metavar="SWEEP", default=["latest"])
    asked = parser.parse_args()
    cells: dict[Key, Row] = {}
    if CELLS.exists() and not asked.anew:
        with CELLS.open(newline="") as file:
            cells = {key(row): row for row in csv.DictReader(file)}
    for name in asked.sweeps:
        found = {key(row): row for row in read(find_sweep(name, Path("outputs")))}
        cells |= {at: row for at, row in found.items() if at not in cells or row["status"] != NOT_RUN}
    rows = [cells[at] for at in sorted(cells)]
    with CELLS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    PAGE.write_text(page(rows))
    print(f"{PAGE}: {len(rows)} cells")
    return 0


def read(folder: SweepFolder) -> list[Row]:
    """Return the cells of a sweep. What is told with a mode or a compiler is not in their names.

    A column has one way of each, which the page's introduction says; a tolerance is the suite's.
    """
    results = load.load(folder)
    environments = [outcome.result.environment for outcome in results.outcomes if outcome.result]
    packages = next((own["packages"] for own in environments if "packages" in own), {})
    versions = ", ".join(f"{name} {packages[name]}" for name in PACKAGES if name in packages)
    rows = []
    for row in tables.build(results).accuracy.rows:
        own = {"mode": row["mode"].partition("(")[0], "compiler": row["compiler"].partition("(tolerance")[0]}
        own |= {"reason": row["reason"] or "", "versions": versions if row["status"] != NOT_RUN else ""}
        rows.append({name: own.get(name, row.get(name)) for name in COLUMNS})
    return rows


def key(row: Row) -> Key:
    return tuple(row[name] for name in NAMED)


def page(rows: Sequence[Row]) -> str:
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
    versions = "; ".join(sorted({row["versions"] for row in rows if row["versions"]}))
    first = [INTRODUCTION.format(models=models, cells=ran, versions=versions), _counts(cells, columns, names)]
    if ran < len(rows):
        first.insert(1, f"{len(rows) - ran} jobs that were asked for have not been run: `not run`.\n")
    return "\n".join([*first, *parts])


def _cell(row: Row | None, reasons: dict[tuple[str, str], int]) -> str:
    if row is None or row["status"] == NOT_RUN:
        return "—" if row is None else "not run"
    return cell({**row, "reason": ARGUMENTS.sub("(…)", row["reason"])}, reasons)


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
