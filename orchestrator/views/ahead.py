"""What a configuration that was not run would change in a sweep, for a person."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.ahead import CHANGED, GONE, NEW, SAME, RowAhead
from orchestrator.comparison.compare import Comparison
from orchestrator.comparison.configuration_changes import KeyChange
from orchestrator.comparison.difference_tables import keys_text
from orchestrator.comparison.differences import Labels
from orchestrator.comparison.matching import named_keys
from orchestrator.views.document import Document, Heading, Listing, Paragraph, Piece, Side
from orchestrator.views.keys import configuration_pieces, environment_pieces
from orchestrator.words import plural

NAMES = {CHANGED: "other jobs", NEW: "new", GONE: "gone", SAME: "the same"}


def document(
    comparison: Comparison, changes: Sequence[KeyChange], rows: Sequence[RowAhead], *, everything: bool
) -> Document:
    """Return which rows would be new, gone or of other jobs, and which keys differ. everything: also the others."""
    pieces: list[Piece] = []
    for side, one, what in (("A", comparison.before, ""), ("B", comparison.after, ": nothing was run")):
        size = f"{plural(len(one.rows), 'row')}, {plural(sum(one.jobs.values()), 'job')}{what}"
        pieces.append(Side(side, one.name, size))
    pieces += [Heading("Configuration"), *configuration_pieces(comparison, changes)]
    pieces += environment_pieces(comparison)
    labels = Labels.of_comparison(comparison)
    pieces += [Heading("Jobs", " · ".join(labels.common)), Paragraph(_totals(rows), indent="  ", strong=True)]
    for word in (CHANGED, NEW, GONE, *((SAME,) if everything else ())):
        texts = [_line(row, labels) for row in rows if row.word == word]
        pieces.append(Listing(texts, NAMES[word], "bold", "    "))
    return Document("Diff", pieces)


def _totals(rows: Sequence[RowAhead]) -> str:
    new, gone = sum(row.new for row in rows), sum(row.gone for row in rows)
    kept = sum(row.word == SAME for row in rows)
    if not new and not gone:
        return (
            f"the same {plural(kept, 'row')} of the same jobs: nothing would be measured that was not asked for before"
        )
    return f"{plural(kept, 'row')} the same; {plural(new, 'job')} new, {plural(gone, 'job')} gone"


def _line(row: RowAhead, labels: Labels) -> str:
    if row.pair is None:
        return labels.of(row.names, row.names)
    keys = keys_text(named_keys(row.pair.keys))
    rounds = f"{len(row.pair.before.jobs)} -> {len(row.pair.after.jobs)} rounds"
    why = keys or (rounds if row.word == CHANGED else "")
    return labels.of(row.pair.before.names, row.pair.after.names) + (f": {why}" if why else "")
