"""What differs between where a sweep was measured and here, for a person."""

from __future__ import annotations

from orchestrator.comparison.environments import Conditions
from orchestrator.views.document import Document, Listing, Paragraph, Piece, show


def show_conditions(found: Conditions, heading: str, style: str = "") -> None:
    """Print the heading, and a line for each difference; what is the same is counted."""
    told = f"Environment: as it was then ({found.same} packages, variables and the like)"
    pieces: list[Piece] = [Paragraph(told, wrap=False)]
    if found.differing:
        heading = f"{heading} ({found.same} others are the same):"
        pieces = [Paragraph(heading, style), Listing(found.lines(), style=style, rest="")]
    show(Document("Environment", pieces))
