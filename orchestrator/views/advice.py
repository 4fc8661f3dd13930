"""What weakens an answer most, in a line, and the command that mends it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from orchestrator import markdown
from orchestrator.results.caution import Caution
from orchestrator.views.layout import plain
from orchestrator.words import plural


def advice(caution: Caution, sweep: str, imported: bool) -> Advice:
    """Return the caution, and the command that mends it; `sweep` and `imported`: see `Caution.words`."""
    rows = plural(caution.rows, "row")
    have, were = ("has", "was") if caution.rows == 1 else ("have", "were")
    beside = "measured beside other work"
    if caution.cores is not None:
        most = f"{caution.cores:.1f}"
        beside = "disturbed, though nothing else ran here" if most == "0.0" else f"{beside} (at most {most} cores)"
    text = {
        "not_run": f"{caution.rows:,} of {plural(caution.of, 'job')} {have} not run",
        "shards": f"{caution.rows:,} of {plural(caution.of, 'job')} belong to other shards",
        "wrong": f"{rows} {have} wrong results",
        "failed": f"{caution.rows:,} of {plural(caution.of, 'row')} failed",
        "measured": f"{rows} {were} not timed as {'it says' if caution.rows == 1 else 'they say'}",
        "disturbed": f"* {rows} {were} {beside}; when it is quiet",
        "one_round": "no interval is known" if imported else "one process a row: another may differ by more",
        "unjudged": f"{rows} {were} not judged: add measure=performance,accuracy",
        "undecided": f"{caution.rows:,} of {plural(caution.of, 'row')} within noise: more rounds tell more",
    }[caution.kind]
    words = caution.words(sweep, imported)
    command = shlex.join(["python", "-m", "orchestrator", *words]) if words else ""
    return Advice(text[:1].upper() + text[1:], command)


@dataclass(frozen=True)
class Advice:
    """A warning, and the command that mends it, on one line where there is room."""

    text: str
    command: str

    def lines(self, width: int) -> Iterator[Text]:
        if self.command and len(f"{self.text}: {self.command}") > width:
            yield Text(f"{plain(self.text)}:", "yellow")
            yield Text(f"    {plain(self.command)}", "dim")
        else:
            yield Text.assemble(
                (plain(self.text), "yellow"), (f": {plain(self.command)}" if self.command else "", "dim")
            )

    def markdown(self) -> list[str]:
        command = f": {markdown.code(self.command, None)}" if self.command else ""
        return [f"> {markdown.text(self.text)}{command}"]
