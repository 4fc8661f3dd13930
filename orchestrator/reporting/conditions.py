"""What differs between where a sweep was measured and here, for a person."""

from __future__ import annotations

from rich.text import Text

from orchestrator.reporting.layout import console, paragraph
from orchestrator.results.conditions import Conditions
from orchestrator.words import more

LISTED = 20


def show_conditions(found: Conditions, heading: str, style: str = "") -> None:
    """Print the heading, and a line for each difference; what is the same is counted."""
    out = console()
    if not found.differing:
        out.print(f"Environment: as it was then ({found.same} packages, variables and the like)")
        return
    out.print(Text(paragraph(f"{heading} ({found.same} others are the same):", out.width), style), soft_wrap=True)
    for line in found.lines()[:LISTED]:
        out.print(Text(paragraph(f"  {line}", out.width, indent="    "), style), soft_wrap=True)
    for line in more(len(found.differing), LISTED):
        out.print(Text(f"  {line}", style))
