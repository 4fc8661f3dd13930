"""Write docs/support.md from a sweep of experiments/support.yaml: what works where, and the reason where it does not.

    python docs/support.py [SWEEP]        (default: latest)

One row for each compiler, one column for each suite, mode and dtype; cells are the statuses of accuracy jobs. Reasons
are listed below, each once. Run by `make support`.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.markdown import code, table
from orchestrator.records import EAGER, NOT_RUN, PASS, UNSUPPORTED
from orchestrator.results import load, tables
from orchestrator.store import find_sweep

PAGE = Path(__file__).parent / "support.md"
INTRODUCTION = """\
# What works where

Made by `make support` from [experiments/support.yaml](../experiments/support.yaml), not typed: {cells} accuracy
jobs, one small model of each kind of suite, on {machine}. `pass`: right, by the suite's
tolerance. `—`: not asked. A number is a reason below. What needs a GPU or a package that was absent is
`unsupported`.
"""

FOLDER = re.compile(r"(?<![\w:/.])/\S*/(?=[^/\s]+)")
"""Of the machine where it ran: nobody's business."""

Row = Mapping[str, Any]


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else "latest"
    results = load.load(find_sweep(name, Path("outputs")))
    rows = tables.build(results).accuracy.rows
    packages = next(outcome.result.environment for outcome in results.outcomes if outcome.result)
    machine = f"a machine without a GPU, torch {packages.get('torch', 'unknown')}"
    PAGE.write_text(page(rows, machine))
    print(f"{PAGE}: {len(rows)} cells")
    return 0


def page(rows: Sequence[Row], machine: str) -> str:
    """Return the page: one table for each suite and mode, and the reasons."""
    reasons: dict[tuple[str, str], int] = {}
    parts = [INTRODUCTION.format(cells=sum(row["status"] != NOT_RUN for row in rows), machine=machine)]
    sections: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        name = row["compiler"].partition("(tolerance")[0]  # suites and modes differ in it, compilers do not
        sections[row["suite"], row["model"], row["mode"]].append({**row, "compiler": name})
    missing = [key for key, members in sections.items() if all(row["status"] == NOT_RUN for row in members)]
    sections = {key: members for key, members in sections.items() if key not in missing}
    for (suite, model, mode), members in sections.items():
        dtypes = list(dict.fromkeys(row["dtype"] for row in members))
        lines = []
        for compiler in sorted({row["compiler"] for row in members}, key=lambda name: (name != EAGER, name)):
            own = {row["dtype"]: row for row in members if row["compiler"] == compiler}
            cells = [cell(own[dtype], reasons) if dtype in own else "—" for dtype in dtypes]
            lines.append([code(compiler), *cells])
        parts.append("\n".join([f"## {suite}: {model}, {mode}", "", *table(["compiler", *dtypes], lines), ""]))
    if missing:
        parts.append(f"Planned and not run yet: {'; '.join(', '.join(key) for key in missing)}.\n")
    listed = [
        f"{number}. {code(status)}: {code(FOLDER.sub('…/', reason))}" for (status, reason), number in reasons.items()
    ]
    parts.append("\n".join(["## Reasons", "", *listed, ""]))
    return "\n".join(parts)


def cell(row: Row, reasons: dict[tuple[str, str], int]) -> str:
    status = row["status"]
    if status == PASS:
        return PASS
    number = reasons.setdefault((status, row["reason"] or "no reason was given"), len(reasons) + 1)
    return f"{status if status == UNSUPPORTED else f'**{status}**'} ({number})"


if __name__ == "__main__":
    sys.exit(main())
